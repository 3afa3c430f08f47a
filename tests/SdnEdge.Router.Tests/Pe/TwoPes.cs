using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// Two whole PEs in this process, their ports wires in memory, their APIs on unix sockets:
/// <code>
///   client --site-- pe-a --core-- pe-b
///                    |dc           |dc
///                    +-- server ---+      (at one of them at a time)
/// </code>
/// Without kernel there is no BGP: pe-a has a static route to the half of the subnet that the server is in, by way of pe-b, under its own
/// host route.
/// </summary>
internal sealed class TwoPes : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-pe-").FullName;
    private Func<Task<PeRouter>> _startA = null!, _startB = null!;

    private TwoPes()
    {
    }

    public PeRouter A { get; private set; } = null!;

    public PeRouter B { get; private set; } = null!;

    public HttpClient ApiA { get; private set; } = null!;

    public HttpClient ApiB { get; private set; } = null!;

    public LinkedPort Client { get; private set; } = null!;

    public LinkedPort ServerAtA { get; private set; } = null!;

    public LinkedPort ServerAtB { get; private set; } = null!;

    /// <summary>pe-b's end of the core; what comes out of it, pe-a has sent.</summary>
    public LinkedPort CoreB { get; private set; } = null!;

    /// <summary>pe-a's end of the core; what comes out of it, pe-b has sent.</summary>
    public LinkedPort CoreA { get; private set; } = null!;

    public string StateA => Path.Combine(_folder, "a.state");

    public string StateB => Path.Combine(_folder, "b.state");

    public string SocketA => Path.Combine(_folder, "a.sock");

    public string SocketB => Path.Combine(_folder, "b.sock");

    public string ConfigFileA => Path.Combine(_folder, "a.yaml");

    public string ConfigFileB => Path.Combine(_folder, "b.yaml");

    /// <summary>pe-a's configuration, changed by <paramref name="edit"/>.</summary>
    public static async Task<TwoPes> StartAsync(int coreMtu = 1600, Func<string, string>? edit = null)
    {
        var two = new TwoPes();
        (LinkedPort coreA, LinkedPort coreB) = LinkedPort.Pair("core", "core");
        (LinkedPort dcA, two.ServerAtA) = LinkedPort.Pair("dc", "server");
        (LinkedPort dcB, two.ServerAtB) = LinkedPort.Pair("dc", "server");
        (LinkedPort site, two.Client) = LinkedPort.Pair("site", "client");
        string a = $$"""
            name: pe-a
            routerId: 10.255.0.1
            as: 65000
            loopbacks: [10.255.0.1, "fd00:ff::1"]
            ports:
              - { name: core, device: c, mtu: {{coreMtu}}, addresses: [172.16.0.1/24, "fd00:16::1/64"], mac: "02:00:00:00:a0:01" }
              - { name: dc, device: d, addresses: [10.1.1.1/24], mac: "00:00:5e:00:01:01" }
              - { name: site, device: s, addresses: [10.2.3.1/24], mac: "02:00:00:00:a0:03" }
            vrfs:
              - { name: default }
              - { name: red }
            static:
              - { prefix: 10.255.0.2/32, via: 172.16.0.2 }
              - { prefix: 10.1.1.0/25, via: 172.16.0.2 }
              - { prefix: 10.1.1.10/32, port: dc }
            api: { unix: {{two.SocketA}} }
            state: { folder: {{two.StateA}} }
            """;
        if (edit is not null) a = edit(a);
        string b = $$"""
            name: pe-b
            routerId: 10.255.0.2
            as: 65000
            loopbacks: [10.255.0.2, "fd00:ff::2"]
            ports:
              - { name: core, device: c, mtu: {{coreMtu}}, addresses: [172.16.0.2/24, "fd00:16::2/64"], mac: "02:00:00:00:b0:01" }
              - { name: dc, device: d, addresses: [10.1.1.1/24], mac: "00:00:5e:00:01:01" }
            static:
              - { prefix: 10.255.0.1/32, via: 172.16.0.1 }
              - { prefix: 10.2.3.0/24, via: 172.16.0.1 }
              - { prefix: 10.1.1.10/32, via: 172.16.0.1 }
            api: { unix: {{two.SocketB}} }
            state: { folder: {{two.StateB}} }
            """;
        File.WriteAllText(two.ConfigFileA, a);
        File.WriteAllText(two.ConfigFileB, b);
        (two.CoreA, two.CoreB) = (coreA, coreB);
        two._startA = () => PeRouter.StartAsync(Config(File.ReadAllText(two.ConfigFileA)), new PeRouterOptions
        {
            OpenPort = p => p.Name switch { "core" => coreA, "dc" => dcA, "site" => site, _ => LinkedPort.Pair(p.Name, "nobody").One },
            ReadConfig = () => NodeConfigLoader.Load(File.ReadAllText(two.ConfigFileA), "a.yaml"),
        });
        two._startB = () => PeRouter.StartAsync(Config(File.ReadAllText(two.ConfigFileB)), new PeRouterOptions
        {
            OpenPort = p => p.Name == "core" ? coreB : dcB,
            ReadConfig = () => NodeConfigLoader.Load(File.ReadAllText(two.ConfigFileB), "b.yaml"),
        });
        two.A = await two._startA();
        two.B = await two._startB();
        two.ApiA = ClientFor(two.SocketA);
        two.ApiB = ClientFor(two.SocketB);
        return two;
    }

    /// <summary>pe-a ends.</summary>
    public async Task StopAAsync()
    {
        await A.DisposeAsync();
        A = null!;
    }

    /// <summary>pe-b ends.</summary>
    public async Task StopBAsync()
    {
        await B.DisposeAsync();
        B = null!;
    }

    /// <summary>pe-a ends and starts again with the files it has; <paramref name="between"/> happens while it is not there.</summary>
    public async Task RestartAAsync(Action? between = null)
    {
        await A.DisposeAsync();
        between?.Invoke();
        A = await _startA();
        ApiA.Dispose();
        ApiA = ClientFor(SocketA);
    }

    /// <summary>pe-b ends and starts again with the files it has.</summary>
    public async Task RestartBAsync()
    {
        await B.DisposeAsync();
        B = await _startB();
        ApiB.Dispose();
        ApiB = ClientFor(SocketB);
    }

    public static NodeConfig Config(string yaml)
    {
        ConfigResult result = NodeConfigLoader.Load(yaml, "test.yaml");
        Assert.Equal([], result.Errors.Select(e => e.ToString()));
        return result.Config!;
    }

    public static HttpClient ClientFor(string path) => new(new SocketsHttpHandler
    {
        ConnectCallback = async (_, cancel) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
            return new NetworkStream(socket, ownsSocket: true);
        },
    }) { BaseAddress = new Uri("http://pe/"), Timeout = Patience.Time };

    /// <summary>A prepare of either end for the server's address. What is held stays as long as a test waits.</summary>
    public static SignalRequest Prepare(MigrationRole role, long epoch = 1, HoldOptions? hold = null, string prefix = "10.1.1.10/32",
        uint key = 77) => new(
        epoch, role, "default", [new MovingPrefix(prefix, "dc")], role == MigrationRole.Source ? "10.255.0.2" : "10.255.0.1", key,
        hold ?? (role == MigrationRole.Target ? new HoldOptions(MaxMilliseconds: Patience.Seconds * 1000) : null));

    public static Task<SignalReply> SignalAsync(HttpClient api, SignalKind kind, SignalRequest? request = null, string id = "m1")
        => ReadAsync<SignalReply>(PostAsync(api, kind, request, id));

    public static Task<HttpResponseMessage> PostAsync(HttpClient api, SignalKind kind, SignalRequest? request = null, string id = "m1")
        => api.PostAsJsonAsync($"v1/migrations/{id}/{kind.ToString().ToLowerInvariant()}",
            request ?? new SignalRequest(1), ApiJson.Options);

    // A client of its own making: it knows our types by reflection, and lists as arrays.
    private static readonly JsonSerializerOptions ClientJson = new(ApiJson.Options)
    {
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    public static async Task<T> ReadAsync<T>(Task<HttpResponseMessage> sent)
    {
        using HttpResponseMessage response = await sent;
        string body = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode}: {body}");
        return JsonSerializer.Deserialize<T>(body, ClientJson)!;
    }

    public static Task<T> GetAsync<T>(HttpClient api, string path) => ReadAsync<T>(api.GetAsync(path));

    /// <summary>A refusal: status, content type and body are an RFC 9457 problem.</summary>
    public static async Task<Problem> ProblemAsync(Task<HttpResponseMessage> sent, int status)
    {
        using HttpResponseMessage response = await sent;
        string body = await response.Content.ReadAsStringAsync();
        Assert.True(status == (int)response.StatusCode, $"{(int)response.StatusCode}: {body}");
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Problem problem = JsonSerializer.Deserialize<Problem>(body, ApiJson.Options)!;
        Assert.Equal(status, problem.Status);
        Assert.StartsWith("/problems/", problem.Type, StringComparison.Ordinal);
        Assert.NotEmpty(problem.Detail);
        return problem;
    }

    /// <summary>Waits until the condition holds.</summary>
    public static Task UntilAsync(string what, Func<Task<bool>> condition) => Patience.UntilAsync(condition, () => what);

    public async ValueTask DisposeAsync()
    {
        ApiA?.Dispose();
        ApiB?.Dispose();
        if (A is not null) await A.DisposeAsync();
        if (B is not null) await B.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
