using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Api;

/// <summary>JSON settings shared by server, client, CLI and reports: camelCase names, enums as kebab-case words.</summary>
public static class ApiJson
{
    /// <summary>The settings. Do not change them after first use.</summary>
    public static readonly JsonSerializerOptions Options = With();

    /// <summary>The same, indented for people.</summary>
    public static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };

    /// <summary>The same settings, for what the API's types and <paramref name="more"/> describe. Nothing is found by reflection: the
    /// program is compiled ahead of time.</summary>
    public static JsonSerializerOptions With(params ReadOnlySpan<IJsonTypeInfoResolver> more) => new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        TypeInfoResolver = JsonTypeInfoResolver.Combine([.. more, ApiTypes.Default]),
        Converters =
        {
            Words<SignalKind>(), Words<MigrationRole>(), Words<HoldOverflowPolicy>(), Words<PeMigrationState>(), Words<BgpPeerAction>(),
            Words<WatchState>(),
            Words<GateOpening>(), Words<ServerOrder>(), Words<ServerState>(), Words<EpochVerdict>(), Words<TeardownProof>(),
            Words<DiskReach>(), Words<ReplicationMode>(), Words<PeerGoneAction>(), Words<LagAction>(), Words<OwnerRole>(),
            Words<OwnershipOrderKind>(), Words<GrantVerdict>(), Words<Protection>(), Words<ReplicationAlarm>(), Words<CopyPhase>(),
            Words<ClientKind>(), Words<StoreProblem>(),
        },
    };

    /// <summary>How <typeparamref name="T"/> is read and written with these settings.</summary>
    public static JsonTypeInfo<T> For<T>(this JsonSerializerOptions options) => (JsonTypeInfo<T>)options.GetTypeInfo(typeof(T));

    private static JsonStringEnumConverter<T> Words<T>() where T : struct, Enum => new(JsonNamingPolicy.KebabCaseLower);
}

/// <summary>RFC 9457 problem details.</summary>
/// <param name="Type">URI reference that names the kind of problem, e.g. <c>/problems/stale-epoch</c>.</param>
/// <param name="Title">Short summary, the same for each problem of this type.</param>
/// <param name="Status">HTTP status.</param>
/// <param name="Detail">What was wrong here and what would be right.</param>
/// <param name="Errors">All errors at once, where there are several.</param>
public sealed record Problem(string Type, string Title, int Status, string Detail, IReadOnlyList<ProblemError>? Errors = null);

/// <summary>One of several errors: where it is and what would be right.</summary>
public sealed record ProblemError(string Pointer, string Detail);

/// <summary>What the MMS says to a PE about a migration.</summary>
public enum SignalKind
{
    /// <summary>Source: tunnel up and probed, redirect group armed. Target: tunnel accepted, hold armed.</summary>
    Prepare,
    /// <summary>Source: traffic of the group goes into the tunnel. One store.</summary>
    Switch,
    /// <summary>Target: what was held is sent, in order, then all traffic passes.</summary>
    Release,
    /// <summary>Target: advertise the prefixes with the higher LOCAL_PREF.</summary>
    Advertise,
    /// <summary>Source: withdraw the prefixes.</summary>
    Withdraw,
    /// <summary>Both: take tunnel, group and hold away.</summary>
    Teardown,
    /// <summary>Both: back to the state before prepare, as far as the state allows.</summary>
    Abort,
}

/// <summary>Which end of the move this PE is.</summary>
public enum MigrationRole
{
    /// <summary>PE_a: where the server is before the move.</summary>
    Source,
    /// <summary>PE_b: where the server is after the move.</summary>
    Target,
}

/// <summary>What a full hold does with a packet.</summary>
public enum HoldOverflowPolicy
{
    /// <summary>The arriving packet is dropped.</summary>
    DropNewest,
    /// <summary>The oldest held packets make room.</summary>
    DropOldest,
}

