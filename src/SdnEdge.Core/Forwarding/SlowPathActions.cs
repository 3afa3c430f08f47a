using System.Runtime.InteropServices;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>What the slow path asks its driver to do.</summary>
public enum SlowPathActionKind : byte
{
    /// <summary>Send the frame on the port as it is.</summary>
    SendFrame,
    /// <summary>Route the IP packet in the VRF as the router's own.</summary>
    Originate,
    /// <summary>A neighbour was learnt, changed its MAC address or its state.</summary>
    NeighborChanged,
    /// <summary>Somebody on the way to <see cref="SlowPathAction.Address"/> says that larger packets than <see cref="SlowPathAction.Mtu"/>
    /// do not fit.</summary>
    PathMtu,
    /// <summary>The neighbour has answered behind everything that had been sent to it.</summary>
    Proved,
    /// <summary>A router has advertised itself on the port, where that is wanted.</summary>
    RouterHeard,
}

/// <summary>One thing to do. Frame and packet bytes are got with <see cref="SlowPathActions.Bytes"/>.</summary>
public readonly record struct SlowPathAction
{
    /// <summary>What.</summary>
    public SlowPathActionKind Kind { get; init; }

    /// <summary>Port of SendFrame, NeighborChanged, Proved and RouterHeard.</summary>
    public int Port { get; init; }

    /// <summary>VRF of Originate and PathMtu.</summary>
    public int Vrf { get; init; }

    /// <summary>The neighbour, the router, or the destination whose path MTU was reported.</summary>
    public IpAddress Address { get; init; }

    /// <summary>The neighbour's MAC address; null while unknown.</summary>
    public MacAddress? Mac { get; init; }

    /// <summary>
    /// The neighbour's state. Failed: it did not answer. Incomplete without a MAC address: the failure is forgotten, the next
    /// packet starts anew.
    /// </summary>
    public NeighborState State { get; init; }

    /// <summary>Reported path MTU, bytes of IP packet.</summary>
    public int Mtu { get; init; }

    /// <summary>PathMtu: source of the packet that was too large, an address of ours.</summary>
    public IpAddress Source { get; init; }

    /// <summary>PathMtu: the router that says so.</summary>
    public IpAddress SaidBy { get; init; }

    /// <summary>PathMtu: the packet was GRE in UDP, otherwise GRE.</summary>
    public bool IsUdp { get; init; }

    /// <summary>PathMtu: the GRE key that the packet had; null = none, or not quoted.</summary>
    public uint? Key { get; init; }

    internal int Offset { get; init; }

    internal int Length { get; init; }
}

/// <summary>
/// The list of things to do that one call of the slow path returns. The driver owns it, carries out the items in order and
/// clears it; it is reused, so a call in steady state allocates nothing.
/// </summary>
public sealed class SlowPathActions
{
    private readonly List<SlowPathAction> _items = [];
    private byte[] _bytes = new byte[4096];
    private int _used;

    /// <summary>What is to be done, in order.</summary>
    public ReadOnlySpan<SlowPathAction> Items => CollectionsMarshal.AsSpan(_items);

    /// <summary>The frame or packet of an item of this list; valid until <see cref="Clear"/>.</summary>
    public ReadOnlySpan<byte> Bytes(in SlowPathAction action) => _bytes.AsSpan(action.Offset, action.Length);

    /// <summary>Empties the list.</summary>
    public void Clear()
    {
        _items.Clear();
        _used = 0;
    }

    internal Span<byte> SendFrame(int port, int length)
    {
        _items.Add(new SlowPathAction { Kind = SlowPathActionKind.SendFrame, Port = port, Offset = _used, Length = length });
        return Take(length);
    }

    internal Span<byte> Originate(int vrf, int length)
    {
        _items.Add(new SlowPathAction { Kind = SlowPathActionKind.Originate, Vrf = vrf, Offset = _used, Length = length });
        return Take(length);
    }

    internal void NeighborChanged(int port, IpAddress address, MacAddress? mac, NeighborState state)
        => _items.Add(new SlowPathAction { Kind = SlowPathActionKind.NeighborChanged, Port = port, Address = address, Mac = mac, State =
            state });

    internal void RouterHeard(int port, IpAddress address)
        => _items.Add(new SlowPathAction { Kind = SlowPathActionKind.RouterHeard, Port = port, Address = address });

    internal void Proved(int port, IpAddress address)
        => _items.Add(new SlowPathAction { Kind = SlowPathActionKind.Proved, Port = port, Address = address });

    internal void PathMtu(int vrf, IpAddress source, IpAddress destination, int mtu, IpAddress saidBy, bool udp, uint? key)
        => _items.Add(new SlowPathAction
        {
            Kind = SlowPathActionKind.PathMtu, Vrf = vrf, Source = source, Address = destination, Mtu = mtu, SaidBy = saidBy, IsUdp = udp,
            Key = key,
        });

    // Valid only until the next one is taken: the array may grow.
    private Span<byte> Take(int length)
    {
        if (_used + length > _bytes.Length) Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _used + length));
        Span<byte> span = _bytes.AsSpan(_used, length);
        span.Clear();
        _used += length;
        return span;
    }
}
