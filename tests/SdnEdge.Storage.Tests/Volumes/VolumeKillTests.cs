using System.Diagnostics;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>A process is killed while it writes, again and again on the same volume. Nothing that it answered is lost, durable or not,
/// because what is answered is with the kernel; and what is there is a prefix of what it wrote.</summary>
public sealed class VolumeKillTests : IDisposable
{
    private const int Kills = 100;

    private readonly string _root = Directory.CreateTempSubdirectory("sdnedge-volume-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task A_process_killed_under_load_at_a_hundred_points_loses_no_answered_write()
    {
        var store = new VolumeStore(_root, TimeProvider.System);
        store.Create("v", KilledWriter.Size, KilledWriter.Options).Dispose();
        byte[] state = new byte[KilledWriter.Size], bytes = new byte[KilledWriter.Size];
        ulong last = 0;
        long answeredAll = 0;
        var random = new Random(1);
        for (int kill = 1; kill <= Kills; kill++)
        {
            int answered = WriteUntilKilled(kill, random.Next(1, 300));
            answeredAll += answered;
            using var volume = store.Open("v", KilledWriter.Options);

            // What the operations came to, up to the last record that is there.
            ulong sequence = last, end = volume.Log.LastSequence;
            int done = 0;
            bool newSinceBarrier = last > 0;
            foreach (var operation in KilledWriter.Operations(kill))
            {
                if (!operation.IsFlush)
                {
                    if (sequence + 1 > end) break;
                    operation.Bytes.CopyTo(state, operation.Offset);
                    sequence++;
                    newSinceBarrier = true;
                }

                if (operation.Durable && newSinceBarrier)
                {
                    if (sequence + 1 > end) break;
                    sequence++;
                    newSinceBarrier = false;
                }

                done++;
                if (sequence == end && done >= answered) break;
            }

            Assert.True(done >= answered, $"kill {kill}: {answered} operations were answered, {done} are there");
            Assert.Equal(end, sequence);
            Assert.Equal(BlockResult.Ok, await volume.ReadAsync(0, bytes, default));
            Assert.True(state.AsSpan().SequenceEqual(bytes), $"kill {kill}: the volume is not the state after record {end}");
            if (kill % 10 == 0) Assert.True(volume.Check(default).IsGood);
            last = end;
        }

        Assert.True(answeredAll > Kills * 10, $"{answeredAll} operations were answered in all: the kills came before there was a load");
    }

    private int WriteUntilKilled(int seed, int atLeast)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])["exec", typeof(VolumeKillTests).Assembly.Location, KilledWriter.Mode, _root, "v", $"{seed}"])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.BaseStream;
        byte[] count = new byte[4];
        int answered = 0;
        bool killed = false;
        while (output.ReadAtLeast(count, 4, throwOnEndOfStream: false) == 4)
        {
            answered = BitConverter.ToInt32(count);
            if (answered < atLeast || killed) continue;
            process.Kill();
            killed = true;
        }

        process.WaitForExit();
        Assert.True(killed, $"the process ended by itself, after {answered} operations");
        return answered;
    }
}