/// <summary>Caps of the hold at the egress PE.</summary>
/// <param name="MaxBytes">Most bytes held; default 64 MiB.</param>
/// <param name="MaxPackets">Most packets held; default 262144.</param>
/// <param name="MaxMilliseconds">Longest time a packet is held; older ones are dropped and counted. Default 10000.</param>
/// <param name="Overflow">What to do when a cap is reached.</param>
/// <param name="ReleasePacketsPerSecond">
/// Pace of the release, so that the server's queue is not flooded; 0 = as fast as possible. Default: five times the rate at which the held
/// packets came, so that emptying takes a fifth of the time that they were held for.
/// </param>
/// <param name="Disabled">True: the target does not hold; what arrives is forwarded at once (and lost while no server answers).</param>
public sealed record HoldOptions(
    long MaxBytes = 64L << 20, int MaxPackets = 262_144, int MaxMilliseconds = 10_000,
    HoldOverflowPolicy Overflow = HoldOverflowPolicy.DropNewest, int? ReleasePacketsPerSecond = null, bool Disabled = false);

/// <summary>One of the moving prefixes, and where its server lives on the PE that has it.</summary>
/// <param name="Prefix">e.g. <c>10.1.1.10/32</c>.</param>
/// <param name="Port">The attachment port on this PE (source: where it is now; target: where it will be).</param>
/// <param name="NextHop">The server or CE address on that port; null when the prefix is a host on the port's own subnet.</param>
public sealed record MovingPrefix(string Prefix, string Port, string? NextHop = null);

/// <summary>
/// Body of <c>POST /v1/migrations/{id}/prepare</c>. The other signals need only <see cref="Epoch"/>; abort and teardown may say
/// role, VRF and prefixes too, so that the prefixes are fenced, and what is over is known to be over, when the PE does not know
/// the migration (any more).
/// </summary>
/// <param name="Epoch">Fencing number: a signal with an epoch lower than the highest seen for this migration or its prefixes is
/// refused.</param>
/// <param name="Role">Which end this PE is (prepare; may be said with abort and teardown).</param>
/// <param name="Vrf">VRF of the prefixes (prepare; may be said with abort and teardown); null = default.</param>
/// <param name="Prefixes">The moving prefixes (prepare; may be said with abort and teardown, then without ports).</param>
/// <param name="Peer">Loopback address of the other PE, the tunnel's far end (prepare only).</param>
/// <param name="TunnelKey">GRE key of the migration tunnel (prepare only).</param>
/// <param name="Hold">Caps of the hold (prepare at the target only; null = defaults).</param>
/// <param name="LocalPref">LOCAL_PREF to advertise with (advertise; null = 200), or with which the source tells its prefixes from the
/// switch on (switch; null = as before).</param>
/// <param name="Order">How order is kept when ingress PEs take the direct path (prepare; the source sees their flush markers go by; null =
/// it is not).</param>
/// <param name="Force">Teardown at the source: also when this PE is left without a route to a moved prefix.</param>
/// <param name="WaitMs">
/// How long the PE may wait until the signal is possible (the one before it in the order of signals is executed, the hold is empty, the
/// other route is there) before it refuses, milliseconds, 0 to 10000. With it a signal can be sent together with the one before it.
/// </param>
/// <param name="KeepBackMs">
/// By how much the way from the source to an ingress is longer than the one from here, milliseconds, 0 to 1000. Prepare at the target: what
/// the servers send first, once they are here, is kept back for so long, so that it does not overtake what they sent from the source.
/// Release: how much of that is left.
/// </param>
/// <param name="AfterMarkers">
/// Withdraw and teardown, where order is kept: only when nothing of the move is under way by the old path to this PE any more. At the
/// source the flush markers of all ingress PEs have gone by; at the target theirs and the source's have come out of the tunnel, and what
/// was held for them is delivered. With <paramref name="WaitMs"/> the PE waits for that.
/// </param>
/// <param name="AfterServers">
/// Release: only when each server behind the target's ports that can be asked (a host's prefix, or one with a next hop) answers ARP or ND
/// there: it runs. With <paramref name="WaitMs"/> the PE asks until then, so that nobody waits for the manager.
/// </param>
/// <param name="BackupLocalPref">
/// Prepare at the target: until it advertises the prefixes, or the migration ends, this PE tells them to its iBGP peers with this
/// LOCAL_PREF, lower than the source's, and goes on using the source's route: ingress PEs have a second path, which they take at once when
/// the source PE fails. Null = it does not.
/// </param>
/// <param name="BackupExcept">
/// With <paramref name="BackupLocalPref"/>: those of the prefixes that are not told as a backup, since the source does not tell exactly
/// them. Null = none.
/// </param>
/// <param name="Watch">
/// Prepare at the source: an armed backup. As soon as one of these fails, the PE switches by itself, by one store, and is then flipped;
/// when all of them are back it goes back by itself, in order, unless a switch has confirmed it meanwhile. Null = it switches when told.
/// </param>
public sealed record SignalRequest(
    long Epoch, MigrationRole? Role = null, string? Vrf = null, IReadOnlyList<MovingPrefix>? Prefixes = null,
    string? Peer = null, uint? TunnelKey = null, HoldOptions? Hold = null, uint? LocalPref = null, OrderOptions? Order = null,
    bool Force = false, int WaitMs = 0, int KeepBackMs = 0, bool AfterMarkers = false, bool AfterServers = false,
    IReadOnlyList<WatchedPart>? Watch = null, uint? BackupLocalPref = null, IReadOnlyList<string>? BackupExcept = null);

