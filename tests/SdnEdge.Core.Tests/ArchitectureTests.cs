using System.Xml.Linq;
using Xunit;

namespace SdnEdge.Core.Tests;

/// <summary>Who may know whom, held against the project files: see docs/design.md.</summary>
public sealed class ArchitectureTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["SdnEdge.Core"] = [],
        ["SdnEdge.Linux"] = ["SdnEdge.Core"],
        ["SdnEdge.Bfd"] = ["SdnEdge.Core", "SdnEdge.Linux"],
        ["SdnEdge.Client"] = ["SdnEdge.Core"],
        ["SdnEdge.Web"] = ["SdnEdge.Core", "SdnEdge.Linux"],
        ["SdnEdge.Router"] = ["SdnEdge.Bfd", "SdnEdge.Core", "SdnEdge.Linux", "SdnEdge.Web"],
        ["SdnEdge.Host"] = ["SdnEdge.Bfd", "SdnEdge.Client", "SdnEdge.Core", "SdnEdge.Linux", "SdnEdge.Web"],
        ["SdnEdge.Storage"] = ["SdnEdge.Client", "SdnEdge.Core", "SdnEdge.Linux", "SdnEdge.Web"],
        ["SdnEdge.Mms"] = ["SdnEdge.Client", "SdnEdge.Core", "SdnEdge.Web"],
        ["SdnEdge.Lab"] = ["SdnEdge.Client", "SdnEdge.Core", "SdnEdge.Linux"],
        ["SdnEdge.Demo"] = ["SdnEdge.Lab", "SdnEdge.Mms"],
        ["SdnEdge.Cli"] = ["SdnEdge.Bfd", "SdnEdge.Client", "SdnEdge.Core", "SdnEdge.Demo", "SdnEdge.Host", "SdnEdge.Lab", "SdnEdge.Linux",
            "SdnEdge.Mms", "SdnEdge.Router", "SdnEdge.Storage", "SdnEdge.Witness"],
        ["SdnEdge.Witness"] = ["SdnEdge.Core", "SdnEdge.Linux", "SdnEdge.Web"],
    };

    [Fact]
    public void Projects_reference_only_what_the_design_allows()
    {
        string src = Path.Combine(RepositoryRoot(), "src");
        var actual = Directory.GetDirectories(src).ToDictionary(
            directory => Path.GetFileName(directory),
            directory => XDocument.Load(Path.Combine(directory, Path.GetFileName(directory) + ".csproj"))
                .Descendants("ProjectReference")
                .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value))
                .Order(StringComparer.Ordinal)
                .ToArray());

        Assert.Equal(Allowed.Keys.Order(StringComparer.Ordinal), actual.Keys.Order(StringComparer.Ordinal));
        foreach ((string project, string[] references) in actual)
        {
            Assert.True(references.SequenceEqual(Allowed[project]),
                $"{project} may reference [{string.Join(", ", Allowed[project])}] and references [{string.Join(", ", references)}].");
        }
    }

    [Fact]
    public void System_calls_are_declared_in_the_Linux_project_only()
    {
        string src = Path.Combine(RepositoryRoot(), "src");
        string[] elsewhere = [.. Directory.EnumerateFiles(src, "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/SdnEdge.Linux/", StringComparison.Ordinal))
            .Where(file => File.ReadAllText(file) is var text
                && (text.Contains("[LibraryImport(", StringComparison.Ordinal) || text.Contains("[DllImport(", StringComparison.Ordinal)))];
        Assert.Empty(elsewhere);
    }

    private static string RepositoryRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Combine(directory, "SdnEdge.sln"))) directory = Path.GetDirectoryName(directory);
        return directory ?? throw new InvalidOperationException("SdnEdge.sln was not found above the test's directory.");
    }
}
