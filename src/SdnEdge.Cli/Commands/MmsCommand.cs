using System.CommandLine;
using System.Text;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge mms</c>: the migration management system, which moves servers, volumes and prefixes as one.</summary>
internal static class MmsCommand
{
    private const int ExitFailed = 1, ExitBadConfig = 2, Damaged = 1, Batch = 1024;

    private const string WhichJournal
        = "The journal's file, or the manager's configuration (.yaml), whose journal may be in etcd. It may be in use: it is only read.";

    public static Command Create()
    {
        var config = new Option<string>("--config", "-c") { Description = "Configuration file (YAML).", HelpName = "FILE" };
        var check = new Option<bool>("--check") { Description = "Read the file, report every error with its line, and end." };
        var command = new Command("mms",
            """
            Runs the migration manager in the foreground: it moves groups of servers between sites, all or none. What it knows is in its
            journal; started again after a crash it goes on where it was. Several managers share a journal in etcd: one leads, and when it
            is gone another one does (docs/managers.md).

              sdnedge mms --config mms.yaml --check     what is wrong in the file, all of it at once
              sdnedge mms --config mms.yaml             run it; it says "ready" once it takes migrations
              kill -TERM PID                            stop; migrations wait for the next start
              sdnedge migrate plan --api /run/sdnedge/mms.sock --group vs --to dc-b

            Exit code: 0 stopped, 1 could not run (the journal is in use or damaged, say), 2 the file is wrong.
            """)
        {
            config, check, Journal(), ReplayJournal(), Recover(),
        };
        return new Daemon<MmsConfig>("mms", Read, c => $": {c.Pes.Count} PEs, {c.Hosts.Count} hosts, {c.Groups.Count} groups", c => c.Name,
            RunAsync).At(command, config, check);

        static DaemonFile<MmsConfig> Read(string text, string file)
        {
            MmsConfigResult read = MmsConfigLoader.Load(text, file);
            return new DaemonFile<MmsConfig>(read.Config, read.Errors);
        }
    }

    private static async Task RunAsync(MmsConfig config, CancellationToken stop)
    {
        await using MmsDaemon daemon = await MmsDaemon.StartAsync(config, stop);
        Console.WriteLine($"{config.Name}: ready, pid "
            + $"{Environment.ProcessId}{(config.Api.Unix is { } socket ? $", API on {socket}" : "")}");
        _ = daemon.FoundOld.ContinueWith(
            old => Console.Error.WriteLine($"{config.Name}: {old.Result}"), stop, TaskContinuationOptions.OnlyOnRanToCompletion,
            TaskScheduler.Default);
        if (config.Etcd is { } etcd)
        {
            daemon.RoleChanged += role => Console.WriteLine($"{config.Name}: {role}");
            Console.WriteLine($"{config.Name}: standby: the journal is in etcd, {etcd.Prefix}; leases of {etcd.LeaseSeconds} s");
            daemon.Campaign();
        }

        await daemon.Ended.WaitAsync(stop);
    }

    private static Command ReplayJournal()
    {
        var file = new Argument<string>("journal") { Description = WhichJournal, HelpName = "JOURNAL" };
        var migration = new Option<string?>("--migration", "-m") { Description = "Only this migration, e.g. m3." };
        var output = new Option<string>("--output", "-o") { Description = "text, or json: one object a line.", DefaultValueFactory = _
            => "text" };
        output.AcceptOnlyFromAmong("text", "json");
        var command = new Command("replay",
            "Folds a journal and prints, step by step, what the manager saw and decided: what to send with a report of a fault. "
            + "Exit code 0: all was read; 1: the journal cannot be read, or was written by a later version.")
        {
            file, migration, output,
        };
        command.SetAction(async (parse, cancel) =>
        {
            try
            {
                await using JournalReader reader = await JournalReader.OpenAsync(parse.GetValue(file)!, check: true, cancel);
                return await Replay.RunAsync(
                    reader.Journal, Console.Out, parse.GetValue(migration), parse.GetValue(output) == "json", cancel);
            }
            catch (JournalUnavailableException e)
            {
                Console.Error.WriteLine("sdnedge mms replay: " + e.Message);
                return ExitFailed;
            }
        });
        return command;
    }

    private static Command Recover()
    {
        var api = new Option<string>("--api") { Description = "The manager's unix socket.", Required = true, HelpName = "SOCKET" };
        var settle = new Option<string[]>("--settle")
        {
            Description = "Where a server in doubt is to run; once for each of them.", HelpName = "SERVER=SITE",
        };
        var command = new Command("recover",
            """
            Rebuilds a running manager's owners and epochs from what PEs and hosts say, after its journal was lost or an old copy of it
            was put back. All PEs and hosts must answer, and of each server it must be known who may run it: else nothing is recovered,
            and what is in the way is listed. Nothing is moved.

            A server is in doubt when no host, or two, have the right to run it: a migration of it was between stop and start. Say with
            --settle where it is to run. All its hosts are asked first whether they have run it; if another one has, nothing is settled.
            Then the site that was named is granted a new epoch, and servers and network go back to it, or on to it. That is a migration
            like any other: watch it to its end.

              sdnedge mms recover --api /run/sdnedge/mms.sock
              sdnedge mms recover --api /run/sdnedge/mms.sock --settle web-1=dc-a --settle web-2=dc-a
              sdnedge migrate watch m8 --api /run/sdnedge/mms.sock

            Exit code: 0 recovered, or being settled; 1 nothing was recovered; 2 the command line is wrong.
            """)
        {
            api, settle,
        };
        command.SetAction(async (parse, cancel) =>
        {
            var sites = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (string pair in parse.GetValue(settle) ?? [])
            {
                if (pair.Split('=') is [{ Length: > 0 } server, { Length: > 0 } site] && sites.TryAdd(server, site)) continue;
                Console.Error.WriteLine($"sdnedge mms recover: --settle '{pair}' is not SERVER=SITE, or names a server twice; "
                    + "e.g. --settle web-1=dc-a");
                return ExitBadConfig;
            }

            using var mms = new MmsClient(ApiClient.EndpointFor(parse.GetValue(api)!));
            try
            {
                foreach (GroupInfo group in await mms.RecoverAsync(new RecoverCall(sites.Count > 0 ? sites : null), cancel))
                {
                    string servers = string.Join(", ", group.Servers.Select(s => $"{s.Name} at {s.Site ?? "no site"}"));
                    Console.WriteLine($"{group.Name}: epoch {group.Epoch}; {servers}");
                    if (group.Migration is not { } id) continue;
                    Console.WriteLine($"{group.Name}: migration {id} {(sites.Count > 0 ? "settles it" : "goes on")}: "
                        + $"sdnedge migrate watch {id} --api {parse.GetValue(api)}");
                }

                return 0;
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                Console.Error.WriteLine("sdnedge mms recover: " + e.Message);
                return ExitFailed;
            }
        });
        return command;
    }

