using SdnEdge.Mms.Journal;
using SdnEdge.Testing.Journal;
using Xunit;
using static SdnEdge.Mms.Tests.Journal.JournalProcess;

using MemoryJournal = SdnEdge.Testing.Journal.MemoryJournal;

namespace SdnEdge.Mms.Tests.Journal;

/// <summary>The journal in memory keeps the promises of the one on disk, and fails on demand.</summary>
public sealed class MemoryJournalTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task It_appends_reads_and_refuses_what_was_decided_on_less()
    {
        var journal = new MemoryJournal();
        await journal.AppendAsync(0, [Entry(1), Entry(2)], None);
        await Assert.ThrowsAsync<JournalConflictException>(() => journal.AppendAsync(1, [Entry(3)], None));
        Assert.Equal([2L], (await journal.ReadAsync(1, 5, None)).Select(r => r.Position));
        journal.Down = JournalFault.Io;
        await Assert.ThrowsAsync<JournalUnavailableException>(() => journal.AppendAsync(2, [Entry(3)], None));
        journal.Down = null;
        await journal.AppendAsync(2, [Entry(3)], None);
        Assert.Equal(3, journal.Length);
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public async Task A_crash_keeps_or_loses_the_append_in_flight_and_nothing_else(bool keep, long length)
    {
        var journal = new MemoryJournal();
        await journal.AppendAsync(0, [Entry(1)], None);
        journal.Stop();
        Task inFlight = journal.AppendAsync(1, [Entry(2)], None);
        Assert.Equal(1, journal.InFlight);
        MemoryJournal next = journal.Crash("life-2", keep);
        Assert.Equal(length, next.Length);
        journal.Resume();
        Assert.False(inFlight.IsCompleted);
        await next.AppendAsync(length, [Entry(3)], None);
        Assert.Equal("life-2", next.Records[^1].Life);
    }

    [Fact]
    public async Task A_failed_sync_may_come_to_light_until_the_next_append()
    {
        var journal = new MemoryJournal();
        journal.FailNext(JournalFault.Io, kept: true);
        await Assert.ThrowsAsync<JournalUnavailableException>(() => journal.AppendAsync(0, [Entry(1)], None));
        Assert.Equal(0, journal.Length);
        Assert.Equal(1, journal.Crash("life-2", keepInFlight: true).Length);
    }
}
