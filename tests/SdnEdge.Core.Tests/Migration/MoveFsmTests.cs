using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>The move against two real PE machines and a server, in a world that may lose messages and fail.</summary>
public class MoveFsmTests
{
    [Fact]
    public void A_move_goes_through_its_stages_in_order()
    {
        var world = new World();
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        Assert.Null(world.Fsm.Failure);
        Assert.Equal(
            ["prepare-target", "prepare-source", "tunnel-up", "switch", "pause", "blackout", "resume", "release", "hold-drain", "advertise", "direct-path", "withdraw", "drain", "teardown-source", "last-packet", "teardown-target"],
            world.Fsm.Timeline.Select(s => s.Name));
        for (int i = 1; i < world.Fsm.Timeline.Count; i++) Assert.Equal(world.Fsm.Timeline[i - 1].EndNs, world.Fsm.Timeline[i].StartNs);
        Assert.Equal(["pe-c", "pe-d"], world.Fsm.DirectAt.Keys.Order());
        Assert.Equal(
            ["pe-b Prepare", "pe-a Prepare", "pe-a Switch", "pause", "resume dc-b", "pe-b Release", "pe-b Advertise", "pe-a Withdraw", "pe-a Teardown", "pe-b Teardown"],
            world.Effects);
        StageRecord blackout = world.Fsm.Timeline.Single(s => s.Name == "blackout");
        Assert.InRange(blackout.EndNs - blackout.StartNs, 300_000_000, 320_000_000);
        Assert.Equal(long.MaxValue, world.Fsm.NextDeadline);
        Assert.Equal(TeardownProof.Quiet, world.Fsm.Proof);
    }

