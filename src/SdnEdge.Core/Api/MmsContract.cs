namespace SdnEdge.Core.Api;

/// <summary><c>GET /v1/node</c> of a manager.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Program version.</param>
/// <param name="Incarnation">Random; another one after each start.</param>
/// <param name="StartedAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Ready">True when it takes migrations.</param>
/// <param name="Fault">Why nothing moves; null = it does.</param>
/// <param name="Role">Of several managers: leader, or standby. Null = it is the only one.</param>
/// <param name="Leader">Of several managers: the name of the one that leads, as far as this one knows; null = none.</param>
/// <param name="LeaderApi">Where that one's API is; null = not known.</param>
/// <param name="Term">While it leads: its fencing token, etcd's revision at which it began to.</param>
public sealed record MmsNodeInfo(
    string Name, string Version, string Incarnation, long StartedAtNs, bool Ready, string? Fault = null, string? Role = null,
    string? Leader = null, string? LeaderApi = null, long? Term = null);

/// <summary>Body of <c>POST /v1/plans</c> (a dry run) and <c>POST /v1/migrations</c>.</summary>
/// <param name="Group">The group that moves.</param>
/// <param name="To">The site it goes to.</param>
/// <param name="Cutover">together (default): all stop, one pivot, all start. one-by-one: member by member.</param>
/// <param name="Hold">Caps of the hold; null = the group's.</param>
/// <param name="CopyMs">Stand-in servers only: how long the last copy of a server's state takes, milliseconds, 0 to 60000.</param>
/// <param name="QuietMs">How long a packet may be on its way in the tunnel, milliseconds, 1 to 60000; null = 500.</param>
/// <param name="KeepOrder">False: ingress PEs send no flush markers, order at the last step is not kept.</param>
/// <param name="OrderBoundMs">Longest time that packets of an ingress wait for its marker, milliseconds, 1 to 60000; null = 1000.</param>
/// <param name="OthersHoldMs">How long packets of PEs that send no markers wait, milliseconds, 0 to 60000.</param>
/// <param name="MaxBlackoutMs">Longest time for which nobody may run, milliseconds, 1 to 600000; null = the group's. A server whose memory
/// is copied is stopped only when less is predicted.</param>
/// <param name="KeepTrying">True: a server that changes its memory faster than it is carried is copied on and on, until it grows quieter.
/// False: the migration is undone as soon as that is clear.</param>
/// <param name="Window">When it may switch; null = as soon as it can.</param>
/// <param name="AtOnce">one-by-one only: most members on the way at once, 1 to 1000; null = the group's, or 1.</param>
/// <param name="Bandwidth">What the copies of the servers' memory may take of the network, all together, Mbit/s, 1 to 1000000; null = the
/// group's, or as much as the hosts' own files allow.</param>
public sealed record MigrationCall(
    string Group, string To, string? Cutover = null, HoldOptions? Hold = null, int CopyMs = 0, int? QuietMs = null, bool KeepOrder = true,
    int? OrderBoundMs = null, int OthersHoldMs = 0, int? MaxBlackoutMs = null, bool KeepTrying = false,
    WindowCall? Window = null, int? AtOnce = null, int? Bandwidth = null);

/// <summary>Something that keeps a migration from being started.</summary>
/// <param name="Reason">One word for its kind, e.g. <c>server-unknown</c>, <c>peer-unreachable</c>, <c>hold-too-small</c>,
/// <c>damped</c>, <c>machine-type</c>.</param>
/// <param name="Where">What it is about: a server, a PE, a prefix, a link.</param>
/// <param name="Detail">What is wrong and what would be right, with its number.</param>
public sealed record Obstacle(string Reason, string Where, string Detail);

/// <summary>What is predicted of a path's hold.</summary>
/// <param name="Path">Source and target PE.</param>
/// <param name="PacketsPerSecond">Packets that come for its prefixes now.</param>
/// <param name="PredictedPackets">Packets that will be held during the predicted blackout.</param>
/// <param name="CapacityPackets">Packets that fit.</param>
public sealed record HoldPrediction(string Path, double PacketsPerSecond, long PredictedPackets, long CapacityPackets);

