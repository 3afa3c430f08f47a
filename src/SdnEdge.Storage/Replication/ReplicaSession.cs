using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>
/// A replica's side of the link: carries out what <see cref="ReplicaMachine"/> says, for one connection after the other.
/// <code>
/// 1. the owner's hello; refused, or answered with how far this copy is
/// 2. chain queries, until the owner knows the last common point; the tail behind it is put aside
/// 3. data, where they are asked for; then batches; each received batch and each sync is acknowledged
/// </code>
/// What comes from the other site is checked before it is used: bytes that are no message end the connection, and are counted.
/// </summary>
public sealed class ReplicaSession
{
    // Received at most, before what was received earlier is durable: it has room in the log only when that may be applied.
    private const long MaxUnsynced = 32 << 20;

    // Says so often how far it is, also in the middle of a long frame: a slow link is not a silent one.
    private static readonly TimeSpan s_beat = TimeSpan.FromMilliseconds(250);

    private readonly IReplicaSink _sink;
    private readonly Guid _volume;
    private readonly Func<OwnershipRecord> _ownership;
    private readonly Func<ulong, CancellationToken, Task> _ownerSeen;
    private readonly ChainStep _chain;
    // Copied data are made durable after so many bytes, or so many milliseconds, while more come.
    private const long CopySyncBytes = 16 << 20, CopySyncMs = 1000;

    private LinkFrames _frames = null!;
    private Task<long>? _copySync;
    private RecordBatch? _batch;
    private long _copied, _syncedCopy, _copySyncAt, _unsynced;
    private bool _isDirty, _viaGap, _writing;
    private IReadOnlyList<(long Offset, long Length)> _gap = [];
    private long _total, _ownerSize;
    private readonly LinkAsks _asks = new();

    /// <summary>A replica as it is on disk.</summary>
    /// <param name="record">Its record.</param>
    /// <param name="last">The log's last point, durable.</param>
    /// <param name="size">Size of the volume, bytes.</param>
    /// <param name="sink">Its log and volume.</param>
    /// <param name="ownership">This store's ownership of the volume.</param>
    /// <param name="ownerSeen">Makes durable that an owner of a higher epoch was seen.</param>
    /// <param name="chain">The chain's step.</param>
    public ReplicaSession(ReplicaRecord record, LogPoint last, long size, IReplicaSink sink, Func<OwnershipRecord> ownership,
        Func<ulong, CancellationToken, Task> ownerSeen, ChainStep chain)
    {
        ArgumentNullException.ThrowIfNull(record);
        (_sink, _ownership, _ownerSeen, _chain, _volume) = (sink, ownership, ownerSeen, chain, record.Volume);
        State = ReplicaMachine.Start(record, size, last);
    }

    /// <summary>The machine's state.</summary>
    public ReplicaState State { get; private set; }

    /// <summary>Connections that ended because of what they carried.</summary>
    public long BadConnections { get; private set; }

    /// <summary>Why the last connection ended, for people; null = it was closed.</summary>
    public string? LastFault { get; private set; }

    /// <summary>The highest epoch of an owner that came here and may not be followed, because this store is the owner itself; 0 =
    /// none.</summary>
    public ulong RefusedEpoch { get; private set; }

    /// <summary>A person has promoted the owner of <see cref="RefusedEpoch"/>.</summary>
    public bool RefusedIsFinal { get; private set; }

    /// <summary>Up to which sequence the owner has last said that it has answered writes as durable; 0 = it was not heard.</summary>
    public ulong OwnerAnswered { get; set; }

    /// <summary>Bytes of the copy in all; 0 = none is under way.</summary>
    public long CopyBytes => State.Record switch
    {
        { Phase: not (CopyPhase.Copying or CopyPhase.Resyncing) } => 0,
        { Copies: StreamStart.Everything } => State.Size,
        _ => _total,
    };

    /// <summary>Bytes of the copy that have come, durable or not.</summary>
    public long CopiedBytes => State.Record.Phase is CopyPhase.Copying or CopyPhase.Resyncing ? Math.Max(Volatile.Read(ref _copied),
        State.Record.CopiedBytes) : 0;

