using System.Globalization;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Probes;

/// <summary>A flow over a <see cref="UdpBatchSocket"/> bound to a source port of its own.</summary>
public sealed class UdpProbeTransmitter : IProbeTransmitter
{
    private const int BufferBytes = 4 << 20;

    private readonly UdpBatchSocket socket;
    private readonly UdpEndpoint target;

    /// <summary>Opens the flow in this process's namespace.</summary>
    public UdpProbeTransmitter(UdpEndpoint target, int payloadSize)
    {
        this.target = target;
        IpAddress any = target.Address.IsV4 ? IpAddress.Parse("0.0.0.0") : IpAddress.Parse("::");
        socket = UdpBatchSocket.Open(
            new UdpEndpoint(any, 0),
            new UdpBatchOptions { MaxPayloadBytes = payloadSize, ReceiveBufferBytes = 64 << 10, SendBufferBytes = BufferBytes });
    }

    /// <inheritdoc/>
    public int LastError => socket.LastSendError;

    /// <inheritdoc/>
    public int Send(ReadOnlySpan<byte> payloads, int payloadSize, int count)
    {
        // One packet a call: a batch would go on after a refused packet, and then nobody could say which one was not sent.
        for (int i = 0; i < count; i++)
        {
            socket.Queue(payloads.Slice(i * payloadSize, payloadSize), target);
            if (socket.Flush() != 1)
            {
                return i;
            }
        }

        return count;
    }

    /// <inheritdoc/>
    public void Dispose() => socket.Dispose();
}

/// <summary>Listens on one UDP port, IPv4 and IPv6, with buffers so large that the kernel need not drop.</summary>
public sealed class UdpProbeListener : IProbeListener
{
    private const int BufferBytes = 256 << 20;
    private const int MaxPayloadBytes = 9000;

    private readonly UdpBatchSocket v4;
    private readonly UdpBatchSocket v6;
    private readonly ushort port;
    private readonly FileStream[] counters;
    private readonly ReceivedSlot[] slots = new ReceivedSlot[2 * UdpBatchSocket.Capacity];

    /// <summary>Binds in the calling thread's namespace.</summary>
    /// <param name="port">UDP port.</param>
    /// <param name="bufferBytes">Room for what is not read yet, for each family, with the kernel's overhead.</param>
    public UdpProbeListener(ushort port, int bufferBytes = BufferBytes)
    {
        this.port = port;
        var options = new UdpBatchOptions { MaxPayloadBytes = MaxPayloadBytes, ReceiveBufferBytes = bufferBytes,
            SendBufferBytes = 64 << 10 };
        v4 = UdpBatchSocket.Open(new UdpEndpoint(IpAddress.Parse("0.0.0.0"), port), options);
        v6 = UdpBatchSocket.Open(new UdpEndpoint(IpAddress.Parse("::"), port), options);

        // Opened here, so that they tell of the namespace the sockets are in, whichever thread reads them later.
        counters = [Open("/proc/thread-self/net/udp"), Open("/proc/thread-self/net/udp6")];

        // Without a buffer, which would show at the second look what was there at the first.
        static FileStream Open(string path) => new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
    }

    /// <inheritdoc/>
    public int Receive(int timeoutMilliseconds)
    {
        int count = TakeAll();
        if (count == 0)
        {
            // Both families are looked at every few milliseconds at most; the arrival times are the kernel's, so waiting
            // on one of them only costs room in the buffer of the other.
            v4.Wait(Math.Min(timeoutMilliseconds, 2) * 1_000_000L);
            count = TakeAll();
        }

        return count;
    }

    private int TakeAll()
    {
        int count = 0;
        foreach (ref readonly UdpDatagram datagram in v4.Receive())
        {
            slots[count++].Datagram = datagram;
        }

        foreach (ref readonly UdpDatagram datagram in v6.Receive())
        {
            slots[count++].Datagram = datagram;
        }

        return count;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> Payload(int index) => slots[index].Datagram.Payload;

    /// <inheritdoc/>
    public long ArrivalNs(int index) => slots[index].Datagram.ReceivedAt;

    /// <inheritdoc/>
    /// <remarks>From /proc/net/udp and udp6: the count that comes with a packet (SO_RXQ_OVFL) misses what was dropped after the last
    /// one.</remarks>
    public long ReadOwnDrops() => Math.Max(v4.KernelDrops + v6.KernelDrops, counters.Sum(ProcDrops));

    private long ProcDrops(FileStream file)
    {
        long drops = 0;
        string suffix = ":" + port.ToString("X4", CultureInfo.InvariantCulture);
        file.Seek(0, SeekOrigin.Begin);
        using var reader = new StreamReader(file, leaveOpen: true);
        while (reader.ReadLine() is { } line)
        {
            string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > 12 && fields[1].EndsWith(suffix, StringComparison.Ordinal))
            {
                drops += long.Parse(fields[^1], CultureInfo.InvariantCulture);
            }
        }

        return drops;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        v4.Dispose();
        v6.Dispose();
        Array.ForEach(counters, file => file.Dispose());
    }

    private struct ReceivedSlot
    {
        public UdpDatagram Datagram;
    }
}
