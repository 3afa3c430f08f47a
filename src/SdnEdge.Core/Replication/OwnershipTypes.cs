using System.Collections.Immutable;

namespace SdnEdge.Core.Replication;

/// <summary>What a store is to a volume.</summary>
public enum OwnerRole
{
    /// <summary>It follows the owner. Reads are answered; writes wait for a grant.</summary>
    Replica,

    /// <summary>It answers the writes of the client that its grant names.</summary>
    Owner,

    /// <summary>It was the owner; who is the next is open. Everything waits.</summary>
    Sealed,

    /// <summary>Another site is the owner, for good. Reads are answered; writes are refused (EPERM).</summary>
    Released,
}

/// <summary>
/// What the manager orders of a store, for one volume. Each carries the group's epoch, is idempotent, and is answered when its effect is on
/// disk. R1 to R8: the rules of the hand-over, docs/design.md.
/// </summary>
public enum OwnershipOrderKind
{
    /// <summary>A move begins: the epoch is on disk, everything older is refused from then on (R1). Nothing else changes at the owner; at
    /// a site that had refused writes they wait again.</summary>
    Prepare,

    /// <summary>Source: no further write gets a sequence; what comes waits. Answered with the last sequence, which is durable.</summary>
    Seal,

    /// <summary>Source, of a move that is undone (R2, R3): it is the owner under the new epoch, and what waits is carried out.</summary>
    Unpark,

    /// <summary>Source, after the pivot: the other site is the owner. What waits is refused (EPERM).</summary>
    Release,

    /// <summary>Target: it is the owner under this epoch, for the client that is named.</summary>
    Grant,

    /// <summary>Target, of a move that is undone: older epochs are never granted here.</summary>
    Cancel,

    /// <summary>Says from disk, for ever, whether this epoch was granted here (ran) or never will be (void) (R5).</summary>
    Void,
}

/// <summary>An order of the manager.</summary>
/// <param name="Ticket">Number by which it is answered.</param>
/// <param name="Kind">What.</param>
/// <param name="Epoch">Epoch of the group.</param>
public sealed record OwnershipOrder(long Ticket, OwnershipOrderKind Kind, ulong Epoch)
{
    /// <summary>Grant: the client whose writes count; null = it is named later, nobody writes before.</summary>
    public ClientIdentity? Client { get; init; }

    /// <summary>Grant: number of the grant within its epoch: a later one names another client.</summary>
    public uint Generation { get; init; }

    /// <summary>Grant: what the sealed owner had. Null = nobody knows: an outage.</summary>
    public LogPoint? Expected { get; init; }

    /// <summary>Grant: the operator's words under which a copy that is not consistent, stale or too short is taken nevertheless; null =
    /// it is refused.</summary>
    public string? ForcedBy { get; init; }

    /// <summary>Grant: the manager has it on record that this copy is stale.</summary>
    public bool IsStale { get; init; }

    /// <summary>Grant: the person who promotes the copy, for people; null = a manager orders it, and may undo it. What a person has
    /// promoted stays: the owner before gives way to it when it hears of it.</summary>
    public string? PromotedBy { get; init; }

    /// <summary>Release of a store that gives way: the epoch of the owner that it gives way to, where a higher one was seen
    /// already.</summary>
    public ulong? OwnerEpoch { get; init; }
}

/// <summary>What a store's copy is at the time of an order.</summary>
/// <param name="IsConsistent">It equals a state that an owner once had.</param>
/// <param name="Durable">Its last durable point.</param>
/// <param name="LastConsistent">The newest consistent point that is kept; null = none.</param>
public sealed record CopyFacts(bool IsConsistent, LogPoint Durable, LogPoint? LastConsistent);

