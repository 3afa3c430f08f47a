using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Bgp;

/// <summary>
/// A session's end that does as little as possible: it connects, opens, answers keepalives with keepalives, and hands the
/// prefixes it is told to a <see cref="Reached"/>, or throws them away.
/// </summary>
internal sealed class BgpEnd : IDisposable
{
    private const int HoldSeconds = 240;

    private static readonly byte[] Keepalive = [.. Enumerable.Repeat((byte)0xFF, 16), 0, 19, 4];

    private readonly Socket _socket;
    private readonly Lock _sending = new();
    private readonly Reached? _reached;
    private readonly Thread _reader;
    private readonly byte[] _buffer = new byte[1 << 20];
    private volatile string? _ended;
    private int _pending;

    private BgpEnd(Socket socket, Reached? reached)
    {
        (_socket, _reached) = (socket, reached);
        _reader = new Thread(Read) { IsBackground = true, Name = "bgp end" };
    }

    /// <summary>Connects from one address to another inside a namespace until the session is established, 60 s at most.</summary>
    public static BgpEnd Connect(string ns, IpAddress from, IpAddress to, uint ownAs, Reached? reached)
    {
        long end = Monotonic.Now + 60_000_000_000;
        while (true)
        {
            Socket socket = Namespaces.Run(ns, ()
                => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
            try
            {
                socket.Bind(new IPEndPoint(from.ToIPAddress(), 0));
                if (!socket.ConnectAsync(new IPEndPoint(to.ToIPAddress(), 179)).Wait(2000)) throw new IOException("no answer");
                var session = new BgpEnd(socket, reached);
                session.Open(from, ownAs);
                return session;
            }
            catch (Exception e) when (e is SocketException or AggregateException or IOException)
            {
                socket.Dispose();
                if (Monotonic.Now > end) throw new InvalidOperationException(
                    $"no session from {from} with {to} within 60 s: {e.GetBaseException().Message}", e);
                Thread.Sleep(50);
            }
        }
    }

    /// <summary>Sends prepared messages; returns when the kernel has them.</summary>
    public void Send(ReadOnlySpan<byte> messages)
    {
        while (!messages.IsEmpty)
        {
            ReadOnlySpan<byte> part = messages[..Math.Min(messages.Length, 1 << 18)];
            part = part[..WholeMessages(part)];
            lock (_sending) SendAll(part);
            messages = messages[part.Length..];
        }
    }

    public void CheckAlive()
    {
        if (_ended is { } why) throw new InvalidOperationException($"the session from {_socket.LocalEndPoint} ended: {why}");
    }

    public void Dispose()
    {
        _socket.Dispose();
        _reader.Join();
    }

    // Keepalives go between messages only.
    private static int WholeMessages(ReadOnlySpan<byte> part)
    {
        int at = 0;
        while (at + 19 <= part.Length)
        {
            int length = BinaryPrimitives.ReadUInt16BigEndian(part[(at + 16)..]);
            if (at + length > part.Length) break;
            at += length;
        }

        return at;
    }

    private void SendAll(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty) bytes = bytes[_socket.Send(bytes)..];
    }

    private void Open(IpAddress identifier, uint ownAs)
    {
        // Multiprotocol IPv4 unicast, route refresh, 4-octet AS.
        byte[] open = [.. Enumerable.Repeat((byte)0xFF, 16), 0, 0, 1, 4, 0, 0, 0, HoldSeconds, 0, 0, 0, 0, 16, 2, 14, 1, 4, 0, 1, 0, 1, 2,
            0, 65, 4, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt16BigEndian(open.AsSpan(16), (ushort)open.Length);
        BinaryPrimitives.WriteUInt16BigEndian(open.AsSpan(20), (ushort)ownAs);
        identifier.Write(open.AsSpan(24));
        BinaryPrimitives.WriteUInt32BigEndian(open.AsSpan(open.Length - 4), ownAs);
        SendAll(open);
        SendAll(Keepalive);
        _socket.ReceiveTimeout = 5000;
        int got = 0;
        bool opened = false, kept = false;
        while (!opened || !kept)
        {
            int n = _socket.Receive(_buffer, got, _buffer.Length - got, SocketFlags.None);
            if (n == 0) throw new IOException("closed while opening");
            got += n;
            int at = 0;
            for (int length; at + 19 <= got && at
                + (length = BinaryPrimitives.ReadUInt16BigEndian(_buffer.AsSpan(at + 16))) <= got; at += length)
            {
                opened |= _buffer[at + 18] == 1;
                kept |= _buffer[at + 18] == 4;
                if (_buffer[at + 18] == 3) throw new IOException($"NOTIFICATION {_buffer[at + 19]}/{_buffer[at + 20]}");
                if (_buffer[at + 18] == 2) Update(_buffer.AsSpan(at + 19, length - 19));
            }

            _buffer.AsSpan(at, got - at).CopyTo(_buffer);
            got -= at;
        }

        _socket.ReceiveTimeout = 0;
        _pending = got;
        _reader.Start();
    }

    private void Read()
    {
        try
        {
            for (int got = _pending; ;)
            {
                int n = _socket.Receive(_buffer, got, _buffer.Length - got, SocketFlags.None);
                if (n == 0) throw new IOException("closed");
                got += n;
                int at = 0;
                for (int length; at + 19 <= got && at
                    + (length = BinaryPrimitives.ReadUInt16BigEndian(_buffer.AsSpan(at + 16))) <= got; at += length)
                {
                    switch (_buffer[at + 18])
                    {
                        case 2:
                            Update(_buffer.AsSpan(at + 19, length - 19));
                            break;
                        case 3:
                            throw new IOException($"NOTIFICATION {_buffer[at + 19]}/{_buffer[at + 20]}");
                        case 4:
                            lock (_sending) SendAll(Keepalive);
                            break;
                    }
                }

                _buffer.AsSpan(at, got - at).CopyTo(_buffer);
                got -= at;
            }
        }
        catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
        {
            _ended = e.Message;
        }
    }

    private void Update(ReadOnlySpan<byte> body)
    {
        if (_reached is null) return;
        int withdrawn = BinaryPrimitives.ReadUInt16BigEndian(body), attributes =
            BinaryPrimitives.ReadUInt16BigEndian(body[(2 + withdrawn)..]);
        _reached.Take(body.Slice(2, withdrawn), there: false);
        ReadOnlySpan<byte> rest = body.Slice(4 + withdrawn, attributes);
        _reached.Take(body[(4 + withdrawn + attributes)..], there: true);

        // Some send IPv4 in the multiprotocol attributes.
        while (rest.Length >= 3)
        {
            int header = (rest[0] & 0x10) != 0 ? 4 : 3, length = header == 4 ? BinaryPrimitives.ReadUInt16BigEndian(rest[2..]) : rest[2];
            ReadOnlySpan<byte> value = rest.Slice(header, length);
            if (rest[1] == 15 && value[1] == 1) _reached.Take(value[3..], there: false);
            if (rest[1] == 14 && value[1] == 1) _reached.Take(value[(5 + value[3])..], there: true);
            rest = rest[(header + length)..];
        }
    }
}
