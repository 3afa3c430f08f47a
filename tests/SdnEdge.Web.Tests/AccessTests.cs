using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Leases;
using SdnEdge.Core.Wire;
using SdnEdge.Host;
using SdnEdge.Host.Config;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Router;
using SdnEdge.Storage;
using SdnEdge.Storage.Config;
using SdnEdge.Testing;
using SdnEdge.Witness;
using SdnEdge.Witness.Config;
using Xunit;

namespace SdnEdge.Web.Tests;

/// <summary>
/// Who may call what: every identity, right and wrong, at every endpoint of every daemon. The endpoints are those of the running daemon's
/// own routing table, so that a new one fails here until it has a line in the table below.
/// </summary>
public sealed class AccessTests : IDisposable
{
    // The least role that may call each endpoint.
    private static readonly Dictionary<string, string> s_endpoints = new()
    {
        ["pe"] = """
            read    GET  /openapi/{documentName}.json
            read    GET  /metrics
            read    GET  /v1/node
            read    GET  /v1/ports
            read    GET  /v1/vrfs
            read    GET  /v1/routes
            read    GET  /v1/fib
            read    GET  /v1/fib/lookup
            read    GET  /v1/neighbors
            read    GET  /v1/tunnels
            read    GET  /v1/bgp/peers
            read    GET  /v1/bgp/damped
            read    GET  /v1/keeper
            read    GET  /v1/bfd
            read    GET  /v1/groups
            read    GET  /v1/drops
            read    GET  /v1/migrations
            read    GET  /v1/migrations/{id}
            read    GET  /v1/events
            migrate POST /v1/migrations/{id}/prepare
            migrate POST /v1/migrations/{id}/switch
            migrate POST /v1/migrations/{id}/release
            migrate POST /v1/migrations/{id}/advertise
            migrate POST /v1/migrations/{id}/withdraw
            migrate POST /v1/migrations/{id}/teardown
            migrate POST /v1/migrations/{id}/abort
            admin   POST /v1/bgp/peers/{address}/refresh
            admin   POST /v1/bgp/peers/{address}/reset
            admin   POST /v1/bgp/peers/{address}/shutdown
            admin   POST /v1/config/reload
            """,
        ["host"] = """
            read    GET  /openapi/{documentName}.json
            read    GET  /metrics
            read    GET  /v1/node
            read    GET  /v1/servers
            read    GET  /v1/servers/{name}
            read    GET  /v1/events
            migrate POST /v1/servers/{name}/prepare
            migrate POST /v1/servers/{name}/stop
            migrate POST /v1/servers/{name}/hand-over
            migrate POST /v1/servers/{name}/activate
            migrate POST /v1/servers/{name}/resume
            migrate POST /v1/servers/{name}/cancel
            migrate POST /v1/servers/{name}/void
            migrate POST /v1/servers/{name}/retire
            migrate POST /v1/servers/{name}/start
            migrate POST /v1/servers/{name}/fence
            migrate PUT  /v1/servers/{name}/lease
            read    GET  /v1/servers/{name}/copy
            read    GET  /v1/bfd
            """,
        ["store"] = """
            read    GET  /openapi/{documentName}.json
            read    GET  /metrics
            read    GET  /v1/node
            read    GET  /v1/volumes
            read    GET  /v1/volumes/{name}
            read    GET  /v1/events
            admin   POST /v1/volumes
            admin   DELETE /v1/volumes/{name}
            admin   POST /v1/volumes/{name}/check
            admin   POST /v1/volumes/{name}/resize
            migrate POST /v1/volumes/{name}/prepare
            migrate POST /v1/volumes/{name}/seal
            migrate POST /v1/volumes/{name}/unpark
            migrate POST /v1/volumes/{name}/release
            migrate POST /v1/volumes/{name}/grant
            migrate POST /v1/volumes/{name}/cancel
            migrate POST /v1/volumes/{name}/void
            migrate POST /v1/volumes/{name}/mode
            migrate POST /v1/volumes/{name}/drain
            read    GET  /v1/volumes/{name}/marks
            migrate POST /v1/volumes/{name}/marks
            admin   DELETE /v1/volumes/{name}/marks/{mark}
            admin   POST /v1/volumes/{name}/marks/{mark}/check
            admin   POST /v1/volumes/{name}/promote
            admin   POST /v1/volumes/{name}/resync
            read    GET  /v1/volumes/{name}/branches
            admin   GET  /v1/volumes/{name}/branches/{number:int}
            admin   DELETE /v1/volumes/{name}/branches/{number:int}
            """,
        ["witness"] = """
            read    GET  /openapi/{documentName}.json
            read    GET  /metrics
            read    GET  /v1/node
            read    GET  /v1/leases
            read    GET  /v1/leases/{group}/{site}
            read    GET  /v1/events
            migrate PUT  /v1/leases/{group}/{site}
            store   POST /v1/leases/{group}/{site}/renew
            migrate POST /v1/leases/{group}/{site}/revoke
            """,
        ["mms"] = """
            read    GET  /openapi/{documentName}.json
            read    GET  /metrics
            read    GET  /v1/node
            read    GET  /v1/groups
            read    GET  /v1/migrations
            read    GET  /v1/migrations/{id}
            read    GET  /v1/events
            read    GET  /v1/volumes
            read    POST /v1/plans
            store   POST /v1/volumes/{id}/stale
            read    GET  /v1/groups/{name}/protection
            migrate POST /v1/groups/{name}/protection
            migrate DELETE /v1/groups/{name}/protection
            migrate POST /v1/groups/{name}/failover
            migrate POST /v1/migrations
            migrate POST /v1/migrations/{id}/abort
            migrate POST /v1/migrations/{id}/commit
            migrate POST /v1/migrations/{id}/rollback
            admin   POST /v1/recover
            """,
    };

