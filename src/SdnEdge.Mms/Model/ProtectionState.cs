using System.Collections.Immutable;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary>How a protected group comes up at the other site.</summary>
public enum ProtectionPolicy
{
    /// <summary>It is started from its volumes there; what was in its memory is lost.</summary>
    Cold,
}

/// <summary>How a group is to be protected.</summary>
/// <param name="Group">The group.</param>
/// <param name="Policy">How it comes up at the other site.</param>
/// <param name="Automatic">True: the manager begins the fail-over by itself.</param>
/// <param name="Watch">What is watched, by site.</param>
/// <param name="Witness">Name of the witness under whose leases alone its servers may run while it is protected; null = none.</param>
public sealed record ProtectionRequest(
    string Group, ProtectionPolicy Policy, bool Automatic, IReadOnlyList<SiteWatch> Watch, string? Witness = null);

/// <summary>How far the protection of a group is.</summary>
public enum ProtectionStage
{
    /// <summary>The target PEs accept the tunnel and arm their holds.</summary>
    ArmTarget,
    /// <summary>The source PEs make the tunnel, and watch.</summary>
    ArmSource,
    /// <summary>The source PEs switch by themselves when what they watch fails.</summary>
    Armed,
    /// <summary>All PEs are told a higher epoch, and forget it.</summary>
    Disarm,
    /// <summary>Nothing is armed.</summary>
    Off,
}

/// <summary>The protection of a group: the fold of its inputs.</summary>
public sealed record ProtectionState
{
    /// <summary>What was asked for.</summary>
    public required ProtectionRequest Request { get; init; }

    /// <summary>Who asked for it.</summary>
    public required string By { get; init; }

    /// <summary>When (ISO 8601, UTC).</summary>
    public required string At { get; init; }

    /// <summary>From where to where the group would go, and its paths. Its epoch is the one under which it was armed.</summary>
    public required MovePlan Plan { get; init; }

    /// <summary>The epoch that commands carry now: the plan's, and a higher one from when it is disarmed.</summary>
    public long Epoch { get; init; }

    /// <summary>How far it is.</summary>
    public ProtectionStage Stage { get; init; }

    /// <summary>Keys of the commands whose effect is known to be there.</summary>
    public ImmutableSortedSet<string> Done { get; init; } = [];

    /// <summary>What the source PE of a path advertises of its prefixes, as it said before the path was armed. It holds as long as the
    /// path is armed under its epoch: a PE takes one and the same prepare only.</summary>
    public ImmutableSortedDictionary<string, SourceTells> Told { get; init; } = ImmutableSortedDictionary<string, SourceTells>.Empty;

    /// <summary>Paths whose source PE has switched by itself, and since when that is known (CLOCK_MONOTONIC of the manager's life,
    /// nanoseconds).</summary>
    public ImmutableSortedDictionary<string, long> FlippedSince { get; init; } = ImmutableSortedDictionary<string, long>.Empty;

    /// <summary>Keys of the commands about leases that are done. They are no part of the network's: a path that is armed again leaves them.
    /// </summary>
    public ImmutableSortedSet<string> LeasesDone { get; init; } = [];

    /// <summary>The leases under which its servers are to run where they are; null = none.</summary>
    [JsonIgnore]
    public SiteLease? Lease => Request.Witness is { } witness ? new SiteLease(witness, Request.Group, Plan.From, Plan.Epoch) : null;

    /// <summary>Why nothing is armed; null where something is, or is to be.</summary>
    public string? Why { get; init; }

    /// <summary>The migration for which it is, or was, disarmed: it is armed again when that has ended. Null = none.</summary>
    public string? Migration { get; init; }

    /// <summary>True: it goes for good when all PEs have answered.</summary>
    public bool Ends { get; init; }
}

/// <summary>What happened to the protection of a group.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "input")]
[JsonDerivedType(typeof(PartDone), "part-done")]
[JsonDerivedType(typeof(SourceTells), "source-tells")]
[JsonDerivedType(typeof(PartLost), "part-lost")]
[JsonDerivedType(typeof(FlipSeen), "flip-seen")]
[JsonDerivedType(typeof(ProtectionFenced), "protection-fenced")]
[JsonDerivedType(typeof(ProtectionTakenUp), "protection-taken-up")]
public abstract record ProtectionInput;

/// <summary>A PE has carried a signal out; a witness or a host, what it was told of a lease.</summary>
/// <param name="Key">The command's key.</param>
public sealed record PartDone(string Key) : ProtectionInput;

/// <summary>What the source PE of a path advertises of its prefixes: exactly these, to all its iBGP peers.</summary>
/// <param name="Path">The path.</param>
/// <param name="LocalPref">Lowest LOCAL_PREF with which it does; null = it advertises none of them.</param>
/// <param name="NotTold">Those that it does not advertise; null = none, or all where there is no LOCAL_PREF.</param>
public sealed record SourceTells(string Path, uint? LocalPref, IReadOnlyList<string>? NotTold = null) : ProtectionInput;

/// <summary>A PE does not have a path any more that it had: all of it is armed again.</summary>
/// <param name="Path">The path.</param>
/// <param name="Pe">The PE.</param>
public sealed record PartLost(string Path, string Pe) : ProtectionInput;

/// <summary>A source PE has switched a path by itself, or has taken that back.</summary>
/// <param name="Path">The path.</param>
/// <param name="Flipped">True: it has switched.</param>
public sealed record FlipSeen(string Path, bool Flipped) : ProtectionInput;

/// <summary>A PE has seen a higher epoch: another manager is in charge of the group.</summary>
/// <param name="Why">What the PE said.</param>
public sealed record ProtectionFenced(string Why) : ProtectionInput;

/// <summary>A manager has taken the journal up: what is armed is armed again, which changes nothing where it is.</summary>
public sealed record ProtectionTakenUp : ProtectionInput;
