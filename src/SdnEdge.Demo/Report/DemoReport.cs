using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace SdnEdge.Demo.Report;

/// <summary>
/// <c>report.json</c>: one planned switchover, or one outage, as the probes saw it. All times in milliseconds from the start of the probes
/// unless the name says otherwise; all packet counts come from what the receivers saw.
/// </summary>
internal sealed record DemoReport
{
    public required string Scenario { get; init; }
    public required bool Passed { get; init; }
    public required IReadOnlyList<string> Failures { get; init; }
    public required ParametersReport Parameters { get; init; }
    public required ProbeReport Probe { get; init; }
    public required IReadOnlyList<StreamReport> Ingress { get; init; }
    public required IReadOnlyList<StreamReport> Reverse { get; init; }
    public required TcpReport Tcp { get; init; }
    public required IReadOnlyList<StageReport> Stages { get; init; }
    public required SwitchReport Switch { get; init; }
    public required HoldReport Hold { get; init; }
    public required TunnelReport Tunnel { get; init; }
    public required OrderReport Order { get; init; }
    public required IReadOnlyList<string> Residue { get; init; }
    public required IReadOnlyList<LedgerRow> Ledger { get; init; }

    /// <summary>What the lab's own counters say was dropped during the run, and where. Not only probe packets.</summary>
    public required IReadOnlyList<DropReport> Drops { get; init; }

    /// <summary>The server that was moved; null = nobody asked what it is.</summary>
    public required ServerReport? Server { get; init; }

    /// <summary>How long a client and the server stood still, beside their goals; null = the server is no virtual machine.</summary>
    public required GoalsReport? Goals { get; init; }

    /// <summary>The copy of the server's memory; null = there was none, or its host has no record of it.</summary>
    public required PrecopyReport? Precopy { get; init; }

    /// <summary>The server's disk; null = it has none of a store.</summary>
    public required StorageReport? Storage { get; init; }

    /// <summary>The way back, in the same run; null = it was not made.</summary>
    public required BackReport? Back { get; init; }

    /// <summary>The same machine under the same traffic, moved by a script; null = that was not tried.</summary>
    public required ScriptReport? Script { get; init; }

    /// <summary>The servers' volumes, as their hosts tell what was done with them; empty = they have none.</summary>
    public IReadOnlyList<VolumeReport> Volumes { get; init; } = [];

    /// <summary>The migration as its manager tells it; null = there was none to ask.</summary>
    public required MigrationReport? Migration { get; init; }

    /// <summary>The outage; null = a planned move.</summary>
    public OutageReport? Outage { get; init; }

    /// <summary>JSON settings of the report: camelCase, indented, absent values written as null so that every field is there.</summary>
    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = ReportTypes.Default,
    };
}

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(DemoReport))]
internal sealed partial class ReportTypes : JsonSerializerContext;

/// <summary>
/// The server. Kind: stand-in, of which nothing else is said, or the hypervisor. Version, Accelerator (tcg: emulation; kvm) and MemoryBytes
/// as its host says. PrecopyBytes: sent from host to host, all passes and the rest. DowntimeMs: from the stop to the start, it ran nowhere.
/// CounterContinuous: its counter went on over the move. PatternIntact: the memory that it never writes again was read after the move and
/// is as written. BadWords: of the memory that it writes again and again.
/// </summary>
internal sealed record ServerReport(
    string Kind, string? Version = null, string? Accelerator = null, long? MemoryBytes = null, long? PrecopyBytes = null,
    int? Passes = null, double? DowntimeMs = null, bool? CounterContinuous = null, bool? PatternIntact = null, long? BadWords = null);

/// <summary>
/// Two times and what they are to be, milliseconds. Gap: the longest time in which a client saw nothing, around the move; its bound is the
/// time from stop to run and what a cold start of the emulation costs. StopToRun: from the stop to the start; its bound holds for an idle
/// machine of 128 MiB. A goal that is missed is told, and fails no run.
/// </summary>
internal sealed record GoalsReport(double? GapMs, double? GapBoundMs, double? StopToRunMs, double StopToRunBoundMs);

