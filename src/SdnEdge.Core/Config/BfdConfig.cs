using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>A BFD session: one of its own, or that of a BGP peer.</summary>
/// <param name="Address">The other end.</param>
/// <param name="Local">Our address: a loopback for multihop, that of the port for a single hop.</param>
/// <param name="Multihop">False: the other end is on a link of ours (RFC 5881).</param>
/// <param name="IntervalMilliseconds">Between packets, each way, 10 to 60000.</param>
/// <param name="Multiplier">Given up after so many intervals of silence, 1 to 255.</param>
/// <param name="Shutdown">Held AdminDown.</param>
public sealed record BfdConfig(
    IpAddress Address, IpAddress Local, bool Multihop, int IntervalMilliseconds = BfdConfig.DefaultInterval, int Multiplier =
        BfdConfig.DefaultMultiplier, bool Shutdown = false)
{
    /// <summary>Milliseconds between packets where nothing is said.</summary>
    public const int DefaultInterval = 50;

    /// <summary>Shortest interval, milliseconds: what other software speakers hold as well.</summary>
    public const int MinInterval = 10;

    /// <summary>Longest interval, milliseconds.</summary>
    public const int MaxInterval = 60_000;

    /// <summary>Multiplier where nothing is said.</summary>
    public const int DefaultMultiplier = 3;

    /// <summary>What tells it from other sessions.</summary>
    public BfdKey Key => new(Address, Local, Multihop);

    /// <summary>Its parameters.</summary>
    public BfdParameters Parameters => BfdParameters.Every(IntervalMilliseconds, Multiplier);
}

/// <summary>Reads BFD sessions from the configuration.</summary>
internal static class BfdConfigReader
{
    /// <summary>The sessions under <c>bfd:</c> at the root.</summary>
    public static List<BfdConfig> ReadSessions(MapReader node, NodeConfig soFar, Dictionary<object, MapReader> places)
    {
        var list = new List<BfdConfig>();
        if (node.Map("bfd") is not { } bfd) return list;
        foreach (MapReader item in bfd.Maps("sessions"))
        {
            IpAddress address = item.RoutedAddress("address", required: true, "10.1.1.20");
            if (Read(item, address, soFar) is not { } session) continue;
            list.Add(session);
            places[session] = item;
        }

        bfd.Finish();
        return list;
    }

    /// <summary>The <c>bfd:</c> of a BGP peer; null when it has none.</summary>
    public static BfdConfig? ReadOfPeer(MapReader peer, IpAddress address, NodeConfig soFar, Dictionary<object, MapReader> places)
    {
        if (peer.Map("bfd") is not { } item) return null;
        if (address is { IsV6: true, IsLinkLocal: true })
        {
            peer.Error("bfd", $"is not spoken with link-local peers such as {address}; take it out, or write the peer's global address");
            return null;
        }

        if (Read(item, address, soFar) is not { } session) return null;
        places[session] = item;
        return session;
    }

    private static BfdConfig? Read(MapReader item, IpAddress address, NodeConfig soFar)
    {
        List<InterfaceAddress> links = [.. soFar.Ports.Where(p => p.Vrf == NodeConfig.DefaultVrf).SelectMany(p => p.Addresses).Where(a
            => a.Subnet.Contains(address))];
        bool multihop = item.Flag("multihop", links.Count == 0);
        IpAddress local = item.Address("local", required: false, "10.255.0.1");
        IpAddress[] own = multihop ? [.. soFar.Loopbacks.Where(l => l.Family == address.Family)] : [.. links.Select(l => l.Address)];
        int interval = (int)item.Number("interval", BfdConfig.MinInterval, BfdConfig.MaxInterval, BfdConfig.DefaultInterval);
        int multiplier = (int)item.Number("multiplier", 1, 255, BfdConfig.DefaultMultiplier);
        bool shutdown = item.Flag("shutdown", false);
        item.Finish();
        if (address.IsNone) return null;
        if (own.Contains(address))
        {
            item.Error("address", $"'{address}' is this node's own address; write the other end's");
        }
        else if (own.Length == 0)
        {
            item.Error("multihop", multihop
                ? $"there is no loopback of the family of {address} to send from; add one to loopbacks"
                : $"no port of VRF {NodeConfig.DefaultVrf} has a subnet with {address}; write multihop: true, or an address on a link");
        }
        else if (!local.IsNone && !own.Contains(local))
        {
            item.Error("local", $"'{local}' is not one of {string.Join(", ", own)}; "
                + $"{(multihop ? "multihop sessions start from a loopback" : "a single hop starts from the port's address on the link")}");
        }
        else
        {
            return new BfdConfig(address, local.IsNone ? own[0] : local, multihop, interval, multiplier, shutdown);
        }

        return null;
    }
}
