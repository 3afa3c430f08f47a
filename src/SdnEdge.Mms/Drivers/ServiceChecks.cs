using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Where the services of a group without state are. An instance of each runs at all of its places, and no host is asked; where clients are
/// led is the PEs' word: exactly one of the places' PEs forwards each prefix by a route of its own, configured or brought by a migration.
/// What that PE has from before, and a migration put out of use, is no such route.
/// </summary>
internal sealed class ServiceChecks(PlanNotes notes, ManagerState state, GroupConfig group, SiteConfig to, PlanInquiry inquiry)
{
    private readonly bool _busy = state.RunningOf(group.Name) is not null;

    /// <summary>The services that are to move, as far as their places are known. All obstacles are in the notes.</summary>
    public async Task<IReadOnlyList<PlacedServer>> PlaceAsync()
    {
        IReadOnlyDictionary<(string Pe, string Vrf, IpPrefix Prefix), Answer<FibInfo>> fibs = await inquiry.ForwardsAsync(
            group.Servers.SelectMany(s => s.At.SelectMany(p => s.Prefixes.Select(x => (p.Pe.Name, s.Vrf, x)))));
        var placed = new List<PlacedServer>();
        var there = new List<string>();
        foreach (ServerConfig service in group.Servers)
        {
            PlaceConfig? target = notes.TargetOf(service, to);
            PlaceConfig? from = Where(service, fibs);
            if (from is null || target is null) continue;
            if (from == target)
            {
                there.Add(service.Name);
                continue;
            }

            WarnOfUnasked(service, target);
            placed.Add(new PlacedServer(service, from, target, null, null, IsSeen: true));
        }

        if (_busy) return placed;
        string[] sites = [.. placed.Select(p => p.From.Site.Name).Distinct()];
        if (there.Count > 0 && placed.Count == 0)
        {
            notes.Add("already-there", group.Name, $"clients of {string.Join(", ", there)} are led to {to.Name} already; name another "
                + "site");
        }
        else if (sites.Length + (there.Count > 0 ? 1 : 0) > 1)
        {
            notes.Add("group-split", group.Name, "clients are led to different sites: "
                + string.Join(", ", placed.Select(p => $"{p.Server.Name} at {p.From.Site.Name}").Concat(there.Select(
                    s => $"{s} at {to.Name}"))) + "; a group moves as a whole: have all of it at one site first");
        }

        return placed;
    }

    // Null: not known, or not at exactly one; the notes say why.
    private PlaceConfig? Where(
        ServerConfig service, IReadOnlyDictionary<(string Pe, string Vrf, IpPrefix Prefix), Answer<FibInfo>> fibs)
    {
        PlaceConfig[]? all = null;
        foreach (IpPrefix prefix in service.Prefixes)
        {
            var own = new List<PlaceConfig>();
            bool said = true;
            foreach (PlaceConfig place in service.At)
            {
                Answer<FibInfo> answer = fibs[(place.Pe.Name, service.Vrf, prefix)];

                // A VRF that is not there has no route, and is an obstacle of its own.
                if (answer.Refusal is not null) continue;
                FibInfo? fib = _busy ? answer.Value : notes.Need(place.Pe.Name, answer);
                if (fib is null) said = false;
                else if (IsOwn(fib, prefix, place)) own.Add(place);
            }

            if (!said) return null;
            if (own.Count != 1)
            {
                if (!_busy) SayWhy(service, prefix, own);
                return null;
            }

            if (all is not null && all[0] != own[0])
            {
                if (!_busy) notes.Add("group-split", service.Name, $"{service.Prefixes[0]} is led to {all[0].Site.Name} and {prefix} to "
                    + $"{own[0].Site.Name}; have all prefixes of {service.Name} at one site first");
                return null;
            }

            all = [own[0]];
        }

        return all?[0];
    }

    private void SayWhy(ServerConfig service, IpPrefix prefix, List<PlaceConfig> own)
    {
        if (own.Count == 0)
        {
            notes.Add("not-routed", prefix.ToString(), "none of "
                + $"{string.Join(", ", service.At.Select(p => $"{p.Pe.Name} (port {p.Port})"))} has a route of its own to {prefix}, so "
                + $"nobody is led to {service.Name}; give the PE of the site where it is to begin a static route to it by its port");
        }
        else
        {
            notes.Add("routed-twice", prefix.ToString(),
                $"{string.Join(" and ", own.Select(p => p.Pe.Name))} each have a route of their own to {prefix}, so clients are led to "
                + $"{string.Join(" and ", own.Select(p => p.Site.Name))} at once; take it from the configuration of all but one");
        }
    }

    // The port's subnet is no route to the service: hosts of it are at both sites. A next hop in place of a host is the way to it.
    private static bool IsOwn(FibInfo fib, IpPrefix prefix, PlaceConfig place)
        => fib.Port == place.Port && IpPrefix.TryParse(fib.Prefix, out IpPrefix found) && found == prefix;

    // The target PE asks by ARP and ND before the switch: a host's address, or the next hop.
    private void WarnOfUnasked(ServerConfig service, PlaceConfig target)
    {
        string[] unasked = [.. service.Prefixes.Where(p => p.Length != p.Address.BitLength && target.NextHop(p.Family) is null)
            .Select(p => p.ToString())];
        if (unasked.Length > 0)
            notes.Warn($"nobody at {target.Pe.Name} can be asked whether {service.Name} answers for {string.Join(", ", unasked)}: it is no "
                + $"single address, and its place at {to.Name} has no nextHop");
    }
}
