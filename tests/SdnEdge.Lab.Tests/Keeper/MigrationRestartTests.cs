using System.Net;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>A PE with a keeper whose process is ended by SIGKILL in the middle of a migration.</summary>
[Trait("needs", "executable")]
public sealed class MigrationRestartTests(ITestOutputHelper output)
{
    private static readonly HoldOptions LongHold = new(MaxMilliseconds: 600_000);

    [RootFact]
    public async Task A_source_that_is_killed_goes_on_as_it_was_and_takes_signals_when_it_forwards()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();

        // Read at the first restart: a server that moves has a route of its own, here and at the target.
        await rig.ChangeAsync("advertise: [connected]", "advertise: [connected, static]");
        await rig.ChangeAsync("static:\n", "static:\n  - { prefix: 10.1.0.10/32, port: a }\n");
        var server = new MovingPrefix("10.1.0.10/32", "a");
        var asSource = new SignalRequest(1, MigrationRole.Source, "default", [server], "10.255.0.2", 77);
        await rig.Next.SignalAsync("m1", SignalKind.Prepare,
            new SignalRequest(1, MigrationRole.Target, "default", [server with { Port = "c" }], "10.255.0.1", 77, LongHold));
        await rig.Kept.SignalAsync("m1", SignalKind.Prepare, asSource);

        await KillAsync(rig, 1);
        await AnswersAsync(rig, "hb", "10.1.0.10");
        Assert.True((await rig.Kept.SignalAsync("m1", SignalKind.Prepare, asSource)).Repeated);
        await rig.UntilAsync("the tunnel is probed again", async pe => (await pe.MigrationAsync("m1")).TunnelUp);

        Assert.False((await rig.Kept.SignalAsync("m1", SignalKind.Switch, new SignalRequest(1))).Repeated);
        using Socket client = rig.SocketOf("hb", "10.2.0.10", 5000);
        await HeldAsync(rig, client);
        KeeperRig.Kill(await rig.PeAsync());

        // An answer means that it is so: it does not come before this process forwards.
        await rig.UntilAsync("the signal is answered",
            async pe => (await pe.SignalAsync("m1", SignalKind.Switch, new SignalRequest(1))).Repeated);
        Assert.Equal("connected", (await rig.Kept.KeeperAsync()).State);
        await rig.TakenBackAsync(2);
        Assert.Equal("tunnel", Assert.Single(await rig.Kept.GroupsAsync()).Active);
        await HeldAsync(rig, client);

        await rig.Kept.SignalAsync("m1", SignalKind.Abort, new SignalRequest(2));
        await rig.Next.SignalAsync("m1", SignalKind.Abort, new SignalRequest(2));
        await KillAsync(rig, 3);
        ApiProblemException late =
            await Assert.ThrowsAsync<ApiProblemException>(() => rig.Kept.SignalAsync("m1", SignalKind.Switch, new SignalRequest(1)));
        Assert.Equal("/problems/stale-epoch", late.Problem.Type);
        await AnswersAsync(rig, "hb", "10.1.0.10");
        Assert.Empty(await rig.Kept.GroupsAsync());
        output.WriteLine(rig.Said);
    }

    [RootFact]
    public async Task A_target_that_is_killed_goes_on_delivering_and_advertising()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();

        // The client is 10.2.0.20 at hb; the server moves from hb, which has no more of it, to ha. Its site has its subnet from the first
        // restart on.
        await rig.ChangeAsync("addresses: [10.1.0.1/24]", "addresses: [10.1.0.1/24, 10.2.0.9/29]");
        foreach (string line in (string[])
        [
            "-n hb address del 10.2.0.10/24 dev eth0", "-n hb address add 10.2.0.20/32 dev eth0", "-n hb route add 10.2.0.1 dev eth0",
            "-n hb route add default via 10.2.0.1 src 10.2.0.20", "-n ha address add 10.2.0.10/32 dev eth0",
        ])
        {
            string[] words = line.Split(' ');
            words[1] = rig.Space(words[1]);
            await KeeperRig.RunAsync("ip", words);
        }

        var server = new MovingPrefix("10.2.0.10/32", "a");
        var one = new SignalRequest(1);
        await rig.Kept.SignalAsync("m1", SignalKind.Prepare,
            new SignalRequest(1, MigrationRole.Target, "default", [server], "10.255.0.2", 77, LongHold));
        await rig.Next.SignalAsync("m1", SignalKind.Prepare,
            new SignalRequest(1, MigrationRole.Source, "default", [server with { Port = "c" }], "10.255.0.1", 77));
        await KillAsync(rig, 1);
        Assert.Equal("hold", Assert.Single(await rig.Kept.GroupsAsync()).Active);

        await rig.Next.SignalAsync("m1", SignalKind.Switch, one);
        await rig.Kept.SignalAsync("m1", SignalKind.Release, one);
        await rig.Kept.SignalAsync("m1", SignalKind.Advertise, one with { LocalPref = 250 });
        await AnswersAsync(rig, "hb", "10.2.0.10");
        await rig.UntilAsync("pe-n has the route", HasRouteAsync, rig.Next);
        await KillAsync(rig, 2);
        Assert.True((await rig.Kept.SignalAsync("m1", SignalKind.Advertise, one with { LocalPref = 250 })).Repeated);
        await AnswersAsync(rig, "hb", "10.2.0.10");
        await rig.UntilAsync("pe-n has been told the route again", HasRouteAsync, rig.Next);

        await rig.Next.SignalAsync("m1", SignalKind.Withdraw, one);
        await rig.Next.SignalAsync("m1", SignalKind.Teardown, one);
        await rig.Kept.SignalAsync("m1", SignalKind.Teardown, one);
        await KillAsync(rig, 3);
        await AnswersAsync(rig, "hb", "10.2.0.10");
        await rig.UntilAsync("pe-n has been told the route again", HasRouteAsync, rig.Next);
        Assert.Empty(await rig.Kept.GroupsAsync());
        Assert.Empty(await rig.Kept.TunnelsAsync());
        output.WriteLine(rig.Said);

        static async Task<bool> HasRouteAsync(PeClient pe) => (await pe.RoutesAsync(null, "10.2.0.10/32", default))
            .Any(r => r is { Source: "bgp", Best: true, LocalPref: 250, Stale: false });
    }

    private static async Task KillAsync(KeeperRig rig, int takeovers)
    {
        KeeperRig.Kill(await rig.PeAsync());
        await rig.TakenBackAsync(takeovers);
    }

    private static Task AnswersAsync(KeeperRig rig, string from, string address) => rig.UntilAsync($"{from} gets an answer from {address}",
        async _ => (await KeeperRig.RunAsync("ip", "netns", "exec", rig.Space(from), "sh", "-c", $"ping -c 1 -W 1 {address} || true"))
            .Contains(" 0% packet loss", StringComparison.Ordinal));

    // More than there were.
    private static async Task HeldAsync(KeeperRig rig, Socket client)
    {
        long before = (await rig.Next.MigrationAsync("m1")).Hold!.PacketsHeldNow;
        await rig.UntilAsync("packets are held at pe-n", async pe =>
        {
            await client.SendToAsync(new byte[64], SocketFlags.None, new IPEndPoint(IPAddress.Parse("10.1.0.10"), 5000));
            return (await pe.MigrationAsync("m1")).Hold!.PacketsHeldNow > before;
        }, rig.Next);
    }
}
