using System.Collections.Concurrent;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>How a manager is broken. It is the shipped one: what it sees of its journal and of its parties is changed.</summary>
public enum Broken
{
    /// <summary>Not at all.</summary>
    No,

    /// <summary>It carries commands out before their record is on the disk.</summary>
    CommandsBeforeSync,

    /// <summary>It does not issue again what an earlier life has issued.</summary>
    OpenCommandsForgotten,

    /// <summary>Its appends do not name the position at which they were decided.</summary>
    AppendsAnywhere,
}

/// <summary>Acknowledges an append at once, and writes it when the next one comes, or at <see cref="FlushAsync"/>.</summary>
internal sealed class LateJournal(IJournal journal) : IJournal
{
    private (long Expected, JournalEntry[] Entries)? _late;

    public long Length => journal.Length;

    public string Id => journal.Id;

    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
        => journal.ReadAsync(after, most, cancel);

    public async Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        JournalEntry[] copy = [.. entries];
        await FlushAsync();
        _late = (expected, copy);
    }

    /// <summary>Writes what was acknowledged.</summary>
    public async Task FlushAsync()
    {
        if (_late is not { } late) return;
        await journal.AppendAsync(late.Expected, late.Entries, CancellationToken.None);
        _late = null;
    }

    public ValueTask DisposeAsync() => journal.DisposeAsync();
}

/// <summary>Appends behind whatever is there.</summary>
internal sealed class AnywhereJournal(IJournal journal) : IJournal
{
    public long Length => journal.Length;

    public string Id => journal.Id;

    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
        => journal.ReadAsync(after, most, cancel);

    public Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
        => journal.AppendAsync(journal.Length, entries, cancel);

    public ValueTask DisposeAsync() => journal.DisposeAsync();
}

/// <summary>What is done before an append of a journal, and after it.</summary>
internal sealed class WatchedJournal(
    IJournal journal, Func<IReadOnlyList<JournalEntry>, Task> before, Func<IReadOnlyList<JournalEntry>, Task> after) : IJournal
{
    public long Length => journal.Length;

    public string Id => journal.Id;

    public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after1, int most, CancellationToken cancel)
        => journal.ReadAsync(after1, most, cancel);

    public async Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
    {
        JournalEntry[] copy = [.. entries];
        await before(copy);
        await journal.AppendAsync(expected, copy, cancel);
        await after(copy);
    }

    public ValueTask DisposeAsync() => journal.DisposeAsync();
}

/// <summary>The parties of one life: what an earlier life has issued does not go out again.</summary>
/// <param name="parties">The parties.</param>
/// <param name="issued">Keys that lives have issued, and in which.</param>
/// <param name="life">Number of the life.</param>
internal sealed class ForgetfulParties(IParties parties, ConcurrentDictionary<string, int> issued, int life) : IParties
{
    public async Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel)
    {
        await IssueAsync(command.Key, cancel);
        return await parties.SignalAsync(command, cancel);
    }

    public async Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel)
    {
        await IssueAsync(command.Key, cancel);
        return await parties.OrderAsync(command, cancel);
    }

    public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
        => parties.MigrationAsync(pe, path, wait, cancel);

    public Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel)
        => parties.WhyNotDirectAsync(pe, path, cancel);

    public Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel) => parties.TellsAsync(path, cancel);

    public Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
        => parties.LeftOverAsync(pe, path, cancel);

    public async Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel)
    {
        await IssueAsync(command.Key, cancel);
        return await parties.LeaseAsync(command, cancel);
    }

    public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel) => parties.ServerAsync(host, server, cancel);

    private Task IssueAsync(string key, CancellationToken cancel)
        => issued.GetOrAdd(key, life) == life ? Task.CompletedTask : Task.Delay(Timeout.InfiniteTimeSpan, cancel);
}