/// <summary>Answer to <c>POST /v1/plans</c>: what a migration would do. Nothing was changed anywhere.</summary>
/// <param name="Group">The group.</param>
/// <param name="From">The site it leaves; null when that is not known.</param>
/// <param name="To">The site it goes to.</param>
/// <param name="Cutover">together or one-by-one.</param>
/// <param name="Obstacles">Everything that keeps it from being started; empty = it can be.</param>
/// <param name="PredictedBlackoutMs">Predicted time between stop and start, milliseconds; the longest of all servers.</param>
/// <param name="Holds">What the holds will keep.</param>
/// <param name="Servers">The servers that move.</param>
/// <param name="Prefixes">Number of prefixes that move.</param>
/// <param name="Warnings">What is worth knowing and keeps nothing from starting.</param>
/// <param name="Machines">The virtual machines among the servers; null = none, or no host says.</param>
public sealed record PlanInfo(
    string Group, string? From, string To, string Cutover, IReadOnlyList<Obstacle> Obstacles, double PredictedBlackoutMs,
    IReadOnlyList<HoldPrediction> Holds, IReadOnlyList<string> Servers, int Prefixes, IReadOnlyList<string> Warnings,
    IReadOnlyList<PlannedMachine>? Machines = null);

/// <summary>A virtual machine that is to move.</summary>
/// <param name="Server">The server.</param>
/// <param name="FromHost">The host that it leaves.</param>
/// <param name="From">What it is there; null = that host does not say.</param>
/// <param name="ToHost">The host that it goes to.</param>
/// <param name="To">What it would be there; null = that host does not say.</param>
public sealed record PlannedMachine(string Server, string FromHost, MachineInfo? From, string ToHost, MachineInfo? To);

/// <summary>A group and where its servers may run: <c>GET /v1/groups</c>.</summary>
/// <param name="Name">The group.</param>
/// <param name="Epoch">Highest epoch used for it; 0 = it was never moved.</param>
/// <param name="Servers">Its servers.</param>
/// <param name="Migration">The migration that runs; null = none.</param>
/// <param name="Protection">Its protection against the failure of its site; null = it has none.</param>
public sealed record GroupInfo(
    string Name, long Epoch, IReadOnlyList<GroupServerInfo> Servers, string? Migration, ProtectionInfo? Protection = null);

/// <summary>Body of <c>POST /v1/recover</c>.</summary>
/// <param name="Settle">Where each server in doubt is to run: the site, by server. A server is in doubt when no host, or two, have the
/// right to run it. Null = none is settled.</param>
public sealed record RecoverCall(IReadOnlyDictionary<string, string>? Settle = null);

/// <summary>A server of a group.</summary>
/// <param name="Name">The server.</param>
/// <param name="Site">The site that owns it by the journal; null = it was never moved, its hosts know.</param>
/// <param name="Epoch">The epoch under which it may run there.</param>
/// <param name="Sites">Sites that it can live at.</param>
public sealed record GroupServerInfo(string Name, string? Site, long Epoch, IReadOnlyList<string> Sites);

/// <summary>Why a step is not done.</summary>
/// <param name="Step">The step, e.g. <c>release m1.1 pe-b</c>.</param>
/// <param name="Reason">One word, e.g. <c>peer-unreachable</c>, <c>tunnel-down</c>, <c>damped</c>.</param>
/// <param name="Detail">For people.</param>
/// <param name="SinceNs">Since when it is open (CLOCK_MONOTONIC of the manager, nanoseconds).</param>
/// <param name="Remedy">What brings it to its end, for people; null = time alone.</param>
public sealed record WaitingInfo(string Step, string Reason, string? Detail, long SinceNs, string? Remedy = null);

/// <summary>A migration: <c>GET /v1/migrations/{id}</c>.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Group">The group.</param>
/// <param name="From">The site it leaves.</param>
/// <param name="To">The site it goes to.</param>
/// <param name="Cutover">together or one-by-one.</param>
/// <param name="State">running, suspected, undoing, moved, as-before, fenced, given-up. moved: the servers were seen running, the epoch is
/// in force, nothing is left over. suspected: a fail-over whose source hosts have not all said that its servers are dead there; nothing is
/// started before they have.</param>
/// <param name="Stage">Where the current move is.</param>
/// <param name="Epoch">Epoch in force.</param>
/// <param name="By">Who asked for it.</param>
/// <param name="At">When (ISO 8601, UTC).</param>
/// <param name="EndedAt">When it ended.</param>
/// <param name="Failure">The first thing that went wrong; null = nothing did.</param>
/// <param name="Waiting">What is open, and why it is not done.</param>
/// <param name="Committed">True: the trial is over, no rollback is offered.</param>
/// <param name="Moves">Its moves: one, or one a member. In a list, migrations that ended a while ago are without their moves: those are
/// in <c>GET /v1/migrations/{id}</c>.</param>
/// <param name="Unproved">What is not proved because an operator gave parties up, in plain words; null = nobody was given up.</param>
public sealed record MigrationStatus(
    string Id, string Group, string From, string To, string Cutover, string State, string Stage, long Epoch, string By, string At,
    string? EndedAt, string? Failure, IReadOnlyList<WaitingInfo> Waiting, bool Committed, IReadOnlyList<MoveStatus> Moves,
    IReadOnlyList<string>? Unproved = null)
{
    /// <summary>True when it has ended.</summary>
    public bool Ended => EndedAt is not null;
}

