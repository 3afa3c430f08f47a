using SdnEdge.Core.Bfd;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>A BFD session: one of its own, or that of a BGP peer.</summary>
/// <param name="Address">The other end.</param>
/// <param name="Local">Our address: for multihop a loopback, in a VRF one of its ports'; that of the port for a single hop.</param>
/// <param name="Multihop">False: the other end is on a link of ours (RFC 5881).</param>
/// <param name="IntervalMilliseconds">Between packets, each way, 10 to 60000.</param>
/// <param name="Multiplier">Given up after so many intervals of silence, 1 to 255.</param>
/// <param name="Shutdown">Held AdminDown.</param>
/// <param name="Vrf">VRF of the session.</param>
/// <param name="Port">The port that a link-local other end is on; null: its address is enough.</param>
public sealed record BfdConfig(
    IpAddress Address, IpAddress Local, bool Multihop, int IntervalMilliseconds = BfdConfig.DefaultInterval, int Multiplier =
        BfdConfig.DefaultMultiplier, bool Shutdown = false, string Vrf = NodeConfig.DefaultVrf, string? Port = null)
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
    public BfdKey Key => new(Address, Local, Multihop, BfdPlace.Of(Vrf == NodeConfig.DefaultVrf ? null : Vrf, Port));

    /// <summary>The other end as BGP names a peer in its VRF.</summary>
    public BgpPeerKey Peer => new(Address, Port);

    /// <summary>The other end among all: <c>10.1.1.20</c>, <c>fe80::9%core</c>, <c>10.7.0.2@red</c>.</summary>
    public string Name => Vrf == NodeConfig.DefaultVrf ? Peer.ToString() : $"{Peer}@{Vrf}";

    /// <summary>For people: both ends.</summary>
    public string Title => $"{Name} from {Local}{(Multihop ? ", multihop" : "")}";

    /// <summary>Its parameters.</summary>
    public BfdParameters Parameters => BfdParameters.Every(IntervalMilliseconds, Multiplier);
}

/// <summary>Reads BFD sessions from the configuration.</summary>
public static class BfdConfigReader
{
    /// <summary>What there may be only one of.</summary>
    internal const string SessionWith = "a BFD session with";

    /// <summary>
    /// The sessions under <c>bfd:</c> at the root of a server host's file: of one hop, with the PE's port on the host's link. The file has
    /// no ports, so each session says both ends.
    /// </summary>
    public static IReadOnlyList<BfdConfig> ReadOfHost(MapReader root)
    {
        if (root.Map("bfd") is not { } bfd) return [];
        var list = new List<BfdConfig>();
        var places = new Dictionary<object, MapReader>(ReferenceEqualityComparer.Instance);
        foreach (MapReader item in bfd.Maps("sessions"))
        {
            IpAddress address = ReadEnd(item, "address", "10.1.1.1"), local = ReadEnd(item, "local", "10.1.1.20");
            if (!address.IsNone && address == local) item.Error("address", OwnAddress(address));
            else if (!address.IsNone && !local.IsNone && address.Family != local.Family) item.Error("local",
                $"'{local}' is not of the family of {address}; write this host's address on the link with it");
            var session = new BfdConfig(address, local, Multihop: false, ReadInterval(item), ReadMultiplier(item),
                item.Flag("shutdown", false));
            item.Finish();
            if (address.IsNone || local.IsNone) continue;
            list.Add(session);
            places[session] = item;
        }

        if (!bfd.Has("sessions")) bfd.Error("sessions",
            "is missing; write sessions: [{ address: 10.1.1.1, local: 10.1.1.20 }], the PE's port and this host's address on its link");
        bfd.Finish();
        NodeConfigChecks.Unique(list, s => s.Key, "address", SessionWith, places, root.Errors);
        return list;
    }

