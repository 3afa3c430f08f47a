using SdnEdge.Core.Api;

namespace SdnEdge.Core.Migration;

/// <summary>
/// What an armed backup watches, and what follows from it. Pure.
/// <list type="number">
/// <item>It has failed while one of its parts is down. A part that was never seen working does not fail: it may be configured wrong, or not
/// be there yet.</item>
/// <item>It is back when no part is down and each that was has worked for <see cref="SteadyNs"/>: a link that flaps does not take the
/// prefixes along each time.</item>
/// </list>
/// </summary>
public sealed class ArmedWatch
{
    /// <summary>For so long a part must have worked before it counts as back, nanoseconds.</summary>
    public const long SteadyNs = 200_000_000;

    private readonly Part[] _parts;

    /// <summary>Begins to watch: nothing is known yet.</summary>
    /// <param name="parts">What is watched.</param>
    /// <param name="hasFailed">It had failed before this process was started: it is back only when all of it is seen working.</param>
    public ArmedWatch(IReadOnlyList<WatchedPart> parts, bool hasFailed = false)
        => _parts = [.. parts.Select(p => new Part(p) { IsSuspect = hasFailed })];

    /// <summary>True while a part is down.</summary>
    public bool HasFailed => Array.Exists(_parts, p => p.State == WatchState.Down);

    /// <summary>When the first of the parts that are down went down, nanoseconds; null: none is.</summary>
    public long? FailedAtNs => HasFailed ? _parts.Where(p => p.State == WatchState.Down).Min(p => p.SinceNs) : null;

    /// <summary>When it may be back without a further report, nanoseconds; <see cref="long.MaxValue"/>: not before one.</summary>
    public long BackAtNs
    {
        get
        {
            long at = long.MinValue;
            foreach (Part part in _parts)
            {
                if (part.State == WatchState.Down || (part.IsSuspect && part.State != WatchState.Up)) return long.MaxValue;
                if (part.IsSuspect) at = Math.Max(at, part.SinceNs + SteadyNs);
            }

            return at;
        }
    }

    /// <summary>As the API shows it.</summary>
    public IReadOnlyList<WatchInfo> Info => [.. _parts.Select(p => new WatchInfo(p.What, p.State, p.SinceNs, p.Why))];

    /// <summary>Why it would notice nothing, for people; null: at least one part is seen working.</summary>
    public string? WhyBlind => Array.Exists(_parts, p => p.State != WatchState.Unknown) ? null
        : string.Join("; ", _parts.Select(p => p.Why));

    /// <summary>True when it is back: see <see cref="ArmedWatch"/>.</summary>
    public bool IsBack(long now) => now >= BackAtNs;

    /// <summary>All went natively again: what is up has nothing to make good.</summary>
    public void Forgive()
    {
        foreach (Part part in _parts) part.IsSuspect = false;
    }

    /// <summary>How a part is now. True when that is news.</summary>
    /// <param name="part">Its number.</param>
    /// <param name="state">How it is.</param>
    /// <param name="sinceNs">Since when.</param>
    /// <param name="why">For people.</param>
    public bool Report(int part, WatchState state, long sinceNs, string why)
    {
        Part p = _parts[part];
        p.Why = why;

        // What is down stays so until it is seen working; what was never seen working cannot go down.
        if (state == p.State || (state == WatchState.Unknown && p.State == WatchState.Down)
            || (state == WatchState.Down && p.State == WatchState.Unknown)) return false;
        (p.State, p.SinceNs) = (state, sinceNs);
        if (state == WatchState.Down) p.IsSuspect = true;
        return true;
    }

    private sealed class Part(WatchedPart what)
    {
        public WatchedPart What { get; } = what;

        public WatchState State { get; set; }

        public long SinceNs { get; set; }

        public string Why { get; set; } = "not seen yet";

        /// <summary>It was down, and has not made that good.</summary>
        public bool IsSuspect { get; set; }
    }
}
