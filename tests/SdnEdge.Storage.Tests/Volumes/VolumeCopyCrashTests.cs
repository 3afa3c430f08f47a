using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// A copy overwrites a volume, its log begins anew behind the owner's history, and the power is cut at any operation of the disk, again and
/// again: it is what it was, or a copy that goes on or can be taken back, or the owner's. Nothing else, ever.
/// </summary>
public sealed class VolumeCopyCrashTests(ITestOutputHelper output)
{
    private const int Seeds = 1_500, Block = 4096, Blocks = 40;
    private const string Kept = "kept";

    [Fact]
    public async Task A_copy_that_the_power_is_cut_in_goes_on_or_is_taken_back_and_ends_as_the_owners()
    {
        long cuts = 0, back = 0, resumed = 0;
        for (int seed = 1; seed <= Seeds; seed++)
        {
            var story = new Story(seed);
            try
            {
                await story.GoAsync();
            }
            catch (Exception e)
            {
                Assert.Fail($"seed {seed}, after {story.Cuts} cuts: {e}");
            }

            (cuts, back, resumed) = (cuts + story.Cuts, back + story.TakenBack, resumed + story.Resumed);
        }

        output.WriteLine($"{Seeds} seeds: {cuts} cuts, {back} copies taken back, {resumed} resumed");
        Assert.True(cuts > Seeds && back > Seeds / 10 && resumed > Seeds / 10, $"{cuts} cuts, {back} taken back, {resumed} resumed");
    }

    // Records that came beside the data, and are not in the image yet: they are in no other place once the log begins behind them.
    [Fact]
    public async Task A_copy_whose_log_is_cut_has_what_the_log_had_up_to_there()
    {
        var identity = new Guid("6b1d2a53-0f6d-4a0c-9a52-1f0f4c7a1e78");
        Volume owner = new CrashVolume(1, Blocks * Block, identity).Volume, copy = new CrashVolume(2, Blocks * Block, identity).Volume;
        List<(LogRecord Record, byte[] Bytes)> written = [];
        for (int i = 0; i < 4; i++)
        {
            byte[] bytes = TestBytes.Bytes(Block, i + 1);
            ulong chain = owner.Log.Chain;
            Assert.Equal(BlockResult.Ok, await owner.WriteAsync(i * Block, bytes, BlockFlags.None, default));
            var record = new LogRecord(owner.Log.LastSequence, owner.Log.Epoch, LogRecordKind.Write, i * Block, Block, Crc32C.Of(bytes), 0);
            written.Add((record with { Chain = LogRecordCodec.NextChain(chain, record) }, bytes));
        }

        Assert.Equal(0, copy.BeginAnew(LogPoint.Start, copying: true));
        foreach ((LogRecord record, byte[] bytes) in written) Assert.Equal(AppendStatus.Appended, copy.AppendReplicated(record, bytes));
        Assert.Equal(0ul, copy.AppliedSequence);
        Assert.Equal(0, copy.BeginAnew(LogPoint.Of(written[1].Record), copying: true));
        Assert.Equal(0, copy.EndCopy(2));
        byte[] contents = new byte[4 * Block];
        Assert.Equal(BlockResult.Ok, await copy.ReadAsync(0, contents, default));
        Assert.Equal([.. written[0].Bytes, .. written[1].Bytes, .. new byte[2 * Block]], contents);
        Assert.True(copy.Check(default).IsGood);
    }

    [Fact]
    public void A_copy_that_ends_with_the_record_of_another_size_has_that_size_after_a_power_cut()
    {
        var crash = new CrashVolume(1, Blocks * Block, new Guid("6b1d2a53-0f6d-4a0c-9a52-1f0f4c7a1e79"));
        Assert.Equal(0, crash.Volume.BeginAnew(LogPoint.Start, copying: true));
        var record = new LogRecord(1, 0, LogRecordKind.Size, 0, 2 * Blocks * Block, 0, 0);
        record = record with { Chain = LogRecordCodec.NextChain(crash.Volume.Log.Chain, record) };
        Assert.Equal(AppendStatus.Appended, crash.Volume.AppendReplicated(record, []));
        Assert.Equal(0, crash.Volume.EndCopy(1));
        crash.Recover(2);
        Assert.Equal((2L * Blocks * Block, 1ul), (crash.Volume.Size, crash.Volume.AppliedSequence));
        Assert.True(crash.Volume.Check(default).IsGood);
    }

    private sealed class Story(int seed)
    {
        private static readonly Guid s_identity = new("6b1d2a53-0f6d-4a0c-9a52-1f0f4c7a1e77");