/// <summary>
/// One way by which a source PE notices that its site has failed. Exactly one of <paramref name="Bfd"/>, <paramref name="Carrier"/> and
/// <paramref name="Neighbor"/> is set. What has not been seen working since it was armed does not fail.
/// </summary>
/// <param name="Bfd">Peer of a BFD session that this PE has, in the prefixes' VRF or in the default VRF.</param>
/// <param name="Carrier">Network device in the PE's namespace whose carrier counts.</param>
/// <param name="Neighbor">A host's address on the subnet of one of the VRF's ports: it is asked for by ARP or ND all the time.</param>
public sealed record WatchedPart(string? Bfd = null, string? Carrier = null, string? Neighbor = null)
{
    /// <summary>For people.</summary>
    public override string ToString() => this switch
    {
        { Bfd: { } peer } => $"BFD of {peer}",
        { Carrier: { } device } => $"carrier of {device}",
        _ => $"neighbour {Neighbor}",
    };
}

/// <summary>State of what is watched.</summary>
public enum WatchState
{
    /// <summary>Not seen working yet, or taken down by an operator: it says nothing.</summary>
    Unknown,
    /// <summary>It works.</summary>
    Up,
    /// <summary>It has failed.</summary>
    Down,
}

/// <summary>What is watched, and how it is.</summary>
/// <param name="Part">What.</param>
/// <param name="State">How it is.</param>
/// <param name="SinceNs">Since when, CLOCK_MONOTONIC of the PE, nanoseconds; for BFD by its own process's clock readings.</param>
/// <param name="Why">Why it is so, for people.</param>
public sealed record WatchInfo(WatchedPart Part, WatchState State, long SinceNs, string Why);

/// <summary>An armed backup at the source. Times are CLOCK_MONOTONIC of the PE, nanoseconds.</summary>
/// <param name="Watch">What is watched.</param>
/// <param name="Flips">How often it has flipped since it was armed, or since the PE was started.</param>
/// <param name="FalseAlarms">How many of these it took back by itself.</param>
/// <param name="Unordered">How many of those went back without the target's word that nothing was left with it: order was not kept.</param>
/// <param name="NoticedAtNs">Last flip: when the watch failed; null: none.</param>
/// <param name="FlippedAtNs">Last flip: when the store was made.</param>
/// <param name="AcknowledgedAtNs">Last flip: when every worker went by it.</param>
/// <param name="BackAtNs">Last false alarm: when all went natively again; null: none.</param>
/// <param name="Unready">Why it would not flip now; null: it would.</param>
public sealed record BackupInfo(
    IReadOnlyList<WatchInfo> Watch, int Flips, int FalseAlarms, int Unordered, long? NoticedAtNs, long? FlippedAtNs, long? AcknowledgedAtNs,
    long? BackAtNs, string? Unready);

/// <summary>
/// How the target keeps order, and the source knows that no more comes, while ingress PEs go over from the old path (by the source PE and
/// the tunnel) to the direct one.
/// </summary>
/// <param name="Ingress">PEs that send flush markers; their clients' packets wait at the target for them.</param>
/// <param name="BoundMs">Longest time such a packet waits when the marker does not come, 1 to 60000 ms.</param>
/// <param name="OthersHoldMs">
/// PEs that send none: 0 = their packets are delivered as they come, reordering accepted and counted; otherwise the first of
/// each such PE, and what follows, wait so long, 1 to 60000 ms: longer than the old path is longer than the direct one.
/// </param>
public sealed record OrderOptions(IReadOnlyList<OrderedIngress> Ingress, int BoundMs = 1000, int OthersHoldMs = 0);

