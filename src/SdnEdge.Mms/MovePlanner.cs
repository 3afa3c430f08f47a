using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms;

/// <summary>What a user asks for; the planner finds out the rest.</summary>
/// <param name="Server">The server.</param>
/// <param name="Vrf">VRF of its prefixes.</param>
/// <param name="Prefixes">Its prefixes.</param>
/// <param name="SourcePe">PE that serves it now.</param>
/// <param name="SourceSite">Site where it is.</param>
/// <param name="SourcePort">Port of that PE towards the site.</param>
/// <param name="TargetPe">PE that will serve it.</param>
/// <param name="TargetSite">Site where it goes.</param>
/// <param name="TargetPort">Port of that PE towards the site.</param>
/// <param name="Ingress">PEs that must have the direct path; empty = none is waited for. The two ends need not be named: their part is their own.</param>
/// <param name="Hold">Caps of the hold; null = defaults.</param>
/// <param name="BlackoutMs">Least time between pause and resume.</param>
/// <param name="Timeouts">Bounds; null = defaults.</param>
/// <param name="KeepOrder">True: ingress PEs send flush markers, and the target keeps order by them.</param>
/// <param name="OrderBoundMs">Longest time that packets of an ingress wait at the target for its marker.</param>
/// <param name="OthersHoldMs">How long packets of PEs that send no markers wait; 0 = they are delivered as they come.</param>
/// <param name="OtherIngress">Clients also come by PEs that are not named, e.g. of other makes: the tunnel is proved idle by its counters.</param>
public sealed record MoveRequest(
    string Server, string Vrf, IReadOnlyList<string> Prefixes, string SourcePe, string SourceSite, string SourcePort,
    string TargetPe, string TargetSite, string TargetPort, IReadOnlyList<string> Ingress, HoldOptions? Hold = null,
    int BlackoutMs = 300, MoveTimeouts? Timeouts = null, bool KeepOrder = true, int OrderBoundMs = 1000, int OthersHoldMs = 0, bool OtherIngress = false);

/// <summary>
/// Makes a plan from a request: loopbacks, a fresh migration id, an epoch and a LOCAL_PREF higher than any in use, a free tunnel key.
/// </summary>
public static class MovePlanner
{
    /// <summary>Asks both PEs and plans.</summary>
    /// <param name="request">What to do.</param>
    /// <param name="pes">Clients of the PEs, by name.</param>
    /// <param name="wallClock">For the id, and as a floor for the epoch: managers that share no journal still count upwards.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="ApiUnreachableException">A PE does not answer.</exception>
    public static async Task<MovePlan> PlanAsync(
        MoveRequest request, IReadOnlyDictionary<string, PeClient> pes, DateTimeOffset wallClock, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        PeClient source = pes[request.SourcePe], target = pes[request.TargetPe];
        NodeInfo sourceNode = await source.NodeAsync(cancel), targetNode = await target.NodeAsync(cancel);
        MigrationInfo[] known = [.. await source.MigrationsAsync(cancel), .. await target.MigrationsAsync(cancel)];
        if (known.FirstOrDefault(m => m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted)
            && m.Vrf == request.Vrf && m.Prefixes.Any(p => request.Prefixes.Contains(p.Prefix))) is { } busy)
        {
            throw new InvalidOperationException($"{string.Join(", ", request.Prefixes)} is part of migration '{busy.Id}', which is not finished "
                + $"({busy.State.ToString().ToLowerInvariant()} at its {busy.Role.ToString().ToLowerInvariant()}); end it with 'sdnedge migrate signal abort {busy.Id}', or teardown");
        }

