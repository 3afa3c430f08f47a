using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class ShowCommand
{
    public static Command Create() => new("show", "TODO");
}
