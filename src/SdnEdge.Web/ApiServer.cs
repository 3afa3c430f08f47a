using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.OpenApi;
using OpenTelemetry.Metrics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;

namespace SdnEdge.Web;

/// <summary>What a daemon's API is.</summary>
/// <param name="Title">Title of its OpenAPI document.</param>
/// <param name="Description">What it is for.</param>
/// <param name="Listen">Where it listens, and who may do what.</param>
/// <param name="Json">How its bodies are read and written; types are described when the program is built.</param>
/// <param name="Bodies">The types that its endpoints take as bodies, for "did you mean".</param>
/// <param name="Map">Maps its endpoints; what it gets ends when the daemon stops.</param>
public sealed record ApiServerOptions(
    string Title, string Description, ApiConfig Listen, JsonSerializerOptions Json, IReadOnlyList<JsonTypeInfo> Bodies,
    Action<WebApplication, ConnectionChecks, CancellationToken> Map)
{
    /// <summary>Where metrics are exported to, too; null = nowhere.</summary>
    public Uri? Otlp { get; init; }

    /// <summary>Name of the meter that is exported.</summary>
    public string MeterName { get; init; } = MeterBridge.MeterName;
}

/// <summary>
/// The API of a daemon: Kestrel on a unix socket (peer credentials checked) and, when configured, on TCP with mutual TLS. A request goes:
/// connection check -> role check -> JSON -> endpoint -> JSON; whatever fails on the way is answered as an RFC 9457 problem.
/// </summary>
public sealed class ApiServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string? _socketPath;
    private readonly CancellationTokenSource _stopping = new();

    private ApiServer(WebApplication app, string? socketPath, ConnectionChecks checks)
        => (_app, _socketPath, Checks) = (app, socketPath, checks);

    /// <summary>Counters of connections and requests that were refused.</summary>
    public ConnectionChecks Checks { get; }

    /// <summary>What it serves, by its own routing table: each method of each pattern, with the least role that may call it.</summary>
    public IReadOnlyList<ServedEndpoint> Endpoints =>
    [
        .. ((IEndpointRouteBuilder)_app).DataSources.SelectMany(d => d.Endpoints).SelectMany(e =>
            (e.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods ?? ["any"]).Select(m =>
                new ServedEndpoint(m, (e as RouteEndpoint)?.RoutePattern.RawText ?? e.DisplayName ?? "?", LeastRole(e)))),
    ];

    /// <summary>Starts to serve. When this returns, a client can connect.</summary>
    /// <exception cref="IOException">The socket cannot be made; the message says why and what to do.</exception>
    public static async Task<ApiServer> StartAsync(ApiServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        ApiConfig config = options.Listen;
        var checks = new ConnectionChecks(config.Access);
        UnixFileMode everyone = config.Access.Any(r => r.User is not null)
            ? UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite : 0;

        // Else the host watches every file below the working directory for an appsettings.json that changes: with a store's images there,
        // each write to one is told to this process as well, and below / a start looks at every folder of the machine.
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions
        {
            Args = ["--hostBuilder:reloadConfigOnChange=false"],
        });
        builder.Logging.ClearProviders();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.Services.ConfigureHttpJsonOptions(o =>
        {
            o.SerializerOptions.DefaultIgnoreCondition = options.Json.DefaultIgnoreCondition;
            o.SerializerOptions.UnmappedMemberHandling = System.Text.Json.Serialization.JsonUnmappedMemberHandling.Disallow;
            o.SerializerOptions.NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.Strict;
            o.SerializerOptions.TypeInfoResolver = options.Json.TypeInfoResolver;
            foreach (System.Text.Json.Serialization.JsonConverter converter in options.Json.Converters) o.SerializerOptions.Converters.Add(
                converter);
        });
        builder.Services.Configure<Microsoft.AspNetCore.Routing.RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
        builder.Services.AddOpenApi("v1", o =>
        {
            o.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
            o.AddDocumentTransformer((document, _, _) =>
            {
                document.Info = new OpenApiInfo { Title = options.Title, Version = "v1", Description = options.Description };
                document.Servers = [];
                return Task.CompletedTask;
            });
        });
        if (options.Otlp is { } otlp)
        {
            builder.Services.AddOpenTelemetry().WithMetrics(m => m.AddMeter(options.MeterName).AddOtlpExporter(o => o.Endpoint = otlp));
        }

        builder.WebHost.UseSockets(o => o.CreateBoundListenSocket = endpoint => Bind(endpoint, everyone));
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 256L << 20;
            kestrel.Limits.MaxConcurrentConnections = 256;
            if (config.Unix is { } path) kestrel.ListenUnixSocket(path, listen => listen.Use(checks.CheckPeer));
            if (config.Tcp is { } tcp) kestrel.Listen(IPAddress.Parse(tcp.Address.ToString()), tcp.Port, listen
                => listen.UseHttps(checks.MutualTls(tcp)));
        });

        WebApplication app = builder.Build();
        var api = new ApiServer(app, config.Unix, checks);
        ProblemAnswers.Use(app, options.Bodies);
        app.UseRouting();
        app.Use((context, next) => CheckRole(context, checks, next));
        app.MapOpenApi("/openapi/{documentName}.json");
        options.Map(app, checks, api._stopping.Token);
        if (config.Unix is { } socket) await MakeRoomAsync(socket);
        await app.StartAsync();
        return api;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // Event streams have no end of their own.
        await _stopping.CancelAsync();
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        try
        {
            await _app.StopAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            // Connections that did not finish in time are cut.
        }

        await _app.DisposeAsync();
        if (_socketPath is not null) File.Delete(_socketPath);
        _stopping.Dispose();
    }

    // An endpoint that names no role may be called by a reader.
    private static Task CheckRole(HttpContext context, ConnectionChecks checks, RequestDelegate next)
    {
        ApiIdentity caller = checks.Of(context);
        context.Items[typeof(ApiIdentity)] = caller;
        ApiRole needed = LeastRole(context.GetEndpoint());
        if (caller.Role >= needed) return next(context);
        checks.CountRefusedRole();
        throw new ProblemException(Problems.Forbidden(
            $"{caller.Name} may {Word(caller.Role)} and this needs {Word(needed)}; the daemon's configuration gives roles in api.access"));
    }

    private static ApiRole LeastRole(Endpoint? endpoint) => endpoint?.Metadata.GetMetadata<NeededRole>()?.Role ?? ApiRole.Read;

    private static string Word(ApiRole role) => role == ApiRole.None ? "do nothing" : role.ToString().ToLowerInvariant();

    // The mode is set between bind and listen: nobody can connect before.
    private static Socket Bind(EndPoint endpoint, UnixFileMode everyone)
    {
        Socket socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
        if (endpoint is UnixDomainSocketEndPoint unix) File.SetUnixFileMode(unix.ToString(),
            UnixFileMode.UserRead | UnixFileMode.UserWrite | everyone);
        return socket;
    }

    // A socket file that nobody serves is left over from a crash and goes; one that answers is another daemon's.
    private static async Task MakeRoomAsync(string path)
    {
        string? folder = Path.GetDirectoryName(path);
        if (!string.IsNullOrEmpty(folder)) Directory.CreateDirectory(folder);
        if (!File.Exists(path)) return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await probe.ConnectAsync(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException)
        {
            File.Delete(path);
            return;
        }

        throw new IOException($"the API socket {path} is served by a process that runs now; stop it, or give this one its own api.unix");
    }
}
