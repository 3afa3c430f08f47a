using System.Runtime.CompilerServices;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Before stage 1: with a large table each lookup misses the cache two or three times, and one packet after the other would
/// wait for memory each time. A pass over the batch starts all of these loads together. Only a hint: nothing is decided here.
/// </summary>
public sealed unsafe partial class Forwarder
{
    // With fewer packets there is too little to overlap.
    private const int PrefetchFrom = 4;

    [SkipLocalsInit]
    private static void Prefetch(Span<Packet> packets, PortEntry port)
    {
        if (packets.Length < PrefetchFrom) return;
        Span<uint> destinations = stackalloc uint[PacketBatch.Capacity];
        int count = 0;
        foreach (ref Packet p in packets)
        {
            if (p.Length < At.EthHeader + At.V4Header || At.Load16(p.Data + At.EthType) != EtherType.Ipv4) continue;
            destinations[count++] = At.Load32(p.Data + At.EthHeader + At.V4Destination);
        }

        port.Vrf.V4.Prefetch(destinations[..count]);
    }
}
