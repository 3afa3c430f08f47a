using System.Net;
using System.Net.Sockets;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Nbd;

// Sockets: opened, accepted from, closed.
public sealed partial class NbdServer
{
    private const int Backlog = 512;

    // When no descriptor or no thread is left: long enough that one can become free, short for a client.
    private static readonly TimeSpan s_scarce = TimeSpan.FromMilliseconds(50);

    /// <summary>Opens all sockets. What one of them lacks leaves none open.</summary>
    /// <exception cref="IOException">One cannot be opened: in use, not permitted, no such folder; the message names it.</exception>
    public void Bind()
    {
        if (_bound.Count > 0) return;
        try
        {
            foreach (NbdListen listen in Options.Listen) _bound.Add(Bind(listen));
        }
        catch
        {
            foreach (Bound bound in _bound) Close(bound);
            _bound.Clear();
            throw;
        }
    }

    private Bound Bind(NbdListen listen)
    {
        try
        {
            return listen switch
            {
                NbdUnixListen unix => BindUnix(unix),
                NbdTcpListen tcp => BindTcp(tcp),
                NbdInheritedListen inherited => BindInherited(inherited),
                NbdConnectedListen connected => BindConnected(connected),
                _ => throw new ArgumentException($"{listen} is no place to listen at.", nameof(listen)),
            };
        }
        catch (Exception e) when (e is SocketException or UnauthorizedAccessException)
        {
            throw new IOException($"listen on {NameOf(listen)}: {e.Message}", e);
        }
    }

    private static string NameOf(NbdListen listen) => listen switch
    {
        NbdUnixListen unix => unix.Path,
        NbdTcpListen tcp => tcp.EndPoint.ToString(),
        NbdInheritedListen inherited => $"descriptor {inherited.Descriptor}",
        NbdConnectedListen connected => $"descriptor {connected.Descriptor}",
        _ => listen.ToString()!,
    };

    private Bound BindUnix(NbdUnixListen unix)
    {
        if (File.Exists(unix.Path))
        {
            using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                probe.Connect(new UnixDomainSocketEndPoint(unix.Path));
                throw new IOException($"listen on {unix.Path}: another server answers there; stop it or choose another path");
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
            {
                // A server that was killed has left it.
                File.Delete(unix.Path);
            }
        }

        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(unix.Path));

            // Before it listens nobody can connect: there is no moment at which others could.
            File.SetUnixFileMode(unix.Path, unix.Mode);
            socket.Listen(Backlog);
            return new Bound(socket, new UnixDomainSocketEndPoint(unix.Path), -1, unix.Path, Options.RequireTlsOnUnix);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static Bound BindTcp(NbdTcpListen tcp)
    {
        var socket = new Socket(tcp.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            socket.Bind(tcp.EndPoint);
            socket.Listen(Backlog);
            return new Bound(socket, socket.LocalEndPoint, -1, null, !tcp.IsInsecure);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // What somebody else has opened is held to the same rule: TCP only with TLS.
    private Bound BindInherited(NbdInheritedListen inherited)
    {
        var socket = new Socket(new SafeSocketHandle(inherited.Descriptor, ownsHandle: true));
        try
        {
            return new Bound(socket, socket.LocalEndPoint, -1, null, TlsRule(socket.AddressFamily, inherited));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private Bound BindConnected(NbdConnectedListen connected)
    {
        // The socket object is only asked; the descriptor stays the process's.
        using var handle = new SafeSocketHandle(connected.Descriptor, ownsHandle: false);
        using var socket = new Socket(handle);
        return new Bound(null, null, connected.Descriptor, null, TlsRule(socket.AddressFamily, connected));
    }

    private bool TlsRule(AddressFamily family, NbdListen listen)
    {
        if (family == AddressFamily.Unix) return Options.RequireTlsOnUnix;
        if (Options.Tls is not null) return true;
        throw new IOException($"listen on {NameOf(listen)}: it is a TCP socket; NBD over TCP needs a certificate, a key and the "
            + "clients' CA (mutual TLS).");
    }

    private async Task AcceptAsync(Bound bound, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            Socket? socket = null;
            try
            {
                socket = await bound.Listener!.AcceptAsync(stop);
                Configure(socket);
                _ = Start(new NbdSocketTransport((int)socket.SafeHandle.DangerousGetHandle(), socket, Options.Spins), ClientOf(socket),
                    bound.TlsRequired);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (Exception e) when (e is SocketException or OutOfMemoryException)
            {
                // The client went before it was accepted, or no descriptor or thread is left: the others go on.
                socket?.Dispose();
                Report($"NBD: a connection was not accepted: {e.Message}");
                if (e is SocketException { SocketErrorCode: SocketError.ConnectionAborted or SocketError.ConnectionReset }) continue;
                await Task.Delay(s_scarce, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private static void Configure(Socket socket)
    {
        socket.Blocking = true;
        if (socket.ProtocolType != ProtocolType.Tcp || socket.AddressFamily == AddressFamily.Unix) return;
        socket.NoDelay = true;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
    }

    private static NbdClient ClientOf(Socket socket)
    {
        if (socket.AddressFamily != AddressFamily.Unix)
        {
            return new NbdClient(NbdTransportKind.Tcp, Address: socket.RemoteEndPoint?.ToString());
        }

        return PeerCredentials.TryGet(socket, out PeerCredentials peer)
            ? new NbdClient(NbdTransportKind.Unix, peer.Process, peer.User)
            : new NbdClient(NbdTransportKind.Unix);
    }

    // Done when the connection has ended.
    private Task Start(NbdTransport transport, NbdClient client, bool tlsRequired)
    {
        NbdHandshakePolicy policy = Policy(tlsRequired);
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            Serve(transport, client, policy);
            ended.SetResult();
        }, StackBytes)
        {
            IsBackground = true,
            Name = "nbd connection",
        };
        thread.Start();
        return ended.Task;
    }

    private void Close(Bound bound)
    {
        bound.Listener?.Dispose();
        if (bound.Path is null) return;
        try
        {
            File.Delete(bound.Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Report($"NBD: the socket file {bound.Path} stays: {e.Message}");
        }
    }

    // What was opened for one entry of the options.
    private sealed record Bound(Socket? Listener, EndPoint? EndPoint, int Descriptor, string? Path, bool TlsRequired);
}
