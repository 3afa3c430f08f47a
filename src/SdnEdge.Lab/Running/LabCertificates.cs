using System.Collections.ObjectModel;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Running;

/// <summary>
/// The certificates of a lab: one authority, made at deploy and gone with the lab, and one certificate for each node that is on a
/// management network, for both ends of a connection (ECDSA P-256, PEM; keys 0600). The common name is the node's; the alternative names
/// are the node's and its management address (RFC 5280 section 4.2.1.6).
/// </summary>
internal static class LabCertificates
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1", ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private static readonly TimeSpan s_validity = TimeSpan.FromDays(3650);

    /// <summary>The authority's certificate. Its key lies beside it as <c>ca.key</c>, to sign what somebody wants to try.</summary>
    public static string AuthorityOf(string folder) => Path.Combine(folder, "ca.crt");

    /// <summary>The certificate of a node.</summary>
    public static string CertificateOf(string folder, string node) => Path.Combine(folder, node + ".crt");

    /// <summary>The private key of a node.</summary>
    public static string KeyOf(string folder, string node) => Path.Combine(folder, node + ".key");

    /// <summary>Makes and writes what a lab needs: nothing when no node is on a management network.</summary>
    public static void Write(LabTopology lab, string folder)
    {
        LabNode[] nodes = [.. lab.Nodes.Where(n => n.Management is not null)];
        if (nodes.Length == 0) return;
        DateTimeOffset from = DateTimeOffset.UtcNow.AddHours(-1), until = from + s_validity;
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 authority = Authority(lab.Name, authorityKey, from, until);
        WriteSecret(Path.Combine(folder, "ca.key"), authorityKey.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(AuthorityOf(folder), authority.ExportCertificatePem() + "\n");
        foreach (LabNode node in nodes)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using X509Certificate2 certificate = ForNode(node, key, authority, from, until);
            WriteSecret(KeyOf(folder, node.Name), key.ExportPkcs8PrivateKeyPem());
            File.WriteAllText(CertificateOf(folder, node.Name), certificate.ExportCertificatePem() + "\n");
        }
    }

    private static X509Certificate2 Authority(string lab, ECDsa key, DateTimeOffset from, DateTimeOffset until)
    {
        var request = new CertificateRequest($"CN=SdnEdge lab {lab}", key, HashAlgorithmName.SHA256);
        Collection<X509Extension> extensions = request.CertificateExtensions;
        extensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: true, 0, critical: true));
        extensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        extensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request.CreateSelfSigned(from, until);
    }

    private static X509Certificate2 ForNode(LabNode node, ECDsa key, X509Certificate2 authority, DateTimeOffset from, DateTimeOffset until)
    {
        var request = new CertificateRequest($"CN={node.Name}", key, HashAlgorithmName.SHA256);
        Collection<X509Extension> extensions = request.CertificateExtensions;
        extensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        extensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        extensions.Add(new X509EnhancedKeyUsageExtension([new Oid(ServerAuthentication), new Oid(ClientAuthentication)], critical: false));
        extensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        extensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(
            authority, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(node.Name);
        names.AddIpAddress(IPAddress.Parse(node.Management!.Value.Address.ToString()));
        extensions.Add(names.Build());
        byte[] serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x40);   // positive, and of full length
        return request.Create(authority, from, until, serial);
    }

    private static void WriteSecret(string path, string pem)
    {
        using var file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        file.Write(Encoding.ASCII.GetBytes(pem + "\n"));
    }
}
