using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Linux;

/// <summary>
/// Tries whether this kernel cuts the superpackets that a TAP accepts: some kinds are taken and then vanish without an error.
/// <list type="number">
/// <item>In a namespace that nobody else sees, two TAPs are joined by a bridge; the second takes no superpackets.</item>
/// <item>One superpacket of each kind is written to the first.</item>
/// <item>What the second hands out must be the whole payload, in segments of the right size, with right checksums.</item>
/// </list>
/// Takes some ten milliseconds. Where it cannot be tried it counts as failed: segmenting in software is slower, never wrong.
/// </summary>
public sealed class SegmentationSelfTest
{
    private const int SegmentPayload = 1000;
    private const int PayloadBytes = (3 * SegmentPayload) + 500;
    private const int EthernetBytes = 14;

    private static readonly Lazy<SegmentationSelfTest> Once = new(static () => Run());

    private SegmentationSelfTest(bool tcp4, bool tcp6, bool udp4, bool udp6, string? problem)
    {
        TcpV4 = tcp4;
        TcpV6 = tcp6;
        UdpV4 = udp4;
        UdpV6 = udp6;
        Problem = problem;
    }

    /// <summary>The result for this machine; tried at the first use.</summary>
    public static SegmentationSelfTest Result => Once.Value;

    /// <summary>TCP over IPv4 is cut rightly.</summary>
    public bool TcpV4 { get; }

    /// <summary>TCP over IPv6 is cut rightly.</summary>
    public bool TcpV6 { get; }

    /// <summary>UDP over IPv4 is cut rightly.</summary>
    public bool UdpV4 { get; }

    /// <summary>UDP over IPv6 is cut rightly.</summary>
    public bool UdpV6 { get; }

    /// <summary>All of them: a TAP may be handed any superpacket.</summary>
    public bool Passed => TcpV4 && TcpV6 && UdpV4 && UdpV6;

    /// <summary>What went wrong, in words; null when all passed.</summary>
    public string? Problem { get; }

    /// <summary>Tries it now.</summary>
    public static SegmentationSelfTest Run()
    {
        try
        {
            return Namespaces.RunInNew(Try);
        }
        catch (Exception e) when (e is LinuxException or UnauthorizedAccessException)
        {
            return new SegmentationSelfTest(false, false, false, false, $"could not be tried: {e.Message}");
        }
    }

