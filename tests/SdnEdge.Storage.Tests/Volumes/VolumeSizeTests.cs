using System.Buffers.Binary;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>A volume that gets larger: what can fail fails before, and what was made before is read as it is.</summary>
public sealed class VolumeSizeTests
{
    private const int Size = 64 << 10;

    private static readonly Guid s_identity = new("0b8f3f0e-2a9d-4c43-b0dd-c77c0a5a5a09");

    private readonly CrashVolume _crash = new(1, Size, s_identity);

    private Volume Volume => _crash.Volume;

    // Written by hand, as the programs before did: no size, no history of sizes.
    [Fact]
    public async Task A_volume_that_was_made_before_volumes_could_grow_is_opened_and_grows()
    {
        await WriteAsync(0, Bytes(4096, 1));
        CrashVolume.Pump(Volume);
        VolumeProof proof = Volume.Drain(ulong.MaxValue, out _)!.Value;
        byte[] slot = new byte[Superblock.Slot];
        BinaryPrimitives.WriteUInt32LittleEndian(slot.AsSpan(4), 0x3153_5653);
        s_identity.TryWriteBytes(slot.AsSpan(8));
        ulong[] fields = [1000, proof.Sequence, proof.Root, proof.Chain, proof.Epoch];
        for (int i = 0; i < fields.Length; i++) BinaryPrimitives.WriteUInt64LittleEndian(slot.AsSpan(24 + (i * 8)), fields[i]);
        BinaryPrimitives.WriteUInt32LittleEndian(slot, Crc32C.Of(slot.AsSpan(4)));
        IStoreFile file = _crash.Disk.Open("superblock", -1, out _)!;
        file.Write(0, slot);
        file.Write(Superblock.Slot, new byte[Superblock.Slot]);
        file.Sync();
        Assert.Empty(_crash.Recover(2).Damage);
        Assert.Equal(Size, Volume.Size);

        // What it writes itself before it has grown is what those programs read.
        await WriteAsync(4096, Bytes(4096, 2));
        CrashVolume.Pump(Volume);
        byte[] written = _crash.Disk.File("superblock").Snapshot();
        foreach (int at in (int[])[0, Superblock.Slot])
        {
            Assert.Equal(0x3153_5653u, BinaryPrimitives.ReadUInt32LittleEndian(written.AsSpan(at + 4)));
            Assert.False(written.AsSpan(at + 3416, 4080 - 3416).ContainsAnyExcept((byte)0));
        }

        await GrowAsync(2 * Size);
        await WriteAsync((2 * Size) - 4096, Bytes(4096, 3));
        CrashVolume.Pump(Volume);

        // And what it writes then they take for damaged, not for a volume of the old size.
        CrashVolume.Pump(Volume);
        await WriteAsync(0, Bytes(4096, 4));
        CrashVolume.Pump(Volume);
        written = _crash.Disk.File("superblock").Snapshot();
        Assert.All((int[])[0, Superblock.Slot],
            at => Assert.Equal(0x3253_5653u, BinaryPrimitives.ReadUInt32LittleEndian(written.AsSpan(at + 4))));
        _crash.Recover(3);
        Assert.Equal(2 * Size, Volume.Size);
        byte[] bytes = await ReadAsync();
        Assert.Equal([.. Bytes(4096, 4), .. Bytes(4096, 2)], bytes[..8192]);
        Assert.Equal(Bytes(4096, 3), bytes[^4096..]);
        Assert.True(Volume.Check(default).IsGood);
    }

