using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The tunnel encapsulation attribute (code 23, RFC 9012), as far as GRE with a key goes.
/// <code>
/// attribute: | tunnel type (2) | length (2) | sub-TLVs | ...          GRE is type 2
/// sub-TLV:   | type (1) | length (1, or 2 from type 128 on) | value |
/// 1, encapsulation, for GRE (3.2.4): | key (4) |
/// 6, tunnel egress endpoint (3.1):   | 0 (4) | AFI (2) | address (0, 4 or 16) |     AFI 0: the next hop itself
/// </code>
/// Tunnels of other types, and sub-TLVs that are not known, are passed over and stay in the attribute when it goes on.
/// </summary>
/// <param name="Key">GRE key (RFC 2890) that names the VRF at the far end.</param>
/// <param name="Endpoint">Outer destination; none: the next hop of the route.</param>
public readonly record struct GreTunnelRoute(uint Key, IpAddress Endpoint)
{
    /// <summary>Longest value that <see cref="Write"/> writes.</summary>
    public const int MaxSize = 4 + 6 + 8 + 16;

    private const ushort TypeGre = 2;
    private const byte SubEncapsulation = 1;
    private const byte SubEndpoint = 6;

    /// <summary>True when the value is whole TLVs of whole sub-TLVs, at least one. Else the attribute is malformed (RFC 9012 13).</summary>
    public static bool IsWellFormed(ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty) return false;
        while (value.Length > 0)
        {
            if (!TakeTlv(ref value, out _, out ReadOnlySpan<byte> tlv)) return false;
            while (tlv.Length > 0)
            {
                if (!TakeSub(ref tlv, out _, out _)) return false;
            }
        }

        return true;
    }

    /// <summary>
    /// The first GRE tunnel with a key and a valid endpoint in a well-formed value. A tunnel without an endpoint, or with one
    /// whose length does not fit its family, is not there (RFC 9012 3.1); of a sub-TLV that is there twice the first counts (13).
    /// </summary>
    public static bool TryFind(ReadOnlySpan<byte> value, out GreTunnelRoute tunnel)
    {
        tunnel = default;
        while (TakeTlv(ref value, out ushort type, out ReadOnlySpan<byte> tlv))
        {
            if (type != TypeGre) continue;
            uint? key = null;
            IpAddress endpoint = default;
            bool keySeen = false, endpointSeen = false, good = true;
            while (TakeSub(ref tlv, out byte sub, out ReadOnlySpan<byte> content))
            {
                if (sub == SubEncapsulation && !keySeen)
                {
                    keySeen = true;
                    if (content.Length == 4) key = BinaryPrimitives.ReadUInt32BigEndian(content);
                }
                else if (sub == SubEndpoint && !endpointSeen)
                {
                    endpointSeen = true;
                    good = TryReadEndpoint(content, out endpoint);
                }
            }

            if (key is not { } number || !endpointSeen || !good) continue;
            tunnel = new GreTunnelRoute(number, endpoint);
            return true;
        }

        return false;
    }

    /// <summary>Writes the attribute's value; returns its size.</summary>
    public int Write(Span<byte> into)
    {
        int address = Endpoint.IsNone ? 0 : Endpoint.Size;
        BinaryPrimitives.WriteUInt16BigEndian(into, TypeGre);
        BinaryPrimitives.WriteUInt16BigEndian(into[2..], (ushort)(6 + 8 + address));
        into[4] = SubEncapsulation;
        into[5] = 4;
        BinaryPrimitives.WriteUInt32BigEndian(into[6..], Key);
        into[10] = SubEndpoint;
        into[11] = (byte)(6 + address);
        into[12..16].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(into[16..], (ushort)Endpoint.Family);
        if (address > 0) Endpoint.Write(into[18..]);
        return 18 + address;
    }

    private static bool TryReadEndpoint(ReadOnlySpan<byte> content, out IpAddress endpoint)
    {
        endpoint = default;
        if (content.Length < 6) return false;
        ushort afi = BinaryPrimitives.ReadUInt16BigEndian(content[4..]);
        ReadOnlySpan<byte> address = content[6..];
        if (afi == 0) return address.IsEmpty;
        if (afi > 2 || address.Length != (afi == 1 ? 4 : 16)) return false;
        endpoint = IpAddress.Read((IpFamily)afi, address);
        return UpdateDecoder.IsHost(endpoint);
    }

    private static bool TakeTlv(ref ReadOnlySpan<byte> rest, out ushort type, out ReadOnlySpan<byte> content)
    {
        type = 0;
        content = default;
        if (rest.Length < 4) return false;
        type = BinaryPrimitives.ReadUInt16BigEndian(rest);
        int length = BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
        if (rest.Length < 4 + length) return false;
        content = rest.Slice(4, length);
        rest = rest[(4 + length)..];
        return true;
    }

    private static bool TakeSub(ref ReadOnlySpan<byte> rest, out byte type, out ReadOnlySpan<byte> content)
    {
        type = 0;
        content = default;
        if (rest.IsEmpty) return false;
        type = rest[0];
        int header = type < 128 ? 2 : 3;
        if (rest.Length < header) return false;
        int length = header == 2 ? rest[1] : BinaryPrimitives.ReadUInt16BigEndian(rest[1..]);
        if (rest.Length < header + length) return false;
        content = rest.Slice(header, length);
        rest = rest[(header + length)..];
        return true;
    }
}