/// <summary>An ingress PE that sends flush markers.</summary>
/// <param name="Name">Its name, for people.</param>
/// <param name="Loopbacks">Its loopbacks: the BGP next hops of its clients' prefixes.</param>
public sealed record OrderedIngress(string Name, IReadOnlyList<string> Loopbacks);

/// <summary>How order was kept: the target's view, or which flush markers went by the source.</summary>
/// <param name="Tag">Tag of the move, in its routes and markers.</param>
/// <param name="Proved">True when no ingress that sends markers has anything under way to this PE on the old path any more; at the source,
/// when the copies of their markers have gone by, too.</param>
/// <param name="Gates">One for each loopback of an ingress.</param>
/// <param name="Unordered">Packets delivered as they came because their ingress has no gate.</param>
/// <param name="StrangeMarkers">Markers of another move, or from nobody who has a gate.</param>
public sealed record OrderInfo(uint Tag, bool Proved, IReadOnlyList<OrderGateInfo> Gates, long Unordered, long StrangeMarkers);

/// <summary>The gate of an ingress.</summary>
/// <param name="Ingress">Name of the PE.</param>
/// <param name="Loopback">Its loopback.</param>
/// <param name="SendsMarkers">False: the gate opens by time alone.</param>
/// <param name="OpenedBy">Why it is open.</param>
/// <param name="Expected">Prefixes of the address family that move.</param>
/// <param name="Moved">Those of which a marker has come.</param>
/// <param name="Proved">True when that is all of them.</param>
/// <param name="MovedAtNs">When the ingress moved the last one, by its own CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="MarkerAtNs">When its marker came here.</param>
/// <param name="OpenedAtNs">When the gate opened.</param>
/// <param name="PacketsHeldTotal">Packets it kept, in all.</param>
/// <param name="PacketsHeldNow">Packets it keeps.</param>
/// <param name="PeakPackets">Most packets at once.</param>
/// <param name="Dropped">Packets that did not fit.</param>
public sealed record OrderGateInfo(
    string Ingress, string Loopback, bool SendsMarkers, Migration.GateOpening OpenedBy, uint Expected, uint Moved, bool Proved,
    long? MovedAtNs, long? MarkerAtNs, long? OpenedAtNs, long PacketsHeldTotal, long PacketsHeldNow, long PeakPackets, long Dropped);

/// <summary>What showed that the tunnel could go.</summary>
public enum TeardownProof
{
    /// <summary>The tunnel was not torn down.</summary>
    None,
    /// <summary>Flush markers of every ingress PE, and the source's last one, came out of the tunnel: nothing is behind them.</summary>
    Markers,
    /// <summary>Every ingress has the direct route, and no packet entered the tunnel for the quiet time.</summary>
    Quiet,
    /// <summary>Neither within its time: a fallback.</summary>
    Timer,
}

/// <summary>Answer to a signal, given after every worker has passed a batch boundary.</summary>
/// <param name="Migration">Migration id.</param>
/// <param name="Signal">The signal answered.</param>
/// <param name="State">State of the migration on this PE now.</param>
/// <param name="Epoch">Epoch in force.</param>
/// <param name="Repeated">True when the signal had taken effect before and nothing was done now.</param>
/// <param name="TookEffectAtNs">CLOCK_MONOTONIC, nanoseconds: when the change was stored.</param>
/// <param name="AcknowledgedAtNs">CLOCK_MONOTONIC, nanoseconds: when the last worker had passed a batch boundary.</param>
/// <param name="StoreNs">Switch and release: nanoseconds the store itself took.</param>
/// <param name="Group">Teardown: the counters of the redirect group at its end.</param>
/// <param name="Order">Teardown: how order was kept, or which flush markers went by, at its end.</param>
/// <param name="Empty">
/// Switch: true = nothing is left on the way to the servers: each has answered an ARP or ND request that was sent behind the last packet
/// for it. False: not all of them did within a second. Null: other signals, and where there is nobody to ask (a subnet).
/// </param>
public sealed record SignalReply(
    string Migration, SignalKind Signal, PeMigrationState State, long Epoch, bool Repeated,
    long TookEffectAtNs, long AcknowledgedAtNs, long? StoreNs = null, bool? Empty = null,
    RedirectGroupInfo? Group = null, OrderInfo? Order = null);

