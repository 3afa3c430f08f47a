using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

public sealed partial class Volume
{
    private enum Work
    {
        Write,
        Zero,
        Trim,
        Flush,
        Size,
    }

    // A request as it goes on from record to record; parked, it waits for room for the rest of it.
    private sealed class Request
    {
        public Work Work;
        public long Offset, Length;
        public ReadOnlyMemory<byte> Bytes;
        public bool Durable, BarrierDone, Here;
        public LogRecord Last;
        public AckRule Rule;
        public TaskCompletionSource<BlockResult>? Answer;
        public CancellationToken Cancel;
    }

    private readonly Queue<Request> _parked = new();
    private ulong _lastBarrier;
    private long _appendedSinceKick;
    private bool _logTold, _retentionTold;

    /// <summary>True while requests wait for room: they have no sequence yet.</summary>
    public bool IsParking
    {
        get
        {
            lock (_log.Gate) return _parked.Count > 0;
        }
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
    {
        bool durable = (flags & BlockFlags.ForceUnitAccess) != 0;
        if (!durable && bytes.Length <= _options.Log.MaxPayload)
        {
            // The way of nearly every write: one record, nothing allocated, answered at once.
            AckRule rule;
            LogRecord record;
            lock (_log.Gate)
            {
                if (_parked.Count > 0 || _disposed || !_index.HasRoom(offset, bytes.Length, zeros: false)
                    || _log.Append(LogRecordKind.Write, offset, bytes.Length, bytes.Span, out record,
                        out long position) != AppendStatus.Appended)
                {
                    goto slow;
                }

                _index.Add(record.Sequence, offset, bytes.Length, position);
                rule = _options.Gate?.RuleFor(record, durable: false) ?? AckRule.Appended;
                _appendedSinceKick += bytes.Length;
                if (_appendedSinceKick >= _options.ApplyAtBytes) Kick();
            }

            return rule == AckRule.Appended ? new(BlockResult.Ok) : AnswerAsync(record.Sequence, rule, cancel);
        }

    slow:
        return Submit(new Request { Work = Work.Write, Offset = offset, Length = bytes.Length, Bytes = bytes, Durable = durable,
            Cancel = cancel });
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => Submit(new Request { Work = Work.Flush, Durable = true,
        Cancel = cancel });

    /// <inheritdoc/>
    public ValueTask<BlockResult> FlushHereAsync(CancellationToken cancel) => Submit(new Request { Work = Work.Flush, Durable = true,
        Here = true, Cancel = cancel });

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteDurableHereAsync(long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancel) =>
        Submit(new Request { Work = Work.Write, Offset = offset, Length = bytes.Length, Bytes = bytes, Durable = true, Here = true,
            Cancel = cancel });

    /// <inheritdoc/>
    public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel) =>
        Submit(new Request
        {
            Work = Work.Trim,
            Offset = offset,
            Length = length,
            Durable = (flags & BlockFlags.ForceUnitAccess) != 0,
            Cancel = cancel,
        });

    /// <inheritdoc/>
    public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel) =>
        Submit(new Request
        {
            // Zeros that need not keep their room are a trim: both read as zeros from then on.
            Work = (flags & BlockFlags.NoHole) != 0 ? Work.Zero : Work.Trim,
            Offset = offset,
            Length = length,
            Durable = (flags & BlockFlags.ForceUnitAccess) != 0,
            Cancel = cancel,
        });

    private ValueTask<BlockResult> Submit(Request request)
    {
        BlockResult? failed = null;
        lock (_log.Gate)
        {
            if (_disposed) return new(BlockResult.ShuttingDown);
            if (_parked.Count > 0 || !TryAppend(request, out failed))
            {
                if (failed is null)
                {
                    request.Answer = new TaskCompletionSource<BlockResult>(TaskCreationOptions.RunContinuationsAsynchronously);
                    _parked.Enqueue(request);
                    ParkedRequests++;
                    Kick();
                    return new(request.Answer.Task);
                }
            }
        }

        if (failed is BlockResult result)
        {
            TellLog();
            return new(result);
        }

        if (request.Here && (request.Rule & AckRule.LocallyDurable) != 0)
        {
            if (_log.CommitHere(request.Last.Sequence) != 0) return new(BlockResult.IoError);
            request.Rule &= ~AckRule.LocallyDurable;
        }

        return request.Rule == AckRule.Appended ? new(BlockResult.Ok) : AnswerAsync(request.Last.Sequence, request.Rule, request.Cancel);
    }

