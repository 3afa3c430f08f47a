using SdnEdge.Core.Api;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// Plays inputs into the manager's machine, each by way of its record, and checks with every step what must be true of all of them
/// (<see cref="Invariants"/>).
/// </summary>
internal sealed class Story : IDisposable
{
    private readonly StringWriter _text = new() { NewLine = "\n" };
    private long _now = 1_000_000_000;

    public void Dispose() => _text.Dispose();

    public ManagerState State { get; private set; } = ManagerState.Empty;

    public List<JournalRecord> Records { get; } = [];

    /// <summary>Every state of the first migration, oldest first, and all commands that were ever open.</summary>
    public List<MoveState> States { get; } = [];

    public List<MoveCommand> Asked { get; } = [];

    public string Text => _text.ToString();

    public MigrationState Migration => State.Migrations["m1"];

    public MoveState Move => Migration.Current;

    public IReadOnlyList<MoveCommand> Open => Migration.Outcome is null ? MoveMachine.Open(Move) : [];

    /// <summary>What is open in any of the moves that run, and the number of the move, oldest move first.</summary>
    public IReadOnlyList<(int Move, MoveCommand Command)> AllOpen => Migration.Outcome is not null ? []
        : [.. Migration.Running.SelectMany(n => MoveMachine.Open(Migration.MoveOf(n)), (n, command) => (n, command))];

    public static Story Of(params string[] servers) => new Story().Ask(Plans.Request(Cutover.Together, Plans.Move(servers)));

    /// <summary>The fail-over of a group that was protected.</summary>
    public static Story FailOver(MovePlan plan) => new Story().Armed(plan).Feed(
        new FailoverRequested("m1", "shop", "site-b", new Failover(FenceKind.Kill, "host-a is gone"), "user ops"), "user ops");

    /// <summary>The group is protected, with leases where a witness is named; so many of its servers are not bound yet.</summary>
    public Story Armed(MovePlan plan, string? witness = null, int leave = 0)
    {
        Feed(new ProtectionRequested(
            new ProtectionRequest("shop", ProtectionPolicy.Cold, false,
                [new("site-a", new WatchedPart(Neighbor: "10.1.1.1")), new("site-b", new WatchedPart(Neighbor: "10.1.1.2"))], witness),
            plan with { Ahead = false }, "user ops"), "user ops");
        while (ProtectionMachine.Open(State.Protections["shop"]) is [var next, ..])
            Feed(new ProtectionHappened("shop", State.Protections["shop"].Epoch, new PartDone(next.Key)));
        while (ProtectionMachine.OpenLeases(State.Protections["shop"]) is [var next, ..] open && (next is OpenLease || open.Count > leave))
            Feed(new ProtectionHappened("shop", State.Protections["shop"].Epoch, new PartDone(next.Key)));
        return this;
    }

    public Story Ask(MigrationRequested request) => Feed(request, "user ops");

    public Story Feed(MoveInput input, string actor = "manager") => Feed(new MoveHappened("m1", input), actor);

    /// <summary>An input of one of several moves.</summary>
    public Story Feed(int move, MoveInput input) => Feed(new MoveHappened("m1", input, move));

    public Story Feed(ManagerInput input, string actor = "manager")
    {
        _now += 1_000_000;
        string at = DateTimeOffset.UnixEpoch.AddYears(56).AddMilliseconds(_now / 1_000_000).ToString("yyyy-MM-ddTHH:mm:ss.fffZ");
        JournalEntry entry = JournalCodec.Write(input, _now, at, actor);
        var record = new JournalRecord(Records.Count + 1, entry.At, entry.NowNs, "life-1", entry.Actor, entry.Migration, entry.Input,
            entry.Body);
        ManagerState before = State, after = ManagerMachine.Step(before, JournalCodec.Read(record), record.NowNs, record.At);
        MigrationState? was = before.Migrations.GetValueOrDefault("m1");
        State = after;
        if (ReferenceEquals(before, after))
        {
            _text.Write($"      dropped: {Replay.Explain(record, input, before, after).What}\n");
            return this;
        }

        Records.Add(record);
        Replay.Write(_text, Replay.Explain(record, input, before, after), times: false);
        if (record.Migration != "m1" || !after.Migrations.ContainsKey("m1")) return this;
        Invariants.Check(was, Migration);
        States.Add(Move);
        Asked.AddRange(AllOpen.Select(c => c.Command).Where(c => !Asked.Contains(c)));
        return this;
    }

    /// <summary>The command that is open and whose key begins so.</summary>
    public MoveCommand Command(string begin)
        => Open.FirstOrDefault(c => c.Key.StartsWith(begin, StringComparison.Ordinal))
            ?? throw new InvalidOperationException(
                $"'{begin}' is not open in {Move.Stage}; open are: {string.Join(", ", Open.Select(c => c.Key))}");

    /// <summary>The right answer to an open command.</summary>
    public Story Done(string begin, EpochVerdict verdict = EpochVerdict.Void) => Feed(Plans.Answer(Command(begin), verdict));

