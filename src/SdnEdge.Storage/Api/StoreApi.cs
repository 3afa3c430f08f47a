using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Storage.Config;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>The store's API, one line each.</summary>
internal static class StoreApi
{
    /// <summary>What it serves, and where.</summary>
    public static ApiServerOptions Options(StoreConfig config, IStoreControl store) => new(
        "SdnEdge block store API", "The volumes of a site's block store.", config.Api, ApiJson.Options,
        [ApiJson.Options.GetTypeInfo(typeof(VolumeRequest))], (app, checks, stopping) => Map(app, store, checks, stopping))
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
        v1.MapEvents(store.Events, "this store", stopping);
        app.MapGet("/metrics",
            () => Results.Text(PrometheusText.Write([.. store.Metrics(), .. checks.Metrics(), .. ProcessMetrics.Collect()]),
                PrometheusText.ContentType))
            .Says("Metrics in the Prometheus text format").WithTags("telemetry").Produces<string>(200, "text/plain");
    }

    private static IResult Delete(IStoreControl store, string name)
    {
        store.Delete(name);
        return Results.NoContent();
    }

    private static VolumeInfo Create(IStoreControl store, VolumeRequest request)
    {
        var errors = new List<ProblemError>();
        if (request.Name is not { Length: > 0 and <= 63 } name || !char.IsAsciiLetterOrDigit(name[0])
            || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
        {
            errors.Add(new ProblemError("/name",
                $"'{request.Name}' is not a volume's name; write 1 to 63 letters, digits, dashes, dots or underscores, the first a letter or digit"));
        }

        if (request.Image is null && (request.SizeBytes <= 0 || request.SizeBytes % StoreConfigLoader.SizeUnit != 0))
        {
            errors.Add(new ProblemError("/sizeBytes",
                $"{request.SizeBytes} is not a size; write a multiple of {StoreConfigLoader.SizeUnit}, more than 0"));
        }

        if (request.Image is { } image && !image.StartsWith('/')) errors.Add(new ProblemError("/image", $"'{image}' is not an absolute path"));
        if (request.Image is not null && request.SizeBytes != 0)
            errors.Add(new ProblemError("/sizeBytes", "has no effect beside image, whose size is the volume's; leave it out"));
        if (request.Replica) errors.Add(new ProblemError("/replica", "volumes are not replicated by this version; leave it out"));
        return errors.Count == 0 ? store.Create(request)
            : throw new ProblemException(Problems.BadRequest($"the volume needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put right",
                errors));
    }
}
