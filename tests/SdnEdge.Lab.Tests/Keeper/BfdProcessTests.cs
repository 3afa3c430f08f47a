using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>
/// BFD of PEs as programs, which is a process of its own. Detection takes 20 s here: a machine that stands still for a while must
/// not be taken for a failure, and nothing below waits for it to expire.
/// </summary>
[Trait("needs", "executable")]
public sealed class BfdProcessTests(ITestOutputHelper output)
{
    private const string Slow = "{ interval: 200, multiplier: 100 }";

    [RootFact]
    public async Task A_peer_that_uses_BFD_does_not_notice_that_a_PE_with_a_keeper_was_killed()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync(bfd: Slow);
        await UpAsync(rig);
        BfdSessionInfo before = await SessionAsync(rig.Next);
        int speaker = (await rig.Kept.BfdAsync()).ProcessId;

        // What a terminal or a service manager sends to all processes at once is for the PE.
        foreach (ProcessSignal signal in (ProcessSignal[])[ProcessSignal.Interrupt, ProcessSignal.HangUp, ProcessSignal.Terminate])
            Signals.Send(speaker, signal);
        using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), 1000);
        await there.MoreAsync(500);
        for (int kill = 1; kill <= 2; kill++)
        {
            KeeperRig.Kill(await rig.PeAsync());
            await rig.TakenBackAsync(kill);
            await rig.UntilAsync("BGP is up again, and the new PE knows the session",
                async k => (await k.BgpPeersAsync())[0].State == "established" && (await SessionAsync(k)).State == "up");
        }

        await there.MoreAsync(500);
        long lost = await there.EndAsync();
        await UpAsync(rig);
        BfdSessionInfo after = await SessionAsync(rig.Next), own = await SessionAsync(rig.Kept);
        output.WriteLine($"{before}\n{after}\n{own}; lost {lost} of {there.Sent}");

        // The same session all the time, of the same process, and the peer's routes were never taken for lost.
        Assert.Equal((0L, 1L, before.RemoteDiscriminator), (after.Downs, after.Ups, after.RemoteDiscriminator));
        Assert.Equal((0L, 1L, after.RemoteDiscriminator), (own.Downs, own.Ups, own.LocalDiscriminator));
        Assert.Equal((speaker, 0L), ((await rig.Kept.BfdAsync()).ProcessId, (await rig.Kept.BfdAsync()).Restarts));
        Assert.True(after.PacketsReceived > before.PacketsReceived);
    }

    [RootFact]
    public async Task A_BFD_process_that_was_killed_is_started_again_and_the_path_is_not_down_for_that()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync(bfd: Slow);
        await UpAsync(rig);
        int first = (await rig.Kept.BfdAsync()).ProcessId;
        Signals.Send(first, ProcessSignal.Kill);
        await rig.UntilAsync("another process speaks", async k => await k.BfdAsync() is { Restarts: 1 } bfd && bfd.ProcessId != first
            && bfd.ProcessId != 0);
        await UpAsync(rig);
        List<EventRecord> events = [];
        using var patience = new CancellationTokenSource(Patience.Long);
        await foreach (EventRecord e in rig.Kept.EventsAsync(0, patience.Token))
        {
            events.Add(e);
            if (e is { Kind: "bfd", Change: "up" } && events.Any(x => x is { Kind: "bfd", Change: "process-ended" })) break;
        }

        Assert.DoesNotContain(events, e => e is { Kind: "bfd", Change: "down" });
    }

    [RootFact]
    public async Task A_PE_that_comes_back_with_another_configuration_ends_what_it_has_no_more()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync(bfd: Slow);
        await UpAsync(rig);
        int speaker = (await rig.Kept.BfdAsync()).ProcessId;
        await rig.ChangeAsync($", bfd: {Slow}", "");
        KeeperRig.Kill(await rig.PeAsync());
        await rig.TakenBackAsync(1);
        await rig.UntilAsync("the BFD process has ended", _ => Task.FromResult(ProcessStat.Read(speaker) is not { IsAlive: true }));
        await rig.UntilAsync("the peer knows that it was an operator",
            async n => await SessionAsync(n) is { State: "down", RemoteState: "admin-down" }, rig.Next);
        Assert.Equal("established", (await rig.Next.BgpPeersAsync())[0].State);
    }

    [RootFact]
    public async Task Stopped_the_PE_leaves_no_BFD_process_and_its_peer_is_told()
    {
        await using KeeperRig rig = await KeeperRig.StartAsync(bfd: Slow);
        await UpAsync(rig);
        int speaker = (await rig.Kept.BfdAsync()).ProcessId;
        Signals.Send(rig.Keeper.Id, ProcessSignal.Terminate);
        await rig.Keeper.WaitForExitAsync().WaitAsync(Patience.Long);
        await rig.UntilAsync("the BFD process has ended",
            _ => Task.FromResult(ProcessStat.Read(speaker) is not { IsAlive: true }), rig.Next);
        await rig.UntilAsync("the peer knows that it was an operator",
            async n => await SessionAsync(n) is { State: "down", RemoteState: "admin-down" }, rig.Next);
    }

    private static async Task<BfdSessionInfo> SessionAsync(Client.PeClient pe) => Assert.Single((await pe.BfdAsync()).Sessions);

    private static async Task UpAsync(KeeperRig rig)
    {
        // A process tells of itself each second only, and of a session at once.
        await rig.UntilAsync("pe-k's BFD session is up",
            async k => await k.BfdAsync() is { ProcessId: not 0, Sessions: [{ State: "up", RemoteState: "up" }] });
        await rig.UntilAsync("pe-n's BFD session is up", async n => await SessionAsync(n) is { State: "up", RemoteState: "up" }, rig.Next);
    }
}