    /// <summary>Asks the owner for a block that has a hash.</summary>
    /// <returns>Its bytes; null = it has another one, or is not connected.</returns>
    public Task<byte[]?> AskBlockAsync(long block, ulong hash)
        => State.IsStreaming ? _asks.AskAsync(block, hash) : Task.FromResult<byte[]?>(null);

    /// <summary>Serves one connection of an owner until it ends.</summary>
    public async Task RunAsync(Stream stream, CancellationToken cancel)
    {
        _frames = new LinkFrames(stream);
        LastFault = null;
        _isDirty = false;
        Task<ulong>? sync = null;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<(FrameKind, ReadOnlyMemory<byte>)?>? reading = null;
        try
        {
            _sink.Resume();
            reading = _frames.ReadAsync(end.Token).AsTask();
            Task beat = Task.Delay(s_beat, end.Token);
            _unsynced = 0;
            while (true)
            {
                await Task.WhenAny(reading, sync ?? (Task)reading, _copySync ?? (Task)reading, _asks.News, beat).ConfigureAwait(false);
                while (_asks.TryTake(out (FrameKind Kind, ReadOnlyMemory<byte> Body) asked))
                {
                    // One that was late for the connection before is for nobody.
                    if (State.IsStreaming) await SendAsync(asked.Kind, asked.Body, cancel).ConfigureAwait(false);
                }

                if (beat.IsCompletedSuccessfully)
                {
                    if (State.IsStreaming)
                    {
                        await SendAsync(FrameKind.Ack, LinkMessages.Write(State.Received.Sequence, State.Durable.Sequence), cancel)
                            .ConfigureAwait(false);
                    }

                    beat = Task.Delay(s_beat, end.Token);
                }

                if (sync is not null && (sync.IsCompleted || _unsynced > MaxUnsynced))
                {
                    await SyncedAsync(sync, cancel).ConfigureAwait(false);
                    sync = null;
                }

                if (_copySync is { IsCompleted: true }) await CopySyncedAsync(cancel).ConfigureAwait(false);
                if (reading.IsCompleted)
                {
                    if (await reading.ConfigureAwait(false) is not var (kind, body)) break;

                    // The next one comes, and is checked, while data are written.
                    bool ahead = kind is FrameKind.CopyData or FrameKind.CopyZero;
                    if (ahead) reading = Task.Run(() => _frames.ReadAsync(end.Token).AsTask(), end.Token);
                    if (kind == FrameKind.CopyEnd)
                    {
                        // The data are durable before the end of them is known.
                        if (sync is not null) await SyncedAsync(sync, cancel).ConfigureAwait(false);
                        (sync, _isDirty) = (null, false);
                        await SyncedAsync(_sink.SyncAsync(cancel), cancel).ConfigureAwait(false);
                        if (_copySync is not null) await CopySyncedAsync(cancel).ConfigureAwait(false);
                        SyncCopy(cancel);
                        await CopySyncedAsync(cancel).ConfigureAwait(false);
                    }

                    await HandleAsync(kind, body, cancel).ConfigureAwait(false);
                    if (!ahead) reading = _frames.ReadAsync(end.Token).AsTask();
                }

                if (sync is null && _isDirty)
                {
                    (_isDirty, _unsynced) = (false, 0);
                    sync = _sink.SyncAsync(cancel);
                }

                await _frames.FlushAsync(cancel).ConfigureAwait(false);
            }
        }
        catch (LinkFormatException e)
        {
            BadConnections++;
            LastFault = e.Message;
            await SayWhyAsync(e.Message, reading).ConfigureAwait(false);
        }
        catch (IOException e)
        {
            // A disk of this site, mostly: its owner is told. Where the connection is gone, that fails.
            LastFault = e.Message;
            await SayWhyAsync(e.Message, reading).ConfigureAwait(false);
        }
        catch (OperationCanceledException e)
        {
            LastFault = e.Message;
        }
        finally
        {
            await end.CancelAsync().ConfigureAwait(false);
            if (reading is not null) await ((Task)reading).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

            // What was copied and is about to be durable is recorded: the next connection goes on behind it.
            if (_copySync is not null) await CopySyncedAsync(CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _copySync = null;

            // What was begun to be made durable is taken into account; nobody is told.
            if (sync is not null)
            {
                await ((Task)sync).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (sync.IsCompletedSuccessfully) (State, _) = ReplicaMachine.Step(State, new ReplicaSynced(sync.Result));
            }

            // A record that a failure before it kept from being written.
            _asks.End();
            if (_writing) (State, _) = ReplicaMachine.Step(State, new ReplicaRecordFailed("the connection ended"));
            _writing = false;
            (State, _) = ReplicaMachine.Step(State, new OwnerGone());
        }
    }

    /// <summary>A copy of everything is made with the next connection. None is served meanwhile.</summary>
    public async Task CopyAnewAsync(CancellationToken cancel) => await StepAsync(new CopyAnew(), cancel).ConfigureAwait(false);

    private async Task SyncedAsync(Task<ulong> sync, CancellationToken cancel)
    {
        ulong through = await sync.ConfigureAwait(false);
        await StepAsync(new ReplicaSynced(through), cancel).ConfigureAwait(false);
    }

    // What has been copied until now becomes durable.
    private void SyncCopy(CancellationToken cancel)
    {
        long through = _copied;
        _copySync = Task.Run(
            async () =>
            {
                await _sink.SyncCopyAsync(cancel).ConfigureAwait(false);
                return through;
            }, cancel);
    }

    private async Task CopySyncedAsync(CancellationToken cancel)
    {
        long through = await _copySync!.ConfigureAwait(false);
        _copySync = null;
        (_syncedCopy, _copySyncAt) = (through, Environment.TickCount64);
        await StepAsync(new CopySynced(through), cancel).ConfigureAwait(false);
    }

    // A connection that is closed with bytes unread is reset, and takes what was said last with it: what the owner had sent is read, until
    // it has read this and closes the connection.
    private async Task SayWhyAsync(string why, Task<(FrameKind, ReadOnlyMemory<byte>)?>? reading)
    {
        try
        {
            using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(1));
            await _frames.WriteAsync(FrameKind.Refuse, LinkMessages.WriteText(why), LinkCompression.None, soon.Token).ConfigureAwait(false);
            await _frames.FlushAsync(soon.Token).ConfigureAwait(false);
            bool open = reading is null || await reading.WaitAsync(soon.Token).ConfigureAwait(false) is not null;
            while (open) open = await _frames.ReadAsync(soon.Token).ConfigureAwait(false) is not null;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // It is gone: the reason stays here.
        }
    }

