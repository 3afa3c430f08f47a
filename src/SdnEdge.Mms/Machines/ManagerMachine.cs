using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// All migrations of a manager: state and input in, state out. The journal is the list of inputs; the state is their fold.
/// <list type="number">
/// <item>A migration that is asked for gets its epoch, one higher than any used for its group.</item>
/// <item>What happens to its current move goes to <see cref="MoveMachine"/>. A pivot and an undo change who owns the servers, in the same
/// step.</item>
/// <item>When a move has ended, the next one begins; when one failed, those that had moved go back, last one first.</item>
/// <item>A migration that has ended is kept whole until <see cref="ManagerState.EndedKept"/> others have ended after it; from then on as
/// a row.</item>
/// </list>
/// </summary>
public static class ManagerMachine
{
    /// <summary>How much higher the target's LOCAL_PREF is than any that is told.</summary>
    public const uint LocalPrefStep = 100;

    /// <summary>How long a move back that was itself undone waits before it is tried again, nanoseconds.</summary>
    public const long TryAgainNs = 5_000_000_000;

    /// <summary>Takes an input. The same state comes back when it changes nothing.</summary>
    /// <param name="state">The fold so far.</param>
    /// <param name="input">What happened.</param>
    /// <param name="now">CLOCK_MONOTONIC of the manager's life, nanoseconds.</param>
    /// <param name="at">Wall clock, ISO 8601 UTC, for people.</param>
    public static ManagerState Step(ManagerState state, ManagerInput input, long now, string at)
    {
        ArgumentNullException.ThrowIfNull(state);
        return input switch
        {
            MigrationRequested requested => Request(state, requested, now, at),
            MoveHappened { Input: AbortRequested } abort when state.Migrations.TryGetValue(abort.Migration, out MigrationState? migration)
                && MayAbort(migration) is not null => state,
            MoveHappened { Input: GiveUpRequested given } up when state.Migrations.TryGetValue(up.Migration, out MigrationState? migration)
                && MayGiveUp(migration, given.Parties) is not null => state,
            MoveHappened happened when state.Migrations.TryGetValue(happened.Migration, out MigrationState? migration)
                && migration.Outcome is null
                => Happened(state, migration, happened.Input, now, at),
            CommitRequested commit when state.Migrations.TryGetValue(commit.Migration, out MigrationState? migration)
                && migration is { Outcome: MigrationOutcome.Moved, Committed: false } => With(state, migration with { Committed = true }),
            CommitRequested commit when state.Ended.TryGetValue(commit.Migration, out EndedMigration? ended)
                && ended is { Outcome: MigrationOutcome.Moved, Committed: false }
                => state with { Ended = state.Ended.SetItem(ended.Id, ended with { Committed = true }) },
            Recovered recovered => Recover(state, recovered, now, at),
            StaleReported report => VolumeMarks.Take(state, report, at),
            _ => state,
        };
    }

    /// <summary>The id of a migration.</summary>
    public static string IdOf(long number) => "m" + number.ToString(CultureInfo.InvariantCulture);

    /// <summary>When the current move is due to begin, or to expire (CLOCK_MONOTONIC, nanoseconds); long.MaxValue = only an input brings it
    /// on.</summary>
    public static long Deadline(MigrationState migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        if (migration.Outcome is not null) return long.MaxValue;
        return migration.Current.Stage == MoveStage.Planned ? migration.Current.StageSinceNs + TryAgainNs
            : MoveMachine.Deadline(migration.Current);
    }

    /// <summary>Null: the migration can be aborted now. Else why not, and what would be right.</summary>
    public static string? MayAbort(MigrationState migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        if (migration.Outcome is { } outcome) return WhyNotAbort(outcome);

        // Undoing a move back would only have it tried again.
        return migration.GoingBack ? $"it is going back already: {migration.Failure}" : MoveMachine.MayAbort(migration.Current);
    }

