using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Etcd;

/// <summary>An etcd of one member on this machine, gone when the tests are.</summary>
public sealed class EtcdServer : IAsyncLifetime
{
    private static readonly HttpClient s_http = new();

    // Its standard input ends when the tests do, however they end: then it does, too.
    private const string EndsWithItsStarter = "exec 3<&0; \"$@\" & etcd=$!; (cat <&3 >/dev/null; kill -9 $etcd 2>/dev/null) & wait $etcd";

    private readonly string _folder = Directory.CreateTempSubdirectory("etcd-").FullName;
    private readonly string[] _options;
    private readonly string? _disk;
    private string[] _command = [];
    private Process? _process;

    public EtcdServer() : this([])
    {
    }

    internal EtcdServer(params string[] options) => _options = options;

    /// <summary>With its data in a folder that is there already, and stays.</summary>
    internal EtcdServer(DirectoryInfo disk) : this([]) => _disk = disk.FullName;

    /// <summary>Where its clients find it.</summary>
    internal string Address { get; private set; } = "";

    /// <summary>Port of <see cref="Address"/>.</summary>
    internal int Port { get; private set; }

    public async Task InitializeAsync()
    {
        // The two ports are free a moment before: another process may take one, and then others are tried.
        for (int tries = 0; ; tries++)
        {
            (Port, int peers) = (FreePort(), FreePort());
            Address = $"http://127.0.0.1:{Port}/";
            string peer = $"http://127.0.0.1:{peers}";
            _command =
            [
                "-c", EndsWithItsStarter, "sh", "etcd", "--name", "m", "--data-dir", Path.Combine(_disk ?? _folder, $"data{tries}"),
                "--listen-client-urls", Address.TrimEnd('/'),
                "--advertise-client-urls", Address.TrimEnd('/'), "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", $"m={peer}", "--heartbeat-interval", "100", "--election-timeout", "500", "--logger", "zap",
                "--log-outputs", Path.Combine(_folder, "log"), .. _options,
            ];
            _process = Start();
            if (await Patience.BecomesAsync(async () => _process.HasExited || await IsHealthyAsync()) && !_process.HasExited) return;
            bool ended = _process.HasExited;
            _process.StandardInput.Close();
            string said = ended ? await _process.StandardError.ReadToEndAsync() : "it does not answer";
            await StopAsync();
            Assert.True(tries < 5, $"etcd does not start: {said}");
        }
    }

    public async Task DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Waits until it has ended by itself.</summary>
    internal Task EndedAsync() => _process!.WaitForExitAsync().WaitAsync(Patience.Time);

    /// <summary>Starts it again, with what it has on disk; it has ended by itself, or is ended.</summary>
    internal async Task RestartAsync()
    {
        await StopAsync();
        _process = Start();
        await Patience.UntilAsync(async () => _process.HasExited || await IsHealthyAsync(), () => "etcd does not answer again");
        Assert.False(_process.HasExited, "etcd does not start again");
    }

    /// <summary>A client of members; without any: of this one.</summary>
    internal EtcdClient Client(int leaseSeconds = 60, params string[] members)
        => new(new EtcdConfig(members.Length > 0 ? members : [Address], LeaseSeconds: leaseSeconds), null);

    /// <summary>Asks the gateway, past what is tested.</summary>
    internal async Task<JsonNode> AskAsync(string path, JsonNode body)
    {
        using HttpResponseMessage response = await s_http.PostAsync(new Uri(Address + "v3/" + path), JsonContent.Create(body));
        return (await response.Content.ReadFromJsonAsync<JsonNode>())!;
    }

    /// <summary>Writes a key.</summary>
    internal Task PutAsync(string key, byte[] value)
        => AskAsync("kv/put", new JsonObject { ["key"] = Base64(key), ["value"] = Convert.ToBase64String(value) });

    /// <summary>Reads a key; null: there is none.</summary>
    internal async Task<byte[]?> GetAsync(string key)
    {
        JsonNode reply = await AskAsync("kv/range", new JsonObject { ["key"] = Base64(key) });
        return (string?)reply["kvs"]?[0]?["value"] is { } value ? Convert.FromBase64String(value) : null;
    }

    /// <summary>Deletes a key.</summary>
    internal Task DeleteAsync(string key) => AskAsync("kv/deleterange", new JsonObject { ["key"] = Base64(key) });

    private Process Start() => Process.Start(new ProcessStartInfo("sh", _command)
    {
        RedirectStandardInput = true, RedirectStandardError = true, UseShellExecute = false,
    })!;

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    private async Task<bool> IsHealthyAsync()
    {
        // What is asked while it starts may never be answered.
        using var soon = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        try
        {
            return (await s_http.GetStringAsync(new Uri(Address + "health"), soon.Token)).Contains("true", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            return false;
        }
    }

    private async Task StopAsync()
    {
        if (_process is null) return;
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
