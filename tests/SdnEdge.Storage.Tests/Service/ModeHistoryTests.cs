using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using Xunit;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A store tells when writes were answered how, and of its last drain, with the times of both.</summary>
public class ModeHistoryTests
{
    [Fact]
    public async Task The_changes_of_mode_and_the_drain_of_a_move_are_told_in_order_and_kept_when_the_volume_has_moved_on()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        Assert.Equal(0u, await client.WriteAsync(0, new byte[4096]));
        foreach (ReplicationMode mode in (ReplicationMode[])[ReplicationMode.Sync, ReplicationMode.Sync, ReplicationMode.Async,
            ReplicationMode.Semantic])
        {
            await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, mode));
        }

        DrainProofInfo proof = await two.ApiA.DrainAsync(TwoStores.Volume);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Seal, 2);
        await TwoStores.GrantAsync(two.ApiB, 2);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Release, 2);
        VolumeInfo a = await two.ApiA.VolumeAsync(TwoStores.Volume), b = await two.ApiB.VolumeAsync(TwoStores.Volume);

        // Asked for twice is one change.
        Assert.Equal([(1UL, ReplicationMode.Async), (1, ReplicationMode.Sync), (1, ReplicationMode.Async), (1, ReplicationMode.Semantic)],
            a.Modes!.Select(m => (m.Epoch, m.Mode)));
        ModeChangeInfo first = Assert.Single(b.Modes!);
        Assert.Equal((2UL, ReplicationMode.Async), (first.Epoch, first.Mode));
        Assert.All(a.Modes!.Skip(1), m => Assert.True(m.AskedAtNs <= m.InForceAtNs && m.InForceAtNs <= m.ReachedAtNs, $"{m}"));
        Assert.Equal(a.Modes!.OrderBy(m => m.AskedAtNs), a.Modes!);
        Assert.Equal(proof, a.Drain!.Proof);
        Assert.True(a.Modes![^1].ReachedAtNs <= a.Drain.AskedAtNs && a.Drain.AskedAtNs <= a.Drain.ProvedAtNs
            && a.Drain.ProvedAtNs <= first.AskedAtNs, $"{a.Drain}");
        Assert.Null(b.Drain);
    }

    [Fact]
    public void Only_the_last_changes_are_kept()
    {
        var history = new ModeHistory();
        for (int i = 0; i < 2 * ModeHistory.Kept; i++)
            history.Asked(1, i % 2 == 0 ? ReplicationMode.Sync : ReplicationMode.Async, i, i);
        Assert.Equal(ModeHistory.Kept, history.Changes.Count);
        Assert.Equal((2L * ModeHistory.Kept) - 1, history.Changes[^1].AskedAtNs);
        history.InForce(ReplicationMode.Sync, 1);
        Assert.Null(history.Changes[^1].InForceAtNs);   // another mode was asked for since
        history.InForce(ReplicationMode.Async, 2);
        history.Reached(ReplicationMode.Async, 3);
        Assert.Equal((2L, 3L), (history.Changes[^1].InForceAtNs!.Value, history.Changes[^1].ReachedAtNs!.Value));
    }
}
