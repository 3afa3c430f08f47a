using SdnEdge.Lab.Disks;
using Xunit;

namespace SdnEdge.Lab.Tests.Disks;

/// <summary>What is left of a boot that ended without a farewell, when the next one has begun to write.</summary>
public sealed class BootRecordsTests
{
    private const long Places = 16;
    private const ulong First = 7, Second = 8;

    [Fact]
    public void All_that_was_acknowledged_is_there_and_one_that_was_not()
    {
        BootRecords read = Read(acknowledged: 9, first: [.. Numbers(1, 10)], second: []);
        Assert.Equal((9, 0, 10, 0, 0, 0), (read.Expected, read.Lost, read.Last, read.Gaps, read.Overwritten, read.Hidden));
        Assert.Null(read.FirstLost);
    }

    [Fact]
    public void The_newest_are_lost_and_nothing_between()
    {
        BootRecords read = Read(acknowledged: 9, first: [.. Numbers(1, 6)], second: []);
        Assert.Equal((3, 7, 6, 0), (read.Lost, read.FirstLost, read.Last, read.Gaps));
    }

    [Fact]
    public void One_that_is_lost_before_a_later_one_is_a_gap()
    {
        BootRecords read = Read(acknowledged: 9, first: [1, 2, 3, 5, 6, 7, 8, 9], second: []);
        Assert.Equal((1, 4, 9, 1), (read.Lost, read.FirstLost, read.Last, read.Gaps));
    }

    [Fact]
    public void What_the_next_boot_has_written_over_is_not_lost()
    {
        BootRecords read = Read(acknowledged: 9, first: [.. Numbers(4, 9)], second: [1, 2, 3]);
        Assert.Equal((0, 3, 0, 0), (read.Lost, read.Overwritten, read.Hidden, read.Gaps));
    }

    [Fact]
    public void What_the_next_boot_has_written_over_behind_the_last_one_nobody_can_tell()
    {
        BootRecords read = Read(acknowledged: 9, first: [], second: [.. Numbers(1, 9)]);
        Assert.Equal((0, 9, 9, 0), (read.Lost, read.Overwritten, read.Hidden, read.Last));
    }

    [Fact]
    public void When_the_disk_has_come_round_an_earlier_round_is_lost_where_a_later_one_is_due()
    {
        BootRecords read = Read(acknowledged: 20, first: [.. Numbers(3, 18)], second: []);
        Assert.Equal((16, 2, 19, 18, 0, 0), (read.Expected, read.Lost, read.FirstLost, read.Last, read.Gaps, read.Damaged));
    }

    [Fact]
    public void One_that_is_damaged_is_lost()
    {
        byte[] disk = Disk([.. Numbers(1, 9)], []);
        disk[(9 * DiskRecords.Size) + 100] ^= 1;
        BootRecords read = Read(9, disk);
        Assert.Equal((1, 1, 9), (read.Lost, read.Damaged, read.FirstLost));
    }

    private static IEnumerable<long> Numbers(long from, long to) => Enumerable.Range((int)from, (int)(to - from + 1)).Select(n => (long)n);

    private static BootRecords Read(long acknowledged, long[] first, long[] second) => Read(acknowledged, Disk(first, second));

    private static BootRecords Read(long acknowledged, byte[] disk)
    {
        var records = new BootRecords(Places, First, acknowledged, Second);
        records.Add(disk);
        return records;
    }

    private static byte[] Disk(long[] first, long[] second)
    {
        byte[] disk = new byte[Places * DiskRecords.Size];
        foreach ((ulong boot, long number) in first.Select(n => (First, n)).Concat(second.Select(n => (Second, n))))
            DiskRecords.Make(boot, number).CopyTo(disk, number % Places * DiskRecords.Size);
        return disk;
    }
}
