using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using Xunit;

namespace SdnEdge.Storage.Tests.Log;

/// <summary>What recovery makes of every state that the end of a log can be in.</summary>
public sealed class LogRecoveryTests
{
    private static readonly Guid s_identity = new("5c6ee76b-3f5a-4a21-9d0c-0d3f1f1b7a11");
    private ulong _salt = 1000;

    private VolumeLogOptions Options => new() { SegmentSize = 64 << 10, MaxSegments = 4, Background = false, NewSalt = () => ++_salt };

    [Fact]
    public void Every_pair_of_what_is_found_matches_exactly_one_row_of_the_table()
    {
        foreach (var at in Enum.GetValues<FoundHeader>())
        {
            foreach (var behind in Enum.GetValues<FoundBehind>())
                Assert.Single(LogRecoveryTable.Rows, row => row.Header(at) && row.Behind(behind));
        }

        Assert.Equal(LogRecoveryTable.Rows.Count, LogRecoveryTable.Rows.Select(row => row.Label).Distinct().Count());
    }

    [Theory]
    [InlineData(0x00)]
    [InlineData(0xFF)]
    public void A_log_that_is_cut_at_any_byte_has_exactly_the_whole_records_before_it(byte filling)
    {
        var disk = new CrashDisk(1);
        using var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        List<long> ends = [SegmentHeader.Bytes];
        List<ulong> chains = [log.Chain];
        for (int i = 1; i <= 12; i++)
        {
            Append(log, i, 100 * i);
            ends.Add(ends[^1] + LogRecordCodec.SizeOnDisk(new LogRecord(1, 0, LogRecordKind.Write, 0, 100 * i, 0, 0)));
            chains.Add(log.Chain);
        }

        for (long cut = SegmentHeader.Bytes; cut <= ends[^1]; cut++)
        {
            var copy = disk.Copy();
            var file = copy.File("log/0001");
            byte[] rest = new byte[file.Length - cut];
            Array.Fill(rest, filling);
            file.Rot(cut, rest);
            using var again = VolumeLog.Open(copy, Options, s_identity, default, null, out var recovery, out int error);
            Assert.NotNull(again);
            Assert.Equal(0, error);

            // The padding of the last whole record is nobody's: a cut in it leaves the record whole.
            int whole = Enumerable.Range(0, 13).Last(i => i == 0 || ends[i - 1] + LogRecordCodec.HeaderSize + (100 * i) <= cut);
            Assert.Equal((ulong)whole, again.LastSequence);
            Assert.Equal(chains[whole], again.Chain);
            Assert.Equal(again.LastSequence, again.DurableSequence);

            // And it goes on from there: what is appended now is all there is after the next crash.
            Append(again, 99, 50);
            Assert.Equal(0, again.Commit());
            using var third = VolumeLog.Open(copy.Copy(), Options, s_identity, default, null, out var last, out _);
            Assert.Equal((ulong)whole + 1, third!.LastSequence);
            Assert.Equal(0, last.CutBytes);
        }
    }

    [Fact]
    public void A_damaged_byte_of_a_durable_record_is_named_and_nothing_is_written()
    {
        var disk = new CrashDisk(2);
        using var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        List<long> starts = [];
        for (int i = 1; i <= 6; i++)
        {
            starts.Add(End(starts.Count));
            Append(log, i, 200);
            Assert.Equal(0, log.Commit());
        }

        Append(log, 7, 200);
        Assert.Equal(0, log.Commit());
        for (int record = 0; record < 6; record++)
        {
            for (int at = 0; at < LogRecordCodec.HeaderSize + 200; at++)
            {
                var copy = disk.Copy();
                var file = copy.File("log/0001");
                byte[] before = file.Snapshot();
                file.Rot(starts[record] + at, [(byte)(before[starts[record] + at] ^ 0x40)]);
                long operations = copy.Operations;
                var opened = VolumeLog.Open(copy, Options, s_identity, default, null, out var recovery, out int error);
                Assert.Null(opened);
                Assert.Equal(0, error);
                var damage = Assert.Single(recovery.Damage);
                Assert.Equal(("log/0001", starts[record], (ulong)record + 1), (damage.Segment, damage.Position, damage.Sequence));
                Assert.Equal(operations, copy.Operations);
            }
        }

        static long End(int records) => SegmentHeader.Bytes + (records * 320L);
    }

    [Fact]
    public void A_damaged_header_of_a_segment_with_durable_records_is_not_taken_for_an_empty_one()
    {
        var disk = new CrashDisk(3);
        using var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        for (int i = 1; log.BytesInUse < 2 * Options.SegmentSize; i++)
        {
            while (log.PrepareSegment())
            {
            }

            Append(log, i, 8192);
            Assert.Equal(0, log.Commit());
        }

        disk.File("log/0002").Rot(40, [0xAA]);
        Assert.Null(VolumeLog.Open(disk, Options, s_identity, default, null, out var recovery, out _));
        var damage = Assert.Single(recovery.Damage);
        Assert.Equal(log.LastSequence, damage.Sequence);
    }

    [Fact]
    public void Records_of_a_segment_s_earlier_use_are_not_taken_for_new_ones()
    {
        var disk = new CrashDisk(4);
        using var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        for (int i = 1; i <= 200; i++)
        {
            while (log.PrepareSegment())
            {
            }

            Append(log, i, 4096);
            Assert.Equal(0, log.Commit());
            log.Release(log.LastSequence);
        }

        Assert.InRange(disk.List("log").Count, 3, 4);
        ulong floor = log.FirstSequence - 1;
        using var again = VolumeLog.Open(disk, Options, s_identity, new VolumeLog.Floor(floor), null, out var recovery, out _);
        Assert.Empty(recovery.Damage);
        Assert.Equal((log.LastSequence, log.Chain), (again!.LastSequence, again.Chain));
        Assert.Equal(0, recovery.CutBytes);
    }

