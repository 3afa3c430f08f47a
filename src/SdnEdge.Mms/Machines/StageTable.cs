using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>One stage of a move.</summary>
/// <param name="Stage">The stage.</param>
/// <param name="Commands">What must have taken effect before the stage ends.</param>
/// <param name="Next">The stage after it.</param>
/// <param name="DeadlineMs">Longest time for it; then the move is undone. Null: it waits, however long.</param>
/// <param name="BeforePivot">True: it can still be undone without asking anybody.</param>
/// <param name="Meanwhile">What is asked from here on, too, and waited for in a later stage: each round trip to a party takes its
/// time.</param>
public sealed record StageRow(
    MoveStage Stage, Func<MoveState, IEnumerable<MoveCommand>> Commands, MoveStage Next, Func<MoveOptions, int>? DeadlineMs = null,
    bool BeforePivot = false, Func<MoveState, IEnumerable<MoveCommand>>? Meanwhile = null);

/// <summary>
/// A move as a table: each stage with what it asks of whom, how long it may take, and what comes next. Undoing is the second part of the
/// table; <see cref="MoveMachine"/> decides when a move goes over to it.
/// <code>
/// before   await-window: only where the move has a window
/// forward  prepare-target, prepare-source, mirror, switch, stop | pivot | hand-over, activate | the servers run |
///          release, hold-drain, advertise, direct-path, withdraw, drain, teardown-source, last-packet, teardown-target, inspect
/// undo     resume-source, abort-source, empty-tunnel, abort-target, give-back, inspect-undo
/// no state a move without servers: mirror waits until the target's instances answer; stop, hand-over, activate ask no host anything
/// between  void: after the pivot, while no target is known to run (R5)
/// failover fence (the hosts' word, or that their last lease has run out), the first stage, instead of all before the pivot | pivot |
///          activate, and so on; the source PE's switch is confirmed beside that, for it may be dead
/// settle   the first stage of a move whose journal was lost; then forward from activate, or undo
/// </code>
/// </summary>
public static class StageTable
{
    // How long a PE keeps a signal that was sent together with the one before it.
    private const int WaitMs = 5_000;

    // The same for one that waits for flush markers: its bound is shorter than that of the stage that goes on without them.
    private const int MarkersWaitMs = 1_000;

