namespace SdnEdge.Mms.Model;

/// <summary>Where a move is: the same names in journal, API, report and dashboard. What each does is a row of
/// <see cref="Machines.StageTable"/>.</summary>
public enum MoveStage
{
    /// <summary>On record, not begun.</summary>
    Planned,
    /// <summary>It has a window, which is not near: nobody is asked anything, its volumes follow.</summary>
    AwaitWindow,
    /// <summary>Target PEs accept the tunnel and arm their holds; target hosts make room.</summary>
    PrepareTarget,
    /// <summary>Source PEs make the tunnel and arm the redirect; source hosts take the new epoch.</summary>
    PrepareSource,
    /// <summary>Full-size probes come back through the tunnel from both ends; the servers' state is copied up to the convenient
    /// point. Of a service without state: its instances at the target answer.</summary>
    Mirror,
    /// <summary>Source PEs send the traffic into the tunnel and prove that nothing is left between them and the servers; target PEs hold
    /// it.</summary>
    Switch,
    /// <summary>The servers stop and are handed over; target PEs confirm that they hold. Its end is the pivot.</summary>
    Stop,
    /// <summary>The pivot is on record. Servers whose hand-over cannot be undone are handed over.</summary>
    HandOver,
    /// <summary>The pivot is on record: the target owns the epoch. The servers start there.</summary>
    Activate,
    /// <summary>The servers run at the target. Target PEs send what they held, in order; source hosts drop what they kept.</summary>
    Release,
    /// <summary>The holds become empty, so that paths do not change behind a burst.</summary>
    HoldDrain,
    /// <summary>Target PEs advertise.</summary>
    Advertise,
    /// <summary>Every ingress takes the direct path.</summary>
    DirectPath,
    /// <summary>Source PEs withdraw.</summary>
    Withdraw,
    /// <summary>The tunnels become quiet; one look is enough where flush markers have proved that they are.</summary>
    Drain,
    /// <summary>Tunnel and group go at the source; its last packets in the tunnel are flush markers.</summary>
    TeardownSource,
    /// <summary>They come out at the target.</summary>
    LastPacket,
    /// <summary>Tunnel, group and hold go at the target.</summary>
    TeardownTarget,
    /// <summary>All parties are inspected: nothing is left over.</summary>
    Inspect,
    /// <summary>After the pivot, before the target is known to run: the target hosts say for ever whether they have run it (R5).</summary>
    Void,
    /// <summary>
    /// The first stage of a move that an operator settles after its journal was lost: all hosts of its servers say for ever that they
    /// never ran it, and that they never will unless they are granted a higher epoch (R5).
    /// </summary>
    Settle,
    /// <summary>
    /// The first stage of a fail-over: the source's hosts say that its servers are dead there, for ever as to this epoch. Its end is the
    /// pivot. Without their word nothing is activated.
    /// </summary>
    Fence,
    /// <summary>Undo: the source owns the next epoch, on record; the servers run there again.</summary>
    ResumeSource,
    /// <summary>Undo: source PEs switch back.</summary>
    AbortSource,
    /// <summary>Undo: what was in the tunnel comes out at the target.</summary>
    EmptyTunnel,
    /// <summary>Undo: target PEs give back what they held.</summary>
    AbortTarget,
    /// <summary>Undo: the holds become empty.</summary>
    GiveBack,
    /// <summary>Undo: all parties are inspected: nothing is left over.</summary>
    InspectUndo,
    /// <summary>Over: see the outcome.</summary>
    Ended,
}

/// <summary>How a move ended.</summary>
public enum MoveOutcome
{
    /// <summary>The servers were seen running at the target, the epoch is in force, nothing is left over.</summary>
    Moved,
    /// <summary>The servers run at the source, its epoch is in force, nothing is left over.</summary>
    AsBefore,
    /// <summary>
    /// A party has seen a higher epoch: another manager is in charge of the group. This one stopped where it was. Also: a settlement was
    /// called off, or a host said that it ran the server; nobody was granted anything.
    /// </summary>
    Fenced,
    /// <summary>An operator gave parties up that did not answer: what they had to do is not proved.</summary>
    GivenUp,
}

/// <summary>Why a step is not done yet: one word for each kind of reason.</summary>
public enum WaitReason
{
    /// <summary>Asked; the answer is on its way.</summary>
    InProgress,
    /// <summary>A party does not answer.</summary>
    PeerUnreachable,
    /// <summary>No full-size probe has come back through the tunnel.</summary>
    TunnelDown,
    /// <summary>The server's state changes faster than it is copied.</summary>
    NotConverging,
    /// <summary>The hold would overflow during the predicted blackout.</summary>
    HoldTooSmall,
    /// <summary>Too many moves in a short time: an ingress PE stays with the last owner for a while.</summary>
    Damped,
    /// <summary>An ingress PE has not taken the direct path.</summary>
    NoDirectPath,
    /// <summary>The source PE has no other route to what moved.</summary>
    NoOtherRoute,
    /// <summary>An instance of a service without state does not answer at the target.</summary>
    InstanceSilent,
    /// <summary>Packets are still held or in the tunnel.</summary>
    Draining,
    /// <summary>A party refuses, or fails to do it; it is asked again.</summary>
    Refused,
    /// <summary>Something of the move is still there.</summary>
    LeftOver,
    /// <summary>The window is not open yet.</summary>
    WindowClosed,
    /// <summary>The journal takes no records.</summary>
    JournalDown,
    /// <summary>PEs or hosts know of later things than the journal: an old copy of it was put back.</summary>
    JournalOld,
}
