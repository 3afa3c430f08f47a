using System.Diagnostics.CodeAnalysis;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

// Replies, and requests that wait for the device.
internal sealed partial class NbdConnection
{
    private NbdBuffer _out;
    private int _outStart, _outEnd, _pending, _held, _completing;
    private NbdOperation? _completed, _free;
    private bool _broken;

    /// <inheritdoc/>
    public void Drain()
    {
        // Pushed by the devices' threads, the last one first: turned round, they are answered in the order in which they finished.
        NbdOperation? list = Interlocked.Exchange(ref _completed, null), ordered = null;
        while (list is not null) (list.Next, ordered, list) = (ordered, list, list.Next);
        while (ordered is not null)
        {
            NbdOperation operation = ordered;
            ordered = operation.Next;
            operation.Next = null;
            Complete(operation);
        }

        FlushReplies();
    }

    /// <summary>A device has finished with a request. By any thread.</summary>
    public void Completed(NbdOperation operation)
    {
        Interlocked.Increment(ref _completing);
        NbdOperation? head;
        do
        {
            operation.Next = head = Volatile.Read(ref _completed);
        }
        while (Interlocked.CompareExchange(ref _completed, operation, head) != head);

        // Who found the list empty wakes the thread; the others' are drained together.
        if (head is null) _transport.Signal();
        Interlocked.Decrement(ref _completing);
    }

    private void Complete(NbdOperation operation)
    {
        _pending--;
        NbdError error = operation.Take(out Exception? fault);
        if (fault is not null) error = Fault(fault);
        if (operation.IsAwaited)
        {
            (operation.Error, operation.IsDone) = (error, true);
            return;
        }

        NbdRequest request = operation.Request;
        if (request.Command == NbdCommand.Read && error == NbdError.None)
        {
            WriteReadHeader(operation.Buffer!.Bytes.AsSpan(operation.Region), request);
            int size = (_session.Structured ? NbdReply.OffsetDataSize : NbdReply.SimpleSize) + (int)request.Length;
            if (FlushReplies()) Send(operation.Buffer.Bytes.AsSpan(operation.Region, size));
        }
        else
        {
            Reply(request, error);
        }

        LetGo(operation.Buffer);
        Recycle(operation);
    }

    // The request waits; the part of the buffer that it needs is its own meanwhile.
    private void Pend(in NbdRequest request, ValueTask<BlockResult> task, NbdBuffer? buffer, int region)
    {
        NbdOperation operation = Obtain(request, buffer, region);
        operation.Watch(task);
    }

    // A device that waits in its caller's thread would keep back the requests behind this one: another thread calls it.
    private bool TryDefer(in NbdRequest request, ReadOnlyMemory<byte> bytes, NbdBuffer? buffer)
    {
        if (!_deviceWaits || IsAlone) return false;
        NbdOperation operation = Obtain(request, buffer, 0);
        operation.Bytes = bytes;
        ThreadPool.UnsafeQueueUserWorkItem(operation, preferLocal: false);
        return true;
    }

    /// <summary>Calls the device for a deferred request. On a thread of the pool.</summary>
    public ValueTask<BlockResult> CallDeferred(NbdOperation operation) => Call(operation.Request, operation.Bytes);

    private NbdOperation Obtain(in NbdRequest request, NbdBuffer? buffer, int region)
    {
        NbdOperation operation = _free ?? new NbdOperation(this);
        _free = operation.Next;
        operation.Begin(request, buffer, region);
        buffer?.Hold();
        _pending++;
        return operation;
    }

    private void Recycle(NbdOperation operation)
    {
        operation.End();
        operation.Next = _free;
        _free = operation;
    }

    // Waits for one call of the device; meanwhile other requests' replies go out. The caller keeps the bytes.
    private NbdError Await(Func<ValueTask<BlockResult>> call)
    {
        ValueTask<BlockResult> task;
        try
        {
            task = call();
        }
        catch (Exception e)
        {
            return Fault(e);
        }

        if (task.IsCompletedSuccessfully) return NbdRequestRules.ErrorOf(task.Result);
        NbdOperation operation = Obtain(default, null, 0);
        operation.IsAwaited = true;
        operation.Watch(task);
        while (true)
        {
            Drain();
            if (operation.IsDone) break;
            _transport.WaitForSignal();
        }

        NbdError error = operation.Error;
        Recycle(operation);
        return error;
    }

    private void WaitForOne()
    {
        FlushReplies();
        int before = _pending;
        while (_pending >= before && before > 0)
        {
            Drain();
            if (_pending >= before) _transport.WaitForSignal();
        }
    }

    private NbdError Fault(Exception e)
    {
        if (e is OperationCanceledException && _cancel.IsCancellationRequested) return NbdError.Shutdown;
        Counters.DeviceFault();
        _server.Report($"export '{Export?.Name}': a call of its device ended by an exception, which is a bug; answered EIO: {e}");
        return NbdError.Io;
    }

