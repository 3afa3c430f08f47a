using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Linux;
using SdnEdge.Mms;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>A PE with a keeper whose process is ended by SIGKILL, under traffic.</summary>
[Trait("needs", "executable")]
public sealed class KeeperTests(ITestOutputHelper output)
{
    // A packet that the process had in its memory when it was ended is lost; there is one batch of them at most for each end.
    private const int LostInMemory = 64;

    [RootFact]
    public async Task A_pe_killed_under_traffic_loses_nothing_that_was_not_in_its_memory_and_its_routes_stay_at_the_peer()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();
        using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 2000);
        using var back = new Numbered(rig.SocketOf("hb", "10.2.0.10", 5001), rig.SocketOf("ha", "10.1.0.10", 5001), 2000);
        await there.MoreAsync(1000);
        await back.MoreAsync(1000);

        int first = await rig.PeAsync();
        long killedAt = Monotonic.Now;
        KeeperRig.Kill(first);

        // The peer kept the routes over the end of the session, and has been told them again.
        await rig.UntilAsync("the session is up again", async peer =>
        {
            bool again = (await peer.BgpPeersAsync())[0] is { State: "established", GracefulEnds: 1 };
            return !Assert.Single(await peer.RoutesAsync(null, "10.1.0.0/24", default)).Stale && again;
        }, rig.Next);
        output.WriteLine($"killed to established again: {(Monotonic.Now - killedAt) / 1e6:0} ms");
        await rig.TakenBackAsync(1);
        output.WriteLine($"killed to forwarding again: {(Monotonic.Now - killedAt) / 1e6:0} ms");
        await NeverWentAsync(rig.Next, "10.1.0.0/24");
        await there.MoreAsync(1000);
        await back.MoreAsync(1000);

        KeeperInfo keeper = await rig.Kept.KeeperAsync();
        long lost = await there.EndAsync() + await back.EndAsync();
        output.WriteLine($"{keeper}; lost {lost} of {there.Sent + back.Sent}, longest gap "
            + $"{Math.Max(there.LongestGapMs, back.LongestGapMs):0.0} ms\n{rig.Said}");
        Assert.NotEqual(first, await rig.PeAsync());
        Assert.InRange(lost, 0, LostInMemory);
        Assert.Equal(1, keeper.Takeovers);
        Assert.True(keeper.Packets > 0, "the keeper forwarded nothing");
        await rig.UntilAsync("the keeper says why",
            _ => Task.FromResult(rig.Said.Contains("was ended by signal 9", StringComparison.Ordinal)));
    }

    /// <summary>Before, there was no session on a link: its kernel had neither of these addresses.</summary>
    [RootFact]
    public Task A_session_on_a_links_address_comes_back_through_the_keeper() => ComesBackAsync(i => $"172.16.0.{i}");

    [RootFact]
    public Task A_session_between_link_local_addresses_comes_back_through_the_keeper() => ComesBackAsync(i => $"fe80::ff:fe00:b00{i}%b");

    private static async Task ComesBackAsync(Func<int, string> addressOf)
    {
        await using KeeperRig rig = await KeeperRig.StartAsync(addressOf: addressOf);
        for (int life = 1; life <= 2; life++)
        {
            KeeperRig.Kill(await rig.PeAsync());
            int ends = life;
            await rig.UntilAsync("the session is up again", async peer =>
                (await peer.BgpPeersAsync())[0] is { State: "established" } up && up.GracefulEnds == ends
                && !Assert.Single(await peer.RoutesAsync(null, "10.1.0.0/24", default)).Stale, rig.Next);
            await rig.TakenBackAsync(life);
        }

        Assert.Equal(addressOf(2), (await rig.Kept.BgpPeersAsync())[0].Address);
        await NeverWentAsync(rig.Next, "10.1.0.0/24");
        await rig.UntilAsync("ha gets an answer from hb", async _ => (await KeeperRig.RunAsync("ip", "netns", "exec", rig.Space("ha"), "sh",
            "-c", "ping -c 1 -W 1 10.2.0.10 || true")).Contains(" 0% packet loss", StringComparison.Ordinal));
    }

    [RootFact]
    public async Task It_may_be_killed_again_before_it_has_taken_forwarding_back()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();
        using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 1000);
        await there.MoreAsync(500);
        int pe = await rig.PeAsync();
        const int Kills = 4;
        for (int kill = 0; kill < Kills; kill++)
        {
            // Each at another moment: as soon as the process is there, as it answers, as BGP comes up, as it forwards.
            pe = await KillAndAwaitNextAsync(rig, pe);
            if (kill == 1) await rig.UntilAsync("it answers", async k => (await k.NodeAsync()).ProcessId == pe);
            if (kill == 2)
                await rig.UntilAsync("BGP is up", async k => (await k.NodeAsync()).ProcessId == pe
                    && (await k.BgpPeersAsync())[0].State == "established");
        }

        await ForwardsAndHasLostLittleAsync(rig, there, pe, Kills);
    }

    [RootFact]
    public async Task It_may_be_killed_at_any_moment()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();
        using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 1000);
        await there.MoreAsync(500);
        int pe = await rig.PeAsync();
        const int Kills = 6;
        for (int kill = 0; kill < Kills; kill++)
        {
            pe = await KillAndAwaitNextAsync(rig, pe);

            // More of the traffic has passed each time: the start, the devices, BGP, the hand-over and the first whole state all have their
            // turn.
            await there.MoreAsync(kill * 200);
        }

        await ForwardsAndHasLostLittleAsync(rig, there, pe, Kills);
    }

    [RootFact]
    public async Task Frr_as_helper_keeps_the_routes_until_they_are_told_again()
    {
        using var frr = new FrrNext();
        await using KeeperRig rig = await KeeperRig.StartAsync(next: frr.StartAsync);
        using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 1000);
        using var back = new Numbered(rig.SocketOf("hb", "10.2.0.10", 5001), rig.SocketOf("ha", "10.1.0.10", 5001), 1000);
        // More than a second: FRR's clock for this counts seconds.
        await there.MoreAsync(1500);
        await back.MoreAsync(1500);
        long toldAt = frr.Route("10.1.0.0/24").ToldAt;
        KeeperRig.Kill(await rig.PeAsync());
        await rig.UntilAsync("FRR has the route anew", _ =>
        {
            (bool isThere, bool isStale, long now) = frr.Route("10.1.0.0/24");
            Assert.True(isThere, "FRR has let the route go");
            return Task.FromResult(now > toldAt && !isStale);
        });
        await rig.TakenBackAsync(1);
        await there.MoreAsync(500);
        await back.MoreAsync(500);
        long lost = await there.EndAsync() + await back.EndAsync();
        output.WriteLine($"lost {lost} of {there.Sent + back.Sent}, longest gap {Math.Max(there.LongestGapMs, back.LongestGapMs):0.0} "
            + $"ms\n{rig.Said}");
        Assert.InRange(lost, 0, LostInMemory);
    }

    [RootFact]
    public async Task Without_its_keeper_the_pe_goes_on_alone_and_says_so()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync();
        int pe = await rig.PeAsync();
        KeeperRig.Kill(rig.Keeper.Id);
        try
        {
            await rig.UntilAsync("it says so", async k => (await k.KeeperAsync()).State == "gone");
            using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 500);
            await there.MoreAsync(200);
            Assert.Equal(0, await there.EndAsync());
        }
        finally
        {
            Signals.Send(pe, ProcessSignal.Terminate);
            await rig.UntilAsync("it has stopped", _ => Task.FromResult(ProcessStat.Read(pe) is not { IsAlive: true }));
        }
    }

    [RootFact]
    public async Task Stopped_it_leaves_no_process_and_no_device()
    {
        string space;
        await using (KeeperRig rig = await KeeperRig.StartAsync())
        {
            space = rig.Space("k");
            int pe = await rig.PeAsync();
            Signals.Send(rig.Keeper.Id, ProcessSignal.HangUp);
            await rig.UntilAsync("the file was read again", _ => Task.FromResult(rig.Said.Contains("no change", StringComparison.Ordinal)));
            Signals.Send(rig.Keeper.Id, ProcessSignal.Terminate);
            await rig.Keeper.WaitForExitAsync().WaitAsync(Patience.Long);
            Assert.Equal(0, rig.Keeper.ExitCode);
            Assert.False(ProcessStat.Read(pe) is { IsAlive: true }, "the PE goes on");
            string links = await KeeperRig.RunAsync("ip", "-n", space, "-br", "link");
            Assert.DoesNotContain("tap-", links, StringComparison.Ordinal);
            Assert.DoesNotContain("host0", links, StringComparison.Ordinal);
            Assert.DoesNotContain("10.255.0.1", await KeeperRig.RunAsync("ip", "-n", space, "rule"), StringComparison.Ordinal);
        }

        Assert.False(Namespaces.Exists(space));
    }

    // By all that the peer has told, from its start until the session was up for the second time.
    private static async Task NeverWentAsync(PeClient peer, string prefix)
    {
        using var patience = new CancellationTokenSource(Patience.Long);
        int sessions = 0;
        await foreach (EventRecord e in peer.EventsAsync(0, patience.Token))
        {
            Assert.False(e is { Kind: "route", Change: "removed" } && e.Subject == prefix, $"the route went: {e}");
            if (e is { Kind: "bgp", Change: "established" } && ++sessions == 2) return;
        }

        Assert.Fail($"{sessions} sessions in the peer's events");
    }

    private static async Task<int> KillAndAwaitNextAsync(KeeperRig rig, int pe)
    {
        KeeperRig.Kill(pe);
        int next = 0;
        await rig.UntilAsync("there is another process", _ => Task.FromResult((next = ChildOf(rig.Keeper.Id)) != pe && next != 0));
        return next;
    }

    private async Task ForwardsAndHasLostLittleAsync(KeeperRig rig, Numbered there, int pe, int kills)
    {
        await rig.UntilAsync("it forwards", async k => (await k.NodeAsync()) is { Ready: true } node && node.ProcessId == pe);
        await there.MoreAsync(500);
        long lost = await there.EndAsync();
        output.WriteLine($"lost {lost} of {there.Sent}, longest gap {there.LongestGapMs:0.0} ms\n{rig.Said}");
        Assert.InRange(lost, 0, kills * LostInMemory);
    }

    // The child of the keeper, whether it answers or not; 0: none now.
    private static int ChildOf(int keeper)
    {
        foreach (string task in Directory.GetDirectories($"/proc/{keeper}/task"))
        {
            string file = Path.Combine(task, "children");
            foreach (string word in (File.Exists(file) ? File.ReadAllText(file) : "").Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                if (int.TryParse(word, out int pid) && ProcessStat.Read(pid) is { IsAlive: true }) return pid;
            }
        }

        return 0;
    }
}
