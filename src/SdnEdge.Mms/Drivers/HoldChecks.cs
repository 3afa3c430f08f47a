using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;

namespace SdnEdge.Mms.Drivers;

/// <summary>How long nobody will run, and whether the target's hold takes what comes meanwhile.</summary>
internal sealed class HoldChecks(PlanNotes notes, IReadOnlyDictionary<string, HostFacts> hosts, IReadOnlyDictionary<string, PeFacts> pes)
{
    // To stop and to start a server, and one synced record in between: a few milliseconds each, with room for a busy machine.
    private const double StopAndStartMs = 20;

    // Part of the hold that a prediction may fill: traffic is not even, and a blackout is longer at times.
    private const double Share = 0.8;

    // For the source PE to switch back, and the target PE to begin to give back.
    private const int SwitchBackMs = 500;

    // No hold is so small that a host on a busy machine is given up within less.
    private const int LeastStopMs = 3_000;

    /// <summary>
    /// Time between stop and start, milliseconds, the longest of these servers: what is copied in it, and a round trip from the manager
    /// to each of the two hosts; one more to the source where the hand-over is an order of its own.
    /// </summary>
    public double Blackout(IEnumerable<PlacedServer> servers, int copyMs)
        => servers.Select(s => s.From.Agent is null ? 0
            : (s.AtFrom?.Mirror?.PredictedBlackoutMs ?? copyMs) + OrdersMs([s])).DefaultIfEmpty(0).Max();

    /// <summary>The part of it that the manager's orders take.</summary>
    public double OrdersMs(IEnumerable<PlacedServer> servers) => servers.Select(s =>
    {
        // Of a service without state both instances run all the time.
        if (s.From.Agent is null) return 0;
        double source = hosts[s.From.Host.Name].RoundTripMs, target = hosts[s.To.Host.Name].RoundTripMs;
        return source + target + (s.Undoable ? 0 : source) + StopAndStartMs;
    }).DefaultIfEmpty(0).Max();

    /// <summary>How long nobody may run, milliseconds, so that what comes meanwhile fits into the hold. Null: there is no hold, or the rate
    /// is not known.</summary>
    public int? LongestBlackoutMs(PathDraft path, HoldOptions hold)
        => hold.Disabled || Rate(path) is not { } rate ? null
            : (int)Math.Max(1, (Room(hold, rate) * Share) - pes[path.Source].RoundTripMs - pes[path.Target].RoundTripMs);

    /// <summary>
    /// How long the manager may wait for the servers to stop: as long as the hold takes what comes, less what it has taken by then. A host
    /// that is cut off does not answer, its servers may run, and nothing reaches them from the switch on.
    /// </summary>
    /// <param name="path">The path.</param>
    /// <param name="hold">Its caps.</param>
    /// <param name="blackoutMs">How long nobody will run.</param>
    /// <returns>Milliseconds; null: there is no hold, or the rate is not known.</returns>
    public int? StopMs(PathDraft path, HoldOptions hold, double blackoutMs)
    {
        if (hold.Disabled || Rate(path) is not { } rate) return null;

        // It has been filling since the switch, and goes on until the source PE has switched back.
        double room = Room(hold, rate) - (2 * pes[path.Source].RoundTripMs) - SwitchBackMs;
        return (int)Math.Max(Math.Max(LeastStopMs, 2 * blackoutMs), room);
    }