    // Under the lock. Appends what is left of a request. False: there is no room now, or it failed for good (then why).
    private bool TryAppend(Request request, out BlockResult? failed)
    {
        failed = null;
        if (request is { Work: Work.Size, Length: > 0 } && !TryAppendSize(request, out failed)) return false;
        while (request.Length > 0)
        {
            bool write = request.Work == Work.Write;
            long length = write ? Math.Min(request.Length, _options.Log.MaxPayload) : request.Length;
            if (!_index.HasRoom(request.Offset, length, zeros: !write))
            {
                // It comes by applying; where that fails, the guest is told so.
                if (_imageError != 0) failed = Result(_imageError);
                return false;
            }

            var kind = request.Work switch
            {
                Work.Write => LogRecordKind.Write,
                Work.Zero => LogRecordKind.Zero,
                _ => LogRecordKind.Trim,
            };
            var status = _log.Append(kind, request.Offset, length, write ? request.Bytes.Span[..(int)length] : [], out request.Last,
                out long position);
            if (status != AppendStatus.Appended)
            {
                failed = Refusal(status);
                return false;
            }

            _index.Add(request.Last.Sequence, request.Offset, length, write ? position : -1);
            request.Offset += length;
            request.Length -= length;
            if (write) request.Bytes = request.Bytes[(int)length..];
            _appendedSinceKick += length;
        }

        if (request.Durable && !request.BarrierDone && _log.LastSequence > _lastBarrier)
        {
            var status = _log.Append(LogRecordKind.Barrier, 0, 0, [], out request.Last, out _);
            if (status != AppendStatus.Appended)
            {
                failed = Refusal(status);
                return false;
            }

            _lastBarrier = request.Last.Sequence;
        }

        request.BarrierDone = true;
        if (request.Last.Sequence == 0) request.Last = request.Last with { Sequence = _log.LastSequence };
        request.Rule = _options.Gate?.RuleFor(request.Last, request.Durable)
            ?? (request.Durable ? AckRule.LocallyDurable : AckRule.Appended);
        _logTold &= _log.LastError != 0;
        if (_appendedSinceKick >= _options.ApplyAtBytes) Kick();
        return true;
    }

    // Null: it may wait, because room will come.
    private BlockResult? Refusal(AppendStatus status)
    {
        if (status == AppendStatus.NoRoom)
        {
            if (!_log.IsFull || _imageError == 0) return null;
            return Result(_imageError);
        }

        return Result(_log.Failure != 0 ? _log.Failure : _log.LastError);
    }

    private static BlockResult Result(int error) =>
        error is RawFile.NoSpace or RawFile.QuotaExceeded ? BlockResult.NoSpace : BlockResult.IoError;

    private async ValueTask<BlockResult> AnswerAsync(ulong sequence, AckRule rule, CancellationToken cancel)
    {
        if ((rule & AckRule.LocallyDurable) != 0)
        {
            int error = await _log.CommitAsync(sequence).ConfigureAwait(false);
            if (error != 0) return BlockResult.IoError;
            PublishSize();
        }

        return (rule & AckRule.ReplicaDurable) != 0
            ? await _options.Gate!.ReplicaDurableAsync(sequence, cancel).ConfigureAwait(false)
            : BlockResult.Ok;
    }

