using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Web;
using SdnEdge.Witness.Config;

namespace SdnEdge.Witness.Api;

/// <summary>The witness's API, one line each. The manager opens and revokes (role migrate), hosts renew (role store).</summary>
internal static class WitnessApi
{
    /// <summary>What it serves, and where.</summary>
    public static ApiServerOptions Options(WitnessConfig config, WitnessAgent witness) => new(
        "SdnEdge witness API", "Leases under which the servers of protected groups may run at their sites.", config.Api, ApiJson.Options,
        [
            ApiJson.Options.GetTypeInfo(typeof(LeaseOpenCall)), ApiJson.Options.GetTypeInfo(typeof(LeaseRenewCall)),
            ApiJson.Options.GetTypeInfo(typeof(LeaseRevokeCall)),
        ], (app, checks, stopping) => Map(app, witness, checks, stopping))
    {
        MeterName = "SdnEdge.Witness",
    };

    private static void Map(WebApplication app, WitnessAgent witness, ConnectionChecks checks, CancellationToken stopping)
    {
        RouteGroupBuilder v1 = app.MapGroup("/v1");
        v1.MapGet("/node", () => witness.Node()).Says("The witness").WithTags("show");
        v1.MapGet("/leases", () => witness.Leases()).Says("Leases by group and site").WithTags("show");
        v1.MapGet("/leases/{group}/{site}", ([FromRoute] string group, [FromRoute] string site) => witness.Lease(group, site))
            .Says("Those of a group at a site").WithTags("show").Fails(404);
        v1.MapPut("/leases/{group}/{site}", ([FromRoute] string group, [FromRoute] string site, [FromBody] LeaseOpenCall call)
                => Open(witness, group, site, call))
            .Says("The group may have leases at this site, under this epoch").WithTags("leases")
            .Needs(ApiRole.Migrate).Fails(400, 409, 503);
        v1.MapPost("/leases/{group}/{site}/renew", ([FromRoute] string group, [FromRoute] string site, [FromBody] LeaseRenewCall call)
                => Renew(witness, group, site, call))
            .Says("Grants a lease, good from when this was sent").WithTags("leases").Needs(ApiRole.Store).Fails(400, 409, 503);
        v1.MapPost("/leases/{group}/{site}/revoke", ([FromRoute] string group, [FromRoute] string site, [FromBody] LeaseRevokeCall call)
                => Revoke(witness, group, site, call))
            .Says("No lease is granted any more up to this epoch; says when the last one has surely run out").WithTags("leases")
            .Needs(ApiRole.Migrate).Fails(400, 503);
        v1.MapEvents(witness.Events, "this witness", stopping);
        app.MapGet("/metrics",
            () => Results.Text(PrometheusText.Write([.. witness.Metrics(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }

    private static LeaseInfo Open(WitnessAgent witness, string group, string site, LeaseOpenCall call)
    {
        Check(group, site, call.Epoch);
        return witness.Open(group, site, call);
    }

    private static LeaseRenewReply Renew(WitnessAgent witness, string group, string site, LeaseRenewCall call)
    {
        Check(group, site, call.Epoch, call.Party);
        return witness.Renew(group, site, call);
    }

    private static LeaseInfo Revoke(WitnessAgent witness, string group, string site, LeaseRevokeCall call)
    {
        Check(group, site, call.Epoch);
        return witness.Revoke(group, site, call);
    }

    // Group and site are part of a file's name.
    private static void Check(string group, string site, long epoch, string party = "party")
    {
        var errors = new List<ProblemError>();
        if (epoch < 1) errors.Add(new ProblemError("/epoch", $"{epoch} is not an epoch; send the group's, from 1"));
        foreach ((string pointer, string name) in ((string, string)[])[("group", group), ("site", site), ("/party", party)])
        {
            if (!IsName(name)) errors.Add(new ProblemError(pointer,
                $"'{name}' is not a name; 1 to 63 letters, digits, dashes, dots or underscores"));
        }

        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest(
            $"{errors.Count} thing{(errors.Count == 1 ? " is" : "s are")} to be put right", errors));
    }

    private static bool IsName(string? name) => name is { Length: > 0 and <= 63 } && name[0] != '.'
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
}
