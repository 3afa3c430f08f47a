using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

// Reads and writes that are longer than a piece go through the two buffers piece by piece, in order, each awaited: memory stays bounded
// whatever the length. Pieces end at multiples of 4096, so that each aligned block is still written as a whole.
internal sealed partial class NbdConnection
{
    private static int PieceAt(ulong offset, uint left) => (int)Math.Min(left, NbdBufferPool.Piece - (uint)(offset & 4095));

    private void LargeWrite(in NbdRequest request)
    {
        var error = NbdError.None;
        ulong offset = request.Offset;
        for (uint left = request.Length; left > 0;)
        {
            int piece = PieceAt(offset, left);
            while (_end - _start < piece)
            {
                _needed = piece;
                if (FlushReplies() && ReceiveMore()) continue;
                _ending = true;
                return;
            }

            // After an error the rest is only taken out of the stream.
            if (error == NbdError.None)
            {
                int at = _start;
                error = Await(() => _device!.WriteAsync((long)offset, _in.Bytes.AsMemory(at, piece), BlockFlags.None, _cancel.Token));
            }

            _start += piece;
            offset += (ulong)piece;
            left -= (uint)piece;
        }

        // Durable as a whole: one flush instead of one a piece.
        if (error == NbdError.None && (request.Flags & NbdCommandFlags.Fua) != 0) error = Await(() => _device!.FlushAsync(_cancel.Token));
        Reply(request, error);
    }

    private void LargeRead(in NbdRequest request)
    {
        bool chunks = _session.Structured && (request.Flags & NbdCommandFlags.DontFragment) == 0;
        ulong offset = request.Offset;
        for (uint left = request.Length; left > 0;)
        {
            bool first = left == request.Length;
            int piece = PieceAt(offset, left);
            int header = chunks || (first && _session.Structured) ? NbdReply.OffsetDataSize : first ? NbdReply.SimpleSize : 0;
            if (!FlushReplies() || !ReplyRoom(header + piece)) return;

            // This part of the buffer is the piece's: replies of other requests that finish meanwhile go behind it, and are sent first.
            NbdBuffer buffer = _out;
            int region = _outEnd;
            buffer.Hold();
            _outStart = _outEnd = region + header + piece;
            NbdError error = Await(() => _device!.ReadAsync((long)offset, buffer.Bytes.AsMemory(region + header, piece), _cancel.Token));
            if (error == NbdError.None)
            {
                Span<byte> into = buffer.Bytes.AsSpan(region, header + piece);
                if (chunks) NbdReply.WriteOffsetData(into, request.Cookie, (uint)piece == left, offset, (uint)piece);
                else if (first) WriteReadHeader(into, request);
                Send(into);
            }

            LetGo(buffer);
            if (error != NbdError.None)
            {
                FailedRead(request, error, offset, first, chunks);
                return;
            }

            offset += (ulong)piece;
            left -= (uint)piece;
        }
    }

    private void FailedRead(in NbdRequest request, NbdError error, ulong offset, bool first, bool chunks)
    {
        if (first)
        {
            Reply(request, error);
        }
        else if (chunks)
        {
            Counters.Error(request.Command);
            if (!ReplyRoom(NbdReply.ErrorOffsetSize)) return;
            NbdReply.WriteErrorOffset(_out.Bytes.AsSpan(_outEnd), request.Cookie, error, offset);
            _outEnd += NbdReply.ErrorOffsetSize;
        }
        else
        {
            // "No error" is on its way already (section "Simple reply message"): the connection must end.
            Counters.Error(request.Command);
            _server.Report($"NBD connection of {Client}: closed in a read of {request.Length} bytes from {request.Offset}: {error} at "
                + $"{offset}, and no other way is left to say so.");
            _ending = true;
        }
    }
}
