using System.Diagnostics;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// What the copies of one host may take of the network. They share it evenly; a server that stands still goes first, since nobody runs
/// until the rest of it is there. The copies of a migration may have a limit of their own, which they share in the same way. Any thread.
/// </summary>
/// <param name="bytesPerSecond">All copies together, bytes/s; 0 = no limit.</param>
public sealed class CopyBandwidth(long bytesPerSecond = 0)
{
    // What the others keep meanwhile, so that none of their connections looks dead.
    private const long Aside = 1 << 20;

    private readonly Lock _lock = new();
    private readonly List<CopyShare> _shares = [];

    /// <summary>All copies together, bytes/s; 0 = no limit.</summary>
    public long BytesPerSecond => bytesPerSecond;

    /// <summary>Copies that go on.</summary>
    public int Count
    {
        get
        {
            lock (_lock) return _shares.Count;
        }
    }

    /// <summary>The share of one more copy.</summary>
    /// <param name="migration">The migration that it is part of.</param>
    /// <param name="most">What all copies of that migration may take together, bytes/s; 0 = no limit of its own.</param>
    public CopyShare Join(string migration = "", long most = 0)
    {
        var share = new CopyShare(this, migration, most);
        lock (_lock) _shares.Add(share);
        return share;
    }

    internal void Leave(CopyShare share)
    {
        lock (_lock) _shares.Remove(share);
    }

    internal long RateOf(CopyShare share)
    {
        lock (_lock)
        {
            long host = RateAmong(_shares, share, bytesPerSecond, Aside);
            if (share.Most == 0) return host;
            CopyShare[] beside = [.. _shares.Where(s => s.Migration == share.Migration)];
            long own = RateAmong(beside, share, share.Most, Math.Max(1, Math.Min(Aside, share.Most / (16 * beside.Length))));
            return host == 0 ? own : Math.Min(host, own);
        }
    }

    private static long RateAmong(IReadOnlyCollection<CopyShare> shares, CopyShare share, long all, long aside)
    {
        int urgent = shares.Count(s => s.Urgent);
        if (urgent > 0 && !share.Urgent) return aside;
        int sharing = urgent > 0 ? urgent : shares.Count(s => s == share || !s.Waits);
        return all == 0 ? 0 : Math.Max(1, all / sharing);
    }
}

/// <summary>One copy's share, and its own limit below that.</summary>
public sealed class CopyShare : IDisposable
{
    // Timers are no finer.
    private const double LeastWaitMs = 2;

    private readonly CopyBandwidth _all;
    private long _limit;
    private volatile bool _urgent, _waits;
    private double _dueMs;

    internal CopyShare(CopyBandwidth all, string migration, long most) => (_all, Migration, Most) = (all, migration, most);

    /// <summary>The migration that it is part of.</summary>
    internal string Migration { get; }

    /// <summary>What all copies of the migration may take together, bytes/s; 0 = no limit of its own.</summary>
    internal long Most { get; }

    /// <summary>True: its server stands still.</summary>
    public bool Urgent
    {
        get => _urgent;
        set => _urgent = value;
    }

    /// <summary>True: nothing of it passes now, and the others have its share.</summary>
    public bool Waits
    {
        get => _waits;
        set => _waits = value;
    }

    /// <summary>The copy's own limit, bytes/s; 0 = none.</summary>
    public long Limit
    {
        get => Interlocked.Read(ref _limit);
        set => Interlocked.Exchange(ref _limit, value);
    }

    /// <summary>What it may take now, bytes/s; 0 = as much as there is.</summary>
    public long BytesPerSecond
    {
        get
        {
            long share = _all.RateOf(this), own = Limit;
            return own == 0 || (share != 0 && share < own) ? share : own;
        }
    }

    /// <summary>Completes when so many bytes, which were sent, have been paid for. One caller at a time.</summary>
    public async ValueTask PayAsync(int bytes, CancellationToken cancel)
    {
        long rate = BytesPerSecond;
        double now = Stopwatch.GetTimestamp() * 1000.0 / Stopwatch.Frequency;
        if (rate == 0)
        {
            _dueMs = now;
            return;
        }

        // Time that was not used is not made up for.
        _dueMs = Math.Max(_dueMs, now - LeastWaitMs) + (bytes * 1000.0 / rate);
        if (_dueMs - now >= LeastWaitMs) await Task.Delay(TimeSpan.FromMilliseconds(_dueMs - now), cancel).ConfigureAwait(false);
    }

    /// <summary>The copy has ended.</summary>
    public void Dispose() => _all.Leave(this);
}
