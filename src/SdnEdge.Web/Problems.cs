using SdnEdge.Core.Api;

namespace SdnEdge.Web;

/// <summary>A refusal that becomes an RFC 9457 answer.</summary>
/// <param name="problem">The answer's body.</param>
public sealed class ProblemException(Problem problem) : Exception(problem.Detail)
{
    /// <summary>The answer's body.</summary>
    public Problem Problem { get; } = problem;
}

/// <summary>The kinds of problem this API answers with. The type is a stable name; clients may switch on it.</summary>
public static class Problems
{
    /// <summary>400: the request itself is wrong.</summary>
    public static Problem BadRequest(string detail, IReadOnlyList<ProblemError>? errors = null)
        => new("/problems/bad-request", "The request is wrong", 400, detail, errors);

    /// <summary>403: the caller's role does not allow it.</summary>
    public static Problem Forbidden(string detail) => new("/problems/forbidden", "The caller may not do this", 403, detail);

    /// <summary>404: no such thing.</summary>
    public static Problem NotFound(string detail) => new("/problems/not-found", "There is no such thing", 404, detail);

    /// <summary>409: the migration's state does not allow the signal.</summary>
    public static Problem WrongState(string detail) => new("/problems/wrong-state", "The state does not allow this signal", 409, detail);

    /// <summary>409: a signal with a higher epoch was seen.</summary>
    public static Problem StaleEpoch(string detail)
        => new("/problems/stale-epoch", "The epoch is older than the highest seen", 409, detail);

    /// <summary>409: the request contradicts what is there.</summary>
    public static Problem Conflict(string detail) => new("/problems/conflict", "The request contradicts what is there", 409, detail);

    /// <summary>422: the new configuration is wrong or cannot be applied.</summary>
    public static Problem BadConfig(string detail, IReadOnlyList<ProblemError> errors)
        => new("/problems/bad-config", "The configuration was not applied", 422, detail, errors);

    /// <summary>504: what the signal waits for did not happen in time.</summary>
    public static Problem Timeout(string detail) => new("/problems/timeout", "It did not take effect in time", 504, detail);

    /// <summary>500: a mistake of ours.</summary>
    public static Problem Internal(string detail) => new("/problems/internal", "The daemon made a mistake", 500, detail);

    /// <summary>507: what must outlive a restart cannot be written.</summary>
    public static Problem NotKept(string detail) => new("/problems/not-kept", "It cannot be kept over a restart", 507, detail);

    /// <summary>503: the daemon is stopping or not ready.</summary>
    public static Problem Unavailable(string detail) => new("/problems/unavailable", "The daemon cannot answer now", 503, detail);

    /// <summary>503: another one of several daemons has to be asked.</summary>
    public static Problem Standby(string detail) => new(ApiProblems.Standby, "Another manager leads", 503, detail);

    /// <summary>For a bare HTTP status without a body of its own.</summary>
    public static Problem OfStatus(int status, string method, string path, string query = "") => status switch
    {
        400 => BadRequest($"a value in '{query}' is not of the type it should have; GET /openapi/v1.json says which"),
        404 => NotFound($"there is no {path}; GET /openapi/v1.json lists what there is"),
        405 => new("/problems/method-not-allowed", "The method is not allowed here", 405,
            $"{path} does not take {method}; reading is GET, signals are POST"),
        415 => new("/problems/unsupported-media-type", "The body is not JSON", 415, "send the body with Content-Type: application/json"),
        _ => new($"/problems/http-{status}", "The request failed", status, $"{method} {path} failed with status {status}"),
    };
}
