using System.Diagnostics;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>A file, and a block device, as a device.</summary>
public sealed class FileDeviceTests : IDisposable
{
    private const int Size = 8 << 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("filedevice").FullName;

    private string Image => Path.Combine(_folder, "image");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task What_is_written_is_in_the_file_and_what_is_read_is_from_it()
    {
        using FileDevice device = Open();
        byte[] data = TestBytes.Bytes(100_000, 1), got = new byte[100_000];
        Assert.Equal(Size, device.Size);
        Assert.Equal(BlockResult.Ok, await device.WriteAsync(12345, data, BlockFlags.ForceUnitAccess, default));
        Assert.Equal(BlockResult.Ok, await device.ReadAsync(12345, got, default));
        Assert.Equal(data, got);
        Assert.Equal(BlockResult.Ok, await device.FlushAsync(default));
        Assert.Equal(data, File.ReadAllBytes(Image)[12345..112345]);
    }

    [Fact]
    public async Task Random_calls_leave_the_same_bytes_as_an_array()
    {
        using FileDevice device = Open();
        byte[] model = new byte[Size];
        var random = new Random(17);
        for (int i = 0; i < 3000; i++)
        {
            int length = random.Next(1, 20_000), offset = random.Next(Size - length);
            BlockResult result = BlockResult.Ok;
            switch (random.Next(4))
            {
                case 0:
                    byte[] data = TestBytes.Bytes(length, i);
                    result = await device.WriteAsync(offset, data, BlockFlags.None, default);
                    data.CopyTo(model, offset);
                    break;
                case 1:
                    result = await device.WriteZeroesAsync(offset, length, random.Next(2) == 0 ? BlockFlags.None : BlockFlags.NoHole,
                        default);
                    model.AsSpan(offset, length).Clear();
                    break;
                case 2:
                    // What a trim leaves is the device's choice; this one's holes read as zeros.
                    result = await device.TrimAsync(offset, length, BlockFlags.None, default);
                    model.AsSpan(offset, length).Clear();
                    break;
                default:
                    byte[] got = new byte[length];
                    result = await device.ReadAsync(offset, got, default);
                    Assert.Equal(model[offset..(offset + length)], got);
                    break;
            }

            Assert.Equal(BlockResult.Ok, result);
        }

        device.Dispose();
        Assert.Equal(model, File.ReadAllBytes(Image));
    }

    [Fact]
    public async Task Holes_are_found_where_nothing_was_written_and_where_it_was_zeroed()
    {
        using FileDevice device = Open();
        await device.WriteAsync(1 << 20, new byte[1 << 20], BlockFlags.None, default);
        await device.WriteAsync(4 << 20, new byte[1 << 20], BlockFlags.None, default);
        Assert.Equal([Hole(1 << 20), Data(1 << 20), Hole(2 << 20), Data(1 << 20), Hole(3 << 20)], Extents(device, 0, Size));
        Assert.Equal([Data((1 << 20) - 100), Hole(2 << 20)], Extents(device, (1 << 20) + 100, 1 << 20));
        Assert.Equal([Hole(1 << 20)], Extents(device, 0, Size, 1));
        await device.WriteZeroesAsync(4 << 20, 1 << 20, BlockFlags.None, default);
        Assert.Equal([Hole(1 << 20), Data(1 << 20), Hole(6 << 20)], Extents(device, 0, Size));
        long blocks = Allocated();
        await device.WriteZeroesAsync(5 << 20, 1 << 20, BlockFlags.NoHole, default);
        Assert.True(Allocated() >= blocks + (1 << 20), "zeros without holes take room");
        await device.TrimAsync(0, Size, BlockFlags.None, default);
        Assert.True(Allocated() < blocks, "a trim gives room back");
    }

    [Fact]
    public async Task Reads_that_must_wait_for_the_disk_do_not_hold_up_the_caller_and_are_right()
    {
        byte[] data = TestBytes.Bytes(Size, 9);
        File.WriteAllBytes(Image, data);
        using FileDevice device = FileDevice.Open(Image, new FileDeviceOptions { Readers = 4 });
        int waited = 0;
        for (int round = 0; round < 5; round++)
        {
            await device.FlushAsync(default);
            Drop(Image);
            List<(Task<BlockResult> Task, byte[] Into, int At)> reads = [];
            for (int at = 0; at < Size; at += 65536)
            {
                byte[] into = new byte[65536];
                ValueTask<BlockResult> task = device.ReadAsync(at, into, default);
                if (!task.IsCompleted) waited++;
                reads.Add((task.AsTask(), into, at));
            }

            foreach ((Task<BlockResult> task, byte[] into, int at) in reads)
            {
                Assert.Equal(BlockResult.Ok, await task.WaitAsync(Patience.Time));
                Assert.Equal(data[at..(at + 65536)], into);
            }
        }

        Assert.True(waited > 0, "no read was from the disk");
    }