/// <summary>What is on disk of a volume's ownership, before anything that depends on it is answered.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Seen">Highest epoch that an order carried. Lower ones are refused.</param>
/// <param name="Role">What the store is to the volume.</param>
public sealed record OwnershipRecord(Guid Volume, ulong Seen, OwnerRole Role)
{
    /// <summary>The epochs under which this store was or is the owner, ascending; the last one is in force while the role is
    /// owner.</summary>
    public ImmutableArray<ulong> Granted { get; init; } = [];

    /// <summary>The epochs that were said to be void here, ascending: never granted (R5).</summary>
    public ImmutableArray<ulong> Voided { get; init; } = [];

    /// <summary>Number of the grant within its epoch.</summary>
    public uint Generation { get; init; }

    /// <summary>The client of the grant; null = it is not named yet.</summary>
    public ClientIdentity? Client { get; init; }

    /// <summary>Sealed: the last point; nothing was written after it.</summary>
    public LogPoint? SealedAt { get; init; }

    /// <summary>Epoch of the newest owner of the volume, here or elsewhere. A stream of an older owner is refused.</summary>
    public ulong OwnerEpoch { get; init; }

    /// <summary>The operator's words, where the grant in force was forced; null = it was not.</summary>
    public string? ForcedBy { get; init; }

    /// <summary>The person who promoted the copy to the grant in force; null = a manager granted it.</summary>
    public string? PromotedBy { get; init; }

    /// <summary>Epoch of this store's grant in force, or of its last one; 0 = it never was the owner.</summary>
    public ulong GrantedEpoch => Granted.IsDefaultOrEmpty ? 0 : Granted[^1];

    /// <summary>A volume that is created here: its owner under epoch 1.</summary>
    public static OwnershipRecord First(Guid volume, ClientIdentity? client = null)
        => new(volume, 1, OwnerRole.Owner) { Granted = [1], OwnerEpoch = 1, Client = client };

    /// <summary>A volume that is made as the replica of another site's.</summary>
    public static OwnershipRecord Follower(Guid volume) => new(volume, 0, OwnerRole.Replica);
}

/// <summary>Why an order is not carried out.</summary>
public enum OwnershipRefusalKind
{
    /// <summary>Its epoch is lower than the highest seen (R1).</summary>
    StaleEpoch,

    /// <summary>The epoch was said to be void here (R5).</summary>
    VoidEpoch,

    /// <summary>The role does not allow it.</summary>
    WrongRole,

    /// <summary>The copy may not become the owner's: it is not consistent, stale, or not what the sealed owner had.</summary>
    NotPromotable,

    /// <summary>The record could not be made durable. Not done: the same order again tries again.</summary>
    StoreFailed,

    /// <summary>Too many orders wait.</summary>
    Busy,
}

/// <summary>A refusal.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Detail">What was wrong, and what would be right.</param>
public sealed record OwnershipRefusal(OwnershipRefusalKind Kind, string Detail);

/// <summary>What is said about an epoch for ever (R5).</summary>
public enum GrantVerdict
{
    /// <summary>It was granted here.</summary>
    Ran,

    /// <summary>It was not, and never will be.</summary>
    Void,
}

/// <summary>Answer to an order.</summary>
/// <param name="Kind">The order.</param>
/// <param name="Epoch">Highest epoch seen.</param>
/// <param name="Role">The role now.</param>
/// <param name="Repeated">It had been carried out before.</param>
public sealed record OwnershipReply(OwnershipOrderKind Kind, ulong Epoch, OwnerRole Role, bool Repeated)
{
    /// <summary>Seal: the last point. Release: the point at which it was sealed, where it was.</summary>
    public LogPoint? SealedAt { get; init; }

    /// <summary>Void only.</summary>
    public GrantVerdict? Verdict { get; init; }
}

/// <summary>What becomes of a request of a client.</summary>
public enum Admission
{
    /// <summary>It is carried out.</summary>
    Admit,

    /// <summary>It waits, and is counted.</summary>
    Park,

    /// <summary>As many wait as may: nothing more is read from this connection until they are through.</summary>
    HoldConnection,