    /// <summary>Null: these parties of the migration can be given up now. Else why not, and what would be right.</summary>
    public static string? MayGiveUp(MigrationState migration, IReadOnlyList<string> parties)
    {
        ArgumentNullException.ThrowIfNull(migration);
        return migration.Outcome is { } outcome ? WhyNotGiveUp(outcome) : GiveUp.MayGiveUp(migration.Current, parties);
    }

    /// <summary>Why a migration that has ended so cannot be aborted.</summary>
    public static string WhyNotAbort(MigrationOutcome outcome)
        => $"it has ended ({Words.Of(outcome)}); a migration the other way brings the servers back";

    /// <summary>Why no party of a migration that has ended so can be given up.</summary>
    public static string WhyNotGiveUp(MigrationOutcome outcome) => $"it has ended ({Words.Of(outcome)})";

    /// <summary>
    /// True when a step opens a signal or an order, or ends something: it is on the disk before anybody acts on it. A step that does not
    /// may wait for the record of the next one that does; who only looks changes nothing anywhere.
    /// </summary>
    public static bool OpensCommands(ManagerState before, ManagerState after)
    {
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(after);
        foreach ((string id, MigrationState migration) in after.Migrations)
        {
            MigrationState? was = before.Migrations.GetValueOrDefault(id);
            if (ReferenceEquals(was, migration)) continue;
            if (was is null || was.Outcome != migration.Outcome || was.Moves.Count != migration.Moves.Count) return true;
            HashSet<string> open = [.. MoveMachine.Open(was.Current).Select(c => c.Key)];
            if (MoveMachine.Open(migration.Current).Any(c => c is SendSignal or SendOrder && !open.Contains(c.Key))) return true;
        }

        return false;
    }

    private static ManagerState Request(ManagerState state, MigrationRequested requested, long now, string at)
    {
        if (requested.Id != IdOf(state.NextMigration) || requested.Moves.Count == 0
            || state.RunningOf(requested.Request.Group) is not null
            || state.GroupOf(requested.Request.Group).Epoch >= ManagerState.LastEpoch) return state;
        var migration = new MigrationState
        {
            Id = requested.Id, Request = requested.Request, By = requested.By, IdempotencyKey = requested.IdempotencyKey, At = at,
                ToCome = [.. requested.Moves],
        };
        uint next = requested.Moves.SelectMany(m => m.Paths).Aggregate(state.NextKey, (key, path) => GreKeys.Behind(key, path.TunnelKey));
        state = state with { NextMigration = state.NextMigration + 1, NextKey = next };
        return Begin(With(state, migration), migration, requested.Moves[0], back: false, delayed: false, now);
    }

    private static ManagerState Happened(ManagerState state, MigrationState migration, MoveInput input, long now, string at)
    {
        MoveState before = migration.Current, after = MoveMachine.Step(before, input, now);
        if (ReferenceEquals(after, before) || after == before) return state;
        migration = migration with { Moves = migration.Moves.SetItem(migration.Moves.Count - 1, after), Failure = migration.Failure
            ?? after.Failure };
        state = Own(With(state, migration), migration.Request.Group, after);

        // Both pivots: what the volumes' former owner had reported is over.
        if (before.TargetOwns != after.TargetOwns) state = VolumeMarks.Granted(state, after);
        return after.Outcome is null ? state : Ended(state, migration, now, at);
    }

    // The pivot grants the servers to the target, an undo to the source: who owns them changes with the record that says so.
    private static ManagerState Own(ManagerState state, string group, MoveState move)
    {
        if (!move.TargetOwns && move.Epoch == move.Plan.Epoch) return state with { Groups =
            state.Groups.SetItem(group, Raise(state.GroupOf(group), move.Epoch)) };
        var owner = new Ownership(move.TargetOwns ? move.Plan.To : move.Plan.From, move.Epoch);
        GroupState known = Raise(state.GroupOf(group), move.Epoch);
        ImmutableSortedDictionary<string, Ownership> owners = known.Owners;
        foreach (string name in move.Plan.Names) owners = owners.SetItem(name, owner);
        return state with { Groups = state.Groups.SetItem(group, known with { Owners = owners }) };
    }