/// <summary>State of a migration on one PE.</summary>
public enum PeMigrationState
{
    /// <summary>Nothing prepared.</summary>
    Idle,
    /// <summary>Source: armed, tunnel up. Target: hold armed.</summary>
    Prepared,
    /// <summary>Source: traffic goes into the tunnel.</summary>
    Switched,
    /// <summary>Source: prefixes withdrawn, tunnel still there for stragglers.</summary>
    Withdrawn,
    /// <summary>Target: hold released, server local.</summary>
    Released,
    /// <summary>Target: prefixes advertised.</summary>
    Advertised,
    /// <summary>Tunnel, group and hold are gone; the move is complete on this PE.</summary>
    TornDown,
    /// <summary>Aborted, back to the state before prepare.</summary>
    Aborted,
    /// <summary>Source, armed backup: what it watches has failed, and traffic goes into the tunnel. A switch makes it Switched.</summary>
    Flipped,
    /// <summary>Source, armed backup: it was a false alarm; what the target holds is on its way back. Prepared follows.</summary>
    Returning,
}

/// <summary><c>GET /v1/migrations/{id}</c>.</summary>
/// <param name="Id">Migration id chosen by the MMS.</param>
/// <param name="Role">This PE's end.</param>
/// <param name="State">State here.</param>
/// <param name="Epoch">Epoch in force.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Prefixes">The moving prefixes.</param>
/// <param name="Peer">The other PE.</param>
/// <param name="Tunnel">Tunnel name.</param>
/// <param name="TunnelUp">True when the last full-size probe through the tunnel came back.</param>
/// <param name="Hold">Counters of the hold (target).</param>
/// <param name="Group">Counters of the redirect group.</param>
/// <param name="Order">How order is kept (target), or which flush markers went by (source); where asked for.</param>
/// <param name="Change">Another number than before: something has changed. What asks again with it waits until it does.</param>
/// <param name="LeftOver">When it is over: what the PE's tables still have of it; empty = nothing.</param>
public sealed record MigrationInfo(
    string Id, MigrationRole Role, PeMigrationState State, long Epoch, string Vrf, IReadOnlyList<MovingPrefix> Prefixes,
    string Peer, string Tunnel, bool TunnelUp, HoldInfo? Hold, RedirectGroupInfo? Group, OrderInfo? Order = null, long Change = 0,
    IReadOnlyList<string>? LeftOver = null)
{
    /// <summary>
    /// Who of the servers behind the target's ports has not answered ARP or ND there, for people; empty: all have, or none can be asked.
    /// Null: it was not asked for (<c>until=servers-answer</c>), or this PE is not the target of a prepared migration.
    /// </summary>
    public string? Silent { get; init; }

    /// <summary>Source: the armed backup; null: nothing is watched.</summary>
    public BackupInfo? Backup { get; init; }

    /// <summary>Target: LOCAL_PREF with which it was told to be a backup path of the prefixes for ingress PEs; null: it was not.</summary>
    public uint? BackupLocalPref { get; init; }
}

/// <summary>What <c>GET /v1/migrations/{id}?until=...</c> waits for.</summary>
public enum MigrationCondition
{
    /// <summary>A full-size probe has come back through the tunnel.</summary>
    TunnelUp,
    /// <summary>The hold was released and is empty, or there is none.</summary>
    HoldEmpty,
    /// <summary>The flush markers of all ingress PEs have come, the source's own aside.</summary>
    Direct,
    /// <summary>Nothing of the move is under way by the old path to this PE any more, and what was held is delivered.</summary>
    Settled,
    /// <summary>It is over, and nothing of it is left.</summary>
    Gone,
    /// <summary>Each server behind the target's ports that can be asked answers ARP or ND there: it is prepared, not released.</summary>
    ServersAnswer,
}

/// <summary>Counters of a hold.</summary>
public sealed record HoldInfo(
    string State, long PacketsHeldTotal, long PacketsHeldNow, long BytesHeldNow, long PeakBytes, long PeakPackets,
    long Released, long DroppedNewest, long DroppedOldest, long Expired)
{
    /// <summary>When the first packet came into it, CLOCK_MONOTONIC of the PE, nanoseconds; null: none has.</summary>
    public long? FirstAtNs { get; init; }
}

