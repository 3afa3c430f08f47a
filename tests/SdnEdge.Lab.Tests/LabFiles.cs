namespace SdnEdge.Lab.Tests;

/// <summary>Files of the repository that tests use.</summary>
internal static class LabFiles
{
    /// <summary>The Figure 1 lab.</summary>
    /// <summary>The Figure 1 lab with three managers.</summary>
    public static string Managers { get; } = Path.Combine(Root(), "topologies", "figure1-managers.clab.yml");

    public static string Figure1 { get; } = Path.Combine(Root(), "topologies", "figure1.clab.yml");

    /// <summary>Figure 1 in a provider network of FRR and BIRD.</summary>
    public static string ProviderFrr { get; } = Path.Combine(Root(), "topologies", "provider-frr.clab.yml");

    /// <summary>Two customers with the same addresses.</summary>
    public static string Vpn { get; } = Path.Combine(Root(), "topologies", "vpn.clab.yml");

    /// <summary>A real virtual machine behind two PEs.</summary>
    public static string Guest { get; } = Path.Combine(Root(), "topologies", "guest.clab.yml");

    /// <summary>Figure 1 with a real virtual machine.</summary>
    public static string Figure1Qemu { get; } = Path.Combine(Root(), "topologies", "figure1-qemu.clab.yml");

    /// <summary>A service without state: an instance of it at each of two sites.</summary>
    public static string Stateless { get; } = Path.Combine(Root(), "topologies", "stateless.clab.yml");

    /// <summary>The router before a PE that fails.</summary>
    public static string DeeperRouter { get; } = Path.Combine(Root(), "topologies", "deeper-router.clab.yml");

    /// <summary>A PE that is lost, and ingress PEs with a backup path.</summary>
    public static string LostPe { get; } = Path.Combine(Root(), "topologies", "lost-pe.clab.yml");

    /// <summary>The folder of the repository.</summary>
    public static string Root()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "SdnEdge.sln"))) return at.FullName;
        }

        throw new InvalidOperationException("the tests must run inside the repository");
    }
}