    public Story Refuse(string begin, string detail = "it cannot", string problem = "/problems/wrong-state")
        => Feed(new Refused(Command(begin).Key, problem, detail));

    public Story Abort(string why = "changed my mind") => Feed(new AbortRequested("user ops", why), "user ops");

    public Story Expire(string detail = "nobody answers") => Feed(new StageExpired(Move.Stage, detail));

    /// <summary>Answers what is open, in order, until the current move is in this stage.</summary>
    public Story Until(MoveStage stage, EpochVerdict verdict = EpochVerdict.Void)
    {
        int moves = Migration.Moves.Count;
        for (int i = 0; i < 1000 && (Move.Stage != stage || Migration.Moves.Count != moves); i++)
        {
            Assert.True(Migration.Outcome is null && Migration.Moves.Count == moves, $"it ended ({Move.Stage}) before it was in {stage}");
            Feed(Plans.Answer(Open[0], verdict));
        }

        Assert.Equal(stage, Move.Stage);
        return this;
    }

    /// <summary>Answers what is open until the current move has ended.</summary>
    public Story EndMove()
    {
        int moves = Migration.Moves.Count;
        for (int i = 0; i < 1000 && Migration.Outcome is null && Migration.Moves.Count == moves; i++) Feed(Plans.Answer(Open[0]));
        return this;
    }

    public Story End()
    {
        for (int i = 0; i < 5000 && Migration.Outcome is null; i++) Feed(Move.Stage == MoveStage.Planned ? new Begin()
            : Plans.Answer(Open[0]));
        Assert.NotNull(Migration.Outcome);
        return this;
    }

    /// <summary>The same, of a migration with several moves on the way: whose turn it is rests on <paramref name="seed"/>.</summary>
    public Story EndAll(int seed = 0)
    {
        var random = new Random(seed);
        for (int i = 0; i < 20_000 && Migration.Outcome is null; i++)
        {
            int[] running = [.. Migration.Running];
            int move = running[random.Next(running.Length)];
            Feed(move, Migration.MoveOf(move).Stage == MoveStage.Planned ? new Begin()
                : Plans.Answer(MoveMachine.Open(Migration.MoveOf(move))[0]));
        }

        Assert.NotNull(Migration.Outcome);
        return this;
    }

    /// <summary>What the records alone lead to.</summary>
    public static ManagerState Fold(IEnumerable<JournalRecord> records)
        => records.Aggregate(ManagerState.Empty, (s, r) => ManagerMachine.Step(s, JournalCodec.Read(r), r.NowNs, r.At));
}

/// <summary>
/// What must be true of every step of every move, whatever the inputs were. Each line says which rule of the hand-over it is
/// (docs/design.md, R1 to R8).
/// </summary>
internal static class Invariants
{
    public static void Check(MigrationState? before, MigrationState after)
    {
        // Never more on the way than were asked for, and no epoch twice. One that has ended stays as it is.
        Assert.True(after.Running.Count() <= after.AtOnce);
        Assert.Equal(after.Moves.Count, after.Moves.Select(m => m.Plan.Epoch).Distinct().Count());
        Assert.Equal(after.Moves.Count, after.Moves.Select(m => m.Epoch).Distinct().Count());
        if (after.Outcome is not null) Assert.Empty(after.Running);
        for (int number = 1; number <= after.Moves.Count; number++)
        {
            MoveState? was = number <= before?.Moves.Count ? before.MoveOf(number) : null;
            if (was?.Outcome is not null) Assert.Same(was, after.MoveOf(number));
            else CheckMove(was, after.MoveOf(number), after);
        }

        if (before is null) return;
        Assert.True(after.Moves.Count >= before.Moves.Count);
        long used = before.Moves.Max(m => m.Epoch);
        Assert.All(after.Moves.Skip(before.Moves.Count), m => Assert.True(m.Epoch > used));

        // All or none: once one is undone none begins any more, and none beside it comes to its pivot.
        if (after.GoingBack || !before.Moves.Any(m => m.IsUndone)) return;
        Assert.Equal(before.Moves.Count, after.Moves.Count);
        Assert.All(after.Running, n => Assert.False(after.MoveOf(n).TargetOwns && !before.MoveOf(n).TargetOwns));
        Assert.All(after.Running.Select(after.MoveOf), m => Assert.True(m.TargetOwns || m.IsUndone || m.Stage == MoveStage.Settle));
    }

