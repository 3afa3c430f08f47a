using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Mms;

namespace SdnEdge.Cli.Commands;

/// <summary>What a running lab knows of a move: which PE serves which site, by which port, and who the ingresses are.</summary>
internal static class LabMoves
{
    /// <summary>The request to move a server of a lab to a site.</summary>
    /// <exception cref="LabException">No such server or site, or the server is there already or nowhere.</exception>
    public static async Task<MoveRequest> RequestAsync(
        RunningLab lab, string server, string to, int blackoutMs, HoldOptions? hold, int quietMs, CancellationToken cancel)
    {
        IReadOnlyList<LabSite> sites = lab.SitesOf(server);
        string names = string.Join(", ", sites.Select(s => s.Name));
        LabSite target = sites.FirstOrDefault(s => s.Name == to) ?? throw new LabException($"server {server} has no leg at '{to}'; it can live at {names}.");
        string? at = await lab.Server(server).LocateAsync(server, cancel);
        if (at is null) throw new LabException($"server {server} is paused and lives nowhere now; an unfinished move must be ended first ('sdnedge migrate status --lab {lab.Name}').");
        if (at == to) throw new LabException($"server {server} is at {to} already; it could go to {string.Join(", ", sites.Where(s => s.Name != to).Select(s => s.Name))}.");
        LabSite source = sites.First(s => s.Name == at);
        (string sourcePe, string sourcePort) = PeOf(source);
        (string targetPe, string targetPort) = PeOf(target);
        return new MoveRequest(
            server, "default", [.. lab.Topology.Find(server)!.Server!.Addresses.Select(a => IpPrefix.Host(a.Address).ToString())],
            sourcePe, source.Name, sourcePort, targetPe, target.Name, targetPort,
            [.. lab.Ingresses.Select(i => i.Pe).Distinct().Where(pe => lab.Topology.Find(pe)!.Kind == NodeKind.SdnEdgePe)], hold, blackoutMs, MoveTimeouts.WithQuiet(quietMs),
            OtherIngress: lab.Ingresses.Any(i => lab.Topology.Find(i.Pe)!.Kind != NodeKind.SdnEdgePe));
    }

    /// <summary>A client for each PE of the request.</summary>
    public static Dictionary<string, PeClient> Clients(RunningLab lab, MoveRequest request)
        => request.Ingress.Append(request.SourcePe).Append(request.TargetPe).Distinct().ToDictionary(pe => pe, pe => PeClient.ForUnixSocket(lab.ApiSocket(pe), pe));

    private static (string Pe, string Port) PeOf(LabSite site) => site is { Pe: { } pe, PePort: { } port } ? (pe, port)
        : throw new LabException($"site {site.Name} has no PE with a configured port towards it; give the PE's interface a port in its startup-config.");
}
