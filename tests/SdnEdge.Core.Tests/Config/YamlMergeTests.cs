using System.Text;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>Anchors, aliases and merge keys: what they stand for, and that what they stand for is bounded.</summary>
public sealed class YamlMergeTests
{
    [Fact]
    public void A_merge_key_brings_what_the_mapping_itself_does_not_say_wherever_it_stands()
    {
        YamlMap map = Read("""
            base: &base { a: 1, b: 2, c: 3 }
            one: { b: own, <<: *base, d: 4 }
            """);
        var one = Assert.IsType<YamlMap>(map["one"]);
        Assert.Equal("b=own a=1 c=3 d=4", Text(one));
        Assert.Equal((1, "b, <<, d"), (one["a"]!.Line, string.Join(", ", one.Written.Select(e => e.Key.Text))));
    }

    [Fact]
    public void An_earlier_mapping_of_a_list_wins_over_a_later_one_and_merges_nest()
    {
        YamlMap map = Read("""
            x: &x { a: x, b: x }
            y: &y { <<: *x, b: y, c: y }
            z: { <<: [*x, *y, { d: inline }] }
            w: { <<: *y }
            """);
        Assert.Equal("a=x b=x c=y d=inline", Text(map["z"]));
        Assert.Equal("a=x b=y c=y", Text(map["w"]));
    }

    [Fact]
    public void Two_merge_keys_of_a_mapping_are_as_a_list_of_them_and_one_in_quotes_is_an_ordinary_key()
    {
        YamlMap map = Read("""
            x: &x { a: x, b: x }
            y: &y { b: y, c: y }
            z:
              <<: *x
              <<: *y
            q: { "<<": 1 }
            """);
        Assert.Equal("a=x b=x c=y", Text(map["z"]));
        Assert.Equal("<<=1", Text(map["q"]));
    }

    [Fact]
    public void A_merge_of_what_is_no_mapping_is_told_at_its_own_line_each_one_and_nothing_else()
    {
        ConfigResult result = NodeConfigLoader.Load("""
            name: &name pe-a
            loopbacks: &list
              - 10.255.0.1
            bgp:
              <<: *name
            api:
              <<: *list
            host:
              <<:
                - { device: host0 }
                - *name
            state:
              <<:
            """, "pe.yaml");
        Assert.Null(result.Config);
        string[] expected =
        [
            "pe.yaml:5:7: <<: a single value (of line 1) where a mapping",
            "pe.yaml:7:7: <<: a single value (of line 3) in a list of mappings",
            "pe.yaml:11:7: <<: a single value (of line 1) in a list of mappings", "pe.yaml:13:6: <<: empty",
        ];
        Assert.Equal(expected.Length, result.Errors.Count);
        Assert.All(expected.Zip(result.Errors), pair => Assert.StartsWith(pair.First, pair.Second.ToString(), StringComparison.Ordinal));
        Assert.All(result.Errors, e => Assert.Contains("<<: [*base, *more]", e.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_routers_peers_may_have_their_settings_in_common()
    {
        ConfigResult result = NodeConfigLoader.Load("""
            name: pe-a
            routerId: 10.255.0.1
            as: 65000
            loopbacks: [10.255.0.1]
            host: { device: host0 }
            bgp:
              peers:
                - &peer { address: 10.255.0.2, as: 65000, holdTime: 9 }
                - { <<: *peer, address: 10.255.0.3 }
            """, "pe.yaml");
        Assert.Empty(result.Errors);
        Assert.Equal([(IpAddress.Parse("10.255.0.2"), 65000u, 9), (IpAddress.Parse("10.255.0.3"), 65000u, 9)],
            result.Config!.Bgp.Peers.Select(p => (p.Address, p.As, p.HoldTimeSeconds)));
    }

    [Theory]
    [InlineData("a: *nowhere", 1, "there is no anchor '&nowhere' before the alias '*nowhere'")]
    [InlineData("a: &self\n  - *self", 2, "there is no anchor '&self' before")]
    public void An_alias_of_nothing_is_told(string text, int line, string says)
    {
        ConfigError error = Assert.Single(ErrorsOf(text));
        Assert.Equal(line, error.Line);
        Assert.StartsWith(says, error.Message, StringComparison.Ordinal);
    }

    // A billion laughs: nine lines that stand for more than any memory holds. Nothing of it is written out; a reader of the tree would.
    [Theory]
    [InlineData("[", "]", ", ")]
    [InlineData("{ ", " }", ", ")]
    public void Aliases_of_aliases_that_stand_for_too_much_are_refused_before_they_do(string open, string close, string between)
    {
        var text = new StringBuilder("a0: &a0 { k: lol }\n");
        for (int level = 1; level <= 40; level++)
        {
            IEnumerable<string> items = Enumerable.Range(0, 10).Select(i => $"{(open == "[" ? "" : $"k{i}: ")}*a{level - 1}");
            text.Append($"a{level}: &a{level} {open}{string.Join(between, items)}{close}\n");
        }

        ConfigError error = Assert.Single(ErrorsOf(text.ToString()));
        Assert.Equal(6, error.Line);
        Assert.Contains("the file's aliases stand for more than 100000 values", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Long_texts_and_merges_count_too()
    {
        string text = $"t: &t \"{new string('x', 1 << 20)}\"\nl: [{string.Join(", ", Enumerable.Repeat("*t", 17))}]\n";
        Assert.Contains("16 MiB of text", Assert.Single(ErrorsOf(text)).Message, StringComparison.Ordinal);
        string entries = string.Join(", ", Enumerable.Range(0, 1000).Select(i => $"k{i}: v"));
        string merges = string.Concat(Enumerable.Range(0, 60).Select(i => $"m{i}: {{ <<: *m }}\n"));
        Assert.Contains("100000 values", Assert.Single(ErrorsOf($"m: &m {{ {entries} }}\n{merges}")).Message, StringComparison.Ordinal);
    }

    // Each alias adds the levels below its anchor: a chain of them is as deep as if it had been written out.
    [Fact]
    public void A_chain_of_aliases_is_no_way_around_the_deepest_nesting()
    {
        var text = new StringBuilder("a0: &a0 [x]\n");
        for (int i = 1; i <= 10; i++) text.Append($"a{i}: &a{i} {new string('[', 10)}*a{i - 1}{new string(']', 10)}\n");
        ConfigError error = Assert.Single(ErrorsOf(text.ToString()));
        Assert.Equal(8, error.Line);
        Assert.Contains("nested deeper than 64 levels", error.Message, StringComparison.Ordinal);
    }

    private static YamlMap Read(string text)
    {
        var errors = new ConfigErrors("t.yaml");
        var map = Assert.IsType<YamlMap>(YamlTree.Parse(text, errors));
        Assert.Empty(errors.List);
        return map;
    }

    private static IReadOnlyList<ConfigError> ErrorsOf(string text)
    {
        var errors = new ConfigErrors("t.yaml");
        Assert.Null(YamlTree.Parse(text, errors));
        return errors.List;
    }

    private static string Text(YamlValue? value)
        => string.Join(' ', Assert.IsType<YamlMap>(value).Entries.Select(e => $"{e.Key.Text}={((YamlText)e.Value).Text}"));
}
