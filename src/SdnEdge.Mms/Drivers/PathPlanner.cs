using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>Makes the paths of moves from what their PEs said: ids, free keys, LOCAL_PREF, how order is kept.</summary>
/// <param name="notes">Where what is wrong goes.</param>
/// <param name="migration">Id of the migration.</param>
/// <param name="firstKey">First GRE key to try.</param>
/// <param name="usedKeys">Keys of the migrations that run.</param>
/// <param name="group">The group.</param>
/// <param name="options">The moves' bounds.</param>
/// <param name="ends">The PEs at both ends.</param>
/// <param name="ingress">The group's ingress PEs.</param>
internal sealed class PathPlanner(
    PlanNotes notes, string migration, uint firstKey, IReadOnlySet<uint> usedKeys, GroupConfig group, MoveOptions options,
    IReadOnlyDictionary<string, PeFacts> ends, IReadOnlyDictionary<string, PeFacts> ingress)
{
    private const double LeastKeptBackMs = 1;

    private uint _key = firstKey;
    private int _number;

    /// <summary>The next path.</summary>
    public PathMove Make(PathDraft draft, PathFacts facts)
    {
        PeFacts source = ends[draft.Source], target = ends[draft.Target];
        (uint localPref, uint? sourceLocalPref) = LocalPref(draft, facts);
        string[] others = [.. group.Ingress.Select(i => i.Name).Where(i => i != draft.Source && i != draft.Target && Has(i, draft.Vrf))
            .Distinct()];
        string[] reached = [.. others.Where(i => ingress[i].Node.Value is not null)];
        return new PathMove(
            $"{migration}.{++_number}", draft.Vrf,
            new PathEnd(draft.Source, source.Loopback, source.Loopbacks, draft.Moving(target: false)),
            new PathEnd(draft.Target, target.Loopback, target.Loopbacks, draft.Moving(target: true)),
            reached, FreeKey(source, target), localPref, sourceLocalPref, options.Hold, Order(draft, source, reached),
            group.OtherIngress || reached.Length < others.Length, KeepBackMs(source, target, reached));
    }

    // A PE without the VRF lets no client of it in. Of one that does not answer nobody knows.
    private bool Has(string pe, string vrf) => ingress[pe].Vrfs?.Value is not { } vrfs || vrfs.Any(v => v.Name == vrf);

    // What a server sends from its new place must not overtake what it sent from the old one: where the old PE's way to an ingress is the
    // longer one, by the difference of the two.
    private int KeepBackMs(PeFacts source, PeFacts target, string[] reached)
    {
        if (!options.KeepOrder) return 0;
        double most = 0;
        foreach (string pe in reached)
        {
            if (source.RoundTripTo(ingress[pe]) is { } from && target.RoundTripTo(ingress[pe]) is { } to)
                most = Math.Max(most, (from - to) / 2);
        }

        // Less than that is how much round trips differ by themselves.
        return most < LeastKeptBackMs ? 0 : (int)Math.Min(Math.Ceiling(most), SignalChecks.MaxKeepBackMs);
    }

    // The source is an ingress, too: of its own clients, and of all who have not moved when its tunnel goes.
    private OrderOptions? Order(PathDraft draft, PeFacts source, string[] reached)
    {
        if (!options.KeepOrder || options.Hold is { Disabled: true }) return null;
        return new OrderOptions(
            [new OrderedIngress(draft.Source, source.Loopbacks), .. reached.Select(i => new OrderedIngress(i, ingress[i].Loopbacks))],
            options.OrderBoundMs, options.OthersHoldMs);
    }

    private uint FreeKey(PeFacts source, PeFacts target)
    {
        HashSet<uint> used =
            [.. usedKeys, .. (source.Tunnels?.Value ?? []).Concat(target.Tunnels?.Value ?? []).Select(t => t.Key).OfType<uint>()];
        uint key = GreKeys.Free(_key, used);
        _key = GreKeys.After(key);
        return key;
    }

    // The target has what the source advertises, the source what all others do.
    private (uint Target, uint? Source) LocalPref(PathDraft draft, PathFacts facts)
    {
        PeFacts source = ends[draft.Source], target = ends[draft.Target];
        uint native = Math.Max(source.Node.Value?.LocalPref ?? 100, target.Node.Value?.LocalPref ?? 100), highest = 0;
        HashSet<IpAddress> loopbacks = [.. source.Loopbacks.Where(l => IpAddress.TryParse(l, out _)).Select(IpAddress.Parse)];
        bool alone = true;
        foreach ((IpPrefix prefix, PrefixFacts known) in facts.Prefixes)
        {
            IEnumerable<(RouteInfo Route, bool Here)> routes =
                [.. (known.AtSource.Value ?? []).Select(r => (r, true)), .. (known.AtTarget.Value ?? []).Select(r => (r, false))];
            foreach ((RouteInfo route, bool here) in routes)
            {
                if (!route.Is(prefix) || route.LocalPref is not { } pref) continue;
                highest = Math.Max(highest, pref);
                bool sources = (here && route.Peer is null) || (IpAddress.TryParse(route.NextHop, out IpAddress hop)
                    && loopbacks.Contains(hop));
                alone &= sources || pref <= native;
            }
        }

        if (NextLocalPref(highest, native, alone) is { } next) return next;
        notes.Add("local-pref-exhausted", draft.Name, $"LOCAL_PREF {Math.Max(highest, native)} of the prefixes leaves no room for a "
            + "higher one; lower what is told for them");
        return (uint.MaxValue, null);
    }

    /// <summary>
    /// LOCAL_PREF of the target, higher than what anybody tells now, so that the way there and back again both win at routers
    /// that look at nothing else. It rises by 100 with each move, up to 1000 above what the PEs tell natively. A move beyond
    /// that begins with the source going down to the lowest step: it alone tells the prefixes then, so nobody is drawn away,
    /// and in whatever order the two PEs' updates reach a router, the target's wins in the end.
    /// </summary>
    /// <param name="highest">Highest LOCAL_PREF of any route to the prefixes.</param>
    /// <param name="native">Highest LOCAL_PREF with which the PEs tell what was never moved.</param>
    /// <param name="sourceAlone">No PE but the source tells the prefixes above the native value.</param>
    /// <returns>The target's; and what the source has to go down to, null: nothing. Null when there is no higher one.</returns>
    public static (uint Target, uint? Source)? NextLocalPref(uint highest, uint native, bool sourceAlone)
    {
        const uint Step = ManagerMachine.LocalPrefStep, Range = 1000;
        ulong next = (ulong)Math.Max(highest, native) + Step;
        if (sourceAlone && next > (ulong)native + Range) return (native + (2 * Step), native + Step);
        return next <= uint.MaxValue ? ((uint)next, null) : null;
    }
}
