using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The graceful restart capability (RFC 4724 3, RFC 8538 2).
/// <code>
/// | R N 0 0 | restart time (12 bits) |  then for each family  | AFI (2) | SAFI (1) | F 0 0 0 0 0 0 0 |
/// </code>
/// </summary>
/// <param name="TimeSeconds">How long the sender's routes may be kept once its session is gone, 0 to 4095 s.</param>
/// <param name="Families">Families whose forwarding goes on while the sender restarts; none: the sender only helps others, and marks
/// End-of-RIB.</param>
/// <param name="Kept">Of these, the ones whose forwarding state was kept over the last restart (F).</param>
/// <param name="Restarted">The sender has just restarted: do not wait for its End-of-RIB (R).</param>
/// <param name="Notification">A NOTIFICATION or an expired hold timer does not end the help either, but a hard reset (N, RFC 8538).</param>
public readonly record struct GracefulRestart(int TimeSeconds, BgpFamilies Families = BgpFamilies.None, BgpFamilies Kept =
    BgpFamilies.None, bool Restarted = false, bool Notification = false)
{
    /// <summary>Longest restart time, seconds.</summary>
    public const int MaxTime = 4095;

    internal const int MaxSize = 2 + (4 * 4);

    private const ushort RestartedBit = 0x8000;
    private const ushort NotificationBit = 0x4000;
    private const byte KeptBit = 0x80;

    internal int Write(Span<byte> into)
    {
        BinaryPrimitives.WriteUInt16BigEndian(into,
            (ushort)(Math.Min(TimeSeconds, MaxTime) | (Restarted ? RestartedBit : 0) | (Notification ? NotificationBit : 0)));
        int at = 2;
        foreach (BgpFamilies family in Families.List())
        {
            into[at] = 0;
            into[at + 1] = (byte)family.Ip();
            into[at + 2] = family.Safi();
            into[at + 3] = (Kept & family) != 0 ? KeptBit : (byte)0;
            at += 4;
        }

        return at;
    }

    internal static GracefulRestart Read(ReadOnlySpan<byte> value)
    {
        ushort first = BinaryPrimitives.ReadUInt16BigEndian(value);
        BgpFamilies families = BgpFamilies.None, kept = BgpFamilies.None;
        for (value = value[2..]; value.Length >= 4; value = value[4..])
        {
            BgpFamilies family = BgpFamiliesExtensions.FromCodes(value[0], value[1], value[2]);
            families |= family;
            if ((value[3] & KeptBit) != 0) kept |= family;
        }

        return new GracefulRestart(first & MaxTime, families, kept, (first & RestartedBit) != 0, (first & NotificationBit) != 0);
    }
}