    /// <summary>What a path's hold will keep. Too much is an obstacle.</summary>
    /// <param name="path">The path.</param>
    /// <param name="hold">Its caps.</param>
    /// <param name="blackoutMs">How long nobody will run.</param>
    public HoldPrediction? Predict(PathDraft path, HoldOptions hold, double blackoutMs)
    {
        PeFacts source = pes[path.Source];
        if (hold.Disabled || Rate(path) is not { } rate) return null;

        // It fills from the switch until the release: a round trip to each PE more.
        double heldMs = blackoutMs + source.RoundTripMs + pes[path.Target].RoundTripMs;
        long packets = (long)Math.Ceiling(rate.Packets * heldMs / 1000), bytes = (long)Math.Ceiling(rate.Bytes * heldMs / 1000);
        var reasons = new List<string>();
        if (packets > hold.MaxPackets * Share)
            reasons.Add($"{rate.Packets:0} packets/s for {heldMs:0} ms are {packets} packets, of {hold.MaxPackets} that fit; maxPackets: "
                + $"{(long)Math.Ceiling(packets / Share)} would do");
        if (bytes > hold.MaxBytes * Share)
            reasons.Add($"{rate.Bytes:0} bytes/s for {heldMs:0} ms are {bytes} bytes, of {hold.MaxBytes} that fit; maxBytes: "
                + $"{(long)Math.Ceiling(bytes / Share)} would do");
        string because = string.Join("; ", reasons), asked = Share.ToString("P0", System.Globalization.CultureInfo.InvariantCulture);
        if (reasons.Count > 0 && Others(path) is { Count: > 0 } others)
        {
            notes.Warn($"the hold at {path.Target} may be too small: {because}; that is all that leaves by the port at {path.Source}, "
                + $"where others are, too ({string.Join(", ", others.Take(3))})");
        }
        else if (reasons.Count > 0)
        {
            notes.Add("hold-too-small", path.Name, $"{because} (a prediction may fill {asked})");
        }

        if (heldMs > hold.MaxMilliseconds * Share)
        {
            notes.Add("hold-too-small", path.Name,
                $"packets will be held for {heldMs:0} ms, the hold drops what is older than {hold.MaxMilliseconds} ms; maxMilliseconds: "
                    + $"{(int)Math.Ceiling(heldMs / Share)} would do");
        }

        return new HoldPrediction(path.Name, Math.Round(rate.Packets, 1), packets, hold.MaxPackets);
    }

    // How long it takes what comes, milliseconds.
    private static double Room(HoldOptions hold, (double Packets, double Bytes) rate)
    {
        double room = hold.MaxMilliseconds;
        if (rate.Packets > 0) room = Math.Min(room, hold.MaxPackets * 1000.0 / rate.Packets);
        return rate.Bytes > 0 ? Math.Min(room, hold.MaxBytes * 1000.0 / rate.Bytes) : room;
    }

    // What leaves by the servers' ports, by two looks at the counters: no less than what comes for the servers.
    private (double Packets, double Bytes)? Rate(PathDraft path)
    {
        PeFacts source = pes[path.Source];
        if (source is not { Ports.Value: { } before, PortsLater.Value: { } after }) return null;
        double seconds = (source.PortsLater.AtNs - source.Ports.AtNs) / 1e9;
        if (seconds <= 0) return null;
        (double packets, double bytes) = (0, 0);
        foreach (string name in path.Servers.Select(s => s.From.Port).Distinct())
        {
            if (before.FirstOrDefault(p => p.Name == name) is not { } first
                || after.FirstOrDefault(p => p.Name == name) is not { } second) continue;
            packets += Math.Max(0, second.TxPackets - first.TxPackets) / seconds;
            bytes += Math.Max(0, second.TxBytes - first.TxBytes) / seconds;
        }

        return (packets, bytes);
    }

    // Who else is behind these ports: their packets are in the counters and never in the hold.
    private List<string> Others(PathDraft path)
    {
        HashSet<string> ports = [.. path.Servers.Select(s => s.From.Port)];
        IpPrefix[] ours = [.. path.Prefixes.Select(p => p.Prefix)];
        IpAddress[] hops = [.. path.Servers.SelectMany(s => s.From.NextHops)];
        var others = new List<string>();
        foreach (NeighborInfo neighbor in pes[path.Source].Neighbors?.Value ?? [])
        {
            if (neighbor.Mac is null || !ports.Contains(neighbor.Port)
                || !IpAddress.TryParse(neighbor.Address, out IpAddress address)) continue;
            if (!s_linkLocal.Contains(address) && !ours.Any(p => p.Contains(address))
                && !hops.Contains(address)) others.Add(neighbor.Address);
        }

        return others;
    }

    private static readonly IpPrefix s_linkLocal = IpPrefix.Parse("fe80::/10");
}
