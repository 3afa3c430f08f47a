using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class ProbeCommand
{
    public static Command Create() => new("probe", "TODO");
}
