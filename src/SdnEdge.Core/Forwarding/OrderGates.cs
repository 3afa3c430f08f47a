using SdnEdge.Core.Fib;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Keeps what one ingress PE sends by the direct path until its last packet on the old path has come through the tunnel. A
/// gate is a <see cref="Forwarding.Hold"/>: closed while that is armed, opening while it drains, open once it is released.
/// </summary>
/// <param name="ingress">By which address it is known (<see cref="MarkerSender"/>); the router's own for clients here.</param>
/// <param name="hold">What keeps the packets.</param>
public sealed class OrderGate(IpAddress ingress, Hold hold)
{
    /// <summary>The address of the ingress PE.</summary>
    public IpAddress Ingress { get; } = ingress;

    /// <summary>What keeps the packets.</summary>
    public Hold Hold { get; } = hold;
}

/// <summary>
/// The gates of one migration at its target, and how a packet finds its own: the best route to the packet's source names the
/// PE it came in by: its next hop, in a customer's VRF its tunnel. Immutable but for its counter; read by workers without waiting.
/// </summary>
public sealed class OrderGates
{
    private readonly Dictionary<IpAddress, OrderGate> _byIngress;
    private readonly IpAddress _ownV4, _ownV6;
    private readonly PerWorkerCounters _unordered;

    /// <summary>Makes them.</summary>
    /// <param name="vrf">VRF in which sources are looked up.</param>
    /// <param name="gates">The gates; one for each loopback.</param>
    /// <param name="own">The router's own addresses as an ingress, one of each family: gates of clients attached here.</param>
    /// <param name="workers">Workers of the data plane.</param>
    public OrderGates(Vrf vrf, IReadOnlyList<OrderGate> gates, IReadOnlyList<IpAddress> own, int workers)
    {
        (Vrf, All) = (vrf, gates);
        _byIngress = gates.ToDictionary(g => g.Ingress);
        _ownV4 = own.FirstOrDefault(a => a.IsV4);
        _ownV6 = own.FirstOrDefault(a => a.IsV6);
        _unordered = new PerWorkerCounters(workers, 1);
    }

    /// <summary>VRF of the packets.</summary>
    public Vrf Vrf { get; }

    /// <summary>All gates.</summary>
    public IReadOnlyList<OrderGate> All { get; }

    /// <summary>Packets that came by the direct path from an ingress without a gate, and were delivered as they came. A superpacket counts
    /// once.</summary>
    public long Unordered => _unordered.Total(0);

    /// <summary>The gate of the ingress by which a source's packets come; null: none, which is counted.</summary>
    internal OrderGate? Of(IpAddress source, int worker)
    {
        ForwardingDecision? way = Vrf.Lookup(source)?.Hop.Current;
        IpAddress ingress = way switch
        {
            null => default,
            { Kind: ForwardingKind.Via, RemotePe.IsNone: false } when Vrf.IsDefault => way.RemotePe,
            { Kind: ForwardingKind.Tunnel } when !Vrf.IsDefault => MarkerSender.OfEndpoint(way.Tunnel!.Options.Remote, source.Family),
            { Kind: ForwardingKind.Via or ForwardingKind.Connected } => source.IsV4 ? _ownV4 : _ownV6,
            _ => default,
        };
        if (_byIngress.TryGetValue(ingress, out OrderGate? gate)) return gate;
        _unordered.Add(worker, 0);
        return null;
    }
}
