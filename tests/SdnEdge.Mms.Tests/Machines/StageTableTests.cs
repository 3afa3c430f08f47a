using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// Every stage against every kind of input. The table is the expectation: a stage or an input without a cell fails the test. Guards the
/// `switch` of <see cref="MoveMachine.Step"/>, <see cref="MoveMachine.MayAbort"/> and the column BeforePivot of <see cref="StageTable"/>.
/// </summary>
public class StageTableTests
{
    // -      the same state: nothing is recorded          go     it begins
    // done   noted, the stage goes on or ends             undo   the source is granted the next epoch
    // void   the targets are asked for their verdict      fence  it ends here: another manager is in charge
    // taken  the deadline starts anew                     left   it goes on, or ends, without the party that was given up
    // off    it ends, as before: nobody was asked anything
    private const string Table = """
        stage           begin answer late wrong ref-1 ref-2 ref-wr stale expired exp-other abort taken-up up-undo  give-src give-tgt window
        planned         go    -      -    -     -     -     -      -     -       -         -     taken    taken    left     left     -
        await-window    -     done   -    -     off   off   -      fence off     -         off   taken    off      -        -        done
        prepare-target  -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     undo     undo     -
        prepare-source  -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     undo     undo     -
        mirror          -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     undo     undo     -
        switch          -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     undo     undo     -
        stop            -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     undo     undo     -
        hand-over       -     done   -    -     -     -     -      fence -       -         -     taken    taken    -        -        -
        activate        -     done   -    -     void  -     -      fence -       -         void  taken    taken    left     -        -
        release         -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        hold-drain      -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        advertise       -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        direct-path     -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        withdraw        -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        drain           -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        teardown-source -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        last-packet     -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        teardown-target -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        inspect         -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        void            -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     -        -
        settle          -     done   -    -     fence fence -      fence -       -         fence taken    taken    -        -        -
        fence           -     done   -    -     undo  undo  -      fence undo    -         undo  taken    undo     -        -        -
        resume-source   -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        abort-source    -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        empty-tunnel    -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        abort-target    -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        give-back       -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        inspect-undo    -     done   -    -     -     -     -      fence -       -         -     taken    taken    left     left     -
        ended           -     -      -    -     -     -     -      -     -       -         -     -        -        -        -        -
        """;

    private static readonly Dictionary<MoveStage, MoveState> s_states = Reached();

    public static TheoryData<MoveStage> Stages => new(Enum.GetValues<MoveStage>());

