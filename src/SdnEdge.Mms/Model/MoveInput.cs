using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary>What happened to a move. Inputs are what the journal holds; their words there never change.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "input")]
[JsonDerivedType(typeof(Begin), "begin")]
[JsonDerivedType(typeof(SignalDone), "signal-done")]
[JsonDerivedType(typeof(OrderDone), "order-done")]
[JsonDerivedType(typeof(Seen), "seen")]
[JsonDerivedType(typeof(Refused), "refused")]
[JsonDerivedType(typeof(StageExpired), "stage-expired")]
[JsonDerivedType(typeof(AbortRequested), "abort-requested")]
[JsonDerivedType(typeof(GiveUpRequested), "give-up-requested")]
[JsonDerivedType(typeof(TakenUp), "taken-up")]
[JsonDerivedType(typeof(WindowReached), "window-reached")]
public abstract record MoveInput;

/// <summary>Begin.</summary>
public sealed record Begin : MoveInput;

/// <summary>A PE has carried a signal out.</summary>
/// <param name="Key">The command's key.</param>
/// <param name="Reply">Its answer.</param>
/// <param name="SentNs">When it was first sent (CLOCK_MONOTONIC of the manager, nanoseconds).</param>
public sealed record SignalDone(string Key, SignalReply Reply, long SentNs) : MoveInput;

/// <summary>A host has carried an order out.</summary>
/// <param name="Key">The command's key.</param>
/// <param name="Reply">Its answer.</param>
/// <param name="SentNs">When it was first sent.</param>
public sealed record OrderDone(string Key, ServerReply Reply, long SentNs) : MoveInput;

/// <summary>What was watched is so.</summary>
/// <param name="Key">The command's key.</param>
/// <param name="Evidence">What was seen; null for servers.</param>
public sealed record Seen(string Key, PathEvidence? Evidence) : MoveInput;

/// <summary>A party refuses for good: asking again is no use before somebody changes something.</summary>
/// <param name="Key">The command's key.</param>
/// <param name="Problem">The problem's type, e.g. <c>/problems/wrong-state</c>.</param>
/// <param name="Detail">What the party said.</param>
public sealed record Refused(string Key, string Problem, string Detail) : MoveInput;

/// <summary>The bound of a stage before the pivot is over.</summary>
/// <param name="Stage">The stage.</param>
/// <param name="Detail">What was still open, and why.</param>
public sealed record StageExpired(MoveStage Stage, string Detail) : MoveInput;

/// <summary>An operator wants it undone. Before the pivot that is always possible; after it until the target is known to run
/// (R5).</summary>
/// <param name="By">Who.</param>
/// <param name="Why">Why.</param>
public sealed record AbortRequested(string By, string Why) : MoveInput;

/// <summary>An operator decides that parties will not answer any more, and that the move ends without their word: see
/// <see cref="Machines.GiveUp"/>.</summary>
/// <param name="By">Who.</param>
/// <param name="Why">Why.</param>
/// <param name="Parties">Hosts, PEs, or a site of the move: all that it has there.</param>
public sealed record GiveUpRequested(string By, string Why, IReadOnlyList<string> Parties) : MoveInput;

/// <summary>A manager has taken the journal up: the deadline of an open stage starts anew.</summary>
/// <param name="Undo">Why a move before its pivot is undone at once; null: it goes on.</param>
public sealed record TakenUp(string? Undo = null) : MoveInput;

/// <summary>A time of the move's window has come.</summary>
/// <param name="At">The time.</param>
public sealed record WindowReached(DateTimeOffset At) : MoveInput;

/// <summary>What the two ends and the ingress PEs of a path said when a watch ended.</summary>
/// <param name="Source">The source PE's word.</param>
/// <param name="Target">The target PE's word.</param>
/// <param name="DirectAt">Ingress PEs on the direct path, and when that was seen.</param>
/// <param name="ByMarker">Those of which flush markers showed it.</param>
/// <param name="Passed">The markers of all ingress PEs have gone by the source: no more comes to the tunnel.</param>
/// <param name="OthersSeen">Packets came by PEs that send no markers.</param>
/// <param name="Quiet">No packet came to the tunnel for the quiet time.</param>
/// <param name="Late">The bound was over before it was so.</param>
/// <param name="Settled">The target has said, when it tore its end down, that nothing of the path was on its way any more.</param>
public sealed record PathEvidence(
    MigrationInfo? Source = null, MigrationInfo? Target = null, ImmutableSortedDictionary<string, long>? DirectAt = null,
    ImmutableSortedSet<string>? ByMarker = null, bool Passed = false, bool OthersSeen = false, bool Quiet = false, bool Late = false,
    bool Settled = false);
