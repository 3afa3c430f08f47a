using SdnEdge.Storage.Tests.Nbd;

namespace SdnEdge.Storage.Tests;

/// <summary>What a test or a person starts as a process of its own: <c>dotnet SdnEdge.Storage.Tests.dll nbd ...</c></summary>
internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        if (args is ["nbd", .. string[] rest]) return await NbdProcess.RunAsync(rest);
        Console.Error.WriteLine("This is for the tests in this assembly: dotnet test.");
        return 2;
    }
}
