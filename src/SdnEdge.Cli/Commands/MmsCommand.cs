using System.CommandLine;
using System.Text;
using System.Text.Json;
using SdnEdge.Mms.Journal;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge mms</c>: the migration management system, which moves servers, volumes and prefixes as one.</summary>
internal static class MmsCommand
{
    private const int Damaged = 1, Batch = 1024;

    public static Command Create() => new("mms", "The migration management system.") { Journal() };

    private static Command Journal()
    {
        var file = new Argument<string>("file") { Description = "The journal. It may be in use: it is only read.", HelpName = "FILE" };
        var output = new Option<string>("--output", "-o") { Description = "text or json.", DefaultValueFactory = _ => "text" };
        output.AcceptOnlyFromAmong("text", "json");
        var command = new Command("journal",
            "Lists a journal's records and verifies that each one follows the one before. Text: position, time, actor, migration, input, body. "
            + "Exit code 0: all is well; 1: a record is damaged, or the journal cannot be read; the reason, with the position, goes to standard error.")
        {
            file, output,
        };
        command.SetAction(async (parse, cancel) =>
        {
            await using Stream stream = Console.OpenStandardOutput();
            try
            {
                await using SqliteJournal journal = await SqliteJournal.OpenReadOnlyAsync(parse.GetValue(file)!, check: false, cancel);
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

    private static async Task<JournalUnavailableException?> WriteTextAsync(Stream stream, SqliteJournal journal, CancellationToken cancel)
    {
        await using var text = new StreamWriter(stream, new UTF8Encoding(false), leaveOpen: true);
        return await EachAsync(journal, async records =>
        {
            foreach (JournalRecord r in records)
                await text.WriteLineAsync($"{r.Position}\t{r.At}\t{r.Actor}\t{r.Migration ?? "-"}\t{r.Input}\t{r.Body}");
        }, cancel);
    }

    private static async Task<JournalUnavailableException?> WriteJsonAsync(Stream stream, SqliteJournal journal, CancellationToken cancel)
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
        SqliteJournal journal, Func<IReadOnlyList<JournalRecord>, Task> write, CancellationToken cancel)
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
