using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>The parties by their APIs: what is asked of a PE, and what becomes of its answers.</summary>
#pragma warning disable CA1001 // xunit calls DisposeAsync
public sealed class HttpPartiesTests : IAsyncLifetime
#pragma warning restore CA1001
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-parties-").FullName;
    private readonly ConcurrentQueue<string> _asked = [];
    private readonly WebApplication _pe;
    private readonly PartyClients _clients;
    private readonly HttpParties _parties;
    private readonly PathMove _path = new(
        "m1.1", "default", new PathEnd("pe-a", "10.255.0.1", ["10.255.0.1"], [new MovingPrefix("10.1.1.10/32", "dc")]),
        new PathEnd("pe-b", "10.255.0.2", ["10.255.0.2"], [new MovingPrefix("10.1.1.10/32", "dc"), new MovingPrefix("10.1.1.12/32", "dc")]),
        ["pe-a"], 1, 200);

    private readonly ConcurrentDictionary<string, uint> _told = [];
    private string _secondVia = "10.255.0.1";
    private string? _unused;

    public HttpPartiesTests()
    {
        string yaml = PlanLab.Yaml.Replace("unix:/run/", $"unix:{_folder}/", StringComparison.Ordinal);
        _clients = new PartyClients(MmsConfigLoader.Load(yaml, "/etc/sdnedge/mms.yaml").Config!);
        _parties = new HttpParties(_clients);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.ListenUnixSocket(Path.Combine(_folder, "pe-a.sock")));
        _pe = builder.Build();
        Map();
    }

    public Task InitializeAsync() => _pe.StartAsync();

    public async Task DisposeAsync()
    {
        _clients.Dispose();
        await _pe.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Migration_that_a_PE_does_not_know_is_a_refusal()
    {
        var e = await Assert.ThrowsAsync<ApiProblemException>(() => _parties.MigrationAsync("pe-a", "m9.1", new MigrationWait(), default));
        Assert.Equal(404, e.Problem.Status);
    }

    [Fact]
    public async Task Silence_and_a_name_that_is_not_configured_are_no_answer()
    {
        await Assert.ThrowsAsync<ApiUnreachableException>(() => _parties.ServerAsync("host-a", "web-1", default));
        var e = await Assert.ThrowsAsync<ApiUnreachableException>(()
            => _parties.MigrationAsync("pe-z", "m1.1", new MigrationWait(), default));
        Assert.Contains("no PE 'pe-z'", e.Message, StringComparison.Ordinal);
        Assert.Equal("pe-z", e.Peer);
    }

    [Fact]
    public async Task Who_gives_up_asking_is_not_told_of_silence()
    {
        using var end = new CancellationTokenSource();
        await end.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(()
            => _parties.MigrationAsync("pe-a", "m1.1", new MigrationWait(), end.Token));
    }

    [Fact]
    public async Task Ingress_is_direct_when_all_prefixes_are_and_each_is_asked_for_until_then_only()
    {
        Assert.Contains("10.1.1.12/32", await _parties.WhyNotDirectAsync("pe-a", _path, default), StringComparison.Ordinal);
        string why = (await _parties.WhyNotDirectAsync("pe-a", _path, default))!;
        Assert.Contains("10.255.0.1's, not 10.255.0.2's, of which nothing has come ('sdnedge show route 10.1.1.12/32 --why' at pe-a)", why,
            StringComparison.Ordinal);
        _unused = "damped: moves too often";
        why = (await _parties.WhyNotDirectAsync("pe-a", _path, default))!;
        Assert.Contains("which is there and not used: damped: moves too often", why, StringComparison.Ordinal);
        _secondVia = "10.255.0.2";
        Assert.Null(await _parties.WhyNotDirectAsync("pe-a", _path, default));
        string[] asked = [.. _asked];   // the first two at the same time
        Assert.Equal(["10.1.1.10/32", "10.1.1.12/32"], asked.Take(2).Order());
        Assert.Equal(["10.1.1.12/32", "10.1.1.12/32", "10.1.1.12/32"], asked.Skip(2));
    }

    [Fact]
    public async Task What_a_source_advertises_is_what_it_tells_of_exactly_each_prefix()
    {
        PathMove both = _path with { Source = _path.Source with { Prefixes = _path.Target.Prefixes } };

        // As a PE of an earlier version, which does not say it.
        Assert.Equal(new SourceTells("m1.1", null), await _parties.TellsAsync(both, default));
        _told["10.1.1.12/32"] = 150;
        SourceTells one = await _parties.TellsAsync(both, default);
        Assert.Equal((150u, "10.1.1.10/32"), (one.LocalPref, Assert.Single(one.NotTold!)));
        _told["10.1.1.10/32"] = 100;
        Assert.Equal(new SourceTells("m1.1", 100), await _parties.TellsAsync(both, default));
    }

    [Fact]
    public async Task Left_over_are_tunnel_group_and_unfinished_migration_of_that_path()
        => Assert.Equal(
            ["pe-a tunnel mig-m1.1", "pe-a group m1.1 (tunnel)", "pe-a migration m1.1 (switched)"],
            await _parties.LeftOverAsync("pe-a", "m1.1", default));

    [Fact]
    public async Task View_has_values_refusals_and_silence_in_its_answers()
    {
        var view = new HttpPlanView(_clients);
        Answer<NodeInfo> node = await view.NodeAsync("pe-a", default);
        Assert.Equal("pe-a", node.Value!.Name);
        Assert.True(node.Milliseconds > 0);

        // A PE of an older version.
        Assert.True((await view.DampedAsync("pe-a", default)).IsUnknown);
        Answer<HostNodeInfo> silent = await view.HostAsync("host-a", default);
        Assert.Equal((null, null), (silent.Value, silent.Refusal));
        Assert.Contains("cannot reach host-a", silent.Silence, StringComparison.Ordinal);
    }

    private void Map()
    {
        _pe.MapGet("/v1/node", () => Json(new NodeInfo("pe-a", "10.255.0.1", 65000, "1", 1, 1, true)));
        _pe.MapGet("/v1/migrations/{id}", (string id) => Results.Json(
            new Problem("/problems/not-found", "not found", 404, $"no migration '{id}'"), ApiJson.Options, statusCode: 404));
        _pe.MapGet("/v1/tunnels", () => Json<IReadOnlyList<TunnelInfo>>([PlanLab.Tunnel("mig-m1.1", 7), PlanLab.Tunnel("mig-m1.10", 8)]));
        _pe.MapGet("/v1/groups", () => Json<IReadOnlyList<RedirectGroupInfo>>([new RedirectGroupInfo("m1.1", "default", 1, "tunnel", 0, 0,
            0, null)]));
        _pe.MapGet("/v1/migrations", () => Json<IReadOnlyList<MigrationInfo>>(
        [
            PlanLab.Migration("m1.1", PeMigrationState.Switched, 1, "10.1.1.10/32"), PlanLab.Migration("m0.1", PeMigrationState.Prepared,
                1, "10.1.1.10/32"),
        ]));
        _pe.MapGet("/v1/routes", (string prefix) =>
        {
            _asked.Enqueue(prefix);
            string via = prefix == "10.1.1.12/32" ? _secondVia : "10.255.0.2";
            uint? told = _told.TryGetValue(prefix, out uint pref) ? pref : null;
            List<RouteInfo> routes = [new("default", prefix, "bgp", true, via, null, 200, via, "", null, 1) { ToldInside = told }];
            if (_unused is not null)
                routes.Add(new("default", prefix, "bgp", false, "10.255.0.2", null, 200, "10.255.0.2", "", null, 1) { Why = _unused });
            return Json<IReadOnlyList<RouteInfo>>(routes);
        });
        _pe.MapGet("/v1/fib/lookup", (string address) => Json(new FibInfo("default", address + "/32", "forward", "172.16.0.2", "core",
            null, null)));
    }

    private static IResult Json<T>(T value) => Results.Json(value, ApiJson.Options);
}
