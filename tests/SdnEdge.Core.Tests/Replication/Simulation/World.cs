using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>A rule that a run leaves out, to show that it is needed. The drivers around the machines leave it out, not the
/// machines.</summary>
public enum Mutant
{
    None,

    /// <summary>The effect of an order comes before its record is on disk.</summary>
    AnswersBeforeDisk,

    /// <summary>A replica says "durable" when it has received.</summary>
    ReceivedIsDurable,

    /// <summary>A sync write is answered when the replica alone has it.</summary>
    RemoteAloneAnswers,

    /// <summary>Writes go on unprotected before the manager has "stale" on disk.</summary>
    UnreportedStale,

    /// <summary>The manager grants without the sealed owner's last point.</summary>
    GrantWithoutPoint,

    /// <summary>The lease is looked at when a write comes, not when it is answered.</summary>
    LeaseAtAdmissionOnly,

    /// <summary>A copy that is being resynchronized is promoted.</summary>
    PromotesResync,

    /// <summary>A tail that the owner does not have stays in the replica's log.</summary>
    KeepsTail,

    /// <summary>What the owner's log has let go was touched, and is not fetched.</summary>
    GapWithoutItsRecords,

    /// <summary>Behind a gap the log goes on at the owner's last record, not at the gap's.</summary>
    LogSkipsBehindGap,

    /// <summary>What the replica's own records touched is not fetched.</summary>
    TailNotFetched,

    /// <summary>What an earlier copy had not fetched yet is not fetched.</summary>
    CopyForgotten,

    /// <summary>A store gives its ownership up to one that a manager has granted, and may still void.</summary>
    GivesWayToAGrant,
}

/// <summary>An acknowledged write or flush.</summary>
/// <param name="Epoch">Under which epoch.</param>
/// <param name="Point">Its record.</param>
/// <param name="IsBarrier">A flush: everything before it was promised too.</param>
/// <param name="IsPromised">It was to survive the loss of the site.</param>
/// <param name="IsDurable">It was to survive a power cut of the site.</param>
internal sealed record Ack(ulong Epoch, LogPoint Point, bool IsBarrier, bool IsPromised, bool IsDurable);

/// <summary>
/// Two stores, a manager and a guest in one thread, with a seeded order of everything: messages are lost, doubled, late and out of order,
/// links
/// are cut, everybody crashes and forgets what was not synced. What must be true is checked whenever something happens.
/// </summary>
internal sealed class World
{
    public const long Ms = 1_000_000;
    public const int Blocks = 6;

    private readonly PriorityQueue<Action, (long At, long Order)> _events = new();
    private readonly Dictionary<ulong, (ulong Parent, LogPoint Point, uint[] Content)> _histories = [];
    private readonly List<Ack> _acks = [];
    private readonly bool _traces;
    private long _order;
    private uint _values;

    public World(ulong seed, Mutant mutant = Mutant.None, bool trace = false)
    {
        Random = new Random((int)seed);
        (Mutant, _traces) = (mutant, trace);
        _histories[0] = (0, LogPoint.Start, new uint[Blocks]);
        UsesLease = Random.Next(2) == 0;
        Policy = new ReplicationPolicy
        {
            PeerGone = (PeerGoneAction)Random.Next(2), PeerGoneAfter = 400 * Ms, LagBytes = Random.Next(3) == 0 ? 60_000 : 0,
            AtLagBound = (LagAction)Random.Next(2),
        };
        Mode = (ReplicationMode)Random.Next(3);
        Loss = Random.Next(3) * 0.05;
        Stores = [new(this, 0), new(this, 1)];
        Manager = new Manager(this);
        Guest = new Guest(this, Stores[0], 1);
        Guests.Add(Guest);
        Stores[0].Create(Guest.Identity);
        Stores[1].CreateFollower();
        Manager.Start();
        Guest.Run();
        At(Random.Next(50, 400) * Ms, Fault);
    }

    public Random Random { get; }

    public Mutant Mutant { get; }

    public long Now { get; private set; }

    public Store[] Stores { get; }

    public Manager Manager { get; }

    public Guest Guest { get; set; }

    // Those of earlier times too: nobody has to be gone.
    public List<Guest> Guests { get; } = [];

    public bool UsesLease { get; }

    public ReplicationPolicy Policy { get; }

    public ReplicationMode Mode { get; }

    public double Loss { get; private set; }

    public bool LinkCut { get; private set; }

    // By store: the manager does not reach it.
    public bool[] Unreachable { get; } = new bool[2];

    public List<string> Story { get; } = [];

    public string? Wrong { get; private set; }

    public int Events { get; private set; }

    public Dictionary<string, int> Counts { get; } = [];

    public IReadOnlyList<Ack> Acks => _acks;

    public void Run(long milliseconds)
    {
        while (Wrong is null && _events.TryDequeue(out Action? action, out (long At, long Order) key))
        {
            if (key.At > milliseconds * Ms) break;
            Now = key.At;
            Events++;
            action();
            if (Wrong is null)
            {
                foreach (Store store in Stores) store.Check();
            }
        }
    }

    public uint NextValue() => ++_values;

    public void At(long delay, Action action) => _events.Enqueue(action, (Now + delay, _order++));

