using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>A migration is not taken up yet, or nothing moves: nothing is decided about it now. The message says why.</summary>
public sealed class MigrationHeldException(string message) : Exception(message);

/// <summary>
/// The manager's one loop. An input is taken, the machine says what state it leads to, and:
/// <list type="number">
/// <item>an input that changes nothing is dropped;</item>
/// <item>one that opens no new command waits in memory, and goes into the journal with the next one that does: so that between a server's
/// stop and its start there is one synced record, the pivot's;</item>
/// <item>the others are on the disk before any of their commands is issued.</item>
/// </list>
/// While the journal takes no records nothing moves: inputs wait, what runs goes on, and <see cref="Fault"/> says so.
/// <para>
/// A migration that runs by the journal is held until its parties were asked whether they know of anything later (<see cref="TakeUp"/>). If
/// they do, the journal is an old copy: nothing moves at all until it was recovered.
/// </para>
/// </summary>
public sealed class ManagerService : IAsyncDisposable
{
    private const int FoldBatch = 64;

    private static readonly TimeSpan s_journalRetry = TimeSpan.FromMilliseconds(500), s_idleFlush = TimeSpan.FromMilliseconds(100);

    private readonly IJournal _journal;
    private readonly IParties _parties;
    private readonly TimeProvider _time;
    private readonly Channel<Item> _items = Channel.CreateUnbounded<Item>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<(string Migration, int Move), MoveRunner> _runners = [];
    private readonly Dictionary<string, ProtectionRunner> _protectors = new(StringComparer.Ordinal);
    private readonly Lock _runnersLock = new();
    private readonly List<JournalEntry> _unwritten = [];
    private readonly List<Item> _unanswered = [];

    // Migrations that are not taken up yet.
    private readonly ConcurrentDictionary<string, Held> _held = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource<string> _foundOld = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly SemaphoreSlim _folding = new(1);
    private readonly CancellationTokenSource _stop = new();
    private ManagerState _state;
    private long _expected;
    private bool _disposed;
    private Task _loop = Task.CompletedTask;
    private volatile ManagerState _shown;
    private volatile string? _fault;
    private volatile string? _old;

    private ManagerService(IJournal journal, IParties parties, TimeProvider time, ManagerState state, long position)
        => (_journal, _parties, _time, _state, _shown, _expected) = (journal, parties, time, state, state, position);

    /// <summary>Called with the state before and after each input that is on record, on the manager's loop. What it throws is not
    /// caught.</summary>
    public event Action<ManagerState, ManagerState, ManagerInput>? Changed;

    /// <summary>
    /// What is on record, and what came since then and needs no record of its own: it is asked again after a crash.
    /// </summary>
    public ManagerState State => _shown;

    /// <summary>Why nothing moves; null: the journal takes records, and is not known to be an old copy.</summary>
    public string? Fault => _fault ?? _old;

    /// <summary>Why the journal takes no records; null: it does.</summary>
    public string? JournalFault => _fault;

    /// <summary>Why the journal is known to be an old copy, in a sentence that says what to do; null: it is not.</summary>
    public string? OldJournal => _old;

    /// <summary>Ends with <see cref="OldJournal"/> when that is found out.</summary>
    public Task<string> FoundOld => _foundOld.Task;

    /// <summary>Ends when the manager can go on no more: another one uses the journal. Faults with the reason.</summary>
    public Task Ended => _loop;

    private static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    /// <summary>Takes a journal up: folds it, and goes on with what is open in it.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be read.</exception>
    public static Task<ManagerService> StartAsync(IJournal journal, IParties parties, CancellationToken cancel = default)
        => StartAsync(journal, parties, TimeProvider.System, cancel);

    /// <summary>The same, by another wall clock: windows open and close by it.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be read.</exception>
    public static Task<ManagerService> StartAsync(
        IJournal journal, IParties parties, TimeProvider time, CancellationToken cancel = default)
        => StartAsync(journal, parties, time, known: null, cancel);

