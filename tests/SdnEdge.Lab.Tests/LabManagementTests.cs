using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>The management network for real: a router's API over it by mutual TLS, its delay, and its secrets.</summary>
[Trait("needs", "executable")]
public sealed class LabManagementTests
{
    private const string OneRouter = """
        name: LABNAME
        topology:
          nodes:
            pe-1: { kind: sdnedge-pe, startup-config: pe-1.yaml, labels: { sdnedge.management: 10.254.0.1/24 } }
            third: { kind: linux, labels: { sdnedge.management: "fd00:254::9/64" }, exec: [ip address add 10.254.0.9/24 dev mgmt0] }
            mgmt: { kind: sdnedge-wan }
          links:
            - { endpoints: ["third:mgmt0", "mgmt:eth1"], vars: { delay: 10ms } }
            - { endpoints: ["pe-1:mgmt0", "mgmt:eth2"] }
        """;

    [RootFact]
    public async Task A_routers_api_is_reached_over_the_management_network_with_the_labs_certificates_alone()
    {
        await using var instance = LabInstance.Of(OneRouter);
        await File.WriteAllTextAsync(
            Path.Combine(instance.Root, "pe-1.yaml"), "name: pe-1\nrouterId: 10.255.0.1\nas: 65000\nloopbacks: [10.255.0.1]\n");
        RunningLab lab = await instance.DeployAsync();
        Assert.Equal("https://10.254.0.1:8443/", lab.ApiAddress("pe-1"));
        foreach (string secret in (string[])["ca.key", "pe-1.key", "third.key"])
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(lab.Folder, secret)));

        ClientIdentity identity = lab.IdentityOf("third");
        Assert.Equal("fd00:254::9", lab.ManagementAddress("third").ToString());
        var watch = Stopwatch.StartNew();
        string answer = await AskAsync(lab, identity.Certificate, identity.Authority!);
        Assert.True(watch.ElapsedMilliseconds >= 60, "TCP, TLS and the request take a round trip of 20 ms each");
        Assert.StartsWith("HTTP/1.1 200", answer, StringComparison.Ordinal);
        Assert.Contains("\"name\":\"pe-1\"", answer, StringComparison.Ordinal);

        // Of another lab: the right names, signed by somebody else.
        string other = Path.Combine(instance.Root, "other");
        Directory.CreateDirectory(other);
        LabCertificates.Write(lab.Topology, other);
        ClientIdentity stranger = ClientIdentity.Load(
            LabCertificates.CertificateOf(other, "third"), LabCertificates.KeyOf(other, "third"), LabCertificates.AuthorityOf(other));
        await Assert.ThrowsAsync<AuthenticationException>(() => AskAsync(lab, identity.Certificate, stranger.Authority!));
        await Assert.ThrowsAnyAsync<IOException>(() => AskAsync(lab, stranger.Certificate, identity.Authority!));

        LabReport report = (await LabInspector.InspectAsync(instance.Name, instance.StateRoot, CancellationToken.None))!;
        Assert.Equal(("10.254.0.1", "up"), (report.Nodes[0].Management, report.Nodes[0].State));
        string device = await LabInstance.RunAsync(lab, "pe-1", "ip", "-br", "address", "show", "dev", "mgmt0");
        Assert.Contains("10.254.0.1", device, StringComparison.Ordinal);
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    [Fact]
    public void Each_certificate_serves_both_ends_and_names_its_node_and_address()
    {
        LabTopology lab = TopologyLoader.Load(LabFiles.Figure1);
        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdnedge-certificates-");
        try
        {
            LabCertificates.Write(lab, folder.FullName);
            using X509Certificate2 authority = X509CertificateLoader.LoadCertificateFromFile(LabCertificates.AuthorityOf(folder.FullName));
            foreach (LabNode node in lab.Nodes.Where(n => n.Management is not null))
            {
                using var certificate = X509Certificate2.CreateFromPemFile(
                    LabCertificates.CertificateOf(folder.FullName, node.Name), LabCertificates.KeyOf(folder.FullName, node.Name));
                Assert.True(certificate.HasPrivateKey);
                Assert.Equal(node.Name, certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false));
                Assert.True(certificate.MatchesHostname(node.Name));
                Assert.True(certificate.MatchesHostname(node.Management!.Value.Address.ToString()));
                foreach (string purpose in (string[])["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"])
                {
                    using var chain = new X509Chain();
                    chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                    chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                    chain.ChainPolicy.CustomTrustStore.Add(authority);
                    chain.ChainPolicy.ApplicationPolicy.Add(new System.Security.Cryptography.Oid(purpose));
                    Assert.True(chain.Build(certificate), string.Join(", ", chain.ChainStatus.Select(s => s.StatusInformation)));
                }
            }

            Assert.Equal(2 + (2 * 8), folder.GetFiles().Length);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // The connection is made by a thread inside the namespace; from then on any thread may use it.
    private static async Task<string> AskAsync(RunningLab lab, X509Certificate2 own, X509Certificate2 authority)
    {
        using Socket inside = Namespaces.Run(lab.NamespaceOf("third"), () =>
        {
            var s = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            s.Connect(new IPEndPoint(IPAddress.Parse("10.254.0.1"), DaemonFile.ApiPort));
            return s;
        });
        await using var tls = new SslStream(new NetworkStream(inside));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "10.254.0.1",
            ClientCertificates = [own],
            CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                CustomTrustStore = { authority },
            },
        });
        await tls.WriteAsync(Encoding.ASCII.GetBytes("GET /v1/node HTTP/1.1\r\nHost: pe-1\r\nConnection: close\r\n\r\n"));
        using var reader = new StreamReader(tls);
        string answer = await reader.ReadToEndAsync();
        return answer.Length > 0 ? answer : throw new IOException("the connection was closed without an answer");
    }
}
