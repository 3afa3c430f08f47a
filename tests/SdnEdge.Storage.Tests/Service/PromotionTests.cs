using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Testing;
using Xunit;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A site is lost and a person promotes the copy at the other one; the old owner comes back, and gives way.</summary>
public sealed class PromotionTests
{
    private const int Block = 4096;
    private const long Overhead = 256 << 10;

    private static ClientIdentity Me => ClientIdentity.Process(Environment.ProcessId, 0);

    [Fact]
    public async Task An_owner_that_was_killed_comes_back_gives_way_and_gets_only_what_differs_and_its_own_writes_are_a_branch()
    {
        await using TwoStores two = TwoStores.Make();
        StoreProcess a = await two.RunAAsync();
        await two.StartBAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
        {
            for (int i = 0; i < 200; i++) Assert.Equal(0u, await client.WriteAsync(i * Block, ReplicaCopyTests.Bytes(i)));
            await two.ApiA.DrainAsync(TwoStores.Volume);
            two.Relay.Cut();
            await two.UntilAsync(two.ApiB, v => v.Replica is { Durable.Sequence: >= 200 });

            // Answered by the owner alone, durable there: lost for the copy.
            for (int i = 0; i < 40; i++)
                Assert.Equal(0u, await client.WriteAsync((20 + i) * Block, ReplicaCopyTests.Bytes(1000 + i), fua: i == 39));
        }

        a.Kill();
        VolumeInfo promoted = await two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Client: Me));
        Assert.Equal((OwnerRole.Owner, 2ul), (promoted.Role, promoted.GrantedEpoch));
        using NbdTestClient atB = await two.ConnectAsync("store-b");
        for (int i = 0; i < 30; i++) Assert.Equal(0u, await atB.WriteAsync((300 + i) * Block, ReplicaCopyTests.Bytes(2000 + i)));
        long before = (await two.ApiB.VolumeAsync(TwoStores.Volume)).Replication!.SentBytes;

        two.Relay.Mend();
        await two.RunAAsync();
        VolumeInfo back = await two.UntilAsync(two.ApiA, v => v is { Role: OwnerRole.Released, Replica.Phase: CopyPhase.Following }
            && v.Replica.Durable.Epoch == 2);
        VolumeInfo owner = await two.UntilAsync(two.ApiB, v => v.Replication is { ReplicaWhole: true } r && r.ReplicaDurable == r.Last);
        Assert.InRange(owner.Replication!.SentBytes - before, 70 * Block, (long)(70 * Block * 1.05) + Overhead);
        DrainProofInfo proof = await two.ApiB.DrainAsync(TwoStores.Volume);
        VolumeCheckInfo checkedA = await two.ApiA.CheckAsync(TwoStores.Volume), checkedB = await two.ApiB.CheckAsync(TwoStores.Volume);
        Assert.True(checkedA.Good && checkedB.Good, $"{checkedA}\n{checkedB}");
        Assert.Equal((proof.ContentRoot, proof.ContentRoot), (checkedA.ReadRoot, checkedB.ReadRoot));

        // The loser's writes are there, whole, and can be had.
        BranchInfo branch = Assert.Single(back.Branches);
        Assert.Equal((1, 40L * Block), (branch.Number, branch.Bytes));
        byte[] image = await ExportAsync(two, 1);
        for (int i = 0; i < 40; i++)
            Assert.Equal(ReplicaCopyTests.Bytes(1000 + i), image[((20 + i) * Block)..((21 + i) * Block)]);
        Assert.False(image.AsSpan(0, 20 * Block).ContainsAnyExcept((byte)0));
        await two.ApiA.DeleteBranchAsync(TwoStores.Volume, 1);
        Assert.Empty(await two.ApiA.BranchesAsync(TwoStores.Volume));
        var gone = await Assert.ThrowsAsync<ApiProblemException>(() => two.ApiA.DeleteBranchAsync(TwoStores.Volume, 1));
        Assert.Contains("there is no branch 1", gone.Problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_owners_that_meet_again_become_one_and_the_losers_client_is_refused()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        using NbdTestClient atA = await two.ConnectAsync("store-a"), atB = await two.ConnectAsync("store-b");
        for (int i = 0; i < 20; i++) Assert.Equal(0u, await atA.WriteAsync(i * Block, ReplicaCopyTests.Bytes(i)));
        await two.ApiA.DrainAsync(TwoStores.Volume);

        // The owner is connected: that is said, with what would be lost and how it is forced.
        var refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Client: Me)));
        Assert.Equal("/problems/not-promotable", refused.Problem.Type);
        Assert.Contains("store-a runs, owns vs-disk and is connected", refused.Problem.Detail, StringComparison.Ordinal);
        Assert.Contains("--force vs-disk", refused.Problem.Detail, StringComparison.Ordinal);
        refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Force: "vs-other", Client: Me)));
        Assert.Contains("'vs-other' was given", refused.Problem.Detail, StringComparison.Ordinal);

        await two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Force: TwoStores.Volume, Client: Me));
        Assert.Equal(0u, await atB.WriteAsync(0, ReplicaCopyTests.Bytes(500)));
        int own = 0;
        for (uint error = 0; error == 0; own++)
        {
            error = await atA.WriteAsync((100 + (own % 50)) * Block, ReplicaCopyTests.Bytes(own)).WaitAsync(Patience.Time);
            if (error != 0) Assert.Equal(1u, error);
        }

        VolumeInfo back = await two.UntilAsync(two.ApiA, v => v is { Role: OwnerRole.Released, Replica.Phase: CopyPhase.Following }
            && v.Replica.Durable.Epoch == 2);

        // What it had answered is in the branch, and nothing else; none when it was taken away before its first write.
        long written = back.Branches.Sum(b => b.Bytes);
        Assert.InRange(written / Block, own - 2, own);
        await two.ApiB.DrainAsync(TwoStores.Volume);
        Assert.Equal(ReplicaCopyTests.Bytes(500), await atA.ReadAsync(0, Block));
        Assert.NotNull((await two.ApiB.VolumeAsync(TwoStores.Volume)).ForcedBy);
    }

    [Fact]
    public async Task A_copy_that_is_resynchronized_is_promoted_by_force_only_and_is_then_what_it_was_before()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        using NbdTestClient atA = await two.ConnectAsync("store-a"), atB = await two.ConnectAsync("store-b");
        for (int i = 0; i < 2048; i++) Assert.Equal(0u, await atA.WriteAsync(i * Block, ReplicaCopyTests.Bytes(i)));
        DrainProofInfo kept = await two.ApiA.DrainAsync(TwoStores.Volume);

        // A copy of everything, which is held in its middle; the owner goes on.
        two.Relay.HoldAfter(3 << 20);
        await two.ApiB.ResyncAsync(TwoStores.Volume, new VolumeResyncRequest());
        for (int i = 0; i < 100; i++) Assert.Equal(0u, await atA.WriteAsync(i * Block, ReplicaCopyTests.Bytes(5000 + i)));
        VolumeInfo copying = await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Resyncing, CopiedBytes: > 1 << 20 });
        Assert.Equal(kept.Point, copying.Replica!.LastConsistent);
        two.Relay.Cut();
        await two.StopAAsync();
        await two.UntilAsync(two.ApiB, v => v.Replica is not null);
        ApiProblemException refused = null!;
        await Patience.UntilAsync(async () =>
        {
            refused = await Assert.ThrowsAsync<ApiProblemException>(
                () => two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Client: Me)));
            return refused.Problem.Detail!.Contains("being resynchronized", StringComparison.Ordinal);
        }, () => refused.Problem.Detail!);
        Assert.Contains($"sequence {kept.Point.Sequence}", refused.Problem.Detail, StringComparison.Ordinal);
        Assert.Contains("--force vs-disk", refused.Problem.Detail, StringComparison.Ordinal);

        // A restart in between changes nothing.
        await two.StopBAsync();
        await two.StartBAsync();
        await two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Force: TwoStores.Volume, Client: Me));
        using NbdTestClient again = await two.ConnectAsync("store-b");
        VolumeCheckInfo found = await two.ApiB.CheckAsync(TwoStores.Volume);
        Assert.True(found.Good, $"{found}");
        Assert.Equal(kept.ContentRoot, found.ReadRoot);
        for (int i = 0; i < 100; i++) Assert.Equal(ReplicaCopyTests.Bytes(i), await again.ReadAsync(i * Block, Block));
        Assert.Equal(0u, await again.WriteAsync(0, ReplicaCopyTests.Bytes(9)));

        // The old owner follows it.
        await two.StartAAsync();
        two.Relay.Mend();
        await two.UntilAsync(two.ApiB, v => v.Replication is { ReplicaWhole: true } r && r.ReplicaDurable == r.Last);
        Assert.True((await two.ApiA.CheckAsync(TwoStores.Volume)).Good);
        Assert.Equal((await two.ApiB.DrainAsync(TwoStores.Volume)).ContentRoot, (await two.ApiA.CheckAsync(TwoStores.Volume)).ReadRoot);
    }

    [Fact]
    public async Task What_cannot_be_promoted_or_given_up_is_refused_with_its_reason()
    {
        await using TwoStores two = TwoStores.Make(new byte[TwoStores.Size - Block].Append((byte)1).Concat(new byte[Block - 1]).ToArray());
        two.Relay.HoldAfter(0);
        await two.StartAAsync();
        await two.StartBAsync();
        var refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Force: TwoStores.Volume)));
        Assert.Contains("was never whole here", refused.Problem.Detail, StringComparison.Ordinal);
        refused = await Assert.ThrowsAsync<ApiProblemException>(() => two.ApiA.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest()));
        Assert.Contains("owns vs-disk itself", refused.Problem.Detail, StringComparison.Ordinal);
        refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiA.ResyncAsync(TwoStores.Volume, new VolumeResyncRequest(TwoStores.Volume)));
        Assert.Contains("there is nothing to follow", refused.Problem.Detail, StringComparison.Ordinal);
    }

    private static async Task<byte[]> ExportAsync(TwoStores two, int number)
    {
        string path = two.FileOf("branch");
        await using (FileStream to = File.Create(path)) await two.ApiA.CopyBranchAsync(TwoStores.Volume, number, to);
        await using FileStream from = File.OpenRead(path);
        using var image = new MemoryStream();
        var said = new StringWriter();
        Branch branch = BranchExporter.Export(from, image, TwoStores.Size, said);
        Assert.Equal(branch.Records, said.ToString().Count(c => c == '\n'));
        return image.ToArray();
    }
}
