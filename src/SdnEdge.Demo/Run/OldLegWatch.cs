using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Watches the server's leg at the site it leaves (of a virtual machine: its host's interface to the PE), by the kernel's own tap, from
/// the time when the switch is in force and
/// nothing is left before it: an IP packet to the server that still comes there went the old way after the switch. A check on the PE's own
/// count of stale packets.
/// </summary>
internal sealed class OldLegWatch : IDisposable
{
    private const int PollMilliseconds = 20;

    private readonly PacketSocket socket;
    private readonly IReadOnlyList<IpAddress> addresses;
    private readonly Thread thread;
    private long stale;
    private volatile bool stop;

    /// <summary>Starts to watch.</summary>
    public OldLegWatch(RunningLab lab, MovedSite site, IReadOnlyList<IpAddress> addresses)
    {
        this.addresses = addresses;
        socket = Namespaces.Run(lab.NamespaceOf(site.Node), () => PacketSocket.Open(site.Device, site.Device));
        thread = new Thread(Watch) { IsBackground = true, Name = "old leg" };
        thread.Start();
    }

    /// <summary>Stops and returns how many packets came.</summary>
    public long Stop()
    {
        stop = true;
        thread.Join();
        return stale;
    }

    private void Watch()
    {
        using var batch = new PacketBatch();
        while (!stop)
        {
            while (socket.Receive(batch) > 0)
            {
                foreach (ref Packet packet in batch.Packets)
                {
                    stale += IsTo(packet.Span) ? 1 : 0;
                }
            }

            Thread.Sleep(PollMilliseconds);
        }
    }

    private bool IsTo(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 34)
        {
            return false;
        }

        IpAddress? destination = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) switch
        {
            0x0800 => IpAddress.Read(IpFamily.V4, frame.Slice(30, 4)),
            0x86DD when frame.Length >= 55 && !IsNeighborDiscovery(frame) => IpAddress.Read(IpFamily.V6, frame.Slice(38, 16)),
            _ => null,
        };
        return destination is { } to && addresses.Contains(to);
    }

    // A gateway asks now and then whether its neighbour is still there (RFC 4861 section 7.3.3): no packet of a client.
    private static bool IsNeighborDiscovery(ReadOnlySpan<byte> frame) => frame[20] == 58 && frame[54] is >= 133 and <= 137;

    public void Dispose()
    {
        stop = true;
        thread.Join();
        socket.Dispose();
    }
}

/// <summary>A watch that is started once, by the first that says so.</summary>
internal sealed class OldLegOnce(Func<OldLegWatch> begin) : IDisposable
{
    private OldLegWatch? watch;

    /// <summary>Starts it, if it is not.</summary>
    public void Start() => watch ??= begin();

    /// <summary>Stops it and returns how many packets came; null = it was never started.</summary>
    public long? Stop() => watch?.Stop();

    public void Dispose() => watch?.Dispose();
}
