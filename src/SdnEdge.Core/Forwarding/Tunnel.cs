using System.Buffers.Binary;
using System.Runtime.InteropServices;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>How packets are wrapped.</summary>
public enum TunnelEncapsulation
{
    /// <summary>GRE directly over IP, protocol 47 (RFC 2784, RFC 2890, RFC 7676).</summary>
    Gre,
    /// <summary>GRE in UDP, destination port 4754 (RFC 8086).</summary>
    GreInUdp,
}

/// <summary>DSCP across a tunnel (RFC 2983).</summary>
public enum DscpModel
{
    /// <summary>The outer DSCP is configured; the inner one is left as it is.</summary>
    Pipe,
    /// <summary>The DSCP is copied outwards and back inwards: what the core remarks, the inner packet loses.</summary>
    Uniform,
    /// <summary>The DSCP is copied outwards; the inner one is left as it is.</summary>
    Inherit,
}

/// <summary>Configuration of a tunnel.</summary>
/// <param name="Name">Name.</param>
/// <param name="Local">Outer source: a local address. Same family as <paramref name="Remote"/>.</param>
/// <param name="Remote">Outer destination: the peer. The only address from which packets are accepted.</param>
/// <param name="Key">GRE key (RFC 2890), null for none. Must be the same at both ends.</param>
public sealed record TunnelOptions(string Name, IpAddress Local, IpAddress Remote, uint? Key = null)
{
    /// <summary>GRE, or GRE in UDP.</summary>
    public TunnelEncapsulation Encapsulation { get; init; }

    /// <summary>Largest inner packet in bytes; 0 = what the egress port's MTU leaves.</summary>
    public int Mtu { get; init; }

    /// <summary>Outer TTL or hop limit, 1 to 255.</summary>
    public byte Ttl { get; init; } = 64;

    /// <summary>True: the inner TTL is copied outwards, and the smaller one inwards (RFC 3443 3.1 uniform model).</summary>
    public bool TtlUniform { get; init; }

    /// <summary>Inherit, uniform or pipe.</summary>
    public DscpModel Dscp { get; init; } = DscpModel.Inherit;

    /// <summary>Outer DSCP in the pipe model, 0 to 63.</summary>
    public byte PipeDscp { get; init; }

    /// <summary>True: RFC 6040 normal mode (ECN copied outwards, combined inwards). False: compatibility mode, outer Not-ECT.</summary>
    public bool Ecn { get; init; } = true;

    /// <summary>True: lower the MSS option of TCP SYN segments to what fits the tunnel.</summary>
    public bool MssClamp { get; init; }

    /// <summary>True: send the GRE checksum (C bit). It is verified on arrival whenever present.</summary>
    public bool Checksum { get; init; }

    /// <summary>True: send sequence numbers (S bit). They are accepted, not enforced, on arrival.</summary>
    public bool Sequence { get; init; }

    /// <summary>GRE in UDP: send the UDP checksum (RFC 8086 6).</summary>
    public bool UdpChecksum { get; init; } = true;

    /// <summary>True: packets go in only. What comes from the far end with this key belongs to no tunnel
    /// (<see cref="DropReason.TunnelUnknownPeer"/>).</summary>
    public bool SendOnly { get; init; }

    /// <summary>True for a migration's tunnel: what comes out of it never goes into another such tunnel nor back to its peer.</summary>
    public bool IsRedirect { get; init; }

    /// <summary>True when packets of the other tunnel could not be told from this one's: same ends, key and encapsulation.</summary>
    public bool IsSameOnTheWire(TunnelOptions other)
        => Local == other.Local && Remote == other.Remote && Key == other.Key && Encapsulation == other.Encapsulation;
}

/// <summary>
/// A GRE tunnel to another PE: its outer header built once, its state and its counters. Immutable but for
/// <see cref="Up"/>, <see cref="PathMtu"/> and the counters.
/// </summary>
public sealed class Tunnel
{
    /// <summary>UDP destination port of GRE in UDP (RFC 8086 3.3).</summary>
    public const ushort GreInUdpPort = 4754;

    internal const int TxPacketsField = 0, TxBytesField = 1, RxPacketsField = 2, RxBytesField = 3, LastField = 4;

