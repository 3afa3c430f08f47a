using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Replication;

namespace SdnEdge.Storage.Config;

/// <summary>The configuration of a site's block store.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Api">Where its API listens, and who may do what.</param>
/// <param name="StateFolder">Where the volumes are, a folder each, unless their images are elsewhere.</param>
/// <param name="Exports">Where clients find the volumes (NBD).</param>
/// <param name="Replication">How volumes are replicated to and from other stores; null = none is.</param>
/// <param name="Volumes">Volumes that are made at the start where they are not there yet.</param>
/// <param name="Marks">How long the marks of volumes are kept that say nothing else; null = until they are deleted.</param>
public sealed record StoreConfig(
    string Name, string Site, ApiConfig Api, string StateFolder, ExportConfig Exports, ReplicationLinkConfig? Replication,
    IReadOnlyList<VolumeConfig> Volumes, MarkRetention? Marks = null)
{
    /// <summary>The manager that has it on record when a replica is stale; null = none, and then nothing is answered against the
    /// promise.</summary>
    public StoreManagerConfig? Manager { get; init; }
}

/// <summary>How the manager is reached.</summary>
/// <param name="Api">Its API: <c>unix:PATH</c>, or <c>https://HOST:PORT/</c>; of several managers all of them, with commas
/// between.</param>
/// <param name="Certificate">For https: this store's certificate, PEM; null = it is reached by its unix socket.</param>
/// <param name="Key">Its key.</param>
/// <param name="Authority">The CA of the manager's certificate.</param>
public sealed record StoreManagerConfig(string Api, string? Certificate = null, string? Key = null, string? Authority = null);

/// <summary>Where clients find the volumes. At least one of the two.</summary>
/// <param name="Unix">A unix socket, absolute path, mode 0600; null = none.</param>
/// <param name="Tcp">TCP; null = none.</param>
public sealed record ExportConfig(string? Unix, ExportTcpConfig? Tcp);

/// <summary>Exports by TCP.</summary>
/// <param name="Address">Address to listen at.</param>
/// <param name="Port">Port; NBD's is 10809.</param>
/// <param name="Tls">Certificates; the clients need one, too. Null = none: the configuration has named the address insecure.</param>
public sealed record ExportTcpConfig(IpAddress Address, int Port, ApiTcpConfig? Tls);

/// <summary>How volumes are replicated to and from other stores.</summary>
/// <param name="Listen">Where other stores connect, with this store's certificate and the CA of all stores.</param>
/// <param name="Peers">The other stores.</param>
/// <param name="BytesPerSecond">What all volumes together may take of the network, bytes/s; 0 = as much as there is.</param>
/// <param name="Compression">How records are compressed on their way: none, zstd, lz4.</param>
public sealed record ReplicationLinkConfig(
    ApiTcpConfig Listen, IReadOnlyList<StorePeer> Peers, long BytesPerSecond = 0, LinkCompression Compression = LinkCompression.None);

/// <summary>Another store.</summary>
/// <param name="Name">Its name, which is the common name of its certificate.</param>
/// <param name="Address">Its address.</param>
/// <param name="Port">Its TCP port.</param>
public sealed record StorePeer(string Name, IpAddress Address, int Port);

/// <summary>A volume that is made at the start where it is not there yet.</summary>
/// <param name="Name">Its name, which is its export's name.</param>
/// <param name="Size">Bytes, a multiple of 4096.</param>
/// <param name="Image">Its image, a raw file or a block device; null = a file in its folder.</param>
/// <param name="Owner">Whether this store owns it before any order was given: true at one store at most.</param>
/// <param name="Replica">The store with its replica, one of the peers; null = it is not replicated.</param>
/// <param name="Mode">When a write is answered, while no migration says otherwise.</param>
/// <param name="Policy">What is promised of its replication, and what is done when that cannot be kept.</param>
/// <param name="Marks">How long its marks are kept; null = as the store says.</param>
public sealed record VolumeConfig(
    string Name, long Size, string? Image, bool Owner, string? Replica, ReplicationMode Mode, ReplicationPolicy Policy,
    MarkRetention? Marks = null)
{
    /// <summary>The identity of both copies; null = one of the names of volume and stores. It is that of a volume which was made before it
    /// had a replica.</summary>
    public Guid? Identity { get; init; }
}

/// <summary>How long marks are kept; the oldest go first, and each is told.</summary>
/// <param name="Time">Age at which one goes; 0 = at none.</param>
/// <param name="Bytes">Most bytes that all marks of a volume keep; 0 = no bound.</param>
public sealed record MarkRetention(TimeSpan Time, long Bytes);

/// <summary>A configuration, or everything that is wrong with it.</summary>
/// <param name="Config">The configuration; null when there is any error.</param>
/// <param name="Errors">All errors by place in the file.</param>
public sealed record StoreConfigResult(StoreConfig? Config, IReadOnlyList<ConfigError> Errors);
