using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// OPEN (RFC 4271 4.2) with its capabilities (RFC 5492).
/// <code>
/// | version = 4 (1) | my AS (2) | hold time (2) | identifier (4) | length (1) | parameters ... |
/// parameter 2: | code (1) | length (1) | value | ...        (lengths of two octets: RFC 9072)
/// </code>
/// </summary>
/// <param name="As">AS of the sender; from the 4-octet capability where it is there.</param>
/// <param name="HoldTimeSeconds">0, or 3 to 65535.</param>
/// <param name="RouterId">BGP identifier, not 0.</param>
/// <param name="Families">Families offered; IPv4 unicast when no multiprotocol capability is there at all.</param>
/// <param name="FourOctetAs">RFC 6793.</param>
/// <param name="RouteRefresh">RFC 2918.</param>
public sealed record OpenMessage(uint As, ushort HoldTimeSeconds, uint RouterId, BgpFamilies Families, bool FourOctetAs, bool RouteRefresh)
{
    private const byte CapabilityMultiprotocol = 1;
    private const byte CapabilityRouteRefresh = 2;
    private const byte CapabilityFourOctetAs = 65;
    private const byte CapabilityEnhancedRefresh = 70;
    private const byte CapabilityGracefulRestart = 64;
    private const byte CapabilityExtendedNextHop = 5;
    private const byte CapabilityExtendedMessage = 6;
    private const byte CapabilityRole = 9;
    private const byte CapabilityAddPath = 69;
    private const byte AddPathReceive = 1;
    private const byte AddPathSend = 2;
    private const byte ParameterCapabilities = 2;
    private const byte ParameterExtended = 255;

    /// <summary>RFC 7313: the sender marks where a refresh begins and ends.</summary>
    public bool EnhancedRefresh { get; init; }

    /// <summary>RFC 8950: the sender takes IPv4 unicast routes with an IPv6 next hop.</summary>
    public bool ExtendedNextHop { get; init; }

    /// <summary>RFC 8654: the sender takes messages of up to 65535 octets.</summary>
    public bool ExtendedMessages { get; init; }

    /// <summary>RFC 4724; null when the capability is not there.</summary>
    public GracefulRestart? GracefulRestart { get; init; }

    /// <summary>RFC 9234: what the sender is to us; <see cref="BgpRole.None"/> when it does not say.</summary>
    public BgpRole Role { get; init; } = BgpRole.None;

    /// <summary>The sender named several roles that differ, or one that is unknown.</summary>
    public bool RoleConflict { get; init; }

    /// <summary>RFC 7911: families of which the sender takes several paths to a prefix.</summary>
    public BgpFamilies AddPathReceiveFamilies { get; init; }

    /// <summary>RFC 7911: families of which the sender may tell several paths to a prefix.</summary>
    public BgpFamilies AddPathSendFamilies { get; init; }

    /// <summary>Codes of all capabilities the sender named, known to us or not, in order.</summary>
    public IReadOnlyList<byte> CapabilityCodes { get; init; } = [];

    /// <summary>Parses the body (what follows the header).</summary>
    /// <returns><see cref="BgpFault.None"/> and the message, or the fault.</returns>
    public static BgpFault Parse(ReadOnlySpan<byte> body, out OpenMessage? open)
    {
        open = null;
        if (body.Length < 10) return BgpFault.OpenMalformed;
        if (body[0] != 4) return BgpFault.OpenVersion;
        uint autonomousSystem = BinaryPrimitives.ReadUInt16BigEndian(body[1..]);
        ushort holdTime = BinaryPrimitives.ReadUInt16BigEndian(body[3..]);
        uint routerId = BinaryPrimitives.ReadUInt32BigEndian(body[5..]);

        ReadOnlySpan<byte> parameters = body[10..];
        // The type alone tells the extended form: the length octet before it is ignored then, unless it says that nothing follows (RFC 9072
        // 2).
        bool extended = body[9] != 0 && parameters.Length > 0 && parameters[0] == ParameterExtended;
        if (extended && parameters.Length < 3) return BgpFault.OpenMalformed;
        int length = extended ? BinaryPrimitives.ReadUInt16BigEndian(parameters[1..]) : body[9];
        if (extended) parameters = parameters[3..];
        if (parameters.Length != length) return BgpFault.OpenMalformed;

        var found = new Found { As = autonomousSystem };
        int header = extended ? 3 : 2;
        while (parameters.Length > 0)
        {
            if (parameters.Length < header) return BgpFault.OpenMalformed;
            int size = extended ? BinaryPrimitives.ReadUInt16BigEndian(parameters[1..]) : parameters[1];
            if (parameters.Length < header + size) return BgpFault.OpenMalformed;
            if (parameters[0] != ParameterCapabilities) return BgpFault.OpenParameter;
            if (!ReadCapabilities(parameters.Slice(header, size), ref found)) return BgpFault.OpenMalformed;
            parameters = parameters[(header + size)..];
        }

        // In either place: a speaker of four-octet numbers that do not fit writes AS_TRANS in the other (RFC 7607 2, RFC 6793 9).
        if (autonomousSystem == 0 || found.As == 0) return BgpFault.OpenPeerAs;
        if (routerId == 0) return BgpFault.OpenIdentifier;
        if (holdTime is 1 or 2) return BgpFault.OpenHoldTime;
        open = new OpenMessage(
            found.As, holdTime, routerId, found.Multiprotocol ? found.Families : BgpFamilies.V4, found.FourOctetAs, found.RouteRefresh)
        {
            CapabilityCodes = found.Codes ?? [],
            EnhancedRefresh = found.EnhancedRefresh,
            ExtendedMessages = found.ExtendedMessages,
            ExtendedNextHop = found.ExtendedNextHop,
            GracefulRestart = found.GracefulRestart,
            Role = found.Role ?? BgpRole.None,
            RoleConflict = found.RoleConflict,
            AddPathReceiveFamilies = found.AddPathReceiveFamilies,
            AddPathSendFamilies = found.AddPathSendFamilies,
        };
        return BgpFault.None;
    }

