using Xunit;

namespace SdnEdge.Testing;

/// <summary>A test that needs root, /dev/net/tun and network namespaces. Without them it is reported as skipped, by name.</summary>
public sealed class RootFactAttribute : FactAttribute
{
    /// <summary>Marks the test skipped, with the reason, where it cannot run.</summary>
    public RootFactAttribute() => Skip = Privileges.WhyNot;
}

/// <summary>As <see cref="RootFactAttribute"/>, with data.</summary>
public sealed class RootTheoryAttribute : TheoryAttribute
{
    /// <summary>Marks the test skipped, with the reason, where it cannot run.</summary>
    public RootTheoryAttribute() => Skip = Privileges.WhyNot;
}

/// <summary>Whether this process may make namespaces and TAP devices.</summary>
public static class Privileges
{
    /// <summary>Null when all is there; else what is missing.</summary>
    public static string? WhyNot { get; } =
        !Environment.IsPrivilegedProcess ? "needs root (network namespaces and TAP devices)"
        : !File.Exists("/dev/net/tun") ? "needs /dev/net/tun"
        : null;
}
