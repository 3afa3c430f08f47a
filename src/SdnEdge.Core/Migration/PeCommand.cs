using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>
/// What the control loop of a PE must do for a migration. Commands of one step are carried out in order; whatever takes
/// memory or a decision away (Remove...) waits for a grace period after the stores before it. The reply to the signal
/// waits for the grace period after the last.
/// </summary>
public abstract record PeCommand;

/// <summary>Both, at prepare: a tunnel to <paramref name="Peer"/> exists, is accepted from there, and is probed with full-size packets.</summary>
public sealed record CreateTunnel(string Tunnel, string Vrf, string Peer, uint Key) : PeCommand;

/// <summary>Source, at prepare: the prefixes' leaves point at the group, which is native still; its decision "into the tunnel" is ready. With an order, flush markers that go by are seen.</summary>
public sealed record ArmGroup(string Group, string Vrf, IReadOnlyList<MovingPrefix> Prefixes, string Tunnel, OrderSpec? Order = null) : PeCommand;

/// <summary>Target, at prepare: the prefixes' leaves point at the group, which holds what comes out of the tunnel; all else stays native.</summary>
public sealed record ArmHold(string Group, string Vrf, IReadOnlyList<MovingPrefix> Prefixes, string Tunnel, HoldOptions Hold, OrderSpec? Order = null) : PeCommand;

/// <summary>How order is kept: see <see cref="OrderOptions"/>.</summary>
/// <param name="Tag">Tag of the move.</param>
/// <param name="SourceLoopback">The source PE, which is an ingress too and sends its markers at teardown.</param>
/// <param name="Options">What was asked for.</param>
public sealed record OrderSpec(uint Tag, string SourceLoopback, OrderOptions Options);

/// <summary>Source, at teardown and at an abort after the switch, when the group is native again: the last packets through the tunnel are flush markers.</summary>
public sealed record FlushTunnel(string Group, string Tunnel, uint Tag) : PeCommand;

/// <summary>Source, at switch: the prefixes are told with this LOCAL_PREF from now on, so that the target's can be higher and yet bounded.</summary>
public sealed record TellWith(string Vrf, IReadOnlyList<MovingPrefix> Prefixes, uint LocalPref) : PeCommand;

/// <summary>Source, at switch: the group's packets go into the tunnel. One store.</summary>
public sealed record SwitchToTunnel(string Group) : PeCommand;

/// <summary>Source, at abort: the group is native again. One store.</summary>
public sealed record SwitchBack(string Group) : PeCommand;

/// <summary>Target, at release: all for the prefixes goes to their attachment ports, behind what is held, in order. Answer with <see cref="HoldDrained"/>.</summary>
public sealed record ReleaseHold(string Group) : PeCommand;

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
public sealed record AdvertisePrefixes(string Group, string Vrf, IReadOnlyList<MovingPrefix> Prefixes, uint LocalPref, uint? Tag = null) : PeCommand;

/// <summary>
/// Source, at withdraw: this PE's own routes to the prefixes, whoever offered them here (configuration or an earlier move),
/// are neither advertised nor used any more, so that BGP's take their place. They stay so after teardown.
/// </summary>
public sealed record WithdrawPrefixes(string Vrf, IReadOnlyList<MovingPrefix> Prefixes) : PeCommand;

/// <summary>Both: the prefixes' leaves no longer point at the group, and the group and its hold are gone.</summary>
public sealed record RemoveGroup(string Group, string Vrf, IReadOnlyList<MovingPrefix> Prefixes) : PeCommand;

/// <summary>Both: the tunnel is neither used nor accepted, and gone.</summary>
public sealed record RemoveTunnel(string Tunnel) : PeCommand;

/// <summary>What the control loop tells the machine about a migration's parts.</summary>
public abstract record PeResult;

/// <summary>The tunnel's full-size probe came back, or no longer does.</summary>
public sealed record TunnelHealth(bool Up) : PeResult;

/// <summary>The hold has sent all it had.</summary>
public sealed record HoldDrained : PeResult;

/// <summary>A command of prepare could not be carried out; what was done must be undone. The migration is forgotten.</summary>
public sealed record PrepareFailed : PeResult;

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
}

/// <summary>A refusal: nothing was changed but, at most, the highest epoch seen.</summary>
/// <param name="Reason">The kind.</param>
/// <param name="Detail">What was wrong and what would be right.</param>
/// <param name="Errors">All errors at once, for <see cref="PeRefusalReason.BadRequest"/>.</param>
public sealed record PeRefusal(PeRefusalReason Reason, string Detail, IReadOnlyList<ProblemError>? Errors = null)
{
    /// <summary>HTTP status of the answer.</summary>
    public int Status => Reason switch
    {
        PeRefusalReason.BadRequest => 400,
        PeRefusalReason.Unknown => 404,
        _ => 409,
    };

    /// <summary>RFC 9457 problem type. A client may switch on it; <see cref="MoveFsm"/> does.</summary>
    public string Type => "/problems/" + Reason switch
    {
        PeRefusalReason.BadRequest => "bad-request",
        PeRefusalReason.Unknown => "not-found",
        PeRefusalReason.StaleEpoch => "stale-epoch",
        PeRefusalReason.WrongState => "wrong-state",
        PeRefusalReason.TunnelNotUp => "tunnel-not-up",
        PeRefusalReason.HoldNotDrained => "hold-not-drained",
        PeRefusalReason.NoOtherRoute => "no-other-route",
        _ => "conflict",
    };
}

/// <summary>What follows from a signal or a result.</summary>
/// <param name="Migration">The migration after the step; null when there is none.</param>
/// <param name="Commands">To be carried out now, in order.</param>
/// <param name="Repeated">True when the signal had taken effect before; no commands.</param>
/// <param name="Earlier">With <paramref name="Repeated"/>: the reply given then, where <see cref="PeMigrationFsm.Remember"/> was told of it.</param>
/// <param name="Refusal">Why nothing is done; null when the signal was accepted.</param>
public sealed record PeStep(
    PeMigration? Migration, IReadOnlyList<PeCommand> Commands, bool Repeated = false, SignalReply? Earlier = null, PeRefusal? Refusal = null);

/// <summary>A migration as this PE knows it. A snapshot.</summary>
/// <param name="Id">Chosen by the MMS.</param>
/// <param name="Role">This PE's end.</param>
/// <param name="State">State here.</param>
/// <param name="Epoch">Highest epoch seen.</param>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Prefixes">The moving prefixes.</param>
/// <param name="Peer">The other PE's loopback.</param>
/// <param name="TunnelKey">GRE key.</param>
/// <param name="Hold">Caps of the hold.</param>
/// <param name="LocalPref">LOCAL_PREF of the advertisement, once advertised.</param>
/// <param name="TunnelUp">Last <see cref="TunnelHealth"/>.</param>
/// <param name="Drained">True when the hold is empty for good (source: always).</param>
/// <param name="ChangedAtNs">When the state was last changed.</param>
/// <param name="Order">How order is kept when ingress PEs take the direct path.</param>
public sealed record PeMigration(
    string Id, MigrationRole Role, PeMigrationState State, long Epoch, string Vrf, IReadOnlyList<MovingPrefix> Prefixes,
    string Peer, uint TunnelKey, HoldOptions Hold, uint? LocalPref, bool TunnelUp, bool Drained, long ChangedAtNs, OrderOptions? Order = null)
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
}
