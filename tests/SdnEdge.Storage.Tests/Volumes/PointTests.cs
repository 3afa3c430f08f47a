using System.Globalization;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// Kept points beside a volume that is written, applied, cut off from its power and opened again. The oracle is slow and obvious: the list
/// of all writes by sequence, and a full copy of the content at each point.
/// SDNEDGE_POINT_SEEDS sets how many seeds are tried (default 200).
/// </summary>
public sealed class PointTests
{
    private static readonly Guid s_identity = new("0b8f3f0e-2a9d-4c43-b0dd-c77c0a5a5a02");

    [Fact]
    public async Task After_any_power_cut_every_kept_point_reads_as_the_volume_was_there()
    {
        int seeds = int.Parse(Environment.GetEnvironmentVariable("SDNEDGE_POINT_SEEDS") ?? "200", CultureInfo.InvariantCulture);
        long cuts = 0, inside = 0, several = 0, kept = 0, marked = 0, dropped = 0, undone = 0, read = 0;
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
            inside += run.Inside;
            several += run.Several;
            kept += run.Kept;
            marked += run.Marked;
            dropped += run.Dropped;
            undone += run.Undone;
            read += run.Read;
        }

        Assert.True(cuts >= 2 * seeds && inside > seeds / 4 && several > seeds && kept > 2 * seeds && marked > 2 * seeds
            && dropped > seeds / 2 && undone > seeds / 10 && read > 2 * seeds,
            $"cuts {cuts}, inside an operation {inside}, with several points {several}, kept {kept}, marked {marked}, dropped {dropped}, "
            + $"restored {undone}, reads of points {read}");
    }

    private sealed record Operation(int Offset, byte[] Bytes);

    private sealed class Run(int seed)
    {
        // Not all volumes end with a whole block.
        private readonly int _size = (seed % 3 == 0 ? 300 << 10 : 128 << 10) + (seed % 2 * 512);
        private readonly Random _random = new(seed);
        private readonly Dictionary<ulong, Operation> _history = [];
        private readonly Dictionary<string, byte[]> _points = new(StringComparer.Ordinal);
        private readonly SortedDictionary<ulong, string> _marks = [];
        private ulong _salt = (ulong)seed << 32, _last;
        private CrashDisk _disk = new(seed);
        private Volume _volume = null!;
        private string? _keeping, _dropping;
        private int _names;

        public long Cuts { get; private set; }

        public long Inside { get; private set; }

        public long Several { get; private set; }

        public long Kept { get; private set; }

        public long Marked { get; private set; }

        public long Dropped { get; private set; }

        public long Undone { get; private set; }

        public long Read { get; private set; }

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
                if (_random.Next(3) != 0) _disk.CutAfter(_random.Next(260));
                int steps = _random.Next(10, 120);
                for (int i = 0; i < steps && !_disk.IsOff; i++) await Step();
                if (_disk.IsOff) Inside++;
                if (!_disk.IsOff) await Everything();
                Recover();
                await Everything();
            }

            if (_points.Count == 0) return;

            // An image that is put back to a point, with the others still what they were.
            string name = _points.Keys.ElementAt(_random.Next(_points.Count));
            _volume.Drain(ulong.MaxValue, out _);
            VolumePoint restored = _volume.RestoreImage(name);
            Assert.True(_points[name].AsSpan().SequenceEqual(_disk.File("image").Snapshot()), $"the image is not what point {name} was");
            Assert.Equal(RootOf(_points[name]), restored.Root);
            await Everything();
            Undone++;
        }

        private Volume.Parts Image() => new(_disk.Open("image", _size, out _)!);

        private async Task Step()
        {
            switch (_random.Next(22))
            {
                case < 9:
                    await Write();
                    break;
                case 9:
                    await Zeros();
                    break;
                case 10 or 11 or 12:
                    _volume.Log.Commit();
                    _volume.ApplyOnce(_random.Next(2) == 0 ? ulong.MaxValue : _volume.AppliedSequence + 3);
                    break;
                case 13:
                    _volume.Checkpoint();
                    break;
                case 14:
                    _volume.Log.PrepareSegment();
                    break;
                case 15 or 16:
                    Keep();
                    break;
                case 17:
                    Drop();
                    break;
                case 18 or 19:
                    Mark();
                    break;
                default:
                    await ReadPoint();
                    break;
            }
        }

        private async Task Write()
        {
            int unit = _random.Next(3) == 0 ? 512 : 4096, length = unit * (1 + _random.Next(_random.Next(4) == 0 ? 6 : 2));
            byte[] bytes = new byte[length];
            if (_random.Next(6) != 0) _random.NextBytes(bytes);
            var operation = new Operation(_random.Next(((_size - length) / unit) + 1) * unit, bytes);
            await Answered(_volume.WriteAsync(operation.Offset, bytes, BlockFlags.None, default), operation);
        }

        private async Task Zeros()
        {
            int length = 512 * (1 + _random.Next(_random.Next(4) == 0 ? _size / 512 : 40));
            int offset = 512 * _random.Next(((_size - length) / 512) + 1);
            var call = _random.Next(2) == 0 ? _volume.TrimAsync(offset, length, BlockFlags.None, default)
                : _volume.WriteZeroesAsync(offset, length, BlockFlags.NoHole, default);
            await Answered(call, new Operation(offset, new byte[length]));
        }

        private async Task Answered(ValueTask<BlockResult> call, Operation operation)
        {
            _history[_last + 1] = operation;
            var task = call.AsTask();
            for (int i = 0; !task.IsCompleted && !_disk.IsOff && i < 1000; i++)
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

            if (_disk.IsOff) return;
            Assert.True(task.IsCompleted, "a request that found no room is never answered");
            Assert.Equal(BlockResult.Ok, await task);
            _last = _volume.Log.LastSequence;
        }

        private void Keep()
        {
            _keeping = $"p{++_names}";
            try
            {
                LogPoint at = _volume.KeepPoint(_keeping);
                _points[_keeping] = StateAfter(at.Sequence);
                Assert.Equal(_last, at.Sequence);
                Kept++;
                _keeping = null;
            }
            catch (VolumeException) when (_disk.IsOff)
            {
                // It may be there, or not.
            }
        }

        // It is a record, whose point is there as soon as the log is applied so far.
        private void Mark()
        {
            string name = $"m{++_names}";
            MarkBarrier barrier = Volume.MarkAll([_volume], new MarkText(name, "g", DateTimeOffset.UnixEpoch));
            if (barrier.Failed is not null) return;
            _marks[_last = barrier.Records.Single().Sequence] = name;
            Marked++;
        }

        private void Marks()
        {
            foreach ((ulong sequence, string name) in _marks.TakeWhile(m => m.Key <= _volume.AppliedSequence).ToList())
            {
                _points[name] = StateAfter(sequence);
                _marks.Remove(sequence);
            }
        }

        private void Drop()
        {
            Marks();
            if (_points.Count == 0) return;
            _dropping = _points.Keys.ElementAt(_random.Next(_points.Count));
            try
            {
                _volume.DropPoint(_dropping);
                _points.Remove(_dropping);
                Dropped++;
                _dropping = null;
            }
            catch (VolumeException) when (_disk.IsOff)
            {
                // As above.
            }
        }

        private async Task ReadPoint()
        {
            if (_points.Count == 0) return;
            string name = _points.Keys.ElementAt(_random.Next(_points.Count));
            byte[] bytes = new byte[1 + _random.Next(40_000)];
            int offset = _random.Next(_size - bytes.Length + 1);
            var result = await _volume.OpenPoint(name)!.ReadAsync(offset, bytes, default);
            if (_disk.IsOff) return;
            Assert.Equal(BlockResult.Ok, result);
            Assert.True(_points[name].AsSpan(offset, bytes.Length).SequenceEqual(bytes), $"{bytes.Length} bytes at {offset} of {name}");
            Read++;
        }

        // Every point, whole: bytes, holes and root.
        private async Task Everything()
        {
            Marks();
            Assert.Equal(_points.Keys.Order(StringComparer.Ordinal), _volume.Points.Select(p => p.Name).Order(StringComparer.Ordinal));
            if (_points.Count > 1) Several++;
            foreach ((string name, byte[] expected) in _points)
            {
                IBlockDevice device = _volume.OpenPoint(name)!;
                byte[] bytes = new byte[_size];
                Assert.Equal(BlockResult.Ok, await device.ReadAsync(0, bytes, default));
                int at = expected.AsSpan().CommonPrefixLength(bytes);
                Assert.True(at == _size, $"point {name} is not what the volume was: first at byte {at}");
                Assert.True(_volume.VerifyPoint(name, default), $"point {name} has another root");
                Assert.Equal(RootOf(expected), _volume.Points.Single(p => p.Name == name).Root);
                List<BlockExtent> extents = [];
                Assert.Equal(BlockResult.Ok, device.Extents(0, _size, int.MaxValue, extents));
                Assert.Equal(_size, extents.Sum(e => e.Length));
                long from = 0;
                foreach (BlockExtent extent in extents)
                {
                    if (extent.IsHole) Assert.False(expected.AsSpan((int)from, (int)extent.Length).ContainsAnyExcept((byte)0));
                    from += extent.Length;
                }
            }
        }

        private void Recover()
        {
            Cuts++;
            _disk = _disk.Survivor(_random.Next());
            _volume = Volume.Open(_disk, Image(), Metadata, Options, out var recovery, out int error)!;
            Assert.True(_volume is not null, $"not opened: error {error}, {string.Join("; ", recovery?.Damage ?? [])}");
            Assert.Empty(_volume.Found);
            _last = _volume.Log.LastSequence;

            // What was being kept or dropped is there as a whole, or not at all.
            if (_keeping is { } keeping && _volume.Points.FirstOrDefault(p => p.Name == keeping) is { } there)
                _points[keeping] = StateAfter(there.At.Sequence);
            if (_dropping is { } dropping && _volume.Points.All(p => p.Name != dropping)) _points.Remove(dropping);
            (_keeping, _dropping) = (null, null);
            foreach (ulong gone in _history.Keys.Where(sequence => sequence > _last).ToList()) _history.Remove(gone);
            foreach (ulong gone in _marks.Keys.Where(sequence => sequence > _last).ToList()) _marks.Remove(gone);
            foreach ((ulong sequence, string name) in _marks.ToList())
            {
                // Made just before the power went: it stays.
                if (_volume.Points.FirstOrDefault(p => p.Name == name) is not { } made) continue;
                Assert.Equal((sequence, "g", true), (made.At.Sequence, made.Group, made.IsMark));
                _points[name] = StateAfter(sequence);
                _marks.Remove(sequence);
            }

            if (_random.Next(2) == 0) Assert.NotNull(_volume.Drain(ulong.MaxValue, out _));
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

        private ulong RootOf(byte[] state)
        {
            ulong key = ContentRoot.KeyOf(s_identity), root = 0;
            for (int i = 0; i < state.Length; i += 4096)
                root += ContentRoot.HashOf(key, i / 4096, state.AsSpan(i, Math.Min(4096, state.Length - i)));
            return root;
        }
    }
}
