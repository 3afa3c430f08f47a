using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Outer packets of tunnels that come in parts.</summary>
public sealed class FragmentReassemblerTests
{
    private const long Second = 1_000_000_000;

    private readonly FragmentReassembler _reassembler = new();

    [Property(MaxTest = 300)]
    public void Parts_in_any_order_repeated_and_mixed_with_others_are_the_packet(ushort size, byte cut, bool v6, int seed)
    {
        var random = new Random(seed);
        var reassembler = new FragmentReassembler();
        byte[] one = Packet(v6, 1500 + (size % 6000)), other = Packet(v6, 900);
        byte[][] parts = [.. Cut(one, v6, 8 * (1 + (cut % 180)), 7)]; // at least two
        List<byte[]> wire = [.. parts, .. parts.Take(parts.Length / 2), .. Cut(other, v6, 400, 8).Skip(1)];
        List<byte[]> whole = [];
        foreach (byte[] part in wire.OrderBy(_ => random.Next()))
        {
            if (new FragmentReassembler().Add(part, 0) is { } alone) Assert.Fail($"{alone.Length} bytes of one part");
            if (reassembler.Add(part, 0) is { } packet) whole.Add(packet);
        }

        Assert.Equal(one, whole[0]);
        Assert.All(whole, p => Assert.Equal(one, p)); // its repetitions may be a whole one too
        Assert.Equal(0, reassembler.Refused);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Parts_that_overlap_make_it_worthless_also_for_what_comes_later(bool v6)
    {
        byte[] packet = Packet(v6, 1000);
        byte[][] parts = [.. Cut(packet, v6, 400, 7)], others = [.. Cut(packet, v6, 256, 7)];
        Assert.Null(_reassembler.Add(parts[0], 0));
        Assert.Null(_reassembler.Add(others[1], 0));
        Assert.Null(_reassembler.Add(parts[1], 0));
        Assert.Null(_reassembler.Add(parts[2], 0));
        Assert.Equal((3L, 0L), (_reassembler.Refused, _reassembler.Reassembled));
    }

    [Fact]
    public void What_stays_incomplete_goes_after_three_seconds_and_the_oldest_for_a_new_one()
    {
        byte[] First(int id) => Cut(Packet(false, 1000), false, 400, (uint)id).First();
        for (int id = 0; id < 70; id++) _reassembler.Add(First(id), id);
        Assert.Equal((64, 6L), (_reassembler.Waiting, _reassembler.Displaced));
        Assert.Equal((3 * Second) + 6, _reassembler.NextDeadline);
        _reassembler.Poll((3 * Second) + 6);
        Assert.Equal((63, 1L), (_reassembler.Waiting, _reassembler.TimedOut));
        _reassembler.Poll(4 * Second);
        Assert.Equal((0, 64L, long.MaxValue), (_reassembler.Waiting, _reassembler.TimedOut, _reassembler.NextDeadline));
    }

    // RFC 3168 5.3.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Congestion_met_by_one_part_is_the_packets(bool v6)
    {
        byte[][] parts = [.. Cut(Packet(v6, 1000, ecn: 2), v6, 400, 7)];
        Mark(parts[1], v6);
        Assert.Null(_reassembler.Add(parts[0], 0));
        Assert.Null(_reassembler.Add(parts[1], 0));
        byte[] whole = _reassembler.Add(parts[2], 0)!;
        Assert.True(IpPacketView.TryParse(whole, out IpPacketView ip));
        Assert.Equal(3, ip.TrafficClass & 3);
        if (!v6) Assert.True(Ipv4View.TryParse(whole, out Ipv4View v4) && v4.ChecksumIsValid);
    }

    [Property(MaxTest = 500)]
    public void Whatever_comes_nothing_is_thrown_and_memory_is_bounded(byte[] bytes, bool v6, byte position, byte value)
    {
        _reassembler.Add(bytes, 0);
        foreach (byte[] part in Cut(Packet(v6, 1000), v6, 400, 7))
        {
            part[position % part.Length] = value;
            if (_reassembler.Add(part, 0) is { } whole) Assert.True(IpPacketView.TryParse(whole, out _));
        }

        Assert.InRange(_reassembler.Waiting, 0, 64);
    }

    private static byte[] Packet(bool v6, int payload, byte ecn = 0)
    {
        (IpAddress from, IpAddress to) = v6 ? (IpAddress.Parse("fd00:ff::2"), IpAddress.Parse("fd00:ff::1"))
            : (IpAddress.Parse("10.255.0.2"), IpAddress.Parse("10.255.0.1"));
        byte[] body = Frames.Bytes(payload);
        byte[] packet = new byte[(v6 ? 40 : 20) + payload];
        body.CopyTo(packet, packet.Length - payload);
        if (v6) new Ipv6Header(from, to, IpProtocol.Gre, 64, ecn).Emit(packet, payload);
        else new Ipv4Header(from, to, IpProtocol.Gre, 64, ecn, Identification: 7).Emit(packet, payload);
        return packet;
    }

    // By the emitters of headers, not by the forwarder's own code.
    private static IEnumerable<byte[]> Cut(byte[] packet, bool v6, int bytes, uint id)
    {
        int header = v6 ? 40 : 20;
        Assert.True(IpPacketView.TryParse(packet, out IpPacketView ip));
        (IpAddress from, IpAddress to, byte trafficClass) = (ip.Source, ip.Destination, ip.TrafficClass);
        for (int at = 0; at < packet.Length - header; at += bytes)
        {
            byte[] body = packet[(header + at)..Math.Min(packet.Length, header + at + bytes)];
            bool more = header + at + bytes < packet.Length;
            byte[] part = new byte[header + (v6 ? 8 : 0) + body.Length];
            body.CopyTo(part, part.Length - body.Length);
            if (v6)
            {
                new Ipv6Header(from, to, IpProtocol.Fragment, 64, trafficClass).Emit(part, part.Length - 40);
                new Ipv6FragmentHeader(IpProtocol.Gre, (ushort)(at / 8), more, id).Emit(part.AsSpan(40));
            }
            else
            {
                new Ipv4Header(from, to, IpProtocol.Gre, 64, trafficClass, (ushort)id, false, more, (ushort)(at / 8))
                    .Emit(part, body.Length);
            }

            yield return part;
        }
    }

    private static void Mark(byte[] part, bool v6)
    {
        if (v6)
        {
            part[1] |= 3 << 4;
            return;
        }

        part[1] |= 3;
        part[10] = part[11] = 0;
        ushort sum = Checksum.Compute(part.AsSpan(0, 20));
        (part[10], part[11]) = ((byte)(sum >> 8), (byte)sum);
    }
}
