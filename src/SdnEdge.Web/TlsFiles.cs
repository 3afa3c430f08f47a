using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SdnEdge.Core.Config;

namespace SdnEdge.Web;

/// <summary>
/// A daemon's certificate, its key and the CA of its clients, as they are on disk: renewed files are used from the next handshake on. Files
/// that cannot be read any more leave the last good ones in force.
/// </summary>
public sealed class TlsFiles
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1", ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private const string CommonNameOid = "2.5.4.3";

    private readonly ApiTcpConfig _config;
    private readonly string _place;
    private readonly Lock _lock = new();
    private Loaded _loaded;

    /// <summary>Reads the files.</summary>
    /// <param name="config">Where they are.</param>
    /// <param name="place">The place in the configuration that names them, for people.</param>
    /// <exception cref="IOException">One cannot be read, or holds no certificate or key.</exception>
    public TlsFiles(ApiTcpConfig config, string place = "api.tcp")
    {
        (_config, _place) = (config, place);
        _loaded = Load(config, place);
    }

    /// <summary>What is in force now.</summary>
    public Loaded Current
    {
        get
        {
            lock (_lock)
            {
                if (_loaded.Stamp == StampOf(_config)) return _loaded;
                try
                {
                    _loaded = Load(_config, _place);
                }
                catch (IOException)
                {
                    // Half written, or gone: the next handshake looks again.
                }

                return _loaded;
            }
        }
    }

    /// <summary>
    /// The one common name of a certificate's subject; null where it has none, or more than one. Another part of the subject, or of its
    /// other names, is not taken for it.
    /// </summary>
    public static string? CommonName(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        string? name = null;
        foreach (X500RelativeDistinguishedName part in certificate.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (part.HasMultipleElements) return null;
            if (part.GetSingleElementType().Value != CommonNameOid) continue;
            if (name is not null) return null;
            name = part.GetSingleElementValue();
        }

        return name;
    }

    /// <summary>True when the configured CA has signed this certificate, and its time has not run out.</summary>
    /// <param name="certificate">The certificate.</param>
    /// <param name="ofServer">True: it must be one for servers; false: for clients.</param>
    public bool Accepts(X509Certificate2 certificate, bool ofServer = false)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(Current.Authorities);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ofServer ? ServerAuthentication : ClientAuthentication));
        return chain.Build(certificate);
    }

    private static (DateTime, DateTime, DateTime) StampOf(ApiTcpConfig config)
        => (File.GetLastWriteTimeUtc(config.Certificate), File.GetLastWriteTimeUtc(config.Key), File.GetLastWriteTimeUtc(config.ClientCa));

    private static Loaded Load(ApiTcpConfig config, string place)
    {
        (DateTime, DateTime, DateTime) stamp = StampOf(config);
        var authorities = new X509Certificate2Collection();
        X509Certificate2 server;
        try
        {
            server = X509Certificate2.CreateFromPemFile(config.Certificate, config.Key);
            authorities.ImportFromPemFile(config.ClientCa);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new IOException(
                $"{place}: cannot read {config.Certificate}, {config.Key} or {config.ClientCa}: {e.Message}; each must be a readable PEM "
                + $"file", e);
        }

        return authorities.Count > 0 ? new Loaded(server, authorities, stamp)
            : throw new IOException($"{place}.clientCa: {config.ClientCa} holds no certificate; it must hold the CA that signs the "
            + $"clients' certificates");
    }

    /// <summary>The files' content, and when each was last changed.</summary>
    /// <param name="Server">The daemon's certificate with its key.</param>
    /// <param name="Authorities">The CA's certificates.</param>
    /// <param name="Stamp">When each file was last changed.</param>
    public sealed record Loaded(X509Certificate2 Server, X509Certificate2Collection Authorities, (DateTime, DateTime, DateTime) Stamp);
}
