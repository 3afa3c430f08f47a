using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Config;

/// <summary>
/// Configuration of the migration manager: which PEs, hosts and sites there are, and the groups of servers that it may move. Every
/// reference is resolved: a place names a PE, a host and a site that are in the same file.
/// </summary>
public sealed record MmsConfig
{
    /// <summary>Name of the manager.</summary>
    public required string Name { get; init; }

    /// <summary>Absolute path of the journal. Default: <c>/var/lib/sdnedge/NAME.db</c>. With <see cref="Etcd"/> what it is called:
    /// <c>etcd PREFIX</c>.</summary>
    public required string Journal { get; init; }

    /// <summary>The etcd that has the journal, for several managers of which one leads; null: the journal is a file.</summary>
    public EtcdConfig? Etcd { get; init; }

    /// <summary>Where the manager's own API listens, and who may do what there.</summary>
    public ApiConfig Api { get; init; } = new();

    /// <summary>Who the manager is towards https endpoints; null only when there is none.</summary>
    public IdentityConfig? Identity { get; init; }

    /// <summary>How much the manager does at once.</summary>
    public LimitsConfig Limits { get; init; } = new();

    /// <summary>The PEs, by name.</summary>
    public IReadOnlyList<DaemonConfig> Pes { get; init; } = [];

    /// <summary>The agents of the server hosts, by name.</summary>
    public IReadOnlyList<DaemonConfig> Hosts { get; init; } = [];

    /// <summary>The witness at a third place, which grants the leases under which alone servers of protected groups run; null: there is
    /// none, and only a host's own word fences it.</summary>
    public DaemonConfig? Witness { get; init; }

    /// <summary>The sites.</summary>
    public IReadOnlyList<SiteConfig> Sites { get; init; } = [];

    /// <summary>The groups; none is allowed.</summary>
    public IReadOnlyList<GroupConfig> Groups { get; init; } = [];

    /// <summary>The group of that name, or null.</summary>
    public GroupConfig? Group(string name) => Groups.FirstOrDefault(g => g.Name == name);
}

/// <summary>The journal of several managers.</summary>
/// <param name="Endpoints">The members' client addresses, <c>https://HOST:PORT/</c>, or http where it is named insecure or on this
/// machine.</param>
/// <param name="Prefix">What all keys begin with: the same for all managers of one journal. Begins with a slash.</param>
/// <param name="LeaseSeconds">How long a manager that is silent leads on, 1 to 60 seconds. etcd grants at least one and a half of its
/// election time-outs.</param>
public sealed record EtcdConfig(IReadOnlyList<string> Endpoints, string Prefix = "/sdnedge/mms", int LeaseSeconds = 2)
{
    /// <summary>True when a member is reached by mutual TLS, with <see cref="MmsConfig.Identity"/>.</summary>
    public bool IsHttps => Endpoints.Any(e => e.StartsWith("https:", StringComparison.OrdinalIgnoreCase));
}

/// <summary>The manager's certificate towards PEs and hosts. Full paths: relative ones in the file are relative to its folder.</summary>
/// <param name="Certificate">PEM file of the certificate.</param>
/// <param name="Key">PEM file of its private key.</param>
/// <param name="Authority">PEM file of the only authority whose server certificates are accepted.</param>
public sealed record IdentityConfig(string Certificate, string Key, string Authority);

/// <summary>How much the manager does at once.</summary>
/// <param name="Migrations">Most migrations at once, 1 to 1000; one more is refused (limit).</param>
/// <param name="Servers">Most servers on the way at once, in all migrations together, 1 to 10000; more are refused.</param>
public sealed record LimitsConfig(int Migrations = 4, int Servers = 32);

/// <summary>A daemon that the manager speaks to: a PE, or the agent of a server host.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Api"><c>https://HOST:PORT/</c>, or <c>unix:PATH</c>.</param>
public sealed record DaemonConfig(string Name, string Api)
{
    /// <summary>True when it is reached by mutual TLS, with <see cref="MmsConfig.Identity"/>.</summary>
    public bool IsHttps => Api.StartsWith("https:", StringComparison.Ordinal);
}

/// <summary>A site.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Hosts">The server hosts there. A host is at one site.</param>
public sealed record SiteConfig(string Name, IReadOnlyList<DaemonConfig> Hosts);