    /// <summary>It is refused: EPERM.</summary>
    NotPermitted,
}

/// <summary>What happens to a volume's ownership.</summary>
public abstract record OwnershipInput;

/// <summary>An order came in.</summary>
/// <param name="Order">The order.</param>
/// <param name="Copy">What the copy is.</param>
public sealed record OwnershipOrderArrived(OwnershipOrder Order, CopyFacts Copy) : OwnershipInput;

/// <summary>No write gets a sequence any more, and all that have one are durable here.</summary>
/// <param name="Last">The last point.</param>
public sealed record AdmissionStopped(LogPoint Last) : OwnershipInput;

/// <summary>They could not be made durable.</summary>
/// <param name="Reason">Why.</param>
public sealed record AdmissionStopFailed(string Reason) : OwnershipInput;

/// <summary>The record that was to be written is durable.</summary>
public sealed record OwnershipSynced : OwnershipInput;

/// <summary>It could not be made durable; whether it is on disk is not known.</summary>
/// <param name="Reason">Why.</param>
public sealed record OwnershipSyncFailed(string Reason) : OwnershipInput;

/// <summary>A request was parked (+) or left the queue (-).</summary>
/// <param name="Requests">How many.</param>
/// <param name="Bytes">Their bytes.</param>
public sealed record ParkedChanged(int Requests, long Bytes) : OwnershipInput;

/// <summary>The lease was renewed.</summary>
/// <param name="SentAt">When the renewal was sent, by this store's clock, nanoseconds.</param>
/// <param name="Length">How long it lasts from then, nanoseconds, margin taken off.</param>
public sealed record LeaseRenewed(long SentAt, long Length) : OwnershipInput;

/// <summary>The peer that follows as the owner's replica said who the owner is.</summary>
/// <param name="Epoch">Its epoch.</param>
public sealed record OwnerSeen(ulong Epoch) : OwnershipInput;

/// <summary>What the machine wants done, in this order. At most one of <see cref="StopAdmission"/> and <see cref="WriteOwnership"/> is
/// open;
/// its result is an input.</summary>
public abstract record OwnershipCommand;

/// <summary>Give no further write a sequence, make durable those that have one, then <see cref="AdmissionStopped"/>.</summary>
public sealed record StopAdmission : OwnershipCommand;

/// <summary>Make the record durable.</summary>
/// <param name="Record">The record.</param>
public sealed record WriteOwnership(OwnershipRecord Record) : OwnershipCommand;

/// <summary>The grant is in force: the log's next record is <see cref="LogRecordKind.Epoch"/> of this epoch (unless its last record is of
/// that epoch already), then what waits of the granted client is carried out. With <paramref name="From"/> the copy is put back to that
/// point first.</summary>
/// <param name="Epoch">The epoch.</param>
/// <param name="From">Forced: the last consistent point, where the copy is not at one; null = go on as it is.</param>
public sealed record BeginEpoch(ulong Epoch, LogPoint? From = null) : OwnershipCommand;

/// <summary>Close the connections of all clients but this one; what they have waiting is dropped.</summary>
/// <param name="Client">The client that stays; null = of all.</param>
public sealed record CloseOthers(ClientIdentity? Client) : OwnershipCommand;

/// <summary>Answer EPERM to what waits.</summary>
public sealed record RefuseParked : OwnershipCommand;

/// <summary>Answer an order.</summary>
/// <param name="Ticket">Its number.</param>
/// <param name="Reply">The answer.</param>
public sealed record AnswerOwnership(long Ticket, OwnershipReply Reply) : OwnershipCommand;

/// <summary>Refuse an order.</summary>
/// <param name="Ticket">Its number.</param>
/// <param name="Refusal">Why.</param>
public sealed record RefuseOwnership(long Ticket, OwnershipRefusal Refusal) : OwnershipCommand;