/// <summary>A redirect group and its counters. Stale packets: forwarded the old way after the switch was acknowledged.</summary>
public sealed record RedirectGroupInfo(
    string Name, string Vrf, int Prefixes, string Active, long NativePackets, long TunnelPackets, long StalePackets,
    long? FirstTunnelPacketAtNs);

/// <summary>A port and its counters.</summary>
public sealed record PortInfo(
    string Name, string Kind, string Device, string Vrf, string Mac, int Mtu, bool Up, IReadOnlyList<string> Addresses,
    long RxPackets, long RxBytes, long TxPackets, long TxBytes, long Drops)
{
    /// <summary>The MTU of the device, bytes, where it is not the port's and could not be made so; else null.</summary>
    public int? DeviceMtu { get; init; }

    /// <summary>How often somebody else has changed the MTU of the device since the PE started.</summary>
    public long MtuChanges { get; init; }
}

/// <summary>A VRF.</summary>
public sealed record VrfInfo(string Name, uint? Key, int RoutesV4, int RoutesV6)
{
    /// <summary>Route distinguisher; null: its routes are in no VPN.</summary>
    public string? Rd { get; init; }

    /// <summary>Route targets whose routes come in.</summary>
    public IReadOnlyList<string> Import { get; init => field = value ?? []; } = [];

    /// <summary>Route targets of the routes it tells.</summary>
    public IReadOnlyList<string> Export { get; init => field = value ?? []; } = [];
}

/// <summary>A route in the RIB: one line for each source that offers the prefix.</summary>
public sealed record RouteInfo(
    string Vrf, string Prefix, string Source, bool Best, string? NextHop, string? Port, uint? LocalPref, string? Peer,
    string? AsPath, string? WhyNot, long InstalledAtNs)
{
    /// <summary>The step of the decision at which it lost, and what both routes had there; "best" for the best one.</summary>
    public string? Why { get; init; }

    /// <summary>Kept from before a restart or refresh of its peer, and not told again yet.</summary>
    public bool Stale { get; init; }

    /// <summary>MULTI_EXIT_DISC.</summary>
    public uint? Med { get; init; }

    /// <summary>
    /// A best route of this PE's own: the lowest LOCAL_PREF with which exactly this prefix is told to the iBGP peers whose sessions are up.
    /// Null: one of them is told nothing of it, there is none, or the route is another's.
    /// </summary>
    public uint? ToldInside { get; init; }

    /// <summary>Communities of all kinds.</summary>
    public IReadOnlyList<string>? Communities { get; init; }
}

/// <summary>What the FIB does with a prefix.</summary>
public sealed record FibInfo(string Vrf, string Prefix, string Action, string? NextHop, string? Port, string? Mac, string? Group);

/// <summary>A neighbour known by ARP or ND.</summary>
public sealed record NeighborInfo(string Port, string Address, string? Mac, string State, long AgeSeconds);

/// <summary>A tunnel, its health and its counters.</summary>
public sealed record TunnelInfo(
    string Name, string Kind, string Local, string Remote, uint? Key, string Vrf, int Mtu, bool Up, long TxPackets, long TxBytes,
    long RxPackets, long RxBytes, long ProbesSent, long ProbesReceived, double? RttMilliseconds, long? LastPacketAtNs)
{
    /// <summary>
    /// <c>up</c>: probes are answered, or it is a VPN's, which is not probed; <c>down</c>: nothing goes in; <c>unanswered</c>: packets go
    /// in, and no probe is answered: nobody knows whether they arrive.
    /// </summary>
    public string State { get; init; } = "";

    /// <summary>Largest outer packet that the path carries, where that is less than its first link does, bytes; null: it is not known to
    /// be.</summary>
    public int? PathMtu { get; init; }
}

