using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Lab.Running;

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
    /// <param name="lab">The lab.</param>
    /// <param name="daemons">Their clients.</param>
    public static async Task<IReadOnlyList<ProcessMemory>> ReadAsync(RunningLab lab, IEnumerable<ApiClient> daemons)
    {
        ILookup<string, LabProcess> processes = lab.State.Processes.ToLookup(p => p.Node);
        var list = new List<ProcessMemory>();
        foreach (ApiClient daemon in daemons)
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

    /// <summary>Prints what has become of it between two moves. True: it has grown no more than it may, of the same processes.</summary>
    /// <param name="before">After the first of the two.</param>
    /// <param name="after">After the second.</param>
    /// <param name="warm">Number of the first.</param>
    /// <param name="moves">Number of the second.</param>
    /// <param name="boundKb">Most growth of Pss, KB.</param>
    public static bool Compare(IReadOnlyList<ProcessMemory> before, IReadOnlyList<ProcessMemory> after, int warm, int moves, int boundKb)
    {
        bool flat = true;
        Console.WriteLine($"  memory after move {warm} and after move {moves}, KB (growth of Pss at most {boundKb} KB)");
        Console.WriteLine($"  {"node",-8}{"RSS",9}{"RSS",9}{"growth",9}{"Pss",9}{"Pss",9}{"growth",9}{"heap",9}{"heap",9}{"growth",9}"
            + $"{"collected",11}  verdict");
        foreach ((ProcessMemory a, ProcessMemory b) in before.Zip(after))
        {
            bool well = a.ProcessId == b.ProcessId && b.PssKb - a.PssKb <= boundKb;
            flat &= well;
            Console.WriteLine($"  {b.Node,-8}{a.RssKb,9}{b.RssKb,9}{b.RssKb - a.RssKb,9}{a.PssKb,9}{b.PssKb,9}{b.PssKb - a.PssKb,9}"
                + $"{a.HeapKb,9}{b.HeapKb,9}{b.HeapKb - a.HeapKb,9}{b.Collections - a.Collections,11}  "
                + (well ? "flat" : a.ProcessId == b.ProcessId ? "GROWS" : "another process"));
        }

        return flat;
    }

    private static long Kb(string file, string name)
    {
        string line = File.ReadLines(file).First(l => l.StartsWith(name, StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }

    private static long Metric(string[] lines, string name)
        => (long)double.Parse(lines.First(l => l.StartsWith(name, StringComparison.Ordinal))[name.Length..], CultureInfo.InvariantCulture);
}