    private static Command Journal()
    {
        var file = new Argument<string>("file") { Description = WhichJournal, HelpName = "FILE" };
        var output = new Option<string>("--output", "-o") { Description = "text or json.", DefaultValueFactory = _ => "text" };
        output.AcceptOnlyFromAmong("text", "json");
        var command = new Command("journal",
            "Lists a journal's records and verifies that each one follows the one before. Text: position, time, actor, migration, input, "
            + "body. "
            + "Exit code 0: all is well; 1: a record is damaged, or the journal cannot be read; the reason, with the position, goes to "
            + "standard error.")
        {
            file, output,
        };
        command.SetAction(async (parse, cancel) =>
        {
            await using Stream stream = Console.OpenStandardOutput();
            try
            {
                await using JournalReader reader = await JournalReader.OpenAsync(parse.GetValue(file)!, check: false, cancel);
                IJournal journal = reader.Journal;
                JournalUnavailableException? damage = parse.GetValue(output) == "json"
                    ? await WriteJsonAsync(stream, journal, cancel)
                    : await WriteTextAsync(stream, journal, cancel);
                if (damage is null) return 0;
                Console.Error.WriteLine("sdnedge mms journal: " + damage.Message);
                return Damaged;
            }
            catch (JournalUnavailableException e)
            {
                Console.Error.WriteLine("sdnedge mms journal: " + e.Message);
                return Damaged;
            }
        });
        return command;
    }

    private static async Task<JournalUnavailableException?> WriteTextAsync(Stream stream, IJournal journal, CancellationToken cancel)
    {
        await using var text = new StreamWriter(stream, new UTF8Encoding(false), leaveOpen: true);
        return await EachAsync(journal, async records =>
        {
            foreach (JournalRecord r in records)
                await text.WriteLineAsync($"{r.Position}\t{r.At}\t{r.Actor}\t{r.Migration ?? "-"}\t{r.Input}\t{r.Body}");
        }, cancel);
    }

    private static async Task<JournalUnavailableException?> WriteJsonAsync(Stream stream, IJournal journal, CancellationToken cancel)
    {
        await using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteString("id", journal.Id);
        json.WriteStartArray("records");
        JournalUnavailableException? damage = await EachAsync(journal, async records =>
        {
            foreach (JournalRecord record in records) Write(json, record);
            await json.FlushAsync(cancel);
        }, cancel);
        json.WriteEndArray();
        if (damage is not null)
        {
            json.WriteStartObject("damage");
            if (damage.Position is { } position) json.WriteNumber("position", position);
            json.WriteString("detail", damage.Message);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        await json.FlushAsync(cancel);
        stream.WriteByte((byte)'\n');
        return damage;
    }

    private static void Write(Utf8JsonWriter json, JournalRecord record)
    {
        json.WriteStartObject();
        json.WriteNumber("position", record.Position);
        json.WriteString("at", record.At);
        json.WriteNumber("nowNs", record.NowNs);
        json.WriteString("life", record.Life);
        json.WriteString("actor", record.Actor);
        json.WriteString("migration", record.Migration);
        json.WriteString("input", record.Input);
        json.WritePropertyName("body");
        try
        {
            using JsonDocument body = JsonDocument.Parse(record.Body);
            body.WriteTo(json);
        }
        catch (JsonException)
        {
            json.WriteStringValue(record.Body);
        }

        json.WriteEndObject();
    }

    /// <summary>Gives out all records up to the end, or up to the first damaged one, which it returns.</summary>
    private static async Task<JournalUnavailableException?> EachAsync(
        IJournal journal, Func<IReadOnlyList<JournalRecord>, Task> write, CancellationToken cancel)
    {
        long after = 0;
        int most = Batch;
        JournalUnavailableException? damage = null;
        while (most > 0)
        {
            IReadOnlyList<JournalRecord> records;
            try
            {
                records = await journal.ReadAsync(after, most, cancel);
            }
            catch (JournalUnavailableException e) when (damage is null && e.Position is not null)
            {
                // Once more, up to the record before the damaged one.
                damage = e;
                most = (int)(e.Position.Value - 1 - after);
                continue;
            }

            if (records.Count == 0) break;
            await write(records);
            after = records[^1].Position;
            if (damage is not null) break;
        }

        return damage;
    }
}
