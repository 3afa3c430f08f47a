using System.Collections.Concurrent;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>A pair of stores that end under load, in this process, on disks that end with them. <c>bench store kills</c> and <c>bench store
/// powercuts</c> run more of the same.</summary>
public sealed class PairTests(ITestOutputHelper output)
{
    private const int Lives = 6;

    [Fact]
    public Task A_store_of_a_pair_killed_at_300_points_under_load_loses_nothing_that_was_answered() => RunAsync(power: false, seeds: 50);

    [Fact]
    public Task Power_cuts_of_a_pair_lose_nothing_that_was_answered_as_durable() => RunAsync(power: true, seeds: 60);

    private async Task RunAsync(bool power, int seeds)
    {
        ConcurrentBag<PairCounts> all = [];
        await Parallel.ForEachAsync(Enumerable.Range(1, seeds), new ParallelOptions { MaxDegreeOfParallelism = 4 },
            async (seed, _) => all.Add(await PairRun.GoAsync(seed, Lives, power)));
        PairCounts sum = all.Aggregate((a, b) => a + b);
        output.WriteLine(sum.ToString());
        Assert.True(sum.Ends >= seeds && (power || sum.Ends == seeds * Lives) && sum.InsideAnOperation > sum.Ends / 10
            && sum.Answered > sum.Ends * 5 && sum.Unanswered > 0 && sum.Grown > sum.Ends / 10, sum.ToString());
    }
}
