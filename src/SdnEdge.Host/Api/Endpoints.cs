using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Migration;
using SdnEdge.Web;

namespace SdnEdge.Host.Api;

/// <summary>The resources of the API, one line each.</summary>
internal static class Endpoints
{
    public static void Map(WebApplication app, IHostControl host, ConnectionChecks checks, CancellationToken stopping)
    {
        RouteGroupBuilder v1 = app.MapGroup("/v1");
        v1.MapGet("/node", () => host.Node()).Says("The agent").WithTags("show");
        v1.MapGet("/servers", () => host.Servers()).Says("Servers that this host may run: what they do here, and what the host has "
            + "promised").WithTags("show");
        v1.MapGet("/servers/{name}", ([FromRoute] string name) => host.Server(name)).Says("One server").WithTags("show").Fails(404);
        v1.MapGet("/servers/{name}/copy", ([FromRoute] string name) => host.Copy(name)).Says("The last copy of its memory to another host, "
            + "pass by pass").WithTags("show").Fails(404);
        v1.MapGet("/bfd", () => host.Bfd()).Says("BFD sessions, and how their thread fares").WithTags("show");
        foreach (ServerOrder order in Enum.GetValues<ServerOrder>())
        {
            string verb = HostFsm.Word(order);
            v1.MapPost("/servers/{name}/" + verb, ([FromRoute] string name, [FromBody] ServerOrderRequest request, CancellationToken cancel)
                    => OrderAsync(host, name, order, request, cancel))
                .Says(Meaning(order)).WithTags("orders").WithName(verb)
                .Needs(ApiRole.Migrate).Fails(400, 404, 409, 502, 503);
        }

        v1.MapPut("/servers/{name}/lease", ([FromRoute] string name, [FromBody] ServerLeaseCall call, CancellationToken cancel)
                => BindAsync(host, name, call, cancel))
            .Says("From now on the server may run here only under this lease of the witness, or under none").WithTags("orders")
            .Needs(ApiRole.Migrate).Fails(400, 404, 409, 503);
        v1.MapEvents(host.Events, "this host", stopping);
        app.MapGet("/metrics",
            () => Results.Text(PrometheusText.Write([.. host.Metrics(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }

    private static async Task<ServerReply> OrderAsync(IHostControl host, string name, ServerOrder order, ServerOrderRequest request,
        CancellationToken cancel)
    {
        IReadOnlyList<ProblemError> errors = OrderChecks.Check(order, request);
        if (errors.Count == 0) return await host.OrderAsync(name, order, request, cancel);
        throw new ProblemException(Problems.BadRequest(
            $"{HostFsm.Word(order)} needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put right", errors));
    }

    private static async Task<ServerInfo> BindAsync(IHostControl host, string name, ServerLeaseCall call, CancellationToken cancel)
    {
        IReadOnlyList<ProblemError> errors = OrderChecks.Check(call);
        return errors.Count == 0 ? await host.BindAsync(name, call, cancel) : throw new ProblemException(Problems.BadRequest(
            $"a lease needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put right", errors));
    }

    private static string Meaning(ServerOrder order) => order switch
    {
        ServerOrder.Prepare => "Source: the server runs here and can be moved. Target: what is needed to take it over is there",
        ServerOrder.Stop => "Source: the right to run goes, on disk; the server stops, and is handed over where that can be undone",
        ServerOrder.HandOver => "Source of a server whose hand-over cannot be undone: its state is handed over",
        ServerOrder.Activate => "Target: the promise to run this epoch is on disk, then the server runs",
        ServerOrder.Resume => "Source of a move that is undone: the right to run of the higher epoch is on disk, then the server runs "
            + "again",
        ServerOrder.Cancel => "Target of a move that is undone: what prepare made goes; the older epoch is never run here",
        ServerOrder.Void => "Target: says from disk, for ever, whether it has run this epoch or never will",
        ServerOrder.Start => "A server that may run here and does not: it is started, or what was begun of that is finished, under "
            + "the epoch that it has",
        ServerOrder.Fence => "Source of a fail-over: the right to run goes and the epoch is void, on disk; then the server is killed, "
            + "whatever it does",
        _ => "Source, after the server runs at the target: what was kept of it goes",
    };
}
