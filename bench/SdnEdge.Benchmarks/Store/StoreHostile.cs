using System.Diagnostics;
using System.Globalization;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Tests.Nbd;

namespace SdnEdge.Benchmarks.Store;

/// <summary>
/// <c>bench store hostile</c>: the sessions of the tests' generator, each mutated in one to four places, 1,000,000 of them (another seed a
/// repetition). It fails where a session hangs, or keeps a buffer or its transport, where the server has a fault, or memory grows.
/// </summary>
internal static class StoreHostile
{
    private const int Sessions = 1_000_000, Piece = 50_000;

    // What the heap may have more after the last piece than after the first one: the reports that are kept, and noise.
    private const long MostGrowth = 8 << 20;

    public static async Task MeasureAsync(StoreOptions options, string root)
    {
        int sessions = options.Quick ? 2 * Piece : Sessions;
        using var hostile = new HostileSessions(seed: 1);
        long begin = Stopwatch.GetTimestamp(), first = 0, last = 0;
        for (int done = 0; done < sessions; done += Piece)
        {
            await Task.Run(() => hostile.Run(Piece)).WaitAsync(TimeSpan.FromMinutes(10));
            last = GC.GetTotalMemory(forceFullCollection: true);
            if (first == 0) first = last;
        }

        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        NbdCounters counters = hostile.Rig.Server.Counters();
        IReadOnlyList<string> wrong = hostile.Wrong();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{sessions} sessions in {seconds:F0} s ({sessions / seconds:F0} a second): {counters.Reads} reads, {counters.Writes} writes, "
            + $"{counters.Errors} answered by errors, {counters.ProtocolErrors} ended for what they sent; heap {first >> 10} KiB after the "
            + $"first {Piece}, {last >> 10} KiB after the last; wrong: {wrong.Count}"));
        if (last - first > MostGrowth) throw new InvalidOperationException($"the heap has grown from {first} to {last} bytes");
        if (wrong.Count > 0) throw new InvalidOperationException(string.Join("; ", wrong));
    }
}
