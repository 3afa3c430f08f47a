using System.Runtime.CompilerServices;
using SdnEdge.Core.Config;
using Xunit;

namespace SdnEdge.Core.Tests.Config;

/// <summary>
/// Each golden YAML file has its errors beside it, line by line as a user sees them. SDNEDGE_REWRITE_GOLDEN=1 rewrites
/// them; then read the difference.
/// </summary>
public sealed class NodeConfigErrorTests
{
    [Theory]
    [InlineData("misspelt-and-missing")]
    [InlineData("twice-and-undefined")]
    [InlineData("plain-tcp")]
    [InlineData("not-yaml")]
    [InlineData("bfd")]
    [InlineData("vpn")]
    [InlineData("addresses")]
    public void Every_error_is_reported_at_once_with_its_line_and_what_would_be_right(string name)
    {
        string folder = Folder();
        ConfigResult result = NodeConfigLoader.Load(File.ReadAllText(Path.Combine(folder, name + ".yaml")), name + ".yaml");
        string actual = string.Join('\n', result.Errors) + "\n";
        string golden = Path.Combine(folder, name + ".errors");
        if (Environment.GetEnvironmentVariable("SDNEDGE_REWRITE_GOLDEN") == "1") File.WriteAllText(golden, actual);
        Assert.Null(result.Config);
        Assert.Equal(File.ReadAllText(golden), actual);
    }

    [Fact]
    public void Any_cut_of_a_good_file_gives_errors_or_a_config_and_never_an_exception()
    {
        for (int length = 0; length < NodeConfigTests.Good.Length; length += 3)
        {
            ConfigResult result = NodeConfigLoader.Load(NodeConfigTests.Good[..length], "cut.yaml");
            Assert.Equal(result.Config is null, result.Errors.Count > 0);
        }
    }

    [Fact]
    public void Any_byte_turned_into_another_gives_errors_or_a_config_and_never_an_exception()
    {
        var random = new Random(7);
        const string noise = "{}[]:,'\"&*!|>%@`#-\t\n 09az";
        for (int i = 0; i < 500; i++)
        {
            char[] text = NodeConfigTests.Good.ToCharArray();
            text[random.Next(text.Length)] = noise[random.Next(noise.Length)];
            ConfigResult result = NodeConfigLoader.Load(new string(text), "noise.yaml");
            Assert.Equal(result.Config is null, result.Errors.Count > 0);
        }
    }

    [Fact]
    public void Deep_nesting_is_an_error_and_not_an_overflow()
    {
        ConfigResult result = NodeConfigLoader.Load("name: " + new string('[', 5000), "deep.yaml");
        Assert.Null(result.Config);
        Assert.Contains(result.Errors, e => e.Message.Contains("deeper", StringComparison.Ordinal));
    }

    private static string Folder([CallerFilePath] string file = "") => Path.Combine(Path.GetDirectoryName(file)!, "golden");
}