/// <summary>
/// A move by plain migrate, QEMU's own announcements, and a change of the PEs' static routes (move-by-script.sh), as the probes saw it:
/// there and back. PrecopyBytes and DowntimeMs: QEMU's own account. TookMs: all of the script.
/// </summary>
internal sealed record ScriptReport(
    long PacketsPerSecond, long Sent, long Lost, long Duplicated, long Reordered, double GapMs, long PrecopyBytes, double DowntimeMs,
    double TookMs, int TcpResets, double TcpMaxStallMs, bool Valid, string? WhyInvalid);

/// <summary>The copy of the server's memory. WireBytes: what went over the network for it.</summary>
internal sealed record PrecopyReport(
    double BeganMs, double? EndedMs, bool Completed, long CopiedBytes, long WireBytes, int Passes, IReadOnlyList<PrecopySample> Samples);

/// <summary>A moment of the copy: what was left of the pass, the rates of the copy and of the server's own writing, and whether the relay's
/// gate kept the last of it back.</summary>
internal sealed record PrecopySample(
    double AtMs, int Pass, long RemainingBytes, long CopiedBytes, double BytesPerSecond, double DirtyBytesPerSecond, bool GateShut);

/// <summary>
/// A volume of a server that was moved. SyncAsked, InSync: when its writes began to wait for the other site, and when both were equal.
/// DrainMs: how long the proof took that the replica has everything. SyncExposureMs: for how long the guest's writes waited for the other
/// site because of the move; its bound is the drain, the time from stop to run and two seconds, and one that is missed is told and fails no
/// run.
/// </summary>
internal sealed record VolumeReport(
    string Server, string Volume, double? SyncAskedMs, double? InSyncMs, double? DrainMs, ulong? SealedAt, double? SealedMs,
    double? GrantedMs, double? RestoredMs, double? SyncExposureMs, double? SyncExposureBoundMs);

/// <summary>A migration: which, by whom (At and EndedAt in ISO 8601, UTC), how it ended, and what PEs and hosts were told to do.</summary>
internal sealed record MigrationReport(
    string Id, string Group, long Epoch, string By, string At, string? EndedAt, string State, string? Failure, string Cutover,
    IReadOnlyList<CallReport> Calls);

/// <summary>A signal to a PE or an order to a host: when it was first sent, when its answer was here, and when it had taken effect there,
/// by that party's clock.</summary>
internal sealed record CallReport(string To, string What, string About, double SentMs, double AnsweredMs, double EffectMs, bool Repeated);

/// <summary>What was asked for.</summary>
internal sealed record ParametersReport(
    string Topology, string Server, string From, string To, double RoundTripMs, double BlackoutMs, double? MeasuredBlackoutMs, bool Hold);

/// <summary>The probes. Packets per second, forward and reverse each, over all streams; seconds of sending. Ran: false where there were
/// none. Echo: the server sends each packet back, a stream is there and back, there are none of the server's own, and a packet that is lost
/// may have been lost on either way. Trials: the rates that were tried before the move.</summary>
internal sealed record ProbeReport(
    long PacketsPerSecond, long ReversePacketsPerSecond, int Flows, int SizeBytes, double Seconds, bool Valid,
    string? WhyInvalid, bool Ran = true, bool Echo = false, IReadOnlyList<RateTrial>? Trials = null);

/// <summary>One stream: a client behind an ingress PE to the server, or back.</summary>
internal sealed record StreamReport
{
    public required string Name { get; init; }
    public required string Client { get; init; }
    public required long Sent { get; init; }
    public required long Received { get; init; }
    public required long Lost { get; init; }
    public required long Duplicated { get; init; }
    public required long Reordered { get; init; }

