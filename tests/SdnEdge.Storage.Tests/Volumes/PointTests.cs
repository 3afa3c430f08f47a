using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
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
        long cuts = 0, inside = 0, several = 0, kept = 0, marked = 0, dropped = 0, undone = 0, read = 0, grown = 0;
        int seeds = await VolumeRun.SeedsAsync("SDNEDGE_POINT_SEEDS", 200, async seed =>
        {
            var run = new Run(seed);
            await run.GoAsync();
            cuts += run.Cuts;
            inside += run.Inside;
            several += run.Several;
            kept += run.Kept;
            marked += run.Marked;
            dropped += run.Dropped;
            undone += run.Undone;
            read += run.Read;
            grown += run.Grown;
        });

        Assert.True(cuts >= 2 * seeds && inside > seeds / 4 && several > seeds && kept > 2 * seeds && marked > 2 * seeds
            && dropped > seeds / 2 && undone > seeds / 10 && read > 2 * seeds && grown > seeds,
            $"cuts {cuts}, inside an operation {inside}, with several points {several}, kept {kept}, marked {marked}, dropped {dropped}, "
            + $"restored {undone}, reads of points {read}, made larger {grown}");
    }

    // Not all volumes end with a whole block.
    private sealed class Run(int seed) : VolumeRun(seed, (seed % 3 == 0 ? 300 << 10 : 128 << 10) + (seed % 2 * 512), s_identity)
    {
        private readonly Dictionary<string, byte[]> _points = new(StringComparer.Ordinal);
        private readonly SortedDictionary<ulong, string> _marks = [];
        private string? _keeping, _dropping;
        private int _names;

        public long Inside { get; private set; }

        public long Several { get; private set; }

        public long Kept { get; private set; }

        public long Marked { get; private set; }

        public long Dropped { get; private set; }

        public long Undone { get; private set; }

        public long Read { get; private set; }

        public long Grown { get; private set; }

        public async Task GoAsync()
        {
            for (int life = 0; life < 3; life++)
            {
                if (Random.Next(3) != 0) Disk.CutAfter(Random.Next(260));
                int steps = Random.Next(10, 120);
                for (int i = 0; i < steps && !Disk.IsOff; i++) await Step();
                if (Disk.IsOff) Inside++;
                if (!Disk.IsOff) await Everything();
                Recover();
                await Everything();
            }

            if (_points.Count == 0) return;

            // An image that is put back to a point, with the others still what they were.
            string name = _points.Keys.ElementAt(Random.Next(_points.Count));
            Volume.Drain(ulong.MaxValue, out _);
            VolumePoint restored = Volume.RestoreImage(name);
            Assert.True(_points[name].AsSpan().SequenceEqual(Disk.File("image").Snapshot().AsSpan(0, _points[name].Length)),
                $"the image is not what point {name} was");
            Assert.Equal(RootOf(_points[name]), restored.Root);
            await Everything();
            Undone++;
        }

        private async Task Step()
        {
            switch (Random.Next(23))
            {
                case < 9:
                    await Write();
                    break;
                case 9:
                    await ZerosAsync(oneInMayBeLong: 4);
                    break;
                case 10 or 11 or 12:
                    Volume.Log.Commit();
                    Volume.ApplyOnce(Random.Next(2) == 0 ? ulong.MaxValue : Volume.AppliedSequence + 3);
                    break;
                case 13:
                    Volume.Checkpoint();
                    break;
                case 14:
                    Volume.Log.PrepareSegment();
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
                case 20:
                    if (await GrowAsync()) Grown++;
                    break;
                default:
                    await ReadPoint();
                    break;
            }
        }

        private async Task Write()
        {
            int unit = Random.Next(3) == 0 ? 512 : 4096, length = unit * (1 + Random.Next(Random.Next(4) == 0 ? 6 : 2));
            byte[] bytes = new byte[length];
            if (Random.Next(6) != 0) Random.NextBytes(bytes);
            int offset = Random.Next(((Size - length) / unit) + 1) * unit;
            await AnsweredAsync(Volume.WriteAsync(offset, bytes, BlockFlags.None, default), (offset, bytes));
        }

        private void Keep()
        {
            _keeping = $"p{++_names}";
            try
            {
                LogPoint at = Volume.KeepPoint(_keeping);
                _points[_keeping] = StateAfter(at.Sequence);
                Assert.Equal(Last, at.Sequence);
                Kept++;
                _keeping = null;
            }
            catch (VolumeException) when (Disk.IsOff)
            {
                // It may be there, or not.
            }
        }

        // It is a record, whose point is there as soon as the log is applied so far.
        private void Mark()
        {
            string name = $"m{++_names}";
            MarkBarrier barrier = Volume.MarkAll([Volume], new MarkText(name, "g", DateTimeOffset.UnixEpoch));
            if (barrier.Failed is not null)
            {
                // The power may have gone when the record was there.
                if (Disk.IsOff) _marks[Last + 1] = name;
                return;
            }

            _marks[Last = barrier.Records.Single().Sequence] = name;
            Marked++;
        }

        private void Marks()
        {
            foreach ((ulong sequence, string name) in _marks.TakeWhile(m => m.Key <= Volume.AppliedSequence).ToList())
            {
                _points[name] = StateAfter(sequence);
                _marks.Remove(sequence);
            }
        }

        private void Drop()
        {
            Marks();
            if (_points.Count == 0) return;
            _dropping = _points.Keys.ElementAt(Random.Next(_points.Count));
            try
            {
                Volume.DropPoint(_dropping);
                _points.Remove(_dropping);
                Dropped++;
                _dropping = null;
            }
            catch (VolumeException) when (Disk.IsOff)
            {
                // As above.
            }
        }

        private async Task ReadPoint()
        {
            if (_points.Count == 0) return;
            string name = _points.Keys.ElementAt(Random.Next(_points.Count));
            byte[] bytes = new byte[1 + Random.Next(40_000)];
            int offset = Random.Next(_points[name].Length - bytes.Length + 1);
            var result = await Volume.OpenPoint(name)!.ReadAsync(offset, bytes, default);
            if (Disk.IsOff) return;
            Assert.Equal(BlockResult.Ok, result);
            Assert.True(_points[name].AsSpan(offset, bytes.Length).SequenceEqual(bytes), $"{bytes.Length} bytes at {offset} of {name}");
            Read++;
        }

        // Every point, whole: bytes, holes and root.
        private async Task Everything()
        {
            Marks();
            Assert.Equal(_points.Keys.Order(StringComparer.Ordinal), Volume.Points.Select(p => p.Name).Order(StringComparer.Ordinal));
            if (_points.Count > 1) Several++;
            foreach ((string name, byte[] expected) in _points)
            {
                IBlockDevice device = Volume.OpenPoint(name)!;
                int size = expected.Length;
                Assert.Equal(size, device.Size);
                byte[] bytes = new byte[size];
                Assert.Equal(BlockResult.Ok, await device.ReadAsync(0, bytes, default));
                int at = expected.AsSpan().CommonPrefixLength(bytes);
                Assert.True(at == size, $"point {name} is not what the volume was: first at byte {at}");
                Assert.True(Volume.VerifyPoint(name, default), $"point {name} has another root");
                Assert.Equal(RootOf(expected), Volume.Points.Single(p => p.Name == name).Root);
                List<BlockExtent> extents = [];
                Assert.Equal(BlockResult.Ok, device.Extents(0, size, int.MaxValue, extents));
                Assert.Equal(size, extents.Sum(e => e.Length));
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
            Reopen();
            Assert.Empty(Volume.Found);

            // What was being kept or dropped is there as a whole, or not at all.
            if (_keeping is { } keeping && Volume.Points.FirstOrDefault(p => p.Name == keeping) is { } there)
                _points[keeping] = StateAfter(there.At.Sequence);
            if (_dropping is { } dropping && Volume.Points.All(p => p.Name != dropping)) _points.Remove(dropping);
            (_keeping, _dropping) = (null, null);
            ForgetLost();
            foreach (ulong gone in _marks.Keys.Where(sequence => sequence > Last).ToList()) _marks.Remove(gone);
            foreach ((ulong sequence, string name) in _marks.ToList())
            {
                // Made just before the power went: it stays.
                if (Volume.Points.FirstOrDefault(p => p.Name == name) is not { } made) continue;
                Assert.Equal((sequence, "g", true), (made.At.Sequence, made.Group, made.IsMark));
                _points[name] = StateAfter(sequence);
                _marks.Remove(sequence);
            }

            if (Random.Next(2) == 0) Assert.NotNull(Volume.Drain(ulong.MaxValue, out _));
        }
    }
}