    /// <summary>A superpacket of <see cref="PayloadBytes"/> with addresses and ports of its own, as a socket would hand it to a
    /// device.</summary>
    internal static byte[] BuildSuperpacket(bool v6, bool udp, out VnetHeader vnet)
    {
        int ipBytes = v6 ? 40 : 20, l4Bytes = udp ? 8 : 20;
        int l4 = EthernetBytes + ipBytes, l4Length = l4Bytes + PayloadBytes;
        byte[] frame = new byte[l4 + l4Length];
        new byte[] { 0x02, 0, 0, 0, 0, 0xee, 0x02, 0, 0, 0, 0, 0xe1 }.CopyTo(frame, 0);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), (ushort)(v6 ? 0x86dd : 0x0800));

        // Documentation addresses (RFC 5737, RFC 3849).
        Span<byte> ip = frame.AsSpan(EthernetBytes);
        byte protocol = (byte)(udp ? 17 : 6);
        uint pseudo;
        if (v6)
        {
            ip[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)l4Length);
            ip[6] = protocol;
            ip[7] = 64;
            IpAddress.Parse("2001:db8::1").Write(ip[8..]);
            IpAddress.Parse("2001:db8::2").Write(ip[24..]);
            pseudo = Checksum.PseudoV6(ip.Slice(8, 32), protocol, l4Length);
        }
        else
        {
            ip[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(ipBytes + l4Length));
            ip[6] = 0x40;
            ip[8] = 64;
            ip[9] = protocol;
            IpAddress.Parse("192.0.2.1").Write(ip[12..]);
            IpAddress.Parse("192.0.2.2").Write(ip[16..]);
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Compute(ip[..20]));
            pseudo = Checksum.PseudoV4(0xC0000201, 0xC0000202, protocol, l4Length);
        }

        Span<byte> transport = frame.AsSpan(l4);
        BinaryPrimitives.WriteUInt16BigEndian(transport, 40001);
        BinaryPrimitives.WriteUInt16BigEndian(transport[2..], 40002);
        int checksumOffset = udp ? 6 : 16;
        if (udp)
        {
            BinaryPrimitives.WriteUInt16BigEndian(transport[4..], (ushort)l4Length);
        }
        else
        {
            BinaryPrimitives.WriteUInt32BigEndian(transport[4..], 1_000_000);
            transport[12] = 0x50;
            transport[13] = 0x10;
            BinaryPrimitives.WriteUInt16BigEndian(transport[14..], 65535);
        }

        // Only the pseudo-header's sum, not complemented: the device completes it for each segment.
        BinaryPrimitives.WriteUInt16BigEndian(transport[checksumOffset..], (ushort)Checksum.Fold(pseudo));
        for (int i = 0; i < PayloadBytes; i++) transport[l4Bytes + i] = PayloadByte(i);
        vnet = new VnetHeader
        {
            Flags = VnetHeader.NeedsCsum,
            GsoType = udp ? VnetHeader.GsoUdpL4 : v6 ? VnetHeader.GsoTcpV6 : VnetHeader.GsoTcpV4,
            HdrLen = (ushort)(l4 + l4Bytes),
            GsoSize = SegmentPayload,
            CsumStart = (ushort)l4,
            CsumOffset = (ushort)checksumOffset,
        };
        return frame;
    }

    /// <summary>
    /// Checks one segment of <see cref="BuildSuperpacket"/>'s frame, of which the payload should start at
    /// <paramref name="expectedOffset"/>. Null when it is right, with its payload's length; else what is wrong.
    /// </summary>
    internal static string? CheckSegment(ReadOnlySpan<byte> frame, bool v6, bool udp, int expectedOffset, out int payloadLength)
    {
        payloadLength = 0;
        int ipBytes = v6 ? 40 : 20, l4Bytes = udp ? 8 : 20, headers = EthernetBytes + ipBytes + l4Bytes;
        if (frame.Length <= headers) return "a segment without payload";
        if (frame.Length > headers + SegmentPayload) return $"a segment of {frame.Length - headers} bytes of payload, {SegmentPayload} "
            + $"were asked for";
        ReadOnlySpan<byte> ip = frame[EthernetBytes..];
        ReadOnlySpan<byte> transport = ip[ipBytes..];
        int length = BinaryPrimitives.ReadUInt16BigEndian(ip[(v6 ? 4 : 2)..]) + (v6 ? ipBytes : 0);
        if (length != ip.Length) return $"a segment of {ip.Length} bytes that says {length}";
        if (!v6 && !Checksum.IsValid(ip[..20])) return "a segment with a wrong IP checksum";
        byte protocol = (byte)(udp ? 17 : 6);
        uint pseudo = v6
            ? Checksum.PseudoV6(ip.Slice(8, 32), protocol, transport.Length)
            : Checksum.PseudoV4(0xC0000201, 0xC0000202, protocol, transport.Length);
        if (!Checksum.IsValid(transport, pseudo)) return "a segment with a wrong transport checksum";
        payloadLength = frame.Length - headers;
        ReadOnlySpan<byte> payload = transport[l4Bytes..];
        for (int i = 0; i < payload.Length; i++)
        {
            if (payload[i] != PayloadByte(expectedOffset + i)) return "a segment with other bytes than were sent";
        }

        return null;
    }

    private static SegmentationSelfTest Try()
    {
        var quiet = new TapOptions { DisableKernelIpv6 = true, SegmentsForUs = true };
        using TapPort into = TapPort.Open("self-test-in", "in0", quiet);
        using TapPort from = TapPort.Open("self-test-out", "out0", quiet with { Offloads = TapOffloads.None });
        if (!NetDevice.TryAddBridge("join0", "in0", "out0"))
        {
            return new SegmentationSelfTest(false, false, false, false, "could not be tried: this kernel has no bridges");
        }

        using var batch = new PacketBatch();
        string? tcp4 = TryOne(into, from, batch, v6: false, udp: false);
        string? tcp6 = TryOne(into, from, batch, v6: true, udp: false);
        string? udp4 = TryOne(into, from, batch, v6: false, udp: true);
        string? udp6 = TryOne(into, from, batch, v6: true, udp: true);
        return new SegmentationSelfTest(tcp4 is null, tcp6 is null, udp4 is null, udp6 is null, tcp4 ?? tcp6 ?? udp4 ?? udp6);
    }

    private static string? TryOne(TapPort into, TapPort from, PacketBatch batch, bool v6, bool udp)
    {
        string kind = $"{(udp ? "UDP" : "TCP")} over IPv{(v6 ? 6 : 4)}";
        byte[] frame = BuildSuperpacket(v6, udp, out VnetHeader vnet);
        batch.Count = 0;
        batch.TryAdd(frame, vnet);
        if (into.Transmit(batch.Packets) != 1) return $"{kind}: the device refused the superpacket";

        int got = 0;
        long deadline = Monotonic.Now + 500_000_000;
        while (got < PayloadBytes)
        {
            // What has come counts, also when this thread was held up beyond the deadline; and a signal ends a wait early.
            long left = Math.Max(0, deadline - Monotonic.Now);
            if (!Libc.WaitReadable(from.Fd, left))
            {
                if (left > 0) continue;
                return $"{kind}: {got} of {PayloadBytes} bytes came out";
            }

            from.Receive(batch);
            foreach (Packet packet in batch.Packets)
            {
                // The bridge has frames of its own to send.
                if (packet.Length < EthernetBytes || !packet.Span.Slice(6, 6).SequenceEqual(frame.AsSpan(6, 6))) continue;
                if (CheckSegment(packet.Span, v6, udp, got, out int length) is { } wrong) return $"{kind}: {wrong}";
                got += length;
            }
        }

        return null;
    }

    private static byte PayloadByte(int offset) => (byte)((offset * 31) + (offset >> 8));
}
