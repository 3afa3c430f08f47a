using System.Diagnostics;
using System.Globalization;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>A store whose disk fails for a while: a limit to the size of its files, beyond which every write fails with EFBIG
/// (setrlimit(2)). Its log and its image are beyond it.</summary>
internal static class StoreFault
{
    // More than a daemon writes to its output.
    private const int Bytes = 64 << 10;

    /// <summary>From now on its writes fail.</summary>
    public static Task BeginAsync(int process) => LimitAsync(process, Bytes.ToString(CultureInfo.InvariantCulture));

    /// <summary>They do not any more.</summary>
    public static Task EndAsync(int process) => LimitAsync(process, "unlimited");

    private static async Task LimitAsync(int process, string bytes)
    {
        using Process limit = Process.Start("prlimit",
            ["--pid", process.ToString(CultureInfo.InvariantCulture), $"--fsize={bytes}:unlimited"]);
        await limit.WaitForExitAsync();
        if (limit.ExitCode != 0) throw new InvalidOperationException($"prlimit of process {process} failed");
    }
}
