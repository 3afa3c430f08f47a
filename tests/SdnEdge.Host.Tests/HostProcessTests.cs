using System.Diagnostics;
using System.Globalization;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Host.Tests.Drivers;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests;

/// <summary><c>sdnedge host</c> as a program, with the real stand-in: killed around stop and activate, started again.</summary>
[Trait("needs", "executable")]
public sealed class HostProcessTests
{
    [Fact]
    public async Task Check_gives_every_error_and_starts_nothing()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-host-").FullName;
        try
        {
            string file = Path.Combine(folder, "host.yaml");
            await File.WriteAllTextAsync(file,
                "name: host-a\nsite: dc-a\napi: { unix: x }\nstate: { folder: y }\nservers: []\nserver: []\n");
            using Process process = Start(file, "--check");
            string errors = await process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync();
            Assert.Equal(2, process.ExitCode);
            Assert.Contains("host.yaml:3:14: api.unix: ", errors, StringComparison.Ordinal);
            Assert.Contains("host.yaml:4:18: state.folder: ", errors, StringComparison.Ordinal);
            Assert.Contains("did you mean 'servers'?", errors, StringComparison.Ordinal);
            Assert.Contains("3 errors; nothing was started", errors, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [RootFact]
    public async Task An_agent_killed_after_stop_resumes_nothing_and_goes_on_where_it_was()
    {
        using var space = new ServerSpace();
        await using var a = new Agent(space, "leg-a", runs: true);
        await using var b = new Agent(space, "leg-b", runs: false);
        await a.StartAsync();
        await b.StartAsync();
        await b.Client.OrderAsync("vs", ServerOrder.Prepare, new(1, "m", MigrationRole.Target, "leg-a"));
        await a.Client.OrderAsync("vs", ServerOrder.Prepare, new(1, "m", MigrationRole.Source, "leg-b"));

        // In the middle of the stop: while the copy is made the server stands still already.
        Task<ServerReply> stop = a.Client.OrderAsync("vs", ServerOrder.Stop, new(1, "m", CopyMs: 60_000));
        await UntilAsync(() => Task.FromResult(!space.IsIn("leg-a")));
        await a.KillAsync();
        await Assert.ThrowsAsync<ApiUnreachableException>(() => stop);
        await a.StartAsync();
        await UntilAsync(async () => (await a.Client.ServerAsync("vs")).State == ServerState.Paused);
        ServerInfo info = await a.Client.ServerAsync("vs");
        Assert.Null(info.MayRun);
        Assert.Contains("unfinished", info.Fault, StringComparison.Ordinal);
        Assert.True(space.Frozen);
        Assert.False((await a.Client.OrderAsync("vs", ServerOrder.Stop, new(1, "m"))).Repeated);

        // After it.
        await a.KillAsync();
        await a.StartAsync();
        Assert.Equal(ServerState.Paused, (await a.Client.OrderAsync("vs", ServerOrder.Stop, new(1, "m"))).State);
        Assert.True(space.Frozen);
        Assert.Equal(ServerState.Running, (await b.Client.OrderAsync("vs", ServerOrder.Activate, new(1, "m"))).State);
        Assert.False(space.Frozen);

        // And around activate, at the other end.
        await b.KillAsync();
        Assert.False(space.Frozen);   // what runs goes on
        await b.StartAsync();
        Assert.Equal(ServerState.Running, (await b.Client.OrderAsync("vs", ServerOrder.Activate, new(1, "m"))).State);
        Assert.True((await b.Client.OrderAsync("vs", ServerOrder.Activate, new(1, "m"))).Repeated);
        Assert.Equal(EpochVerdict.Ran, (await b.Client.OrderAsync("vs", ServerOrder.Void, new(1, "m"))).Verdict);
        Assert.Equal(ServerState.Absent, (await a.Client.OrderAsync("vs", ServerOrder.Retire, new(1, "m"))).State);
        Assert.Equal((false, true, false), (space.IsIn("leg-a"), space.IsIn("leg-b"), space.Frozen));
        foreach (ServerInfo server in (ServerInfo[])[await a.Client.ServerAsync("vs"),
            await b.Client.ServerAsync("vs")]) Assert.Null(server.Fault);
    }

    [RootFact]
    public async Task Killed_at_a_random_moment_of_each_order_it_ends_the_same_after_the_order_again()
    {
        using var space = new ServerSpace();
        await using var a = new Agent(space, "leg-a", runs: true);
        await using var b = new Agent(space, "leg-b", runs: false);
        await a.StartAsync();
        await b.StartAsync();
        var random = new Random(7);
        await KillDuring(b, ServerOrder.Prepare, new(1, "m", MigrationRole.Target), ServerState.Incoming);
        await KillDuring(a, ServerOrder.Prepare, new(1, "m", MigrationRole.Source), ServerState.Running);
        await KillDuring(a, ServerOrder.Stop, new(1, "m"), ServerState.Paused);
        Assert.True(space.Frozen);
        await KillDuring(a, ServerOrder.Resume, new(2, "m"), ServerState.Running);
        await KillDuring(b, ServerOrder.Cancel, new(2, "m"), ServerState.Absent);
        Assert.Equal((true, false, false), (space.IsIn("leg-a"), space.IsIn("leg-b"), space.Frozen));
        await KillDuring(b, ServerOrder.Prepare, new(3, "m", MigrationRole.Target), ServerState.Incoming);
        await KillDuring(a, ServerOrder.Prepare, new(3, "m", MigrationRole.Source), ServerState.Running);
        await KillDuring(a, ServerOrder.Stop, new(3, "m"), ServerState.Paused);
        await KillDuring(b, ServerOrder.Activate, new(3, "m"), ServerState.Running);
        await KillDuring(a, ServerOrder.Retire, new(3, "m"), ServerState.Absent);
        Assert.Equal((false, true, false), (space.IsIn("leg-a"), space.IsIn("leg-b"), space.Frozen));

        async Task KillDuring(Agent agent, ServerOrder order, ServerOrderRequest request, ServerState state)
        {
            Task<ServerReply> first = agent.Client.OrderAsync("vs", order, request);
            await Task.WhenAny(first, Task.Delay(random.Next(25)));   // any moment will do: what is asserted holds for all
            await agent.KillAsync();
            await first.ContinueWith(_ => { }, TaskScheduler.Default);
            await agent.StartAsync();
            Assert.False(space.IsIn("leg-a") && space.IsIn("leg-b"));
            Assert.Equal(state, (await agent.Client.OrderAsync("vs", order, request)).State);
        }
    }

    private static Process Start(string config, params string[] more)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        var start = new ProcessStartInfo(self[0]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in (string[])[.. self.Skip(1), "host", "--config", config, .. more]) start.ArgumentList.Add(word);
        return Process.Start(start)!;
    }

    private static Task UntilAsync(Func<Task<bool>> condition) => Patience.UntilAsync(condition, () => "the agent does not say so");

    private sealed class Agent : IAsyncDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-host-").FullName;
        private readonly string _config;
        private Process? _process;

        public Agent(ServerSpace space, string leg, bool runs)
        {
            _config = Path.Combine(_folder, "host.yaml");
            File.WriteAllText(_config, string.Create(CultureInfo.InvariantCulture, $$"""
                name: host-{{leg}}
                site: {{leg}}
                api: { unix: {{_folder}}/host.sock }
                state: { folder: {{_folder}}/state }
                servers:
                  - name: vs
                    runs: {{(runs ? "true" : "false")}}
                    standIn: { namespace: {{space.Name}}, leg: {{leg}}, mac: "02:00:00:00:01:10", addresses: [10.1.1.10, "fd00:1:1::10"] }
                """));
            Client = new HostClient(new ApiEndpoint(leg, Path.Combine(_folder, "host.sock")));
        }

        public HostClient Client { get; }

        public async Task StartAsync()
        {
            _process = HostProcessTests.Start(_config);
            string? line = await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience.Time);
            Assert.True(line?.Contains(": ready", StringComparison.Ordinal) == true, line ?? await _process.StandardError.ReadToEndAsync());
        }

        public async Task KillAsync()
        {
            _process!.Kill();
            await _process.WaitForExitAsync();
            _process.Dispose();
            _process = null;
        }

        public async ValueTask DisposeAsync()
        {
            if (_process is not null) await KillAsync();
            Client.Dispose();
            Directory.Delete(_folder, recursive: true);
        }
    }
}
