using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// Who may connect: over TCP only holders of a certificate of the configured CA, on the socket only root and the PE's user.
/// </summary>
public sealed class ConnectionTests
{
    [Fact]
    public async Task Over_tcp_only_a_client_with_a_certificate_of_the_right_ca_is_served()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-tls-").FullName;
        try
        {
            using var right = new TestAuthority("right");
            using var wrong = new TestAuthority("wrong");
            (string crt, string key) = right.Write(folder, "pe-a", forServer: true);
            var tcp = new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), TestAuthority.FreePort(), crt, key, right.WriteAuthority(folder));
            NodeConfig config = Config("name: pe-a\nrouterId: 10.255.0.1\nas: 1\nloopbacks: [10.255.0.1]\n")
                with { Api = new ApiConfig(Path.Combine(folder, "a.sock"), tcp) };
            await using PeRouter pe = await PeRouter.StartAsync(config, new PeRouterOptions());

            using X509Certificate2 mms = right.Issue("CN=mms");
            using HttpClient good = Client(tcp.Port, mms);
            Assert.Equal("pe-a", (await GetAsync<NodeInfo>(good, "v1/node")).Name);

            using HttpClient none = Client(tcp.Port, null);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => none.GetAsync("v1/node"));
            using X509Certificate2 stranger = wrong.Issue("CN=mms");
            using HttpClient other = Client(tcp.Port, stranger);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => other.GetAsync("v1/node"));
            using X509Certificate2 notForClients = right.Issue("CN=pe-b", forServer: true);
            using HttpClient server2 = Client(tcp.Port, notForClients);
            await Assert.ThrowsAnyAsync<HttpRequestException>(() => server2.GetAsync("v1/node"));
            string refused = Assert.Single((await good.GetStringAsync("metrics")).Split('\n'),
                l => l.StartsWith("sdnedge_api_connections_refused_total{check=\"certificate\"}", StringComparison.Ordinal));

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
            Assert.Contains("sdnedge_api_connections_refused_total{check=\"user\"} 1", await client.GetStringAsync("metrics"),
                StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<(int Code, bool Answered)> CurlAsync(string socket, int user)
    {
        var start = new ProcessStartInfo("setpriv") { UseShellExecute = false, RedirectStandardOutput = true };
        string[] words = [$"--reuid={user}", "--clear-groups", "curl", "-s", "--max-time", $"{Patience.Seconds}", "--unix-socket", socket,
            "http://pe/v1/node"];
        foreach (string word in words) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output.Contains("pe-a", StringComparison.Ordinal));
    }

    private static HttpClient Client(int port, X509Certificate2? certificate)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, errors)
            => (errors & ~SslPolicyErrors.RemoteCertificateNameMismatch) is SslPolicyErrors.None
                or SslPolicyErrors.RemoteCertificateChainErrors;
        if (certificate is not null)
        {
            handler.SslOptions.ClientCertificates = [certificate];
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }

        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{port}/"), Timeout = Patience.Time };
    }
}
