namespace SdnEdge.Mms.Journal;

public sealed record JournalRecord(
    long Position, string At, long NowNs, string Life, string Actor, string? Migration, string Input, string Body);

public sealed record JournalEntry(string At, long NowNs, string Actor, string? Migration, string Input, string Body);

public interface IJournal : IAsyncDisposable
{
    long Length { get; }
    string Id { get; }
    Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel);
    Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel);
}

public sealed class JournalConflictException(string message) : Exception(message);

public enum JournalFault { Locked, Full, ReadOnly, Corrupt, TooNew, Io }

public sealed class JournalUnavailableException(JournalFault fault, string message, Exception? inner = null) : Exception(message, inner)
{
    public JournalFault Fault { get; } = fault;
}
