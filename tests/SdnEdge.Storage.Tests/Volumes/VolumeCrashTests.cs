using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>
/// Power cuts at every place of a volume's work, on a disk that keeps, drops and reorders what was not synced. The oracle is slow and
/// obvious: the list of all operations by sequence, and an array they are carried out on.
/// SDNEDGE_CRASH_SEEDS sets how many seeds are tried (default 1,000).
/// </summary>
public sealed class VolumeCrashTests
{
    private static readonly Guid s_identity = new("0b8f3f0e-2a9d-4c43-b0dd-c77c0a5a5a01");

    [Fact]
    public async Task After_any_power_cut_a_volume_is_a_prefix_of_its_writes_with_everything_that_was_flushed()
    {
        long cuts = 0, torn = 0, lost = 0, mid = 0, redone = 0, rolled = 0, grown = 0, notGrown = 0;
        int seeds = await VolumeRun.SeedsAsync("SDNEDGE_CRASH_SEEDS", 1000, async seed =>
        {
            var run = new Run(seed);
            await run.GoAsync();
            cuts += run.Cuts;
            torn += run.Torn;
            lost += run.Lost;
            mid += run.MidOperation;
            redone += run.Redone;
            rolled += run.Rolled;
            grown += run.Grown;
            notGrown += run.NotGrown;
        });

        // The rare ways were gone: cuts inside operations, torn tails, writes that were lost, records applied again, segments used again,
        // volumes that got larger, and did not because the power went.
        Assert.True(cuts >= 2 * seeds && mid > seeds / 4 && torn > seeds / 10 && lost > seeds / 10 && redone > seeds / 10
            && rolled > seeds / 10 && grown > seeds && notGrown > seeds / 50,
            $"cuts {cuts}, inside an operation {mid}, torn {torn}, lost {lost}, applied again {redone}, segments used again {rolled}, "
            + $"made larger {grown}, power cuts that kept one from it {notGrown}");
    }

    // Some volumes have two levels of hashes.
    private sealed class Run(int seed) : VolumeRun(seed, seed % 8 == 0 ? 2200 << 10 : 384 << 10, s_identity)
    {
        private ulong _flushed;

        public long Torn { get; private set; }

        public long Lost { get; private set; }

        public long MidOperation { get; private set; }

        public long Redone { get; private set; }

        public long Rolled { get; private set; }

        public long Grown { get; private set; }

        public long NotGrown { get; private set; }

        public async Task GoAsync()
        {
            for (int life = 0; life < 3; life++)
            {
                bool inside = Random.Next(2) == 0;
                if (inside) Disk.CutAfter(Random.Next(200));
                int steps = Random.Next(10, 120);
                for (int i = 0; i < steps && !Disk.IsOff; i++) await Step();
                if (Disk.IsOff) MidOperation++;
                Recover();
            }
        }

        private async Task Step()
        {
            switch (Random.Next(17))
            {
                case < 8:
                    await Write();
                    break;
                case 8:
                    await ZerosAsync(oneInMayBeLong: 8);
                    break;
                case 9:
                    if (await AnsweredAsync(Volume.FlushHereAsync(default), null)) _flushed = Last;
                    break;
                case 10 or 11:
                    Volume.ApplyOnce();
                    break;
                case 12:
                    Volume.Checkpoint();
                    break;
                case 13:
                    Volume.Log.Commit();
                    break;
                case 14:
                    Volume.Log.PrepareSegment();
                    break;
                case 15 when Random.Next(2) == 0:
                    if (await GrowAsync())
                    {
                        _flushed = Last;
                        Grown++;
                    }

                    break;
                default:
                    await Read();
                    break;
            }
        }

        private async Task Write()
        {
            // Mostly blocks, sometimes single sectors, sometimes more than one block from an odd sector on; few places, so that they meet.
            int unit = Random.Next(3) == 0 ? 512 : 4096;
            int length = unit * (1 + Random.Next(Random.Next(4) == 0 ? 6 : 2));
            int offset = Random.Next((Size - length) / unit / (Random.Next(2) + 1)) * unit;
            byte[] bytes = new byte[length];
            if (Random.Next(8) != 0) Random.NextBytes(bytes);
            bool durable = Random.Next(6) == 0;
            ValueTask<BlockResult> call = durable && length % 3 == 0 ? Volume.WriteDurableHereAsync(offset, bytes, default)
                : Volume.WriteAsync(offset, bytes, durable ? BlockFlags.ForceUnitAccess : BlockFlags.None, default);
            if (await AnsweredAsync(call, (offset, bytes)) && durable) _flushed = Last;
        }

        private async Task Read()
        {
            byte[] bytes = new byte[512 * (1 + Random.Next(64))];
            int offset = 512 * Random.Next(((Size - bytes.Length) / 512) + 1);
            var result = await Volume.ReadAsync(offset, bytes, default);
            if (Disk.IsOff) return;
            Assert.Equal(BlockResult.Ok, result);
            Assert.True(StateAfter(Last).AsSpan(offset, bytes.Length).SequenceEqual(bytes),
                $"{bytes.Length} bytes at {offset} are not the newest");
        }

        private void Recover()
        {
            ulong before = Last;
            int sizeBefore = SizeAfter(ulong.MaxValue);
            if (Reopen().CutBytes > 0) Torn++;

            // 1. Nothing that was answered as durable is lost, and nothing is there that was never written.
            ulong last = Last;
            Assert.InRange(last, _flushed, before + 2);
            if (last < before) Lost++;
            if (last > Volume.CheckpointedSequence) Redone++;
            if (Volume.Log.FirstSequence > 1) Rolled++;

            // The old size or the new one, with the history that goes with it.
            Assert.Equal((SizeAfter(last), SizeAfter(last)), (Volume.LastSize, Volume.Size));
            if (Size < sizeBefore) NotGrown++;

            // 2. What is read is the state after the last record.
            byte[] expected = StateAfter(last), bytes = new byte[Size];
            Assert.Equal(BlockResult.Ok, Volume.ReadAsync(0, bytes, default).AsTask().GetAwaiter().GetResult());
            Assert.True(expected.AsSpan().SequenceEqual(bytes),
                $"the volume is not the state after record {last}: {FirstDifference(expected, bytes)}");

            // 3. So is the image once the log is applied, its root is the sum over its blocks, and the volume finds nothing wrong with
            // itself.
            var proof = Volume.Drain(ulong.MaxValue, out int error);
            Assert.True(proof is not null, $"not applied: error {error}");
            Assert.True(expected.AsSpan().SequenceEqual(Disk.File("image").Snapshot().AsSpan(0, Size)),
                $"the image is not the state after record {last}");
            Assert.Equal((last, RootOf(expected)), (proof.Value.Sequence, proof.Value.Root));
            if (Random.Next(4) == 0) Assert.True(Volume.Check(default).IsGood);

            // 4. It goes on from there.
            ForgetLost();
            _flushed = last;
        }

        private static string FirstDifference(byte[] expected, byte[] actual)
        {
            int at = expected.AsSpan().CommonPrefixLength(actual);
            return at == expected.Length ? "none" : $"first at byte {at}, {expected[at]} expected, {actual[at]} read";
        }
    }
}
