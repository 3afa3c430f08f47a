using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Host.Config;
using SdnEdge.Host.Qemu;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>A real guest under the agents of two hosts, which carry it to one another by mutual TLS.</summary>
public sealed class GuestAgentsTests : IAsyncLifetime, IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-agents-").FullName;
    private readonly TestAuthority _authority = new("hosts");
    private readonly Dictionary<string, int> _counters = new(StringComparer.Ordinal);
    private HostAgentConfig _configA = null!, _configB = null!;
    private HostAgent _a = null!, _b = null!;

    public async Task InitializeAsync()
    {
        int portA = TestAuthority.FreePort(), portB = TestAuthority.FreePort(portA);
        _configA = Config("host-a", portA, "host-b", portB, runs: true);
        _configB = Config("host-b", portB, "host-a", portA, runs: false);
        (_a, _b) = (await HostAgent.StartAsync(_configA), await HostAgent.StartAsync(_configB));
    }

    public async Task DisposeAsync()
    {
        await _a.DisposeAsync();
        await _b.DisposeAsync();
        foreach (HostAgentConfig config in (HostAgentConfig[])[_configA, _configB])
            await new QemuProcess(Path.Combine(config.StateFolder, "vs.run")).KillAsync(default);
        Directory.Delete(_folder, recursive: true);
    }

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task A_guest_moves_by_the_manager_s_orders_and_the_next_agent_goes_on_with_it()
    {
        Assert.Equal(ServerState.Absent, (await UntilAsync(_a, s => s.State != ServerState.Unknown)).State);
        await OrderAsync(_a, ServerOrder.Resume, 1);
        (long ticks, long bad) = await Guest.CountsAsync(_counters["host-a"], Patience.Time * 2);
        await MoveAsync(_a, _b, 2);

        // The agents are started anew; the guest notices nothing.
        await _b.DisposeAsync();
        await _a.DisposeAsync();
        (_a, _b) = (await HostAgent.StartAsync(_configA), await HostAgent.StartAsync(_configB));
        await UntilAsync(_b, s => s.State == ServerState.Running);
        await MoveAsync(_b, _a, 3);
        (long later, bad) = await Guest.CountsAsync(_counters["host-a"], Patience.Time * 2);
        Assert.True(later > ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    [Fact]
    public async Task A_move_that_is_undone_after_the_stop_leaves_the_guest_running_where_it_was()
    {
        await OrderAsync(_a, ServerOrder.Resume, 1);
        (long ticks, _) = await Guest.CountsAsync(_counters["host-a"], Patience.Time * 2);
        await OrderAsync(_b, ServerOrder.Prepare, 2, MigrationRole.Target, "host-a");
        await OrderAsync(_a, ServerOrder.Prepare, 2, MigrationRole.Source, "host-b");
        await UntilAsync(_a, s => s.Mirror is { Ready: true });
        Assert.Equal(ServerState.Paused, (await OrderAsync(_a, ServerOrder.Stop, 2)).State);
        Assert.Equal(ServerState.Running, (await OrderAsync(_a, ServerOrder.Resume, 3)).State);
        await OrderAsync(_b, ServerOrder.Cancel, 3);
        Assert.Equal(ServerState.Absent, _b.Server("vs").State);
        (long later, long bad) = await Guest.CountsAsync(_counters["host-a"], Patience.Time * 2);
        Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    private async Task MoveAsync(HostAgent from, HostAgent to, long epoch)
    {
        string fromName = from == _a ? "host-a" : "host-b", toName = from == _a ? "host-b" : "host-a";
        Assert.Equal(ServerState.Incoming, (await OrderAsync(to, ServerOrder.Prepare, epoch, MigrationRole.Target, fromName)).State);
        await OrderAsync(from, ServerOrder.Prepare, epoch, MigrationRole.Source, toName);
        await UntilAsync(from, s => s.Mirror is { Ready: true });
        Assert.Equal(ServerState.Running, from.Server("vs").State);
        Assert.Equal(ServerState.Paused, (await OrderAsync(from, ServerOrder.Stop, epoch)).State);
        Assert.Equal(ServerState.Running, (await OrderAsync(to, ServerOrder.Activate, epoch)).State);
        await OrderAsync(from, ServerOrder.Retire, epoch);
        Assert.Equal(ServerState.Absent, from.Server("vs").State);
    }

    private static Task<ServerReply> OrderAsync(
        HostAgent agent, ServerOrder order, long epoch, MigrationRole? role = null, string? peer = null)
        => agent.OrderAsync("vs", order, new ServerOrderRequest(epoch, $"m{epoch}", role, peer), default);

    private static async Task<ServerInfo> UntilAsync(HostAgent agent, Predicate<ServerInfo> so)
    {
        ServerInfo info = agent.Server("vs");
        await Patience.UntilAsync(() => so(info = agent.Server("vs")), () => $"the server is {info}");
        return info;
    }

    private HostAgentConfig Config(string name, int port, string peer, int peerPort, bool runs)
    {
        (string certificate, string key) = _authority.Write(_folder, name, forServer: null);
        var loopback = SdnEdge.Core.Wire.IpAddress.Parse("127.0.0.1");
        string state = Path.Combine(_folder, name);
        _counters[name] = Guest.FreePort();
        string[] command = Guest.Command(Path.Combine(_folder, name + ".console"), Guest.FreePort(), _counters[name], "dirty=400,over=16");
        return new HostAgentConfig(name, "dc", new ApiConfig(Path.Combine(_folder, name + ".sock")), state,
            [new ServerConfig("vs", runs, new QemuConfig(command))],
            new MigrationLinkConfig(
                new ApiTcpConfig(loopback, port, certificate, key, _authority.WriteAuthority(_folder)),
                [new MigrationPeer(peer, loopback, peerPort)]));
    }
}
