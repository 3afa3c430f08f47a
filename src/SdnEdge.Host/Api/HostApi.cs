using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Web;

namespace SdnEdge.Host.Api;

/// <summary>The agent's API: a request goes to <see cref="OrderChecks"/>, then to <see cref="IHostControl"/>.</summary>
internal static class HostApi
{
    /// <summary>What it serves, and where.</summary>
    public static ApiServerOptions Options(HostAgentConfig config, IHostControl host) => new(
        "SdnEdge server host API", "Orders of the migration management system to the agent of one server host, and what its servers do.",
            config.Api,
        ApiJson.Options, [ApiJson.Options.GetTypeInfo(typeof(ServerOrderRequest)), ApiJson.Options.GetTypeInfo(typeof(ServerLeaseCall))],
        (app, checks, stopping) => Endpoints.Map(app, host, checks, stopping))
    {
        MeterName = "SdnEdge.Host",
    };
}
