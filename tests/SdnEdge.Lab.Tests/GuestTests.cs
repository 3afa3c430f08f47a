using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Lab.Topologies;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>A real virtual machine moves over the WAN by the manager, while a client uses it.</summary>
[Trait("needs", "executable")]
public sealed class GuestTests
{
    private const string Address = "10.1.1.10";

    [RootFact]
    public async Task A_virtual_machine_moves_there_and_back_with_its_memory_and_no_ping_is_lost()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(
            LabFiles.Guest, instance.Options with { Name = instance.Name }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        using var mms = new MmsClient(new ApiEndpoint("mms", lab.ApiSocket("mms")));
        using var pings = new Pings(lab, "client-c", Address);
        await pings.AnswersAsync(1);
        long ticks = await TicksAsync(lab);
        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            MigrationStatus status = await MoveRig.EndedAsync(mms, (await mms.StartAsync(new MigrationCall("vs", to))).Id);
            Assert.True(status.State == "moved", $"{status.State}: {status.Failure}");
            long now = await TicksAsync(lab);
            Assert.True(now >= ticks, $"the guest's clock went back from {ticks} to {now}");
            ticks = now;
        }

        await Pings.NothingLostAsync([pings], account);
    }

    [RootFact]
    public async Task Every_client_reaches_the_virtual_machine_of_figure_1_by_IPv4_and_IPv6()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await LabRunner.DeployAsync(
            LabFiles.Figure1Qemu, instance.Options with { Name = instance.Name }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        Assert.Equal(["client-c", "client-d", "client-e"], lab.Ingresses.Select(i => i.Name));
        foreach (LabIngress ingress in lab.Ingresses)
        {
            await account.PingAsync(ingress.Name, 2, "-i", "0.2", Address);
            await account.PingAsync(ingress.Name, 2, "-i", "0.2", "fd00:1:1::10");
        }

        using var host = new HostClient(new ApiEndpoint("host-a", lab.ApiSocket("host-a")));
        Assert.Equal(ServerState.Running, (await host.ServerAsync("vs")).State);
        string said = await LabInstance.RunAsync(lab, "client-c", "sh", "-c", $"echo pattern | timeout 60 socat -T 30 - UDP:{Address}:8");
        Assert.Equal(["0", "0", $"{(64 << 20) / 8}"], said.Split(' ', '\n').Skip(1).Take(3));
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [Fact]
    public void The_guests_of_a_lab_are_known_by_its_files()
    {
        LabGuest guest = Assert.Single(Managed.Guests(TopologyLoader.Load(LabFiles.Figure1Qemu)));
        Assert.Equal("vs", guest.Name);
        Assert.Equal([Address, "fd00:1:1::10"], guest.Addresses.Select(a => a.ToString()));
        Assert.Equal([new LabGuestSite("dc-a", "host-a", "eth1", "pe-a", true), new LabGuestSite("dc-b", "host-b", "eth1", "pe-b", false)],
            guest.Sites);
        Assert.Empty(Managed.Guests(TopologyLoader.Load(LabFiles.Figure1)));
    }

    [Fact]
    public void Where_the_guest_is_not_made_it_is_said_what_helps()
    {
        DirectoryInfo root = Directory.CreateTempSubdirectory("sdnedge-test-");
        try
        {
            string topology = Path.Combine(root.FullName, "topologies", "x.clab.yml"), made =
                Path.Combine(root.FullName, "artifacts/guest");
            Assert.Null(GuestFolder.Find(topology, null, out string why));
            Assert.Contains("./build.sh guest", why, StringComparison.Ordinal);
            Directory.CreateDirectory(made);
            File.WriteAllText(Path.Combine(made, "vmlinuz"), "");
            Assert.Null(GuestFolder.Find(topology, null, out why));
            Assert.StartsWith($"{made} has no qemu/usr/bin/qemu-system-x86_64, qemu-ahead, initrd; ", why, StringComparison.Ordinal);
            Assert.Null(GuestFolder.Find(topology, Path.Combine(root.FullName, "none"), out why));
            Assert.Contains("none has no", why, StringComparison.Ordinal);
            Directory.CreateDirectory(Path.Combine(made, "qemu/usr/bin"));
            foreach (string file in (string[])["qemu/usr/bin/qemu-system-x86_64", "qemu-ahead", "initrd"])
                File.WriteAllText(Path.Combine(made, file), "");
            Assert.Equal((made, ""), (GuestFolder.Find(topology, null, out why), why));
        }
        finally
        {
            root.Delete(recursive: true);
        }
    }

    // Of the guest's own clock, ten a second. It checks its memory as it writes to it, and says how many words it found wrong.
    private static async Task<long> TicksAsync(RunningLab lab)
    {
        string said = "";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < LabInstance.Patience && said.Length == 0;)
            said = await LabInstance.RunAsync(lab, "client-c", "sh", "-c", $"echo '?' | timeout 2 socat -T 1 - UDP:{Address}:8 || true");
        string[] words = said.Split(' ', '\n');
        Assert.True(words.Length > 1 && words[1] == "0", $"the guest answers '{said}': ticks, and words of its memory that are wrong");
        return long.Parse(words[0], CultureInfo.InvariantCulture);
    }
}
