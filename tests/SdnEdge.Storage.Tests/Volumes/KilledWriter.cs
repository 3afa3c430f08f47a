using SdnEdge.Storage.Log;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>A process that writes to a volume until it is killed. After each operation that was answered it says how many were.</summary>
internal static class KilledWriter
{
    public const string Mode = "volume-writer";
    public const int Size = 1 << 20;

    public static VolumeOptions Options => new()
    {
        ApplyEvery = TimeSpan.FromMilliseconds(10),
        ApplyAtBytes = 64 << 10,
        CheckpointBytes = 256 << 10,
        MaxPendingBlocks = 128,
        Log = new VolumeLogOptions { SegmentSize = 256 << 10, MaxSegments = 4 },
    };

    /// <summary>An operation: a write, or a flush when there are no bytes.</summary>
    public sealed record Operation(int Offset, byte[] Bytes, bool Durable)
    {
        public bool IsFlush => Bytes.Length == 0;
    }

    /// <summary>The operations of a seed, without end.</summary>
    public static IEnumerable<Operation> Operations(int seed)
    {
        var random = new Random(seed);
        while (true)
        {
            int kind = random.Next(24);
            if (kind == 0)
            {
                yield return new Operation(0, [], Durable: true);
                continue;
            }

            int unit = kind < 6 ? 512 : 4096;
            byte[] bytes = new byte[unit * (1 + random.Next(4))];
            random.NextBytes(bytes);
            yield return new Operation(unit * random.Next(((Size - bytes.Length) / unit) + 1), bytes, Durable: kind == 1);
        }
    }

    public static async Task RunAsync(string root, string name, int seed)
    {
        using var volume = new VolumeStore(root, TimeProvider.System).Open(name, Options);
        using var output = Console.OpenStandardOutput();
        byte[] line = new byte[4];
        int answered = 0;
        foreach (var operation in Operations(seed))
        {
            var result = operation.IsFlush
                ? await volume.FlushAsync(default)
                : await volume.WriteAsync(operation.Offset, operation.Bytes,
                    operation.Durable ? BlockFlags.ForceUnitAccess : BlockFlags.None, default);
            if (result != BlockResult.Ok) throw new InvalidOperationException($"operation {answered}: {result}");
            BitConverter.TryWriteBytes(line, ++answered);
            output.Write(line);
        }
    }
}
