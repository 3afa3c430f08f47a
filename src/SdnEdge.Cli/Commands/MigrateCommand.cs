using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Cli.Commands.Migrate;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge migrate</c>: has the manager move groups of servers, and shows what it does.</summary>
internal static class MigrateCommand
{
    /// <summary>As before, or not possible.</summary>
    public const int NotMoved = 1;

    /// <summary>Wrong usage, or the manager cannot be reached.</summary>
    public const int Unusable = 2;

    /// <summary>Fenced, given up, or not at its end when the command left.</summary>
    public const int Unfinished = 3;

    /// <summary>How it is shown.</summary>
    public static readonly Option<string> Output = new("--output", "-o") { Description =
        "text or json. A migration that is followed: one line of JSON for each change.", DefaultValueFactory = _ => "text" };

    public static Command Create()
    {
        Output.AcceptOnlyFromAmong("text", "json", "table");
        return new Command("migrate",
            """
            Moves running servers from one data centre to another without losing a packet. The manager does it ('sdnedge mms'); these
            commands ask it and show it. Killing one of them changes nothing: the manager goes on.

              sdnedge migrate plan --group vs --to dc-b            what keeps it from being moved, all of it; changes nothing
              sdnedge migrate run --group vs --to dc-b             there; Ctrl-C has it undone, while it can be
              sdnedge migrate rollback ID                          and back
              sdnedge migrate list                                 all migrations
              sdnedge migrate watch                                the one that runs
              sdnedge migrate report ID --out report               as a page, and as JSON
              sdnedge migrate run --api https://10.254.0.100:8443/ --cert me.crt --key me.key --ca ca.crt --group vs --to dc-b
              sdnedge migrate signal switch m1 --api PE.sock --epoch 7    one signal to one PE, by hand

            Exit code: 0 moved, or done; 1 all is as before, or it is not possible; 2 wrong usage, or no manager; 3 fenced, given up, or
            left unfinished.
            """)
        {
            Plan(), Start(), Run(), Watch(), Status(), Abort(), Resume(), Commit(), Rollback(), List(), Report(), SignalCommand.Create(),
        };
    }

    /// <summary>The exit code of a migration.</summary>
    public static int CodeOf(MigrationStatus m) => m.State switch { "moved" => 0, "as-before" => NotMoved, _ => Unfinished };

    /// <summary>An enum's word.</summary>
    public static string Word(Enum value) => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>Runs an action; what goes wrong in a known way is told in a sentence.</summary>
    public static async Task<int> GuardAsync(ParseResult parse, Func<Task<int>> action)
    {
        try
        {
            return await action();
        }
        catch (ApiProblemException e)
        {
            Fail(parse, e.Message);
            return e.Problem.Status is 409 or 422 ? NotMoved : Unusable;
        }
        catch (OperationCanceledException)
        {
            return Fail(parse, "stopped before the answer. If it was a start, the migration may run: 'sdnedge migrate list' shows it.");
        }
        catch (Exception e) when (e is ApiUnreachableException or LabException or TopologyException or LinuxException
            or ArgumentException or InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            return Fail(parse, e.Message);
        }
    }

    /// <summary>Tells what is wrong, by the name of the command that was given: migrate, group, failover.</summary>
    public static int Fail(ParseResult parse, string message)
    {
        Console.Error.WriteLine($"sdnedge {NameOf(parse)}: {message}");
        return Unusable;
    }

    // The command below sdnedge itself.
    private static string NameOf(ParseResult parse)
    {
        string name = "";
        for (SymbolResult? at = parse.CommandResult; at is not null; at = at.Parent)
        {
            if (at is CommandResult { Command: not RootCommand and { Name: var word } }) name = word;
        }

        return name;
    }

