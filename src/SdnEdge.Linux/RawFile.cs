using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace SdnEdge.Linux;

/// <summary>
/// A file or block device by positions: reads and writes name their offset, so any thread may call at any time. What fails is answered by
/// the kernel's error number (0: done), not by an exception, because a full or failing disk is an ordinary answer to a volume.
/// </summary>
public sealed unsafe class RawFile : IDisposable
{
    /// <summary>The error number of a full disk (ENOSPC).</summary>
    public const int NoSpace = 28;

    /// <summary>The error number of a disk that failed (EIO).</summary>
    public const int IoError = Errno.EIO;

    /// <summary>The error number of what another has open (EBUSY).</summary>
    public const int InUse = 16;

    /// <summary>The error number of a quota that is used up (EDQUOT).</summary>
    public const int QuotaExceeded = 122;

    private readonly SafeFileHandle _file;

    private RawFile(string path, SafeFileHandle file)
    {
        Path = path;
        _file = file;
    }

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>Opens a file that is there.</summary>
    /// <exception cref="LinuxException">It is not there, or this user may not.</exception>
    public static RawFile Open(string path, bool writable) => Open(path, (writable ? Libc.O_RDWR : Libc.O_RDONLY) | Libc.O_CLOEXEC);

    /// <summary>Makes a new file of mode 0600. The caller syncs the folder when the name is to survive a crash.</summary>
    /// <exception cref="LinuxException">It is there already, or it could not be made.</exception>
    public static RawFile Create(string path) => Open(path, Libc.O_RDWR | Libc.O_CLOEXEC | Libc.O_CREAT | Libc.O_EXCL);

    private static RawFile Open(string path, int flags)
    {
        int descriptor = Libc.OpenFile(path, flags, 0x180);
        if (descriptor < 0) throw LinuxException.Last($"{((flags & Libc.O_CREAT) != 0 ? "create" : "open")} {path}");
        return new RawFile(path, new SafeFileHandle(descriptor, ownsHandle: true));
    }

    /// <summary>Takes the file's exclusive lock, which ends with this process.</summary>
    /// <returns>False when another open of the file has it.</returns>
    public bool TryLock() => Libc.Lock(_file, Libc.LOCK_EX | Libc.LOCK_NB) == 0;

    /// <summary>Takes the lock of an image that is written: another volume, another server and QEMU refuse it meanwhile. It ends with the open
    /// file.</summary>
    /// <returns>False when another open of the file has it.</returns>
    public bool TryLockImage() => BlockFile.TryLock((int)_file.DangerousGetHandle(), writable: true);

    /// <summary>Bytes, also of a block device.</summary>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public long Length()
    {
        long end = Libc.Seek(_file, 0, Libc.SEEK_END);
        return end >= 0 ? end : throw LinuxException.Last($"size of {Path}");
    }

    /// <summary>Reads all of <paramref name="into"/>; what lies behind the end of the file is zeros.</summary>
    public int Read(long offset, Span<byte> into)
    {
        fixed (byte* bytes = into)
        {
            int done = 0;
            while (done < into.Length)
            {
                nint got = Libc.ReadAt(_file, bytes + done, into.Length - done, offset + done);
                if (got < 0)
                {
                    int error = Marshal.GetLastPInvokeError();
                    if (error == Errno.EINTR) continue;
                    return error;
                }

                if (got == 0)
                {
                    into[done..].Clear();
                    break;
                }

                done += (int)got;
            }
        }

        return 0;
    }

    /// <summary>Writes all of <paramref name="bytes"/>. After a failure any part may be written.</summary>
    public int Write(long offset, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            int done = 0;
            while (done < bytes.Length)
            {
                nint put = Libc.WriteAt(_file, start + done, bytes.Length - done, offset + done);
                if (put < 0)
                {
                    int error = Marshal.GetLastPInvokeError();
                    if (error == Errno.EINTR) continue;
                    return error;
                }

                if (put == 0) return IoError;
                done += (int)put;
            }
        }

