namespace SdnEdge.Lab.Running;

/// <summary>
/// The folder with QEMU and the lab's guest that <c>./build.sh guest</c> makes: named by the variable SDNEDGE_GUEST, else
/// <c>artifacts/guest</c> in the topology file's folder or one above it.
/// </summary>
internal static class GuestFolder
{
    private const string Default = "artifacts/guest", Help = "make the guest with './build.sh guest', or set SDNEDGE_GUEST to the folder "
        + "where guest/fetch-qemu.sh and guest/make-guest.sh have put it";

    /// <summary>What a lab with guests needs there.</summary>
    private static readonly string[] s_needed = ["qemu/usr/bin/qemu-system-x86_64", "qemu-ahead", "vmlinuz", "initrd"];

    /// <summary>The folder; null, and why not, when there is none or it is not whole.</summary>
    /// <param name="topologyFile">The topology file.</param>
    /// <param name="why">What is missing and what helps; empty when nothing is.</param>
    public static string? Find(string topologyFile, out string why)
        => Find(topologyFile, Environment.GetEnvironmentVariable("SDNEDGE_GUEST"), out why);

    /// <inheritdoc cref="Find(string, out string)"/>
    internal static string? Find(string topologyFile, string? variable, out string why)
    {
        string? named = variable is { Length: > 0 } ? variable : Above(topologyFile);
        if (named is null)
        {
            why = $"the lab's guest is not there: no folder {Default} at or above the topology file, and SDNEDGE_GUEST names none; {Help}";
            return null;
        }

        string[] missing = [.. s_needed.Where(f => !File.Exists(Path.Combine(named, f)))];
        why = missing.Length == 0 ? "" : $"{named} has no {string.Join(", ", missing)}; {Help}";
        return missing.Length == 0 ? named : null;
    }

    private static string? Above(string file)
    {
        for (DirectoryInfo? folder = new FileInfo(file).Directory; folder is not null; folder = folder.Parent)
        {
            string guest = Path.Combine(folder.FullName, Default);
            if (Directory.Exists(guest)) return guest;
        }

        return null;
    }
}