    private static GroupState Raise(GroupState group, long epoch) => epoch > group.Epoch ? group with { Epoch = epoch } : group;

    private static ManagerState Ended(ManagerState state, MigrationState migration, long now, string at)
    {
        MoveState move = migration.Current;
        switch (move.Outcome)
        {
            case MoveOutcome.Fenced:
                return Finish(state, migration, MigrationOutcome.Fenced, at);
            case MoveOutcome.GivenUp:
                // What had moved stays where it is: nothing is begun with parties that do not answer.
                migration = migration with { ToCome = [], ToTakeBack = [], Failure = migration.Failure ?? move.GivenUpWhy };
                return Finish(state, migration, MigrationOutcome.GivenUp, at);
            case MoveOutcome.Moved when !migration.GoingBack:
                migration = migration with { ToTakeBack = migration.ToTakeBack.Push(move.Plan) };
                return migration.ToCome.IsEmpty ? Finish(state, migration, MigrationOutcome.Moved, at)
                    : Begin(state, migration, migration.ToCome[0], back: false, delayed: false, now);
            case MoveOutcome.AsBefore when migration.GoingBack:
                // It could not be taken back now; nothing may stay in between.
                return Begin(state, migration, move.Plan, back: true, delayed: true, now);
            default:
                if (migration.ToTakeBack.IsEmpty) return Finish(state, migration, MigrationOutcome.AsBefore, at);
                MigrationState back =
                    migration with { GoingBack = true, ToTakeBack = migration.ToTakeBack.Pop(out MovePlan moved), ToCome = [] };
                return Begin(state, back, Reverse(moved), back: true, delayed: false, now);
        }
    }

    private static ManagerState Begin(ManagerState state, MigrationState migration, MovePlan plan, bool back, bool delayed, long now)
    {
        long epoch = state.GroupOf(migration.Request.Group).Epoch + 1;
        uint key = state.NextKey;
        if (back)
        {
            // Paths of their own: the PEs know those of the way there already. So are their keys, also when all have been used once.
            int attempt = migration.Moves.Count + 1;
            IReadOnlySet<uint> used = state.KeysInUse();
            var paths = new List<PathMove>();
            foreach (PathMove path in plan.Paths)
            {
                uint free = GreKeys.Free(key, used);
                key = GreKeys.After(free);
                paths.Add(path with { Id = $"{migration.Id}-{attempt}.{paths.Count + 1}", TunnelKey = free });
            }

            plan = plan with { Paths = paths };
        }

        MoveState move = MoveMachine.Start(plan with { Migration = migration.Id, Epoch = epoch }) with
        {
            StageSinceNs = now, StaleVolumes = VolumeMarks.Of(state, plan),
        };
        if (!delayed) move = MoveMachine.Step(move, new Begin(), now);
        migration = migration with
        {
            Moves = migration.Moves.Add(move), ToCome = back || migration.ToCome.IsEmpty ? migration.ToCome : migration.ToCome.RemoveAt(0),
        };
        return Own(With(state with { NextKey = key }, migration), migration.Request.Group, move);
    }

    private static ManagerState Finish(ManagerState state, MigrationState migration, MigrationOutcome outcome, string at)
    {
        state = With(state, migration with { Outcome = outcome, EndedAt = at });
        ImmutableList<string> whole = state.EndedWhole.Add(migration.Id);
        if (whole.Count <= ManagerState.EndedKept) return state with { EndedWhole = whole };
        MigrationState oldest = state.Migrations[whole[0]];
        return state with
        {
            Migrations = state.Migrations.Remove(oldest.Id), EndedWhole = whole.RemoveAt(0),
                Ended = state.Ended.Add(oldest.Id, Row(oldest, state)),
        };
    }

