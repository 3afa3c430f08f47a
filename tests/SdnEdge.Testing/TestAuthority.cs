using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace SdnEdge.Testing;

/// <summary>A certificate authority that lives as long as a test.</summary>
public sealed class TestAuthority : IDisposable
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1", ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>Makes one; <paramref name="name"/> is in its own name.</summary>
    public TestAuthority(string name)
    {
        var request = new CertificateRequest($"CN={name} CA", _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        Certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-2), DateTimeOffset.UtcNow.AddDays(2));
    }

    /// <summary>Its own certificate.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>A certificate with its key, for clients or for a server at 127.0.0.1.</summary>
    /// <param name="subject">The whole subject, e.g. <c>CN=mms</c>.</param>
    /// <param name="forServer">False: for clients; null: for both.</param>
    /// <param name="fromHours">Valid from so many hours from now.</param>
    /// <param name="toHours">Valid up to so many hours from now.</param>
    public X509Certificate2 Issue(string subject, bool? forServer = false, double fromHours = -1, double toHours = 1)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        var usage = new OidCollection();
        if (forServer != false) usage.Add(new Oid(ServerAuthentication));
        if (forServer != true) usage.Add(new Oid(ClientAuthentication));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(usage, false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = DateTimeOffset.UtcNow;
        using X509Certificate2 signed = request.Create(
            Certificate, now.AddHours(fromHours), now.AddHours(toHours), RandomNumberGenerator.GetBytes(8));
        using X509Certificate2 withKey = signed.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
    }

    /// <summary>Issues a certificate and writes it and its key as PEM files NAME.crt and NAME.key into a folder.</summary>
    /// <returns>The two files.</returns>
    public (string Certificate, string Key) Write(string folder, string name, bool? forServer = false, string? subject = null)
    {
        using X509Certificate2 issued = Issue(subject ?? "CN=" + name, forServer);
        (string crt, string key) = (Path.Combine(folder, name + ".crt"), Path.Combine(folder, name + ".key"));
        using ECDsa secret = issued.GetECDsaPrivateKey()!;
        File.WriteAllText(crt, issued.ExportCertificatePem());
        File.WriteAllText(key, secret.ExportPkcs8PrivateKeyPem());
        return (crt, key);
    }

    /// <summary>Writes its own certificate as a PEM file.</summary>
    public string WriteAuthority(string folder, string name = "ca")
    {
        string file = Path.Combine(folder, name + ".crt");
        File.WriteAllText(file, Certificate.ExportCertificatePem());
        return file;
    }

    /// <summary>A TCP port of 127.0.0.1 that nobody has: below those that the kernel gives to those who ask for any.</summary>
    /// <param name="above">A port that was given before; 0: none.</param>
    public static int FreePort(int above = 0)
    {
        for (int port = above > 0 ? above + 1 : 20_000 + (Environment.ProcessId % 10_000); ; port++)
        {
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Somebody listens there: the next one.
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Certificate.Dispose();
        _key.Dispose();
    }
}