    private static Command Plan()
    {
        var call = new CallFlags();
        var command = new Command("plan",
            "A dry run: every obstacle at once, the predicted blackout, and what the holds will keep. Nothing is changed anywhere. Exit "
            + "code 0: possible, 1: not.");
        call.AddTo(command);
        return With(command, async (parse, manager, json, cancel) =>
        {
            PlanInfo plan = await manager.Mms.PlanAsync(call.Of(parse), cancel);
            if (json) Console.WriteLine(JsonSerializer.Serialize(plan, ApiJson.Indented.For<PlanInfo>()));
            else MigrationView.Print(plan);
            return plan.Obstacles.Count == 0 ? 0 : NotMoved;
        });
    }

    private static Command Start()
    {
        var call = new CallFlags();
        Option<string?> key = IdempotencyKey();
        var command = new Command("start", "Starts a migration and returns as soon as it is on record; the manager does it.") { key };
        call.AddTo(command);
        return With(command, async (parse, manager, json, cancel) =>
        {
            MigrationStatus m = await StartAsync(manager, call.Of(parse), parse.GetValue(key), cancel);
            Console.WriteLine(json ? JsonSerializer.Serialize(m, ApiJson.Indented.For<MigrationStatus>())
                : $"{m.Id}: {m.Group} moves from {m.From} to {m.To}; 'sdnedge migrate watch {m.Id}' shows it.");
            return 0;
        });
    }

    private static Command Run()
    {
        var call = new CallFlags();
        Option<string?> key = IdempotencyKey();
        var command = new Command("run",
            "Starts a migration and follows it to its end. Ctrl-C asks the manager to undo it, and goes on watching; a second one only "
            + "leaves, as TERM, QUIT and a closed terminal do: the manager goes on. "
            + "Exit code 0: moved, nothing left over; 1: refused, or all is as before; 3: fenced, or left before its end.") { key };
        call.AddTo(command);
        return Following(command, (parse, manager, cancel) => StartAsync(manager, call.Of(parse), parse.GetValue(key), cancel),
            abortable: true);
    }

    private static Command Watch()
    {
        Argument<string?> id = IdOrLatest();
        return Following(new Command("watch", "Follows a migration to its end. Ctrl-C leaves, and changes nothing.") { id },
            async (parse, manager, cancel)
                => await manager.Mms.MigrationAsync(await WhichAsync(manager, parse.GetValue(id), cancel), cancel), abortable: false);
    }

    private static Command Status()
    {
        Argument<string?> id = IdOrLatest();
        return With(new Command("status", "Shows a migration: stages, servers, holds, tunnels, what is open and why.") { id },
            async (parse, manager, json, cancel) =>
        {
            Show(await manager.Mms.MigrationAsync(await WhichAsync(manager, parse.GetValue(id), cancel), cancel), manager, json);
            return 0;
        });
    }

    private static Command Abort()
    {
        Argument<string> id = Id();
        var why = new Option<string?>("--why") { Description = "For the journal and the report." };
        var giveUp = new Option<string[]>("--give-up")
        {
            Description = "A host, PE or site that will not answer any more; may be given several times. The migration ends without its "
                + "word.",
            HelpName = "PARTY", AllowMultipleArgumentsPerToken = true,
        };
        return With(new Command("abort",
            """
            Has a migration undone: before the pivot always, after it while no server is known to run at the target. Returns when that is on
            record.

              sdnedge migrate abort m3 --why "too slow"
              sdnedge migrate abort m3 --give-up dc-a --why "dc-a burnt down"

            --give-up is your word that a party is dead. It is on record with your name; the migration ends as given-up, neither moved nor
            as before, and lists what is not proved. Before the pivot, in an undo and on a way back any party can be given up; after the
            pivot only the source's: a target may run what it was granted, and your word does not stop it.
            """) { id, why, giveUp },
            async (parse, manager, json, cancel) =>
            {
                string[] parties = parse.GetValue(giveUp) ?? [];
                var call = new AbortCall(parse.GetValue(why), parties.Length == 0 ? null : parties);
                MigrationStatus m = await manager.Mms.AbortAsync(parse.GetValue(id)!, call, cancel);
                if (json) Show(m, manager, json);
                else if (m.Ended) Console.WriteLine(MigrationView.End(m));
                else if (parties.Length > 0)
                {
                    Console.WriteLine($"{m.Id} goes on without {string.Join(", ", parties)}, at {m.Stage}; 'sdnedge migrate watch {m.Id}' "
                        + "shows it.");
                }
                else Console.WriteLine($"{m.Id} is being undone, at {m.Stage}; 'sdnedge migrate watch {m.Id}' shows it.");
                return 0;
            });
    }

