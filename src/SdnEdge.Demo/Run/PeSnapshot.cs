using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms;

namespace SdnEdge.Demo.Run;

/// <summary>What a PE has that a migration could leave behind. Compared before and after.</summary>
internal sealed record PeSnapshot(string Pe, IReadOnlySet<string> Things)
{
    /// <summary>Reads a PE.</summary>
    public static async Task<PeSnapshot> TakeAsync(PeClient pe, CancellationToken cancel)
    {
        var things = new HashSet<string>(StringComparer.Ordinal);
        things.UnionWith((await pe.TunnelsAsync(cancel)).Select(t => $"tunnel {t.Name}"));
        things.UnionWith((await pe.GroupsAsync(cancel)).Select(g => $"redirect group {g.Name}"));
        things.UnionWith((await pe.MigrationsAsync(cancel))
            .Where(m => m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted))
            .Select(m => $"migration {m.Id} ({m.State})"));
        things.UnionWith((await pe.MigrationsAsync(cancel))
            .Where(m => m.State is PeMigrationState.TornDown or PeMigrationState.Aborted && m.Hold is { PacketsHeldNow: > 0 })
            .Select(m => $"hold of {m.Id} with {m.Hold!.PacketsHeldNow} packets"));
        foreach (FibInfo entry in await pe.FibAsync(cancel: cancel))
        {
            things.Add($"FIB entry {entry.Vrf} {entry.Prefix}");
            if (entry.Group is not null)
            {
                things.Add($"FIB entry {entry.Vrf} {entry.Prefix} in group {entry.Group}");
            }
        }

        return new PeSnapshot(pe.Name, things);
    }

    /// <summary>What is there now and was not there before, and what is gone.</summary>
    public IEnumerable<string> Residue(PeSnapshot before) =>
    [
        .. Things.Except(before.Things).Order(StringComparer.Ordinal).Select(t => $"{Pe} {t}"),
        .. before.Things.Except(Things).Order(StringComparer.Ordinal).Select(t => $"{Pe} {t} is gone"),
    ];
}
