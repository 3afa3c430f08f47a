using System.Diagnostics;

namespace SdnEdge.Storage.Replication;

/// <summary>Measures a link by its pings: the smallest recent round trip, and the greatest recent rate at which what was sent before a
/// ping had arrived when its answer came.</summary>
internal sealed class LinkMeter
{
    private const int Samples = 16;

    private readonly Lock _lock = new();
    private readonly Queue<long> _trips = [], _rates = [];
    private readonly Dictionary<ulong, (long At, long Bytes)> _open = [];
    private long _lastPing, _lastPong, _lastBytes;
    private ulong _stamp;

    public long RoundTrip { get; private set; }

    public long BytesPerSecond { get; private set; }

    public bool IsDue(TimeSpan every, long sentBytes)
    {
        lock (_lock) return sentBytes >= 0 && _open.Count < Samples && Stopwatch.GetElapsedTime(_lastPing) >= every;
    }

    public ulong Ping(long sentBytes)
    {
        lock (_lock)
        {
            _lastPing = Stopwatch.GetTimestamp();
            _open[++_stamp] = (_lastPing, sentBytes);
            return _stamp;
        }
    }

    public bool Pong(ulong stamp)
    {
        lock (_lock)
        {
            if (!_open.Remove(stamp, out (long At, long Bytes) sent)) return false;
            long now = Stopwatch.GetTimestamp();
            Add(_trips, (long)Stopwatch.GetElapsedTime(sent.At, now).TotalNanoseconds);
            if (_lastPong > 0 && sent.Bytes > _lastBytes)
                Add(_rates, (long)((sent.Bytes - _lastBytes) / Math.Max(1e-6, Stopwatch.GetElapsedTime(_lastPong, now).TotalSeconds)));
            (_lastPong, _lastBytes) = (now, sent.Bytes);
            RoundTrip = _trips.Min();
            if (_rates.Count > 0) BytesPerSecond = _rates.Max();
            return true;
        }
    }

    private static void Add(Queue<long> to, long value)
    {
        to.Enqueue(value);
        if (to.Count > Samples) to.Dequeue();
    }
}