/// <summary>One atomic move of a migration. Times are CLOCK_MONOTONIC nanoseconds of the manager.</summary>
/// <param name="From">Site that the servers leave.</param>
/// <param name="To">Site that they go to.</param>
/// <param name="Epoch">Epoch in force.</param>
/// <param name="Stage">Where it is.</param>
/// <param name="Outcome">moved, as-before, fenced, given-up; null while it runs.</param>
/// <param name="Failure">Why it was undone; null = it was not.</param>
/// <param name="Servers">Its servers.</param>
/// <param name="Paths">Its pairs of PEs.</param>
/// <param name="Timeline">Stages that have ended, in order.</param>
/// <param name="Signals">Signals that PEs have carried out, in order.</param>
/// <param name="Orders">Orders that hosts have carried out, in order.</param>
/// <param name="Volumes">Its servers' volumes; null = they have none.</param>
/// <param name="Services">Services without state, of which the network alone moves; null = none.</param>
public sealed record MoveStatus(
    string From, string To, long Epoch, string Stage, string? Outcome, string? Failure, IReadOnlyList<ServerMoveStatus> Servers,
    IReadOnlyList<PathStatus> Paths, IReadOnlyList<StageTime> Timeline, IReadOnlyList<SignalTime> Signals, IReadOnlyList<OrderTime> Orders,
    IReadOnlyList<VolumeMoveStatus>? Volumes = null, IReadOnlyList<string>? Services = null);

/// <summary>A server of a move.</summary>
/// <param name="Name">The server.</param>
/// <param name="SourceHost">Host where it ran.</param>
/// <param name="TargetHost">Host where it will run.</param>
/// <param name="StoppedAtNs">When it was seen to stand still, by its host's clock; null = it did not stop.</param>
/// <param name="RunningAtNs">When it was seen running again, by that host's clock.</param>
public sealed record ServerMoveStatus(string Name, string SourceHost, string TargetHost, long? StoppedAtNs, long? RunningAtNs);

/// <summary>A pair of PEs of a move.</summary>
/// <param name="Id">The migration's id at the two PEs.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="SourcePe">PE that served the prefixes.</param>
/// <param name="TargetPe">PE that will.</param>
/// <param name="TargetLoopback">Loopback of that PE: next hop of the direct path.</param>
/// <param name="Prefixes">The prefixes.</param>
/// <param name="Ingress">PEs that must have the direct path.</param>
/// <param name="LocalPref">LOCAL_PREF of the target's advertisement.</param>
/// <param name="Ordered">True when flush markers keep order.</param>
/// <param name="Source">The source PE's last word before teardown.</param>
/// <param name="Target">The target PE's last word before teardown.</param>
/// <param name="DirectAt">When each ingress was seen on the direct path.</param>
/// <param name="ProvedByMarker">Ingress PEs whose flush markers showed it.</param>
/// <param name="Proof">What showed that the tunnel could go.</param>
/// <param name="Hold">Caps of the target's hold; null = the PE's defaults.</param>
public sealed record PathStatus(
    string Id, string Vrf, string SourcePe, string TargetPe, string TargetLoopback, IReadOnlyList<string> Prefixes,
        IReadOnlyList<string> Ingress,
    uint LocalPref, bool Ordered, MigrationInfo? Source, MigrationInfo? Target, IReadOnlyDictionary<string, long> DirectAt,
    IReadOnlyList<string> ProvedByMarker, TeardownProof Proof,
    HoldOptions? Hold = null);

/// <summary>A stage and its times.</summary>
public sealed record StageTime(string Stage, long StartNs, long EndNs, string? Error = null);

/// <summary>A signal that a PE has carried out.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="SentNs">When it was first sent.</param>
/// <param name="AnsweredNs">When the answer was here.</param>
/// <param name="Reply">The answer.</param>
public sealed record SignalTime(string Pe, long SentNs, long AnsweredNs, SignalReply Reply);

/// <summary>An order that a host has carried out.</summary>
/// <param name="Host">The host.</param>
/// <param name="SentNs">When it was first sent.</param>
/// <param name="AnsweredNs">When the answer was here.</param>
/// <param name="Reply">The answer.</param>
public sealed record OrderTime(string Host, long SentNs, long AnsweredNs, ServerReply Reply);

/// <summary>Body of <c>POST /v1/migrations/{id}/abort</c>.</summary>
/// <param name="Why">For the journal and the report.</param>
/// <param name="GiveUp">Hosts, PEs or a site that will not answer any more: it ends without their word, as given-up, and says what is not
/// proved; null = none. Only abort takes it.</param>
public sealed record AbortCall(string? Why = null, IReadOnlyList<string>? GiveUp = null);
