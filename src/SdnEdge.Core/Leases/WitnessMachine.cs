using System.Collections.Immutable;
using SdnEdge.Core.Api;

namespace SdnEdge.Core.Leases;

/// <summary>What a witness has on disk for the leases of a group at a site.</summary>
public sealed record LeaseRecord
{
    /// <summary>The group.</summary>
    public required string Group { get; init; }

    /// <summary>The site.</summary>
    public required string Site { get; init; }

    /// <summary>The highest epoch for which leases were opened or revoked; 0 = none.</summary>
    public long Epoch { get; init; }

    /// <summary>True: none is granted under this epoch or a lower one.</summary>
    public bool Revoked { get; init; } = true;

    /// <summary>The longest TTL of a lease that may have been granted, milliseconds.</summary>
    public int MaxTtlMs { get; init; }

    /// <summary>What is wrong with a record by itself; null when it can be one.</summary>
    public string? Contradiction() => Epoch < 1 ? "it has no epoch" : MaxTtlMs < 1 ? "it has no TTL" : null;
}

/// <summary>The leases of a group at a site. Only the record survives the process.</summary>
public sealed record WitnessLeases
{
    /// <summary>What is on disk, once <see cref="IsKnown"/>.</summary>
    public required LeaseRecord Record { get; init; }

    /// <summary>False: nobody has opened or revoked any.</summary>
    public bool IsKnown { get; init; }

    /// <summary>When one may have been granted last.</summary>
    public long GrantedAtNs { get; init; }

    /// <summary>To whom one of this epoch was granted since the witness was started, and when last.</summary>
    public ImmutableSortedDictionary<string, long> Parties { get; init; } = Nobody;

    internal static ImmutableSortedDictionary<string, long> Nobody { get; } =
        ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal);
}

/// <summary>What a witness is asked.</summary>
public abstract record WitnessInput;

/// <summary>Leases may be granted under this epoch.</summary>
/// <param name="Epoch">The epoch.</param>
public sealed record OpenLeases(long Epoch) : WitnessInput;

/// <summary>A lease is to be granted.</summary>
/// <param name="Party">To whom.</param>
/// <param name="Epoch">Under which epoch.</param>
public sealed record RenewLease(string Party, long Epoch) : WitnessInput;

/// <summary>None is granted any more up to this epoch.</summary>
/// <param name="Epoch">The epoch.</param>
public sealed record RevokeLeases(long Epoch) : WitnessInput;

/// <summary>What a witness answers, and what has to be so before.</summary>
/// <param name="Leases">The leases after it.</param>
/// <param name="Write">What is to be on disk before anything is answered; where that fails, the leases are as they were. Null =
/// nothing.</param>
/// <param name="Refusal">Why it is refused, for people; null = it is not.</param>
public sealed record WitnessStep(WitnessLeases Leases, LeaseRecord? Write = null, string? Refusal = null);

/// <summary>
/// The leases of one group at one site, as a pure function. What it says is worth something only because:
/// <code>
/// 1. a lease is granted only under the epoch that is open, and that it was revoked is on disk before it is said
/// 2. every grant is remembered by the time at which it was asked for, which is after its renewal was sent
/// 3. after a start nobody knows what was granted before: one may have been just then, for the longest TTL on record
/// 4. leases that nobody has on record may have been forgotten: also then one may have been granted just before the start
/// </code>
/// Times are CLOCK_BOOTTIME of the witness, nanoseconds.
/// </summary>
public static class WitnessMachine
{
    /// <summary>Most parties that are shown; the one that has not renewed for longest is forgotten.</summary>
    public const int MaxParties = 256;

    /// <summary>Leases that are on disk, after a start.</summary>
    /// <param name="record">What is on disk.</param>
    /// <param name="startedAtNs">When the witness was started.</param>
    public static WitnessLeases Start(LeaseRecord record, long startedAtNs)
        => new() { Record = record, IsKnown = true, GrantedAtNs = startedAtNs };

