using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>A PE as a planner sees it.</summary>
internal sealed class PlanPe
{
    public required NodeInfo Node { get; set; }

    public List<PortInfo> Ports { get; } = [];

    public List<VrfInfo> Vrfs { get; } = [new VrfInfo("default", null, 10, 10), new VrfInfo("blue", 7, 1, 1)];

    public Dictionary<string, FibInfo> Fib { get; } = [];

    public List<RouteInfo> Routes { get; } = [];

    public List<TunnelInfo> Tunnels { get; } = [];

    public List<MigrationInfo> Migrations { get; } = [];

    public List<NeighborInfo> Neighbors { get; } = [];

    public List<DampedInfo> Damped { get; } = [];

    /// <summary>Round trips of its BGP sessions, by the peer's address, milliseconds.</summary>
    public Dictionary<string, double?> RoundTrips { get; } = [];

    /// <summary>Further BGP sessions.</summary>
    public List<BgpPeerInfo> Peers { get; } = [];

    public bool Silent { get; set; }

    public double RoundTripMs { get; set; } = 10;

    public long PacketsPerSecond { get; set; } = 1000;

    public long BytesPerSecond { get; set; } = 100_000;
}

/// <summary>A host as a planner sees it.</summary>
internal sealed class PlanHost
{
    public required HostNodeInfo Node { get; set; }

    public Dictionary<string, ServerInfo> Servers { get; } = [];

    public bool Silent { get; set; }

    public double RoundTripMs { get; set; } = 20;
}

/// <summary>
/// Two sites, a group of two servers at dc-a, an ingress PE; all is well. A test spoils what it is about. There is nothing in it that a
/// planner could change.
/// </summary>
internal sealed class PlanLab : IPlanView
{
    private long _nowNs = 1_000_000_000;

    public PlanLab(string? yaml = null)
    {
        MmsConfigResult read = MmsConfigLoader.Load(yaml ?? Yaml, "/etc/sdnedge/mms.yaml");
        Assert.True(read.Config is not null, string.Join("\n", read.Errors));
        Config = read.Config;
        foreach ((string pe, int number) in new[] { ("pe-a", 1), ("pe-b", 2), ("pe-c", 3) })
        {
            Pes[pe] = new PlanPe
            {
                Node = new NodeInfo(pe, $"10.255.0.{number}", 65000, "1", 1, 1, true, [$"10.255.0.{number}", $"fd00:ff::{number}"])
                {
                    LocalPref = 100, MoveDamping = new MoveDampingInfo(5, 180),
                },
            };
            Pes[pe].Ports.Add(Port("core", 1600, $"172.16.0.{number}/24"));
            Pes[pe].Ports.Add(Port("dc", 1500, "10.1.1.1/24"));
            Pes[pe].Ports.Add(Port("dc.7", 1500, "10.1.1.1/24") with { Vrf = "blue" });
            for (int other = 1; other <= 3; other++)
            {
                if (other != number) Pes[pe].Fib[$"10.255.0.{other}"] = new FibInfo("default", $"10.255.0.{other}/32", "forward",
                    $"172.16.0.{other}", "core", null, null);
            }
        }

        foreach (string prefix in Prefixes)
        {
            Pes["pe-a"].Fib[prefix[..prefix.IndexOf('/', StringComparison.Ordinal)]] = new FibInfo("default", prefix, "forward", null,
                "dc", null, null);
            Pes["pe-a"].Routes.Add(new RouteInfo("default", prefix, "static", true, null, "dc", null, null, null, null, 1));
            Pes["pe-b"].Routes.Add(new RouteInfo("default", prefix, "bgp", true, "10.255.0.1", null, 100, "10.255.0.1", "", null, 1));
        }

        foreach ((string host, string site) in new[] { ("host-a", "dc-a"), ("host-b", "dc-b"), ("host-c", "dc-c") })
        {
            Hosts[host] = new PlanHost { Node = new HostNodeInfo(host, site, "1", "i", 1, true) };
            foreach (string server in new[] { "web-1", "web-2" })
                Hosts[host].Servers[server] = new ServerInfo(server, "stand-in", host == "host-a" ? ServerState.Running
                    : ServerState.Absent, 0, 0, 0, 0, null, true);
        }

        Hosts["host-a"].Servers["db"] = new ServerInfo("db", "stand-in", ServerState.Running, 0, 0, 0, 0, null, true);
        Hosts["host-b"].Servers["db"] = new ServerInfo("db", "stand-in", ServerState.Absent, 0, 0, 0, 0, null, true);
        Pes["pe-a"].Fib["10.9.0.1"] = new FibInfo("blue", "10.9.0.1/32", "forward", null, "dc.7", null, null);
    }

