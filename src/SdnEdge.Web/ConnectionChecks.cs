using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using SdnEdge.Core.Config;
using SdnEdge.Linux;

namespace SdnEdge.Web;

/// <summary>
/// Who may connect, and as whom: on the unix socket root, the daemon's own user and the users that the configuration names, by what the
/// kernel says of the peer; on TCP holders of a certificate of the configured CA.
/// </summary>
public sealed class ConnectionChecks(IReadOnlyList<AccessRule> access)
{

    private long _refusedUsers;
    private long _refusedCertificates;
    private long _refusedRoles;

    /// <summary>Connections closed because of the peer's user id.</summary>
    public long RefusedUsers => Interlocked.Read(ref _refusedUsers);

    /// <summary>TLS handshakes refused because of the client's certificate.</summary>
    public long RefusedCertificates => Interlocked.Read(ref _refusedCertificates);

    /// <summary>Requests refused because the caller's role does not suffice.</summary>
    public long RefusedRoles => Interlocked.Read(ref _refusedRoles);

    /// <summary>What a user of this machine may do.</summary>
    public ApiRole RoleOf(uint user)
        => user == 0 || user == PeerCredentials.OwnUser ? ApiRole.Admin : access.FirstOrDefault(r => r.User == user)?.Role ?? ApiRole.None;

    /// <summary>What the holder of a certificate of the configured CA may do: what its common name was given, else read.</summary>
    public ApiRole RoleOf(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        string? name = TlsFiles.CommonName(certificate);
        return name is null ? ApiRole.Read : access.FirstOrDefault(r => r.Certificate == name)?.Role ?? ApiRole.Read;
    }

    /// <summary>The counters as metrics.</summary>
    public IReadOnlyList<MetricFamily> Metrics() =>
    [
        new("sdnedge_api_connections_refused_total", "API connections and requests refused by who sent them.", MetricKind.Counter,
            [new(RefusedUsers, ("check", "user")), new(RefusedCertificates, ("check", "certificate")),
                new(RefusedRoles, ("check", "role"))]),
    ];

    /// <summary>Who sends a request.</summary>
    internal ApiIdentity Of(HttpContext context)
    {
        if (context.Features.Get<ApiIdentity>() is { } user) return user;
        if (context.Connection.ClientCertificate is not { } certificate) return new ApiIdentity("nobody", ApiRole.None);
        return new ApiIdentity("certificate " + (TlsFiles.CommonName(certificate) ?? certificate.Subject), RoleOf(certificate));
    }

    internal void CountRefusedRole() => Interlocked.Increment(ref _refusedRoles);

    /// <summary>Connection middleware for the unix socket: a peer without a role is cut off.</summary>
    internal ConnectionDelegate CheckPeer(ConnectionDelegate next) => async connection =>
    {
        Socket? socket = connection.Features.Get<IConnectionSocketFeature>()?.Socket;
        if (socket is null || !PeerCredentials.TryGet(socket, out PeerCredentials peer) || RoleOf(peer.User) is var role
            && role == ApiRole.None)
        {
            Interlocked.Increment(ref _refusedUsers);
            connection.Abort(new ConnectionAbortedException("the peer is neither root nor a user that api.access names"));
            return;
        }

        connection.Features.Set(new ApiIdentity($"user {peer.User}", role));
        await next(connection);
    };

    /// <summary>Mutual TLS: TLS 1.2 or 1.3, and a client certificate signed by the configured CA. Files that change are read
    /// again.</summary>
    /// <exception cref="IOException">A file cannot be read or holds no certificate or key.</exception>
    internal HttpsConnectionAdapterOptions MutualTls(ApiTcpConfig config)
    {
        var files = new TlsFiles(config);
        return new HttpsConnectionAdapterOptions
        {
            ServerCertificateSelector = (_, _) => files.Current.Server,
            SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            ClientCertificateMode = ClientCertificateMode.RequireCertificate,
            ClientCertificateValidation = (certificate, _, _) =>
            {
                if (files.Accepts(certificate)) return true;
                Interlocked.Increment(ref _refusedCertificates);
                return false;
            },
        };
    }
}
