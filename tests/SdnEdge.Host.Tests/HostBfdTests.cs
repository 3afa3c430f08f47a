using System.Globalization;
using SdnEdge.Bfd;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace SdnEdge.Host.Tests;

/// <summary>
/// BFD of an agent, with a bare speaker in the PE's place, over the loopback device. Detection takes 6 s here: a machine that stands still
/// for less is not what is tried.
/// </summary>
public sealed class HostBfdTests : IDisposable
{
    private const int IntervalMs = 50, Multiplier = 120;

    private static int s_count;

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-host-").FullName;
    private readonly IpAddress _pe, _host;

    public HostBfdTests()
    {
        // Addresses of this test's own.
        int number = (Environment.ProcessId * 8) + Interlocked.Increment(ref s_count);
        string subnet = string.Create(CultureInfo.InvariantCulture, $"127.{64 + (number >> 8 & 63)}.{number & 255}.");
        (_pe, _host) = (IpAddress.Parse(subnet + "1"), IpAddress.Parse(subnet + "20"));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_host_answers_its_PE_shows_it_and_says_AdminDown_when_its_agent_is_stopped()
    {
        using var speaker = new BfdSpeaker(() => { });
        BfdWatch watch = Watch(speaker);
        HostAgent agent = await StartAsync();
        using HostClient client = Client();
        Await(watch, s => s is { State: BfdState.Up, RemoteState: BfdState.Up }, "up");
        BfdInfo shown = await Patience.ReadAsync(() => client.BfdAsync(), b => b.Sessions is [{ State: "up", RemoteState: "up" }],
            "the agent shows it");
        BfdSessionInfo session = shown.Sessions[0];
        Assert.Equal((_pe.ToString(), _host.ToString(), false, "default", null, Multiplier, 0L),
            (session.Peer, session.Local, session.Multihop, session.Vrf, session.Port, session.Multiplier, shown.Restarts));
        Assert.Contains(agent.Metrics(), m => m.Name == "sdnedge_bfd_session_up"
            && m.Samples is [{ Value: 1 } sample] && sample.Labels.Contains(("peer", _pe.ToString())));
        EventRecord[] told = [.. Told(agent)];
        EventRecord up = Assert.Single(told);
        Assert.Equal((_pe.ToString(), "up", $"{_pe} from {_host}: {Multiplier} x {IntervalMs} ms"), (up.Subject, up.Change, up.Detail));

        await agent.DisposeAsync();
        Await(watch, s => s.State != BfdState.Up, "down");
        Assert.Equal((BfdState.AdminDown, BfdDiagnostic.NeighborSignaledDown, 1L, 1L), (watch.Session.RemoteState,
            watch.Session.Diagnostic, watch.Session.Downs, watch.Session.AdministrativeDowns));
    }

    [Fact]
    public async Task A_PE_that_goes_down_and_comes_back_is_told_by_events_in_order()
    {
        using var speaker = new BfdSpeaker(() => { });
        BfdWatch watch = Watch(speaker);
        await using HostAgent agent = await StartAsync();
        Await(watch, s => s is { State: BfdState.Up, RemoteState: BfdState.Up }, "up");
        await Patience.UntilAsync(() => Told(agent).Any(e => e.Change == "up"), () => "the agent tells that it is up");
        speaker.SetAdminDown(watch.Session.Key, true);
        await Patience.UntilAsync(() => Told(agent).Any(e => e.Change == "down"), () => "the agent tells that it went down");
        speaker.SetAdminDown(watch.Session.Key, false);
        await Patience.UntilAsync(() => Told(agent).Count(e => e.Change == "up") == 2, () => "and that it is up again");
        Assert.Equal(["up", "down", "up"], Told(agent).Select(e => e.Change));
        Assert.Equal($"{_pe} from {_host}: neighbor-signaled-down", Told(agent).ElementAt(1).Detail);
    }

    [Fact]
    public async Task A_session_whose_port_another_program_has_is_told_once_and_had_when_that_is_gone()
    {
        using var speaker = new BfdSpeaker(() => { });
        BfdWatch watch = Watch(speaker);
        UdpBatchSocket taken = UdpBatchSocket.Open(new UdpEndpoint(_host, BfdLimits.SingleHopPort));
        await using HostAgent agent = await StartAsync();
        using HostClient client = Client();
        BfdInfo shown = await Patience.ReadAsync(() => client.BfdAsync(), b => b.Sessions is [{ State: "failed" }], "it cannot be had");
        Assert.Contains($"{_host}:3784", shown.Sessions[0].Diagnostic, StringComparison.Ordinal);
        Assert.True(agent.Node().Ready);
        taken.Dispose();
        Await(watch, s => s is { State: BfdState.Up, RemoteState: BfdState.Up }, "up");
        await Patience.UntilAsync(() => Told(agent).Any(e => e.Change == "up"), () => "the agent tells that it is up");
        Assert.Equal(["failed", "up"], Told(agent).Select(e => e.Change));
    }

    [Fact]
    public async Task A_BFD_process_that_ends_is_started_again_and_the_agent_goes_on()
    {
        int starts = 0;
        await using HostAgent agent = await StartAsync(_ =>
        {
            Interlocked.Increment(ref starts);
            return new ProcessStartInfo("true");
        });
        using HostClient client = Client();
        await Patience.ReadAsync(() => client.BfdAsync(), b => b.Restarts >= 3, "it is started again and again");
        Assert.InRange(Volatile.Read(ref starts), 3, int.MaxValue);
        EventRecord first = Told(agent).First();
        Assert.Equal(("host-a", "process-ended", "it was ended; another one is started, and 1 sessions anew"),
            (first.Subject, first.Change, first.Detail));
        Assert.Equal("starting", (await client.BfdAsync()).Sessions.Single().State);
        Assert.True((await client.NodeAsync()).Ready);
    }

    [Fact]
    public async Task A_program_that_does_not_start_leaves_the_agent_at_work()
    {
        await using HostAgent agent = await StartAsync(_ => new ProcessStartInfo(Path.Combine(_folder, "none")));
        using HostClient client = Client();
        await Patience.ReadAsync(() => client.BfdAsync(), b => b.Restarts >= 2, "it is tried again");
        Assert.StartsWith("the BFD process did not start: ", Told(agent).First().Detail, StringComparison.Ordinal);
        Assert.True((await client.NodeAsync()).Ready);
    }

    private static IEnumerable<EventRecord> Told(HostAgent agent) => agent.Events.After(0, out _).Where(e => e.Kind == "bfd");

    private static void Await(BfdWatch watch, Func<BfdSession, bool> so, string what)
        => Patience.Until(() => so(watch.Session),
            () => $"{what}; it is {watch.Session.State} ({watch.Session.Diagnostic}), the host {watch.Session.RemoteState}");

    private BfdWatch Watch(BfdSpeaker speaker)
        => speaker.Add(new BfdKey(_host, _pe, Multihop: false), BfdParameters.Every(IntervalMs, Multiplier));

    private Task<HostAgent> StartAsync(Func<int, ProcessStartInfo>? process = null) => HostAgent.StartAsync(
        new HostAgentConfig("host-a", "dc-a", new ApiConfig(Socket), Path.Combine(_folder, "state"), [],
            Bfd: [new BfdConfig(_pe, _host, Multihop: false, IntervalMs, Multiplier)]), bfdProcess: process);

    private string Socket => Path.Combine(_folder, "host.sock");

    private HostClient Client() => new(new ApiEndpoint("host-a", Socket));
}