    /// <summary>The same, where the state at a position of the journal is known: it is folded from there on.</summary>
    /// <exception cref="JournalUnavailableException">It cannot be read.</exception>
    internal static async Task<ManagerService> StartAsync(
        IJournal journal, IParties parties, TimeProvider time, (ManagerState State, long Position)? known, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(journal);

        // R8: appends expect the position up to which the records were read, not the length that the journal has by now.
        (ManagerState state, long position) = await JournalCodec.FoldAsync(
            journal, known ?? (ManagerState.Empty, 0), 1000, _ => false, cancel);
        var manager = new ManagerService(journal, parties, time, state, position);
        string[] open = [.. state.Migrations.Values.Where(m => m.Outcome is null).Select(m => m.Id)];
        foreach (string id in open) manager.Hold(id, WaitReason.InProgress, "its parties are asked whether they know of anything later");
        manager.Show(state);

        // Before anything is due: times of flips are of the life in which they were seen.
        foreach ((string group, ProtectionState armed) in state.Protections)
            _ = manager.PostAsync(group, armed.Epoch, new ProtectionTakenUp());
        manager._loop = Task.Run(manager.LoopAsync, CancellationToken.None);
        foreach (string id in open) _ = Task.Run(() => manager.TakeUpAsync(id), CancellationToken.None);
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

    /// <summary>
    /// A migration, whole; null: there is none of that id. One that is kept as a row is folded from the journal, which takes the longer the
    /// later it ended. One is folded at a time, and the records are read in small batches: a pivot waits for one batch at most.
    /// </summary>
    /// <exception cref="JournalUnavailableException">A record cannot be read.</exception>
    public async Task<MigrationState?> FindAsync(string id, CancellationToken cancel = default)
    {
        ManagerState shown = _shown;
        if (shown.Migrations.TryGetValue(id, out MigrationState? whole)) return whole;
        if (!shown.Ended.TryGetValue(id, out EndedMigration? ended)) return null;
        await _folding.WaitAsync(cancel);
        try
        {
            (ManagerState then, _) = await JournalCodec.FoldAsync(
                _journal, FoldBatch, s => s.Migrations.GetValueOrDefault(id) is { Outcome: not null }, cancel);

            // All that can happen to it after its end is the commit.
            return then.Migrations[id] with { Committed = ended.Committed };
        }
        finally
        {
            _folding.Release();
        }
    }

    /// <summary>What is open in a migration, and why it is not done.</summary>
    public IReadOnlyList<Waiting> WaitingOf(string migration)
    {
        if (_held.TryGetValue(migration, out Held? held)) return [held.Why];
        lock (_runnersLock) return [.. RunnersOf(migration).SelectMany(r => r.Waiting)];
    }

    /// <summary>The volumes of its servers as they were seen last, by server; empty where the migration does not run.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<ServerVolumeInfo>> VolumesOf(string migration)
    {
        lock (_runnersLock)
            return RunnersOf(migration).SelectMany(r => r.Volumes).ToDictionary(v => v.Key, v => v.Value, StringComparer.Ordinal);
    }

    /// <summary>Why the protection of a group does not protect now, or what is waited for, as its PEs were seen last.</summary>
    public IReadOnlyList<string> ReasonsOf(string group)
    {
        lock (_runnersLock) return _protectors.TryGetValue(group, out ProtectionRunner? runner) ? runner.Reasons : [];
    }

    /// <summary>What the source PE of a path of a protected group said last; null: nothing.</summary>
    public BackupInfo? BackupOf(string group, string path)
    {
        lock (_runnersLock) return _protectors.GetValueOrDefault(group)?.BackupOf(path);
    }

    /// <summary>What the target PE of a path of a protected group was told to advertise as a backup, as it said last; null: it did
    /// not.</summary>
    internal Advertised? AdvertisedOf(string group, string path)
    {
        lock (_runnersLock) return _protectors.GetValueOrDefault(group)?.AdvertisedOf(path);
    }

    private IEnumerable<MoveRunner> RunnersOf(string migration)
        => _runners.Where(r => r.Key.Migration == migration).OrderBy(r => r.Key.Move).Select(r => r.Value);

    /// <summary>Why a migration is not gone on with: it is not taken up yet. Null: it is.</summary>
    public string? WhyHeld(string migration) => _held.TryGetValue(migration, out Held? held) ? held.Why.Detail : null;

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
            foreach (ProtectionRunner runner in _protectors.Values) runner.Dispose();
        }

