using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>How a call on a stream ended that gave no bytes.</summary>
public enum StreamEnd
{
    /// <summary>The other end is gone or the stream is closed.</summary>
    Closed = 0,

    /// <summary>The deadline has passed.</summary>
    TimedOut = -1,

    /// <summary>The event descriptor was signalled before bytes came.</summary>
    Signalled = -2,
}

/// <summary>
/// Receiving from and sending to a connected stream socket by its descriptor, which somebody else owns and closes when nobody is in here
/// any more. Nothing is allocated. One thread may receive while another sends.
/// </summary>
public static unsafe partial class StreamDescriptor
{
    private const int DontWait = Libc.MSG_DONTWAIT;
    private const short PollOut = 4;

    /// <summary>Receives what is there, at least a byte.</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="into">Where to; not empty.</param>
    /// <param name="wake">An <see cref="EventFd"/> that ends the wait too; negative: none.</param>
    /// <param name="milliseconds">Longest wait; negative: any.</param>
    /// <param name="spins">How often to look before waiting in the kernel.</param>
    /// <param name="waited">True: nothing came while looking, and the kernel was waited in.</param>
    /// <returns>Bytes; or a <see cref="StreamEnd"/>.</returns>
    public static int Receive(int fd, Span<byte> into, int wake, int milliseconds, int spins, out bool waited)
    {
        waited = false;
        fixed (byte* p = into)
        {
            // Waiting in recv itself costs one call; where something else may end the wait it takes a poll.
            bool poll = wake >= 0 || milliseconds >= 0;
            for (int look = 0; ;)
            {
                bool wait = !poll && look >= spins;
                waited |= wait;
                nint got = Recv(fd, p, (nuint)into.Length, wait ? 0 : DontWait);
                if (got >= 0) return (int)got;
                int error = Marshal.GetLastPInvokeError();
                if (error == Errno.EINTR) continue;
                if (error != Errno.EAGAIN) return (int)StreamEnd.Closed;
                if (look++ < spins) continue;
                waited = true;
                if (wait || poll)
                {
                    StreamEnd? end = Wait(fd, Libc.POLLIN, wake, milliseconds);
                    if (end is not null) return (int)end;
                }
            }
        }
    }

    /// <summary>Sends all of <paramref name="bytes"/>. False: the other end is gone, or the deadline has passed.</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="bytes">What to send.</param>
    /// <param name="milliseconds">Longest wait for room; negative: any.</param>
    public static bool Send(int fd, ReadOnlySpan<byte> bytes, int milliseconds)
    {
        fixed (byte* p = bytes)
        {
            for (int done = 0; done < bytes.Length;)
            {
                nint put = Snd(fd, p + done, (nuint)(bytes.Length - done), Libc.MSG_NOSIGNAL | (milliseconds >= 0 ? DontWait : 0));
                if (put >= 0)
                {
                    done += (int)put;
                    continue;
                }

                int error = Marshal.GetLastPInvokeError();
                if (error == Errno.EINTR) continue;
                if (error != Errno.EAGAIN || Wait(fd, PollOut, -1, milliseconds) is not null) return false;
            }
        }

        return true;
    }

    /// <summary>Waits until an <see cref="EventFd"/> is signalled.</summary>
    public static void WaitFor(EventFd wake)
    {
        ArgumentNullException.ThrowIfNull(wake);
        while (!Libc.WaitReadable(wake.Fd, -1))
        {
            // A signal handler ran.
        }
    }

    /// <summary>Ends both directions: whoever waits in the descriptor comes back, and the other end is told.</summary>
    public static void ShutDown(int fd) => _ = Libc.Shutdown(fd, Libc.SHUT_RDWR);

    /// <summary>Ends receiving only: what is on its way out still goes.</summary>
    public static void ShutDownReceive(int fd) => _ = Libc.Shutdown(fd, 0);

    // Null: ready.
    private static StreamEnd? Wait(int fd, short events, int wake, int milliseconds)
    {
        Libc.PollFd* fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = fd, Events = events };
        fds[1] = new Libc.PollFd { Fd = wake, Events = Libc.POLLIN };
        Libc.TimeSpec span = new() { Seconds = milliseconds / 1000, Nanoseconds = milliseconds % 1000 * 1_000_000L };
        int ready = Libc.Poll(fds, wake >= 0 ? 2u : 1u, milliseconds < 0 ? null : &span, null);
        if (ready < 0) return Marshal.GetLastPInvokeError() == Errno.EINTR ? null : StreamEnd.Closed;
        if (ready == 0) return StreamEnd.TimedOut;
        return fds[0].Returned != 0 ? null : StreamEnd.Signalled;
    }

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint Recv(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint Snd(int fd, void* buffer, nuint length, int flags);
}

/// <summary>Sockets that a process was started with (sd_listen_fds(3)).</summary>
public static class InheritedSockets
{
    private const int First = 3, Most = 64;

    /// <summary>The listening sockets that systemd, or who does as it does, has passed to this process: LISTEN_FDS of them from 3 on, if
    /// LISTEN_PID is this process. They are not inherited further, and the two variables are taken out of the environment.</summary>
    /// <exception cref="FormatException">A variable is no number in its range.</exception>
    /// <exception cref="LinuxException">One of the descriptors is not open.</exception>
    public static IReadOnlyList<int> Listening()
    {
        string? count = Environment.GetEnvironmentVariable("LISTEN_FDS"), process = Environment.GetEnvironmentVariable("LISTEN_PID");
        if (count is null || process is null) return [];
        if (!int.TryParse(process, out int id)) throw new FormatException($"LISTEN_PID is '{process}'; it must be a process id.");
        if (id != Environment.ProcessId) return [];
        if (!int.TryParse(count, out int n) || n is < 1 or > Most)
        {
            throw new FormatException($"LISTEN_FDS is '{count}'; it must be 1 to {Most}.");
        }

        Environment.SetEnvironmentVariable("LISTEN_FDS", null);
        Environment.SetEnvironmentVariable("LISTEN_PID", null);
        int[] fds = new int[n];
        for (int i = 0; i < n; i++)
        {
            fds[i] = First + i;
            if (Libc.FileControl(fds[i], Libc.F_SETFD, Libc.FD_CLOEXEC) < 0) throw LinuxException.Last($"use inherited socket {fds[i]}");
        }

        return fds;
    }
}