    // A point's file of those programs: its size is not in it.
    [Fact]
    public async Task A_point_that_was_kept_before_volumes_could_grow_has_the_size_that_the_volume_was_made_with()
    {
        await WriteAsync(0, Bytes(8192, 1));
        CrashVolume.Pump(Volume);
        Volume.KeepPoint("old");
        IStoreFile file = _crash.Disk.Open("points/00000001", -1, out _)!;
        byte[] header = new byte[4096];
        file.Read(0, header);
        header.AsSpan(4088).Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Crc32C.Of(header.AsSpan(4)));
        file.Write(0, header);
        file.Sync();
        _crash.Recover(2);
        await GrowAsync(3 * Size);
        await WriteAsync(0, Bytes(3 * Size, 2));
        CrashVolume.Pump(Volume);
        _crash.Recover(3);
        Assert.Equal((long)Size, Assert.Single(Volume.Points).Size);
        byte[] kept = new byte[Size];
        IBlockDevice device = Volume.OpenPoint("old")!;
        Assert.Equal((long)Size, device.Size);
        Assert.Equal(BlockResult.Ok, await device.ReadAsync(0, kept, default));
        Assert.Equal([.. Bytes(8192, 1), .. new byte[Size - 8192]], kept);
        Assert.True(Volume.VerifyPoint("old", default));
    }

    [Fact]
    public async Task A_disk_that_cannot_have_it_is_said_and_nothing_has_changed()
    {
        ulong last = Volume.Log.LastSequence;
        _crash.Disk.LargestFile = Size;
        var refused = Assert.Throws<VolumeException>(() => Volume.PrepareSize(2 * Size));
        Assert.Contains($"volume v cannot have {2 * Size} bytes: image: ", refused.Message, StringComparison.Ordinal);
        Assert.Equal((Size, last), (Volume.Size, Volume.Log.LastSequence));
        Assert.Equal(Size, _crash.Disk.File("image").Length);

        // A replica that gets the record says the same, and does not have it.
        var record = new LogRecord(last + 1, 0, LogRecordKind.Size, 0, 2 * Size, 0, 0);
        record = record with { Chain = LogRecordCodec.NextChain(Volume.Log.Chain, record) };
        Assert.Throws<VolumeException>(() => Volume.AppendReplicated(record, []));
        Assert.Equal(last, Volume.Log.LastSequence);
        _crash.Disk.LargestFile = null;
        Assert.Equal(AppendStatus.Appended, Volume.AppendReplicated(record, []));
        Assert.Equal(AppendStatus.OutOfOrder, Volume.AppendReplicated(record with { Sequence = last + 2 }, []));
        Assert.Equal((Size, 2L * Size), (Volume.Size, Volume.LastSize));
        CrashVolume.Pump(Volume);
        Assert.Equal(2 * Size, Volume.Size);
        Assert.Equal(BlockResult.Invalid, await Volume.GrowAsync(2 * Size, default));
    }

    [Fact]
    public async Task A_size_waits_in_its_turn_behind_requests_that_have_no_room_and_clients_see_it_when_it_is_durable()
    {
        List<Task<BlockResult>> writes = [];
        while (!Volume.IsParking)
            writes.Add(Volume.WriteAsync(writes.Count % 16 * 4096, Bytes(4096, 1), BlockFlags.None, default).AsTask());
        Volume.PrepareSize(2 * Size);
        Task<BlockResult> grown = Volume.GrowAsync(2 * Size, default).AsTask();
        Task<BlockResult> behind = Volume.WriteAsync(Size, Bytes(4096, 2), BlockFlags.None, default).AsTask();
        Assert.Equal((Size, (long)Size), (Volume.Size, Volume.LastSize));
        for (int i = 0; i < 100 && !behind.IsCompleted; i++) CrashVolume.Pump(Volume);
        Assert.All(await Task.WhenAll([.. writes, grown, behind]), result => Assert.Equal(BlockResult.Ok, result));
        Assert.Equal(2 * Size, Volume.Size);
        byte[] bytes = await ReadAsync();
        Assert.Equal(Bytes(4096, 2), bytes[Size..(Size + 4096)]);
    }

    // Its hashes have two levels; the power goes at each operation of the disk.
    [Fact]
    public async Task A_size_that_was_being_applied_as_the_power_went_can_still_be_taken_out_of_the_log()
    {
        const int Large = 2200 << 10;
        int taken = 0;
        for (int cut = 0; cut < 60; cut++)
        {
            var crash = new CrashVolume(cut + 1, Large, s_identity);
            await crash.Volume.WriteAsync(0, Bytes(40 << 10, 1), BlockFlags.None, default);
            await crash.Volume.WriteAsync(Large - 8192, Bytes(8192, 2), BlockFlags.None, default);
            CrashVolume.Pump(crash.Volume);
            VolumeProof before = crash.Volume.Drain(ulong.MaxValue, out _)!.Value;
            crash.Volume.PrepareSize(2 * Large);
            Assert.Equal(BlockResult.Ok, await crash.Volume.GrowAsync(2 * Large, default));
            crash.Disk.CutAfter(cut);
            crash.Volume.ApplyOnce();
            crash.Volume.Checkpoint();
            crash.Recover(cut + 100);
            if (crash.Volume.TouchedSequence > before.Sequence) continue;
            Assert.Equal(0, crash.Volume.BeginAnew(new LogPoint(before.Sequence, before.Epoch, before.Chain), copying: false));
            VolumeCheck check = crash.Volume.Check(default);
            Assert.True(check.IsGood, $"cut {cut}: {check}");
            Assert.Equal((before, (long)Large), (check.Proof, crash.Volume.Size));
            taken++;
        }

        Assert.InRange(taken, 5, 59);
    }

    [Fact]
    public async Task A_size_that_is_not_durable_yet_is_told_to_nobody()
    {
        Volume.PrepareSize(2 * Size);
        using var hangs = new ManualResetEventSlim();
        _crash.Disk.Hangs = hangs;
        Task<BlockResult> grown = Task.Run(() => Volume.GrowAsync(2 * Size, default).AsTask());
        await Patience.UntilAsync(() => Volume.LastSize == 2 * Size, () => "the record is not there");
        Assert.Equal((Size, false), (Volume.Size, grown.IsCompleted));
        hangs.Set();
        Assert.Equal(BlockResult.Ok, await grown.WaitAsync(Patience.Time));
        Assert.Equal(2 * Size, Volume.Size);
    }

    [Fact]
    public async Task Sizes_are_known_by_their_place_in_the_history_as_far_as_the_superblock_has_room()
    {
        List<(ulong Sequence, long Size)> grown = [];
        for (int i = 1; i <= SizeHistory.Most + 5; i++)
        {
            await WriteAsync(0, Bytes(512, i));
            ulong before = Volume.Log.LastSequence;
            await GrowAsync(Size + (i * 4096));
            Assert.Equal(Size + ((i - 1) * 4096), Volume.SizeAt(before));
            grown.Add((before + 1, Size + (i * 4096)));
            if (i != 3) continue;
            _crash.Recover(9);
            Assert.Equal((long)Size, Volume.SizeAt(0));
        }

        CrashVolume.Pump(Volume);
        _crash.Recover(10);
        Assert.Equal(grown[^1].Size, Volume.LastSize);
        Assert.Null(Volume.SizeAt(0));
        foreach ((ulong sequence, long size) in grown[5..])
            Assert.Equal((size, size), (Volume.SizeAt(sequence), Volume.SizeAt(sequence + 1)));
        Assert.Null(Volume.SizeAt(grown[4].Sequence));
    }

    private async Task GrowAsync(long size)
    {
        Volume.PrepareSize(size);
        Task<BlockResult> grown = Volume.GrowAsync(size, default).AsTask();
        for (int i = 0; i < 100 && !grown.IsCompleted; i++) CrashVolume.Pump(Volume);
        Assert.Equal(BlockResult.Ok, await grown);
    }

    private async Task WriteAsync(long offset, byte[] bytes)
    {
        Task<BlockResult> written = Volume.WriteAsync(offset, bytes, BlockFlags.None, default).AsTask();
        for (int i = 0; i < 100 && !written.IsCompleted; i++) CrashVolume.Pump(Volume);
        Assert.Equal(BlockResult.Ok, await written);
    }

    private async Task<byte[]> ReadAsync()
    {
        byte[] bytes = new byte[Volume.LastSize];
        Assert.Equal(BlockResult.Ok, await Volume.ReadAsync(0, bytes, default));
        return bytes;
    }
}
