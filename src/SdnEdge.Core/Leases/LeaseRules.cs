namespace SdnEdge.Core.Leases;

/// <summary>
/// What a witness grants, and what it assumes. A lease is good for its TTL from when its renewal was sent, by the clock of the party that
/// has it. By the clock of the witness that is over, at the latest, TTL x (1 + drift) after it granted it; and what was allowed by a check
/// just before has ended the standstill margin after that. It holds as long as no clock stops, or drifts more.
/// </summary>
/// <param name="TtlMs">How long a lease is good for, milliseconds.</param>
/// <param name="DriftPpm">By how much a party's clock may run slower than the witness's, parts per million.</param>
/// <param name="StandstillMs">The longest time between a party's check of its lease and the effect of that check, milliseconds.</param>
public sealed record LeaseRules(int TtlMs = 3_000, int DriftPpm = 10_000, int StandstillMs = 500)
{
    /// <summary>How long after it was granted a lease has surely run out, with all that it allowed, nanoseconds.</summary>
    /// <param name="ttlMs">How long it was good for, milliseconds.</param>
    public long OverAfterNs(int ttlMs) => (ttlMs * (1_000_000L + DriftPpm)) + (StandstillMs * 1_000_000L);
}
