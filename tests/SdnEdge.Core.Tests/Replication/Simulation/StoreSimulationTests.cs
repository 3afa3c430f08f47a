using System.Collections.Concurrent;
using System.Diagnostics;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>
/// The decision code of two stores and what it needs of a manager and a guest, in a world that loses, doubles and delays messages, cuts
/// links
/// and crashes everybody. A failure says its seed and tells its story; the same seed gives the same run.
/// </summary>
public sealed class StoreSimulationTests(ITestOutputHelper output)
{
    // More by SDNEDGE_STORE_SEEDS.
    private const int Seeds = 10_000, MutantSeeds = 4_000;
    private const long Milliseconds = 4_000;

    public static TheoryData<Mutant> Rules() => [.. Enum.GetValues<Mutant>().Where(m => m != Mutant.None)];

    [Fact]
    public void No_two_owners_acknowledge_and_nothing_that_was_promised_is_lost()
    {
        int seeds = int.TryParse(Environment.GetEnvironmentVariable("SDNEDGE_STORE_SEEDS"), out int asked) ? asked : Seeds;
        long started = Stopwatch.GetTimestamp(), events = 0;
        var counts = new ConcurrentDictionary<string, int>();
        var failed = new ConcurrentBag<(ulong Seed, string Wrong)>();
        Parallel.For(1, seeds + 1, (seed, loop) =>
        {
            var world = new World((ulong)seed);
            world.Run(Milliseconds);
            Interlocked.Add(ref events, world.Events);
            foreach ((string what, int count) in world.Counts) counts.AddOrUpdate(what, count, (_, n) => n + count);
            if (world.Wrong is null) return;
            failed.Add(((ulong)seed, world.Wrong));
            if (failed.Count >= 5) loop.Stop();
        });
        output.WriteLine($"{seeds} seeds in {Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s, {events} events; "
            + string.Join(", ", counts.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => $"{c.Key} {c.Value}")));
        if (!failed.IsEmpty) Assert.Fail(Tell(failed.MinBy(f => f.Seed).Seed, Mutant.None));

        // What the runs are to show has happened, often.
        foreach (string what in new[] { "moved", "undone", "failed over", "forced", "voided", "stale", "in sync again", "resyncs",
            "full copies",
            "tails put aside", "not promoted, stale", "owners refused", "EPERM", "flips", "gaps", "promoted", "gives way" })
        {
            Assert.True(counts.GetValueOrDefault(what) > seeds / 200, $"{what}: {counts.GetValueOrDefault(what)}");
        }
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public void Without_a_rule_it_fails(Mutant rule)
    {
        ulong found = 0;
        string wrong = "";
        for (ulong seed = 1; seed <= MutantSeeds && found == 0; seed++)
        {
            var world = new World(seed, rule);
            world.Run(Milliseconds);
            if (world.Wrong is not null) (found, wrong) = (seed, world.Wrong);
        }

        Assert.True(found > 0, $"{rule}: {MutantSeeds} seeds did not need the rule");
        output.WriteLine($"{rule}: seed {found}: {wrong}");
        var again = new World(found, rule);
        again.Run(Milliseconds);
        Assert.Equal(wrong, again.Wrong);
    }

    private static string Tell(ulong seed, Mutant mutant)
    {
        var world = new World(seed, mutant, trace: true);
        world.Run(Milliseconds);
        return $"seed {seed}: {world.Wrong}\n" + string.Join('\n', world.Story.TakeLast(80));
    }
}
