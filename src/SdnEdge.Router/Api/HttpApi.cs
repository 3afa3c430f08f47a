using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.OpenApi;
using OpenTelemetry.Metrics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Router.Telemetry;

namespace SdnEdge.Router.Api;

/// <summary>
/// The control API: Kestrel on a unix socket (mode 0600, peer credentials checked) and, when configured, on TCP with mutual
/// TLS. A request goes: connection check -> JSON -> <see cref="IPeControl"/> -> JSON; whatever
/// fails on the way is answered as RFC 9457 problem.
/// </summary>
public sealed class HttpApi : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string? _socketPath;
    private readonly CancellationTokenSource _stopping = new();

    private HttpApi(WebApplication app, string? socketPath, ConnectionChecks checks) => (_app, _socketPath, Checks) = (app, socketPath, checks);

    /// <summary>Counters of connections that were refused.</summary>
    public ConnectionChecks Checks { get; }

    /// <summary>Starts to serve. When this returns, a client can connect.</summary>
    /// <exception cref="IOException">The socket cannot be made; the message says why and what to do.</exception>
    public static async Task<HttpApi> StartAsync(ApiConfig config, IPeControl pe, TelemetryConfig telemetry)
    {
        var checks = new ConnectionChecks();
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { Args = [] });
        builder.Logging.ClearProviders();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.Services.AddSingleton(pe);
        builder.Services.ConfigureHttpJsonOptions(o =>
        {
            o.SerializerOptions.DefaultIgnoreCondition = ApiJson.Options.DefaultIgnoreCondition;
            o.SerializerOptions.UnmappedMemberHandling = System.Text.Json.Serialization.JsonUnmappedMemberHandling.Disallow;
            o.SerializerOptions.NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.Strict;
            o.SerializerOptions.TypeInfoResolver = ApiJson.Options.TypeInfoResolver;
            foreach (System.Text.Json.Serialization.JsonConverter converter in ApiJson.Options.Converters) o.SerializerOptions.Converters.Add(converter);
        });
        builder.Services.Configure<Microsoft.AspNetCore.Routing.RouteHandlerOptions>(o => o.ThrowOnBadRequest = true);
        builder.Services.AddOpenApi("v1", o =>
        {
            o.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
            o.AddDocumentTransformer((document, _, _) =>
            {
                document.Info = new OpenApiInfo { Title = "SdnEdge PE control API", Version = "v1", Description = "Signals of the migration management system, and what the router does." };
                document.Servers = [];
                return Task.CompletedTask;
            });
        });
        if (telemetry.Otlp is { } otlp)
        {
            builder.Services.AddOpenTelemetry().WithMetrics(m => m.AddMeter(MeterBridge.MeterName).AddOtlpExporter(o => o.Endpoint = otlp));
        }

        builder.WebHost.UseSockets(o => o.CreateBoundListenSocket = Bind);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 256L << 20;
            kestrel.Limits.MaxConcurrentConnections = 256;
            if (config.Unix is { } path) kestrel.ListenUnixSocket(path, listen => listen.Use(checks.CheckPeer));
            if (config.Tcp is { } tcp) kestrel.Listen(IPAddress.Parse(tcp.Address.ToString()), tcp.Port, listen => listen.UseHttps(checks.MutualTls(tcp)));
        });

        WebApplication app = builder.Build();
        var api = new HttpApi(app, config.Unix, checks);
        ProblemAnswers.Use(app);
        Endpoints.Map(app, pe, checks, api._stopping.Token);
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

    // The mode is set between bind and listen: nobody can connect before.
    private static Socket Bind(EndPoint endpoint)
    {
        Socket socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
        if (endpoint is UnixDomainSocketEndPoint unix) File.SetUnixFileMode(unix.ToString(), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return socket;
    }

    // A socket file that nobody serves is left over from a crash and goes; one that answers is another PE's.
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

        throw new IOException($"the API socket {path} is served by a process that runs now; stop that PE, or give this one its own api.unix");
    }
}
