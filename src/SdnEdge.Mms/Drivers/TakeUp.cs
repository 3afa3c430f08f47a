using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>What the parties of a migration said when a manager wants to take it up.</summary>
/// <param name="Old">Why the journal is older than what they know; null: nobody knows of anything later.</param>
/// <param name="Silent">Hosts, or PEs where there are no hosts, without whose word nothing is decided, and which did not answer.</param>
/// <param name="SilentPes">PEs without whose word no move goes on, and which did not answer.</param>
internal sealed record TakeUpAnswer(string? Old, IReadOnlyList<string> Silent, IReadOnlyList<string> SilentPes);

/// <summary>
/// Before a manager goes on with a migration that runs by its journal, it asks whether the journal is the newest: it may be a copy that was
/// put back from a backup. Later commands of the true journal carried epochs that PEs and hosts keep on disk, and an epoch that was granted
/// to the target was promised there on disk, too (R6).
/// <para>
/// Before the pivot both ends' hosts must have answered: giving up would grant the source a new epoch, which no resource could refuse, and
/// the target may run the old one. The PEs must have answered before it goes on: they may have switched back already. From the switch on a
/// silent one is not waited for, since a server may stand still: the move is undone, which is right whatever that PE knows. From the pivot
/// on and in an undo the epochs at the resources are enough: who cannot be reached is not waited for. Of services without state the PEs'
/// word is the only one: before the pivot it is waited for.
/// </para>
/// </summary>
internal static class TakeUp
{
    private static readonly TimeSpan s_bound = TimeSpan.FromSeconds(1);

    /// <summary>Asks the parties of the moves that run.</summary>
    /// <param name="migration">The migration, by the journal.</param>
    /// <param name="parties">Whom to ask.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task<TakeUpAnswer> AskAsync(MigrationState migration, IParties parties, CancellationToken cancel)
    {
        MoveState[] moves = [.. migration.Running.Select(migration.MoveOf)];
        using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        bound.CancelAfter(s_bound);
        var servers = moves.SelectMany(m => m.Plan.Servers.SelectMany(s => new[] { s.SourceHost, s.TargetHost }, (s, host) =>
            (Host: host, Server: s.Name, Needed: NeedsAll(m),
                Answer: AnsweredAsync(() => parties.ServerAsync(host, s.Name, Until(m)), cancel)))).ToArray();
        var paths = moves.SelectMany(m => m.Plan.Paths.SelectMany(p => new[] { p.Source.Pe, p.Target.Pe }, (p, pe) =>
            (Pe: pe, Move: m,
                Answer: AnsweredAsync(() => parties.MigrationAsync(pe, p.Id, new MigrationWait(), UntilPe(m)), cancel)))).ToArray();
        var said = new Dictionary<(string Host, string Server), ServerInfo>();
        var silent = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var server in servers)
        {
            if ((await server.Answer).Value is { } info) said[(server.Host, server.Server)] = info;
            else if (server.Needed) silent.Add(server.Host);
        }

        var known = new List<(string Pe, MigrationInfo Info)>();
        var silentPes = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var path in paths)
        {
            (MigrationInfo? info, bool answers) = await path.Answer;
            if (info is not null) known.Add((path.Pe, info));
            else if (NeedsAll(path.Move) && !answers) (path.Move.Plan.IsStateless ? silent : silentPes).Add(path.Pe);
        }

        return new TakeUpAnswer(WhyOld(migration, said, known), [.. silent], [.. silentPes]);

        // Who need not have answered is not waited for; nor is a PE while a server may stand still.
        CancellationToken Until(MoveState move) => NeedsAll(move) ? cancel : bound.Token;
        CancellationToken UntilPe(MoveState move) => move.Plan.IsStateless || !MayStandStill(move) ? Until(move) : bound.Token;
    }

    /// <summary>True when a server of the move, which is before its pivot, may stand still, or be cut off by the switch.</summary>
    public static bool MayStandStill(MoveState move) => move.Stage is MoveStage.Switch or MoveStage.Stop;

    /// <summary>Why the journal is older than what was said; null: nobody knows of anything later.</summary>
    /// <param name="migration">A migration that runs, by the journal.</param>
    /// <param name="servers">What hosts said of servers. Those of other groups are passed over.</param>
    /// <param name="paths">What PEs said of migrations. Other ones are passed over.</param>
    public static string? WhyOld(
        MigrationState migration, IReadOnlyDictionary<(string Host, string Server), ServerInfo> servers,
        IEnumerable<(string Pe, MigrationInfo Info)> paths)
    {
        HashSet<string> ours =
            [.. migration.Moves.Select(m => m.Plan).Concat(migration.ToCome).SelectMany(p => p.Servers).Select(s => s.Name)];

        MoveState[] running = [.. migration.Running.Select(migration.MoveOf)];

        // An epoch is used once in a group: what happened later, to whichever move, has a higher one than any on record.
        long last = migration.Moves.Max(m => m.Epoch);
        foreach (((string host, string server), ServerInfo info) in servers.OrderBy(s => s.Key))
        {
            if (!ours.Contains(server)) continue;
            long seen = Math.Max(Math.Max(info.Epoch, info.MayRun ?? 0), Math.Max(info.RanEpoch, info.VoidEpoch));
            if (seen > last) return $"{host} has seen epoch {seen} of {server}, and the journal's last one is {last}";

            // Without a pivot on record nobody was told to run it.
            MoveState? move = running.FirstOrDefault(m => m.Plan.Servers.Any(s => s.Name == server && s.TargetHost == host));
            if (move is null || move.TargetOwns || info.RanEpoch < move.Plan.Epoch) continue;
            return $"{host} has run {server} under epoch {info.RanEpoch}, and by the journal it was never granted that";
        }

        HashSet<string> known = [.. migration.Moves.SelectMany(m => m.Plan.Paths).Select(p => p.Id)];
        foreach ((string pe, MigrationInfo info) in paths)
        {
            if (known.Contains(info.Id) && info.Epoch > last)
                return $"{pe} has seen epoch {info.Epoch} of {info.Id}, and the journal's last one is {last}";

            // No host has the grant on its disk: what only comes behind the pivot shows that there was one.
            if (running.Any(m => m is { Plan.IsStateless: true, TargetOwns: false, Failure: null }
                    && m.Plan.Paths.Any(p => p.Id == info.Id))
                && info.State is PeMigrationState.Released or PeMigrationState.Advertised or PeMigrationState.Withdrawn
                    or PeMigrationState.TornDown)
            {
                return $"{info.Id} is {Words.Of(info.State)} at {pe}, and by the journal it was never decided to go on to that";
            }
        }

        return null;
    }

    private static bool NeedsAll(MoveState move) => move.Stage == MoveStage.Planned || StageTable.Of(move.Stage).BeforePivot;

    // No value: it says nothing, or nothing usable. That it knows nothing of it is an answer, too.
    private static async Task<(T? Value, bool Answers)> AnsweredAsync<T>(Func<Task<T>> ask, CancellationToken cancel)
        where T : class
    {
        try
        {
            return (await ask(), true);
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException
            || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return (null, e is ApiProblemException { Problem.Status: 404 });
        }
    }
}
