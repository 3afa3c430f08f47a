using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;

namespace SdnEdge.Web;

/// <summary>Turns every failure into an RFC 9457 answer: exceptions, unreadable JSON, and bare statuses such as 404 and 405.</summary>
internal static class ProblemAnswers
{
    public const string ContentType = "application/problem+json";

    // People read these in a terminal: an apostrophe is an apostrophe there, and nobody embeds them in a page.
    private static readonly JsonTypeInfo<Problem> Json =
        new JsonSerializerOptions(ApiJson.Options) { Encoder =
            System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }.For<Problem>();

    /// <summary>Puts it in front of everything that can fail.</summary>
    /// <param name="app">The daemon's API.</param>
    /// <param name="bodies">The types that its endpoints take as bodies: their fields are what a misspelt one is compared with.</param>
    public static void Use(WebApplication app, IReadOnlyList<JsonTypeInfo> bodies) => app.Use(async (context, next) =>
    {
        try
        {
            await next(context);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentLength: null, ContentType: null })
                await WriteAsync(context, Problems.OfStatus(context.Response.StatusCode, context.Request.Method, context.Request.Path,
                    context.Request.QueryString.ToString()));
        }
        catch (ProblemException e) when (!context.Response.HasStarted)
        {
            await WriteAsync(context, e.Problem);
        }
        catch (BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await WriteAsync(context, Unreadable(e, bodies));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The client went away; nobody reads an answer.
        }
        catch (ObjectDisposedException) when (!context.Response.HasStarted)
        {
            await WriteAsync(context, Problems.Unavailable("the daemon is stopping; ask again when it runs"));
        }
        catch (Exception e) when (!context.Response.HasStarted)
        {
            await WriteAsync(context, Problems.Internal($"{e.GetType().Name}: {e.Message}"));
        }
    });

    public static Task WriteAsync(HttpContext context, Problem problem)
    {
        context.Response.Clear();
        context.Response.StatusCode = problem.Status;
        return context.Response.WriteAsJsonAsync(problem, Json, ContentType, context.RequestAborted);
    }

    private static Problem Unreadable(BadHttpRequestException e, IReadOnlyList<JsonTypeInfo> bodies)
    {
        if (e.StatusCode == StatusCodes.Status415UnsupportedMediaType) return Problems.OfStatus(415, "", "");
        if (e.StatusCode == StatusCodes.Status413PayloadTooLarge) return new Problem("/problems/too-large", "The body is too large", 413,
            "a body holds at most 256 MiB");
        if (e.InnerException is not JsonException json) return Problems.BadRequest(e.Message);
        string where = json.LineNumber is { } line ? $" at line {line + 1}, byte {json.BytePositionInLine}" : "";
        string pointer = (json.Path ?? "$").Replace("$", "", StringComparison.Ordinal).Replace('.', '/').Replace("[", "/",
            StringComparison.Ordinal).Replace("]", "", StringComparison.Ordinal);
        string message = json.Message.Split(" Path: ", 2)[0];
        if (message.Contains("could not be mapped", StringComparison.Ordinal)) message = UnknownMember(pointer, bodies);
        return Problems.BadRequest($"the body is not the JSON this endpoint takes{where}; GET /openapi/v1.json has its schema",
            [new ProblemError(pointer, message)]);
    }

    // The pointer of an unknown member ends with its name.
    private static string UnknownMember(string pointer, IReadOnlyList<JsonTypeInfo> bodies)
    {
        string name = pointer[(pointer.LastIndexOf('/') + 1)..];
        IEnumerable<string> known = bodies.SelectMany(t => t.Properties).Select(p => p.Name);
        return Spelling.Nearest(name, known) is { } nearest
            ? $"'{name}' is not a known field; did you mean '{nearest}'?"
            : $"'{name}' is not a known field";
    }
}
