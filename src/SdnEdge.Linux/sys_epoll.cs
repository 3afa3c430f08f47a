using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int EPOLL_CLOEXEC = 0x80000;
    public const int EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3;

    [LibraryImport(Library, EntryPoint = "epoll_create1", SetLastError = true)]
    public static partial int EpollCreate(int flags);

    [LibraryImport(Library, EntryPoint = "epoll_ctl", SetLastError = true)]
    public static partial int EpollControl(int epoll, int operation, int fd, void* epollEvent);

    [LibraryImport(Library, EntryPoint = "epoll_pwait2", SetLastError = true)]
    public static partial int EpollWait(int epoll, void* events, int count, TimeSpec* timeout, void* signalMask);

    /// <summary><c>struct timespec</c> of a 64-bit system.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}

/// <summary>What a file descriptor is ready for.</summary>
[Flags]
public enum EpollEvents : uint
{
    /// <summary>Nothing.</summary>
    None = 0,
    /// <summary>Readable.</summary>
    In = 0x1,
    /// <summary>Writable.</summary>
    Out = 0x4,
    /// <summary>An error stands; always reported.</summary>
    Error = 0x8,
    /// <summary>The other end is gone; always reported.</summary>
    HangUp = 0x10,
    /// <summary>Reported once for each change instead of as long as it holds.</summary>
    EdgeTriggered = 1u << 31,
}

/// <summary>
/// Waits for any of many file descriptors, with a deadline in nanoseconds. One thread waits; others may add and remove
/// descriptors at the same time.
/// </summary>
public sealed unsafe class Epoll : IDisposable
{
    private const int MaxEvents = 64;

    // The kernel packs struct epoll_event on x86-64 only.
    private static readonly bool Packed = RuntimeInformation.ProcessArchitecture == Architecture.X64;
    private static readonly int EventSize = Packed ? 12 : 16;
    private static readonly int DataOffset = Packed ? 4 : 8;

    private readonly byte* _events = (byte*)NativeMemory.AllocZeroed(MaxEvents, 16);
    private int _fd;

    /// <summary>Makes an empty set.</summary>
    public Epoll()
    {
        _fd = Libc.EpollCreate(Libc.EPOLL_CLOEXEC);
        if (_fd < 0) throw LinuxException.Last("create an epoll set");
    }

    /// <summary>Adds <paramref name="fd"/>; <paramref name="tag"/> comes back with its events.</summary>
    public void Add(int fd, EpollEvents events, ulong tag) => Control(Libc.EPOLL_CTL_ADD, fd, events, tag);

    /// <summary>Changes what <paramref name="fd"/> is waited for.</summary>
    public void Modify(int fd, EpollEvents events, ulong tag) => Control(Libc.EPOLL_CTL_MOD, fd, events, tag);

    /// <summary>Removes <paramref name="fd"/>.</summary>
    public void Remove(int fd) => Control(Libc.EPOLL_CTL_DEL, fd, EpollEvents.None, 0);

    /// <summary>
    /// Waits at most <paramref name="timeout"/> ns (0: not at all, negative: for ever). Returns how many events there are;
    /// read them by <see cref="Tag"/> and <see cref="Events"/>. A signal ends the wait early with 0.
    /// </summary>
    public int Wait(long timeout)
    {
        Libc.TimeSpec span = default;
        Libc.TimeSpec* spec = null;
        if (timeout >= 0)
        {
            span.Seconds = timeout / 1_000_000_000;
            span.Nanoseconds = timeout % 1_000_000_000;
            spec = &span;
        }

        int count = Libc.EpollWait(_fd, _events, MaxEvents, spec, null);
        if (count >= 0) return count;
        return Marshal.GetLastPInvokeError() == Errno.EINTR ? 0 : throw LinuxException.Last("wait in epoll");
    }

    /// <summary>The tag of event <paramref name="index"/> of the last wait.</summary>
    public ulong Tag(int index) => *(ulong*)(_events + (index * EventSize) + DataOffset);

    /// <summary>What event <paramref name="index"/> of the last wait says.</summary>
    public EpollEvents Events(int index) => (EpollEvents)(*(uint*)(_events + (index * EventSize)));

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_fd < 0) return;
        Libc.Close(_fd);
        _fd = -1;
        NativeMemory.Free(_events);
    }

    private void Control(int operation, int fd, EpollEvents events, ulong tag)
    {
        byte* buffer = stackalloc byte[16];
        *(uint*)buffer = (uint)events;
        *(ulong*)(buffer + DataOffset) = tag;
        if (Libc.EpollControl(_fd, operation, fd, buffer) < 0) throw LinuxException.Last($"change descriptor {fd} in an epoll set");
    }
}
