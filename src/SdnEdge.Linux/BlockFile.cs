using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace SdnEdge.Linux;

/// <summary>
/// A raw file or a block device by its descriptor, for the server of an export: calls return 0 or the kernel's error number and allocate
/// nothing. All of them may be called by any thread at the same time.
/// </summary>
public sealed unsafe partial class BlockFile : IDisposable
{
    private const int SeekData = 3, SeekHole = 4;
    private const int KeepSize = 1, PunchHoleMode = 2, ZeroRangeMode = 0x10;
    private const int SetOpenFileLock = 37;
    private const short ReadLock = 0, WriteLock = 1;
    private const int AdviseWillNeed = 3;
    private const int NoWait = 8;
    private const nuint BlkGetSize64 = 0x80081272, BlkDiscard = 0x1277, BlkRotational = 0x127E;

    /// <summary>The unit in which a block device takes discards and zeroing, bytes.</summary>
    public const int Sector = 512;

    private readonly SafeFileHandle _handle;
    private readonly int _fd;

    private BlockFile(SafeFileHandle handle, long length, bool isBlockDevice, bool rotational)
    {
        (_handle, _fd) = (handle, (int)handle.DangerousGetHandle());
        (Length, IsBlockDevice, IsRotational) = (length, isBlockDevice, rotational);
    }

    /// <summary>Bytes, as of when it was opened.</summary>
    public long Length { get; }

    /// <summary>True: a block device; false: a regular file.</summary>
    public bool IsBlockDevice { get; }

    /// <summary>True where the kernel says that seeking costs time.</summary>
    public bool IsRotational { get; }

    /// <summary>Opens a file or a block device that exists and locks it: by one writer, or by readers. The lock is one of the open file
    /// (F_OFD_SETLK of fcntl(2)), as QEMU's are: each refuses an image that the other writes.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="writable">False: to read only.</param>
    /// <exception cref="LinuxException">It is not there, is somebody else's, is neither a file nor a block device, or is in
    /// use.</exception>
    public static BlockFile Open(string path, bool writable)
    {
        int fd = Libc.Open(path, (writable ? Libc.O_RDWR : Libc.O_RDONLY) | Libc.O_CLOEXEC);
        if (fd < 0) throw LinuxException.Last($"open {path}");
        var handle = new SafeFileHandle(fd, ownsHandle: true);
        try
        {
            if (!TryLock(fd, writable))
            {
                throw LinuxException.Last($"lock {path}, which another process or export has open {(writable ? "too" : "for writing")}");
            }

            ulong bytes = 0;
            bool block = Libc.Ioctl(fd, BlkGetSize64, &bytes) == 0;
            if (!block)
            {
                long end = Directory.Exists(path) ? 0 : Seek(fd, 0, 2);
                if (end < 0) throw LinuxException.Last($"find the size of {path}");
                if (end == 0) throw new LinuxException($"use {path}, which is empty or neither a file nor a block device", Errno.EINVAL);
                bytes = (ulong)end;
            }

            ushort rotational = 0;
            if (block && Libc.Ioctl(fd, BlkRotational, &rotational) != 0) rotational = 0;
            return new BlockFile(handle, (long)bytes, block, rotational != 0);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Reads all of <paramref name="into"/>. A file that has become shorter than it was is EIO.</summary>
    public int Read(long offset, Span<byte> into)
    {
        fixed (byte* p = into)
        {
            for (int done = 0; done < into.Length;)
            {
                nint got = PRead(_fd, p + done, into.Length - done, offset + done);
                if (got > 0)
                {
                    done += (int)got;
                    continue;
                }

                int error = got == 0 ? Errno.EIO : Marshal.GetLastPInvokeError();
                if (error != Errno.EINTR) return error;
            }
        }

        return 0;
    }

    /// <summary>Reads what is in memory already, without waiting for the disk. Returns how many bytes from the start that are.</summary>
    public int ReadCached(long offset, Span<byte> into)
    {
        fixed (byte* p = into)
        {
            var vector = new Libc.IoVector { Base = p, Length = into.Length };
            nint got = PReadV2(_fd, &vector, 1, offset, NoWait);
            return got > 0 ? (int)got : 0;
        }
    }

    /// <summary>Writes all of <paramref name="bytes"/>.</summary>
    public int Write(long offset, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* p = bytes)
        {
            for (int done = 0; done < bytes.Length;)
            {
                nint put = PWrite(_fd, p + done, bytes.Length - done, offset + done);
                if (put > 0)
                {
                    done += (int)put;
                    continue;
                }

                int error = put == 0 ? Errno.EIO : Marshal.GetLastPInvokeError();
                if (error != Errno.EINTR) return error;
            }
        }

        return 0;
    }

    /// <summary>Makes durable what was written (fdatasync).</summary>
    public int Sync()
    {
        while (FDataSync(_fd) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != Errno.EINTR) return error;
        }

        return 0;
    }

