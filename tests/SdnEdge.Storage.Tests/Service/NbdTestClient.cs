using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>The plainest client of an export: fixed newstyle, EXPORT_NAME, simple replies, one request at a time.</summary>
internal sealed class NbdTestClient : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private ulong _cookie;

    private NbdTestClient()
    {
    }

    public static async Task<NbdTestClient> ConnectAsync(string path, string export)
    {
        var client = new NbdTestClient();
        await client._socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
        await client.ReceiveAsync(18);
        byte[] name = Encoding.UTF8.GetBytes(export);
        byte[] hello = new byte[20 + name.Length];
        BinaryPrimitives.WriteUInt32BigEndian(hello, 3);                               // fixed newstyle, no zeroes
        BinaryPrimitives.WriteUInt64BigEndian(hello.AsSpan(4), 0x49484156454F5054);    // IHAVEOPT
        BinaryPrimitives.WriteUInt32BigEndian(hello.AsSpan(12), 1);                    // EXPORT_NAME
        BinaryPrimitives.WriteInt32BigEndian(hello.AsSpan(16), name.Length);
        name.CopyTo(hello, 20);
        await client._socket.SendAsync(hello);
        await client.ReceiveAsync(10);
        return client;
    }

    /// <summary>The error of a write; 0 = done.</summary>
    public Task<uint> WriteAsync(long offset, byte[] bytes, bool fua = false)
        => RequestAsync(1, fua ? (ushort)1 : (ushort)0, offset, bytes.Length, bytes);

    /// <summary>The error of a flush; 0 = done.</summary>
    public Task<uint> FlushAsync() => RequestAsync(3, 0, 0, 0, []);

    public async Task<byte[]> ReadAsync(long offset, int length)
    {
        uint error = await RequestAsync(0, 0, offset, length, []);
        return error == 0 ? await ReceiveAsync(length) : throw new IOException($"a read was answered with error {error}");
    }

    public void Dispose() => _socket.Dispose();

    // The error of its answer.
    private async Task<uint> RequestAsync(ushort command, ushort flags, long offset, int length, byte[] payload)
    {
        byte[] request = new byte[28 + payload.Length];
        BinaryPrimitives.WriteUInt32BigEndian(request, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), ++_cookie);
        BinaryPrimitives.WriteInt64BigEndian(request.AsSpan(16), offset);
        BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(24), length);
        payload.CopyTo(request, 28);
        for (int sent = 0; sent < request.Length;) sent += await _socket.SendAsync(request.AsMemory(sent));
        return BinaryPrimitives.ReadUInt32BigEndian((await ReceiveAsync(16)).AsSpan(4));
    }

    private async Task<byte[]> ReceiveAsync(int length)
    {
        byte[] bytes = new byte[length];
        for (int got = 0; got < length;)
        {
            int n = await _socket.ReceiveAsync(bytes.AsMemory(got));
            if (n == 0) throw new IOException("the server has closed the connection");
            got += n;
        }

        return bytes;
    }
}