        (uint targetPref, uint? sourcePref) = await LocalPrefAsync(source, target, sourceNode, targetNode, request, cancel);
        long epoch = Math.Max(wallClock.ToUnixTimeMilliseconds(), known.Select(m => m.Epoch + 1).DefaultIfEmpty(1).Max());
        return new MovePlan(
            $"{request.Server}-{wallClock.ToUniversalTime():yyyyMMddTHHmmssfff}", epoch, request.Server, request.Vrf,
            new MoveEnd(request.SourcePe, request.SourceSite, sourceNode.RouterId, [.. request.Prefixes.Select(p => new MovingPrefix(p, request.SourcePort))]),
            new MoveEnd(request.TargetPe, request.TargetSite, targetNode.RouterId, [.. request.Prefixes.Select(p => new MovingPrefix(p, request.TargetPort))]),
            [.. request.Ingress.Where(p => p != request.SourcePe && p != request.TargetPe)], FreeKey(epoch, await source.TunnelsAsync(cancel), await target.TunnelsAsync(cancel)),
            targetPref, request.Hold ?? new HoldOptions(), request.BlackoutMs, request.Timeouts ?? new MoveTimeouts(),
            request.KeepOrder && request.Hold is not { Disabled: true } ? await OrderAsync(request, pes, sourceNode, cancel) : null, request.OtherIngress)
        { SourceLocalPref = sourcePref };
    }

    // The source is an ingress too: of its own clients, and of all who have not moved when its tunnel goes.
    private static async Task<OrderOptions> OrderAsync(
        MoveRequest request, IReadOnlyDictionary<string, PeClient> pes, NodeInfo source, CancellationToken cancel)
    {
        var ingress = new List<OrderedIngress> { new(request.SourcePe, source.Loopbacks ?? [source.RouterId]) };
        foreach (string pe in request.Ingress.Where(p => p != request.SourcePe && p != request.TargetPe && pes.ContainsKey(p)).Distinct())
        {
            NodeInfo node = await pes[pe].NodeAsync(cancel);
            ingress.Add(new OrderedIngress(pe, node.Loopbacks ?? [node.RouterId]));
        }

        return new OrderOptions(ingress, request.OrderBoundMs, request.OthersHoldMs);
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
    /// <returns>The target's; and what the source has to go down to, null: nothing.</returns>
    /// <exception cref="InvalidOperationException">There is no higher one.</exception>
    public static (uint Target, uint? Source) NextLocalPref(uint highest, uint native, bool sourceAlone)
    {
        const uint Step = 100, Range = 1000;
        ulong next = (ulong)Math.Max(highest, native) + Step;
        if (sourceAlone && next > (ulong)native + Range) return (native + (2 * Step), native + Step);
        return next <= uint.MaxValue ? ((uint)next, null) : throw new InvalidOperationException($"LOCAL_PREF {Math.Max(highest, native)} leaves no room for a higher one");
    }

    // The target has what the source advertises, the source what all others do.
    private static async Task<(uint Target, uint? Source)> LocalPrefAsync(
        PeClient source, PeClient target, NodeInfo sourceNode, NodeInfo targetNode, MoveRequest request, CancellationToken cancel)
    {
        uint native = Math.Max(sourceNode.LocalPref ?? 100, targetNode.LocalPref ?? 100), highest = 0;
        IReadOnlyList<string> loopbacks = sourceNode.Loopbacks ?? [sourceNode.RouterId];
        bool alone = true;
        foreach (PeClient pe in (PeClient[])[source, target])
        {
            foreach (string prefix in request.Prefixes.Take(16))
            {
                foreach (RouteInfo route in await pe.RoutesAsync(request.Vrf, prefix, cancel))
                {
                    if (route.Prefix != prefix || route.LocalPref is not { } pref) continue;
                    highest = Math.Max(highest, pref);
                    bool sources = route.NextHop is { } hop ? loopbacks.Contains(hop) : pe == source;
                    alone &= sources || pref <= native;
                }
            }
        }

        return NextLocalPref(highest, native, alone);
    }

    private static uint FreeKey(long epoch, params IReadOnlyList<TunnelInfo>[] tunnels)
    {
        HashSet<uint> used = [.. tunnels.SelectMany(t => t).Select(t => t.Key ?? 0)];
        uint key = (uint)epoch & 0x7FFF_FFFF | 0x4000_0000;
        while (used.Contains(key)) key++;
        return key;
    }
}
