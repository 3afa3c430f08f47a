using SdnEdge.Mms.Journal;

namespace SdnEdge.Testing.Journal;

/// <summary>
/// A journal in memory, with the faults of a real one, for tests and simulations. It uses no threads and no clock: an append is done
/// before <see cref="AppendAsync"/> returns, unless the disk has been stopped.
/// <para>
/// Invariant: an append whose task succeeded is in <see cref="Crash"/>'s journal, whole; one that was refused with a conflict never is;
/// one that failed or was in flight is there or not, as the test says.
/// </para>
/// </summary>
public sealed class MemoryJournal(string id = "memory", string life = "life-1") : IJournal
{
    private readonly List<JournalRecord> _records = [];
    private readonly Queue<(long Expected, JournalEntry[] Entries, TaskCompletionSource Done, CancellationToken Cancel)> _inFlight = new();
    private readonly Queue<(JournalFault Fault, bool Kept)> _faults = new();
    private JournalEntry[]? _unsynced;
    private bool _stopped, _crashed;

    /// <inheritdoc/>
    public long Length => _records.Count;

    /// <inheritdoc/>
    public string Id { get; } = id;

    /// <summary>The life that it writes into its records.</summary>
    public string Life { get; } = life;

    /// <summary>While set, every append and read fails with it: a disk that is down.</summary>
    public JournalFault? Down { get; set; }

    /// <summary>Appends that became durable, since the beginning of this life.</summary>
    public int Appends { get; private set; }

    /// <summary>Appends that wait for the disk.</summary>
    public int InFlight => _inFlight.Count;

    /// <summary>All records, for assertions.</summary>
    public IReadOnlyList<JournalRecord> Records => _records;

    /// <summary>One append to come fails. Kept: it was written and only its sync failed, so that a crash may bring it to light.</summary>
    public void FailNext(JournalFault fault, bool kept = false) => _faults.Enqueue((fault, kept));

    /// <summary>The disk hangs: appends wait, in order, until <see cref="Resume"/>.</summary>
    public void Stop() => _stopped = true;

    /// <summary>The disk goes on: what waited is done, in order.</summary>
    public void Resume()
    {
        _stopped = false;
        while (!_stopped && _inFlight.TryDequeue(out var append)) Finish(append.Expected, append.Entries, append.Done, append.Cancel);
    }

    /// <summary>
    /// The manager dies. Its journal answers nothing more; what is returned is what the next life finds.
    /// </summary>
    /// <param name="nextLife">Id of the next life.</param>
    /// <param name="keepInFlight">Whether the append that was in flight, or failed last and was written, is there.</param>
    public MemoryJournal Crash(string nextLife, bool keepInFlight)
    {
        var next = new MemoryJournal(Id, nextLife);
        next._records.AddRange(_records);
        if (keepInFlight)
        {
            if (_unsynced is not null) next.Add(_unsynced, Life);
            else if (_inFlight.TryPeek(out var first) && first.Expected == Length) next.Add(first.Entries, Life);
        }

        _crashed = true;
        _inFlight.Clear();
        return next;
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(after);
        ArgumentOutOfRangeException.ThrowIfNegative(most);
        if (_crashed) return Never<IReadOnlyList<JournalRecord>>();
        if (cancel.IsCancellationRequested) return Task.FromCanceled<IReadOnlyList<JournalRecord>>(cancel);
        if (Down is { } fault) return Task.FromException<IReadOnlyList<JournalRecord>>(Unavailable(fault));
        return Task.FromResult<IReadOnlyList<JournalRecord>>([.. _records.Skip((int)Math.Min(after, int.MaxValue)).Take(most)]);
    }

    /// <inheritdoc/>
    public Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        if (_crashed) return Never<bool>();
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (_stopped) _inFlight.Enqueue((expected, [.. entries], done, cancel));
        else Finish(expected, [.. entries], done, cancel);
        return done.Task;
    }

    /// <summary>Nothing to close.</summary>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private void Finish(long expected, JournalEntry[] entries, TaskCompletionSource done, CancellationToken cancel)
    {
        if (cancel.IsCancellationRequested)
        {
            done.SetCanceled(cancel);
            return;
        }

        if (expected != Length)
        {
            done.SetException(new JournalConflictException(Id, expected, Length));
            return;
        }

        if (Down is { } down)
        {
            done.SetException(Unavailable(down));
            return;
        }

        if (_faults.TryDequeue(out var fault))
        {
            _unsynced = fault.Kept ? entries : null;
            done.SetException(Unavailable(fault.Fault));
            return;
        }

        _unsynced = null;
        Add(entries, Life);
        Appends++;
        done.SetResult();
    }

    private void Add(JournalEntry[] entries, string life)
    {
        foreach (JournalEntry e in entries) _records.Add(new JournalRecord(Length + 1, e.At, e.NowNs, life, e.Actor, e.Migration, e.Input,
            e.Body));
    }

    private JournalUnavailableException Unavailable(JournalFault fault) => new(fault, $"journal {Id}: {fault}, as the test wants it");

    // A dead manager hears nothing, not even an error.
    private static Task<T> Never<T>() => new TaskCompletionSource<T>().Task;
}
