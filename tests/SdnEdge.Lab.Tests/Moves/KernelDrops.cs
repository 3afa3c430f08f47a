using System.Globalization;
using System.Text.Json;
using SdnEdge.Lab.Running;

namespace SdnEdge.Lab.Tests.Moves;

/// <summary>
/// What the kernel has dropped on its own in a lab: at each device, at sockets without room, and of the packets that wait for a processor.
/// Where packets are lost and no PE has counted them, it is here.
/// </summary>
internal static class KernelDrops
{
    private static readonly string[] s_sockets = ["RcvbufErrors", "SndbufErrors", "Udp6RcvbufErrors", "Udp6SndbufErrors"];

    /// <summary>All counters that are not zero, by where they are.</summary>
    public static async Task<IReadOnlyDictionary<string, long>> ReadAsync(RunningLab lab)
    {
        var all = new Dictionary<string, long>();
        foreach (string line in await File.ReadAllLinesAsync("/proc/net/softnet_stat"))
        {
            Add("packets that waited for a processor",
                long.Parse(line.Split(' ')[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }

        foreach (string node in lab.Topology.Nodes.Select(n => n.Name))
        {
            using JsonDocument links = JsonDocument.Parse(await LabInstance.RunAsync(lab, node, "ip", "-s", "-j", "link"));
            foreach (JsonElement link in links.RootElement.EnumerateArray())
            {
                JsonElement stats = link.GetProperty("stats64");
                string device = $"{node} {link.GetProperty("ifname").GetString()}";
                Add($"{device} in", stats.GetProperty("rx").GetProperty("dropped").GetInt64());
                Add($"{device} out", stats.GetProperty("tx").GetProperty("dropped").GetInt64());
            }

            string[] lines = (await LabInstance.RunAsync(lab, node, "cat", "/proc/net/snmp", "/proc/net/snmp6")).Split('\n');
            string[][] udp = [.. lines.Where(l => l.StartsWith("Udp:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
            foreach (string[] six in lines.Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)))
            {
                if (six is [var name, var value] && s_sockets.Contains(name))
                    Add($"{node} {name}", long.Parse(value, CultureInfo.InvariantCulture));
            }

            foreach (string name in s_sockets)
            {
                if (Array.IndexOf(udp[0], name) is > 0 and var at)
                    Add($"{node} {name}", long.Parse(udp[1][at], CultureInfo.InvariantCulture));
            }
        }

        return all;

        void Add(string where, long packets)
        {
            if (packets > 0) all[where] = all.GetValueOrDefault(where) + packets;
        }
    }

    /// <summary>What has been dropped since then, in words.</summary>
    public static async Task<string> SinceAsync(RunningLab lab, IReadOnlyDictionary<string, long> then) => string.Join(", ",
        (await ReadAsync(lab)).Select(d => (Where: d.Key, Packets: d.Value - then.GetValueOrDefault(d.Key))).Where(d => d.Packets != 0)
            .Select(d => $"{d.Where}: {d.Packets}"));
}
