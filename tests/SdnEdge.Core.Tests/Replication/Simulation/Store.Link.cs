using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Tests.Replication.Simulation;

/// <summary>A connection between the stores: in order, and gone as a whole.</summary>
internal sealed class Session(World world)
{
    private readonly long[] _last = new long[2];

    public bool IsOpen { get; set; } = true;

    public void Send(int toSite, Action deliver)
    {
        _last[toSite] = Math.Max(_last[toSite], world.Now + (world.Random.Next(1, 15) * World.Ms));
        world.At(_last[toSite] - world.Now, () =>
        {
            if (IsOpen && world.Stores[toSite].IsUp) deliver();
        });
    }
}

// The stream between the stores.
internal sealed partial class Store
{
    private Session? _session;
    private CommonPointSearch? _search;
    private bool _isStreaming, _viaGap;
    private ulong _sent;
    private LogPoint? _begins;
    private LogPoint _through;
    private IReadOnlyList<int> _gapBlocks = [];

    /// <summary>What an owner's log has let go: the points of its records, and what they touched. On disk.</summary>
    private sealed record Gap(LogPoint Before, IReadOnlyList<LogPoint> Points, IReadOnlySet<int> Blocks)
    {
        public LogPoint Through => Points[^1];

        public LogPoint? PointAt(ulong sequence) => sequence == Before.Sequence ? Before
            : Points.Where(p => p.Sequence == sequence).Select(p => (LogPoint?)p).FirstOrDefault();
    }

    // Before records are let go the owner remembers what they touched; sometimes it does not, and a full copy is made.
    private void LetGo(int count)
    {
        if (Primary is null) return;
        if (world.Random.Next(3) == 0)
        {
            _gap = null;
            return;
        }

        _gap = new Gap(_gap?.Before ?? _base, [.. _gap?.Points ?? [], .. _log.Take(count).Select(r => LogPoint.Of(r))],
            new HashSet<int>([.. _gap?.Blocks ?? new HashSet<int>(), .. Touched(_log.Take(count))]));
    }

    private static IEnumerable<int> Touched(IEnumerable<LogRecord> records)
        => records.Where(r => r.Kind == LogRecordKind.Write).Select(r => (int)(r.Offset / 4096));

    private void Retain(PrimaryInput input)
    {
        if (_gap is null || !_isStreaming) return;
        if (input is ReplicaConsistent || (input is Acked acked && (_begins is not { } begins || acked.Durable >= begins.Sequence)))
            _gap = null;
    }

    public void Break()
    {
        foreach (Store store in world.Stores)
        {
            if (store._session is not { } session) continue;
            session.IsOpen = false;
            (store._session, store._isStreaming, store._search) = (null, false, null);
            if (!store.IsUp) continue;
            store.StepPrimary(new LinkClosed("broken"));
            if (store.Replica is not null) store.StepReplica(new OwnerGone());
        }
    }

    private void Connect()
    {
        if (Primary is null || _session is not null || Other._session is not null || world.LinkCut || !Other.IsUp) return;
        var session = new Session(world);
        (_session, Other._session) = (session, session);
        ulong epoch = Ownership.Record.GrantedEpoch, durable = DurableLast.Sequence;
        bool isFinal = Ownership.Record.PromotedBy is not null;
        session.Send(Other.Site, () => Other.Greet(session, epoch, durable, isFinal));
    }

    private void Greet(Session session, ulong epoch, ulong ownerDurable, bool isFinal)
    {
        OwnershipRecord record = Ownership.Record;
        if (OwnershipMachine.MayFollow(record, epoch) is not null || Replica is null)
        {
            world.Count("owners refused");
            Break();
            if (OwnershipMachine.GivesWay(record, epoch, isFinal || world.Mutant == Mutant.GivesWayToAGrant)) GiveWay(epoch);
            return;
        }

        // Who the owner is is on disk before its stream is followed.
        if (record.OwnerEpoch < epoch)
        {
            StepOwnership(new OwnerSeen(epoch));
            After(5 * World.Ms, () =>
            {
                if (session.IsOpen) Greet(session, epoch, ownerDurable, isFinal);
            });
            return;
        }

        StepReplica(new OwnerConnected(record, epoch, ownerDurable));
    }

    public void StepReplica(ReplicaInput input)
    {
        if (Replica is null) return;
        (Replica, IReadOnlyList<ReplicaCommand> commands) = ReplicaMachine.Step(Replica, input);
        foreach (ReplicaCommand command in commands) Carry(command, input);
    }

