using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Moves that come too fast (<see cref="Bgp.MoveDamping"/>). A route that is held back is taken without the number of its
/// move: it loses to the owner that is held on to, and is there at once should that one go, so that damping makes no black
/// hole. Prefixes of our own are left alone: the management system told this PE of the move itself, over its own, fenced
/// channel, and the server is here; to doubt that on the word of routes of others would do what the damping is to prevent.
/// </summary>
public sealed partial class BgpEngine
{
    private readonly Dictionary<IpPrefix, Dictionary<RouteOrigin, (PathAttributes Told, PathAttributes Taken)>> _heldBack = [];
    private readonly List<IpPrefix> _recovered = [];

    /// <summary>What is damped.</summary>
    public MoveDamping MoveDamping { get; }

    /// <summary>A prefix moves too often (the text says how), or, with no text, is followed again. Called inside the engine's methods: do
    /// not call back.</summary>
    public event Action<IpPrefix, string?>? MoveDamped;

    private PathAttributes Damp(RouteOrigin origin, IpPrefix prefix, PathAttributes told, long now)
    {
        if (told.MobilitySequence == 0 || _own.ContainsKey(prefix)
            || !MoveDamping.HoldsBack(prefix, told.MobilitySequence, now, out bool begins))
        {
            if (_heldBack.Count > 0 && _heldBack.TryGetValue(prefix, out Dictionary<RouteOrigin,
                (PathAttributes, PathAttributes)>? others)) others.Remove(origin);
            return told;
        }

        _builder.Load(told);
        MobilitySequence.Remove(_builder);
        PathAttributes taken = Attributes.Intern(_builder.Build());
        if (!_heldBack.TryGetValue(prefix, out Dictionary<RouteOrigin, (PathAttributes, PathAttributes)>? routes)) _heldBack.Add(prefix,
            routes = []);
        routes[origin] = (told, taken);
        if (begins)
        {
            MoveDampingSettings limits = _settings.MoveDamping;
            MoveDamped?.Invoke(prefix, $"more than {limits.Moves} moves within {limits.WithinSeconds} s, now {told.MobilitySequence} by "
                + $"{origin.Name}: move {MoveDamping.Find(prefix)!.Value.Number} is held on to until {limits.RecoverySeconds} s have "
                + $"passed without another");
        }

        return taken;
    }

    private void RecoverMoves(long now)
    {
        if (now < MoveDamping.NextDeadline) return;
        _recovered.Clear();
        MoveDamping.Recover(now, _recovered);
        foreach (IpPrefix prefix in _recovered)
        {
            if (_heldBack.Remove(prefix, out Dictionary<RouteOrigin, (PathAttributes Told, PathAttributes Taken)>? routes))
            {
                foreach (RouteView route in _rib.Explain(prefix))
                {
                    // What its peer has taken back or replaced since is past.
                    if (routes.TryGetValue(route.Origin, out (PathAttributes Told, PathAttributes Taken) held)
                        && held.Taken.Equals(route.Attributes))
                        _rib.Offer(route.Origin, prefix, route.Hop.Spec, held.Told, now);
                }
            }

            MoveDamped?.Invoke(prefix, null);
        }
    }
}
