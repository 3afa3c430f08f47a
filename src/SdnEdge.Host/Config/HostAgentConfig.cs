using SdnEdge.Client;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Host.Config;

/// <summary>The configuration of a server host's agent.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Api">Where its API listens, and who may do what.</param>
/// <param name="StateFolder">Where it keeps a record for each server.</param>
/// <param name="Servers">The servers that it may ever run.</param>
/// <param name="Migration">How guests are carried to and from other hosts; null = none are.</param>
/// <param name="Store">The block store of this site, which has the servers' volumes; null = no server has any.</param>
/// <param name="Bfd">BFD sessions, by which PEs notice that this host or its link is dead; null = none.</param>
/// <param name="Witness">The witness that grants leases; null = no server is bound to one.</param>
public sealed record HostAgentConfig(
    string Name, string Site, ApiConfig Api, string StateFolder, IReadOnlyList<ServerConfig> Servers,
    MigrationLinkConfig? Migration = null, SiteStoreConfig? Store = null, IReadOnlyList<BfdConfig>? Bfd = null,
    WitnessLinkConfig? Witness = null);

/// <summary>The witness, as its host reaches it.</summary>
/// <param name="Name">Its name, for messages.</param>
/// <param name="Api">Its API: <c>https://HOST:PORT/</c> or <c>unix:PATH</c>.</param>
/// <param name="Certificate">PEM file of this host's certificate; null on a unix socket.</param>
/// <param name="Key">PEM file of its private key; null on a unix socket.</param>
/// <param name="Authority">PEM file of the CA that signs the witness's certificate; null on a unix socket.</param>
public sealed record WitnessLinkConfig(string Name, string Api, string? Certificate = null, string? Key = null, string? Authority = null)
{
    /// <summary>A client; nothing is connected before the first call.</summary>
    /// <exception cref="IOException">The certificate, its key or the authority cannot be read.</exception>
    public WitnessClient Connect()
    {
        ClientIdentity? identity = Certificate is not null && Key is not null && Authority is not null
            ? ClientIdentity.Load(Certificate, Key, Authority) : null;
        return new WitnessClient(new ApiEndpoint(Name, Api, identity));
    }
}

/// <summary>The block store of a site, as its host reaches it.</summary>
/// <param name="Api">Unix socket of its API, absolute path.</param>
/// <param name="Nbd">Unix socket of its exports, absolute path.</param>
public sealed record SiteStoreConfig(string Api, string Nbd);

/// <summary>How guests are carried to and from other hosts.</summary>
/// <param name="Listen">Where guests come in, with this host's certificate and the CA of all hosts.</param>
/// <param name="Peers">The other hosts.</param>
/// <param name="BytesPerSecond">What all copies together may take of the network, bytes/s; 0 = as much as there is.</param>
/// <param name="Compress">True: memory is compressed on its way (Zstandard), where the other host can read that.</param>
public sealed record MigrationLinkConfig(
    ApiTcpConfig Listen, IReadOnlyList<MigrationPeer> Peers, long BytesPerSecond = 0, bool Compress = false);

/// <summary>Another host.</summary>
/// <param name="Name">Its name, which is the common name of its certificate.</param>
/// <param name="Address">Its address.</param>
/// <param name="Port">Its TCP port.</param>
public sealed record MigrationPeer(string Name, IpAddress Address, int Port);

/// <summary>A server.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Runs">Whether this host has the right to run it before any order was given: true at one host at most.</param>
/// <param name="Driver">How it is driven.</param>
/// <param name="Volumes">Its volumes at the site's store, by name, the same at each site; null = it has none there.</param>
public sealed record ServerConfig(string Name, bool Runs, ServerDriverConfig Driver, IReadOnlyList<string>? Volumes = null);

/// <summary>How a server is driven.</summary>
public abstract record ServerDriverConfig;

/// <summary>A stand-in for a server: a network namespace whose processes are frozen, with a leg here.</summary>
/// <param name="Namespace">Name of the namespace, as <c>ip netns</c> has it.</param>
/// <param name="Leg">The device in it that leads to this site. It is a port of the bridge eth0 while the server runs here.</param>
/// <param name="Mac">The server's MAC address.</param>
/// <param name="Addresses">The server's addresses, announced when it comes to run here.</param>
public sealed record StandInConfig(string Namespace, string Leg, MacAddress Mac, IReadOnlyList<IpAddress> Addresses) : ServerDriverConfig;

/// <summary>A guest of QEMU.</summary>
/// <param name="Run">QEMU and its arguments, but for its monitors and what a migration needs.</param>
/// <param name="OnePass">True: while it runs its memory is copied once, and what has changed meanwhile after its stop. What QEMU before 9.0
/// needs without KVM: a second pass there loses changes.</param>
/// <param name="AutoConverge">True: QEMU slows it down when it changes its memory faster than the way takes it.</param>
/// <param name="Given">Monitors of a QEMU that was not started by the agent and is taken over as it runs; null = the agent starts
/// it.</param>
/// <param name="SharedDisks">Ids of drives and node names of block devices whose files the other hosts have, too; null = none.</param>
/// <param name="Volumes">Volumes of the site's store that are its disks; null = none are.</param>
public sealed record QemuConfig(
    IReadOnlyList<string> Run, bool OnePass = false, bool AutoConverge = false, QemuSockets? Given = null,
    IReadOnlyList<string>? SharedDisks = null, IReadOnlyList<string>? Volumes = null) : ServerDriverConfig;

/// <summary>Two monitor sockets of a QEMU (QMP), each for one client.</summary>
/// <param name="Main">For commands and events.</param>
/// <param name="Rescue">For when the other one hangs.</param>
public sealed record QemuSockets(string Main, string Rescue);

/// <summary>A step of the exec driver.</summary>
/// <param name="Run">The program and its arguments.</param>
/// <param name="Deadline">After so long the whole process group is killed and the step has failed.</param>
public sealed record ExecStep(IReadOnlyList<string> Run, TimeSpan Deadline);

/// <summary>A server that is driven by commands of the user: docs/exec-driver.md.</summary>
/// <param name="Undoable">Whether its hand-over can be undone. False: the pivot comes before it.</param>
/// <param name="Look">What is it doing?</param>
/// <param name="Prepare">Target: make what it needs.</param>
/// <param name="Stop">Source: stop it.</param>
/// <param name="HandOver">Source: hand its state over; null = there is none to hand over.</param>
/// <param name="Activate">Target: run it.</param>
/// <param name="Resume">Source: let it go on.</param>
/// <param name="Cancel">Target: remove what prepare made.</param>
/// <param name="Kill">Source: remove what was kept.</param>
/// <param name="Mirror">How far its state is copied; null = nothing is copied before the stop.</param>
public sealed record ExecConfig(
    bool Undoable, ExecStep Look, ExecStep Prepare, ExecStep Stop, ExecStep? HandOver, ExecStep Activate, ExecStep Resume, ExecStep Cancel,
    ExecStep Kill, ExecStep? Mirror) : ServerDriverConfig;

/// <summary>A configuration, or everything that is wrong with it.</summary>
/// <param name="Config">The configuration; null when there is any error.</param>
/// <param name="Errors">All errors by place in the file.</param>
public sealed record HostConfigResult(HostAgentConfig? Config, IReadOnlyList<ConfigError> Errors);
