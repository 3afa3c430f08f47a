using SdnEdge.Core.Api;

namespace SdnEdge.Web;

/// <summary>
/// The last events, numbered without gaps, for any number of readers that each keep their own place. Writing never waits
/// for a reader; a reader that is too slow learns how many events it missed.
/// </summary>
public sealed class EventLog
{
    /// <summary>Events kept.</summary>
    public const int Capacity = 8192;

    private readonly Lock _lock = new();
    private readonly EventRecord[] _ring = new EventRecord[Capacity];
    private long _next = 1;
    private TaskCompletionSource _more = New();

    /// <summary>Number of the newest event; 0 when there is none.</summary>
    public long Newest
    {
        get
        {
            lock (_lock) return _next - 1;
        }
    }

    /// <summary>Appends an event. Kinds: port, neighbor, route, tunnel, bgp, bfd, migration, config.</summary>
    public void Add(long now, string kind, string subject, string change, string? detail = null)
    {
        TaskCompletionSource wake;
        lock (_lock)
        {
            _ring[_next % Capacity] = new EventRecord(_next, now, kind, subject, change, detail);
            _next++;
            wake = _more;
            _more = New();
        }

        wake.SetResult();
    }

    /// <summary>
    /// The events after number <paramref name="after"/>, and how many older ones are gone. A number this log has never given
    /// (the PE restarted) reads from the oldest.
    /// </summary>
    public IReadOnlyList<EventRecord> After(long after, out long missed)
    {
        lock (_lock)
        {
            long oldest = Math.Max(1, _next - Capacity);
            if (after >= _next || after < 0) after = 0;
            long first = Math.Max(after + 1, oldest);
            missed = first - (after + 1);
            var list = new List<EventRecord>((int)(_next - first));
            for (long i = first; i < _next; i++) list.Add(_ring[i % Capacity]);
            return list;
        }
    }

    /// <summary>Completes when there is an event after number <paramref name="after"/>.</summary>
    public Task WaitAsync(long after, CancellationToken cancel)
    {
        lock (_lock) return after < _next - 1 ? Task.CompletedTask : _more.Task.WaitAsync(cancel);
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
