using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>The test guest (guest/app.c): how it is started, and what it says.</summary>
internal static class Guest
{
    private static int s_port = 10_000 + (Environment.ProcessId % 8_000);

    /// <summary>What guest/make-guest.sh and guest/fetch-qemu.sh made; `./build.sh test` does so.</summary>
    public static string Folder { get; } = Environment.GetEnvironmentVariable("SDNEDGE_GUEST") is { Length: > 0 } folder ? folder
        : throw new InvalidOperationException("SDNEDGE_GUEST names no folder with the test guest: run ./build.sh test, which makes it");

    /// <summary>QEMU 10, which guest/fetch-qemu.sh puts beside the system's own, and where it finds its files.</summary>
    public static string[] Qemu10 { get; } =
    [
        Path.Combine(Folder, "qemu/usr/bin/qemu-system-x86_64"), "-L", Path.Combine(Folder, "qemu/usr/share/qemu"), "-L",
        Path.Combine(Folder, "qemu/usr/share/seabios"),
    ];

    /// <summary>The system's own QEMU: 7.2 in Debian 12.</summary>
    public static string[] Qemu7 { get; } = ["/usr/bin/qemu-system-x86_64"];

    /// <summary>QEMU and its arguments. The guest's UDP ports 7 (echo) and 8 (counter) are at these ports of the loopback.</summary>
    public static string[] Command(string log, int echo, int counter, string app, string[]? qemu = null) =>
    [
        .. qemu ?? Qemu10, "-machine", "pc-q35-7.2", "-cpu", "qemu64", "-accel", "tcg", "-m", "128",
            "-display",
        "none", "-nodefaults", "-no-user-config", "-serial", "file:" + log, "-kernel", Path.Combine(Folder, "vmlinuz"), "-initrd",
        Path.Combine(Folder, "initrd"), "-append",
        "console=ttyS0 quiet ipv6.disable=1 mitigations=off nokaslr tsc=reliable panic=-1 net=10.0.2.15/24,10.0.2.2 app=" + app, "-netdev",
        string.Create(CultureInfo.InvariantCulture,
            $"user,id=n0,hostfwd=udp:127.0.0.1:{echo}-:7,hostfwd=udp:127.0.0.1:{counter}-:8"), "-device",
        "virtio-net-pci,netdev=n0,romfile=",
    ];

    /// <summary>The guest's ticks, ten a second of its own clock, and the words of its memory that it found wrong.</summary>
    public static async Task<(long Ticks, long Bad)> CountsAsync(int port, TimeSpan patience)
    {
        using var socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        socket.Connect(IPAddress.Loopback, port);
        using var end = new CancellationTokenSource(patience);
        while (true)
        {
            await socket.SendAsync("?"u8.ToArray(), end.Token);
            using var wait = CancellationTokenSource.CreateLinkedTokenSource(end.Token);
            wait.CancelAfter(500);
            try
            {
                string[] words = Encoding.ASCII.GetString((await socket.ReceiveAsync(wait.Token)).Buffer).Split(' ', '\n');
                return (long.Parse(words[0], CultureInfo.InvariantCulture), long.Parse(words[1], CultureInfo.InvariantCulture));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException && !end.IsCancellationRequested)
            {
                // It was lost, or nobody is there yet: asked again.
            }
        }
    }

    /// <summary>A UDP port of the loopback that nobody has: below those that the kernel gives to those who ask for any.</summary>
    public static int FreePort()
    {
        while (true)
        {
            int port = Interlocked.Increment(ref s_port);
            try
            {
                using var socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
                // Somebody has it: the next one.
            }
        }
    }
}
