namespace SdnEdge.Core.Leases;

/// <summary>
/// A lease as the party sees it that has it. It is valid until TTL after the renewal was <em>sent</em>, which was before the witness
/// granted it, whenever the answer comes; the answer to an older renewal takes nothing from a newer one. All times are CLOCK_BOOTTIME of
/// the party's machine, nanoseconds: that clock goes on while the machine sleeps.
/// </summary>
/// <param name="ValidUntilNs">Until when it is valid; 0 = none was granted.</param>
/// <param name="TtlNs">How long the one granted last is good for; 0 = none was granted.</param>
/// <param name="SentAtNs">When the last renewal was sent; null = none was.</param>
public readonly record struct LeaseClock(long ValidUntilNs = 0, long TtlNs = 0, long? SentAtNs = null)
{
    /// <summary>Renewals in one TTL: two may be lost.</summary>
    public const int RenewalsInTtl = 3;

    /// <summary>How long until the next renewal while no TTL is known, nanoseconds.</summary>
    public const long FirstPauseNs = 200_000_000;

    /// <summary>When the next renewal is due.</summary>
    public long NextRenewalNs => SentAtNs is not { } sent ? 0 : sent + (TtlNs > 0 ? TtlNs / RenewalsInTtl : FirstPauseNs);

    /// <summary>Whether it is valid.</summary>
    public bool IsValidAt(long now) => now < ValidUntilNs;

    /// <summary>A renewal is sent now.</summary>
    public LeaseClock Sent(long now) => this with { SentAtNs = now };

    /// <summary>The renewal that was sent then was granted.</summary>
    /// <param name="sentAtNs">When it was sent.</param>
    /// <param name="ttlMs">How long the lease is good for from then, milliseconds.</param>
    public LeaseClock Granted(long sentAtNs, int ttlMs)
    {
        long ttl = ttlMs * 1_000_000L;
        return this with { ValidUntilNs = Math.Max(ValidUntilNs, sentAtNs + ttl), TtlNs = ttl };
    }
}
