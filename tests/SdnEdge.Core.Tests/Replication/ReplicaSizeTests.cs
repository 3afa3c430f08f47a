using SdnEdge.Core.Replication;
using Xunit;

namespace SdnEdge.Core.Tests.Replication;

/// <summary>A replica whose volume gets larger in the order of the log.</summary>
public sealed class ReplicaSizeTests
{
    private const long Size = 1 << 20;

    private static readonly Guid s_id = new("0a0b0c0d-1111-2222-3333-444455556666");

    [Fact]
    public void What_a_batch_writes_behind_the_end_is_right_behind_the_record_that_moved_it_and_wrong_before()
    {
        LogRecord before = After(LogPoint.Start, LogRecordKind.Write, Size - 4096, 4096);
        LogRecord grown = After(LogPoint.Of(before), LogRecordKind.Size, 0, 2 * Size);
        LogRecord behind = After(LogPoint.Of(grown), LogRecordKind.Write, Size, 4096);
        Assert.Null(Wrong(before, grown, behind));
        LogRecord early = After(LogPoint.Of(before), LogRecordKind.Write, Size, 4096);
        Assert.Equal($"record 2 (Write) has the range {Size}+4096; the volume has {Size} bytes", Wrong(before, early));
        LogRecord beyond = After(LogPoint.Of(grown), LogRecordKind.Zero, Size, Size + 512);
        Assert.Equal($"record 3 (Zero) has the range {Size}+{Size + 512}; the volume has {2 * Size} bytes", Wrong(before, grown, beyond));
    }

    [Theory]
    [InlineData(Size)]
    [InlineData(Size - 4096)]
    public void A_size_that_is_not_larger_is_refused(long size)
        => Assert.Equal($"record 1 gives the volume {size} bytes; it has {Size}, and does not get smaller",
            Wrong(After(LogPoint.Start, LogRecordKind.Size, 0, size)));

    [Fact]
    public void A_replica_knows_its_size_behind_each_batch_and_where_its_log_begins_anew_or_was_cut()
    {
        ReplicaState state = Following();
        LogRecord grown = After(LogPoint.Start, LogRecordKind.Size, 0, 2 * Size);
        LogRecord write = After(LogPoint.Of(grown), LogRecordKind.Write, Size, 4096);
        (state, IReadOnlyList<ReplicaCommand> commands) = ReplicaMachine.Step(state, new BatchArrived(new[] { grown, write }, 0, Chain));
        Assert.Contains(new AppendBatch(0), commands);
        Assert.Equal(2 * Size, state.Size);

        // One that has come already does not count again.
        (state, _) = ReplicaMachine.Step(state, new BatchArrived(new[] { grown, write }, 0, Chain));
        Assert.Equal(2 * Size, state.Size);
        Assert.Equal(5 * Size, ReplicaMachine.LogBeginsAt(state, new LogPoint(9, 1, 7), 5 * Size).Size);

        // A tail that the owner does not have goes, with the size that it brought.
        (state, _) = ReplicaMachine.Step(state, new OwnerConnected(Follower(), 1, 0));
        (state, commands) = ReplicaMachine.Step(state, new CommonFound(LogPoint.Start, 0));
        Assert.Contains(new PutTailAside(LogPoint.Start), commands);
        (state, _) = ReplicaMachine.Step(state, new StreamReady(Size));
        Assert.Equal((Size, 0ul), (state.Size, state.Received.Sequence));
    }

    [Fact]
    public void The_record_is_read_as_it_was_written_and_not_with_an_offset_or_a_payload()
    {
        byte[] bytes = new byte[LogRecordCodec.HeaderSize];
        LogRecord grown = After(LogPoint.Start, LogRecordKind.Size, 0, 2 * Size);
        LogRecordCodec.Write(grown, 5, 0, bytes);
        Assert.True(LogRecordCodec.TryRead(bytes, out LogRecord read, out _, out _));
        Assert.Equal((grown, 0L), (read, read.PayloadLength));
        foreach (LogRecord wrong in (LogRecord[])[grown with { Offset = 512 }, grown with { Length = 0 }, grown with { Checksum = 1 }])
        {
            LogRecordCodec.Write(wrong, 5, 0, bytes);
            Assert.False(LogRecordCodec.TryRead(bytes, out _, out _, out _), $"{wrong}");
        }
    }

    private static OwnershipRecord Follower() => OwnershipRecord.Follower(s_id);

    private static ReplicaState Following()
    {
        ReplicaState state = ReplicaMachine.Start(new ReplicaRecord(s_id, CopyPhase.Following), Size, LogPoint.Start);
        (state, _) = ReplicaMachine.Step(state, new OwnerConnected(Follower(), 1, 0));
        (state, _) = ReplicaMachine.Step(state, new CommonFound(LogPoint.Start, 0));
        Assert.True(state.IsStreaming);
        return state;
    }

    private static string? Wrong(params LogRecord[] records) => ReplicaMachine.WrongIn(LogPoint.Start, records, 1, Size, Chain);

    private static LogRecord After(LogPoint before, LogRecordKind kind, long offset, long length)
    {
        var record = new LogRecord(before.Sequence + 1, 1, kind, offset, length, 0, 0);
        return record with { Chain = Chain(before.Chain, record) };
    }

    private static ulong Chain(ulong previous, in LogRecord record) => LogRecordCodec.NextChain(previous, record);
}
