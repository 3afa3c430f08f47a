using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>Whether two PEs can hand prefixes over: ports, routes, the way between them, what else is going on there.</summary>
/// <param name="notes">Where what is wrong goes.</param>
/// <param name="state">The fold of the journal.</param>
/// <param name="group">The group.</param>
/// <param name="pes">The PEs at both ends.</param>
/// <param name="placed">Where its servers are.</param>
internal sealed class NetworkChecks(
    PlanNotes notes, ManagerState state, GroupConfig group, IReadOnlyDictionary<string, PeFacts> pes, IReadOnlyList<PlacedServer> placed)
{
    // GRE with a key, RFC 2784 and 2890.
    private const int GreBytes = 8;

    private readonly MigrationState? _running = state.RunningOf(group.Name);

    /// <summary>What is so at one PE, whatever it exchanges with others. Of each server the place behind that PE.</summary>
    public void CheckEnd(string pe, bool isTarget, IEnumerable<(ServerConfig Server, PlaceConfig Place)> servers)
    {
        PeFacts facts = pes[pe];
        if (notes.Need(pe, facts.Node) is not { } node) return;
        if (!node.Ready) notes.Add("pe-not-ready", pe, $"{pe} does not forward yet; wait until it is ready");
        IReadOnlyList<PortInfo>? ports = notes.Need(pe, facts.Ports);
        IReadOnlyList<VrfInfo>? vrfs = notes.Need(pe, facts.Vrfs);
        notes.Need(pe, facts.Tunnels);
        (ServerConfig Server, PlaceConfig Place)[] all = [.. servers];
        foreach ((ServerConfig server, PlaceConfig place) in all)
        {
            if (vrfs is not null && vrfs.All(v => v.Name != server.Vrf))
                notes.Add("vrf-unknown", $"{pe} {server.Vrf}", $"{pe} has no VRF '{server.Vrf}'; it has {List(vrfs.Select(v => v.Name))}");
            if (ports is not null) CheckPort(pe, isTarget, server, place, ports);
        }

        if (notes.Need(pe, facts.Migrations) is { } migrations) CheckMigrations(pe, migrations, [.. all.Select(s => s.Server)]);
    }

    /// <summary>What is so between the two PEs of a path.</summary>
    public void CheckPath(PathDraft path, PathFacts facts)
    {
        if (path.Prefixes.Count() is var count && count > SignalChecks.MaxPrefixes)
            notes.Add("limit", path.Name, $"{count} prefixes go from {path.Source} to {path.Target}; one migration at a PE takes "
                + $"{SignalChecks.MaxPrefixes}: move the group one-by-one");
        CheckWay(path, path.Source, path.Target, facts.There);
        CheckWay(path, path.Target, path.Source, facts.Back);
        var elsewhere = new List<(PlacedServer Server, IpPrefix Prefix, string Now)>();
        foreach ((PlacedServer server, IpPrefix prefix) in path.Prefixes)
        {
            PrefixFacts known = facts.Prefixes[prefix];
            notes.Need(path.Source, known.AtSource);
            notes.Need(path.Target, known.AtTarget);
            FibInfo? attached = known.Attached is { Refusal: not null } ? null : notes.Need(path.Source, known.Attached);
            if (attached is null || !server.IsSeen || pes[path.Source].Port(server.From.Port) is null
                || attached.Port == server.From.Port) continue;
            elsewhere.Add((server, prefix, attached.Prefix.Length == 0 ? "it has none"
                : $"it goes {(attached.NextHop is { } hop ? $"to {hop} " : "")}by {attached.Port ?? attached.Action}"));
        }

        // One obstacle for all prefixes of a server that are routed the same wrong way.
        foreach (var same in elsewhere.GroupBy(e => (e.Server, e.Now)))
        {
            string prefixes = Few([.. same.Select(e => e.Prefix)]);
            notes.Add("not-routed", prefixes,
                $"{path.Source} has no route to {prefixes} by port {same.Key.Server.From.Port}, where {same.Key.Server.Server.Name} is: "
                    + $"{same.Key.Now}; give it a static route there, or correct the configuration");
        }
    }

    /// <summary>
    /// Whether an ingress PE will hear of the target's route. The source has a route of its own to what moves, which it prefers to all
    /// that it is told, whatever their LOCAL_PREF, until it withdraws; and it withdraws when every ingress has taken the direct path. A
    /// reflector passes on its best route alone (RFC 4456): a source that is the reflector hides the target's route.
    /// </summary>
    /// <param name="path">The path.</param>
    /// <param name="name">The ingress PE.</param>
    /// <param name="ingress">All ingress PEs.</param>
    public void CheckIngress(PathDraft path, string name, IReadOnlyDictionary<string, PeFacts> ingress)
    {
        (PeFacts facts, PeFacts source, PeFacts target) = (ingress[name], pes[path.Source], pes[path.Target]);

        // In a VPN each PE's route has a distinguisher of its own, as a rule, and no route hides another's.
        if (path.Vrf != NodeConfig.DefaultVrf || facts.Node.Value is not { } node || facts.Peers?.Value is not { } peers) return;
        BgpPeerInfo[] up = [.. peers.Where(p => p.PeerAs == node.As && p.State == "established")];
        if (!up.Any(p => source.Loopbacks.Contains(p.Address)) || up.Any(p => target.Loopbacks.Contains(p.Address))) return;
        PeFacts[] known = [.. pes.Values, .. ingress.Values];
        foreach (BgpPeerInfo peer in up.Where(p => !source.Loopbacks.Contains(p.Address)))
        {
            // One that nothing is known of may be a reflector.
            PeFacts? other = known.FirstOrDefault(k => k.Loopbacks.Contains(peer.Address));
            if (other?.Peers?.Value is not { } its || its.Any(p => p.ReflectorClient)) return;
        }

        notes.Add("no-direct-path", name, $"{name} hears of {path.Target}'s routes by {path.Source} alone, and {path.Source} has a "
            + $"route of its own to what moves: it would never tell {name} of the one by {path.Target}; give {name} a BGP session with "
            + $"{path.Target}, or with a route reflector that is not {path.Source}");
    }

    /// <summary>Whether the source tells peers of another AS in time that another path is to be preferred.</summary>
    public void WarnOfProviders(PathDraft path)
    {
        PeFacts source = pes[path.Source];
        if (path.Vrf != NodeConfig.DefaultVrf || source.Node.Value is not { } node || source.Peers?.Value is not { } peers) return;
        string[] unaware = [.. peers
            .Where(p => p.Vrf == path.Vrf && p.PeerAs != node.As
                && p is { State: "established", PrefixesSent: > 0, TellsLeaving: false })
            .Select(p => $"{p.Address} (AS {p.PeerAs})")];
        if (unaware.Length > 0)
            notes.Warn($"{path.Source} tells {List(unaware)} its routes unchanged until it withdraws them: these may keep the old path "
                + "until then, and have none for a moment; give the export policy a term with leaving: true, which tells a higher MED, a "
                + "longer AS_PATH or the provider's community");
    }

    // At most four prefixes in full; a server may have a thousand.
    private static string Few(IReadOnlyList<IpPrefix> prefixes) => prefixes.Count <= 4 ? string.Join(", ", prefixes)
        : $"{string.Join(", ", prefixes.Take(3))} and {prefixes.Count - 3} more";

    private static string List(IEnumerable<string> names) => string.Join(", ", names) is { Length: > 0 } list ? list : "none";

    private void CheckPort(string pe, bool isTarget, ServerConfig server, PlaceConfig place, IReadOnlyList<PortInfo> ports)
    {
        string where = $"{pe} {place.Port}";
        if (ports.FirstOrDefault(p => p.Name == place.Port) is not { } port)
            notes.Add("port-unknown", where, $"{pe} has no port '{place.Port}', where {server.Name} belongs; it has "
                + $"{List(ports.Select(p => p.Name))}");
        else if (port.Vrf != server.Vrf)
            notes.Add("port-unknown", where, $"port {place.Port} of {pe} is in VRF {port.Vrf}, the prefixes of {server.Name} are in "
                + $"{server.Vrf}; name a port of that VRF");
        else if (isTarget && !port.Up)
            notes.Add("port-down", where, $"port {place.Port} of {pe}, where {server.Name} goes, is down; bring it up first");
    }

    private void CheckMigrations(string pe, IReadOnlyList<MigrationInfo> migrations, ServerConfig[] servers)
    {
        long known = state.GroupOf(group.Name).Epoch;
        string next = ManagerMachine.IdOf(state.NextMigration);
        foreach (MigrationInfo migration in migrations)
        {
            if (migration.Id.StartsWith(next + ".", StringComparison.Ordinal)
                || migration.Id.StartsWith(next + "-", StringComparison.Ordinal))
            {
                notes.Add("journal-old", $"{pe} {migration.Id}",
                    $"{pe} knows migration {migration.Id}, the journal's next one is {next} and would be taken for it; run sdnedge mms "
                        + "recover");
            }

            IpPrefix[] ours =
            [
                .. servers.Where(s => s.Vrf == migration.Vrf).SelectMany(s => s.Prefixes)
                    .Where(p => migration.Prefixes.Any(m => IpPrefix.TryParse(m.Prefix, out IpPrefix other) && (p.Contains(other)
                        || other.Contains(p)))),
            ];
            if (ours.Length == 0) continue;
            if (migration.Epoch > known)
            {
                notes.Add("journal-old", $"{pe} {migration.Id}",
                    $"{pe} has seen epoch {migration.Epoch} of {string.Join(", ", ours)} (migration {migration.Id}), the journal knows "
                        + $"{known} for {group.Name}; run sdnedge mms recover");
            }

            // What is armed for the group itself is disarmed before it moves.
            if (state.Protections.GetValueOrDefault(group.Name)?.Plan.Paths.Any(p => p.Id == migration.Id) ?? false) continue;
            if (migration.IsOver() || (_running?.Moves.Any(m => m.Plan.Paths.Any(p => p.Id == migration.Id)) ?? false)) continue;
            notes.Add("prefix-elsewhere", string.Join(", ", ours),
                $"it is part of migration {migration.Id} at {pe}, which is not finished ({Words.Of(migration.State)}, "
                    + $"{Words.Of(migration.Role)}), {HowToEnd(pe, migration, ours)}");
        }
    }

    // Whoever leads it ends it. An end by hand that does not fit where the server is leads its traffic to where it is not.
    private string HowToEnd(string pe, MigrationInfo left, IpPrefix[] prefixes)
    {
        MigrationState? known = state.Migrations.Values.FirstOrDefault(m => m.Moves.Any(x => x.Plan.Paths.Any(p => p.Id == left.Id)));
        if (known is { Outcome: null })
            return $"of group {known.Request.Group}, and at work: wait for its end ('sdnedge migrate watch {known.Id}' shows it)";
        MigrationRequest? owner = known?.Request ?? state.Ended.Values.FirstOrDefault(e => e.HasPath(left.Id))?.Request;
        string whose = owner is null ? "and is not of this manager: if it is at work, wait for its end. If nobody leads it any more: "
            : $"of group {owner.Group}: nobody leads it any more. ";

        string? other = pes.FirstOrDefault(p => p.Value.Loopbacks.Contains(left.Peer)).Key;
        bool isSource = left.Role == MigrationRole.Source;
        (string? source, string? target) = isSource ? (pe, other) : (other, pe);
        MigrationInfo? there = other is null ? null : pes[other].Migrations?.Value?.FirstOrDefault(m => m.Id == left.Id);
        if (other is null || pes[other].Migrations?.Value is null)
            return $"{whose}its other end ({other ?? left.Peer}) has to be asked first: "
                + $"'sdnedge show migrations --api API' there. {Rule}";
        PeMigrationState? atSource = isSource ? left.State : there?.State, atTarget = isSource ? there?.State : left.State;
        string?[] runs = [.. group.Servers.Where(s => s.Prefixes.Any(prefixes.Contains))
            .Select(s => placed.FirstOrDefault(p => p.Server == s && p.IsSeen)?.From.Pe.Name).Distinct()];
        bool onlyForward = EndByHand.OnlyForward(atSource, atTarget);
        bool back = (group.Stateless || (runs is [{ } from] && from == source)) && !onlyForward,
            forward = onlyForward || (runs is [{ } at] && at == target);
        if (onlyForward && !group.Stateless && runs is [{ } still] && still == source)
            return $"{whose}{target} was told that its servers run there, and they run behind {source}: see to that first";
        if (!back && !forward) return $"{whose}see first where its servers run. {Rule}";

        string end = back ? "take it back" : "bring it to its end";
        string way = group.Stateless ? $"{List(group.Servers.Select(s => s.Name))} runs behind both, so {end}"
            : $"they run behind {(back ? source : target)}, so {end}";
        IReadOnlyList<EndStep> steps = back ? EndByHand.Back(atSource, atTarget) : EndByHand.Forward(atSource, atTarget);
        return $"{whose}{way}, each when the one before it was answered: " + string.Join(", ", steps.Select(s =>
            EndByHand.Command(s.Signal, left.Id, ApiOf((s.At == MigrationRole.Source ? source : target)!), Math.Max(left.Epoch,
                there?.Epoch ?? 0))));
    }

    private const string Rule = "While they run at the source, 'sdnedge migrate signal abort' at the source PE, then at the target PE; "
        + "once they run at the target, release and advertise there, then withdraw and teardown at the source PE, then teardown at the "
        + "target PE";

    private string ApiOf(string pe) => group.Servers.SelectMany(s => s.At).Select(p => p.Pe).First(p => p.Name == pe).Api;

    // 1. There is a way. 2. What the servers' port takes fits into the tunnel by that way, so that nothing is fragmented or refused.
    private void CheckWay(PathDraft path, string from, string to, Answer<FibInfo> answer)
    {
        PeFacts here = pes[from];
        if (notes.Need(from, answer) is not { } way) return;
        if (way.Prefix.Length == 0 || (way.Port is null && way.NextHop is null))
        {
            notes.Add("no-path", $"{from} > {to}", $"{from} has no route to {pes[to].Loopback}, the loopback of {to}; the migration's "
                + "tunnel needs one, both ways");
            return;
        }

        if (here.Port(way.Port) is not { } port || !IpAddress.TryParse(pes[to].Loopback, out IpAddress loopback)) return;
        PortInfo[] attached = [.. path.Servers.Select(s => pes[path.Source].Port(s.From.Port)).OfType<PortInfo>()];
        if (attached.Length == 0) return;
        PortInfo largest = attached.MaxBy(p => p.Mtu)!;
        int overhead = (loopback.IsV4 ? 20 : 40) + GreBytes, fits = port.Mtu - overhead;
        if (fits >= largest.Mtu) return;
        notes.Add("mtu-too-small", $"{from} > {to}",
            $"the tunnel from {from} to {to} leaves by port {port.Name} with MTU {port.Mtu} and takes packets of {fits} bytes ({overhead} "
            + "for GRE), "
            + $"port {largest.Name} of {path.Source} takes {largest.Mtu}; give the way an MTU of {largest.Mtu + overhead} or more, or "
                + $"port {largest.Name} one of {fits}");
    }
}
