using System.Security.Cryptography;
using System.Text;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// The servers' volumes, as far as a manager sees them: in some runs the link between the two stores breaks now and then. The owner's store
/// then reports that the replica is stale, until that is on record, and only from there on acknowledges what the replica lacks; when the
/// link is back the replica has everything, and that is reported, too. What was acknowledged and is at one site alone must not be missing
/// where the server runs next.
/// </summary>
internal sealed partial class HandoverWorld
{
    // Of its own, so that the runs without volumes are what they are without it.
    private readonly Random _volumesRandom;
    private readonly Dictionary<string, SimVolume> _volumes = new(StringComparer.Ordinal);

    /// <summary>The identity of a server's volume.</summary>
    public static Guid VolumeOf(string server) => new(SHA256.HashData(Encoding.UTF8.GetBytes("disk of " + server))[..16]);

    /// <summary>How often something was acknowledged at one site alone, and how often that was over.</summary>
    public int Unprotected { get; private set; }

    /// <inheritdoc cref="Unprotected"/>
    public int WholeAgain { get; private set; }

    private bool HasVolumes => _volumes.Count > 0;

    private void BeginVolumes()
    {
        // Where the journal may be lost the marks are lost with it; the planner then has the stores' own word, which is not simulated.
        if (_loses || _volumesRandom.Next(3) > 0) return;
        foreach (string server in _servers)
        {
            _volumes.Add(server, new SimVolume(server));
            Sim.In(_volumesRandom.NextInt64(50 * Ms, 2 * Second), () => LinkBreaks(server));
        }
    }

    private IReadOnlyList<MovedVolume>? VolumesOf(string server)
        => HasVolumes ? [new MovedVolume("disk-" + server, VolumeOf(server))] : null;

    /// <summary>A server is to run at a site: what was acknowledged at the other one alone is lost.</summary>
    private void MustBeWhole(string server, string site)
    {
        if (_volumes.GetValueOrDefault(server) is not { AloneAt: { } alone } || alone == site) return;
        Fail($"lost: writes of {server} were acknowledged at site {alone} alone, and it is to run at site {site}");
    }

    // The host with the guest; its store is the owner under the epoch of the right to run.
    private (string Site, ulong Epoch)? OwnerOf(string server)
        => Hosts.Values.Select(h => h.Cells[server]).FirstOrDefault(c => c is { Guest: ServerState.Running, Disk.MayRun: not null }) is
            { } cell ? (cell.Site, (ulong)cell.Disk.MayRun!.Value + 1) : null;

    private void LinkBreaks(string server)
    {
        SimVolume volume = _volumes[server];
        if (Calm) return;
        if (volume.AloneAt is null && OwnerOf(server) is { } owner)
        {
            volume.Generation++;
            volume.IsCut = true;
            Log("store-" + owner.Site, $"the link is cut; {server} writes on as soon as that is on record (report {volume.Generation})");
            if (Mutant == Mutant.AcknowledgesUnreported) Acknowledge(volume, owner.Site);
            ReportStale(volume, owner, volume.Generation);
            Sim.In(_volumesRandom.NextInt64(50 * Ms, 3 * Second), () => LinkIsBack(volume));
            return;
        }

        Sim.In(_volumesRandom.NextInt64(100 * Ms, 3 * Second), () => LinkBreaks(server));
    }

    // Until it is confirmed, or the link is back, or somebody else owns it.
    private void ReportStale(SimVolume volume, (string Site, ulong Epoch) owner, ulong generation)
    {
        if (!volume.IsCut || volume.Generation != generation || OwnerOf(volume.Server) is not { } now) return;
        if (now.Site != owner.Site) return;
        Tell(volume, now, generation, from: generation * 100, () =>
        {
            // The store is asked at this moment: an answer that is late finds another epoch, or a guest that stands still.
            if (volume.IsCut && volume.Generation == generation && OwnerOf(volume.Server) == now) Acknowledge(volume, now.Site);
        });
        if (volume.AloneAt is null) Sim.In(500 * Ms, () => ReportStale(volume, now, generation));
    }

    private void Acknowledge(SimVolume volume, string site)
    {
        if (volume.AloneAt is not null) return;
        Log("store-" + site, $"acknowledges what the replica of {volume.Server} lacks");
        volume.AloneAt = site;
        Unprotected++;
    }

    private void LinkIsBack(SimVolume volume)
    {
        // The other site gets it all only from the site that has it.
        (volume.IsCut, volume.AloneAt) = (false, null);
        Log("stores", $"the replica of {volume.Server} has everything again");
        ReportWhole(volume, volume.Generation);
    }

    private void ReportWhole(SimVolume volume, ulong generation)
    {
        if (volume.IsCut || volume.Generation != generation || volume.WholeOnRecord >= generation) return;
        if (OwnerOf(volume.Server) is { } owner) Tell(volume, owner, generation, from: null, () =>
        {
            if (volume.WholeOnRecord >= generation) return;
            volume.WholeOnRecord = generation;
            WholeAgain++;
            Sim.In(_volumesRandom.NextInt64(50 * Ms, 3 * Second), () => LinkBreaks(volume.Server));
        });
        Sim.In(500 * Ms, () => ReportWhole(volume, generation));
    }

    private void Tell(SimVolume volume, (string Site, ulong Epoch) owner, ulong generation, ulong? from, Action confirmed)
    {
        if (Manager() is not { } manager) return;
        var report = new StaleReported(
            VolumeOf(volume.Server), owner.Epoch, generation, from, "store-" + owner.Site, "disk-" + volume.Server);
        Ask<StrongAnswer>(manager, "store-" + owner.Site, $"report {generation} of {volume.Server}, epoch {owner.Epoch}: from {from}",
            answer => manager.Report(report, taken => answer(new StrongAnswer(taken))), answer =>
            {
                if (answer.Taken) confirmed();
            });
    }

    private sealed record StrongAnswer(bool Taken);

    private sealed class SimVolume(string server)
    {
        public string Server { get; } = server;

        public ulong Generation { get; set; }

        public ulong WholeOnRecord { get; set; }

        public bool IsCut { get; set; }

        // The site that has acknowledged what the other one lacks.
        public string? AloneAt { get; set; }
    }
}
