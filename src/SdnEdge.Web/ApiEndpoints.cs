using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;

namespace SdnEdge.Web;

/// <summary>What each endpoint of a daemon says about itself: who may call it, what it is for, how it can fail.</summary>
public static class ApiEndpoints
{
    /// <summary>The least role that may call the endpoint. One that says nothing may be called by a reader.</summary>
    public static RouteHandlerBuilder Needs(this RouteHandlerBuilder endpoint, ApiRole role) => endpoint.WithMetadata(new NeededRole(role));

    /// <summary>What it is for: the summary in the OpenAPI document.</summary>
    public static RouteHandlerBuilder Says(this RouteHandlerBuilder endpoint, string summary) => endpoint.WithSummary(summary);

    /// <summary>The statuses of RFC 9457 problems that it answers with, besides 401 and 403.</summary>
    public static RouteHandlerBuilder Fails(this RouteHandlerBuilder endpoint, params ReadOnlySpan<int> statuses)
    {
        foreach (int status in statuses) endpoint.Produces<Problem>(status, ProblemAnswers.ContentType);
        return endpoint;
    }

    /// <summary>Who sends this request.</summary>
    public static ApiIdentity Caller(this HttpContext context)
        => (ApiIdentity?)context.Items[typeof(ApiIdentity)]
            ?? throw new InvalidOperationException("the caller is known behind the role check only");
}

/// <summary>Metadata of an endpoint: the least role that may call it.</summary>
/// <param name="Role">The role.</param>
public sealed record NeededRole(ApiRole Role);

/// <summary>An endpoint of a running daemon.</summary>
/// <param name="Method">The HTTP method.</param>
/// <param name="Pattern">The path, its variable parts in braces: <c>/v1/migrations/{id}</c>.</param>
/// <param name="Role">The least role that may call it.</param>
public sealed record ServedEndpoint(string Method, string Pattern, ApiRole Role);