        return 0;
    }

    /// <summary>Writes two runs of bytes one behind the other by one call (pwritev).</summary>
    public int Write(long offset, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second)
    {
        nint put;
        fixed (byte* a = first)
        fixed (byte* b = second)
        {
            Libc.IoVector* vectors = stackalloc Libc.IoVector[2];
            vectors[0] = new Libc.IoVector { Base = a, Length = first.Length };
            vectors[1] = new Libc.IoVector { Base = b, Length = second.Length };
            put = Libc.WriteVectorsAt(_file, vectors, 2, offset);
        }

        if (put == first.Length + second.Length) return 0;
        if (put < 0 && Marshal.GetLastPInvokeError() is var error && error != Errno.EINTR) return error;
        int done = put < 0 ? 0 : (int)put;
        if (done < first.Length)
        {
            int failed = Write(offset + done, first[done..]);
            if (failed != 0) return failed;
            done = first.Length;
        }

        return Write(offset + done, second[(done - first.Length)..]);
    }

    /// <summary>What was written is on the disk when this returns 0 (fdatasync). After a failure nothing is known of what was not durable
    /// before: the kernel may have forgotten it.</summary>
    public int SyncData()
    {
        int result;
        do result = Libc.DataSync(_file);
        while (result != 0 && Marshal.GetLastPInvokeError() == Errno.EINTR);
        return result == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Sets the length; new bytes are a hole of zeros.</summary>
    public int SetLength(long length) => Libc.Truncate(_file, length) == 0 ? 0 : Marshal.GetLastPInvokeError();

    /// <summary>Gives a range its room on the disk.</summary>
    public int Allocate(long offset, long length) => Fallocate(0, offset, length);

    /// <summary>Takes a range's room away: it reads as zeros from now on. Where the filesystem cannot, zeros are written.</summary>
    public int PunchHole(long offset, long length)
    {
        int error = Fallocate(Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE, offset, length);
        if (error is not (Errno.EOPNOTSUPP or Errno.ENODEV or Errno.EINVAL)) return error;
        Span<byte> zeros = stackalloc byte[16384];
        zeros.Clear();
        for (long done = 0; done < length; done += zeros.Length)
        {
            int failed = Write(offset + done, zeros[..(int)Math.Min(zeros.Length, length - done)]);
            if (failed != 0) return failed;
        }

        return 0;
    }

    private int Fallocate(int mode, long offset, long length)
    {
        int result;
        do result = Libc.Allocate(_file, mode, offset, length);
        while (result != 0 && Marshal.GetLastPInvokeError() == Errno.EINTR);
        return result == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>The first byte at or behind <paramref name="offset"/> that has room on the disk; the file's length when none has. Where the
    /// filesystem does not say, <paramref name="offset"/> itself.</summary>
    public long NextData(long offset) => NextOf(Libc.SEEK_DATA, offset);

    /// <summary>The first byte at or behind <paramref name="offset"/> that has no room on the disk; the file's length when all
    /// have.</summary>
    public long NextHole(long offset) => NextOf(Libc.SEEK_HOLE, offset);

    private long NextOf(int whence, long offset)
    {
        const int ENXIO = 6;
        long at = Libc.Seek(_file, offset, whence);
        if (at >= 0) return at;
        return whence == Libc.SEEK_HOLE || Marshal.GetLastPInvokeError() == ENXIO ? Length() : offset;
    }

    /// <summary>Asks the kernel to read a range beforehand.</summary>
    public void ReadAhead(long offset, long length) => _ = Libc.Advise(_file, offset, length, Libc.POSIX_FADV_WILLNEED);

    /// <summary>Has the kernel begin to write out what was written to a range (sync_file_range(2)). It makes nothing durable, and takes
    /// no error away from the next sync.</summary>
    public void WriteBehind(long offset, long length) => _ = Libc.SyncRange(_file, offset, length, Libc.SYNC_FILE_RANGE_WRITE);

    /// <summary>An error number in words, for a message.</summary>
    public static string Describe(int error) => $"{Marshal.GetPInvokeErrorMessage(error)} (errno {error})";

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