    /// <summary>
    /// Those of the reordered that arrived after the switch and were overtaken by a packet that arrived before any could have
    /// come by the direct path: by the old way, the tunnel or the hold.
    /// </summary>
    public required long ReorderedSwitchToRelease { get; init; }

    /// <summary>True when the ingress PE sends flush markers and the target kept order by them: then none may be reordered.</summary>
    public required bool OrderKept { get; init; }

    public required double MaxGapMs { get; init; }

    /// <summary>
    /// Ingress: from the advertisement to the first packet the receiver saw come by the direct way. Reverse: from the
    /// server's resume to the first packet from its new site. Null: never.
    /// </summary>
    public required double? DirectPathAfterMs { get; init; }

    /// <summary>Ingress: from the advertisement to the direct route in this PE's FIB.</summary>
    public required double? FibAfterMs { get; init; }

    public required long SendErrors { get; init; }
    public required DelayReport Delay { get; init; }
}

/// <summary>One-way delays in milliseconds; null where there were no packets.</summary>
internal sealed record DelayReport(double? BeforeMs, double? TunnelMs, double? DirectMs, double? MaxMs);

/// <summary>The TCP transfer.</summary>
internal sealed record TcpReport(long Bytes, int Resets, double MaxStallMs, long WrongBytes, long Retransmits, string? LastError);

/// <summary>A stage of the migration.</summary>
internal sealed record StageReport(string Name, double StartMs, double EndMs);

/// <summary>
/// The switch at PE_a. ProvedEmpty: the servers answered behind the last packet for them; null: there was nobody to ask.
/// </summary>
internal sealed record SwitchReport(
    int Prefixes, long? StoreNanoseconds, double? SignalToFirstMs, long StalePackets, long? StaleAtServerLeg,
    double? SignalToAcknowledgedMs, bool? ProvedEmpty);

/// <summary>The hold at PE_b.</summary>
internal sealed record HoldReport(long PacketsHeld, long PeakBytes, long Overflow, long PeakPackets, long Released);

/// <summary>
/// The migration tunnel. Proof: what showed that it could go (markers, quiet, timer). TornDownAfterMs: from the moment the
/// last ingress moved to the direct path to that when no PE had the tunnel any more.
/// </summary>
internal sealed record TunnelReport(long Packets, bool TornDown, string? Name, string Proof, double? TornDownAfterMs);

/// <summary>How order was kept at the target. Unordered: packets of PEs without a gate, delivered as they came.</summary>
internal sealed record OrderReport(bool Kept, long Unordered, IReadOnlyList<GateReport> Gates);

/// <summary>
/// The gate of an ingress PE, for one address family. Times from the advertisement: when the ingress moved (by its own
/// clock, which in the lab is everybody's), when its marker was at the target, when the gate opened.
/// </summary>
internal sealed record GateReport(string Ingress, string Loopback, string OpenedBy, double? MovedAfterMs, double? MarkerAfterMs,
    double? OpenedAfterMs, long PacketsKept, long Peak);

/// <summary>Packets dropped at a node, by its own count.</summary>
internal sealed record DropReport(string Node, string What, long Packets)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Node} {What} {Packets}";
}

/// <summary>What became of the packets sent in one stage, both directions.</summary>
internal sealed record LedgerRow(string Stage, LedgerCounts Forward, LedgerCounts Reverse);

/// <summary>
/// Packets sent in a stage: sent = delivered + lost. Held ones (kept at PE_b until the release) are among those delivered,
/// duplicated ones are further copies, reordered ones are among those delivered. Delays in milliseconds.
/// </summary>
internal sealed record LedgerCounts(
    long Sent, long Delivered, long Held, long Lost, long Duplicated, long Reordered, double? MinDelayMs, double? MedianDelayMs,
    double? MaxDelayMs)
{
    public static readonly LedgerCounts Empty = new(0, 0, 0, 0, 0, 0, null, null, null);
}