/// <summary>A BGP peer.</summary>
public sealed record BgpPeerInfo(
    string Address, uint PeerAs, string State, long UptimeSeconds, int PrefixesReceived, int PrefixesSent, long MessagesIn,
    long MessagesOut, string? LastError, IReadOnlyList<string> Capabilities)
{
    /// <summary>VRF of the session. A peer of another VRF than the default one is named with it: <c>10.7.0.2@red</c>.</summary>
    public string Vrf { get; init; } = "default";

    /// <summary>The shortest round trip of the session's last minutes, milliseconds; null: not known.</summary>
    public double? RoundTripMs { get; init; }

    /// <summary>True: routes are reflected to and from it (RFC 4456).</summary>
    public bool ReflectorClient { get; init; }

    /// <summary>True: the policy of what it is told has a term for our routes whose servers are about to leave (<c>leaving</c>). Null: an
    /// older version, which does not say.</summary>
    public bool? TellsLeaving { get; init; }

    /// <summary>Routes received that policy denied.</summary>
    public long Denied { get; init; }

    /// <summary>Routes received that had passed this AS or router before.</summary>
    public long Loops { get; init; }

    /// <summary>Routes received that break the role (RFC 9234).</summary>
    public long Leaks { get; init; }

    /// <summary>Routes received of an earlier move than the one known.</summary>
    public long Fenced { get; init; }

    /// <summary>Routes not sent because their attributes leave no room in a message.</summary>
    public long TooLarge { get; init; }

    /// <summary>Families in use: ipv4, ipv6, vpnv4, vpnv6.</summary>
    public IReadOnlyList<string> Families { get; init => field = value ?? []; } = [];

    /// <summary>VPN routes received that no VRF imports; they are not kept.</summary>
    public long VpnFiltered { get; init; }

    /// <summary>VPN routes received that a VRF imports and that say no way in GRE with a key.</summary>
    public long VpnUnusable { get; init; }

    /// <summary>
    /// End-of-RIB (RFC 4724 2) of every family in use has come: what the peer had to say at first is all here. Null when the
    /// session is down, and for peers that do not announce it.
    /// </summary>
    public bool? Loaded { get; init; }

    /// <summary>Routes from before the peer's restart are kept.</summary>
    public bool Stale { get; init; }

    /// <summary>Times the peer's routes were kept over the end of its session.</summary>
    public long GracefulEnds { get; init; }

    /// <summary>Faults in what the peer sent, those seen at least once.</summary>
    public IReadOnlyList<BgpFaultInfo> Faults { get; init => field = value ?? []; } = [];
}

/// <summary>A fault in what a BGP peer sent, and how often.</summary>
public sealed record BgpFaultInfo(string Fault, long Count);

/// <summary>What an operator does to a BGP session.</summary>
public enum BgpPeerAction
{
    /// <summary>Ask the peer to send all its routes again (RFC 2918); the session stays up.</summary>
    Refresh,
    /// <summary>End the session and start it anew; starts one that was shut down or is held down by a limit.</summary>
    Reset,
    /// <summary>End the session until it is reset.</summary>
    Shutdown,
}

/// <summary>Body of <c>POST /v1/bgp/peers/{address}/reset</c> and <c>.../shutdown</c>; may be left out.</summary>
/// <param name="Text">Told to the peer's operator (RFC 9003), at most 255 octets of UTF-8.</param>
public sealed record BgpPeerRequest(string? Text = null);

/// <summary>Answer to an action on a BGP session.</summary>
/// <param name="Peer">Address of the peer.</param>
/// <param name="Action">What was done.</param>
/// <param name="State">State of the session now.</param>
/// <param name="Detail">What that means.</param>
public sealed record BgpPeerReply(string Peer, BgpPeerAction Action, string State, string Detail);

/// <summary>A BFD session. Intervals and times as in force now; <paramref name="Seconds"/> since the state last changed.
/// <paramref name="Vrf"/> is the VRF of its addresses, <paramref name="Port"/> the port that the peer is on; null: it is on no link.
/// </summary>
public sealed record BfdSessionInfo(
    string Peer, string Local, bool Multihop, string State, string RemoteState, string Diagnostic, string RemoteDiagnostic,
        uint LocalDiscriminator,
    uint RemoteDiscriminator, double TransmitIntervalMilliseconds, double DetectionMilliseconds, int Multiplier, long Seconds,
        long PacketsReceived,
    long PacketsSent, long SendErrors, long Ups, long Downs, double CreditMilliseconds, string Vrf = "default", string? Port = null);

/// <summary>Control packets discarded for a reason.</summary>
public sealed record BfdDiscardInfo(string Reason, long Packets);

