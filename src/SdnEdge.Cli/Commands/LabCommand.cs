using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class LabCommand
{
    public static Command Create() => new("lab", "TODO");
}
