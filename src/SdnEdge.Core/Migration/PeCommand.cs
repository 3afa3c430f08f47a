using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// What the control loop of a PE must do for a migration. Commands of one step are carried out in order; whatever takes
/// memory or a decision away (Remove...) waits for a grace period after the stores before it. The reply to the signal
/// waits for the grace period after the last. Each is idempotent: carried out again, whole or after it had failed half way, it
/// ends as if it had been carried out once.
/// </summary>
public abstract record PeCommand;

/// <summary>Both, at prepare: a tunnel to <paramref name="Peer"/> exists, is accepted from there, and is probed with full-size
/// packets.</summary>
/// <param name="Tunnel">Name.</param>
/// <param name="Vrf">VRF of what comes out.</param>
/// <param name="Peer">The other PE's loopback.</param>
/// <param name="Key">GRE key.</param>
/// <param name="Proven">After a restart: it has carried packets before, and may at once; probes only tell.</param>
public sealed record CreateTunnel(string Tunnel, string Vrf, IpAddress Peer, uint Key, bool Proven = false) : PeCommand;

/// <summary>Source, at prepare: the prefixes' leaves point at the group, which is native still; its decision "into the tunnel" is ready.
/// With an order, flush markers that go by are seen.</summary>
public sealed record ArmGroup(string Group, string Vrf, PrefixSet Prefixes, string Tunnel, OrderSpec? Order = null) : PeCommand;

/// <summary>Target, at prepare: the prefixes' leaves point at the group, which holds what comes out of the tunnel; all else stays
/// native. With <paramref name="KeepBackMs"/> what the servers send is kept back at first.</summary>
public sealed record ArmHold(
    string Group, string Vrf, PrefixSet Prefixes, string Tunnel, HoldOptions Hold, OrderSpec? Order = null, int KeepBackMs = 0) : PeCommand;

/// <summary>Target, at prepare: this PE tells the prefixes to its iBGP peers with this LOCAL_PREF, and goes on using the source's routes.
/// Null: it does not any more. It never tells <paramref name="Except"/>.</summary>
public sealed record AdvertiseBackup(string Vrf, PrefixSet Prefixes, uint? LocalPref, IReadOnlyList<IpPrefix>? Except = null) : PeCommand;

/// <summary>How order is kept: see <see cref="OrderOptions"/>.</summary>
/// <param name="Tag">Tag of the move.</param>
/// <param name="SourceLoopback">The source PE, which is an ingress too and sends its markers at teardown.</param>
/// <param name="Options">What was asked for.</param>
public sealed record OrderSpec(uint Tag, IpAddress SourceLoopback, OrderOptions Options);

/// <summary>Source, at teardown and at an abort after the switch, when the group is native again: the last packets through the tunnel are
/// flush markers.</summary>
public sealed record FlushTunnel(string Group, string Tunnel, uint Tag) : PeCommand;

/// <summary>Source, at switch: the prefixes are told with this LOCAL_PREF from now on, so that the target's can be higher and yet
/// bounded.</summary>
public sealed record TellWith(string Vrf, PrefixSet Prefixes, uint LocalPref) : PeCommand;

/// <summary>Source, at switch: the group's packets go into the tunnel. One store.</summary>
public sealed record SwitchToTunnel(string Group) : PeCommand;

/// <summary>Source, at abort: the group is native again. One store.</summary>
public sealed record SwitchBack(string Group) : PeCommand;

/// <summary>
/// Source, a false alarm: what comes for the prefixes waits here, and the target is asked, behind the last packet in the tunnel, to give
/// back what it holds. Answer with <see cref="Returned"/>.
/// </summary>
public sealed record GiveBack(string Group, string Tunnel, uint Tag) : PeCommand;

/// <summary>Source, when nothing is held at the target any more: what waits here goes to the servers, then all does, natively, and the
/// group is armed again.</summary>
public sealed record ArmAgain(string Group, string Tunnel) : PeCommand;

/// <summary>Target, at release: all for the prefixes goes to their attachment ports, behind what is held, in order. Answer with
/// <see cref="HoldDrained"/>. What the servers send is kept back for <paramref name="KeepBackMs"/> more at most.</summary>
public sealed record ReleaseHold(string Group, int KeepBackMs = 0) : PeCommand;

/// <summary>
/// Target, at abort: what is held leaves by the native route, towards the source, where the server stays; each packet that
/// cannot is counted as dropped. Answer with <see cref="HoldDrained"/>, at once when nothing was held.
/// </summary>
public sealed record ReturnHold(string Group) : PeCommand;