/// <summary><c>GET /v1/bfd</c>: the sessions and how their thread fares, as of the last change or second.</summary>
/// <param name="ProcessId">The process that speaks; 0: there is none, for want of sessions.</param>
/// <param name="Restarts">Times that it ended and another one was started.</param>
/// <param name="Sessions">The sessions.</param>
/// <param name="Urgency">How far the thread's priority could be raised: ordinary, nice, real-time.</param>
/// <param name="Stalls">Times the thread itself was held up.</param>
/// <param name="LongestStallMilliseconds">The longest of them.</param>
/// <param name="Credits">Times a session was spared because of one.</param>
/// <param name="CreditMilliseconds">Time given so, in all.</param>
/// <param name="KernelDrops">Packets that the kernel dropped because its queue was full.</param>
/// <param name="Faults">Exceptions in the thread. Always 0.</param>
/// <param name="Discards">Discards by reason, reasons without any left out.</param>
public sealed record BfdInfo(
    int ProcessId, long Restarts, IReadOnlyList<BfdSessionInfo> Sessions, string Urgency, long Stalls, double LongestStallMilliseconds,
        long Credits, double CreditMilliseconds,
    long KernelDrops, long Faults, IReadOnlyList<BfdDiscardInfo> Discards);

/// <summary><c>GET /v1/keeper</c>: the process that forwards while the PE is restarted after a crash.</summary>
/// <param name="State">off: not configured; connected; forwarding: the keeper forwards and the PE waits until BGP is back; gone: the keeper
/// ended, the PE goes on without.</param>
/// <param name="Records">Records of the forwarding state told to it by this process.</param>
/// <param name="SentBytes">Bytes sent.</param>
/// <param name="QueuedBytes">Bytes that wait for it.</param>
/// <param name="Wholes">Times the whole state was sent.</param>
/// <param name="OutOfSyncs">Times it was too slow, so that what waited was thrown away and the whole sent anew.</param>
/// <param name="Takeovers">Times it took over forwarding.</param>
/// <param name="Packets">Packets that it forwarded, up to the last hand-over.</param>
/// <param name="Dropped">Packets that it dropped.</param>
/// <param name="LastTakeoverMilliseconds">How long it forwarded the last time; 0: it never did.</param>
public sealed record KeeperInfo(
    string State, long Records, long SentBytes, long QueuedBytes, long Wholes, long OutOfSyncs, long Takeovers, long Packets, long Dropped,
        double LastTakeoverMilliseconds);

/// <summary>A server-sent event on <c>GET /v1/events</c>. Kinds: port, neighbor, route, tunnel, bgp, bfd, migration.</summary>
public sealed record EventRecord(long Sequence, long AtNs, string Kind, string Subject, string Change, string? Detail = null);

/// <summary>Drops by reason: <c>GET /v1/drops</c>.</summary>
public sealed record DropInfo(string Reason, long Packets);

/// <summary><c>GET /v1/node</c>.</summary>
/// <param name="Name">Name of the PE.</param>
/// <param name="RouterId">BGP identifier.</param>
/// <param name="As">Autonomous system.</param>
/// <param name="Version">Version of the software.</param>
/// <param name="ProcessId">Process.</param>
/// <param name="StartedAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Ready">True once it forwards.</param>
/// <param name="Loopbacks">Its loopback addresses.</param>
public sealed record NodeInfo(
    string Name, string RouterId, uint As, string Version, int ProcessId, long StartedAtNs, bool Ready, IReadOnlyList<string>? Loopbacks =
        null)
{
    /// <summary>When it stops following the moves of a prefix; null: an older version, which does not say.</summary>
    public MoveDampingInfo? MoveDamping { get; init; }

    /// <summary>LOCAL_PREF with which it tells prefixes that were never moved; null: an older version, which does not say.</summary>
    public uint? LocalPref { get; init; }

    /// <summary>Random name of this life of the process: another one after each restart. Null: an older version, which does not
    /// say.</summary>
    public string? Incarnation { get; init; }

    /// <summary>The file that keeps the migrations over a restart; null: an older version, which keeps none.</summary>
    public StateFileInfo? StateFile { get; init; }
}

/// <summary>The file in which a PE keeps its migrations.</summary>
/// <param name="Path">The file.</param>
/// <param name="State">none: nothing was written yet; good; unwritable: the last write failed; unreadable: it could not be read at the
/// start, and every signal is refused.</param>
/// <param name="Detail">What is wrong and what to do; null when nothing is.</param>
public sealed record StateFileInfo(string Path, string State, string? Detail = null);
