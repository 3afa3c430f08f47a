using System.CommandLine;
using System.Text.Json;
using SdnEdge.Cli.Commands.Migrate;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge failover</c>: has a protected group come up at its other site.</summary>
internal static class FailoverCommand
{
    public static Command Create() => new("failover",
        """
        Has a protected group come up at its other site when its own has failed. First the hosts of the failed site must say that its
        servers are dead there; without their word nothing is started, and it stays 'suspected'.

          sdnedge failover start vs --to dc-b --dry-run    what is in the way, and what is lost
          sdnedge failover start vs --to dc-b
          sdnedge failover status vs                       how far it is, and who has not answered
          sdnedge failover abort m7                        before its pivot: the servers are started where they were

        Exit code: 0 done, and for --dry-run: possible; 1 not possible; 2 wrong usage, or no manager.
        """)
    {
        Start(), Status(), Abort(),
    };

    private static Command Start()
    {
        var group = new Argument<string>("group") { Description = "The group." };
        var to = new Option<string>("--to") { Description = "The site where it is to come up.", Required = true, HelpName = "SITE" };
        var dryRun = new Option<bool>("--dry-run") { Description = "Says what is in the way and what is lost, and changes nothing." };
        var why = new Option<string?>("--why") { Description = "For the journal and the report." };
        var accept = new Option<string[]>("--accept-loss")
        {
            Description = "A volume whose copy there is stale, by name: its server is started from it all the same. May be given several "
                + "times.",
            HelpName = "VOLUME", AllowMultipleArgumentsPerToken = true,
        };
        return MigrateCommand.With(new Command("start", "Starts a fail-over and returns as soon as it is on record.")
            { group, to, dryRun, accept, why },
            async (parse, manager, json, cancel) =>
            {
                string[] accepted = parse.GetValue(accept) ?? [];
                var call = new FailoverCall(
                    parse.GetValue(to)!, parse.GetValue(dryRun), accepted.Length == 0 ? null : accepted, parse.GetValue(why));
                FailoverInfo info = await manager.Mms.FailoverAsync(parse.GetValue(group)!, call, cancel);
                if (json) Console.WriteLine(JsonSerializer.Serialize(info, ApiJson.Indented.For<FailoverInfo>()));
                else Print(info);
                return info.Obstacles.Count == 0 ? 0 : MigrateCommand.NotMoved;
            });
    }

    private static Command Status()
    {
        var which = new Argument<string>("which") { Description = "Its id, or the group: then its last one." };
        return MigrateCommand.With(new Command("status", "Shows a fail-over.") { which }, async (parse, manager, json, cancel) =>
        {
            string asked = parse.GetValue(which)!;
            MigrationStatus? last = (await manager.Mms.MigrationsAsync(cancel)).LastOrDefault(m => m.Id == asked || m.Group == asked);
            MigrationStatus status = await manager.Mms.MigrationAsync(last?.Id ?? asked, cancel);
            if (json) Console.WriteLine(JsonSerializer.Serialize(status, ApiJson.Indented.For<MigrationStatus>()));
            else new MigrationView(manager.SameClock).Print(status);
            return 0;
        });
    }

    private static Command Abort()
    {
        var id = new Argument<string>("id") { Description = "Its id." };
        var why = new Option<string?>("--why") { Description = "For the journal and the report." };
        return MigrateCommand.With(
            new Command("abort", "Calls a fail-over off: the servers are started where they were, under a higher epoch.") { id, why },
            async (parse, manager, json, cancel) =>
            {
                MigrationStatus status = await manager.Mms.AbortAsync(parse.GetValue(id)!, parse.GetValue(why), cancel);
                if (json) Console.WriteLine(JsonSerializer.Serialize(status, ApiJson.Indented.For<MigrationStatus>()));
                else Console.WriteLine($"{status.Id} is being undone, at {status.Stage}; 'sdnedge failover status {status.Id}' shows it.");
                return 0;
            });
    }

    private static void Print(FailoverInfo info)
    {
        Console.WriteLine(info.Migration is { } m
            ? $"{m.Id}: {info.Group} comes up at {info.To}; 'sdnedge failover status {m.Id}' shows it."
            : info.Obstacles.Count == 0 ? $"{info.Group} could come up at {info.To}. Nothing was changed."
            : $"{info.Group} cannot come up at {info.To}:");
        foreach (Obstacle obstacle in info.Obstacles) Console.WriteLine($"  {obstacle.Where}: {obstacle.Reason}: {obstacle.Detail}");
        foreach (string line in info.Fence) Console.WriteLine($"  fence: {line}");
        foreach (string line in info.Loss) Console.WriteLine($"  lost: {line}");
        foreach (string line in info.Warnings) Console.WriteLine($"  warning: {line}");
    }
}
