namespace SdnEdge.Core.Api;

/// <summary>
/// What the manager orders of a server host's agent, for one server. Each order carries the group's epoch, is idempotent, and is answered
/// when its effect is there; the agent has what it promises on disk before it answers. R1 to R8: the rules of the hand-over,
/// docs/design.md.
/// </summary>
public enum ServerOrder
{
    /// <summary>Source: the server runs here and can be moved. Target: what is needed to take it over is there, the server itself
    /// paused.</summary>
    Prepare,
    /// <summary>
    /// Source: the right to run goes, on disk (R4); the server stops; its state is handed over to the target, but only where that can be
    /// undone. Answered when that is done and it was seen to stand still.
    /// </summary>
    Stop,
    /// <summary>Source, of a server whose hand-over cannot be undone: its state is handed over. Comes after the pivot; for all others stop
    /// does it.</summary>
    HandOver,
    /// <summary>Target: "will run this epoch" is on disk (R6), then the server runs. Answered when it was seen running.</summary>
    Activate,
    /// <summary>Source, of a move that is undone: the right to run of the higher epoch is on disk, then the server runs again.</summary>
    Resume,
    /// <summary>Target, of a move that is undone: what prepare made goes; the older epoch is never run here.</summary>
    Cancel,
    /// <summary>Target: says from disk, for ever, whether it has run this epoch or never will (R5).</summary>
    Void,
    /// <summary>Source, after the server runs at the target: what was kept of it goes (R7).</summary>
    Retire,
    /// <summary>
    /// A server that may run here and does not: for the first time, or after it has died. Carries the epoch under which it may run here (0
    /// before its first move), and changes no right.
    /// </summary>
    Start,
    /// <summary>
    /// Source, of a fail-over: the right to run goes and the epoch is void here, on disk; then the server is killed. Answered when it was
    /// seen to be gone, with the verdict void: nothing of it runs here, and nothing will under this epoch. It is taken in any state.
    /// </summary>
    Fence,
}

/// <summary>What a server is doing on this host.</summary>
public enum ServerState
{
    /// <summary>Nothing of it is here.</summary>
    Absent,
    /// <summary>It runs.</summary>
    Running,
    /// <summary>It stands still, kept until it is retired or resumed.</summary>
    Paused,
    /// <summary>It is expected: what it needs is here, it has not run yet.</summary>
    Incoming,
    /// <summary>The driver cannot say.</summary>
    Unknown,
}

/// <summary>Body of <c>POST /v1/servers/{name}/{order}</c>.</summary>
/// <param name="Epoch">Epoch of the group; one that is lower than the highest seen for this server is refused (409 stale-epoch). 0 only
/// for start.</param>
/// <param name="Migration">Id of the migration, for logs and events.</param>
/// <param name="Role">Prepare: which end this host is.</param>
/// <param name="PeerHost">Prepare: name of the host at the other end.</param>
/// <param name="CopyMs">Stop, stand-in only: how long the copy of the last of the server's state takes, milliseconds; 0 to 60000.</param>
/// <param name="MaxStopMs">Prepare of a source: longest time for which nobody may run, milliseconds, 1 to 600000; null = 2000.</param>
/// <param name="StaleVolumes">Activate: identities of volumes whose copy at this site is stale by the manager's record: its store grants
/// none of them. Null = none is.</param>
/// <param name="SyncNotBefore">Prepare of a source: its volumes are not put into sync mode before this time; null = as soon as that helps.
/// </param>
/// <param name="CopyBytesPerSecond">Prepare of a source: what the copies of this migration that go on at this host at once may take
/// together, bytes/s; null = as much as the host's own file allows.</param>
/// <param name="Cold">Of a fail-over. Activate: nothing comes from the source; it is started from its volumes, and need not have been
/// prepared. Resume: it was fenced, and is started anew.</param>
public sealed record ServerOrderRequest(
    long Epoch, string Migration, MigrationRole? Role = null, string? PeerHost = null, int CopyMs = 0, int? MaxStopMs = null,
    IReadOnlyList<Guid>? StaleVolumes = null, DateTimeOffset? SyncNotBefore = null, long? CopyBytesPerSecond = null, bool Cold = false);

/// <summary>What is said about an epoch for ever (R5).</summary>
public enum EpochVerdict
{
    /// <summary>The host has promised to run it, or has run it.</summary>
    Ran,
    /// <summary>The host never ran it and refuses to.</summary>
    Void,
}

/// <summary>Answer to an order, given when its effect is there.</summary>
/// <param name="Server">The server.</param>
/// <param name="Order">The order answered.</param>
/// <param name="Epoch">Highest epoch seen for this server.</param>
/// <param name="State">What the server is doing here now.</param>
/// <param name="Repeated">True when it had been carried out before and nothing was done now.</param>
/// <param name="TookEffectAtNs">CLOCK_MONOTONIC of the host, nanoseconds: stop: seen to stand still; activate, resume: seen
/// running.</param>
/// <param name="Verdict">Void and fence only.</param>
/// <param name="Volumes">Stop, activate, resume, retire: what was done with the server's volumes in this move; null = it has none.</param>
public sealed record ServerReply(
    string Server, ServerOrder Order, long Epoch, ServerState State, bool Repeated, long TookEffectAtNs, EpochVerdict? Verdict = null,
    IReadOnlyList<VolumeStepInfo>? Volumes = null);

