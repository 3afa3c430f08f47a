using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A replica that is copied: for the first time, after it was away for long, and where it does not vouch for itself. Bytes on the
/// link are counted.</summary>
public sealed class ReplicaCopyTests
{
    private const int Block = 4096, Mebibyte = 1 << 20;

    // What a connection and its frames take beside what they carry, and what was on its way when one was cut.
    private const long Overhead = 256 << 10;

    [Fact]
    public async Task An_image_with_contents_is_copied_without_its_holes_and_the_log_follows()
    {
        byte[] image = Image(8 * Mebibyte);
        await using TwoStores two = await TwoStores.StartWithRelayAsync(image: image);
        VolumeInfo at = await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });
        Assert.Null(at.Replication!.Copy);
        Assert.InRange(two.Relay.Passed, 8 * Mebibyte, (long)(8 * Mebibyte * 1.05) + Overhead);
        Assert.Equal(CopyPhase.Following, (await two.ApiB.VolumeAsync(TwoStores.Volume)).Replica!.Phase);

        // Proved once by both content roots, without anybody asking.
        await Patience.UntilAsync(
            () => two.Told().Contains("store-a vs-disk mode: async, the replica has everything", StringComparison.Ordinal),
            two.Told);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
        await EqualAsync(two);
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        Assert.Equal(Bytes(1), await replica.ReadAsync(0, Block));
        Assert.Equal(image[(2 * Mebibyte)..(3 * Mebibyte)], await replica.ReadAsync(2 * Mebibyte, Mebibyte));
        Assert.True(new FileInfo(two.ImageOf("store-b")).Length == TwoStores.Size);
    }

    // Bytes are held in the middle of the copy, so that each end comes at the same place every time.
    [Fact]
    public async Task A_first_copy_goes_on_where_it_was_after_a_cut_and_after_a_kill_of_either_store()
    {
        byte[] image = Image(60 * Mebibyte);
        await using TwoStores two = TwoStores.Make(image);
        two.Relay.HoldAfter(20 * Mebibyte);
        StoreProcess a = await two.RunAAsync(), b = await two.RunBAsync();
        await two.Relay.UntilHeldAsync(() => $"{two.Relay.Passed} bytes have passed");
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Copying, CopiedBytes: > 16 * Mebibyte });
        using (NbdTestClient client = await two.ConnectAsync("store-a"))
        {
            // The guest writes meanwhile, what was copied already and what was not.
            await TwoStores.GrantAsync(two.ApiA, 1);
            Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
            Assert.Equal(0u, await client.WriteAsync(50 * Mebibyte, Bytes(2), fua: true));
        }

        two.Relay.Cut();

        // 16 MiB and what is on its way may come again; 20, then 22 pass each time.
        long first = await ResumeAsync(two, () => Task.CompletedTask, 22 * Mebibyte);
        Assert.InRange(first, 2 * Mebibyte, 24 * Mebibyte);
        long second = await ResumeAsync(two, async () =>
        {
            b.Kill();
            b = await two.RunBAsync();
        }, 22 * Mebibyte);
        Assert.True(second > first + (3 * Mebibyte), $"{first}, then {second}");
        long third = await ResumeAsync(two, async () =>
        {
            a.Kill();
            a = await two.RunAAsync();
        }, 0);
        Assert.True(third > second + (3 * Mebibyte), $"{second}, then {third}");
        two.Relay.HoldAfter(long.MaxValue);
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });

        // At each end what was not durable comes again: less than what is made durable at a time, and what was on its way.
        Assert.True(two.Relay.Passed < (60 + (3 * 24)) * (long)Mebibyte, $"{two.Relay.Passed} bytes");
        await EqualAsync(two);
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        Assert.Equal(Bytes(1), await replica.ReadAsync(0, Block));
        Assert.Equal(Bytes(2), await replica.ReadAsync(50 * Mebibyte, Block));
        Assert.Equal(image[(40 * Mebibyte)..(41 * Mebibyte)], await replica.ReadAsync(40 * Mebibyte, Mebibyte));
    }

    [Fact]
    public async Task A_replica_that_is_away_does_not_stop_the_guest_when_the_log_is_full_and_gets_only_what_was_touched()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync(options: StoreProcess.SmallLog);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        for (int i = 0; i < 512; i++) Assert.Equal(0u, await client.WriteAsync(i * Block, Bytes(i)));
        await two.UntilAsync(two.ApiA, v => v.Replication!.ReplicaDurable == v.Replication.Last);
        await two.StopBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });

        // Four times what the log has room for, in a tenth of the volume.
        for (int i = 0; i < 4096; i++)
            Assert.Equal(0u, await client.WriteAsync((1024 + (i % 256)) * Block, Bytes(i)).WaitAsync(Patience.Time));
        VolumeInfo away = await two.UntilAsync(two.ApiA, v => v.Replication is { LetGoThrough: > 512 });
        Assert.Contains("log-let-go", two.Told(), StringComparison.Ordinal);
        long before = two.Relay.Passed;
        await two.StartBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true, LetGoThrough: null });
        await EqualAsync(two);

        // What was touched, and what the log still had.
        long log = (long)(away.Replication!.Last - away.Replication.LetGoThrough!.Value) * (Block + 64);
        Assert.True(two.Relay.Passed - before <= ((256 * Block) + log) * 1.05 + Overhead,
            $"{two.Relay.Passed - before} bytes, {log} of them log; {two.Told()}");
        Assert.Equal(4096 - 256 + 7, BitConverter.ToInt32(await Seed(two, 1024 + 7)));
    }

    [Fact]
    public async Task A_first_copy_that_is_broken_off_for_longer_than_the_log_reaches_goes_on_and_copies_again_what_was_touched()
    {
        byte[] image = Image(48 * Mebibyte);
        await using TwoStores two = TwoStores.Make(image, StoreProcess.SmallLog);
        two.Relay.HoldAfter(24 * Mebibyte);
        await two.StartAAsync();
        await two.StartBAsync();
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Copying, CopiedBytes: > 16 * Mebibyte });
        two.Relay.Cut();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        for (int i = 0; i < 3000; i++) Assert.Equal(0u, await client.WriteAsync((i % 200) * Block, Bytes(i)).WaitAsync(Patience.Time));
        await two.UntilAsync(two.ApiA, v => v.Replication is { LetGoThrough: > 0 });
        await two.StopBAsync();
        await two.StartBAsync();
        two.Relay.Mend();
        await two.UntilAsync(two.ApiA, v => v.Replication is { ReplicaWhole: true });
        Assert.True(two.Relay.Passed < 72 * Mebibyte, $"{two.Relay.Passed} bytes: it began anew");
        await EqualAsync(two);
    }

    // A bad block at the replica: a person has the copy made anew.
    [Fact]
    public async Task A_copy_that_does_not_vouch_for_itself_is_made_anew_when_a_person_asks()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync(image: Image(4 * Mebibyte));
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Following });
        await Damage(two.ImageOf("store-b"), Mebibyte);
        Assert.Equal([Mebibyte / Block], (await two.ApiB.CheckAsync(TwoStores.Volume)).BadBlocks);
        long before = two.Relay.Passed;
        await two.ApiB.ResyncAsync(TwoStores.Volume, new VolumeResyncRequest());
        await two.UntilAsync(two.ApiB, v => two.Relay.Passed > before + (4 * Mebibyte) && v.Replica is { Phase: CopyPhase.Following });
        await EqualAsync(two);
    }

    // Nobody asks: the background check reads all of it, again and again.
    [Fact]
    public async Task A_block_that_a_disk_has_changed_is_found_and_put_right_from_the_other_side_or_said()
    {
        await using TwoStores two = await TwoStores.StartWithRelayAsync(Image(6 * Mebibyte),
            new VolumeOptions { VerifyEvery = TimeSpan.FromMilliseconds(5) });
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Following });
        await Damage(two.ImageOf("store-b"), Mebibyte / 2);
        await Patience.UntilAsync(
            () => two.Told().Contains($"store-b vs-disk repaired: block {Mebibyte / 2 / Block} ", StringComparison.Ordinal),
            two.Told);
        await Damage(two.FileOf("imported"), 3 * Mebibyte);
        await Patience.UntilAsync(
            () => two.Told().Contains($"store-a vs-disk repaired: block {3 * Mebibyte / Block} ", StringComparison.Ordinal),
            two.Told);
        await EqualAsync(two);

        // Both are bad: nothing is guessed.
        await two.StopBAsync();
        await Damage(two.ImageOf("store-b"), 4 * Mebibyte);
        await Damage(two.FileOf("imported"), 4 * Mebibyte);
        await two.StartBAsync();
        foreach (string store in (string[])["store-a", "store-b"])
        {
            await Patience.UntilAsync(
                () => two.Told().Contains($"{store} vs-disk bad-block: block {4 * Mebibyte / Block} ", StringComparison.Ordinal), two.Told);
        }

        Assert.Equal([4 * Mebibyte / Block], (await two.ApiA.CheckAsync(TwoStores.Volume)).BadBlocks);
        Assert.Contains("sdnedge_store_bad_blocks{volume=\"vs-disk\"} 1", await two.ApiA.TextAsync("metrics"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_volume_that_was_made_before_it_had_a_replica_gets_one_by_its_identity()
    {
        await using TwoStores two = TwoStores.Make();
        var identity = new Guid("f9d5ee75-3aef-4407-893f-c8ee51c9f404");
        await two.MakeAloneAsync("store-a", identity, 32 * Block, Bytes(5));
        await two.StartAAsync();
        Assert.Contains($"write id: {identity}", two.Told(), StringComparison.Ordinal);
        await two.StopAAsync();
        two.Identity = identity;
        await two.StartAAsync();
        await two.StartBAsync();
        await two.UntilAsync(two.ApiB, v => v.Replica is { Phase: CopyPhase.Following });

        // Its log goes back to the beginning: what it follows with may be on its way still.
        await EqualAsync(two);
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        Assert.Equal(Bytes(5), await replica.ReadAsync(32 * Block, Block));
    }

    internal static byte[] Bytes(int seed)
    {
        byte[] bytes = TestBytes.Bytes(Block, seed);
        BitConverter.TryWriteBytes(bytes, seed);
        return bytes;
    }

    /// <summary>Both sites have the same history and the same bytes, and what is on their disks is what was written.</summary>
    internal static async Task EqualAsync(TwoStores two)
    {
        DrainProofInfo proof = await two.ApiA.DrainAsync(TwoStores.Volume).WaitAsync(Patience.Time);
        VolumeCheckInfo a = await two.ApiA.CheckAsync(TwoStores.Volume), b = await two.ApiB.CheckAsync(TwoStores.Volume);
        Assert.True(a.Good && b.Good, $"{a}\n{b}");
        Assert.Equal((proof.ContentRoot, proof.ContentRoot), (a.ReadRoot, b.ReadRoot));
    }

    private static async Task<byte[]> Seed(TwoStores two, int block)
    {
        using NbdTestClient replica = await two.ConnectAsync("store-b");
        return (await replica.ReadAsync(block * Block, Block))[..4];
    }

    // What is done while the link is cut; then so much more passes. Where the copy has begun again.
    private static async Task<long> ResumeAsync(TwoStores two, Func<Task> meanwhile, long more)
    {
        two.Relay.Cut();
        await meanwhile();

        // Not what it says of the copy that was cut.
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false, Copy: null });
        two.Relay.Mend(64 << 10);
        VolumeInfo at = await two.UntilAsync(two.ApiA, v => v.Replication is { Copy: not null });
        two.Relay.HoldAfter(more);
        long copied = at.Replication!.Copy!.CopiedBytes;
        if (more == 0) return copied;
        await two.Relay.UntilHeldAsync(() => $"{two.Relay.Passed} bytes have passed");

        // It is made durable, and then recorded, beside what comes.
        var files = new VolumeFiles(Path.GetDirectoryName(two.ImageOf("store-b"))!, at.Id);
        await Patience.UntilAsync(() => files.Replica!.CopiedBytes > copied + (3 * Mebibyte), () => $"{files.Replica} is recorded");
        return copied;
    }

    // So many bytes of contents at the beginning, with a hole of a megabyte in them, and one block at the end.
    private static byte[] Image(int contents)
    {
        byte[] image = new byte[TwoStores.Size];
        new Random(3).NextBytes(image.AsSpan(0, Mebibyte));
        new Random(4).NextBytes(image.AsSpan(2 * Mebibyte, contents - Mebibyte - Block));
        new Random(5).NextBytes(image.AsSpan(image.Length - Block));
        return image;
    }

    private static async Task Damage(string path, long at)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Position = at;
        await file.WriteAsync(new byte[] { 1, 2, 3 });
        file.Position = at + (2 * Mebibyte);
    }
}
