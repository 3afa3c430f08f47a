using System.Buffers.Binary;
using SdnEdge.Core.Bgp;

namespace SdnEdge.Testing.Bgp;

/// <summary>
/// An UPDATE in the making: right in every way until told otherwise. Values are hex, blanks are ignored. What was added or
/// changed last is the <see cref="Offender"/>.
/// </summary>
public sealed class UpdateSketch
{
    /// <summary>Flags of well-known attributes.</summary>
    public const byte WellKnown = AttributeFlags.Transitive;

    /// <summary>Flags of optional non-transitive attributes.</summary>
    public const byte Optional = AttributeFlags.Optional;

    /// <summary>Flags of optional transitive attributes.</summary>
    public const byte Both = AttributeFlags.Optional | AttributeFlags.Transitive;

    /// <summary>Value of a tunnel encapsulation attribute: GRE with key 7 to 10.255.0.2.</summary>
    public const string Tunnel = "0002 0012 0104 00000007 060A 00000000 0001 0AFF0002";

    /// <summary>The route target that VRF red imports: 65000:1.</summary>
    public const string Target = "0002FDE800000001";

    private const string Marker = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";
    private readonly List<(byte Code, byte[] Wire)> _attributes = [];
    private byte[] _nlri = Hex("18 0A0101 18 0A0102");
    private byte[] _withdrawn = [];
    private int _attributesOff;
    private int _withdrawnOff;

    /// <summary>An announcement of 10.1.1.0/24 and 10.1.2.0/24 by 10.255.0.2, as the kind of peer sends it.</summary>
    /// <param name="external">eBGP, AS 65001; else iBGP.</param>
    /// <param name="asSize">Octets of an AS number.</param>
    public UpdateSketch(bool external, int asSize = 4)
    {
        Add(WellKnown, AttributeCode.Origin, "00");
        Add(WellKnown, AttributeCode.AsPath, !external ? "" : asSize == 4 ? "02 01 0000FDE9" : "02 01 FDE9");
        Add(WellKnown, AttributeCode.NextHop, "0AFF0002");
        if (!external) Add(WellKnown, AttributeCode.LocalPref, "00000064");
        Offender = [];
    }

    /// <summary>The attribute added or changed last, as on the wire.</summary>
    public byte[] Offender { get; private set; }

    /// <summary>It announces IPv4 routes in its own field.</summary>
    public bool NamesV4 => _nlri.Length > 0;

    /// <summary>It has an MP_REACH_NLRI, not of VPNs.</summary>
    public bool NamesV6 => _attributes.Exists(a => a.Code == AttributeCode.MpReach && !IsVpn(a.Wire));

    /// <summary>It has an MP_REACH_NLRI of VPNs.</summary>
    public bool NamesVpn => _attributes.Exists(a => a.Code == AttributeCode.MpReach && IsVpn(a.Wire));

    /// <summary>Bytes of hex text.</summary>
    public static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", string.Empty, StringComparison.Ordinal));

