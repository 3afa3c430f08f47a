using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Journal;

/// <summary>What one record of the journal did.</summary>
/// <param name="Position">Its position.</param>
/// <param name="At">Wall clock (ISO 8601, UTC).</param>
/// <param name="Actor">Who brought the input.</param>
/// <param name="Migration">The migration; null: none.</param>
/// <param name="What">What happened, in plain words.</param>
/// <param name="Move">The move that begins with it; null: none does.</param>
/// <param name="Stages">Stages of the move: the one before, then those that were entered, in order. Empty: the stage is as before.</param>
/// <param name="Owner">Who owns servers from here on, and why. Empty: nothing about that changed.</param>
/// <param name="Asks">Commands that are issued from here on.</param>
/// <param name="Ended">How the move or the migration ended; null: it goes on.</param>
/// <param name="Beside">Where several moves are on the way at once: what it did to other ones, a line each; null: nothing.</param>
public sealed record ReplayStep(
    long Position, string At, string Actor, string? Migration, string What, string? Move, IReadOnlyList<string> Stages,
    IReadOnlyList<string> Owner, IReadOnlyList<string> Asks, string? Ended, IReadOnlyList<string>? Beside = null);

/// <summary>
/// Tells what a journal says, step by step: each record is folded as the manager does it, and what the machine decided is written down. The
/// golden transcripts of the tests are made by it, too.
/// </summary>
public static class Replay
{
    /// <summary>Reads a journal from its beginning and writes what each record did.</summary>
    /// <param name="journal">The journal. Nothing is written to it.</param>
    /// <param name="output">Where it goes.</param>
    /// <param name="migration">Only records of this migration; null = all.</param>
    /// <param name="json">One JSON object a line instead of text.</param>
    /// <param name="cancel">Ends it early.</param>
    /// <returns>How many records were written out.</returns>
    /// <exception cref="JournalUnavailableException">A record cannot be read; all before it has been written out.</exception>
    public static async Task<int> RunAsync(
        IJournal journal, TextWriter output, string? migration = null, bool json = false, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(journal);
        ArgumentNullException.ThrowIfNull(output);
        ManagerState state = ManagerState.Empty;
        int written = 0;
        long position = 0;
        for (IReadOnlyList<JournalRecord> records;
             (records = await journal.ReadAsync(position, 1000, cancel)).Count > 0;
             position = records[^1].Position)
        {
            foreach (JournalRecord record in records)
            {
                ManagerInput input = JournalCodec.Read(record);
                ManagerState before = state;
                state = ManagerMachine.Step(before, input, record.NowNs, record.At);
                if (migration is not null && record.Migration != migration) continue;
                ReplayStep step = Explain(record, input, before, state);
                if (json) await output.WriteLineAsync(JsonSerializer.Serialize(step, MmsJson.Options.For<ReplayStep>()));
                else Write(output, step);
                written++;
            }
        }

        return written;
    }

    /// <summary>What a record did.</summary>
    /// <param name="record">The record.</param>
    /// <param name="input">Its input.</param>
    /// <param name="before">The state before it.</param>
    /// <param name="after">The state after it.</param>
    public static ReplayStep Explain(JournalRecord record, ManagerInput input, ManagerState before, ManagerState after)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(after);
        string? id = record.Migration ?? after.Migrations.Keys.FirstOrDefault(m => !before.Migrations.ContainsKey(m));
        MigrationState? was = id is null ? null : before.Migrations.GetValueOrDefault(id);
        MigrationState? now = id is null ? null : after.Migrations.GetValueOrDefault(id);
        int? number = (input as MoveHappened)?.Move;
        MoveState? meant = number >= 1 && number <= was?.Moves.Count ? was.MoveOf(number.Value) : was?.Current;
        string what = Words(input, meant);
        if (number is not null) what = $"move {number}: {what}";
        if (ReferenceEquals(before, after)) what += " (changes nothing)";
        if (now is null) return new ReplayStep(record.Position, record.At, record.Actor, record.Migration, what, null, [], [], [], null);

