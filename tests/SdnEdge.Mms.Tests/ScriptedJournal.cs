using SdnEdge.Mms.Journal;

namespace SdnEdge.Mms.Tests;

/// <summary>
/// The journal of tests: in memory, and it can fail, stand still or be ahead of its manager. What it holds is what was durable:
/// <see cref="AfterCrash"/> is what the next manager finds.
/// </summary>
internal sealed class ScriptedJournal(IEnumerable<JournalRecord>? records = null) : IJournal
{
    private readonly List<JournalRecord> _records = [.. records ?? []];
    private readonly List<IReadOnlyList<JournalEntry>> _batches = [];
    private readonly Lock _lock = new();
    private readonly string _life = Guid.NewGuid().ToString("N");
    private TaskCompletionSource? _blocked;
    private int _waiting;

    /// <summary>Appends fail with this while it is set.</summary>
    public volatile Exception? Failure;

    /// <summary>How often an append was tried.</summary>
    public int Tries { get; private set; }

    /// <summary>True while an append stands still.</summary>
    public bool Waiting => Volatile.Read(ref _waiting) > 0;

    public string Id => "memory";

    public long Length
    {
        get
        {
            lock (_lock) return _records.Count;
        }
    }

    /// <summary>What is durable.</summary>
    public IReadOnlyList<JournalRecord> Records
    {
        get
        {
            lock (_lock) return [.. _records];
        }
    }

    /// <summary>Synced appends that were acknowledged, oldest first.</summary>
    public IReadOnlyList<IReadOnlyList<JournalEntry>> Batches
    {
        get
        {
            lock (_lock) return [.. _batches];
        }
    }

    /// <summary>The journal as the next manager finds it, also up to an earlier position.</summary>
    public ScriptedJournal AfterCrash(int upTo = int.MaxValue) => new(Records.Take(upTo));

    /// <summary>From now on appends stand still.</summary>
    public void Block() => _blocked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>They go on.</summary>
    public void Unblock()
    {
        TaskCompletionSource? blocked = _blocked;
        _blocked = null;
        blocked?.SetResult();
    }

    /// <summary>Another manager appends.</summary>
    public void AppendElsewhere(JournalEntry e)
    {
        lock (_lock) _records.Add(new JournalRecord(_records.Count + 1, e.At, e.NowNs, "other", e.Actor, e.Migration, e.Input, e.Body));
    }

    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
    {
        lock (_lock) return Task.FromResult<IReadOnlyList<JournalRecord>>([.. _records.Skip((int)after).Take(Math.Min(most, 3))]);
    }

    public async Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        JournalEntry[] taken = [.. entries];
        Tries++;
        if (_blocked is { } blocked)
        {
            Interlocked.Increment(ref _waiting);
            await blocked.Task;
            Interlocked.Decrement(ref _waiting);
        }

        if (Failure is { } failure) throw failure;
        lock (_lock)
        {
            if (expected != _records.Count) throw new JournalConflictException("memory", expected, _records.Count);
            foreach (JournalEntry e in taken) _records.Add(new JournalRecord(_records.Count + 1, e.At, e.NowNs, _life, e.Actor, e.Migration,
                e.Input, e.Body));
            _batches.Add(taken);
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
