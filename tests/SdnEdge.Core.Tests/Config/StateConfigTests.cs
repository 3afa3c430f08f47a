using SdnEdge.Core.Config;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>Where a PE keeps its migrations.</summary>
public sealed class StateConfigTests
{
    private const string Least = "name: pe-a\nrouterId: 10.255.0.1\nas: 65000\nloopbacks: [10.255.0.1]\n";

    [Theory]
    [InlineData("", "/var/lib/sdnedge/pe-a")]
    [InlineData("state: { folder: /srv/pe }\n", "/srv/pe")]
    public void The_folder_is_the_one_said_or_one_of_the_nodes_name(string more, string folder)
        => Assert.Equal(folder, NodeConfigLoader.Load(Least + more, "x.yaml").Config!.State.Folder);

    [Theory]
    [InlineData("state: { folder: here }\n", "is not an absolute path")]
    [InlineData("state: { }\n", "is missing")]
    [InlineData("state: { dir: /x }\n", "is not a known field")]
    public void What_is_no_folder_is_refused(string more, string why)
        => Assert.Contains(NodeConfigLoader.Load(Least + more, "x.yaml").Errors, e => e.ToString().Contains(why, StringComparison.Ordinal));

    [Fact]
    public void It_takes_effect_at_the_start_only()
    {
        NodeConfig one = NodeConfigLoader.Load(Least, "x.yaml").Config!;
        Assert.Equal([new NeedsRestart("state")], ConfigDiff.Between(one, one with { State = new StateConfig("/other") }));
    }
}
