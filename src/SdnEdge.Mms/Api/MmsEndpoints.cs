using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Web;

namespace SdnEdge.Mms.Api;

/// <summary>The resources of the manager's API, one line each.</summary>
internal static class MmsEndpoints
{
    public static void Map(WebApplication app, MmsDaemon mms, ConnectionChecks checks, CancellationToken stopping)
    {
        RouteGroupBuilder v1 = app.MapGroup("/v1");
        v1.MapGet("/node", () => mms.Node()).Says("The manager").WithTags("show");
        v1.MapGet("/groups", () => mms.Groups()).Says("Groups, and where their servers may run by the journal").WithTags("show");
        v1.MapGet("/groups/{name}/protection", ([FromRoute] string name) => mms.Protection(name))
            .Says("The protection of a group against the failure of its site").WithTags("outages").Fails(404);
        v1.MapPost("/groups/{name}/protection",
            async (HttpContext context, [FromRoute] string name, [FromBody] ProtectCall call, CancellationToken cancel) =>
                Results.Accepted(null, await mms.ProtectAsync(name, call, context.Caller().Name, cancel)))
            .Says("Protects a group: the PE of its site switches by itself when the site fails. Answered when it is on record; GET shows "
                + "when it is armed").WithTags("outages")
            .Needs(ApiRole.Migrate).Produces<ProtectionInfo>(202).Fails(400, 404, 409, 422, 503).WithName("protect");
        v1.MapDelete("/groups/{name}/protection", async (HttpContext context, [FromRoute] string name) =>
            {
                await mms.UnprotectAsync(name, context.Caller().Name);
                return Results.NoContent();
            })
            .Says("Takes the protection of a group away. Answered when it is on record; it is gone when its PEs have answered")
            .WithTags("outages").Needs(ApiRole.Migrate).Produces(204).Fails(404, 503).WithName("unprotect");
        v1.MapPost("/groups/{name}/failover",
            (HttpContext context, [FromRoute] string name, [FromBody] FailoverCall call, CancellationToken cancel) =>
                mms.FailoverAsync(name, call, context.Caller().Name, cancel))
            .Says("Has a protected group come up at its other site: when the hosts of its own have said that its servers are dead there. "
                + "With dryRun only what is in the way and what is lost. Answered when it is on record").WithTags("outages")
            .Needs(ApiRole.Migrate).Fails(400, 404, 409, 422, 503).WithName("failover");
        v1.MapPost("/plans", ([FromBody] MigrationCall call, CancellationToken cancel) => mms.PlanAsync(call, cancel))
            .Says("A dry run: every obstacle at once, predicted blackout and hold. Nothing is changed anywhere").WithTags(
                "migrations").Fails(400);
        v1.MapPost("/migrations", async (HttpContext context, [FromBody] MigrationCall call, CancellationToken cancel) =>
                Results.Accepted(null, await mms.StartAsync(call, context.Caller().Name, Key(context), cancel)))
            .Says("Starts a migration. With an Idempotency-Key the same call again gets the same migration").WithTags("migrations")
            .Needs(ApiRole.Migrate).Produces<MigrationStatus>(202).Fails(400, 409, 422, 503).WithName("start");
        v1.MapGet("/migrations", () => mms.Migrations())
            .Says("All migrations, oldest first; those that ended a while ago without their moves").WithTags("migrations");
        v1.MapGet("/migrations/{id}", ([FromRoute] string id, CancellationToken cancel) => mms.MigrationAsync(id, cancel))
            .Says("One migration, with all that is known of it").WithTags("migrations").Fails(404, 503);
        v1.MapPost("/migrations/{id}/abort",
            (HttpContext context, [FromRoute] string id, [FromBody] AbortCall? call) => mms.AbortAsync(id, call, context.Caller().Name))
            .Says("Has it undone: before the pivot always, after it while no server is known to run at the target. With giveUp it ends "
                + "without the word of parties that are dead").WithTags("migrations")
            .Needs(ApiRole.Migrate).Fails(404, 409, 503).WithName("abort");
        v1.MapPost("/migrations/{id}/commit",
            (HttpContext context, [FromRoute] string id, [FromBody] AbortCall? _) => mms.CommitAsync(id, context.Caller().Name))
            .Says("Ends its trial: no rollback is offered any more").WithTags("migrations").Needs(ApiRole.Migrate).Fails(404, 409,
                503).WithName("commit");
        v1.MapPost("/migrations/{id}/rollback",
            (HttpContext context, [FromRoute] string id, [FromBody] AbortCall? _, CancellationToken cancel) =>
                mms.RollbackAsync(id, context.Caller().Name, cancel))
            .Says("Moves its group back to where it was: a migration of its own").WithTags("migrations")
            .Needs(ApiRole.Migrate).Fails(404, 409, 422, 503).WithName("rollback");
        v1.MapGet("/volumes", () => mms.Volumes())
            .Says("Volumes of which something is on record: whether the replica is stale").WithTags("volumes");
        v1.MapPost("/volumes/{id}/stale", (HttpContext context, [FromRoute] string id, [FromBody] StaleReport report) =>
                mms.ReportAsync(id, report, context.Caller().Name))
            .Says("A store's report that acknowledged writes are missing at a volume's replica, or that none is any more. Answered when it "
                + "is on record; the same report again changes nothing").WithTags("volumes")
            .Needs(ApiRole.Store).Fails(400, 409, 503).WithName("stale");
        v1.MapPost("/recover", (HttpContext context, [FromBody] RecoverCall? call, CancellationToken cancel) =>
                mms.RecoverAsync(call, context.Caller().Name, cancel))
            .Says("Rebuilds owners and epochs from what PEs and hosts say, after the journal was lost or an old copy was put back. What is "
                + "in doubt is settled where the body says, by a migration of its own").WithTags("admin")
            .Needs(ApiRole.Admin).Fails(409, 503).WithName("recover");
        v1.MapEvents(mms.Events, "this manager", stopping, () => mms.Leading);
        app.MapGet("/metrics",
            () => Results.Text(PrometheusText.Write([.. mms.Metrics(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }

    private static string? Key(HttpContext context)
    {
        string? key = context.Request.Headers["Idempotency-Key"];
        return key is { Length: > 255 }
            ? throw new ProblemException(Problems.BadRequest("Idempotency-Key is longer than 255 characters; a UUID is a good one")) : key;
    }
}
