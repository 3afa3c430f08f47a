using System.Collections.Concurrent;
using System.Diagnostics;
using SdnEdge.Mms.Model;
using SdnEdge.Testing.Simulation.Handover;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Mms.Tests.Simulation;

/// <summary>
/// The decision code of all parties, in a simulated world that loses, delays and doubles messages and kills everybody. A failure says its
/// seed
/// and shows what happened; the same seed gives the same run.
/// </summary>
public class HandoverSimulationTests(ITestOutputHelper output)
{
    private const int Runs = 10_000;

    /// <summary>Each safety check, by name.</summary>
    public static TheoryData<Mutant, string> Checks()
    {
        var checks = new TheoryData<Mutant, string>();
        foreach (MutantRow row in Mutants.All) checks.Add(row.Mutant, row.Rule);
        return checks;
    }

    [Fact]
    public void Every_run_ends_moved_or_as_before_and_no_server_ever_runs_at_two_sites()
    {
        long started = Stopwatch.GetTimestamp(), events = 0, runs = 0, alone = 0, whole = 0;
        var failures = new ConcurrentBag<HandoverResult>();
        var outcomes = new ConcurrentDictionary<MigrationOutcome, int>();
        Parallel.For(1, Runs + 1, (seed, loop) =>
        {
            HandoverResult result = HandoverSimulation.Run((ulong)seed);
            Interlocked.Add(ref events, result.Events);
            Interlocked.Increment(ref runs);
            Interlocked.Add(ref alone, result.Unprotected);
            Interlocked.Add(ref whole, result.WholeAgain);
            foreach (MigrationOutcome outcome in result.Outcomes) outcomes.AddOrUpdate(outcome, 1, (_, n) => n + 1);
            if (result.Wrong is null) return;
            failures.Add(result);
            if (failures.Count >= 10) loop.Stop();
        });
        output.WriteLine($"{runs} runs in {Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s, {events / runs} events a run; "
            + string.Join(", ", outcomes.Select(o => $"{o.Value} {o.Key}")) + $"; {alone} times unprotected, {whole} times whole again");
        if (!failures.IsEmpty) Assert.Fail(HandoverSimulation.Explain(failures.MinBy(f => f.Seed)!));
        Assert.Equal(Runs, runs);

        // Both ends are common, or the runs show little.
        Assert.True(outcomes[MigrationOutcome.Moved] > Runs / 10);
        Assert.True(outcomes[MigrationOutcome.AsBefore] > Runs / 10);
        Assert.True(alone > Runs / 10 && whole > Runs / 10, $"{alone} times unprotected, {whole} times whole again");
    }

    [Theory]
    [MemberData(nameof(Checks))]
    public void Without_a_check_it_fails(Mutant check, string rule)
    {
        HandoverResult? failed = null;
        for (ulong seed = 1; seed <= Runs && failed is null; seed++)
        {
            HandoverResult result = HandoverSimulation.Run(seed, check);
            if (result.Wrong is not null) failed = result;
        }

        Assert.True(failed is not null, $"{check}: {Runs} runs did not need the check ({rule})");
        output.WriteLine($"{check} ({rule}): seed {failed.Seed}: {failed.Wrong}");
        HandoverResult again = HandoverSimulation.Run(failed.Seed, check, trace: true);
        Assert.Equal((failed.Wrong, failed.Events), (again.Wrong, again.Events));
        Assert.Contains(again.Trace, line => line.Contains(failed.Wrong!.Split(';')[0], StringComparison.Ordinal));
    }

    [Fact]
    public void All_checks_are_listed() => Assert.Equal(
        Enum.GetValues<Mutant>().Where(m => m != Mutant.None), Mutants.All.Select(r => r.Mutant).Order());
}