    private async Task HandleAsync(FrameKind kind, ReadOnlyMemory<byte> body, CancellationToken cancel)
    {
        if (State.Following == 0 && kind != FrameKind.Hello) throw new LinkFormatException($"a {kind} frame came before the hello");
        switch (kind)
        {
            case FrameKind.Hello when State.Following == 0:
                LinkHello hello = LinkMessages.Hello(body.Span);
                if (hello.Volume != _volume)
                    throw new LinkFormatException($"the owner has volume {hello.Volume}, this is {_volume}");
                if (hello.Size < State.Size && State.Record.Phase == CopyPhase.Empty)
                {
                    throw new LinkFormatException($"the owner's volume has {hello.Size} bytes, and this one was made with {State.Size}; "
                        + "delete it, and make it with the owner's size, or resize the owner's");
                }

                OwnershipRefusal? refusal = OwnershipMachine.MayFollow(_ownership(), hello.Epoch);
                if (refusal is { Kind: OwnershipRefusalKind.WrongRole } && hello.Epoch >= RefusedEpoch)
                    (RefusedEpoch, RefusedIsFinal) = (hello.Epoch, hello.IsFinal);
                if (refusal is null && _ownership().OwnerEpoch < hello.Epoch)
                    await _ownerSeen(hello.Epoch, cancel).ConfigureAwait(false);
                (_viaGap, _ownerSize) = (false, hello.Size);
                if (refusal is null) OwnerAnswered = hello.Answered;
                // What was received on a connection before this one counts as durable for the owner from now on: so it is.
                await StepAsync(new ReplicaSynced(await _sink.SyncAsync(cancel).ConfigureAwait(false)), cancel).ConfigureAwait(false);
                await StepAsync(new OwnerConnected(_ownership(), hello.Epoch, hello.Durable), cancel).ConfigureAwait(false);
                break;
            case FrameKind.ChainQuery:
                List<ulong?> chains = [.. LinkMessages.Query(body.Span).Select(s => _sink.PointAt(s)?.Chain)];
                await SendAsync(FrameKind.ChainAnswer, LinkMessages.WriteChains(chains), cancel).ConfigureAwait(false);
                break;
            case FrameKind.Common:
                (LogPoint? common, long sizeThere, List<(long, long)>? gap) = LinkMessages.Common(body.Span, LargestSize);
                if (common is { } point && (_sink.PointAt(point.Sequence) != point || !HasSize(point.Sequence, sizeThere))) common = null;
                _viaGap = gap is not null && common is not null;
                _gap = _viaGap ? gap! : [];
                await StepAsync(new CommonFound(common, _sink.Applied, _viaGap), cancel).ConfigureAwait(false);
                break;
            case FrameKind.LogBegins:
                (LogPoint begin, long beginSize) = LinkMessages.Begins(body.Span);
                if (!IsCopying() || (State.Record.Copies != StreamStart.Everything && !_viaGap)) throw Unexpected(kind);
                await _sink.BeginLogAsync(begin, beginSize, cancel).ConfigureAwait(false);
                State = ReplicaMachine.LogBeginsAt(State, begin, beginSize);
                await StepAsync(new OwnerDurableTo(begin.Sequence), cancel).ConfigureAwait(false);
                break;
            case FrameKind.CopyData or FrameKind.CopyZero:
                Copy(kind, body.Span);
                bool due = _copied - _syncedCopy >= CopySyncBytes || Environment.TickCount64 - _copySyncAt >= CopySyncMs;
                if (due && _copySync is null) SyncCopy(cancel);
                break;
            case FrameKind.CopyEnd:
                LogPoint last = LinkMessages.Point(kind, body.Span);
                if (!IsCopying()) throw Unexpected(kind);
                await StepAsync(new CopySent(last), cancel).ConfigureAwait(false);
                break;
            case FrameKind.Batch:
                (RecordBatch batch, ulong ownerDurable) = BatchCodec.Read(body);
                if (!_sink.KeepsBatchesWhole && Enumerable.Range(0, batch.Count).Any(batch.IsElided))
                    throw new LinkFormatException("bytes were left out of a batch, which this store does not take");
                _batch = batch;
                await StepAsync(new BatchArrived(batch.Records.ToArray(), ownerDurable, _chain), cancel).ConfigureAwait(false);
                break;
            case FrameKind.Ping:
                (ulong stamp, ulong through, ulong answered) = LinkMessages.Ping(body.Span);
                OwnerAnswered = Math.Max(OwnerAnswered, answered);
                await StepAsync(new OwnerDurableTo(through), cancel).ConfigureAwait(false);
                await SendAsync(FrameKind.Pong, LinkMessages.Write(stamp, 0), cancel).ConfigureAwait(false);
                break;
            case FrameKind.ProofRequest:
                (ulong sequence, _) = LinkMessages.Pair(kind, body.Span);
                await StepAsync(new ProofAsked(sequence, _sink.ContentRoot), cancel).ConfigureAwait(false);
                break;
            case FrameKind.SizeAsk:
                _asks.SizeAsked(body.Span, _sink.PrepareSize);
                break;
            case FrameKind.BlockAsk:
                _asks.Asked(body.Span, _sink.Vouched);
                break;
            case FrameKind.BlockAnswer:
                _asks.Answered(body.Span);
                break;
            case FrameKind.Refuse:
                throw new IOException($"the owner has ended the connection: {LinkMessages.Text(body.Span)}");
            default:
                throw Unexpected(kind);
        }
    }