/// <summary>How far the state of a server that is being moved has been copied.</summary>
/// <param name="Ready">True when the rest can be copied within the predicted blackout.</param>
/// <param name="CopiedBytes">Bytes copied so far, all passes.</param>
/// <param name="RemainingBytes">Bytes to be copied.</param>
/// <param name="PredictedBlackoutMs">Predicted time between stop and start, milliseconds, if it were stopped now.</param>
/// <param name="Pass">The pass over its memory that is under way, from 1; 0 = the driver knows no passes.</param>
/// <param name="BytesPerSecond">Rate at which it is copied; 0 = not known yet.</param>
/// <param name="DirtyBytesPerSecond">Rate at which the server changes what was copied; 0 = not known yet.</param>
/// <param name="NotConverging">Why this copy cannot come to an end, with its numbers; null = it may.</param>
public sealed record MirrorProgress(
    bool Ready, long CopiedBytes, long RemainingBytes, double PredictedBlackoutMs, int Pass = 0, double BytesPerSecond = 0,
    double DirtyBytesPerSecond = 0, string? NotConverging = null);

/// <summary><c>GET /v1/servers/{name}/copy</c>: the last copy of a server's memory from this host to another. Times: CLOCK_MONOTONIC of the
/// host, nanoseconds.</summary>
/// <param name="Migration">Its migration.</param>
/// <param name="Epoch">Its epoch.</param>
/// <param name="PeerHost">The host that it went to.</param>
/// <param name="BeganAtNs">When it began.</param>
/// <param name="EndedAtNs">When all was there, or it was broken off; null = it goes on.</param>
/// <param name="Completed">True when all was there.</param>
/// <param name="CopiedBytes">Bytes that were sent, with their headers.</param>
/// <param name="WireBytes">Bytes that went over the network for them; fewer when they are compressed.</param>
/// <param name="Pass">Passes over the memory, from 1.</param>
/// <param name="Samples">How it went, oldest first: one every 100 ms while it is short, fewer later; 1000 at most.</param>
public sealed record CopyInfo(
    string Migration, long Epoch, string PeerHost, long BeganAtNs, long? EndedAtNs, bool Completed, long CopiedBytes, long WireBytes,
    int Pass, IReadOnlyList<CopySample> Samples);

/// <summary>A moment of a copy.</summary>
/// <param name="AtNs">When.</param>
/// <param name="Pass">The pass that was under way.</param>
/// <param name="RemainingBytes">What was left of it.</param>
/// <param name="CopiedBytes">Bytes copied by then.</param>
/// <param name="BytesPerSecond">Rate at which it was copied.</param>
/// <param name="DirtyBytesPerSecond">Rate at which the server changed its memory.</param>
/// <param name="GateShut">True while the relay's gate kept the last of it back.</param>
public sealed record CopySample(
    long AtNs, int Pass, long RemainingBytes, long CopiedBytes, double BytesPerSecond, double DirtyBytesPerSecond, bool GateShut);

/// <summary><c>GET /v1/servers/{name}</c>.</summary>
/// <param name="Name">The server.</param>
/// <param name="Driver">stand-in, exec.</param>
/// <param name="State">What it is doing here.</param>
/// <param name="Epoch">Highest epoch seen for it; 0 = none.</param>
/// <param name="MayRun">The epoch under which it may run here; null = it may not.</param>
/// <param name="RanEpoch">Highest epoch that this host has promised to run, or has run; 0 = none.</param>
/// <param name="VoidEpoch">Highest epoch that this host has said it will never run; 0 = none.</param>
/// <param name="Migration">The migration it is part of; null = none.</param>
/// <param name="Undoable">False: once handed over the server cannot be resumed at the source, so the pivot must come before the
/// hand-over.</param>
/// <param name="Mirror">Copying of its state, while it is prepared; null = nothing is copied before the stop.</param>
/// <param name="Fault">What is wrong with it here, for people; null = nothing.</param>
/// <param name="Phase">How far the host has got with it, as it is on disk, e.g. <c>stopped</c>, <c>handed-over</c>, <c>incoming</c>; null =
/// an agent of an older version.</param>
/// <param name="Machine">The virtual machine that it is; null = the driver knows none.</param>
/// <param name="Volumes">Its volumes, as the site's store has them; null = it has none, or an agent of an older version.</param>
/// <param name="Lease">The lease under which alone it may run here; null = it needs none.</param>
public sealed record ServerInfo(
    string Name, string Driver, ServerState State, long Epoch, long? MayRun, long RanEpoch, long VoidEpoch, string? Migration,
        bool Undoable,
    MirrorProgress? Mirror = null, string? Fault = null, string? Phase = null, MachineInfo? Machine = null,
    IReadOnlyList<ServerVolumeInfo>? Volumes = null, ServerLeaseInfo? Lease = null);

/// <summary><c>GET /v1/node</c> of a server host's agent.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Version">Program version.</param>
/// <param name="Incarnation">Random; another one after each start.</param>
/// <param name="StartedAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Ready">True when it takes orders.</param>
/// <param name="Fault">Why it takes none; null = it does.</param>
public sealed record HostNodeInfo(string Name, string Site, string Version, string Incarnation, long StartedAtNs, bool Ready,
    string? Fault = null);