    public const string Yaml = """
        name: mms
        limits: { migrations: 2, servers: 5 }
        pes:
          - { name: pe-a, api: unix:/run/pe-a.sock }
          - { name: pe-b, api: unix:/run/pe-b.sock }
          - { name: pe-c, api: unix:/run/pe-c.sock }
        hosts:
          - { name: host-a, api: unix:/run/host-a.sock }
          - { name: host-b, api: unix:/run/host-b.sock }
          - { name: host-c, api: unix:/run/host-c.sock }
        sites:
          - { name: dc-a, hosts: [host-a] }
          - { name: dc-b, hosts: [host-b] }
          - { name: dc-c, hosts: [host-c] }
        groups:
          - name: web
            ingress: [pe-a, pe-c]
            hold: { maxPackets: 1000 }
            servers:
              - name: web-1
                prefixes: [10.1.1.10/32, "fd00:1:1::10/128"]
                at:
                  - { site: dc-a, host: host-a, pe: pe-a, port: dc }
                  - { site: dc-b, host: host-b, pe: pe-b, port: dc, nextHop: 10.1.1.2 }
              - name: web-2
                prefixes: [10.1.1.12/32]
                at:
                  - { site: dc-a, host: host-a, pe: pe-a, port: dc }
                  - { site: dc-b, host: host-b, pe: pe-b, port: dc }
          - name: db
            ingress: [pe-c]
            servers:
              - name: db
                vrf: blue
                prefixes: [10.9.0.1/32]
                at:
                  - { site: dc-a, host: host-a, pe: pe-a, port: dc.7 }
                  - { site: dc-b, host: host-b, pe: pe-b, port: dc.7 }
        """;

    public static readonly string[] Prefixes = ["10.1.1.10/32", "fd00:1:1::10/128", "10.1.1.12/32"];

    public MmsConfig Config { get; }

    public Dictionary<string, PlanPe> Pes { get; } = [];

    public Dictionary<string, PlanHost> Hosts { get; } = [];

    public ManagerState State { get; set; } = ManagerState.Empty;

    public PlanPe A => Pes["pe-a"];

    public PlanPe B => Pes["pe-b"];

