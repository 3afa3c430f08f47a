using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int AF_UNIX = 1, SOCK_SEQPACKET = 5, SCM_RIGHTS = 1, MSG_NOSIGNAL = 0x4000, MSG_CMSG_CLOEXEC = 0x40000000;
    public const int F_SETFD = 2, FD_CLOEXEC = 1, F_DUPFD_CLOEXEC = 1030, SHUT_RDWR = 2;

    [LibraryImport(Library, EntryPoint = "socketpair", SetLastError = true)]
    public static partial int SocketPair(int family, int type, int protocol, int* fds);

    [LibraryImport(Library, EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(int fd, Message* message, int flags);

    [LibraryImport(Library, EntryPoint = "recvmsg", SetLastError = true)]
    public static partial nint ReceiveMessage(int fd, Message* message, int flags);

    [LibraryImport(Library, EntryPoint = "fcntl", SetLastError = true)]
    public static partial int FileControl(int fd, int command, nint argument);

    [LibraryImport(Library, EntryPoint = "shutdown", SetLastError = true)]
    public static partial int Shutdown(int fd, int how);
}

/// <summary>
/// One end of a pair of connected sockets between two processes of one machine (SOCK_SEQPACKET): messages arrive whole, in
/// order, and one may carry a file descriptor. The other process's end, whatever of, is told by a receive that gives nothing.
/// Sending and receiving wait; each may be done by one thread.
/// </summary>
public sealed unsafe class ProcessChannel : IDisposable
{
    /// <summary>Longest message, bytes.</summary>
    public const int MaxMessage = 128 << 10;

    private const int BufferBytes = 4 << 20;

    // struct cmsghdr and one descriptor, aligned.
    private const int ControlBytes = 24;

    private readonly Lock _closing = new();
    private readonly int _fd;
    private int _users;
    private bool _closed;

    private ProcessChannel(int fd) => _fd = fd;

    /// <summary>
    /// Makes a pair: this end, and the descriptor of the other, which a child process inherits. Close it here with
    /// <see cref="CloseChildEnd"/> once the child has started.
    /// </summary>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static (ProcessChannel Own, int ChildEnd) Pair()
    {
        int* fds = stackalloc int[2];
        if (Libc.SocketPair(Libc.AF_UNIX, Libc.SOCK_SEQPACKET | Libc.SOCK_CLOEXEC, 0,
            fds) < 0) throw LinuxException.Last("make a pair of sockets");
        _ = Libc.FileControl(fds[1], Libc.F_SETFD, 0);
        Libc.SetBuffer(fds[0], Libc.SO_SNDBUFFORCE, Libc.SO_SNDBUF, BufferBytes);
        Libc.SetBuffer(fds[1], Libc.SO_SNDBUFFORCE, Libc.SO_SNDBUF, BufferBytes);
        return (new ProcessChannel(fds[0]), fds[1]);
    }

    /// <summary>Closes the descriptor that a child has inherited.</summary>
    public static void CloseChildEnd(int fd) => Libc.Close(fd);

    /// <summary>The end that this process has inherited. Processes that it starts do not inherit it in turn.</summary>
    /// <exception cref="LinuxException">It is no open descriptor.</exception>
    public static ProcessChannel Inherited(int fd)
    {
        if (Libc.FileControl(fd, Libc.F_SETFD, Libc.FD_CLOEXEC) < 0) throw LinuxException.Last($"use inherited descriptor {fd}");
        return new ProcessChannel(fd);
    }

    /// <summary>Sends a message, with a descriptor unless it is negative. False: the other end is gone, or this one closed.</summary>
    public bool Send(ReadOnlySpan<byte> message, int descriptor = -1)
    {
        if (message.IsEmpty || message.Length > MaxMessage) throw new ArgumentException(
            $"a message has 1 to {MaxMessage} bytes, not {message.Length}", nameof(message));
        if (!Enter()) return false;
        try
        {
            fixed (byte* bytes = message)
            {
                byte* control = stackalloc byte[ControlBytes];
                var vector = new Libc.IoVector { Base = bytes, Length = message.Length };
                var header = new Libc.Message { Vectors = &vector, VectorCount = 1 };
                if (descriptor >= 0)
                {
                    *(Libc.ControlHeader*)control = new Libc.ControlHeader { Length =
                        (nuint)(sizeof(Libc.ControlHeader) + sizeof(int)), Level = Libc.SOL_SOCKET, Type = Libc.SCM_RIGHTS };
                    *(int*)(control + sizeof(Libc.ControlHeader)) = descriptor;
                    header.Control = control;
                    header.ControlLength = ControlBytes;
                }

                while (Libc.SendMessage(_fd, &header, Libc.MSG_NOSIGNAL) < 0)
                {
                    if (Marshal.GetLastPInvokeError() != Errno.EINTR) return false;
                }

                return true;
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Waits for a message. Returns its length; 0: the other end is gone, or this one closed.</summary>
    /// <param name="into">Room for <see cref="MaxMessage"/> bytes.</param>
    /// <param name="descriptor">The descriptor that came with it, to be closed by the caller; -1: none.</param>
    public int Receive(Span<byte> into, out int descriptor)
    {
        descriptor = -1;
        if (!Enter()) return 0;
        try
        {
            fixed (byte* bytes = into)
            {
                byte* control = stackalloc byte[ControlBytes];
                var vector = new Libc.IoVector { Base = bytes, Length = into.Length };
                var header = new Libc.Message { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = ControlBytes };
                nint got;
                while ((got = Libc.ReceiveMessage(_fd, &header, Libc.MSG_CMSG_CLOEXEC)) < 0)
                {
                    // The other end went without having read all of ours. What it had sent still waits; the error is told once.
                    if (Marshal.GetLastPInvokeError() is not (Errno.EINTR or Errno.ECONNRESET)) return 0;
                }

                Libc.ControlHeader* first = Libc.FirstControl(ref header);
                if (first is not null && first->Level == Libc.SOL_SOCKET && first->Type == Libc.SCM_RIGHTS) descriptor = *(int*)(first + 1);
                return (int)got;
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Another descriptor of the same open file, to be sent while the first may be closed.</summary>
    /// <exception cref="LinuxException">There is no such file, or there are too many.</exception>
    public static int Duplicate(int descriptor)
    {
        int copy = Libc.FileControl(descriptor, Libc.F_DUPFD_CLOEXEC, 3);
        return copy >= 0 ? copy : throw LinuxException.Last($"duplicate descriptor {descriptor}");
    }

    /// <summary>Another descriptor of this end: while anybody has one, the other end is not told that this one is gone.</summary>
    /// <exception cref="LinuxException">There are too many.</exception>
    public int Duplicate() => Duplicate(_fd);

    /// <summary>Closes a descriptor that came with a message and is not wanted.</summary>
    public static void CloseDescriptor(int descriptor)
    {
        if (descriptor >= 0) Libc.Close(descriptor);
    }

    /// <summary>Closes this end. A thread that waits in it comes back.</summary>
    public void Dispose()
    {
        lock (_closing)
        {
            if (_closed) return;
            _closed = true;
            _ = Libc.Shutdown(_fd, Libc.SHUT_RDWR);
            if (_users == 0) Libc.Close(_fd);
        }
    }

    // The descriptor's number may be another file's once it is closed: the last who uses it closes it.
    private bool Enter()
    {
        lock (_closing)
        {
            if (_closed) return false;
            _users++;
            return true;
        }
    }

    private void Leave()
    {
        lock (_closing)
        {
            if (--_users == 0 && _closed) Libc.Close(_fd);
        }
    }
}
