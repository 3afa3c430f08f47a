using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Replication;
using Xunit;

namespace SdnEdge.Storage.Tests;

/// <summary>What a store's configuration says, and what is said about one that is wrong.</summary>
public class StoreConfigTests
{
    private const string Good = """
        name: store-a
        site: dc-a
        api: { unix: /run/sdnedge/store-a.sock }
        state: { folder: /var/lib/sdnedge/store-a }
        nbd:
          unix: /run/sdnedge/store-a.nbd
          tcp: { listen: "127.0.0.1:10809", insecure: true }
        replication:
          listen: "10.1.10.21:7820"
          certificate: /etc/sdnedge/store-a.crt
          key: /etc/sdnedge/store-a.key
          clientCa: /etc/sdnedge/ca.crt
          compress: lz4
          bandwidth: 1000
          peers: [{ name: store-b, address: "10.1.20.21:7820" }]
        volumes:
          - { name: scratch, size: 64MiB }
          - name: vs-disk
            size: 8GiB
            owner: true
            replica: store-b
            mode: semantic
            lag: { bytes: 256MiB, seconds: 30, atBound: slow }
            peerGone: { then: stop, afterMs: 2000 }
          - { name: old, size: 8GiB, image: /dev/vg0/old }
        """;

    [Fact]
    public void Everything_that_can_be_said_is_read()
    {
        StoreConfigResult result = StoreConfigLoader.Load(Good, "store-a.yaml");
        Assert.Empty(result.Errors);
        StoreConfig config = result.Config!;
        Assert.Equal(("store-a", "dc-a", "/var/lib/sdnedge/store-a"), (config.Name, config.Site, config.StateFolder));
        Assert.Equal(("/run/sdnedge/store-a.nbd", 10809, null), (config.Exports.Unix, config.Exports.Tcp!.Port, config.Exports.Tcp.Tls));
        Assert.Equal((125_000_000, LinkCompression.Lz4), (config.Replication!.BytesPerSecond, config.Replication.Compression));
        Assert.Equal("store-b", Assert.Single(config.Replication.Peers).Name);
        Assert.Equal(new VolumeConfig("scratch", 64 << 20, null, true, null, ReplicationMode.Async, new ReplicationPolicy()),
            config.Volumes[0]);
        Assert.Equal(new VolumeConfig("vs-disk", 8L << 30, null, true, "store-b", ReplicationMode.Semantic, new ReplicationPolicy
        {
            LagBytes = 256 << 20, LagTime = 30_000_000_000, PeerGoneAfter = 2_000_000_000,
        }), config.Volumes[1]);
        Assert.Equal("/dev/vg0/old", config.Volumes[2].Image);
    }

