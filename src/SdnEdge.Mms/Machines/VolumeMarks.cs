using System.Collections.Immutable;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>
/// What is on record of volumes: "the replica is stale from sequence S on", before its owner acknowledges the first write that the replica
/// lacks against the promise. A store makes its report until it is confirmed, so reports come late, twice and out of order:
/// <list type="number">
/// <item>one of an older epoch than that on record is refused: its sender is not the owner any more;</item>
/// <item>one of a later epoch takes the place of what is on record;</item>
/// <item>within an epoch a number that is lower than the highest changes nothing, nor does one that is over already;</item>
/// <item>both pivots begin an epoch, with nothing reported: a target is granted nothing while a copy of its volumes is stale, and one that
/// never ran has acknowledged nothing.</item>
/// </list>
/// </summary>
public static class VolumeMarks
{
    /// <summary>Most volumes of which something is kept.</summary>
    public const int Most = 100_000;

    /// <summary>Null: the report is taken, or changes nothing. Else why it is refused.</summary>
    public static string? WhyNot(ManagerState state, StaleReported report)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(report);
        if (!state.Volumes.TryGetValue(report.Volume, out VolumeMark? known))
            return state.Volumes.Count < Most ? null : $"{Most} volumes are on record already";
        return report.Epoch >= known.Epoch ? null
            : $"the report is of epoch {report.Epoch}, and epoch {known.Epoch} of the volume is on record: another store owns it";
    }

    /// <summary>Takes a report. The same state comes back when it changes nothing.</summary>
    public static ManagerState Take(ManagerState state, StaleReported report, string at)
    {
        if (WhyNot(state, report) is not null) return state;
        VolumeMark? known = state.Volumes.GetValueOrDefault(report.Volume);
        bool isNew = known is null || report.Epoch > known.Epoch || report.Generation > known.Generation;
        if (!isNew)
        {
            // Over is over: what comes later of that number is late.
            if (report.Generation < known!.Generation || known.StaleFrom is not { } from || (report.StaleFrom ?? 0) >= from) return state;
        }

        var mark = new VolumeMark(report.Epoch, report.Generation, report.StaleFrom,
            report.StaleFrom is null ? null : known?.Since ?? at, report.By, report.Name ?? known?.Name);
        return Spread(state with { Volumes = state.Volumes.SetItem(report.Volume, mark) }, report.Volume);
    }

    /// <summary>The volumes of a move have another owner, or its former one again, under the move's epoch.</summary>
    public static ManagerState Granted(ManagerState state, MoveState move)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(move);
        foreach (MovedVolume volume in move.Plan.Servers.SelectMany(s => s.Volumes ?? []))
        {
            ulong epoch = (ulong)move.Epoch + 1;
            if (state.Volumes.GetValueOrDefault(volume.Id) is { } known && known.Epoch >= epoch) continue;
            state = state with { Volumes = state.Volumes.SetItem(volume.Id, new VolumeMark(epoch, Name: volume.Name)) };
            state = Spread(state, volume.Id);
        }

        return state;
    }

    /// <summary>The volumes of a plan whose copies are stale, and from which sequence on.</summary>
    public static ImmutableSortedDictionary<Guid, ulong> Of(ManagerState state, MovePlan plan)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(plan);
        return plan.Servers.SelectMany(s => s.Volumes ?? [])
            .Where(v => state.Volumes.GetValueOrDefault(v.Id) is { StaleFrom: not null })
            .ToImmutableSortedDictionary(v => v.Id, v => state.Volumes[v.Id].StaleFrom!.Value);
    }

    // What runs decides by what is in its own state.
    private static ManagerState Spread(ManagerState state, Guid volume)
    {
        foreach (MigrationState migration in state.Migrations.Values.Where(m => m.Outcome is null))
        {
            foreach (int number in migration.Running)
            {
                MoveState move = migration.MoveOf(number);
                if (!move.Plan.Servers.Any(s => s.Volumes?.Any(v => v.Id == volume) == true)) continue;
                MigrationState known = state.Migrations[migration.Id];
                MoveState now = move with { StaleVolumes = Of(state, move.Plan) };
                state = state with
                {
                    Migrations = state.Migrations.SetItem(known.Id, known with { Moves = known.Moves.SetItem(number - 1, now) }),
                };
            }
        }

        return state;
    }
}
