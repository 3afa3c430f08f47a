using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary>How the members of a group change over.</summary>
public enum Cutover
{
    /// <summary>All stop, one pivot for all, all start.</summary>
    Together,
    /// <summary>Member by member, each with a pivot of its own; should one fail, those on the way beside it are undone while that is still
    /// possible, and those that have moved move back.</summary>
    OneByOne,
}

/// <summary>What a user asks for.</summary>
/// <param name="Group">The group.</param>
/// <param name="To">Site that it goes to.</param>
/// <param name="Cutover">How its members change over.</param>
/// <param name="Options">Bounds; null = defaults.</param>
/// <param name="AtOnce">One by one: most members on the way at once; null = one. Together there is one move, of all.</param>
/// <param name="Bandwidth">What the copies may take, all together, Mbit/s; null = no limit of its own.</param>
public sealed record MigrationRequest(
    string Group, string To, Cutover Cutover = Cutover.Together, MoveOptions? Options = null, int? AtOnce = null, int? Bandwidth = null);

/// <summary>Bounds of a move. Times are milliseconds.</summary>
/// <param name="Hold">Caps of the hold at the target PE; null = the group's, or the PE's defaults.</param>
/// <param name="CopyMs">Stand-in servers only: how long the last copy of a server's state takes.</param>
/// <param name="QuietMs">How long a packet may be on its way in the tunnel: where no marker proves that it is empty, this long without a
/// packet does.</param>
/// <param name="KeepOrder">True: ingress PEs send flush markers, and the target keeps order by them.</param>
/// <param name="OrderBoundMs">Longest time that an ingress's direct packets wait at the target for its marker, 1 to 60000.</param>
/// <param name="OthersHoldMs">How long packets of PEs that send no markers wait, 0 to 60000; 0 = they are delivered as they come.</param>
/// <param name="StepMs">For a party to carry out one step before the pivot, retries included. After the pivot there is no bound: it
/// waits.</param>
/// <param name="StopMs">For a server to stop and be handed over. A plan has less where the hold has no room for longer.</param>
/// <param name="MirrorMs">For the copy of a server's state to reach its convenient point.</param>
/// <param name="HoldDrainMs">Longest delay of the advertisement while the hold drains.</param>
/// <param name="DrainMs">Without markers: longest wait for the tunnel to be quiet.</param>
/// <param name="StopByHold">True: <paramref name="StopMs"/> is how long the hold takes what comes; then it drops.</param>
/// <param name="MaxBlackoutMs">Longest time for which nobody may run, from the source's stop to the target's start, as far as it can be
/// predicted. In a plan: no more than the hold takes. Null: as long as it takes; plans of the first version do not say it.</param>
/// <param name="KeepTrying">True: a copy that does not converge is not given up.</param>
/// <param name="Window">When it may switch; null = as soon as it can.</param>
public sealed record MoveOptions(
    HoldOptions? Hold = null, int CopyMs = 0, int QuietMs = 500, bool KeepOrder = true, int OrderBoundMs = 1000, int OthersHoldMs = 0,
    int StepMs = 15_000, int StopMs = 30_000, int MirrorMs = 3_600_000, int HoldDrainMs = 2_000, int DrainMs = 10_000,
    bool StopByHold = false, int? MaxBlackoutMs = null, bool KeepTrying = false, MoveWindow? Window = null);

/// <summary>When a move may switch: its volumes follow before, its preparations begin shortly before, and when it is over nothing has been
/// switched.</summary>
/// <param name="From">From then on.</param>
/// <param name="To">Until then; a switch that has begun goes on.</param>
/// <param name="LeadMs">How long before <paramref name="From"/> the preparations begin, milliseconds.</param>
public sealed record MoveWindow(DateTimeOffset From, DateTimeOffset To, int LeadMs)
{
    /// <summary>When the preparations begin.</summary>
    public DateTimeOffset Near => From.AddMilliseconds(-LeadMs);
}

/// <summary>A volume that moves with its server.</summary>
/// <param name="Name">Its name at both sites.</param>
/// <param name="Id">Its identity at both sites.</param>
public sealed record MovedVolume(string Name, Guid Id);

/// <summary>A server of a move and the hosts at its two ends.</summary>
/// <param name="Name">The server.</param>
/// <param name="SourceHost">Host agent where it runs.</param>
/// <param name="TargetHost">Host agent where it will run.</param>
/// <param name="Undoable">False: once handed over it cannot run at the source again, so it is handed over after the pivot.</param>
/// <param name="Volumes">Its volumes; null = it has none. Plans of earlier versions do not say them.</param>
/// <param name="CopyBytesPerSecond">What the copies of its migration that go on at one host at once may take together, bytes/s; null = no
/// limit of the migration's.</param>
public sealed record ServerMove(
    string Name, string SourceHost, string TargetHost, bool Undoable = true, IReadOnlyList<MovedVolume>? Volumes = null,
    long? CopyBytesPerSecond = null);

/// <summary>One end of a path: a PE and the prefixes on its port.</summary>
/// <param name="Pe">The PE.</param>
/// <param name="Loopback">Its loopback that is the far end of the tunnel and the next hop of its routes.</param>
/// <param name="Loopbacks">All its loopbacks.</param>
/// <param name="Prefixes">The moving prefixes on this PE.</param>
public sealed record PathEnd(string Pe, string Loopback, IReadOnlyList<string> Loopbacks, IReadOnlyList<MovingPrefix> Prefixes);

