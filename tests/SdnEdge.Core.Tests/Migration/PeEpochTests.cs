using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Migration.PeExecutionTests;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>
/// Giving up carries a higher epoch, and burns the one before (rule R2): nothing of it has an effect any more, on this PE, for
/// this migration and for its prefixes, also after a restart.
/// </summary>
public sealed class PeEpochTests
{
    private const string Id = "m1";

    public static TheoryData<bool> Restarts => [false, true];

    [Theory]
    [MemberData(nameof(Restarts))]
    public void An_abort_of_a_higher_epoch_fences_the_one_that_was_prepared(bool restarted)
    {
        foreach (MigrationRole role in Enum.GetValues<MigrationRole>())
        {
            PeMigrationFsm fsm = Through(role, [SignalKind.Prepare], epoch: 5);
            Assert.Null(fsm.Do(Id, SignalKind.Abort, new SignalRequest(6), 2).Refusal);
            fsm.Result(Id, new HoldDrained(), 3);
            if (restarted) fsm = Again(fsm);
            foreach (SignalKind kind in (SignalKind[])[SignalKind.Prepare, SignalKind.Switch, SignalKind.Release, SignalKind.Advertise,
                SignalKind.Withdraw])
                Assert.Equal(PeRefusalReason.StaleEpoch, fsm.Signal(Id, kind, Request(role, kind, 5), 4).Refusal!.Reason);
            Assert.Equal(PeRefusalReason.StaleEpoch,
                fsm.Signal("m2", SignalKind.Prepare, Request(role, SignalKind.Prepare, 5), 4).Refusal!.Reason);
            Assert.Equal(6, fsm.EpochOf("default", Set[0].Prefix));
            Assert.Null(fsm.Signal("m2", SignalKind.Prepare, Request(role, SignalKind.Prepare, 6), 5).Refusal);
        }
    }