        private readonly Random _random = new(seed);
        private readonly CrashVolume _crash = new(seed, Blocks * Block, s_identity);
        private bool _isOver;

        public int Cuts { get; private set; }

        public int TakenBack { get; private set; }

        public int Resumed { get; private set; }

        private CrashDisk Disk => _crash.Disk;

        private Volume Volume => _crash.Volume;

        public async Task GoAsync()
        {
            // The owner: some contents, of which a copy is made behind record `at`, and what was written since.
            using Volume owner = new CrashVolume(seed + Seeds, Blocks * Block, s_identity).Volume;
            owner.BeginEpoch(2, out _);
            await WriteAsync(owner, 12);
            if (_random.Next(2) == 0) await GrowAsync(owner);
            Assert.NotNull(owner.Drain(ulong.MaxValue, out _));
            var at = new LogPoint(owner.Log.LastSequence, owner.Log.Epoch, owner.Log.Chain);
            List<byte[]> copied = [await ReadAsync(owner)];
            List<(LogRecord Record, byte[] Bytes)> since = [];
            ulong before = owner.Log.LastSequence;
            long atSize = owner.LastSize;
            await WriteAsync(owner, 3);
            if (_random.Next(2) == 0) await GrowAsync(owner);
            await WriteAsync(owner, 3);
            since.AddRange(Records(owner, before));
            byte[] right = await ReadAsync(owner);

            // A piece of the copy shows all records that were sent before it.
            foreach ((LogRecord record, byte[] bytes) in since) copied.Add(After(copied[^1], record, bytes));
            Assert.Equal(right, copied[^1]);

            // The volume here, with a history of its own.
            await WriteAsync(Volume, 5);
            if (_random.Next(2) == 0) await GrowAsync(Volume);
            await WriteAsync(Volume, 5);
            VolumeProof old = Volume.Drain(ulong.MaxValue, out _)!.Value;
            Assert.Equal(0, Volume.Checkpoint());
            byte[] was = await ReadAsync(Volume);

            long synced = 0;
            bool ended = false;
            for (int life = 0; !_isOver && life < 40; life++)
            {
                if (life < 30 && _random.Next(8) != 0) Disk.CutAfter(_random.Next(200));
                try
                {
                    if (!ended) ended = Copy(at, atSize, copied, since, ref synced);
                    if (ended) _isOver = Drop();
                }
                catch (VolumeException) when (Disk.IsOff)
                {
                    // The power went.
                }

                if (!Disk.IsOff && _isOver) break;
                Recover();
                if (Volume.IsCopying)
                {
                    if (_random.Next(3) == 0)
                    {
                        Disk.CutAfter(_random.Next(4) == 0 ? _random.Next(60) : long.MaxValue);
                        bool done = await TakeBackAsync(was, old);
                        synced = 0;
                        if (!done) continue;
                    }
                    else
                    {
                        Resumed++;
                        Volume.ResumeCopy();
                    }
                }
                else if (!ended)
                {
                    // It ended as the power went, or has not begun.
                    ended = Volume.Log.Epoch == 2;
                    if (ended) Assert.Equal(right, await ReadAsync(Volume));
                    else await BeWhatItWasAsync(was, old);
                    synced = 0;
                }
            }

            Assert.True(_isOver, "the copy never came to its end");
            Assert.Equal(right, await ReadAsync(Volume));
            VolumeCheck check = Volume.Check(default);
            Assert.True(check.IsGood, $"{check}");
            Assert.Equal((owner.Log.LastSequence, owner.Log.Chain), (check.Proof.Sequence, check.Proof.Chain));
            Assert.Equal(owner.Drain(ulong.MaxValue, out _)!.Value.Root, check.Root);
            Assert.Empty(Volume.Points);
        }

        // As the link does it: the point, the log anew, data that are made durable now and then, the log, the end.
        private bool Copy(LogPoint at, long size, List<byte[]> copied, List<(LogRecord Record, byte[] Bytes)> since, ref long synced)
        {
            if (!Volume.IsCopying)
            {
                if (Volume.Points.Any(p => p.Name == Kept)) Volume.DropPoint(Kept);
                Volume.KeepPoint(Kept);
                Volume.PrepareSize(size);
                if (Volume.BeginAnew(at, size) != 0) return false;
                synced = 0;
            }

            byte[] shown = copied[(int)(Volume.Log.LastSequence - at.Sequence)];
            long blocks = size / Block;
            for (long block = synced; block < blocks; block++)
            {
                ReadOnlySpan<byte> bytes = shown.AsSpan((int)block * Block, Block);
                int error = bytes.ContainsAnyExcept((byte)0) ? Volume.WriteCopy(block * Block, bytes)
                    : Volume.ZeroCopy(block * Block, Block);
                if (error != 0) return false;
                if (_random.Next(6) != 0) continue;
                if (Volume.SyncCopy() != 0) return false;
                synced = block + 1;
            }

            if (Volume.SyncCopy() != 0) return false;
            synced = blocks;
            foreach ((LogRecord record, byte[] bytes) in since.Where(r => r.Record.Sequence > Volume.Log.LastSequence))
            {
                while (Volume.Log.PrepareSegment())
                {
                }

                if (Volume.AppendReplicated(record, bytes) != AppendStatus.Appended) return false;
                if (_random.Next(3) != 0) continue;
                if (Volume.Log.Commit() != 0) return false;
                Volume.ApplyOnce();
            }

            return Volume.EndCopy(Volume.Log.LastSequence) == 0;
        }

