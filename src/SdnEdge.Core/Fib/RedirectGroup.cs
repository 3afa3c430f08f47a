using SdnEdge.Core.Forwarding;

namespace SdnEdge.Core.Fib;

/// <summary>
/// What a redirect group does now: one decision for packets that came out of a redirect (migration) tunnel and one for all
/// others. Null means native: the leaf's own hop. Immutable but for its counters, which live on lines of their own for each
/// worker, so that packets forwarded by an old decision after a switch can be counted exactly.
/// </summary>
public sealed class GroupDecision
{
    private const int OthersField = 0, TunnelArrivalsField = 1, FirstField = 2, Fields = 3;

    private readonly PerWorkerCounters _counters;

    internal GroupDecision(string name, ForwardingDecision? forTunnelArrivals, ForwardingDecision? forOthers, int workers)
    {
        (Name, ForTunnelArrivals, ForOthers) = (name, forTunnelArrivals, forOthers);
        _counters = new PerWorkerCounters(workers, Fields);
    }

    /// <summary>native, tunnel, hold, hold-all, returning, releasing or deliver.</summary>
    public string Name { get; }

    /// <summary>For packets that came out of a redirect tunnel; null = native.</summary>
    public ForwardingDecision? ForTunnelArrivals { get; }

    /// <summary>For all other packets; null = native.</summary>
    public ForwardingDecision? ForOthers { get; }

    /// <summary>Packets that took this decision, from outside a redirect tunnel. A superpacket counts once.</summary>
    public long Others => _counters.Total(OthersField);

    /// <summary>Packets that took this decision, out of a redirect tunnel. A superpacket counts once.</summary>
    public long TunnelArrivals => _counters.Total(TunnelArrivalsField);

    /// <summary>All packets that took this decision.</summary>
    public long Packets => Others + TunnelArrivals;

    /// <summary>When the first packet took it; null when none has.</summary>
    public long? FirstPacketAtNs
    {
        get
        {
            long first = long.MaxValue;
            for (int worker = 0; worker < _counters.Workers; worker++)
            {
                long at = _counters.Get(worker, FirstField);
                if (at != 0 && at < first) first = at;
            }

            return first == long.MaxValue ? null : first;
        }
    }

    internal ForwardingDecision? Choose(bool tunnelArrival, int worker, long now)
    {
        int field = tunnelArrival ? TunnelArrivalsField : OthersField;
        _counters.Add(worker, field);
        if (_counters.Get(worker, FirstField) == 0) _counters.Set(worker, FirstField, now);
        return tunnelArrival ? ForTunnelArrivals : ForOthers;
    }
}

/// <summary>
/// The unit of migration: the leaves of all its prefixes point at the group, the group points at one active decision. Every
/// change of what a packet sees is ONE reference store (<see cref="Active"/>), so no packet sees half a change and the cost
/// does not depend on the number of prefixes. The control loop is the only writer, but for the step from "releasing" to
/// "deliver", which the worker that drains the hold takes by a compare-and-swap.
/// <para>At the source: <see cref="Arm"/>, <see cref="Switch"/>, grace period, <see cref="MarkAcknowledged"/>; back by
/// <see cref="SwitchBack"/>. At the target: <see cref="ArmHold"/> (a backup: <see cref="HoldAll"/>, <see cref="LetGo"/>), then
/// <see cref="Release"/> and <see cref="Settle"/>;
/// when the move is given up, the hold alone is released the native way, and then <see cref="SwitchBack"/>.</para>
/// </summary>
public sealed class RedirectGroup
{
    // An armed backup may flip and go back for years: of decisions before these only the sums are kept.
    private const int MaxDecisions = 32;

    private readonly int _workers;
    private readonly Lock _history = new();
    private readonly List<GroupDecision> _decisions = [];
    private readonly List<(GroupDecision Decision, long PacketsAtAcknowledgement)> _superseded = [];
    private GroupDecision _active;
    private GroupDecision? _armed;
    private GroupDecision? _previous;
    private OrderGates? _order;
    private long _olderNative, _olderTunnel, _olderStale;
    private long? _olderFirst;
    private bool _showsMarkers;

    /// <summary>Makes a group that is native: nothing changes for its prefixes.</summary>
    /// <param name="name">Name, usually the migration's id.</param>
    /// <param name="vrf">Name of the VRF.</param>
    /// <param name="workers">Workers of the data plane.</param>
    public RedirectGroup(string name, string vrf, int workers)
    {
        (Name, Vrf, _workers) = (name, vrf, workers);
        _active = Make("native", null, null);
    }

    /// <summary>Name of the group.</summary>
    public string Name { get; }

    /// <summary>VRF of its prefixes.</summary>
    public string Vrf { get; }

    /// <summary>The decision in force.</summary>
    public GroupDecision Active => Volatile.Read(ref _active);

