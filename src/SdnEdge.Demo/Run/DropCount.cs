using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Lab.Wan;
using SdnEdge.Mms;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Where packets are dropped in the lab, from everyone's own counters: the PEs' drop reasons, the WAN's links, the kernel's devices in
/// every node, but for the management network, UDP sockets without room, and the queues of packets that wait for a processor. Taken before and
/// after a run it says where what the probes missed was lost.
/// </summary>
internal sealed class DropCount
{
    private static readonly string[] s_fullSockets = ["RcvbufErrors", "SndbufErrors", "Udp6RcvbufErrors", "Udp6SndbufErrors"];

    private readonly Dictionary<(string Node, string What), long> counts = [];

    public static async Task<DropCount> TakeAsync(RunningLab lab, IReadOnlyDictionary<string, PeClient> pes, CancellationToken cancel)
    {
        var taken = new DropCount();
        foreach (LabNode node in lab.Topology.Nodes)
        {
            if (lab.Topology.LinksOf(node.Name).Any() && lab.Topology.LinksOf(node.Name).All(l => l.IsManagement)) continue;
            if (pes.TryGetValue(node.Name, out PeClient? pe))
            {
                foreach (DropInfo drop in await pe.DropsAsync(cancel))
                {
                    taken.Add(node.Name, drop.Reason, drop.Packets);
                }
            }

            if (node.Kind == NodeKind.SdnEdgeWan && await lab.WanAsync(node.Name, cancel) is { } wan)
            {
                foreach (WanLinkStats link in wan.Links)
                {
                    taken.Add(node.Name, $"queue of {link.Peer} full", link.ToWan.QueueFull + link.FromWan.QueueFull);
                    taken.Add(node.Name, $"lost on the link of {link.Peer} as configured", link.ToWan.Lost + link.FromWan.Lost);
                    taken.Add(node.Name, $"refused by the device of {link.Peer}", link.ToWan.Refused + link.FromWan.Refused);
                    taken.Add(node.Name, $"socket buffer of {link.Peer} full", link.KernelDrops);
                }
            }

            await taken.AddDevicesAsync(lab, node, cancel);
            await taken.AddSocketsAsync(lab, node, cancel);
        }

        // The second column, hexadecimal, a line a processor; all namespaces share it.
        foreach (string line in await File.ReadAllLinesAsync("/proc/net/softnet_stat", cancel))
        {
            taken.Add("the machine", "queue to a processor",
                long.Parse(line.Split(' ')[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        }

        return taken;
    }

    /// <summary>What was dropped since <paramref name="before"/>, most first.</summary>
    public IReadOnlyList<DropReport> Since(DropCount before) =>
    [
        .. counts.Select(c => new DropReport(c.Key.Node, c.Key.What, c.Value - before.counts.GetValueOrDefault(c.Key)))
            .Where(d => d.Packets != 0).OrderByDescending(d => d.Packets),
    ];

    private void Add(string node, string what, long packets) => counts[(node, what)] = counts.GetValueOrDefault((node, what)) + packets;

    private async Task AddDevicesAsync(RunningLab lab, LabNode node, CancellationToken cancel)
    {
        if (await ReadAsync(lab, node, ["ip", "-s", "-j", "link"], cancel) is not { } text) return;
        using JsonDocument links = JsonDocument.Parse(text);
        foreach (JsonElement link in links.RootElement.EnumerateArray())
        {
            string device = link.GetProperty("ifname").GetString()!;
            if (device != LabTopology.ManagementInterface && link.TryGetProperty("stats64", out JsonElement stats))
            {
                Add(node.Name, $"{device} transmit queue", stats.GetProperty("tx").GetProperty("dropped").GetInt64());
                Add(node.Name, $"{device} receive", stats.GetProperty("rx").GetProperty("dropped").GetInt64());
            }
        }
    }

    // Two lines a protocol of IPv4, names and numbers; a line a number of IPv6.
    private async Task AddSocketsAsync(RunningLab lab, LabNode node, CancellationToken cancel)
    {
        if (await ReadAsync(lab, node, ["cat", "/proc/net/snmp", "/proc/net/snmp6"], cancel) is not { } text) return;
        string[][] lines = [.. text.Split('\n').Select(l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))];
        string[][] udp = [.. lines.Where(l => l is ["Udp:", ..])];
        IEnumerable<string[]> counters = udp.Length == 2 ? udp[0].Zip(udp[1], (name, value) => (string[])[name, value]) : [];
        foreach (string[] counter in counters.Concat(lines))
        {
            if (counter is [var name, var value] && s_fullSockets.Contains(name))
                Add(node.Name, "socket without room", long.Parse(value, CultureInfo.InvariantCulture));
        }
    }

    // What a program in the node's namespace writes; null: the node is gone, and the probes will say so.
    private static async Task<string?> ReadAsync(RunningLab lab, LabNode node, string[] argv, CancellationToken cancel)
    {
        using Process process = lab.Start(node.Name, argv, redirect: true);
        string text = await process.StandardOutput.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        return process.ExitCode == 0 ? text : null;
    }
}