    /// <summary>Writes the whole message, header included; returns its size (at most 160 bytes).</summary>
    public int Write(Span<byte> into)
    {
        Span<byte> body = into[BgpLimits.HeaderSize..];
        body[0] = 4;
        BinaryPrimitives.WriteUInt16BigEndian(body[1..], As > ushort.MaxValue ? BgpLimits.AsTrans : (ushort)As);
        BinaryPrimitives.WriteUInt16BigEndian(body[3..], HoldTimeSeconds);
        BinaryPrimitives.WriteUInt32BigEndian(body[5..], RouterId);
        int at = 12;
        foreach (BgpFamilies family in Families.List()) at += Capability(body[at..], CapabilityMultiprotocol,
            [0, (byte)family.Ip(), 0, family.Safi()]);
        if (RouteRefresh) at += Capability(body[at..], CapabilityRouteRefresh, []);
        if (FourOctetAs)
        {
            Span<byte> value = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(value, As);
            at += Capability(body[at..], CapabilityFourOctetAs, value);
        }

        if (ExtendedNextHop) at += Capability(body[at..], CapabilityExtendedNextHop, V4OverV6);
        if (ExtendedMessages) at += Capability(body[at..], CapabilityExtendedMessage, []);
        if (EnhancedRefresh) at += Capability(body[at..], CapabilityEnhancedRefresh, []);
        if ((AddPathReceiveFamilies | AddPathSendFamilies) != BgpFamilies.None) at += WriteAddPath(body[at..]);
        if (Role != BgpRole.None) at += Capability(body[at..], CapabilityRole, [(byte)Role]);
        if (GracefulRestart is { } restart)
        {
            Span<byte> value = stackalloc byte[Bgp.GracefulRestart.MaxSize];
            at += Capability(body[at..], CapabilityGracefulRestart, value[..restart.Write(value)]);
        }

        // All capabilities in one parameter, as RFC 5492 4 prefers.
        body[9] = (byte)(at - 10);
        body[10] = ParameterCapabilities;
        body[11] = (byte)(at - 12);
        if (at == 12)
        {
            body[9] = 0;
            at = 10;
        }

        return MessageWriter.Header(into, BgpMessageType.Open, BgpLimits.HeaderSize + at);
    }

    // | NLRI AFI (2) | NLRI SAFI (2) | next hop AFI (2) | (RFC 8950 4): IPv4 unicast by IPv6.
    private static ReadOnlySpan<byte> V4OverV6 => [0, 1, 0, 1, 0, 2];

    /// <summary>The capabilities of families as OPEN carries them.</summary>
    public static byte[] CapabilitiesOf(BgpFamilies families)
        => [.. families.List().SelectMany(f => (byte[])[CapabilityMultiprotocol, 4, 0, (byte)f.Ip(), 0, f.Safi()])];

