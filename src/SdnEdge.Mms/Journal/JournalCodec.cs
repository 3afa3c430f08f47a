using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Journal;

/// <summary>The manager's inputs as records of the journal, and back.</summary>
public static class JournalCodec
{
    /// <summary>The record of an input.</summary>
    public static JournalEntry Write(ManagerInput input, long now, string at, string actor)
    {
        (string? migration, string word) = input switch
        {
            MoveHappened m => (m.Migration, Words.Of(m.Input)),
            MigrationRequested r => (r.Id, "migration-requested"),
            CommitRequested c => (c.Migration, "commit-requested"),
            StaleReported => (null, "stale-reported"),
            ProtectionRequested => (null, "protection-requested"),
            ProtectionHappened => (null, "protection-happened"),
            UnprotectRequested => (null, "unprotect-requested"),
            FailoverRequested r => (r.Id, "failover-requested"),
            _ => (null, "recovered"),
        };
        return new JournalEntry(at, now, actor, migration, word, JsonSerializer.Serialize(input, MmsJson.Options.For<ManagerInput>()));
    }

    /// <summary>The input of a record.</summary>
    /// <exception cref="JournalUnavailableException">It is none of this version's.</exception>
    public static ManagerInput Read(JournalRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        try
        {
            return JsonSerializer.Deserialize(record.Body, MmsJson.Options.For<ManagerInput>()) ?? throw new JsonException("it is empty");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new JournalUnavailableException(JournalFault.TooNew,
                $"record {record.Position} of the journal ({record.Input}) cannot be read by this version: {e.Message}; use the version "
                + $"that wrote it, or a later one",
                record.Position, e);
        }
    }

    /// <summary>The state that the records lead to, and the position of the last one of them.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="batch">How many records are read at a time: the journal's appends wait so long.</param>
    /// <param name="until">Ends it at the first state of which this is true.</param>
    /// <param name="cancel">Ends it early.</param>
    /// <exception cref="JournalUnavailableException">A record cannot be read.</exception>
    public static Task<(ManagerState State, long Position)> FoldAsync(
        IJournal journal, int batch, Predicate<ManagerState> until, CancellationToken cancel)
        => FoldAsync(journal, (ManagerState.Empty, 0), batch, until, cancel);

    /// <summary>The same, from a state on that the records up to a position have led to.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="known">That state, and that position.</param>
    /// <param name="batch">How many records are read at a time.</param>
    /// <param name="until">Ends it at the first state of which this is true.</param>
    /// <param name="cancel">Ends it early.</param>
    /// <exception cref="JournalUnavailableException">A record cannot be read.</exception>
    public static async Task<(ManagerState State, long Position)> FoldAsync(
        IJournal journal, (ManagerState State, long Position) known, int batch, Predicate<ManagerState> until, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(journal);
        ArgumentNullException.ThrowIfNull(until);
        (ManagerState state, long position) = known;
        while (true)
        {
            IReadOnlyList<JournalRecord> records = await journal.ReadAsync(position, batch, cancel);
            if (records.Count == 0) return (state, position);
            foreach (JournalRecord record in records)
            {
                state = ManagerMachine.Step(state, Read(record), record.NowNs, record.At);
                position = record.Position;
                if (until(state)) return (state, position);
            }
        }
    }
}
