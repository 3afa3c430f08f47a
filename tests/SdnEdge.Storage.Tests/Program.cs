using SdnEdge.Storage.Tests.Volumes;

namespace SdnEdge.Storage.Tests;

/// <summary>What this executable does when a test starts it, to kill it.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        if (arguments is [KilledWriter.Mode, var root, var name, var seed])
        {
            await KilledWriter.RunAsync(root, name, int.Parse(seed));
            return 0;
        }

        Console.Error.WriteLine($"usage: {KilledWriter.Mode} ROOT NAME SEED");
        return 64;
    }
}