/// <summary>
/// The network's part of a move for one pair of PEs and one VRF: one tunnel, one redirect group, one hold. A move has as many as its
/// servers have pairs and VRFs.
/// </summary>
/// <param name="Id">Id of the migration at the two PEs.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Source">Where the prefixes are.</param>
/// <param name="Target">Where they go.</param>
/// <param name="Ingress">PEs that must have the direct path before the source withdraws.</param>
/// <param name="TunnelKey">GRE key, used by no other tunnel between the two PEs.</param>
/// <param name="LocalPref">LOCAL_PREF of the target's advertisement.</param>
/// <param name="SourceLocalPref">LOCAL_PREF that the source lowers its own to from the switch on; null = as before.</param>
/// <param name="Hold">Caps of the hold; null = the PE's defaults.</param>
/// <param name="Order">How order is kept when ingress PEs take the direct path; null = it is not.</param>
/// <param name="OtherIngress">Traffic also comes by PEs that are not in <paramref name="Ingress"/>: markers alone do not prove that the
/// tunnel is empty.</param>
/// <param name="KeepBackMs">By how much the source's way to an ingress is longer than the target's, milliseconds: what the servers send
/// first at the target waits so long, counted from the stop.</param>
public sealed record PathMove(
    string Id, string Vrf, PathEnd Source, PathEnd Target, IReadOnlyList<string> Ingress, uint TunnelKey, uint LocalPref,
    uint? SourceLocalPref = null, HoldOptions? Hold = null, OrderOptions? Order = null, bool OtherIngress = false,
    int KeepBackMs = 0);

/// <summary>One atomic move: these servers and their prefixes, all or none.</summary>
/// <param name="Migration">Id of the migration that it is part of; the ids of its paths begin with it.</param>
/// <param name="Epoch">Epoch that the pivot grants to the target. Undoing burns it and grants the next one to the source (R2).</param>
/// <param name="From">Site that the servers leave.</param>
/// <param name="To">Site that they go to.</param>
/// <param name="Servers">The servers.</param>
/// <param name="Paths">The network's part.</param>
/// <param name="Options">Bounds.</param>
/// <param name="Ahead">True: what a later stage asks may be asked in the stage before it. Plans of the first version do not say it.</param>
/// <param name="Settle">An operator settles it after its journal was lost; null: it is a move from its beginning.</param>
/// <param name="Services">
/// Services without state whose prefixes move: an instance of each runs at both ends, so that no host is asked anything. Null: none; then
/// there are <paramref name="Servers"/>, else there is none of these.
/// </param>
/// <param name="Failover">The source has failed: it is fenced instead of asked to hand over. Null: it is a move.</param>
public sealed record MovePlan(
    string Migration, long Epoch, string From, string To, IReadOnlyList<ServerMove> Servers, IReadOnlyList<PathMove> Paths,
        MoveOptions Options, bool Ahead = false, Settlement? Settle = null, IReadOnlyList<string>? Services = null,
        Failover? Failover = null)
{
    /// <summary>True when nothing is stopped and nothing started: the network alone moves.</summary>
    [JsonIgnore]
    public bool IsStateless => Servers.Count == 0;

    /// <summary>The names of what moves: servers, or services without state.</summary>
    [JsonIgnore]
    public IEnumerable<string> Names => Servers.Select(s => s.Name).Concat(Services ?? []);
}

/// <summary>By what it is known that nothing of a group runs at the site that has failed.</summary>
public enum FenceKind
{
    /// <summary>The agents of its hosts say, from disk, that its servers are dead there and that they run none under the epoch.</summary>
    Kill,

    /// <summary>That, or the last lease under which its servers could run there has run out: whichever comes first.</summary>
    Lease,
}

/// <summary>What a fail-over rests on.</summary>
/// <param name="Fence">By what the source is known to run nothing.</param>
/// <param name="Why">Why it was begun.</param>
/// <param name="AcceptLoss">Volumes whose copy at the target is stale, and that are started from all the same: an operator has named them.
/// Null: none.</param>
/// <param name="Lease">The lease to which all of its servers at the source are bound; null: they are bound to none.</param>
public sealed record Failover(FenceKind Fence, string Why, IReadOnlyList<Guid>? AcceptLoss = null, SiteLease? Lease = null);

/// <summary>The leases under which alone servers of a group may run at a site.</summary>
/// <param name="Witness">Name of the witness that grants them.</param>
/// <param name="Group">The group.</param>
/// <param name="Site">The site.</param>
/// <param name="Epoch">Their epoch.</param>
public sealed record SiteLease(string Witness, string Group, string Site, long Epoch);

/// <summary>
/// How a move is settled that was half way when its journal was lost. <see cref="MovePlan.Epoch"/> is one that nobody has seen, and nobody
/// is granted it: when all hosts have said that it is void for them, the site that was named is granted the next one.
/// </summary>
/// <param name="AtTarget">True: the servers are to run at the move's target, and it goes on there. False: they run at its source again, and
/// it is undone.</param>
/// <param name="Asks">What every host of the servers is asked before anybody is granted anything.</param>
public sealed record Settlement(bool AtTarget, IReadOnlyList<SettleAsk> Asks);

/// <summary>A question of a settlement.</summary>
/// <param name="Host">The host.</param>
/// <param name="Server">The server.</param>
/// <param name="Order">Void; or retire, where a second host has the right to run the server and does not run it.</param>
/// <param name="Epoch">Void: the highest epoch seen of the server (did it run?), and the plan's (it never will). Retire: the
/// plan's.</param>
public sealed record SettleAsk(string Host, string Server, ServerOrder Order, long Epoch);
