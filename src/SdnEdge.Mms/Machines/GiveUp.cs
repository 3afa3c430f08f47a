using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// An operator gives up parties of a move that will not answer any more, a dead site say, so that the move can end. What they had to do is
/// not asked of them and not proved; the move ends as <see cref="MoveOutcome.GivenUp"/>, never as moved or as before, and says what is not
/// proved.
/// <list type="number">
/// <item>Before the pivot the move is undone (R2): any party can be given up, as no target was granted anything.</item>
/// <item>In an undo any party can be given up: the source owns the next epoch already, and the target never ran or has said void (R3, R5).
/// A source host that is given up is not told to resume: its servers run nowhere then.</item>
/// <item>After the pivot source hosts and PEs can be given up: the source's right to run is gone, on its disk (R4).</item>
/// <item>After the pivot a target cannot be given up. It may run what it was granted; only its own word, void, or a fence says that it does
/// not (R5), and an operator's word is none of the two.</item>
/// </list>
/// </summary>
public static class GiveUp
{
    /// <summary>Null: these can be given up now. Else why not, and what would be right.</summary>
    /// <param name="state">The move.</param>
    /// <param name="parties">Hosts, PEs, or one of the move's sites: all that it has there.</param>
    public static string? MayGiveUp(MoveState state, IReadOnlyList<string> parties)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(parties);
        if (state.Outcome is { } outcome) return $"it has ended ({Words.Of(outcome)})";
        if (parties.Count == 0) return "no party is named; name a host, a PE or a site of it";
        string[] all = [.. Names(state.Plan, source: true), .. Names(state.Plan, source: false)];
        if (parties.FirstOrDefault(p => p != state.Plan.From && p != state.Plan.To && !all.Contains(p)) is { } stranger)
            return $"'{stranger}' is no party of it; it has {string.Join(", ", all.Distinct())}, at {state.Plan.From} and {state.Plan.To}";
        if (state.Stage == MoveStage.AwaitWindow) return "it waits for its window, and nobody was asked anything yet; abort it without "
            + "giving anybody up";
        if (state.Stage == MoveStage.Settle) return "who may run its servers is what it asks, and only the hosts' own words say that; have "
            + "them answer, or abort it without giving anybody up";
        if (state.Stage == MoveStage.Fence) return $"whether its servers are dead at {state.Plan.From} is what it asks, and only the "
            + "hosts' own words say that; have them answer, or abort it, and then give up who does not answer to that";
        if (IsBeforeOrUndone(state)) return null;
        string[] targets = [.. Expand(state.Plan, parties).Intersect(Names(state.Plan, source: false))];
        if (targets.Length == 0 && state.Stage != MoveStage.HandOver) return null;
        if (targets.Length == 0) return $"{state.Plan.From} still hands over what cannot be undone; wait until the servers run";
        return state.Running.Count < state.Plan.Servers.Count
            ? $"{string.Join(", ", targets)} may run what was granted under epoch {state.Epoch}: only its own word says that it does not. "
                + "Have it answer (it says void, or that it ran, from its disk), or fence it; then abort"
            : $"the servers run at {state.Plan.To}, and {string.Join(", ", targets)} is there; bring it back, or move them away with a new "
                + "migration";
    }

    /// <summary>Takes an operator's decision that <see cref="MayGiveUp"/> allows.</summary>
    public static MoveState Take(MoveState state, GiveUpRequested request)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(request);
        ImmutableSortedSet<string> given = state.GivenUp.Union(Expand(state.Plan, request.Parties));
        string why = $"{request.By} gave up {string.Join(", ", request.Parties)}: {request.Why}";
        return state with { GivenUp = given, GivenUpWhy = state.GivenUpWhy ?? why };
    }

    /// <summary>True when a command is not asked any more: all whom it is for were given up.</summary>
    public static bool Skips(MoveState state, MoveCommand command)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.GivenUp.IsEmpty) return false;
        return command switch
        {
            SendSignal signal => state.GivenUp.Contains(signal.Pe),

            // What decides who may run is never taken as done.
            SendOrder order => (order.Order is ServerOrder.Resume or ServerOrder.Cancel or ServerOrder.Retire
                || (order.Order == ServerOrder.Fence && state.Stage != MoveStage.Fence)) && state.GivenUp.Contains(order.Host),
            WatchPath watch => SkipsPath(state, watch),
            WatchServer { Kind: ServerWatch.RunsAtSource } watch
                => state.GivenUp.Contains(state.Plan.Servers.First(s => s.Name == watch.Server).SourceHost),
            _ => false,
        };
    }

    /// <summary>What is not proved of a migration because parties were given up, a line each for people; null: nobody was.</summary>
    public static IReadOnlyList<string>? Unproved(MigrationState migration)
    {
        ArgumentNullException.ThrowIfNull(migration);
        return migration.Moves.SelectMany(Unproved).ToArray() is { Length: > 0 } list ? list : null;
    }

    /// <summary>What is not proved because parties were given up, a line each for people. Empty: nobody was.</summary>
    public static IReadOnlyList<string> Unproved(MoveState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        if (state.GivenUp.IsEmpty) return [];
        var list = new List<string>();
        foreach (ServerMove server in state.Plan.Servers)
        {
            if (state.GivenUp.Contains(server.SourceHost))
            {
                list.Add(state.TargetOwns ? $"that {server.SourceHost} has removed what it kept of {server.Name}"
                    : $"that {server.Name} runs at {server.SourceHost}, which owns it");
            }

            if (state.GivenUp.Contains(server.TargetHost)) list.Add(
                $"that {server.Name} does not run at {server.TargetHost}, and that nothing of it is left there");
        }

        foreach (PathMove path in state.Plan.Paths)
        {
            foreach (string pe in new[] { path.Source.Pe, path.Target.Pe }.Where(state.GivenUp.Contains))
                list.Add($"that {pe} has no tunnel, group or hold of {path.Id}, and has seen epoch {state.Epoch}");
        }

        return list;
    }

    private static bool SkipsPath(MoveState state, WatchPath watch)
    {
        PathMove path = state.Plan.Paths.First(p => p.Id == watch.Path);
        bool source = state.GivenUp.Contains(path.Source.Pe), target = state.GivenUp.Contains(path.Target.Pe);
        return watch.Kind switch
        {
            PathWatch.Clean => target && (source || !state.SourcesAsked),
            PathWatch.GivenBack or PathWatch.LastPacket => target,
            PathWatch.Drained => source || target,
            _ => false,
        };
    }

    private static bool IsBeforeOrUndone(MoveState state) => state.Stage == MoveStage.Planned || StageTable.Of(state.Stage).BeforePivot
        || (!state.TargetOwns && state.Stage != MoveStage.Void);

    private static IEnumerable<string> Names(MovePlan plan, bool source) =>
        plan.Servers.Select(s => source ? s.SourceHost : s.TargetHost).Concat(plan.Paths.Select(p => source ? p.Source.Pe : p.Target.Pe))
            .Distinct();

    private static IEnumerable<string> Expand(MovePlan plan, IEnumerable<string> parties) => parties.SelectMany(p =>
        p == plan.From ? Names(plan, source: true) : p == plan.To ? Names(plan, source: false) : [p]).Distinct();
}