    private static LinkFormatException Unexpected(FrameKind kind) => new($"a {kind} frame is not expected here");

    // What the owner may speak of: its volume may be larger than this one is yet.
    private long LargestSize => Math.Max(_ownerSize, State.Size);

    // A point that both have, at which their volumes have different sizes, is none: what they were made of was not the same.
    private bool HasSize(ulong sequence, long size) => _sink.SizeAt(sequence) is { } here && (size == 0 || size == here);

    private bool IsCopying() => State.IsStreaming && State.Record.Phase is CopyPhase.Copying or CopyPhase.Resyncing;

    private void Copy(FrameKind kind, ReadOnlySpan<byte> body)
    {
        if (!IsCopying()) throw Unexpected(kind);
        var reader = new BodyReader(kind, body);
        long offset = reader.Size(), length = kind == FrameKind.CopyZero ? reader.Size() : reader.Left;
        if (length <= 0 || offset > LargestSize - length)
            throw new LinkFormatException($"a {kind} frame has the range {offset}+{length}; the volume has {LargestSize} bytes");
        if (kind == FrameKind.CopyZero)
        {
            reader.End();
            _sink.ZeroCopy(offset, length);
        }
        else
        {
            _sink.WriteCopy(offset, reader.Take(reader.Left));
        }

        Volatile.Write(ref _copied, _copied + length);
    }

