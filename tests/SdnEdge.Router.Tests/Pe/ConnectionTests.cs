using System.Diagnostics;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>Who may connect: over TCP only holders of a certificate of the configured CA, on the socket only root and the PE's user.</summary>
public sealed class ConnectionTests
{
    [Fact]
    public async Task Over_tcp_only_a_client_with_a_certificate_of_the_right_ca_is_served()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-tls-").FullName;
        try
        {
            using var right = new Authority("right");
            using var wrong = new Authority("wrong");
            using X509Certificate2 server = right.Issue("pe-a", forServer: true);
            File.WriteAllText(Path.Combine(folder, "pe.crt"), server.ExportCertificatePem());
            File.WriteAllText(Path.Combine(folder, "pe.key"), server.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
            File.WriteAllText(Path.Combine(folder, "ca.crt"), right.Certificate.ExportCertificatePem());
            var tcp = new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), FreePort(), Path.Combine(folder, "pe.crt"), Path.Combine(folder, "pe.key"), Path.Combine(folder, "ca.crt"));
            NodeConfig config = Config("name: pe-a\nrouterId: 10.255.0.1\nas: 1\nloopbacks: [10.255.0.1]\n") with { Api = new ApiConfig(Path.Combine(folder, "a.sock"), tcp) };
            await using PeRouter pe = await PeRouter.StartAsync(config, new PeRouterOptions());

            using X509Certificate2 mms = right.Issue("mms", forServer: false);
            using HttpClient good = Client(tcp.Port, mms);
            Assert.Equal("pe-a", (await GetAsync<NodeInfo>(good, "v1/node")).Name);

            using HttpClient none = Client(tcp.Port, null);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => none.GetAsync("v1/node"));
            using X509Certificate2 stranger = wrong.Issue("mms", forServer: false);
            using HttpClient other = Client(tcp.Port, stranger);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => other.GetAsync("v1/node"));
            using X509Certificate2 notForClients = right.Issue("pe-b", forServer: true);
            using HttpClient server2 = Client(tcp.Port, notForClients);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => server2.GetAsync("v1/node"));
            string refused = Assert.Single((await good.GetStringAsync("metrics")).Split('\n'), l => l.StartsWith("sdnedge_api_connections_refused_total{check=\"certificate\"}", StringComparison.Ordinal));

            // Each of the two wrong certificates at least once: the client tries again by itself.
            Assert.True(int.Parse(refused.Split(' ')[^1]) >= 2, refused);

            // Plain HTTP on that port gets nothing.
            using var plain = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{tcp.Port}/") };
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => plain.GetAsync("v1/node"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [RootFact]
    public async Task Another_user_is_turned_away_even_where_the_file_lets_it_in()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-user-").FullName;
        try
        {
            string socket = Path.Combine(folder, "a.sock");
            NodeConfig config = Config($"name: pe-a\nrouterId: 10.255.0.1\nas: 1\nloopbacks: [10.255.0.1]\napi: {{ unix: {socket} }}\n");
            await using PeRouter pe = await PeRouter.StartAsync(config, new PeRouterOptions());
            File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
            File.SetUnixFileMode(socket, (UnixFileMode)0b110_110_110);
            using HttpClient client = ClientFor(socket);
            Assert.Equal((0, true), await CurlAsync(socket, user: 0));
            (int code, bool answered) = await CurlAsync(socket, user: 65534);
            Assert.NotEqual(0, code);
            Assert.False(answered);
            Assert.Contains("sdnedge_api_connections_refused_total{check=\"user\"} 1", await client.GetStringAsync("metrics"), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<(int Code, bool Answered)> CurlAsync(string socket, int user)
    {
        var start = new ProcessStartInfo("setpriv") { UseShellExecute = false, RedirectStandardOutput = true };
        foreach (string word in (string[])[$"--reuid={user}", "--clear-groups", "curl", "-s", "--max-time", $"{Patience.Seconds}", "--unix-socket", socket, "http://pe/v1/node"]) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output.Contains("pe-a", StringComparison.Ordinal));
    }

    private static HttpClient Client(int port, X509Certificate2? certificate)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, errors) => (errors & ~SslPolicyErrors.RemoteCertificateNameMismatch) is SslPolicyErrors.None or SslPolicyErrors.RemoteCertificateChainErrors;
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificates = [certificate];
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }

        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{port}/"), Timeout = Patience.Time };
    }

    // Below the ports that the kernel gives to those who ask for any, so that nobody gets it meanwhile.
    private static int FreePort()
    {
        for (int port = 20_000 + (Environment.ProcessId % 10_000); ; port++)
        {
            try
            {
                using var listener = new TcpListener(System.Net.IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Somebody listens there: the next one.
            }
        }
    }

    private sealed class Authority : IDisposable
    {
        private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

        public Authority(string name)
        {
            var request = new CertificateRequest($"CN={name} CA", _key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            Certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        }

        public X509Certificate2 Certificate { get; }

        public X509Certificate2 Issue(string name, bool forServer)
        {
            using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(forServer ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2")], false));
            using X509Certificate2 signed = request.Create(Certificate, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1), RandomNumberGenerator.GetBytes(8));
            using X509Certificate2 withKey = signed.CopyWithPrivateKey(key);
            return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
        }

        public void Dispose()
        {
            Certificate.Dispose();
            _key.Dispose();
        }
    }
}
