using System.Text;
using SdnEdge.Lab.Disks;
using Xunit;

namespace SdnEdge.Lab.Tests.Disks;

/// <summary>What is found on a disk of the guest's records. That they are made as the guest makes them is shown by the labs with a
/// disk.</summary>
public sealed class DiskRecordsTests
{
    private const ulong Boot = 0x1234_5678_9ABC_DEF0;
    private const int Places = 16;

    /// <summary>Numbers up to which was acknowledged: the disk's first round, its end, later rounds.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(15, 15)]
    [InlineData(16, 16)]
    [InlineData(17, 16)]
    [InlineData(1000, 16)]
    public void A_disk_as_it_was_written_has_every_record_that_is_to_be_there(long acknowledged, long expected)
    {
        DiskRecords found = Look(Written(acknowledged), acknowledged);
        Assert.Equal((expected, 0, 0, null), (found.Expected, found.Lost, found.Damaged, found.FirstLost));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(100)]
    public void A_record_that_is_not_there_is_lost_and_the_lowest_number_is_named(long acknowledged)
    {
        byte[][] disk = Written(acknowledged);
        foreach (long number in (long[])[acknowledged, acknowledged - 3]) disk[number % Places] = new byte[DiskRecords.Size];
        DiskRecords found = Look(disk, acknowledged);
        Assert.Equal((2, 0, acknowledged - 3), (found.Lost, found.Damaged, found.FirstLost));
    }

    [Fact]
    public void An_older_record_in_its_place_or_one_of_another_boot_is_a_loss_too()
    {
        byte[][] disk = Written(100);
        disk[100 % Places] = DiskRecords.Make(Boot, 100 - Places);
        Assert.Equal((1, 100), (Look(disk, 100).Lost, Look(disk, 100).FirstLost));
        disk = Written(100);
        disk[99 % Places] = DiskRecords.Make(Boot + 1, 99);
        Assert.Equal((1, 99), (Look(disk, 100).Lost, Look(disk, 100).FirstLost));
    }

    [Fact]
    public void Each_changed_byte_of_a_record_is_found()
    {
        for (int at = 0; at < DiskRecords.Size; at += 7)
        {
            byte[][] disk = Written(20);
            disk[20 % Places][at] ^= 0x10;
            DiskRecords found = Look(disk, 20);
            Assert.Equal((1, 1, 20), (found.Lost, found.Damaged, found.FirstLost));
        }
    }

    [Fact]
    public void The_next_record_may_be_there_unacknowledged_and_no_later_one()
    {
        byte[][] disk = Written(100);
        disk[101 % Places] = DiskRecords.Make(Boot, 101);
        Assert.Equal(0, Look(disk, 100).Lost);
        disk[102 % Places] = DiskRecords.Make(Boot, 102);
        Assert.Equal((1, 86), (Look(disk, 100).Lost, Look(disk, 100).FirstLost));
    }

    [Fact]
    public void What_the_guest_says_is_understood_and_what_is_no_answer_is_not()
    {
        DiskWord word = DiskWord.Parse("77 12 11 1 2 1 5000000 11 300 40 200 50\n"u8, 9_000_000)!;
        Assert.Equal((77UL, 12L, 11L, 1L, 2L, true), (word.Boot, word.Acknowledged, word.ReadBack, word.Bad, word.Errors, word.Stopped));
        Assert.Equal([new DiskWrite(11, 9_000_000 - 300_000, 40_000, 9_000_000), new DiskWrite(12, 9_000_000 - 200_000, 50_000,
            9_000_000)], word.Writes);
        Assert.Empty(DiskWord.Parse("77 12 11 0 0 0 5000000 13"u8, 0)!.Writes);
        Assert.All((string[])["none\n", "", "1 2 3", "77 12 11 0 0 0 5000000 13 1", "77 12 11 0 0 0 5000000 -1"],
            text => Assert.Null(DiskWord.Parse(Encoding.ASCII.GetBytes(text), 0)));
    }

    [Fact]
    public void A_write_before_the_guest_stood_still_that_is_told_after_it_began_as_much_earlier()
    {
        Assert.Equal(100, new DiskWrite(1, 500, 1, 620).Over(pausedNs: 200, resumedNs: 600).BeganNs);
        Assert.Equal(610, new DiskWrite(1, 610, 1, 620).Over(200, 600).BeganNs);
        Assert.Equal(150, new DiskWrite(1, 150, 1, 190).Over(200, 600).BeganNs);
    }

    private static byte[][] Written(long acknowledged)
    {
        byte[][] disk = [.. Enumerable.Range(0, Places).Select(_ => new byte[DiskRecords.Size])];
        for (long n = Math.Max(1, acknowledged - Places + 1); n <= acknowledged; n++) disk[n % Places] = DiskRecords.Make(Boot, n);
        return disk;
    }

    // In parts of different lengths, as a disk is read.
    private static DiskRecords Look(byte[][] disk, long acknowledged)
    {
        var records = new DiskRecords(Places, Boot, acknowledged);
        byte[] all = [.. disk.SelectMany(r => r)];
        records.Add(all.AsSpan(0, 3 * DiskRecords.Size));
        records.Add(all.AsSpan(3 * DiskRecords.Size));
        return records;
    }
}
