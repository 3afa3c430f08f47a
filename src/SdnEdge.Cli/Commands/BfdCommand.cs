using System.CommandLine;
using System.Diagnostics;
using SdnEdge.Bfd;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge bfd</c>: the BFD process of a PE or a host's agent, which starts it. It is for nobody else.</summary>
internal static class BfdCommand
{
    private const string Name = "bfd", Descriptor = "--channel-fd";

    public static Command Create()
    {
        var descriptor = new Option<int>(Descriptor)
        {
            Description = "The way to the PE or the agent that starts this process.", Required = true,
        };
        var command = new Command(Name, "The BFD sessions of a PE or a host's agent, which starts this process itself.") { descriptor };
        command.Hidden = true;
        command.SetAction(parse => Run(parse.GetValue(descriptor)));
        return EndSignals.TakesItsOwn(command);
    }

    /// <summary>How a PE or an agent starts it.</summary>
    public static ProcessStartInfo Start(int descriptor)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return new ProcessStartInfo(self[0], [.. self.Skip(1), Name, Descriptor, $"{descriptor}"]) { UseShellExecute = false };
    }

    private static int Run(int descriptor)
    {
        // It ends when its owner says so, or has gone: what an operator or a service manager sends to the whole group is for the owner.
        using var ignored = EndSignals.Handed((_, _) => true);
        try
        {
            BfdLink.Serve(ProcessChannel.Inherited(descriptor));
            return 0;
        }
        catch (LinuxException e)
        {
            Console.Error.WriteLine($"sdnedge bfd: {e.Message}; a PE or a host's agent starts this by itself");
            return 1;
        }
    }
}
