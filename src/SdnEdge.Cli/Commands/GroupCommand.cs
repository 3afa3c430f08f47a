using System.CommandLine;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge group</c>: groups of servers, and their protection against the failure of their site.</summary>
internal static class GroupCommand
{
    public static Command Create() => new("group",
        """
        Groups of servers, and their protection against the failure of their site: the PE there watches it, and switches the group's traffic
        to the other site by itself when it fails. What then starts the servers is 'sdnedge failover'.

          sdnedge group list                                             all groups: where they are, how they are protected
          sdnedge group protect vs --to dc-b                             as protect: in the manager's configuration says
          sdnedge group protect vs --to dc-b --watch dc-a:neighbor=10.1.1.10 --watch dc-b:bfd=10.1.1.2
          sdnedge group status vs                                        armed, or why not
          sdnedge group unprotect vs

        Exit code: 0 done, and for status: armed; 1 not possible, and for status: not armed; 2 wrong usage, or no manager.
        """)
    {
        List(), Protect(), Unprotect(), Status(),
    };

    private static Argument<string> Group() => new("group") { Description = "The group." };

    private static Command List() => MigrateCommand.With(new Command("list", "All groups: where they are, and how they are protected."),
        async (_, manager, json, cancel) =>
        {
            IReadOnlyList<GroupInfo> all = await manager.Mms.GroupsAsync(cancel);
            if (json) Console.WriteLine(JsonSerializer.Serialize(all, ApiJson.Indented.For<IReadOnlyList<GroupInfo>>()));
            else foreach (GroupInfo group in all) Print(group);
            return 0;
        });

    private static Command Protect()
    {
        Argument<string> group = Group();
        var to = new Option<string>("--to") { Description = "The site where it is to come up.", Required = true, HelpName = "SITE" };
        var policy = new Option<string?>("--policy") { Description = "How: cold (from its volumes there)." };
        var automatic = new Option<bool?>("--automatic")
        {
            Description = "The manager begins the fail-over by itself. Without it: as the configuration says.",
        };
        var watch = new Option<string[]>("--watch")
        {
            Description = "What the PE of a site watches: SITE:bfd=PEER, SITE:carrier=DEVICE or SITE:neighbor=ADDRESS; may be given "
                + "several times. Without it: as the configuration says.",
            HelpName = "SITE:KIND=WHAT", AllowMultipleArgumentsPerToken = true,
        };
        return MigrateCommand.With(new Command("protect",
            "Protects a group. Returns when that is on record; status shows when it is armed.")
            { group, to, policy, automatic, watch },
            async (parse, manager, json, cancel) =>
            {
                SiteWatch[] watched = [.. (parse.GetValue(watch) ?? []).Select(WatchOf)];
                var call = new ProtectCall(
                    parse.GetValue(to)!, parse.GetValue(policy), parse.GetValue(automatic), watched.Length == 0 ? null : watched);
                ProtectionInfo made = await manager.Mms.ProtectAsync(parse.GetValue(group)!, call, cancel);
                Show(made, json);
                return 0;
            });
    }

    private static Command Unprotect()
    {
        Argument<string> group = Group();
        return MigrateCommand.With(new Command("unprotect", "Takes the protection of a group away.") { group },
            async (parse, manager, json, cancel) =>
            {
                string name = parse.GetValue(group)!;
                await manager.Mms.UnprotectAsync(name, cancel);
                if (!json)
                    Console.WriteLine($"{name} is protected no more when its PEs have answered; 'sdnedge group status {name}' shows it.");
                return 0;
            });
    }

    private static Command Status()
    {
        Argument<string> group = Group();
        return MigrateCommand.With(new Command("status", "Shows the protection of a group. Exit code 0: armed, 1: not.") { group },
            async (parse, manager, json, cancel) =>
            {
                ProtectionInfo protection = await manager.Mms.ProtectionAsync(parse.GetValue(group)!, cancel);
                Show(protection, json);
                return protection.State == "armed" ? 0 : MigrateCommand.NotMoved;
            });
    }

    /// <summary>SITE:KIND=WHAT.</summary>
    /// <exception cref="ArgumentException">It is not of that form.</exception>
    public static SiteWatch WatchOf(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal), equals = text.IndexOf('=', StringComparison.Ordinal);
        string what = equals < 0 ? "" : text[(equals + 1)..];
        WatchedPart? part = colon <= 0 || equals < colon || what.Length == 0 ? null : text[(colon + 1)..equals] switch
        {
            "bfd" => new WatchedPart(Bfd: what),
            "carrier" => new WatchedPart(Carrier: what),
            "neighbor" => new WatchedPart(Neighbor: what),
            _ => null,
        };
        return part is not null ? new SiteWatch(text[..colon], part) : throw new ArgumentException(
            $"--watch '{text}' is not of the form SITE:KIND=WHAT with KIND bfd, carrier or neighbor, such as dc-a:neighbor=10.1.1.10");
    }

    private static void Print(GroupInfo group)
    {
        string where = string.Join(", ", group.Servers.Select(s => s.Site is { } site ? $"at {site}" : "where its hosts say").Distinct());
        string protection = group.Protection is { } p ? $"{p.State}, {p.Policy} to {p.To}" : "not protected";
        string migration = group.Migration is { } m ? $", migration {m} runs" : "";
        string servers = group.Servers.Count == 1 ? "1 server" : $"{group.Servers.Count} servers";
        Console.WriteLine($"{group.Name}: {servers} {where}; {protection}{migration}");
    }

    private static void Show(ProtectionInfo p, bool json)
    {
        if (json)
        {
            Console.WriteLine(JsonSerializer.Serialize(p, ApiJson.Indented.For<ProtectionInfo>()));
            return;
        }

        Console.WriteLine($"{p.Group} is {p.State}: {p.Policy} from {p.From} to {p.To}, epoch {p.Epoch}"
            + (p.Automatic ? ", the manager fails it over by itself" : ""));
        foreach (string reason in p.Reasons) Console.WriteLine($"  {reason}");
        foreach (ProtectionPathInfo path in p.Paths)
        {
            Console.WriteLine($"  {path.Id}: {path.SourcePe} > {path.TargetPe}{(path.Flipped ? ", flipped" : "")}"
                + (path.Backup is { } b ? $", {b.Flips} flips, {b.FalseAlarms} false alarms" : ""));
            if (path.BackupLocalPref is { } pref)
                Console.WriteLine($"    ingress PEs have a backup path by {path.TargetPe}, LOCAL_PREF {pref}");
            if (path.NoBackup is { } none)
                Console.WriteLine($"    {(path.BackupLocalPref is null ? "no backup path at ingress PEs" : "backup path")}: {none}");
            foreach (WatchInfo watch in path.Backup?.Watch ?? [])
                Console.WriteLine($"    {watch.Part}: {MigrateCommand.Word(watch.State)}, {watch.Why}");
        }
    }
}
