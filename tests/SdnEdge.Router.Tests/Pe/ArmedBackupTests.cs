using SdnEdge.Core.Api;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// Armed backups over the API of two PEs in this process, under traffic: a source that switches by itself when its site fails, and goes
/// back by itself when it was a false alarm. What is watched is the server's own ARP.
/// </summary>
public sealed class ArmedBackupTests
{
    private static SignalRequest Armed => Prepare(MigrationRole.Source) with { Watch = [new WatchedPart(Neighbor: "10.1.1.10")] };

    [Fact]
    public async Task It_flips_when_what_it_watches_fails_and_the_switch_confirms_it()
    {
        await using TwoPes two = await StartAsync();
        using Traffic traffic = await ArmAsync(two);
        traffic.PauseServer();
        await IsAsync(two, PeMigrationState.Flipped);
        await traffic.RunAsync(300);
        await UntilAsync("what comes is held at B", async () => (await AtAsync(two.ApiB)).Hold!.PacketsHeldNow >= 300);
        BackupInfo backup = (await AtAsync(two.ApiA)).Backup!;
        Assert.Equal((backup.FalseAlarms + 1, WatchState.Down), (backup.Flips, backup.Watch[0].State));
        Assert.True(backup.NoticedAtNs <= backup.FlippedAtNs && backup.FlippedAtNs <= backup.AcknowledgedAtNs);
        Assert.Contains(two.A.Events.After(0, out _), e => e.Change == "flipped" && e.Detail == "neighbour 10.1.1.10: it does not answer");

        SignalReply confirmed = await SignalAsync(two.ApiA, SignalKind.Switch);
        Assert.Equal((PeMigrationState.Switched, false), (confirmed.State, confirmed.Repeated));
        traffic.ResumeServerAtB();
        await SignalAsync(two.ApiB, SignalKind.Release);
        await traffic.RunAsync(100);
        await SignalAsync(two.ApiB, SignalKind.Advertise);
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        await UntilAsync("the hold is empty", async () => (await AtAsync(two.ApiB)).Hold!.State == "released");
        await SignalAsync(two.ApiA, SignalKind.Teardown);
        await SignalAsync(two.ApiB, SignalKind.Teardown);
        await traffic.ArrivesAsync(two);
        await NothingIsLeftAsync(two);
    }

    [Fact]
    public async Task A_false_alarm_is_taken_back_in_order_and_nothing_is_lost()
    {
        await using TwoPes two = await StartAsync();
        using Traffic traffic = await ArmAsync(two);
        for (int alarm = 1; alarm <= 3; alarm++)
        {
            traffic.ServerAtAAnswers = false;
            await IsAsync(two, PeMigrationState.Flipped);
            await traffic.RunAsync(400);
            await UntilAsync("some are held at B", async () => (await AtAsync(two.ApiB)).Hold!.PacketsHeldNow > 0);
            traffic.ServerAtAAnswers = true;

            // Under traffic, all the way back.
            Task back = IsAsync(two, PeMigrationState.Prepared);
            while (!back.IsCompleted) await traffic.RunAsync(50);
            await back;
            await traffic.RunAsync(100);
            await traffic.ArrivesAsync(two);
            BackupInfo backup = (await AtAsync(two.ApiA)).Backup!;
            Assert.True(backup.Flips >= alarm && backup.FalseAlarms == backup.Flips && backup.BackAtNs > backup.FlippedAtNs, $"{backup}");
        }

        // A machine that stands still for longer than a return may take costs the order, and says so; nothing else does.
        long[] received = [.. traffic.Received];
        long[] sent = [.. Enumerable.Range(0, (int)traffic.Sent).Select(i => (long)i)];
        Assert.Equal(sent, received.Order());
        if ((await AtAsync(two.ApiA)).Backup!.Unordered == 0) Assert.Equal(sent, received);
        MigrationInfo target = await AtAsync(two.ApiB);
        Assert.Equal((PeMigrationState.Prepared, "armed", 0L), (target.State, target.Hold!.State, target.Hold.PacketsHeldNow));

        // It is as it was: it can be disarmed, or used.
        await SignalAsync(two.ApiA, SignalKind.Abort);
        await SignalAsync(two.ApiB, SignalKind.Abort);
        await NothingIsLeftAsync(two);
    }

    [Fact]
    public async Task A_confirmed_flip_does_not_go_back_by_itself()
    {
        await using TwoPes two = await StartAsync();
        using Traffic traffic = await ArmAsync(two);
        traffic.ServerAtAAnswers = false;
        await IsAsync(two, PeMigrationState.Flipped);
        await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(2));
        traffic.ServerAtAAnswers = true;
        await traffic.RunAsync(100);
        await UntilAsync("it is held", async () => (await AtAsync(two.ApiB)).Hold!.PacketsHeldNow >= 100);
        MigrationInfo source = await AtAsync(two.ApiA);
        Assert.Equal((PeMigrationState.Switched, source.Backup!.FalseAlarms + 1), (source.State, source.Backup.Flips));

