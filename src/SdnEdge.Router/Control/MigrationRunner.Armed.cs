using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Router.Control;

/// <content>
/// Armed backups: a source that switches by itself when what it watches fails, and goes back when it was a false alarm. The store comes
/// before the disk here, since nobody is answered: a PE that is killed in between finds the site failed again when it is back.
/// </content>
internal sealed partial class MigrationRunner
{
    private readonly Dictionary<string, Backup> _backups = [];

    /// <summary>Flips since the PE was started, how many of them were false alarms, and how many of these went back without
    /// order.</summary>
    public (long Flips, long FalseAlarms, long Unordered) BackupCounts { get; private set; }

    private long NextLookAtWatches
    {
        get
        {
            long next = long.MaxValue;
            if (_state.IsStandby) return next;
            foreach ((string id, Backup backup) in _backups)
            {
                if (MayGoBack(id)) next = Math.Min(next, Math.Max(0, backup.Watch.BackAtNs));
            }

            return next;
        }
    }

    /// <summary>Something that is watched has changed, or a group may flip that could not: all stores first, then the rest.</summary>
    public void OnWatchChanged()
    {
        if (_state.IsStandby || _backups.Count == 0) return;
        long now = _loop.Now;
        List<(string Id, Backup Backup)>? flipped = null;
        foreach ((string id, Backup backup) in _backups)
        {
            if (!backup.Watch.HasFailed || _broken.ContainsKey(id) || _fsm.Find(id) is not { State: PeMigrationState.Prepared }) continue;
            if (!CarryOut(id, new WatchFailed()))
            {
                TellOnce(id, backup, now);
                continue;
            }

            backup.FlippedAtNs = _loop.Now;
            (flipped ??= []).Add((id, backup));
        }

        if (flipped is not null) AfterFlips(flipped);
        foreach ((string id, Backup backup) in _backups)
        {
            if (backup.Watch.IsBack(now) && MayGoBack(id) && CarryOut(id, new WatchIsBack()))
            {
                _state.Events.Add(_loop.Now, "migration", id, "asks-back",
                    "what it watches works again, and nobody has confirmed the switch");
            }
        }

        _changes.Note();
        KeepLater();
    }

    /// <summary>What was asked back from the target is here, or it did not say so in time.</summary>
    public void OnReturnEnded(string id, bool inOrder)
    {
        if (!_backups.TryGetValue(id, out Backup? backup) || !CarryOut(id, new Returned())) return;
        backup.BackAtNs = _loop.Now;
        backup.FalseAlarms++;
        if (!inOrder) backup.Unordered++;
        (long flips, long falseAlarms, long unordered) = BackupCounts;
        BackupCounts = (flips, falseAlarms + 1, inOrder ? unordered : unordered + 1);
        backup.Watch.Forgive();
        _actions.MarkAcknowledged(id);
        _state.Events.Add(_loop.Now, "migration", id, "false-alarm", inOrder ? "all that was held went to the servers, in order"
            : $"the target did not say in {MigrationActions.ReturnBoundNs / 1_000_000} ms that it holds nothing: what it held may come "
                + "late, or is lost");
        _changes.Note();
        KeepLater();

        // It may have failed again meanwhile.
        OnWatchChanged();
    }

    private bool MayGoBack(string id) => !_broken.ContainsKey(id) && !_underway.ContainsKey(id)
        && _fsm.Find(id)?.State == PeMigrationState.Flipped;

    private void AfterFlips(List<(string Id, Backup Backup)> flipped)
    {
        _state.Workers.Grace();
        long acknowledged = _loop.Now;
        (long flips, long falseAlarms, long unordered) = BackupCounts;
        BackupCounts = (flips + flipped.Count, falseAlarms, unordered);
        foreach ((string id, Backup backup) in flipped)
        {
            _actions.MarkAcknowledged(id);
            backup.Flips++;
            backup.WhyNot = null;
            (backup.NoticedAtNs, backup.AcknowledgedAtNs) = (backup.Watch.FailedAtNs, acknowledged);
            IEnumerable<WatchInfo> down = backup.Watch.Info.Where(i => i.State == WatchState.Down);
            string what = string.Join("; ", down.Select(i => $"{i.Part}: {i.Why}"));
            _state.Events.Add(backup.FlippedAtNs!.Value, "migration", id, "flipped", what);
        }
    }

    // The machine decides; what it gives is one store, or one packet and one store.
    private bool CarryOut(string id, PeResult result)
    {
        PeStep step = _fsm.Result(id, result, _loop.Now);
        foreach (PeCommand command in step.Commands)
        {
            foreach (CommandPart _ in _actions.Carry(command))
            {
            }
        }

        return step.Commands.Count > 0;
    }

    private void TellOnce(string id, Backup backup, long now)
    {
        string why = _fsm.WouldFlip(id) ?? "";
        if (backup.WhyNot == why) return;
        backup.WhyNot = why;
        _state.Events.Add(now, "migration", id, "not-flipped", $"what it watches has failed, and its packets go on to the site: {why}");
    }

    // A signal has taken effect.
    private void Follow(string id, SignalKind signal)
    {
        if (signal == SignalKind.Prepare && _fsm.Find(id) is { } migration) BeginWatch(migration, restored: false);
        else if (_fsm.Find(id)?.State is not (PeMigrationState.Prepared or PeMigrationState.Flipped)) _watch.End(id);
    }

    private void BeginWatch(PeMigration migration, bool restored)
    {
        // One that was forgotten since has nothing to show any more.
        foreach (string old in _backups.Keys.Where(k => _fsm.Find(k) is null).ToArray()) _backups.Remove(old);
        if (migration is not { Watch: { } parts, State: PeMigrationState.Prepared or PeMigrationState.Flipped }) return;
        var backup = new Backup(new ArmedWatch(parts, hasFailed: migration.State == PeMigrationState.Flipped));
        _backups[migration.Id] = backup;
        _watch.Begin(migration.Id, migration.Vrf, parts, backup.Watch);
        if (!restored) OnWatchChanged();
    }

    private BackupInfo? BackupOf(PeMigration migration)
    {
        if (!_backups.TryGetValue(migration.Id, out Backup? b)) return null;
        string? unready = _fsm.WouldFlip(migration.Id)
            ?? (b.Watch.WhyBlind is { } blind ? $"nothing that it watches is seen working: {blind}" : null);
        return new BackupInfo(b.Watch.Info, b.Flips, b.FalseAlarms, b.Unordered, b.NoticedAtNs, b.FlippedAtNs, b.AcknowledgedAtNs,
            b.BackAtNs, unready);
    }

    /// <summary>What an armed backup has noticed and done since it was armed, or since the PE was started.</summary>
    private sealed class Backup(ArmedWatch watch)
    {
        public ArmedWatch Watch { get; } = watch;

        public int Flips { get; set; }

        public int FalseAlarms { get; set; }

        public int Unordered { get; set; }

        public long? NoticedAtNs { get; set; }

        public long? FlippedAtNs { get; set; }

        public long? AcknowledgedAtNs { get; set; }

        public long? BackAtNs { get; set; }

        /// <summary>Why it did not flip, as it was told last.</summary>
        public string? WhyNot { get; set; }
    }
}
