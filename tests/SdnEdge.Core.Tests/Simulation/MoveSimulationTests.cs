using SdnEdge.Core.Migration;
using SdnEdge.Testing.Simulation;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Core.Tests.Simulation;

/// <summary>
/// Ten thousand seeded runs of moves among many PEs. More: <c>./build.sh bench simulate --runs 1000000</c>; one again, told
/// in full: <c>./build.sh bench simulate --seed N</c>.
/// </summary>
public sealed class MoveSimulationTests(ITestOutputHelper output)
{
    [Fact]
    public void Ten_thousand_runs_hold_the_invariants()
    {
        const int Runs = 10_000;
        var outcomes = new Dictionary<MoveOutcome, int>();
        long delivered = 0, excused = 0, events = 0;
        for (ulong seed = 1; seed <= Runs; seed++)
        {
            SimResult result = MoveSimulation.Run(seed);
            Assert.True(result.Wrong is null, $"seed {seed}: {result.Wrong} ({result.Text})");
            foreach (MoveOutcome outcome in result.Outcomes) outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
            delivered += result.Probes.Delivered;
            excused += result.Probes.Excused;
            events += result.Events;
        }

        output.WriteLine($"{string.Join(", ", outcomes)}; {delivered} packets delivered, {excused} drops excused, {events / Runs} events a run");
        Assert.True(outcomes[MoveOutcome.Moved] > Runs / 2, $"{outcomes[MoveOutcome.Moved]} moved");
        Assert.True(outcomes[MoveOutcome.RolledBack] > Runs / 100, $"{outcomes[MoveOutcome.RolledBack]} rolled back");
        Assert.InRange(excused, 1, delivered / 10);
    }

    [Fact]
    public void A_run_is_the_same_whenever_it_is_made()
    {
        for (ulong seed = 1; seed < 20; seed++) Assert.Equal(MoveSimulation.Run(seed).ToString(), MoveSimulation.Run(seed).ToString());
    }
}
