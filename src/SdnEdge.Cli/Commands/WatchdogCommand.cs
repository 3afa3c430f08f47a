using System.CommandLine;
using System.Diagnostics;
using SdnEdge.Host.Leases;
using SdnEdge.Lab.Running;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge watchdog</c>: the process that renews the leases of a host, whose agent starts it. It is for nobody else.</summary>
internal static class WatchdogCommand
{
    private const string Name = "watchdog", Folder = "--folder";

    public static Command Create()
    {
        var folder = new Option<string>(Folder)
        {
            Description = "The state folder of the agent that starts this process.", Required = true,
        };
        var command = new Command(Name, "Renews the leases of a host's servers, and kills those whose lease has run out. The agent starts "
            + "it.")
        {
            folder,
        };
        command.Hidden = true;
        command.SetAction((parse, _) => RunAsync(parse.GetValue(folder)!));
        return EndSignals.TakesItsOwn(command);
    }

    /// <summary>How an agent starts it.</summary>
    public static ProcessStartInfo Start(string folder)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return new ProcessStartInfo(self[0], [.. self.Skip(1), Name, Folder, folder]) { UseShellExecute = false };
    }

    private static async Task<int> RunAsync(string folder)
    {
        // It ends when nothing is to be watched any more: what a service manager sends to the whole group is for the agent.
        using var ignored = EndSignals.Handed((_, _) => true);
        try
        {
            await Watchdog.RunAsync(folder, Console.WriteLine);
            return 0;
        }
        catch (IOException e)
        {
            Console.Error.WriteLine($"sdnedge watchdog: {e.Message}; a host's agent starts this by itself");
            return 1;
        }
    }
}
