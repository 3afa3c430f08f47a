using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int EFD_CLOEXEC = 0x80000, EFD_NONBLOCK = 0x800;

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFd(uint initial, int flags);
}

/// <summary>A counter in the kernel by which any thread wakes one that waits in <see cref="Epoll"/>. A signal given before the wait is
/// kept.</summary>
public sealed unsafe class EventFd : IDisposable
{
    private int _fd;

    /// <summary>Makes one that is not signalled.</summary>
    public EventFd()
    {
        _fd = Libc.EventFd(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK);
        if (_fd < 0) throw LinuxException.Last("create an eventfd");
    }

    /// <summary>The descriptor; readable while signalled.</summary>
    public int Fd => _fd;

    /// <summary>Signals. Never waits; signals before the next <see cref="Drain"/> add up to one.</summary>
    public void Signal()
    {
        ulong one = 1;
        // Fails only when the counter is full, and then it is signalled already.
        _ = Libc.Write(_fd, &one, sizeof(ulong));
    }

    /// <summary>Takes the signal away. Returns whether there was one.</summary>
    public bool Drain()
    {
        ulong value;
        return Libc.Read(_fd, &value, sizeof(ulong)) == sizeof(ulong);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_fd < 0) return;
        Libc.Close(_fd);
        _fd = -1;
    }
}
