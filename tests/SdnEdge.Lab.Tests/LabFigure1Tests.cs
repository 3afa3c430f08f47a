using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>The Figure 1 lab with its PE routers, under another name so that a running one is left alone.</summary>
[Trait("needs", "executable")]
public sealed partial class LabFigure1Tests
{
    [RootFact]
    public async Task Every_client_reaches_the_server_over_the_routers_and_nothing_is_left_afterwards()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(LabFiles.Figure1, Options(instance) with { RttMs = 20 }, CancellationToken.None);
        Assert.Equal(instance.Name, lab.Name);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        long[] refused = await RefusedAsync(lab);   // flooded to links whose far end was not up yet
        Assert.Equal("dc-a", await lab.LocateAsync("vs"));
        foreach (LabIngress ingress in lab.Ingresses)
        {
            foreach (string server in (string[])["10.1.1.10", "fd00:1:1::10"])
            {
                string ping = await account.PingAsync(ingress.Name, 3, "-i", "0.1", server);
                Assert.True(double.Parse(Least().Match(ping).Groups["min"].Value, CultureInfo.InvariantCulture) >= 20,
                    $"the WAN was passed four times: {ping}");
            }

            // A full-size packet that must not be fragmented.
            await account.PingAsync(ingress.Name, 1, "-M", "do", "-s", "1472", "10.1.1.10");
        }

        await account.PingAsync("vs", 1, "10.2.5.10");
        LabReport report = (await LabInspector.InspectAsync(lab.Name, instance.StateRoot, CancellationToken.None))!;
        Assert.All(report.Nodes, n => Assert.Equal("up", n.State));
        Assert.All(report.Wans.Single(w => w.Name == "wan").Links,
            l => Assert.Equal((0L, 0L, 0L), (l.ToWan.QueueFull, l.FromWan.QueueFull, l.KernelDrops)));
        Assert.Equal(refused, await RefusedAsync(lab));
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [RootFact]
    public async Task A_router_that_is_killed_shows_in_inspect_and_does_not_hinder_destroy()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(LabFiles.Figure1, Options(instance), CancellationToken.None);
        LabProcess router = lab.State.Processes.Single(p => p.Node == "pe-c");
        Linux.Signals.Send(router.ProcessId, Linux.ProcessSignal.Kill);
        Assert.True(await Netns.UntilAsync(() => !router.IsAlive, Patience.Long, CancellationToken.None));
        LabReport report = (await LabInspector.InspectAsync(lab.Name, instance.StateRoot, CancellationToken.None))!;
        Assert.Equal("failed", report.Nodes.Single(n => n.Name == "pe-c").State);
        foreach (Linux.ProcessStat process in Netns.ProcessesIn(new HashSet<string> { Netns.IdOf(lab.NamespaceOf("vs"))! }))
            Linux.Signals.Send(process.ProcessId, Linux.ProcessSignal.Stop);   // a paused server hears no signal to end
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    private static async Task<long[]> RefusedAsync(RunningLab lab)
        => [.. (await lab.WanAsync("wan", CancellationToken.None))!.Links.Select(l => l.FromWan.Refused)];

    private static LabOptions Options(LabInstance instance) => instance.Options with { Name = instance.Name };

    [GeneratedRegex("= (?<min>[0-9.]+)/")]
    private static partial Regex Least();
}
