using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Web;

namespace SdnEdge.Host.Qemu;

/// <summary>The first line of a migration's connection: what it carries.</summary>
/// <param name="Server">The server.</param>
/// <param name="Epoch">The epoch under which it is to run at the target.</param>
/// <param name="Compression">How the source would compress it: zstd; null = not.</param>
internal sealed record LinkRequest(string Server, long Epoch, string? Compression = null);

/// <summary>The answer, before anything is carried.</summary>
/// <param name="Refused">Why not, for people; null = it is expected.</param>
/// <param name="Compression">What was asked for, when it will be read so; null = not compressed.</param>
internal sealed record LinkAnswer(string? Refused = null, string? Compression = null);

/// <summary>JSON of the two lines.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(LinkRequest))]
[JsonSerializable(typeof(LinkAnswer))]
internal sealed partial class LinkTypes : JsonSerializerContext;

/// <summary>
/// Carries migrations between hosts by TCP with mutual TLS. Each end must be the configured host of its name, by its certificate's common
/// name; the connection begins with one line that says which guest it carries under which epoch, and only one that is expected is
/// accepted: a guest's memory goes to nobody else.
/// </summary>
public sealed class MigrationLink : IMigrationNetwork, IAsyncDisposable
{
    private const int MaxLine = 1024;
    private const string Zstd = "zstd";
    private static readonly TimeSpan s_greeting = TimeSpan.FromSeconds(10);

    private readonly MigrationLinkConfig _config;
    private readonly TlsFiles _files;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<(string Server, long Epoch), Func<Stream, CancellationToken, Task>> _expected = [];
    private readonly ConcurrentDictionary<Task, bool> _connections = [];
    private readonly Task _accepting;
    private long _refused;
    private bool _disposed;

    /// <summary>Listens.</summary>
    /// <exception cref="IOException">The address cannot be had, or a file cannot be read.</exception>
    public MigrationLink(MigrationLinkConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        (_config, _files) = (config, new TlsFiles(config.Listen, "migration"));
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
            throw new IOException($"migration.listen: {at} cannot be had: {e.Message}; choose an address of this host and a free port", e);
        }

        _accepting = AcceptAsync();
    }

    /// <summary>Connections that were refused: a stranger's certificate, or a guest that nobody expects.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <inheritdoc/>
    public async Task<Stream> ConnectAsync(string host, string server, long epoch, CancellationToken cancel)
    {
        if (_config.Peers.FirstOrDefault(p => p.Name == host) is not { } peer)
            throw new IOException($"host '{host}' is not among migration.peers ({string.Join(", ", _config.Peers.Select(p => p.Name))})");
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(s_greeting);
        var socket = new Socket(peer.Address.IsV4 ? AddressFamily.InterNetwork : AddressFamily.InterNetworkV6, SocketType.Stream,
            ProtocolType.Tcp);
        MigrationRelay.Bound(socket);
        Stream stream = Stream.Null;
        try
        {
            await socket.ConnectAsync(new IPEndPoint(Address(peer.Address), peer.Port), end.Token);
            var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
            stream = tls;
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = host,
                ClientCertificates = [_files.Current.Server],
                RemoteCertificateValidationCallback = (_, certificate, _, _) => Is(certificate, host, ofServer: true),
            }, end.Token);
            var request = new LinkRequest(server, epoch, _config.Compress ? Zstd : null);
            await WriteAsync(tls, JsonSerializer.SerializeToUtf8Bytes(request, LinkTypes.Default.LinkRequest), end.Token);
            LinkAnswer answer = JsonSerializer.Deserialize(await ReadAsync(tls, end.Token), LinkTypes.Default.LinkAnswer)
                ?? throw new IOException("it answered null");
            if (answer.Refused is not null) throw new IOException($"it does not take {server}: {answer.Refused}");
            return new MigrationStream(tls, socket, _config.Compress && answer.Compression == Zstd, sends: true);
        }
        catch (Exception e)
        {
            await stream.DisposeAsync();
            socket.Dispose();
            if (cancel.IsCancellationRequested) throw;
            string why = e switch
            {
                OperationCanceledException => $"it has not answered within {s_greeting.TotalSeconds} s",
                AuthenticationException => $"its certificate is not one of '{host}' by the CA of migration.listen, or it refused ours "
                    + $"({e.Message})",
                _ => e.Message,
            };
            throw new IOException($"{server} cannot be carried to {host} ({peer.Address}, port {peer.Port}): {why}", e);
        }
    }

    /// <inheritdoc/>
    public void Expect(string server, long epoch, Func<Stream, CancellationToken, Task>? take)
    {
        // One guest is expected under one epoch at a time.
        foreach ((string Server, long Epoch) known in _expected.Keys.Where(k => k.Server == server)) _expected.TryRemove(known, out _);
        if (take is not null) _expected[(server, epoch)] = take;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, true)) return;
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        await Task.WhenAll(_connections.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private static IPAddress Address(IpAddress address) => IPAddress.Parse(address.ToString());

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync(_stop.Token);
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
        MigrationRelay.Bound(socket);
        await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
        try
        {
            Func<Stream, CancellationToken, Task>? take;
            bool compressed;
            using (var end = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token))
            {
                end.CancelAfter(s_greeting);
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
                {
                    ServerCertificate = _files.Current.Server,
                    ClientCertificateRequired = true,
                    RemoteCertificateValidationCallback = (_, certificate, _, _)
                        => _config.Peers.Any(p => Is(certificate, p.Name, ofServer: false)),
                }, end.Token);
                LinkRequest? asked = JsonSerializer.Deserialize(await ReadAsync(tls, end.Token), LinkTypes.Default.LinkRequest);
                take = asked is null ? null : _expected.GetValueOrDefault((asked.Server, asked.Epoch));
                compressed = take is not null && asked?.Compression == Zstd;
                LinkAnswer answer = new(take is not null ? null
                    : $"it is not expected here under epoch {asked?.Epoch}: this host was told of no such move, or of its end",
                    compressed ? Zstd : null);
                await WriteAsync(tls, JsonSerializer.SerializeToUtf8Bytes(answer, LinkTypes.Default.LinkAnswer), end.Token);
            }

            if (take is not null) await take(new MigrationStream(tls, socket, compressed, sends: false), _stop.Token);
            else Interlocked.Increment(ref _refused);
        }
        catch (Exception e) when (e is AuthenticationException or JsonException)
        {
            Interlocked.Increment(ref _refused);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or Drivers.DriverException)
        {
            // The other end sees the connection's end, and QEMU with it; the source says why.
        }
    }

    private bool Is(X509Certificate? certificate, string host, bool ofServer) => certificate is X509Certificate2 known
        && TlsFiles.CommonName(known) == host && _files.Accepts(known, ofServer);

    private static async Task WriteAsync(Stream stream, byte[] json, CancellationToken cancel)
    {
        await stream.WriteAsync((byte[])[.. json, (byte)'\n'], cancel);
        await stream.FlushAsync(cancel);
    }

    // Byte by byte: everything after the line belongs to QEMU's stream.
    private static async Task<byte[]> ReadAsync(Stream stream, CancellationToken cancel)
    {
        var line = new List<byte>(128);
        byte[] one = new byte[1];
        while (true)
        {
            if (await stream.ReadAsync(one, cancel) == 0) throw new IOException("it has closed the connection");
            if (one[0] == '\n') return [.. line];
            if (line.Count == MaxLine) throw new JsonException($"its first line is longer than {MaxLine} bytes");
            line.Add(one[0]);
        }
    }
}