    [Theory]
    [MemberData(nameof(Restarts))]
    public void An_abort_of_what_was_never_heard_fences_the_prefixes_that_it_names(bool restarted)
    {
        var fsm = new PeMigrationFsm();
        PeStep abort = fsm.Do(Id, SignalKind.Abort, new SignalRequest(6, MigrationRole.Target, "default", Set.Texts), 1);
        Assert.Equal((PeMigrationState.Aborted, MigrationRole.Target, 0),
            (abort.Migration!.State, abort.Migration.Role, abort.Commands.Count));
        if (restarted) fsm = Again(fsm);
        Assert.Equal(PeRefusalReason.StaleEpoch,
            fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 5), 2).Refusal!.Reason);
        Assert.Equal(PeRefusalReason.StaleEpoch,
            fsm.Signal("m2", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 5), 2).Refusal!.Reason);
        Assert.Equal(PeRefusalReason.WrongState,
            fsm.Signal(Id, SignalKind.Prepare, Request(MigrationRole.Target, SignalKind.Prepare, 6), 2).Refusal!.Reason);
        Assert.True(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(6), 3).Repeated);
    }

    [Fact]
    public void An_abort_repeated_is_a_success_whatever_its_epoch_and_a_higher_one_counts()
    {
        PeMigrationFsm fsm = Through(MigrationRole.Source, [SignalKind.Prepare, SignalKind.Switch, SignalKind.Abort], epoch: 5);
        long before = fsm.Version;
        Assert.True(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(4), 1).Repeated);
        Assert.True(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(5), 1).Repeated);
        Assert.Equal(before, fsm.Version);
        Assert.True(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(9), 1).Repeated);
        Assert.Equal(9, fsm.Find(Id)!.Epoch);
        Assert.Equal(PeRefusalReason.StaleEpoch,
            fsm.Signal("m2", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 8), 1).Refusal!.Reason);
    }

    [Fact]
    public void An_abort_of_an_earlier_migration_fences_the_later_one_of_the_same_prefixes_by_its_epoch()
    {
        PeMigrationFsm fsm = Through(MigrationRole.Source, [SignalKind.Prepare, SignalKind.Abort], epoch: 5);
        Assert.Null(fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 6), 1).Refusal);
        fsm.Result("m2", new TunnelHealth(true), 1);
        Assert.True(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(7), 2).Repeated);
        Assert.Equal(PeRefusalReason.StaleEpoch, fsm.Signal("m2", SignalKind.Switch, new SignalRequest(6), 3).Refusal!.Reason);
        Assert.Null(fsm.Signal("m2", SignalKind.Switch, new SignalRequest(7), 3).Refusal);
    }

    [Fact]
    public void An_abort_is_refused_only_when_release_or_withdraw_was_executed()
    {
        foreach ((MigrationRole role, SignalKind[] path, SignalKind pivot) in new[]
        {
            (MigrationRole.Target, new[] { SignalKind.Prepare }, SignalKind.Release),
            (MigrationRole.Source, [SignalKind.Prepare, SignalKind.Switch], SignalKind.Withdraw),
        })
        {
            PeMigrationFsm fsm = Through(role, path, 5);
            fsm.Signal(Id, pivot, new SignalRequest(5), 1);
            fsm.Result(Id, new ExecutionFailed(pivot), 2);
            Assert.Null(fsm.Signal(Id, SignalKind.Abort, new SignalRequest(6), 3).Refusal);
            Assert.Equal(PeRefusalReason.WrongState,
                Through(role, [.. path, pivot], 5).Signal(Id, SignalKind.Abort, new SignalRequest(6), 3).Refusal!.Reason);
        }
    }

    [Theory]
    [MemberData(nameof(Restarts))]
    public void What_was_forgotten_is_known_to_be_over_by_its_prefixes(bool restarted)
    {
        PeMigrationFsm fsm =
            Through(MigrationRole.Source, [SignalKind.Prepare, SignalKind.Switch, SignalKind.Withdraw, SignalKind.Teardown], epoch: 5);
        Forget(fsm);
        if (restarted) fsm = Again(fsm);
        Assert.Null(fsm.Find(Id));
        Assert.True(fsm.Signal(Id, SignalKind.Teardown, new SignalRequest(5), 1) is { Repeated: true,
            Earlier.State: PeMigrationState.TornDown });
        PeRefusal refusal = fsm.Signal(Id, SignalKind.Abort, new SignalRequest(6), 1).Refusal!;
        Assert.Equal(PeRefusalReason.WrongState, refusal.Reason);
        Assert.Contains("move them back with a new migration", refusal.Detail, StringComparison.Ordinal);
        Assert.Equal(PeRefusalReason.Unknown, fsm.Signal("never", SignalKind.Teardown, new SignalRequest(5), 1).Refusal!.Reason);
    }

    [Fact]
    public void What_was_forgotten_and_had_a_successor_is_known_to_be_over_when_its_prefixes_are_said()
    {
        PeMigrationFsm fsm = Through(MigrationRole.Source, [SignalKind.Prepare, SignalKind.Abort], epoch: 5);
        Assert.Null(fsm.Do("m2", SignalKind.Prepare, Request(MigrationRole.Source, SignalKind.Prepare, 6), 1).Refusal);
        Assert.Null(fsm.Do("m2", SignalKind.Abort, new SignalRequest(7), 1).Refusal);
        Forget(fsm);
        foreach (SignalKind kind in (SignalKind[])[SignalKind.Abort, SignalKind.Teardown])
            Assert.True(fsm.Signal(Id, kind, new SignalRequest(5, Vrf: "default", Prefixes: [new("10.1.1.10/32", "")]), 1).Repeated);
        Assert.Equal(7, fsm.EpochOf("default", Set[0].Prefix));
        Assert.Equal(PeRefusalReason.Unknown,
            fsm.Signal(Id, SignalKind.Teardown, new SignalRequest(8, Vrf: "default", Prefixes: Set.Texts), 1).Refusal!.Reason);
    }

    // Enough others come and go.
    private static void Forget(PeMigrationFsm fsm)
    {
        for (int i = 0; i < PeMigrationFsm.MaxFinished; i++)
            Assert.Null(fsm.Do($"other{i}", SignalKind.Abort, new SignalRequest(1), 1).Refusal);
    }

    private static PeMigrationFsm Again(PeMigrationFsm fsm)
        => PeMigrationFsm.Restore(PeStateFile.Read(PeStateFile.Write(fsm.Save(), "pe-a"), "pe-a", out _)!, out _);
}
