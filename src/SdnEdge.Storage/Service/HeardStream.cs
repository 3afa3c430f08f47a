namespace SdnEdge.Storage.Service;

/// <summary>
/// A connection that ends when nothing is heard: the other end is gone without a word, or something between the two swallows the bytes.
/// Counted are looks at a read that waits, not the clock: a process that stood still has not waited. The stream below is closed then, so
/// that a write which waits for room ends too.
/// </summary>
internal sealed class HeardStream : Stream
{
    private const int Looks = 8;

    private readonly Stream _inner;
    private readonly TimeSpan _limit;
    private readonly Timer _timer;
    private int _waited = -1;
    private volatile bool _silent;

    /// <summary>Around a stream.</summary>
    /// <param name="inner">The stream; closed with this one.</param>
    /// <param name="limit">How long a read may wait; the other end says something more often.</param>
    public HeardStream(Stream inner, TimeSpan limit)
    {
        (_inner, _limit) = (inner, limit);
        TimeSpan every = limit / Looks;
        _timer = new Timer(_ => Look(), null, every, every);
    }

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Volatile.Write(ref _waited, 0);
        try
        {
            return await _inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (_silent && e is not OperationCanceledException)
        {
            throw Silence(e);
        }
        finally
        {
            Volatile.Write(ref _waited, -1);
        }
    }

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            await _inner.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (_silent && e is not OperationCanceledException)
        {
            throw Silence(e);
        }
    }

    /// <inheritdoc/>
    public override async Task FlushAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _inner.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (_silent && e is not OperationCanceledException)
        {
            throw Silence(e);
        }
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Flush() => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync().ConfigureAwait(false);
        await _inner.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _timer.Dispose();
            _inner.Dispose();
        }

        base.Dispose(disposing);
    }

    private void Look()
    {
        int waited = Volatile.Read(ref _waited);
        if (waited < 0 || _silent) return;
        if (waited < Looks)
        {
            // A read that has begun meanwhile begins to count anew.
            Interlocked.CompareExchange(ref _waited, waited + 1, waited);
            return;
        }

        _silent = true;
        _inner.Dispose();
    }

    private IOException Silence(Exception e) => new($"nothing was heard for {_limit.TotalMilliseconds:0} ms", e);
}