    private void Carry(ReplicaCommand command, ReplicaInput input)
    {
        Session? session = _session;
        switch (command)
        {
            case WriteReplica(var record):
                After(DiskDelay, () =>
                {
                    if (Replica is null) return;
                    _replicaOnDisk = record;
                    StepReplica(new ReplicaRecordSynced());
                });
                break;
            case AnswerOwner(var last, var phase, _, _):
                session?.Send(Other.Site, () => Other.Search(last, phase));
                break;
            case RefuseOwner(var reason, _):
                world.Tell($"store {Name} refuses the stream: {reason}");
                world.Count("streams refused");
                Break();
                break;
            case PutTailAside(var to):
                After(DiskDelay, () =>
                {
                    if (Replica is null) return;
                    world.Count("tails put aside");
                    if (world.Mutant != Mutant.KeepsTail)
                    {
                        _log.RemoveAll(r => r.Sequence > to.Sequence);
                        _durable = Math.Min(_durable, _log.Count);
                    }

                    StepReplica(new StreamReady(Replica.Size));
                });
                break;
            case KeepRanges(var point, var number, var before):
                bool copying = before is { Phase: CopyPhase.Copying or CopyPhase.Resyncing, CopyEnd: null };
                IEnumerable<int> left = !copying || world.Mutant == Mutant.CopyForgotten ? []
                    : before.Copies == StreamStart.Everything ? Enumerable.Range(0, World.Blocks) : _ranges[before.Ranges];
                IEnumerable<int> tail = world.Mutant == Mutant.TailNotFetched ? [] : Touched(_log.Where(r => r.Sequence > point.Sequence));
                _ranges = new()
                {
                    [before.Ranges] = _ranges.GetValueOrDefault(before.Ranges, []),
                    [number] = [.. left.Concat(tail).Concat(_gapBlocks).Distinct()],
                };
                break;
            case BeginResync(var common):
                After(DiskDelay, () =>
                {
                    if (Replica is null) return;
                    world.Count(common is null ? "full copies" : "resyncs");
                    if (_kept is null && Replica.Record.LastConsistent is { } point) _kept = ContentThrough(point.Sequence);
                    if (common is { } from)
                    {
                        _image = Content();
                        _log.Clear();
                        (_base, _durable, _applied) = (from, 0, from.Sequence);
                    }

                    StepReplica(new StreamReady(Replica.Size));
                });
                break;
            case AskStream(var start, var from):
                var blocks = start == StreamStart.Everything ? Enumerable.Range(0, World.Blocks).ToList()
                    : start == StreamStart.Log ? [] : _ranges[Replica!.Record.Ranges];
                CopyPhase phaseNow = Replica!.OnDisk.Phase;
                session?.Send(Other.Site, () => Other.Stream(start, from, blocks, phaseNow));
                break;
            case AppendBatch(var skip):
                _log.AddRange(((BatchArrived)input).Records.ToArray().Skip(skip));
                if (world.Mutant == Mutant.ReceivedIsDurable) After(0, () => StepReplica(new ReplicaSynced(Last.Sequence)));
                break;
            case EndResync(_):
                _kept = null;
                break;
            case SendWhole:
                session?.Send(Other.Site, () => Other.StepPrimary(new ReplicaConsistent()));
                break;
            case SendAck(var received, var durable):
                session?.Send(Other.Site, () => Other.StepPrimary(new Acked(received, durable)));
                break;
            case SendProof(var proof):
                session?.Send(Other.Site, () => Other.StepPrimary(new ReplicaProved(proof)));
                break;
        }
    }

    // The owner's side.
    private LogPoint? PointAt(ulong sequence) => sequence < _base.Sequence || sequence > Last.Sequence ? null
        : sequence == _base.Sequence ? _base : LogPoint.Of(_log[(int)(sequence - _base.Sequence - 1)]);

    private void Search(LogPoint otherLast, CopyPhase phase)
    {
        if (Primary is null) return;
        _viaGap = false;
        _search = CommonPointSearch.Start(_base, Last, otherLast, PointAt);
        SearchOn(otherLast, phase);
    }

