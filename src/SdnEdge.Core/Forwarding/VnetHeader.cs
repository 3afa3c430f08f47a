using System.Runtime.InteropServices;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// The kernel's <c>struct virtio_net_hdr</c> (10 bytes, host byte order) that precedes each frame on a port with IFF_VNET_HDR.
/// <c>default</c> means: an ordinary frame with complete checksums.
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct VnetHeader
{
    /// <summary>Bytes of the header.</summary>
    public const int Size = 10;

    /// <summary>The checksum at CsumStart+CsumOffset holds only the pseudo-header sum and must be completed.</summary>
    public const byte NeedsCsum = 1;

    /// <summary>The receiver need not verify the checksum.</summary>
    public const byte DataValid = 2;

    /// <summary>GSO type values of the virtio specification.</summary>
    public const byte GsoNone = 0, GsoTcpV4 = 1, GsoUdp = 3, GsoTcpV6 = 4, GsoUdpL4 = 5, GsoEcn = 0x80;

    /// <summary>NeedsCsum, DataValid.</summary>
    public byte Flags;

    /// <summary>One of the Gso values; a superpacket when not GsoNone.</summary>
    public byte GsoType;

    /// <summary>Length of the headers. The kernel's value is a hint: never trust it.</summary>
    public ushort HdrLen;

    /// <summary>Payload bytes of each segment.</summary>
    public ushort GsoSize;

    /// <summary>Offset from the start of the frame where checksumming starts.</summary>
    public ushort CsumStart;

    /// <summary>Offset from CsumStart where the checksum is stored.</summary>
    public ushort CsumOffset;
}
