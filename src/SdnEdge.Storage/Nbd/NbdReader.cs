using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

/// <summary>
/// A client that reads one export: fixed newstyle, structured replies, base:allocation. 1. <see cref="Connect"/>, 2. <see cref="Extents"/>
/// and <see cref="Read"/>, one request at a time. Without TLS: a unix socket, or an address that its store names insecure.
/// </summary>
public sealed class NbdReader : IDisposable
{
    /// <summary>Longest read, bytes.</summary>
    public const int MaximumRead = 4 << 20;

    private const uint ClientFlags = 3;
    private const int LongestReply = MaximumRead + 8;
    private const string Ends = "the server has closed the connection";

    private readonly Socket _socket;
    private readonly byte[] _header = new byte[Math.Max(NbdRequest.Size, NbdReply.ChunkSize)];
    private byte[] _reply = new byte[64 << 10];
    private ulong _cookie;
    private bool _allocation;

    private NbdReader(Socket socket) => _socket = socket;

    /// <summary>Bytes of the export.</summary>
    public long Size { get; private set; }

    /// <summary>It may only be read.</summary>
    public bool IsReadOnly { get; private set; }

    /// <summary>Connects and opens an export.</summary>
    /// <param name="server">As a store says where its exports are: <c>nbd+unix:///?socket=PATH</c>, <c>nbd://ADDRESS:PORT/</c>.</param>
    /// <param name="export">The export's name.</param>
    /// <exception cref="IOException">It cannot be reached, or has no such export; the message says why.</exception>
    public static NbdReader Connect(string server, string export)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(export);
        EndPoint at = EndPointOf(server);
        var socket = at is UnixDomainSocketEndPoint ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
            : new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var reader = new NbdReader(socket);
        try
        {
            socket.Connect(at);
            reader.Open(export);
            return reader;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            reader.Dispose();
            throw new IOException($"export {export} at {server}: {e.Message}", e);
        }
    }

    private static EndPoint EndPointOf(string server)
    {
        const string Unix = "nbd+unix:///?socket=", Tcp = "nbd://";
        if (server.StartsWith(Unix, StringComparison.Ordinal)) return new UnixDomainSocketEndPoint(server[Unix.Length..]);
        if (server.StartsWith(Tcp, StringComparison.Ordinal) && IPEndPoint.TryParse(server[Tcp.Length..].TrimEnd('/'), out IPEndPoint? at))
            return at;
        throw new IOException($"{server} cannot be read here: {Unix}PATH or {Tcp}ADDRESS:PORT/ can, without TLS; with TLS use nbdcopy");
    }

    // 1. Greeting; 2. structured replies; 3. base:allocation; 4. GO.
    private void Open(string export)
    {
        byte[] greeting = Receive(new byte[18]);
        if (BinaryPrimitives.ReadUInt64BigEndian(greeting) != NbdProtocol.Magic
            || BinaryPrimitives.ReadUInt64BigEndian(greeting.AsSpan(8)) != NbdProtocol.OptionMagic
            || (BinaryPrimitives.ReadUInt16BigEndian(greeting.AsSpan(16)) & 3) != 3)
            throw new IOException("this is no NBD server of the fixed newstyle kind");
        BinaryPrimitives.WriteUInt32BigEndian(_header, ClientFlags);
        Send(_header.AsSpan(0, 4));
        byte[] name = Encoding.UTF8.GetBytes(export);
        Ask(NbdOption.StructuredReply, [], static (_, _) => { });
        Ask(NbdOption.SetMetaContext, [.. Text(name), 0, 0, 0, 1, .. Text(Encoding.UTF8.GetBytes(NbdProtocol.BaseAllocation))],
            (type, _) => _allocation |= type == NbdOptionReply.MetaContext);

        // Block sizes are asked for: a server with larger blocks than a byte refuses who does not.
        Ask(NbdOption.Go, [.. Text(name), 0, 1, 0, (byte)NbdInfo.BlockSize], (type, data) =>
        {
            if (type != NbdOptionReply.Info || data.Length < 12) return;
            if (BinaryPrimitives.ReadUInt16BigEndian(data) != (ushort)NbdInfo.Export) return;
            Size = BinaryPrimitives.ReadInt64BigEndian(data.AsSpan(2));
            var flags = (NbdTransmissionFlags)BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(10));
            IsReadOnly = (flags & NbdTransmissionFlags.ReadOnly) != 0;
        });
    }

    private static byte[] Text(byte[] bytes)
    {
        byte[] text = new byte[4 + bytes.Length];
        BinaryPrimitives.WriteInt32BigEndian(text, bytes.Length);
        bytes.CopyTo(text, 4);
        return text;
    }

    private void Ask(NbdOption option, ReadOnlySpan<byte> data, Action<NbdOptionReply, byte[]> take)
    {
        byte[] ask = new byte[NbdHandshakeWire.OptionSize + data.Length];
        BinaryPrimitives.WriteUInt64BigEndian(ask, NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(ask.AsSpan(8), (uint)option);
        BinaryPrimitives.WriteInt32BigEndian(ask.AsSpan(12), data.Length);
        data.CopyTo(ask.AsSpan(NbdHandshakeWire.OptionSize));
        Send(ask);
        while (true)
        {
            byte[] header = Receive(new byte[20]);
            var type = (NbdOptionReply)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            int length = BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(16));
            if (BinaryPrimitives.ReadUInt64BigEndian(header) != NbdProtocol.OptionReplyMagic
                || length is < 0 or > NbdHandshake.MaximumOption)
                throw new IOException("the answer to an option makes no sense");
            byte[] answer = Receive(new byte[length]);
            if (type == NbdOptionReply.Ack) return;
            if (((uint)type & (1u << 31)) != 0)
                throw new IOException(length > 0 ? Encoding.UTF8.GetString(answer) : $"option {option} is refused: {type}");
            take(type, answer);
        }
    }

    /// <summary>Which parts of a range have data; the last one may go beyond it. They may end before the range does.</summary>
    /// <param name="offset">Bytes into the export.</param>
    /// <param name="length">At most 1 GiB.</param>
    /// <param name="into">Emptied, then filled with at least one.</param>
    /// <exception cref="IOException">The server says that it failed, or is gone.</exception>
    public void Extents(long offset, long length, List<BlockExtent> into)
    {
        ArgumentNullException.ThrowIfNull(into);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, 1L << 30);
        into.Clear();
        if (!_allocation)
        {
            into.Add(new BlockExtent(length, false, false));
            return;
        }

        Request(NbdCommand.BlockStatus, offset, length);
        bool last;
        do
        {
            (NbdChunk type, last, int size) = Chunk($"the extents at {offset}");
            if (type == NbdChunk.None) continue;
            if (type != NbdChunk.BlockStatus || size < 12 || size % 8 != 4) throw Nonsense(type);
            for (int at = 4; at < size; at += 8)
            {
                uint bytes = BinaryPrimitives.ReadUInt32BigEndian(_reply.AsSpan(at));
                uint state = BinaryPrimitives.ReadUInt32BigEndian(_reply.AsSpan(at + 4));
                if (bytes == 0) throw Nonsense(type);
                into.Add(new BlockExtent(bytes, (state & 1) != 0, (state & 2) != 0));
            }
        }
        while (!last);
        if (into.Count == 0) throw Nonsense(NbdChunk.None);
    }

    /// <summary>Reads.</summary>
    /// <param name="offset">Bytes into the export.</param>
    /// <param name="into">At most <see cref="MaximumRead"/> bytes.</param>
    /// <exception cref="IOException">The server says that it failed, or is gone.</exception>
    public void Read(long offset, Span<byte> into)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(into.Length, MaximumRead);
        Request(NbdCommand.Read, offset, into.Length);
        long got = 0;
        bool last;
        do
        {
            (NbdChunk type, last, int size) = Chunk($"{into.Length} bytes at {offset}");
            if (type == NbdChunk.None) continue;
            if (type is not (NbdChunk.OffsetData or NbdChunk.OffsetHole) || size < 8) throw Nonsense(type);
            long at = BinaryPrimitives.ReadInt64BigEndian(_reply) - offset;
            long bytes = type == NbdChunk.OffsetData ? size - 8 : size == 12 ? BinaryPrimitives.ReadUInt32BigEndian(_reply.AsSpan(8)) : -1;
            if (at < 0 || bytes < 0 || at > into.Length - bytes) throw Nonsense(type);
            Span<byte> part = into.Slice((int)at, (int)bytes);
            if (type == NbdChunk.OffsetData) _reply.AsSpan(8, (int)bytes).CopyTo(part);
            else part.Clear();
            got += bytes;
        }
        while (!last);
        if (got != into.Length) throw new IOException($"{got} of {into.Length} bytes at {offset} were answered");
    }

    /// <summary>Says good-bye.</summary>
    public void Dispose()
    {
        try
        {
            if (_socket.Connected && Size > 0) Request(NbdCommand.Disconnect, 0, 0);
        }
        catch (IOException)
        {
            // It is gone already.
        }

        _socket.Dispose();
    }

    private void Request(NbdCommand command, long offset, long length)
    {
        new NbdRequest(NbdProtocol.RequestMagic, NbdCommandFlags.None, command, ++_cookie, (ulong)offset, (uint)length).Write(_header);
        Send(_header.AsSpan(0, NbdRequest.Size));
    }

    private (NbdChunk Type, bool Last, int Size) Chunk(string what)
    {
        Span<byte> header = _header.AsSpan(0, NbdReply.ChunkSize);
        Receive(header);
        var type = (NbdChunk)BinaryPrimitives.ReadUInt16BigEndian(header[6..]);
        bool last = (header[5] & 1) != 0;
        uint size = BinaryPrimitives.ReadUInt32BigEndian(header[16..]);
        if (BinaryPrimitives.ReadUInt32BigEndian(header) != NbdProtocol.ChunkMagic || size > LongestReply
            || BinaryPrimitives.ReadUInt64BigEndian(header[8..]) != _cookie) throw Nonsense(type);
        if (_reply.Length < size) _reply = new byte[LongestReply];
        Receive(_reply.AsSpan(0, (int)size));
        if (((ushort)type & (1 << 15)) == 0) return (type, last, (int)size);
        NbdError error = size >= 4 ? (NbdError)BinaryPrimitives.ReadUInt32BigEndian(_reply) : NbdError.Io;
        throw new IOException($"{what}: the server answers {error}");
    }

    private static IOException Nonsense(NbdChunk type) => new($"an answer of the server makes no sense ({type})");

    private byte[] Receive(byte[] into)
    {
        Receive(into.AsSpan());
        return into;
    }

    private void Receive(Span<byte> into)
    {
        try
        {
            while (into.Length > 0)
            {
                int got = _socket.Receive(into);
                if (got == 0) throw new IOException(Ends);
                into = into[got..];
            }
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        try
        {
            while (bytes.Length > 0) bytes = bytes[_socket.Send(bytes)..];
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }
}