        private bool Drop()
        {
            if (Volume.Points.Any(p => p.Name == Kept)) Volume.DropPoint(Kept);
            return true;
        }

        private async Task<bool> TakeBackAsync(byte[] was, VolumeProof old)
        {
            try
            {
                int error = Volume.GoBack(Kept);
                Assert.True(error == 0 || Disk.IsOff, $"not taken back: error {error}");
                if (error != 0) return false;
            }
            catch (VolumeException) when (Disk.IsOff)
            {
                Recover();
                return false;
            }

            TakenBack++;
            await BeWhatItWasAsync(was, old);
            return true;
        }

        private async Task BeWhatItWasAsync(byte[] was, VolumeProof old)
        {
            Assert.False(Volume.IsCopying);
            if (Disk.IsOff) return;
            Assert.Equal(was, await ReadAsync(Volume));
            VolumeCheck check = Volume.Check(default);
            if (Disk.IsOff) return;
            Assert.True(check.IsGood, $"{check}");
            Assert.Equal(old, check.Proof);
        }

        private void Recover()
        {
            if (Disk.IsOff) Cuts++;
            _crash.Recover(_random.Next());
            Assert.Empty(Volume.Found);
        }

        private async Task WriteAsync(Volume volume, int count)
        {
            for (int i = 0; i < count; i++)
            {
                byte[] bytes = new byte[512 * _random.Next(1, 20)];
                if (_random.Next(5) != 0) _random.NextBytes(bytes);
                int at = 512 * _random.Next((int)(volume.LastSize / 512) - (bytes.Length / 512));
                await DoneAsync(volume, volume.WriteAsync(at, bytes, BlockFlags.None, default));
            }
        }

        // Sometimes by so many blocks that the hashes need one more level.
        private async Task GrowAsync(Volume volume)
        {
            long size = volume.LastSize + ((_random.Next(6) == 0 ? 512 : _random.Next(1, 20)) * Block);
            volume.PrepareSize(size);
            await DoneAsync(volume, volume.GrowAsync(size, default));
        }

        private static async Task DoneAsync(Volume volume, ValueTask<BlockResult> request)
        {
            Task<BlockResult> task = request.AsTask();
            while (!task.IsCompleted) CrashVolume.Pump(volume);
            Assert.Equal(BlockResult.Ok, await task);
        }

        private static byte[] After(byte[] before, in LogRecord record, byte[] bytes)
        {
            if (record.Kind == LogRecordKind.Size) return [.. before, .. new byte[record.Length - before.Length]];
            byte[] after = [.. before];
            Span<byte> range = after.AsSpan((int)record.Offset, (int)record.Length);
            if (record.Kind == LogRecordKind.Write) bytes.CopyTo(range);
            else range.Clear();
            return after;
        }

        private static async Task<byte[]> ReadAsync(Volume volume)
        {
            byte[] bytes = new byte[volume.LastSize];
            Assert.Equal(BlockResult.Ok, await volume.ReadAsync(0, bytes, default));
            return bytes;
        }

        private static IEnumerable<(LogRecord, byte[])> Records(Volume volume, ulong behind)
        {
            LogCursor cursor = default;
            byte[] buffer = new byte[volume.Log.BatchSize];
            List<LogEntry> entries = [];
            for (ulong next = behind + 1; next <= volume.Log.LastSequence; next = entries[^1].Record.Sequence + 1)
            {
                Assert.Equal(LogReadStatus.Read, volume.Log.Read(next, ulong.MaxValue, ref cursor, buffer, entries));
                foreach (LogEntry entry in entries)
                    yield return (entry.Record, buffer.AsSpan(entry.PayloadAt, (int)entry.Record.PayloadLength).ToArray());
            }
        }
    }
}