    // What api.access says. Root may do everything on the socket.
    private static readonly AccessRule[] s_access =
    [
        new("reader", null, ApiRole.Read), new("store-a", null, ApiRole.Store), new("mover", null, ApiRole.Migrate),
        new("chief", null, ApiRole.Admin),
        new("nobody", null, ApiRole.None), new(null, 65531, ApiRole.Read), new(null, 65532, ApiRole.Migrate),
        new(null, 65533, ApiRole.Admin), new(null, 65530, ApiRole.None),
    ];

    // Users of this machine, and the most that each may do; null: the connection is cut.
    private static readonly (string Name, int User, ApiRole? Role)[] s_users =
    [
        ("root", 0, ApiRole.Admin), ("a named reader", 65531, ApiRole.Read), ("a named mover", 65532, ApiRole.Migrate),
        ("a named chief", 65533, ApiRole.Admin), ("a user named with no role", 65530, null), ("a user that is not named", 65534, null),
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-access-").FullName;
    private readonly TestAuthority _right = new("right"), _wrong = new("wrong");
    private readonly int _port = TestAuthority.FreePort();

    public void Dispose()
    {
        _right.Dispose();
        _wrong.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private string Socket => Path.Combine(_folder, "api.sock");

    [RootTheory]
    [InlineData("pe")]
    [InlineData("host")]
    [InlineData("store")]
    [InlineData("witness")]
    [InlineData("mms")]
    public async Task Every_identity_may_do_at_every_endpoint_what_its_role_says_and_no_more(string daemon)
    {
        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        (IAsyncDisposable running, ApiServer api) = await StartAsync(daemon);
        await using IAsyncDisposable running_ = running;
        (string Method, string Path, ApiRole Least)[] endpoints =
        [
            .. s_endpoints[daemon].Split('\n').Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Select(w => (w[1], w[2], Enum.Parse<ApiRole>(w[0], ignoreCase: true))),
        ];

        // The table and the daemon say the same, each endpoint with its least role.
        Assert.Equal(
            endpoints.Select(e => $"{e.Least} {e.Method} {e.Path}").Order(StringComparer.Ordinal),
            api.Endpoints.Select(e => $"{e.Role} {e.Method} {e.Pattern}").Order(StringComparer.Ordinal));

        // The socket: by what the kernel says of the peer.
        var wrong = new List<string>();
        foreach ((string name, int user, ApiRole? role) in s_users)
        {
            int[] answers = await CurlAsync(user, [.. endpoints.Select(e => (e.Method, e.Path))]);
            for (int i = 0; i < endpoints.Length; i++) Judge(name, role, endpoints[i], answers[i]);
        }

        // TCP: by certificate. One of the right CA that is not named may read; what is no certificate of the right CA gets no connection.
        (string Name, X509Certificate2? Certificate, ApiRole? Role)[] holders =
        [
            ("reader", _right.Issue("CN=reader"), ApiRole.Read), ("store-a", _right.Issue("CN=store-a"), ApiRole.Store),
            ("mover", _right.Issue("CN=mover"), ApiRole.Migrate),
            ("chief", _right.Issue("CN=chief"), ApiRole.Admin), ("nobody", _right.Issue("CN=nobody"), ApiRole.None),
            ("a name without a rule", _right.Issue("CN=somebody"), ApiRole.Read),
            ("a name in other letters", _right.Issue("CN=Chief"), ApiRole.Read),
            ("the name as its organisation", _right.Issue("OU=chief"), ApiRole.Read),
            ("two names", _right.Issue("CN=somebody, CN=chief"), ApiRole.Read),
            ("two names, the other way", _right.Issue("CN=chief, CN=somebody"), ApiRole.Read),
            ("of another CA", _wrong.Issue("CN=chief"), null), ("no certificate", null, null),
            ("expired", _right.Issue("CN=chief", fromHours: -3, toHours: -1), null),
            ("not valid yet", _right.Issue("CN=chief", fromHours: 1, toHours: 3), null),
            ("a server's", _right.Issue("CN=chief", forServer: true), null),
        ];
        foreach ((string name, X509Certificate2? certificate, ApiRole? role) in holders)
        {
            using X509Certificate2? own = certificate;
            using HttpClient client = Client(own);
            foreach (var endpoint in endpoints)
                Judge(name, role, endpoint, await AnswerAsync(client, endpoint.Method, endpoint.Path));
        }

        // Plain HTTP gets nothing there.
        using (var plain = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{_port}/"), Timeout = Patience.Time })
        {
            foreach (var endpoint in endpoints)
                Judge("plain HTTP", null, endpoint, await AnswerAsync(plain, endpoint.Method, endpoint.Path));
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.Equal(2 * endpoints.Length, api.Checks.RefusedUsers);
        Assert.True(api.Checks.RefusedCertificates >= 4 * endpoints.Length, $"{api.Checks.RefusedCertificates} certificates refused");
        Assert.True(api.Checks.RefusedRoles > endpoints.Length, $"{api.Checks.RefusedRoles} requests refused by role");

        // 0: no answer at all. Let through is what the endpoint itself answers: that there is no such thing, mostly.
        void Judge(string who, ApiRole? role, (string Method, string Path, ApiRole Least) endpoint, int status)
        {
            string expected = role is null ? "cut off" : role >= endpoint.Least ? "let through" : "refused";
            string seen = status switch { 0 => "cut off", 401 or 403 => "refused", < 500 => "let through", _ => "failed" };
            if (seen != expected) wrong.Add($"{who}: {endpoint.Method} {endpoint.Path} was {seen} ({status}), not {expected}");
        }
    }

    private async Task<(IAsyncDisposable Daemon, ApiServer Api)> StartAsync(string daemon)
    {
        (string crt, string key) = _right.Write(_folder, "daemon", forServer: true);
        var tcp = new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), _port, crt, key, _right.WriteAuthority(_folder));
        var api = new ApiConfig(Socket, tcp) { Access = s_access };
        switch (daemon)
        {
            case "pe":
                ConfigResult read = NodeConfigLoader.Load(
                    "name: pe-a\nrouterId: 10.255.0.1\nas: 1\nloopbacks: [10.255.0.1]\n", "pe-a.yaml");
                PeRouter pe = await PeRouter.StartAsync(read.Config! with { Api = api }, new PeRouterOptions());
                return (pe, pe.Api!);
            case "host":
                HostAgent host = await HostAgent.StartAsync(new HostAgentConfig("host-a", "dc-a", api, Path.Combine(_folder, "state"), []));
                return (host, host.Api!);
            case "store":
                var exports = new ExportConfig(Path.Combine(_folder, "nbd.sock"), null);
                StoreAgent store = await StoreAgent.StartAsync(
                    new StoreConfig("store-a", "dc-a", api, Path.Combine(_folder, "state"), exports, null, []));
                return (store, store.Api!);
            case "witness":
                WitnessAgent witness = await WitnessAgent.StartAsync(
                    new WitnessConfig("witness", api, Path.Combine(_folder, "state"), new LeaseRules()));
                return (witness, witness.Api!);
            default:
                MmsDaemon mms = await MmsDaemon.StartAsync(
                    new MmsConfig { Name = "mms", Journal = Path.Combine(_folder, "journal.db"), Api = api });
                return (mms, mms.Api!);
        }
    }

    private static string Concrete(string pattern) => pattern
        .Replace("{documentName}", "v1", StringComparison.Ordinal).Replace("{id}", "x", StringComparison.Ordinal)
        .Replace("{name}", "x", StringComparison.Ordinal).Replace("{number:int}", "1", StringComparison.Ordinal)
        .Replace("{address}", "x", StringComparison.Ordinal).Replace("{group}", "x", StringComparison.Ordinal)
        .Replace("{site}", "x", StringComparison.Ordinal);

    // All requests by one process. An event stream has no end, but ends with 400 where its place is no number.
    private async Task<int[]> CurlAsync(int user, IReadOnlyList<(string Method, string Path)> requests)
    {
        var start = new ProcessStartInfo("setpriv")
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        foreach (string word in (string[])[$"--reuid={user}", "--clear-groups", "curl", "-K", "-"]) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        var text = new StringBuilder();
        foreach ((string method, string path) in requests)
        {
            if (text.Length > 0) text.Append("next\n");
            text.Append($"url = \"http://daemon{Concrete(path)}\"\nunix-socket = \"{Socket}\"\nsilent\noutput = \"/dev/null\"\n");
            text.Append($"max-time = {Patience.Seconds}\nwrite-out = \"%{{http_code}}\\n\"\nheader = \"Last-Event-ID: none\"\n");
            if (method == "DELETE") text.Append("request = DELETE\n");
            if (method == "PUT") text.Append("request = PUT\n");
            if (method is "POST" or "PUT") text.Append("header = \"Content-Type: application/json\"\ndata = \"{}\"\n");
        }

        await process.StandardInput.WriteAsync(text.ToString());
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        int[] answers = [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
        Assert.True(answers.Length == requests.Count, $"curl answered {answers.Length} of {requests.Count}: {await errors}");
        return answers;
    }

    private HttpClient Client(X509Certificate2? certificate)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck,
            CustomTrustStore = { _right.Certificate },
        };
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, null, offline: true);
        }

        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{_port}/"), Timeout = Patience.Time };
    }

    private static async Task<int> AnswerAsync(HttpClient client, string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), Concrete(path)[1..]);
        request.Headers.TryAddWithoutValidation("Last-Event-ID", "none");
        if (method is "POST" or "PUT") request.Content = new StringContent("{}", new MediaTypeHeaderValue("application/json"));
        try
        {
            using HttpResponseMessage response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            return (int)response.StatusCode;
        }
        catch (HttpRequestException)
        {
            return 0;
        }
    }
}
