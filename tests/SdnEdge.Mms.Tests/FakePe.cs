using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Mms.Tests;

/// <summary>A PE's API over a unix socket with the real PE machine behind it, and a data plane that always obeys.</summary>
internal sealed class FakePe : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly PeMigrationFsm _fsm = new();
    private readonly HashSet<string> _tunnels = [];
    private readonly HashSet<string> _groups = [];
    private readonly HashSet<string> _drained = [];
    private readonly Network _network;
    private readonly string _loopback;
    private long _tunnelPackets;
    private int _looksLeft;

    private FakePe(string name, string loopback, string folder, Network network)
    {
        (Name, _loopback, _network) = (name, loopback, network);
        Socket = Path.Combine(folder, name + ".sock");
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.ListenUnixSocket(Socket));
        builder.Services.ConfigureHttpJsonOptions(o =>
        {
            o.SerializerOptions.PropertyNamingPolicy = JsonNamingPolicy.CamelCase;
            foreach (System.Text.Json.Serialization.JsonConverter converter in ApiJson.Options.Converters)
                o.SerializerOptions.Converters.Add(converter);
        });
        _app = builder.Build();
        Map();
    }

    public string Name { get; }

    public string Socket { get; }

    public List<string> Effects => _network.Effects;

    /// <summary>Answers to this many signals are thrown away after they took effect.</summary>
    public int LoseAnswers { get; set; }

    /// <summary>Queries of those who looked at a migration.</summary>
    public List<string> Queries { get; } = [];

    public bool TunnelUp { get; set; } = true;

    /// <summary>An aborted target's hold is empty when its migration has been looked at so often.</summary>
    public int LooksUntilGivenBack { get; set; }

    public PeMigration? Find(string id)
    {
        lock (_fsm) return _fsm.Find(id);
    }

    public static async Task<FakePe> StartAsync(string name, string loopback, string folder, Network network)
    {
        var pe = new FakePe(name, loopback, folder, network);
        await pe._app.StartAsync();
        return pe;
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private void Map()
    {
        _app.MapGet("/v1/node", () => new NodeInfo(Name, _loopback, 65000, "test", 1, 1, true));
        _app.MapGet("/v1/tunnels", () =>
        {
            lock (_fsm) return _tunnels.Select(t => new TunnelInfo(t, "gre", _loopback, "", 7, "default", 1500, TunnelUp, 0, 0, 0, 0, 0, 0,
                null, null)).ToArray();
        });
        _app.MapGet("/v1/groups", () =>
        {
            lock (_fsm) return _groups.Select(g => new RedirectGroupInfo(g, "default", 1, "native", 0, 0, 0, null)).ToArray();
        });
        _app.MapGet("/v1/routes", (string vrf, string prefix) =>
        {
            string peer = _network.Owner;
            return new[] { new RouteInfo(vrf, prefix, "bgp", true, peer, "core", _network.LocalPref, peer, null, null, 1) };
        });
        _app.MapGet("/v1/fib/lookup", (string vrf, string address) =>
        {
            string pe = address.StartsWith("10.255.", StringComparison.Ordinal) ? address : _network.Owner;
            return new FibInfo(vrf, address + "/32", "via", pe.Replace("10.255.0", "172.16.0", StringComparison.Ordinal),
                "core", null, null);
        });
        _app.MapGet("/v1/migrations", () =>
        {
            lock (_fsm) return _fsm.Migrations.Select(Info).ToArray();
        });
        _app.MapGet("/v1/migrations/{id}", (string id, HttpContext context) =>
        {
            lock (_fsm)
            {
                Queries.Add(context.Request.QueryString.Value ?? "");
                if (_looksLeft > 0 && --_looksLeft == 0) Drain(id);
                return _fsm.Find(id) is { } m ? Results.Ok(Info(m))
                    : Refused(new Problem("/problems/not-found", "no", 404, $"no migration '{id}'"));
            }
        });
        _app.MapGet("/v1/events", async context =>
        {
            context.Response.ContentType = "text/event-stream";
            long last = long.TryParse(context.Request.Headers["Last-Event-ID"], out long value) ? value : 0;
            await context.Response.WriteAsync(": hello\n\nevent: missed\ndata: {\"missed\":3}\n\n");
            for (long i = last + 1; i <= last + 3; i++)
                await context.Response.WriteAsync(
                    $"id: {i}\nevent: route\ndata: "
                    + $"{JsonSerializer.Serialize(new EventRecord(i, 5, "route", "10.0.0.0/8", "added"), ApiJson.Options)}\n\n");
        });
        _app.MapGet("/plain", () => Results.Text("<html>", statusCode: 403));
        foreach (SignalKind kind in Enum.GetValues<SignalKind>())
        {
            _app.MapPost("/v1/migrations/{id}/" + JsonNamingPolicy.KebabCaseLower.ConvertName(kind.ToString()),
                (string id, SignalRequest request, HttpContext context) =>
            {
                lock (_fsm) return Signal(id, kind, request, context);
            });
        }
    }

    private IResult Signal(string id, SignalKind kind, SignalRequest request, HttpContext context)
    {
        PeStep step = _fsm.Signal(id, kind, request, 1);
        if (step.Commands.Count > 0) Effects.Add($"{Name} {kind}");
        foreach (PeCommand command in step.Commands) Obey(id, command);
        if (step is { Refusal: null, Repeated: false, Underway: false, Migration: { } after })
            _fsm.Result(id, new Executed(kind, new SignalReply(id, kind, after.State, after.Epoch, Repeated: false, 1, 2, 3)), 1);
        if (_drained.Remove(id)) Drain(id);
        if (LoseAnswers > 0)
        {
            LoseAnswers--;
            context.Abort();
            return Results.Empty;
        }

        return step.Refusal is { } refusal
            ? Refused(new Problem(refusal.Type, refusal.Reason.ToString(),
            refusal.Reason switch { PeRefusalReason.BadRequest => 400, PeRefusalReason.Unknown => 404, _ => 409 }, refusal.Detail,
            refusal.Errors))
            : Results.Ok(new SignalReply(id, kind, step.Migration?.State ?? step.Earlier!.State, step.Migration?.Epoch
                ?? step.Earlier!.Epoch, step.Repeated, 1, 2, 3));
    }

    private void Obey(string id, PeCommand command)
    {
        switch (command)
        {
            case CreateTunnel c: _tunnels.Add(c.Tunnel); _fsm.Result(id, new TunnelHealth(TunnelUp), 1); break;
            case ArmGroup c: _groups.Add(c.Group); break;
            case ArmHold c: _groups.Add(c.Group); break;
            case TellWith c: _network.LocalPref = c.LocalPref; break;
            case SwitchToTunnel: _tunnelPackets = 100; break;
            case RemoveTunnel c: _tunnels.Remove(c.Tunnel); break;
            case RemoveGroup c: _groups.Remove(c.Group); break;
            case AdvertisePrefixes c: (_network.Owner, _network.LocalPref) = (_loopback, c.LocalPref); break;
            case ReturnHold when LooksUntilGivenBack > 0: _looksLeft = LooksUntilGivenBack; break;
            case ReleaseHold or ReturnHold: _drained.Add(id); break;
        }
    }

    private void Drain(string id)
    {
        foreach (PeCommand command in _fsm.Result(id, new HoldDrained(), 1).Commands) Obey(id, command);
    }

    private MigrationInfo Info(PeMigration m)
        => new(m.Id, m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes.Texts, m.Peer.ToString(), m.Tunnel, m.TunnelUp,
        m.Role == MigrationRole.Target ? new HoldInfo("released", 5, 0, 0, 500, 5, 5, 0, 0, 0) : null,
        _groups.Contains(m.Group) ? new RedirectGroupInfo(m.Group, m.Vrf, m.Prefixes.Count, "tunnel", 0, _tunnelPackets, 0, 4) : null);

    private static IResult Refused(Problem problem) => Results.Json(problem, ApiJson.Options, "application/problem+json", problem.Status);
}

/// <summary>What all PEs of a test agree on: who has the best route.</summary>
internal sealed class Network
{
    public string Owner { get; set; } = "10.255.0.1";

    public uint LocalPref { get; set; } = 100;

    public List<string> Effects { get; } = [];
}
