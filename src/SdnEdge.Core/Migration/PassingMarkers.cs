using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// Flush markers as the source PE sees them go by, on their way into the tunnel: when those of every ingress have, no packet of
/// theirs comes here any more, and the tunnel can be closed at this end while the last of them are still inside. Pure.
/// </summary>
public sealed class PassingMarkers
{
    /// <summary>
    /// So long after the last marker the source still sends what comes into the tunnel, nanoseconds: copies of markers
    /// (<see cref="FlushMarkers"/>) come then, and one of them may be the only one that reaches the target.
    /// </summary>
    public const long SettleNs = FlushMarkers.LastCopyNs + 5_000_000;

    private static readonly HoldInfo KeepsNothing = new("none", 0, 0, 0, 0, 0, 0, 0, 0, 0);

    private readonly OrderKeeper _keeper;

    /// <summary>Makes it for a move.</summary>
    /// <param name="tag">Tag of the move.</param>
    /// <param name="prefixesV4">IPv4 prefixes that move.</param>
    /// <param name="prefixesV6">IPv6 prefixes that move.</param>
    /// <param name="ingress">Who sends markers: one for each loopback.</param>
    public PassingMarkers(uint tag, int prefixesV4, int prefixesV6, IEnumerable<(string Ingress, IpAddress Loopback)> ingress)
    {
        Tag = tag;
        _keeper = new OrderKeeper(tag, prefixesV4, prefixesV6, ingress.Select(i => (i.Ingress, i.Loopback, true, long.MaxValue)));
    }

    /// <summary>Tag of the move.</summary>
    public uint Tag { get; }

    /// <summary>A marker went by.</summary>
    public void Marker(IpAddress from, in FlushMarker marker, long now) => _keeper.Marker(from, marker, throughTunnel: true, now);

    /// <summary>True when the markers of all ingress PEs, and the time for their copies, have gone by.</summary>
    public bool Passed(long now) => _keeper.Proved && now - _keeper.LastMarkerAtNs >= SettleNs;

    /// <summary>As the API shows it; its gates keep nothing.</summary>
    public OrderInfo Info(long now) => new(Tag, Passed(now),
        [.. Enumerable.Range(0, _keeper.Count).Select(i => _keeper.Info(i, KeepsNothing))], 0, _keeper.StrangeMarkers);
}
