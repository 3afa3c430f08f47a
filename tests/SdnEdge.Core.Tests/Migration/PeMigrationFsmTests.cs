using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

public class PeMigrationFsmTests
{
    private const string Id = "m1";
    private static readonly SignalKind[] All = Enum.GetValues<SignalKind>();
    private static readonly MovingPrefix[] Prefixes = [new("10.1.1.10/32", "dc"), new("fd00:1:1::10/128", "dc")];
    private static readonly PrefixSet Read = PrefixSet.Parse(Prefixes);
    private static readonly IpAddress Peer = IpAddress.Parse("10.255.0.2");

    private static readonly SignalKind[] SourcePath = [SignalKind.Prepare, SignalKind.Switch, SignalKind.Withdraw, SignalKind.Teardown];
    private static readonly SignalKind[] TargetPath = [SignalKind.Prepare, SignalKind.Release, SignalKind.Advertise, SignalKind.Teardown];

    // Each pair of state and signal, written out by hand. Columns: prepare switch release advertise withdraw teardown abort.
    // r = repeated, w = wrong state, u = unknown migration; else the state that follows.
    [Theory]
    [InlineData(MigrationRole.Source, "idle", "prepared u u u u u aborted")]
    [InlineData(MigrationRole.Source, "prepared", "r switched w w w w aborted")]
    [InlineData(MigrationRole.Source, "switched", "r r w w withdrawn w aborted")]
    [InlineData(MigrationRole.Source, "withdrawn", "r r w w r torndown w")]
    [InlineData(MigrationRole.Source, "torndown", "r r w w r r w")]
    [InlineData(MigrationRole.Source, "aborted-prepared", "w w w w w w r")]
    [InlineData(MigrationRole.Source, "aborted-switched", "w w w w w w r")]
    [InlineData(MigrationRole.Source, "aborted-idle", "w w w w w w r")]
    [InlineData(MigrationRole.Target, "idle", "prepared u u u u u aborted")]
    [InlineData(MigrationRole.Target, "prepared", "r w released w w w aborted")]
    [InlineData(MigrationRole.Target, "released", "r w r advertised w w w")]
    [InlineData(MigrationRole.Target, "advertised", "r w r r w torndown w")]
    [InlineData(MigrationRole.Target, "torndown", "r w r r w r w")]
    [InlineData(MigrationRole.Target, "aborted-prepared", "w w w w w w r")]
    [InlineData(MigrationRole.Target, "aborted-idle", "w w w w w w r")]
    public void Every_signal_in_every_state_of_every_role(MigrationRole role, string state, string expected)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(expected);
        string[] outcomes = expected.Split(' ');
        for (int i = 0; i < All.Length; i++)
        {
            PeMigrationFsm fsm = InState(role, state);
            PeMigration? before = fsm.Find(Id);
            PeStep step = fsm.Do(Id, All[i], Request(role, All[i], 5), 100);
            string where = $"{All[i]} in {state} of the {role}";
            switch (outcomes[i])
            {
                case "r":
                    Assert.True(step.Repeated && step.Refusal is null && step.Commands.Count == 0, where);
                    Assert.Equal(before, step.Migration);
                    break;
                case "w":
                    Assert.True(step.Refusal?.Reason == PeRefusalReason.WrongState && step.Commands.Count == 0, where);
                    Assert.Equal(before, step.Migration);
                    Assert.Contains(" is refused: ", step.Refusal!.Detail, StringComparison.Ordinal);
                    break;
                case "u":
                    Assert.True(step.Refusal?.Reason == PeRefusalReason.Unknown && step.Migration is null, where);
                    break;
                default:
                    Assert.True(step.Refusal is null && !step.Repeated, where + ": " + step.Refusal?.Detail);
                    Assert.Equal(outcomes[i], step.Migration!.State.ToString(), ignoreCase: true);
                    Assert.Equal(step.Migration, fsm.Find(Id));
                    break;
            }
        }
    }

    [Fact]
    public void The_source_does_its_part_in_order()
    {
        var fsm = new PeMigrationFsm();
        Assert.Equal<PeCommand>([new CreateTunnel("mig-m1", "default", Peer, 77), new ArmGroup(Id, "default", Read, "mig-m1")],
            fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 1), 1).Commands);
        fsm.Result(Id, new TunnelHealth(true), 2);
        Assert.Equal<PeCommand>([new SwitchToTunnel(Id)], fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 3).Commands);
        Assert.Equal<PeCommand>([new WithdrawPrefixes("default", Read)], fsm.Do(Id, SignalKind.Withdraw, new SignalRequest(1), 4).Commands);
        Assert.Equal<PeCommand>(
            [new SwitchBack(Id), new FlushTunnel(Id, "mig-m1", MoveTag.Of(Id, 77)), new RemoveGroup(Id, "default", Read),
                new RemoveTunnel("mig-m1")],
            fsm.Do(Id, SignalKind.Teardown, new SignalRequest(1), 5).Commands);
        Assert.Equal(5, fsm.Find(Id)!.ChangedAtNs);
    }

    [Fact]
    public void A_source_that_is_told_how_order_is_kept_sees_the_markers_that_go_by()
    {
        var order = new OrderOptions([new OrderedIngress("pe-c", ["10.255.0.3"])]);
        var fsm = new PeMigrationFsm();
        ArmGroup armed = fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 1) with { Order = order },
            1).Commands.OfType<ArmGroup>().Single();
        Assert.Equal((MoveTag.Of(Id, 77), Peer, "10.255.0.3"),
            (armed.Order!.Tag, armed.Order.SourceLoopback, armed.Order.Options.Ingress[0].Loopbacks[0]));
    }

    [Fact]
    public void A_source_keeps_its_tunnel_until_it_has_another_route_or_is_forced()
    {
        foreach (bool force in (bool[])[false, true])
        {
            PeMigrationFsm fsm = InState(MigrationRole.Source, "withdrawn");
            var facts = new PeFacts(Unrouted: IpPrefix.Parse("10.1.1.10/32"));
            PeStep early = fsm.Do(Id, SignalKind.Teardown, new SignalRequest(5), 5, facts);
            Assert.Equal((PeRefusalReason.NoOtherRoute, "/problems/no-other-route"), (early.Refusal!.Reason, early.Refusal.Type));
            Assert.Contains("10.1.1.10/32", early.Refusal.Detail, StringComparison.Ordinal);
            Assert.Equal((PeMigrationState.Withdrawn, 0), (fsm.Find(Id)!.State, early.Commands.Count));
            Assert.Equal(PeMigrationState.TornDown,
                fsm.Do(Id, SignalKind.Teardown, new SignalRequest(5, Force: force), 6, force ? facts : PeFacts.None).Migration!.State);
        }
    }

    [Theory]
    [InlineData(MigrationRole.Source, SignalKind.Withdraw, "switched", PeMigrationState.Withdrawn)]
    [InlineData(MigrationRole.Source, SignalKind.Teardown, "withdrawn", PeMigrationState.TornDown)]
    [InlineData(MigrationRole.Target, SignalKind.Teardown, "advertised", PeMigrationState.TornDown)]
    public void A_signal_for_after_the_flush_markers_is_refused_until_they_have_come(
        MigrationRole role, SignalKind signal, string state, PeMigrationState then)
    {
        PeMigrationFsm fsm = InState(role, state);
        PeMigrationState before = fsm.Find(Id)!.State;
        var facts = new PeFacts(UnderWay: "the flush markers of pe-c have not come");
        PeStep early = fsm.Do(Id, signal, new SignalRequest(5, AfterMarkers: true), 5, facts);
        Assert.Equal((PeRefusalReason.MarkersMissing, "/problems/markers-missing"), (early.Refusal!.Reason, early.Refusal.Type));
        Assert.Contains("pe-c", early.Refusal.Detail, StringComparison.Ordinal);
        Assert.Equal((before, 0), (fsm.Find(Id)!.State, early.Commands.Count));

        // Who does not ask for them does not wait for them.
        Assert.Equal(then, fsm.Do(Id, signal, new SignalRequest(5, AfterMarkers: false), 6, facts).Migration!.State);
    }

    [Fact]
    public void A_release_for_when_the_servers_answer_is_refused_until_they_do()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Target, "prepared");
        var facts = new PeFacts(Silent: "no answer has come from 10.1.1.10 on port dc");
        PeStep early = fsm.Do(Id, SignalKind.Release, new SignalRequest(5, AfterServers: true), 5, facts);
        Assert.Equal((PeRefusalReason.ServersSilent, "/problems/servers-silent"), (early.Refusal!.Reason, early.Refusal.Type));
        Assert.Equal((PeMigrationState.Prepared, 0), (fsm.Find(Id)!.State, early.Commands.Count));
        Assert.Equal(PeMigrationState.Released, fsm.Do(Id, SignalKind.Release, new SignalRequest(5), 6, facts).Migration!.State);
    }

    [Fact]
    public void A_target_needs_no_other_route()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Target, "advertised");
        Assert.Equal(PeMigrationState.TornDown,
            fsm.Do(Id, SignalKind.Teardown, new SignalRequest(5), 6,
                new PeFacts(Unrouted: IpPrefix.Parse("10.1.1.10/32"))).Migration!.State);
    }

    [Fact]
    public void The_target_does_its_part_in_order()
    {
        var fsm = new PeMigrationFsm();
        var hold = new HoldOptions(MaxBytes: 1 << 20);
        SignalRequest prepare = Request(MigrationRole.Target, SignalKind.Prepare, 1) with { Hold = hold };
        Assert.Equal<PeCommand>([new CreateTunnel("mig-m1", "default", Peer, 77), new ArmHold(Id, "default", Read, "mig-m1", hold)],
            fsm.Do(Id, SignalKind.Prepare, prepare, 1).Commands);
        Assert.Equal<PeCommand>([new ReleaseHold(Id)], fsm.Do(Id, SignalKind.Release, new SignalRequest(1), 2).Commands);
        Assert.Equal<PeCommand>([new AdvertisePrefixes(Id, "default", Read, 300, 1)],
            fsm.Do(Id, SignalKind.Advertise, new SignalRequest(1, LocalPref: 300), 3).Commands);
        PeStep early = fsm.Do(Id, SignalKind.Teardown, new SignalRequest(1), 4);
        Assert.Equal(PeRefusalReason.HoldNotDrained, early.Refusal!.Reason);
        Assert.Empty(fsm.Result(Id, new HoldDrained(), 5).Commands);
        Assert.Equal<PeCommand>([new RemoveGroup(Id, "default", Read), new RemoveTunnel("mig-m1")],
            fsm.Do(Id, SignalKind.Teardown, new SignalRequest(1), 6).Commands);
    }

    [Fact]
    public void A_target_that_keeps_order_makes_gates_and_asks_for_markers()
    {
        var fsm = new PeMigrationFsm();
        var order = new OrderOptions([new OrderedIngress("pe-c", ["10.255.0.3", "fd00:ff::3"])], BoundMs: 700);
        SignalRequest prepare = Request(MigrationRole.Target, SignalKind.Prepare, 1) with { Order = order };
        uint tag = MoveTag.Of(Id, 77);
        OrderSpec kept = fsm.Do(Id, SignalKind.Prepare, prepare with { Peer = "10.255.0.1" }, 1).Commands.OfType<ArmHold>().Single().Order!;
        Assert.Equal((tag, IpAddress.Parse("10.255.0.1"), 700), (kept.Tag, kept.SourceLoopback, kept.Options.BoundMs));
        Assert.Equal(["10.255.0.3", "fd00:ff::3"], kept.Options.Ingress[0].Loopbacks);
        Assert.Equal(PeRefusalReason.Conflict,
            fsm.Do(Id, SignalKind.Prepare, prepare with { Peer = "10.255.0.1", Order = order with { BoundMs = 1 } }, 2).Refusal!.Reason);
        Assert.True(fsm.Do(Id, SignalKind.Prepare,
            prepare with { Peer = "10.255.0.1",
                Order = new OrderOptions([new OrderedIngress("pe-c", ["10.255.0.3", "FD00:00FF:0::3"])], 700) }, 3).Repeated);
        fsm.Do(Id, SignalKind.Release, new SignalRequest(1), 4);
        Assert.Equal<PeCommand>([new AdvertisePrefixes(Id, "default", Read, 300, 1, tag)],
            fsm.Do(Id, SignalKind.Advertise, new SignalRequest(1, LocalPref: 300), 5).Commands);
    }

    [Fact]
    public void What_is_wrong_with_an_order_is_said_all_at_once()
    {
        var order = new OrderOptions([new OrderedIngress("pe-c", ["10.255.0.3", "nonsense"]), new OrderedIngress("pe-d", ["10.255.0.3"])],
            BoundMs: 0, OthersHoldMs: 60_001);
        PeRefusal refusal = new PeMigrationFsm()
            .Signal(Id, SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 1) with { Order = order }, 1).Refusal!;
        Assert.Equal(PeRefusalReason.BadRequest, refusal.Reason);
        Assert.Equal(["/order/boundMs", "/order/othersHoldMs", "/order/ingress/0/loopbacks", "/order/ingress/1/loopbacks"],
            refusal.Errors!.Select(e => e.Pointer));
    }

    [Fact]
    public void A_switch_waits_for_the_tunnels_probe()
    {
        var fsm = new PeMigrationFsm();
        fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 1), 1);
        PeStep refused = fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 2);
        Assert.Equal(PeRefusalReason.TunnelNotUp, refused.Refusal!.Reason);
        fsm.Result(Id, new TunnelHealth(true), 3);
        fsm.Result(Id, new TunnelHealth(false), 4);
        Assert.Equal(PeRefusalReason.TunnelNotUp, fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 5).Refusal!.Reason);
        fsm.Result(Id, new TunnelHealth(true), 6);
        Assert.Null(fsm.Do(Id, SignalKind.Switch, new SignalRequest(1), 7).Refusal);
    }

    [Fact]
    public void Abort_of_a_switched_source_switches_back_first()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Source, "switched");
        Assert.Equal<PeCommand>([new SwitchBack(Id), new FlushTunnel(Id, "mig-m1", MoveTag.Of(Id, 77)),
            new RemoveGroup(Id, "default", Read), new RemoveTunnel("mig-m1")],
            fsm.Do(Id, SignalKind.Abort, new SignalRequest(5), 9).Commands);
    }

    [Fact]
    public void Abort_at_the_target_gives_back_what_is_held_and_only_then_removes()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Target, "prepared");
        Assert.Equal<PeCommand>([new ReturnHold(Id)], fsm.Do(Id, SignalKind.Abort, new SignalRequest(5), 9).Commands);
        PeStep busy = fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 6), 10);
        Assert.Equal(PeRefusalReason.Conflict, busy.Refusal!.Reason);
        Assert.Equal<PeCommand>([new RemoveGroup(Id, "default", Read), new RemoveTunnel("mig-m1")],
            fsm.Result(Id, new HoldDrained(), 11).Commands);
        Assert.Empty(fsm.Result(Id, new HoldDrained(), 12).Commands);
        Assert.Null(fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 6), 13).Refusal);
    }

    [Fact]
    public void An_abort_that_overtakes_its_prepare_wins()
    {
        var fsm = new PeMigrationFsm();
        Assert.Null(fsm.Do(Id, SignalKind.Abort, new SignalRequest(3), 1).Refusal);
        PeStep late = fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 3), 2);
        Assert.Equal(PeRefusalReason.WrongState, late.Refusal!.Reason);
        Assert.Empty(late.Commands);
    }

    [Fact]
    public void A_failed_prepare_is_undone_and_may_be_tried_again()
    {
        var fsm = new PeMigrationFsm();
        SignalRequest prepare = Request(MigrationRole.Source, SignalKind.Prepare, 1);
        fsm.Signal(Id, SignalKind.Prepare, prepare, 1);
        Assert.Equal<PeCommand>([new RemoveGroup(Id, "default", Read), new RemoveTunnel("mig-m1")],
            fsm.Result(Id, new ExecutionFailed(SignalKind.Prepare), 2).Commands);
        Assert.Null(fsm.Find(Id));
        Assert.Equal(2, fsm.Do(Id, SignalKind.Prepare, prepare, 3).Commands.Count);
    }

    [Fact]
    public void Prefixes_of_a_living_migration_are_refused_to_another()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Source, "switched");
        PeStep other = fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 9) with { TunnelKey = 78 }, 1);
        Assert.Equal(PeRefusalReason.Conflict, other.Refusal!.Reason);
        Assert.Contains("'m1', which is switched at its source; if it is at work, wait", other.Refusal.Detail, StringComparison.Ordinal);
    }

    // What is right depends on where the server runs, and once the target was told that it is live there, on nothing any more: an end
    // that does not fit is a black hole.
    [Theory]
    [InlineData(MigrationRole.Source, "switched", true, true)]
    [InlineData(MigrationRole.Target, "prepared", true, true)]
    [InlineData(MigrationRole.Target, "released", false, true)]
    [InlineData(MigrationRole.Target, "advertised", false, true)]
    [InlineData(MigrationRole.Source, "withdrawn", false, true)]
    public void The_refusal_says_how_an_unfinished_migration_is_ended_from_where_it_is(
        MigrationRole role, string state, bool back, bool forward)
    {
        PeMigrationFsm fsm = InState(role, state);
        SignalRequest asked = Request(role, SignalKind.Prepare, 9) with { TunnelKey = 78 };
        string detail = fsm.Signal("m2", SignalKind.Prepare, asked, 1, new PeFacts(Api: "/run/sdnedge/pe-a.sock")).Refusal!.Detail;
        Assert.Equal(back, detail.Contains("signal abort m1 --api /run/sdnedge/pe-a.sock --epoch 5", StringComparison.Ordinal));
        Assert.Equal(forward, detail.Contains("forwards", StringComparison.Ordinal));
        Assert.Contains("signal teardown m1 --api /run/sdnedge/pe-a.sock --epoch 5", detail, StringComparison.Ordinal);
        if (role == MigrationRole.Target || state == "withdrawn") return;
        Assert.True(detail.IndexOf("advertise at its target", StringComparison.Ordinal)
            < detail.IndexOf("signal teardown", StringComparison.Ordinal), detail);
    }

    [Fact]
    public void A_later_migration_of_the_same_prefixes_fences_the_earlier_one_and_the_ones_with_lower_epochs()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Source, "torndown");
        Assert.Equal(PeRefusalReason.StaleEpoch,
            fsm.Do("m0", SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 4), 1).Refusal!.Reason);
        Assert.Null(fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 6), 2).Refusal);
        PeStep late = fsm.Do(Id, SignalKind.Withdraw, new SignalRequest(5), 3);
        Assert.Equal(PeRefusalReason.StaleEpoch, late.Refusal!.Reason);
        Assert.Contains("epoch 5 is older than 6", late.Refusal.Detail, StringComparison.Ordinal);
        Assert.Contains("'m2'", late.Refusal.Detail, StringComparison.Ordinal);

        // That it is over may be said again: nothing follows from it.
        Assert.True(fsm.Do(Id, SignalKind.Teardown, new SignalRequest(5), 4).Repeated);
    }

    [Fact]
    public void A_higher_epoch_is_remembered_even_when_the_state_refuses_its_signal()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Source, "prepared");
        Assert.Equal(PeRefusalReason.WrongState, fsm.Do(Id, SignalKind.Teardown, new SignalRequest(8), 1).Refusal!.Reason);
        Assert.Equal(PeRefusalReason.StaleEpoch, fsm.Do(Id, SignalKind.Switch, new SignalRequest(7), 2).Refusal!.Reason);
        Assert.Null(fsm.Do(Id, SignalKind.Switch, new SignalRequest(8), 3).Refusal);
    }

    [Fact]
    public void A_repetition_with_other_values_is_a_conflict()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Target, "advertised");
        foreach (SignalRequest other in new[]
        {
            Request(MigrationRole.Source, SignalKind.Prepare, 5),
            Request(MigrationRole.Target, SignalKind.Prepare, 5) with { Peer = "10.255.0.3" },
            Request(MigrationRole.Target, SignalKind.Prepare, 5) with { TunnelKey = 1 },
            Request(MigrationRole.Target, SignalKind.Prepare, 5) with { Prefixes = [Prefixes[0]] },
            Request(MigrationRole.Target, SignalKind.Prepare, 5) with { Hold = new HoldOptions(MaxPackets: 1) },
        })
        {
            Assert.Equal(PeRefusalReason.Conflict, fsm.Do(Id, SignalKind.Prepare, other, 1).Refusal!.Reason);
        }

        Assert.Equal(PeRefusalReason.Conflict, fsm.Do(Id, SignalKind.Advertise, new SignalRequest(5, LocalPref: 7), 1).Refusal!.Reason);
        Assert.True(fsm.Do(Id, SignalKind.Advertise, new SignalRequest(5, LocalPref: 200), 1).Repeated);
    }

    [Fact]
    public void An_incomplete_prepare_names_everything_that_is_missing_and_leaves_no_trace()
    {
        var fsm = new PeMigrationFsm();
        PeRefusal refusal = fsm.Do(Id, SignalKind.Prepare, new SignalRequest(1), 1).Refusal!;
        Assert.Equal(PeRefusalReason.BadRequest, refusal.Reason);
        Assert.Equal(["/role", "/tunnelKey", "/peer", "/prefixes"], refusal.Errors!.Select(e => e.Pointer));
        refusal = fsm.Do(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 1) with
        {
            Prefixes = [new("10.1.1.10/24", "dc"), new("10.1.1.0/24", ""), new("10.1.1.0/24", "dc")],
        }, 1).Refusal!;
        Assert.Equal(["/prefixes/0/prefix", "/prefixes/1/port", "/prefixes/2/prefix"], refusal.Errors!.Select(e => e.Pointer));
        Assert.Equal(PeRefusalReason.BadRequest, fsm.Do(Id, SignalKind.Abort, new SignalRequest(0), 1).Refusal!.Reason);
        Assert.Empty(fsm.Migrations);
    }

    [Fact]
    public void A_repetition_is_answered_with_what_was_answered_before()
    {
        PeMigrationFsm fsm = InState(MigrationRole.Source, "prepared");
        var reply = new SignalReply(Id, SignalKind.Switch, PeMigrationState.Switched, 5, false, 1234, 5678, 42);
        fsm.Signal(Id, SignalKind.Switch, new SignalRequest(5), 98);
        fsm.Result(Id, new Executed(SignalKind.Switch, reply), 99);
        Assert.Equal(reply, fsm.Signal(Id, SignalKind.Switch, new SignalRequest(5), 99).Earlier);
    }

    [Fact]
    public void Finished_migrations_are_forgotten_in_the_end_but_their_epochs_are_not()
    {
        var fsm = new PeMigrationFsm();
        for (int i = 1; i <= PeMigrationFsm.MaxFinished + 50; i++)
        {
            string id = "m" + i;
            Assert.Null(fsm.Do(id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, i), i).Refusal);
            Assert.Null(fsm.Do(id, SignalKind.Abort, new SignalRequest(i), i).Refusal);
        }

        Assert.Equal(PeMigrationFsm.MaxFinished, fsm.Migrations.Count());
        Assert.Equal(PeRefusalReason.StaleEpoch,
            fsm.Do("m1", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 1), 1).Refusal!.Reason);
    }

    [Property(MaxTest = 500)]
    public void Repeating_every_accepted_signal_changes_nothing(byte[] script)
    {
        // Two machines get the same signals; one of them gets each signal twice. The end must be the same, and the second
        // time must bring no command.
        ArgumentNullException.ThrowIfNull(script);
        var once = new PeMigrationFsm();
        var twice = new PeMigrationFsm();
        foreach (byte b in script)
        {
            (string id, SignalKind kind, SignalRequest request) = Decode(b);
            PeStep first = once.Do(id, kind, request, 1);
            PeStep second = twice.Do(id, kind, request, 1);
            PeStep third = twice.Do(id, kind, request, 2);
            Assert.Equal(first.Commands, second.Commands);
            Assert.Empty(third.Commands);
            if (second.Refusal is null) Assert.True(third.Repeated || third.Refusal!.Reason == PeRefusalReason.Conflict);
            if ((b & 1) != 0)
                Assert.Equal(once.Result(id, new TunnelHealth(true), 3).Commands, twice.Result(id, new TunnelHealth(true), 3).Commands);
            if ((b & 2) != 0) Assert.Equal(once.Result(id, new HoldDrained(), 3).Commands, twice.Result(id, new HoldDrained(), 3).Commands);
        }

        Assert.Equal(once.Migrations, twice.Migrations);
    }

    [Property(MaxTest = 500)]
    public void No_signal_older_than_the_highest_epoch_seen_ever_has_an_effect(byte[] script)
    {
        ArgumentNullException.ThrowIfNull(script);
        var fsm = new PeMigrationFsm();
        var highest = new Dictionary<string, long>();
        long highestAccepted = 0;
        foreach (byte b in script)
        {
            (string id, SignalKind kind, SignalRequest request) = Decode(b);
            bool living = fsm.Find(id) is { Finished: false };
            PeStep step = fsm.Do(id, kind, request, 1);
            if (request.Epoch < highest.GetValueOrDefault(id))
            {
                Assert.Empty(step.Commands);

                // That it is over is all that an old one may hear but a refusal.
                Assert.True(step.Refusal is not null
                    || (step.Repeated && step.Earlier!.State is PeMigrationState.Aborted or PeMigrationState.TornDown));
            }

            // All migrations of this test move the same prefixes, so an effect may never come from an epoch older than the
            // highest that had an effect.
            if (step.Commands.Count > 0)
            {
                Assert.True(request.Epoch >= highestAccepted, $"{kind} with epoch {request.Epoch} after {highestAccepted}");
                highestAccepted = request.Epoch;
            }

            if (living || step.Commands.Count > 0) highest[id] = Math.Max(highest.GetValueOrDefault(id), request.Epoch);
            if ((b & 1) != 0) fsm.Result(id, new TunnelHealth(true), 3);
            if ((b & 2) != 0) fsm.Result(id, new HoldDrained(), 3);
        }
    }

    [Property(MaxTest = 500)]
    public void What_was_created_is_removed_once_and_nothing_else_is(byte[] script)
    {
        ArgumentNullException.ThrowIfNull(script);
        var fsm = new PeMigrationFsm();
        var there = new HashSet<string>();
        foreach (byte b in script)
        {
            (string id, SignalKind kind, SignalRequest request) = Decode(b);
            var commands = new List<PeCommand>(fsm.Do(id, kind, request, 1).Commands);
            if ((b & 1) != 0) fsm.Result(id, new TunnelHealth(true), 3);
            if ((b & 2) != 0) commands.AddRange(fsm.Result(id, new HoldDrained(), 3).Commands);
            foreach (PeCommand command in commands)
            {
                switch (command)
                {
                    case CreateTunnel c: Assert.True(there.Add(c.Tunnel)); break;
                    case ArmGroup c: Assert.True(there.Add("group " + c.Group)); break;
                    case ArmHold c: Assert.True(there.Add("group " + c.Group)); break;
                    case RemoveTunnel c: Assert.True(there.Remove(c.Tunnel)); break;
                    case RemoveGroup c: Assert.True(there.Remove("group " + c.Group)); break;
                    case SwitchToTunnel c: Assert.Contains("group " + c.Group, there); break;
                    case SwitchBack c: Assert.Contains("group " + c.Group, there); break;
                    case ReleaseHold c: Assert.Contains("group " + c.Group, there); break;
                    case ReturnHold c: Assert.Contains("group " + c.Group, there); break;
                }
            }
        }

        var living = fsm.Migrations.Where(m => !m.Finished || !m.Drained).ToList();
        Assert.Equal(living.SelectMany(m => new[] { m.Tunnel, "group " + m.Group }).Order(), there.Order());
    }

    private static (string Id, SignalKind Kind, SignalRequest Request) Decode(byte b)
    {
        SignalKind kind = All[(b >> 2) % All.Length];
        MigrationRole role = (b & 0x40) != 0 ? MigrationRole.Source : MigrationRole.Target;
        string id = role + "-" + ((b >> 3) % 2);
        return (id, kind, Request(role, kind, 1 + (b % 3)));
    }

    private static SignalRequest Request(MigrationRole role, SignalKind kind, long epoch) => kind == SignalKind.Prepare
        ? new SignalRequest(epoch, role, "default", Prefixes, "10.255.0.2", 77)
        : new SignalRequest(epoch);

    private static PeMigrationFsm InState(MigrationRole role, string state)
    {
        var fsm = new PeMigrationFsm();
        SignalKind[] path = role == MigrationRole.Source ? SourcePath : TargetPath;
        string end = state.Replace("aborted-", "", StringComparison.Ordinal);
        foreach (SignalKind kind in path)
        {
            if (string.Equals(fsm.Find(Id)?.State.ToString() ?? "idle", end, StringComparison.OrdinalIgnoreCase)) break;
            PeStep step = fsm.Do(Id, kind, Request(role, kind, 5), 1);
            Assert.Null(step.Refusal);
            fsm.Result(Id, new TunnelHealth(true), 1);
            fsm.Result(Id, new HoldDrained(), 1);
        }

        if (state.StartsWith("aborted", StringComparison.Ordinal))
            Assert.Null(fsm.Do(Id, SignalKind.Abort, Request(role, SignalKind.Abort, 5), 1).Refusal);
        return fsm;
    }
}
