using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>How a run ended.</summary>
/// <param name="Seed">Its seed: the same one gives the same run.</param>
/// <param name="Wrong">What was wrong; null: nothing.</param>
/// <param name="Outcomes">How its migrations ended, in order.</param>
/// <param name="Events">Events that happened.</param>
/// <param name="Trace">With a trace: what happened, a line each.</param>
public sealed record HandoverResult(ulong Seed, string? Wrong, IReadOnlyList<MigrationOutcome> Outcomes, long Events,
    IReadOnlyList<string> Trace)
{
    /// <summary>How often writes were acknowledged at one site alone.</summary>
    public int Unprotected { get; init; }

    /// <summary>How often that was over, on record.</summary>
    public int WholeAgain { get; init; }
}

/// <summary>
/// Moves of a group between two sites, by the decision code that ships, of every party: the manager's machines with their journal, the
/// PEs' with their gates and flush markers, and the host agents'. Wires, clocks, disks, drivers, routes and guests are simulated, and
/// fail; of the clients' packets the last one on each old path and the first one on each new path. In seven of ten runs the plans keep
/// order; in some the link of the servers' stores breaks now and then, and what is acknowledged at one site alone is reported first.
/// Between two migrations the journal may be lost, and is recovered. Deterministic from its seed; one thread. Not in it: the death
/// of a guest (an outage), and an old journal in the middle of a migration (OldJournalTests has that).
/// </summary>
public static class HandoverSimulation
{
    /// <summary>Runs one.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="mutant">The check that is taken out.</param>
    /// <param name="trace">True: with a trace.</param>
    public static HandoverResult Run(ulong seed, Mutant mutant = Mutant.None, bool trace = false)
    {
        var world = new HandoverWorld(seed, mutant, trace);
        world.Run();
        return new HandoverResult(seed, world.Wrong, world.Outcomes, world.Sim.Events, world.Trace)
        {
            Unprotected = world.Unprotected, WholeAgain = world.WholeAgain,
        };
    }

    /// <summary>What a failure says: what was wrong, its seed, and the end of what happened before it.</summary>
    public static string Explain(HandoverResult failed, Mutant mutant = Mutant.None)
    {
        ArgumentNullException.ThrowIfNull(failed);
        IReadOnlyList<string> trace = Run(failed.Seed, mutant, trace: true).Trace;
        return $"seed {failed.Seed}: {failed.Wrong}\n"
            + $"  (replay: ./build.sh bench simulate --runs 1 --seed {failed.Seed})\n"
            + $"{string.Join('\n', trace.TakeLast(200))}";
    }
}
