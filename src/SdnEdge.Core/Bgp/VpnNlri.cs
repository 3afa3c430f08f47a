using System.Buffers.Binary;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>A prefix of a VPN: what BGP compares is the pair (RFC 4364 4.1, RFC 4659 2).</summary>
/// <param name="Rd">Route distinguisher.</param>
/// <param name="Prefix">Prefix in the VPN.</param>
public readonly record struct VpnPrefix(RouteDistinguisher Rd, IpPrefix Prefix)
{
    /// <summary>Text: <c>65000:7 10.1.1.0/24</c>.</summary>
    public override string ToString() => $"{Rd} {Prefix}";
}

/// <summary>
/// Labels as VPN routes carry them (RFC 8277 2.2), 20 bits. The form with more labels than one needs a capability that we
/// never send, so there is exactly one, and its bottom-of-stack bit is ignored.
/// </summary>
public static class VpnLabel
{
    /// <summary>
    /// Implicit null (RFC 3032 2.1): no label is pushed. Our routes carry it, because what tells the VRF at the far end is
    /// the GRE key of attribute 23 (RFC 9012 9.1 would have any other label pushed inside the tunnel).
    /// </summary>
    public const uint ImplicitNull = 3;

    /// <summary>Octets on the wire: 20 bits of label, 3 bits reserved, bottom of stack.</summary>
    public const int Size = 3;

    internal static uint Read(ReadOnlySpan<byte> at) => (uint)((at[0] << 12) | (at[1] << 4) | (at[2] >> 4));

    internal static void Write(uint label, Span<byte> into)
    {
        into[0] = (byte)(label >> 12);
        into[1] = (byte)(label >> 4);
        into[2] = (byte)((label << 4) | 1);
    }
}

/// <summary>
/// Prefixes of VPNs as UPDATE carries them (RFC 4364 4.3.4, RFC 8277 2.2, 2.4).
/// <code>
/// | length in bits (1) | label (3) | route distinguisher (8) | prefix |     a withdrawal has 0x800000 for the label, ignored
/// </code>
/// The length counts label and distinguisher: 88 to 120 bits for IPv4, to 216 for IPv6.
/// </summary>
public ref struct VpnNlriReader(ReadOnlySpan<byte> nlri, IpFamily family)
{
    private const int Before = VpnLabel.Size + RouteDistinguisher.Size;
    private const int BitsBefore = Before * 8;

    private ReadOnlySpan<byte> _rest = nlri;

    /// <summary>The prefix at hand.</summary>
    public VpnPrefix Current { get; private set; }

    /// <summary>Its label, 20 bits; without meaning in a withdrawal.</summary>
    public uint Label { get; private set; }

    /// <summary>Goes to the next prefix; false at the end or at bytes that are none (see <see cref="IsWellFormed"/>).</summary>
    public bool MoveNext()
    {
        int size = SizeOfNext(_rest, family);
        if (size == 0) return false;
        Span<byte> address = stackalloc byte[16];
        address.Clear();
        _rest[(1 + Before)..size].CopyTo(address);
        Label = VpnLabel.Read(_rest[1..]);
        Current = new VpnPrefix(RouteDistinguisher.Read(_rest[(1 + VpnLabel.Size)..]),
            new IpPrefix(IpAddress.Read(family, address), _rest[0] - BitsBefore));
        _rest = _rest[size..];
        return true;
    }

    /// <summary>For foreach.</summary>
    public readonly VpnNlriReader GetEnumerator() => this;

    /// <summary>True when all bytes are VPN prefixes of this family.</summary>
    public static bool IsWellFormed(ReadOnlySpan<byte> nlri, IpFamily family)
    {
        while (nlri.Length > 0)
        {
            int size = SizeOfNext(nlri, family);
            if (size == 0) return false;
            nlri = nlri[size..];
        }

        return true;
    }

    /// <summary>Bytes a prefix takes.</summary>
    public static int SizeOf(VpnPrefix prefix) => Before + NlriReader.SizeOf(prefix.Prefix);

    /// <summary>Writes a prefix with its label; returns its size. Null: the form of a withdrawal.</summary>
    public static int Write(VpnPrefix prefix, uint? label, Span<byte> into)
    {
        into[0] = (byte)(BitsBefore + prefix.Prefix.Length);
        if (label is { } value) VpnLabel.Write(value, into[1..]);
        else BinaryPrimitives.WriteUInt32BigEndian(into[1..], 0x8000_0000);
        prefix.Rd.Write(into[(1 + VpnLabel.Size)..]);
        Span<byte> address = stackalloc byte[16];
        prefix.Prefix.Address.Write(address);
        int bytes = (prefix.Prefix.Length + 7) / 8;
        address[..bytes].CopyTo(into[(1 + Before)..]);
        return 1 + Before + bytes;
    }

    private static int SizeOfNext(ReadOnlySpan<byte> rest, IpFamily family)
    {
        if (rest.IsEmpty || rest[0] < BitsBefore || rest[0] > BitsBefore + (family == IpFamily.V4 ? 32 : 128)) return 0;
        int size = 1 + ((rest[0] + 7) / 8);
        return size <= rest.Length ? size : 0;
    }
}

/// <summary>
/// Next hops of VPN routes (RFC 4364 4.3.2, RFC 4659 3.2.1): a distinguisher of 0 before the address; for IPv6 routes over an
/// IPv4 core the IPv4 address as an IPv4-mapped one. A link-local address behind it (48 octets) is of no use to a PE.
/// </summary>
internal static class VpnNextHop
{
    /// <summary>Octets of a next hop as we send it.</summary>
    public static int SizeOf(IpFamily family) => RouteDistinguisher.Size + (family == IpFamily.V4 ? 4 : 16);

    public static int Write(IpFamily family, IpAddress hop, Span<byte> into)
    {
        into[..RouteDistinguisher.Size].Clear();
        if (family == IpFamily.V6 && hop.IsV4) hop = new IpAddress(IpFamily.V6, 0, (0xFFFFUL << 32) | hop.V4);
        hop.Write(into[RouteDistinguisher.Size..]);
        return SizeOf(family);
    }

    /// <summary>False when the length is none that the family may have.</summary>
    public static bool TryRead(IpFamily family, ReadOnlySpan<byte> value, out IpAddress hop)
    {
        hop = default;
        bool fits = family == IpFamily.V4 ? value.Length == 12 : value.Length is 24 or 48;
        if (!fits) return false;
        hop = IpAddress.Read(family, value[RouteDistinguisher.Size..]);
        if (hop.IsV6 && hop.Bits >> 32 == 0xFFFF) hop = IpAddress.FromV4((uint)hop.Bits);
        return true;
    }
}
