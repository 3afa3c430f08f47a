using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>What is done with a packet.</summary>
public enum HopKind : byte
{
    /// <summary>Nothing is known: the next hop is not resolved.</summary>
    None,

    /// <summary>The destination itself is a neighbour on a port.</summary>
    Connected,

    /// <summary>To a neighbour on a port; as a request also to an address that other routes resolve.</summary>
    Via,

    /// <summary>To this router itself.</summary>
    Local,

    /// <summary>Discarded on purpose.</summary>
    Blackhole,

    /// <summary>To a redirect group, by name.</summary>
    Group,

    /// <summary>Through a tunnel to another PE, whose address the underlay's routes must reach (VPN routes).</summary>
    Remote,
}

/// <summary>A next hop as its source names it, before resolution. Use the factory methods.</summary>
public readonly record struct HopSpec
{
    private HopSpec(HopKind kind, string? port, IpAddress address, string? group, uint key = 0)
    {
        Kind = kind;
        Port = port;
        Address = address;
        GroupName = group;
        TunnelKey = key;
    }

    /// <summary>To this router itself.</summary>
    public static HopSpec Local { get; } = new(HopKind.Local, null, default, null);

    /// <summary>Discarded on purpose.</summary>
    public static HopSpec Blackhole { get; } = new(HopKind.Blackhole, null, default, null);

    /// <summary>Kind.</summary>
    public HopKind Kind { get; }

    /// <summary>Port, where one is named.</summary>
    public string? Port { get; }

    /// <summary>Next-hop address (Via), or the far end's (Remote).</summary>
    public IpAddress Address { get; }

    /// <summary>Name of the redirect group (Group).</summary>
    public string? GroupName { get; }

    /// <summary>GRE key of the tunnel (Remote); 0 otherwise.</summary>
    public uint TunnelKey { get; }

    /// <summary>True when other routes must tell where the address is.</summary>
    public bool IsRecursive => Kind == HopKind.Via && Port is null;

    /// <summary>Destinations are neighbours on this port.</summary>
    public static HopSpec Connected(string port) => new(HopKind.Connected, port, default, null);

    /// <summary>By the neighbour at this address, wherever routes say it is.</summary>
    public static HopSpec Via(IpAddress address) => new(HopKind.Via, null, address, null);

    /// <summary>By the neighbour at this address on this port.</summary>
    public static HopSpec Via(IpAddress address, string port) => new(HopKind.Via, port, address, null);

    /// <summary>Into a redirect group.</summary>
    public static HopSpec Group(string name) => new(HopKind.Group, null, default, name);

    /// <summary>Through a tunnel to another PE; usable while <see cref="LocRib.Reaches"/> says so of its address.</summary>
    /// <param name="tunnel">Name by which the FIB publisher knows the tunnel as a port.</param>
    /// <param name="remote">The far end.</param>
    /// <param name="key">GRE key of the tunnel.</param>
    public static HopSpec Remote(string tunnel, IpAddress remote, uint key) => new(HopKind.Remote, tunnel, remote, null, key);

    /// <summary>Text for people: "via 10.255.0.2", "port dc".</summary>
    public override string ToString() => Kind switch
    {
        HopKind.Connected => $"port {Port}",
        HopKind.Via => Port is null ? $"via {Address}" : $"via {Address} port {Port}",
        HopKind.Group => $"group {GroupName}",
        HopKind.Remote => $"via {Address} {Port}",
        HopKind.Local => "local",
        HopKind.Blackhole => "blackhole",
        _ => "none",
    };
}

/// <summary>A next hop after resolution: what the FIB does.</summary>
/// <param name="Kind"><see cref="HopKind.None"/> while unresolved.</param>
/// <param name="Port">Egress port (Connected, Via).</param>
/// <param name="Address">The neighbour on that port (Via).</param>
public readonly record struct ResolvedHop(HopKind Kind, string? Port, IpAddress Address)
{
    /// <summary>False while unresolved.</summary>
    public bool IsUsable => Kind != HopKind.None;

    /// <summary>Text for people.</summary>
    public override string ToString() => Kind switch
    {
        HopKind.Connected => $"port {Port}",
        HopKind.Via => $"via {Address} port {Port}",
        HopKind.Remote => $"via {Address} {Port}",
        HopKind.None => "unresolved",
        HopKind.Local => "local",
        HopKind.Blackhole => "blackhole",
        _ => "group",
    };
}

/// <summary>
/// A next hop shared by every prefix that uses it: a stable identity. When its resolution changes, one
/// <see cref="RibChange"/> says so, whatever the number of prefixes (prefix-independent convergence).
/// </summary>
public sealed class NextHop
{
    internal NextHop(HopSpec spec) => Spec = spec;

    /// <summary>The next hop as its sources name it.</summary>
    public HopSpec Spec { get; }

    /// <summary>What it resolves to now.</summary>
    public ResolvedHop Resolved { get; internal set; }

    /// <summary>The route that resolves it, for people; null where none is needed or found.</summary>
    public IpPrefix? ResolvedThrough { get; internal set; }

    /// <summary>The PE there has failed (<see cref="LocRib.SetFailed"/>): BGP routes with this next hop are the last resort.</summary>
    public bool Failed { get; internal set; }

    /// <summary>For the FIB publisher: its own object (indirect next hop) for this next hop.</summary>
    public object? Tag { get; set; }

    /// <summary>Routes that name it now.</summary>
    public int Users { get; internal set; }

    /// <summary>The next hop on which this one's resolution rests.</summary>
    internal NextHop? Parent { get; set; }

    internal bool Queued { get; set; }

    // The drain in which it was resolved last, and how often in that.
    internal long Drain { get; set; }

    internal int Rounds { get; set; }

    /// <summary>True when this next hop's resolution rests on <paramref name="other"/>, or is it.</summary>
    internal bool RestsOn(NextHop other)
    {
        // The chain is short; the bound only guards against a cycle that a bug might make.
        NextHop? hop = this;
        for (int i = 0; hop is not null && i < 32; i++, hop = hop.Parent)
        {
            if (ReferenceEquals(hop, other)) return true;
        }

        return hop is not null;
    }

    /// <summary>True where it leads to another router, which may fail.</summary>
    internal bool CanFail => Spec.Kind is HopKind.Via or HopKind.Remote;

    /// <summary>Text for people.</summary>
    public override string ToString() => $"{Spec} ({Resolved}{(Failed ? ", failed" : "")})";
}
