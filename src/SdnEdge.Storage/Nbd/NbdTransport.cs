using System.Net.Security;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Nbd;

/// <summary>What a transport asks its connection while it waits.</summary>
internal interface INbdWaiter
{
    /// <summary>Requests that the device has not finished: their replies must be sent while the transport waits for more.</summary>
    bool HasPending { get; }

    /// <summary>Sends the replies of those that are finished. Called on the connection's thread.</summary>
    void Drain();
}

/// <summary>The stream of bytes of one connection. It is used by the connection's thread; only <see cref="Signal"/> and
/// <see cref="ShutDown"/> by others.</summary>
internal abstract class NbdTransport : IDisposable
{
    /// <summary>Who waits.</summary>
    public INbdWaiter? Waiter { get; set; }

    /// <summary>When receiving and sending give up, in milliseconds of <see cref="Environment.TickCount64"/>; null: never.</summary>
    public long? Deadline { get; set; }

    /// <summary>Receives at least a byte. 0: the other end is gone, or the deadline has passed. While the <see cref="Waiter"/> has pending
    /// requests it is drained when signalled.</summary>
    public abstract int Receive(Span<byte> into);

    /// <summary>Sends all. False: the other end is gone, or the deadline has passed.</summary>
    public abstract bool Send(ReadOnlySpan<byte> bytes);

    /// <summary>Wakes the connection's thread: a request is finished. By any thread.</summary>
    public abstract void Signal();

    /// <summary>Waits for a signal.</summary>
    public abstract void WaitForSignal();

    /// <summary>Ends the connection, by any thread. With <paramref name="receiveOnly"/> what is finished is still answered.</summary>
    public abstract void ShutDown(bool receiveOnly);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>A connected stream socket.</summary>
internal sealed class NbdSocketTransport : NbdTransport
{
    private const int MostMisses = 10;

    private readonly IDisposable? _owner;
    private readonly Lock _closing = new();
    private readonly int _fd, _spins;
    private int _misses, _skip;
    private EventFd? _wake;
    private bool _closed;

    /// <summary>Over a socket's descriptor.</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="owner">Closes it; null: it is closed by nobody.</param>
    /// <param name="spins">How often to look for more bytes before waiting in the kernel.</param>
    public NbdSocketTransport(int fd, IDisposable? owner, int spins) => (_fd, _owner, _spins) = (fd, owner, spins);

    /// <inheritdoc/>
    public override int Receive(Span<byte> into)
    {
        while (true)
        {
            bool pending = Waiter is { HasPending: true };
            if (pending) Wake();
            int spins = Deadline is null ? Spins() : 0;
            int got = StreamDescriptor.Receive(_fd, into, pending ? _wake!.Fd : -1, Remaining(), spins, out bool waited);
            if (spins > 0) Looked(hit: !waited);
            if (got >= 0) return got;
            if (got != (int)StreamEnd.Signalled) return 0;
            _wake!.Drain();
            Waiter!.Drain();
        }
    }

    /// <inheritdoc/>
    public override bool Send(ReadOnlySpan<byte> bytes) => StreamDescriptor.Send(_fd, bytes, Remaining());

    /// <inheritdoc/>
    public override void Signal() => Wake().Signal();

    /// <inheritdoc/>
    public override void WaitForSignal()
    {
        EventFd wake = Wake();
        StreamDescriptor.WaitFor(wake);
        wake.Drain();
    }

    /// <inheritdoc/>
    public override void ShutDown(bool receiveOnly)
    {
        lock (_closing)
        {
            if (_closed) return;
            if (receiveOnly) StreamDescriptor.ShutDownReceive(_fd);
            else StreamDescriptor.ShutDown(_fd);
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        lock (_closing)
        {
            if (_closed) return;
            _closed = true;
            if (_owner is null) StreamDescriptor.ShutDown(_fd);
            _owner?.Dispose();
            _wake?.Dispose();
        }
    }

    // Most connections never wait for a device: their event descriptor is made when the first one does.
    private EventFd Wake()
    {
        if (_wake is { } wake) return wake;
        var made = new EventFd();
        if (Interlocked.CompareExchange(ref _wake, made, null) is not { } other) return made;
        made.Dispose();
        return other;
    }

    // Looking again and again pays where the next request comes at once. After each time that it did not, twice as many receives wait in
    // the kernel from the start: an idle connection costs nothing.
    private int Spins()
    {
        if (_skip == 0) return _spins;
        _skip--;
        return 0;
    }

    private void Looked(bool hit)
    {
        _misses = hit ? 0 : Math.Min(_misses + 1, MostMisses);
        _skip = (1 << _misses) - 1;
    }

    private int Remaining() => Deadline is not { } deadline ? -1 : (int)Math.Clamp(deadline - Environment.TickCount64, 0, int.MaxValue);
}

/// <summary>TLS over another transport. The wait for ciphertext is the inner transport's, so that replies go out meanwhile.</summary>
internal sealed class NbdTlsTransport : NbdTransport
{
    private readonly NbdTransport _inner;
    private readonly SslStream _stream;

    /// <summary>Over the transport on which STARTTLS was acknowledged.</summary>
    public NbdTlsTransport(NbdTransport inner)
    {
        _inner = inner;
        Waiter = inner.Waiter;
        _stream = new SslStream(new TransportStream(inner), leaveInnerStreamOpen: true);
    }

    /// <summary>The TLS side of it, for the handshake.</summary>
    public SslStream Stream => _stream;

    /// <inheritdoc/>
    public override int Receive(Span<byte> into)
    {
        _inner.Deadline = Deadline;
        try
        {
            return _stream.Read(into);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            return 0;
        }
    }

    /// <inheritdoc/>
    public override bool Send(ReadOnlySpan<byte> bytes)
    {
        _inner.Deadline = Deadline;
        try
        {
            _stream.Write(bytes);
            return true;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override void Signal() => _inner.Signal();

    /// <inheritdoc/>
    public override void WaitForSignal() => _inner.WaitForSignal();

    /// <inheritdoc/>
    public override void ShutDown(bool receiveOnly) => _inner.ShutDown(receiveOnly);

    /// <inheritdoc/>
    public override void Dispose()
    {
        _inner.ShutDown(receiveOnly: false);
        _stream.Dispose();
        _inner.Dispose();
    }

    private sealed class TransportStream(NbdTransport inner) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(byte[] buffer, int offset, int count) => inner.Receive(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer) => inner.Receive(buffer);

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (!inner.Send(buffer)) throw new IOException("the other end of the connection is gone");
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
