using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Testing;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A volume at two stores: who may write, what is answered when, and how it moves from one to the other.</summary>
public class ReplicatedVolumeTests
{
    private const uint NotPermitted = 1;

    [Fact]
    public async Task What_is_written_at_one_store_is_at_the_other_and_the_modes_are_switched_while_it_is_written()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        Assert.Equal(0u, await client.WriteAsync(4096, Bytes(1)));
        using var writing = new CancellationTokenSource();
        Task<int> writes = WriteOnAsync(client, writing.Token);
        foreach (ReplicationMode mode in (ReplicationMode[])[ReplicationMode.Sync, ReplicationMode.Async, ReplicationMode.Semantic,
            ReplicationMode.Sync, ReplicationMode.Async, ReplicationMode.Sync])
        {
            VolumeInfo at = await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, mode));
            Assert.Equal((mode, mode), (at.Replication!.Mode, at.Replication.InForce));
            Assert.Equal(mode != ReplicationMode.Async, at.Replication.InSync);
        }

        await writing.CancelAsync();
        Assert.True(await writes > 0);

        // Synchronous: what was answered is at the other store.
        Assert.Equal(0u, await client.WriteAsync(8192, Bytes(2)));
        VolumeReplicationInfo now = (await two.ApiA.VolumeAsync(TwoStores.Volume)).Replication!;
        Assert.True(now.ReplicaDurable >= now.Last, $"{now}");
        DrainProofInfo proof = await two.ApiA.DrainAsync(TwoStores.Volume);
        VolumeInfo replica = await two.ApiB.VolumeAsync(TwoStores.Volume);
        Assert.Equal((OwnerRole.Replica, CopyPhase.Following), (replica.Role, replica.Replica!.Phase));
        Assert.Equal(proof.Point, replica.Replica.Durable);
        Assert.True((await two.ApiB.CheckAsync(TwoStores.Volume)).Good);
    }

    [Fact]
    public async Task A_volume_moves_there_and_back_with_everything_that_was_written_and_one_store_writes_at_a_time()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient atA = await two.ConnectAsync("store-a"), atB = await two.ConnectAsync("store-b");
        await TwoStores.GrantAsync(two.ApiA, 1);
        for (int i = 0; i < 50; i++) Assert.Equal(0u, await atA.WriteAsync(i * 4096, Bytes(i)));

        // The replica answers its handshake and reads from the first moment; a write waits for the grant.
        Task<uint> early = atB.WriteAsync(1 << 20, Bytes(99));
        await MoveAsync(two, two.ApiA, two.ApiB, 2);
        Assert.Equal(0u, await early);
        Assert.Equal(NotPermitted, await atA.WriteAsync(0, Bytes(7)));
        for (int i = 0; i < 50; i++) Assert.Equal(Bytes(i), await atB.ReadAsync(i * 4096, 4096));
        for (int i = 50; i < 80; i++) Assert.Equal(0u, await atB.WriteAsync(i * 4096, Bytes(i)));

        // The way back: the other direction has begun by itself.
        await two.UntilAsync(two.ApiB, v => v.Replication is { Connected: true });
        using NbdTestClient again = await two.ConnectAsync("store-a");
        await MoveAsync(two, two.ApiB, two.ApiA, 3);
        for (int i = 0; i < 80; i++) Assert.Equal(Bytes(i), await again.ReadAsync(i * 4096, 4096));
        Assert.Equal(Bytes(99), await again.ReadAsync(1 << 20, 4096));
        Assert.Equal(0u, await again.WriteAsync(0, Bytes(100)));
        Assert.True((await two.ApiA.CheckAsync(TwoStores.Volume)).Good);
        Assert.True((await two.ApiB.CheckAsync(TwoStores.Volume)).Good);
    }

    [Fact]
    public async Task A_move_that_is_undone_after_the_seal_carries_out_what_waited_and_the_older_epoch_is_refused()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        await TwoStores.OrderAsync(two.ApiB, OwnershipOrderKind.Prepare, 2);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Prepare, 2);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Seal, 2);
        Task<uint> waits = client.WriteAsync(0, Bytes(1));
        await two.UntilAsync(two.ApiA, v => v is { Role: OwnerRole.Sealed, Parked: 1 });

        // A flush is answered: nothing is left to be made durable.
        Assert.False(waits.IsCompleted);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Unpark, 3);
        Assert.Equal(0u, await waits);
        await TwoStores.OrderAsync(two.ApiB, OwnershipOrderKind.Cancel, 3);
        foreach (OwnershipOrderKind late in (OwnershipOrderKind[])[OwnershipOrderKind.Seal, OwnershipOrderKind.Release])
        {
            var e = await Assert.ThrowsAsync<ApiProblemException>(() => TwoStores.OrderAsync(two.ApiA, late, 2));
            Assert.Equal("/problems/stale-epoch", e.Problem.Type);
        }

        var granted = await Assert.ThrowsAsync<ApiProblemException>(() => TwoStores.GrantAsync(two.ApiB, 2));
        Assert.Equal("/problems/stale-epoch", granted.Problem.Type);
        Assert.Equal(0u, await client.WriteAsync(4096, Bytes(2)));
    }

    // In sync mode a write waits for the replica; it is there when that is back, and nothing was lost.
    [Fact]
    public async Task A_replica_that_goes_away_and_comes_back_has_everything_and_nothing_is_answered_without_it()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, ReplicationMode.Sync));
        await two.StopBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        Task<uint> waits = client.WriteAsync(0, Bytes(1));
        await two.UntilAsync(two.ApiA, v => v.Replication!.Last > v.Replication.ReplicaDurable);
        Assert.False(waits.IsCompleted);
        await two.StartBAsync();
        Assert.Equal(0u, await waits);
        await two.UntilAsync(two.ApiA, v => v.Replication is { InSync: true });
        await two.ApiA.DrainAsync(TwoStores.Volume);
    }

    // What a store has promised is on its disk: a store that comes back owns what it owned, and follows whom it followed.
    [Fact]
    public async Task Stores_that_are_started_again_keep_who_owns_and_what_was_written()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
        {
            await TwoStores.GrantAsync(two.ApiA, 1);
            for (int i = 0; i < 20; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i), fua: true));
        }

        await MoveAsync(two, two.ApiA, two.ApiB, 2);
        await two.StopAAsync();
        await two.StopBAsync();
        await two.StartBAsync();
        await two.StartAAsync();
        VolumeInfo b = await two.UntilAsync(two.ApiB, v => v.Replication is { Connected: true });
        Assert.Equal((OwnerRole.Owner, 2ul), (b.Role, b.GrantedEpoch));
        Assert.Equal(OwnerRole.Released, (await two.ApiA.VolumeAsync(TwoStores.Volume)).Role);
        using NbdTestClient again = await two.ConnectAsync("store-b");
        for (int i = 0; i < 20; i++) Assert.Equal(Bytes(i), await again.ReadAsync(i * 4096, 4096));
        Assert.Equal(0u, await again.WriteAsync(0, Bytes(50)));
        await two.ApiB.DrainAsync(TwoStores.Volume);
    }

    [Fact]
    public async Task A_volume_without_a_replica_takes_no_orders_and_says_why()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        await two.ApiA.CreateAsync(new VolumeRequest("alone", 1 << 20));
        var e = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiA.OrderAsync("alone", OwnershipOrderKind.Seal, new VolumeOrderRequest(1, "m1")));
        Assert.Contains("has no replica", e.Problem.Detail, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<ApiProblemException>(() => two.ApiA.DeleteVolumeAsync(TwoStores.Volume));
        Assert.Contains("is replicated by the configuration", e.Problem.Detail, StringComparison.Ordinal);
    }

    // As the agents of two hosts do it, with a server that stands still from the drain on.
    private static async Task MoveAsync(TwoStores two, StoreClient from, StoreClient to, ulong epoch)
    {
        await TwoStores.OrderAsync(to, OwnershipOrderKind.Prepare, epoch);
        await TwoStores.OrderAsync(from, OwnershipOrderKind.Prepare, epoch);
        await from.ModeAsync(TwoStores.Volume, new VolumeModeRequest(epoch, ReplicationMode.Sync));
        DrainProofInfo proof = await from.DrainAsync(TwoStores.Volume);
        VolumeOrderReply sealedAt = await TwoStores.OrderAsync(from, OwnershipOrderKind.Seal, epoch);
        Assert.Equal(proof.Point, sealedAt.SealedAt);
        await to.OrderAsync(TwoStores.Volume, OwnershipOrderKind.Grant, new VolumeOrderRequest(epoch, $"m{epoch}",
            ClientIdentity.Process(Environment.ProcessId, 0), Expected: sealedAt.SealedAt));
        await TwoStores.OrderAsync(from, OwnershipOrderKind.Release, epoch);
        await two.UntilAsync(to, v => v.Role == OwnerRole.Owner);
    }

    // Writes at the end of the volume until it is told to stop. How many were answered.
    private static async Task<int> WriteOnAsync(NbdTestClient client, CancellationToken stop)
    {
        int count = 0;
        for (; !stop.IsCancellationRequested; count++)
            Assert.Equal(0u, await client.WriteAsync(TwoStores.Size - ((1 + (count % 500)) * 4096), Bytes(count), fua: count % 16 == 0));
        return count;
    }
}
