using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>The store's API, one line each.</summary>
internal static partial class StoreApi
{
    /// <summary>What it serves, and where.</summary>
    public static ApiServerOptions Options(StoreConfig config, IStoreControl store) => new(
        "SdnEdge block store API", "The volumes of a site's block store.", config.Api, ApiJson.Options,
        [
            ApiJson.Options.GetTypeInfo(typeof(VolumeRequest)), ApiJson.Options.GetTypeInfo(typeof(VolumeOrderRequest)),
            ApiJson.Options.GetTypeInfo(typeof(VolumeModeRequest)), ApiJson.Options.GetTypeInfo(typeof(VolumePromoteRequest)),
            ApiJson.Options.GetTypeInfo(typeof(VolumeResyncRequest)), ApiJson.Options.GetTypeInfo(typeof(MarkRequest)),
            ApiJson.Options.GetTypeInfo(typeof(VolumeResizeRequest)),
        ], (app, checks, stopping) => Map(app, store, checks, stopping))
    {
        MeterName = "SdnEdge.Store",
    };

    private static void Map(WebApplication app, IStoreControl store, ConnectionChecks checks, CancellationToken stopping)
    {
        RouteGroupBuilder v1 = app.MapGroup("/v1");
        v1.MapGet("/node", () => store.Node()).Says("The store").WithTags("show");
        v1.MapGet("/volumes", () => store.Volumes()).Says("Its volumes").WithTags("show");
        v1.MapGet("/volumes/{name}", ([FromRoute] string name) => store.Volume(name)).Says("One volume").WithTags("show").Fails(404, 503);
        v1.MapPost("/volumes", ([FromBody] VolumeRequest request) => Create(store, request))
            .Says("Makes a volume: of zeros, or of an image that is there").WithTags("volumes").Needs(ApiRole.Admin).Fails(400, 409);
        v1.MapDelete("/volumes/{name}", ([FromRoute] string name) => Delete(store, name))
            .Says("Deletes a volume that no client uses; an image that was there before it stays").WithTags("volumes")
            .Needs(ApiRole.Admin).Fails(404, 409, 503).Produces(204);
        v1.MapPost("/volumes/{name}/check", ([FromRoute] string name, CancellationToken cancel) => store.CheckAsync(name, cancel))
            .Says("Compares a volume with its own records, block by block; it is served meanwhile").WithTags("volumes")
            .Needs(ApiRole.Admin).Fails(404, 503);
        v1.MapPost("/volumes/{name}/resize", ([FromRoute] string name, [FromBody] VolumeResizeRequest request, CancellationToken cancel)
                => Resize(store, name, request, cancel))
            .Says("Owner: makes a volume larger, here and at its replica, while it is served; clients see it when they connect anew")
            .WithTags("volumes").Needs(ApiRole.Admin).Fails(400, 404, 409, 503, 504, 507);
        MapMarks(v1, store);
        foreach (OwnershipOrderKind order in Enum.GetValues<OwnershipOrderKind>())
        {
            string verb = System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(order.ToString());
            v1.MapPost("/volumes/{name}/" + verb, ([FromRoute] string name, [FromBody] VolumeOrderRequest request, CancellationToken cancel)
                    => store.OrderAsync(name, order, request, cancel))
                .Says(Meaning(order)).WithTags("orders").WithName("volume-" + verb).Needs(ApiRole.Migrate).Fails(400, 404, 409, 503);
        }

        v1.MapPost("/volumes/{name}/mode", ([FromRoute] string name, [FromBody] VolumeModeRequest request, CancellationToken cancel)
                => store.ModeAsync(name, request, cancel))
            .Says("Owner: switches when writes are answered; answered when that is reached").WithTags("orders")
            .Needs(ApiRole.Migrate).Fails(400, 404, 409, 503, 504);
        v1.MapPost("/volumes/{name}/drain", ([FromRoute] string name, CancellationToken cancel) => store.DrainAsync(name, cancel))
            .Says("Owner, while its client stands still: the proof that the replica has the same history and the same "
                + "bytes").WithTags("orders")
            .Needs(ApiRole.Migrate).Fails(404, 409, 503);
        MapDecisions(v1, store);
        v1.MapEvents(store.Events, "this store", stopping);
        app.MapGet("/metrics",
            () => Results.Text(PrometheusText.Write([.. store.Metrics(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }

    private static string Meaning(OwnershipOrderKind order) => order switch
    {
        OwnershipOrderKind.Prepare => "A move begins: older epochs are refused from now on",
        OwnershipOrderKind.Seal => "Source: no write is carried out any more, what comes waits; answered with the last point, durable",
        OwnershipOrderKind.Unpark => "Source of a move that is undone: it owns the volume under the higher epoch, and what waits is "
            + "carried out",
        OwnershipOrderKind.Release => "Source, after the server runs at the target: what waits is refused for good",
        OwnershipOrderKind.Grant => "Target: it owns the volume under this epoch, for the client that is named",
        OwnershipOrderKind.Cancel => "Target of a move that is undone: older epochs are never granted here",
        _ => "Target: says from disk, for ever, whether this epoch was granted here or never will be",
    };

    private static IResult Delete(IStoreControl store, string name)
    {
        store.Delete(name);
        return Results.NoContent();
    }

    private static Task<VolumeInfo> Resize(IStoreControl store, string name, VolumeResizeRequest request, CancellationToken cancel)
        => request.SizeBytes > 0 && request.SizeBytes % StoreConfigLoader.SizeUnit == 0 ? store.ResizeAsync(name, request, cancel)
            : throw new ProblemException(Problems.BadRequest("the size needs 1 thing put right", [new ProblemError("/sizeBytes",
                $"{request.SizeBytes} is not a size; write a multiple of {StoreConfigLoader.SizeUnit}, more than 0")]));

    private static VolumeInfo Create(IStoreControl store, VolumeRequest request)
    {
        var errors = new List<ProblemError>();
        if (request.Name is not { Length: > 0 and <= 63 } name || !char.IsAsciiLetterOrDigit(name[0])
            || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
        {
            errors.Add(new ProblemError("/name",
                $"'{request.Name}' is not a volume's name; write 1 to 63 letters, digits, dashes, dots or underscores, the first a "
                    + $"letter or digit"));
        }

        if (request.Image is null && (request.SizeBytes <= 0 || request.SizeBytes % StoreConfigLoader.SizeUnit != 0))
        {
            errors.Add(new ProblemError("/sizeBytes",
                $"{request.SizeBytes} is not a size; write a multiple of {StoreConfigLoader.SizeUnit}, more than 0"));
        }

        if (request.Image is { } image && !image.StartsWith('/')) errors.Add(new ProblemError("/image",
            $"'{image}' is not an absolute path"));
        if (request.Image is not null && request.SizeBytes != 0)
            errors.Add(new ProblemError("/sizeBytes", "has no effect beside image, whose size is the volume's; leave it out"));
        if (request.Replica) errors.Add(new ProblemError("/replica",
            "a volume is replicated by the store's configuration: volumes: [{ name: ..., replica: STORE }]; leave it out here"));
        return errors.Count == 0 ? store.Create(request)
            : throw new ProblemException(Problems.BadRequest($"the volume needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put "
                + $"right",
                errors));
    }
}
