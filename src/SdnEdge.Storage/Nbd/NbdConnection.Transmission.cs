using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

// The way of a request: buffer -> rules -> device -> reply.
internal sealed partial class NbdConnection
{
    // So few bytes at a buffer's end are not worth a receive.
    private const int LeastRoom = 4096;

    // After so many receives without much in them a large buffer is given back.
    private const int QuietReceives = 1024;

    private const int MaximumExtents = 2048;

    private readonly List<BlockExtent> _extents = [];
    private NbdSession _session = null!;
    private IBlockDevice? _device;
    private ICommittingDevice? _committing;
    private bool _deviceWaits, _ending, _orderly, _filled;
    private int _quiet;

    // True: the client has said goodbye, or the server ends: what was received is still carried out.
    private bool Transmit()
    {
        NbdExport export = Export!;
        _device = export.Open is null ? export.Device : export.Open(Client);
        _deviceWaits = _device is IWaitingDevice;
        _committing = _device as ICommittingDevice;
        _needed = NbdRequest.Size;
        while (true)
        {
            while (!_ending && Step())
            {
                // One request each.
            }

            if (_ending) return _orderly;
            if (Volatile.Read(ref _completed) is not null) Drain();
            if (!FlushReplies() || !ReceiveMore()) return _draining;
        }
    }

    // Takes one request. False: it is not whole yet, and _needed says how many bytes it has at least.
    private bool Step()
    {
        int have = _end - _start;
        if (have < NbdRequest.Size)
        {
            _needed = NbdRequest.Size;
            return false;
        }

        NbdRequest request = NbdRequest.Read(_in.Bytes.AsSpan(_start, NbdRequest.Size));
        if (request.Magic != NbdProtocol.RequestMagic)
        {
            ProtocolError($"a request begins with 0x{request.Magic:x8}; it must be 0x{NbdProtocol.RequestMagic:x8}");
            _ending = true;
            return false;
        }

        bool write = request.Command == NbdCommand.Write;
        NbdError error = NbdRequestRules.Check(request, _session);
        if (write && error == NbdError.None && request.Length <= NbdBufferPool.Piece && have < NbdRequest.Size + (int)request.Length)
        {
            _needed = NbdRequest.Size + (int)request.Length;
            return false;
        }

        if (request.Command == NbdCommand.Disconnect)
        {
            _ending = _orderly = true;
            return false;
        }

        if (_pending >= _server.Options.MaximumInFlight || _held > MaximumHeld) WaitForOne();
        _start += NbdRequest.Size;
        if (error != NbdError.None)
        {
            // The payload of a refused write follows all the same.
            if (write && !Discard(request.Length)) return false;
            Reply(request, error);
            return true;
        }

        Counters.Request(request.Command, request.Length);
        switch (request.Command)
        {
            case NbdCommand.Read:
                if (request.Length <= NbdBufferPool.Piece) Read(request);
                else LargeRead(request);
                break;
            case NbdCommand.Write:
                if (request.Length <= NbdBufferPool.Piece) Write(request);
                else LargeWrite(request);
                break;
            case NbdCommand.BlockStatus:
                BlockStatus(request);
                break;
            default:
                Other(request);
                break;
        }

        return true;
    }

    private void Write(in NbdRequest request)
    {
        ReadOnlyMemory<byte> bytes = _in.Bytes.AsMemory(_start, (int)request.Length);
        _start += (int)request.Length;
        bool fua = (request.Flags & NbdCommandFlags.Fua) != 0;
        if (fua)
        {
            if (TryDefer(request, bytes, _in)) return;
            FlushReplies();
        }

        ValueTask<BlockResult> task;
        try
        {
            task = fua && IsAlone && _committing is { } here
                ? here.WriteDurableHereAsync((long)request.Offset, bytes, _cancel.Token)
                : _device!.WriteAsync((long)request.Offset, bytes, fua ? BlockFlags.ForceUnitAccess : BlockFlags.None, _cancel.Token);
        }
        catch (Exception e)
        {
            Reply(request, Fault(e));
            return;
        }

        if (task.IsCompletedSuccessfully) Reply(request, NbdRequestRules.ErrorOf(task.Result));
        else Pend(request, task, _in, 0);
    }

    private void Read(in NbdRequest request)
    {
        int header = _session.Structured ? NbdReply.OffsetDataSize : NbdReply.SimpleSize, length = (int)request.Length;
        if (!ReplyRoom(header + length)) return;
        ValueTask<BlockResult> task;
        try
        {
            task = _device!.ReadAsync((long)request.Offset, _out.Bytes.AsMemory(_outEnd + header, length), _cancel.Token);
        }
        catch (Exception e)
        {
            Reply(request, Fault(e));
            return;
        }

        if (!task.IsCompletedSuccessfully)
        {
            // The bytes will be put where they are to be sent from: that part of the buffer is the request's until then.
            int region = _outEnd;
            Pend(request, task, _out, region);
            FlushReplies();
            _outStart = _outEnd = region + header + length;
            return;
        }

        NbdError error = NbdRequestRules.ErrorOf(task.Result);
        if (error != NbdError.None)
        {
            Reply(request, error);
            return;
        }

        WriteReadHeader(_out.Bytes.AsSpan(_outEnd), request);
        _outEnd += header + length;
    }

    private void WriteReadHeader(Span<byte> into, in NbdRequest request)
    {
        if (_session.Structured) NbdReply.WriteOffsetData(into, request.Cookie, last: true, request.Offset, request.Length);
        else NbdReply.WriteSimple(into, request.Cookie, NbdError.None);
    }

