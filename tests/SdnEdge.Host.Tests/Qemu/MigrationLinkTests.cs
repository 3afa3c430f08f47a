using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using SdnEdge.Core.Config;
using SdnEdge.Host.Config;
using SdnEdge.Host.Qemu;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>Who may send a guest to whom.</summary>
public sealed class MigrationLinkTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-link-").FullName;
    private readonly TestAuthority _authority = new("hosts");
    private readonly int _portA = TestAuthority.FreePort(), _portB;

    public MigrationLinkTests() => _portB = TestAuthority.FreePort(_portA);

    public void Dispose()
    {
        _authority.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_guest_that_is_expected_is_carried_and_both_ends_of_the_stream_arrive(bool compressed)
    {
        await using MigrationLink a = Link("host-a", _portA, compress: compressed), b = Link("host-b", _portB);
        var came = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        b.Expect("vs", 7, async (stream, cancel) =>
        {
            using var all = new MemoryStream();
            await stream.CopyToAsync(all, cancel);
            await stream.WriteAsync("got it"u8.ToArray(), cancel);
            came.SetResult(all.ToArray());
        });
        byte[] state = [.. Enumerable.Range(0, 1_000_000).Select(i => (byte)(i >> 2))];
        await using Stream stream = await a.ConnectAsync("host-b", "vs", 7, default);
        await stream.WriteAsync(state);
        await ((MigrationStream)stream).CompleteAsync();
        byte[] answer = new byte[6];
        await stream.ReadExactlyAsync(answer);
        Assert.Equal("got it"u8.ToArray(), answer);
        Assert.Equal(state, await came.Task.WaitAsync(Patience.Time));
        long wire = ((MigrationStream)stream).WireBytes;
        if (compressed) Assert.InRange(wire, 1, state.Length / 10);
        else Assert.Equal(state.Length, wire);
    }

    [Theory]
    [InlineData("vs", 6)]    // of an older epoch
    [InlineData("vs", 8)]
    [InlineData("db", 7)]
    public async Task One_that_is_not_expected_under_this_epoch_is_refused_with_the_reason(string server, long epoch)
    {
        await using MigrationLink a = Link("host-a", _portA), b = Link("host-b", _portB);
        b.Expect("vs", 7, (_, _) => throw new InvalidOperationException("it was taken"));
        IOException e = await Assert.ThrowsAsync<IOException>(() => a.ConnectAsync("host-b", server, epoch, default));
        Assert.Contains($"{server} cannot be carried to host-b", e.Message, StringComparison.Ordinal);
        Assert.Contains($"not expected here under epoch {epoch}", e.Message, StringComparison.Ordinal);

        // Nor is any, once nothing is expected.
        b.Expect("vs", 7, null);
        await Assert.ThrowsAsync<IOException>(() => a.ConnectAsync("host-b", "vs", 7, default));
    }

    [Theory]
    [InlineData("stranger", true, false)]    // of the CA, but no host of the configuration
    [InlineData("host-a", false, false)]     // another CA
    [InlineData("host-a", true, true)]       // another host's word, sent to the wrong one
    public async Task Nobody_but_the_configured_hosts_may_send_and_a_guest_goes_to_nobody_else(string name, bool sameCa, bool wrongTarget)
    {
        using var other = new TestAuthority("others");
        await using MigrationLink a = Link(name, _portA, sameCa ? _authority : other);
        await using MigrationLink b = Link(wrongTarget ? "host-c" : "host-b", _portB);
        b.Expect("vs", 7, (_, _) => throw new InvalidOperationException("it was taken"));
        IOException e = await Assert.ThrowsAsync<IOException>(() => a.ConnectAsync("host-b", "vs", 7, default));
        Assert.Contains("host-b", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_migration_harms_nobody()
    {
        await using MigrationLink a = Link("host-a", _portA), b = Link("host-b", _portB);
        b.Expect("vs", 7, (_, _) => Task.CompletedTask);
        foreach (string garbage in (string[])["", "GET / HTTP/1.1\r\n\r\n", new string('x', 100_000)])
        {
            using var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, _portB);
            try
            {
                await client.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(garbage));
            }
            catch (IOException)
            {
                // It has hung up already.
            }
        }

        await (await a.ConnectAsync("host-b", "vs", 7, default)).DisposeAsync();
        IOException e = await Assert.ThrowsAsync<IOException>(() => a.ConnectAsync("host-z", "vs", 7, default));
        Assert.Contains("'host-z' is not among migration.peers (host-b)", e.Message, StringComparison.Ordinal);
        await b.DisposeAsync();
        await Assert.ThrowsAsync<IOException>(() => a.ConnectAsync("host-b", "vs", 7, default));
        Assert.Throws<IOException>(() => Link("host-a", _portA));
    }

    private MigrationLink Link(string name, int port, TestAuthority? of = null, bool compress = false)
    {
        TestAuthority authority = of ?? _authority;
        string folder = Directory.CreateDirectory(Path.Combine(_folder, Guid.NewGuid().ToString("N"))).FullName;
        (string certificate, string key) = authority.Write(folder, name, forServer: null);
        var loopback = SdnEdge.Core.Wire.IpAddress.Parse("127.0.0.1");
        bool isA = port == _portA;
        return new MigrationLink(new MigrationLinkConfig(
            new ApiTcpConfig(loopback, port, certificate, key, authority.WriteAuthority(folder)),
            [new MigrationPeer(isA ? "host-b" : "host-a", loopback, isA ? _portB : _portA)], Compress: compress));
    }
}