    /// <summary>A message to or from the manager: lost, doubled, late.</summary>
    public void Post(int store, Action deliver)
    {
        int copies = Random.NextDouble() < Loss ? 0 : Random.NextDouble() < 0.05 ? 2 : 1;
        for (int i = 0; i < copies; i++)
        {
            long delay = Random.Next(5) == 0 ? Random.Next(400) * Ms : Random.Next(1, 20) * Ms;
            At(delay, () =>
            {
                if (!Unreachable[store]) deliver();
            });
        }
    }

    public void Tell(string line)
    {
        if (_traces) Story.Add($"{Now / 1e6,9:0.0} {line}");
    }

    public void Count(string what) => Counts[what] = Counts.GetValueOrDefault(what) + 1;

    public void Fail(string what)
    {
        Tell("WRONG: " + what);
        Wrong ??= what;
    }

    public static ulong Chain(ulong previous, in LogRecord record)
    {
        ulong hash = (previous ^ 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9;
        hash = (hash ^ record.Sequence ^ (record.Epoch << 40) ^ ((ulong)record.Kind << 56)) * 0x94D049BB133111EB;
        hash = (hash ^ (ulong)record.Offset ^ ((ulong)record.Checksum << 20)) * 0xD6E8FEB86659FD93;
        return hash ^ (hash >> 29);
    }

    public static ulong Root(uint[] content)
    {
        ulong root = 0;
        for (int i = 0; i < content.Length; i++) root += (content[i] + ((ulong)i << 32)) * 0x9FB21C651E98DF25;
        return root;
    }

    /// <summary>An owner has appended a record: a state that an owner once had.</summary>
    public void Appended(in LogRecord record, LogPoint before)
    {
        uint[] content = (uint[])_histories[before.Chain].Content.Clone();
        if (record.Kind == LogRecordKind.Write) content[record.Offset / 4096] = record.Checksum;
        _histories[record.Chain] = (before.Chain, LogPoint.Of(record), content);
    }

    public uint[]? ContentAt(LogPoint point) => _histories.TryGetValue(point.Chain, out var known) ? known.Content : null;

    public bool Contains(LogPoint history, LogPoint point)
    {
        while (history.Sequence > point.Sequence)
            history = _histories.TryGetValue(history.Chain, out var known) ? _histories[known.Parent].Point : LogPoint.Start;
        return history == point;
    }

    public void Acknowledged(Ack ack, Store by, Guest to)
    {
        Count("acks");
        if (_acks.Count > 0 && ack.Epoch < _acks[^1].Epoch)
            Fail($"store {by.Name} acknowledged {ack.Point} under epoch {ack.Epoch} to guest {to.Number} after one of epoch "
                + $"{_acks[^1].Epoch}");
        _acks.Add(ack);
    }

    /// <summary>A store begins an epoch: what was promised must be there.</summary>
    public void Began(Store store, LogPoint at, bool planned, bool forced, bool sameSite)
    {
        Count(forced ? "forced" : planned ? "moved" : sameSite ? "undone" : "failed over");
        if (!forced && ContentAt(at) is not { } right) Fail($"store {store.Name} begins at {at}, which no owner ever had");
        else if (!forced && !store.Content().SequenceEqual(ContentAt(at)!)) Fail($"store {store.Name} begins at {at} with other bytes");
        if (forced) _acks.RemoveAll(a => !Contains(at, a.Point));
        foreach (Ack ack in _acks)
        {
            if (!(planned || (sameSite ? ack.IsDurable : ack.IsPromised)) || Contains(at, ack.Point)) continue;
            Fail($"store {store.Name} begins at {at} without {ack.Point}, which was acknowledged under epoch {ack.Epoch}"
                + (planned ? " (planned move)" : ""));
            return;
        }

        // What was not promised and is not there is lost once, and not asked for again.
        _acks.RemoveAll(a => !Contains(at, a.Point));
    }

    /// <summary>A store came back from a crash.</summary>
    public void Recovered(Store store, LogPoint last)
    {
        if (store.Ownership.Record.Role is not (OwnerRole.Owner or OwnerRole.Sealed)) return;
        foreach (Ack ack in _acks.Where(a => a.IsDurable && a.Epoch == store.Ownership.Record.GrantedEpoch && !Contains(last, a.Point)))
        {
            Fail($"store {store.Name} came back at {last} without {ack.Point}, which was to be durable");
            return;
        }

        if (Manager.OwnerSite == store.Site) _acks.RemoveAll(a => !Contains(last, a.Point));
    }

    private void Fault()
    {
        int site = Random.Next(2);
        switch (Random.Next(8))
        {
            case 0 or 1:
                Stores[site].Crash(Random.Next(20, 1500) * Ms);
                break;
            case 2 or 3:
                LinkCut = true;
                Tell("the link is cut");
                foreach (Store store in Stores) store.Break();
                At(Random.Next(50, 1500) * Ms, () =>
                {
                    Tell("the link is back");
                    LinkCut = false;
                });
                break;
            case 4:
                foreach (Store store in Stores) store.Break();
                break;
            case 5:
                Unreachable[site] = true;
                Tell($"the manager does not reach store {Stores[site].Name}");
                At(Random.Next(50, 1500) * Ms, () => Unreachable[site] = false);
                break;
            case 6:
                Manager.Crash(Random.Next(20, 600) * Ms);
                break;
            case 7:
                Stores[site].Stall(Random.Next(50, 900) * Ms);
                break;
        }

        At(Random.Next(100, 900) * Ms, Fault);
    }
}