    private static Command Resume()
    {
        Argument<string> id = Id();
        return Following(new Command("resume",
            "Shows what of a migration is open and why, and follows it. (The manager goes on by itself, also after a restart; nothing "
            + "needs to be told.)") { id },
            async (parse, manager, cancel) =>
            {
                bool json = parse.GetValue(Output) == "json";
                MigrationStatus m = await manager.Mms.MigrationAsync(parse.GetValue(id)!, cancel);
                TextWriter to = json ? Console.Error : Console.Out;
                to.WriteLine(m.Ended ? $"{m.Id} has ended."
                    : $"{m.Id} is at {m.Stage}, {m.State}; "
                    + $"{(m.Waiting.Count == 0 ? "nothing is waited for" : $"open: {m.Waiting.Count}")}.");
                foreach (WaitingInfo w in m.Waiting)
                {
                    to.WriteLine($"  {w.Step}: {w.Reason}{(w.Detail is null ? "" : ", " + w.Detail)}");
                    if (w.Remedy is not null) to.WriteLine($"    {w.Remedy}");
                }

                return m;
            }, abortable: false);
    }

    private static Command Commit()
    {
        Argument<string> id = Id();
        return With(new Command("commit",
            "Ends the trial of a migration that has moved its group: no rollback is offered any more.") { id },
            async (parse, manager, json, cancel) =>
        {
            MigrationStatus m = await manager.Mms.CommitAsync(parse.GetValue(id)!, cancel);
            if (json) Show(m, manager, json);
            else Console.WriteLine($"{m.Id} is committed: {m.Group} stays at {m.To}.");
            return 0;
        });
    }

    private static Command Rollback()
    {
        Argument<string> id = Id();
        return Following(new Command("rollback",
            "Moves the group of a migration back to where it was, by a migration of its own, and follows that. Ctrl-C as with run.") { id },
            (parse, manager, cancel) => manager.Mms.RollbackAsync(parse.GetValue(id)!, cancel), abortable: true);
    }

    private static Command List() => With(new Command("list", "All migrations, oldest first."), async (_, manager, json, cancel) =>
    {
        IReadOnlyList<MigrationStatus> all = await manager.Mms.MigrationsAsync(cancel);
        if (json) Console.WriteLine(JsonSerializer.Serialize(all, ApiJson.Indented.For<IReadOnlyList<MigrationStatus>>()));
        else MigrationView.Print(all);
        return 0;
    });

    private static Command Report()
    {
        Argument<string> id = Id();
        var folder = new Option<DirectoryInfo>("--out") { Description = "Folder for report.html and report.json.", DefaultValueFactory = _
            => new DirectoryInfo("migration-report") };
        return With(new Command("report",
            "Writes what is known of a migration as a page and as JSON: timeline, stages, signals and orders, counters.") { id, folder },
            async (parse, manager, json, cancel) =>
            {
                MigrationStatus m = await manager.Mms.MigrationAsync(parse.GetValue(id)!, cancel);
                DemoReport report = MigrationReports.Write(m, parse.GetValue(folder)!);
                Console.WriteLine(json ? JsonSerializer.Serialize(report, DemoReport.Json.For<DemoReport>())
                    : $"{m.Id}, {m.State}: {Path.Combine(parse.GetValue(folder)!.FullName, "report.html")}");
                return 0;
            });
    }

    /// <summary>A command that asks the manager.</summary>
    public static Command With(Command command, Func<ParseResult, Manager, bool, CancellationToken, Task<int>> action)
    {
        ManagerFlags.AddTo(command);
        command.Options.Add(Output);
        command.SetAction((parse, cancel) => GuardAsync(parse, async () =>
        {
            using Manager manager = ManagerFlags.Open(parse);
            await CheckIsManagerAsync(manager, cancel);
            return await action(parse, manager, parse.GetValue(Output) == "json", cancel);
        }));
        return command;
    }

