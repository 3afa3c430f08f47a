using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Lab.Topologies;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>What was found on the disks of both sites.</summary>
/// <param name="Word">The guest's, having stopped to write; null = it never did.</param>
/// <param name="Disks">What was read.</param>
/// <param name="Wrong">What must not be; empty = all is well.</param>
internal sealed record DiskFinding(DiskWord? Word, IReadOnlyList<DiskRead> Disks, IReadOnlyList<string> Wrong);

/// <summary>
/// Looks at a guest's disk at both sites while the guest stands between two records: all of its bytes, read as a client of each store, and
/// every record that was acknowledged. Then the guest goes on writing.
/// </summary>
internal sealed class DiskCheck : IDisposable
{
    private readonly LabDaemons _daemons;
    private readonly string _volume;
    private readonly GuestDisk _disk;
    private (ulong Boot, long Record) _before;

    /// <summary>Of the lab's only guest.</summary>
    public DiskCheck(LabDaemons daemons, string client)
    {
        LabGuest guest = daemons.Lab.Guests.Single();
        (_daemons, _volume) = (daemons, guest.Volumes.Single());
        _disk = new GuestDisk(daemons.Lab, client, guest.Addresses[0]);
    }

    /// <summary>Looks.</summary>
    /// <param name="home">The site whose store is to own the volume; the other's is to follow.</param>
    public async Task<DiskFinding> LookAsync(string home)
    {
        if (await Task.Run(() => _disk.Stop(Patience.Long)) is not { } word)
            return new DiskFinding(null, [], ["the guest does not end its writing"]);
        var wrong = new List<string>();
        if (word.Boot == _before.Boot && word.Acknowledged <= _before.Record)
            wrong.Add($"the guest has written nothing since record {_before.Record}");
        if (word.Bad > 0) wrong.Add($"{word.Bad} records that it read back were not as written");
        if (word.Errors > 0) wrong.Add($"{word.Errors} of its requests failed");
        _before = (word.Boot, word.Acknowledged);
        if (!await CaughtUpAsync(home)) wrong.Add($"the store at {home} does not own {_volume}, or its replica has not caught up");
        var disks = new List<DiskRead>();
        foreach (LabStore store in _daemons.Lab.Stores)
        {
            disks.Add(await DiskRead.OfAsync(store.Node, _daemons.Lab.NbdSocket(store.Node), _volume, word.Boot, word.Acknowledged,
                CancellationToken.None));
        }

        foreach (DiskRead read in disks)
        {
            if (read.Fault is { } fault) wrong.Add($"{read.Store} was not read: {fault}");
            if (read.Lost > 0) wrong.Add($"{read.Lost} of {read.Expected} records are not at {read.Store}, the first is {read.FirstLost}");
        }

        if (disks.Select(r => r.Sha256).Distinct().Count() != 1) wrong.Add("the disks differ");
        if (await Task.Run(() => _disk.Go(Patience.Long)) is null) wrong.Add("the guest does not go on writing");
        return new DiskFinding(word, disks, wrong);
    }

    /// <inheritdoc/>
    public void Dispose() => _disk.Dispose();

    private Task<bool> CaughtUpAsync(string home)
    {
        string owner = _daemons.Lab.Stores.Single(s => s.Site == home).Node;
        return Patience.BecomesAsync(async () =>
        {
            VolumeInfo at = await _daemons.AskAsync($"volume {_volume} at {owner}", c => _daemons.Stores[owner].VolumeAsync(_volume, c));
            return at is { Role: OwnerRole.Owner, Replication: { Connected: true } r } && r.ReplicaDurable >= r.Last;
        }, Patience.Long);
    }
}