    /// <summary>The range reads as zeros and loses its room, without being written. On a block device in whole sectors.</summary>
    public int PunchHole(long offset, long length) => Allocate(PunchHoleMode | KeepSize, offset, length);

    /// <summary>The range reads as zeros and keeps its room. On a block device in whole sectors, and the kernel may write it.</summary>
    public int ZeroRange(long offset, long length) => Allocate(ZeroRangeMode | KeepSize, offset, length);

    /// <summary>Tells a block device that the range is not wanted; it may read as anything afterwards. In whole sectors.</summary>
    public int Discard(long offset, long length)
    {
        ulong* range = stackalloc ulong[2];
        (range[0], range[1]) = ((ulong)offset, (ulong)length);
        return Libc.Ioctl(_fd, BlkDiscard, range) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Has the kernel read the range into memory; it does so on its own time.</summary>
    public int WillNeed(long offset, long length) => Advise(_fd, offset, length, AdviseWillNeed);

    /// <summary>Where the next data are at or after <paramref name="offset"/>; <see cref="Length"/> where there are none.</summary>
    public int NextData(long offset, out long data) => Next(SeekData, offset, out data);

    /// <summary>Where the next hole is at or after <paramref name="offset"/>; <see cref="Length"/> where there is none.</summary>
    public int NextHole(long offset, out long hole) => Next(SeekHole, offset, out hole);

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private int Allocate(int mode, long offset, long length)
    {
        while (FAllocate(_fd, mode, offset, length) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != Errno.EINTR) return error;
        }

        return 0;
    }

    private int Next(int whence, long offset, out long at)
    {
        at = Seek(_fd, offset, whence);
        if (at >= 0) return 0;
        int error = Marshal.GetLastPInvokeError();
        at = Length;
        return error == NoSuchData ? 0 : error;
    }

    // ENXIO: beyond the last data.
    private const int NoSuchData = 6;

    [LibraryImport("libc", EntryPoint = "pread64", SetLastError = true)]
    private static partial nint PRead(int fd, void* buffer, nint count, long offset);

    [LibraryImport("libc", EntryPoint = "preadv64v2", SetLastError = true)]
    private static partial nint PReadV2(int fd, Libc.IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "pwrite64", SetLastError = true)]
    private static partial nint PWrite(int fd, void* buffer, nint count, long offset);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int FDataSync(int fd);

    [LibraryImport("libc", EntryPoint = "fallocate64", SetLastError = true)]
    private static partial int FAllocate(int fd, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "lseek64", SetLastError = true)]
    private static partial long Seek(int fd, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "posix_fadvise64")]
    private static partial int Advise(int fd, long offset, long length, int advice);

    /// <summary>Takes the lock by which this program and QEMU keep others off an image; it ends with the open file.</summary>
    /// <returns>False when another open of the file has one that it excludes.</returns>
    internal static bool TryLock(int descriptor, bool writable)
    {
        var wanted = new FileLock { Type = writable ? WriteLock : ReadLock };
        return Libc.FileControl(descriptor, SetOpenFileLock, (nint)(&wanted)) == 0;
    }

    // struct flock of a 64-bit system; a length of 0 goes to the end, whatever it will be.
    [StructLayout(LayoutKind.Sequential)]
    private struct FileLock
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int Process;
    }
}