        _folding.Dispose();
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
                foreach (ProtectionRunner runner in _protectors.Values) runner.Dispose();
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

    private void Hold(string migration, WaitReason reason, string why) => _held[migration] = Held.For(reason, why);

    // Asks until those have answered whose word is needed; then the migration is taken up, or the journal is known to be old.
    private async Task TakeUpAsync(string id)
    {
        try
        {
            while (_old is null && _shown.Migrations.GetValueOrDefault(id) is { Outcome: null } migration && _held.ContainsKey(id))
            {
                TakeUpAnswer answer = await TakeUp.AskAsync(migration, _parties, _stop.Token);
                if (answer.Old is { } old)
                {
                    FindOld(id, old);
                    return;
                }

                string pes = string.Join(", ", answer.SilentPes);
                if (answer.Silent.Count == 0
                    && (pes.Length == 0 || migration.Running.Select(migration.MoveOf).Any(TakeUp.MayStandStill)))
                {
                    string? undo = pes.Length == 0 ? null
                        : $"{pes} did not say whether the network has gone back already: the journal may be an old copy";

                    // Once nobody holds it any more: its record comes first, and then its commands.
                    await PostAsync(
                        _ => _old is null && _held.TryRemove(id, out Held? _) ? new MoveHappened(id, new TakenUp(undo)) : null, "manager");
                    return;
                }

                string epochs = string.Join(", ", migration.Running.Select(n => migration.MoveOf(n).Plan.Epoch));
                string badly = migration.Current.Plan.IsStateless ? "take back what was decided" : "start the servers twice";
                string why = answer.Silent.Count > 0
                    ? $"{string.Join(", ", answer.Silent)} must say first that epoch {epochs} never ran there: the journal may be an old "
                        + $"copy, and then giving up would {badly}"
                    : $"{pes} must say first that epoch {epochs} was not taken back: the journal may be an old copy, and then the servers "
                        + "would run where no packets come; it can be aborted";

                // Unless it was given up, or aborted, meanwhile.
                if (_held.TryGetValue(id, out Held? held))
                    _held.TryUpdate(id, Held.For(WaitReason.PeerUnreachable, why, mayUndo: answer.Silent.Count == 0), held);
                await Task.Delay(s_journalRetry, _stop.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private void FindOld(string id, string why)
    {
        lock (_runnersLock)
        {
            _old ??= $"nothing moves: the journal is older than what PEs and hosts know: {why} (migration {id}). An old copy of it was put "
                + "back, or another manager is in charge: put the newest one back and start again, or run sdnedge mms recover";

            // All of them: what one migration shows is true of the whole journal.
            foreach (MigrationState open in _shown.Migrations.Values.Where(m => m.Outcome is null))
                Hold(open.Id, WaitReason.JournalOld, _old);
            foreach (MoveRunner runner in _runners.Values) runner.Dispose();
            _runners.Clear();
            foreach (ProtectionRunner runner in _protectors.Values) runner.Dispose();
            _protectors.Clear();
        }

        _foundOld.TrySetResult(_old);
    }

    // The journal has been rebuilt: what still runs by it is taken up anew.
    private void HoldAnew()
    {
        _old = null;
        foreach (string id in _held.Keys)
        {
            if (_state.Migrations.GetValueOrDefault(id) is not { Outcome: null }) _held.TryRemove(id, out Held? _);
            else _ = Task.Run(() => TakeUpAsync(id), CancellationToken.None);
        }
    }

    // While a server stands still, what came before waits for the pivot: its record must find the journal idle.
    private bool MayFlush => _unwritten.Count > 0
        && !_state.Migrations.Values.Any(m => m.Outcome is null && !_held.ContainsKey(m.Id)
            && m.Running.Any(n => m.MoveOf(n).Stage is MoveStage.Stop or MoveStage.HandOver));

    private ObjectDisposedException Stopped() => new(nameof(ManagerService), _fault ?? "the manager has stopped");

    // The next input; null when none came for a while.
    private async Task<Item?> NextAsync()
    {
        // A window is of the wall clock, which may be set: it is looked at again at least every minute.
        DateTimeOffset clock = _time.GetUtcNow(), turn = DateTimeOffset.MaxValue;
        foreach (MigrationState open in _state.Migrations.Values.Where(m => m.Outcome is null && !_held.ContainsKey(m.Id)))
        {
            if (open.Running.Min(n => MoveMachine.WindowDue(open.MoveOf(n))) is not { } at) continue;
            if (at <= clock) return new Item(_ => new MoveHappened(open.Id, new WindowReached(clock)), "manager", MustSync: true);
            if (at < turn) turn = at;
        }

        if (_items.Reader.TryRead(out Item? ready)) return ready;
        (string? migration, long deadline) = (null, long.MaxValue);
        foreach (MigrationState open in _state.Migrations.Values)
        {
            if (!_held.ContainsKey(open.Id) && ManagerMachine.Deadline(open) is var due && due < deadline)
                (migration, deadline) = (open.Id, due);
        }

        long left = deadline == long.MaxValue ? long.MaxValue : deadline - Now;
        if (migration is not null && left <= 0) return Due(migration);
        foreach (string group in _old is null ? _state.Protections.Keys : [])
        {
            long at = ManagerMachine.AutomaticAt(_state, group);
            if (at <= Now) return FailOver(group);
            if (at != long.MaxValue) left = Math.Min(left, at - Now);
        }

        TimeSpan wait = left > 60_000_000_000 ? TimeSpan.FromMinutes(1) : TimeSpan.FromMilliseconds(Math.Max(1, left / 1_000_000));
        if (turn - clock < wait) wait = turn - clock + TimeSpan.FromMilliseconds(1);
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

    private static Item FailOver(string group) => new(state => ManagerMachine.AutomaticAt(state, group) > Now ? null
        : new FailoverRequested(
            ManagerMachine.IdOf(state.NextMigration), group, state.Protections[group].Plan.To,
            new Failover(FenceKind.Kill, $"{state.Protections[group].Plan.From} has failed by what its PE watches, for "
                + $"{ManagerMachine.FlipLastsNs / 1_000_000_000} s"), "manager"), "manager", MustSync: true);

    private Item Due(string migration) => new(state =>
    {
        MigrationState open = state.Migrations[migration];
        int number = ManagerMachine.Due(open).Move;
        MoveState move = open.MoveOf(number);
        if (move.Stage == MoveStage.Planned) return new MoveHappened(migration, new Begin(), open.NumberFor(number));
        IReadOnlyList<Waiting> waiting;
        lock (_runnersLock) waiting = _runners.TryGetValue((migration, number), out MoveRunner? runner) ? runner.Waiting : [];
        string why = string.Join("; ", waiting.Select(w => $"{w.Command}: {w.Detail ?? Words.Of(w.Reason)}"));
        return new MoveHappened(migration, new StageExpired(move.Stage, why), open.NumberFor(number));
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

        if (WhyNot(input) is { } held)
        {
            if (item.MustSync) item.Done.SetException(new MigrationHeldException(held));
            else item.Done.SetResult(null);
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
        if (input is MoveHappened { Input: GiveUpRequested or AbortRequested, Migration: var ended }) _held.TryRemove(ended, out Held? _);
        if (item.MustSync || ManagerMachine.OpensCommands(before, after))
        {
            await FlushAsync();
            return;
        }

        Show(after);
        item.Done.SetResult(after);
    }

    // Nothing happens to a migration that is held, but that an operator gives a silent party up, or undoes what may be undone whatever the
    // silent ones know; and to nothing while the journal is old.
    private string? WhyNot(ManagerInput? input) => input switch
    {
        MoveHappened { Input: TakenUp } => null,
        MoveHappened { Input: GiveUpRequested } => _old,
        MoveHappened { Input: AbortRequested } abort when _held.TryGetValue(abort.Migration, out Held? held) && held.MayUndo => _old,
        MoveHappened happened => WhyHeld(happened.Migration),
        MigrationRequested or ProtectionRequested or FailoverRequested => _old,
        _ => null,
    };

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
        if (Array.Exists(done, i => i.Input is Recovered)) HoldAnew();
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
            foreach ((string id, int number) in _runners.Keys.Where(r => state.Migrations.GetValueOrDefault(r.Migration) is not
                { Outcome: null } m || m.MoveOf(r.Move).Outcome is not null).ToArray())
            {
                _runners.Remove((id, number), out MoveRunner? ended);
                ended!.Dispose();
            }

            foreach (MigrationState migration in state.Migrations.Values.Where(m => m.Outcome is null && !_held.ContainsKey(m.Id)))
            {
                foreach (int number in migration.Running)
                {
                    MoveState move = migration.MoveOf(number);
                    if (!_runners.TryGetValue((migration.Id, number), out MoveRunner? runner))
                    {
                        int? named = migration.NumberFor(number);
                        _runners[(migration.Id, number)] = runner = new MoveRunner(
                            _parties, move, input => PostAsync(migration.Id, input, named));
                    }

                    runner.Update(move);
                }
            }

            if (_old is null) ShowProtections(state);
        }
    }

    private void ShowProtections(ManagerState state)
    {
        foreach (string gone in _protectors.Keys.Where(g => !state.Protections.ContainsKey(g)).ToArray())
        {
            _protectors.Remove(gone, out ProtectionRunner? ended);
            ended!.Dispose();
        }

        foreach ((string group, ProtectionState protection) in state.Protections)
        {
            if (!_protectors.TryGetValue(group, out ProtectionRunner? runner))
                _protectors[group] = runner = new ProtectionRunner(_parties, (epoch, input) => PostAsync(group, epoch, input));
            runner.Update(protection);
        }
    }

    // Answered when it is on record, or changed nothing.
    private async Task PostAsync(string group, long epoch, ProtectionInput input)
    {
        var item = new Item(_ => new ProtectionHappened(group, epoch, input), "manager", MustSync: false);
        if (_items.Writer.TryWrite(item)) await ((Task)item.Done.Task).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    // A result of a command. It is answered when the state has it, on record or not: nobody acts on it before it is.
    private async Task<bool> PostAsync(string migration, MoveInput input, int? move)
    {
        var item = new Item(_ => new MoveHappened(migration, input, move), "manager", MustSync: false);
        if (!_items.Writer.TryWrite(item)) return false;
        return await item.Done.Task is not null;
    }

    // A migration that is not taken up yet.
    private sealed record Held(Waiting Why, bool MayUndo)
    {
        public static Held For(WaitReason reason, string why, bool mayUndo = false)
            => new(new Waiting("take-up", reason, why, Now), mayUndo);
    }

    private sealed record Item(Func<ManagerState, ManagerInput?> Decide, string Actor, bool MustSync)
    {
        public TaskCompletionSource<ManagerState?> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public ManagerState? Before { get; init; }

        public ManagerState? After { get; init; }

        public ManagerInput? Input { get; init; }
    }
}
