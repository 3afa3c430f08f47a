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
    private bool _isStreaming;
    private ulong _sent;

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
        session.Send(Other.Site, () => Other.Greet(session, epoch, durable));
    }

    private void Greet(Session session, ulong epoch, ulong ownerDurable)
    {
        OwnershipRecord record = Ownership.Record;
        if (OwnershipMachine.MayFollow(record, epoch) is not null || Replica is null)
        {
            world.Count("owners refused");
            Break();
            return;
        }

        // Who the owner is is on disk before its stream is followed.
        if (record.OwnerEpoch < epoch)
        {
            StepOwnership(new OwnerSeen(epoch));
            After(5 * World.Ms, () =>
            {
                if (session.IsOpen) Greet(session, epoch, ownerDurable);
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

                    StepReplica(new StreamReady());
                });
                break;
            case BeginResync(var common):
                After(DiskDelay, () =>
                {
                    if (Replica is null) return;
                    world.Count(common is null ? "full copies" : "resyncs");
                    if (_kept is null && Replica.Record.LastConsistent is { } point) _kept = ContentThrough(point.Sequence);
                    if (common is { } from)
                    {
                        _differs = [.. _log.Where(r => r.Kind == LogRecordKind.Write && r.Sequence > from.Sequence).Select(r
                            => (int)(r.Offset / 4096))
                            .Distinct()];
                        _image = Content();
                        _log.Clear();
                        (_base, _durable, _applied) = (from, 0, from.Sequence);
                    }

                    StepReplica(new StreamReady());
                });
                break;
            case AskStream(var start, var from):
                var blocks = start == StreamStart.Everything ? Enumerable.Range(0, World.Blocks).ToList() : _differs;
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
        _search = CommonPointSearch.Start(_base, Last, otherLast, PointAt);
        SearchOn(phase);
    }

    private void SearchOn(CopyPhase phase)
    {
        Session session = _session!;
        if (!_search!.IsDone)
        {
            IReadOnlyList<ulong> ask = _search.Ask;
            session.Send(Other.Site, () =>
            {
                List<ulong?> chains = [.. ask.Select(a => Other.PointAt(a)?.Chain)];
                session.Send(Site, () =>
                {
                    if (Primary is null || _search is null) return;
                    _search = _search.Answer(chains, PointAt);
                    SearchOn(phase);
                });
            });
            return;
        }

        LogPoint? common = _search.Common;
        session.Send(Other.Site, () =>
        {
            if (common is { } point && point.Sequence < Other._base.Sequence) common = null;
            Other.StepReplica(new CommonFound(common, Other._applied));
        });
    }

    private void Stream(StreamStart start, LogPoint from, List<int> blocks, CopyPhase phase)
    {
        if (Primary is null) return;
        Session session = _session!;
        LogPoint durable = DurableLast;

        // What was common is not kept any more: it is searched for anew.
        if (from != default && from.Sequence < _base.Sequence)
        {
            Break();
            return;
        }

        // Data are those of a durable state: a power cut here takes nothing back that was copied.
        uint[] content = ContentThrough(durable.Sequence);
        if (start == StreamStart.Everything && from == default)
        {
            from = durable;
            LogPoint begin = durable;
            session.Send(Other.Site, () => Other.LogBegins(begin));
        }

        bool copies = start != StreamStart.Log;
        StepPrimary(new LinkOpened(from.Sequence, from.Sequence, !copies && phase == CopyPhase.Following));
        if (copies)
        {
            foreach (int block in blocks)
            {
                uint value = content[block];
                session.Send(Other.Site, () => Other._image[block] = value);
            }

            session.Send(Other.Site, () => Other.StepReplica(new CopySent(durable)));
        }

        (_sent, _isStreaming) = (from.Sequence, true);
        Pump();
    }

    private void LogBegins(LogPoint at)
    {
        if (Replica is null) return;
        _log.Clear();
        (_base, _durable, _applied) = (at, 0, at.Sequence);
        Replica = ReplicaMachine.LogBeginsAt(Replica, at);
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
