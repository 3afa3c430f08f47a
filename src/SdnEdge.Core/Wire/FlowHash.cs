using System.Buffers.Binary;
using System.Numerics;

namespace SdnEdge.Core.Wire;

/// <summary>
/// A hash that is equal for all packets of a flow: addresses and protocol, and the ports where every packet of the flow has
/// them. Fragments of a datagram, the first too, hash without ports so that they stay together. No cryptography: whoever
/// chooses ports chooses the hash.
/// </summary>
public static class FlowHash
{
    /// <summary>Hash of an IPv4 or IPv6 packet; 0 when it is neither or truncated. Never throws.</summary>
    public static uint Of(ReadOnlySpan<byte> ip)
    {
        if (!IpPacketView.TryParse(ip, out IpPacketView view)) return 0;
        bool ports = !view.IsFragment && view.Protocol is IpProtocol.Tcp or IpProtocol.Udp && view.Payload.Length >= 4;
        return Of(view.Source, view.Destination, view.Protocol, ports ? BinaryPrimitives.ReadUInt32BigEndian(view.Payload) : 0);
    }

    /// <summary>Hash of a flow.</summary>
    /// <param name="source">Source address.</param>
    /// <param name="destination">Destination address.</param>
    /// <param name="protocol">Upper-layer protocol.</param>
    /// <param name="ports">Source port in the upper, destination port in the lower 16 bits; 0 = none.</param>
    public static uint Of(IpAddress source, IpAddress destination, byte protocol, uint ports)
    {
        ulong hash = 0x9E37_79B9_7F4A_7C15;
        hash = Mix(hash, (ulong)source.Bits);
        hash = Mix(hash, (ulong)(source.Bits >> 64));
        hash = Mix(hash, (ulong)destination.Bits);
        hash = Mix(hash, (ulong)(destination.Bits >> 64));
        hash = Mix(hash, ((ulong)protocol << 32) | ports);
        return (uint)(hash ^ (hash >> 32));
    }

    // Multiply to spread upwards, rotate to bring the upper bits back down.
    private static ulong Mix(ulong hash, ulong value)
        => BitOperations.RotateLeft((hash ^ value) * 0xD6E8_FEB8_6659_FD93, 32) * 0xFF51_AFD7_ED55_8CCD;
}
