using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Host.Drivers;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>A server's volume at real stores, without a server.</summary>
public sealed class StoreVolumeTests
{
    [Fact]
    public async Task What_an_agent_says_of_a_volume_is_what_its_sites_store_says()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        ServerVolumeInfo owner = await new StoreVolume(two.ApiA, TwoStores.Volume).InfoAsync(default);
        ServerVolumeInfo replica = await new StoreVolume(two.ApiB, TwoStores.Volume).InfoAsync(default);
        Assert.True(owner is { Store: "store-a", Role: OwnerRole.Owner, Mode: ReplicationMode.Async, InForce: ReplicationMode.Async,
            IsReplicated: true, SizeBytes: TwoStores.Size, GrantedEpoch: 1, Fault: null }, $"{owner}");
        Assert.True(replica is { Store: "store-b", Role: OwnerRole.Replica, Phase: CopyPhase.Following, IsReplicated: true, Fault: null },
            $"{replica}");
        Assert.Equal(owner.Id, replica.Id);

        ServerVolumeInfo none = await new StoreVolume(two.ApiA, "nothing").InfoAsync(default);
        Assert.True(none is { IsMissing: true, Role: null, Fault: not null }, $"{none}");
        Assert.Contains("there is no volume 'nothing' at store-a", none.Fault, StringComparison.Ordinal);
        var volume = new StoreVolume(two.ApiB, TwoStores.Volume);
        await volume.InfoAsync(default);
        await two.StopBAsync();
        ServerVolumeInfo silent = await volume.InfoAsync(default);
        Assert.True(silent is { Store: "store-b", IsMissing: false, Fault: not null }, $"{silent}");
    }

    [Fact]
    public async Task A_volume_goes_over_by_an_agents_calls_and_a_copy_that_is_on_record_as_stale_does_not()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        StoreVolume a = new(two.ApiA, TwoStores.Volume), b = new(two.ApiB, TwoStores.Volume);
        Guid id = (await b.InfoAsync(default)).Id!.Value;
        await b.PrepareAsync(1, default);
        await a.PrepareAsync(1, default);
        bool first = true;
        await Patience.UntilAsync(async () =>
        {
            VolumeProgress at = await a.GetInSyncAsync(default);

            // It was asked for here: before, the volume was in async mode.
            if (first) Assert.False(at.WasSync);
            first = false;
            return at.InSync;
        }, two.Told);
        await a.DrainAsync(1, default);
        Assert.NotNull(await a.SealAsync(1, default));
        var refused = await Assert.ThrowsAsync<DriverException>(
            () => b.GrantAsync(1, Environment.ProcessId, [Guid.NewGuid(), id], default));
        Assert.True(refused.Final);
        Assert.Contains("on record as stale", refused.Message, StringComparison.Ordinal);
        await b.GrantAsync(1, Environment.ProcessId, [Guid.NewGuid()], default);
        await a.ReleaseAsync(1, default);
        Assert.Equal(OwnerRole.Owner, (await b.InfoAsync(default)).Role);
    }
}
