using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Lab.Probes;

namespace SdnEdge.Demo.Report;

/// <summary>All that one run yielded: what the probes logged and what the migration said. The report is a function of this.</summary>
internal sealed record RunFacts
{
    public required ParametersReport Parameters { get; init; }
    public required long ForwardPacketsPerSecond { get; init; }
    public required long ReversePacketsPerSecond { get; init; }

    /// <summary>Client to server.</summary>
    public required IReadOnlyList<StreamFacts> Forward { get; init; }

    /// <summary>Server to client.</summary>
    public required IReadOnlyList<StreamFacts> Reverse { get; init; }

    public required TcpResult? Tcp { get; init; }
    public required MoveFacts Move { get; init; }
    public required IReadOnlyList<string> Residue { get; init; }

    /// <summary>What the lab's own counters say was dropped.</summary>
    public IReadOnlyList<DropReport> Drops { get; init; } = [];

    /// <summary>Why the run says nothing (a probe died, a receiver lost packets itself ...); empty = it is valid.</summary>
    public required IReadOnlyList<string> Invalid { get; init; }

    /// <summary>What is known of the server as a virtual machine; null = it is a stand-in. Its streams are there and back.</summary>
    public GuestFacts? Guest { get; init; }

    /// <summary>What is known of its disk; null = it has none of a store.</summary>
    public StorageFacts? Storage { get; init; }

    /// <summary>The other direction of replication after the move; null = it has no disk of a store, or was not moved.</summary>
    public DirectionFacts? Direction { get; init; }

    /// <summary>The way back, in the same run; null = it was not made.</summary>
    public BackReport? Back { get; init; }

    /// <summary>Why the way back did not pass; empty = it did, or was not made.</summary>
    public IReadOnlyList<string> BackFailures { get; init; } = [];

    /// <summary>The same machine moved by a script; null = that was not tried.</summary>
    public ScriptReport? Script { get; init; }

    /// <summary>What the manager said of the migration; null = there was none to ask.</summary>
    public MigrationStatus? Migration { get; init; }

    /// <summary>False: no probes ran; the report is of the migration alone.</summary>
    public bool Probed { get; init; } = true;
}

/// <summary>One stream: who, and both logs.</summary>
internal sealed record StreamFacts(
    string Pe, string Client, byte Stream, SentStream? Sender, ReceivedStream? Receiver, ProbeRecord[] Sent, ProbeRecord[] Received)
{
    /// <summary>
    /// When the direct route of the first moving prefix was in this ingress PE's FIB (CLOCK_MONOTONIC ns); null = not all are.
    /// </summary>
    public long? FibFirstAtNs { get; init; }

    /// <summary>The same of the last one.</summary>
    public long? FibLastAtNs { get; init; }
}

/// <summary>A stage with its times on CLOCK_MONOTONIC.</summary>
internal sealed record StageMark(string Name, long StartNs, long EndNs);

/// <summary>What the migration itself said. Times are CLOCK_MONOTONIC nanoseconds, null = it did not come so far.</summary>
internal sealed record MoveFacts
{
    public IReadOnlyList<StageMark> Stages { get; init; } = [];
    public bool Succeeded { get; init; }
    public string? Error { get; init; }
    public int Prefixes { get; init; }
    public long? StoreNs { get; init; }
    public long? SwitchSignalNs { get; init; }
    public long? SwitchEffectNs { get; init; }
    public long? SwitchAcknowledgedNs { get; init; }

    /// <summary>True: every server answered behind the last packet for it.</summary>
    public bool? ProvedEmpty { get; init; }

    public long? FirstTunnelPacketNs { get; init; }
    public long? PausedNs { get; init; }
    public long? ResumedNs { get; init; }
    public long? ReleaseEffectNs { get; init; }
    public long? AdvertisedNs { get; init; }
    public long? WithdrawNs { get; init; }
    public long StalePackets { get; init; }
    public long? StaleAtServerLeg { get; init; }
    public long PacketsHeld { get; init; }
    public long HoldPeakBytes { get; init; }
    public long HoldPeakPackets { get; init; }
    public long HoldReleased { get; init; }
    public long HoldOverflow { get; init; }
    public string? TunnelName { get; init; }
    public long TunnelPackets { get; init; }
    public bool TunnelTornDown { get; init; }

    /// <summary>When the later of the two PEs had taken the tunnel away.</summary>
    public long? TornDownNs { get; init; }

    /// <summary>What showed that the tunnel could go.</summary>
    public TeardownProof Proof { get; init; }

    /// <summary>PEs whose packets the target kept in order by flush markers.</summary>
    public IReadOnlySet<string> OrderKeptFor { get; init; } = new HashSet<string>();

    /// <summary>How the target kept order; null = it was not asked to.</summary>
    public OrderInfo? Order { get; init; }
}
