using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace SdnEdge.Lab.Disks;

/// <summary>
/// Reads a volume as its clients do, by NBD from a store's unix socket: fixed newstyle, the option GO, simple replies, one request at a
/// time. So what is on a site's disk is known from what the disk gives, not from what its store says of it.
/// <code>
/// server   NBDMAGIC IHAVEOPT flags(16)
/// client   flags(32), IHAVEOPT GO(32) length(32) [name-length(32) name infos(16) BLOCK_SIZE(16)]
/// server   reply-magic(64) GO(32) type(32) length(32) [..], until ACK; INFO of type EXPORT has the size
/// client   request-magic(32) flags(16) READ(16) cookie(64) offset(64) length(32)
/// server   reply-magic(32) error(32) cookie(64) bytes
/// </code>
/// </summary>
public sealed class NbdReader : IDisposable
{
    private const ulong OptionMagic = 0x49484156454F5054, OptionReplyMagic = 0x0003e889045565a9;
    private const uint RequestMagic = 0x25609513, ReplyMagic = 0x67446698;
    private const uint OptionGo = 7, ReplyAck = 1, ReplyInfo = 3, ErrorBit = 0x80000000;
    private const ushort InfoExport = 0, InfoBlockSize = 3, CommandRead = 0, CommandDisconnect = 2;
    private const int MostOptionBytes = 65536;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly string _export;
    private ulong _cookie;

    private NbdReader(string export) => _export = export;

    /// <summary>The volume's size, bytes.</summary>
    public long Size { get; private set; }

    /// <summary>Connects to an export.</summary>
    /// <exception cref="IOException">There is no server, it speaks something else, or it refuses the export; the message has its
    /// words.</exception>
    public static async Task<NbdReader> ConnectAsync(string socket, string export, CancellationToken cancel)
    {
        var reader = new NbdReader(export);
        try
        {
            await reader._socket.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancel);
            await reader.NegotiateAsync(cancel);
            return reader;
        }
        catch (Exception e)
        {
            reader.Dispose();
            if (e is SocketException) throw new IOException($"no store answers at {socket}: {e.Message}", e);
            throw;
        }
    }

    /// <summary>Reads from an offset.</summary>
    /// <exception cref="IOException">The server answered with an error, or ended the connection.</exception>
    public async Task ReadAsync(long offset, Memory<byte> into, CancellationToken cancel)
    {
        await RequestAsync(CommandRead, offset, into.Length, cancel);
        byte[] reply = await ReceiveAsync(16, cancel);
        if (BinaryPrimitives.ReadUInt32BigEndian(reply) != ReplyMagic || BinaryPrimitives.ReadUInt64BigEndian(reply.AsSpan(8)) != _cookie)
            throw new IOException($"export {_export}: the answer to a read is none");
        if (BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(4)) is > 0 and uint error)
            throw new IOException($"export {_export}: {into.Length} bytes at {offset} could not be read, error {error}");
        await ReceiveAsync(into, cancel);
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    /// <summary>Says that it ends, so that the server need not find out.</summary>
    public Task EndAsync(CancellationToken cancel) => RequestAsync(CommandDisconnect, 0, 0, cancel);

    private async Task NegotiateAsync(CancellationToken cancel)
    {
        byte[] hello = await ReceiveAsync(18, cancel);
        if (!hello.AsSpan(0, 8).SequenceEqual("NBDMAGIC"u8) || BinaryPrimitives.ReadUInt64BigEndian(hello.AsSpan(8)) != OptionMagic)
            throw new IOException("what answers there does not speak NBD");
        byte[] name = Encoding.UTF8.GetBytes(_export);
        byte[] go = new byte[4 + 16 + 4 + name.Length + 4];
        BinaryPrimitives.WriteUInt32BigEndian(go, 3);                        // fixed newstyle, no zeroes
        BinaryPrimitives.WriteUInt64BigEndian(go.AsSpan(4), OptionMagic);
        BinaryPrimitives.WriteUInt32BigEndian(go.AsSpan(12), OptionGo);
        BinaryPrimitives.WriteInt32BigEndian(go.AsSpan(16), go.Length - 20);
        BinaryPrimitives.WriteInt32BigEndian(go.AsSpan(20), name.Length);
        name.CopyTo(go, 24);
        BinaryPrimitives.WriteUInt16BigEndian(go.AsSpan(24 + name.Length), 1);
        BinaryPrimitives.WriteUInt16BigEndian(go.AsSpan(26 + name.Length), InfoBlockSize);
        await SendAsync(go, cancel);
        while (true)
        {
            byte[] reply = await ReceiveAsync(20, cancel);
            uint type = BinaryPrimitives.ReadUInt32BigEndian(reply.AsSpan(12));
            int length = BinaryPrimitives.ReadInt32BigEndian(reply.AsSpan(16));
            if (BinaryPrimitives.ReadUInt64BigEndian(reply) != OptionReplyMagic || length is < 0 or > MostOptionBytes)
                throw new IOException($"export {_export}: the answer to GO is none");
            byte[] data = await ReceiveAsync(length, cancel);
            if (type == ReplyInfo && length >= 10 && BinaryPrimitives.ReadUInt16BigEndian(data) == InfoExport)
                Size = BinaryPrimitives.ReadInt64BigEndian(data.AsSpan(2));
            if (type == ReplyAck) break;
            if ((type & ErrorBit) != 0) throw new IOException($"export {_export} is refused: {Encoding.UTF8.GetString(data)}");
        }

        if (Size <= 0) throw new IOException($"export {_export} does not say how large it is");
    }

    private Task RequestAsync(ushort command, long offset, int length, CancellationToken cancel)
    {
        byte[] request = new byte[28];
        BinaryPrimitives.WriteUInt32BigEndian(request, RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), ++_cookie);
        BinaryPrimitives.WriteInt64BigEndian(request.AsSpan(16), offset);
        BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(24), length);
        return SendAsync(request, cancel);
    }

    private async Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        try
        {
            while (bytes.Length > 0) bytes = bytes[await _socket.SendAsync(bytes, cancel)..];
        }
        catch (SocketException e)
        {
            throw new IOException($"export {_export}: {e.Message}", e);
        }
    }

    private async Task<byte[]> ReceiveAsync(int length, CancellationToken cancel)
    {
        byte[] bytes = new byte[length];
        await ReceiveAsync(bytes, cancel);
        return bytes;
    }

    private async Task ReceiveAsync(Memory<byte> into, CancellationToken cancel)
    {
        try
        {
            while (into.Length > 0)
            {
                int got = await _socket.ReceiveAsync(into, cancel);
                if (got == 0) throw new IOException($"export {_export}: the store has ended the connection");
                into = into[got..];
            }
        }
        catch (SocketException e)
        {
            throw new IOException($"export {_export}: {e.Message}", e);
        }
    }
}