    /// <summary>A whole message of any type around a body.</summary>
    public static byte[] Message(byte type, ReadOnlySpan<byte> body)
    {
        var message = new byte[BgpLimits.HeaderSize + body.Length];
        message.AsSpan(0, 16).Fill(0xFF);
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(16), (ushort)message.Length);
        message[18] = type;
        body.CopyTo(message.AsSpan(BgpLimits.HeaderSize));
        return message;
    }

    /// <summary>A header of any content, and what follows it.</summary>
    public static byte[] Header(int length, int type, string rest = "", string marker = Marker)
        => Hex($"{marker} {length:X4} {type:X2} {rest}");

    /// <summary>One attribute; its length is right, and extended when it must be or when the flags say so.</summary>
    public static byte[] Attribute(byte flags, byte code, ReadOnlySpan<byte> value)
    {
        bool extended = value.Length > 255 || (flags & AttributeFlags.ExtendedLength) != 0;
        if (!extended) return [flags, code, (byte)value.Length, .. value];
        return [(byte)(flags | AttributeFlags.ExtendedLength), code, (byte)(value.Length >> 8), (byte)value.Length, .. value];
    }

    /// <summary>Adds an attribute at the end.</summary>
    public UpdateSketch Add(byte flags, byte code, string hex)
    {
        Offender = Attribute(flags, code, Hex(hex));
        _attributes.Add((code, Offender));
        return this;
    }

    /// <summary>Adds bytes at the end of the attributes, whatever they are.</summary>
    public UpdateSketch AddRaw(string hex)
    {
        Offender = Hex(hex);
        _attributes.Add((0, Offender));
        return this;
    }

    /// <summary>Puts another value, and other flags where given, at the place of an attribute.</summary>
    public UpdateSketch Change(byte code, string hex, byte? flags = null)
    {
        int at = _attributes.FindIndex(a => a.Code == code);
        Offender = Attribute(flags ?? (byte)(_attributes[at].Wire[0] & 0xE0), code, Hex(hex));
        _attributes[at] = (code, Offender);
        return this;
    }

    /// <summary>Changes the flags of an attribute only.</summary>
    public UpdateSketch Flags(byte code, byte flags)
    {
        int at = _attributes.FindIndex(a => a.Code == code);
        Offender = [flags, .. _attributes[at].Wire[1..]];
        _attributes[at] = (code, Offender);
        return this;
    }

    /// <summary>Leaves an attribute out.</summary>
    public UpdateSketch Without(params byte[] codes)
    {
        _attributes.RemoveAll(a => codes.Contains(a.Code));
        return this;
    }

    /// <summary>Leaves all attributes out.</summary>
    public UpdateSketch Bare()
    {
        _attributes.Clear();
        return Nlri("");
    }

    /// <summary>Repeats the attribute of a type, at the end.</summary>
    public UpdateSketch Twice(byte code)
    {
        Offender = _attributes.Find(a => a.Code == code).Wire;
        _attributes.Add((code, Offender));
        return this;
    }

    /// <summary>Puts the attributes into another order: the last ones first.</summary>
    public UpdateSketch Reversed()
    {
        _attributes.Reverse();
        return this;
    }

    /// <summary>
    /// Announces fd00:1:1::10/128 by fd00:ff::2 in MP_REACH_NLRI instead of the IPv4 routes; or what is given, after AFI and SAFI.
    /// </summary>
    public UpdateSketch Mp(string hex = "10 FD0000FF000000000000000000000002 00 80 FD000001000100000000000000000010",
        string family = "0002 01", byte flags = Optional) =>
        Without(AttributeCode.NextHop).Nlri("").Add(flags, AttributeCode.MpReach, family + hex);

    /// <summary>
    /// Announces 10.1.1.0/24 of 65000:1 by 10.255.0.2 with a route target that VRF red imports, and the tunnel to it: GRE, key 7.
    /// Or, after AFI and SAFI, what is given.
    /// </summary>
    public UpdateSketch Vpn(string hex = "0C 0000000000000000 0AFF0002 00 70 000031 0000FDE800000001 0A0101", string family = "0001 80",
        string? tunnel = Tunnel) =>
        (tunnel is null ? this : Add(Both, AttributeCode.TunnelEncapsulation, tunnel))
            .Add(Both, AttributeCode.ExtendedCommunities, Target).Mp(hex, family);

    /// <summary>The IPv4 routes announced.</summary>
    public UpdateSketch Nlri(string hex)
    {
        _nlri = Hex(hex);
        return this;
    }

    /// <summary>The IPv4 routes withdrawn.</summary>
    public UpdateSketch Withdrawn(string hex)
    {
        _withdrawn = Hex(hex);
        return this;
    }

    /// <summary>Lets the two length fields lie by so much.</summary>
    public UpdateSketch LengthsOff(int withdrawn, int attributes)
    {
        _withdrawnOff = withdrawn;
        _attributesOff = attributes;
        return this;
    }

    private static bool IsVpn(byte[] wire) => wire.AsSpan((wire[0] & AttributeFlags.ExtendedLength) != 0 ? 4 : 3) is [_, _, 128, ..];

    /// <summary>The message without its header.</summary>
    public byte[] Body()
    {
        byte[] attributes = [.. _attributes.SelectMany(a => a.Wire)];
        int w = _withdrawn.Length + _withdrawnOff, a = attributes.Length + _attributesOff;
        return [(byte)(w >> 8), (byte)w, .. _withdrawn, (byte)(a >> 8), (byte)a, .. attributes, .. _nlri];
    }

    /// <summary>The whole message.</summary>
    public byte[] Build() => Message((byte)BgpMessageType.Update, Body());
}
