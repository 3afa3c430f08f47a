using SdnEdge.Core.Config;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// This PE as an ingress of moving prefixes: behind its last packet on the old path it sends a flush marker. A round:
/// <list type="number">
/// <item>Before the FIB follows a change whose new route carries a tag: note the decision that is about to go.</item>
/// <item>The FIB follows.</item>
/// <item>Every worker passes a batch boundary: no packet takes the old decision any more.</item>
/// <item>The marker goes down the old path, and its copies after it.</item>
/// </list>
/// In a VRF of a customer the old path is a VPN tunnel. Runs on the control loop.
/// </summary>
internal sealed class MarkerDriver : ITimed
{
    private readonly FlushMarkers _markers = new();
    private readonly List<Leaving> _leaving = [];
    private readonly List<MarkerToSend> _due = [];
    private readonly PeState _state;
    private readonly ControlLoop _loop;

    public MarkerDriver(PeState state, ControlLoop loop) => (_state, _loop) = (state, loop);

    public long NextDeadline => _markers.NextDeadline;

    public void Poll(long now) => SendDue(now);

    /// <summary>The prefixes of a move take another path than the FIB's by a redirect group's decision; the grace period is over. Costs as
    /// much as they have different next hops.</summary>
    /// <param name="tag">Tag of the move.</param>
    /// <param name="vrf">VRF of the prefixes.</param>
    /// <param name="group">The group, with all its prefixes in the FIB.</param>
    /// <param name="prefixes">The prefixes.</param>
    public void MovedByGroup(uint tag, VrfState vrf, RedirectGroup group, PrefixSet prefixes)
    {
        long now = _loop.Now;
        foreach (IpFamily family in (ReadOnlySpan<IpFamily>)[IpFamily.V4, IpFamily.V6])
        {
            int all = vrf.Publisher.NativesOf(group).Sum(n => n.Prefixes(family));
            if (all == 0) continue;
            IpAddress to = prefixes.First(p => p.Prefix.Family == family).Prefix.Address;
            int moved = 0;
            foreach (var way in vrf.Publisher.NativesOf(group).GroupBy(n => WayOf(n.Decision)))
            {
                int there = way.Sum(n => n.Prefixes(family));
                if (there == 0) continue;
                moved += there;
                _markers.MovedTogether(vrf.Config.Name, tag, family, moved, to, way.Key, now);
            }

            Told(now, tag, all);
        }

        SendDue(now);
    }

    /// <summary>The FIB is about to follow these changes.</summary>
    public void Note(VrfState vrf, ReadOnlySpan<RibChange> changes)
    {
        foreach (ref readonly RibChange change in changes)
        {
            // Under a redirect the route is not what packets take; whoever takes the redirect away sends the markers then.
            if (change.Attributes?.MoveTag is not { } tag || change.Redirect is not null || change.ChangedHop is not null) continue;

            // A customer's router does not say which markers a PE sends.
            if (!vrf.Table.IsDefault && change.Origin is { External: true }) continue;
            FibLeaf? leaf = vrf.Publisher.LeafOf(change.Prefix);
            if (leaf?.Group is null) _leaving.Add(new Leaving(tag, vrf, change.Prefix, leaf?.Hop.Current));
        }
    }

    /// <summary>The FIB has followed what was noted.</summary>
    public void Send(long now)
    {
        // A route that was only told anew has not moved anything.
        _leaving.RemoveAll(l => ReferenceEquals(l.Old, l.Vrf.Publisher.LeafOf(l.Prefix)?.Hop.Current));
        if (_leaving.Count == 0) return;
        _state.Workers.Grace();
        SendFor(now);
    }

    private void SendFor(long now)
    {
        foreach (var group in _leaving.GroupBy(l => (Vrf: l.Vrf.Config.Name, l.Tag, l.Prefix.Family, Way: WayOf(l.Old))))
            _markers.Moved(group.Key.Vrf, group.Key.Tag, [.. group.Select(l => l.Prefix)], group.Key.Way, now);
        Told(now, _leaving[0].Tag, _leaving.Count);
        _leaving.Clear();
        SendDue(now);
    }

    private void Told(long now, uint tag, int prefixes) => _state.Events.Add(now, "migration", $"tag {tag:x8}", "moved",
        $"{prefixes} prefixes took another path; flush markers follow");

    private static object? WayOf(ForwardingDecision? old) => old switch
    {
        { Kind: ForwardingKind.Via } => old.Adjacency,
        { Kind: ForwardingKind.Tunnel } => old.Tunnel,
        _ => null,
    };

    private void SendDue(long now)
    {
        _due.Clear();
        _markers.Due(now, _due);
        foreach (MarkerToSend send in _due)
        {
            // The VRF may have gone before the last copy.
            if (!_state.Vrfs.TryGetValue(send.Vrf, out VrfState? vrf)) continue;

            // Markers are told apart by their sender.
            IpAddress from = MarkerSender.Of(_state.Config.Loopbacks, send.To.Family, !vrf.Table.IsDefault);
            if (from.IsNone) continue;
            byte[] packet = send.Marker.ToPacket(from, send.To);
            switch (send.Way)
            {
                case Adjacency old:
                    _state.Workers.SendVia(old, packet);
                    break;
                case Tunnel old:
                    _state.Workers.Probe(old, packet);
                    break;
                default:
                    _state.Workers.Originate(vrf.Table.Index, packet);
                    break;
            }
        }
    }

    private readonly record struct Leaving(uint Tag, VrfState Vrf, IpPrefix Prefix, ForwardingDecision? Old);
}
