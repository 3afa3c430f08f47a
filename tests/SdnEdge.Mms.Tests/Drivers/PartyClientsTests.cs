using SdnEdge.Client;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>
/// The manager's own certificate, when it is renewed while the manager runs. The party is another manager: any daemon does.
/// </summary>
public sealed class PartyClientsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-identity-").FullName;
    private readonly TestAuthority _authority = new("first"), _next = new("next");
    private readonly int _port = TestAuthority.FreePort();

    public void Dispose()
    {
        _authority.Dispose();
        _next.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    // Guards: ClientIdentity.Current. Before, a manager showed the certificate that it was started with, until that had run out.
    [Fact]
    public async Task A_renewed_certificate_and_authority_are_used_from_the_next_connection_on()
    {
        using var clients = new PartyClients(Config(Written(_authority, "CN=old")));
        await using (MmsDaemon party = await PartyAsync(_authority))
        {
            ApiProblemException refused = await Assert.ThrowsAsync<ApiProblemException>(() => AskAsync(clients));
            Assert.Contains("certificate old may do nothing", refused.Problem.Detail, StringComparison.Ordinal);
        }

        // Half of it is there: the last good one stays in force, and nothing fails for it.
        string half = Path.Combine(_folder, "mms.crt"), whole = await File.ReadAllTextAsync(half);
        await File.WriteAllTextAsync(half, whole[..100]);
        Touch();
        await using (MmsDaemon party = await PartyAsync(_authority))
            await Assert.ThrowsAsync<ApiProblemException>(() => AskAsync(clients));

        Written(_authority, "CN=new");
        Touch();
        await using (MmsDaemon party = await PartyAsync(_authority)) Assert.Contains("\"party\"", await AskAsync(clients));

        // The authority changes at both ends; one that still has a certificate of the old one is not believed.
        await using (MmsDaemon party = await PartyAsync(_next)) await Assert.ThrowsAsync<ApiUnreachableException>(() => AskAsync(clients));
        Written(_next, "CN=new");
        Touch();
        await using (MmsDaemon party = await PartyAsync(_next)) Assert.Contains("\"party\"", await AskAsync(clients));
        await using (MmsDaemon party = await PartyAsync(_authority))
            await Assert.ThrowsAsync<ApiUnreachableException>(() => AskAsync(clients));
    }

    private static Task<string> AskAsync(PartyClients clients) => clients.Pe("party").TextAsync("v1/node");

    private IdentityConfig Written(TestAuthority authority, string subject)
    {
        (string crt, string key) = authority.Write(_folder, "mms", subject: subject);
        return new IdentityConfig(crt, key, authority.WriteAuthority(_folder, "mms-ca"));
    }

    private int _touched;

    // Files that are written within one tick of the file system's clock have one time.
    private void Touch()
    {
        DateTime at = DateTime.UtcNow.AddSeconds(++_touched);
        foreach (string file in new[] { "mms.crt", "mms.key", "mms-ca.crt" }) File.SetLastWriteTimeUtc(Path.Combine(_folder, file), at);
    }

    private MmsConfig Config(IdentityConfig identity) => new()
    {
        Name = "mms", Journal = Path.Combine(_folder, "mms.db"), Identity = identity,
        Pes = [new DaemonConfig("party", $"https://127.0.0.1:{_port}/")],
    };

    private Task<MmsDaemon> PartyAsync(TestAuthority authority)
    {
        (string crt, string key) = authority.Write(_folder, "party", forServer: true);
        var tcp = new ApiTcpConfig(IpAddress.Parse("127.0.0.1"), _port, crt, key, authority.WriteAuthority(_folder, "party-ca"));
        return MmsDaemon.StartAsync(new MmsConfig
        {
            Name = "party", Journal = Path.Combine(_folder, "party.db"),
            Api = new ApiConfig(null, tcp) { Access = [new AccessRule("old", null, ApiRole.None)] },
        });
    }
}