    private volatile bool _up;
    private volatile int _pathMtu;
    private long _sequence;
    private int _identification;

    /// <summary>Builds the tunnel's header.</summary>
    /// <param name="options">Its configuration.</param>
    /// <param name="vrf">VRF of the inner packets.</param>
    /// <param name="underlay">VRF in which the outer packet is routed.</param>
    /// <param name="workers">Workers of the data plane.</param>
    /// <exception cref="ArgumentException">Local and remote are not of one family.</exception>
    public Tunnel(TunnelOptions options, Vrf vrf, Vrf underlay, int workers)
    {
        if (options.Local.Family != options.Remote.Family || options.Local.IsNone)
            throw new ArgumentException($"Tunnel {options.Name}: local {options.Local} and remote {options.Remote} must be of one address "
                + $"family.", nameof(options));
        (Options, Vrf, Underlay) = (options, vrf, underlay);
        Counters = new PerWorkerCounters(workers, 6);
        IsUdp = options.Encapsulation == TunnelEncapsulation.GreInUdp;
        OuterIpBytes = options.Local.IsV4 ? 20 : 40;
        GreOffset = OuterIpBytes + (IsUdp ? 8 : 0);
        int gre = 4 + (options.Checksum ? 4 : 0) + (options.Key is null ? 0 : 4) + (options.Sequence ? 4 : 0);
        KeyOffset = GreOffset + 4 + (options.Checksum ? 4 : 0);
        SequenceOffset = KeyOffset + (options.Key is null ? 0 : 4);
        HeaderBytes = GreOffset + gre;
        Template = GC.AllocateArray<byte>(HeaderBytes, pinned: true);
        Build(Template);
    }

    /// <summary>Configuration.</summary>
    public TunnelOptions Options { get; }

    /// <summary>Name.</summary>
    public string Name => Options.Name;

    /// <summary>VRF of the inner packets.</summary>
    public Vrf Vrf { get; }

    /// <summary>VRF of the outer packets.</summary>
    public Vrf Underlay { get; }

    /// <summary>Bytes that encapsulation adds: outer IP, UDP where used, GRE with its options.</summary>
    public int HeaderBytes { get; }

    /// <summary>Operational state, set by whoever probes it. A tunnel that is down drops (<see cref="DropReason.TunnelDown"/>); probes
    /// pass.</summary>
    public bool Up
    {
        get => _up;
        set => _up = value;
    }

    /// <summary>
    /// Largest outer packet that the path to the far end carries behind the first link, bytes, set by whoever found out; 0 = nothing
    /// speaks against the first link's MTU.
    /// </summary>
    public int PathMtu
    {
        get => _pathMtu;
        set => _pathMtu = value;
    }

    /// <summary>Packets sent into it. Each segment of a superpacket counts.</summary>
    public long TxPackets => Counters.Total(TxPacketsField);

    /// <summary>Inner bytes sent into it.</summary>
    public long TxBytes => Counters.Total(TxBytesField);

    /// <summary>Packets that came out of it.</summary>
    public long RxPackets => Counters.Total(RxPacketsField);

    /// <summary>Inner bytes that came out of it.</summary>
    public long RxBytes => Counters.Total(RxBytesField);

    /// <summary>When the last packet went in or came out, nanoseconds; null when none has.</summary>
    public long? LastPacketAtNs
    {
        get
        {
            long last = 0;
            for (int worker = 0; worker < Counters.Workers; worker++) last = Math.Max(last, Counters.Get(worker, LastField));
            return last == 0 ? null : last;
        }
    }

    internal PerWorkerCounters Counters { get; }

    internal readonly bool IsUdp;
    internal readonly int OuterIpBytes, GreOffset, KeyOffset, SequenceOffset;
    internal readonly byte[] Template; // pinned

    internal uint NextSequence() => (uint)Interlocked.Increment(ref _sequence) - 1;

    internal uint NextIdentification() => (uint)Interlocked.Increment(ref _identification);

