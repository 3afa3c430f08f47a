using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>The server on real sockets: who may connect, how many, what they keep, how it ends.</summary>
public sealed class NbdServerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("nbd").FullName;
    private readonly List<string> _reports = [];

    private string SocketPath => Path.Combine(_folder, "s");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task The_unix_socket_is_for_its_owner_only_and_is_gone_in_the_end()
    {
        await using Running running = await Run(new MemoryDevice(4096));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(SocketPath));
        await running.Stop();
        Assert.False(File.Exists(SocketPath));
    }

    [Fact]
    public async Task A_socket_file_that_was_left_is_replaced_and_one_in_use_is_not()
    {
        using (var left = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            left.Bind(new UnixDomainSocketEndPoint(SocketPath));
        }

        File.WriteAllText(SocketPath + "x", "");
        await using Running running = await Run(new MemoryDevice(4096));
        using var second = new NbdServer(Options(), new NbdExport("vol", new MemoryDevice(4096)));
        IOException e = Assert.Throws<IOException>(second.Bind);
        Assert.Contains("another server answers there", e.Message);
        using Socket client = Connect();
        Assert.NotEmpty(Exchange(client, TransmissionTests.Opened(false, s => s.Write(0, [1]).Disconnect()).ToArray()));
    }

    [Fact]
    public void TCP_without_a_certificate_is_refused_unless_the_address_is_named_insecure()
    {
        var open = new NbdTcpListen(new IPEndPoint(IPAddress.Loopback, 0));
        ArgumentException e = Assert.Throws<ArgumentException>(() => new NbdServer(Options() with { Listen = [open] }));
        Assert.Contains("mutual TLS", e.Message);
        using var server = new NbdServer(Options() with { Listen = [open with { IsInsecure = true }] });
        server.Bind();
        Assert.NotEqual(0, ((IPEndPoint)server.EndPoints[0]).Port);
    }

    [Fact]
    public void Every_wrong_option_is_told_at_once()
    {
        ArgumentException e = Assert.Throws<ArgumentException>(() => new NbdServer(Options() with
        {
            Listen = [new NbdUnixListen(new string('x', 108))],
            RequireTlsOnUnix = true,
            MaximumPayload = 4097,
            MaximumConnections = 0,
            MaximumInFlight = 100_000,
            Spins = -1,
            HandshakeTimeout = TimeSpan.Zero,
            DrainTimeout = TimeSpan.FromDays(1),
        }));
        foreach (string part in new[]
            { "107 bytes", "TLS is required", "payload 4097", "of connections 0", "in flight 100000", "spins -1", "handshake", "drain" })
        {
            Assert.Contains(part, e.Message);
        }
    }

    [Fact]
    public void An_export_that_cannot_be_served_is_refused_with_the_reason()
    {
        using var server = new NbdServer(Options());
        Assert.Contains("power of two", Assert.Throws<ArgumentException>(() => server.Add(new NbdExport("a", new MemoryDevice(9, 3))))
            .Message);
        Assert.Contains("at least a block", Assert.Throws<ArgumentException>(() => server.Add(new NbdExport("a", new MemoryDevice(0))))
            .Message);
        Assert.Contains("at most 4096", Assert.Throws<ArgumentException>(
            () => server.Add(new NbdExport(new string('a', 4097), new MemoryDevice(9)))).Message);
        server.Add(new NbdExport("a", new MemoryDevice(9)));
        Assert.Contains("already", Assert.Throws<ArgumentException>(() => server.Add(new NbdExport("a", new MemoryDevice(9)))).Message);
    }

    [Fact]
    public async Task A_handshake_that_never_ends_is_ended()
    {
        await using Running running = await Run(new MemoryDevice(4096), o => o with { HandshakeTimeout = TimeSpan.FromMilliseconds(200) });
        using Socket silent = Connect(), half = Connect();
        half.Send(new NbdScript().Flags().OptionHeader(7, 1000).ToArray());
        Assert.Equal(18, ReadAll(silent).Length);
        Assert.Equal(18, ReadAll(half).Length);
        await Patience.UntilAsync(() => running.Server.Connections.Count == 0, () => $"{running.Server.Connections.Count} connections");
    }

    [Fact]
    public async Task Connections_beyond_the_maximum_are_closed_and_a_freed_slot_is_used_again()
    {
        await using Running running = await Run(new MemoryDevice(4096), o => o with { MaximumConnections = 2 });
        byte[] opening = TransmissionTests.Opened(false, s => s.Request(NbdCommand.Flush, 0, 0)).ToArray();
        using Socket first = Connect(), second = Connect();
        foreach (Socket socket in new[] { first, second })
        {
            socket.Send(opening);
            await Patience.UntilAsync(() => socket.Available >= 18 + 32 + 20 + 16, () => $"{socket.Available} bytes came");
        }

        using Socket third = Connect();
        Assert.Empty(ReadAll(third));
        Assert.Equal(1, running.Server.Refused);
        first.Dispose();
        await Patience.UntilAsync(() => running.Server.Connections.Count == 1, () => $"{running.Server.Connections.Count} connections");
        using Socket fourth = Connect();
        Assert.NotEmpty(Exchange(fourth, opening));
    }

    [Fact]
    public async Task Thousands_of_connections_are_served_and_leave_nothing()
    {
        const int Many = 2000;
        await using Running running = await Run(new MemoryDevice(1 << 20));
        byte[] opening = TransmissionTests.Opened(false, s => s.Write(0, new byte[512]).Request(NbdCommand.Read, 0, 512)).ToArray();
        List<Socket> sockets = [];
        try
        {
            for (int i = 0; i < Many; i++) sockets.Add(Connect());
            foreach (Socket socket in sockets) socket.Send(opening);
            foreach (Socket socket in sockets)
            {
                byte[] reply = new byte[18 + 32 + 20 + 16 + 16 + 512];
                for (int got = 0; got < reply.Length;) got += socket.Receive(reply, got, reply.Length - got, SocketFlags.None);
            }

            Assert.Equal(Many, running.Server.Connections.Count);
            Assert.Equal(2 * Many, running.Server.BuffersTaken);
            Assert.All(running.Server.Connections, connection => Assert.Equal("vol", connection.Export));
        }
        finally
        {
            sockets.ForEach(socket => socket.Dispose());
        }

        await Patience.UntilAsync(() => running.Server.Connections.Count == 0, () => $"{running.Server.Connections.Count} connections");
        Assert.Equal(0, running.Server.BuffersTaken);
        Assert.Equal((Many, Many), (running.Server.Counters().Writes, running.Server.Counters().Reads));
    }

    [Fact]
    public async Task Hostile_clients_in_torn_segments_leave_no_descriptor_and_honest_ones_go_on()
    {
        await using Running running = await Run(new LateDevice(1 << 20));
        using Socket honest = Connect();
        honest.Send(new NbdScript().Flags().Go("vol").ToArray());
        await Patience.UntilAsync(() => honest.Available >= 18 + 32 + 20, () => $"{honest.Available} bytes came");
        honest.Receive(new byte[18 + 32 + 20]);
        int descriptors = Descriptors();
        var random = new Random(31);
        byte[] session = TransmissionTests.Opened(structured: true, s => s.Write(0, new byte[3000]).Request(NbdCommand.Read, 0, 60_000)
            .Request(NbdCommand.Flush, 0, 0)).ToArray();
        for (int i = 0; i < 1500; i++)
        {
            using Socket hostile = Connect();
            byte[] bytes = [.. session];
            for (int n = random.Next(4); n > 0; n--) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            try
            {
                for (int at = 0; at < bytes.Length;)
                {
                    int count = Math.Min(random.Next(1, 2000), bytes.Length - at);
                    hostile.Send(bytes, at, count, SocketFlags.None);
                    at += count;
                    if (random.Next(20) == 0) break;
                }
            }
            catch (SocketException)
            {
                // The server has closed first, as it must.
            }

            if (i % 50 == 0)
            {
                honest.Send(new NbdScript().Write(0, [1, 2, 3]).ToArray());
                byte[] reply = new byte[16];
                Assert.Equal(16, honest.Receive(reply));
                Assert.Equal(NbdError.None, new NbdAnswers(reply).Reply().Error);
            }
        }

        await Patience.UntilAsync(() => running.Server.Accepted == 1501 && running.Server.Connections.Count == 1,
            () => $"{running.Server.Accepted} accepted, {running.Server.Connections.Count} connections");
        Assert.Equal(2, running.Server.BuffersTaken);
        await Patience.UntilAsync(() => Descriptors() < descriptors + 15, () => $"{Descriptors()} descriptors, {descriptors} before");
        Assert.Equal(0, running.Server.Counters().DeviceFaults);
        lock (_reports) Assert.DoesNotContain(_reports, report => report.Contains("fault in the server", StringComparison.Ordinal));
    }

    private static int Descriptors() => Directory.GetFiles("/proc/self/fd").Length;

    [Fact]
    public async Task A_reader_that_stops_keeps_no_more_than_its_buffers_and_the_others_go_on()
    {
        await using Running running = await Run(new MemoryDevice(4 << 20));
        using Socket stopped = Connect();
        byte[] reads = TransmissionTests.Opened(false, s =>
        {
            for (int i = 0; i < 2000; i++) s.Request(NbdCommand.Read, 0, 1 << 20);
        }).ToArray();
        stopped.Send(reads);
        await Patience.UntilAsync(() => running.Server.Counters().Reads > 0, () => "no read came");
        for (int i = 0; i < 100; i++)
        {
            using Socket other = Connect();
            Assert.NotEmpty(Exchange(other, TransmissionTests.Opened(false, s => s.Request(NbdCommand.Read, 0, 4096).Disconnect())
                .ToArray()));
        }

        await Patience.UntilAsync(() => running.Server.Connections.Count == 1, () => $"{running.Server.Connections.Count} connections");
        Assert.Equal(2, running.Server.BuffersTaken);
        Assert.True(running.Server.Counters().Reads < 200);

        // Its connection does not keep the server from ending either.
        await running.Stop();
        Assert.Equal(0, running.Server.BuffersTaken);
    }

    [Fact]
    public async Task An_end_answers_what_was_received_and_waits_for_devices_no_longer_than_told()
    {
        var device = new MemoryDevice(4096) { Waits = call => call == "write" };
        await using Running running = await Run(device);
        using Socket client = Connect();
        client.Send(TransmissionTests.Opened(false, s => s.Write(0, [1])).ToArray());
        await Patience.UntilAsync(() => device.Waiting == 1, () => "no write came");
        Task stop = running.Stop();
        Assert.False(stop.IsCompleted);
        device.Release();
        await stop.WaitAsync(Patience.Time);
        NbdAnswers answers = new(ReadAll(client));
        TransmissionTests.Handshaken(answers, structured: false);
        Assert.Equal(NbdError.None, answers.Reply().Error);
    }

    [Fact]
    public async Task A_device_that_never_answers_is_cancelled_when_the_server_ends()
    {
        var device = new MemoryDevice(4096) { Waits = call => call == "write" };
        await using Running running = await Run(device, o => o with { DrainTimeout = TimeSpan.FromMilliseconds(50) });
        using Socket client = Connect();
        client.Send(TransmissionTests.Opened(false, s => s.Write(0, [1])).ToArray());
        await Patience.UntilAsync(() => device.Waiting == 1, () => "no write came");
        await running.Stop().WaitAsync(Patience.Time);
        Assert.Empty(running.Server.Connections);
    }

    [Fact]
    public async Task An_export_that_is_taken_away_takes_its_connections_with_it()
    {
        await using Running running = await Run(new MemoryDevice(4096));
        running.Server.Add(new NbdExport("other", new MemoryDevice(4096)));
        using Socket stays = Connect(), goes = Connect();
        stays.Send(new NbdScript().Flags().Go("other").Request(NbdCommand.Flush, 0, 0).ToArray());
        goes.Send(new NbdScript().Flags().Go("vol").Request(NbdCommand.Flush, 0, 0).ToArray());
        await Patience.UntilAsync(() => running.Server.Counters().Flushes == 2, () => $"{running.Server.Counters().Flushes} flushes");
        Assert.True(running.Server.Remove("vol"));
        Assert.False(running.Server.Remove("vol"));
        ReadAll(goes);
        await Patience.UntilAsync(() => running.Server.Connections.Count == 1, () => $"{running.Server.Connections.Count} connections");
        Assert.Equal("other", running.Server.Connections[0].Export);
    }

    [Fact]
    public async Task Who_is_there_is_known_by_the_kernel_and_decides_what_is_seen()
    {
        NbdClient? seen = null;
        await using Running running = await Run(new MemoryDevice(4096));
        running.Server.Add(new NbdExport("secret", new MemoryDevice(4096)) { Admits = client => { seen = client; return false; } });
        using Socket client = Connect();
        NbdAnswers answers = new(Exchange(client, new NbdScript().Flags().Option((uint)NbdOption.List).Go("secret")
            .Option((uint)NbdOption.Abort).ToArray()));
        answers.Greeting();
        Assert.Equal(2, answers.OptionReplies((uint)NbdOption.List).Count);
        Assert.Equal(NbdOptionReply.Unknown, answers.OptionReply().Type);
        Assert.Equal((Environment.ProcessId, 0u), (seen!.Process, seen.User));
    }

    [Fact]
    public async Task Writers_on_many_connections_read_back_what_each_wrote()
    {
        await using Running running = await Run(new MemoryDevice(16 << 20));
        await Task.WhenAll(Enumerable.Range(0, 16).Select(n => Task.Run(() =>
        {
            using Socket client = Connect();
            byte[] data = TestBytes.Bytes(1 << 20, n);
            var script = new NbdScript().Flags().Go("vol");
            for (int at = 0; at < 1 << 20; at += 65536) script.Write((ulong)((n << 20) + at), data.AsSpan(at, 65536));
            NbdAnswers answers = new(Exchange(client, script.Request(NbdCommand.Flush, 0, 0)
                .Request(NbdCommand.Read, (ulong)n << 20, 1 << 20).Disconnect().ToArray()));
            TransmissionTests.Handshaken(answers, structured: false);
            for (int i = 0; i < 17; i++) Assert.Equal(NbdError.None, answers.Reply().Error);
            Assert.Equal(data, answers.Reply(1 << 20).Data);
        })));
    }

    [Fact]
    public async Task By_TLS_the_certificate_decides_what_is_seen()
    {
        using var authority = new TestAuthority("nbd");
        using var stranger = new TestAuthority("stranger");
        (string certificate, string key) = authority.Write(_folder, "server", forServer: true);
        var tls = new TlsFiles(new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), 1, certificate, key, authority.WriteAuthority(_folder)));
        await using Running running = await Run(new MemoryDevice(4096), o => o with
        {
            Listen = [new NbdTcpListen(new IPEndPoint(IPAddress.Loopback, 0))],
            Tls = tls,
        });
        running.Server.Add(new NbdExport("b", new MemoryDevice(8192)) { Admits = client => client.Certificate == "guest-b" });

        using X509Certificate2 good = authority.Issue("CN=guest-b"), other = authority.Issue("CN=guest-a"),
            bad = stranger.Issue("CN=guest-b");
        Assert.Equal(["b", "vol"], Listed(running, good));
        Assert.Equal(["vol"], Listed(running, other));
        Assert.Null(Listed(running, bad));
        Assert.Null(Listed(running, null));

        // nbd-server 7a64238: a TLS client that goes away in the middle ends its connection.
        using (var half = new TcpClient())
        {
            half.Connect((IPEndPoint)running.Server.EndPoints[0]);
            half.Client.Send(new NbdScript().Flags().Option((uint)NbdOption.StartTls).ToArray());
            Take(half.GetStream(), 18 + 20);
            half.Client.Send([0x16, 3, 1, 2, 0, 1]);
        }

        await Patience.UntilAsync(() => running.Server.Accepted == 5 && running.Server.Connections.Count == 0,
            () => $"{running.Server.Connections.Count} connections");
        Assert.Equal(0, running.Server.BuffersTaken);
        Assert.Equal(3, running.Server.Counters().ProtocolErrors);
    }

    [Fact]
    public async Task Over_TLS_requests_that_wait_are_answered_while_more_are_awaited()
    {
        using var authority = new TestAuthority("nbd");
        (string certificate, string key) = authority.Write(_folder, "server", forServer: true);
        var tls = new TlsFiles(new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), 1, certificate, key, authority.WriteAuthority(_folder)));
        await using Running running = await Run(new LateDevice(1 << 20), o => o with { RequireTlsOnUnix = true, Tls = tls });
        using Socket socket = Connect();
        using X509Certificate2 own = authority.Issue("CN=guest");
        using SslStream? stream = ByTls(new NetworkStream(socket), own);
        Assert.NotNull(stream);
        byte[] data = TestBytes.Bytes(50_000, 3);
        stream.Write(new NbdScript().Go("vol").Write(0, data).ToArray());
        Assert.Equal(NbdOptionReply.Info, new NbdAnswers(Take(stream, 32)).OptionReply().Type);
        Assert.Equal(NbdOptionReply.Ack, new NbdAnswers(Take(stream, 20)).OptionReply().Type);
        Assert.Equal(NbdError.None, new NbdAnswers(Take(stream, 16)).Reply().Error);
        stream.Write(new NbdScript().Request(NbdCommand.Read, 0, 50_000).ToArray());
        Assert.Equal(data, new NbdAnswers(Take(stream, 16 + 50_000)).Reply(50_000).Data);
    }

    private static List<string>? Listed(Running running, X509Certificate2? own)
    {
        using var client = new TcpClient();
        client.Connect((IPEndPoint)running.Server.EndPoints[0]);
        using SslStream? stream = ByTls(client.GetStream(), own);
        if (stream is null) return null;
        try
        {
            stream.Write(new NbdScript().Option((uint)NbdOption.List).Option((uint)NbdOption.Abort).ToArray());
            var all = new MemoryStream();
            stream.CopyTo(all);
            if (all.Length == 0) return null;
            var replies = new NbdAnswers(all.ToArray()).OptionReplies((uint)NbdOption.List);
            return [.. replies.SkipLast(1).Select(r => NbdAnswers.Server(r.Data).Name)];
        }
        catch (IOException)
        {
            return null;
        }
    }

    private static SslStream? ByTls(NetworkStream network, X509Certificate2? own)
    {
        network.Write(new NbdScript().Flags().Option((uint)NbdOption.StartTls).ToArray());
        NbdAnswers answers = new(Take(network, 18 + 20));
        answers.Greeting();
        Assert.Equal(NbdOptionReply.Ack, answers.OptionReply().Type);
        var stream = new SslStream(network, false);
        try
        {
            stream.AuthenticateAsClient(new SslClientAuthenticationOptions
            {
                TargetHost = "127.0.0.1",
                ClientCertificates = own is null ? null : [own],
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject == "CN=server",
            });
            return stream;
        }
        catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
        {
            stream.Dispose();
            return null;
        }
    }

    private static byte[] Take(Stream stream, int count)
    {
        byte[] bytes = new byte[count];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private NbdServerOptions Options() => new()
    {
        Listen = [new NbdUnixListen(SocketPath)],
        Report = sentence =>
        {
            lock (_reports) _reports.Add(sentence);
        },
    };

    private Task<Running> Run(IBlockDevice device, Func<NbdServerOptions, NbdServerOptions>? with = null)
    {
        var server = new NbdServer(with?.Invoke(Options()) ?? Options(), new NbdExport("vol", device));
        server.Bind();
        return Task.FromResult(new Running(server));
    }

    private Socket Connect()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.ReceiveTimeout = Patience.Seconds * 1000;
        socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
        return socket;
    }

    // Sends all, and takes what comes until the server closes.
    private static byte[] Exchange(Socket socket, byte[] bytes)
    {
        Task sending = Task.Run(() =>
        {
            socket.Send(bytes);
            socket.Shutdown(SocketShutdown.Send);
        });
        byte[] all = ReadAll(socket);
        sending.Wait();
        return all;
    }

    private static byte[] ReadAll(Socket socket)
    {
        var all = new MemoryStream();
        byte[] buffer = new byte[65536];
        while (true)
        {
            int got;
            try
            {
                got = socket.Receive(buffer);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
            {
                return all.ToArray();
            }

            if (got == 0) return all.ToArray();
            all.Write(buffer, 0, got);
        }
    }

    private sealed class Running : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _run;

        public Running(NbdServer server) => (Server, _run) = (server, server.RunAsync(_stop.Token));

        public NbdServer Server { get; }

        public Task Stop()
        {
            _stop.Cancel();
            return _run;
        }

        public async ValueTask DisposeAsync()
        {
            await Stop();
            Server.Dispose();
            _stop.Dispose();
        }
    }
}