    // Room has come, or has failed to: the parked requests in their turn.
    private void Unpark()
    {
        List<(Request Request, BlockResult? Result)>? done = null;
        lock (_log.Gate)
        {
            while (_parked.TryPeek(out var request))
            {
                if (!TryAppend(request, out var failed) && failed is null) break;
                _parked.Dequeue();
                (done ??= []).Add((request, failed));
            }
        }

        if (_log.LastError != 0) TellLog();
        if (done is null) return;
        foreach ((var request, var result) in done)
        {
            if (result is BlockResult refused) request.Answer!.SetResult(refused);
            else if (request.Rule == AckRule.Appended) request.Answer!.SetResult(BlockResult.Ok);
            else _ = FinishAsync(request);
        }
    }

    private async Task FinishAsync(Request request)
    {
        try
        {
            request.Answer!.SetResult(await AnswerAsync(request.Last.Sequence, request.Rule, request.Cancel).ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            request.Answer!.TrySetCanceled(request.Cancel);
        }
    }

    private void EndParked()
    {
        Request[] left;
        lock (_log.Gate)
        {
            left = [.. _parked];
            _parked.Clear();
        }

        foreach (var request in left) request.Answer!.SetResult(BlockResult.ShuttingDown);
    }

    // Once, until it works again.
    private void TellLog()
    {
        int error = _log.Failure != 0 ? _log.Failure : _log.LastError;
        lock (_log.Gate)
        {
            if (error == 0 || _logTold) return;
            _logTold = true;
        }

        if (_log.Failure != 0)
        {
            Tell(VolumeEventKind.LogEnded, _log.FailedFile, error,
                $"{_log.FailedFile}: {RawFile.Describe(error)}; what was answered as durable is on disk; open the volume again to go on");
        }
        else
        {
            Tell(VolumeEventKind.LogFailed, _log.FailedFile, error,
                $"{_log.FailedFile}: {RawFile.Describe(error)}; writes are refused until it can be written");
        }
    }

    private void OnCommitted(int error)
    {
        if (error != 0) TellLog();
        else PublishSize();
    }

    /// <summary>From here on the records are of this epoch.</summary>
    /// <param name="epoch">More than the present one.</param>
    /// <param name="record">The record that says so; it is durable when <see cref="FlushAsync"/> has been answered.</param>
    /// <exception cref="ArgumentOutOfRangeException">The epoch is not more.</exception>
    public AppendStatus BeginEpoch(ulong epoch, out LogRecord record) => _log.AppendEpoch(epoch, out record);

    /// <summary>Appends the next record of the volume that this one is a copy of, unchanged.</summary>
    /// <param name="record">It must continue this volume's log.</param>
    /// <param name="payload">Its bytes; they may be used again when this returns.</param>
    /// <returns>As the log's; <see cref="AppendStatus.NoRoom"/> also when the index is full: apply, then try again.</returns>
    /// <exception cref="VolumeException">It makes the volume larger, and the image cannot be; nothing was appended.</exception>
    public AppendStatus AppendReplicated(in LogRecord record, ReadOnlySpan<byte> payload)
    {
        if (record.Kind == LogRecordKind.Size) PrepareSize(record.Length);
        lock (_log.Gate)
        {
            bool range = record.Kind is LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim;
            if (range && record.Offset > _sizes.Last - record.Length) return AppendStatus.OutOfOrder;
            if (record.Kind == LogRecordKind.Size && record.Length <= _sizes.Last) return AppendStatus.OutOfOrder;
            if (range && !_index.HasRoom(record.Offset, record.Length, record.Kind != LogRecordKind.Write))
            {
                Kick();
                return AppendStatus.NoRoom;
            }

            var status = _log.AppendReplicated(record, payload, out long position);
            if (status != AppendStatus.Appended)
            {
                if (status == AppendStatus.NoRoom) Kick();
                return status;
            }

            if (record.Kind == LogRecordKind.Barrier) _lastBarrier = record.Sequence;
            Note(_index, record, position);
            _sizes.Note(record);
            _appendedSinceKick += record.PayloadLength;
            if (_appendedSinceKick >= _options.ApplyAtBytes) Kick();
            return AppendStatus.Appended;
        }
    }
}
