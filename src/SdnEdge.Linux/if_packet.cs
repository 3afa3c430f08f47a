using System.Runtime.InteropServices;

namespace SdnEdge.Linux;

/// <summary>Options and structs of <c>linux/if_packet.h</c>.</summary>
internal static class IfPacket
{
    public const ushort ETH_P_ALL_BIG_ENDIAN = 0x0300;

    public const int PACKET_ADD_MEMBERSHIP = 1, PACKET_AUXDATA = 8, PACKET_STATISTICS = 6, PACKET_VNET_HDR = 15, PACKET_QDISC_BYPASS = 20,
        PACKET_IGNORE_OUTGOING = 23;

    public const ushort PACKET_MR_PROMISC = 1;
    public const uint TP_STATUS_VLAN_VALID = 1 << 4, TP_STATUS_VLAN_TPID_VALID = 1 << 6;

    /// <summary><c>struct sockaddr_ll</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct LinkAddress
    {
        public ushort Family;
        public ushort Protocol;
        public int Index;
        public ushort HardwareType;
        public byte PacketType;
        public byte AddressLength;
        public fixed byte Address[8];
    }

    /// <summary><c>struct packet_mreq</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public unsafe struct Membership
    {
        public int Index;
        public ushort Type;
        public ushort AddressLength;
        public fixed byte Address[8];
    }

    /// <summary><c>struct tpacket_auxdata</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct AuxData
    {
        public uint Status;
        public uint Length;
        public uint Captured;
        public ushort MacOffset;
        public ushort NetOffset;
        public ushort VlanTag;
        public ushort VlanProtocol;
    }

    /// <summary><c>struct tpacket_stats</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Statistics
    {
        public uint Packets;
        public uint Drops;
    }
}