    // Flush, trim, zeroes, cache.
    private void Other(in NbdRequest request)
    {
        // What takes long must not keep back what is done already.
        if (request.Command == NbdCommand.Flush || (request.Flags & NbdCommandFlags.Fua) != 0)
        {
            if (TryDefer(request, default, null)) return;
            FlushReplies();
        }

        ValueTask<BlockResult> task;
        try
        {
            task = request.Command == NbdCommand.Flush && IsAlone && _committing is { } here ? here.FlushHereAsync(_cancel.Token)
                : Call(request, default);
        }
        catch (Exception e)
        {
            Reply(request, Fault(e));
            return;
        }

        if (task.IsCompletedSuccessfully) Reply(request, NbdRequestRules.ErrorOf(task.Result));
        else Pend(request, task, null, 0);
    }

    // Nothing else of this connection waits, for the device or in the buffer.
    private bool IsAlone => _pending == 0 && _end - _start < NbdRequest.Size;

    private ValueTask<BlockResult> Call(in NbdRequest request, ReadOnlyMemory<byte> bytes)
    {
        (long offset, long length) = ((long)request.Offset, request.Length);
        BlockFlags flags = BlockFlags.None;
        if ((request.Flags & NbdCommandFlags.Fua) != 0) flags |= BlockFlags.ForceUnitAccess;
        if ((request.Flags & NbdCommandFlags.NoHole) != 0) flags |= BlockFlags.NoHole;
        if ((request.Flags & NbdCommandFlags.FastZero) != 0) flags |= BlockFlags.FastZero;
        return request.Command switch
        {
            NbdCommand.Write => _device!.WriteAsync(offset, bytes, flags, _cancel.Token),
            NbdCommand.Flush => _device!.FlushAsync(_cancel.Token),
            NbdCommand.Trim => _device!.TrimAsync(offset, length, flags, _cancel.Token),
            NbdCommand.WriteZeroes => _device!.WriteZeroesAsync(offset, length, flags, _cancel.Token),
            NbdCommand.Cache => _device!.CacheAsync(offset, length, _cancel.Token),
            _ => throw new InvalidOperationException($"{request.Command} is served elsewhere"),
        };
    }

    /// <summary>
    /// Section "NBD_CMD_BLOCK_STATUS": with REQ_ONE one extent that ends inside the range; without, the last one may go beyond it. A length
    /// has 32 bits: longer ones are cut to whole blocks, and the answer ends there.
    /// </summary>
    private void BlockStatus(in NbdRequest request)
    {
        bool one = (request.Flags & NbdCommandFlags.RequestOne) != 0;
        _extents.Clear();
        BlockResult result;
        try
        {
            result = _device!.Extents((long)request.Offset, request.Length, one ? 1 : MaximumExtents, _extents);
        }
        catch (Exception e)
        {
            Reply(request, Fault(e));
            return;
        }

        if (result != BlockResult.Ok)
        {
            Reply(request, NbdRequestRules.ErrorOf(result));
            return;
        }

        long most = one ? request.Length : uint.MaxValue / (uint)_session.Export.MinimumBlock * _session.Export.MinimumBlock;
        long left = _session.Export.Size - (long)request.Offset;
        for (int i = 0; i < _extents.Count; i++)
        {
            BlockExtent extent = _extents[i];
            long length = Math.Min(Math.Min(extent.Length, most), left);
            if (length <= 0)
            {
                _extents.RemoveRange(i, _extents.Count - i);
                break;
            }

            left -= length;
            _extents[i] = extent with { Length = length };
            if (length < extent.Length) _extents.RemoveRange(i + 1, _extents.Count - i - 1);
        }

        if (_extents.Count == 0 || _extents.Count > MaximumExtents)
        {
            Reply(request, Fault(new InvalidOperationException(
                $"the device gave {_extents.Count} extents for {request.Length} bytes from {request.Offset}")));
            return;
        }

        int size = NbdReply.BlockStatusSize(_extents.Count);
        if (!ReplyRoom(size)) return;
        NbdReply.WriteBlockStatus(_out.Bytes.AsSpan(_outEnd), request.Cookie, _extents);
        _outEnd += size;
    }

    // A buffer that nobody else reads from is used from its front again; else what is left of the input moves to another.
    private void MakeRoom()
    {
        int have = _end - _start;
        if (have == 0 && _in.IsExclusive)
        {
            _start = _end = 0;
            if (_quiet > QuietReceives && _in.Bytes.Length > NbdBufferPool.Small && _needed <= NbdBufferPool.Small)
            {
                _in.Release();
                _in = _pool.Take(NbdBufferPool.Small);
            }
        }

        int capacity = _in.Bytes.Length;
        bool grow = _filled && capacity < NbdBufferPool.Large;
        int room = capacity - _end;
        if (!grow && room >= _needed - have && (room >= LeastRoom || have > LeastRoom)) return;
        _filled = false;
        if (!grow && _in.IsExclusive && _needed + LeastRoom <= capacity)
        {
            Buffer.BlockCopy(_in.Bytes, _start, _in.Bytes, 0, have);
        }
        else
        {
            int least = Math.Max(_needed + LeastRoom, Math.Min(capacity, NbdBufferPool.Small));
            NbdBuffer next = _pool.Take(grow ? NbdBufferPool.Large : least);
            Buffer.BlockCopy(_in.Bytes, _start, next.Bytes, 0, have);
            Abandon(_in);
            _in = next;
        }

        (_start, _end) = (0, have);
    }

    private bool Discard(uint length)
    {
        while (true)
        {
            int taken = (int)Math.Min(length, (uint)(_end - _start));
            _start += taken;
            if ((length -= (uint)taken) == 0) return true;
            _needed = 1;
            if (!FlushReplies() || !ReceiveMore())
            {
                _ending = true;
                return false;
            }
        }
    }
}
