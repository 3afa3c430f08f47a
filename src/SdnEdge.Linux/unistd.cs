using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>The C library's calls, by header: this part is <c>unistd.h</c>, <c>fcntl.h</c> and <c>sys/uio.h</c>.</summary>
internal static unsafe partial class Libc
{
    private const string Library = "libc";

    public const int O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NONBLOCK = 0x800, O_CLOEXEC = 0x80000;

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    public static partial int FSync(int fd);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int fd, void* buffer, nint count);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int fd, void* buffer, nint count);

    // The C library makes read and write points where a thread can be cancelled: two locked instructions a call that only
    // programs with several threads pay, some 7 % of a packet. Its generic syscall does not. Numbers of asm/unistd.h.
    private static readonly nint ReadNumber = SystemCallNumber(x64: 0, arm64: 63);
    private static readonly nint WriteNumber = SystemCallNumber(x64: 1, arm64: 64);

    /// <summary>As <see cref="Read"/>, for the packet path.</summary>
    public static nint ReadPacket(int fd, void* buffer, nint count) =>
        ReadNumber >= 0 ? SystemCall(ReadNumber, fd, buffer, count) : Read(fd, buffer, count);

    /// <summary>As <see cref="Write"/>, for the packet path.</summary>
    public static nint WritePacket(int fd, void* buffer, nint count) =>
        WriteNumber >= 0 ? SystemCall(WriteNumber, fd, buffer, count) : Write(fd, buffer, count);

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint fd, void* buffer, nint count);

    private static nint SystemCallNumber(nint x64, nint arm64) => RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => x64,
        Architecture.Arm64 => arm64,
        _ => -1,
    };

    [LibraryImport(Library, EntryPoint = "writev", SetLastError = true)]
    public static partial nint WriteV(int fd, IoVector* vectors, int count);

    [LibraryImport(Library, EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Ioctl(int fd, nuint request, void* argument);

    [LibraryImport(Library, EntryPoint = "ioctl", SetLastError = true)]
    public static partial int Ioctl(int fd, nuint request, nint argument);

    /// <summary><c>struct iovec</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct IoVector
    {
        public void* Base;
        public nint Length;
    }
}
