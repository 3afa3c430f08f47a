using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// Power cuts at every place of a volume's work, on a disk that keeps, drops and reorders what was not synced. The oracle is slow and
/// obvious: the list of all operations by sequence, and an array they are carried out on.
/// SDNEDGE_CRASH_SEEDS sets how many seeds are tried (default 2,000).
/// </summary>
public sealed class VolumeCrashTests
{
    private static readonly Guid s_identity = new("0b8f3f0e-2a9d-4c43-b0dd-c77c0a5a5a01");

    private sealed record Operation(LogRecordKind Kind, int Offset, int Length, byte[] Bytes);

    [Fact]
    public async Task After_any_power_cut_a_volume_is_a_prefix_of_its_writes_with_everything_that_was_flushed()
    {
        int seeds = int.Parse(Environment.GetEnvironmentVariable("SDNEDGE_CRASH_SEEDS") ?? "2000", CultureInfo.InvariantCulture);
        long cuts = 0, torn = 0, lost = 0, mid = 0, redone = 0, rolled = 0;
        for (int seed = 1; seed <= seeds; seed++)
        {
            var run = new Run(seed);
            try
            {
                await run.Go();
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"seed {seed}: {e.Message}", e);
            }

            cuts += run.Cuts;
            torn += run.Torn;
            lost += run.Lost;
            mid += run.MidOperation;
            redone += run.Redone;
            rolled += run.Rolled;
        }

