using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A PE watches a server host by BFD, over a link of the default VRF and over one of a customer's:
/// <code>
///   [ pe ] dc   10.1.1.1 -------- 10.1.1.20 host, where an agent runs
///          red  10.7.0.1 -------- 10.7.0.20
/// </code>
/// Silence is found after 5 s: a machine that stands still for less is not what is tried.
/// </summary>
[Trait("needs", "executable")]
public sealed partial class HostBfdTests
{
    private const string Timers = "interval: 50, multiplier: 100";

    [RootFact]
    public async Task A_PE_notices_that_a_hosts_agent_was_killed_and_takes_one_that_is_stopped_for_no_failure()
    {
        await using LabInstance instance = LabInstance.Of("""
            name: LABNAME
            topology:
              nodes:
                pe: { kind: sdnedge-pe, startup-config: pe.yaml }
                host: { kind: linux, exec: [ip address add 10.1.1.20/24 dev eth1, ip address add 10.7.0.20/24 dev eth2] }
              links:
                - { endpoints: ["pe:eth1", "host:eth1"] }
                - { endpoints: ["pe:eth2", "host:eth2"] }
            """);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe.yaml"), Pe);
        string file = Path.Combine(instance.Root, "host.yaml"), socket = Path.Combine(instance.Root, "host.sock");
        await File.WriteAllTextAsync(file, $$"""
            name: host-a
            site: dc-a
            api: { unix: {{socket}} }
            state: { folder: {{Path.Combine(instance.Root, "host.state")}} }
            servers: []
            bfd:
              sessions:
                - { address: 10.1.1.1, local: 10.1.1.20, {{Timers}} }
                - { address: 10.7.0.1, local: 10.7.0.20, {{Timers}} }
            """);
        RunningLab lab = await instance.DeployAsync();
        using PeClient pe = PeClient.For(Path.Combine(instance.Folder, "pe.sock"));
        using var host = new HostClient(new ApiEndpoint("host-a", socket));
        Assert.Equal([("10.1.1.20", "default", "dc", false), ("10.7.0.20", "red", "red", false)],
            (await SessionsAsync()).Select(s => (s.Peer, s.Vrf, s.Port, s.Multihop)));

        // Killed, it takes its BFD process with it, which says nothing: the PE finds silence.
        using (Process agent = await StartAsync())
        {
            await UpAsync();
            BfdInfo shown = await host.BfdAsync();
            Assert.Equal([("10.1.1.1", "10.1.1.20", "up"), ("10.7.0.1", "10.7.0.20", "up")],
                shown.Sessions.Select(s => (s.Peer, s.Local, s.State)).Order());
            Assert.NotEqual(agent.Id, shown.ProcessId);

            // What a terminal or a service manager sends to all processes at once is for the agent.
            foreach (ProcessSignal signal in (ProcessSignal[])[ProcessSignal.Interrupt, ProcessSignal.HangUp, ProcessSignal.Terminate])
                Signals.Send(shown.ProcessId, signal);
            agent.Kill();
            await agent.WaitForExitAsync();
            await DownAsync("detection-time-expired");
            await Patience.UntilAsync(() => !Directory.Exists($"/proc/{shown.ProcessId}"), () => "its BFD process has ended");
        }

        // Stopped, it says so.
        using (Process agent = await StartAsync())
        {
            await UpAsync();
            long[] before = [.. (await SessionsAsync()).Select(s => s.Downs)];
            Signals.Send(agent.Id, ProcessSignal.Terminate);
            await agent.WaitForExitAsync();
            Assert.Equal(0, agent.ExitCode);
            IReadOnlyList<BfdSessionInfo> after = await DownAsync("neighbor-signaled-down");
            Assert.All(after, s => Assert.Equal("admin-down", s.RemoteState));
            Assert.Equal(before.Select(d => d + 1), after.Select(s => s.Downs));
        }

        // And a link that carries nothing any more, of one VRF: the other one's session knows nothing of it.
        using (Process agent = await StartAsync())
        {
            await UpAsync();
            await LabInstance.RunAsync(lab, "host", "ip", "link", "set", "eth2", "down");
            await Patience.UntilAsync(async () => (await SessionsAsync())[1] is { State: "down", Diagnostic: "detection-time-expired" },
                Seen);
            Assert.Equal("up", (await SessionsAsync())[0].State);
            Signals.Send(agent.Id, ProcessSignal.Terminate);
            await agent.WaitForExitAsync();
        }

        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());

        async Task<Process> StartAsync()
        {
            Process agent = lab.Start("host", [.. RunningLab.Self, "host", "--config", file], redirect: true);
            string? line = await agent.StandardOutput.ReadLineAsync().WaitAsync(Patience.Time);
            Match ready = Ready().Match(line ?? "");
            Assert.True(ready.Success, line ?? await agent.StandardError.ReadToEndAsync());
            Assert.Equal(agent.Id, int.Parse(ready.Groups["id"].ValueSpan, CultureInfo.InvariantCulture));
            return agent;
        }

        async Task<IReadOnlyList<BfdSessionInfo>> SessionsAsync() => [.. (await pe.BfdAsync()).Sessions.OrderBy(s => s.Peer)];

        Task UpAsync() => Patience.UntilAsync(
            async () => (await SessionsAsync()).All(s => s is { State: "up", RemoteState: "up", DetectionMilliseconds: 5000 })
                && (await host.BfdAsync()).Sessions.All(s => s.State == "up"), Seen);

        Task<IReadOnlyList<BfdSessionInfo>> DownAsync(string why)
            => Patience.ReadAsync(SessionsAsync, all => all.All(s => s.State == "down" && s.Diagnostic == why), why);

        string Seen() => string.Join("; ", SessionsAsync().GetAwaiter().GetResult());
    }

    private const string Pe = $$"""
        name: pe
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1]
        host: { device: host0 }
        vrfs: [ { name: default }, { name: red, key: 7 } ]
        ports:
          - { name: dc, device: tap-eth1, addresses: [10.1.1.1/24] }
          - { name: red, device: tap-eth2, vrf: red, addresses: [10.7.0.1/24] }
        bfd:
          sessions:
            - { address: 10.1.1.20, {{Timers}} }
            - { address: 10.7.0.20, vrf: red, {{Timers}} }
        """;

    [GeneratedRegex("ready, pid (?<id>[0-9]+)")]
    private static partial Regex Ready();
}
