using System.Diagnostics;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Mms;

/// <summary>A line of the journal.</summary>
/// <param name="AtNs">CLOCK_MONOTONIC, nanoseconds.</param>
/// <param name="Migration">The migration.</param>
/// <param name="Kind">plan, intent, result or end.</param>
/// <param name="What">The command's or input's type.</param>
/// <param name="Body">The command or input itself.</param>
public sealed record JournalLine(long AtNs, string Migration, string Kind, string What, JsonElement Body);

/// <summary>Body of the journal's last line of a move: how it ended.</summary>
public sealed record JournalEnd(MoveOutcome Outcome, string? Failure, IReadOnlyList<StageRecord> Timeline, IReadOnlyList<string> Residue);

/// <summary>
/// What the manager is about to do and what came of it, one JSON object a line. A line is on the disk when
/// <see cref="Write"/> returns: an intent is there before its step runs, so that after a crash the PEs can be asked about
/// exactly what may have happened.
/// </summary>
public sealed class MoveJournal : IDisposable
{
    private readonly FileStream _file;
    private readonly Lock _lock = new();

    /// <summary>Opens a journal for appending; makes it and its folder where needed.</summary>
    public MoveJournal(string path)
    {
        string full = Path.GetFullPath(path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        _file = new FileStream(full, FileMode.Append, FileAccess.Write, FileShare.Read);
    }

    /// <summary>Appends a line and waits for the disk.</summary>
    public void Write(string migration, string kind, object body)
    {
        ArgumentNullException.ThrowIfNull(body);
        var line = new JournalLine(Stopwatch.GetTimestamp(), migration, kind, body.GetType().Name, JsonSerializer.SerializeToElement(body, MoveJson.Options.GetTypeInfo(body.GetType())));
        byte[] bytes = Encoding.UTF8.GetBytes(JsonSerializer.Serialize(line, MoveJson.Options.For<JournalLine>()) + "\n");
        lock (_lock)
        {
            _file.Write(bytes);
            _file.Flush(flushToDisk: true);
        }
    }

    /// <summary>Reads a journal. A last line that a crash cut off is left out.</summary>
    public static IReadOnlyList<JournalLine> Read(string path)
    {
        var lines = new List<JournalLine>();
        foreach (string text in File.ReadLines(path))
        {
            try
            {
                lines.Add(JsonSerializer.Deserialize(text, MoveJson.Options.For<JournalLine>())!);
            }
            catch (JsonException)
            {
                break;
            }
        }

        return lines;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
