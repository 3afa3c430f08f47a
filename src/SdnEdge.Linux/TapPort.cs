using System.Runtime.InteropServices;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

/// <summary>How a TAP is set up. What is null is left as the device has it.</summary>
public sealed record TapOptions
{
    /// <summary>Packets the kernel queues towards us, at least, before it drops. The kernel's own 500 lose bursts; a longer queue that was
    /// given to the device is kept.</summary>
    public int QueueLength { get; init; } = 10_000;

    /// <summary>Largest packet without its Ethernet header, 68 to 65521 bytes.</summary>
    public int? Mtu { get; init; }

    /// <summary>MAC address of the kernel's end of the device (not that of the router's port, which is the data plane's matter).</summary>
    public MacAddress? Mac { get; init; }

    /// <summary>Offloads asked for; the port falls back to fewer where the kernel has fewer.</summary>
    public TapOffloads Offloads { get; init; } = TapOffloads.All;

    /// <summary>
    /// Keeps the kernel's own IPv6 (router solicitations, duplicate detection) off the device. Wanted where the device is
    /// only the router's end of a wire, not where the kernel is a host on it.
    /// </summary>
    public bool DisableKernelIpv6 { get; init; }

    /// <summary>
    /// Whether the kernel may be trusted to cut superpackets; null asks <see cref="SegmentationSelfTest"/>.
    /// </summary>
    public bool? SegmentsForUs { get; init; }

    /// <summary>Moves many packets by one system call where the system can (io_uring).</summary>
    public bool BatchedCalls { get; init; } = true;

    /// <summary>Brings the device up.</summary>
    public bool BringUp { get; init; } = true;
}

/// <summary>
/// A TAP device as a port: frames that the kernel sends to the device are received here, frames transmitted here are what
/// the device receives. Superpackets and partial checksums pass both ways (struct virtio_net_hdr).
/// <list type="number">
/// <item>Few packets go one by one; where many wait, by one call for all of them (<see cref="BatchRing"/>), if the system has that.</item>
/// <item>Receive reads header and frame in one call: the header lands in the headroom, just before the frame.</item>
/// <item>Transmit writes the header into the headroom, so that one write sends both; without headroom, writev.</item>
/// </list>
/// A write is atomic for a frame, so any number of workers may transmit at once.
/// </summary>
public sealed unsafe partial class TapPort : IFdPort
{
    // Asked for in this order until the kernel agrees.
    private static readonly TapOffloads[] Fallbacks =
    [
        TapOffloads.All,
        TapOffloads.Checksum | TapOffloads.Tso4 | TapOffloads.Tso6 | TapOffloads.TsoEcn,
        TapOffloads.Checksum | TapOffloads.Tso4 | TapOffloads.Tso6,
        TapOffloads.Checksum,
        TapOffloads.None,
    ];

    private int _fd;
    private volatile bool _gone;

