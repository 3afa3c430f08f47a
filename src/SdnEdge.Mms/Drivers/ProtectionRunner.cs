using System.Collections.Concurrent;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Carries out what is open in the protection of one group, and looks at its PEs all the time while it is armed. That they are as they
/// should be is no record; that one has switched is.
/// </summary>
/// <param name="parties">Whom to speak to.</param>
/// <param name="post">Takes an input, with the epoch that it is of.</param>
internal sealed class ProtectionRunner(IParties parties, Func<long, ProtectionInput, Task> post) : IDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1), s_between = TimeSpan.FromMilliseconds(200);

    // A PE answers when something has changed there, and after so long at the latest: one that is gone is noticed.
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(2);

    // What a source PE advertises is looked at again and again, at a pace that a PE with very many prefixes does not feel.
    private static readonly TimeSpan s_tells = TimeSpan.FromSeconds(2), s_tellsEach = TimeSpan.FromMilliseconds(5);

    private readonly ConcurrentDictionary<string, string> _reasons = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, BackupInfo> _backups = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Advertised> _advertised = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private CancellationTokenSource _end = new();
    private ProtectionState? _state;
    private bool _disposed;

    /// <summary>Why it does not protect now, or what is waited for, a line each.</summary>
    public IReadOnlyList<string> Reasons => [.. _reasons.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => r.Value).Distinct()];

    /// <summary>The source PE's word of a path, as it was seen last; null = it was not seen.</summary>
    public BackupInfo? BackupOf(string path) => _backups.GetValueOrDefault(path);

    /// <summary>LOCAL_PREF of the backup path that the target PE of a path was told to advertise, as it says itself; null = it was not
    /// seen.</summary>
    public Advertised? AdvertisedOf(string path) => _advertised.GetValueOrDefault(path);

    /// <summary>Brings it in line with a state that is on record.</summary>
    public void Update(ProtectionState state)
    {
        lock (_lock)
        {
            ProtectionState? before = _state;
            _state = state;
            bool same = before?.Epoch == state.Epoch && before.Stage == state.Stage;

            // What is disarmed one after the other is sent one after the other; armed again, everything is asked again.
            HashSet<string> had = same ? WorkOf(before!) : [], work = WorkOf(state);
            if (_disposed || (same && work.IsSubsetOf(had))) return;
            _ = _end.CancelAsync();
            _end = new CancellationTokenSource();
            CancellationToken end = _end.Token;
            _reasons.Clear();
            _advertised.Clear();
            IReadOnlyList<PathMove> asks = ProtectionMachine.Asks(state);
            foreach (PathMove path in asks) _ = Task.Run(() => AskAsync(state, path, end), end);
            foreach (SendSignal command in asks.Count > 0 ? [] : ProtectionMachine.Open(state))
                _ = Task.Run(() => SendAsync(state, command, end), end);
            foreach (LeaseCommand lease in ProtectionMachine.OpenLeases(state)) _ = Task.Run(() => LeaseAsync(state, lease, end), end);
            if (state.Stage != ProtectionStage.Armed) return;
            foreach (PathMove path in state.Plan.Paths)
            {
                _ = Task.Run(() => WatchAsync(state, path, isSource: true, end), end);
                _ = Task.Run(() => WatchAsync(state, path, isSource: false, end), end);
                _ = Task.Run(() => AskAgainAsync(state, path, end), end);
            }
        }
    }

    /// <summary>Stops: what is under way is not waited for.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed) return;
            _disposed = true;
            _end.Cancel();
            _end.Dispose();
        }
    }

    // What is sent depends on what was answered: as long as there is something to ask, nothing is sent.
    private static HashSet<string> WorkOf(ProtectionState state) =>
    [
        .. ProtectionMachine.Asks(state) is { Count: > 0 } asks ? asks.Select(AskKey) : ProtectionMachine.Open(state).Select(s => s.Key),
        .. ProtectionMachine.OpenLeases(state).Select(c => c.Key),
    ];

    private async Task LeaseAsync(ProtectionState state, LeaseCommand command, CancellationToken end)
    {
        string until = command is BindLease { Bound: false } ? "" : "; until it does, only its hosts' own word fences it";
        while (!end.IsCancellationRequested)
        {
            try
            {
                await parties.LeaseAsync(command, end);
                _reasons.TryRemove(command.Key, out _);
                await post(state.Epoch, new PartDone(command.Key));
                return;
            }
            catch (ApiProblemException e)
            {
                // What is freed or revoked under a higher epoch has nothing of this one any more.
                if (state.Stage == ProtectionStage.Disarm && e.Problem.Status == 409)
                {
                    await post(state.Epoch, new PartDone(command.Key));
                    return;
                }

                _reasons[command.Key] = $"{command.Party} refuses {command.Key}: {e.Problem.Detail}{until}";
            }
            catch (ApiUnreachableException e)
            {
                _reasons[command.Key] = $"{command.Party} does not answer: {e.Message}{until}";
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await Task.Delay(s_retry, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static string AskKey(PathMove path) => $"tells {path.Id} {path.Source.Pe}";

    private async Task AskAsync(ProtectionState state, PathMove path, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            try
            {
                SourceTells told = await parties.TellsAsync(path, end);
                _reasons.TryRemove(AskKey(path), out _);
                await post(state.Epoch, told);
                return;
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                _reasons[AskKey(path)] = $"{path.Source.Pe} does not say what it advertises: {e.Message}";
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await Task.Delay(s_retry, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // A PE that has just been started tells nothing yet: what is to change something has been said twice.
    private async Task AskAgainAsync(ProtectionState state, PathMove path, CancellationToken end)
    {
        TimeSpan often = s_tellsEach * path.Source.Prefixes.Count, pause = often > s_tells ? often : s_tells;
        SourceTells? before = null;
        while (!end.IsCancellationRequested)
        {
            await Task.Delay(pause, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            try
            {
                SourceTells now = await parties.TellsAsync(path, end);
                bool other = ProtectionMachine.TellsOther(state, now);
                if (other && before is not null && before.LocalPref == now.LocalPref
                    && (before.NotTold ?? []).SequenceEqual(now.NotTold ?? [])) await post(state.Epoch, now);
                before = other ? now : null;
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                before = null;
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task SendAsync(ProtectionState state, SendSignal command, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            try
            {
                if (!await IsThereAsync(state, command, end)) await parties.SignalAsync(command, end);
                _reasons.TryRemove(command.Key, out _);
                await post(state.Epoch, new PartDone(command.Key));
                return;
            }
            catch (ApiProblemException e) when (e.Problem.Type == "/problems/stale-epoch")
            {
                // To be disarmed, that is enough: whoever is in charge has told it something later.
                await post(state.Epoch, command.Signal == SignalKind.Abort ? new PartDone(command.Key)
                    : new ProtectionFenced($"{command.Pe}: {e.Problem.Detail}"));
                return;
            }
            catch (ApiProblemException e)
            {
                _reasons[command.Key] = $"{command.Pe} refuses {Words.Of(command.Signal)}: {e.Problem.Detail}"
                    + string.Concat((e.Problem.Errors ?? []).Select(x => $"; {x.Pointer} {x.Detail}"));
            }
            catch (ApiUnreachableException e)
            {
                _reasons[command.Key] = $"{command.Pe} does not answer: {e.Message}";
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await Task.Delay(s_retry, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // A source that has switched meanwhile is as it was told to be; it is not told again.
    private async Task<bool> IsThereAsync(ProtectionState state, SendSignal command, CancellationToken end)
    {
        if (command.Signal != SignalKind.Prepare) return false;
        try
        {
            MigrationInfo known = await parties.MigrationAsync(command.Pe, command.Path, new MigrationWait(), end);
            return known.Epoch == state.Epoch && (command.Request.Watch is null ? known.State == PeMigrationState.Prepared
                : known.Backup is not null
                    && known.State is PeMigrationState.Prepared or PeMigrationState.Flipped or PeMigrationState.Returning);
        }
        catch (ApiProblemException e) when (e.Problem.Status == 404)
        {
            return false;
        }
    }

    private async Task WatchAsync(ProtectionState state, PathMove path, bool isSource, CancellationToken end)
    {
        string pe = isSource ? path.Source.Pe : path.Target.Pe, key = $"{path.Id} {pe}";
        MigrationInfo? known = null;
        while (!end.IsCancellationRequested)
        {
            TimeSpan pause = s_retry;
            try
            {
                MigrationWait wait = known is null ? new() : new(s_look, known.Change);
                MigrationInfo seen = await parties.MigrationAsync(pe, path.Id, wait, end);
                pause = seen.Change == known?.Change ? s_between : TimeSpan.Zero;
                known = seen;
                Note(key, isSource ? WhyNotAtSource(pe, seen) : WhyNotAtTarget(pe, seen));
                if (isSource) await TakeAsync(state, path, seen);
                else _advertised[path.Id] = new Advertised(seen.BackupLocalPref);
            }
            catch (ApiProblemException e) when (e.Problem.Status == 404)
            {
                await post(state.Epoch, new PartLost(path.Id, pe));
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                known = null;
                Note(key, $"{pe} does not answer: {e.Message}");
            }
            catch (OperationCanceledException)
            {
                return;
            }

            if (pause > TimeSpan.Zero) await Task.Delay(pause, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Note(string key, string? why)
    {
        if (why is null) _reasons.TryRemove(key, out _);
        else _reasons[key] = why;
    }

    private async Task TakeAsync(ProtectionState state, PathMove path, MigrationInfo seen)
    {
        if (seen.Backup is { } backup) _backups[path.Id] = backup;
        bool flipped = seen.State == PeMigrationState.Flipped, was;
        lock (_lock) was = _state!.Epoch == state.Epoch && _state.FlippedSince.ContainsKey(path.Id);
        if (flipped != was) await post(state.Epoch, new FlipSeen(path.Id, flipped));
    }

    private static string? WhyNotAtSource(string pe, MigrationInfo seen) => seen switch
    {
        { State: PeMigrationState.Flipped } => null,
        { State: PeMigrationState.Returning } => $"{pe} is going back from a false alarm",
        { State: not PeMigrationState.Prepared } => $"{pe} does not watch any more: its part is {Words.Of(seen.State)}",
        { Backup: null } => $"{pe} watches nothing; use a PE that can",
        { Backup.Unready: { } why } => $"{pe} would not switch: {why}",
        { TunnelUp: false } => $"the tunnel of {seen.Id} is down at {pe}",
        _ => seen.Backup.Watch.FirstOrDefault(w => w.State == WatchState.Unknown) is { } unknown
            ? $"{pe} has not seen {unknown.Part} working yet: {unknown.Why}" : null,
    };

    private static string? WhyNotAtTarget(string pe, MigrationInfo seen) => seen switch
    {
        { State: not PeMigrationState.Prepared } => $"{pe} does not hold: its part is {Words.Of(seen.State)}",
        { TunnelUp: false } => $"the tunnel of {seen.Id} is down at {pe}",
        _ => null,
    };
}

/// <summary>What the target PE of a path was told to advertise, as it says itself.</summary>
/// <param name="LocalPref">LOCAL_PREF of the backup path; null = it was told to advertise none.</param>
internal sealed record Advertised(uint? LocalPref);