    [Theory]
    [InlineData(300, 300, 330)]
    [InlineData(0, 0, 20)]
    [InlineData(long.MaxValue, 2000, 2010)]   // more comes than leaves: the direct paths are to help, not to wait
    public void The_target_advertises_when_its_hold_is_empty_or_after_a_bound(long emptyAfterMs, long atLeastMs, long atMostMs)
    {
        var world = new World(keepOrder: true) { HoldEmptyAfterMs = emptyAfterMs };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        StageRecord stage = world.Fsm.Timeline.Single(s => s.Name == "hold-drain");
        Assert.InRange((stage.EndNs - stage.StartNs) / 1_000_000, atLeastMs, atMostMs);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_look_at_the_hold_that_is_answered_when_the_paths_change_already_says_nothing_about_them(bool keepOrder)
    {
        var world = new World(keepOrder) { HoldEmptyAfterMs = long.MaxValue };
        world.BeforeStage = stage =>
        {
            if (stage == MoveStage.DirectPath) world.LateLookAtTarget();
        };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
    }

    [Theory]
    [InlineData(false, 3_000, MoveOutcome.Moved)]
    [InlineData(true, 3_000, MoveOutcome.Moved)]
    [InlineData(true, long.MaxValue, MoveOutcome.Incomplete)]   // the tunnel stays: the source's own clients have no other way
    public void The_tunnel_stays_until_the_source_has_another_route(bool keepOrder, long afterMs, MoveOutcome outcome)
    {
        var world = new World(keepOrder) { SourceRoutedAfterMs = afterMs };
        world.Run();
        Assert.Equal(outcome, world.Fsm.Outcome);
        Assert.Equal(outcome == MoveOutcome.Moved ? PeMigrationState.TornDown : PeMigrationState.Withdrawn, world.Source.Find("m1")!.State);
        if (outcome == MoveOutcome.Moved) Assert.Null(world.Fsm.Failure);
        else Assert.Contains("no route to 10.1.1.10/32", world.Fsm.Failure, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_hold_nothing_is_waited_for_before_advertising()
    {
        var world = new World(hold: new HoldOptions(Disabled: true)) { HoldEmptyAfterMs = long.MaxValue };
        world.Run();
        StageRecord stage = world.Fsm.Timeline.Single(s => s.Name == "hold-drain");
        Assert.Equal(stage.StartNs, stage.EndNs);
    }

    [Fact]
    public void With_flush_markers_the_tunnel_goes_as_soon_as_the_last_one_is_there()
    {
        var world = new World(keepOrder: true) { MarkerAfterMs = { ["pe-c"] = 60, ["pe-d"] = 150 } };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Markers), (world.Fsm.Outcome, world.Fsm.Proof));
        Assert.Equal(["pe-c", "pe-d"], world.Fsm.ProvedByMarker.Order());
        Assert.Equal(0, world.Looks); // nobody had to be asked for routes
        StageRecord direct = world.Fsm.Timeline.Single(s => s.Name == "direct-path"), drain = world.Fsm.Timeline.Single(s => s.Name == "drain");
        Assert.InRange(direct.EndNs - direct.StartNs, 130_000_000, 190_000_000);
        Assert.InRange(drain.EndNs - drain.StartNs, 0, 10_000_000); // at most one look
        Assert.InRange(world.Fsm.Timeline[^1].EndNs - direct.EndNs, 0, 100_000_000);
    }

    [Fact]
    public void The_source_tears_down_when_all_markers_have_gone_by_it_and_the_target_when_they_have_come_out_of_the_tunnel()
    {
        var world = new World(keepOrder: true) { MarkersPassAfterMs = 100, MarkerAfterMs = { ["pe-c"] = 600, ["pe-d"] = 700 } };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Markers), (world.Fsm.Outcome, world.Fsm.Proof));
        Assert.Equal(["pe-c", "pe-d"], world.Fsm.ProvedByMarker.Order());
        Assert.Equal(0, world.Looks);
        StageRecord direct = world.Fsm.Timeline.Single(s => s.Name == "direct-path");
        StageRecord source = world.Fsm.Timeline.Single(s => s.Name == "teardown-source"), target = world.Fsm.Timeline.Single(s => s.Name == "teardown-target");
        Assert.InRange((direct.EndNs - direct.StartNs) / 1_000_000, 90, 120);
        Assert.InRange((source.EndNs - direct.StartNs) / 1_000_000, 90, 150);
        Assert.InRange((target.StartNs - direct.StartNs) / 1_000_000, 690, 730);
    }

    [Fact]
    public void A_marker_that_went_by_the_source_and_is_lost_in_the_tunnel_is_waited_for_only_so_long_and_the_proof_says_timer()
    {
        var world = new World(keepOrder: true) { MarkersPassAfterMs = 100, MarkerAfterMs = { ["pe-d"] = long.MaxValue } };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Timer), (world.Fsm.Outcome, world.Fsm.Proof));
        Assert.Equal("pe-c", Assert.Single(world.Fsm.ProvedByMarker));
        StageRecord last = world.Fsm.Timeline.Single(s => s.Name == "last-packet");
        Assert.InRange(last.EndNs - last.StartNs, 2_000_000_000, 2_100_000_000);
    }

    [Fact]
    public void Markers_that_went_by_the_source_say_nothing_of_a_PE_that_sends_none()
    {
        var world = new World(keepOrder: true, foreign: "pe-d") { MarkersPassAfterMs = 10, IngressDirectAfterMs = { ["pe-d"] = 3_000 } };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Quiet), (world.Fsm.Outcome, world.Fsm.Proof));
        StageRecord direct = world.Fsm.Timeline.Single(s => s.Name == "direct-path");
        Assert.True(direct.EndNs - direct.StartNs >= 2_900_000_000);
    }

    [Fact]
    public void An_ingress_whose_markers_are_lost_is_asked_for_its_routes_and_the_tunnel_has_to_be_quiet()
    {
        var world = new World(keepOrder: true) { MarkerAfterMs = { ["pe-d"] = long.MaxValue } };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Quiet), (world.Fsm.Outcome, world.Fsm.Proof));
        Assert.Equal("pe-c", Assert.Single(world.Fsm.ProvedByMarker));
        Assert.True(world.Looks > 0);
        StageRecord drain = world.Fsm.Timeline.Single(s => s.Name == "drain");
        Assert.True(drain.EndNs - drain.StartNs >= 500_000_000);
    }

    [Fact]
    public void An_ingress_that_sends_no_markers_is_asked_for_its_routes_at_once()
    {
        var world = new World(keepOrder: true, foreign: "pe-d");
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Quiet), (world.Fsm.Outcome, world.Fsm.Proof));
        StageRecord direct = world.Fsm.Timeline.Single(s => s.Name == "direct-path");
        Assert.InRange(direct.EndNs - direct.StartNs, 60_000_000, 250_000_000);
    }

    [Fact]
    public void Traffic_of_a_PE_without_a_gate_asks_for_quiet_counters_besides_the_markers()
    {
        var world = new World(keepOrder: true) { Unordered = 5 };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Quiet), (world.Fsm.Outcome, world.Fsm.Proof));
    }

    [Fact]
    public void A_last_marker_that_does_not_come_delays_the_end_only_so_long_and_the_proof_says_timer()
    {
        var world = new World(keepOrder: true) { LosesLastMarker = true };
        world.Run();
        Assert.Equal((MoveOutcome.Moved, TeardownProof.Timer), (world.Fsm.Outcome, world.Fsm.Proof));
        StageRecord last = world.Fsm.Timeline.Single(s => s.Name == "last-packet");
        Assert.InRange(last.EndNs - last.StartNs, 2_000_000_000, 2_100_000_000);
    }

    [Fact]
    public void The_source_withdraws_only_when_every_ingress_has_the_direct_path()
    {
        var world = new World { IngressDirectAfterMs = { ["pe-d"] = 5_000 } };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        StageRecord direct = world.Fsm.Timeline.Single(s => s.Name == "direct-path");
        Assert.True(direct.EndNs - direct.StartNs >= 4_900_000_000);
        Assert.True(world.Fsm.DirectAt["pe-c"] < world.Fsm.DirectAt["pe-d"]);
    }

    [Fact]
    public void The_tunnel_stays_until_it_has_been_quiet()
    {
        var world = new World { TunnelBusyForMs = 2_000 };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        StageRecord drain = world.Fsm.Timeline.Single(s => s.Name == "drain");
        Assert.True(drain.EndNs - drain.StartNs >= 500_000_000);
        Assert.True(drain.EndNs >= world.LastTunnelPacketNs + 500_000_000);
    }

    [Fact]
    public void A_tunnel_that_never_goes_quiet_delays_the_end_only_so_long()
    {
        var world = new World { TunnelBusyForMs = 1_000_000 };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        StageRecord drain = world.Fsm.Timeline.Single(s => s.Name == "drain");
        Assert.InRange(drain.EndNs - drain.StartNs, 10_000_000_000, 10_100_000_000);
        Assert.Equal(TeardownProof.Timer, world.Fsm.Proof);
    }

    [Fact]
    public void An_ingress_that_never_gets_the_direct_path_leaves_the_tunnel_in_place()
    {
        var world = new World { IngressDirectAfterMs = { ["pe-c"] = long.MaxValue } };
        world.Run();
        Assert.Equal(MoveOutcome.Incomplete, world.Fsm.Outcome);
        Assert.Contains("pe-c", world.Fsm.Failure, StringComparison.Ordinal);
        Assert.DoesNotContain("pe-d", world.Fsm.Failure, StringComparison.Ordinal);
        Assert.Equal(PeMigrationState.Switched, world.Source.Find("m1")!.State);
        Assert.Equal("dc-b", world.Site);
    }

    [Fact]
    public void A_tunnel_that_does_not_come_up_undoes_both_ends_and_never_touches_the_server()
    {
        var world = new World { TunnelWorks = false };
        world.Run();
        Assert.Equal(MoveOutcome.RolledBack, world.Fsm.Outcome);
        Assert.Contains("no full-size probe", world.Fsm.Failure, StringComparison.Ordinal);
        Assert.Equal(["pe-b Prepare", "pe-a Prepare", "pe-a Abort", "pe-b Abort"], world.Effects);
    }

    [Fact]
    public void A_server_that_cannot_resume_at_the_target_comes_back_before_anything_is_switched_back()
    {
        var world = new World { ResumeFailsAt = "dc-b" };
        world.Run();
        Assert.Equal(MoveOutcome.RolledBack, world.Fsm.Outcome);
        Assert.Equal(["pe-b Prepare", "pe-a Prepare", "pe-a Switch", "pause", "resume dc-a", "pe-a Abort", "pe-b Abort"], world.Effects);
        Assert.Contains("server vs", world.Fsm.Failure, StringComparison.Ordinal);
    }

    [Fact]
    public void A_resume_that_worked_but_said_it_failed_goes_forward()
    {
        var world = new World { ResumeWorksButSaysNo = true };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
        Assert.Equal("dc-b", world.Site);
    }

    [Theory]
    [InlineData(MoveStage.TunnelUp)]
    [InlineData(MoveStage.Switch)]
    [InlineData(MoveStage.Pause)]
    [InlineData(MoveStage.Blackout)]
    public void Giving_up_before_the_pivot_restores_everything(MoveStage when)
    {
        var world = new World { GiveUpIn = when, GivenBackAfterMs = 700 };
        world.Run();
        Assert.Equal(MoveOutcome.RolledBack, world.Fsm.Outcome);
        Assert.Equal("ctrl-C", world.Fsm.Failure);
        Assert.Equal("dc-a", world.Site);
        Assert.Equal(PeMigrationState.Aborted, world.Source.Find("m1")!.State);
        Assert.Equal((PeMigrationState.Aborted, true), (world.Target.Find("m1")!.State, world.Target.Find("m1")!.Drained));
    }

    [Theory]
    [InlineData(true, 20, false, 10, 40)]
    [InlineData(true, 1500, false, 1480, 1520)]
    [InlineData(true, 20, true, 2000, 2020)]
    [InlineData(false, 20, false, 500, 520)]
    public void The_target_gives_back_when_the_last_packet_has_come_out_of_the_tunnel_or_had_the_time_to(bool keepOrder, long wayMs, bool lost, long least, long most)
    {
        var world = new World(keepOrder) { GiveUpIn = MoveStage.Blackout, MarkerAfterMs = { ["pe-a"] = wayMs }, LosesLastMarker = lost };
        world.Run();
        Assert.Equal(MoveOutcome.RolledBack, world.Fsm.Outcome);
        StageRecord wait = Assert.Single(world.Fsm.Timeline, s => s.Name == "empty-tunnel");
        Assert.InRange((wait.EndNs - wait.StartNs) / 1_000_000, least, most);
    }

    [Fact]
    public void A_hold_that_is_not_given_back_in_time_is_said_to_be_left_over()
    {
        var world = new World { GiveUpIn = MoveStage.Blackout, GivenBackAfterMs = 60_000 };
        world.Run();
        Assert.Equal(MoveOutcome.RollbackIncomplete, world.Fsm.Outcome);
        Assert.Equal("ctrl-C", world.Fsm.Failure);
        Assert.StartsWith("give-back did not end in time", world.Fsm.Timeline[^1].Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(MoveStage.Release)]
    [InlineData(MoveStage.HoldDrain)]
    [InlineData(MoveStage.DirectPath)]
    [InlineData(MoveStage.Drain)]
    public void Giving_up_after_the_pivot_is_not_heeded(MoveStage when)
    {
        var world = new World { GiveUpIn = when };
        world.Run();
        Assert.Equal(MoveOutcome.Moved, world.Fsm.Outcome);
    }

    [Fact]
    public void A_manager_that_is_fenced_stops_where_it_is()
    {
        var world = new World();
        world.BeforeStage = stage =>
        {
            if (stage == MoveStage.TunnelUp) world.Source.Signal("m1", SignalKind.Teardown, new SignalRequest(9), 1);
        };
        world.Run();
        Assert.Equal(MoveOutcome.Fenced, world.Fsm.Outcome);
        Assert.Contains("epoch 3 is older than 9", world.Fsm.Failure, StringComparison.Ordinal);
        Assert.Equal("dc-a", world.Site);
        Assert.Equal(PeMigrationState.Prepared, world.Source.Find("m1")!.State);
    }

    [Property(MaxTest = 400)]
    public void Whatever_is_lost_or_fails_a_move_ends_moved_or_rolled_back_and_never_sends_to_a_server_that_is_not_there(int seed)
    {
        var random = new Random(seed);
        var world = new World(keepOrder: random.Next(2) == 0, random.Next(3) == 0 ? "pe-c" : null)
        {
            Random = random,
            LossPercent = random.Next(40),
            MarkerAfterMs = { ["pe-d"] = random.Next(3) == 0 ? long.MaxValue : random.Next(3000) },
            LosesLastMarker = random.Next(3) == 0,
            MarkersPassAfterMs = random.Next(3) == 0 ? random.Next(1000) : null,
            ServerFailPercent = random.Next(40),
            TunnelWorks = random.Next(5) > 0,
            GivenBackAfterMs = random.Next(3000),
            GiveUpIn = random.Next(3) == 0 ? (MoveStage)random.Next((int)MoveStage.Ended) : MoveStage.Ended,
        };
        world.Run();
        switch (world.Fsm.Outcome)
        {
            case MoveOutcome.Moved:
                Assert.Equal("dc-b", world.Site);
                Assert.Equal(PeMigrationState.TornDown, world.Source.Find("m1")!.State);
                Assert.Equal(PeMigrationState.TornDown, world.Target.Find("m1")!.State);
                break;
            case MoveOutcome.RolledBack:
                Assert.Equal("dc-a", world.Site);
                Assert.True((world.Source.Find("m1")?.State ?? PeMigrationState.Aborted) == PeMigrationState.Aborted);
                Assert.True(world.Target.Find("m1") is null or { State: PeMigrationState.Aborted, Drained: true });
                break;
            default:
                // Only when something stayed lost for a whole time limit; then it must say so.
                Assert.NotNull(world.Fsm.Failure);
                break;
        }
    }

    [Property(MaxTest = 200)]
    public void With_moderate_losses_every_move_succeeds(int seed)
    {
        var world = new World { Random = new Random(seed), LossPercent = 20 };
        world.Run();
        Assert.True(world.Fsm.Outcome == MoveOutcome.Moved, world.Fsm.Failure);
    }

    /// <summary>Two PE machines, a server and a network of signals, in virtual time that advances by odd steps.</summary>
    private sealed class World
    {
        private const long Ms = 1_000_000;
        private readonly Queue<(MoveInput Input, long At)> _inputs = new();
        private long _now = 12_345;
        private long _advertisedAt = -1;
        private long _switchedAt = -1;
        private long _releasedAt = -1;
        private long _returnedAt = -1;
        private bool _gaveUp;
        private readonly string[] _gates = [];

        private long _tornDownAt = -1;

        public World(bool keepOrder = false, string? foreign = null, HoldOptions? hold = null)
        {
            MovingPrefix[] prefixes = [new("10.1.1.10/32", "dc")];
            if (keepOrder) _gates = [.. new[] { "pe-a", "pe-c", "pe-d" }.Where(p => p != foreign)];
            Fsm = new MoveFsm(new MovePlan("m1", 3, "vs", "default", new MoveEnd("pe-a", "dc-a", "10.255.0.1", prefixes),
                new MoveEnd("pe-b", "dc-b", "10.255.0.2", prefixes), ["pe-c", "pe-d"], 1, 200, hold ?? new HoldOptions(), 300, new MoveTimeouts(),
                keepOrder ? new OrderOptions([.. _gates.Select(p => new OrderedIngress(p, ["10.255.0." + (p[^1] - 'a' + 1)]))]) : null));
        }

        public MoveFsm Fsm { get; }
        public PeMigrationFsm Source { get; } = new();
        public PeMigrationFsm Target { get; } = new();
        public string? Site { get; private set; } = "dc-a";
        public List<string> Effects { get; } = [];
        public long LastTunnelPacketNs { get; private set; }

        public Random Random { get; init; } = new(1);
        public int LossPercent { get; init; }
        public int ServerFailPercent { get; init; }
        public bool TunnelWorks { get; init; } = true;
        public long TunnelBusyForMs { get; init; }
        public string? ResumeFailsAt { get; init; }
        public bool ResumeWorksButSaysNo { get; init; }
        public MoveStage GiveUpIn { get; init; } = MoveStage.Ended;
        public Action<MoveStage>? BeforeStage { get; set; }
        public Dictionary<string, long> IngressDirectAfterMs { get; } = [];
        public Dictionary<string, long> MarkerAfterMs { get; } = [];
        public bool LosesLastMarker { get; init; }

        /// <summary>How long after the advertisement the source has seen all markers go by; null: it is not able to.</summary>
        public long? MarkersPassAfterMs { get; init; }

        /// <summary>How long after the advertisement the source learns of it.</summary>
        public long SourceRoutedAfterMs { get; init; }
        public long Unordered { get; init; }

        /// <summary>How long the hold takes to empty. Never: until the paths have changed.</summary>
        public long HoldEmptyAfterMs { get; init; }

        /// <summary>How long an aborted target takes to give back what it held.</summary>
        public long GivenBackAfterMs { get; init; }
        public int Looks { get; private set; }

        public void Run()
        {
            Do(Fsm.Step(new Begin(), _now));
            MoveStage last = MoveStage.NotStarted;
            for (int steps = 0; Fsm.Outcome is null; steps++)
            {
                Assert.True(steps < 200_000, $"no end; stuck in {Fsm.Stage}");
                if (Fsm.Stage != last)
                {
                    last = Fsm.Stage;
                    BeforeStage?.Invoke(last);
                }

                if (Fsm.Stage == GiveUpIn && !_gaveUp)
                {
                    _gaveUp = true;
                    Do(Fsm.Step(new GiveUp("ctrl-C"), _now));
                    continue;
                }

                long deadline = Fsm.NextDeadline;
                if (_inputs.TryPeek(out (MoveInput Input, long At) next) && next.At <= deadline)
                {
                    _inputs.Dequeue();
                    _now = Math.Max(_now, next.At);
                    Do(Fsm.Step(next.Input, _now));
                }
                else
                {
                    Assert.True(deadline != long.MaxValue, $"nothing will ever happen in {Fsm.Stage}");
                    _now = Math.Max(_now, deadline) + 7;
                    Do(Fsm.Step(new DeadlineReached(), _now));
                }
            }
        }

        /// <summary>What the target said to a look of an earlier stage comes now.</summary>
        public void LateLookAtTarget() => Do(Fsm.Step(new MigrationSeen("pe-b", Info("pe-b")), _now));

        private void Do(IReadOnlyList<MoveCommand> commands)
        {
            foreach (MoveCommand command in commands)
            {
                MoveInput input = Answer(command);
                _inputs.Enqueue((input, _now + (1 + Random.Next(5)) * Ms + 13));
            }
        }

        private bool Lost() => Random.Next(100) < LossPercent;

        private MoveInput Answer(MoveCommand command)
        {
            switch (command)
            {
                case SendSignal send:
                    return Signal(send);
                case LookAtMigration look:
                    return new MigrationSeen(look.Pe, Lost() ? null : Info(look.Pe));
                case LookAtIngress look:
                    Looks++;
                    return new IngressSeen(look.Pe, !Lost() && _advertisedAt >= 0
                        && (_now - _advertisedAt) / Ms >= IngressDirectAfterMs.GetValueOrDefault(look.Pe, 80));
                case PauseServer:
                    if (Random.Next(100) < ServerFailPercent) return new ServerFailed("no answer");
                    Effects.Add("pause");
                    Site = null;
                    return new ServerPaused();
                case ResumeServer resume:
                    bool fails = Random.Next(100) < ServerFailPercent;
                    if (resume.Site == ResumeFailsAt || (fails && Random.Next(2) == 0)) return new ServerFailed("out of memory");
                    Effects.Add("resume " + resume.Site);
                    Site = resume.Site;
                    return fails || (ResumeWorksButSaysNo && resume.Site == "dc-b") ? new ServerFailed("connection closed") : new ServerResumed(resume.Site);
                case LocateServer:
                    return Random.Next(100) < ServerFailPercent ? new ServerFailed("no answer") : new ServerLocated(Site);
                default:
                    throw new InvalidOperationException(command.ToString());
            }
        }

        private MoveInput Signal(SendSignal send)
        {
            if (Lost()) return new SignalLost(send.Pe, send.Signal, "connection refused");
            PeMigrationFsm pe = send.Pe == "pe-a" ? Source : Target;
            bool routed = _advertisedAt >= 0 && (_now - _advertisedAt) / Ms >= SourceRoutedAfterMs;
            PeStep step = pe.Do("m1", send.Signal, send.Request, _now, new PeFacts(Unrouted: routed ? null : IpPrefix.Parse("10.1.1.10/32")));
            foreach (PeCommand effect in step.Commands)
            {
                // What the order of the move is for.
                if (effect is SwitchBack) Assert.Equal(send.Signal == SignalKind.Abort ? "dc-a" : "dc-b", Site);
                if (effect is ReleaseHold) Assert.Equal("dc-b", Site);
                if (effect is ReturnHold) Assert.Equal("dc-a", Site);
                if (effect is WithdrawPrefixes) Assert.Equal(PeMigrationState.Advertised, Target.Find("m1")!.State);
                if (effect is RemoveTunnel && send is { Pe: "pe-b", Signal: SignalKind.Teardown }) Assert.Equal(PeMigrationState.TornDown, Source.Find("m1")!.State);
                if (effect is SwitchToTunnel) Assert.Equal(PeMigrationState.Prepared, Target.Find("m1")!.State);
                if (effect is ReleaseHold) _releasedAt = _now;
                if (effect is AdvertisePrefixes) _advertisedAt = _now;
                if (effect is SwitchToTunnel) _switchedAt = _now;
                if (effect is FlushTunnel) _tornDownAt = _now;
                if (effect is ReleaseHold) pe.Result("m1", new HoldDrained(), _now);
                if (effect is ReturnHold) _returnedAt = _now;
            }

            if (step.Commands.Count > 0) Effects.Add($"{send.Pe} {send.Signal}");
            if (TunnelWorks && Source.Find("m1") is not null && Target.Find("m1") is not null)
            {
                Source.Result("m1", new TunnelHealth(true), _now);
                Target.Result("m1", new TunnelHealth(true), _now);
            }

            if (Lost()) return new SignalLost(send.Pe, send.Signal, "timed out");
            return step.Refusal is { } refusal
                ? new SignalRefused(send.Pe, send.Signal, refusal.Type, refusal.Detail)
                : new SignalTaken(send.Pe, new SignalReply("m1", send.Signal, step.Migration?.State ?? step.Earlier!.State, step.Migration?.Epoch ?? step.Earlier!.Epoch, step.Repeated, _now, _now));
        }

        private bool HoldIsEmpty => _releasedAt < 0 || _advertisedAt >= 0 || (_now - _releasedAt) / Ms >= HoldEmptyAfterMs;

        private MigrationInfo? Info(string pe)
        {
            if (pe == "pe-b" && _returnedAt >= 0 && (_now - _returnedAt) / Ms >= GivenBackAfterMs) Target.Result("m1", new HoldDrained(), _now);
            if ((pe == "pe-a" ? Source : Target).Find("m1") is not { } m) return null;
            long busyUntil = _switchedAt + (Math.Max(TunnelBusyForMs, 450) * Ms);
            LastTunnelPacketNs = Math.Min(_now, busyUntil);
            long packets = _switchedAt < 0 ? 0 : (LastTunnelPacketNs - _switchedAt) / 1000;
            return new MigrationInfo("m1", m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes.Texts, m.Peer.ToString(), m.Tunnel, m.TunnelUp,
                m.Role == MigrationRole.Source ? null : new HoldInfo("released", 9, HoldIsEmpty ? 0 : 5, 0, 9, 9, 9, 0, 0, 0),
                m is { Finished: true, Drained: true } ? null : new RedirectGroupInfo("m1", "default", 1, "tunnel", 0, packets, 0, null),
                _gates.Length == 0 ? null : m.Role == MigrationRole.Target ? Order() : Passing());
        }

        private OrderInfo? Passing()
        {
            if (MarkersPassAfterMs is not { } after) return null;
            bool passed = _advertisedAt >= 0 && (_now - _advertisedAt) / Ms >= after;
            return new OrderInfo(7, passed, [.. _gates.Where(pe => pe != "pe-a").Select(pe => Gate(pe, passed))], 0, 0);
        }

        private static OrderGateInfo Gate(string pe, bool proved) =>
            new(pe, "", true, proved ? GateOpening.Marker : GateOpening.Closed, 1, proved ? 1u : 0, proved, null, null, null, 0, 0, 0, 0);

        private OrderInfo Order()
        {
            OrderGateInfo[] gates = [.. _gates.Select(pe =>
            {
                long since = pe == "pe-a" ? (LosesLastMarker ? -1 : _tornDownAt) : _advertisedAt;
                bool proved = since >= 0 && (_now - since) / Ms >= MarkerAfterMs.GetValueOrDefault(pe, 40);
                return Gate(pe, proved);
            })];
            return new OrderInfo(7, gates.All(g => g.Proved), gates, Unordered, 0);
        }
    }
}