    [Fact]
    public void Readers_get_every_record_in_order_from_any_sequence_across_segments()
    {
        var disk = new CrashDisk(5);
        var options = Options with { MaxSegments = 16 };
        using var log = VolumeLog.Create(disk, options, s_identity, 3, out _)!;
        var random = new Random(5);
        List<LogRecord> written = [];
        for (int i = 1; i <= 100; i++)
        {
            while (log.PrepareSegment())
            {
            }

            written.Add(Append(log, i, 512 * (1 + random.Next(16))));
        }

        byte[] buffer = new byte[log.ReadBufferSize];
        List<LogEntry> entries = [];
        for (ulong from = 1; from <= 100; from++)
        {
            LogCursor cursor = default;
            for (ulong next = from; next <= 100; next = entries[^1].Record.Sequence + 1)
            {
                Assert.Equal(LogReadStatus.Read, log.Read(next, 100, ref cursor, buffer, entries));
                Assert.Equal(next, entries[0].Record.Sequence);
                foreach (var entry in entries)
                {
                    Assert.Equal(written[(int)entry.Record.Sequence - 1], entry.Record);
                    Assert.Equal((byte)entry.Record.Sequence, buffer[entry.PayloadAt]);
                }
            }

            Assert.Equal(LogReadStatus.AtEnd, log.Read(101, 200, ref cursor, buffer, entries));
        }
    }

    [Fact]
    public void A_copy_takes_the_records_of_another_log_only_in_order_and_unchanged()
    {
        using var one = VolumeLog.Create(new CrashDisk(6), Options, s_identity, 0, out _)!;
        using var other = VolumeLog.Create(new CrashDisk(7), Options, s_identity, 0, out _)!;
        List<LogRecord> records = [.. Enumerable.Range(1, 3).Select(i => Append(one, i, 600))];
        byte[] bytes = Payload(1, 600);
        Assert.Equal(AppendStatus.OutOfOrder, other.AppendReplicated(records[1], Payload(2, 600), out _));
        Assert.Equal(AppendStatus.OutOfOrder, other.AppendReplicated(records[0], Payload(9, 600), out _));
        Assert.Equal(AppendStatus.OutOfOrder, other.AppendReplicated(records[0] with { Offset = 512 }, bytes, out _));
        Assert.Equal(AppendStatus.OutOfOrder, other.AppendReplicated(records[0], bytes.AsSpan(1), out _));
        Assert.Equal(0ul, other.LastSequence);
        for (int i = 1; i <= 3; i++) Assert.Equal(AppendStatus.Appended, other.AppendReplicated(records[i - 1], Payload(i, 600), out _));
        Assert.Equal((one.Chain, one.LastSequence), (other.Chain, other.LastSequence));
    }

    [Fact]
    public void What_a_commit_has_covered_is_not_synced_again_for_whoever_asks_for_it()
    {
        var disk = new CrashDisk(8);
        var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        Append(log, 1, 600);
        Append(log, 2, 600);
        Assert.Equal(0, log.CommitHere(1));
        int syncs = disk.File("log/0001").Syncs;
        Assert.Equal((2ul, new LogPoint(2, 0, log.Chain)), (log.DurableSequence, log.DurablePoint));

        // The second record is covered; the third is nobody's who asks for the second.
        Append(log, 3, 600);
        Assert.Equal(0, log.CommitHere(2));
        Assert.Equal(syncs, disk.File("log/0001").Syncs);
        Assert.Equal(0, log.CommitHere(3));
        Assert.Equal(syncs + 1, disk.File("log/0001").Syncs);

        // A log that is closed makes nothing durable any more, and says so.
        Append(log, 4, 600);
        log.Dispose();
        Assert.NotEqual(0, log.CommitHere(4));
        Assert.Equal(3ul, log.DurableSequence);
    }

    [Fact]
    public void A_long_record_that_is_written_in_two_parts_is_whole_or_not_there_wherever_it_is_cut()
    {
        const int Length = 20 << 10;
        var disk = new CrashDisk(9);
        using var log = VolumeLog.Create(disk, Options, s_identity, 0, out _)!;
        Append(log, 1, Length);
        Append(log, 2, Length);
        long size = LogRecordCodec.HeaderSize + Length, second = SegmentHeader.Bytes + size;
        List<long> cuts = [second, second + 1, second + 63, second + 64, second + 65, second + size - 1, second + size];
        for (long sector = (second / 512 * 512) + 512; sector < second + size; sector += 512) cuts.Add(sector);
        foreach (long cut in cuts)
        {
            var copy = disk.Copy();
            var file = copy.File("log/0001");
            file.Rot(cut, new byte[file.Length - cut]);
            using var again = VolumeLog.Open(copy, Options, s_identity, default, null, out var recovery, out _);
            Assert.Equal(cut == second + size ? 2ul : 1ul, again!.LastSequence);
            Assert.Empty(recovery.Damage);
        }
    }

    private static byte[] Payload(int filling, int length)
    {
        byte[] bytes = new byte[length];
        Array.Fill(bytes, (byte)filling);
        return bytes;
    }

    private static LogRecord Append(VolumeLog log, int filling, int length)
    {
        Assert.Equal(AppendStatus.Appended, log.Append(LogRecordKind.Write, 4096L * filling, length, Payload(filling, length),
            out var record, out _));
        return record;
    }
}
