using System.Net;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>A service without state, an instance at each of two sites (topologies/stateless.clab.yml): the network alone moves.</summary>
[Trait("needs", "executable")]
public sealed class StatelessTests(ITestOutputHelper output)
{
    private static readonly string[] s_addresses = ["10.1.1.10", "fd00:1:1::10"];

    [RootFact]
    public async Task The_network_moves_there_and_back_under_traffic_and_not_to_an_instance_that_is_dead()
    {
        await using LabInstance instance = LabInstance.WithFiles(LabFiles.Stateless);
        RunningLab lab = await instance.DeployAsync();
        foreach (string address in s_addresses) await LabInstance.ReachAsync(lab, "client-c", address);
        using EchoTraffic traffic =
            EchoTraffic.Start(lab, "client-c", s_addresses.Select(IPAddress.Parse), TimeSpan.FromMilliseconds(10));
        await AnswersAsync(lab, "instance-a", "instance-b");
        Nothing(await traffic.SettleAsync());

        // Cut off it answers nobody. The manager finds that out before it switches anything.
        await LabInstance.RunAsync(lab, "instance-b", "ip", "link", "set", "leg", "nomaster");
        (int refused, string state, string why) = await MoveAsync(instance, "dc-b");
        Assert.True(refused == 1, why + state);
        Assert.Contains("no answer has come from", why + state, StringComparison.Ordinal);
        Assert.Contains("10.1.1.10 on port dc", why + state, StringComparison.Ordinal);
        Nothing(await traffic.SettleAsync());
        await AnswersAsync(lab, "instance-a", "instance-b");
        await LabInstance.RunAsync(lab, "instance-b", "ip", "link", "set", "leg", "master", "eth0");

        foreach ((string to, string here, string there) in ((string, string, string)[])[("dc-b", "instance-b", "instance-a"),
            ("dc-a", "instance-a", "instance-b"), ("dc-b", "instance-b", "instance-a")])
        {
            (int code, string moved, string news) = await MoveAsync(instance, to);
            Assert.True(code == 0, news + moved);
            Nothing(await traffic.SettleAsync());
            await AnswersAsync(lab, here, there);
            Nothing(await traffic.SettleAsync());
        }
    }

    // What both instances answer is the same: whose answers they are is what each has received.
    private static async Task AnswersAsync(RunningLab lab, string here, string there)
    {
        long before = await LabInstance.ReceivedAsync(lab, here), elsewhere = await LabInstance.ReceivedAsync(lab, there);
        await Patience.ReadAsync(() => LabInstance.ReceivedAsync(lab, here), now => now >= before + 100, $"{here} answers", Patience.Long);
        Assert.Equal(elsewhere, await LabInstance.ReceivedAsync(lab, there));
    }

    private void Nothing(EchoCount count)
    {
        output.WriteLine($"{count}");
        Assert.NotEqual(0, count.Sent);
        Assert.Equal((0, 0), (count.Lost, count.Duplicated));
    }

    private static Task<(int Code, string Output, string News)> MoveAsync(LabInstance instance, string to)
        => MigrateCommandTests.MoveAsync(instance, to, 0, group: "sip");
}
