using System.Net.Security;
using System.Net.Sockets;
using SdnEdge.Linux;
using ZstdSharp;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// One migration's connection between two hosts: TLS, and by option Zstandard (RFC 8878) for the guest's state, which goes one way. The
/// return path is never compressed. Each write is flushed: what QEMU believes sent is on its way.
/// </summary>
public sealed class MigrationStream : Stream
{
    // The fastest of the library's levels that still finds what memory has most of: repetition.
    private const int Level = 1;

    private readonly SslStream _tls;
    private readonly Socket _socket;
    private readonly CountedStream _counted;
    private readonly CompressionStream? _compressor;
    private readonly DecompressionStream? _decompressor;

    /// <summary>A connection on which both ends have agreed.</summary>
    /// <param name="tls">It.</param>
    /// <param name="socket">Its socket.</param>
    /// <param name="compressed">True: the guest's state is compressed.</param>
    /// <param name="sends">True at the source, which sends the state.</param>
    public MigrationStream(SslStream tls, Socket socket, bool compressed, bool sends)
    {
        (_tls, _socket, _counted) = (tls, socket, new CountedStream(tls));
        if (compressed && sends) _compressor = new CompressionStream(_counted, Level, leaveOpen: true);
        else if (compressed) _decompressor = new DecompressionStream(tls, leaveOpen: true);
    }

    /// <summary>Bytes sent, as TLS was given them: compressed, where they are.</summary>
    public long WireBytes => _counted.Written;

    /// <summary>The shortest round trip of the way so far, milliseconds; 0 = not known.</summary>
    public double RoundTripMs => TcpInfo.ShortestRoundTripMs(_socket) ?? 0;

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>Says that no more is sent; what comes is still read.</summary>
    public async Task CompleteAsync()
    {
        if (_compressor is not null) await _compressor.DisposeAsync().ConfigureAwait(false);
        await _tls.ShutdownAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        => _decompressor is null ? _tls.ReadAsync(buffer, cancellationToken) : _decompressor.ReadAsync(buffer, cancellationToken);

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_compressor is null)
        {
            await _counted.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
            return;
        }

        await _compressor.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
        await _compressor.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override void Flush() => _tls.Flush();

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // First the connection: a compressor that is disposed writes its end, and nobody may take it.
        if (disposing)
        {
            _tls.Dispose();
            _socket.Dispose();
            _decompressor?.Dispose();
        }

        base.Dispose(disposing);
    }

    // Counts what is written.
    private sealed class CountedStream(Stream inner) : Stream
    {
        private long _written;

        public long Written => Interlocked.Read(ref _written);

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await inner.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
            Interlocked.Add(ref _written, buffer.Length);
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
            => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Flush() => inner.Flush();

        public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count)
        {
            inner.Write(buffer, offset, count);
            Interlocked.Add(ref _written, count);
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
