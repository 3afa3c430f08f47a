namespace SdnEdge.Mms.Journal;

/// <summary>One record of the journal.</summary>
/// <param name="Position">Its place: 1, 2, 3 and so on, without gaps.</param>
/// <param name="At">Wall clock, ISO 8601, UTC. For people; no decision rests on it.</param>
/// <param name="NowNs">The <c>now</c> of the Step that the input went into: CLOCK_MONOTONIC, nanoseconds, of that
/// <paramref name="Life"/>.</param>
/// <param name="Life">Random id of the manager's life that wrote it: two <paramref name="NowNs"/> compare only within one life.</param>
/// <param name="Actor">Where the input came from: "manager", "user 0", "certificate ops".</param>
/// <param name="Migration">The migration, or null where the input belongs to none.</param>
/// <param name="Input">The input's type, one word.</param>
/// <param name="Body">The input itself, JSON.</param>
public sealed record JournalRecord(long Position, string At, long NowNs, string Life, string Actor, string? Migration, string Input,
    string Body);

/// <summary>A record before it is appended: the journal adds position and life. The members are those of
/// <see cref="JournalRecord"/>.</summary>
public sealed record JournalEntry(string At, long NowNs, string Actor, string? Migration, string Input, string Body);

/// <summary>
/// The manager's memory: every input that changed the state of a migration, in order. The state is the fold of the journal and
/// nothing else is remembered anywhere, so a record is believed only when it is whole, and an append counts only when it is durable.
/// <para>
/// Guarantees: positions are dense; appends are all or none; what was acknowledged is there after any crash. An append that was in
/// flight when the manager died may be there or not.
/// </para>
/// </summary>
public interface IJournal : IAsyncDisposable
{
    /// <summary>Position of the last record known to this object; 0 = empty.</summary>
    long Length { get; }

    /// <summary>Random id made with the journal: tells one journal from another.</summary>
    string Id { get; }

    /// <summary>Reads up to <paramref name="most"/> records behind position <paramref name="after"/>, in order. Fewer only at the
    /// end.</summary>
    /// <exception cref="JournalUnavailableException">The journal cannot be read, or a record is damaged (then with its
    /// position).</exception>
    Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel);

    /// <summary>
    /// Appends the entries, all or none, and returns when they are durable. Cancelling works until the write has begun; from then on
    /// the append runs to its end.
    /// </summary>
    /// <param name="expected">The <see cref="Length"/> that the entries were decided on (R8: two decisions compete for one
    /// position).</param>
    /// <param name="entries">What to append, in order.</param>
    /// <param name="cancel">Gives up an append that has not begun.</param>
    /// <exception cref="JournalConflictException">The journal has a different length: another decision was there first. Nothing was
    /// written.</exception>
    /// <exception cref="JournalUnavailableException">
    /// It is not durable. The journal still works, and the same append may be tried again. Until an append has succeeded, a crash may
    /// bring the failed entries to light (as if in flight), so act neither as if they were there nor as if they never could be.
    /// </exception>
    Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel);
}

/// <summary>An append was decided on an older state: read on from <see cref="Expected"/> and decide again.</summary>
public sealed class JournalConflictException(string journal, long expected, long actual)
    : Exception($"journal {journal}: the append was decided at position {expected}, but the journal is at {actual}: another decision was "
        + "there first. Read on and decide again.")
{
    /// <summary>The length that the append was decided on.</summary>
    public long Expected { get; } = expected;

    /// <summary>The length that the journal has.</summary>
    public long Actual { get; } = actual;
}

/// <summary>Why a journal cannot be used.</summary>
public enum JournalFault
{
    /// <summary>Another manager has it open.</summary>
    Locked,

    /// <summary>No room on the disk.</summary>
    Full,

    /// <summary>It may be read only: read-only file system, no permission, or opened so.</summary>
    ReadOnly,

    /// <summary>A record is damaged or missing, or the file is no journal.</summary>
    Corrupt,

    /// <summary>A newer version of the product wrote it.</summary>
    TooNew,

    /// <summary>The disk, or the way to it, failed; or there is no such file.</summary>
    Io,
}

/// <summary>The journal cannot be read or written. The message says what is wrong, where, and what would be right.</summary>
public sealed class JournalUnavailableException(JournalFault fault, string message, long? position = null, Exception? inner = null)
    : Exception(message, inner)
{
    /// <summary>The kind of fault.</summary>
    public JournalFault Fault { get; } = fault;

    /// <summary>With <see cref="JournalFault.Corrupt"/>: the first record that cannot be believed, where that is known. All before it can
    /// be read.</summary>
    public long? Position { get; } = position;
}
