using SdnEdge.Core.Wire;

namespace SdnEdge.Host.Drivers;

/// <summary>
/// What a server that has come to a site says there, so that switches and neighbours send to it from now on: a gratuitous ARP request
/// (RFC 5227 section 3), or an unsolicited neighbour advertisement with the override flag (RFC 4861 section 7.2.6).
/// </summary>
internal static class Announcement
{
    // The least length of a frame without its checksum (IEEE 802.3 3.2.7).
    private const int MinFrame = 60;

    /// <summary>The frame that announces <paramref name="address"/> at <paramref name="mac"/>.</summary>
    public static byte[] Of(MacAddress mac, IpAddress address) => address.IsV4 ? Arp(mac, address) : Advertisement(mac, address);

    private static byte[] Arp(MacAddress mac, IpAddress address)
    {
        byte[] frame = new byte[MinFrame];
        int at = new EthernetHeader(MacAddress.Broadcast, mac, EtherType.Arp).Emit(frame);
        new ArpPacket(ArpOperation.Request, mac, address, default, address).Emit(frame.AsSpan(at));
        return frame;
    }

    private static byte[] Advertisement(MacAddress mac, IpAddress address)
    {
        IpAddress to = Ipv6Addresses.AllNodes;
        var message = new NeighborMessage(Icmpv6Type.NeighborAdvertisement, address, mac, NeighborFlags.Override);
        byte[] frame = new byte[EthernetHeader.Size + Ipv6Header.Size + message.Length];
        int at = new EthernetHeader(Ipv6Addresses.MulticastMac(to), mac, EtherType.Ipv6).Emit(frame);
        at += new Ipv6Header(address, to, IpProtocol.Icmpv6, HopLimit: 255).Emit(frame.AsSpan(at), message.Length);
        message.Emit(frame.AsSpan(at), address, to);
        return frame;
    }
}
