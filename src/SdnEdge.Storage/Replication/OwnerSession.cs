using System.Buffers;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>Options of the owner's side of the link.</summary>
public sealed record LinkOptions
{
    /// <summary>Payload of a batch at most, bytes; a single larger record goes alone.</summary>
    public int BatchBytes { get; init; } = 1 << 20;

    /// <summary>Compression of batches and copied data.</summary>
    public LinkCompression Compression { get; init; }

    /// <summary>Leave out of a batch what a later write of it covers, where the replica keeps batches whole.</summary>
    public bool Coalesces { get; init; }

    /// <summary>Time between two pings.</summary>
    public TimeSpan PingEvery { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Time between the end of a connection and the next attempt.</summary>
    public TimeSpan RetryAfter { get; init; } = TimeSpan.FromMilliseconds(200);
}

/// <summary>
/// The owner's side of the link, for one connection: hello, the last common point, data where the replica needs them, then the log, in
/// order and without waiting for acknowledgements, so that any round trip is filled. What is heard becomes inputs of <see
/// cref="PrimaryMachine"/>.
/// </summary>
public sealed class OwnerSession(
    ILogReader log, ICopySource volume, Guid identity, Func<ulong> epoch, Action<PrimaryInput> post, LinkOptions options)
{
    private const int CopyPiece = 1 << 20, BatchesAPiece = 4;

    private static readonly TimeSpan s_lastWord = TimeSpan.FromSeconds(1);

    private readonly LinkMeter _meter = new();
    private readonly Lock _lock = new();
    private LinkFrames _frames = null!;
    private DrainProof? _proof;
    private readonly RecordBatch _batch = new();
    private readonly ArrayBufferWriter<byte> _body = new();
    private bool _coalesces;
    private ulong _sent;
    private long _sentBytes;
    private bool _viaGap;
    private long _copySize;
    private volatile bool _isOpen;
    private readonly LinkAsks _asks = new();

    /// <summary>What the log has let go although the replica lacks it; null = nothing.</summary>
    public IHistoryGap? Gap { get; init; }

    /// <summary>Up to which sequence writes were answered as durable; null = up to where they are durable here.</summary>
    public Func<ulong>? Answered { get; init; }

    /// <summary>A person has promoted this store: the owner before gives way.</summary>
    public bool IsFinal { get; init; }

    /// <summary>Bytes that were sent, with headers.</summary>
    public long SentBytes => _frames?.SentBytes ?? 0;

    /// <summary>Payload bytes that were left out because a later write of the batch covers them.</summary>
    public long ElidedBytes { get; private set; }

    /// <summary>Bytes of the volume that were copied, zeros too, and how many there are to be copied.</summary>
    public (long Copied, long Total) Progress { get; private set; }

    /// <summary>Asks the replica for a block that has a hash.</summary>
    /// <returns>Its bytes; null = it has another one, or the connection has ended.</returns>
    public Task<byte[]?> AskBlockAsync(long block, ulong hash) => _asks.AskAsync(block, hash);

    /// <summary>Asks the replica whether the volume can have so many bytes there, and has it get ready for them.</summary>
    /// <returns>Why not, for people; null = it can.</returns>
    /// <exception cref="IOException">There is no connection, or it has ended.</exception>
    public Task<string?> AskSizeAsync(long size)
    {
        Task<string?> answer = _asks.AskSizeAsync(size);
        if (!_isOpen) _asks.End();
        return answer;
    }

    /// <summary>Asks for the replica's proof behind the record that <paramref name="proof"/> names, before any later one is sent.</summary>
    /// <returns>False: a later record was sent already.</returns>
    public bool AskProof(DrainProof proof)
    {
        lock (_lock)
        {
            if (_sent > proof.Point.Sequence) return false;
            _proof = proof;
            return true;
        }
    }

    /// <summary>Serves a connection until it ends.</summary>
    /// <returns>Why it ended, for people.</returns>
    public async Task<string> RunAsync(Stream stream, CancellationToken cancel)
    {
        _frames = new LinkFrames(stream);
        (_sent, _proof) = (0, null);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task hearing = Task.CompletedTask;
        string reason;
        try
        {
            LinkAnswer answer = await GreetAsync(end.Token).ConfigureAwait(false);
            LogPoint? common = await FindCommonAsync(answer.Last, end.Token).ConfigureAwait(false);
            long sizeThere = common is { } point ? volume.SizeAt(point.Sequence) ?? 0 : 0;
            await SendAsync(FrameKind.Common, LinkMessages.WriteCommon(common, sizeThere, _viaGap ? Gap!.Ranges : null), end.Token)
                .ConfigureAwait(false);
            LinkStart start = LinkMessages.Start((await ExpectAsync(FrameKind.Start, end.Token).ConfigureAwait(false)).Span, volume.Size);
            await OpenAsync(start, answer, end.Token).ConfigureAwait(false);

            // Nothing that is heard comes before the link is said to be open.
            hearing = HearAsync(end);
            await StreamAsync(start, answer, end.Token).ConfigureAwait(false);
            reason = "it was closed";
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            reason = e.Message;

            // A send fails when the replica has closed the connection; why it did may be unread still.
            if (e is IOException) await Task.WhenAny(hearing, Task.Delay(s_lastWord, CancellationToken.None)).ConfigureAwait(false);
        }

        await end.CancelAsync().ConfigureAwait(false);
        try
        {
            await hearing.ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // What was heard last says more than that nothing could be sent.
            if (e is not OperationCanceledException) reason = e.Message;
        }

        _isOpen = false;
        _asks.End();
        post(new LinkClosed(reason));
        return reason;
    }

    private async Task<LinkAnswer> GreetAsync(CancellationToken cancel)
    {
        var hello = new LinkHello(LinkHello.CurrentVersion, identity, volume.Size, epoch(), log.Durable.Sequence,
            Answered?.Invoke() ?? log.Durable.Sequence, IsFinal);
        await SendAsync(FrameKind.Hello, LinkMessages.Write(hello), cancel).ConfigureAwait(false);
        return LinkMessages.Answer((await ExpectAsync(FrameKind.Answer, cancel).ConfigureAwait(false)).Span);
    }

    // In the log; where that does not reach back to it, in what is known of what it has let go.
    private async Task<LogPoint?> FindCommonAsync(LogPoint otherLast, CancellationToken cancel)
    {
        LogPoint? common = await FindCommonAsync(log.Oldest, log.Last, otherLast, log.PointAt, cancel).ConfigureAwait(false);
        if (common is not null || Gap is not { } gap) return common;
        common = await FindCommonAsync(gap.Before, gap.LastKnown, otherLast, gap.PointAt, cancel).ConfigureAwait(false);
        _viaGap = common is not null;
        return common;
    }

    private async Task<LogPoint?> FindCommonAsync(
        LogPoint oldest, LogPoint last, LogPoint otherLast, Func<ulong, LogPoint?> at, CancellationToken cancel)
    {
        CommonPointSearch search = CommonPointSearch.Start(oldest, last, otherLast, at);
        while (!search.IsDone)
        {
            await SendAsync(FrameKind.ChainQuery, LinkMessages.WriteQuery(search.Ask), cancel).ConfigureAwait(false);
            search = search.Answer(
                LinkMessages.Chains((await ExpectAsync(FrameKind.ChainAnswer, cancel).ConfigureAwait(false)).Span), at);
        }

        return search.Common;
    }

    private async Task<ReadOnlyMemory<byte>> ExpectAsync(FrameKind kind, CancellationToken cancel)
    {
        if (await _frames.ReadAsync(cancel).ConfigureAwait(false) is not var (got,
            body)) throw new IOException("the replica has closed the connection");
        if (got == FrameKind.Refuse) throw new IOException($"the replica refuses: {LinkMessages.Text(body.Span)}");
        return got == kind ? body : throw new LinkFormatException($"a {got} frame came where {kind} was expected");
    }

    private async Task OpenAsync(LinkStart start, LinkAnswer answer, CancellationToken cancel)
    {
        LogPoint from = start.From;
        LogPoint? begins = null;

        // What is behind the size at the log's beginning was written later, and comes with the log.
        _copySize = answer.Size;
        if (from == default && (start.Start == StreamStart.Everything || _viaGap))
        {
            from = _viaGap ? Gap!.Through : log.Durable;
            begins = from;
            _copySize = volume.SizeAt(from.Sequence) ?? throw new IOException($"the size of the volume at record {from.Sequence} is not "
                + "known any more; ask for a copy of everything with resync, at the replica");
            await SendAsync(FrameKind.LogBegins, LinkMessages.WriteBegins(from, _copySize), cancel).ConfigureAwait(false);
        }

        bool isWhole = start.Start == StreamStart.Log && answer.Phase == CopyPhase.Following;
        lock (_lock) _sent = from.Sequence;
        _isOpen = true;
        post(new LinkOpened(from.Sequence, Math.Min(from.Sequence, answer.Last.Sequence), isWhole) { Begins = begins });
    }

    private async Task StreamAsync(LinkStart start, LinkAnswer answer, CancellationToken cancel)
    {
        _coalesces = options.Coalesces && answer.KeepsBatchesWhole;
        if (start.Start != StreamStart.Log) await CopyAsync(start, cancel).ConfigureAwait(false);
        while (true)
        {
            if (!await SendRecordsAsync(cancel).ConfigureAwait(false))
            {
                if (_proof is { } proof && _sent == proof.Point.Sequence)
                {
                    lock (_lock) _proof = null;
                    await SendAsync(FrameKind.ProofRequest, LinkMessages.Write(_sent, 0), cancel).ConfigureAwait(false);
                }
                else
                {
                    using var soon = CancellationTokenSource.CreateLinkedTokenSource(cancel);
                    soon.CancelAfter(options.PingEvery);
                    try
                    {
                        await log.WaitAsync(_sent, ulong.MaxValue, soon.Token).ConfigureAwait(false);
                    }
                    catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
                    {
                        // Time for a ping.
                    }
                }
            }

            await PingAsync(cancel).ConfigureAwait(false);
        }
    }

    // One batch of the log; false: there is nothing to be sent.
    private async Task<bool> SendRecordsAsync(CancellationToken cancel)
    {
        ulong through;
        lock (_lock) through = _proof?.Point.Sequence ?? ulong.MaxValue;
        if (_sent >= Math.Min(through, log.Last.Sequence)) return false;
        _batch.Clear();
        _body.ResetWrittenCount();
        if (!log.Read(_sent, through, options.BatchBytes, _batch))
            throw new IOException($"the log does not reach back to {_sent} any more");
        long elided = _coalesces ? _batch.Coalesce() : 0;
        BatchCodec.Write(_batch, log.Durable.Sequence, _body);
        ulong last = _batch.Records[^1].Sequence;
        lock (_lock)
        {
            // A proof that was asked for meanwhile is of a record before the last of these: they are read again, up to it.
            if (_proof is { } late && late.Point.Sequence < last) return true;
            _sent = last;
        }

        ElidedBytes += elided;
        await SendAsync(FrameKind.Batch, _body.WrittenMemory, cancel, options.Compression).ConfigureAwait(false);
        return true;
    }

    // What is durable here goes with the records and the pings: nobody waits for the replica to apply, and a frame of its own for each
    // commit would be as much traffic again as the headers.
    private async Task PingAsync(CancellationToken cancel)
    {
        while (_asks.TryTake(out (FrameKind Kind, ReadOnlyMemory<byte> Body) asked))
            await SendAsync(asked.Kind, asked.Body, cancel).ConfigureAwait(false);
        if (!_meter.IsDue(options.PingEvery, _sentBytes)) return;
        ulong durable = log.Durable.Sequence;
        await SendAsync(FrameKind.Ping, LinkMessages.WritePing(_meter.Ping(_sentBytes), durable, Answered?.Invoke() ?? durable), cancel)
            .ConfigureAwait(false);
    }

    // Range by range, in order; holes as one frame each. What the replica has durably of an earlier connection is passed over. Between the
    // pieces go the records that are written meanwhile, so that the log need not be kept to the end: a piece shows all records that were
    // sent before it, and the replica has those that are sent behind it for later than what it shows.
    private async Task CopyAsync(LinkStart start, CancellationToken cancel)
    {
        IReadOnlyList<(long Offset, long Length)> ranges = start.Start == StreamStart.Everything
            ? [(0, Math.Min(_copySize, volume.Size))] : start.Ranges;
        long skip = start.CopiedBytes, total = ranges.Sum(r => r.Length);
        Progress = (Math.Min(skip, total), total);
        byte[] piece = new byte[8 + CopyPiece];
        foreach ((long offset, long length) in ranges)
        {
            if (skip >= length)
            {
                skip -= length;
                continue;
            }

            long at = offset + skip, end = offset + length;
            skip = 0;
            while (at < end)
            {
                (long Offset, long Length) data = volume.NextData(at) ?? (end, 0);
                long step;
                if (data.Offset > at)
                {
                    step = Math.Min(data.Offset, end) - at;
                    await SendAsync(FrameKind.CopyZero, LinkMessages.Write((ulong)at, (ulong)step), cancel).ConfigureAwait(false);
                }
                else
                {
                    step = Math.Min(Math.Min(data.Offset + data.Length, end) - at, CopyPiece);
                    System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(piece, at);
                    await volume.ReadDurableAsync(at, piece.AsMemory(8, (int)step), cancel).ConfigureAwait(false);
                    await SendAsync(FrameKind.CopyData, piece.AsMemory(0, 8 + (int)step), cancel,
                        options.Compression).ConfigureAwait(false);
                }

                at += step;
                Progress = (Progress.Copied + step, total);
                for (int i = 0; i < BatchesAPiece && await SendRecordsAsync(cancel).ConfigureAwait(false); i++)
                {
                    // The log goes first, and does not keep the copy from coming to its end.
                }

                await PingAsync(cancel).ConfigureAwait(false);
            }
        }

        await SendAsync(FrameKind.CopyEnd, LinkMessages.Write(log.Durable), cancel).ConfigureAwait(false);
    }

    private async Task HearAsync(CancellationTokenSource end)
    {
        try
        {
            while (true)
            {
                if (await _frames.ReadAsync(end.Token).ConfigureAwait(false) is not var (kind, body))
                    throw new IOException("the replica has closed the connection");
                switch (kind)
                {
                    case FrameKind.Ack:
                        (ulong received, ulong durable) = LinkMessages.Pair(kind, body.Span);
                        post(new Acked(received, durable));
                        break;
                    case FrameKind.Pong:
                        post(new PeerHeard());
                        if (_meter.Pong(LinkMessages.Pair(kind, body.Span).First)) post(new LinkMeasured(_meter.RoundTrip,
                            _meter.BytesPerSecond));
                        break;
                    case FrameKind.Whole:
                        post(new ReplicaConsistent());
                        break;
                    case FrameKind.Proof:
                        post(new ReplicaProved(LinkMessages.Proof(body.Span)));
                        break;
                    case FrameKind.SizeAnswer:
                        _asks.SizeAnswered(body.Span);
                        break;
                    case FrameKind.BlockAsk:
                        _asks.Asked(body.Span, volume.Vouched);
                        break;
                    case FrameKind.BlockAnswer:
                        _asks.Answered(body.Span);
                        break;
                    case FrameKind.Refuse:
                        throw new IOException($"the replica refuses: {LinkMessages.Text(body.Span)}");
                    default:
                        throw new LinkFormatException($"a {kind} frame is not for an owner");
                }
            }
        }
        finally
        {
            await end.CancelAsync().ConfigureAwait(false);
        }
    }

    private async ValueTask SendAsync(
        FrameKind kind, ReadOnlyMemory<byte> body, CancellationToken cancel, LinkCompression compression = LinkCompression.None)
    {
        // Only the stream's task writes.
        await _frames.WriteAsync(kind, body, compression, cancel).ConfigureAwait(false);
        await _frames.FlushAsync(cancel).ConfigureAwait(false);
        _sentBytes = _frames.SentBytes;
    }
}
