using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>One end of a planned move.</summary>
/// <param name="Pe">Name of the PE, as the MMS calls it.</param>
/// <param name="Site">The site whose server it serves.</param>
/// <param name="Loopback">The PE's loopback address: end of the tunnel.</param>
/// <param name="Prefixes">The moving prefixes, with this PE's ports.</param>
public sealed record MoveEnd(string Pe, string Site, string Loopback, IReadOnlyList<MovingPrefix> Prefixes);

/// <summary>How long to wait for what, in milliseconds.</summary>
/// <param name="Signal">For a PE to take a signal, retries included.</param>
/// <param name="TunnelUp">For both full-size probes through the tunnel.</param>
/// <param name="Server">For the server to pause, resume, or say where it is.</param>
/// <param name="DirectPath">For every ingress to have the direct path.</param>
/// <param name="Quiet">The tunnel is drained when no packet of the group entered it for so long. Longer than the way from any ingress through the tunnel: where no marker says that the last packet is out of it, so long is waited for it.</param>
/// <param name="Drain">Most time for the drain; traffic that starts at the source PE itself may never end. And for the target to give back what it held.</param>
/// <param name="Forward">For each step after the server is live at the target, retries included.</param>
/// <param name="Poll">Between two looks at the same thing.</param>
/// <param name="PollMarkers">Between two looks at the target's gates, while the flush markers are under way.</param>
/// <param name="LastPacket">For the source's own markers, the last packets in the tunnel.</param>
/// <param name="HoldDrain">Most time the target advertises later because its hold is not empty yet.</param>
public sealed record MoveTimeouts(
    int Signal = 10_000, int TunnelUp = 15_000, int Server = 30_000, int DirectPath = 60_000, int Quiet = 500, int Drain = 10_000,
    int Forward = 60_000, int Poll = 50, int PollMarkers = 2, int LastPacket = 2_000, int HoldDrain = 2_000)
{
    /// <summary>The usual bounds, but where a packet may be on its way in the tunnel for so long, milliseconds.</summary>
    public static MoveTimeouts WithQuiet(int quiet) => new(Quiet: quiet, Drain: Math.Max(10_000, 3 * quiet), LastPacket: Math.Max(2_000, quiet));
}

/// <summary>A planned move of one virtual server.</summary>
/// <param name="Migration">Fresh id.</param>
/// <param name="Epoch">Fencing number, higher than any used for these prefixes.</param>
/// <param name="Server">The server, as its driver knows it.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Source">Where it is.</param>
/// <param name="Target">Where it goes.</param>
/// <param name="Ingress">The PEs that must have the direct path before the source withdraws.</param>
/// <param name="TunnelKey">GRE key, unused between the two PEs.</param>
/// <param name="LocalPref">LOCAL_PREF of the target's advertisement: higher than the source's, <see cref="SourceLocalPref"/> where that is set.</param>
/// <param name="Hold">Caps of the hold.</param>
/// <param name="BlackoutMs">Least time between pause and resume; what a real server's final copy would take.</param>
/// <param name="Timeouts">Bounds.</param>
/// <param name="Order">How order is kept when ingress PEs take the direct path; null = it is not, and counters have to prove that the tunnel is empty.</param>
/// <param name="OtherIngress">Traffic also comes by PEs that are not in <paramref name="Ingress"/>, e.g. of other makes: markers alone do not prove that the tunnel is empty.</param>
public sealed record MovePlan(
    string Migration, long Epoch, string Server, string Vrf, MoveEnd Source, MoveEnd Target, IReadOnlyList<string> Ingress,
    uint TunnelKey, uint LocalPref, HoldOptions Hold, int BlackoutMs, MoveTimeouts Timeouts, OrderOptions? Order = null, bool OtherIngress = false)
{
    /// <summary>LOCAL_PREF with which the source tells the prefixes from the switch on: lower than <see cref="LocalPref"/>; null = as before.</summary>
    public uint? SourceLocalPref { get; init; }
}

/// <summary>Where a move is. The values are in the order of a move that succeeds, then those of one that is given up.</summary>
public enum MoveStage
{
    /// <summary>Not begun.</summary>
    NotStarted,
    /// <summary>The target accepts the tunnel and arms its hold.</summary>
    PrepareTarget,
    /// <summary>The source makes the tunnel and arms its group.</summary>
    PrepareSource,
    /// <summary>Both ends' full-size probes come back.</summary>
    TunnelUp,
    /// <summary>The source sends the group's traffic into the tunnel; the target holds it.</summary>
    Switch,
    /// <summary>The server stops.</summary>
    Pause,
    /// <summary>The server is nowhere.</summary>
    Blackout,
    /// <summary>The server becomes live at the target: the pivot.</summary>
    Resume,
    /// <summary>The target sends what it held.</summary>
    Release,
    /// <summary>The hold becomes empty, so that nothing waits behind a burst when the paths change. Bounded: advertising does not need it.</summary>
    HoldDrain,
    /// <summary>The target advertises.</summary>
    Advertise,
    /// <summary>Every ingress takes the direct path.</summary>
    DirectPath,
    /// <summary>The source withdraws.</summary>
    Withdraw,
    /// <summary>The tunnel goes quiet; one look is enough when flush markers have proved that it is empty.</summary>
    Drain,
    /// <summary>Tunnel and group go at the source; its last packets in the tunnel are flush markers.</summary>
    TeardownSource,
    /// <summary>They come out at the target.</summary>
    LastPacket,
    /// <summary>Tunnel, group and hold go at the target.</summary>
    TeardownTarget,
    /// <summary>Given up: the server becomes live at the source again.</summary>
    ReturnServer,
    /// <summary>Given up: the source switches back and removes its part.</summary>
    AbortSource,
    /// <summary>Given up: what the source sent into the tunnel before it switched back comes out at the target.</summary>
    EmptyTunnel,
    /// <summary>Given up: the target begins to give back what it held.</summary>
    AbortTarget,
    /// <summary>Given up: its hold becomes empty; then the target removes its part by itself.</summary>
    GiveBack,
    /// <summary>Over: see the outcome.</summary>
    Ended,
}

