using System.Net;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// PE_a itself is lost: ingress PEs, which watch it by BFD as a program of its own does it, send its servers' packets to PE_b by the backup
/// path that the manager has PE_b tell, and PE_b holds them until the server runs there (topologies/lost-pe.clab.yml).
/// </summary>
[Trait("needs", "executable")]
public sealed class LostPeTests(ITestOutputHelper output)
{
    private const string Group = "vs", PeA = "10.255.0.1", PeB = "10.255.0.2";
    private static readonly string[] s_clients = ["client-c", "client-d"];
    private static readonly string[] s_addresses = ["10.1.1.10", "fd00:1:1::10"];

    [RootFact]
    public async Task Ingress_PEs_leave_a_killed_PE_by_their_backup_next_hop_and_behind_that_nothing_is_lost()
    {
        await using LabInstance instance = LabInstance.WithFiles(LabFiles.LostPe);
        RunningLab lab = await instance.DeployAsync();
        using MmsClient mms = new(new ApiEndpoint("mms", lab.MmsSocket!));
        using PeClient a = Client(lab, "pe-a"), b = Client(lab, "pe-b"), c = Client(lab, "pe-c"), d = Client(lab, "pe-d");
        foreach (string address in s_addresses)
        {
            foreach (string client in s_clients) await LabInstance.ReachAsync(lab, client, address);
        }

        foreach (PeClient pe in (PeClient[])[b, c, d])
            await Patience.ReadAsync(() => pe.BfdAsync(), bfd => bfd.Sessions[0].State == "up", $"{pe.Name} hears PE_a", Patience.Long);

        // Armed: the target tells what the source tells, below it, and is not preferred.
        await mms.ProtectAsync(Group, new ProtectCall("dc-b"));
        ProtectionInfo armed = await Patience.ReadAsync(() => mms.ProtectionAsync(Group), p => p.State == "armed", "the group is armed",
            Patience.Long);
        ProtectionPathInfo path = Assert.Single(armed.Paths);
        Assert.Equal((50u, null), (path.BackupLocalPref, path.NoBackup));
        Assert.Equal(50u, (await b.MigrationAsync(path.Id)).BackupLocalPref);
        foreach (PeClient ingress in (PeClient[])[c, d])
        {
            foreach (string address in s_addresses)
            {
                IReadOnlyList<RouteInfo> routes = await Patience.ReadAsync(() => RoutesAsync(ingress, address), r => r.Count == 2,
                    $"{ingress.Name} has two ways to {address}", Patience.Long);
                Assert.Equal([(PeA, 100u), (PeB, 50u)], routes.OrderByDescending(r => r.Best).Select(r => (r.Peer, r.LocalPref!.Value)));
            }
        }

        // It dies without a word, and its BFD process with it: nobody sends a FIN, and the link stays up.
        int bfd = (await a.BfdAsync()).ProcessId;
        Assert.NotEqual(0, bfd);
        Signals.Send(lab.State.Processes.Single(x => x is { Node: "pe-a", Name: "pe" }).ProcessId, ProcessSignal.Kill);
        try
        {
            Signals.Send(bfd, ProcessSignal.Kill);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            output.WriteLine($"the BFD process has ended with its PE: {e.Message}");
        }

        foreach (PeClient ingress in (PeClient[])[c, d])
        {
            foreach (string address in s_addresses)
            {
                await Patience.ReadAsync(() => RoutesAsync(ingress, address), r => r.Any(x => x is { Best: true, Peer: PeB }),
                    $"{ingress.Name} sends {address} to PE_b", Patience.Long);
            }
        }

        await Patience.ReadAsync(() => b.MigrationAsync(path.Id), m => m.Group is { Active: "hold-all" }, "PE_b holds what comes for PE_a",
            Patience.Long);
        foreach (PeClient ingress in (PeClient[])[c, d])
        {
            IReadOnlyList<EventRecord> failed = await EventsAsync(ingress);
            Assert.Contains(failed, e => e is { Kind: "route", Subject: PeA, Change: "pe-failed" }
                && e.Detail!.Contains("BFD", StringComparison.Ordinal));
        }

        // From then on nothing is lost. Nobody runs the server, and PE_b keeps what comes.
        IPAddress[] all = [.. s_addresses.Select(IPAddress.Parse)];
        EchoTraffic[] traffic = [.. s_clients.Select(x => EchoTraffic.Start(lab, x, all, TimeSpan.FromMilliseconds(10)))];
        long held = (await Patience.ReadAsync(() => b.MigrationAsync(path.Id), m => m.Hold is { PacketsHeldNow: >= 100 },
            "packets wait at PE_b", Patience.Long)).Hold!.PacketsHeldNow;
        output.WriteLine($"{held} packets wait");

        // The server comes up there; host-a, which has lost no more than its network, says that it does not run it.
        FailoverInfo begun = await mms.FailoverAsync(Group, new FailoverCall("dc-b"));
        foreach (EchoTraffic one in traffic) await NothingAsync(one);
        foreach (PeClient ingress in (PeClient[])[c, d])
        {
            foreach (string address in s_addresses)
            {
                await Patience.ReadAsync(() => RoutesAsync(ingress, address),
                    r => r.Any(x => x is { Best: true, Peer: PeB, LocalPref: > 100 }), $"PE_b tells {ingress.Name} {address}",
                    Patience.Long);
            }
        }

        // What PE_a was to do is given up, and what is sent still arrives.
        string id = begun.Migration!.Id;
        await Patience.ReadAsync(() => mms.MigrationAsync(id),
            m => m.Waiting.Count > 0 && m.Waiting.All(w => w.Step.EndsWith(" pe-a", StringComparison.Ordinal)),
            "nothing is waited for but PE_a", Patience.Long);
        await mms.AbortAsync(id, new AbortCall("it burnt down", ["pe-a"]));
        await Patience.ReadAsync(() => mms.MigrationAsync(id), m => m.State == "given-up", "the fail-over has ended", Patience.Long);
        foreach (EchoTraffic one in traffic)
        {
            await NothingAsync(one);
            one.Dispose();
        }
    }

    private async Task NothingAsync(EchoTraffic traffic)
    {
        EchoCount count = await traffic.SettleAsync();
        output.WriteLine($"{count}");
        Assert.NotEqual(0, count.Sent);
        Assert.Equal((0, 0), (count.Lost, count.Duplicated));
    }

    private static PeClient Client(RunningLab lab, string node) => new(new ApiEndpoint(node, lab.ApiSocket(node)));

    // By the peers' IPv4 loopbacks, whatever the family of the route.
    private static async Task<IReadOnlyList<RouteInfo>> RoutesAsync(PeClient pe, string address)
    {
        string host = address.Contains(':', StringComparison.Ordinal) ? address + "/128" : address + "/32";
        return [.. (await pe.RoutesAsync(prefix: host)).Where(r => r.Prefix == host)];
    }

    private static async Task<IReadOnlyList<EventRecord>> EventsAsync(PeClient pe)
    {
        List<EventRecord> events = [];
        using var patience = new CancellationTokenSource(Patience.Long);
        await foreach (EventRecord e in pe.EventsAsync(0, patience.Token))
        {
            events.Add(e);
            if (e is { Kind: "route", Change: "pe-failed" }) break;
        }

        return events;
    }
}
