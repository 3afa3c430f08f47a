using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>Why a gate was opened.</summary>
public enum GateOpening
{
    /// <summary>It is not open.</summary>
    Closed,
    /// <summary>The ingress's markers for all its prefixes have come: nothing of it is under way on the old path.</summary>
    Marker,
    /// <summary>The ingress had no old path.</summary>
    NoOldPath,
    /// <summary>The move has no prefix of the gate's address family.</summary>
    NothingMoves,
    /// <summary>The bound has passed since the first packet was kept: order was not proved.</summary>
    Bound,
}

/// <summary>
/// Which gates of a migration may open, at its target. In: markers, and when each gate's oldest packet came. Out: what to
/// open, and why. Pure.
/// <list type="number">
/// <item>An ingress PE moves the prefixes to the direct path, in one go or in several, and sends a marker down the old path
/// behind each. A marker says how many it has moved.</item>
/// <item>When that is all of them, and the hold has sent what it had, the gate opens: first what it kept, then what comes.</item>
/// <item>An ingress that sends no markers, or whose markers are lost, is kept waiting for a bounded time only.</item>
/// </list>
/// </summary>
public sealed class OrderKeeper
{
    private readonly uint _tag;
    private readonly Gate[] _gates;

    /// <summary>Makes closed gates.</summary>
    /// <param name="tag">Tag of the move.</param>
    /// <param name="prefixesV4">IPv4 prefixes that move.</param>
    /// <param name="prefixesV6">IPv6 prefixes that move.</param>
    /// <param name="gates">One for each loopback: whose it is, and the longest time to wait, nanoseconds.</param>
    public OrderKeeper(uint tag, int prefixesV4, int prefixesV6,
        IEnumerable<(string Ingress, IpAddress Loopback, bool SendsMarkers, long BoundNs)> gates)
    {
        _tag = tag;
        _gates = [.. gates.Select(g => new Gate(g.Ingress, g.Loopback, g.SendsMarkers, (uint)(g.Loopback.IsV4 ? prefixesV4 : prefixesV6),
            g.BoundNs))];
    }

    /// <summary>Number of gates; they are numbered as they were given.</summary>
    public int Count => _gates.Length;

    /// <summary>Markers that were for another move, or from nobody who has a gate.</summary>
    public long StrangeMarkers { get; private set; }

    /// <summary>True when every ingress that sends markers is known to have nothing under way on the old path any more.</summary>
    public bool Proved => _gates.All(g => !g.SendsMarkers || g.IsProved);

    /// <summary>When a marker last said something new (CLOCK_MONOTONIC, nanoseconds); 0 before the first.</summary>
    public long LastMarkerAtNs => _gates.Max(g => g.MarkerAtNs) ?? 0;

    /// <summary>The loopback of a gate's ingress.</summary>
    public IpAddress LoopbackOf(int gate) => _gates[gate].Loopback;

    /// <summary>True once <see cref="Open"/> has named it.</summary>
    public bool IsOpen(int gate) => _gates[gate].OpenedBy != GateOpening.Closed;

    /// <summary>A marker came.</summary>
    /// <param name="from">Its source.</param>
    /// <param name="marker">What it says.</param>
    /// <param name="throughTunnel">True when it came out of the migration's tunnel. One that did not is behind nothing, and counts only
    /// from an ingress that had no old path.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void Marker(IpAddress from, in FlushMarker marker, bool throughTunnel, long now)
    {
        Gate? gate = _gates.FirstOrDefault(g => g.Loopback == from && g.SendsMarkers);
        bool noOldPath = (marker.Flags & FlushMarkerFlags.NoOldPath) != 0;
        if (gate is null || marker.Tag != _tag || !(throughTunnel || noOldPath))
        {
            StrangeMarkers++;
            return;
        }

        if (marker.Moved <= gate.Moved) return; // a copy, or overtaken
        gate.Moved = marker.Moved;
        gate.MovedAtNs = marker.MovedAtNs;
        gate.MarkerAtNs = now;
        gate.NoOldPath = noOldPath;
    }

    /// <summary>
    /// Whether a gate is to be opened now. A gate without prefixes, or whose markers are all there, opens when the hold has been
    /// sent; one that waits in vain, when its oldest packet has waited for the bound (the hold comes first also then).
    /// </summary>
    /// <param name="gate">The gate.</param>
    /// <param name="holdSent">The migration's hold has sent all it had.</param>
    /// <param name="oldestNs">When the gate's oldest packet came; null: it keeps none.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <returns>True once: open it.</returns>
    public bool Open(int gate, bool holdSent, long? oldestNs, long now)
    {
        Gate g = _gates[gate];
        if (g.OpenedBy != GateOpening.Closed || !holdSent) return false;
        g.OpenedBy = g.Expected == 0 ? GateOpening.NothingMoves
            : g.IsProved ? g.NoOldPath ? GateOpening.NoOldPath : GateOpening.Marker
            : oldestNs is { } oldest && now - oldest >= g.BoundNs ? GateOpening.Bound
            : GateOpening.Closed;
        if (g.OpenedBy == GateOpening.Closed) return false;
        g.OpenedAtNs = now;
        return true;
    }

    /// <summary>A gate as the API shows it.</summary>
    /// <param name="gate">The gate.</param>
    /// <param name="hold">Counters of what keeps its packets.</param>
    public OrderGateInfo Info(int gate, HoldInfo hold)
    {
        Gate g = _gates[gate];
        return new OrderGateInfo(g.Ingress, g.Loopback.ToString(), g.SendsMarkers, g.OpenedBy, g.Expected, g.Moved, g.IsProved,
            g.MovedAtNs, g.MarkerAtNs, g.OpenedAtNs, hold.PacketsHeldTotal, hold.PacketsHeldNow, hold.PeakPackets, hold.DroppedNewest
                + hold.DroppedOldest + hold.Expired);
    }

    private sealed class Gate(string ingress, IpAddress loopback, bool sendsMarkers, uint expected, long boundNs)
    {
        public string Ingress { get; } = ingress;

        public IpAddress Loopback { get; } = loopback;

        public bool SendsMarkers { get; } = sendsMarkers;

        public uint Expected { get; } = expected;

        public long BoundNs { get; } = boundNs;

        public uint Moved { get; set; }

        public bool NoOldPath { get; set; }

        public long? MovedAtNs { get; set; }

        public long? MarkerAtNs { get; set; }

        public long? OpenedAtNs { get; set; }

        public GateOpening OpenedBy { get; set; }

        public bool IsProved => Moved >= Expected;
    }
}
