using System.Runtime.InteropServices;
using System.Text;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

internal static unsafe partial class Libc
{
    public const int IFNAMSIZ = 16;
    public const nuint SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, SIOCGIFMTU = 0x8921, SIOCSIFMTU = 0x8922,
        SIOCSIFHWADDR = 0x8924, SIOCGIFHWADDR = 0x8927, SIOCGIFINDEX = 0x8933, SIOCGIFTXQLEN = 0x8942, SIOCSIFTXQLEN = 0x8943,
        SIOCBRADDBR = 0x89a0, SIOCBRADDIF = 0x89a2;
    public const short IFF_UP = 0x1, IFF_RUNNING = 0x40;
    public const ushort ARPHRD_ETHER = 1;

    /// <summary><c>struct ifreq</c>: a device name and a union of which the first bytes are used.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 40)]
    public struct IfReq
    {
        [FieldOffset(0)]
        public fixed byte Name[IFNAMSIZ];

        [FieldOffset(16)]
        public short Flags;

        [FieldOffset(16)]
        public int Value;

        /// <summary>Pointer to arguments, for calls that take more than a value.</summary>
        [FieldOffset(16)]
        public void* Pointer;

        /// <summary>Address family of the union's sockaddr; the bytes of the address follow at <see cref="HardwareAddress"/>.</summary>
        [FieldOffset(16)]
        public ushort Family;

        [FieldOffset(18)]
        public fixed byte HardwareAddress[14];

        public IfReq(string device)
        {
            NetDevice.CheckName(device);
            fixed (byte* name = Name) Encoding.ASCII.GetBytes(device, new Span<byte>(name, IFNAMSIZ - 1));
        }
    }
}

/// <summary>
/// Settings of a network device of the calling thread's namespace, by ioctl. Each call throws <see cref="LinuxException"/>
/// with the device's name when the kernel refuses.
/// </summary>
public static unsafe partial class NetDevice
{
    /// <summary>Throws when <paramref name="device"/> cannot be a device's name: 1 to 15 printable ASCII characters without space, slash or
    /// colon.</summary>
    public static void CheckName(string device)
    {
        if (device.Length is 0 or >= Libc.IFNAMSIZ || device is "." or ".." || device.Any(c => c is <= ' ' or > '~' or '/' or ':'))
        {
            throw new ArgumentException($"'{device}' is no device name: 1 to 15 characters, no spaces, slashes or colons", nameof(device));
        }
    }

    /// <summary>Whether the device exists in this namespace.</summary>
    public static bool Exists(string device)
    {
        var request = new Libc.IfReq(device);
        return TryControl(Libc.SIOCGIFINDEX, &request) == 0;
    }

    /// <summary>The device's index.</summary>
    public static int Index(string device) => Control(device, Libc.SIOCGIFINDEX, "find").Value;

    /// <summary>The largest packet the device carries, in bytes, without its Ethernet header.</summary>
    public static int Mtu(string device) => Control(device, Libc.SIOCGIFMTU, "read the MTU of").Value;

    /// <summary>Sets the MTU, in bytes.</summary>
    public static void SetMtu(string device, int mtu) => Control(device, Libc.SIOCSIFMTU, mtu, $"set MTU {mtu} on");

    /// <summary>Packets the device's transmit queue holds; on a TAP the queue towards the process.</summary>
    public static int QueueLength(string device) => Control(device, Libc.SIOCGIFTXQLEN, "read the queue length of").Value;

    /// <summary>Sets the transmit queue length, in packets.</summary>
    public static void SetQueueLength(string device, int packets) =>
        Control(device, Libc.SIOCSIFTXQLEN, packets, $"set queue length {packets} on");

    /// <summary>The device's MAC address.</summary>
    public static MacAddress Mac(string device)
    {
        Libc.IfReq request = Control(device, Libc.SIOCGIFHWADDR, "read the MAC address of");
        return MacAddress.Read(new ReadOnlySpan<byte>(request.HardwareAddress, 6));
    }

    /// <summary>Sets the MAC address.</summary>
    public static void SetMac(string device, MacAddress mac)
    {
        var request = new Libc.IfReq(device) { Family = Libc.ARPHRD_ETHER };
        mac.Write(new Span<byte>(request.HardwareAddress, 6));
        int error = TryControl(Libc.SIOCSIFHWADDR, &request);
        if (error != 0) throw new LinuxException($"set MAC address {mac} on device {device}", error);
    }

    /// <summary>Brings the device up.</summary>
    public static void SetUp(string device)
    {
        Libc.IfReq request = Control(device, Libc.SIOCGIFFLAGS, "read the flags of");
        request.Flags |= Libc.IFF_UP;
        int error = TryControl(Libc.SIOCSIFFLAGS, &request);
        if (error != 0) throw new LinuxException($"bring up device {device}", error);
    }

    /// <summary>Takes the device down.</summary>
    public static void SetDown(string device)
    {
        Libc.IfReq request = Control(device, Libc.SIOCGIFFLAGS, "read the flags of");
        request.Flags &= ~Libc.IFF_UP;
        int error = TryControl(Libc.SIOCSIFFLAGS, &request);
        if (error != 0) throw new LinuxException($"take down device {device}", error);
    }

    /// <summary>Whether the device is up and its other end answers (carrier).</summary>
    public static bool HasCarrier(string device)
    {
        const int Both = Libc.IFF_UP | Libc.IFF_RUNNING;
        return (Control(device, Libc.SIOCGIFFLAGS, "read the flags of").Flags & Both) == Both;
    }

    /// <summary>Keeps the kernel's IPv6 off the device. Nothing to do where the kernel has no IPv6.</summary>
    public static void DisableIpv6(string device)
    {
        // /proc/sys/net shows the namespace of the thread that opens it.
        string file = $"/proc/sys/net/ipv6/conf/{device}/disable_ipv6";
        if (File.Exists(file)) File.WriteAllText(file, "1");
    }

    /// <summary>Makes a bridge of <paramref name="ports"/>. Returns false when the kernel has no bridges.</summary>
    internal static bool TryAddBridge(string bridge, params ReadOnlySpan<string> ports)
    {
        byte* name = stackalloc byte[Libc.IFNAMSIZ];
        new Span<byte>(name, Libc.IFNAMSIZ).Clear();
        Encoding.ASCII.GetBytes(bridge, new Span<byte>(name, Libc.IFNAMSIZ - 1));
        if (TryControl(Libc.SIOCBRADDBR, name) != 0) return false;
        foreach (string port in ports)
        {
            var request = new Libc.IfReq(bridge) { Value = Index(port) };
            int error = TryControl(Libc.SIOCBRADDIF, &request);
            if (error != 0) throw new LinuxException($"add {port} to bridge {bridge}", error);
        }

        SetUp(bridge);
        return true;
    }

    private static Libc.IfReq Control(string device, nuint code, string what) => Control(device, code, 0, what);

    private static Libc.IfReq Control(string device, nuint code, int value, string what)
    {
        var request = new Libc.IfReq(device) { Value = value };
        int error = TryControl(code, &request);
        return error == 0 ? request : throw new LinuxException($"{what} device {device}", error);
    }

    private static int TryControl(nuint code, void* argument)
    {
        int socket = Libc.Socket(Libc.AF_INET, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0);
        if (socket < 0) throw LinuxException.Last("open a socket for device settings");
        int result = Libc.Ioctl(socket, code, argument);
        int error = result < 0 ? Marshal.GetLastPInvokeError() : 0;
        Libc.Close(socket);
        return error;
    }
}