/// <summary>
/// Target, at advertise: the prefixes are routes of this PE by their ports and next hops, preferred over BGP, and are
/// advertised with this LOCAL_PREF. They stay after teardown: the server lives here now. With a tag, ingress PEs of ours are
/// asked for flush markers until the group is removed.
/// </summary>
/// <param name="Group">The group.</param>
/// <param name="Vrf">VRF.</param>
/// <param name="Prefixes">The prefixes with their ports.</param>
/// <param name="LocalPref">LOCAL_PREF.</param>
/// <param name="Move">Number of the move, the epoch with which it was advertised: among routes of our own AS the higher one wins.</param>
/// <param name="Tag">Tag of the move; null: no markers are wanted.</param>
public sealed record AdvertisePrefixes(string Group, string Vrf, PrefixSet Prefixes, uint LocalPref, long Move, uint? Tag = null)
    : PeCommand;

/// <summary>
/// Source, at withdraw: this PE's own routes to the prefixes, whoever offered them here (configuration or an earlier move),
/// are neither advertised nor used any more, so that BGP's take their place. They stay so after teardown.
/// </summary>
public sealed record WithdrawPrefixes(string Vrf, PrefixSet Prefixes) : PeCommand;

/// <summary>Source, at an abort after a withdraw that failed half way: this PE's configured routes to the prefixes are used and advertised
/// again.</summary>
public sealed record RestorePrefixes(string Vrf, PrefixSet Prefixes) : PeCommand;

/// <summary>Both: the prefixes' leaves no longer point at the group, and the group and its hold are gone.</summary>
public sealed record RemoveGroup(string Group, string Vrf, PrefixSet Prefixes) : PeCommand;

/// <summary>Both: the tunnel is neither used nor accepted, and gone.</summary>
public sealed record RemoveTunnel(string Tunnel) : PeCommand;

/// <summary>What the control loop tells the machine about a migration's parts.</summary>
public abstract record PeResult;

/// <summary>The tunnel's full-size probe came back, or no longer does.</summary>
public sealed record TunnelHealth(bool Up) : PeResult;

/// <summary>The hold has sent all it had.</summary>
public sealed record HoldDrained : PeResult;

/// <summary>
/// All parts of a prepare are there: from now on a snapshot (<see cref="PeMigrationFsm.Save"/>) has it as prepared. It still
/// is not done: when it is on disk, <see cref="Executed"/> follows.
/// </summary>
public sealed record PartsReady : PeResult;

/// <summary>The commands of an accepted signal have been carried out, and every worker goes by them. Now it is done.</summary>
/// <param name="Signal">The signal.</param>
/// <param name="Reply">The answer; a repetition gets it again.</param>
public sealed record Executed(SignalKind Signal, SignalReply Reply) : PeResult;

/// <summary>
/// An accepted signal was not carried out, or not to its end. It is not done: the same signal again gives the same commands
/// again. A prepare is undone by the commands that follow, and the migration is forgotten; its epoch is not.
/// </summary>
/// <param name="Signal">The signal.</param>
/// <param name="Begun">False: none of its commands was carried out.</param>
public sealed record ExecutionFailed(SignalKind Signal, bool Begun = true) : PeResult;

/// <summary>Source: what it watches has failed.</summary>
public sealed record WatchFailed : PeResult;

/// <summary>Source: what it watches works again, and has for a while.</summary>
public sealed record WatchIsBack : PeResult;

/// <summary>Source: the target has given back all it held, or did not say so in time.</summary>
public sealed record Returned : PeResult;

/// <summary>Why a signal was refused.</summary>
public enum PeRefusalReason
{
    /// <summary>Something needed is not in the request (400).</summary>
    BadRequest,
    /// <summary>No such migration on this PE (404).</summary>
    Unknown,
    /// <summary>A higher epoch was seen (409).</summary>
    StaleEpoch,
    /// <summary>The state or the role does not allow it (409).</summary>
    WrongState,
    /// <summary>The request contradicts what is there (409).</summary>
    Conflict,
    /// <summary>Switch: the tunnel's probe has not come back (409).</summary>
    TunnelNotUp,
    /// <summary>Teardown at the target: the hold is not empty yet (409).</summary>
    HoldNotDrained,
    /// <summary>Teardown at the source: it would have no route to a moved prefix (409).</summary>
    NoOtherRoute,
    /// <summary>A signal for after the flush markers: not all of them have come (409).</summary>
    MarkersMissing,
    /// <summary>A release for when the servers answer: not all of them do (409).</summary>
    ServersSilent,
}

