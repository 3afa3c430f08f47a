using System.Collections.Immutable;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// All migrations of a manager: state and input in, state out. The journal is the list of inputs; the state is their fold.
/// <list type="number">
/// <item>A migration that is asked for gets its epoch, one higher than any used for its group.</item>
/// <item>What happens to one of its moves goes to <see cref="MoveMachine"/>. A pivot and an undo change who owns the servers, in the same
/// step.</item>
/// <item>At most <see cref="MigrationState.AtOnce"/> moves run at once: when one has ended, the next one begins. When one is undone, so
/// are those beside it that have not come to their pivot, and none begins any more; when no move runs, those that had moved go back, last
/// one first.</item>
/// <item>An epoch is used once in a group, whatever runs at once: a move begins, and is undone, under one higher than any.</item>
/// <item>A migration that has ended is kept whole until <see cref="ManagerState.EndedKept"/> others have ended after it; from then on as
/// a row.</item>
/// </list>
/// </summary>
public static partial class ManagerMachine
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
                => Happened(state, migration, happened, now, at),
            CommitRequested commit when state.Migrations.TryGetValue(commit.Migration, out MigrationState? migration)
                && migration is { Outcome: MigrationOutcome.Moved, Committed: false } => With(state, migration with { Committed = true }),
            CommitRequested commit when state.Ended.TryGetValue(commit.Migration, out EndedMigration? ended)
                && ended is { Outcome: MigrationOutcome.Moved, Committed: false }
                => state with { Ended = state.Ended.SetItem(ended.Id, ended with { Committed = true }) },
            Recovered recovered => Recover(state, recovered, now, at),
            StaleReported report => VolumeMarks.Take(state, report, at),
            ProtectionRequested requested => Protect(state, requested, at),
            ProtectionHappened happened => Happened(state, happened, now, at),
            UnprotectRequested unprotect => Unprotect(state, unprotect),
            FailoverRequested failover => FailOver(state, failover, now, at),
            _ => state,
        };
    }

    /// <summary>The id of a migration.</summary>
    public static string IdOf(long number) => "m" + number.ToString(CultureInfo.InvariantCulture);

    /// <summary>When the first of its moves that run is due to begin, or to expire (CLOCK_MONOTONIC, nanoseconds); long.MaxValue = only an
    /// input brings it on.</summary>
    public static long Deadline(MigrationState migration) => Due(migration).At;

    /// <summary>The move that is due first, and when; long.MaxValue = none is.</summary>
    public static (int Move, long At) Due(MigrationState migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        (int Move, long At) first = (0, long.MaxValue);
        if (migration.Outcome is not null) return first;
        foreach (int number in migration.Running)
        {
            MoveState move = migration.MoveOf(number);
            long at = move.AwaitsDisarm ? long.MaxValue
                : move.Stage == MoveStage.Planned ? move.StageSinceNs + TryAgainNs : MoveMachine.Deadline(move);
            if (at < first.At) first = (number, at);
        }

        return first;
    }

    /// <summary>Null: the migration can be aborted now. Else why not, and what would be right.</summary>
    public static string? MayAbort(MigrationState migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        if (migration.Outcome is { } outcome) return WhyNotAbort(outcome);

        // Undoing a move back would only have it tried again.
        if (migration.GoingBack) return $"it is going back already: {migration.Failure}";

        // One that runs at the target already goes to its end, and back when the others have been undone.
        return migration.Running.Any(n => MoveMachine.MayAbort(migration.MoveOf(n)) is null) ? null
            : MoveMachine.MayAbort(migration.Current);
    }

    /// <summary>Null: these parties of the migration can be given up now. Else why not, and what would be right.</summary>
    public static string? MayGiveUp(MigrationState migration, IReadOnlyList<string> parties)
    {
        ArgumentNullException.ThrowIfNull(migration);
        if (migration.Outcome is { } outcome) return WhyNotGiveUp(outcome);
        return migration.Running.Any(n => GiveUp.MayGiveUp(migration.MoveOf(n), parties) is null) ? null
            : GiveUp.MayGiveUp(migration.Current, parties);
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
        if (!ReferenceEquals(before.Protections, after.Protections)) return true;
        foreach ((string id, MigrationState migration) in after.Migrations)
        {
            MigrationState? was = before.Migrations.GetValueOrDefault(id);
            if (ReferenceEquals(was, migration)) continue;
            if (was is null || was.Outcome != migration.Outcome || was.Moves.Count != migration.Moves.Count
                || !was.Running.SequenceEqual(migration.Running)) return true;
            foreach (int number in migration.Running)
            {
                (MoveState then, MoveState move) = (was.MoveOf(number), migration.MoveOf(number));
                if (ReferenceEquals(then, move)) continue;
                HashSet<string> open = [.. MoveMachine.Open(then).Select(c => c.Key)];
                if (MoveMachine.Open(move).Any(c => c is SendSignal or SendOrder && !open.Contains(c.Key))) return true;
            }
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
        state = With(state with { NextMigration = state.NextMigration + 1, NextKey = next }, migration);
        state = DisarmFor(state, migration);
        return GoOn(state, migration.Id, now, at);
    }

    private static ManagerState Happened(ManagerState state, MigrationState migration, MoveHappened happened, long now, string at)
    {
        ManagerState before = state;
        foreach (int number in WhoseInput(migration, happened)) state = StepMove(state, migration.Id, number, happened.Input, now);
        return ReferenceEquals(state, before) ? before : GoOn(state, migration.Id, now, at);
    }

    private static int[] WhoseInput(MigrationState migration, MoveHappened happened)
    {
        int[] running = [.. migration.Running];
        if (happened.Move is { } number) return running.Contains(number) ? [number] : [];
        return happened.Input is AbortRequested or GiveUpRequested or TakenUp or WindowReached ? running : [.. running.TakeLast(1)];
    }

    private static ManagerState StepMove(ManagerState state, string id, int number, MoveInput input, long now)
    {
        MoveState before = state.Migrations[id].MoveOf(number);
        return Put(state, id, number, before, MoveMachine.Step(before, input, now));
    }

    // What a move has become: it is in its migration, and who owns its servers is known.
    private static ManagerState Put(ManagerState state, string id, int number, MoveState before, MoveState after)
    {
        if (ReferenceEquals(after, before) || after == before) return state;
        MigrationState migration = state.Migrations[id];

        // The move counts from its own epoch on; another one of the group may have used that meanwhile.
        long used = state.GroupOf(migration.Request.Group).Epoch;
        if (after.Epoch > before.Epoch && after.Epoch <= used) after = after with { Epoch = used + 1 };
        migration = migration with { Moves = migration.Moves.SetItem(number - 1, after), Failure = migration.Failure ?? after.Failure };
        state = Own(With(state, migration), migration.Request.Group, after);

        // Both pivots: what the volumes' former owner had reported is over.
        if (before.TargetOwns != after.TargetOwns) state = VolumeMarks.Granted(state, after);
        return after.Outcome is null ? state : With(state, Noted(migration, after));
    }

    // What a move that has ended leaves to be done.
    private static MigrationState Noted(MigrationState migration, MoveState ended) => ended.Outcome switch
    {
        MoveOutcome.Moved when !migration.GoingBack => migration with { ToTakeBack = migration.ToTakeBack.Push(ended.Plan) },

        // What had moved stays where it is: nothing is begun with parties that do not answer.
        MoveOutcome.GivenUp => migration with { ToCome = [], ToTakeBack = [], Failure = migration.Failure ?? ended.GivenUpWhy },
        _ => migration,
    };

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

    // What follows from where its moves are: who gives way, what begins, how it ends.
    private static ManagerState GoOn(ManagerState state, string id, long now, string at)
    {
        MigrationState migration = state.Migrations[id];
        if (migration.Moves.Any(m => m.Outcome == MoveOutcome.Fenced)) return EndFenced(state, migration, now, at);
        bool givenUp = migration.Moves.Any(m => !m.GivenUp.IsEmpty);
        if (!migration.GoingBack && migration.Moves.Find(m => m.IsUndone) is { } undone)
        {
            // All or none.
            string why = $"{string.Join(", ", undone.Plan.Names)} is undone, and the group goes as a whole: {undone.Failure}";
            foreach (int number in migration.Running)
            {
                MoveState before = state.Migrations[id].MoveOf(number);
                state = Put(state, id, number, before, MoveMachine.GiveWay(before, why, now));
            }

            migration = state.Migrations[id];
            if (migration.Running.Any()) return state;
            if (!givenUp) migration = migration with { GoingBack = !migration.ToTakeBack.IsEmpty, ToCome = [] };
            if (!migration.GoingBack) return Finish(state, migration, givenUp ? MigrationOutcome.GivenUp : MigrationOutcome.AsBefore, at);
            state = With(state, migration);
        }

        if (migration.GoingBack && !givenUp) state = AgainAndBack(state, id, now);
        while (!migration.GoingBack && !givenUp && Next(state, id) is { ToCome: [var next, ..] } ready)
            state = Begin(state, ready, next, back: false, delayed: false, now);
        migration = state.Migrations[id];
        if (migration.Running.Any()) return state;
        MigrationOutcome moved = migration.GoingBack ? MigrationOutcome.AsBefore : MigrationOutcome.Moved;
        return Finish(state, migration, givenUp ? MigrationOutcome.GivenUp : moved, at);
    }

    // The migration, if one more move may run.
    private static MigrationState? Next(ManagerState state, string id)
        => state.Migrations[id] is var migration && migration.Running.Count() < migration.AtOnce ? migration : null;

    private static ManagerState AgainAndBack(ManagerState state, string id, long now)
    {
        // It could not be taken back now; nothing may stay in between. Those on the way there have another target.
        MigrationState migration = state.Migrations[id];
        foreach (MoveState back in migration.Moves.Where(m => m.Outcome == MoveOutcome.AsBefore && m.Plan.To != migration.Request.To
            && ReferenceEquals(migration.Moves.FindLast(x => x.Plan.Names.SequenceEqual(m.Plan.Names)), m)))
            state = Begin(state, state.Migrations[id], back.Plan, back: true, delayed: true, now);
        while (Next(state, id) is { ToTakeBack.IsEmpty: false } ready)
        {
            MigrationState rest = ready with { ToTakeBack = ready.ToTakeBack.Pop(out MovePlan moved) };
            state = Begin(state, rest, Reverse(moved), back: true, delayed: false, now);
        }

        return state;
    }

    private static ManagerState EndFenced(ManagerState state, MigrationState migration, long now, string at)
    {
        string why = $"another manager is in charge of {migration.Request.Group}: {migration.Failure}";
        foreach (int number in migration.Running)
        {
            migration = migration with
            {
                Moves = migration.Moves.SetItem(number - 1, MoveMachine.Fence(migration.MoveOf(number), why, now)),
            };
        }

        return Finish(state, migration, MigrationOutcome.Fenced, at);
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
            StageSinceNs = now, StaleVolumes = VolumeMarks.Of(state, plan), AwaitsDisarm = IsDisarming(state, migration.Request.Group),
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
        state = ProtectAgain(With(state, migration with { Outcome = outcome, EndedAt = at }), migration, outcome);
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
            MigrationState ended = migration with
            {
                Moves = migration.Moves.ConvertAll(m => MoveMachine.Fence(m, why, now)), Failure = migration.Failure ?? why,
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
        foreach (ProtectionState armed in state.Protections.Values.Where(p => recovered.Groups.ContainsKey(p.Request.Group)))
        {
            state = With(state, armed with
            {
                Stage = ProtectionStage.Off, FlippedSince = armed.FlippedSince.Clear(), Migration = null,
                Why = $"{recovered.By} had the journal rebuilt, and what its PEs have armed is not known: take away what they have of it, "
                    + "then protect it again",
            });
        }

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
