namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>One safety check that is taken out of one party. The party's own code is not touched: what it says or does is changed.</summary>
public enum Mutant
{
    /// <summary>All checks are there.</summary>
    None,
    /// <summary>A move does not take a new epoch.</summary>
    MoveReusesEpoch,
    /// <summary>A host carries out orders of an epoch lower than one it has seen.</summary>
    HostTakesLowerEpoch,
    /// <summary>A PE carries out signals of an epoch lower than one it has seen.</summary>
    PeTakesLowerEpoch,
    /// <summary>Giving up is told with the epoch of the move.</summary>
    UndoWithSameEpoch,
    /// <summary>Giving up is told only to those who answered prepare.</summary>
    UndoOnlyWhoAnswered,
    /// <summary>A host answers stop, and the loss of the right to run is on disk some time later.</summary>
    StopNotDurable,
    /// <summary>A host that starts lets a paused guest go on.</summary>
    RestartResumesGuest,
    /// <summary>The manager takes silence for void.</summary>
    SilenceIsVoid,
    /// <summary>A host forgets that it said void.</summary>
    VoidIsForgotten,
    /// <summary>A host says void of what it runs.</summary>
    VoidThoughItRan,
    /// <summary>"Will run" is on disk some time after the guest runs.</summary>
    WillRunNotDurable,
    /// <summary>The source's guest is killed at the pivot.</summary>
    RetireAtPivot,
    /// <summary>An append does not say at which position it was decided.</summary>
    AppendAnywhere,
    /// <summary>Commands are issued before the record that opens them is on disk.</summary>
    CommandsBeforeRecord,
    /// <summary>Stop is answered before the guest was seen paused.</summary>
    StopBeforePaused,
    /// <summary>A PE counts a signal as done when it has accepted it.</summary>
    AcceptedIsDone,
    /// <summary>A PE answers, and what it knows is on disk some time later.</summary>
    PeNotDurable,
    /// <summary>The target PE is told to release at the pivot.</summary>
    ReleaseAtPivot,
}

/// <summary>A check, as the tests list it.</summary>
/// <param name="Mutant">What is taken out.</param>
/// <param name="Rule">The rule of the hand-over that it breaks (docs/design.md).</param>
public sealed record MutantRow(Mutant Mutant, string Rule);

/// <summary>All checks.</summary>
public static class Mutants
{
    /// <summary>Each of them, taken out, must make the simulation fail.</summary>
    public static IReadOnlyList<MutantRow> All { get; } =
    [
        new(Mutant.MoveReusesEpoch, "R1"),
        new(Mutant.HostTakesLowerEpoch, "R1"),
        new(Mutant.PeTakesLowerEpoch, "R1"),
        new(Mutant.UndoWithSameEpoch, "R2"),
        new(Mutant.UndoOnlyWhoAnswered, "R3"),
        new(Mutant.StopNotDurable, "R1, R4: host A has its promise on disk before it answers stop"),
        new(Mutant.RestartResumesGuest, "R4"),
        new(Mutant.SilenceIsVoid, "R5: never on a time-out"),
        new(Mutant.VoidIsForgotten, "R5: for ever"),
        new(Mutant.VoidThoughItRan, "R5: void or ran"),
        new(Mutant.WillRunNotDurable, "R6"),
        new(Mutant.RetireAtPivot, "R7"),
        new(Mutant.AppendAnywhere, "R8"),
        new(Mutant.CommandsBeforeRecord, "the pivot is on disk before anybody acts on it"),
        new(Mutant.StopBeforePaused, "stop is answered only when paused was seen"),
        new(Mutant.AcceptedIsDone, "done is executed"),
        new(Mutant.PeNotDurable, "a PE's part is durable"),
        new(Mutant.ReleaseAtPivot, "release only after RESUME"),
    ];
}