    // Read and block status are answered by chunks once structured replies are negotiated, errors too; all else by simple replies.
    private void Reply(in NbdRequest request, NbdError error)
    {
        if (error != NbdError.None) Counters.Error(request.Command);
        bool chunk = _session.Structured && request.Command is NbdCommand.Read or NbdCommand.BlockStatus;
        int size = chunk ? NbdReply.ErrorSize : NbdReply.SimpleSize;
        if (!ReplyRoom(size)) return;
        Span<byte> into = _out.Bytes.AsSpan(_outEnd);
        if (chunk) NbdReply.WriteError(into, request.Cookie, error);
        else NbdReply.WriteSimple(into, request.Cookie, error);
        _outEnd += size;
    }

    // Makes room behind _outEnd. False: the client is gone.
    private bool ReplyRoom(int size)
    {
        if (_outEnd + size <= _out.Bytes.Length) return !_broken;
        if (!FlushReplies()) return false;
        if (_outEnd + size <= _out.Bytes.Length) return true;
        NbdBuffer next = _pool.Take(Math.Max(size, Math.Min(_out.Bytes.Length, NbdBufferPool.Large)));
        Abandon(_out);
        _out = next;
        _outStart = _outEnd = 0;
        return true;
    }

    private bool FlushReplies()
    {
        if (_outEnd > _outStart) Send(_out.Bytes.AsSpan(_outStart, _outEnd - _outStart));
        if (_out.IsExclusive) _outStart = _outEnd = 0;
        else _outStart = _outEnd;
        return !_broken;
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        if (_broken || _transport.Send(bytes)) return;
        (_broken, _ending) = (true, true);
    }

    // The connection goes on with another buffer; the requests that hold this one keep it.
    private void Abandon(NbdBuffer buffer)
    {
        if (!buffer.Release()) _held += buffer.Bytes.Length;
    }

    private void LetGo(NbdBuffer? buffer)
    {
        if (buffer is not null && buffer.Release()) _held -= buffer.Bytes.Length;
    }
}

/// <summary>A request that the device has not finished. Used again and again.</summary>
[SuppressMessage("Reliability", "CA2012", Justification = "The task is taken once, when it has completed.")]
internal sealed class NbdOperation : IThreadPoolWorkItem
{
    private readonly NbdConnection _connection;
    private readonly Action _onCompleted;
    private ValueTask<BlockResult> _task;
    private Exception? _fault;

    /// <summary>Of one connection.</summary>
    public NbdOperation(NbdConnection connection)
    {
        _connection = connection;
        _onCompleted = () => connection.Completed(this);
    }

    /// <summary>The next one in the list that this one is in.</summary>
    public NbdOperation? Next { get; set; }

    /// <summary>The request; none where a part of one is awaited.</summary>
    public NbdRequest Request { get; private set; }

    /// <summary>What holds its bytes; null: nothing.</summary>
    public NbdBuffer? Buffer { get; private set; }

    /// <summary>Where in it the reply of a read begins.</summary>
    public int Region { get; private set; }

    /// <summary>The bytes of a deferred write.</summary>
    public ReadOnlyMemory<byte> Bytes { get; set; }

    /// <summary>The connection's thread waits for it and answers itself.</summary>
    public bool IsAwaited { get; set; }

    /// <summary>It was awaited and is finished.</summary>
    public bool IsDone { get; set; }

    /// <summary>How it ended, if it was awaited.</summary>
    public NbdError Error { get; set; }

    /// <summary>It is for this request now.</summary>
    public void Begin(in NbdRequest request, NbdBuffer? buffer, int region)
        => (Next, Request, Buffer, Region, IsAwaited, IsDone, _fault) = (null, request, buffer, region, false, false, null);

    /// <summary>It is for none.</summary>
    public void End() => (Buffer, Bytes, _task, _fault) = (null, default, default, null);

    /// <summary>Tells the connection when the task has completed, which may be at once.</summary>
    public void Watch(ValueTask<BlockResult> task)
    {
        _task = task;
        if (task.IsCompleted) _onCompleted();
        else task.GetAwaiter().UnsafeOnCompleted(_onCompleted);
    }

    /// <summary>The result of the task.</summary>
    /// <param name="fault">The exception by which the device was left.</param>
    public NbdError Take(out Exception? fault)
    {
        fault = _fault;
        if (fault is not null) return NbdError.Io;
        try
        {
            return NbdRequestRules.ErrorOf(_task.GetAwaiter().GetResult());
        }
        catch (Exception e)
        {
            fault = e;
            return NbdError.Io;
        }
    }

    /// <inheritdoc/>
    public void Execute()
    {
        ValueTask<BlockResult> task;
        try
        {
            task = _connection.CallDeferred(this);
        }
        catch (Exception e)
        {
            _fault = e;
            _onCompleted();
            return;
        }

        Watch(task);
    }
}