    /// <summary>Packets of the group forwarded the native way, so far.</summary>
    public long NativePackets => Sum(Native, ref _olderNative);

    /// <summary>Packets of the group sent into a tunnel by the group's decision, so far.</summary>
    public long TunnelPackets => Sum(IntoTunnel, ref _olderTunnel);

    /// <summary>Decisions that are kept, for tests.</summary>
    internal int Decisions
    {
        get
        {
            lock (_history) return _decisions.Count;
        }
    }

    /// <summary>Packets forwarded by a superseded decision after its successor's grace period had ended. Must be 0.</summary>
    public long StalePackets
    {
        get
        {
            lock (_history) return _olderStale + _superseded.Sum(s => s.Decision.Packets - s.PacketsAtAcknowledgement);
        }
    }

    /// <summary>When the first packet went into the tunnel by the group's decision; null when none has.</summary>
    public long? FirstTunnelPacketAtNs
    {
        get
        {
            lock (_history) return _olderFirst ?? FirstIntoTunnel(_decisions);
        }
    }

    /// <summary>Target: gates through which packets go that come by the direct path; flush markers for the group are taken out while it is
    /// set. Null: none.</summary>
    public OrderGates? Order
    {
        get => Volatile.Read(ref _order);
        set => Volatile.Write(ref _order, value);
    }

    /// <summary>Source: the control loop is shown the flush markers that go by.</summary>
    public bool ShowsMarkers
    {
        get => Volatile.Read(ref _showsMarkers);
        set => Volatile.Write(ref _showsMarkers, value);
    }

    /// <summary>Source: makes ready what <see cref="Switch"/> will store. Packets see no change yet.</summary>
    public void Arm(ForwardingDecision forOthers) => _armed = Make("tunnel", null, forOthers);

    /// <summary>Source: the armed decision comes into force. One store.</summary>
    /// <exception cref="InvalidOperationException">Nothing is armed.</exception>
    public void Switch()
    {
        GroupDecision armed = _armed ?? throw new InvalidOperationException($"Group {Name} is not armed: call Arm before Switch.");
        _previous = _active;
        Volatile.Write(ref _active, armed);
        _armed = null;
    }

    /// <summary>Both: back to native. One store.</summary>
    public void SwitchBack()
    {
        GroupDecision native = Make("native", null, null);
        _previous = _active;
        Volatile.Write(ref _active, native);
        _armed = null;
    }

    /// <summary>
    /// Source: what comes from elsewhere waits in <paramref name="hold"/>; what comes out of the tunnel goes the native way, ahead of that.
    /// When the hold has been released and is empty, all goes the native way. One store.
    /// </summary>
    public void WaitForReturn(Hold hold)
    {
        ArgumentNullException.ThrowIfNull(hold);
        GroupDecision waiting = Make("returning", null, ForwardingDecision.Into(hold));
        hold.WhenDrained(this, waiting, Make("native", null, null));
        _previous = _active;
        Volatile.Write(ref _active, waiting);
    }

    /// <summary>Target: what <paramref name="held"/> has goes back by <paramref name="back"/>; when it is empty, <paramref name="next"/>
    /// holds in its place, with <paramref name="all"/> what comes by the direct path, too. One store.</summary>
    public void GiveBack(Hold held, ForwardingDecision back, Hold next, bool all = false)
    {
        ArgumentNullException.ThrowIfNull(held);
        ArgumentNullException.ThrowIfNull(next);
        ForwardingDecision into = ForwardingDecision.Into(next);
        GroupDecision returning = Make("returning", ForwardingDecision.Into(held), all ? into : null);
        held.WhenDrained(this, returning, all ? Make("hold-all", into, into) : Make("hold", into, null));
        _previous = _active;
        Volatile.Write(ref _active, returning);
        held.BeginReturn(back);
    }

    /// <summary>Target: from now on packets out of the redirect tunnel are held; all others go the native way. One store.</summary>
    public void ArmHold(Hold hold)
    {
        GroupDecision armed = Make("hold", ForwardingDecision.Into(hold), null);
        _previous = _active;
        Volatile.Write(ref _active, armed);
    }

    /// <summary>Target that is a backup, when the source PE has failed: what comes by the direct path is held, too. <see cref="LetGo"/> is
    /// the way back. One store.</summary>
    public void HoldAll(Hold hold)
    {
        ForwardingDecision into = ForwardingDecision.Into(hold);
        GroupDecision all = Make("hold-all", into, into);
        _previous = _active;
        Volatile.Write(ref _active, all);
    }