    public DateTimeOffset Now { get; set; } = new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero);

    public Task<PlanResult> PlanAsync(string group = "web", string to = "dc-b", Func<MigrationCall, MigrationCall>? with = null)
    {
        var call = new MigrationCall(group, to);
        return Planner.PlanAsync(Config, this, State, with?.Invoke(call) ?? call);
    }

    public void Set(string host, string server, Func<ServerInfo, ServerInfo> change)
        => Hosts[host].Servers[server] = change(Hosts[host].Servers[server]);

    public static PortInfo Port(string name, int mtu, string address)
        => new(name, "tap", name, "default", "00:00:5e:00:01:01", mtu, true, [address], 0, 0, 0, 0, 0);

    public static MigrationInfo Migration(string id, PeMigrationState state, long epoch, string prefix)
        => new(id, MigrationRole.Source, state, epoch, "default", [new MovingPrefix(prefix, "dc")], "10.255.0.2", "mig-" + id, true, null,
            null);

    public static BgpPeerInfo Peer(string address, bool client = false, string state = "established", uint peerAs = 65000)
        => new(address, peerAs, state, 1, 0, 0, 0, 0, null, []) { ReflectorClient = client };

    public static TunnelInfo Tunnel(string name, uint key)
        => new(name, "gre", "10.255.0.1", "10.255.0.2", key, "default", 1572, true, 0, 0, 0, 0, 0, 0, null, null);

    /// <summary>A migration that has told its prefixes and ended.</summary>
    public static MigrationState Told(PlanResult plan, string id, DateTimeOffset at)
    {
        MovePlan move = plan.Moves[0] with { Migration = id, Paths = [.. plan.Moves[0].Paths.Select(p => p with { Id = id + ".1" })] };
        var reply = new SignalReply(id + ".1", SignalKind.Advertise, PeMigrationState.Advertised, 1, false, 1, 2);
        return new MigrationState
        {
            Id = id, Request = plan.Request!, By = "me", At = at.ToString("O"), EndedAt = at.ToString("O"),
                Outcome = MigrationOutcome.Moved,
            Moves = [new MoveState { Plan = move, Signals = ImmutableList.Create(new SignalAnswer("pe-b", 1, 2, reply)) }],
        };
    }

    public Task WaitAsync(TimeSpan time, CancellationToken cancel)
    {
        _nowNs += (long)time.TotalNanoseconds;
        return Task.CompletedTask;
    }

    public Task<Answer<NodeInfo>> NodeAsync(string pe, CancellationToken cancel) => OfPe(pe, p => p.Node);

    public Task<Answer<IReadOnlyList<PortInfo>>> PortsAsync(string pe, CancellationToken cancel) => OfPe<IReadOnlyList<PortInfo>>(pe, p =>
        [.. p.Ports.Select(x => x with { TxPackets = p.PacketsPerSecond * (_nowNs / 1_000_000) / 1000,
            TxBytes = p.BytesPerSecond * (_nowNs / 1_000_000) / 1000 })]);

    public Task<Answer<IReadOnlyList<VrfInfo>>> VrfsAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<VrfInfo>>(pe, p => p.Vrfs);

    public Task<Answer<IReadOnlyList<RouteInfo>>> RoutesAsync(string pe, string vrf, string prefix, CancellationToken cancel)
        => OfPe<IReadOnlyList<RouteInfo>>(pe, p => [.. p.Routes.Where(r => r.Vrf == vrf && r.Prefix == prefix)]);

    public Task<Answer<FibInfo>> ForwardsAsync(string pe, string vrf, string address, CancellationToken cancel)
        => OfPe(pe, p => p.Fib.GetValueOrDefault(address) ?? new FibInfo(vrf, "", "no-route", null, null, null, null));

    public Task<Answer<IReadOnlyList<TunnelInfo>>> TunnelsAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<TunnelInfo>>(pe, p => p.Tunnels);

    public Task<Answer<IReadOnlyList<MigrationInfo>>> MigrationsAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<MigrationInfo>>(pe, p => p.Migrations);

    public Task<Answer<IReadOnlyList<NeighborInfo>>> NeighborsAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<NeighborInfo>>(pe, p => p.Neighbors);

    public Task<Answer<IReadOnlyList<BgpPeerInfo>>> BgpPeersAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<BgpPeerInfo>>(pe, p => [.. p.RoundTrips.Select(
            r => new BgpPeerInfo(r.Key, 65000, "established", 1, 0, 0, 0, 0, null, []) { RoundTripMs = r.Value }), .. p.Peers]);

    public Task<Answer<IReadOnlyList<DampedInfo>>> DampedAsync(string pe, CancellationToken cancel)
        => OfPe<IReadOnlyList<DampedInfo>>(pe, p => p.Damped);

    public Task<Answer<HostNodeInfo>> HostAsync(string host, CancellationToken cancel) => OfHost(host, h => h.Node, "");

    public Task<Answer<ServerInfo>> ServerAsync(string host, string server, CancellationToken cancel)
        => OfHost(host, h => h.Servers.GetValueOrDefault(server), $"there is no server '{server}'");

    private Task<Answer<T>> OfPe<T>(string pe, Func<PlanPe, T> ask)
        where T : class
        => Task.FromResult(Pes[pe] is { Silent: false } known ? new Answer<T>(ask(known), null, null, _nowNs, known.RoundTripMs)
            : new Answer<T>(null, null, $"cannot reach {pe}", _nowNs, 3000));

    private Task<Answer<T>> OfHost<T>(string host, Func<PlanHost, T?> ask, string unknown)
        where T : class
    {
        PlanHost known = Hosts[host];
        if (known.Silent) return Task.FromResult(new Answer<T>(null, null, $"cannot reach {host}", _nowNs, 3000));
        T? value = ask(known);
        return Task.FromResult(new Answer<T>(
            value, value is null ? new Problem("/problems/not-found", "not found", 404, unknown) : null, null, _nowNs, known.RoundTripMs));
    }
}
