using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>
/// The policy go-on: a store whose replica is gone answers writes without it, from the moment at which a real manager has that on disk, and
/// not before.
/// </summary>
#pragma warning disable CA1001 // xunit calls DisposeAsync
public sealed class GoOnTests : IAsyncLifetime
#pragma warning restore CA1001
{
    // A thread that stands still for a while makes no replica be gone.
    private static readonly ReplicationPolicy s_goOn = new() { PeerGone = PeerGoneAction.GoOn, PeerGoneAfter = 3_000_000_000 };

    private TwoStores _two = null!;
    private MmsDaemon? _manager;
    private MmsClient _mms = null!;

    public async Task InitializeAsync()
    {
        _two = await TwoStores.StartAsync(ReplicationMode.Sync, s_goOn, hasManager: true);
        _mms = new MmsClient(new ApiEndpoint("mms", _two.ManagerSocket)) { RequestTimeout = Patience.Time };
    }

    public async Task DisposeAsync()
    {
        _mms.Dispose();
        if (_manager is not null) await _manager.DisposeAsync();
        await _two.DisposeAsync();
    }

    [Fact]
    public async Task Writes_wait_until_the_manager_has_it_on_record_and_the_copy_is_not_granted_before_it_is_whole_again()
    {
        await StartManagerAsync();
        using NbdTestClient client = await BeginAsync();
        await _manager!.DisposeAsync();
        await _two.StopBAsync();
        await _two.UntilAsync(_two.ApiA, v => v.Replication is { Protection: Protection.Reporting, Connected: false });
        int alarms = Told("alarm").Count(d => d.StartsWith("unprotected", StringComparison.Ordinal));
        Task<uint> waits = client.WriteAsync(0, Bytes(2), fua: true);

        // No manager: it is reported, and reported again, and nothing is answered.
        await Patience.UntilAsync(
            () => Told("report").Any(d => d.Contains("that is not on record at the manager", StringComparison.Ordinal)), _two.Told);
        ulong last = (await _two.UntilAsync(_two.ApiA, v => v.Replication!.Last > v.Replication.ReplicaDurable)).Replication!.Last;
        Assert.False(waits.IsCompleted);
        Assert.Equal(alarms, Told("alarm").Count(d => d.StartsWith("unprotected", StringComparison.Ordinal)));

        await StartManagerAsync();
        Assert.Equal(0u, await waits.WaitAsync(Patience.Time));
        VolumeMarkInfo mark = Assert.Single(await _mms.VolumesAsync());
        Assert.True(mark is { Name: TwoStores.Volume, Epoch: 1 } && mark.StaleFrom <= last, $"{mark}");

        // It goes on, without waiting for anybody, and it is said all the time.
        for (int i = 3; i < 20; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i), fua: i % 2 == 0));
        VolumeReplicationInfo at = (await _two.ApiA.VolumeAsync(TwoStores.Volume)).Replication!;
        Assert.Equal((Protection.Unprotected, ReplicationMode.Async, ReplicationMode.Sync), (at.Protection, at.InForce, at.Mode));
        Assert.Equal(mark.StaleFrom, at.StaleFrom);
        Assert.Contains(ReplicationAlarm.Unprotected, at.Alarms);

        // The record outlives the manager, and the target's store grants no copy that is on record as stale.
        await _manager!.DisposeAsync();
        await StartManagerAsync();
        Assert.Equal(mark.StaleFrom, Assert.Single(await _mms.VolumesAsync()).StaleFrom);
        await _two.StartBAsync();
        var refused = await Assert.ThrowsAsync<ApiProblemException>(() => _two.ApiB.OrderAsync(TwoStores.Volume, OwnershipOrderKind.Grant,
            new VolumeOrderRequest(2, "m2", ClientIdentityOfThis(), IsStale: true)));
        Assert.Equal("/problems/not-promotable", refused.Problem.Type);
        Assert.Contains("on record as stale", refused.Problem.Detail, StringComparison.Ordinal);

        // Whole again: in sync, and the manager knows it.
        await WholeAsync(epoch: 1);
        await MoveAsync(2);
        using NbdTestClient there = await _two.ConnectAsync("store-b");
        for (int i = 2; i < 20; i++) Assert.Equal(Bytes(i), await there.ReadAsync(i == 2 ? 0 : i * 4096, 4096));
    }

    // What is on the store's disk is reported again after its start: it answers nothing before the manager has it.
    [Fact]
    public async Task A_store_that_is_killed_while_it_is_unprotected_reports_again_before_it_goes_on()
    {
        await StartManagerAsync();
        ulong from;
        using (NbdTestClient client = await BeginAsync())
        {
            await _two.StopBAsync();
            Assert.Equal(0u, await client.WriteAsync(0, Bytes(2)).WaitAsync(Patience.Time));
            from = (await _two.ApiA.VolumeAsync(TwoStores.Volume)).Replication!.StaleFrom!.Value;
            await _two.StopAAsync();
        }

        await _manager!.DisposeAsync();
        await _two.StartAAsync();
        using NbdTestClient again = await _two.ConnectAsync("store-a");
        Task<uint> waits = again.WriteAsync(4096, Bytes(3));
        await _two.UntilAsync(_two.ApiA, v => v.Replication is { Protection: Protection.Reporting, StaleFrom: { } f } && f == from);
        await Patience.UntilAsync(() => Told("report").Any(), _two.Told);
        Assert.False(waits.IsCompleted);
        await StartManagerAsync();
        Assert.Equal(0u, await waits.WaitAsync(Patience.Time));
        Assert.Equal(from, Assert.Single(await _mms.VolumesAsync()).StaleFrom);
    }

    // A move that is undone raises the owner's epoch; that its replica is stale is true as before, and is on record under the new epoch.
    [Fact]
    public async Task An_owner_that_goes_on_under_a_higher_epoch_is_on_record_under_it_and_becomes_whole_under_it()
    {
        await StartManagerAsync();
        using NbdTestClient client = await BeginAsync();
        await _two.StopBAsync();
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(2)).WaitAsync(Patience.Time));
        ulong from = Assert.Single(await _mms.VolumesAsync()).StaleFrom!.Value;
        await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Prepare, 2);
        await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Seal, 2);
        await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Unpark, 3);
        Assert.Equal(0u, await client.WriteAsync(4096, Bytes(3)).WaitAsync(Patience.Time));
        VolumeMarkInfo mark = Assert.Single(await _mms.VolumesAsync());
        Assert.Equal((3ul, from), (mark.Epoch, mark.StaleFrom!.Value));
        await _two.StartBAsync();
        await WholeAsync(epoch: 3);
    }

    // The negative of the policy: stop waits, however long, and reports nothing.
    [Fact]
    public async Task With_the_policy_stop_nothing_is_answered_and_nothing_reported()
    {
        await using TwoStores two = await TwoStores.StartAsync(ReplicationMode.Sync, s_goOn with { PeerGone = PeerGoneAction.Stop });
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        await two.UntilAsync(two.ApiA, v => v.Replication is { InSync: true });
        await two.StopBAsync();
        Task<uint> waits = client.WriteAsync(0, Bytes(2));
        await two.UntilAsync(two.ApiA, v => v.Replication!.Alarms.Contains(ReplicationAlarm.PeerGone));
        Assert.Equal(Protection.Protected, (await two.ApiA.VolumeAsync(TwoStores.Volume)).Replication!.Protection);
        Assert.False(waits.IsCompleted);
        await two.StartBAsync();
        Assert.Equal(0u, await waits.WaitAsync(Patience.Time));
    }

    private async Task<NbdTestClient> BeginAsync()
    {
        NbdTestClient client = await _two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(_two.ApiA, 1);
        await _two.UntilAsync(_two.ApiA, v => v.Replication is { InSync: true });
        Assert.Equal(0u, await client.WriteAsync(1 << 20, Bytes(1)));
        return client;
    }

    // In sync by the store's word, and not stale by the manager's.
    private async Task WholeAsync(ulong epoch)
    {
        VolumeMarkInfo? mark = null;
        await _two.UntilAsync(_two.ApiA, v => v.Replication is { InSync: true, Protection: Protection.Protected, StaleFrom: null });
        await Patience.UntilAsync(async () =>
        {
            mark = Assert.Single(await _mms.VolumesAsync());
            return mark.StaleFrom is null;
        }, () => $"{mark}; {_two.Told()}");
        Assert.Equal(epoch, mark!.Epoch);
    }

    private async Task StartManagerAsync() => _manager = await MmsDaemon.StartAsync(
        new MmsConfig { Name = "mms", Journal = _two.Journal, Api = new ApiConfig(_two.ManagerSocket) });

    private async Task MoveAsync(ulong epoch)
    {
        await TwoStores.OrderAsync(_two.ApiB, OwnershipOrderKind.Prepare, epoch);
        await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Prepare, epoch);
        await _two.ApiA.DrainAsync(TwoStores.Volume);
        VolumeOrderReply at = await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Seal, epoch);
        await _two.ApiB.OrderAsync(TwoStores.Volume, OwnershipOrderKind.Grant,
            new VolumeOrderRequest(epoch, $"m{epoch}", ClientIdentityOfThis(), Expected: at.SealedAt));
        await TwoStores.OrderAsync(_two.ApiA, OwnershipOrderKind.Release, epoch);
    }

    private static SdnEdge.Core.Replication.ClientIdentity ClientIdentityOfThis()
        => SdnEdge.Core.Replication.ClientIdentity.Process(Environment.ProcessId, 0);

    private IEnumerable<string> Told(string change)
        => _two.A is { } a ? a.Events.After(0, out _).Where(e => e.Change == change).Select(e => e.Detail ?? "") : [];
}
