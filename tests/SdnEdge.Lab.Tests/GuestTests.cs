using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Lab.Topologies;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A real virtual machine moves over the WAN by the manager, while a client uses it. Twenty moves under more traffic, and memory:
/// <c>./build.sh bench guests moves</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class GuestTests
{
    [RootFact]
    public async Task A_virtual_machine_moves_there_and_back_with_its_memory_no_ping_is_lost_and_its_connections_live_on()
    {
        await using GuestRig rig = await GuestRig.StartAsync(LabFiles.Guest);
        using LabAccount account = await LabAccount.OpenAsync(rig.Lab);
        using var pings = new Pings(rig.Lab, GuestRig.Client, GuestRig.Address);
        await using TcpLines tcp = await TcpLines.StartAsync(rig.Lab, GuestRig.Client, GuestRig.Address);
        await pings.AnswersAsync(1);
        MmsClient mms = rig.Daemons.Mms;
        (long ticks, _) = await rig.CountsAsync();
        foreach (string to in (string[])["dc-b", "dc-a"])
        {
            string from = GuestRig.Other(to);
            long carried = await CarriedAsync(rig.Lab, from);
            MigrationStatus status = await MoveRig.EndedAsync(mms, (await mms.StartAsync(new MigrationCall(GuestRig.Server, to))).Id);
            Assert.True(status.State == "moved", $"{status.State}: {status.Failure}");

            // What the host says of its copy is what the WAN has carried: with it went headers, repeated segments, and the clients'
            // packets.
            carried = await CarriedAsync(rig.Lab, from) - carried;
            long said = (await rig.Daemons.Hosts[GuestRig.HostOf(from)].CopyAsync(GuestRig.Server)).WireBytes;
            Assert.InRange(said, 32 << 20, 512 << 20);
            Assert.InRange(carried, said, (long)(said * 1.15) + (2 << 20));
            Assert.Empty(await rig.InspectAsync(to, status.Epoch));
            LineCount lines = await tcp.SettleAsync();
            Assert.True(lines is { Failure: null, Lines: > 0 }, $"{lines}\n{await account.TellAsync()}");
            (long now, long bad) = await rig.CountsAsync();
            Assert.True(now >= ticks && bad == 0, $"the guest's clock was {ticks} and is {now}, {bad} words of its memory are wrong");
            ticks = now;
        }

        await Pings.NothingLostAsync([pings], account);
    }

    // Bytes that have come from a site's PE to the WAN, by the kernel's counter.
    private static async Task<long> CarriedAsync(RunningLab lab, string site)
        => long.Parse(await LabInstance.RunAsync(lab, "wan", "cat",
            $"/sys/class/net/{(site == "dc-a" ? "eth1" : "eth2")}/statistics/rx_bytes"), CultureInfo.InvariantCulture);

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
            await account.PingAsync(ingress.Name, 2, "-i", "0.2", GuestRig.Address);
            await account.PingAsync(ingress.Name, 2, "-i", "0.2", "fd00:1:1::10");
        }

        using var host = new HostClient(new ApiEndpoint("host-a", lab.ApiSocket("host-a")));
        Assert.Equal(ServerState.Running, (await host.ServerAsync("vs")).State);
        string said = await LabInstance.RunAsync(lab, "client-c", "sh", "-c",
            $"echo pattern | timeout 60 socat -T 30 - UDP:{GuestRig.Address}:8");
        Assert.Equal(["0", "0", $"{(64 << 20) / 8}"], said.Split(' ', '\n').Skip(1).Take(3));

        // Its disk is its site's store's, which lets this one process write and has its replica at the other site.
        using var disk = new GuestDisk(lab, "client-c", lab.Guests[0].Addresses[0]);
        DiskWord word = disk.Stop(Patience.Time)!;
        Assert.True(word is { Acknowledged: > 0, Bad: 0, Errors: 0 }, $"{word}");
        using var store = new StoreClient(new ApiEndpoint("store-a", lab.ApiSocket("store-a")));
        using var other = new StoreClient(new ApiEndpoint("store-b", lab.ApiSocket("store-b")));
        VolumeInfo owner = await store.VolumeAsync("vs-disk");
        Assert.True(owner is { Role: OwnerRole.Owner, Client: not null, Replication.Connected: true }, $"{owner}");
        Assert.Equal(ReplicationMode.Async, Assert.Single(owner.Modes!).Mode);
        Assert.Equal(OwnerRole.Replica, (await other.VolumeAsync("vs-disk")).Role);
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [Fact]
    public void The_guests_of_a_lab_are_known_by_its_files()
    {
        LabGuest guest = Assert.Single(Managed.Guests(TopologyLoader.Load(LabFiles.Figure1Qemu)));
        Assert.Equal("vs", guest.Name);
        Assert.Equal([GuestRig.Address, "fd00:1:1::10"], guest.Addresses.Select(a => a.ToString()));
        Assert.Equal([new LabGuestSite("dc-a", "host-a", "eth1", "pe-a", true), new LabGuestSite("dc-b", "host-b", "eth1", "pe-b", false)],
            guest.Sites);
        Assert.Equal(["vs-disk"], guest.Volumes);
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
}
