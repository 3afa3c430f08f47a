using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Wan;

/// <summary>Configuration of a WAN node, written by deploy.</summary>
/// <param name="Name">The node.</param>
/// <param name="Seed">Seed of loss and jitter; each direction of each link derives its own.</param>
/// <param name="StatsSocket">Unix socket that answers each connection with the counters as JSON (<see cref="WanStats"/>).</param>
/// <param name="Links">The links.</param>
public sealed record WanConfig(string Name, ulong Seed, string StatsSocket, IReadOnlyList<WanLinkConfig> Links);

/// <summary>One link of a WAN node.</summary>
/// <param name="Interface">Device in the WAN node's namespace.</param>
/// <param name="Peer">The node at the other end.</param>
/// <param name="ToWan">What frames from the peer meet.</param>
/// <param name="FromWan">What frames to the peer meet.</param>
public sealed record WanLinkConfig(string Interface, string Peer, Impairment ToWan, Impairment FromWan);

/// <summary>Counters of a WAN node.</summary>
/// <param name="Name">The node.</param>
/// <param name="Links">By link.</param>
/// <param name="Addresses">MAC addresses learned.</param>
/// <param name="Flooded">Frames sent to every link: broadcast, multicast, or to an address not learned.</param>
public sealed record WanStats(string Name, IReadOnlyList<WanLinkStats> Links, int Addresses, long Flooded);

/// <summary>Counters of one link.</summary>
public sealed record WanLinkStats(string Interface, string Peer, WanDirectionStats ToWan, WanDirectionStats FromWan, long KernelDrops);

/// <summary>Counters of one direction. A superpacket counts as one frame with all its bytes.</summary>
/// <param name="Frames">Frames that came in.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Sent">Frames that went out.</param>
/// <param name="Lost">Frames lost as configured.</param>
/// <param name="QueueFull">Frames that did not fit into the queue.</param>
/// <param name="Refused">Frames the device refused.</param>
/// <param name="PeakBytes">Most bytes on the way at once.</param>
/// <param name="LateMicroseconds">Mean time by which frames left later than they should have, microseconds.</param>
public sealed record WanDirectionStats(
    long Frames, long Bytes, long Sent, long Lost, long QueueFull, long Refused, long PeakBytes, double LateMicroseconds);
