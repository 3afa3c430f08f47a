using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Mms;

/// <summary>News of a running move.</summary>
/// <param name="Stage">Where it is.</param>
/// <param name="AtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Text">For people.</param>
public sealed record MoveProgress(MoveStage Stage, long AtNs, string Text);

/// <summary>A signal that a PE took.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="Signal">The signal.</param>
/// <param name="SentNs">When it was first sent (CLOCK_MONOTONIC, nanoseconds).</param>
/// <param name="AnsweredNs">When the answer was here.</param>
/// <param name="Reply">The answer.</param>
public sealed record SignalRecord(string Pe, SignalKind Signal, long SentNs, long AnsweredNs, SignalReply Reply);

/// <summary>All that is known of a move that has ended. Times are CLOCK_MONOTONIC nanoseconds.</summary>
/// <param name="Plan">What was to be done.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Failure">The first thing that went wrong; a move that recovered from it can still be <see cref="MoveOutcome.Moved"/>.</param>
/// <param name="Timeline">The stages in order.</param>
/// <param name="DirectAt">When each ingress PE was seen on the direct path.</param>
/// <param name="Signals">The signals taken, in order.</param>
/// <param name="PausedNs">When the server had stopped.</param>
/// <param name="ResumedNs">When it was live again.</param>
/// <param name="Source">The source's last word on the migration before teardown.</param>
/// <param name="Target">The target's last word on the migration before teardown.</param>
/// <param name="Residue">What is left over of it on the two PEs; empty after a clean end.</param>
/// <param name="Proof">What showed that the tunnel could go.</param>
/// <param name="ProvedByMarker">Ingress PEs whose flush markers showed that they are on the direct path; of the others their routes did.</param>
public sealed record MoveResult(
    MovePlan Plan, MoveOutcome Outcome, string? Failure, IReadOnlyList<StageRecord> Timeline, IReadOnlyDictionary<string, long> DirectAt,
    IReadOnlyList<SignalRecord> Signals, long? PausedNs, long? ResumedNs, MigrationInfo? Source, MigrationInfo? Target,
    IReadOnlyList<string> Residue, TeardownProof Proof = TeardownProof.None, IReadOnlySet<string>? ProvedByMarker = null)
{
    /// <summary>True when the server moved and nothing is left over.</summary>
    public bool Succeeded => Outcome == MoveOutcome.Moved && Residue.Count == 0;

    /// <summary>True when no tunnel of the migration is left on either PE.</summary>
    public bool TunnelTornDown => !Residue.Any(r => r.Contains(" tunnel ", StringComparison.Ordinal) || r.Contains("could not be read", StringComparison.Ordinal));

    /// <summary>The record of a signal to the source; null when it was never taken.</summary>
    public SignalRecord? AtSource(SignalKind signal) => Signals.FirstOrDefault(s => s.Pe == Plan.Source.Pe && s.Signal == signal);

    /// <summary>The record of a signal to the target; null when it was never taken.</summary>
    public SignalRecord? AtTarget(SignalKind signal) => Signals.FirstOrDefault(s => s.Pe == Plan.Target.Pe && s.Signal == signal);
}
