using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>
/// A change of the FIB as data. Either one prefix has another best route (<see cref="ChangedHop"/> is null), or one next hop
/// resolves otherwise than before, or has failed (<see cref="ChangedHop"/> says which; all prefixes that use it, as their first or as their
/// backup, follow at once).
/// Apply changes in order.
/// </summary>
/// <param name="Vrf">VRF of the table.</param>
/// <param name="Prefix">The prefix; <c>default</c> for a change of a next hop.</param>
/// <param name="Native">What the best route other than a redirect says; null: no route.</param>
/// <param name="Redirect">The redirect that lies over it; null: none. The native hop stays valid under it.</param>
/// <param name="Origin">Who offers the native best route.</param>
/// <param name="Attributes">BGP attributes of the native best route.</param>
/// <param name="ChangedHop">The next hop whose <see cref="NextHop.Resolved"/> changed.</param>
public readonly record struct RibChange(
    string Vrf, IpPrefix Prefix, NextHop? Native, NextHop? Redirect, RouteOrigin? Origin, PathAttributes? Attributes, NextHop? ChangedHop)
{
    /// <summary>Where packets go when the PE of <see cref="Native"/> fails (<see cref="LocRib.SetFailed"/>): the next hop of the route that
    /// would be the best one then. Null: the best route is not of BGP, or no other PE has the prefix.</summary>
    public NextHop? Backup { get; init; }
}

/// <summary>One route of the RIB as seen from outside.</summary>
/// <param name="Prefix">Prefix.</param>
/// <param name="Origin">Who offers it.</param>
/// <param name="Hop">Its next hop.</param>
/// <param name="Attributes">BGP attributes.</param>
/// <param name="Best">True for the native best route, and for the redirect in force.</param>
/// <param name="WhyNot">Why it is not the best.</param>
/// <param name="InstalledAtNs">CLOCK_MONOTONIC, nanoseconds: when it became (or last changed as) the best route; 0 when it is not.</param>
public readonly record struct RouteView(
    IpPrefix Prefix, RouteOrigin Origin, NextHop Hop, PathAttributes? Attributes, bool Best, RejectReason WhyNot, long InstalledAtNs)
{
    /// <summary>Kept from before a restart or refresh of its peer, and not told again yet.</summary>
    public bool Stale { get; init; }
}
