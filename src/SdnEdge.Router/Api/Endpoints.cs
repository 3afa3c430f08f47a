using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Web;

namespace SdnEdge.Router.Api;

/// <summary>The resources of the API, one line each.</summary>
internal static class Endpoints
{
    public static void Map(WebApplication app, IPeControl pe, ConnectionChecks checks, CancellationToken stopping)
    {
        RouteGroupBuilder v1 = app.MapGroup("/v1");
        v1.MapGet("/node", () => pe.NodeAsync()).Says("The node").WithTags("show");
        v1.MapGet("/ports", () => pe.PortsAsync()).Says("Ports and their counters").WithTags("show");
        v1.MapGet("/vrfs", () => pe.VrfsAsync()).Says("VRFs").WithTags("show");
        v1.MapGet("/routes", ([FromQuery] string? vrf, [FromQuery] string? prefix, [FromQuery] int? limit)
            => pe.RoutesAsync(Query(vrf, prefix, limit)))
            .Says("RIB: one line for each source that offers a prefix; prefix = that prefix and what lies inside it").WithTags("show");
        v1.MapGet("/fib", ([FromQuery] string? vrf, [FromQuery] string? prefix, [FromQuery] int? limit)
            => pe.FibAsync(Query(vrf, prefix, limit)))
            .Says("FIB: what the data plane does with each prefix").WithTags("show");
        v1.MapGet("/fib/lookup",
            ([FromQuery] string? vrf, [FromQuery] string? address) => pe.LookupAsync(vrf ?? "default", Address(address)))
            .Says("FIB: what the data plane does with one address now").WithTags("show");
        v1.MapGet("/neighbors", () => pe.NeighborsAsync()).Says("Neighbours learnt by ARP and ND").WithTags("show");
        v1.MapGet("/tunnels", () => pe.TunnelsAsync()).Says("Tunnels, their health and counters").WithTags("show");
        v1.MapGet("/bgp/peers", () => pe.BgpPeersAsync()).Says("BGP peers").WithTags("show");
        foreach (BgpPeerAction action in Enum.GetValues<BgpPeerAction>())
        {
            string verb = JsonNamingPolicy.KebabCaseLower.ConvertName(action.ToString());
            v1.MapPost("/bgp/peers/{address}/" + verb, ([FromRoute] string address, [FromBody] BgpPeerRequest? request)
                => pe.BgpPeerAsync(address, action, request ?? new BgpPeerRequest()))
                .Says(Meaning(action)).WithTags("bgp").WithName("bgp-" + verb)
                .Needs(ApiRole.Admin).Fails(400, 404, 409);
        }
        v1.MapGet("/bgp/damped",
            () => pe.DampedAsync()).Says("Prefixes whose moves come too fast and are not followed for a while").WithTags("show");
        v1.MapGet("/keeper", () => pe.KeeperAsync()).Says("The process that forwards while the PE is restarted after a crash").WithTags(
            "show");
        v1.MapGet("/bfd", () => pe.BfdAsync()).Says("BFD sessions, and how their thread fares").WithTags("show");
        v1.MapGet("/groups", () => pe.GroupsAsync()).Says("Redirect groups").WithTags("show");
        v1.MapGet("/drops", () => pe.DropsAsync()).Says("Dropped packets by reason").WithTags("show");
        v1.MapGet("/migrations", () => pe.MigrationsAsync()).Says("Migrations").WithTags("migrations");
        v1.MapGet("/migrations/{id}", async (
            string id, [FromQuery] long? after, [FromQuery] string? until, [FromQuery] int? waitMs, CancellationToken cancel)
            => await pe.MigrationAsync(id, Wait(after, until, waitMs), cancel)
            ?? throw new ProblemException(Problems.NotFound($"there is no migration '{id}' on this PE; prepare makes one")))
            .Says($"One migration. With after=CHANGE the answer comes as soon as it has changed since, with until=CONDITION ({Conditions}) "
                + "as soon as it is so; with either at the latest after waitMs=N milliseconds")
            .WithTags("migrations").Fails(400, 404);

        foreach (SignalKind kind in Enum.GetValues<SignalKind>())
        {
            string verb = JsonNamingPolicy.KebabCaseLower.ConvertName(kind.ToString());
            v1.MapPost("/migrations/{id}/" + verb,
                ([FromRoute] string id, [FromBody] SignalRequest request, CancellationToken cancel)
                => pe.SignalAsync(id, kind, request, cancel))
                .Says(Meaning(kind)).WithTags("migrations").WithName(verb)
                .Needs(ApiRole.Migrate).Fails(400, 409, 503, 504, 507);
        }

        v1.MapPost("/config/reload", () => pe.ReloadAsync()).Says(
            "Reads the configuration file again and applies the difference, or nothing").WithTags("config").Needs(ApiRole.Admin).Fails(422);
        v1.MapEvents(pe.Events, "this PE", stopping);
        app.MapGet("/metrics",
            async () => Results.Text(PrometheusText.Write([.. await pe.MetricsAsync(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }


    private static string Meaning(SignalKind kind) => kind switch
    {
        SignalKind.Prepare => "Source: tunnel up and probed, redirect group armed. Target: tunnel accepted, hold armed",
        SignalKind.Switch => "Source: traffic of the group goes into the tunnel; one store",
        SignalKind.Release => "Target: what was held is sent, in order, then all traffic passes",
        SignalKind.Advertise => "Target: advertise the prefixes with the higher LOCAL_PREF",
        SignalKind.Withdraw => "Source: withdraw the prefixes",
        SignalKind.Teardown => "Both: take tunnel, group and hold away",
        _ => "Both: back to the state before prepare, as far as the state allows",
    };

    private static string Meaning(BgpPeerAction action) => action switch
    {
        BgpPeerAction.Refresh => "Asks a peer to send all its routes again; the session stays up",
        BgpPeerAction.Reset => "Ends a session and starts it anew; starts one that was shut down or is held down by a limit",
        _ => "Ends a session until it is reset",
    };

    private static string Kebab(MigrationCondition condition) => JsonNamingPolicy.KebabCaseLower.ConvertName(condition.ToString());

    private static string Conditions => string.Join(", ", Enum.GetValues<MigrationCondition>().Select(Kebab));

    private static MigrationWait Wait(long? after, string? until, int? waitMs)
    {
        var errors = new List<ProblemError>();
        MigrationCondition? condition = Enum.GetValues<MigrationCondition>().Cast<MigrationCondition?>()
            .FirstOrDefault(c => Kebab(c!.Value) == until);
        if (until is not null && condition is null) errors.Add(new ProblemError("until", $"'{until}' is not one of {Conditions}"));
        if (after is not null && until is not null) errors.Add(new ProblemError("after", "does not go with until; send one of them"));
        bool waits = after is not null || until is not null;
        if (waits != waitMs is not null || waitMs is < 1 or > SignalChecks.MaxWaitMs)
        {
            errors.Add(new ProblemError(waits ? "waitMs" : "after",
                $"after (the change number of an earlier answer), or until, and waitMs (1 to {SignalChecks.MaxWaitMs}) go together"));
        }

        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("the query is wrong", errors));
        return new MigrationWait(TimeSpan.FromMilliseconds(waitMs ?? 0), after, condition);
    }

    private static RouteQuery Query(string? vrf, string? prefix, int? limit)
    {
        var errors = new List<ProblemError>();
        IpPrefix? inside = null;
        if (prefix is not null && IpPrefix.TryParse(prefix, out IpPrefix parsed)) inside = parsed;
        else if (prefix is not null) errors.Add(new ProblemError("prefix",
            $"'{prefix}' is not a prefix; write it as {(prefix.Contains(':', StringComparison.Ordinal) ? "2001:db8::/32" : "10.0.0.0/8")}, "
                + "with no host bits set"));
        if (limit is < 1 or > RouteQuery.MaxLimit) errors.Add(new ProblemError("limit",
            $"{limit} is out of range; 1 to {RouteQuery.MaxLimit}"));
        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("the query is wrong", errors));
        return new RouteQuery(vrf, inside, limit ?? RouteQuery.DefaultLimit);
    }

    private static IpAddress Address(string? text) => IpAddress.TryParse(text, out IpAddress address) ? address
        : throw new ProblemException(Problems.BadRequest("the query is wrong",
            [new ProblemError("address", $"'{text}' is not an IP address; write it as {Like(text, "10.1.1.10", "2001:db8::10")}")]));

    // An example of the other family is no help.
    private static string Like(string? text, string v4, string v6) => text?.Contains(':', StringComparison.Ordinal) == true ? v6 : v4;
}
