using System.Buffers;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage.Nbd;

/// <summary>
/// One connection, on a thread of its own: 1. the handshake's machine is fed, 2. TLS is started where it says so, 3. requests are taken
/// from the buffer as long as there are whole ones, given to the device, and what it answers at once goes into the reply buffer, 4. the
/// replies are sent together, 5. more is received. Requests that must wait for the device leave the buffer, are counted as pending, and
/// are answered when they signal.
/// </summary>
/// <remarks>Memory is bounded: two buffers, and at most <see cref="MaximumHeld"/> bytes of those that pending requests hold. Beyond that,
/// and beyond the number of pending requests allowed, the next ones wait in the socket.</remarks>
internal sealed partial class NbdConnection : INbdWaiter, IDisposable
{
    /// <summary>Most bytes of buffers that pending requests hold, beside the two in use.</summary>
    public const int MaximumHeld = 64 << 20;

    private readonly NbdServer _server;
    private readonly NbdHandshakePolicy _policy;
    private readonly NbdBufferPool _pool;
    private readonly CancellationTokenSource _cancel = new();
    private readonly Lock _transportLock = new();
    private NbdTransport _transport;
    private NbdBuffer _in;
    private int _start, _end, _needed;
    private volatile bool _draining;

    /// <summary>A connection that has been accepted.</summary>
    /// <param name="server">Whose exports it may open.</param>
    /// <param name="policy">How the handshake meets it.</param>
    /// <param name="transport">Its bytes.</param>
    /// <param name="client">Who it is.</param>
    public NbdConnection(NbdServer server, NbdHandshakePolicy policy, NbdTransport transport, NbdClient client)
    {
        (_server, _policy, _transport, Client) = (server, policy, transport, client);
        _pool = server.Buffers;
        _in = _pool.Take(NbdBufferPool.Small);
        _out = _pool.Take(NbdBufferPool.Small);
        transport.Waiter = this;
    }

    /// <summary>Who it is; with TLS the certificate's name is added.</summary>
    public NbdClient Client { get; private set; }

    /// <summary>The export that it has opened; null: none yet.</summary>
    public NbdExport? Export { get; private set; }

    /// <summary>What it has done.</summary>
    public NbdCounters Counters { get; } = new();

    /// <inheritdoc/>
    public bool HasPending => _pending > 0;

    /// <summary>Serves the client until it goes, or is sent away. No exception leaves it.</summary>
    public void Run()
    {
        bool orderly = false;
        try
        {
            if (Handshake()) orderly = Transmit();
        }
        catch (Exception e)
        {
            _server.Report($"NBD connection of {Client}: closed by a fault in the server: {e}");
        }

        Finish(orderly);
    }

    /// <summary>Ends it, by any thread. With <paramref name="receiveOnly"/> requests that have been received are still answered.</summary>
    public void Disconnect(bool receiveOnly = false)
    {
        if (receiveOnly) _draining = true;
        lock (_transportLock) _transport.ShutDown(receiveOnly);
        if (receiveOnly) return;
        try
        {
            _cancel.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has ended by itself.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _cancel.Dispose();

    private bool Handshake()
    {
        _transport.Deadline = Environment.TickCount64 + (long)_server.Options.HandshakeTimeout.TotalMilliseconds;
        IReadOnlyList<NbdExport> visible = _server.VisibleTo(Client);
        var output = new ArrayBufferWriter<byte>(256);
        var handshake = new NbdHandshake(_policy, [.. visible.Select(NbdExportInfo.Of)], output);
        while (true)
        {
            if (output.WrittenCount > 0 && !_transport.Send(output.WrittenSpan)) return false;
            output.ResetWrittenCount();
            switch (handshake.State)
            {
                case NbdHandshakeState.Closed:
                    if (handshake.Reason is not null) ProtocolError(handshake.Reason);
                    return false;
                case NbdHandshakeState.StartTls:
                    if (!StartTls()) return false;
                    visible = _server.VisibleTo(Client);
                    handshake.TlsEstablished([.. visible.Select(NbdExportInfo.Of)]);
                    continue;
                case NbdHandshakeState.Transmission:
                    _transport.Deadline = null;
                    _session = handshake.Session!;
                    Export = visible.First(export => export.Name == _session.Export.Name);

                    // It may have been taken away meanwhile; from here on its connections are found by it.
                    return _server.Serves(Export);
            }

            _needed = handshake.Needed;
            if (!ReceiveMore()) return false;
            _start += handshake.Consume(_in.Bytes.AsSpan(_start, _end - _start), output);
        }
    }

    // A client that has sent anything behind STARTTLS sent it in the clear: it must not be taken for what comes by TLS.
    private bool StartTls()
    {
        if (_end > _start)
        {
            ProtocolError($"{_end - _start} bytes came in the clear behind STARTTLS");
            return false;
        }

        TlsFiles files = _server.Options.Tls!;
        var tls = new NbdTlsTransport(_transport);
        lock (_transportLock) _transport = tls;
        try
        {
            tls.Stream.AuthenticateAsServer(new SslServerAuthenticationOptions
            {
                ServerCertificate = files.Current.Server,
                ClientCertificateRequired = true,
                CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is X509Certificate2 given
                    && files.Accepts(given),
            });
        }
        catch (Exception e) when (e is AuthenticationException or IOException or InvalidOperationException or NotSupportedException)
        {
            ProtocolError($"TLS failed: {e.InnerException?.Message ?? e.Message}");
            return false;
        }

        tls.Deadline = Environment.TickCount64 + (long)_server.Options.HandshakeTimeout.TotalMilliseconds;
        Client = Client with { Certificate = tls.Stream.RemoteCertificate is X509Certificate2 known ? TlsFiles.CommonName(known) : null };
        return true;
    }

    private void ProtocolError(string reason)
    {
        Counters.ProtocolError();
        _server.Report($"NBD connection of {Client}: closed: {reason}.");
    }

    // Makes room for the _needed bytes from _start on, and receives at least a byte of them.
    private bool ReceiveMore()
    {
        MakeRoom();
        int got = _transport.Receive(_in.Bytes.AsSpan(_end));
        if (got <= 0) return false;
        _end += got;
        _filled = _end == _in.Bytes.Length;
        _quiet = got > NbdBufferPool.Small / 2 ? 0 : _quiet + 1;
        return true;
    }

    private void Finish(bool orderly)
    {
        if (!orderly) _cancel.Cancel();
        while (_pending > 0)
        {
            Drain();
            if (_pending > 0) _transport.WaitForSignal();
        }

        FlushReplies();

        // A device's thread may still be between its result and its signal.
        SpinWait spin = default;
        while (Volatile.Read(ref _completing) > 0) spin.SpinOnce();
        _in.Release();
        _out.Release();
        if (_device is IDisposable view && !ReferenceEquals(_device, Export?.Device)) view.Dispose();
        _transport.Dispose();
    }
}