/// <summary>A group: the unit of movement. All of its servers move, or none.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Servers">Its servers; at least one.</param>
public sealed record GroupConfig(string Name, IReadOnlyList<ServerConfig> Servers)
{
    /// <summary>PEs with SdnEdge by which clients come: they send flush markers when they take the direct path.</summary>
    public IReadOnlyList<DaemonConfig> Ingress { get; init; } = [];

    /// <summary>True when clients also come by PEs of other makes, which send no flush markers.</summary>
    public bool OtherIngress { get; init; }

    /// <summary>Bounds of the hold at the target PE; null: the PE's defaults.</summary>
    public HoldOptions? Hold { get; init; }

    /// <summary>Longest time for which nobody may run in a move, milliseconds, as far as it can be predicted.</summary>
    public int MaxBlackoutMs { get; init; } = 2_000;

    /// <summary>One by one: most of its servers on the way at once, where who asks does not say it.</summary>
    public int AtOnce { get; init; } = 1;

    /// <summary>What the copies of its servers' memory may take of the network, all together, Mbit/s, where who asks does not say it; null
    /// = as much as the hosts' own files allow.</summary>
    public int? Bandwidth { get; init; }

    /// <summary>How it is protected when nobody says otherwise; null: whoever protects it says it.</summary>
    public ProtectConfig? Protect { get; init; }

    /// <summary>
    /// True: its servers are services without state, each with an instance that runs at every one of its places all the time. Nothing is
    /// stopped, copied or started; the network alone moves.
    /// </summary>
    public bool Stateless { get; init; }

    /// <summary>The sites at which every server of the group has a place, in the order of the first server's places.</summary>
    public IReadOnlyList<SiteConfig> Sites =>
        Servers.Count == 0 ? [] : [.. Servers[0].At.Select(p => p.Site).Where(site => Servers.All(s => s.PlaceAt(site.Name) is not null))];
}

/// <summary>How a group is protected against the failure of its site.</summary>
/// <param name="Policy">How it comes up at the other site.</param>
/// <param name="Automatic">True: the manager begins the fail-over by itself.</param>
/// <param name="Watch">What is watched, by site.</param>
public sealed record ProtectConfig(ProtectionPolicy Policy, bool Automatic, IReadOnlyList<SiteWatch> Watch);

/// <summary>A server.</summary>
/// <param name="Name">Its name, the same at every host; in one group only. In a group without state: the service's.</param>
/// <param name="Vrf">VRF of its prefixes.</param>
/// <param name="Prefixes">Its prefixes; they overlap with no other's in the VRF.</param>
/// <param name="At">The places where it can live, at least two, each at another site.</param>
public sealed record ServerConfig(string Name, string Vrf, IReadOnlyList<IpPrefix> Prefixes, IReadOnlyList<PlaceConfig> At)
{
    /// <summary>The server's place at a site, or null.</summary>
    public PlaceConfig? PlaceAt(string site) => At.FirstOrDefault(p => p.Site.Name == site);
}

/// <summary>A place where a server can live.</summary>
/// <param name="Site">The site.</param>
/// <param name="Agent">The server host, one of that site's; null for an instance of a service without state, which no host moves.</param>
/// <param name="Pe">The PE of the site.</param>
/// <param name="Port">The attachment port in that PE's configuration.</param>
/// <param name="NextHops">Server or CE addresses on that port, one of each family at most. Empty: hosts on the port's own subnet.</param>
public sealed record PlaceConfig(SiteConfig Site, DaemonConfig? Agent, DaemonConfig Pe, string Port, IReadOnlyList<IpAddress> NextHops)
{
    /// <summary>The server host.</summary>
    /// <exception cref="InvalidOperationException">It is a place of a service without state, which has none.</exception>
    public DaemonConfig Host => Agent
        ?? throw new InvalidOperationException($"an instance of a service without state, behind {Pe.Name}, has no host");

    /// <summary>The next hop for a prefix of this family; null: a host on the port's own subnet.</summary>
    public IpAddress? NextHop(IpFamily family) => NextHops.Where(n => n.Family == family).Select(n => (IpAddress?)n).FirstOrDefault();
}
