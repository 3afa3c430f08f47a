using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace SdnEdge.Benchmarks.Store;

/// <summary>One request that was answered.</summary>
/// <param name="At">When it was answered, timestamp of <see cref="Stopwatch"/>.</param>
/// <param name="Ms">How long it took, milliseconds.</param>
/// <param name="IsFlush">A flush; else a write of 4 KiB.</param>
internal readonly record struct Answered(long At, double Ms, bool IsFlush);

/// <summary>
/// A client of an export that writes blocks of 4 KiB at random places, a number of requests at a time, on one thread: what is answered is
/// followed by the next. With a rate the next one waits for its time. It has to be granted a replicated volume, as this process.
/// </summary>
internal sealed class NbdLoad : IDisposable
{
    private const int Block = 4096, RequestSize = 28, ReplySize = 16;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Random _random = new(7);
    private readonly byte[] _request = new byte[RequestSize + Block], _replies = new byte[64 * ReplySize];
    private readonly long _blocks;

    private NbdLoad(long blocks) => _blocks = blocks;

    /// <summary>Requests that were answered by an error.</summary>
    public long Errors { get; private set; }

    /// <summary>Connects to an export, by its name, that has so many bytes at least.</summary>
    public static NbdLoad Connect(string socket, string export, long size)
    {
        var load = new NbdLoad(size / Block);
        load._socket.Connect(new UnixDomainSocketEndPoint(socket));
        load.Receive(load._replies.AsSpan(0, 18));
        byte[] name = Encoding.UTF8.GetBytes(export), hello = new byte[20 + name.Length];
        BinaryPrimitives.WriteUInt32BigEndian(hello, 3);                               // fixed newstyle, no zeroes
        BinaryPrimitives.WriteUInt64BigEndian(hello.AsSpan(4), 0x49484156454F5054);    // IHAVEOPT
        BinaryPrimitives.WriteUInt32BigEndian(hello.AsSpan(12), 1);                    // EXPORT_NAME
        BinaryPrimitives.WriteInt32BigEndian(hello.AsSpan(16), name.Length);
        name.CopyTo(hello, 20);
        load._socket.Send(hello);
        load.Receive(load._replies.AsSpan(0, 10));
        load._random.NextBytes(load._request.AsSpan(RequestSize));
        return load;
    }

    /// <summary>Writes until it is cancelled, then until all is answered.</summary>
    /// <param name="depth">Requests at a time.</param>
    /// <param name="flushEvery">After so many writes comes a flush, as a request among the others; 0 = never.</param>
    /// <param name="rate">Requests a second at most; 0 = as many as are answered.</param>
    /// <param name="end">When to stop.</param>
    public List<Answered> Run(int depth, int flushEvery, int rate, CancellationToken end)
    {
        var answered = new List<Answered>(1 << 16);
        var idle = new Queue<int>(Enumerable.Range(0, depth));
        (long At, bool IsFlush)[] open = new (long, bool)[depth];
        long period = rate == 0 ? 0 : Stopwatch.Frequency / rate, next = Stopwatch.GetTimestamp();
        int sinceFlush = 0, have = 0;
        while (true)
        {
            while (idle.Count > 0 && !end.IsCancellationRequested && Stopwatch.GetTimestamp() >= next)
            {
                bool flush = flushEvery > 0 && sinceFlush == flushEvery;
                sinceFlush = flush ? 0 : sinceFlush + 1;
                int slot = idle.Dequeue();
                open[slot] = (Stopwatch.GetTimestamp(), flush);
                next += period;
                Send(slot, flush);
            }

            if (idle.Count == depth && end.IsCancellationRequested) return answered;
            if (idle.Count > 0 && !end.IsCancellationRequested)
            {
                long left = (next - Stopwatch.GetTimestamp()) * 1_000_000 / Stopwatch.Frequency;
                if (left > 0 && !_socket.Poll(TimeSpan.FromMicroseconds(left), SelectMode.SelectRead)) continue;
                if (_socket.Available == 0) continue;
            }

            int got = _socket.Receive(_replies.AsSpan(have));
            if (got == 0) throw new IOException("the server has closed the connection");
            long now = Stopwatch.GetTimestamp();
            int at = 0;
            for (have += got; have - at >= ReplySize; at += ReplySize)
            {
                Span<byte> reply = _replies.AsSpan(at);
                if (BinaryPrimitives.ReadUInt32BigEndian(reply[4..]) != 0) Errors++;
                int slot = (int)BinaryPrimitives.ReadUInt64BigEndian(reply[8..]);
                answered.Add(new Answered(now, Stopwatch.GetElapsedTime(open[slot].At, now).TotalMilliseconds, open[slot].IsFlush));
                idle.Enqueue(slot);
            }

            _replies.AsSpan(at, have - at).CopyTo(_replies);
            have -= at;
        }
    }

    public void Dispose() => _socket.Dispose();

    private void Send(int slot, bool flush)
    {
        Span<byte> request = _request;
        BinaryPrimitives.WriteUInt32BigEndian(request, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(request[4..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(request[6..], flush ? (ushort)3 : (ushort)1);
        BinaryPrimitives.WriteUInt64BigEndian(request[8..], (ulong)slot);
        BinaryPrimitives.WriteInt64BigEndian(request[16..], flush ? 0 : _random.NextInt64(_blocks) * Block);
        BinaryPrimitives.WriteInt32BigEndian(request[24..], flush ? 0 : Block);
        BinaryPrimitives.WriteInt64LittleEndian(request[RequestSize..], Stopwatch.GetTimestamp());
        ReadOnlySpan<byte> bytes = flush ? request[..RequestSize] : request;
        while (bytes.Length > 0) bytes = bytes[_socket.Send(bytes)..];
    }

    private void Receive(Span<byte> into)
    {
        while (into.Length > 0)
        {
            int got = _socket.Receive(into);
            if (got == 0) throw new IOException("the server has closed the connection");
            into = into[got..];
        }
    }
}
