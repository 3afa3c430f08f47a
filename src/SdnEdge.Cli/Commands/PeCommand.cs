using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class PeCommand
{
    public static Command Create() => new("pe", "TODO");
}
