using System.Runtime.CompilerServices;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Config;
using Xunit;

namespace SdnEdge.Mms.Tests.Config;

/// <summary>
/// The manager's configuration: what a good file means, and all that is said about a wrong one. SDNEDGE_REWRITE_GOLDEN=1 rewrites the
/// errors
/// beside it; then read the difference.
/// </summary>
public sealed class MmsConfigTests
{
    [Fact]
    public void A_good_file_becomes_records_whose_references_are_resolved()
    {
        MmsConfigResult result = MmsConfigLoader.Load(Golden("good.yaml"), "/etc/sdnedge/mms.yaml");
        Assert.Empty(result.Errors);
        MmsConfig config = result.Config!;
        Assert.Equal(("mms", "/var/lib/sdnedge/mms.db", "/run/sdnedge/mms.sock"), (config.Name, config.Journal, config.Api.Unix));
        Assert.Equal(new AccessRule("operator", null, ApiRole.Migrate), Assert.Single(config.Api.Access));
        Assert.Equal(new IdentityConfig("/etc/sdnedge/mms.crt", "/etc/sdnedge/tls/mms.key", "/etc/sdnedge/ca.crt"), config.Identity);
        Assert.Equal(new LimitsConfig(2, 10), config.Limits);
        Assert.Equal([true, true, false], config.Pes.Select(p => p.IsHttps));

        GroupConfig web = config.Group("web")!;
        Assert.Equal((true, new HoldOptions(MaxPackets: 1000, Overflow: HoldOverflowPolicy.DropOldest)), (web.OtherIngress, web.Hold));
        Assert.Same(config.Pes[2], Assert.Single(web.Ingress));
        Assert.Equal(["dc-a", "dc-b"], web.Sites.Select(s => s.Name));
        Assert.Equal([("web-1", "default"), ("web-2", "blue")], web.Servers.Select(s => (s.Name, s.Vrf)));
        Assert.Equal(["10.1.1.10/32", "fd00:1:1::10/128"], web.Servers[0].Prefixes.Select(p => p.ToString()));

        PlaceConfig a = web.Servers[0].PlaceAt("dc-a")!, b = web.Servers[1].PlaceAt("dc-b")!;
        Assert.Same(config.Sites[0], a.Site);
        Assert.Same(config.Hosts[0], a.Host);
        Assert.Same(config.Pes[0], a.Pe);
        Assert.Equal(("dc", (IpAddress?)null), (a.Port, a.NextHop(IpFamily.V4)));
        Assert.Equal((IpAddress.Parse("10.1.1.2"), IpAddress.Parse("fd00::2")), (b.NextHop(IpFamily.V4), b.NextHop(IpFamily.V6)));
        Assert.Null(web.Servers[0].PlaceAt("dc-b")!.NextHop(IpFamily.V6));
    }

    [Fact]
    public void A_small_file_has_its_defaults_and_needs_no_group()
    {
        MmsConfigResult result = MmsConfigLoader.Load("name: m1\n", "mms.yaml");
        Assert.Empty(result.Errors);
        Assert.Equal(("/var/lib/sdnedge/m1.db", new LimitsConfig(4, 32), 0),
            (result.Config!.Journal, result.Config.Limits, result.Config.Groups.Count));
        Assert.Null(result.Config.Identity);
    }

    [Fact]
    public void A_witness_is_reached_as_every_other_daemon()
    {
        MmsConfigResult result = MmsConfigLoader.Load("name: m1\nwitness: { name: third, api: \"unix:/run/third.sock\" }\n", "mms.yaml");
        Assert.Empty(result.Errors);
        Assert.Equal(new DaemonConfig("third", "unix:/run/third.sock"), result.Config!.Witness);
        result = MmsConfigLoader.Load("name: m1\nwitness: { name: third, api: \"https://10.0.0.9:8443/\", ttl: 3 }\n", "mms.yaml");
        Assert.Equal(2, result.Errors.Count);
        Assert.Contains(result.Errors, e => $"{e}".Contains("'third' is reached by https", StringComparison.Ordinal));
        Assert.Contains(result.Errors, e => $"{e}".Contains("ttl", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("wrong")]
    public void Every_error_is_reported_at_once_with_its_line_and_what_would_be_right(string name)
    {
        MmsConfigResult result = MmsConfigLoader.Load(Golden(name + ".yaml"), name + ".yaml");
        string actual = string.Join('\n', result.Errors) + "\n";
        string golden = Path.Combine(Folder(), name + ".errors");
        if (Environment.GetEnvironmentVariable("SDNEDGE_REWRITE_GOLDEN") == "1") File.WriteAllText(golden, actual);
        Assert.Null(result.Config);
        Assert.Equal(File.ReadAllText(golden), actual);
    }

    [Fact]
    public void Any_cut_or_wrong_byte_gives_errors_or_a_config_and_never_an_exception()
    {
        string good = Golden("good.yaml");
        for (int length = 0; length < good.Length; length += 3) Check(good[..length]);
        var random = new Random(7);
        const string noise = "{}[]:,'\"&*!|>%@`#-\t\n 09az";
        for (int i = 0; i < 500; i++)
        {
            char[] text = good.ToCharArray();
            text[random.Next(text.Length)] = noise[random.Next(noise.Length)];
            Check(new string(text));
        }

        static void Check(string text)
        {
            MmsConfigResult result = MmsConfigLoader.Load(text, "noise.yaml");
            Assert.Equal(result.Config is null, result.Errors.Count > 0);
        }
    }

    private static string Golden(string name) => File.ReadAllText(Path.Combine(Folder(), name));

    private static string Folder([CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "golden");
}