/// <summary>How a move ended.</summary>
public enum MoveOutcome
{
    /// <summary>Done: nothing left over at either PE.</summary>
    Moved,
    /// <summary>Given up before the server was live at the target; everything is as it was.</summary>
    RolledBack,
    /// <summary>The server is live at the target and reachable, but a later step did not come to its end.</summary>
    Incomplete,
    /// <summary>Given up, but something of it could not be taken back.</summary>
    RollbackIncomplete,
    /// <summary>Another manager with a higher epoch has taken over; this one stopped where it was.</summary>
    Fenced,
}

/// <summary>A stage and its times (CLOCK_MONOTONIC, nanoseconds).</summary>
/// <param name="Name">The stage in kebab case.</param>
/// <param name="StartNs">When it began.</param>
/// <param name="EndNs">When it ended.</param>
/// <param name="Error">Why it failed; null when it did not.</param>
public sealed record StageRecord(string Name, long StartNs, long EndNs, string? Error = null);

/// <summary>What the driver must do. Each is answered by exactly one input.</summary>
public abstract record MoveCommand;

/// <summary>Send a signal to a PE: answered by <see cref="SignalTaken"/>, <see cref="SignalRefused"/> or <see cref="SignalLost"/>.</summary>
public sealed record SendSignal(string Pe, SignalKind Signal, SignalRequest Request) : MoveCommand;

/// <summary>Read the migration at a PE: answered by <see cref="MigrationSeen"/>.</summary>
public sealed record LookAtMigration(string Pe) : MoveCommand;

/// <summary>See whether an ingress takes the direct path for all prefixes: answered by <see cref="IngressSeen"/>.</summary>
public sealed record LookAtIngress(string Pe) : MoveCommand;

/// <summary>Stop the server: answered by <see cref="ServerPaused"/> or <see cref="ServerFailed"/>.</summary>
public sealed record PauseServer : MoveCommand;

/// <summary>Make the server live: answered by <see cref="ServerResumed"/> or <see cref="ServerFailed"/>.</summary>
public sealed record ResumeServer(string Site) : MoveCommand;

/// <summary>Ask where the server is: answered by <see cref="ServerLocated"/> or <see cref="ServerFailed"/>.</summary>
public sealed record LocateServer : MoveCommand;

/// <summary>What happened.</summary>
public abstract record MoveInput;

/// <summary>Begin.</summary>
public sealed record Begin : MoveInput;

/// <summary><see cref="MoveFsm.NextDeadline"/> has come.</summary>
public sealed record DeadlineReached : MoveInput;

/// <summary>The operator wants it given up. Heeded before the pivot only.</summary>
public sealed record GiveUp(string Why) : MoveInput;

/// <summary>A PE took a signal.</summary>
public sealed record SignalTaken(string Pe, SignalReply Reply) : MoveInput;

/// <summary>A PE refused a signal: nothing happened there.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="Signal">The signal.</param>
/// <param name="Problem">The problem's type, e.g. <c>/problems/stale-epoch</c>.</param>
/// <param name="Detail">For people.</param>
public sealed record SignalRefused(string Pe, SignalKind Signal, string Problem, string Detail) : MoveInput;

/// <summary>No answer: the signal may or may not have been taken. It is sent again; it is idempotent.</summary>
public sealed record SignalLost(string Pe, SignalKind Signal, string Detail) : MoveInput;

/// <summary>A PE's view of the migration; null when it could not be read.</summary>
public sealed record MigrationSeen(string Pe, MigrationInfo? Info) : MoveInput;

/// <summary>Whether an ingress takes the direct path for all prefixes; false also when it could not be read.</summary>
public sealed record IngressSeen(string Pe, bool Direct, string? Detail = null) : MoveInput;

/// <summary>The server has stopped.</summary>
public sealed record ServerPaused : MoveInput;

/// <summary>The server is live.</summary>
public sealed record ServerResumed(string Site) : MoveInput;

/// <summary>The server is there; null = paused.</summary>
public sealed record ServerLocated(string? Site) : MoveInput;

/// <summary>The server's driver failed; what became of the server is not known.</summary>
public sealed record ServerFailed(string Detail) : MoveInput;
