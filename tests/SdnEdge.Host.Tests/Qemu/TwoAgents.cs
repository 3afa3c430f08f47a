using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Host.Qemu;
using SdnEdge.Linux;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Testing;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>The agents of two hosts, which carry a real guest to one another by mutual TLS. The test is the manager.</summary>
internal sealed class TwoAgents : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-agents-").FullName;
    private readonly TestAuthority _authority = new("hosts");
    private readonly Dictionary<string, int> _counters = new(StringComparer.Ordinal);
    private readonly HostAgentConfig _configA, _configB;
    private readonly TwoStores? _stores;

    private TwoAgents(TwoStores? stores)
    {
        _stores = stores;
        int portA = TestAuthority.FreePort(), portB = TestAuthority.FreePort(portA);
        _configA = Config("host-a", portA, "host-b", portB, runs: true);
        _configB = Config("host-b", portB, "host-a", portA, runs: false);
    }

    /// <summary>Where the guest may run at first.</summary>
    public HostAgent A { get; private set; } = null!;

    /// <summary>The other host.</summary>
    public HostAgent B { get; private set; } = null!;

    /// <summary>The stores of the two sites; null = the guest has no disk.</summary>
    public TwoStores? Stores => _stores;

    /// <summary>Starts both agents. The guest is not started.</summary>
    /// <param name="stores">Stores with the guest's disk, a site each; null = it has none.</param>
    public static async Task<TwoAgents> StartAsync(TwoStores? stores = null)
    {
        var agents = new TwoAgents(stores);
        try
        {
            (agents.A, agents.B) = (await HostAgent.StartAsync(agents._configA), await HostAgent.StartAsync(agents._configB));
            return agents;
        }
        catch
        {
            await agents.DisposeAsync();
            throw;
        }
    }

    /// <summary>Ends both agents and starts the next ones; the guest notices nothing.</summary>
    public async Task RestartAsync()
    {
        await B.DisposeAsync();
        await A.DisposeAsync();
        (A, B) = (await HostAgent.StartAsync(_configA), await HostAgent.StartAsync(_configB));
    }

    /// <summary>Ends the guest at an agent, as if its host had no memory left; returns when it is gone.</summary>
    public async Task KillGuestAsync(HostAgent agent)
    {
        var process = new QemuProcess(Path.Combine(_folder, NameOf(agent), "vs.run"));
        if (!Signals.Send(process.Id!.Value, ProcessSignal.Kill)) throw new InvalidOperationException("there was no guest to end");
        await Patience.UntilAsync(() => process.Id is null, () => "the guest does not end");
    }

    /// <summary>Gives an order.</summary>
    public static Task<ServerReply> OrderAsync(
        HostAgent agent, ServerOrder order, long epoch, MigrationRole? role = null, string? peer = null)
        => agent.OrderAsync("vs", order, new ServerOrderRequest(epoch, $"m{epoch}", role, peer), default);

    /// <summary>Waits until the server is so at an agent.</summary>
    public static async Task<ServerInfo> UntilAsync(HostAgent agent, Predicate<ServerInfo> so)
    {
        ServerInfo info = agent.Server("vs");
        await Patience.UntilAsync(() => so(info = agent.Server("vs")), () => $"the server is {info}");
        return info;
    }

    /// <summary>What the guest at an agent counts: ticks of its clock, and words of its memory that it found wrong.</summary>
    public Task<(long Ticks, long Bad)> CountsAsync(HostAgent agent) => Guest.CountsAsync(_counters[NameOf(agent)], Patience.Time * 2);

    /// <summary>The monitor of an agent's QEMU that is the test's own; the agent has two others.</summary>
    public string MonitorOf(HostAgent agent) => Path.Combine(_folder, NameOf(agent) + ".qmp");

    /// <summary>Begins a move: returns when little is left to be copied.</summary>
    public async Task MirroredAsync(HostAgent from, HostAgent to, long epoch)
    {
        ServerReply expected = await OrderAsync(to, ServerOrder.Prepare, epoch, MigrationRole.Target, NameOf(from));
        if (expected.State != ServerState.Incoming) throw new InvalidOperationException($"prepared, the target is {expected.State}");
        await OrderAsync(from, ServerOrder.Prepare, epoch, MigrationRole.Source, NameOf(to));

        // On a machine with other work the guest may write faster for a time than is copied.
        for (int i = 0; i < 4 && from.Server("vs").Mirror is not { Ready: true }; i++)
        {
            try
            {
                await UntilAsync(from, s => s.Mirror is { Ready: true });
            }
            catch (TimeoutException) when (i < 3)
            {
                // It has not converged yet.
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (A is not null) await A.DisposeAsync();
        if (B is not null) await B.DisposeAsync();
        foreach (HostAgentConfig config in (HostAgentConfig[])[_configA, _configB])
            await new QemuProcess(Path.Combine(config.StateFolder, "vs.run")).KillAsync(default);
        Directory.Delete(_folder, recursive: true);
        _authority.Dispose();
    }

    private string NameOf(HostAgent agent) => agent == A ? "host-a" : "host-b";

    private HostAgentConfig Config(string name, int port, string peer, int peerPort, bool runs)
    {
        (string certificate, string key) = _authority.Write(_folder, name, forServer: null);
        var loopback = IpAddress.Parse("127.0.0.1");
        string state = Path.Combine(_folder, name);
        _counters[name] = Guest.FreePort();
        string[] command = Guest.Command(Path.Combine(_folder, name + ".console"), Guest.FreePort(), _counters[name], "dirty=400,over=16");
        SiteStoreConfig? store = _stores is null ? null : new SiteStoreConfig(_stores.ApiOf(name), _stores.NbdOf(name));
        if (store is not null)
        {
            // As QemuConfigReader writes a disk that is a volume; the test writes to it, too, by the monitor.
            command = [.. command, "-blockdev",
                $"driver=nbd,node-name=root,server.type=unix,server.path={store.Nbd},export={TwoStores.Volume},"
                + "reconnect-delay=600,open-timeout=10", "-device",
                    "virtio-blk-pci,id=disk-root,drive=root,werror=stop,rerror=stop,share-rw=on"];
        }

        string monitor = $"unix:{Path.Combine(_folder, name + ".qmp")},server=on,wait=off";
        return new HostAgentConfig(name, "dc", new ApiConfig(Path.Combine(_folder, name + ".sock")), state,
            [new ServerConfig("vs", runs, new QemuConfig([.. command, "-qmp", monitor]), store is null ? null : [TwoStores.Volume])],
            new MigrationLinkConfig(
                new ApiTcpConfig(loopback, port, certificate, key, _authority.WriteAuthority(_folder)),
                [new MigrationPeer(peer, loopback, peerPort)]), store);
    }
}