    [Fact]
    public async Task A_file_that_was_cut_is_an_IO_error_told_once()
    {
        List<string> told = [];
        File.WriteAllBytes(Image, new byte[8192]);
        using FileDevice device = FileDevice.Open(Image, new FileDeviceOptions { Report = told.Add });
        using (var file = new FileStream(Image, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength(4096);
        for (int i = 0; i < 3; i++) Assert.Equal(BlockResult.IoError, await device.ReadAsync(4096, new byte[512], default));
        Assert.Equal(3, device.Failures);
        Assert.Contains(Image, Assert.Single(told));
    }

    [Fact]
    public async Task A_full_disk_is_no_space()
    {
        // Beyond the file size that the process may write is EFBIG; on /dev/full every write is ENOSPC, but it has no size: a small tmpfs
        // does.
        if (!Environment.IsPrivilegedProcess) throw new InvalidOperationException("this test mounts a file system and needs root");
        string mount = Directory.CreateDirectory(Path.Combine(_folder, "small")).FullName;
        NbdClientTests.Tool("mount", "-t", "tmpfs", "-o", "size=1m", "none", mount);
        try
        {
            string path = Path.Combine(mount, "image");
            using (FileStream file = File.Create(path)) file.SetLength(4 << 20);
            List<string> told = [];
            using FileDevice device = FileDevice.Open(path, new FileDeviceOptions { Report = told.Add });
            Assert.Equal(BlockResult.NoSpace, await device.WriteAsync(0, new byte[2 << 20], BlockFlags.None, default));
            Assert.Contains("No space left", Assert.Single(told));
            Assert.Equal(BlockResult.Ok, await device.TrimAsync(0, 4 << 20, BlockFlags.None, default));
            Assert.Equal(BlockResult.Ok, await device.WriteAsync(0, new byte[512 << 10], BlockFlags.None, default));
        }
        finally
        {
            NbdClientTests.Tool("umount", mount);
        }
    }

    [Fact]
    public void What_cannot_be_served_is_refused_by_name()
    {
        Assert.Contains("nothing", Assert.ThrowsAny<IOException>(() => FileDevice.Open(Path.Combine(_folder, "nothing"))).Message);
        Assert.Contains(_folder, Assert.ThrowsAny<IOException>(() => FileDevice.Open(_folder)).Message);
        File.WriteAllBytes(Image, []);
        Assert.Contains("empty", Assert.ThrowsAny<IOException>(() => FileDevice.Open(Image)).Message);
        File.WriteAllBytes(Image, [1]);
        using FileDevice first = FileDevice.Open(Image);
        Assert.Contains("lock", Assert.ThrowsAny<IOException>(() => FileDevice.Open(Image)).Message);
        Assert.Contains("for writing", Assert.ThrowsAny<IOException>(() => FileDevice.Open(Image,
            new FileDeviceOptions { ReadOnly = true })).Message);
    }

    [Fact]
    public void Readers_share_a_file()
    {
        File.WriteAllBytes(Image, [1]);
        var reading = new FileDeviceOptions { ReadOnly = true };
        using FileDevice first = FileDevice.Open(Image, reading), second = FileDevice.Open(Image, reading);
        Assert.Equal(BlockFeatures.None, first.Features & (BlockFeatures.Write | BlockFeatures.Trim | BlockFeatures.WriteZeroes));
    }

    [RootFact]
    public async Task A_block_device_is_served_like_a_file()
    {
        using (FileStream file = File.Create(Image)) file.SetLength(Size);
        string loop = NbdClientTests.Tool("losetup", "--show", "-f", Image).Trim();
        try
        {
            using FileDevice device = FileDevice.Open(loop);
            Assert.Equal(Size, device.Size);
            byte[] data = TestBytes.Bytes(100_000, 2), got = new byte[100_000];
            Assert.Equal(BlockResult.Ok, await device.WriteAsync(333, data, BlockFlags.ForceUnitAccess, default));
            foreach ((int offset, int length) in new[] { (1000, 5000), (4096, 4096), (600, 20), (333, 1), (50_000, 512), (65_536, 8192) })
            {
                foreach (BlockFlags flags in new[] { BlockFlags.None, BlockFlags.NoHole })
                {
                    Assert.Equal(BlockResult.Ok, await device.WriteZeroesAsync(offset, length, flags, default));
                }

                data.AsSpan(offset - 333, length).Clear();
            }

            Assert.Equal(BlockResult.Ok, await device.TrimAsync(1 << 20, 1 << 20, BlockFlags.None, default));
            Assert.Equal(BlockResult.Ok, await device.TrimAsync((2 << 20) + 1, 510, BlockFlags.None, default));
            Assert.Equal(BlockResult.Ok, await device.CacheAsync(0, 1 << 20, default));
            Assert.Equal(BlockResult.Ok, await device.ReadAsync(333, got, default));
            Assert.Equal(data, got);
            Assert.Equal([Data(4096)], Extents(device, 0, 4096));
        }
        finally
        {
            NbdClientTests.Tool("losetup", "-d", loop);
        }
    }

    private FileDevice Open()
    {
        using (FileStream file = File.Create(Image)) file.SetLength(Size);
        return FileDevice.Open(Image);
    }

    private static BlockExtent Hole(long length) => new(length, true, true);

    private static BlockExtent Data(long length) => new(length, false, false);

    private static List<BlockExtent> Extents(FileDevice device, long offset, long length, int limit = 100)
    {
        List<BlockExtent> extents = [];
        Assert.Equal(BlockResult.Ok, device.Extents(offset, length, limit, extents));
        return extents;
    }

    private long Allocated() => long.Parse(NbdClientTests.Tool("stat", "-c", "%b", Image)) * 512;

    // Out of the page cache: posix_fadvise DONTNEED by way of dd.
    private static void Drop(string path) => NbdClientTests.Tool("dd", $"if={path}", "of=/dev/null", "iflag=nocache", "count=0",
        "status=none");
}
