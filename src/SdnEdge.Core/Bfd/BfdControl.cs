using System.Buffers.Binary;

namespace SdnEdge.Core.Bfd;

/// <summary>The legal values of a control packet (RFC 5880 4.1). Intervals are microseconds.</summary>
/// <param name="State">State of the sender.</param>
/// <param name="MyDiscriminator">The sender's name for the session; not zero.</param>
/// <param name="YourDiscriminator">The receiver's name for it; zero while unknown.</param>
/// <param name="DesiredMinTx">Least interval between packets that the sender would like to send.</param>
/// <param name="RequiredMinRx">Least interval between packets that the sender can take; zero: it wants none.</param>
/// <param name="DetectMultiplier">The sender is given up after so many intervals of silence; not zero.</param>
/// <param name="Diagnostic">Why the sender last left Up; 0 to 31.</param>
/// <param name="Poll">An answer with <paramref name="Final"/> is wanted.</param>
/// <param name="Final">The answer to a poll.</param>
/// <param name="ControlPlaneIndependent">The sender's BFD survives its control plane.</param>
/// <param name="Demand">The sender wants no periodic packets while both are Up (RFC 5880 6.6).</param>
/// <param name="RequiredMinEchoRx">Least interval between echo packets that the sender takes; zero: none.</param>
public readonly record struct BfdControl(
    BfdState State, uint MyDiscriminator, uint YourDiscriminator, uint DesiredMinTx, uint RequiredMinRx, byte DetectMultiplier,
    BfdDiagnostic Diagnostic = BfdDiagnostic.None, bool Poll = false, bool Final = false, bool ControlPlaneIndependent = false,
    bool Demand = false, uint RequiredMinEchoRx = 0)
{
    /// <summary>Bytes of a packet without authentication.</summary>
    public const int Size = 24;

    /// <summary>Bytes of the shortest packet with authentication.</summary>
    public const int SizeWithAuthentication = 26;

    /// <summary>The version we speak.</summary>
    public const int Version = 1;

    /// <summary>Writes the packet, <see cref="Size"/> bytes, and returns that.</summary>
    public int Emit(Span<byte> to)
    {
        to[0] = (byte)((Version << 5) | ((byte)Diagnostic & 0x1F));
        to[1] = (byte)(((byte)State << 6) | Bit(Poll, 5) | Bit(Final, 4) | Bit(ControlPlaneIndependent, 3) | Bit(Demand, 1));
        to[2] = DetectMultiplier;
        to[3] = Size;
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], MyDiscriminator);
        BinaryPrimitives.WriteUInt32BigEndian(to[8..], YourDiscriminator);
        BinaryPrimitives.WriteUInt32BigEndian(to[12..], DesiredMinTx);
        BinaryPrimitives.WriteUInt32BigEndian(to[16..], RequiredMinRx);
        BinaryPrimitives.WriteUInt32BigEndian(to[20..], RequiredMinEchoRx);
        return Size;

        static int Bit(bool set, int at) => set ? 1 << at : 0;
    }
}

/// <summary>
/// Checked view of a control packet. After <see cref="Parse"/> gave <see cref="BfdDiscard.None"/> no getter throws, and all
/// that RFC 5880 6.8.6 asks of a packet by itself is true.
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
/// |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
/// +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
/// |                       My Discriminator                        |
/// +---------------------------------------------------------------+
/// |                      Your Discriminator                       |
/// +---------------------------------------------------------------+
/// |                    Desired Min TX Interval                    |
/// +---------------------------------------------------------------+
/// |                   Required Min RX Interval                    |
/// +---------------------------------------------------------------+
/// |                 Required Min Echo RX Interval                 |
/// +---------------------------------------------------------------+
/// </code>
/// </summary>
public readonly ref struct BfdView
{
    private const int FlagPoll = 0x20, FlagFinal = 0x10, FlagIndependent = 0x08, FlagAuthentication = 0x04, FlagDemand =
        0x02, FlagMultipoint = 0x01;

    private readonly ReadOnlySpan<byte> _bytes;

    private BfdView(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>State of the sender.</summary>
    public BfdState State => (BfdState)(_bytes[1] >> 6);

    /// <summary>The sender's discriminator; not zero.</summary>
    public uint MyDiscriminator => BinaryPrimitives.ReadUInt32BigEndian(_bytes[4..]);

    /// <summary>Ours as the sender knows it; zero only in state Down or AdminDown.</summary>
    public uint YourDiscriminator => BinaryPrimitives.ReadUInt32BigEndian(_bytes[8..]);

    /// <summary>An authentication section is there.</summary>
    public bool HasAuthentication => (_bytes[1] & FlagAuthentication) != 0;

    /// <summary>The packet as values, without its authentication section.</summary>
    public BfdControl Control => new(
        State, MyDiscriminator, YourDiscriminator, BinaryPrimitives.ReadUInt32BigEndian(_bytes[12..]),
            BinaryPrimitives.ReadUInt32BigEndian(_bytes[16..]),
        _bytes[2], (BfdDiagnostic)(_bytes[0] & 0x1F), (_bytes[1] & FlagPoll) != 0, (_bytes[1] & FlagFinal) != 0,
            (_bytes[1] & FlagIndependent) != 0,
        (_bytes[1] & FlagDemand) != 0, BinaryPrimitives.ReadUInt32BigEndian(_bytes[20..]));

    /// <summary>Checks a UDP payload: RFC 5880 6.8.6 up to, without, the choice of the session. A good packet gives
    /// <see cref="BfdDiscard.None"/>.</summary>
    public static BfdDiscard Parse(ReadOnlySpan<byte> payload, out BfdView view)
    {
        view = default;
        if (payload.Length < 4) return BfdDiscard.LengthBeyondPayload;
        if (payload[0] >> 5 != BfdControl.Version) return BfdDiscard.Version;
        int length = payload[3];
        if (length < ((payload[1] & FlagAuthentication) != 0 ? BfdControl.SizeWithAuthentication
            : BfdControl.Size)) return BfdDiscard.LengthTooSmall;
        if (length > payload.Length) return BfdDiscard.LengthBeyondPayload;
        if (payload[2] == 0) return BfdDiscard.DetectMultiplierZero;
        if ((payload[1] & FlagMultipoint) != 0) return BfdDiscard.Multipoint;
        var candidate = new BfdView(payload[..length]);
        if (candidate.MyDiscriminator == 0) return BfdDiscard.MyDiscriminatorZero;
        if (candidate.YourDiscriminator == 0
            && candidate.State is not (BfdState.Down or BfdState.AdminDown)) return BfdDiscard.NoDiscriminatorWhileUp;
        view = candidate;
        return BfdDiscard.None;
    }
}
