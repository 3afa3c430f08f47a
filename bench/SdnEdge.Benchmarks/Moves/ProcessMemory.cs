using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;

namespace SdnEdge.Benchmarks.Moves;

/// <summary>What a daemon's process has in memory, KB.</summary>
/// <param name="Node">Its node.</param>
/// <param name="ProcessId">The process.</param>
/// <param name="RssKb">Pages in RAM, shared ones included (VmRSS).</param>
/// <param name="PssKb">Pages in RAM, each shared one divided among those who have it (smaps_rollup).</param>
/// <param name="HeapKb">What the last garbage collection left on the managed heap.</param>
/// <param name="Collections">Garbage collections so far.</param>
internal sealed record ProcessMemory(string Node, int ProcessId, long RssKb, long PssKb, long HeapKb, long Collections)
{
    /// <summary>Every PE, host and manager of the lab.</summary>
    public static async Task<IReadOnlyList<ProcessMemory>> ReadAsync(MoveRig rig)
    {
        ILookup<string, LabProcess> processes = rig.Lab.State.Processes.ToLookup(p => p.Node);
        var list = new List<ProcessMemory>();
        foreach (ApiClient daemon in rig.Daemons)
        {
            int id = processes[daemon.Name].Single().ProcessId;
            string[] metrics = (await daemon.TextAsync("metrics")).Split('\n');
            list.Add(new ProcessMemory(
                daemon.Name, id, Kb($"/proc/{id}/status", "VmRSS:"), Kb($"/proc/{id}/smaps_rollup", "Pss:"),
                Metric(metrics, "sdnedge_process_heap_kept_bytes ") / 1024,
                Metric(metrics, "sdnedge_process_garbage_collections_total{generation=\"0\"} ")));
        }

        return list;
    }

    private static long Kb(string file, string name)
    {
        string line = File.ReadLines(file).First(l => l.StartsWith(name, StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }

    private static long Metric(string[] lines, string name)
        => (long)double.Parse(lines.First(l => l.StartsWith(name, StringComparison.Ordinal))[name.Length..], CultureInfo.InvariantCulture);
}
