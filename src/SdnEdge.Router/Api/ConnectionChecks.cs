using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using SdnEdge.Core.Config;
using SdnEdge.Linux;

namespace SdnEdge.Router.Api;

/// <summary>Who may connect: root or the PE's own user on the unix socket; holders of a certificate of the configured CA on TCP.</summary>
public sealed class ConnectionChecks
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private long _refusedUsers;
    private long _refusedCertificates;

    /// <summary>Connections closed because of the peer's user id.</summary>
    public long RefusedUsers => Interlocked.Read(ref _refusedUsers);

    /// <summary>TLS handshakes refused because of the client's certificate.</summary>
    public long RefusedCertificates => Interlocked.Read(ref _refusedCertificates);

    /// <summary>Says whether a peer with this user id may talk to us; a seam for tests.</summary>
    internal Func<uint, bool> MayConnect { get; set; } = user => user == 0 || user == PeerCredentials.OwnUser;

    /// <summary>Connection middleware for the unix socket: SO_PEERCRED must say root or our own user, else the connection is closed.</summary>
    public ConnectionDelegate CheckPeer(ConnectionDelegate next) => async connection =>
    {
        Socket? socket = connection.Features.Get<IConnectionSocketFeature>()?.Socket;
        if (socket is null || !PeerCredentials.TryGet(socket, out PeerCredentials peer) || !MayConnect(peer.User))
        {
            Interlocked.Increment(ref _refusedUsers);
            connection.Abort(new ConnectionAbortedException("the peer is neither root nor the PE's user"));
            return;
        }

        await next(connection);
    };

    /// <summary>Mutual TLS: TLS 1.2 or 1.3, and a client certificate signed by the configured CA.</summary>
    /// <exception cref="IOException">A file cannot be read or holds no certificate or key.</exception>
    public HttpsConnectionAdapterOptions MutualTls(ApiTcpConfig config)
    {
        X509Certificate2 server;
        var authorities = new X509Certificate2Collection();
        try
        {
            server = X509Certificate2.CreateFromPemFile(config.Certificate, config.Key);
            authorities.ImportFromPemFile(config.ClientCa);
        }
        catch (Exception e) when (e is System.Security.Cryptography.CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new IOException($"api.tcp: cannot read {config.Certificate}, {config.Key} or {config.ClientCa}: {e.Message}; each must be a readable PEM file", e);
        }

        if (authorities.Count == 0) throw new IOException($"api.tcp.clientCa: {config.ClientCa} holds no certificate; it must hold the CA that signs the clients' certificates");
        return new HttpsConnectionAdapterOptions
        {
            ServerCertificate = server,
            SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            ClientCertificateMode = ClientCertificateMode.RequireCertificate,
            ClientCertificateValidation = (certificate, _, _) =>
            {
                using var chain = new X509Chain();
                chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
                chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                chain.ChainPolicy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid(ClientAuthentication));
                if (chain.Build(certificate)) return true;
                Interlocked.Increment(ref _refusedCertificates);
                return false;
            },
        };
    }
}
