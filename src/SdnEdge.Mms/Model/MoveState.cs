using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary>
/// Where a move is: the fold of its inputs. Everything that a manager needs to go on with it is in here; nothing about it is remembered
/// anywhere else.
/// </summary>
public sealed record MoveState
{
    /// <summary>What is to be done.</summary>
    public required MovePlan Plan { get; init; }

    /// <summary>Where it is.</summary>
    public MoveStage Stage { get; init; }

    /// <summary>When the stage began, or was taken up again after a restart (CLOCK_MONOTONIC of the manager's life, nanoseconds).</summary>
    public long StageSinceNs { get; init; }

    /// <summary>
    /// The epoch that commands carry now. Invariant: it is <see cref="MovePlan.Epoch"/> until the move is undone or granted anew, and never
    /// goes down.
    /// </summary>
    public long Epoch { get; init; }

    /// <summary>True from the pivot on: the target owns <see cref="Epoch"/>. False again when all target hosts said that they never ran
    /// it.</summary>
    public bool TargetOwns { get; init; }

    /// <summary>True when a source PE or host may have been asked anything. Undo goes to all who may have been asked (R3).</summary>
    public bool SourcesAsked { get; init; }

    /// <summary>True when a source PE may have switched.</summary>
    public bool SwitchAsked { get; init; }

    /// <summary>
    /// True when it is undone because a source host did not confirm the stop in time: the server may run on behind the switched path.
    /// Source PEs then switch back without waiting for that host.
    /// </summary>
    public bool StopUnconfirmed { get; init; }

    /// <summary>True while a move that is planned waits until the group's protection is disarmed: the PEs have one path of a prefix.
    /// </summary>
    public bool AwaitsDisarm { get; init; }

    /// <summary>True when the move's window has opened.</summary>
    public bool WindowIsOpen { get; init; }

    /// <summary>Volumes of the move whose copy at the target is stale, on record, and from which sequence on. Invariant: there is none when
    /// the target is granted its epoch, but what an operator has named for a fail-over.</summary>
    public ImmutableSortedDictionary<Guid, ulong> StaleVolumes { get; init; } = ImmutableSortedDictionary<Guid, ulong>.Empty;

    /// <summary>Keys of the commands whose effect is known to be there.</summary>
    public ImmutableSortedSet<string> Done { get; init; } = [];

    /// <summary>Servers that were seen running at the target.</summary>
    public ImmutableSortedSet<string> Running { get; init; } = [];

    /// <summary>What target hosts said for ever of the epoch that was asked about, by server.</summary>
    public ImmutableSortedDictionary<string, EpochVerdict> Verdicts { get; init; } = ImmutableSortedDictionary<string, EpochVerdict>.Empty;

    /// <summary>What was seen of each path, newest word of each, by path.</summary>
    public ImmutableSortedDictionary<string, PathEvidence> Evidence { get; init; } = ImmutableSortedDictionary<string, PathEvidence>.Empty;

    /// <summary>What showed that each tunnel could go, by path.</summary>
    public ImmutableSortedDictionary<string, TeardownProof> Proofs { get; init; } = ImmutableSortedDictionary<string, TeardownProof>.Empty;

    /// <summary>Signals that PEs have carried out, in order.</summary>
    public ImmutableList<SignalAnswer> Signals { get; init; } = [];

    /// <summary>Orders that hosts have carried out, in order.</summary>
    public ImmutableList<OrderAnswer> Orders { get; init; } = [];

    /// <summary>Stages that have ended, in order.</summary>
    public ImmutableList<StageRecord> Timeline { get; init; } = [];

    /// <summary>Why it is undone; null while it is not.</summary>
    public string? Failure { get; init; }

    /// <summary>Who asked for it to be undone; null: nobody did.</summary>
    public string? AbortedBy { get; init; }

    /// <summary>Hosts and PEs that an operator has given up: they are not asked any more.</summary>
    public ImmutableSortedSet<string> GivenUp { get; init; } = [];

    /// <summary>Who gave which of them up first, and why; null: nobody was.</summary>
    public string? GivenUpWhy { get; init; }

    /// <summary>How it ended; null while it runs.</summary>
    public MoveOutcome? Outcome { get; init; }

    /// <summary>True from when it is decided that it is undone; while the target is asked to void the epoch it is not decided.</summary>
    [JsonIgnore]
    public bool IsUndone => Failure is not null && !TargetOwns;

    /// <summary>True when a volume is started from although its copy is stale: an operator has named it.</summary>
    public bool Accepts(Guid volume) => Plan.Failover?.AcceptLoss?.Contains(volume) ?? false;

    /// <summary>What was seen of a path; empty where nothing was.</summary>
    public PathEvidence EvidenceOf(string path) => Evidence.GetValueOrDefault(path) ?? new PathEvidence();
}

/// <summary>A stage and its times (CLOCK_MONOTONIC of the manager, nanoseconds).</summary>
/// <param name="Stage">The stage.</param>
/// <param name="StartNs">When it began.</param>
/// <param name="EndNs">When it ended.</param>
/// <param name="Error">Why it failed; null when it did not.</param>
public sealed record StageRecord(MoveStage Stage, long StartNs, long EndNs, string? Error = null);

/// <summary>A signal that a PE has carried out.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="SentNs">When it was first sent (CLOCK_MONOTONIC of the manager, nanoseconds).</param>
/// <param name="AnsweredNs">When the answer was here.</param>
/// <param name="Reply">The answer.</param>
public sealed record SignalAnswer(string Pe, long SentNs, long AnsweredNs, SignalReply Reply);

/// <summary>An order that a host has carried out.</summary>
/// <param name="Host">The host.</param>
/// <param name="SentNs">When it was first sent.</param>
/// <param name="AnsweredNs">When the answer was here.</param>
/// <param name="Reply">The answer.</param>
public sealed record OrderAnswer(string Host, long SentNs, long AnsweredNs, ServerReply Reply);
