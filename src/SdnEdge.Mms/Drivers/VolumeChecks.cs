using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Whether the volumes of the servers can go with them, by what the stores of both sites say of them (their hosts pass it on) and by what
/// is on record of them here.
/// </summary>
/// <param name="notes">Where what is found is noted.</param>
/// <param name="state">The fold of the journal.</param>
/// <param name="hasWindow">True: the move waits for a window, and what is still copied may end before.</param>
internal sealed class VolumeChecks(PlanNotes notes, ManagerState state, bool hasWindow)
{
    // A guest waits so long for a store that is gone before it sees an error: longer than a store takes to start again.
    private const int LeastReconnectSeconds = 60;

    // A lag of this age is worth a warning, seconds.
    private const double LagSeconds = 10;

    // What is younger is on its way: then the rate of the link is what was written, not what it can carry.
    private const double BacklogSeconds = 1;

    /// <summary>Checks all that move. All obstacles are in the notes.</summary>
    public void Check(IReadOnlyList<PlacedServer> servers)
    {
        foreach (PlacedServer server in servers)
        {
            IReadOnlyList<ServerVolumeInfo> here = server.AtFrom?.Volumes ?? [], there = server.AtTo?.Volumes ?? [];
            if (server.AtFrom is not null && server.AtTo is not null)
            {
                CheckNames(server, here, server.From.Host.Name, there, server.To.Host.Name);
                CheckNames(server, there, server.To.Host.Name, here, server.From.Host.Name);
            }

            foreach (ServerVolumeInfo volume in here)
            {
                ServerVolumeInfo? other = there.FirstOrDefault(v => v.Name == volume.Name);
                CheckStore(server, volume, server.From.Host.Name);
                if (other is not null) CheckStore(server, other, server.To.Host.Name);
                CheckStale(server, volume);
                if (volume.Fault is null && other is { Fault: null }) CheckPair(server, volume, other);
            }

            if (here.Count == 0 && there.Count == 0) continue;
            if (server.AtFrom?.Machine is { } from) CheckGuest(server.Server.Name, server.From.Host.Name, from);
            if (server.AtTo?.Machine is { } to) CheckGuest(server.Server.Name, server.To.Host.Name, to);
        }
    }

    /// <summary>The volumes that move with a server; null = it has none.</summary>
    public static IReadOnlyList<MovedVolume>? Of(PlacedServer server)
        => (server.AtFrom?.Volumes ?? []).Where(v => v.Id is not null).Select(v => new MovedVolume(v.Name, v.Id!.Value)).ToArray()
            is { Length: > 0 } volumes ? volumes : null;

    private void CheckNames(
        PlacedServer server, IReadOnlyList<ServerVolumeInfo> here, string host, IReadOnlyList<ServerVolumeInfo> there, string other)
    {
        foreach (string name in here.Select(v => v.Name).Except(there.Select(v => v.Name)))
            notes.Add("volumes-differ", $"{name} of {server.Server.Name}", $"it is a volume of {server.Server.Name} at {host} and not at "
                + $"{other}; name the same volumes: for it in both hosts' configurations");
    }

    private void CheckStore(PlacedServer server, ServerVolumeInfo volume, string host)
    {
        if (volume.Fault is not { } fault) return;
        string where = $"{volume.Name} of {server.Server.Name} at {host}";
        if (volume.IsMissing) notes.Add("volume-unknown", where, $"{fault}; make it there: the volume with its name, replica: and owner:");
        else notes.Add("volume-fault", where, $"{fault}; it must be served at both sites for as long as the migration takes");
    }

    private void CheckStale(PlacedServer server, ServerVolumeInfo volume)
    {
        string where = $"{volume.Name} of {server.Server.Name}";
        VolumeMark? mark = volume.Id is { } id ? state.Volumes.GetValueOrDefault(id) : null;
        if (mark is { StaleFrom: { } from })
        {
            notes.Add("volume-stale", where, $"its copy at {server.To.Site.Name} is stale from sequence {from} on, on record since "
                + $"{mark.Since} (by {mark.By}): {server.Server.Name} would lose what was acknowledged; have the link of the stores back, "
                + "and wait until it is whole again");
        }
        else if (volume.StaleFrom is { } said)
        {
            notes.Add("volume-stale", where, $"{volume.Store ?? "its store"} says that its copy at {server.To.Site.Name} is stale from "
                + $"sequence {said} on, and that is not on record here; name this manager in that store's configuration, then have the "
                + "link of the stores back");
        }
    }

