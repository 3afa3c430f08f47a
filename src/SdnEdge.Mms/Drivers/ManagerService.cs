using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// The manager's one loop. An input is taken, the machine says what state it leads to, and:
/// <list type="number">
/// <item>an input that changes nothing is dropped;</item>
/// <item>one that opens no new command waits in memory, and goes into the journal with the next one that does: so that between a server's
/// stop and its start there is one synced record, the pivot's;</item>
/// <item>the others are on the disk before any of their commands is issued.</item>
/// </list>
/// While the journal takes no records nothing moves: inputs wait, what runs goes on, and <see cref="Fault"/> says so.
/// </summary>
public sealed class ManagerService : IAsyncDisposable
{
    private static readonly TimeSpan s_journalRetry = TimeSpan.FromMilliseconds(500), s_idleFlush = TimeSpan.FromMilliseconds(100);

    private readonly IJournal _journal;
    private readonly IParties _parties;
    private readonly Channel<Item> _items = Channel.CreateUnbounded<Item>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<string, MoveRunner> _runners = new(StringComparer.Ordinal);
    private readonly Lock _runnersLock = new();
    private readonly List<JournalEntry> _unwritten = [];
    private readonly List<Item> _unanswered = [];
    private readonly CancellationTokenSource _stop = new();
    private ManagerState _state;
    private long _expected;
    private bool _disposed;
    private Task _loop = Task.CompletedTask;
    private volatile ManagerState _shown;
    private volatile string? _fault;

    private ManagerService(IJournal journal, IParties parties, ManagerState state, long position)
        => (_journal, _parties, _state, _shown, _expected) = (journal, parties, state, state, position);

    /// <summary>Called with the state before and after each input that is on record, on the manager's loop. What it throws is not
    /// caught.</summary>
    public event Action<ManagerState, ManagerState, ManagerInput>? Changed;

    /// <summary>
    /// What is on record, and what came since then and needs no record of its own: it is asked again after a crash.
    /// </summary>
    public ManagerState State => _shown;

    /// <summary>Why nothing moves; null: the journal takes records.</summary>
    public string? Fault => _fault;

    /// <summary>Ends when the manager can go on no more: another one uses the journal. Faults with the reason.</summary>
    public Task Ended => _loop;

    private static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    /// <summary>Takes a journal up: folds it, and goes on with what is open in it.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be read.</exception>
    public static async Task<ManagerService> StartAsync(IJournal journal, IParties parties, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(journal);
        ManagerState state = ManagerState.Empty;

        // R8: appends expect the position up to which the records were read, not the length that the journal has by now.
        long position = 0;
        for (IReadOnlyList<JournalRecord> records;
             (records = await journal.ReadAsync(position, 1000, cancel)).Count > 0;
             position = records[^1].Position)
        {
            foreach (JournalRecord record in records) state =
                ManagerMachine.Step(state, JournalCodec.Read(record), record.NowNs, record.At);
        }

        var manager = new ManagerService(journal, parties, state, position);
        foreach (MigrationState open in manager._state.Migrations.Values.Where(m => m.Outcome is null))
            manager._items.Writer.TryWrite(new Item(_ => new MoveHappened(open.Id, new TakenUp()), "manager", MustSync: true));
        manager._loop = Task.Run(manager.LoopAsync, CancellationToken.None);
        return manager;
    }

    /// <summary>Takes an input, decided on the state as it is when its turn comes.</summary>
    /// <param name="decide">Makes the input; null = there is nothing to do. What it throws is the caller's.</param>
    /// <param name="actor">Who.</param>
    /// <returns>The state that it led to, on record; null when it changed nothing.</returns>
    public Task<ManagerState?> PostAsync(Func<ManagerState, ManagerInput?> decide, string actor)
    {
        var item = new Item(decide, actor, MustSync: true);
        return _items.Writer.TryWrite(item) ? item.Done.Task
            : Task.FromException<ManagerState?>(new ObjectDisposedException(nameof(ManagerService)));
    }

