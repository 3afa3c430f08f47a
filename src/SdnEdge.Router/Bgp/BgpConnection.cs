using System.Buffers;
using System.Net.Sockets;
using System.Threading.Channels;
using SdnEdge.Core.Bgp;
using SdnEdge.Linux;

namespace SdnEdge.Router.Bgp;

/// <summary>What the network tells the control loop.</summary>
internal readonly record struct BgpInput(BgpInputKind Kind, BgpConnection? Connection = null, Socket? Socket = null, byte[]? Buffer =
    null, int Count = 0)
{
    /// <summary>Accepted: who took it.</summary>
    public BgpListener? Listener { get; init; }
}

internal enum BgpInputKind : byte
{
    Accepted,
    Connected,
    ConnectFailed,
    Bytes,
    Closed,
}

/// <summary>
/// One TCP connection, or the attempt at one. The control loop appends to it and drops it; one task reads, one writes.
/// Reading stops while the control loop has <see cref="ReadAhead"/> chunks to go, so that TCP itself slows the peer down.
/// </summary>
internal sealed class BgpConnection : IDisposable
{
    private const int ChunkSize = 64 * 1024;
    private const int ReadAhead = 8;
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(5);

    private readonly ChannelWriter<BgpInput> _inputs;
    private readonly Action _wake;
    private readonly SemaphoreSlim _credits = new(ReadAhead);
    private readonly Channel<bool> _signal =
        Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _cancel = new();
    private readonly Lock _gate = new();
    private ArrayBufferWriter<byte> _filling = new(4096);
    private ArrayBufferWriter<byte> _sending = new(4096);
    private Socket? _socket;
    private long _appended;
    private long _taken;
    private volatile bool _closing, _full;
    private bool _running;
    private Task _reading = Task.CompletedTask;

    public BgpConnection(BgpPeer peer, ConnectionSide side, ChannelWriter<BgpInput> inputs, Action wake)
    {
        Peer = peer;
        Side = side;
        _inputs = inputs;
        _wake = wake;
    }

    public BgpPeer Peer { get; }

    public ConnectionSide Side { get; }

    /// <summary>Bytes appended and not yet taken by TCP.</summary>
    public long Unsent => _appended - Volatile.Read(ref _taken);

    /// <summary>Bytes TCP has taken so far.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>The shortest round trip of the last minutes, milliseconds; null: not known.</summary>
    public double? RoundTripMs => _socket is { } socket ? TcpInfo.ShortestRoundTripMs(socket) : null;

    /// <summary>TCP has no room for what is to be sent: the peer does not read. Bytes that our writer has not come to yet are not
    /// that.</summary>
    public bool Full => _full;

    /// <summary>For the control loop: <see cref="Taken"/> when it first found the connection <see cref="Full"/>, and when that was; null
    /// when it is not.</summary>
    public (long Taken, long AtNs)? BlockedSince { get; set; }

    /// <summary>Connects and reports how that went; it never throws.</summary>
    public async Task ConnectAsync(Func<Socket> make, Func<System.Net.EndPoint?> from, Func<System.Net.EndPoint> to)
    {
        try
        {
            _socket = make();
            _socket.NoDelay = true;
            if (from() is { } end) _socket.Bind(end);
            await _socket.ConnectAsync(to(), _cancel.Token).ConfigureAwait(false);
            Report(new BgpInput(BgpInputKind.Connected, this));
        }
        catch (Exception e) when (e is SocketException or LinuxException or OperationCanceledException or ObjectDisposedException)
        {
            _socket?.Dispose();
            Report(new BgpInput(BgpInputKind.ConnectFailed, this));
        }
    }

    /// <summary>Takes a connected socket over.</summary>
    public void Adopt(Socket socket)
    {
        _socket = socket;
        try
        {
            socket.NoDelay = true;
        }
        catch (SocketException)
        {
            // The peer is gone already; the reader will say so.
        }
    }

    /// <summary>Starts to read and write.</summary>
    public void Run()
    {
        _running = true;
        _reading = Task.Run(ReadAsync);
        _ = Task.Run(WriteAsync);
    }

    /// <summary>Appends bytes; they go out after <see cref="Kick"/>.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        lock (_gate) _filling.Write(bytes);
        _appended += bytes.Length;
    }

    /// <summary>Has the writer send what was appended.</summary>
    public void Kick()
    {
        if (Unsent > 0) _signal.Writer.TryWrite(true);
    }

    /// <summary>The control loop is done with one chunk.</summary>
    public void Release(byte[] buffer)
    {
        ArrayPool<byte>.Shared.Return(buffer);
        _credits.Release();
    }

    /// <summary>
    /// Sends what is left, as far as that goes within a few seconds, and closes; at once when the connection was never run, since
    /// nobody is there then to close it later. What it still reports is of no connection that is known.
    /// </summary>
    public void Close()
    {
        _closing = true;
        if (_running && _socket is { Connected: true })
        {
            _cancel.CancelAfter(Linger);
            _signal.Writer.TryComplete();
        }
        else
        {
            _cancel.Cancel();
            _socket?.Dispose();
        }
    }

    public void Dispose()
    {
        _cancel.Cancel();
        _socket?.Dispose();
        _cancel.Dispose();
        _credits.Dispose();
    }

    private async Task ReadAsync()
    {
        try
        {
            while (true)
            {
                await _credits.WaitAsync(_cancel.Token).ConfigureAwait(false);
                byte[] buffer = ArrayPool<byte>.Shared.Rent(ChunkSize);
                int count = await _socket!.ReceiveAsync(buffer, _cancel.Token).ConfigureAwait(false);
                if (count == 0) break;
                Report(new BgpInput(BgpInputKind.Bytes, this, Buffer: buffer, Count: count));
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // Whatever ended the connection, it has ended: that is reported below.
        }

        Report(new BgpInput(BgpInputKind.Closed, this));
    }

    private async Task WriteAsync()
    {
        try
        {
            while (await _signal.Reader.WaitToReadAsync(_cancel.Token).ConfigureAwait(false))
            {
                _signal.Reader.TryRead(out _);
                await DrainAsync().ConfigureAwait(false);
            }

            await DrainAsync().ConfigureAwait(false);

            // Read on until the peer has closed too: closing with bytes unread would reset the connection under our last words.
            _socket!.Shutdown(SocketShutdown.Send);
            await _reading.ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The reader sees the same and reports it.
        }

        _socket!.Dispose();
    }

    private async Task DrainAsync()
    {
        while (true)
        {
            lock (_gate) (_filling, _sending) = (_sending, _filling);
            ReadOnlyMemory<byte> rest = _sending.WrittenMemory;
            if (rest.IsEmpty) return;
            while (!rest.IsEmpty)
            {
                ValueTask<int> sending = _socket!.SendAsync(rest, _cancel.Token);
                if (!sending.IsCompleted)
                {
                    _full = true;
                    if (!_closing) _wake();
                }

                int sent = await sending.ConfigureAwait(false);
                _full = false;
                rest = rest[sent..];
                Interlocked.Add(ref _taken, sent);
                if (!_closing) _wake();
            }

            _sending.ResetWrittenCount();
        }
    }

    private void Report(in BgpInput input)
    {
        _inputs.TryWrite(input);
        _wake();
    }
}
