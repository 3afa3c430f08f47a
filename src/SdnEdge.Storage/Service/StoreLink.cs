using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Replication;
using SdnEdge.Web;

namespace SdnEdge.Storage.Service;

/// <summary>
/// The way between two stores: TCP with mutual TLS, one connection a volume, made by the store that owns it. Each end must be the
/// configured store of its name, by its certificate's common name. The connection begins with one line, the volume's name.
/// </summary>
internal sealed class StoreLink : IAsyncDisposable
{
    private const int MaxLine = 64;
    private static readonly TimeSpan s_greeting = TimeSpan.FromSeconds(10);

    private readonly ReplicationLinkConfig _config;
    private readonly TlsFiles _files;
    private readonly Socket _listener;
    private readonly Func<string, string, Func<Stream, CancellationToken, Task>?> _take;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Task, bool> _connections = [];
    private Task _accepting = Task.CompletedTask;
    private long _refused;

    /// <summary>Binds; <see cref="Start"/> begins to accept.</summary>
    /// <param name="config">Where, with which certificates, and the other stores.</param>
    /// <param name="take">Who takes a connection, by the store that it comes from and the volume that it is for; null = nobody.</param>
    /// <exception cref="IOException">The address cannot be had, or a file cannot be read.</exception>
    public StoreLink(ReplicationLinkConfig config, Func<string, string, Func<Stream, CancellationToken, Task>?> take)
    {
        (_config, _take, _files) = (config, take, new TlsFiles(config.Listen, "replication"));
        var at = new IPEndPoint(Address(config.Listen.Address), config.Listen.Port);
        _listener = new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _listener.Bind(at);
            _listener.Listen(64);
        }
        catch (SocketException e)
        {
            _listener.Dispose();
            throw new IOException($"replication.listen: {at} cannot be had: {e.Message}; choose an address of this machine and a free "
                + $"port", e);
        }
    }

    /// <summary>Connections that were refused: a stranger's certificate, or a volume that is not replicated from there.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Begins to accept.</summary>
    public void Start() => _accepting = AcceptAsync();

    /// <summary>Connects to the store with a volume's replica.</summary>
    /// <exception cref="IOException">It does not answer, or is not who it should be.</exception>
    public async Task<Stream> ConnectAsync(string store, string volume, CancellationToken cancel)
    {
        StorePeer peer = _config.Peers.First(p => p.Name == store);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(s_greeting);
        var socket = new Socket(peer.Address.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Stream,
            ProtocolType.Tcp)
        {
            NoDelay = true,
        };
        Stream stream = Stream.Null;
        try
        {
            await socket.ConnectAsync(new IPEndPoint(Address(peer.Address), peer.Port), end.Token).ConfigureAwait(false);
            var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
            stream = tls;
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = store,
                ClientCertificates = [_files.Current.Server],
                RemoteCertificateValidationCallback = (_, certificate, _, _) => NameOf(certificate, ofServer: true) == store,
            }, end.Token).ConfigureAwait(false);
            await tls.WriteAsync(Encoding.ASCII.GetBytes(volume + "\n"), end.Token).ConfigureAwait(false);
            return tls;
        }
        catch (Exception e)
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            socket.Dispose();
            if (cancel.IsCancellationRequested) throw;
            throw new IOException(e switch
            {
                OperationCanceledException => $"it has not answered within {s_greeting.TotalSeconds} s",
                AuthenticationException => $"its certificate is not one of '{store}' by the CA of replication, or it refused ours "
                    + $"({e.Message})",
                _ => e.Message,
            }, e);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _listener.Dispose();
        await _accepting.ConfigureAwait(false);
        await Task.WhenAll(_connections.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private static IPAddress Address(IpAddress address) => IPAddress.Parse(address.ToString());

    private string? NameOf(X509Certificate? certificate, bool ofServer) => certificate is X509Certificate2 known && _files.Accepts(known,
        ofServer)
        ? TlsFiles.CommonName(known) : null;

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync(_stop.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // It was gone before it was taken.
                continue;
            }

            Task connection = ServeAsync(socket);
            _connections[connection] = true;
            _ = connection.ContinueWith(c => _connections.TryRemove(c, out _), TaskScheduler.Default);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        await Task.Yield();
        socket.NoDelay = true;
        await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        try
        {
            Func<Stream, CancellationToken, Task>? take;
            using (var end = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
            {
                end.CancelAfter(s_greeting);
                string? store = null;
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
                {
                    ServerCertificate = _files.Current.Server,
                    ClientCertificateRequired = true,
                    RemoteCertificateValidationCallback = (_, certificate, _, _)
                        => (store = NameOf(certificate, ofServer: false)) is not null && _config.Peers.Any(p => p.Name == store),
                }, end.Token).ConfigureAwait(false);
                string volume = await ReadLineAsync(tls, end.Token).ConfigureAwait(false);
                take = _take(store!, volume);
                if (take is null)
                {
                    Interlocked.Increment(ref _refused);
                    await new LinkFrames(tls).WriteAsync(
                        FrameKind.Refuse, LinkMessages.WriteText($"there is no volume '{volume}' here whose owner may be {store}"),
                        LinkCompression.None, end.Token).ConfigureAwait(false);
                    return;
                }
            }

            await take(tls, _stop.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is AuthenticationException or LinkFormatException)
        {
            Interlocked.Increment(ref _refused);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // The other end sees the connection's end; the volume has said why.
        }
    }

    // Byte by byte: everything after the line belongs to the link.
    private static async Task<string> ReadLineAsync(Stream stream, CancellationToken cancel)
    {
        byte[] one = new byte[1];
        var line = new StringBuilder(MaxLine);
        while (true)
        {
            if (await stream.ReadAsync(one, cancel).ConfigureAwait(false) == 0)
                throw new IOException("the other store has closed the connection");
            if (one[0] == '\n') return line.ToString();
            if (line.Length == MaxLine || one[0] is < 0x21 or > 0x7e) throw new LinkFormatException("the first line names no volume");
            line.Append((char)one[0]);
        }
    }
}
