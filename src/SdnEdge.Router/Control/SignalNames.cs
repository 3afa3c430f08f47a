using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Api;
using SdnEdge.Web;

namespace SdnEdge.Router.Control;

/// <summary>What a signal is told that cannot be carried out here.</summary>
internal static class SignalNames
{
    /// <summary>Names in a prepare that only this PE knows, and does not have; all at once.</summary>
    public static List<ProblemError> Unknown(PeSignal signal, PeState state)
    {
        var errors = new List<ProblemError>();
        string vrf = signal.Vrf ?? NodeConfig.DefaultVrf;
        if (!state.Vrfs.ContainsKey(vrf)) errors.Add(new ProblemError("/vrf",
            $"there is no VRF '{vrf}' here; there are {string.Join(", ", state.Vrfs.Keys)}"));
        IpAddress peer = signal.Peer!.Value;
        if (state.Config.Loopbacks.Contains(peer)) errors.Add(new ProblemError("/peer",
            $"'{peer}' is this PE itself; send the other PE's loopback"));
        else if (!state.Config.Loopbacks.Any(l => l.Family == peer.Family)) errors.Add(new ProblemError("/peer",
            $"this PE has no loopback of the family of '{peer}'"));
        for (int i = 0; i < signal.Prefixes!.Count && errors.Count < 100; i++)
        {
            string name = signal.Prefixes[i].Port;
            if (!state.Ports.TryGetValue(name, out PortState? port)) errors.Add(new ProblemError($"/prefixes/{i}/port",
                $"there is no port '{name}' here; there are {string.Join(", ", state.Ports.Keys)}"));
            else if (port.Config.Vrf != vrf) errors.Add(new ProblemError($"/prefixes/{i}/port",
                $"port '{name}' is in VRF '{port.Config.Vrf}', the migration in '{vrf}'"));
        }

        for (int i = 0; i < (signal.Watch?.Count ?? 0); i++)
        {
            if (WhyNotWatched(signal.Watch![i], vrf, state) is { } why) errors.Add(new ProblemError($"/watch/{i}", why));
        }

        if (signal.BackupLocalPref is { } backup && state.Vrfs.TryGetValue(vrf, out VrfState? there))
            CheckBackup(signal, backup, there, errors);
        return errors;
    }

    private static string? WhyNotWatched(WatchedPart part, string vrf, PeState state)
    {
        if (part.Bfd is { } peer)
        {
            if (state.Config.BfdSessions.Any(s => s.Address == IpAddress.Parse(peer)
                && (s.Vrf == vrf || s.Vrf == NodeConfig.DefaultVrf))) return null;
            return $"this PE has no BFD session with {peer} in VRF '{vrf}' or in the default VRF; add it under bfd: sessions: in its "
                + "configuration";
        }

        if (part.Carrier is { } device)
            return NetDevice.Exists(device) ? null : $"there is no network device '{device}' in this PE's namespace";
        IpAddress host = IpAddress.Parse(part.Neighbor!);
        if (state.Ports.Values.Any(p => p.Config.Vrf == vrf && p.Config.Addresses.Any(a => a.Address.Family == host.Family
            && a.Subnet.Contains(host)))) return null;
        return $"no port of VRF '{vrf}' has {host} on its subnet";
    }

    // A backup that is preferred would draw the traffic while the source is well.
    private static void CheckBackup(PeSignal signal, uint backup, VrfState vrf, List<ProblemError> errors)
    {
        HashSet<IpPrefix> except = [.. signal.BackupExcept ?? []];
        foreach (MovedPrefix moved in signal.Prefixes!)
        {
            if (except.Contains(moved.Prefix)) continue;
            if (vrf.Rib.Best(moved.Prefix) is not { Origin.Source: RouteSource.Bgp } route) continue;
            uint theirs = route.Attributes?.LocalPref ?? 100;
            if (theirs > backup) continue;
            errors.Add(new ProblemError("/backupLocalPref",
                $"{backup} is not below {theirs}, with which {route.Origin.Peer} advertises {moved.Prefix}; send a lower one"));
            return;
        }
    }

    /// <summary>A refusal of the machine, as the API says it.</summary>
    public static Problem Problem(PeRefusal refusal) => refusal.Reason switch
    {
        PeRefusalReason.BadRequest => Problems.BadRequest(refusal.Detail, refusal.Errors),
        PeRefusalReason.Unknown => Problems.NotFound(refusal.Detail),
        PeRefusalReason.StaleEpoch => Problems.StaleEpoch(refusal.Detail),
        PeRefusalReason.WrongState => Problems.WrongState(refusal.Detail),
        // Types of their own: a manager that sees them only has to wait.
        PeRefusalReason.TunnelNotUp or PeRefusalReason.HoldNotDrained or PeRefusalReason.NoOtherRoute
            or PeRefusalReason.MarkersMissing or PeRefusalReason.ServersSilent => Problems.WrongState(refusal.Detail)
                with { Type = refusal.Type },
        _ => Problems.Conflict(refusal.Detail),
    };
}
