using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>A marker to send now.</summary>
/// <param name="Vrf">VRF of the prefixes.</param>
/// <param name="Way">The old path, as given to <see cref="FlushMarkers.Moved"/>; null: along the FIB.</param>
/// <param name="To">An address of the move.</param>
/// <param name="Marker">What it says.</param>
public readonly record struct MarkerToSend(string Vrf, object? Way, IpAddress To, FlushMarker Marker);

/// <summary>
/// The markers of an ingress PE: which to send down which old path, and when again. Pure.
/// <para>A prefix of a tagged move has got the direct path, and a grace period has passed, so that no packet will take the old
/// one any more: <see cref="Moved"/>. <see cref="Due"/> then gives the marker at once and its copies a little later, because
/// a marker may be lost as any packet may.</para>
/// </summary>
public sealed class FlushMarkers
{
    /// <summary>Most moves remembered; the oldest is forgotten.</summary>
    public const int MaxMoves = 4096;

    /// <summary>The last copy of a marker goes out so long after the first, nanoseconds.</summary>
    public const long LastCopyNs = 20_000_000;

    // Copies after the first, nanoseconds behind it.
    private static readonly long[] Copies = [5_000_000, LastCopyNs];

    private readonly Dictionary<(string Vrf, uint Tag, IpFamily Family), Move> _moves = [];
    private readonly Queue<(string Vrf, uint Tag, IpFamily Family)> _order = new();
    private readonly List<(long At, MarkerToSend Marker)> _waiting = [];

    /// <summary>Markers given by <see cref="Due"/> so far, copies included.</summary>
    public long Sent { get; private set; }

    /// <summary>When <see cref="Due"/> has something to give; <see cref="long.MaxValue"/>: never.</summary>
    public long NextDeadline => _waiting.Count == 0 ? long.MaxValue : _waiting.Min(w => w.At);

    /// <summary>Prefixes of a move have been taken off an old path. Each counts once, however often it is named.</summary>
    /// <param name="vrf">VRF of the prefixes: another's are other prefixes, and its tag is another move's.</param>
    /// <param name="tag">Tag of the move.</param>
    /// <param name="prefixes">The prefixes, all of one family, not empty.</param>
    /// <param name="way">The old path, a thing of the driver's; null: there was none.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void Moved(string vrf, uint tag, IReadOnlyList<IpPrefix> prefixes, object? way, long now)
    {
        Move move = MoveOf(vrf, tag, prefixes[0].Family);
        int before = move.Prefixes.Count;
        move.Prefixes.UnionWith(prefixes);
        if (move.Prefixes.Count == before || move.Prefixes.Count <= move.Together) return;
        Mark(vrf, tag, move.Prefixes.Count, prefixes[^1].Address, way, now);
    }

    /// <summary>So many prefixes of a move have left their old paths by one store, and need not be named.</summary>
    /// <param name="vrf">Their VRF.</param>
    /// <param name="tag">Tag of the move.</param>
    /// <param name="family">Their family.</param>
    /// <param name="count">How many have by now, this path's and those of paths that were said before.</param>
    /// <param name="to">An address of one of them.</param>
    /// <param name="way">The old path, a thing of the driver's; null: there was none.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void MovedTogether(string vrf, uint tag, IpFamily family, int count, IpAddress to, object? way, long now)
    {
        Move move = MoveOf(vrf, tag, family);
        if (count <= Math.Max(move.Together, move.Prefixes.Count)) return;
        move.Together = count;
        Mark(vrf, tag, count, to, way, now);
    }

    /// <summary>Appends the markers that are due.</summary>
    public void Due(long now, List<MarkerToSend> into)
    {
        for (int i = 0; i < _waiting.Count; i++)
        {
            if (_waiting[i].At > now) continue;
            into.Add(_waiting[i].Marker);
            Sent++;
            _waiting.RemoveAt(i--);
        }
    }

    private Move MoveOf(string vrf, uint tag, IpFamily family)
    {
        (string, uint, IpFamily) key = (vrf, tag, family);
        if (_moves.TryGetValue(key, out Move? move)) return move;
        if (_moves.Count >= MaxMoves) _moves.Remove(_order.Dequeue());
        _moves.Add(key, move = new Move());
        _order.Enqueue(key);
        return move;
    }

    private void Mark(string vrf, uint tag, int count, IpAddress to, object? way, long now)
    {
        var marker = new FlushMarker(tag, (uint)count, now, way is null ? FlushMarkerFlags.NoOldPath : FlushMarkerFlags.None);
        var send = new MarkerToSend(vrf, way, to, marker);
        _waiting.Add((now, send));
        foreach (long later in Copies) _waiting.Add((now + later, send));
    }

    private sealed class Move
    {
        /// <summary>Prefixes that left their old paths by one store, without their names.</summary>
        public int Together { get; set; }

        /// <summary>Those that were named.</summary>
        public HashSet<IpPrefix> Prefixes { get; } = [];
    }
}