/// <summary>A refusal: nothing was changed but, at most, the highest epoch seen.</summary>
/// <param name="Reason">The kind.</param>
/// <param name="Detail">What was wrong and what would be right.</param>
/// <param name="Errors">All errors at once, for <see cref="PeRefusalReason.BadRequest"/>.</param>
public sealed record PeRefusal(PeRefusalReason Reason, string Detail, IReadOnlyList<ProblemError>? Errors = null)
{
    /// <summary>RFC 9457 problem type. A client may switch on it; the manager does.</summary>
    public string Type => "/problems/" + Reason switch
    {
        PeRefusalReason.BadRequest => "bad-request",
        PeRefusalReason.Unknown => "not-found",
        PeRefusalReason.StaleEpoch => "stale-epoch",
        PeRefusalReason.WrongState => "wrong-state",
        PeRefusalReason.TunnelNotUp => "tunnel-not-up",
        PeRefusalReason.HoldNotDrained => "hold-not-drained",
        PeRefusalReason.NoOtherRoute => "no-other-route",
        PeRefusalReason.MarkersMissing => "markers-missing",
        PeRefusalReason.ServersSilent => "servers-silent",
        _ => "conflict",
    };
}

/// <summary>What follows from a signal or a result.</summary>
/// <param name="Migration">The migration after the step; for an accepted signal, as it will be when it is executed. Null when there is
/// none.</param>
/// <param name="Commands">To be carried out now, in order; then comes <see cref="Executed"/> or <see cref="ExecutionFailed"/>.</param>
/// <param name="Repeated">True when the signal was done before; no commands.</param>
/// <param name="Earlier">With <paramref name="Repeated"/>: the reply given then.</param>
/// <param name="Refusal">Why nothing is done; null when the signal was accepted.</param>
/// <param name="Underway">True when the same signal is being carried out: its answer is the answer to this one.</param>
public sealed record PeStep(
    PeMigration? Migration, IReadOnlyList<PeCommand> Commands, bool Repeated = false, SignalReply? Earlier = null,
        PeRefusal? Refusal = null, bool Underway = false);

/// <summary>A migration as this PE knows it. A snapshot.</summary>
/// <param name="Id">Chosen by the MMS.</param>
/// <param name="Role">This PE's end.</param>
/// <param name="State">What was executed here.</param>
/// <param name="Epoch">Highest epoch seen.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Prefixes">The moving prefixes.</param>
/// <param name="Peer">The other PE's loopback; none for an abort of what was never heard.</param>
/// <param name="TunnelKey">GRE key.</param>
/// <param name="Hold">Caps of the hold.</param>
/// <param name="LocalPref">Target: LOCAL_PREF of the advertisement, once advertised. Source: that of the switch, where it said one.</param>
/// <param name="TunnelUp">Last <see cref="TunnelHealth"/>.</param>
/// <param name="Drained">True when the hold is empty for good (source: always).</param>
/// <param name="ChangedAtNs">When the state was last changed.</param>
/// <param name="Order">How order is kept when ingress PEs take the direct path.</param>
/// <param name="Move">Target, once advertised: the number of the move in its routes.</param>
/// <param name="KeepBackMs">Target: for how long what the servers send first is kept back; from the release on, what is left of it.</param>
/// <param name="Watch">Source: what switches it by itself when it fails; null: nothing does.</param>
/// <param name="BackupLocalPref">Target: LOCAL_PREF of its backup advertisement, until it advertises for good; null: there is none.</param>
/// <param name="BackupExcept">Target: prefixes that it does not tell as a backup; null: it tells all of them.</param>
public sealed record PeMigration(
    string Id, MigrationRole Role, PeMigrationState State, long Epoch, string Vrf, PrefixSet Prefixes,
    IpAddress Peer, uint TunnelKey, HoldOptions Hold, uint? LocalPref, bool TunnelUp, bool Drained, long ChangedAtNs,
        OrderOptions? Order = null, long? Move = null, int KeepBackMs = 0, IReadOnlyList<WatchedPart>? Watch = null,
        uint? BackupLocalPref = null, IReadOnlyList<IpPrefix>? BackupExcept = null)
{
    /// <summary>
    /// Tag of the move in its routes and flush markers: both ends and all repetitions find the same. Not a secret.
    /// </summary>
    public uint Tag => MoveTag.Of(Id, TunnelKey);

    /// <summary>Name of its tunnel.</summary>
    public string Tunnel => "mig-" + Id;

    /// <summary>Name of its redirect group.</summary>
    public string Group => Id;

    /// <summary>True when no signal can change it any more.</summary>
    public bool Finished => State is PeMigrationState.TornDown or PeMigrationState.Aborted;

    /// <summary>True when it is finished and nothing of it is left in the tables.</summary>
    public bool IsOver => Finished && Drained;
}