        // The moves that it changed, and those that have begun behind it. The one that the input went to is the first.
        int[] changed = was is null ? [] : [.. Enumerable.Range(1, was.Moves.Count)
            .Where(n => !ReferenceEquals(was.MoveOf(n), now.MoveOf(n))).OrderBy(n => n == number ? 0 : 1)];
        int[] begun = [.. Enumerable.Range(1, now.Moves.Count).Skip(was?.Moves.Count ?? 0)];
        HashSet<string> asked = [.. was is null ? [] : was.Running.SelectMany(n => MoveMachine.Open(was.MoveOf(n))).Select(c => c.Key)];
        string[] asks = now.Outcome is not null ? []
            : [.. now.Running.SelectMany(n => MoveMachine.Open(now.MoveOf(n))).Where(c => !asked.Contains(c.Key)).Select(Words)];
        IEnumerable<string> over = changed.Where(n => was!.MoveOf(n).Outcome is null && now.MoveOf(n).Outcome is not null)
            .Select(n => $"move {n} is over: {Model.Words.Of(now.MoveOf(n).Outcome!.Value)}");
        bool several = now.NumberFor(1) is not null;
        string? ended = now.Outcome is { } outcome && was?.Outcome is null
            ? string.Join("; ", (several ? over : []).Append($"{now.Id} is over: {Model.Words.Of(outcome)}"))
            : (begun.Length > 0 || several) && string.Join("; ", over) is { Length: > 0 } all ? all : null;
        IReadOnlyList<string> owners = was is null ? Owners(before, after, now, null, null)
            : [.. changed.SelectMany(n => Owners(before, after, now, was.MoveOf(n), now.MoveOf(n)))];
        if (changed.Length == 0 && was is not null) owners = Owners(before, after, now, null, null);
        string[] beside =
        [
            .. changed.Skip(1).Select(n => (n, Stages: Stages(was!.MoveOf(n), now.MoveOf(n)))).Where(m => m.Stages.Length > 0)
                .Select(m => $"move {m.n}: {string.Join(" -> ", m.Stages)}"),
            .. begun.Skip(1).Select(n => $"begins: {Words(now, n)}"),
        ];
        return new ReplayStep(
            record.Position, record.At, record.Actor, record.Migration, what, begun.Length > 0 ? Words(now, begun[0]) : null,
            changed.Length == 0 ? [] : Stages(was!.MoveOf(changed[0]), now.MoveOf(changed[0])), owners, asks, ended,
            beside.Length > 0 ? beside : null);
    }

    /// <summary>Writes a step for people.</summary>
    /// <param name="output">Where it goes.</param>
    /// <param name="step">The step.</param>
    /// <param name="times">False: without the wall clock.</param>
    public static void Write(TextWriter output, ReplayStep step, bool times = true)
    {
        ArgumentNullException.ThrowIfNull(output);
        ArgumentNullException.ThrowIfNull(step);
        output.Write($"{step.Position,4}  {(times ? step.At + "  " : "")}{(step.Migration is { } migration ? migration + "  " : "")}");
        bool said = step.Actor == "manager" || step.What.StartsWith(step.Actor, StringComparison.Ordinal);
        output.Write($"{(said ? "" : step.Actor + ": ")}{step.What}\n");
        if (step.Stages.Count > 0) Line("stage", string.Join(" -> ", step.Stages));
        foreach (string other in step.Beside ?? []) Line("beside", other);
        foreach (string owner in step.Owner) Line("owner", owner);
        if (step.Ended is { } ended) Line("ended", ended);
        if (step.Move is { } move) Line("begins", move);
        foreach (string ask in step.Asks) Line("asks", ask);

        void Line(string word, string text) => output.Write($"        {word,-6}  {text}\n");
    }

    private static string[] Stages(MoveState before, MoveState after)
        => before.Stage == after.Stage && before.Timeline.Count == after.Timeline.Count ? []
        : [.. before.Stage == MoveStage.Planned ? ["planned"] : Array.Empty<string>(),
            .. after.Timeline.Skip(before.Timeline.Count).Select(s => Model.Words.Of(s.Stage)), Model.Words.Of(after.Stage)];

    // Of a move: who owns its servers; without one, of all of the group's.
    private static string[] Owners(ManagerState before, ManagerState after, MigrationState migration, MoveState? old, MoveState? now)
    {
        (GroupState was, GroupState known) = (before.GroupOf(migration.Request.Group), after.GroupOf(migration.Request.Group));
        return [.. known.Owners
            .Where(o => was.Owners.GetValueOrDefault(o.Key) != o.Value && (now is null || now.Plan.Names.Contains(o.Key)))
            .GroupBy(o => o.Value, o => o.Key).Select(owner => Owner(owner, old, now))];
    }

    private static string Owner(IGrouping<Ownership, string> owner, MoveState? old, MoveState? now)
    {
        string why = old is null || now is null ? "as recovered"
            : old.Stage == MoveStage.Settle ? $"settled: nobody else ran it, and epoch {old.Epoch} is void for all"
            : now.TargetOwns && old.Stage == MoveStage.Fence
                ? $"THE PIVOT: nothing of it runs at {now.Plan.From}, nor ever will under epoch {now.Epoch}"
            : now.TargetOwns && !old.TargetOwns ? "THE PIVOT"
            : !now.TargetOwns && old.TargetOwns ? $"THE SECOND PIVOT: nobody ran epoch {old.Epoch}, nobody ever will"
            : now.TargetOwns ? $"granted anew: epoch {old.Epoch} was said to be void for some"
            : $"given up: epoch {old.Epoch} is burnt";
        return $"{owner.Key.Site} owns {string.Join(", ", owner)} under epoch {owner.Key.Epoch}: {why}";
    }

    private static string Words(MigrationState migration, int number) => Words(migration, number, migration.MoveOf(number));

    private static string Words(MigrationState migration, int number, MoveState move)
        => $"move {number} of {migration.Id}{(migration.GoingBack ? ", back" : "")}: "
            + $"{string.Join(", ", move.Plan.Names)} from {move.Plan.From} to {move.Plan.To} under epoch {move.Epoch}"
            + (move.Stage == MoveStage.Planned ? ", after a while" : "");

    private static string Words(MoveCommand command) => command switch
    {
        SendSignal s => $"{s.Pe}: {Model.Words.Of(s.Signal)} {s.Path} (epoch {s.Request.Epoch}"
            + (s.Request.AfterMarkers ? ", after the flush markers)" : s.Request.AfterServers ? ", when the servers answer)" : ")"),
        SendOrder o => $"{o.Host}: {Model.Words.Of(o.Order)} {o.Server} (epoch {o.Request.Epoch})",
        WatchPath w => $"look until {w.Path} is {Model.Words.Of(w.Kind)}",
        WaitForWindow { Until: "near" } => "wait until the window is near",
        WaitForWindow => "wait until the window is open",
        WatchServer w => $"look until {w.Server} is {Model.Words.Of(w.Kind)} (epoch {w.Epoch})",
        _ => command.Key,
    };

    private static string Words(ManagerInput input, MoveState? move) => input switch
    {
        MigrationRequested r =>
            $"{r.By} asks for {r.Request.Group} to go to {r.Request.To}, {Model.Words.Of(r.Request.Cutover)}, in {r.Moves.Count} "
            + (r.Moves.Count == 1 ? "move" : "moves") + (r.Request.AtOnce is { } most ? $", at most {most} at once" : ""),
        MoveHappened m => Words(m.Input, move),
        StaleReported { StaleFrom: { } from } r
            => $"{r.By}: the replica of volume {r.Name ?? $"{r.Volume}"} is stale from sequence {from} on, epoch {r.Epoch}",
        StaleReported r => $"{r.By}: the replica of volume {r.Name ?? $"{r.Volume}"} is whole again, epoch {r.Epoch}",
        ProtectionRequested p => $"{p.By} has {p.Request.Group} protected: it is to come up at {p.Plan.To} when {p.Plan.From} fails",
        ProtectionHappened p => $"protection of {p.Group}, epoch {p.Epoch}: {Words(p.Input)}",
        FailoverRequested f => $"{f.By} has {f.Group} come up at {f.To}: {f.Failover.Why}",
        UnprotectRequested p => $"{p.By} has {p.Group} protected no more",
        CommitRequested c => $"{c.By} ends the trial: no rollback is offered any more",
        Recovered r => $"{r.By} has had the journal rebuilt: {r.Groups.Count} groups, next migration {r.NextMigration}"
            + (r.Stale is { } stale ? $"; {string.Join(", ", stale)} ran by an old journal only" : "")
            + string.Concat((r.Settled ?? []).Select(s => $"; {string.Join(", ", s.Move.Servers.Select(x => x.Name))} of {s.Group} to be "
                + $"settled at {(s.Move.Settle is { AtTarget: true } ? s.Move.To : s.Move.From)}")),
        _ => input.GetType().Name,
    };

    private static string Words(ProtectionInput input) => input switch
    {
        PartDone d => $"{d.Key} is done",
        PartLost l => $"{l.Pe} does not have {l.Path} any more",
        SourceTells { LocalPref: null } t => $"the source PE of {t.Path} advertises none of its prefixes",
        SourceTells t => $"the source PE of {t.Path} advertises {(t.NotTold is { } not ? $"all but {not.Count} of its" : "its")} prefixes, "
            + $"LOCAL_PREF {t.LocalPref}",
        FlipSeen { Flipped: true } f => $"the source PE of {f.Path} has switched by itself",
        FlipSeen f => $"the source PE of {f.Path} has taken that back",
        ProtectionFenced f => $"another manager is in charge: {f.Why}",
        _ => "a manager has taken the journal up, and arms it again",
    };

    private static string Words(MoveInput input, MoveState? move) => input switch
    {
        Begin => "the move begins",
        SignalDone d =>
            $"{Party(d.Key, move)} has done {Model.Words.Of(d.Reply.Signal)} {d.Reply.Migration}{(d.Reply.Repeated ? ", before" : "")}",
        OrderDone { Reply: { Order: ServerOrder.Void, Verdict: { } verdict } } d
            => $"{Party(d.Key, move)} says for ever of epoch {d.Reply.Epoch} of {d.Reply.Server}: {Model.Words.Of(verdict)}",
        OrderDone d =>
            $"{Party(d.Key, move)} has done {Model.Words.Of(d.Reply.Order)} {d.Reply.Server}{(d.Reply.Repeated ? ", before" : "")}: "
            + $"it is {Model.Words.Of(d.Reply.State)} there",
        Seen s => $"seen: {s.Key}{(s.Evidence is { Late: true } ? ", by its bound" : "")}",
        Refused r => $"{Party(r.Key, move)} refuses {r.Key}: {r.Detail} ({r.Problem})",
        StageExpired e => $"{Model.Words.Of(e.Stage)} did not end in time: {e.Detail}",
        AbortRequested a => $"{a.By} wants it undone: {a.Why}",
        GiveUpRequested g => $"{g.By} gives up {string.Join(", ", g.Parties)}: {g.Why}",
        WindowReached w => $"it is {w.At:u}",
        TakenUp { Undo: { } why } => $"a manager has taken the journal up, and undoes what is before its pivot: {why}",
        TakenUp => "a manager has taken the journal up: the deadline of the open stage starts anew",
        _ => Model.Words.Of(input),
    };

    // Who was asked. An answer to what is not open any more names only its key.
    private static string Party(string key, MoveState? move)
    {
        IEnumerable<MoveCommand> known = move is null ? [] : MoveMachine.Open(move);
        if (move is { Stage: MoveStage.Void }) known = known.Concat(StageTable.Of(MoveStage.Activate).Commands(move));
        return known.FirstOrDefault(c => c.Key == key) switch
        {
            SendSignal s => s.Pe,
            SendOrder o => o.Host,
            WatchPath or WatchServer => "a watch",
            _ => $"[{key}]",
        };
    }
}