    private void SearchOn(LogPoint otherLast, CopyPhase phase)
    {
        Session session = _session!;
        Gap? gap = _viaGap ? _gap : null;
        Func<ulong, LogPoint?> at = gap is null ? PointAt : gap.PointAt;
        if (!_search!.IsDone)
        {
            IReadOnlyList<ulong> ask = _search.Ask;
            session.Send(Other.Site, () =>
            {
                List<ulong?> chains = [.. ask.Select(a => Other.PointAt(a)?.Chain)];
                session.Send(Site, () =>
                {
                    if (Primary is null || _search is null) return;
                    _search = _search.Answer(chains, at);
                    SearchOn(otherLast, phase);
                });
            });
            return;
        }

        LogPoint? common = _search.Common;
        if (common is null && !_viaGap && _gap is { } known)
        {
            _viaGap = true;
            _search = CommonPointSearch.Start(known.Before, known.Through, otherLast, known.PointAt);
            SearchOn(otherLast, phase);
            return;
        }

        // What was let go meanwhile is searched for anew.
        if (_viaGap && (gap is null || gap != _gap || common is null)) _viaGap = false;
        bool viaGap = _viaGap;
        if (gap is not null && !viaGap) common = null;
        IReadOnlyList<int> blocks = viaGap && world.Mutant != Mutant.GapWithoutItsRecords ? [.. gap!.Blocks] : [];
        LogPoint through = viaGap ? gap!.Through : default;
        session.Send(Other.Site, () =>
        {
            if (common is { } point && point.Sequence < Other._base.Sequence) common = null;
            if (viaGap) world.Count("gaps");
            (Other._gapBlocks, _through) = (blocks, through);
            Other.StepReplica(new CommonFound(common, Other._applied, viaGap && common is not null));
        });
    }

    private void Stream(StreamStart start, LogPoint from, List<int> blocks, CopyPhase phase)
    {
        if (Primary is null) return;
        Session session = _session!;
        LogPoint durable = DurableLast;

        // What was common is not kept any more: it is searched for anew.
        _begins = null;
        bool behindGap = _viaGap && start == StreamStart.Differences && from == default;
        if (behindGap) _begins = from = world.Mutant == Mutant.LogSkipsBehindGap ? durable : _through;
        if (from != default && from.Sequence < _base.Sequence)
        {
            Break();
            return;
        }

        // Data are those of a durable state: a power cut here takes nothing back that was copied.
        uint[] content = ContentThrough(durable.Sequence);
        if (start == StreamStart.Everything && from == default)
        {
            _begins = from = durable;
        }

        if (_begins is { } begin) session.Send(Other.Site, () => Other.LogBegins(begin));

        bool copies = start != StreamStart.Log;
        StepPrimary(new LinkOpened(from.Sequence, from.Sequence, !copies && phase == CopyPhase.Following));
        if (copies) Copy(session, blocks, content, durable);

        (_sent, _isStreaming) = (from.Sequence, true);
        Pump();
    }

    // Piece by piece, with the log between them; a link that breaks in the middle leaves the rest for the next one.
    private void Copy(Session session, List<int> blocks, uint[] content, LogPoint end)
    {
        if (!session.IsOpen) return;
        if (blocks.Count == 0)
        {
            session.Send(Other.Site, () => Other.StepReplica(new CopySent(end)));
            return;
        }

        int block = blocks[0];
        session.Send(Other.Site, () => Other._image[block] = content[block]);
        After(world.Random.Next(30) * World.Ms, () => Copy(session, blocks[1..], content, end));
    }

    private void LogBegins(LogPoint at)
    {
        if (Replica is null) return;
        _log.Clear();
        (_base, _durable, _applied) = (at, 0, at.Sequence);
        Replica = ReplicaMachine.LogBeginsAt(Replica, at, Replica.Size);
        StepReplica(new OwnerDurableTo(at.Sequence));
    }

    private void Pump() => Pump(ulong.MaxValue);

    private void Pump(ulong through)
    {
        while (_isStreaming && _session is { } session && Primary is not null && _sent < Math.Min(Last.Sequence, through))
        {
            int first = (int)(_sent - _base.Sequence), count = (int)Math.Min((ulong)world.Random.Next(1, 5), Math.Min(Last.Sequence,
                through) - _sent);
            LogRecord[] records = [.. _log.Skip(first).Take(count)];
            _sent += (ulong)count;
            ulong durable = DurableLast.Sequence;
            session.Send(Other.Site, () => Other.StepReplica(new BatchArrived(records, durable, World.Chain)));
            if (through == ulong.MaxValue && world.Random.Next(3) == 0) break;
        }

        if (_isStreaming && _session is { } open && Primary is not null)
        {
            ulong durable = DurableLast.Sequence;
            open.Send(Other.Site, () => Other.StepReplica(new OwnerDurableTo(durable)));
            open.Send(Site, () => StepPrimary(new PeerHeard()));
        }
    }

    private void SendProofRequest(DrainProof proof)
    {
        if (!_isStreaming) return;
        Pump(proof.Point.Sequence);

        // In the order of the stream: behind this record and before the next.
        if (_sent == proof.Point.Sequence)
        {
            _session?.Send(Other.Site, () => Other.StepReplica(new ProofAsked(proof.Point.Sequence, World.Root(Other.Content()))));
            return;
        }

        world.Count("proofs too late");
        Break();
    }
}
