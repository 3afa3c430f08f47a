using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary><c>./build.sh test FILTER</c> compiles the executable only for tests that say that they run it.</summary>
public sealed class ExecutableTraitTests
{
    private static readonly string[] s_signs = ["RunningLab" + ".Self", "DeployAsync" + "(", "KeeperRig" + ".StartAsync"];

    [Fact]
    public void Each_class_of_tests_that_runs_the_executable_says_so()
    {
        string folder = Path.Combine(LabFiles.Root(), "tests");
        string[] silent = [.. Directory.EnumerateFiles(folder, "*Tests.cs", SearchOption.AllDirectories)
            .Where(file => File.ReadAllText(file) is var text
                && s_signs.Any(sign => text.Contains(sign, StringComparison.Ordinal))
                && !text.Contains("[Trait(\"needs\", \"executable\")]", StringComparison.Ordinal))];
        Assert.True(silent.Length == 0, $"[Trait(\"needs\", \"executable\")] is missing in {string.Join(", ", silent)}");
    }
}
