using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>Accepted is not executed: what failed half way is not done, may be sent again, and is undone by an abort.</summary>
public sealed class PeExecutionTests
{
    private const string Id = "m1";
    private static readonly SignalRequest One = new(1);

    [Fact]
    public void An_accepted_signal_is_not_done_before_it_is_executed()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare);
        PeStep accepted = fsm.Signal(Id, SignalKind.Switch, One, 1);
        Assert.Equal((PeMigrationState.Switched, PeMigrationState.Prepared), (accepted.Migration!.State, fsm.Find(Id)!.State));
        PeStep again = fsm.Signal(Id, SignalKind.Switch, One, 2);
        Assert.True(again is { Underway: true, Repeated: false, Commands.Count: 0 });
        Assert.Equal(PeRefusalReason.Conflict, fsm.Signal(Id, SignalKind.Abort, One, 3).Refusal!.Reason);
        fsm.Result(Id, new Executed(SignalKind.Switch, Reply(SignalKind.Switch, accepted)), 4);
        Assert.Equal(PeMigrationState.Switched, fsm.Find(Id)!.State);
        Assert.True(fsm.Signal(Id, SignalKind.Switch, One, 5).Repeated);
    }

    [Theory]
    [InlineData(MigrationRole.Source, SignalKind.Switch)]
    [InlineData(MigrationRole.Source, SignalKind.Withdraw)]
    [InlineData(MigrationRole.Source, SignalKind.Teardown)]
    [InlineData(MigrationRole.Source, SignalKind.Abort)]
    [InlineData(MigrationRole.Target, SignalKind.Release)]
    [InlineData(MigrationRole.Target, SignalKind.Advertise)]
    [InlineData(MigrationRole.Target, SignalKind.Teardown)]
    [InlineData(MigrationRole.Target, SignalKind.Abort)]
    public void A_signal_that_failed_gives_the_same_commands_again(MigrationRole role, SignalKind kind)
    {
        PeMigrationFsm fsm = Before(role, kind);
        PeMigration before = fsm.Find(Id)!;
        PeStep first = fsm.Signal(Id, kind, One, 1);
        Assert.NotEmpty(first.Commands);
        fsm.Result(Id, new ExecutionFailed(kind), 2);
        Assert.Equal(before, fsm.Find(Id));
        PeStep second = fsm.Signal(Id, kind, One, 3);
        Assert.Equal(first.Commands, second.Commands);
        fsm.Result(Id, new Executed(kind, Reply(kind, second)), 4);
        Assert.True(fsm.Signal(Id, kind, One, 5).Repeated);
    }

    [Fact]
    public void After_a_failed_release_the_target_is_brought_to_its_end_by_sending_it_again()
    {
        PeMigrationFsm fsm = Target(SignalKind.Prepare);
        fsm.Signal(Id, SignalKind.Release, One, 1);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Release), 2);
        fsm.Result(Id, new HoldDrained(), 3);       // of the attempt
        Assert.Null(fsm.Do(Id, SignalKind.Release, One, 4).Refusal);
        fsm.Result(Id, new HoldDrained(), 5);
        Assert.Null(fsm.Do(Id, SignalKind.Advertise, One, 6).Refusal);
        Assert.Null(fsm.Do(Id, SignalKind.Teardown, One, 7).Refusal);
    }

    [Fact]
    public void An_abort_undoes_what_was_begun_and_failed()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare);
        fsm.Signal(Id, SignalKind.Switch, One, 1);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Switch), 2);
        Assert.Contains(new SwitchBack(Id), fsm.Signal(Id, SignalKind.Abort, One, 3).Commands);

        fsm = Source(SignalKind.Prepare, SignalKind.Switch);
        fsm.Signal(Id, SignalKind.Withdraw, One, 1);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Withdraw), 2);
        IReadOnlyList<PeCommand> commands = fsm.Signal(Id, SignalKind.Abort, One, 3).Commands;
        Assert.Equal(new RestorePrefixes("default", Set), commands[0]);
        Assert.Equal(new SwitchBack(Id), commands[1]);
    }

    [Fact]
    public void A_server_that_an_earlier_move_brought_here_is_advertised_again_when_a_withdraw_that_failed_is_given_up()
    {
        PeMigrationFsm fsm = Target(SignalKind.Prepare, SignalKind.Release, SignalKind.Advertise, SignalKind.Teardown);
        foreach (SignalKind kind in (SignalKind[])[SignalKind.Prepare, SignalKind.Switch])
        {
            Assert.Null(fsm.Do("m2", kind, Request(MigrationRole.Source, kind, 2), 1).Refusal);
            fsm.Result("m2", new TunnelHealth(true), 1);
        }

        fsm.Signal("m2", SignalKind.Withdraw, new SignalRequest(2), 2);
        fsm.Result("m2", new ExecutionFailed(SignalKind.Withdraw), 3);
        Assert.Equal(new AdvertisePrefixes("", "default", Set, 200, 1),
            fsm.Signal("m2", SignalKind.Abort, new SignalRequest(2), 4).Commands[0]);
    }

    [Fact]
    public void Once_an_abort_was_begun_nothing_but_an_abort_is_taken()
    {
        PeMigrationFsm fsm = Target(SignalKind.Prepare);
        fsm.Signal(Id, SignalKind.Abort, One, 1);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Abort), 2);
        PeRefusal refusal = fsm.Signal(Id, SignalKind.Release, One, 3).Refusal!;
        Assert.Equal(PeRefusalReason.WrongState, refusal.Reason);
        Assert.Contains("send the abort again", refusal.Detail, StringComparison.Ordinal);
        Assert.Null(fsm.Do(Id, SignalKind.Abort, One, 4).Refusal);
    }

    [Fact]
    public void What_was_not_begun_leaves_nothing_to_undo()
    {
        PeMigrationFsm fsm = Source(SignalKind.Prepare);
        fsm.Signal(Id, SignalKind.Switch, One, 1);
        fsm.Result(Id, new ExecutionFailed(SignalKind.Switch, Begun: false), 2);
        Assert.DoesNotContain(new SwitchBack(Id), fsm.Signal(Id, SignalKind.Abort, One, 3).Commands);
    }

    [Fact]
    public void An_abort_ends_a_prepare_that_is_being_carried_out_and_its_late_result_changes_nothing()
    {
        var fsm = new PeMigrationFsm();
        PeStep prepare = fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare), 1);
        Assert.Equal(PeMigrationState.Idle, fsm.Find(Id)!.State);
        Assert.True(fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare), 2).Underway);
        Assert.Equal<PeCommand>([new RemoveGroup(Id, "default", Set), new RemoveTunnel("mig-m1")],
            fsm.Do(Id, SignalKind.Abort, One, 3).Commands);
        fsm.Result(Id, new Executed(SignalKind.Prepare, Reply(SignalKind.Prepare, prepare)), 4);
        Assert.Empty(fsm.Result(Id, new ExecutionFailed(SignalKind.Prepare), 5).Commands);
        Assert.Equal(PeMigrationState.Aborted, fsm.Find(Id)!.State);
    }

    [Fact]
    public void Names_that_only_the_pe_knows_are_an_input_and_leave_no_trace()
    {
        var fsm = new PeMigrationFsm();
        PeRefusal refusal = fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare), 1,
            new PeFacts(UnknownNames: [new ProblemError("/vrf", "no")])).Refusal!;
        Assert.Equal((PeRefusalReason.BadRequest, "/vrf"), (refusal.Reason, refusal.Errors![0].Pointer));
        Assert.Empty(fsm.Migrations);
        Assert.Equal(0, fsm.Version);
    }

    internal static PrefixSet Set { get; } = PrefixSet.Parse([new("10.1.1.10/32", "dc"), new("fd00:1:1::10/128", "dc")]);

    internal static SignalRequest Request(MigrationRole role, SignalKind kind, long epoch = 1) => kind == SignalKind.Prepare
        ? new SignalRequest(epoch, role, "default", Set.Texts, "10.255.0.2", 77) : new SignalRequest(epoch);

    internal static SignalReply Reply(SignalKind kind, PeStep step)
        => new(step.Migration!.Id, kind, step.Migration.State, step.Migration.Epoch, false, 1, 2);

    internal static PeMigrationFsm Source(params ReadOnlySpan<SignalKind> kinds) => Through(MigrationRole.Source, kinds);

    internal static PeMigrationFsm Target(params ReadOnlySpan<SignalKind> kinds) => Through(MigrationRole.Target, kinds);

    internal static PeMigrationFsm Through(MigrationRole role, ReadOnlySpan<SignalKind> kinds, long epoch = 1)
    {
        var fsm = new PeMigrationFsm();
        foreach (SignalKind kind in kinds)
        {
            Assert.Null(fsm.Do(Id, kind, Request(role, kind, epoch), 1).Refusal);
            fsm.Result(Id, new TunnelHealth(true), 1);
            fsm.Result(Id, new HoldDrained(), 1);
        }

        return fsm;
    }

    private static PeMigrationFsm Before(MigrationRole role, SignalKind kind) => (role, kind) switch
    {
        (MigrationRole.Source, SignalKind.Switch) => Source(SignalKind.Prepare),
        (MigrationRole.Source, SignalKind.Teardown) => Source(SignalKind.Prepare, SignalKind.Switch, SignalKind.Withdraw),
        (MigrationRole.Source, _) => Source(SignalKind.Prepare, SignalKind.Switch),
        (_, SignalKind.Advertise) => Target(SignalKind.Prepare, SignalKind.Release),
        (_, SignalKind.Teardown) => Target(SignalKind.Prepare, SignalKind.Release, SignalKind.Advertise),
        _ => Target(SignalKind.Prepare),
    };
}
