using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Demo.Run;

/// <summary>The server that a demo moves: a stand-in, which is a node of the lab, or a virtual machine on one of its hosts.</summary>
/// <param name="Name">The server.</param>
/// <param name="Addresses">Its addresses, IPv4 first.</param>
/// <param name="IsGuest">True: a virtual machine. Programs cannot be run in it.</param>
/// <param name="Sites">Where it can live.</param>
/// <param name="Volume">The volume that is its disk; null = it has none of a store.</param>
internal sealed record MovedServer(
    string Name, IReadOnlyList<IpAddress> Addresses, bool IsGuest, IReadOnlyList<MovedSite> Sites, string? Volume = null)
{
    /// <summary>The first server of a lab: a stand-in if there is one.</summary>
    /// <exception cref="LabException">The lab has none.</exception>
    public static MovedServer Of(RunningLab lab)
    {
        if (lab.Topology.Nodes.FirstOrDefault(n => n.Kind == NodeKind.Server) is { } node)
        {
            return new MovedServer(node.Name, [.. node.Server!.Addresses.Select(a => a.Address).OrderBy(a => a.IsV4 ? 0 : 1)], false,
                [.. lab.SitesOf(node.Name).Where(s => s.Pe is not null).Select(s => new MovedSite(s.Name, s.Pe!, node.Name, s.Leg))]);
        }

        LabGuest guest = lab.Guests is [var first, ..] ? first : throw new LabException(
            $"topology {lab.Topology.File} has no node of kind server, and its hosts no virtual machine; the demo needs one to move.");
        return new MovedServer(guest.Name, guest.Addresses, true, [.. guest.Sites.Select(s => new MovedSite(s.Site, s.Pe, s.Host,
            s.HostInterface ?? throw new LabException($"no link leads from {s.Pe} to {s.Host}, where guest {guest.Name} is to live.")))],
            guest.Volumes is [var volume, ..] ? volume : null);
    }
}

/// <summary>A site where it can live.</summary>
/// <param name="Name">The site.</param>
/// <param name="Pe">Its PE.</param>
/// <param name="Node">The node where the server's packets come from the PE.</param>
/// <param name="Device">The device there by which they come.</param>
internal sealed record MovedSite(string Name, string Pe, string Node, string Device);
