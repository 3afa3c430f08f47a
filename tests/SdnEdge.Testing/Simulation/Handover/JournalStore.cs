using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>One input, and the clock of the manager that decided on it.</summary>
internal sealed record JournalItem(ManagerInput Input, long Now, ManagerState After);

/// <summary>How an append ended.</summary>
internal enum AppendResult
{
    /// <summary>It is on disk.</summary>
    Durable,
    /// <summary>Another decision was there first (R8).</summary>
    Conflict,
    /// <summary>It is not known to be on disk; it may be tried again, and until then a crash may bring it to light.</summary>
    Unavailable,
}

/// <summary>
/// The journal: a disk that all managers use. An append is all or none; one that is under way when its manager is killed may be there
/// afterwards or not.
/// </summary>
internal sealed class JournalStore(HandoverWorld world)
{
    private readonly Dictionary<ManagerParty, (long Expected, JournalItem[] Items, bool Torn)> _inFlight = [];

    public List<JournalItem> Records { get; } = [];

    /// <summary>Which file it is: another one has been put in its place so often.</summary>
    public int File { get; private set; }

    /// <summary>An old copy is put in its place. Who still has the old file open writes there no more.</summary>
    public void PutBack(int upTo)
    {
        Records.RemoveRange(upTo, Records.Count - upTo);
        File++;
        world.Log("journal", $"is an old copy now, of {upTo} records");
    }

    /// <summary>Appends; the answer comes when it is known.</summary>
    public void Append(ManagerParty manager, long expected, JournalItem[] items, Action<AppendResult> answer)
    {
        (long Expected, JournalItem[] Items, bool Torn) entry = (expected, items, false);
        _inFlight[manager] = entry;
        world.Sim.In(world.Sim.Between(200_000, world.Calm || !world.Sim.Chance(30) ? 8_000_000 : 3_000_000_000), () =>
        {
            if (!_inFlight.TryGetValue(manager, out (long Expected, JournalItem[] Items, bool Torn) found) || found.Items != items
                || found.Torn) return;
            if (manager.File != File || (expected != Records.Count && world.Mutant != Mutant.AppendAnywhere))
            {
                _inFlight.Remove(manager);
                world.Log("journal", $"{manager.Name} expected position {expected}, it is {Records.Count}");
                answer(AppendResult.Conflict);
                return;
            }

            if (world.Fails(10))
            {
                _inFlight[manager] = entry with { Torn = true };
                answer(AppendResult.Unavailable);
                return;
            }

            _inFlight.Remove(manager);
            Write(manager, items);
            answer(AppendResult.Durable);
        });
    }

    /// <summary>A manager was killed: what it had under way is there, or is not.</summary>
    public void Killed(ManagerParty manager)
    {
        if (!_inFlight.Remove(manager, out (long Expected, JournalItem[] Items, bool Torn) entry)) return;
        bool may = manager.File == File && (entry.Expected == Records.Count || world.Mutant == Mutant.AppendAnywhere);
        if (world.Sim.Chance(500) && may) Write(manager, entry.Items);
    }

    private void Write(ManagerParty manager, JournalItem[] items)
    {
        foreach (JournalItem item in items)
        {
            ManagerState before = Records.Count == 0 ? ManagerState.Empty : Records[^1].After;
            Records.Add(item);
            world.OnRecord(manager, item, before);
        }
    }
}
