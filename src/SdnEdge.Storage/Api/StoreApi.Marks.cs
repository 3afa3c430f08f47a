using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

internal static partial class StoreApi
{
    private static void MapMarks(RouteGroupBuilder v1, IStoreControl store)
    {
        const string Marks = "/volumes/{name}/marks", Mark = Marks + "/{mark}";
        v1.MapGet(Marks, ([FromRoute] string name) => store.Marks(name))
            .Says("A volume's marks, oldest first").WithTags("marks").Fails(404, 503);
        v1.MapPost(Marks, ([FromRoute] string name, [FromBody] MarkRequest request, CancellationToken cancel)
                => MarkAsync(store, name, request, cancel))
            .Says("Owner: keeps what the volume is now, here and at its replica; several volumes at one barrier. Answered when it is kept "
                + "here").WithTags("marks").Needs(ApiRole.Migrate).Fails(400, 404, 409, 503, 507);
        v1.MapDelete(Mark, ([FromRoute] string name, [FromRoute] string mark, CancellationToken cancel)
                => UnmarkAsync(store, name, mark, cancel))
            .Says("Lets a mark go, at this store; one that a client reads stays").WithTags("marks").Needs(ApiRole.Admin)
            .Fails(404, 409, 503, 507).Produces(204);
        v1.MapPost(Mark + "/check", ([FromRoute] string name, [FromRoute] string mark, CancellationToken cancel)
                => store.CheckMarkAsync(name, mark, cancel))
            .Says("Compares what a mark keeps with the content root that the volume had").WithTags("marks").Needs(ApiRole.Admin)
            .Fails(404, 503);
    }

    private static async Task<IResult> UnmarkAsync(IStoreControl store, string name, string mark, CancellationToken cancel)
    {
        await store.UnmarkAsync(name, mark, cancel);
        return Results.NoContent();
    }

    private static Task<IReadOnlyList<MarkInfo>> MarkAsync(IStoreControl store, string name, MarkRequest request, CancellationToken cancel)
    {
        var errors = new List<ProblemError>();
        if (!IsName(request.Name)) errors.Add(new ProblemError("/name", $"'{request.Name}' is not a mark's name; write {NameRule}"));
        if (request.Group is { } group && !IsName(group))
            errors.Add(new ProblemError("/group", $"'{group}' is not a group's name; write {NameRule}"));
        string[] all = [name, .. request.With ?? []];
        foreach (string twice in all.GroupBy(v => v, StringComparer.Ordinal).Where(g => g.Count() > 1).Select(g => g.Key))
            errors.Add(new ProblemError("/with", $"volume '{twice}' is there twice; each is named once"));
        return errors.Count == 0 ? store.MarkAsync(name, request, cancel)
            : throw new ProblemException(Problems.BadRequest(
                $"the mark needs {errors.Count} thing{(errors.Count == 1 ? "" : "s")} put right", errors));
    }

    private const string NameRule = "1 to 63 letters, digits, dashes, dots or underscores, the first a letter or digit";

    private static bool IsName(string? text) => text is { Length: > 0 and <= 63 } && char.IsAsciiLetterOrDigit(text[0])
        && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');
}