    /// <summary>Target that is a backup, when the source PE is back: what <paramref name="held"/> has, and what comes behind it, goes the
    /// native way; when it is empty, <paramref name="next"/> holds what comes out of the redirect tunnel. One store.</summary>
    public void LetGo(Hold held, Hold next)
    {
        ArgumentNullException.ThrowIfNull(held);
        ArgumentNullException.ThrowIfNull(next);
        ForwardingDecision into = ForwardingDecision.Into(held);
        GroupDecision leaving = Make("returning", into, into);
        held.WhenDrained(this, leaving, Make("hold", ForwardingDecision.Into(next), null));
        _previous = _active;
        Volatile.Write(ref _active, leaving);
        held.BeginRelease(DrainPath.Native);
    }

    /// <summary>
    /// Target: everything for the group goes to the attached hop (<see cref="FibLeaf.AttachedHop"/>): through the hold, behind
    /// what it has, until it is empty, then directly; what comes by the direct path goes through its gate where the group has
    /// any (<see cref="Order"/>). One store for the packets; the hold then begins to drain.
    /// <paramref name="hold"/> null: nothing was held, so deliver at once.
    /// </summary>
    public void Release(Hold? hold)
    {
        ForwardingDecision? ordered = Order is { } gates ? ForwardingDecision.Ordered(gates) : null;
        GroupDecision deliver = Make("deliver", ForwardingDecision.Attached, ordered ?? ForwardingDecision.Attached);
        GroupDecision next = deliver;
        if (hold is not null)
        {
            ForwardingDecision into = ForwardingDecision.Into(hold);
            next = Make("releasing", into, ordered ?? into);
            hold.WhenDrained(this, next, deliver);
        }

        _previous = _active;
        Volatile.Write(ref _active, next);
        hold?.BeginRelease(DrainPath.Attached);
    }

    /// <summary>Target: everything for the group is delivered as it comes, past hold and gates. One store. What they still have is theirs
    /// to send.</summary>
    public void Settle()
    {
        GroupDecision settled = Make("deliver", ForwardingDecision.Attached, ForwardingDecision.Attached);
        _previous = _active;
        Volatile.Write(ref _active, settled);
    }

    /// <summary>
    /// The last change's grace period is over: no worker can still be using the decision before it. Packets that nevertheless
    /// are counted there from now on are stale.
    /// </summary>
    public void MarkAcknowledged()
    {
        if (_previous is not { } previous) return;
        _previous = null;
        lock (_history) _superseded.Add((previous, previous.Packets));
    }

    /// <summary>A mirror of a group follows it: both decisions at once, null = native. One store.</summary>
    internal void Set(ForwardingDecision? forTunnelArrivals, ForwardingDecision? forOthers)
        => Volatile.Write(ref _active, Make("mirrored", forTunnelArrivals, forOthers));

    // By the worker that drained the hold, under the hold's lock. False when the control loop has decided otherwise meanwhile.
    internal bool Advance(GroupDecision from, GroupDecision to) => Interlocked.CompareExchange(ref _active, to, from) == from;

    private GroupDecision Make(string name, ForwardingDecision? forTunnelArrivals, ForwardingDecision? forOthers)
    {
        GroupDecision decision = new(name, forTunnelArrivals, forOthers, _workers);
        lock (_history)
        {
            _decisions.Add(decision);
            if (_decisions.Count > MaxDecisions) ForgetOldest();
        }

        return decision;
    }

    // One that has not been in force for long; packets that were to take it still would not be counted.
    private void ForgetOldest()
    {
        GroupDecision oldest = _decisions[0];
        if (ReferenceEquals(oldest, _active) || ReferenceEquals(oldest, _previous)) return;
        _decisions.RemoveAt(0);
        _olderFirst ??= FirstIntoTunnel([oldest]);
        _olderNative += Native(oldest);
        _olderTunnel += IntoTunnel(oldest);
        int at = _superseded.FindIndex(s => ReferenceEquals(s.Decision, oldest));
        if (at < 0) return;
        _olderStale += oldest.Packets - _superseded[at].PacketsAtAcknowledgement;
        _superseded.RemoveAt(at);
    }

    private static long Native(GroupDecision d) => (d.ForOthers is null ? d.Others : 0)
        + (d.ForTunnelArrivals is null ? d.TunnelArrivals : 0);

    private static long IntoTunnel(GroupDecision d) => (d.ForOthers?.Kind == ForwardingKind.Tunnel ? d.Others : 0)
        + (d.ForTunnelArrivals?.Kind == ForwardingKind.Tunnel ? d.TunnelArrivals : 0);

    private static long? FirstIntoTunnel(IEnumerable<GroupDecision> decisions)
        => decisions.Where(d => d.ForOthers?.Kind == ForwardingKind.Tunnel).Min(d => d.FirstPacketAtNs);

    private long Sum(Func<GroupDecision, long> count, ref long older)
    {
        lock (_history) return older + _decisions.Sum(count);
    }
}
