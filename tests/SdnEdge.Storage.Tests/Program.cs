using System.Globalization;
using SdnEdge.Storage.Tests.Nbd;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Storage.Tests.Volumes;

namespace SdnEdge.Storage.Tests;

/// <summary>What tests start as a process of its own, from this assembly: a server that clients come to, a writer that is killed.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        switch (args)
        {
            case ["nbd", .. string[] rest]:
                return await NbdProcess.RunAsync(rest);
            case [KilledWriter.Mode, var root, var name, var seed]:
                await KilledWriter.RunAsync(root, name, int.Parse(seed, CultureInfo.InvariantCulture));
                return 0;
            case [StoreProcess.Mode, var file]:
                await StoreProcess.RunAsync(file);
                return 0;
            default:
                Console.Error.WriteLine("This is for the tests in this assembly: dotnet test.");
                return 2;
        }
    }
}