    private int WriteAddPath(Span<byte> into)
    {
        // | AFI (2) | SAFI (1) | receive 1, send 2, both 3 | for each family
        Span<byte> value = stackalloc byte[8];
        int used = 0;
        foreach (BgpFamilies family in ((AddPathReceiveFamilies | AddPathSendFamilies) & BgpFamilies.Both).List())
        {
            value[used] = 0;
            value[used + 1] = (byte)family.Ip();
            value[used + 2] = 1;
            value[used + 3] = (byte)(((AddPathReceiveFamilies & family) != 0 ? AddPathReceive : 0) | ((AddPathSendFamilies & family) != 0
                ? AddPathSend : 0));
            used += 4;
        }

        return Capability(into, CapabilityAddPath, value[..used]);
    }

    private static void ReadAddPath(ReadOnlySpan<byte> value, ref Found found)
    {
        for (; value.Length >= 4; value = value[4..])
        {
            BgpFamilies family = value switch
            {
                [0, 1, 1, ..] => BgpFamilies.V4,
                [0, 2, 1, ..] => BgpFamilies.V6,
                _ => BgpFamilies.None,
            };

            // Any other value than these three is ignored (RFC 7911 4).
            if (value[3] is AddPathReceive or (AddPathReceive | AddPathSend)) found.AddPathReceiveFamilies |= family;
            if (value[3] is AddPathSend or (AddPathReceive | AddPathSend)) found.AddPathSendFamilies |= family;
        }
    }

    private static int Capability(Span<byte> into, byte code, ReadOnlySpan<byte> value)
    {
        into[0] = code;
        into[1] = (byte)value.Length;
        value.CopyTo(into[2..]);
        return 2 + value.Length;
    }

    private static bool ReadCapabilities(ReadOnlySpan<byte> capabilities, ref Found found)
    {
        while (capabilities.Length > 0)
        {
            if (capabilities.Length < 2 || capabilities.Length < 2 + capabilities[1]) return false;
            ReadOnlySpan<byte> value = capabilities.Slice(2, capabilities[1]);
            (found.Codes ??= []).Add(capabilities[0]);
            switch (capabilities[0])
            {
                case CapabilityMultiprotocol when value.Length == 4:
                    found.Multiprotocol = true;
                    found.Families |= BgpFamiliesExtensions.FromCodes(value[0], value[1], value[3]);
                    break;
                case CapabilityFourOctetAs when value.Length == 4:
                    found.FourOctetAs = true;
                    found.As = BinaryPrimitives.ReadUInt32BigEndian(value);
                    break;
                case CapabilityRouteRefresh when value.Length == 0:
                    found.RouteRefresh = true;
                    break;
                case CapabilityExtendedMessage when value.Length == 0:
                    found.ExtendedMessages = true;
                    break;
                case CapabilityExtendedNextHop when value.Length % V4OverV6.Length == 0:
                    for (; value.Length > 0; value = value[V4OverV6.Length..])
                        found.ExtendedNextHop |= value.StartsWith(V4OverV6);
                    break;
                case CapabilityEnhancedRefresh when value.Length == 0:
                    found.EnhancedRefresh = true;
                    break;
                case CapabilityAddPath when value.Length % 4 == 0:
                    ReadAddPath(value, ref found);
                    break;
                case CapabilityRole when value.Length == 1:
                    found.RoleConflict |= value[0] > (byte)BgpRole.Peer || (found.Role is { } earlier && earlier != (BgpRole)value[0]);
                    found.Role = (BgpRole)value[0];
                    break;
                case CapabilityGracefulRestart when value.Length >= 2 && value.Length % 4 == 2:
                    // Several of them: the last one counts (RFC 4724 3).
                    found.GracefulRestart = Bgp.GracefulRestart.Read(value);
                    break;
                case CapabilityExtendedNextHop or CapabilityExtendedMessage or CapabilityMultiprotocol or CapabilityFourOctetAs
                    or CapabilityRouteRefresh
                    or CapabilityEnhancedRefresh or CapabilityGracefulRestart or CapabilityRole or CapabilityAddPath:
                    return false;
                default:
                    break;
            }

            capabilities = capabilities[(2 + capabilities[1])..];
        }

        return true;
    }

    private struct Found
    {
        public uint As;
        public bool Multiprotocol;
        public BgpFamilies Families;
        public bool FourOctetAs;
        public bool RouteRefresh;
        public bool EnhancedRefresh;
        public bool ExtendedMessages;
        public bool ExtendedNextHop;
        public GracefulRestart? GracefulRestart;
        public BgpRole? Role;
        public bool RoleConflict;
        public BgpFamilies AddPathReceiveFamilies;
        public BgpFamilies AddPathSendFamilies;
        public List<byte>? Codes;
    }
}
