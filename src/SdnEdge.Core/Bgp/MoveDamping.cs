using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>When moves of a prefix come too fast to be true (RFC 7432 15.1 has 5 within 180 s for MAC addresses).</summary>
/// <param name="Moves">So many moves within the time are taken; one more is not. 0: no damping.</param>
/// <param name="WithinSeconds">The time, seconds.</param>
/// <param name="RecoverySeconds">A prefix is taken at its word again after so long without another move, seconds.</param>
public sealed record MoveDampingSettings(int Moves = 5, int WithinSeconds = 180, int RecoverySeconds = 180);

/// <summary>A prefix whose moves are not followed for a while.</summary>
/// <param name="Prefix">Prefix.</param>
/// <param name="Number">Number of the last move that was followed: its owner is held on to.</param>
/// <param name="SinceNs">CLOCK_MONOTONIC, nanoseconds: since when.</param>
/// <param name="UntilNs">Until when, unless it moves again.</param>
/// <param name="HeldBack">Moves not followed so far.</param>
public readonly record struct DampedMove(IpPrefix Prefix, long Number, long SinceNs, long UntilNs, long HeldBack);

/// <summary>
/// Counts how often the number of a prefix's last move (<see cref="MobilitySequence"/>) rises, and says which routes are to be
/// held back. Pure: the time is an argument.
/// 1. The first number heard of a prefix is no move. 2. A higher one is. 3. One more than the settings allow within their
/// time, and it is held back, and so is each that is higher than the last one followed. 4. After the recovery time without a
/// further move the highest one heard is followed again.
/// What is remembered of prefixes is bounded: beyond that, new ones are not damped.
/// </summary>
public sealed class MoveDamping
{
    /// <summary>Prefixes that are remembered at most.</summary>
    public const int MaxPrefixes = 65_536;

    private const long Second = 1_000_000_000;

    private readonly MoveDampingSettings _settings;
    private readonly Dictionary<IpPrefix, Entry> _entries = [];
    private long _next = long.MaxValue;
    private long _sweptAt = long.MinValue;

    /// <summary>Makes one that has heard nothing.</summary>
    public MoveDamping(MoveDampingSettings settings) => _settings = settings;

    /// <summary>How often a prefix began to be held: an alarm each.</summary>
    public long Alarms { get; private set; }

    /// <summary>Prefixes held now.</summary>
    public int HeldNow { get; private set; }

    /// <summary>When <see cref="Recover"/> is due; <see cref="long.MaxValue"/>: never.</summary>
    public long NextDeadline => _next;

    /// <summary>A route to a prefix says that it belongs to a move. True: it is not to be followed now.</summary>
    /// <param name="prefix">Prefix.</param>
    /// <param name="number">Number of the move, at least 1.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <param name="begins">True when this move is the one too many.</param>
    public bool HoldsBack(IpPrefix prefix, long number, long now, out bool begins)
    {
        begins = false;
        if (_settings.Moves == 0) return false;
        if (!_entries.TryGetValue(prefix, out Entry? entry))
        {
            if (_entries.Count < MaxPrefixes || Sweep(now)) _entries.Add(prefix, new Entry { Highest = number, Last = now });
            return false;
        }

        if (number <= entry.Followed) return false;
        bool moved = number > entry.Highest;
        if (entry.IsHeld)
        {
            if (!moved) return true;
            entry.Highest = number;
            entry.HeldBack++;
            entry.Until = now + (_settings.RecoverySeconds * Second);
            return true;
        }

        if (!moved) return false;
        while (entry.Moves.TryPeek(out long first) && now - first >= _settings.WithinSeconds * Second) entry.Moves.Dequeue();
        entry.Last = now;
        if (entry.Moves.Count < _settings.Moves)
        {
            entry.Moves.Enqueue(now);
            entry.Highest = number;
            return false;
        }

        begins = true;
        Alarms++;
        HeldNow++;
        (entry.Followed, entry.Highest, entry.Since, entry.HeldBack) = (entry.Highest, number, now, 1);
        entry.Until = now + (_settings.RecoverySeconds * Second);
        _next = Math.Min(_next, entry.Until);
        return true;
    }

    /// <summary>All prefixes that are held now.</summary>
    public IEnumerable<DampedMove> Held
        => _entries.Where(e => e.Value.IsHeld).Select(e => new DampedMove(e.Key, e.Value.Followed, e.Value.Since, e.Value.Until,
        e.Value.HeldBack));

    /// <summary>What is held of a prefix; null when its moves are followed.</summary>
    public DampedMove? Find(IpPrefix prefix) => _entries.TryGetValue(prefix, out Entry? entry) && entry.IsHeld
        ? new DampedMove(prefix, entry.Followed, entry.Since, entry.Until, entry.HeldBack) : null;

    /// <summary>
    /// The prefix is ours by a move that the management system has told us of itself: what was counted before says nothing any
    /// more. A prefix that is held is let go by the next <see cref="Recover"/>.
    /// </summary>
    public void Forget(IpPrefix prefix)
    {
        if (!_entries.TryGetValue(prefix, out Entry? entry)) return;
        if (!entry.IsHeld)
        {
            _entries.Remove(prefix);
            return;
        }

        entry.Until = _next = 0;
    }

    /// <summary>Adds the prefixes whose time is over; all their routes are to be followed again.</summary>
    public void Recover(long now, List<IpPrefix> into)
    {
        if (now < _next) return;
        _next = long.MaxValue;
        foreach ((IpPrefix prefix, Entry entry) in _entries)
        {
            if (!entry.IsHeld) continue;
            if (entry.Until > now)
            {
                _next = Math.Min(_next, entry.Until);
                continue;
            }

            into.Add(prefix);
            entry.Moves.Clear();
            (entry.Since, entry.Followed, entry.Last) = (long.MinValue, 0, now);
            HeldNow--;
        }
    }

    // What has not moved for a whole time counts as new when it does. True when there is room then.
    private bool Sweep(long now)
    {
        if (_sweptAt != long.MinValue && now - _sweptAt < Second) return false;
        _sweptAt = now;
        foreach ((IpPrefix prefix, Entry entry) in _entries)
        {
            if (!entry.IsHeld && now - entry.Last >= _settings.WithinSeconds * Second) _entries.Remove(prefix);
        }

        return _entries.Count < MaxPrefixes;
    }

    private sealed class Entry
    {
        /// <summary>Times of the moves that were followed, not more than the settings allow.</summary>
        public Queue<long> Moves { get; } = new();

        /// <summary>Highest number heard.</summary>
        public long Highest { get; set; }

        /// <summary>While held: the last number that was followed.</summary>
        public long Followed { get; set; }

        public long Since { get; set; } = long.MinValue;

        public long Until { get; set; }

        public long Last { get; set; }

        public long HeldBack { get; set; }

        public bool IsHeld => Since != long.MinValue;
    }
}