    /// <summary>Leases of which nothing is on disk.</summary>
    /// <param name="group">The group.</param>
    /// <param name="site">The site.</param>
    /// <param name="startedAtNs">When the witness was started.</param>
    public static WitnessLeases Unknown(string group, string site, long startedAtNs)
        => new() { Record = new LeaseRecord { Group = group, Site = site }, GrantedAtNs = startedAtNs };

    /// <summary>Takes one input.</summary>
    /// <param name="leases">The leases before.</param>
    /// <param name="input">What is asked.</param>
    /// <param name="rules">What is granted.</param>
    /// <param name="now">The time.</param>
    public static WitnessStep Step(WitnessLeases leases, WitnessInput input, LeaseRules rules, long now)
    {
        LeaseRecord r = leases.Record;
        int longest = Math.Max(r.MaxTtlMs, rules.TtlMs);
        string name = $"leases of {r.Group} at {r.Site}";
        switch (input)
        {
            case OpenLeases(var epoch) when epoch < r.Epoch:
                return new WitnessStep(leases, Refusal: $"{name}: epoch {epoch} is older than {r.Epoch}, the highest seen");
            case OpenLeases(var epoch) when epoch == r.Epoch:
                return r.Revoked ? new WitnessStep(leases, Refusal: $"{name}: epoch {epoch} was revoked, for ever; open a higher one")
                    : new WitnessStep(leases);
            case OpenLeases(var epoch):
                return Changed(r with { Epoch = epoch, Revoked = false, MaxTtlMs = longest });
            case RevokeLeases(var epoch) when epoch < r.Epoch || (epoch == r.Epoch && r.Revoked):
                return new WitnessStep(leases);
            case RevokeLeases(var epoch):
                return Changed(r with { Epoch = epoch, Revoked = true, MaxTtlMs = longest });
            case RenewLease(_, var epoch) when !leases.IsKnown || epoch > r.Epoch:
                return new WitnessStep(leases, Refusal: $"{name}: none were opened under epoch {epoch}");
            case RenewLease(_, var epoch) when r.Revoked || epoch < r.Epoch:
                return new WitnessStep(leases, Refusal: $"{name}: no lease under epoch {epoch} is granted any more; "
                    + (r.Revoked ? $"they are revoked up to {r.Epoch}" : $"they are open under {r.Epoch}"));
            case RenewLease(var party, _):
                WitnessLeases granted = leases with { GrantedAtNs = Math.Max(leases.GrantedAtNs, now), Parties = With(leases.Parties, party,
                    now) };

                // The TTL was made longer since they were opened.
                return longest == r.MaxTtlMs ? new WitnessStep(granted)
                    : new WitnessStep(granted with { Record = r with { MaxTtlMs = longest } }, r with { MaxTtlMs = longest });
            default:
                throw new ArgumentOutOfRangeException(nameof(input), input, "an unknown input");
        }

        WitnessStep Changed(LeaseRecord record)
            => new(leases with
            {
                Record = record, IsKnown = true, Parties = record.Epoch == r.Epoch ? leases.Parties : WitnessLeases.Nobody,
            }, record);
    }

    /// <summary>How long until the last lease that may have been granted has surely run out, nanoseconds; 0 = it has.</summary>
    public static long RunsOutInNs(WitnessLeases leases, LeaseRules rules, long now)
        => Math.Max(0, leases.GrantedAtNs + rules.OverAfterNs(Math.Max(leases.Record.MaxTtlMs, rules.TtlMs)) - now);

    /// <summary>What is shown of them.</summary>
    public static LeaseInfo Show(WitnessLeases leases, LeaseRules rules, long now)
    {
        LeaseRecord r = leases.Record;
        long left = (RunsOutInNs(leases, rules, now) + 999_999) / 1_000_000;
        return new LeaseInfo(r.Group, r.Site, r.Epoch, r.Revoked, rules.TtlMs, left,
            [.. leases.Parties.Select(p => new LeaseParty(p.Key, Math.Max(0, now - p.Value) / 1_000_000))]);
    }

    private static ImmutableSortedDictionary<string, long> With(ImmutableSortedDictionary<string, long> parties, string party, long now)
    {
        parties = parties.SetItem(party, now);
        return parties.Count <= MaxParties ? parties : parties.Remove(parties.MinBy(p => p.Value).Key);
    }
}