    private static readonly Dictionary<MoveStage, StageRow> s_rows = new StageRow[]
    {
        new(MoveStage.Planned, _ => [], MoveStage.PrepareTarget),
        new(MoveStage.AwaitWindow, s => [new WaitForWindow("near")], MoveStage.PrepareTarget, BeforePivot: true),
        new(MoveStage.PrepareTarget,
            s => [.. Signals(s, SignalKind.Prepare, target: true), .. Orders(s, ServerOrder.Prepare, target: true)],
            MoveStage.PrepareSource, o => o.StepMs, BeforePivot: true,
            Meanwhile: s => Ahead([.. PrepareSource(s), .. Watches(s, PathWatch.TunnelUp), .. Mirrored(s, Offered(s))], s)),
        new(MoveStage.PrepareSource, PrepareSource, MoveStage.Mirror, o => o.StepMs, BeforePivot: true,
            Meanwhile: s => Ahead([.. Watches(s, PathWatch.TunnelUp), .. Mirrored(s, Offered(s))], s)),
        new(MoveStage.Mirror,
            s => [.. Watches(s, PathWatch.TunnelUp), .. s.Plan.Options.Window is null ? [] : (MoveCommand[])[new WaitForWindow("open")],
                .. Mirrored(s, s.Plan.Servers), .. Answering(s)],
            MoveStage.Switch, o => o.MirrorMs, BeforePivot: true),
        new(MoveStage.Switch, s => Signals(s, SignalKind.Switch, target: false), MoveStage.Stop, o => o.StepMs, BeforePivot: true),
        new(MoveStage.Stop,
            s => [.. Orders(s, ServerOrder.Stop, target: false), .. Watches(s, PathWatch.Holding)],
            MoveStage.HandOver, o => o.StopMs, BeforePivot: true),
        new(MoveStage.HandOver, s => Orders(s, ServerOrder.HandOver, target: false, x => !x.Undoable), MoveStage.Activate),
        new(MoveStage.Activate, s => Orders(s, ServerOrder.Activate, target: true), MoveStage.Release,
            Meanwhile: s => [.. Ahead(AfterServers(s), s), .. Confirm(s)]),
        new(MoveStage.Release, s => Signals(s, SignalKind.Release, target: true), MoveStage.HoldDrain,
            Meanwhile: s => [.. Ahead([.. HoldEmpty(s), .. Ordered([.. Advertise(s), .. DirectPath(s)], s)], s), .. AfterMarkers(s),
                .. Retire(s), .. Confirm(s)]),
        new(MoveStage.HoldDrain, HoldEmpty, MoveStage.Advertise,
            Meanwhile: s => [.. Ahead(Ordered([.. Advertise(s), .. DirectPath(s)], s), s), .. AfterMarkers(s), .. Retire(s),
                .. Confirm(s)]),
        new(MoveStage.Advertise, Advertise, MoveStage.DirectPath,
            Meanwhile: s => [.. Ahead(Ordered(DirectPath(s), s), s), .. AfterMarkers(s), .. Retire(s), .. Confirm(s)]),
        new(MoveStage.DirectPath, s => [.. DirectPath(s), .. Confirm(s)], MoveStage.Withdraw,
            Meanwhile: s => [.. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.Withdraw, s => Signals(s, SignalKind.Withdraw, target: false), MoveStage.Drain,
            Meanwhile: s => [.. Ahead(Drained(s).Any() ? [] : TeardownSource(s), s), .. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.Drain, Drained, MoveStage.TeardownSource, Meanwhile: s => [.. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.TeardownSource, s => Signals(s, SignalKind.Teardown, target: false), MoveStage.LastPacket,
            Meanwhile: s => [.. Ahead(Ordered(LastPacket(s), s), s), .. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.LastPacket, LastPacket, MoveStage.TeardownTarget, Meanwhile: s => [.. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.TeardownTarget, s => Signals(s, SignalKind.Teardown, target: true), MoveStage.Inspect,
            Meanwhile: s => [.. AfterMarkers(s), .. Retire(s)]),
        new(MoveStage.Inspect, s => [.. Retire(s), .. Inspection(s)], MoveStage.Ended),
        new(MoveStage.Void,
            s => Orders(s, ServerOrder.Void, target: true, x => !s.Running.Contains(x.Name)),
            MoveStage.ResumeSource),
        new(MoveStage.Settle,
            s => s.Plan.Settle is not { } settle ? [] : settle.Asks.Select(a => new SendOrder(
                a.Host, a.Server, a.Order, new ServerOrderRequest(a.Epoch, s.Plan.Migration))),
            MoveStage.ResumeSource),
        new(MoveStage.Fence, Fence, MoveStage.Activate, BeforePivot: true),
        new(MoveStage.ResumeSource, s => s.StopUnconfirmed ? [] : Resume(s), MoveStage.AbortSource, Meanwhile: Cancel),
        new(MoveStage.AbortSource, s => s.SourcesAsked ? Signals(s, SignalKind.Abort, target: false) : [], MoveStage.EmptyTunnel,
            Meanwhile: Undone),
        new(MoveStage.EmptyTunnel, s => s.SwitchAsked ? Watches(s, PathWatch.LastPacket) : [], MoveStage.AbortTarget, Meanwhile: Undone),
        new(MoveStage.AbortTarget, s => Signals(s, SignalKind.Abort, target: true), MoveStage.GiveBack, Meanwhile: Undone),
        new(MoveStage.GiveBack, s => Watches(s, PathWatch.GivenBack), MoveStage.InspectUndo, Meanwhile: Undone),
        new(MoveStage.InspectUndo,
            s =>
            [
                .. Undone(s), .. Watches(s, PathWatch.Clean),
                .. s.SourcesAsked ? s.Plan.Servers.Select(x => new WatchServer(ServerWatch.RunsAtSource, x.Name, s.Epoch)) : [],
            ],
            MoveStage.Ended),
        new(MoveStage.Ended, _ => [], MoveStage.Ended),
    }.ToDictionary(r => r.Stage);

    /// <summary>The row of a stage.</summary>
    public static StageRow Of(MoveStage stage) => s_rows[stage];

    /// <summary>All rows, in the order of the stages.</summary>
    public static IEnumerable<StageRow> Rows => s_rows.Values.OrderBy(r => r.Stage);

    private static IEnumerable<MoveCommand> PrepareSource(MoveState s)
        => [.. Signals(s, SignalKind.Prepare, target: false), .. Orders(s, ServerOrder.Prepare, target: false)];

    // The convenient point is of no use before the window is open.
    private static IEnumerable<MoveCommand> Mirrored(MoveState s, IEnumerable<ServerMove> servers)
        => s.Plan.Options.Window is not null && !s.WindowIsOpen ? []
            : servers.Select(x => new WatchServer(ServerWatch.Mirrored, x.Name, s.Epoch));

    // Right before the switch, so that nobody is led to an instance that is dead. A server is started by its host, and answers to that.
    private static IEnumerable<MoveCommand> Answering(MoveState s)
        => !s.Plan.IsStateless || (s.Plan.Options.Window is not null && !s.WindowIsOpen) ? [] : Watches(s, PathWatch.Answering);

    // Of these the copy has begun.
    private static IEnumerable<ServerMove> Offered(MoveState s) => s.Plan.Servers.Where(
        x => Orders(s, ServerOrder.Prepare, target: false, o => o == x).All(c => s.Done.Contains(c.Key)));

    // Where order is kept, what comes by the direct path waits for the hold anyhow, and the target is torn down only when it is empty.
    private static IEnumerable<MoveCommand> HoldEmpty(MoveState s) => s.Plan.Paths
        .Where(p => p.Hold is not { Disabled: true } && !(s.Plan.Ahead && p.Order is not null))
        .Select(p => new WatchPath(PathWatch.HoldEmpty, p.Id));

    private static IEnumerable<MoveCommand> Advertise(MoveState s) => Signals(s, SignalKind.Advertise, target: true);

    private static IEnumerable<MoveCommand> DirectPath(MoveState s) => Watches(s, PathWatch.DirectPath);

    // Where the markers of all ingress PEs have gone by the source, no more comes to the tunnel.
    private static IEnumerable<MoveCommand> Drained(MoveState s)
        => s.Plan.Paths.Where(p => !(s.Plan.Ahead && s.EvidenceOf(p.Id).Passed)).Select(p => new WatchPath(PathWatch.Drained, p.Id));

    private static IEnumerable<MoveCommand> TeardownSource(MoveState s)
        => [.. Signals(s, SignalKind.Teardown, target: false), .. Ordered(LastPacket(s), s)];

    private static IEnumerable<MoveCommand> LastPacket(MoveState s)
        => s.Plan.Paths.Where(p => !s.EvidenceOf(p.Id).Settled).Select(p => new WatchPath(PathWatch.LastPacket, p.Id));

    // The PEs see the flush markers before the manager can: where all ingress PEs send them, the last signals are asked ahead, each to be
    // carried out when the markers are there. One that has waited in vain comes back refused, and the stages go on without it.
    private static IEnumerable<MoveCommand> AfterMarkers(MoveState s)
    {
        if (!s.Plan.Ahead || !s.Plan.Paths.All(p => p is { Order: not null, OtherIngress: false } && !s.EvidenceOf(p.Id).OthersSeen))
            return [];
        MoveCommand[] withdraw = [.. Waiting(Signals(s, SignalKind.Withdraw, target: false))];
        return
        [
            .. withdraw,
            .. Waiting(Signals(s, SignalKind.Teardown, target: false)),
            .. Waiting(Signals(s, SignalKind.Teardown, target: true)),

            // Not before the end is near: what is seen is to be true when the move ends.
            .. withdraw.All(w => s.Done.Contains(w.Key)) ? Inspection(s) : [],
        ];

        static IEnumerable<MoveCommand> Waiting(IEnumerable<MoveCommand> signals) => signals.Cast<SendSignal>()
            .Select(c => c with { Request = c.Request with { AfterMarkers = true, WaitMs = MarkersWaitMs } });
    }

    // The target PE sees that the servers run before the manager can be told: it then lets go what it holds at once. Where what the
    // servers send first is kept back, the manager has to say for how long.
    private static IEnumerable<MoveCommand> AfterServers(MoveState s) => Signals(s, SignalKind.Release, target: true).Cast<SendSignal>()
        .Where(c => s.Plan.Paths.First(p => p.Id == c.Path) is { KeepBackMs: 0, Hold: not { Disabled: true } })
        .Select(c => c with { Request = c.Request with { AfterServers = true, WaitMs = WaitMs } });

    private static IEnumerable<MoveCommand> Inspection(MoveState s) =>
    [
        .. Watches(s, PathWatch.Clean), .. s.Plan.Servers.Select(x => new WatchServer(ServerWatch.RunsAtTarget, x.Name, s.Epoch)),
    ];

    private static IEnumerable<MoveCommand> Ahead(IEnumerable<MoveCommand> commands, MoveState s) => s.Plan.Ahead ? commands : [];

    // What may be asked ahead where order is kept: what comes by the direct path waits at the target for what came before it.
    private static IEnumerable<MoveCommand> Ordered(IEnumerable<MoveCommand> commands, MoveState s)
        => s.Plan.Paths.All(p => p.Order is not null) ? commands : [];

    // Of a fail-over: from then on the source PE does not go back by itself.
    private static IEnumerable<MoveCommand> Confirm(MoveState s)
        => s.Plan.Failover is null ? [] : Signals(s, SignalKind.Switch, target: false);

    // Whichever comes first: all hosts have said that their servers are dead, or the last lease of theirs has run out.
    private static IEnumerable<MoveCommand> Fence(MoveState s)
    {
        MoveCommand[] kill = [.. Orders(s, ServerOrder.Fence, target: false)];
        if (s.Plan.Failover?.Lease is not { } lease) return kill;
        var revoke = new RevokeLease(lease);
        return s.Done.Contains(revoke.Key) || kill.All(c => s.Done.Contains(c.Key)) ? [] : [.. kill, revoke];
    }

    // A source that was fenced by its lease alone is told so when it answers again, before it is told anything else.
    private static IEnumerable<MoveCommand> Retire(MoveState s)
        => [.. s.Plan.Failover?.Lease is null ? [] : Orders(s, ServerOrder.Fence, target: false),
            .. Orders(s, ServerOrder.Retire, target: false)];

    private static IEnumerable<MoveCommand> Resume(MoveState s) => s.SourcesAsked ? Orders(s, ServerOrder.Resume, target: false) : [];

    // A source host that did not answer in time is told, too, and waited for at the end: the PEs need no host to switch back.
    private static IEnumerable<MoveCommand> Undone(MoveState s) => s.StopUnconfirmed ? [.. Resume(s), .. Cancel(s)] : Cancel(s);

    private static IEnumerable<MoveCommand> Cancel(MoveState s) => Orders(s, ServerOrder.Cancel, target: true);

    private static IEnumerable<MoveCommand> Watches(MoveState s, PathWatch kind) => s.Plan.Paths.Select(p => new WatchPath(kind, p.Id));

    private static IEnumerable<MoveCommand> Orders(MoveState s, ServerOrder order, bool target, Func<ServerMove, bool>? which = null)
        => s.Plan.Servers.Where(x => which?.Invoke(x) ?? true).Select(x => new SendOrder(
            target ? x.TargetHost : x.SourceHost, x.Name, order,
            new ServerOrderRequest(
                s.Epoch, s.Plan.Migration, order == ServerOrder.Prepare ? target ? MigrationRole.Target : MigrationRole.Source : null,
                order == ServerOrder.Prepare ? target ? x.SourceHost : x.TargetHost : null,
                order == ServerOrder.Stop ? s.Plan.Options.CopyMs : 0,
                order == ServerOrder.Prepare && !target ? s.Plan.Options.MaxBlackoutMs : null,
                order == ServerOrder.Activate ? Stale(s, x) : null,
                order == ServerOrder.Prepare && !target && !s.WindowIsOpen ? s.Plan.Options.Window?.From : null,
                order == ServerOrder.Prepare && !target ? x.CopyBytesPerSecond : null,
                s.Plan.Failover is not null && order is (ServerOrder.Activate or ServerOrder.Resume))));

    private static Guid[]? Stale(MoveState s, ServerMove server)
    {
        if (s.StaleVolumes.IsEmpty || server.Volumes is not { } volumes) return null;
        Guid[] stale = [.. volumes.Select(v => v.Id).Where(v => s.StaleVolumes.ContainsKey(v) && !s.Accepts(v))];
        return stale.Length > 0 ? stale : null;
    }

    // All stood still between the last answer to stop and the first one to activate, at least for so long.
    private static int LeftToKeepBack(MoveState s, PathMove path)
    {
        if (path.KeepBackMs == 0) return 0;
        long stopped = Answered(ServerOrder.Stop).DefaultIfEmpty().Max(), runs = Answered(ServerOrder.Activate).DefaultIfEmpty().Min();
        return (int)Math.Clamp(path.KeepBackMs - ((runs - stopped) / 1_000_000), 0, path.KeepBackMs);

        IEnumerable<long> Answered(ServerOrder order) => s.Orders.Where(o => o.Reply.Order == order).Select(o => o.AnsweredNs);
    }

    private static IEnumerable<MoveCommand> Signals(MoveState s, SignalKind kind, bool target) => s.Plan.Paths.Select(p =>
    {
        (PathEnd here, PathEnd there) = target ? (p.Target, p.Source) : (p.Source, p.Target);
        SignalRequest request = kind switch
        {
            SignalKind.Prepare => new SignalRequest(
                s.Epoch, target ? MigrationRole.Target : MigrationRole.Source, p.Vrf, here.Prefixes, there.Loopback, p.TunnelKey,
                target ? p.Hold : null, Order: p.Order, KeepBackMs: target ? p.KeepBackMs : 0),

            // A PE that never heard of the migration fences its prefixes, too.
            SignalKind.Abort => new SignalRequest(s.Epoch, target ? MigrationRole.Target : MigrationRole.Source, p.Vrf, here.Prefixes),
            SignalKind.Release => new SignalRequest(s.Epoch, KeepBackMs: LeftToKeepBack(s, p)),
            SignalKind.Switch => new SignalRequest(s.Epoch, LocalPref: p.SourceLocalPref),
            SignalKind.Advertise => new SignalRequest(s.Epoch, LocalPref: p.LocalPref, WaitMs: WaitMs),
            SignalKind.Teardown when !target => new SignalRequest(s.Epoch, WaitMs: WaitMs),
            _ => new SignalRequest(s.Epoch),
        };
        return new SendSignal(here.Pe, p.Id, kind, request);
    });
}