    private TapPort(string name, string device, int fd, TapOffloads offloads)
    {
        Name = name;
        Device = device;
        _fd = fd;
        Offloads = offloads;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>Name of the device, as it was when opened.</summary>
    public string Device { get; }

    /// <summary>Offloads the kernel agreed to.</summary>
    public TapOffloads Offloads { get; }

    /// <inheritdoc/>
    public bool SegmentsForUs { get; private init; }

    /// <inheritdoc/>
    public int Fd => _fd;

    /// <inheritdoc/>
    public bool IsGone => _gone;

    /// <inheritdoc/>
    public PortCounters Counters { get; } = new();

    /// <summary>
    /// Creates the TAP <paramref name="device"/> in the calling thread's namespace, or attaches to it when it is there and
    /// nobody else has it. A device created here goes away with the port.
    /// </summary>
    /// <param name="name">The port's name.</param>
    /// <param name="device">The device's name; one that ends in %d lets the kernel number it.</param>
    /// <param name="options">How to set it up; null for the defaults.</param>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static TapPort Open(string name, string device, TapOptions? options = null)
    {
        options ??= new TapOptions();
        int fd = Libc.Open(IfTun.Device, Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_CLOEXEC);
        if (fd < 0) throw LinuxException.Last($"open {IfTun.Device} for TAP device {device}");
        try
        {
            var request = new Libc.IfReq(device) { Flags = IfTun.IFF_TAP | IfTun.IFF_NO_PI | IfTun.IFF_VNET_HDR };
            if (Libc.Ioctl(fd, IfTun.TUNSETIFF, &request) < 0) throw LinuxException.Last($"create or attach to TAP device {device}");
            string real = Marshal.PtrToStringUTF8((nint)request.Name)!;

            int headerSize = VnetHeader.Size;
            if (Libc.Ioctl(fd, IfTun.TUNSETVNETHDRSZ,
                &headerSize) < 0) throw LinuxException.Last($"set the virtio header size of TAP device {real}");
            TapOffloads offloads = SetOffloads(fd, options.Offloads);
            if (NetDevice.QueueLength(real) < options.QueueLength) NetDevice.SetQueueLength(real, options.QueueLength);
            if (options.Mtu is { } mtu) NetDevice.SetMtu(real, mtu);
            if (options.Mac is { } mac) NetDevice.SetMac(real, mac);
            if (options.DisableKernelIpv6) NetDevice.DisableIpv6(real);
            if (options.BringUp) NetDevice.SetUp(real);
            return new TapPort(name, real, fd, offloads) { SegmentsForUs =
                options.SegmentsForUs ?? SegmentationSelfTest.Result.Passed, _batched = options.BatchedCalls };
        }
        catch
        {
            Libc.Close(fd);
            throw;
        }
    }

    /// <summary>The network namespace that the device is in. While the port is open the namespace is there.</summary>
    /// <exception cref="LinuxException">The device is gone.</exception>
    public Microsoft.Win32.SafeHandles.SafeFileHandle OpenNamespace()
    {
        int fd = Libc.Ioctl(_fd, IfTun.TUNGETDEVNETNS, (nint)0);
        return fd >= 0 ? new Microsoft.Win32.SafeHandles.SafeFileHandle(fd, ownsHandle: true)
            : throw LinuxException.Last($"find the network namespace of TAP device {Device}");
    }

    /// <summary>
    /// The port of a TAP that another process has opened and set up as <see cref="Open"/> does: its descriptor, and what
    /// <see cref="Open"/> found out. The device goes when the last process has closed it.
    /// </summary>
    /// <param name="name">The port's name.</param>
    /// <param name="device">The device's name.</param>
    /// <param name="descriptor">The descriptor; the port closes it.</param>
    /// <param name="offloads">Offloads that the kernel agreed to.</param>
    /// <param name="segmentsForUs">Whether the kernel may be trusted to cut superpackets.</param>
    public static TapPort Adopt(string name, string device, int descriptor, TapOffloads offloads, bool segmentsForUs)
        => new(name, device, descriptor, offloads) { SegmentsForUs = segmentsForUs, _batched = true };

    /// <summary>
    /// A second port on the same device, by another name: it goes on with the device when this one is closed. Both would
    /// receive what the kernel sends, so only one of them may be received from.
    /// </summary>
    /// <exception cref="LinuxException">No descriptor is left, or this port is closed.</exception>
    public TapPort Duplicate(string name)
    {
        int descriptor = ProcessChannel.Duplicate(_fd);
        return descriptor >= 0
            ? Adopt(name, Device, descriptor, Offloads, SegmentsForUs)
            : throw LinuxException.Last($"duplicate the descriptor of TAP device {Device}");
    }

    /// <summary>Closes the port; a device that was made for it goes away. No worker may be using it.</summary>
    public void Dispose()
    {
        int fd = Interlocked.Exchange(ref _fd, -1);
        if (fd < 0) return;
        _gone = true;
        if (_number >= 0)
        {
            BatchRing.Forget(_number);
            Numbers.Return(_number);
        }

        Libc.Close(fd);
    }

    private static TapOffloads SetOffloads(int fd, TapOffloads wanted)
    {
        foreach (TapOffloads step in Fallbacks)
        {
            TapOffloads offloads = step & wanted;
            if ((offloads & TapOffloads.Checksum) == 0) offloads = TapOffloads.None;
            if (Libc.Ioctl(fd, IfTun.TUNSETOFFLOAD, (nint)offloads) == 0) return offloads;
        }

        return TapOffloads.None;
    }
}
