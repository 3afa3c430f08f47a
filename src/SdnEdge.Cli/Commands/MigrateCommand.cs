using System.CommandLine;

namespace SdnEdge.Cli.Commands;

internal static class MigrateCommand
{
    public static Command Create() => new("migrate", "TODO");
}