    // A PE has migrations of its own under the same name, and would answer as a manager that knows none.
    private static async Task CheckIsManagerAsync(Manager manager, CancellationToken cancel)
    {
        if (manager.Lab is not null) return;
        using JsonDocument node = JsonDocument.Parse(await manager.Mms.TextAsync("v1/node", cancel));
        string? other = node.RootElement.TryGetProperty("routerId", out _) ? "a PE"
            : node.RootElement.TryGetProperty("site", out _) ? "of a site: a host's agent, or a store" : null;
        if (other is not null) throw new ArgumentException(
            $"--api is the API of '{node.RootElement.GetProperty("name")}', which is {other}; give that of the manager ('sdnedge mms')");
    }

    // What a signal means changes when there is a migration to follow.
    private static Command Following(Command command, Func<ParseResult, Manager, CancellationToken, Task<MigrationStatus>> which,
        bool abortable) => EndSignals.TakesItsOwn(With(command, async (parse, manager, json, cancel) =>
    {
        MigrationStatus m;
        using (var signals = EndSignals.OfCommand(cancel)) m = await which(parse, manager, signals.Stop);
        return await Follow.ToEndAsync(manager, m, json, abortable);
    }));

    private static async Task<MigrationStatus> StartAsync(Manager manager, MigrationCall call, string? key, CancellationToken cancel)
    {
        key ??= Guid.NewGuid().ToString("D", CultureInfo.InvariantCulture);
        try
        {
            return await manager.Mms.StartAsync(call, key, cancel);
        }
        catch (ApiUnreachableException e) when (!e.IsUnconnected)
        {
            throw new ApiUnreachableException(
                $"{e.Message}. If it was reached, the migration may run: 'sdnedge migrate list'; the same command with --idempotency-key "
                + $"{key} starts no second one.", e);
        }
    }

    private static async Task<string> WhichAsync(Manager manager, string? id, CancellationToken cancel)
    {
        if (id is not null) return id;
        IReadOnlyList<MigrationStatus> all = await manager.Mms.MigrationsAsync(cancel);
        if (all.Count == 0) throw new ArgumentException(
            $"{manager.Mms.Name} knows no migration; 'sdnedge migrate run --group GROUP --to SITE' starts one");
        MigrationStatus[] running = [.. all.Where(m => !m.Ended)];
        return running.Length <= 1 ? (running.FirstOrDefault() ?? all[^1]).Id
            : throw new ArgumentException($"which one? Give its id; running: "
            + $"{string.Join(", ", running.Select(m => $"{m.Id} ({m.Group} to {m.To})"))}");
    }

    private static void Show(MigrationStatus m, Manager manager, bool json)
    {
        if (json) Console.WriteLine(JsonSerializer.Serialize(m, ApiJson.Indented.For<MigrationStatus>()));
        else new MigrationView(manager.SameClock).Print(m);
    }

    private static Argument<string> Id()
    {
        var id = new Argument<string>("id") { Description = "The migration's id." };
        NotEmpty(id);
        return id;
    }

    // An empty one would ask for all of them.
    private static void NotEmpty(Argument id) => id.Validators.Add(result =>
    {
        if (result.Tokens is [{ Value.Length: 0 }])
            result.AddError("'' is no id of a migration; 'sdnedge migrate list' shows them, e.g. m1.");
    });

    private static Argument<string?> IdOrLatest()
    {
        var id = new Argument<string?>("id")
        {
            Description = "The migration's id. Default: the one that runs, else the last one.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        NotEmpty(id);
        return id;
    }

    private static Option<string?> IdempotencyKey() => new("--idempotency-key")
    {
        Description = "The same call again with the same key gets the same migration (default: a key of its own).",
        HelpName = "KEY",
    };
}