    [Theory]
    [MemberData(nameof(Stages))]
    public void Each_input_in_each_stage_does_what_the_table_says(MoveStage stage)
    {
        string[][] rows = [.. Table.Split('\n',
            StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        string[] row = Assert.Single(rows, r => r[0] == Words.Of(stage));
        Assert.Equal(rows[0].Length, row.Length);
        MoveState state = s_states[stage];
        var actual = new List<string> { row[0] };
        foreach (string kind in rows[0].Skip(1)) actual.Add(Class(state, MoveMachine.Step(state, Input(kind, state), 77)));
        Assert.Equal(string.Join(' ', row), string.Join(' ', actual));
    }

    [Fact]
    public void Every_kind_of_input_has_a_column()
    {
        string[] kinds = Table.Split('\n')[0].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..];
        Type[] tried = [.. kinds.SelectMany(k => s_states.Values.Select(s => Input(k, s).GetType())).Distinct()];
        Type[] all = [.. typeof(MoveInput).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(MoveInput)))];
        Assert.Equal(all.Select(t => t.Name).Order(), tried.Select(t => t.Name).Order());
    }

    [Fact]
    public void Every_command_of_a_stage_has_a_key_of_its_own() => Assert.All(s_states.Values, s =>
    {
        MoveCommand[] all = [.. StageTable.Of(s.Stage).Commands(s), .. StageTable.Of(s.Stage).Meanwhile?.Invoke(s) ?? []];
        Assert.Equal(all.Length, all.DistinctBy(c => c.Key).Count());
    });

    // A stage with nothing to ask of anybody would be passed through unseen.
    [Fact]
    public void Every_stage_but_the_first_and_the_last_asks_something() => Assert.All(
        s_states.Values.Where(s => s.Stage is not (MoveStage.Planned or MoveStage.Ended)), s
            => Assert.NotEmpty(StageTable.Of(s.Stage).Commands(s)));

    [Fact]
    public void Every_stage_has_one_row_and_leads_to_one_behind_it()
    {
        Assert.Equal(Enum.GetValues<MoveStage>(), StageTable.Rows.Select(r => r.Stage));
        Assert.All(StageTable.Rows.Where(r => r.Stage != MoveStage.Ended),
            r => Assert.True(r.Next > r.Stage || r is { Stage: MoveStage.Fence, Next: MoveStage.Activate },
                $"{r.Stage} leads back to {r.Next}"));
    }

    [Fact]
    public void Stages_have_a_deadline_exactly_where_they_can_be_undone_without_asking()
        => Assert.All(StageTable.Rows.Where(r => r.Stage is not (MoveStage.AwaitWindow or MoveStage.Fence)),
            r => Assert.Equal(r.BeforePivot, r.DeadlineMs is not null));

    // That one's end is a time of the wall clock.
    [Fact]
    public void Waiting_for_a_window_ends_when_it_is_near_and_has_no_other_deadline()
    {
        Assert.Null(StageTable.Of(MoveStage.AwaitWindow).DeadlineMs);
        Assert.Equal(Plans.Window.Near, MoveMachine.WindowDue(s_states[MoveStage.AwaitWindow]));
    }

    // No time makes a server dead.
    [Fact]
    public void A_fence_has_no_deadline() => Assert.Null(StageTable.Of(MoveStage.Fence).DeadlineMs);

    [Fact]
    public void The_same_input_twice_is_the_same_as_once() => Assert.All(s_states.Values.Where(s => MoveMachine.Open(s).Count > 0), s =>
    {
        MoveInput answer = Plans.Answer(MoveMachine.Open(s)[0]);
        MoveState once = MoveMachine.Step(s, answer, 1);
        Assert.Same(once, MoveMachine.Step(once, answer, 2));
    });

    private static MoveInput Input(string kind, MoveState state)
    {
        IReadOnlyList<MoveCommand> open = MoveMachine.Open(state);
        string key = open.Count > 0 ? open[0].Key : "none";
        MoveStage other = state.Stage == MoveStage.Stop ? MoveStage.Switch : MoveStage.Stop;
        return kind switch
        {
            "begin" => new Begin(),
            "answer" => open.Count > 0 ? Plans.Answer(open[0]) : new Seen(key, null),
            "late" => new SignalDone("prepare m1.1 pe-b",
                new SignalReply("m1.1", SignalKind.Prepare, PeMigrationState.Prepared, 1, true, 1, 2), 1) is var late
                && state.Stage is MoveStage.PrepareTarget or MoveStage.Planned ? late with { Key = "prepare m1.0 pe-b" } : late,
            "wrong" => new OrderDone("stop s9 host-a 1", new ServerReply("s9", ServerOrder.Stop, 1, ServerState.Paused, false, 1), 1),
            "ref-1" => new Refused(key, "/problems/wrong-state", "no"),
            "ref-2" => new Refused(open.Count > 0 ? open[^1].Key : key, "/problems/invalid", "no"),
            "ref-wr" => new Refused("stop s9 host-a 1", "/problems/stale-epoch", "no"),
            "stale" => new Refused(key, "/problems/stale-epoch", "epoch 1 is lower than 9"),
            "expired" => new StageExpired(state.Stage, "nobody answers"),
            "exp-other" => new StageExpired(other, "nobody answers"),
            "abort" => new AbortRequested("user ops", "why not"),
            "taken-up" => new TakenUp(),
            "up-undo" => new TakenUp("pe-a is silent"),
            "give-src" => new GiveUpRequested("user ops", "it burnt down", ["host-a"]),
            "window" => new WindowReached(Plans.Window.Near),
            "give-tgt" => new GiveUpRequested("user ops", "it burnt down", ["host-b"]),
            _ => throw new InvalidOperationException($"no such kind of input: {kind}"),
        };
    }

    private static string Class(MoveState before, MoveState after) => ReferenceEquals(before, after) ? "-"
        : after.Outcome == MoveOutcome.Fenced ? "fence"
        : before.Stage == MoveStage.AwaitWindow && after is { Outcome: MoveOutcome.AsBefore, Failure: not null }
            && after.Epoch == before.Epoch && before.Orders.IsEmpty && before.Signals.IsEmpty ? "off"
        : after.Failure is not null && before.Failure is null ? after.Stage == MoveStage.Void
            ? after.TargetOwns && after.Epoch == before.Epoch ? "void" : "void, but not as it should be"
            : !after.TargetOwns && after.Epoch == before.Epoch + 1 && after.Stage >= MoveStage.ResumeSource ? "undo"
                : "undone, but not as it should be"
        : after.GivenUp.Count > before.GivenUp.Count ? after.Epoch == before.Epoch ? "left" : "left, but not as it should be"
        : before.Stage == MoveStage.Planned && after.Stage == MoveStage.PrepareTarget ? "go"
        : after.Stage == before.Stage && after.Done == before.Done && after.StageSinceNs == 77 ? "taken"
        : after.Done.Count == before.Done.Count + 1 ? "done" : "something else";

    // A state of each stage, as stories come to it: the first with nothing of the stage answered yet.
    private static Dictionary<MoveStage, MoveState> Reached()
    {
        var states = new Dictionary<MoveStage,
            MoveState> { [MoveStage.Planned] = MoveMachine.Start(Plans.Move(["s1", "s2"], paths: 2) with { Epoch = 1 }) };
        MovePlan plan = Plans.Move(["s1", "s2"], paths: 2);
        Story[] stories =
        [
            new Story().Ask(Plans.Request(Cutover.Together, plan)).End(),
            new Story().Ask(Plans.Request(Cutover.Together, plan)).Until(MoveStage.Activate).Abort().End(),
            new Story().Ask(Plans.Request(Cutover.Together,
                plan with { Servers = [plan.Servers[0], plan.Servers[1] with { Undoable = false }] })).End(),
            new Story().Ask(Plans.Request(Cutover.Together, Plans.InWindow(plan))),
        ];
        states.Add(MoveStage.Settle, MoveMachine.StartSettling(
            plan with
            {
                Epoch = 6, Settle = new Settlement(false, [.. plan.Servers.SelectMany(s => new[] { s.SourceHost, s.TargetHost }
                    .SelectMany(h => new long[] { 5, 6 }.Select(e => new SettleAsk(h, s.Name, ServerOrder.Void, e))))]),
            },
            1));
        states.Add(MoveStage.Fence, MoveMachine.StartFailover(plan with { Epoch = 6, Failover = new Failover(FenceKind.Kill, "gone") }, 1));
        foreach (MoveState state in stories.SelectMany(s => s.States)) states.TryAdd(state.Stage, state);
        return states;
    }
}
