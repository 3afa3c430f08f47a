using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>A signal that is complete by itself, its text read once. Fields that were not said are null.</summary>
public sealed record PeSignal
{
    private PeSignal()
    {
    }

    /// <summary>The migration.</summary>
    public required string Id { get; init; }

    /// <summary>What is to be done.</summary>
    public required SignalKind Kind { get; init; }

    /// <summary>Fencing number, from 1.</summary>
    public required long Epoch { get; init; }

    /// <summary>Which end this PE is.</summary>
    public MigrationRole? Role { get; private init; }

    /// <summary>VRF of the prefixes; null when nobody said it, which means the default VRF.</summary>
    public string? Vrf { get; private init; }

    /// <summary>The moving prefixes.</summary>
    public PrefixSet? Prefixes { get; private init; }

    /// <summary>The other PE's loopback.</summary>
    public IpAddress? Peer { get; private init; }

    /// <summary>GRE key.</summary>
    public uint? TunnelKey { get; private init; }

    /// <summary>Caps of the hold.</summary>
    public HoldOptions? Hold { get; private init; }

    /// <summary>LOCAL_PREF.</summary>
    public uint? LocalPref { get; private init; }

    /// <summary>How order is kept; addresses in their one spelling.</summary>
    public OrderOptions? Order { get; private init; }

    /// <summary>Teardown also without another route.</summary>
    public bool Force { get; private init; }

    /// <summary>How long it may wait until it is possible, milliseconds.</summary>
    public int WaitMs { get; private init; }

    /// <summary>Only when flush markers show that nothing is under way by the old path any more.</summary>
    public bool AfterMarkers { get; private init; }

    /// <summary>Only when the servers answer at this PE's ports.</summary>
    public bool AfterServers { get; private init; }

    /// <summary>For how long what the servers send first is kept back, milliseconds.</summary>
    public int KeepBackMs { get; private init; }

    /// <summary>Source: what switches it by itself when it fails; addresses in their one spelling. Null: nothing does.</summary>
    public IReadOnlyList<WatchedPart>? Watch { get; private init; }

    /// <summary>LOCAL_PREF of the target's backup advertisement.</summary>
    public uint? BackupLocalPref { get; private init; }

    /// <summary>Prefixes that the target does not tell as a backup; null: it tells all of them.</summary>
    public IReadOnlyList<IpPrefix>? BackupExcept { get; private init; }

    /// <summary>Checks (<see cref="SignalChecks"/>) and reads a signal; null with all errors at once. Pure and without state: any
    /// thread.</summary>
    public static PeSignal? TryParse(string id, SignalKind kind, SignalRequest request, out IReadOnlyList<ProblemError> errors)
    {
        ArgumentNullException.ThrowIfNull(id);
        ArgumentNullException.ThrowIfNull(request);
        errors = SignalChecks.Check(id, kind, request);
        if (errors.Count > 0) return null;
        return new PeSignal
        {
            Id = id,
            Kind = kind,
            Epoch = request.Epoch,
            Role = request.Role,
            Vrf = request.Vrf,
            Prefixes = request.Prefixes is { } prefixes ? PrefixSet.Parse(prefixes) : null,
            Peer = request.Peer is { } peer ? IpAddress.Parse(peer) : null,
            TunnelKey = request.TunnelKey,
            Hold = request.Hold,
            LocalPref = request.LocalPref,
            Order = request.Order is { } order ? OneSpelling(order) : null,
            Force = request.Force,
            WaitMs = request.WaitMs,
            AfterMarkers = request.AfterMarkers,
            AfterServers = request.AfterServers,
            KeepBackMs = request.KeepBackMs,
            Watch = request.Watch?.Select(OneSpelling).ToArray(),
            BackupLocalPref = request.BackupLocalPref,
            BackupExcept = request.BackupExcept?.Select(IpPrefix.Parse).ToArray(),
        };
    }

    // 10.0.0.1 and fd00::1 can be written in more than one way.
    internal static OrderOptions OneSpelling(OrderOptions order)
        => order with { Ingress = [.. order.Ingress.Select(i => i with { Loopbacks = [.. (i.Loopbacks ?? []).Select(OneSpelling)] })] };

    private static WatchedPart OneSpelling(WatchedPart part) => part with
    {
        Bfd = part.Bfd is { } bfd ? OneSpelling(bfd) : null,
        Neighbor = part.Neighbor is { } neighbor ? OneSpelling(neighbor) : null,
    };

    private static string OneSpelling(string address) => IpAddress.Parse(address).ToString();
}

/// <summary>What the machine has to know of the PE's tables for a decision. Asked by whoever hands a signal over, before.</summary>
/// <param name="Unrouted">
/// Teardown at a source: the first of the migration's prefixes to which the PE would have no route without the tunnel; null
/// when it has one to each.
/// </param>
/// <param name="UnknownNames">Prepare: what it names that this PE does not have; null or empty when it has all.</param>
/// <param name="UnderWay">
/// A signal that is only for after the flush markers: what may still be under way by the old path; null when nothing is.
/// </param>
/// <param name="Silent">A signal that is only for when the servers answer: who has not; null when all have.</param>
/// <param name="Api">Where this PE's API is, for commands in a refusal: a socket, or an https address; null = not known.</param>
public sealed record PeFacts(
    IpPrefix? Unrouted = null, IReadOnlyList<ProblemError>? UnknownNames = null, string? UnderWay = null, string? Silent = null,
    string? Api = null)
{
    /// <summary>All routes and names are there.</summary>
    public static PeFacts None { get; } = new();
}
