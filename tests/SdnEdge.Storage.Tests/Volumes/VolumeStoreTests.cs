using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>Volumes on real files, with their threads.</summary>
public sealed class VolumeStoreTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("sdnedge-volumes-").FullName;
    private readonly VolumeStore _store;

    public VolumeStoreTests() => _store = new VolumeStore(Path.Combine(_root, "store"), TimeProvider.System);

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static VolumeOptions Small => new()
    {
        ApplyEvery = TimeSpan.FromMilliseconds(5),
        ApplyAtBytes = 128 << 10,
        CheckpointBytes = 512 << 10,
        MaxPendingBlocks = 100,
        Log = new VolumeLogOptions { SegmentSize = 256 << 10, MaxSegments = 4 },
    };

    [Fact]
    public async Task Writers_in_parallel_read_what_they_wrote_while_the_log_is_applied_and_its_segments_are_used_again()
    {
        const int Writers = 4, Region = 256 << 10;
        byte[][] states = [.. Enumerable.Range(0, Writers).Select(_ => new byte[Region])];
        ulong last;
        VolumeProof proof;
        using (var volume = _store.Create("v", Writers * Region, Small))
        {
            List<VolumeEvent> events = [];
            volume.Happened += events.Add;
            await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(() => WriteAsync(volume, writer, states[writer],
                400))));
            Assert.Empty(events);
            Assert.True(volume.Log.FirstSequence > 1, "no segment was used again");
            proof = volume.Drain(ulong.MaxValue, out _)!.Value;
            Assert.True(volume.Check(default).IsGood);
            last = volume.Log.LastSequence;
        }

        using var again = _store.Open("v", Small);
        Assert.Equal(last, again.Log.LastSequence);
        Assert.Equal(proof, again.Drain(ulong.MaxValue, out _));
        byte[] bytes = new byte[Region];
        for (int writer = 0; writer < Writers; writer++)
        {
            Assert.Equal(BlockResult.Ok, await again.ReadAsync(writer * Region, bytes, default));
            Assert.Equal(states[writer], bytes);
        }

        static async Task WriteAsync(Volume volume, int writer, byte[] state, int operations)
        {
            var random = new Random(writer);
            for (int i = 0; i < operations; i++)
            {
                int length = 512 * (1 + random.Next(random.Next(10) == 0 ? 128 : 16)),
                    offset = 512 * random.Next(((Region - length) / 512) + 1);
                byte[] bytes = new byte[length];
                switch (random.Next(8))
                {
                    case 0:
                        Assert.Equal(BlockResult.Ok, await volume.FlushAsync(default));
                        break;
                    case 1:
                        Assert.Equal(BlockResult.Ok, await volume.TrimAsync((writer * Region) + offset, length, BlockFlags.None, default));
                        state.AsSpan(offset, length).Clear();
                        break;
                    case 2 or 3:
                        Assert.Equal(BlockResult.Ok, await volume.ReadAsync((writer * Region) + offset, bytes, default));
                        Assert.True(state.AsSpan(offset, length).SequenceEqual(bytes),
                            $"writer {writer}, operation {i}: not what was written");
                        break;
                    default:
                        random.NextBytes(bytes);
                        Assert.Equal(BlockResult.Ok, await volume.WriteAsync((writer * Region) + offset, bytes, BlockFlags.None, default));
                        bytes.CopyTo(state, offset);
                        break;
                }
            }
        }
    }

    [Fact]
    public async Task A_volume_of_ten_tebibytes_costs_nothing_but_what_is_written()
    {
        const long Size = 10L << 40;
        byte[] bytes = new byte[4096];
        new Random(1).NextBytes(bytes);
        long[] places = [0, 5L << 40, Size - 4096];
        _store.Create("huge", Size, Small).Dispose();
        using (var volume = _store.Open("huge", Small))
        {
            foreach (long place in places) Assert.Equal(BlockResult.Ok, await volume.WriteAsync(place, bytes, BlockFlags.None, default));
            Assert.Equal(BlockResult.Ok, await volume.TrimAsync(4096, 4L << 40, BlockFlags.None, default));
        }

        long before = GC.GetTotalAllocatedBytes(precise: true);
        using var again = _store.Open("huge", Small);
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 32 << 20);
        foreach (long place in places)
        {
            byte[] read = new byte[4096];
            Assert.Equal(BlockResult.Ok, await again.ReadAsync(place, read, default));
            Assert.Equal(bytes, read);
        }

        var check = again.Check(default);
        Assert.True(check.IsGood);
        Assert.InRange(check.BlocksRead, 3, 3 * ContentTreeShape.Fanout);
        ulong key = ContentRoot.KeyOf(again.Metadata.Identity), root = 0;
        foreach (long place in places) root += ContentRoot.HashOf(key, place / 4096, bytes);
        Assert.Equal(root, check.Root);
        List<BlockExtent> extents = [];
        Assert.Equal(BlockResult.Ok, again.Extents(0, 1L << 40, 100, extents));
        Assert.Equal([new BlockExtent(4096, false, false), new BlockExtent((1L << 40) - 4096, true, true)], extents);
    }

    [Fact]
    public async Task An_imported_image_keeps_its_contents_its_place_and_gets_their_root()
    {
        string image = Path.Combine(_root, "disk.raw");
        byte[] bytes = new byte[(300 * 4096) + 512];
        new Random(2).NextBytes(bytes.AsSpan(0, 100 * 4096));
        new Random(3).NextBytes(bytes.AsSpan(300 * 4096));
        File.WriteAllBytes(image, bytes);
        using (var volume = _store.Import("i", image, Small))
        {
            Assert.Equal(bytes.Length, volume.Size);
            Assert.True(volume.Check(default) is { IsGood: true, Root: not 0 });
            Assert.Equal(BlockResult.Ok, await volume.WriteAsync(300 * 4096, new byte[512], BlockFlags.ForceUnitAccess, default));
            bytes.AsSpan(300 * 4096).Clear();
            byte[] read = new byte[bytes.Length];
            Assert.Equal(BlockResult.Ok, await volume.ReadAsync(0, read, default));
            Assert.Equal(bytes, read);
            Assert.True(volume.Check(default).IsGood);
        }

        Assert.Equal(bytes, File.ReadAllBytes(image));
        _store.Delete("i");
        Assert.True(File.Exists(image));
        Assert.Empty(_store.List());
    }

    [Fact]
    public void A_volume_is_open_once_its_files_are_its_owner_s_alone_and_bad_requests_say_what_is_wrong()
    {
        using (var volume = _store.Create("a.1", 1 << 20, Small))
        {
            Assert.Contains("open already", Assert.Throws<VolumeException>(() => _store.Open("a.1", Small)).Message,
                StringComparison.Ordinal);
            Assert.Contains("open already", Assert.Throws<VolumeException>(() => _store.Delete("a.1")).Message, StringComparison.Ordinal);
            Assert.Contains("there already", Assert.Throws<VolumeException>(() => _store.Create("a.1", 512, Small)).Message,
                StringComparison.Ordinal);
            foreach (string file in Directory.EnumerateFiles(Path.Combine(_root, "store", "a.1"), "*", SearchOption.AllDirectories))
                Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        }

        Assert.Equal(["a.1"], _store.List().Select(volume => volume.Name));
        Assert.Contains("512", Assert.Throws<VolumeException>(() => _store.Create("b", 1000, Small)).Message, StringComparison.Ordinal);
        Assert.Contains("name", Assert.Throws<VolumeException>(() => _store.Create("../b", 512, Small)).Message, StringComparison.Ordinal);
        Assert.Contains("not there", Assert.Throws<VolumeException>(() => _store.Open("b", Small)).Message, StringComparison.Ordinal);
        Assert.Contains("absolute", Assert.Throws<VolumeException>(() => _store.Import("b", "b.raw", Small)).Message,
            StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(_root, "store", "a.1", "volume.json"), "{");
        Assert.Contains("volume.json", Assert.Throws<VolumeException>(() => _store.Open("a.1", Small)).Message, StringComparison.Ordinal);
    }

    /// <summary>Any operations against an array.</summary>
    [Property(MaxTest = 200)]
    public Property A_volume_reads_as_an_array_does_whatever_is_done_to_it() => Prop.ForAll(
        Gen.Choose(0, int.MaxValue).Four().Select(n => (Kind: n.Item1 % 8, At: n.Item2, Length: n.Item3,
            Filling: (byte)(n.Item4 % 255 + 1)))
            .ListOf().ToArbitrary(),
        operations =>
        {
            const int Size = 160 << 10;
            var disk = new CrashDisk(1);
            using var volume = Volume.Create(disk, new Volume.Parts(disk.Open("image", Size, out _)!),
                new VolumeMetadata { Name = "v", Identity = Guid.Empty, Size = Size },
                new VolumeOptions { Background = false, Log = new VolumeLogOptions { SegmentSize = 1 << 20, Background = false } }, out _)!;
            byte[] state = new byte[Size], bytes = new byte[Size];
            foreach ((int kind, int at, int size, byte filling) in operations.Take(100))
            {
                int length = 512 * (1 + (size % 20)), offset = 512 * (at % ((Size - length) / 512));
                switch (kind)
                {
                    case < 4:
                        bytes.AsSpan(0, length).Fill(filling);
                        if (Run(volume.WriteAsync(offset, bytes.AsMemory(0, length), (BlockFlags)(kind & 1),
                            default)) != BlockResult.Ok) return false;
                        state.AsSpan(offset, length).Fill(filling);
                        break;
                    case 4:
                        if (Run(volume.WriteZeroesAsync(offset, length, BlockFlags.NoHole, default)) != BlockResult.Ok) return false;
                        state.AsSpan(offset, length).Clear();
                        break;
                    case 5:
                        if (Run(volume.TrimAsync(offset, length, BlockFlags.None, default)) != BlockResult.Ok) return false;
                        state.AsSpan(offset, length).Clear();
                        break;
                    case 6:
                        volume.Log.Commit();
                        volume.ApplyOnce(volume.AppliedSequence + (ulong)(size % 10));
                        break;
                    default:
                        volume.Checkpoint();
                        break;
                }

                if (Run(volume.ReadAsync(0, bytes, default)) != BlockResult.Ok || !bytes.AsSpan().SequenceEqual(state)) return false;
            }

            return volume.Check(default).IsGood;
        });

    // Without a background every answer is there when the call returns.
    private static BlockResult Run(ValueTask<BlockResult> call) =>
        call.IsCompleted ? call.Result : throw new InvalidOperationException("not answered at once");
}
