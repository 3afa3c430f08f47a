using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Web;

namespace SdnEdge.Router.Api;

/// <summary>The PE's API: a request goes to <see cref="SignalChecks"/>, then to <see cref="IPeControl"/>.</summary>
internal static class PeApi
{
    /// <summary>What it serves, and where.</summary>
    public static ApiServerOptions Options(NodeConfig config, IPeControl pe) => new(
        "SdnEdge PE control API", "Signals of the migration management system, and what the router does.", config.Api, ApiJson.Options,
        [ApiJson.Options.GetTypeInfo(typeof(SignalRequest)), ApiJson.Options.GetTypeInfo(typeof(MovingPrefix)),
            ApiJson.Options.GetTypeInfo(typeof(HoldOptions))],
        (app, checks, stopping) => Endpoints.Map(app, pe, checks, stopping))
    {
        Otlp = config.Telemetry.Otlp,
    };
}