    private void CheckPair(PlacedServer server, ServerVolumeInfo volume, ServerVolumeInfo other)
    {
        (string from, string to) = (volume.Store ?? server.From.Host.Name, other.Store ?? server.To.Host.Name);
        string where = $"{volume.Name} of {server.Server.Name}";
        if (volume.SizeBytes != other.SizeBytes)
            notes.Add("volume-size", where, $"it has {volume.SizeBytes} bytes at {from} and {other.SizeBytes} at {to}; a replica is as "
                + "large as its volume: make the smaller one anew");
        if (volume.Id != other.Id)
            notes.Add("volume-differs", where, $"the two are no copies of each other: {volume.Id} at {from}, {other.Id} at {to}; delete "
                + "the one that nobody needs, and have it made as the other's replica");
        if (volume.IsReplicated == false)
            notes.Add("volume-alone", where, $"it has no replica by the configuration of {from}; write replica: {to} there");
        if (other.IsReplicated == false)
            notes.Add("volume-alone", where, $"it is no replica by the configuration of {to}; write replica: {from}, owner: false there");
        if (volume.IsReplicated == false || other.IsReplicated == false || volume.Id != other.Id) return;
        if (volume.Role != OwnerRole.Owner)
            notes.Add("volume-owner", where, $"{server.Server.Name} runs at {server.From.Site.Name}, and {from} does not own it "
                + $"({Of(volume.Role)}); see sdnedge store show {volume.Name} at both");
        if (other.Role == OwnerRole.Owner)
        {
            notes.Add("volume-owner", where, $"{to} owns it (epoch {other.GrantedEpoch}), and so {(volume.Role == OwnerRole.Owner
                ? $"does {from} (epoch {volume.GrantedEpoch}): write owner: false at one of them, and resynchronize it"
                : $"{server.Server.Name} has to run at {server.To.Site.Name}")}");
            return;
        }

        if (volume.Role == OwnerRole.Owner) CheckReplica(where, volume, other, from, to);
    }

    private void CheckReplica(string where, ServerVolumeInfo volume, ServerVolumeInfo other, string from, string to)
    {
        if (other.Phase is { } phase and not CopyPhase.Following)
        {
            string text = $"its copy at {to} is not whole yet ({Of(phase)}): {other.CopiedBytes} of {other.SizeBytes} bytes are there";
            if (hasWindow) notes.Warn($"{where}: {text}; it has to be before the window");
            else notes.Add("volume-copying", where, $"{text}; wait for the rest, or give the migration a window");
        }

        if (!volume.Connected)
            notes.Add("replica-gone", where, $"{from} has no link to {to}; see replication: at both, and what is between them");
        IReadOnlyList<ReplicationAlarm> alarms = volume.Alarms ?? [];
        if (alarms.Contains(ReplicationAlarm.CopiesDiffer))
            notes.Add("volume-differs", where, $"{from} and {to} say different things of the same point; run sdnedge store check "
                + $"{volume.Name} at both, and resynchronize the one that is not good");
        bool measured = volume is { BytesPerSecond: > 0, LagBytes: > 0, LagSeconds: >= BacklogSeconds };
        long spare = volume.BytesPerSecond - volume.WriteBytesPerSecond;
        if (measured && spare <= 0)
        {
            notes.Add("volume-not-converging", where, $"it is written at {Mega(volume.WriteBytesPerSecond)} MB/s and the link to {to} "
                + $"carries {Mega(volume.BytesPerSecond)} MB/s: the replica, {volume.LagBytes} bytes behind, does not catch up; wait until "
                + "the guest does less, or widen the link");
        }
        else if (alarms.Contains(ReplicationAlarm.LagAtBound) || volume.LagSeconds >= LagSeconds)
        {
            string left = measured
                ? string.Create(CultureInfo.InvariantCulture, $", about {volume.LagBytes / (double)spare:0} s of the link") : "";
            notes.Warn(string.Create(CultureInfo.InvariantCulture,
                $"{where}: the replica is {volume.LagBytes} bytes and {volume.LagSeconds:0} s behind{left}: the move waits for it"));
        }
    }

    // A store that is started again within that time is then not seen by the guest at all.
    private void CheckGuest(string server, string host, MachineInfo machine)
    {
        foreach (MachineDisk disk in machine.Disks.Where(d => d.ReconnectSeconds < LeastReconnectSeconds))
        {
            string name = disk.Node.Length > 0 ? $"disk {disk.Node}" : "a disk without an id";
            notes.Add("disk-reconnect", $"{server} at {host}", $"{name} waits {disk.ReconnectSeconds} s for a store that is gone, and its "
                + $"requests fail then; write reconnect-delay={LeastReconnectSeconds} or more");
        }
    }

    private static string Of(Enum? word) => word is null ? "it does not say" : Words.Of(word);

    private static string Mega(long bytes) => (bytes / 1e6).ToString("0.0", CultureInfo.InvariantCulture);
}
