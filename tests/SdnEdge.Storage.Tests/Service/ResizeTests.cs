using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Tests.Nbd;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.Service.ReplicaCopyTests;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A volume at two stores gets larger: while it is written, while its copy is away, is made, or is promoted.</summary>
public sealed class ResizeTests
{
    private const int Block = 4096, Mebibyte = 1 << 20;
    private const long Size = TwoStores.Size, Larger = Size + (40 * Mebibyte);

    [Fact]
    public async Task A_volume_grows_under_writes_and_its_replica_with_it_and_old_connections_go_on_as_they_were()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        using NbdTestClient old = await two.ConnectAsync("store-a");
        using var stop = new CancellationTokenSource();
        long written = 0;
        Task writer = Task.Run(async () =>
        {
            for (int i = 0; !stop.IsCancellationRequested; i++)
            {
                Assert.Equal(0u, await old.WriteAsync(i % 1000 * Block, Bytes(i)));
                Interlocked.Increment(ref written);
            }
        });

        // 1. Here, and there as soon as its log is.
        await Patience.UntilAsync(() => Interlocked.Read(ref written) > 100, () => "nothing is written");
        VolumeInfo grown = await two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger));
        Assert.Equal(Larger, grown.SizeBytes);
        long at = Interlocked.Read(ref written);
        await two.UntilAsync(two.ApiB, v => v.SizeBytes == Larger);
        await Patience.UntilAsync(() => Interlocked.Read(ref written) > at + 100, () => "nothing is written any more");
        await stop.CancelAsync();
        await writer.WaitAsync(Patience.Time);

        // 2. Who connects sees the new part, of zeros; who was connected does not.
        Assert.NotEqual(0u, await old.WriteAsync(Size, Bytes(1)));
        Assert.Equal(0u, await old.WriteAsync(Size - Block, Bytes(2)));
        foreach (string host in (string[])["host-a", "host-b"])
        {
            string uri = $"nbd+unix:///{TwoStores.Volume}?socket={two.NbdOf(host)}";
            Assert.Equal($"{Larger}", NbdClientTests.Tool("nbdinfo", "--size", uri).Trim());
        }

        using NbdTestClient fresh = await two.ConnectAsync("store-a");
        Assert.Equal(new byte[Mebibyte], await fresh.ReadAsync(Size, Mebibyte));
        Assert.Equal(0u, await fresh.WriteAsync(Larger - Block, Bytes(3), fua: true));
        await EqualAsync(two);
        using (NbdTestClient replica = await two.ConnectAsync("store-b"))
        {
            Assert.Equal(Bytes(3), await replica.ReadAsync(Larger - Block, Block));
            Assert.Equal(new byte[Mebibyte], await replica.ReadAsync(Size, Mebibyte));
        }

        // 3. Only the owner makes it larger, and it is said by both once more after a restart.
        var refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiB.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(2 * Larger)));
        Assert.Equal((409, $"volume {TwoStores.Volume} cannot be resized here: this store has its replica; resize it at store-a, and that "
            + "comes here with its log"), (refused.Problem.Status, refused.Problem.Detail));
        await two.StopAAsync();
        await two.StopBAsync();
        await two.StartAAsync();
        await two.StartBAsync();
        foreach (StoreClient store in (StoreClient[])[two.ApiA, two.ApiB])
            Assert.Equal(Larger, (await store.VolumeAsync(TwoStores.Volume)).SizeBytes);
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        await EqualAsync(two);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_replica_that_was_away_grows_when_it_is_back_from_the_log_or_from_what_the_log_has_let_go(bool letGo)
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync(options: StoreProcess.SmallLog);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        for (int i = 0; i < 300; i++) Assert.Equal(0u, await client.WriteAsync(i * Block, Bytes(i)));
        await two.UntilAsync(two.ApiA, v => v.Replication!.ReplicaDurable == v.Replication.Last);
        await two.StopBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        Assert.Equal(0u, await client.WriteAsync(Size - Block, Bytes(1)));
        Assert.Equal(Larger, (await two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger))).SizeBytes);
        using NbdTestClient fresh = await two.ConnectAsync("store-a");
        int writes = letGo ? 4096 : 100;
        for (int i = 0; i < writes; i++)
            Assert.Equal(0u, await fresh.WriteAsync(Size + (i % 256 * Block), Bytes(i)).WaitAsync(Patience.Time));
        if (letGo) await two.UntilAsync(two.ApiA, v => v.Replication is { LetGoThrough: > 1000 });
        await two.StartBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true, LetGoThrough: null });
        await EqualAsync(two);
        await two.UntilAsync(two.ApiB, v => v.SizeBytes == Larger);
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        Assert.Equal(Bytes(letGo ? 4096 - 256 + 7 : 7), await replica.ReadAsync(Size + (7 * Block), Block));
        Assert.Equal(new byte[Mebibyte], await replica.ReadAsync(Larger - Mebibyte, Mebibyte));
    }

    [Fact]
    public async Task A_volume_that_grows_while_it_is_copied_for_the_first_time_is_whole_at_both_sites()
    {
        byte[] image = new byte[Size];
        new Random(3).NextBytes(image.AsSpan(0, 40 * Mebibyte));
        await using TwoStores two = TwoStores.Make(image);
        two.Relay.HoldAfter(24 * Mebibyte);
        await two.StartAAsync();
        await two.StartBAsync();
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Copying, CopiedBytes: > 16 * Mebibyte });

        // The link is held, and cut: the replica learns of it when the copy goes on.
        two.Relay.Cut();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        await TwoStores.GrantAsync(two.ApiA, 1);
        await two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger));
        using NbdTestClient client = await two.ConnectAsync("store-a");
        Assert.Equal(0u, await client.WriteAsync(Size + Mebibyte, Bytes(1)));
        Assert.Equal(0u, await client.WriteAsync(50 * Mebibyte, Bytes(2), fua: true));
        two.Relay.Mend(holdAfter: 4 * Mebibyte);
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        Assert.Equal(0u, await client.WriteAsync(Larger - Block, Bytes(3), fua: true));
        two.Relay.HoldAfter(long.MaxValue);
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });
        Assert.True(two.Relay.Passed < 70 * Mebibyte, $"{two.Relay.Passed} bytes: it began anew");
        await EqualAsync(two);
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        Assert.Equal(Bytes(1), await replica.ReadAsync(Size + Mebibyte, Block));
        Assert.Equal(Bytes(3), await replica.ReadAsync(Larger - Block, Block));
        Assert.Equal(image[(30 * Mebibyte)..(31 * Mebibyte)], await replica.ReadAsync(30 * Mebibyte, Mebibyte));
    }

    // The size goes with the history that made it.
    [Fact]
    public async Task An_owner_that_grew_alone_and_lost_its_volume_has_the_size_of_the_copy_that_was_promoted()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync();
        await TwoStores.GrantAsync(two.ApiA, 1);
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
        {
            for (int i = 0; i < 20; i++) Assert.Equal(0u, await client.WriteAsync(i * Block, Bytes(i)));
            await two.ApiA.DrainAsync(TwoStores.Volume);
            two.Relay.Cut();
            await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
            Assert.Equal(0u, await client.WriteAsync(Block, Bytes(99)));
        }

        await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("small"));
        await two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger));
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
        {
            Assert.Equal(0u, await client.WriteAsync(Size + (7 * Block), Bytes(100)));
            Assert.Equal(0u, await client.WriteAsync(Larger - Block, Bytes(101), fua: true));
        }

        await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("large"));
        await two.ApiA.CheckAsync(TwoStores.Volume);
        var me = ClientIdentity.Process(Environment.ProcessId, 0);
        await two.ApiB.PromoteAsync(TwoStores.Volume, new VolumePromoteRequest(Force: TwoStores.Volume, Client: me));
        two.Relay.Mend();
        VolumeInfo back = await two.UntilAsync(two.ApiA, v => v is { Role: OwnerRole.Released, Replica.Phase: CopyPhase.Following }
            && v.Replica.Durable.Epoch == 2);
        Assert.Equal(Size, back.SizeBytes);

        // What it had alone is a branch with its size; its marks keep theirs.
        await using (var file = new MemoryStream())
        {
            await two.ApiA.CopyBranchAsync(TwoStores.Volume, Assert.Single(back.Branches).Number, file);
            file.Position = 0;
            await using FileStream image = File.Create(two.FileOf("branch.img"));
            BranchExporter.Export(file, image, Size, TextWriter.Null);
            Assert.Equal(Larger, image.Length);
        }

        // 2. The owner there grows in its turn: what the branch had written reads as zeros, and not so in the branch's mark, for which a
        // newer and smaller one keeps it.
        await two.ApiB.MarkAsync(TwoStores.Volume, new MarkRequest("again"));
        await Patience.UntilAsync(async () => (await two.ApiA.MarksAsync(TwoStores.Volume)).Any(m => m.Name == "again"), two.Told);
        await two.ApiB.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger + Mebibyte));
        using NbdTestClient atB = await two.ConnectAsync("store-b");
        Assert.Equal(0u, await atB.WriteAsync(Size + (9 * Block), Bytes(200), fua: true));
        DrainProofInfo proof = await two.ApiB.DrainAsync(TwoStores.Volume).WaitAsync(Patience.Time);
        VolumeCheckInfo a = await two.ApiA.CheckAsync(TwoStores.Volume), b = await two.ApiB.CheckAsync(TwoStores.Volume);
        Assert.True(a.Good && b.Good, $"{a}\n{b}");
        Assert.Equal((proof.ContentRoot, proof.ContentRoot), (a.ReadRoot, b.ReadRoot));
        using NbdTestClient atA = await two.ConnectAsync("store-a");
        Assert.Equal(new byte[Block], await atA.ReadAsync(Size + (7 * Block), Block));
        Assert.Equal(new byte[Block], await atA.ReadAsync(Larger - Block, Block));
        Assert.Equal(Bytes(200), await atA.ReadAsync(Size + (9 * Block), Block));
        foreach (string mark in (string[])["small", "large", "again"])
            Assert.True((await two.ApiA.CheckMarkAsync(TwoStores.Volume, mark)).Good, $"mark {mark}");
        string Mark(string mark) => $"nbd+unix:///{TwoStores.Volume}@{mark}?socket={two.NbdOf("host-a")}";
        Assert.Equal($"{Size}", NbdClientTests.Tool("nbdinfo", "--size", Mark("small")).Trim());
        Assert.Equal($"{Larger}", NbdClientTests.Tool("nbdinfo", "--size", Mark("large")).Trim());
    }

    [Fact]
    public async Task A_replica_that_was_made_smaller_gets_the_owners_size_and_one_that_was_made_larger_is_refused()
    {
        await using TwoStores two = TwoStores.Make();
        two.ReplicaSize = Size / 2;
        await two.StartAAsync();
        await two.StartBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });
        await TwoStores.GrantAsync(two.ApiA, 1);
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
            Assert.Equal(0u, await client.WriteAsync(Size - Block, Bytes(1)));
        await EqualAsync(two);
        Assert.Equal(Size, (await two.ApiB.VolumeAsync(TwoStores.Volume)).SizeBytes);

        await using TwoStores other = TwoStores.Make();
        other.ReplicaSize = 2 * Size;
        await other.StartAAsync();
        await other.StartBAsync();
        await Patience.UntilAsync(() => other.Told().Contains(
            $"the replica refuses: the owner's volume has {Size} bytes, and this one was made with {2 * Size}; delete it, and make it with "
                + "the owner's size, or resize the owner's", StringComparison.Ordinal), other.Told);
        await other.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(2 * Size));
        await other.UntilAsync(other.ApiA, v => v.Replication is { ReplicaWhole: true });
        await EqualAsync(other);
    }

    [RootFact]
    public async Task A_replica_on_a_device_that_is_too_small_says_so_before_anything_has_changed()
    {
        await using TwoStores two = TwoStores.Make();
        string backing = two.FileOf("device");
        await using (FileStream file = File.Create(backing)) file.SetLength(Size);
        string loop = NbdClientTests.Tool("losetup", "--show", "-f", backing).Trim();
        try
        {
            two.ReplicaImage = loop;
            await two.StartAAsync();
            await two.StartBAsync();
            await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });
            var refused = await Assert.ThrowsAsync<ApiProblemException>(
                () => two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger)));
            string why = $"volume {TwoStores.Volume} cannot have {Larger} bytes: {loop} has {Size}";
            Assert.Equal((507, $"store-b, which has the replica: {why}, and is no file that grows by itself; make the device larger "
                + "first; nothing has changed"),
                (refused.Problem.Status, refused.Problem.Detail));
            Assert.Equal(Size, (await two.ApiA.VolumeAsync(TwoStores.Volume)).SizeBytes);

            // 2. One that was away could not be asked: it says so when it is back, and goes on when its device is larger.
            two.Relay.Cut();
            await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
            await two.ApiA.ResizeAsync(TwoStores.Volume, new VolumeResizeRequest(Larger));
            two.Relay.Mend();
            await Patience.UntilAsync(
                () => two.Told().Contains($"the replica at store-b is not reached: the replica refuses: {why}", StringComparison.Ordinal),
                two.Told);
            Assert.Equal(Size, (await two.ApiB.VolumeAsync(TwoStores.Volume)).SizeBytes);
            await using (FileStream file = File.Open(backing, FileMode.Open))
            {
                // What a volume group hands out is not always zeros.
                file.Position = Size;
                file.Write(TestBytes.Bytes((int)(Larger - Size), 9));
            }

            NbdClientTests.Tool("losetup", "-c", loop);
            await two.UntilAsync(two.ApiB, v => v.SizeBytes == Larger);
            await EqualAsync(two);
            using NbdTestClient replica = await two.ConnectAsync("store-b");
            Assert.Equal(new byte[40 * Mebibyte], await replica.ReadAsync(Size, 40 * Mebibyte));
            await two.StopBAsync();
        }
        finally
        {
            NbdClientTests.Tool("losetup", "-d", loop);
        }
    }
}
