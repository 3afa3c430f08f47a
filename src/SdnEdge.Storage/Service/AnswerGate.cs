using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Service;

/// <summary>
/// When an owner's writes are answered: <see cref="PrimaryMachine"/>'s limits, waited for. The mode is switched under the volume's
/// sequence lock, so that it holds from one sequence on. Any thread.
/// </summary>
internal sealed class AnswerGate : IAckGate
{
    private readonly Lock _lock = new();
    private readonly PriorityQueue<Waiter, ulong> _writes = new(), _barriers = new();

    // Requests for durability that are behind a record and not waiting yet; flushes at the same time have the same one.
    private readonly Dictionary<ulong, int> _durable = [];
    private ulong _writeLimit, _barrierLimit;
    private long _waits, _waited;
    private bool _ended;

    /// <summary>Requests that were answered when the replica had them, and how long all of them waited for that, once they were durable
    /// here, nanoseconds. Any thread.</summary>
    public (long Count, long Time) Waited
    {
        get
        {
            lock (_lock) return (_waits, _waited);
        }
    }

    /// <summary>The mode for records that are appended from now on. Set under the volume's sequence lock.</summary>
    public ReplicationMode Mode { get; set; }

    /// <summary>True: writes wait for their limit in every mode: the lag is at its bound. Any thread.</summary>
    public bool IsSlow { get; set; }

    /// <inheritdoc/>
    public AckRule RuleFor(in LogRecord record, bool durable)
    {
        AckRule rule = (Mode, durable) switch
        {
            (ReplicationMode.Sync, _) or (ReplicationMode.Semantic, true) => AckRule.LocallyDurable | AckRule.ReplicaDurable,
            (_, true) => AckRule.LocallyDurable,
            _ => AckRule.Appended,
        };
        if (IsSlow) rule |= AckRule.ReplicaDurable;
        if (durable && (rule & AckRule.ReplicaDurable) != 0)
        {
            lock (_lock) _durable[record.Sequence] = _durable.GetValueOrDefault(record.Sequence) + 1;
        }

        return rule;
    }

    /// <inheritdoc/>
    public ValueTask<BlockResult> ReplicaDurableAsync(ulong sequence, CancellationToken cancel)
    {
        Waiter waiter;
        lock (_lock)
        {
            bool barrier = _durable.Remove(sequence, out int asked);
            if (asked > 1) _durable[sequence] = asked - 1;
            if (sequence <= (barrier ? _barrierLimit : _writeLimit))
            {
                _waits++;
                return new(BlockResult.Ok);
            }

            if (_ended) return new(BlockResult.ShuttingDown);
            waiter = new Waiter(Monotonic.Now);
            (barrier ? _barriers : _writes).Enqueue(waiter, sequence);
        }

        return new(waiter.Task.WaitAsync(cancel));
    }

    /// <summary>Answers what may be answered.</summary>
    public void Open(ulong writeLimit, ulong barrierLimit)
    {
        lock (_lock)
        {
            (_writeLimit, _barrierLimit) = (writeLimit, barrierLimit);
            Answer(_writes, writeLimit, BlockResult.Ok);
            Answer(_barriers, barrierLimit, BlockResult.Ok);
        }
    }

    /// <summary>The store ends: what waits is told so.</summary>
    public void End()
    {
        lock (_lock)
        {
            _ended = true;
            Answer(_writes, ulong.MaxValue, BlockResult.ShuttingDown);
            Answer(_barriers, ulong.MaxValue, BlockResult.ShuttingDown);
        }
    }

    private void Answer(PriorityQueue<Waiter, ulong> waiting, ulong limit, BlockResult result)
    {
        while (waiting.TryPeek(out _, out ulong sequence) && sequence <= limit)
        {
            Waiter waiter = waiting.Dequeue();
            _waits++;
            _waited += Monotonic.Now - waiter.Since;
            waiter.TrySetResult(result);
        }
    }

    private sealed class Waiter(long since) : TaskCompletionSource<BlockResult>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public long Since => since;
    }
}
