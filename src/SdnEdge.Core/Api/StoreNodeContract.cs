namespace SdnEdge.Core.Api;

/// <summary><c>GET /v1/node</c> of a block store.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Site">The site it is at.</param>
/// <param name="Version">Program version.</param>
/// <param name="Incarnation">Random; another one after each start.</param>
/// <param name="StartedAtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Exports">Where clients find its volumes: NBD URIs, without the volume's name.</param>
/// <param name="Connections">Clients that are connected.</param>
/// <param name="Ready">True when all of its volumes are served.</param>
/// <param name="Fault">Why not; null = they are.</param>
public sealed record StoreNodeInfo(string Name, string Site, string Version, string Incarnation, long StartedAtNs,
    IReadOnlyList<string> Exports,
    int Connections, bool Ready, string? Fault = null);

/// <summary><c>POST /v1/volumes/{name}/check</c>: a volume compared with its own records.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Good">Everything is as it was written.</param>
/// <param name="Point">Its last point.</param>
/// <param name="ContentRoot">The content root by its records, 16 hexadecimal digits.</param>
/// <param name="ReadRoot">The content root of what was read, 16 hexadecimal digits.</param>
/// <param name="BlocksRead">Blocks of 4096 bytes that were read.</param>
/// <param name="BadBlockCount">How many of them are not as they were written.</param>
/// <param name="BadBlocks">Their numbers; the first 1000 only.</param>
/// <param name="RecordsRead">Records of the log that were read.</param>
/// <param name="LogDamage">The first of them that is not as it was written; null = all are.</param>
/// <param name="DiskError">Why the disk could not be read to the end; null = it could.</param>
public sealed record VolumeCheckInfo(
    string Volume, bool Good, LogPointInfo Point, string ContentRoot, string ReadRoot, long BlocksRead, long BadBlockCount,
    IReadOnlyList<long> BadBlocks, long RecordsRead, string? LogDamage, string? DiskError);