    [Fact]
    public void All_that_is_wrong_is_said_at_once_with_its_line_and_what_would_be_right()
    {
        StoreConfigResult result = StoreConfigLoader.Load("""
            name: store a
            site: dc-a
            api: {}
            state: { folder: var/lib }
            nbd: { tcp: { listen: "10.0.0.1:10809", insecure: true, key: /k } }
            volumes:
              - { name: v, size: 1000, mode: sync }
              - { name: v, size: 8GiB, replica: store-b }
              - { name: w, size: 8GiB, lagg: {} }
              - { name: x, size: 8GiB, replica: store-b, owner: true, image: /x, lag: { atBound: go-on }, peerGone: { then: go-on } }
            """, "store-a.yaml");
        Assert.Null(result.Config);
        string[] said = [.. result.Errors.Select(e => e.ToString())];
        foreach (string wanted in (string[])
            [
                "store-a.yaml:1", "'store a' is not a name", "api: is missing or empty", "'var/lib' is not an absolute path",
                "nbd.tcp.key: has no effect at an address that is named insecure", "'1000' is not a size; write a multiple of 4096 bytes",
                "volumes[0].mode: has no effect without replica:", "volumes[1].name: 'v' is there twice",
                "volumes[1].replica: 'store-b' is not among replication.peers", "volumes[1].owner: is missing", "lagg",
                "volumes[3].lag.atBound: go-on needs a manager",
                "volumes[3].peerGone.then: go-on needs a manager",
            ])
        {
            Assert.Contains(said, s => s.Contains(wanted, StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("{ api: \"https://10.254.0.100:8443/\", certificate: /c, key: /k, authority: /a }", "https://10.254.0.100:8443/", "/c")]
    [InlineData("{ api: \"unix:/run/mms.sock\" }", "unix:/run/mms.sock", null)]
    public void Going_on_without_a_replica_is_a_policy_where_a_manager_is_named(string manager, string api, string? certificate)
    {
        StoreConfigResult result = StoreConfigLoader.Load(GoOn(manager), "store-a.yaml");
        Assert.Empty(result.Errors);
        Assert.Equal((api, certificate), (result.Config!.Manager!.Api, result.Config.Manager.Certificate));
        ReplicationPolicy policy = Assert.Single(result.Config.Volumes).Policy;
        Assert.Equal((PeerGoneAction.GoOn, 2_000_000_000L, LagAction.GoOn), (policy.PeerGone, policy.PeerGoneAfter, policy.AtLagBound));
    }

    [Theory]
    [InlineData("{}", "manager.api: is missing")]
    [InlineData("{ api: \"http://10.254.0.100/\" }", "manager.api: 'http://10.254.0.100/' is not https")]
    [InlineData("{ api: \"unix:mms.sock\" }", "manager.api: 'mms.sock' is not an absolute path")]
    [InlineData("{ api: \"https://10.254.0.100:8443/\", key: /k, authority: /a }", "manager.certificate: is missing: by https")]
    [InlineData("{ api: \"https://10.254.0.100:8443/\", certificate: c, key: /k, authority: /a }", "'c' is not an absolute path")]
    [InlineData("{ api: \"unix:/run/mms.sock\", key: /k }", "manager.key: has no effect on a unix socket")]
    [InlineData("{ api: \"unix:/run/mms.sock\", kee: /k }", "kee")]
    public void A_manager_that_cannot_be_reached_so_is_said(string manager, string why)
        => Assert.Contains(why, Assert.Single(StoreConfigLoader.Load(GoOn(manager), "store-a.yaml").Errors).ToString(),
            StringComparison.Ordinal);

    private static string GoOn(string manager) => $$"""
        name: store-a
        site: dc-a
        api: { unix: /run/store-a.sock }
        state: { folder: /var/lib/store-a }
        nbd: { unix: /run/store-a.nbd }
        manager: {{manager}}
        replication:
          listen: "10.0.0.1:7820"
          certificate: /c
          key: /k
          clientCa: /a
          peers: [{ name: store-b, address: "10.0.0.2:7820" }]
        volumes:
          - name: v
            size: 8GiB
            owner: true
            replica: store-b
            mode: sync
            lag: { bytes: 1GiB, atBound: go-on }
            peerGone: { then: go-on, afterMs: 2000 }
        """;

    // A network on which everybody may read and write a disk has to be asked for by name.
    [Fact]
    public void Exports_by_TCP_need_certificates_unless_the_address_is_named_insecure()
    {
        StoreConfigResult result = StoreConfigLoader.Load(Good.Replace(", insecure: true", "", StringComparison.Ordinal), "store-a.yaml");
        Assert.Contains(result.Errors, e => e.ToString().Contains("nbd.tcp", StringComparison.Ordinal)
            && e.ToString().Contains("insecure: true", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("4096", 4096L)]
    [InlineData("8GiB", 8L << 30)]
    [InlineData("10 TiB", 10L << 40)]
    [InlineData("512M", 512L << 20)]
    [InlineData("-1", null)]
    [InlineData("9223372036854775807KiB", null)]
    [InlineData("GiB", null)]
    public void Sizes_are_numbers_of_bytes_or_have_a_unit(string text, long? bytes) => Assert.Equal(bytes,
        StoreConfigLoader.ReadSize(text));
}
