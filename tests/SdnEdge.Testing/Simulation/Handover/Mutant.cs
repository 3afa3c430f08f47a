namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>One safety check that is taken out of one party. The party's own code is not touched: what it says or does is
/// changed.</summary>
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
    /// <summary>A release that is to wait for the servers does not.</summary>
    ServersUnseen,
    /// <summary>A host goes on when its disk has refused a record.</summary>
    FailedWriteIsDone,
    /// <summary>A driver's call that failed counts as done.</summary>
    FailedCallIsDone,
    /// <summary>Where order is not kept the target is told to advertise before its hold is empty.</summary>
    AheadWithoutOrder,
    /// <summary>The manager withdraws without having seen that every ingress takes the direct path.</summary>
    DirectUnseen,
    /// <summary>The manager tears the source down without having seen that nothing comes to the tunnel any more.</summary>
    DrainUnseen,
    /// <summary>The manager tears the target down without having seen the source's last marker.</summary>
    TeardownBeforeLastMarker,
    /// <summary>A PE carries out a signal for after the flush markers before they have come.</summary>
    MarkersUnseen,
    /// <summary>A PE sends its marker while packets still take the old path.</summary>
    MarkerBeforeGrace,
    /// <summary>The source says that all markers have gone by when those of one ingress have.</summary>
    PassedAtFirstMarker,
    /// <summary>A gate opens at a marker that does not cover all prefixes.</summary>
    GateOpensAtFirstMarker,
    /// <summary>A gate opens before the hold has been sent.</summary>
    GateBeforeHold,
    /// <summary>A marker of another move counts.</summary>
    MarkerOfAnotherMove,
    /// <summary>The target is torn down although its hold has packets.</summary>
    TeardownThoughHolding,
    /// <summary>The source is torn down although it has no other route.</summary>
    TeardownWithoutRoute,
    /// <summary>After a loss of the journal the epochs go on where the old copy had them.</summary>
    RecoverReusesEpoch,
    /// <summary>A store acknowledges what its replica lacks before that is on record.</summary>
    AcknowledgesUnreported,
    /// <summary>The pivot comes although a copy of a volume is on record as stale.</summary>
    PivotThoughStale,
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
        new(Mutant.ServersUnseen, "a release for when the servers answer waits for them"),
        new(Mutant.FailedWriteIsDone, "what cannot be kept is not promised"),
        new(Mutant.FailedCallIsDone, "an answer is given when the effect is there"),
        new(Mutant.AheadWithoutOrder, "what is asked ahead needs gates (StageTable.Ordered)"),
        new(Mutant.DirectUnseen, "direct path before withdraw"),
        new(Mutant.DrainUnseen, "the source goes when nothing comes to it any more"),
        new(Mutant.TeardownBeforeLastMarker, "the target goes when the source's last marker is out"),
        new(Mutant.MarkersUnseen, "a signal for after the flush markers waits for them"),
        new(Mutant.MarkerBeforeGrace, "a marker is behind the last packet"),
        new(Mutant.PassedAtFirstMarker, "the markers of all ingress PEs have gone by"),
        new(Mutant.GateOpensAtFirstMarker, "a marker covers all prefixes"),
        new(Mutant.GateBeforeHold, "the hold goes first"),
        new(Mutant.MarkerOfAnotherMove, "a marker is of the move"),
        new(Mutant.TeardownThoughHolding, "hold-not-drained"),
        new(Mutant.TeardownWithoutRoute, "no-other-route"),
        new(Mutant.RecoverReusesEpoch, "after recover an epoch is higher than any seen"),
        new(Mutant.AcknowledgesUnreported, "unprotected is a state on record, first"),
        new(Mutant.PivotThoughStale, "a stale copy is granted nothing"),
    ];
}
