using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms;

/// <summary>
/// Whether an ingress PE takes the direct path: for each moving prefix its best route is the target's, and its FIB forwards the
/// prefix the way it forwards that route's next hop. A prefix once seen direct is not looked at again.
/// </summary>
internal sealed class PathObserver(PeClient pe, MovePlan plan)
{
    private int _next;

    public async Task<IngressSeen> LookAsync()
    {
        for (; _next < plan.Target.Prefixes.Count; _next++)
        {
            string prefix = plan.Target.Prefixes[_next].Prefix;
            if (await WhyNotAsync(prefix) is { } why) return new IngressSeen(pe.Name, false, why);
        }

        return new IngressSeen(pe.Name, true);
    }

    private async Task<string?> WhyNotAsync(string prefix)
    {
        IReadOnlyList<RouteInfo> routes = await pe.RoutesAsync(plan.Vrf, prefix);
        RouteInfo? best = routes.FirstOrDefault(r => r.Best && r.Prefix == prefix);
        if (best is null) return $"no route to {prefix}";
        if (best.Peer != plan.Target.Loopback && best.NextHop != plan.Target.Loopback)
            return $"the best route to {prefix} is {best.Peer ?? best.NextHop ?? best.Source}'s, not {plan.Target.Loopback}'s";
        if (best.NextHop is null || !IpPrefix.TryParse(prefix, out IpPrefix parsed)) return null;
        FibInfo forwards = await pe.FibLookupAsync(plan.Vrf, parsed.Address.ToString());
        FibInfo towards = await pe.FibLookupAsync(plan.Vrf, best.NextHop);

        // Another family's next hop (RFC 8950) resolves on a port of its own choice: the RIB's word then has to do.
        if (!IpAddress.TryParse(best.NextHop, out IpAddress hop) || hop.Family != parsed.Family) return null;
        return forwards.NextHop == towards.NextHop && forwards.Port == towards.Port ? null
            : $"the FIB sends {prefix} to {forwards.NextHop}, not to {towards.NextHop}";
    }
}