    private static EndedMigration Row(MigrationState migration, ManagerState state)
    {
        IReadOnlyList<string> advertised = [.. migration.Moves.SelectMany(EndedMigration.AdvertisedBy)];

        // A group that goes to and fro advertises the same prefixes each time: its rows have one list of them.
        EndedMigration? alike = state.Ended.Values.LastOrDefault(e => e.Advertised.SequenceEqual(advertised));
        return new EndedMigration(
            migration.Id, migration.Request, migration.By, migration.IdempotencyKey, migration.At, migration.EndedAt!,
            migration.Outcome!.Value, migration.Moves[0].Plan.From, migration.Current.Stage, migration.Current.Epoch, migration.Failure,
            migration.Committed, GiveUp.Unproved(migration), alike?.Advertised ?? advertised);
    }

    /// <summary>The move the other way.</summary>
    public static MovePlan Reverse(MovePlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return plan with
        {
            From = plan.To, To = plan.From,

            // What has to go back does so at any time.
            Options = plan.Options with { Window = null },
            Servers = [.. plan.Servers.Select(s => s with { SourceHost = s.TargetHost, TargetHost = s.SourceHost })],
            Paths =
            [
                .. plan.Paths.Select(p => p with
                {
                    Source = p.Target, Target = p.Source, LocalPref = p.LocalPref + LocalPrefStep, SourceLocalPref = null,
                    Order = p.Order is not { } order ? null : order with
                    {
                        // The source is an ingress, too: of its own clients, and of all who have not moved when its tunnel goes.
                        Ingress = [new OrderedIngress(p.Target.Pe, p.Target.Loopbacks),
                            .. order.Ingress.Where(i => i.Name != p.Source.Pe && i.Name != p.Target.Pe)],
                    },
                }),
            ],
        };
    }

    private static ManagerState Recover(ManagerState state, Recovered recovered, long now, string at)
    {
        ManagerState before = state;
        HashSet<string> stale = [.. recovered.Stale ?? []];
        if (state.Migrations.Values.Any(m => m.Outcome is null && recovered.Groups.ContainsKey(m.Request.Group) && !stale.Contains(m.Id)))
            return state;
        foreach (MigrationState migration in state.Migrations.Values.Where(m => m.Outcome is null && stale.Contains(m.Id)).ToArray())
        {
            string why = $"{recovered.By} had the journal rebuilt: it was older than what PEs and hosts know of {migration.Request.Group}";
            MoveState fenced = MoveMachine.Fence(migration.Current, why, now);
            MigrationState ended = migration with
            {
                Moves = migration.Moves.SetItem(migration.Moves.Count - 1, fenced), Failure = migration.Failure ?? why,
            };
            state = Finish(state, ended, MigrationOutcome.Fenced, at);
        }

        IReadOnlyList<SettledMove> settled = recovered.Settled ?? [];
        if (settled.Any(s => s.Move.Epoch != Raise(recovered.Groups[s.Group], before.GroupOf(s.Group).Epoch).Epoch + 1)) return before;
        ImmutableSortedDictionary<string, GroupState> groups = state.Groups;
        foreach ((string name, GroupState group) in recovered.Groups) groups =
            groups.SetItem(name, Raise(group, state.GroupOf(name).Epoch));

        state = state with
        {
            Groups = groups, NextMigration = Math.Max(state.NextMigration, recovered.NextMigration),
                NextKey = GreKeys.Later(state.NextKey, recovered.NextKey),
        };
        return settled.Aggregate(state, (s, move) => Settle(s, move, recovered.By, now, at));
    }

    private static ManagerState Settle(ManagerState state, SettledMove settled, string by, long now, string at)
    {
        MoveState move = MoveMachine.StartSettling(settled.Move, now);
        var migration = new MigrationState
        {
            Id = IdOf(state.NextMigration), By = by, At = at, Moves = [move],
            Request = new MigrationRequest(settled.Group, settled.Move.To, Cutover.Together, settled.Move.Options),
        };
        return Own(With(state with { NextMigration = state.NextMigration + 1 }, migration), settled.Group, move);
    }

    private static ManagerState With(ManagerState state, MigrationState migration)
        => state with { Migrations = state.Migrations.SetItem(migration.Id, migration) };
}
