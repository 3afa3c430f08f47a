using SdnEdge.Web;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Router.Api;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>The API itself: who may connect, problems, OpenAPI, metrics, events, reload.</summary>
public sealed class HttpApiTests
{
    [Fact]
    public async Task The_socket_is_for_its_owner_only()
    {
        await using TwoPes two = await StartAsync();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(two.SocketA));
    }

    [Fact]
    public void Root_and_the_own_user_may_connect_and_nobody_else()
    {
        var checks = new ConnectionChecks([new AccessRule(null, SdnEdge.Linux.PeerCredentials.OwnUser + 4243, ApiRole.Read)]);
        Assert.Equal(ApiRole.Admin, checks.RoleOf(0));
        Assert.Equal(ApiRole.Admin, checks.RoleOf(SdnEdge.Linux.PeerCredentials.OwnUser));
        Assert.Equal(ApiRole.None, checks.RoleOf(SdnEdge.Linux.PeerCredentials.OwnUser + 4242));
        Assert.Equal(ApiRole.Read, checks.RoleOf(SdnEdge.Linux.PeerCredentials.OwnUser + 4243));
    }

    [Fact]
    public async Task A_second_pe_does_not_take_a_socket_that_is_served_and_takes_one_that_is_left_over()
    {
        await using TwoPes two = await StartAsync();
        NodeConfig config = Config($"name: x\nrouterId: 10.255.0.9\nas: 1\nloopbacks: [10.255.0.9]\napi: {{ unix: {two.SocketA} }}\n");
        IOException refused = await Assert.ThrowsAsync<IOException>(() => PeRouter.StartAsync(config, new PeRouterOptions()));
        Assert.Contains("runs now", refused.Message, StringComparison.Ordinal);
        Assert.True((await GetAsync<NodeInfo>(two.ApiA, "v1/node")).Ready);

        string left = two.SocketA + ".left";
        using (var crashed = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream,
            0)) crashed.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(left));
        await using PeRouter pe = await PeRouter.StartAsync(config with { Api = new ApiConfig(left) }, new PeRouterOptions());
        using HttpClient client = ClientFor(left);
        Assert.Equal("x", (await GetAsync<NodeInfo>(client, "v1/node")).Name);
    }

    [Fact]
    public async Task Whatever_goes_wrong_is_a_problem_that_says_what_would_be_right()
    {
        await using TwoPes two = await StartAsync();
        Assert.Contains("openapi", (await ProblemAsync(two.ApiA.GetAsync("v1/prots"), 404)).Detail, StringComparison.Ordinal);
        Assert.Contains("GET", (await ProblemAsync(two.ApiA.PostAsync("v1/ports", null), 405)).Detail, StringComparison.Ordinal);
        Assert.Contains("application/json",
            (await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", new StringContent("epoch=1", Encoding.UTF8, "text/plain")),
                415)).Detail, StringComparison.Ordinal);
        Problem syntax = await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", Json("{\"epoch\": 1,, }")), 400);
        Assert.Contains("line 1", syntax.Detail, StringComparison.Ordinal);
        Problem unknown = await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", Json("{\"epoch\": 1, \"tunelKey\": 7}")), 400);
        Assert.Contains("did you mean 'tunnelKey'", Assert.Single(unknown.Errors!).Detail, StringComparison.Ordinal);
        Problem type = await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", Json("{\"epoch\": \"one\"}")), 400);
        Assert.Equal("/epoch", Assert.Single(type.Errors!).Pointer);
        await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", Json("")), 400);
        await ProblemAsync(two.ApiA.PostAsync("v1/migrations/m/switch", Json("null")), 400);
        Assert.Equal("prefix", Assert.Single((await ProblemAsync(two.ApiA.GetAsync("v1/routes?prefix=10.0.0.1/8"), 400)).Errors!).Pointer);
        Assert.Contains("default", (await ProblemAsync(two.ApiA.GetAsync("v1/routes?vrf=blue"), 404)).Detail, StringComparison.Ordinal);
        await ProblemAsync(two.ApiA.GetAsync("v1/fib/lookup?address=ten"), 400);
        await ProblemAsync(two.ApiA.GetAsync("v1/fib/lookup"), 400);
        await ProblemAsync(two.ApiA.GetAsync("v1/routes?limit=x"), 400);
        await ProblemAsync(two.ApiA.GetAsync("v1/migrations/none"), 404);
        Assert.Contains("10.9.9.9", (await ProblemAsync(two.ApiA.PostAsync("v1/bgp/peers/10.9.9.9/refresh", null), 404)).Detail,
            StringComparison.Ordinal);
        await ProblemAsync(two.ApiA.PostAsync("v1/bgp/peers/10.9.9.9/shutdown", Json("{\"text\": \"x\"}")), 404);
        await ProblemAsync(two.ApiA.PostAsync("v1/migrations/a%20b/switch", Json("{\"epoch\": 1}")), 400);
    }

    [Fact]
    public async Task The_tables_show_what_the_configuration_says()
    {
        await using TwoPes two = await StartAsync();
        PortInfo[] ports = await GetAsync<PortInfo[]>(two.ApiA, "v1/ports");
        Assert.Equal(["core", "dc", "site"], ports.Select(p => p.Name));
        Assert.All(ports, p => Assert.True(p.Up));
        Assert.Equal(["172.16.0.1/24", "fd00:16::1/64"], ports[0].Addresses);
        Assert.Equal(["default", "red"], (await GetAsync<VrfInfo[]>(two.ApiA, "v1/vrfs")).Select(v => v.Name));
        RouteInfo[] inside = await GetAsync<RouteInfo[]>(two.ApiA, "v1/routes?vrf=default&prefix=10.1.1.0/24");
        Assert.Equal(["10.1.1.0/24", "10.1.1.0/25", "10.1.1.1/32", "10.1.1.10/32"],
            inside.Where(r => r.Best).Select(r => r.Prefix).Order(StringComparer.Ordinal));
        FibInfo[] fib = await GetAsync<FibInfo[]>(two.ApiA, "v1/fib?prefix=10.1.1.10/32");
        Assert.Equal(("connected", "dc"), (Assert.Single(fib).Action, fib[0].Port));
        FibInfo far = await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.77");
        Assert.Equal(("10.1.1.0/25", "via", "172.16.0.2", "core"), (far.Prefix, far.Action, far.NextHop, far.Port));
        Assert.Equal(("", "no-route"),
            ((await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=192.0.2.1")).Prefix,
                (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=192.0.2.1")).Action));
        Assert.Single(await GetAsync<RouteInfo[]>(two.ApiA, "v1/routes?limit=1"));
    }

    [Fact]
    public async Task The_openapi_document_names_every_resource_with_its_answers()
    {
        await using TwoPes two = await StartAsync();
        using JsonDocument document = JsonDocument.Parse(await two.ApiA.GetStringAsync("openapi/v1.json"));
        JsonElement root = document.RootElement;
        Assert.StartsWith("3.1.", root.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        JsonElement paths = root.GetProperty("paths");
        string[] expected =
        [
            "/v1/node", "/v1/ports", "/v1/vrfs", "/v1/routes", "/v1/fib", "/v1/fib/lookup", "/v1/neighbors", "/v1/tunnels",
            "/v1/bgp/damped", "/v1/bgp/peers", "/v1/groups", "/v1/keeper",
            "/v1/bfd", "/v1/drops", "/v1/migrations", "/v1/migrations/{id}", "/v1/config/reload", "/v1/events", "/metrics",
            .. Enum.GetNames<BgpPeerAction>().Select(n => $"/v1/bgp/peers/{{address}}/{n.ToLowerInvariant()}"),
            .. Enum.GetNames<SignalKind>().Select(n => $"/v1/migrations/{{id}}/{n.ToLowerInvariant()}"),
        ];
        Assert.Equal(expected.Order(StringComparer.Ordinal), paths.EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal));
        foreach (JsonProperty path in paths.EnumerateObject())
        {
            foreach (JsonProperty operation in path.Value.EnumerateObject())
            {
                Assert.False(string.IsNullOrEmpty(operation.Value.GetProperty("summary").GetString()), path.Name);
                Assert.True(operation.Value.GetProperty("responses").TryGetProperty("200", out JsonElement _), path.Name);
            }
        }

        // Every reference leads somewhere.
        string text = root.GetRawText();
        foreach (Match match in Regex.Matches(text, "#/components/schemas/([A-Za-z0-9]+)"))
            Assert.True(root.GetProperty("components").GetProperty("schemas").TryGetProperty(match.Groups[1].Value, out JsonElement _),
                match.Value);
        Assert.Contains("application/problem\\u002Bjson",
            text.Replace("application/problem+json", "application/problem\\u002Bjson", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_metrics_are_sound_prometheus_text_with_units_in_their_names()
    {
        await using TwoPes two = await StartAsync();
        using HttpResponseMessage response = await two.ApiA.GetAsync("metrics");
        Assert.Equal("text/plain", response.Content.Headers.ContentType!.MediaType);
        string text = await response.Content.ReadAsStringAsync();
        var types = new Dictionary<string, string>();
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            Match type = Regex.Match(line, "^# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge)$");
            if (type.Success)
            {
                Assert.True(types.TryAdd(type.Groups[1].Value, type.Groups[2].Value), $"{type.Groups[1].Value} is there twice");
                Assert.Equal(type.Groups[2].Value == "counter", type.Groups[1].Value.EndsWith("_total", StringComparison.Ordinal));
            }
            else if (!line.StartsWith('#'))
            {
                Match sample = Regex.Match(line,
                    "^([a-z_:][a-z0-9_:]*)(\\{[a-z_]+=\"[^\"]*\"(,[a-z_]+=\"[^\"]*\")*\\})? -?[0-9.]+(E[+-]?[0-9]+)?$");
                Assert.True(sample.Success, line);
                Assert.True(types.ContainsKey(sample.Groups[1].Value), line);
            }
        }

        Assert.Contains("sdnedge_port_receive_packets_total{port=\"core\"} ", text, StringComparison.Ordinal);
        Assert.Contains("sdnedge_packets_unaccounted ", text, StringComparison.Ordinal);

        // A worker in the middle of a batch has counted what came and not yet what became of it.
        await UntilAsync("the books balance",
            async () => (await two.ApiA.GetStringAsync("metrics")).Contains("sdnedge_packets_unaccounted 0\n", StringComparison.Ordinal));
        Assert.True(types.Count > 30, $"{types.Count} metrics");
    }

    [Fact]
    public async Task The_event_stream_resumes_after_the_last_event_a_client_has()
    {
        await using TwoPes two = await StartAsync();
        (long Id, string Kind)[] all = await EventsAsync(two.ApiA, 0, 4);
        Assert.Equal([1, 2, 3, 4], all.Select(e => e.Id));
        Assert.Equal("port", all[0].Kind);
        (long Id, string Kind)[] rest = await EventsAsync(two.ApiA, 2, 2);
        Assert.Equal([3, 4], rest.Select(e => e.Id));
    }

    [Fact]
    public async Task A_reload_applies_the_difference_or_nothing()
    {
        await using TwoPes two = await StartAsync();
        string good = File.ReadAllText(two.ConfigFileA);
        Assert.Empty((await ReadAsync<ReloadReply>(two.ApiA.PostAsync("v1/config/reload", null))).Changes);

        File.WriteAllText(two.ConfigFileA,
            good.Replace("  - { prefix: 10.1.1.10/32, port: dc }",
                "  - { prefix: 10.9.0.0/16, discard: true }\n  - { prefix: 10.1.1.11/32, port: cd }", StringComparison.Ordinal));
        Problem bad = await ProblemAsync(two.ApiA.PostAsync("v1/config/reload", null), 422);
        Assert.Contains("'dc'", Assert.Single(bad.Errors!).Detail, StringComparison.Ordinal);
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.9.0.1")).Action);

        File.WriteAllText(two.ConfigFileA, good.Replace("as: 65000", "as: 65001", StringComparison.Ordinal));
        Assert.Equal("as", Assert.Single((await ProblemAsync(two.ApiA.PostAsync("v1/config/reload", null), 422)).Errors!).Pointer);

        File.WriteAllText(two.ConfigFileA, good
            .Replace("  - { prefix: 10.1.1.10/32, port: dc }", "  - { prefix: 10.9.0.0/16, discard: true }", StringComparison.Ordinal)
            .Replace("addresses: [10.2.3.1/24]", "addresses: [10.2.4.1/24]", StringComparison.Ordinal)
            .Replace("  - { name: red }", "  - { name: blue }", StringComparison.Ordinal));
        ReloadReply reply = await ReadAsync<ReloadReply>(two.ApiA.PostAsync("v1/config/reload", null));
        Assert.Equal(["- static default 10.1.1.10/32", "- vrf red", "+ vrf blue", "~ port site", "+ static default 10.9.0.0/16"],
            reply.Changes);
        Assert.Equal("drop-blackhole", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.9.0.1")).Action);
        Assert.Equal("10.1.1.0/25", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.10")).Prefix);
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.2.3.10")).Action);
        Assert.Equal("connected", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.2.4.10")).Action);
    }

    [Fact]
    public async Task A_port_taken_away_and_given_back_by_reload_forwards_again()
    {
        await using TwoPes two = await StartAsync();
        string good = File.ReadAllText(two.ConfigFileA);
        File.WriteAllText(two.ConfigFileA, Regex.Replace(good, "  - \\{ name: site.*\\n", ""));
        await ReadAsync<ReloadReply>(two.ApiA.PostAsync("v1/config/reload", null));
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.2.3.10")).Action);
        Assert.Equal(["core", "dc"], (await GetAsync<PortInfo[]>(two.ApiA, "v1/ports")).Select(p => p.Name));
        File.WriteAllText(two.ConfigFileA, good);
        await ReadAsync<ReloadReply>(two.ApiA.PostAsync("v1/config/reload", null));
        Assert.Equal(("connected", "site"),
            ((await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.2.3.10")).Action,
                (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.2.3.10")).Port));
        using var server = new TestHost(two.ServerAtA, "10.1.1.10", "02:00:00:00:01:10");
        using var client = new TestHost(two.Client, "10.2.3.10", "02:00:00:00:0c:10");
        await UntilAsync("a packet crosses the new port", () =>
        {
            // More than one: what waits for a neighbour is given up after 3 s.
            client.Send(SdnEdge.Core.Wire.MacAddress.Parse("02:00:00:00:a0:03"), SdnEdge.Core.Wire.IpAddress.Parse("10.1.1.10"), 42);
            return Task.FromResult(server.Received.Contains(42));
        });
    }

    private static async Task<(long Id, string Kind)[]> EventsAsync(HttpClient api, long after, int count)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "v1/events");
        request.Headers.Add("Last-Event-ID", $"{after}");
        using HttpResponseMessage response = await api.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        var list = new List<(long, string)>();
        while (list.Count < count && await reader.ReadLineAsync().WaitAsync(Patience.Time) is { } line)
        {
            if (!line.StartsWith("data:", StringComparison.Ordinal)) continue;
            EventRecord record = JsonSerializer.Deserialize<EventRecord>(line[5..], ApiJson.Options)!;
            list.Add((record.Sequence, record.Kind));
        }

        return [.. list];
    }

    private static StringContent Json(string text) => new(text, Encoding.UTF8, "application/json");
}
