using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>A store: the drivers around its machines, and its disk. What is on disk survives a crash, all else does not.</summary>
internal sealed partial class Store(World world, int site)
{
    private readonly List<(Request Request, LogPoint Point)> _pending = [];
    private readonly List<Request> _parked = [];
    private readonly List<LogRecord> _log = [];

    // On disk.
    private OwnershipRecord _ownershipOnDisk = null!;
    private PrimaryRecord? _primaryOnDisk;
    private ReplicaRecord _replicaOnDisk = null!;
    private LogPoint _base;
    private int _durable;
    private uint[] _image = new uint[World.Blocks];
    private ulong _applied;
    private uint[]? _kept;
    private Dictionary<int, List<int>> _ranges = [];
    private Gap? _gap;

    private (ulong, ulong, bool) _checked;
    private int _life;
    private long _stalledUntil;

    public int Site { get; } = site;

    public string Name => Site == 0 ? "A" : "B";

    public OwnershipState Ownership { get; private set; } = null!;

    public PrimaryState? Primary { get; private set; }

    public ReplicaState? Replica { get; private set; }

    public bool IsUp { get; private set; }

    public LogPoint Last => _log.Count == 0 ? _base : LogPoint.Of(_log[^1]);

    private LogPoint DurableLast => _durable == 0 ? _base : LogPoint.Of(_log[_durable - 1]);

    private Store Other => world.Stores[1 - Site];

    public CopyFacts Facts => Replica?.Facts ?? new CopyFacts(true, DurableLast, DurableLast);

    public void Create(ClientIdentity client)
    {
        _ownershipOnDisk = OwnershipRecord.First(Guid.Empty, client);
        _primaryOnDisk = new PrimaryRecord(Guid.Empty, 1, ReplicationMode.Async);
        _replicaOnDisk = new ReplicaRecord(Guid.Empty, CopyPhase.Following);
        Start();
    }

    public void CreateFollower()
    {
        _ownershipOnDisk = OwnershipRecord.Follower(Guid.Empty);
        _replicaOnDisk = new ReplicaRecord(Guid.Empty, CopyPhase.Empty);
        Start();
    }

    public void Crash(long down)
    {
        if (!IsUp) return;
        world.Tell($"store {Name} crashes; {_log.Count - _durable} records were not synced");
        world.Count("crashes");
        IsUp = false;
        _life++;
        Break();
        _log.RemoveRange(_durable, _log.Count - _durable);
        _pending.Clear();
        _parked.Clear();
        (Primary, Replica) = (null, null);
        world.At(down, Start);
    }

    public void Stall(long time)
    {
        world.Tell($"store {Name} stalls for {time / World.Ms} ms");
        _stalledUntil = world.Now + time;
    }

    /// <summary>Content with everything in the log.</summary>
    public uint[] Content() => ContentThrough(ulong.MaxValue);

    /// <summary>What must be true of a store at any time.</summary>
    public void Check()
    {
        if (!IsUp || (Replica is { } replica && (!replica.Facts.IsConsistent || replica.Writing(_replicaOnDisk)))) return;
        if (_checked == (Last.Chain, _applied, Replica is null)) return;
        _checked = (Last.Chain, _applied, Replica is null);
        if (world.ContentAt(Last) is not { } right) world.Fail($"store {Name} is at {Last}, which no owner ever had");
        else if (!Content().SequenceEqual(right)) world.Fail($"store {Name} is at {Last} with other bytes than the owner had: "
            + $"[{string.Join(' ', Content())}], not [{string.Join(' ', right)}]; applied {_applied}, log from {_base.Sequence}, "
            + $"durable {DurableLast.Sequence}");
    }

    public void Submit(Request request) => After(World.Ms, () =>
    {
        if (!request.Guest.Waits(request) || _pending.Any(p => p.Request == request) || _parked.Contains(request)) return;
        Admit(request);
    });

    private uint[] ContentThrough(ulong through)
    {
        uint[] content = (uint[])_image.Clone();
        foreach (LogRecord record in _log)
        {
            if (record.Kind == LogRecordKind.Write && record.Sequence > _applied && record.Sequence <= through)
                content[record.Offset / 4096] = record.Checksum;
        }

        return content;
    }

    private void Start()
    {
        IsUp = true;
        Ownership = OwnershipMachine.Start(_ownershipOnDisk, world.UsesLease);
        if (_ownershipOnDisk.Role is OwnerRole.Owner or OwnerRole.Sealed)
        {
            if (_replicaOnDisk.Phase != CopyPhase.Following) Rewind();
            _primaryOnDisk ??= new PrimaryRecord(Guid.Empty, _ownershipOnDisk.GrantedEpoch, ReplicationMode.Async);
            world.Recovered(this, Last);
            Own(_ownershipOnDisk.GrantedEpoch);
        }
        else
        {
            Follow();
        }

        world.Tell($"store {Name} is up: {_ownershipOnDisk.Role}, at {Last}");
        int life = _life;
        Repeat(life, 8, Sync);
        Repeat(life, 6, Pump);
        Repeat(life, 30, Connect);
        Repeat(life, 20, () => StepPrimary(new Tick()));
        Repeat(life, 25, Apply);
        Repeat(life, 40, AskLease);
        foreach (Guest guest in world.Guests.Where(g => g.Store == this)) guest.Reconnect();
    }