        // The rare ways were gone: cuts inside operations, torn tails, writes that were lost, records applied again, segments used again.
        Assert.True(cuts >= 2 * seeds && mid > seeds / 4 && torn > seeds / 10 && lost > seeds / 10 && redone > seeds / 10
            && rolled > seeds / 10,
            $"cuts {cuts}, inside an operation {mid}, torn {torn}, lost {lost}, applied again {redone}, segments used again {rolled}");
    }

    private sealed class Run(int seed)
    {
        // Some volumes have two levels of hashes.
        private readonly int _size = seed % 8 == 0 ? 2200 << 10 : 384 << 10;
        private readonly Random _random = new(seed);
        private readonly Dictionary<ulong, Operation> _history = [];
        private ulong _salt = (ulong)seed << 32, _flushed, _last;
        private CrashDisk _disk = new(seed);
        private Volume _volume = null!;

        public long Cuts { get; private set; }

        public long Torn { get; private set; }

        public long Lost { get; private set; }

        public long MidOperation { get; private set; }

        public long Redone { get; private set; }

        public long Rolled { get; private set; }

        private VolumeOptions Options => new()
        {
            Background = false,
            MaxPendingBlocks = 64,
            Log = new VolumeLogOptions { SegmentSize = 64 << 10, MaxSegments = 4, Background = false, NewSalt = () => ++_salt },
        };

        private VolumeMetadata Metadata => new() { Name = "v", Identity = s_identity, Size = _size };

        public async Task Go()
        {
            _volume = Volume.Create(_disk, Image(), Metadata, Options, out _)!;
            for (int life = 0; life < 3; life++)
            {
                bool inside = _random.Next(2) == 0;
                if (inside) _disk.CutAfter(_random.Next(200));
                int steps = _random.Next(10, 120);
                for (int i = 0; i < steps && !_disk.IsOff; i++) await Step();
                if (_disk.IsOff) MidOperation++;
                Recover();
            }
        }

        private Volume.Parts Image() => new(_disk.Open("image", _size, out _)!);

        private async Task Step()
        {
            switch (_random.Next(16))
            {
                case < 8:
                    await Write();
                    break;
                case 8:
                    await Zeros();
                    break;
                case 9:
                    await Answered(_volume.FlushHereAsync(default), null, durable: true);
                    break;
                case 10 or 11:
                    _volume.ApplyOnce();
                    break;
                case 12:
                    _volume.Checkpoint();
                    break;
                case 13:
                    _volume.Log.Commit();
                    break;
                case 14:
                    _volume.Log.PrepareSegment();
                    break;
                default:
                    await Read();
                    break;
            }
        }

        private async Task Write()
        {
            // Mostly blocks, sometimes single sectors, sometimes more than one block from an odd sector on; few places, so that they meet.
            int unit = _random.Next(3) == 0 ? 512 : 4096;
            int length = unit * (1 + _random.Next(_random.Next(4) == 0 ? 6 : 2));
            int offset = _random.Next((_size - length) / unit / (_random.Next(2) + 1)) * unit;
            byte[] bytes = new byte[length];
            if (_random.Next(8) != 0) _random.NextBytes(bytes);
            bool durable = _random.Next(6) == 0;
            await Answered(
                durable && length % 3 == 0 ? _volume.WriteDurableHereAsync(offset, bytes, default)
                    : _volume.WriteAsync(offset, bytes, durable ? BlockFlags.ForceUnitAccess : BlockFlags.None, default),
                new Operation(LogRecordKind.Write, offset, length, bytes), durable);
        }

        private async Task Zeros()
        {
            int length = 512 * (1 + _random.Next(_random.Next(8) == 0 ? _size / 512 : 40));
            int offset = 512 * _random.Next(((_size - length) / 512) + 1);
            bool trim = _random.Next(2) == 0;
            var call = trim
                ? _volume.TrimAsync(offset, length, BlockFlags.None, default)
                : _volume.WriteZeroesAsync(offset, length, BlockFlags.NoHole, default);
            await Answered(call, new Operation(trim ? LogRecordKind.Trim : LogRecordKind.Zero, offset, length, new byte[length]),
                durable: false);
        }

        // The operation is the next record, if it became one; its answer, if there is one, is kept.
        private async Task Answered(ValueTask<BlockResult> call, Operation? operation, bool durable)
        {
            if (operation is not null) _history[_last + 1] = operation;
            var task = call.AsTask();
            for (int i = 0; !task.IsCompleted && !_disk.IsOff && i < 1000; i++) Pump();
            if (!_disk.IsOff) Assert.True(task.IsCompleted, "a request that found no room is never answered");
            if (!task.IsCompleted) return;
            var result = await task;
            if (_disk.IsOff) return;
            Assert.Equal(BlockResult.Ok, result);
            _last = _volume.Log.LastSequence;
            if (durable) _flushed = _last;
        }

        private void Pump()
        {
            _volume.Log.Commit();
            while (_volume.ApplyOnce())
            {
            }

            _volume.Checkpoint();
            while (_volume.Log.PrepareSegment())
            {
            }
        }

        private async Task Read()
        {
            byte[] bytes = new byte[512 * (1 + _random.Next(64))];
            int offset = 512 * _random.Next(((_size - bytes.Length) / 512) + 1);
            var result = await _volume.ReadAsync(offset, bytes, default);
            if (_disk.IsOff) return;
            Assert.Equal(BlockResult.Ok, result);
            Assert.True(StateAfter(_last).AsSpan(offset, bytes.Length).SequenceEqual(bytes),
                $"{bytes.Length} bytes at {offset} are not the newest");
        }

        private byte[] StateAfter(ulong sequence)
        {
            byte[] state = new byte[_size];
            for (ulong i = 1; i <= sequence; i++)
            {
                if (_history.TryGetValue(i, out var done)) done.Bytes.CopyTo(state, done.Offset);
            }

            return state;
        }

        private void Recover()
        {
            Cuts++;
            ulong before = _last;
            _disk = _disk.Survivor(_random.Next());
            _volume = Volume.Open(_disk, Image(), Metadata, Options, out var recovery, out int error)!;
            Assert.True(_volume is not null, $"not opened: error {error}, {string.Join("; ", recovery?.Damage ?? [])}");
            if (recovery!.CutBytes > 0) Torn++;

            // 1. Nothing that was answered as durable is lost, and nothing is there that was never written.
            ulong last = _volume.Log.LastSequence;
            Assert.InRange(last, _flushed, before + 2);
            if (last < before) Lost++;
            if (last > _volume.CheckpointedSequence) Redone++;
            if (_volume.Log.FirstSequence > 1) Rolled++;

            // 2. What is read is the state after the last record.
            byte[] expected = StateAfter(last), bytes = new byte[_size];
            Assert.Equal(BlockResult.Ok, _volume.ReadAsync(0, bytes, default).AsTask().GetAwaiter().GetResult());
            Assert.True(expected.AsSpan().SequenceEqual(bytes),
                $"the volume is not the state after record {last}: {FirstDifference(expected, bytes)}");

            // 3. So is the image once the log is applied, its root is the sum over its blocks, and the volume finds nothing wrong with
            // itself.
            var proof = _volume.Drain(ulong.MaxValue, out error);
            Assert.True(proof is not null, $"not applied: error {error}");
            Assert.True(expected.AsSpan().SequenceEqual(_disk.File("image").Snapshot()), $"the image is not the state after record {last}");
            Assert.Equal((last, RootOf(expected)), (proof.Value.Sequence, proof.Value.Root));
            if (_random.Next(4) == 0) Assert.True(_volume.Check(default).IsGood);

            // 4. It goes on from there.
            foreach (ulong gone in _history.Keys.Where(sequence => sequence > last).ToList()) _history.Remove(gone);
            (_last, _flushed) = (last, last);
        }

        private static string FirstDifference(byte[] expected, byte[] actual)
        {
            int at = expected.AsSpan().CommonPrefixLength(actual);
            return at == expected.Length ? "none" : $"first at byte {at}, {expected[at]} expected, {actual[at]} read";
        }

        private ulong RootOf(byte[] state)
        {
            ulong key = ContentRoot.KeyOf(s_identity), root = 0;
            for (int i = 0; i < _size / 4096; i++) root += ContentRoot.HashOf(key, i, state.AsSpan(i * 4096, 4096));
            return root;
        }
    }
}
