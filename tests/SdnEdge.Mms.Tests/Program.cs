using SdnEdge.Mms.Tests.Journal;

namespace SdnEdge.Mms.Tests;

/// <summary>What a test starts as a process of its own, to kill it: <c>dotnet SdnEdge.Mms.Tests.dll journal ...</c></summary>
internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        if (args is ["journal", .. string[] rest]) return await JournalProcess.RunAsync(rest);
        Console.Error.WriteLine("This is for the tests in this assembly: dotnet test.");
        return 2;
    }
}
