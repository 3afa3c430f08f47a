using Xunit;

namespace SdnEdge.Testing;

/// <summary>A theory that needs tshark. Without it it is reported as skipped, by name.</summary>
public sealed class TsharkTheoryAttribute : TheoryAttribute
{
    /// <summary>Marks the test skipped where tshark is not installed.</summary>
    public TsharkTheoryAttribute() => Skip = Path is null ? "needs tshark (apt install tshark)" : null;

    /// <summary>Where tshark is; null when it is not installed.</summary>
    public static string? Path { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Select(directory => System.IO.Path.Combine(directory, "tshark")).FirstOrDefault(File.Exists);
}
