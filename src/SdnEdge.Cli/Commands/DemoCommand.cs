using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class DemoCommand
{
    public static Command Create() => new("demo", "TODO");
}
