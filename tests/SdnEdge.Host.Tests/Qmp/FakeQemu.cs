using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace SdnEdge.Host.Tests.Qmp;

/// <summary>
/// Stands in QEMU's place at one monitor socket, and does what a test says: by default it greets, negotiates and answers <c>{}</c>. It
/// serves one client at a time, as QEMU does.
/// </summary>
internal sealed class FakeQemu : IAsyncDisposable
{
    public const string Greeting =
        """{"QMP":{"version":{"qemu":{"micro":2,"minor":0,"major":10},"package":"Debian 1:10.0.2"},"capabilities":["oob"]}}""";

    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Func<FakeCommand, Task> _script;
    private readonly CancellationTokenSource _stop = new();
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-qmp-").FullName;
    private readonly string _greeting;
    private readonly Task _work;
    private Socket? _client;

    public FakeQemu(Func<FakeCommand, Task>? script = null, string greeting = Greeting)
    {
        (_script, _greeting) = (script ?? (c => c.ReturnAsync()), greeting);
        _listener.Bind(new UnixDomainSocketEndPoint(Path));
        _listener.Listen(1);
        _work = Task.Run(ServeAsync);
    }

    public string Path => System.IO.Path.Combine(_folder, "qmp");

    /// <summary>Lines that came, in order.</summary>
    public List<string> Received { get; } = [];

    /// <summary>Sends bytes as they are.</summary>
    public async Task SendAsync(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int sent = 0; sent < bytes.Length;) sent += await _client!.SendAsync(bytes.AsMemory(sent), _stop.Token);
    }

    public Task EventAsync(string name, string data = "{}")
        => SendAsync($$$"""{"event":"{{{name}}}","data":{{{data}}},"timestamp":{"seconds":1700000000,"microseconds":5}}""" + "\r\n");

    /// <summary>Ends the connection, as a QEMU does that is killed.</summary>
    public void Hangup() => _client!.Dispose();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        _client?.Dispose();
        await _work.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task ServeAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            _client = await _listener.AcceptAsync(_stop.Token);
            try
            {
                if (_greeting.Length > 0) await SendAsync(_greeting + "\r\n");
                using var reader = new StreamReader(new NetworkStream(_client));
                while (await reader.ReadLineAsync(_stop.Token) is { } line)
                {
                    lock (Received) Received.Add(line);
                    var command = new FakeCommand(this, JsonDocument.Parse(line).RootElement);
                    await (command.Name == "qmp_capabilities" ? command.ReturnAsync() : _script(command));
                }
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
            {
                // The client has gone, or the test has hung up: the next one is served.
            }
        }
    }
}

/// <summary>A command that the fake was sent.</summary>
internal sealed record FakeCommand(FakeQemu Qemu, JsonElement Message)
{
    public string Name => (Message.TryGetProperty("execute", out JsonElement name) ? name : Message.GetProperty("exec-oob")).GetString()!;

    public bool OutOfBand => Message.TryGetProperty("exec-oob", out _);

    public JsonElement Arguments => Message.GetProperty("arguments");

    public long Id => Message.GetProperty("id").GetInt64();

    public Task ReturnAsync(string json = "{}") => Qemu.SendAsync($$$"""{"return":{{{json}}},"id":{{{Id}}}}""" + "\r\n");

    public Task RefuseAsync(string errorClass, string text)
        => Qemu.SendAsync($$$"""{"error":{"class":"{{{errorClass}}}","desc":"{{{text}}}"},"id":{{{Id}}}}""" + "\r\n");
}
