using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>A session at one moment, all of it of that moment. Intervals are microseconds, times nanoseconds of CLOCK_MONOTONIC.</summary>
/// <param name="Key">Whom it watches.</param>
/// <param name="Order">Number of the order that made it what it is (<see cref="BfdOrder.Number"/>).</param>
/// <param name="State">bfd.SessionState.</param>
/// <param name="RemoteState">bfd.RemoteSessionState.</param>
/// <param name="Diagnostic">Why this end last left Up.</param>
/// <param name="RemoteDiagnostic">Why the peer did, as it says.</param>
/// <param name="Multiplier">The peer gives us up after so many intervals.</param>
/// <param name="SurvivesControlPlane">Both ends go on when their control planes end: a failure is one of forwarding (RFC 5882
/// 4.3.2).</param>
/// <param name="LocalDiscriminator">Our name for it.</param>
/// <param name="RemoteDiscriminator">The peer's; zero while unknown.</param>
/// <param name="TransmitInterval">Between packets sent.</param>
/// <param name="DetectionTime">Silence after which it goes down.</param>
/// <param name="ChangedAt">When its state last changed.</param>
/// <param name="Received">Packets taken.</param>
/// <param name="Sent">Packets sent.</param>
/// <param name="SendErrors">Packets that could not be sent, e.g. for want of a route.</param>
/// <param name="Ups">Times it came up.</param>
/// <param name="Downs">Times it left Up.</param>
/// <param name="AdministrativeDowns">Those of them that an operator wanted, here or there.</param>
/// <param name="CreditGiven">Nanoseconds by which it was spared because its own driver had been held up.</param>
public readonly record struct BfdStatus(
    BfdKey Key, uint Order, BfdState State, BfdState RemoteState, BfdDiagnostic Diagnostic, BfdDiagnostic RemoteDiagnostic, byte Multiplier,
    bool SurvivesControlPlane,
    uint LocalDiscriminator, uint RemoteDiscriminator, uint TransmitInterval, long DetectionTime, long ChangedAt, long Received,
    long Sent, long SendErrors,
    long Ups, long Downs, long AdministrativeDowns, long CreditGiven)
{
    /// <summary>Whether it came up after an earlier moment.</summary>
    public bool CameUpSince(in BfdStatus before) => Ups > before.Ups;

    /// <summary>Whether it left Up after an earlier moment.</summary>
    public bool WentDownSince(in BfdStatus before) => Downs > before.Downs;

    /// <summary>
    /// Whether it left Up after an earlier moment for a reason that speaks against the path. One that an operator took down,
    /// here or there, says nothing about it (RFC 5882 3.2), however late that is looked at.
    /// </summary>
    public bool PathFailedSince(in BfdStatus before) => Downs - AdministrativeDowns > before.Downs - before.AdministrativeDowns;
}

/// <summary>How the thread of all sessions fares.</summary>
/// <param name="ProcessId">The process it is in.</param>
/// <param name="Urgency">How far its priority was raised.</param>
/// <param name="Stalls">Times it, or all threads, were held up.</param>
/// <param name="LongestStallNs">The longest of them.</param>
/// <param name="Credits">Times a session was spared by credit.</param>
/// <param name="CreditNs">Credit given in all.</param>
/// <param name="KernelDrops">Packets the kernel dropped because nobody took them.</param>
/// <param name="Faults">Exceptions. Always 0 unless there is a bug.</param>
public readonly record struct BfdHealth(int ProcessId, ThreadUrgency Urgency, long Stalls, long LongestStallNs, long Credits, long CreditNs,
    long KernelDrops, long Faults);