    private async Task StepAsync(ReplicaInput input, CancellationToken cancel)
    {
        (State, IReadOnlyList<ReplicaCommand> commands) = ReplicaMachine.Step(State, input);
        _writing |= commands.Any(c => c is WriteReplica);
        foreach (ReplicaCommand command in commands) await CarryAsync(command, cancel).ConfigureAwait(false);
        _sink.ApplyUpTo(State.ApplyLimit);
    }

    private async Task CarryAsync(ReplicaCommand command, CancellationToken cancel)
    {
        switch (command)
        {
            case WriteReplica(var record):
                try
                {
                    await _sink.WriteAsync(record, cancel).ConfigureAwait(false);
                }
                catch (IOException e)
                {
                    _writing = false;
                    await StepAsync(new ReplicaRecordFailed(e.Message), cancel).ConfigureAwait(false);
                    break;
                }

                _writing = false;
                await StepAsync(new ReplicaRecordSynced(), cancel).ConfigureAwait(false);
                break;
            case AnswerOwner(var last, var phase, _, var copied):
                (_copied, _syncedCopy, _copySyncAt) = (copied, copied, Environment.TickCount64);
                var answer = new LinkAnswer(last, phase, copied, _sink.KeepsBatchesWhole, State.Size);
                await SendAsync(FrameKind.Answer, LinkMessages.Write(answer), cancel).ConfigureAwait(false);
                break;
            case RefuseOwner(var reason, _):
                throw new LinkFormatException(reason);
            case PutTailAside(var to):
                await _sink.PutTailAsideAsync(to, cancel).ConfigureAwait(false);
                await StepAsync(new StreamReady(_sink.LastSize), cancel).ConfigureAwait(false);
                break;
            case KeepRanges(var from, var number, var before):
                _sink.KeepRanges(from, number, before, _gap);
                break;
            case BeginResync(var common):
                await _sink.BeginResyncAsync(common, cancel).ConfigureAwait(false);
                (_copied, _syncedCopy) = (0, 0);
                await StepAsync(new StreamReady(_sink.LastSize), cancel).ConfigureAwait(false);
                break;
            case AskStream(var start, var begin):
                IReadOnlyList<(long Offset, long Length)> ranges = start == StreamStart.Differences
                    ? _sink.Ranges(State.Record.Ranges) : [];
                if (start == StreamStart.Differences) _total = ranges.Sum(r => r.Length);
                await SendAsync(FrameKind.Start, LinkMessages.Write(new LinkStart(start, begin, State.Record.CopiedBytes, ranges)), cancel)
                    .ConfigureAwait(false);
                break;
            case AppendBatch(var skip):
                _sink.Append(_batch!, skip);
                for (int i = skip; i < _batch!.Count; i++) _unsynced += _batch.Records[i].PayloadLength;
                _isDirty = true;
                break;
            case EndResync(var through):
                _sink.EndResync(through);
                break;
            case SendWhole:
                await SendAsync(FrameKind.Whole, default, cancel).ConfigureAwait(false);
                break;
            case SendAck(var received, var durable):
                await SendAsync(FrameKind.Ack, LinkMessages.Write(received, durable), cancel).ConfigureAwait(false);
                break;
            case SendProof(var proof):
                await SendAsync(FrameKind.Proof, LinkMessages.Write(proof), cancel).ConfigureAwait(false);
                break;
        }
    }

    private ValueTask SendAsync(FrameKind kind, ReadOnlyMemory<byte> body, CancellationToken cancel)
        => _frames.WriteAsync(kind, body, LinkCompression.None, cancel);
}
