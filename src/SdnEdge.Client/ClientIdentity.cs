using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SdnEdge.Client;

/// <summary>A client's certificate with its key, and the only authority whose server certificates it accepts (null = the
/// system's).</summary>
/// <param name="Certificate">Certificate and key.</param>
/// <param name="Authority">The authority.</param>
public sealed record ClientIdentity(X509Certificate2 Certificate, X509Certificate2? Authority)
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private IdentityFiles? _files;

    /// <summary>The identity as its files are now: renewed files are used from the next handshake on. Files that cannot be read any more
    /// leave the last good ones in force.</summary>
    public ClientIdentity Current => _files?.Current ?? this;

    /// <summary>Reads PEM files, and again whenever they change.</summary>
    /// <exception cref="IOException">One cannot be read, or holds no certificate or key.</exception>
    public static ClientIdentity Load(string certificate, string key, string authority)
    {
        var files = new IdentityFiles(certificate, key, authority);
        return files.Current with { _files = files };
    }

    /// <summary>Has connections prove this identity, as it is at each handshake, and accept what its authority has signed only.</summary>
    public void ApplyTo(SslClientAuthenticationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);

        // A resumed session would go on with the identity of before.
        options.AllowTlsResume = false;
        options.LocalCertificateSelectionCallback = (_, _, _, _, _) => Current.Certificate;
        if (Authority is null) return;

        // Only so that nothing is looked up elsewhere: what counts is the callback's word.
        options.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        options.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => Current.Accepts(
            certificate as X509Certificate2, chain, errors);
    }

    /// <summary>True when the authority has signed a server's certificate, for servers, for that name, and its time has not run
    /// out.</summary>
    internal bool Accepts(X509Certificate2? server, X509Chain? sent, SslPolicyErrors errors)
    {
        if (server is null || Authority is null) return false;
        if ((errors & (SslPolicyErrors.RemoteCertificateNotAvailable | SslPolicyErrors.RemoteCertificateNameMismatch)) != 0) return false;
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.CustomTrustStore.Add(Authority);
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
        if (sent is not null) chain.ChainPolicy.ExtraStore.AddRange(sent.ChainPolicy.ExtraStore);
        return chain.Build(server);
    }

    // The three files, and what was read of them last.
    private sealed class IdentityFiles
    {
        private readonly string _certificate, _key, _authority;
        private readonly Lock _lock = new();
        private (DateTime, DateTime, DateTime) _stamp;
        private ClientIdentity _read;

        public IdentityFiles(string certificate, string key, string authority)
        {
            (_certificate, _key, _authority) = (certificate, key, authority);
            _stamp = Stamp();
            _read = Read();
        }

        public ClientIdentity Current
        {
            get
            {
                lock (_lock)
                {
                    (DateTime, DateTime, DateTime) stamp = Stamp();
                    if (stamp == _stamp) return _read;
                    try
                    {
                        (_read, _stamp) = (Read(), stamp);
                    }
                    catch (IOException)
                    {
                        // Half written, or gone: the next handshake looks again.
                    }

                    return _read;
                }
            }
        }

        private (DateTime, DateTime, DateTime) Stamp()
            => (File.GetLastWriteTimeUtc(_certificate), File.GetLastWriteTimeUtc(_key), File.GetLastWriteTimeUtc(_authority));

        private ClientIdentity Read()
        {
            try
            {
                return new ClientIdentity(X509Certificate2.CreateFromPemFile(_certificate, _key),
                    X509CertificateLoader.LoadCertificateFromFile(_authority));
            }
            catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
            {
                throw new IOException(
                    $"cannot read {_certificate}, {_key} or {_authority}: {e.Message.TrimEnd('.')}; each must be a readable PEM file, and "
                    + $"the key the "
                    + "certificate's", e);
            }
        }
    }
}