    // A link-local address would need a device beside it.
    private static IpAddress ReadEnd(MapReader item, string key, string example)
    {
        IpAddress address = item.RoutedAddress(key, required: true, example);
        if (!address.IsV6 || !address.IsLinkLocal) return address;
        item.Error(key, $"'{address}' is link-local; write an address of the link that is not, as {example} or \"fd00:1:1::1\"");
        return default;
    }

    private static string OwnAddress(IpAddress address) => $"'{address}' is this node's own address; write the other end's";

    /// <summary>The sessions under <c>bfd:</c> at the root.</summary>
    internal static List<BfdConfig> ReadSessions(MapReader node, NodeConfig soFar, Dictionary<object, MapReader> places)
    {
        var list = new List<BfdConfig>();
        if (node.Map("bfd") is not { } bfd) return list;
        foreach (MapReader item in bfd.Maps("sessions"))
        {
            if (Read(item, ReadPlace(item, soFar), soFar) is not { } session) continue;
            list.Add(session);
            places[session] = item;
        }

        bfd.Finish();
        return list;
    }

    /// <summary>The <c>bfd:</c> of a BGP peer; null when it has none.</summary>
    internal static BfdConfig? ReadOfPeer(MapReader peer, BgpPeerConfig config, NodeConfig soFar, Dictionary<object, MapReader> places)
    {
        if (peer.Map("bfd") is not { } item) return null;
        if (config.OnLink) return ReadByLink(item, config, soFar);
        if (Read(item, new Place(config.Key, config.Vrf, config.Local), soFar) is not { } session) return null;
        places[session] = item;
        return session;
    }

    // The address of the other end is added when it is known.
    private static BfdConfig ReadByLink(MapReader item, BgpPeerConfig peer, NodeConfig soFar)
    {
        foreach (string other in (ReadOnlySpan<string>)["multihop", "local"])
        {
            if (item.Has(other)) item.Error(other,
                "cannot stand beside link: the session is of link-local addresses, one hop; take it out");
        }

        var session = new BfdConfig(default, soFar.LinkLocalOf(soFar.Ports.First(p => p.Name == peer.LinkPort)), Multihop: false,
            ReadInterval(item), ReadMultiplier(item), item.Flag("shutdown", false), peer.Vrf, peer.LinkPort);
        item.Finish();
        return session;
    }

    private static int ReadInterval(MapReader item)
        => (int)item.Number("interval", BfdConfig.MinInterval, BfdConfig.MaxInterval, BfdConfig.DefaultInterval);

    private static int ReadMultiplier(MapReader item) => (int)item.Number("multiplier", 1, 255, BfdConfig.DefaultMultiplier);

    // Where a session of its own is: as a BGP peer's, the address of a link-local one has its port.
    private static Place ReadPlace(MapReader item, NodeConfig soFar)
    {
        string? written = item.Text("vrf", example: NodeConfig.DefaultVrf);
        if (written is not null && soFar.Vrfs.All(v => v.Name != written)) item.Error("vrf",
            $"there is no VRF '{written}'; declare it under vrfs{MapReader.DidYouMean(written, soFar.Vrfs.Select(v => v.Name))}");
        string vrf = written ?? NodeConfig.DefaultVrf;
        string text = item.Text("address", example: "10.1.1.20") ?? "";
        var key = new BgpPeerKey(default);
        if (!text.Contains('%', StringComparison.Ordinal)) key = item.RoutedAddress("address", required: true, "10.1.1.20");
        else if (!BgpPeerKey.TryParse(text, out key))
        {
            item.Error("address", $"'{text}' is not an IP address; write it as \"fe80::9%PORT\"");
            key = default;
        }

        string[] ports = [.. soFar.Ports.Select(p => p.Name).Where(n => n.Length > 0)];
        if (key.Address is { IsV6: true, IsLinkLocal: true })
        {
            if (key.Zone is null)
            {
                item.Error("address", $"'{key.Address}' is link-local, so the port must be named; write \"{key.Address}%"
                    + $"{(ports.Length > 0 ? ports[0] : "PORT")}\"");
            }
            else if (soFar.Ports.FirstOrDefault(p => p.Name == key.Zone) is not { } port)
            {
                item.Error("address", $"there is no port '{key.Zone}'{MapReader.DidYouMean(key.Zone, ports)}");
            }
            else
            {
                if (written is not null && port.Vrf != written) item.Error("vrf",
                    $"port '{key.Zone}' is in VRF '{port.Vrf}', which is the session's; take it out");
                vrf = port.Vrf;
            }
        }
        else if (key.Zone is not null)
        {
            item.Error("address", $"'{text}': only a link-local address names its port; write {key.Address}");
            key = default;
        }

        return new Place(key, vrf, default);
    }

