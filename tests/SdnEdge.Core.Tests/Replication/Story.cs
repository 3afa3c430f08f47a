using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication;

/// <summary>A machine with the commands that it gave, for tests that tell a story.</summary>
internal sealed class PrimaryStory
{
    public const long Ms = 1_000_000;

    public PrimaryStory(ReplicationMode mode = ReplicationMode.Async, ReplicationPolicy? policy = null, ulong last = 0,
        PrimaryRecord? record = null)
        => State = PrimaryMachine.Start(record ?? new(Guid.Empty, 1, mode), policy ?? new(), last, (long)last * 4096, Now);

    public PrimaryState State { get; private set; }

    public long Now { get; set; } = 1_000 * Ms;

    public List<PrimaryCommand> Commands { get; } = [];

    // Writes of the record succeed at once unless this is false.
    public bool DiskWorks { get; set; } = true;

    public PrimaryStory Take(PrimaryInput input)
    {
        (State, IReadOnlyList<PrimaryCommand> commands) = PrimaryMachine.Step(State, input, Now);
        Commands.AddRange(commands);
        if (commands.OfType<WritePrimary>().Any()) Take(DiskWorks ? new PrimarySynced() : new PrimarySyncFailed("no room"));
        return this;
    }

    public PrimaryStory Wait(long ms)
    {
        for (long end = Now + (ms * Ms); Now < end;)
        {
            Now = Math.Min(end, Math.Max(Now + Ms, PrimaryMachine.NextDeadline(State)));
            Take(new Tick());
        }

        return this;
    }

    public PrimaryStory Write(ulong count = 1, bool synced = true)
    {
        ulong last = State.Last + count;
        Take(new Appended(last, State.Lag.TotalBytes + ((long)count * 4096)));
        return synced ? Take(new LocalSynced(last)) : this;
    }

    public PrimaryStory Connect(ulong? durable = null) => Take(new LinkOpened(durable ?? State.Last, durable ?? State.Last));

    public PrimaryStory Ack(ulong? through = null) => Take(new Acked(through ?? State.Last, through ?? State.Last));

    /// <summary>Answers a flip and the proof that it asks for.</summary>
    public PrimaryStory Flip(ulong root = 7, ulong replicaRoot = 7)
    {
        var point = new LogPoint(State.Last, State.Last == 0 ? 0ul : 1, State.Last * 31);
        Take(new ModeFlipped(point, root));
        return Take(new ReplicaProved(new DrainProof(point, State.Record.Epoch, replicaRoot)));
    }

    public bool Has<T>() where T : PrimaryCommand => Commands.OfType<T>().Any();

    public T Only<T>() where T : PrimaryCommand => Commands.OfType<T>().Single();
}

/// <summary>The same for the ownership.</summary>
internal sealed class OwnershipStory(OwnershipRecord record, bool needsLease = false)
{
    public static readonly Guid Volume = new("11111111-2222-3333-4444-555555555555");
    public static readonly ClientIdentity Guest = ClientIdentity.Process(100, 5000), Twin = ClientIdentity.Process(200, 6000);
    public static readonly LogPoint Point = new(41, 1, 0xABCD);

    private long _ticket;

    public OwnershipState State { get; private set; } = OwnershipMachine.Start(record, needsLease);

    public List<OwnershipCommand> Commands { get; } = [];

    public bool DiskWorks { get; set; } = true;

    public LogPoint Last { get; set; } = Point;

    public CopyFacts Copy { get; set; } = new(true, Point, Point);

    public OwnershipReply? Reply => Commands.OfType<AnswerOwnership>().LastOrDefault(a => a.Ticket == _ticket)?.Reply;

    public OwnershipRefusal? Refusal => Commands.OfType<RefuseOwnership>().LastOrDefault(a => a.Ticket == _ticket)?.Refusal;

    public OwnershipStory Order(OwnershipOrderKind kind, ulong epoch, Func<OwnershipOrder, OwnershipOrder>? more = null)
    {
        var order = new OwnershipOrder(++_ticket, kind, epoch);
        return Take(new OwnershipOrderArrived(more?.Invoke(order) ?? order, Copy));
    }

    public OwnershipStory Grant(ulong epoch, ClientIdentity? client = null, uint generation = 0, string? force = null,
        LogPoint? expected = null,
        bool stale = false)
        => Order(OwnershipOrderKind.Grant, epoch, o => o with
        {
            Client = client ?? Guest, Generation = generation, ForcedBy = force, Expected = expected, IsStale = stale,
        });

    public OwnershipStory Take(OwnershipInput input)
    {
        (State, IReadOnlyList<OwnershipCommand> commands) = OwnershipMachine.Step(State, input);
        Commands.AddRange(commands);
        foreach (OwnershipCommand command in commands)
        {
            if (command is StopAdmission) Take(new AdmissionStopped(Last));
            if (command is WriteOwnership) Take(DiskWorks ? new OwnershipSynced() : new OwnershipSyncFailed("disk full"));
        }

        return this;
    }

    public OwnershipStory Crash()
    {
        State = OwnershipMachine.Start(State.Record, State.NeedsLease);
        return this;
    }

    public Admission Admit(ClientIdentity? client = null, long now = 0) => OwnershipMachine.Admit(State, client ?? Guest, now);
}
