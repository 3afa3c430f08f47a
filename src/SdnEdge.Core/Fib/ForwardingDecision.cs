using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Fib;

/// <summary>What a <see cref="ForwardingDecision"/> does with a packet.</summary>
public enum ForwardingKind : byte
{
    /// <summary>Drop it, silently.</summary>
    Drop,
    /// <summary>Drop it and tell the sender that the destination is unreachable.</summary>
    Unreachable,
    /// <summary>It is for the router itself.</summary>
    Local,
    /// <summary>The destination is a neighbour on the port: resolve its own address there.</summary>
    Connected,
    /// <summary>Send it to a next hop.</summary>
    Via,
    /// <summary>Encapsulate it.</summary>
    Tunnel,
    /// <summary>Keep it until the hold is released.</summary>
    Hold,
    /// <summary>Only in a <see cref="GroupDecision"/>: use the leaf's <see cref="FibLeaf.AttachedHop"/>.</summary>
    Attached,
    /// <summary>Only in a <see cref="GroupDecision"/>: to the attached hop, but not before the packet's ingress PE is done with the old
    /// path.</summary>
    Ordered,
}

/// <summary>
/// What happens to a packet once its destination has been looked up. Immutable, shared by any number of prefixes, published
/// as one reference.
/// </summary>
public sealed class ForwardingDecision
{
    /// <summary>What to do.</summary>
    public readonly ForwardingKind Kind;

    /// <summary>Kind Drop: the counter.</summary>
    public readonly DropReason Reason;

    /// <summary>Kind Connected: the port.</summary>
    public readonly PortEntry? Port;

    /// <summary>Kind Via: the next hop.</summary>
    public readonly Adjacency? Adjacency;

    /// <summary>Kind Tunnel: the tunnel.</summary>
    public readonly Tunnel? Tunnel;

    /// <summary>Kind Hold: the hold.</summary>
    public readonly Hold? Hold;

    /// <summary>Kind Ordered: the gates.</summary>
    public readonly OrderGates? Gates;

    /// <summary>
    /// Kind Via: the PE at which the route leaves this network (the BGP next hop), <c>default</c> when there is none. A packet
    /// that came out of a redirect tunnel from that PE is not sent back to it.
    /// </summary>
    public readonly IpAddress RemotePe;

    /// <summary>The destination is this router.</summary>
    public static readonly ForwardingDecision Local = new(ForwardingKind.Local);

    /// <summary>A route that says discard, silently.</summary>
    public static readonly ForwardingDecision Blackhole = new(ForwardingKind.Drop, reason: DropReason.Blackhole);

    /// <summary>A route that says unreachable: the sender is told.</summary>
    public static readonly ForwardingDecision Unreachable = new(ForwardingKind.Unreachable);

    /// <summary>In a <see cref="GroupDecision"/>: where the leaf's server is attached on this router.</summary>
    public static readonly ForwardingDecision Attached = new(ForwardingKind.Attached);

    private ForwardingDecision(
        ForwardingKind kind, DropReason reason = DropReason.None, PortEntry? port = null, Adjacency? adjacency = null,
        Tunnel? tunnel = null, Hold? hold = null, OrderGates? gates = null, IpAddress remotePe = default)
        => (Kind, Reason, Port, Adjacency, Tunnel, Hold, Gates, RemotePe) = (kind, reason, port, adjacency, tunnel, hold, gates, remotePe);

    /// <summary>Drops with a reason of its own.</summary>
    public static ForwardingDecision Drop(DropReason reason) => new(ForwardingKind.Drop, reason: reason);

    /// <summary>The destination is on the port's own subnet.</summary>
    public static ForwardingDecision Connected(PortEntry port) => new(ForwardingKind.Connected, port: port);

    /// <summary>By a next hop; <paramref name="remotePe"/> is the BGP next hop where the route was resolved through one.</summary>
    public static ForwardingDecision Via(Adjacency adjacency, IpAddress remotePe = default)
        => new(ForwardingKind.Via, port: adjacency.Port, adjacency: adjacency, remotePe: remotePe);

    /// <summary>Into a tunnel.</summary>
    public static ForwardingDecision Through(Tunnel tunnel) => new(ForwardingKind.Tunnel, tunnel: tunnel);

    /// <summary>Into a hold.</summary>
    public static ForwardingDecision Into(Hold hold) => new(ForwardingKind.Hold, hold: hold);

    /// <summary>Through the gate of the packet's ingress PE.</summary>
    public static ForwardingDecision Ordered(OrderGates gates) => new(ForwardingKind.Ordered, gates: gates);

    /// <summary>A short text for people.</summary>
    public override string ToString() => Kind switch
    {
        ForwardingKind.Drop => $"drop {Reason}",
        ForwardingKind.Connected => $"connected {Port!.Name}",
        ForwardingKind.Via => $"via {Adjacency!.Address} {Port!.Name}",
        ForwardingKind.Tunnel => $"tunnel {Tunnel!.Name}",
        ForwardingKind.Hold => $"hold {Hold!.Name}",
        _ => Kind.ToString(),
    };
}

/// <summary>
/// A next hop with an identity: every leaf that uses it sees a change of <see cref="Current"/>, whatever their number, by one
/// store (prefix-independent convergence).
/// </summary>
public sealed class IndirectNextHop
{
    private volatile ForwardingDecision _current;

    /// <summary>Makes a slot with its first decision.</summary>
    public IndirectNextHop(ForwardingDecision current) => _current = current;

    /// <summary>The decision in force. Written by the control loop, read by workers without waiting.</summary>
    public ForwardingDecision Current
    {
        get => _current;
        set => _current = value;
    }
}

/// <summary>
/// What an LPM leaf index names: a next hop, and the redirect group where the prefix belongs to one. One leaf serves all
/// prefixes with the same hop and group. Fields change by one store each; a packet reads <see cref="Group"/> once.
/// </summary>
public sealed class FibLeaf
{
    private volatile RedirectGroup? _group;
    private volatile ForwardingDecision? _attachedHop;

    /// <summary>Makes a leaf.</summary>
    public FibLeaf(IndirectNextHop hop, RedirectGroup? group = null) => (Hop, _group) = (hop, group);

    /// <summary>The hop that the RIB chose.</summary>
    public IndirectNextHop Hop { get; }

    /// <summary>The redirect group whose active decision comes before the hop; null for an ordinary prefix.</summary>
    public RedirectGroup? Group
    {
        get => _group;
        set => _group = value;
    }

    /// <summary>
    /// Where the moving server is (or will be) attached on this router: Connected or Via. Used by
    /// <see cref="ForwardingDecision.Attached"/>; null falls back to <see cref="Hop"/>.
    /// </summary>
    public ForwardingDecision? AttachedHop
    {
        get => _attachedHop;
        set => _attachedHop = value;
    }

    /// <summary>What happens now to a packet that did not come out of a redirect tunnel.</summary>
    public ForwardingDecision ForOthers
    {
        get
        {
            ForwardingDecision decision = Group?.Active.ForOthers ?? Hop.Current;
            return decision.Kind == ForwardingKind.Attached ? AttachedHop ?? Hop.Current : decision;
        }
    }
}
