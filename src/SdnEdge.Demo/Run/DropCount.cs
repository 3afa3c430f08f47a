using System.Diagnostics;
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
/// Where packets are dropped in the lab, from everyone's own counters: the PEs' drop reasons, the WAN's links, and the
/// kernel's devices in every node, but for the management network. Taken before and after a run it says where what the probes missed was
/// lost.
/// </summary>
internal sealed class DropCount
{
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
        ProcessStartInfo start = new("ip", ["-n", lab.NamespaceOf(node.Name), "-s", "-j", "link"])
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        using Process process = Process.Start(start) ?? throw new LabException("cannot start ip.");
        string text = await process.StandardOutput.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        if (process.ExitCode != 0)
        {
            return; // the node is gone; the probes will say so
        }

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
}
