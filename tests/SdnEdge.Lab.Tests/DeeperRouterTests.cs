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
/// PE_a itself fails, and the router before it sends its packets to PE_b (topologies/deeper-router.clab.yml); ingress PEs of FRR and BIRD
/// know nothing.
/// </summary>
[Trait("needs", "executable")]
public sealed class DeeperRouterTests(ITestOutputHelper output)
{
    private const string Id = "sip", Server = "10.1.1.10";
    private static readonly string[] s_clients = ["client-c", "client-d"];

    [RootFact]
    public async Task The_router_before_a_dead_PE_takes_its_packets_to_the_other_site_and_behind_that_nothing_is_lost()
    {
        await using LabInstance instance = LabInstance.WithFiles(LabFiles.DeeperRouter);
        RunningLab lab = await instance.DeployAsync();
        using PeClient p = Client(lab, "p"), b = Client(lab, "pe-b");
        foreach (string client in s_clients) await LabInstance.ReachAsync(lab, client, Server);
        await b.SignalAsync(Id, SignalKind.Prepare, new SignalRequest(1, MigrationRole.Target, null, [new($"{Server}/32", "dc")],
            "10.255.0.10", 7, new HoldOptions(Disabled: true)));
        await p.SignalAsync(Id, SignalKind.Prepare, new SignalRequest(1, MigrationRole.Source, null,
            [new($"{Server}/32", "to-a", "172.17.0.1")], "10.255.0.2", 7, Watch: [new WatchedPart(Bfd: "172.17.0.1")]));
        await Patience.ReadAsync(() => p.MigrationAsync(Id), m => m.Backup is { Unready: null }, "p watches PE_a", Patience.Long);
        long atB = await LabInstance.ReceivedAsync(lab, "instance-b");

        // It dies without a word: nobody sends a FIN, and the link stays up.
        Signals.Send(lab.State.Processes.Single(x => x is { Node: "pe-a", Name: "pe" }).ProcessId, ProcessSignal.Kill);
        MigrationInfo flipped = await Patience.ReadAsync(() => p.MigrationAsync(Id), m => m.State == PeMigrationState.Flipped, "p flips",
            Patience.Long);
        Assert.Equal((1, 0), (flipped.Backup!.Flips, flipped.Backup.FalseAlarms));

        // From then on nothing is lost: not while the ingress PEs do not know, not when they do, not when the tunnel goes.
        EchoTraffic[] all = [.. s_clients.Select(c => EchoTraffic.Start(lab, c, [IPAddress.Parse(Server)], TimeSpan.FromMilliseconds(10)))];
        await Patience.ReadAsync(() => LabInstance.ReceivedAsync(lab, "instance-b"), now => now >= atB + 100, "instance-b answers both",
            Patience.Long);
        foreach (EchoTraffic traffic in all) await NothingAsync(traffic);
        await p.SignalAsync(Id, SignalKind.Switch, new SignalRequest(1));
        await b.SignalAsync(Id, SignalKind.Release, new SignalRequest(1));
        await b.SignalAsync(Id, SignalKind.Advertise, new SignalRequest(1, LocalPref: 200));
        foreach (string pe in (string[])["pe-c", "pe-d"])
        {
            await Patience.ReadAsync(() => LabInstance.RunAsync(lab, pe, "ip", "route", "get", Server),
                way => way.Contains("via 172.16.0.2 ", StringComparison.Ordinal), $"{pe} goes to PE_b directly", Patience.Long);
        }

        await p.SignalAsync(Id, SignalKind.Withdraw, new SignalRequest(1));
        await p.SignalAsync(Id, SignalKind.Teardown, new SignalRequest(1, WaitMs: 10_000));
        await b.SignalAsync(Id, SignalKind.Teardown, new SignalRequest(1));
        foreach (EchoTraffic traffic in all)
        {
            await NothingAsync(traffic);
            traffic.Dispose();
        }

        Assert.Empty((await p.MigrationAsync(Id)).LeftOver!);
        Assert.Empty((await b.MigrationAsync(Id)).LeftOver!);
    }

    private static PeClient Client(RunningLab lab, string node) => new(new ApiEndpoint(node, lab.ApiSocket(node)));

    private async Task NothingAsync(EchoTraffic traffic)
    {
        EchoCount count = await traffic.SettleAsync();
        output.WriteLine($"{count}");
        Assert.NotEqual(0, count.Sent);
        Assert.Equal((0, 0), (count.Lost, count.Duplicated));
    }
}