    private static BfdConfig? Read(MapReader item, Place place, NodeConfig soFar)
    {
        (IpAddress address, string vrf) = (place.Peer.Address, place.Vrf);
        bool linkLocal = address is { IsV6: true, IsLinkLocal: true };
        List<PortConfig> ports = [.. soFar.Ports.Where(p => p.Vrf == vrf)];
        List<IpAddress> links = linkLocal
            ? [.. ports.Where(p => p.Name == place.Peer.Zone).Select(soFar.LinkLocalOf)]
            : [.. ports.SelectMany(p => p.Addresses).Where(a => a.Subnet.Contains(address)).Select(a => a.Address)];
        bool multihop = item.Flag("multihop", links.Count == 0 && !linkLocal);
        IpAddress local = item.Address("local", required: false, "10.255.0.1");
        IEnumerable<IpAddress> far = vrf == NodeConfig.DefaultVrf ? soFar.Loopbacks
            : ports.SelectMany(p => p.Addresses).Select(a => a.Address).Where(a => !(a.IsV6 && a.IsLinkLocal));
        IpAddress[] own = multihop ? [.. far.Where(l => l.Family == address.Family)] : [.. links];
        int interval = ReadInterval(item), multiplier = ReadMultiplier(item);
        bool shutdown = item.Flag("shutdown", false);
        item.Finish();

        // Where the port or the VRF is not there, that is said already.
        if (address.IsNone || (linkLocal && links.Count == 0)
            || (vrf != NodeConfig.DefaultVrf && soFar.Vrfs.All(v => v.Name != vrf))) return null;
        if (multihop && linkLocal)
        {
            item.Error("multihop", $"cannot be true: {address} is link-local, so one hop away (RFC 5881); take it out");
        }
        else if (own.Contains(address))
        {
            item.Error("address", OwnAddress(address));
        }
        else if (own.Length == 0)
        {
            item.Error("multihop", !multihop
                ? $"no port of VRF {vrf} has a subnet with {address}; write multihop: true, or an address on a link"
                : vrf == NodeConfig.DefaultVrf
                    ? $"there is no loopback of the family of {address} to send from; add one to loopbacks"
                    : $"no port of VRF {vrf} has an address of the family of {address} to send from; give one to a port");
        }
        else if (!local.IsNone && !own.Contains(local))
        {
            item.Error("local", $"'{local}' is not one of {string.Join(", ", own)}; "
                + $"{(!multihop ? "a single hop starts from the port's address on the link"
                    : vrf == NodeConfig.DefaultVrf ? "multihop sessions start from a loopback"
                    : "multihop sessions in a VRF start from an address of one of its ports")}");
        }
        else
        {
            IpAddress usual = own.Contains(place.Local) ? place.Local : own[0];
            return new BfdConfig(address, local.IsNone ? usual : local, multihop, interval, multiplier, shutdown, vrf,
                linkLocal ? place.Peer.Zone : null);
        }

        return null;
    }

    /// <summary>Where a session is to be.</summary>
    /// <param name="Peer">The other end in its VRF.</param>
    /// <param name="Vrf">The VRF.</param>
    /// <param name="Local">Our end of the BGP session that it is for; none: it is for none.</param>
    private readonly record struct Place(BgpPeerKey Peer, string Vrf, IpAddress Local);
}