        // The order of an earlier epoch changes nothing, the later one takes it back.
        await ProblemAsync(PostAsync(two.ApiA, SignalKind.Abort), 409);
        await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(3));
        await SignalAsync(two.ApiB, SignalKind.Abort, new SignalRequest(3));
        await traffic.ArrivesAsync(two);
        await NothingIsLeftAsync(two);
    }

    [Fact]
    public async Task Killed_while_it_is_flipped_it_is_flipped_again_and_finds_out_that_all_is_well()
    {
        await using TwoPes two = await StartAsync();
        using Traffic traffic = await ArmAsync(two);
        traffic.ServerAtAAnswers = false;
        await IsAsync(two, PeMigrationState.Flipped);
        await UntilAsync("it is on disk", () => Task.FromResult(Kept(two.StateA).Contains("\"flipped\"", StringComparison.Ordinal)));
        await two.RestartAAsync();
        await traffic.RunAsync(100);
        await UntilAsync("it goes into the tunnel", async () => (await AtAsync(two.ApiB)).Hold!.PacketsHeldNow >= 100);
        Assert.Equal(PeMigrationState.Flipped, (await AtAsync(two.ApiA)).State);
        traffic.ServerAtAAnswers = true;
        await IsAsync(two, PeMigrationState.Prepared);
        await traffic.ArrivesAsync(two);
        Assert.Equal(Enumerable.Range(0, (int)traffic.Sent).Select(i => (long)i), traffic.Received.Order());
    }

    [Fact]
    public async Task A_target_that_has_died_does_not_keep_the_packets_of_a_false_alarm()
    {
        await using TwoPes two = await StartAsync();
        using Traffic traffic = await ArmAsync(two);
        traffic.ServerAtAAnswers = false;
        await IsAsync(two, PeMigrationState.Flipped);
        await two.StopBAsync();
        traffic.ServerAtAAnswers = true;
        await IsAsync(two, PeMigrationState.Prepared);
        Assert.True((await AtAsync(two.ApiA)).Backup!.Unordered >= 1);
        long before = traffic.Sent;
        await traffic.RunAsync(100);
        await UntilAsync("all since go to the server", () => Task.FromResult(traffic.Received.Count(n => n >= before) == 100));
    }

    [Fact]
    public async Task What_was_never_seen_working_flips_nothing_and_is_shown()
    {
        await using TwoPes two = await StartAsync();
        using var traffic = new Traffic(two);
        traffic.PauseServer();
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Armed);
        await UntilAsync("it has been asked in vain",
            async () => (await AtAsync(two.ApiA)).Backup!.Watch[0].Why == "it does not answer");
        MigrationInfo source = await AtAsync(two.ApiA);
        Assert.Equal((PeMigrationState.Prepared, WatchState.Unknown, 0),
            (source.State, source.Backup!.Watch[0].State, source.Backup.Flips));
        Assert.Equal("nothing that it watches is seen working: it does not answer", source.Backup.Unready);
    }

    [Fact]
    public async Task All_that_is_wrong_with_what_is_to_be_watched_is_said_at_once()
    {
        await using TwoPes two = await StartAsync();
        Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with
        {
            Watch = [new WatchedPart("10.1.1.300"), new WatchedPart(), new WatchedPart("10.1.1.9", "eth0"),
                new WatchedPart(Carrier: "no such"), new WatchedPart(Neighbor: "224.0.0.1"), new WatchedPart(Carrier: "lo"),
                new WatchedPart(Carrier: "lo")],
        }), 400);
        Assert.Equal(
            ["/watch/0/bfd", "/watch/1", "/watch/2", "/watch/3/carrier", "/watch/4/neighbor", "/watch/6"],
            problem.Errors!.Select(e => e.Pointer));
        problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with
        {
            Watch = [new WatchedPart("10.9.9.9"), new WatchedPart(Carrier: "nosuchdevice"), new WatchedPart(Neighbor: "10.77.0.1")],
        }), 400);
        Assert.Equal(
            ["this PE has no BFD session with 10.9.9.9 in VRF 'default' or in the default VRF; add it under bfd: sessions: in its "
                + "configuration",
                "there is no network device 'nosuchdevice' in this PE's namespace", "no port of VRF 'default' has 10.77.0.1 on its subnet"],
            problem.Errors!.Select(e => e.Detail));
        problem = await ProblemAsync(PostAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target) with
        {
            Watch = [new WatchedPart(Carrier: "lo")],
        }), 400);
        Assert.Equal("is for the source only; the target does not switch", Assert.Single(problem.Errors!).Detail);
    }

    // Both ends prepared, the server seen answering.
    private static async Task<Traffic> ArmAsync(TwoPes two)
    {
        var traffic = new Traffic(two);
        await traffic.RunAsync(50);
        await traffic.ArrivesAsync(two);
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Armed);
        await UntilAsync("the server is seen", async () => (await AtAsync(two.ApiA)).Backup is { Unready: null });
        return traffic;
    }

    // What the PE would find after a crash. It may be replacing it meanwhile.
    private static string Kept(string folder)
    {
        using var file = new FileStream(Path.Combine(folder, "migrations"), FileMode.Open, FileAccess.Read,
            FileShare.ReadWrite | FileShare.Delete);
        using var text = new StreamReader(file);
        return text.ReadToEnd();
    }

    private static Task<MigrationInfo> AtAsync(HttpClient api) => GetAsync<MigrationInfo>(api, "v1/migrations/m1");

    private static Task IsAsync(TwoPes two, PeMigrationState state)
        => UntilAsync($"the source is {state}", async () => (await AtAsync(two.ApiA)).State == state);

    private static async Task NothingIsLeftAsync(TwoPes two)
    {
        foreach (HttpClient api in (HttpClient[])[two.ApiA, two.ApiB])
        {
            await UntilAsync("nothing is left", async () => (await AtAsync(api)).LeftOver is { Count: 0 });
            Assert.Contains("sdnedge_control_faults_total 0", await api.GetStringAsync("metrics"), StringComparison.Ordinal);
        }
    }
}