    private static void CheckMove(MoveState? was, MoveState now, MigrationState after)
    {
        MoveCommand[] open = [.. MoveMachine.Open(now)];
        ServerOrder[] orders = [.. open.OfType<SendOrder>().Select(o => o.Order)];

        // R1, R2: every command carries the epoch in force; a key names one command.
        // A settlement asks about the epochs that were seen; it grants none of them.
        bool settles = now.Stage == MoveStage.Settle;
        if (settles) Assert.All(orders, o => Assert.True(o is ServerOrder.Void or ServerOrder.Retire));
        Assert.All(open.OfType<SendOrder>(), o => Assert.True(o.Request.Epoch == now.Epoch || (settles && o.Request.Epoch < now.Epoch)));
        Assert.All(open.OfType<SendSignal>(), s => Assert.Equal(now.Epoch, s.Request.Epoch));
        Assert.Equal(open.Length, open.Select(c => c.Key).Distinct().Count());

        // The source and the target are never told to run it in one state; each only while it owns the epoch.
        Assert.False(orders.Contains(ServerOrder.Activate) && orders.Contains(ServerOrder.Resume));
        if (orders.Contains(ServerOrder.Activate)) Assert.True(now.TargetOwns);
        if (orders.Contains(ServerOrder.Resume))
        {
            Assert.False(now.TargetOwns);
            Assert.True(now.Epoch > now.Plan.Epoch);

            // R5: if the target was ever granted it, all of its hosts have said that they never ran it and never will.
            if (now.Timeline.Any(t => t.Stage is MoveStage.Stop or MoveStage.Fence && t.Error is null))
                Assert.All(now.Plan.Servers, s => Assert.Equal(EpochVerdict.Void, now.Verdicts[s.Name]));
        }

        // A release that waits for the servers' own word is for a target that owns the epoch: nowhere else do they answer.
        SendSignal[] waiting = [.. open.OfType<SendSignal>().Where(s => s.Request.AfterServers)];
        Assert.All(waiting, s => Assert.True(s is { Signal: SignalKind.Release, Request.WaitMs: > 0 } && now.TargetOwns));

        // R7 and "release only after RESUME": when all run.
        if ((orders.Contains(ServerOrder.Retire) && !settles)
            || open.Except(waiting).Any(c => c is SendSignal { Signal: SignalKind.Release or SignalKind.Advertise or SignalKind.Withdraw
            or SignalKind.Teardown }))
            Assert.All(now.Plan.Servers, s => Assert.Contains(s.Name, now.Running));

        if (was is null) return;
        Assert.True(now.Epoch >= was.Epoch);
        Assert.True(after.AtOnce > 1 || now.Epoch - was.Epoch <= 1);
        Assert.True(now.Done.IsSupersetOf(was.Done));
        Assert.True(now.Running.IsSupersetOf(was.Running));
        Assert.True(!was.SourcesAsked || now.SourcesAsked);
        Assert.True(!was.SwitchAsked || now.SwitchAsked);
        Assert.Equal(was.Timeline, now.Timeline.Take(was.Timeline.Count));

        // Ownership moves with the pivot and with the second one, never otherwise.
        if (!was.TargetOwns && now.TargetOwns) Assert.True(was.Stage is MoveStage.Stop or MoveStage.Settle or MoveStage.Fence);
        if (was.TargetOwns && !now.TargetOwns) Assert.True(was.Stage == MoveStage.Void && now.Epoch > was.Epoch);
        if (was.Outcome is null && now.Outcome == MoveOutcome.Moved) Assert.Equal(MoveStage.Inspect, was.Stage);
        if (was.Outcome is null && now.Outcome == MoveOutcome.AsBefore) Assert.True(
            (was.Stage == MoveStage.InspectUndo && now.Epoch > now.Plan.Epoch)
            || ((was.Stage == MoveStage.AwaitWindow || was.AwaitsDisarm) && now.Orders.IsEmpty && now.Signals.IsEmpty));

        // A stale copy is never granted: the pivot comes only while none is on record, and is the end of the reports before it.
        if (!was.TargetOwns && now.TargetOwns) Assert.All(was.StaleVolumes.Keys, v => Assert.True(was.Accepts(v)));

        // A fail-over: the target is granted its epoch when all the source's hosts have said that nothing of it runs there, and never will;
        // or when the witness has said that the last lease of all of them has run out.
        if (!was.TargetOwns && now.TargetOwns && now.Plan.Failover is { } failover
            && !(failover.Lease is { } lease && now.Done.Contains(new RevokeLease(lease).Key)))
        {
            Assert.All(now.Plan.Servers, s => Assert.Contains(now.Orders,
                o => o.Host == s.SourceHost && o.Reply.Server == s.Name
                    && o.Reply is { Order: ServerOrder.Fence, Verdict: EpochVerdict.Void }));
        }

        // Nothing is started cold but in a fail-over.
        Assert.All(open.OfType<SendOrder>(), o => Assert.Equal(
            now.Plan.Failover is not null && (o.Order is ServerOrder.Activate or ServerOrder.Resume), o.Request.Cold));
        if (now.TargetOwns) Assert.All(open.OfType<SendOrder>().Where(o => o.Order == ServerOrder.Activate),
            o => Assert.Equal(now.StaleVolumes.Count > 0 && (o.Request.StaleVolumes?.Count ?? 0) > 0, o.Request.StaleVolumes is not null));
    }
}