    /// <summary>Lets the identifications of its fragments begin where nobody can guess (RFC 7739).</summary>
    /// <param name="seed">Any number.</param>
    public void BeginIdentificationsAt(int seed) => Volatile.Write(ref _identification, seed);

    /// <summary>Largest inner packet that fits a port of the given MTU and the path behind it.</summary>
    public int EffectiveMtu(int portMtu)
    {
        int path = _pathMtu;
        return LinkMtu(path > 0 && path < portMtu ? path : portMtu);
    }

    /// <summary>Largest inner packet that fits a port of the given MTU, whatever the path behind it carries.</summary>
    public int LinkMtu(int portMtu)
    {
        int fits = portMtu - HeaderBytes;
        return Options.Mtu > 0 && Options.Mtu < fits ? Options.Mtu : fits;
    }

    // Lengths, DSCP/ECN, checksums, UDP source port, sequence and protocol type are filled for each packet.
    private void Build(Span<byte> to)
    {
        byte protocol = IsUdp ? IpProtocol.Udp : IpProtocol.Gre;
        if (Options.Local.IsV4)
        {
            to[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(to[6..], 0x4000); // DF: the path MTU is kept, never fragmented (RFC 7588)
            to[8] = Options.Ttl;
            to[9] = protocol;
            Options.Local.Write(to[12..]);
            Options.Remote.Write(to[16..]);
        }
        else
        {
            to[0] = 0x60;
            to[6] = protocol;
            to[7] = Options.Ttl;
            Options.Local.Write(to[8..]);
            Options.Remote.Write(to[24..]);
        }

        if (IsUdp) BinaryPrimitives.WriteUInt16BigEndian(to[(OuterIpBytes + 2)..], GreInUdpPort);
        to[GreOffset] = (byte)((Options.Checksum ? 0x80 : 0) | (Options.Key is null ? 0 : 0x20) | (Options.Sequence ? 0x10 : 0));
        if (Options.Key is { } key) BinaryPrimitives.WriteUInt32BigEndian(to[KeyOffset..], key);
    }

    internal unsafe byte* TemplatePointer => (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(Template, 0);
}

/// <summary>
/// The configured tunnels by (local, remote, key, encapsulation), as an immutable hash table: replaced as a whole, read
/// without waiting.
/// </summary>
internal sealed class TunnelTable
{
    private readonly Tunnel?[] _slots;
    private readonly HashSet<(IpAddress Local, IpAddress Remote, bool Udp)> _peers = [];

    public TunnelTable(IReadOnlyCollection<Tunnel> tunnels)
    {
        int size = 4;
        while (size < tunnels.Count * 2) size *= 2;
        _slots = new Tunnel?[size];
        foreach (Tunnel tunnel in tunnels)
        {
            TunnelOptions o = tunnel.Options;
            if (o.SendOnly) continue;
            _peers.Add((o.Local, o.Remote, tunnel.IsUdp));
            int i = Hash(o.Local, o.Remote, o.Key ?? 0) & (size - 1);
            while (_slots[i] is not null) i = (i + 1) & (size - 1);
            _slots[i] = tunnel;
        }
    }

    /// <summary>Whether any tunnel, of whichever key, comes from there: what a fragment without a GRE header can be asked.</summary>
    public bool HasPeer(IpAddress local, IpAddress remote, bool udp) => _peers.Contains((local, remote, udp));

    public Tunnel? Find(IpAddress local, IpAddress remote, bool hasKey, uint key, bool udp)
    {
        int mask = _slots.Length - 1;
        for (int i = Hash(local, remote, key) & mask; ; i = (i + 1) & mask)
        {
            Tunnel? tunnel = _slots[i];
            if (tunnel is null) return null;
            TunnelOptions o = tunnel.Options;
            if (o.Local == local && o.Remote == remote && tunnel.IsUdp == udp
                && (hasKey ? o.Key == key : o.Key is null)) return tunnel;
        }
    }

    private static int Hash(IpAddress local, IpAddress remote, uint key)
    {
        ulong mixed = local.Low ^ local.High ^ ((remote.Low ^ remote.High) * 31) ^ ((ulong)key << 17);
        return (int)((mixed * 0x9E37_79B9_7F4A_7C15) >> 33);
    }
}
