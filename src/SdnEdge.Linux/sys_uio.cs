using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary><c>sys/uio.h</c>, and of <c>unistd.h</c>, <c>fcntl.h</c> and <c>sys/file.h</c> what a file of a volume needs.</summary>
internal static unsafe partial class Libc
{
    public const int O_CREAT = 0x40, O_EXCL = 0x80, LOCK_EX = 2, LOCK_NB = 4;
    public const int FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2;
    public const int SEEK_END = 2, SEEK_DATA = 3, SEEK_HOLE = 4;
    public const int POSIX_FADV_WILLNEED = 3;
    public const uint SYNC_FILE_RANGE_WRITE = 2;

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int OpenFile(string path, int flags, uint mode);

    [LibraryImport(Library, EntryPoint = "pread", SetLastError = true)]
    public static partial nint ReadAt(SafeHandle fd, void* buffer, nint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwrite", SetLastError = true)]
    public static partial nint WriteAt(SafeHandle fd, void* buffer, nint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwritev", SetLastError = true)]
    public static partial nint WriteVectorsAt(SafeHandle fd, IoVector* vectors, int count, long offset);

    [LibraryImport(Library, EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int DataSync(SafeHandle fd);

    [LibraryImport(Library, EntryPoint = "fallocate", SetLastError = true)]
    public static partial int Allocate(SafeHandle fd, int mode, long offset, long length);

    [LibraryImport(Library, EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int Truncate(SafeHandle fd, long length);

    [LibraryImport(Library, EntryPoint = "lseek", SetLastError = true)]
    public static partial long Seek(SafeHandle fd, long offset, int whence);

    [LibraryImport(Library, EntryPoint = "flock", SetLastError = true)]
    public static partial int Lock(SafeHandle fd, int operation);

    [LibraryImport(Library, EntryPoint = "posix_fadvise")]
    public static partial int Advise(SafeHandle fd, long offset, long length, int advice);

    [LibraryImport(Library, EntryPoint = "sync_file_range")]
    public static partial int SyncRange(SafeHandle fd, long offset, long length, uint flags);
}