    /// <summary>What is open in a migration, and why it is not done.</summary>
    public IReadOnlyList<Waiting> WaitingOf(string migration)
    {
        lock (_runnersLock) return _runners.TryGetValue(migration, out MoveRunner? runner) ? runner.Waiting : [];
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, true)) return;
        _items.Writer.TryComplete();
        await _stop.CancelAsync();
        await _loop.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_runnersLock)
        {
            foreach (MoveRunner runner in _runners.Values) runner.Dispose();
        }

        _stop.Dispose();
    }

    private async Task LoopAsync()
    {
        try
        {
            while (!_stop.IsCancellationRequested)
            {
                if (await NextAsync() is { } item) await TakeAsync(item);
                else if (MayFlush) await FlushAsync();
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped: what was not on record has not happened.
        }
        catch (Exception e)
        {
            _fault = e.Message;
            lock (_runnersLock)
            {
                foreach (MoveRunner runner in _runners.Values) runner.Dispose();
            }

            throw;
        }
        finally
        {
            _items.Writer.TryComplete();
            foreach (Item item in _unanswered) item.Done.TrySetException(Stopped());
            while (_items.Reader.TryRead(out Item? item)) item.Done.TrySetException(Stopped());
        }
    }

    // While a server stands still, what came before waits for the pivot: its record must find the journal idle.
    private bool MayFlush => _unwritten.Count > 0
        && !_state.Migrations.Values.Any(m => m is { Outcome: null, Current.Stage: MoveStage.Stop or MoveStage.HandOver });

    private ObjectDisposedException Stopped() => new(nameof(ManagerService), _fault ?? "the manager has stopped");

    // The next input; null when none came for a while.
    private async Task<Item?> NextAsync()
    {
        if (_items.Reader.TryRead(out Item? ready)) return ready;
        (string? migration, long deadline) = (null, long.MaxValue);
        foreach (MigrationState open in _state.Migrations.Values)
        {
            if (ManagerMachine.Deadline(open) is var due && due < deadline) (migration, deadline) = (open.Id, due);
        }

        long left = deadline == long.MaxValue ? long.MaxValue : deadline - Now;
        if (migration is not null && left <= 0) return Due(migration);
        TimeSpan wait = left > 60_000_000_000 ? TimeSpan.FromMinutes(1) : TimeSpan.FromMilliseconds(Math.Max(1, left / 1_000_000));
        if (MayFlush && wait > s_idleFlush) wait = s_idleFlush;
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        timer.CancelAfter(wait);
        try
        {
            return await _items.Reader.ReadAsync(timer.Token);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            return null;
        }
        catch (ChannelClosedException)
        {
            throw new OperationCanceledException(_stop.Token);
        }
    }

    private Item Due(string migration) => new(state =>
    {
        MoveState move = state.Migrations[migration].Current;
        if (move.Stage == MoveStage.Planned) return new MoveHappened(migration, new Begin());
        string open = string.Join("; ", WaitingOf(migration).Select(w => $"{w.Command}: {w.Detail ?? Words.Of(w.Reason)}"));
        return new MoveHappened(migration, new StageExpired(move.Stage, open));
    }, "manager", MustSync: true);

    private async Task TakeAsync(Item item)
    {
        ManagerInput? input;
        try
        {
            input = item.Decide(_state);
        }
        catch (Exception e)
        {
            item.Done.SetException(e);
            return;
        }

        long now = Now;
        string at = DateTimeOffset.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
        ManagerState before = _state, after = input is null ? before : ManagerMachine.Step(before, input, now, at);
        if (ReferenceEquals(before, after))
        {
            item.Done.SetResult(null);
            return;
        }

        _unwritten.Add(JournalCodec.Write(input!, now, at, item.Actor));
        _unanswered.Add(item with { Before = before, After = after, Input = input });
        _state = after;
        if (item.MustSync || ManagerMachine.OpensCommands(before, after))
        {
            await FlushAsync();
            return;
        }

        Show(after);
        item.Done.SetResult(after);
    }

    private async Task FlushAsync()
    {
        while (true)
        {
            try
            {
                await _journal.AppendAsync(_expected, _unwritten, _stop.Token);
                break;
            }
            catch (JournalUnavailableException e)
            {
                _fault = $"nothing moves: the journal takes no records: {e.Message}";
                await Task.Delay(s_journalRetry, _stop.Token);
            }
        }

        _fault = null;
        _expected += _unwritten.Count;
        _unwritten.Clear();
        Item[] done = [.. _unanswered];
        _unanswered.Clear();
        Show(_state);
        foreach (Item item in done)
        {
            Changed?.Invoke(item.Before!, item.After!, item.Input!);
            item.Done.TrySetResult(item.After);
        }
    }

    // Lets everybody see a state whose commands may be issued.
    private void Show(ManagerState state)
    {
        _shown = state;
        lock (_runnersLock)
        {
            foreach (MigrationState migration in state.Migrations.Values)
            {
                if (migration.Outcome is not null)
                {
                    if (_runners.Remove(migration.Id, out MoveRunner? ended)) ended.Dispose();
                    continue;
                }

                if (!_runners.TryGetValue(migration.Id, out MoveRunner? runner))
                    _runners[migration.Id] = runner = new MoveRunner(_parties, migration.Current, input => PostAsync(migration.Id, input));
                runner.Update(migration.Current);
            }
        }
    }

    // A result of a command. It is answered when the state has it, on record or not: nobody acts on it before it is.
    private async Task<bool> PostAsync(string migration, MoveInput input)
    {
        var item = new Item(_ => new MoveHappened(migration, input), "manager", MustSync: false);
        if (!_items.Writer.TryWrite(item)) return false;
        return await item.Done.Task is not null;
    }

    private sealed record Item(Func<ManagerState, ManagerInput?> Decide, string Actor, bool MustSync)
    {
        public TaskCompletionSource<ManagerState?> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ManagerState? Before { get; init; }

        public ManagerState? After { get; init; }

        public ManagerInput? Input { get; init; }
    }
}
