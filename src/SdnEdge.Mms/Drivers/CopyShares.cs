namespace SdnEdge.Mms.Drivers;

/// <summary>
/// How the bandwidth of a migration is shared out among the hosts that copy. Each host is told what the copies of the migration may take
/// there together, and shares that among those that go on; so that all hosts together never take more, whatever runs at once:
/// <list type="number">
/// <item>one on the way at a time has all of it;</item>
/// <item>else each host has its part, by how many of its servers may be on the way at once.</item>
/// </list>
/// </summary>
internal static class CopyShares
{
    private const long BytesOfMegabit = 125_000;

    /// <summary>The part of each source host, bytes/s; empty: there is no limit, or nothing that it could limit, which is told.</summary>
    /// <param name="notes">Where what it does not limit goes.</param>
    /// <param name="placed">The servers.</param>
    /// <param name="bandwidth">All of it, Mbit/s; null = no limit.</param>
    /// <param name="atOnce">Most servers on the way at once.</param>
    public static IReadOnlyDictionary<string, long> Of(PlanNotes notes, IReadOnlyList<PlacedServer> placed, int? bandwidth, int atOnce)
    {
        var shares = new Dictionary<string, long>(StringComparer.Ordinal);
        if (bandwidth is not { } all || placed.Count == 0) return shares;
        if (placed.Any(s => VolumeChecks.Of(s) is { Count: > 0 }))
            notes.Warn($"the bandwidth of {all} Mbit/s is for the servers' memory: their volumes follow all the time, as their stores' "
                + "links allow (link.bandwidth in a store's file)");
        (string Host, int Weight)[] hosts = [.. placed.Where(Copies).GroupBy(s => s.From.Host.Name)
            .Select(h => (h.Key, Math.Min(Math.Max(1, atOnce), h.Count())))];
        if (hosts.Length == 0)
        {
            notes.Warn($"the bandwidth of {all} Mbit/s limits nothing here: no agent copies the memory of any of these servers (it is for "
                + "guests of QEMU)");
            return shares;
        }

        int weights = hosts.Sum(h => h.Weight);
        foreach ((string host, int weight) in hosts)
            shares[host] = atOnce <= 1 ? all * BytesOfMegabit : all * BytesOfMegabit * weight / weights;
        return shares;
    }

    /// <summary>True when its host's agent copies its memory to the other host.</summary>
    public static bool Copies(PlacedServer server) => server.From.Agent is not null && server.AtFrom is { Driver: "qemu" };
}
