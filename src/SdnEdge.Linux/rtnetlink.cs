using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>Constants and structs of <c>linux/netlink.h</c> and <c>linux/rtnetlink.h</c>.</summary>
internal static class RtNetlink
{
    public const int AF_NETLINK = 16, NETLINK_ROUTE = 0;
    public const uint RTMGRP_LINK = 1;

    /// <summary><c>struct sockaddr_nl</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Address
    {
        public ushort Family;
        public ushort Pad;
        public uint PortId;
        public uint Groups;
    }
}

/// <summary>
/// Says when a network device of a namespace has changed: its MTU, flags or name, or that it came or went (rtnetlink(7), RTMGRP_LINK). Not
/// which: who is told looks at the devices that it has, so that a message that was lost costs nothing.
/// </summary>
public sealed unsafe class LinkWatch : IDisposable
{
    private const int BufferBytes = 32 << 10;

    private readonly Action _changed;
    private readonly EventFd _stop = new();
    private readonly Thread _thread;
    private readonly int _fd;

    /// <summary>Begins to watch the namespace of the calling thread.</summary>
    /// <param name="changed">Called on a thread of this object's own, once for what has come together.</param>
    /// <exception cref="LinuxException">The kernel refused the socket.</exception>
    public LinkWatch(Action changed)
    {
        _changed = changed;
        _fd = Libc.Socket(RtNetlink.AF_NETLINK, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC | Libc.SOCK_NONBLOCK, RtNetlink.NETLINK_ROUTE);
        if (_fd < 0) throw LinuxException.Last("open a socket for changes of network devices");
        var address = new RtNetlink.Address { Family = RtNetlink.AF_NETLINK, Groups = RtNetlink.RTMGRP_LINK };
        if (Libc.Bind(_fd, &address, (uint)sizeof(RtNetlink.Address)) != 0)
        {
            var error = LinuxException.Last("listen for changes of network devices");
            Libc.Close(_fd);
            throw error;
        }

        _thread = new Thread(Run) { Name = "link-watch", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Ends the thread.</summary>
    public void Dispose()
    {
        _stop.Signal();
        _thread.Join();
        _stop.Dispose();
        Libc.Close(_fd);
    }

    private void Run()
    {
        byte* buffer = (byte*)NativeMemory.Alloc(BufferBytes);
        Libc.PollFd* polled = stackalloc Libc.PollFd[2];
        while (true)
        {
            polled[0] = new Libc.PollFd { Fd = _fd, Events = Libc.POLLIN };
            polled[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
            int ready = Libc.Poll(polled, 2, null, null);
            if (polled[1].Returned != 0) break;
            if (ready <= 0 || polled[0].Returned == 0) continue;

            // ENOBUFS: more came than the socket holds. That something has changed is said by any of it.
            while (Libc.Read(_fd, buffer, BufferBytes) > 0)
            {
            }

            _changed();
        }

        NativeMemory.Free(buffer);
    }
}
