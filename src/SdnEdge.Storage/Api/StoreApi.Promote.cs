using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

// What a person decides about a copy.
internal static partial class StoreApi
{
    private static void MapDecisions(RouteGroupBuilder v1, IStoreControl store)
    {
        v1.MapPost("/volumes/{name}/promote",
                (HttpContext context, [FromRoute] string name, [FromBody] VolumePromoteRequest request, CancellationToken cancel)
                    => store.PromoteAsync(name, request, context.Caller().Name, cancel))
            .Says("A person makes the copy here the owner, because the owner's site is lost; refused where something is lost by it, unless "
                + "the volume's name is given with it")
            .WithTags("decisions").Needs(ApiRole.Admin).Fails(400, 404, 409, 503);
        v1.MapPost("/volumes/{name}/resync",
                ([FromRoute] string name, [FromBody] VolumeResyncRequest request, CancellationToken cancel)
                    => store.ResyncAsync(name, request, cancel))
            .Says("Replica: a copy of everything is made; owner: it gives the volume up to the other store, which owns it under a "
                + "higher epoch")
            .WithTags("decisions").Needs(ApiRole.Admin).Fails(400, 404, 409, 503);
        v1.MapGet("/volumes/{name}/branches", ([FromRoute] string name) => store.Branches(name))
            .Says("What was put aside: records that no owner's history goes on from").WithTags("branches").Fails(404, 503);
        v1.MapGet("/volumes/{name}/branches/{number:int}", ([FromRoute] string name, [FromRoute] int number)
                => Results.Stream(store.OpenBranch(name, number), "application/octet-stream"))
            .Says("A branch's records, for 'sdnedge store branch export'").WithTags("branches").Needs(ApiRole.Admin).Fails(404, 409, 503)
            .Produces(200, contentType: "application/octet-stream");
        v1.MapDelete("/volumes/{name}/branches/{number:int}", ([FromRoute] string name, [FromRoute] int number) =>
            {
                store.DeleteBranch(name, number);
                return Results.NoContent();
            })
            .Says("Deletes a branch").WithTags("branches").Needs(ApiRole.Admin).Fails(404, 409, 503).Produces(204);
    }
}