    private void Repeat(int life, int everyMs, Action action)
    {
        void Again()
        {
            if (life != _life) return;
            if (world.Now >= _stalledUntil) action();
            world.At(world.Random.Next(everyMs / 2, everyMs * 2) * World.Ms, Again);
        }

        world.At(world.Random.Next(1, everyMs) * World.Ms, Again);
    }

    // In this life only, and not while the process stands still.
    private void After(long delay, Action action)
    {
        int life = _life;
        world.At(delay, () =>
        {
            if (life != _life || !IsUp) return;
            if (world.Now < _stalledUntil) After(_stalledUntil - world.Now, action);
            else action();
        });
    }

    private long DiskDelay => world.Random.Next(1, 12) * World.Ms;

    private void Own(ulong epoch)
    {
        Replica = null;
        Primary = PrimaryMachine.Start(_primaryOnDisk!, world.Policy, Last.Sequence, (long)Last.Sequence * 4096, world.Now);
        if (_primaryOnDisk!.Epoch < epoch) StepPrimary(new EpochRaised(epoch));
        if (_ownershipOnDisk.Role == OwnerRole.Owner && Last.Epoch < epoch) Append(LogRecordKind.Epoch, 0, 0, epoch);
    }

    private void Follow()
    {
        (Primary, _gap) = (null, null);
        _durable = _log.Count;
        Replica = ReplicaMachine.Start(_replicaOnDisk, World.Blocks * 4096, Last);
    }

    private LogPoint Append(LogRecordKind kind, int block, uint value, ulong epoch)
    {
        LogPoint before = Last;
        var record = new LogRecord(before.Sequence + 1, epoch, kind, kind == LogRecordKind.Write ? block * 4096L : 0,
            kind == LogRecordKind.Write ? 4096 : 0, value, 0);
        record = record with { Chain = World.Chain(before.Chain, record) };
        _log.Add(record);
        world.Appended(record, before);
        StepPrimary(new Appended(record.Sequence, (long)record.Sequence * 4096));
        return LogPoint.Of(record);
    }

    private void Sync()
    {
        LogPoint last = Last;
        After(DiskDelay, () =>
        {
            if (!Synced(last)) return;
            StepPrimary(new LocalSynced(DurableLast.Sequence));
            if (Replica is not null) StepReplica(new ReplicaSynced(DurableLast.Sequence));
        });
    }

    // False: it was durable before, or is not in the log any more.
    private bool Synced(LogPoint last)
    {
        int count = (int)((long)last.Sequence - (long)_base.Sequence);
        if (count <= _durable || count > _log.Count || LogPoint.Of(_log[count - 1]) != last) return false;
        _durable = count;
        return true;
    }

    private void Apply()
    {
        ulong limit = Primary is not null ? DurableLast.Sequence
            : Replica is { } replica && replica.Facts.IsConsistent ? Math.Min(replica.ApplyLimit, DurableLast.Sequence) : 0;
        if (limit <= _applied || _sent > 0 && _isStreaming && _sent < limit) return;
        _image = ContentThrough(limit);
        _applied = limit;

        // Retention: what is applied goes. Who needs it later gets a full copy.
        if (world.Random.Next(25) != 0) return;
        int gone = (int)(limit - _base.Sequence);
        LetGo(gone);
        _base = LogPoint.Of(_log[gone - 1]);
        _log.RemoveRange(0, gone);
        _durable -= gone;
    }

    // A forced promotion: the last consistent point that was kept.
    private void Rewind()
    {
        if (world.Mutant == Mutant.PromotesResync || _replicaOnDisk.LastConsistent is not { } point) return;
        world.Tell($"store {Name} goes back to its last consistent point {point}");
        uint[] content = _kept ?? ContentThrough(point.Sequence);
        _log.Clear();
        (_base, _durable, _applied, _image, _kept) = (point, 0, point.Sequence, content, null);
        _replicaOnDisk = new ReplicaRecord(Guid.Empty, CopyPhase.Following);
    }

    private void AskLease()
    {
        if (!world.UsesLease || Ownership.Record.Role != OwnerRole.Owner) return;
        long sent = world.Now;
        int life = _life;
        world.Post(Site, () => world.Manager.RenewLease(this, () => world.Post(Site, () =>
        {
            if (life != _life) return;
            StepOwnership(new LeaseRenewed(sent, Manager.LeaseTime));
            Reconsider();
        })));
    }
}

internal static class ReplicaChecks
{
    // The log was reset for a copy whose record is not on disk yet.
    public static bool Writing(this ReplicaState state, ReplicaRecord onDisk) => state.Record != onDisk;
}
