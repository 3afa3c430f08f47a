using System.Diagnostics;

namespace SdnEdge.Linux.Tests;

/// <summary>Makes the kernel a host on a device of the calling thread's namespace.</summary>
internal static class HostSetup
{
    public static void AddAddress(string device, string address, int length) =>
        Ip("address", "add", $"{address}/{length}", "dev", device);

    public static void AddNeighbor(string device, string address, string mac) =>
        Ip("neighbour", "add", address, "lladdr", mac, "dev", device);

    private static void Ip(params string[] arguments)
    {
        // A child starts in the namespace of the thread that starts it.
        using var process = Process.Start(new ProcessStartInfo("ip", arguments) { RedirectStandardError = true, UseShellExecute = false })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"ip {string.Join(' ', arguments)}: {error}");
    }
}
