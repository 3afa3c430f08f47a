using System.Buffers.Binary;
using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

public sealed class SegmenterTests : IDisposable
{
    private const byte Fin = 1, Psh = 8, Ack = 16, Cwr = 128;

    private readonly PacketBatch _source = new();
    private readonly PacketBatch _destination = new();

    public void Dispose()
    {
        _source.Dispose();
        _destination.Dispose();
    }

    [Theory]
    [InlineData(false, 1448, 65000)]
    [InlineData(true, 1428, 65000)]
    [InlineData(false, 100, 101)]
    [InlineData(false, 100, 100)]
    [InlineData(true, 88, 60000)]
    public void A_TCP_superpacket_becomes_segments_that_carry_the_same_stream(bool v6, int size, int payload)
    {
        byte[] super = Super(v6, tcp: true, payload, flags: Cwr | Ack | Psh | Fin, out int l3, out int l4);
        _source.TryAdd(super, Vnet(v6 ? VnetHeader.GsoTcpV6 : VnetHeader.GsoTcpV4, size, l4, 16));

        List<byte[]> segments = Split(out int count);

        Assert.Equal((payload + size - 1) / size, count);
        Assert.Equal(count, segments.Count);
        int header = l4 + 32;
        Assert.Equal(super[header..], segments.SelectMany(s => s[header..]).ToArray());
        int sent = 0;
        for (int i = 0; i < count; i++)
        {
            byte[] s = segments[i];
            Assert.Equal(super[..l3], s[..l3]);
            Assert.Equal(0xFFFFFF00u + (uint)sent, BinaryPrimitives.ReadUInt32BigEndian(s.AsSpan(l4 + 4)));
            byte flags = s[l4 + 13];
            Assert.Equal(i == 0, (flags & Cwr) != 0);
            Assert.Equal(i == count - 1, (flags & Psh) != 0);
            Assert.Equal(i == count - 1, (flags & Fin) != 0);
            Assert.NotEqual(0, flags & Ack);
            AssertLengthsAndChecksums(s, v6, l3, l4, IpProtocol.Tcp);
            if (!v6) Assert.Equal((ushort)(0xFFFE + i), BinaryPrimitives.ReadUInt16BigEndian(s.AsSpan(l3 + 4)));
            sent += s.Length - header;
        }
    }

    [Theory]
    [InlineData(false, 1472, 32000)]
    [InlineData(true, 512, 1025)]
    public void A_UDP_superpacket_becomes_datagrams_of_the_given_size(bool v6, int size, int payload)
    {
        byte[] super = Super(v6, tcp: false, payload, 0, out int l3, out int l4);
        _source.TryAdd(super, Vnet(VnetHeader.GsoUdpL4, size, l4, 6));
        List<byte[]> segments = Split(out int count);

        Assert.Equal((payload + size - 1) / size, count);
        Assert.Equal(super[(l4 + 8)..], segments.SelectMany(s => s[(l4 + 8)..]).ToArray());
        foreach (byte[] s in segments)
        {
            Assert.Equal(s.Length - l4, BinaryPrimitives.ReadUInt16BigEndian(s.AsSpan(l4 + 4)));
            AssertLengthsAndChecksums(s, v6, l3, l4, IpProtocol.Udp);
        }
    }

    [Fact]
    public void Each_segment_keeps_the_headroom_of_its_slot_and_the_padding_of_the_superpacket_is_not_sent()
    {
        byte[] super = [.. Super(false, true, 3000, Ack, out _, out int l4), 0xEE, 0xEE, 0xEE];
        _source.TryAdd(super, Vnet(VnetHeader.GsoTcpV4, 1000, l4, 16));
        Assert.True(Segmenter.TryBegin(_source[0], out SegmentJob job));
        Assert.Equal(1000 + 20 + 32, job.LargestIpBytes);
        Assert.Equal(3, job.Fill(_destination));
        Assert.All(_destination.Packets.ToArray(), p =>
        {
            Assert.Equal(PacketBatch.HeadroomBytes, p.Headroom);
            Assert.Equal(14 + 20 + 32 + 1000, p.Length);
            Assert.False(p.IsSuperpacket);
        });
    }

    [Fact]
    public void The_headroom_hint_of_the_kernel_is_ignored()
    {
        byte[] super = Super(false, true, 3000, Ack, out _, out int l4);
        VnetHeader vnet = Vnet(VnetHeader.GsoTcpV4, 1000, l4, 16);
        vnet.HdrLen = 9;
        _source.TryAdd(super, vnet);
        Assert.Equal(3, Split(out _).Count);
    }

    public static TheoryData<string> Lies => new(LieTable.Keys);

    private static readonly Dictionary<string, Action<byte[], VnetBox>> LieTable = new()
    {
        ["gso size of zero"] = (_, v) => v.Value.GsoSize = 0,
        ["gso size of one, 65 thousand segments"] = (_, v) => v.Value.GsoSize = 1,
        ["not a superpacket"] = (_, v) => v.Value.GsoType = VnetHeader.GsoNone,
        ["unknown gso type"] = (_, v) => v.Value.GsoType = 7,
        ["UDP fragmentation offload"] = (_, v) => v.Value.GsoType = VnetHeader.GsoUdp,
        ["TCP called UDP"] = (_, v) => v.Value.GsoType = VnetHeader.GsoUdpL4,
        ["IPv4 called IPv6"] = (_, v) => v.Value.GsoType = VnetHeader.GsoTcpV6,
        ["checksum start elsewhere"] = (_, v) => v.Value.CsumStart += 2,
        ["checksum offset of UDP"] = (_, v) => v.Value.CsumOffset = 6,
        ["total length beyond the frame"] = (f, _) => f[16] = 0xFF,
        ["total length inside the header"] = (f, _) => (f[16], f[17]) = (0, 19),
        ["total length inside the TCP header"] = (f, _) => (f[16], f[17]) = (0, 50),
        ["IHL of 4"] = (f, _) => f[14] = 0x44,
        ["IHL beyond the total length"] = (f, _) => (f[14], f[16], f[17]) = (0x4F, 0, 59),
        ["version 5"] = (f, _) => f[14] = 0x55,
        ["a fragment"] = (f, _) => f[20] = 0x20,
        ["TCP data offset of 4"] = (f, _) => f[46] = 0x40,
        ["TCP data offset beyond the packet"] = (f, _) => (f[16], f[17], f[46]) = (0, 60, 0xF0),
        ["EtherType ARP"] = (f, _) => f[13] = 6,
        ["protocol ICMP"] = (f, _) => f[23] = 1,
    };

    private sealed class VnetBox
    {
        public VnetHeader Value;
    }

    [Theory]
    [MemberData(nameof(Lies))]
    public void A_superpacket_whose_headers_lie_is_refused(string lie)
    {
        byte[] super = Super(false, true, 60000, Ack, out _, out int l4);
        VnetBox vnet = new() { Value = Vnet(VnetHeader.GsoTcpV4, 1000, l4, 16) };
        _source.TryAdd(super, vnet.Value);
        Assert.True(Segmenter.TryBegin(_source[0], out _)); // without the lie it is taken
        _source.Count = 0;

        LieTable[lie](super, vnet);
        _source.TryAdd(super, vnet.Value);
        Assert.False(Segmenter.TryBegin(_source[0], out SegmentJob job));
        Assert.True(job.IsDone);
        Assert.Equal(0, job.Fill(_destination));
    }

    [Fact]
    public void A_superpacket_cut_anywhere_is_refused()
    {
        byte[] super = Super(true, true, 200, Ack, out _, out int l4);
        for (int length = 0; length < super.Length; length++)
        {
            _source.Count = 0;
            _source.TryAdd(super.AsSpan(0, length), Vnet(VnetHeader.GsoTcpV6, 100, l4, 16));
            Assert.False(Segmenter.TryBegin(_source[0], out _));
        }
    }

    [Property(MaxTest = 2000)]
    public void Random_bytes_with_random_offload_state_never_crash_or_write_more_than_they_should(byte[] noise, int at, byte type,
        ushort size, ushort start, ushort offset)
    {
        byte[] frame = Super((at & 1) != 0, (at & 2) != 0, 300, Ack, out _, out _);
        for (int i = 0; i < noise.Length; i++) frame[((at & 0xFFFF) + (i * 7)) % 90] = noise[i];
        _source.Count = 0;
        _source.TryAdd(frame,
            new VnetHeader { Flags = (byte)(type >> 7), GsoType = (byte)(type & 7), GsoSize = (ushort)(size % 400), CsumStart = start,
                CsumOffset = offset });
        if (!Segmenter.TryBegin(_source[0], out SegmentJob job)) return;
        int total = 0;
        while (!job.IsDone)
        {
            _destination.Count = 0;
            int n = job.Fill(_destination);
            Assert.True(n > 0);
            total += n;
            Assert.All(_destination.Packets.ToArray(), p => Assert.InRange(p.Length, 34, frame.Length));
        }

        Assert.Equal(job.SegmentCount, total);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_partial_checksum_is_completed(bool v6)
    {
        byte[] frame = Super(v6, tcp: false, 777, 0, out int l3, out int l4);
        _source.TryAdd(frame, new VnetHeader { Flags = VnetHeader.NeedsCsum, CsumStart = (ushort)l4, CsumOffset = 6 });
        Assert.True(Segmenter.CompleteChecksum(ref _source[0]));
        Assert.Equal(0, _source[0].Vnet.Flags);
        AssertLengthsAndChecksums(_source[0].Span.ToArray(), v6, l3, l4, IpProtocol.Udp);
    }

    [Theory]
    [InlineData(0xFFFF, 6)]
    [InlineData(34, 0xFFFF)]
    [InlineData(34, 1000)]
    public void A_partial_checksum_outside_the_frame_is_refused(int start, int offset)
    {
        byte[] frame = Super(false, tcp: false, 777, 0, out _, out _);
        _source.TryAdd(frame, new VnetHeader { Flags = VnetHeader.NeedsCsum, CsumStart = (ushort)start, CsumOffset = (ushort)offset });
        Assert.False(Segmenter.CompleteChecksum(ref _source[0]));
        Assert.Equal(frame, _source[0].Span.ToArray());
    }

    private List<byte[]> Split(out int count)
    {
        Assert.True(Segmenter.TryBegin(_source[0], out SegmentJob job));
        count = job.SegmentCount;
        List<byte[]> all = [];
        while (!job.IsDone)
        {
            _destination.Count = 0;
            job.Fill(_destination);
            foreach (Packet p in _destination.Packets) all.Add(p.Span.ToArray());
        }

        return all;
    }

    private static VnetHeader Vnet(byte type, int size, int l4, int offset) => new()
    {
        Flags = VnetHeader.NeedsCsum, GsoType = type, GsoSize = (ushort)size, HdrLen = 999, CsumStart = (ushort)l4,
        CsumOffset = (ushort)offset,
    };

    // A superpacket as the kernel hands it over: the checksum field holds the pseudo-header sum only.
    private static byte[] Super(bool v6, bool tcp, int payload, byte flags, out int l3, out int l4)
    {
        l3 = 14;
        l4 = l3 + (v6 ? 40 : 20);
        int header = tcp ? 32 : 8;
        byte[] f = new byte[l4 + header + payload];
        for (int i = 0; i < payload; i++) f[l4 + header + i] = (byte)((i * 31) + (i >> 8));
        for (int i = 0; i < 12; i++) f[i] = (byte)(2 + i);
        byte protocol = tcp ? IpProtocol.Tcp : IpProtocol.Udp;
        (f[12], f[13]) = v6 ? ((byte)0x86, (byte)0xDD) : ((byte)8, (byte)0);
        Span<byte> ip = f.AsSpan(l3);
        int length = header + payload;
        if (v6)
        {
            ip[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)length);
            (ip[6], ip[7]) = (protocol, 64);
            for (int i = 8; i < 40; i++) ip[i] = (byte)(i * 5);
        }
        else
        {
            ip[0] = 0x45;
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(20 + length));
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], 0xFFFE);
            (ip[6], ip[8], ip[9]) = (0x40, 64, protocol);
            new byte[] { 192, 0, 2, 1, 198, 51, 100, 7 }.CopyTo(ip[12..]);
            BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Checksum.Compute(ip[..20]));
        }

        Span<byte> t = f.AsSpan(l4);
        uint pseudo = v6 ? Checksum.PseudoV6(ip[8..], protocol, length)
            : Checksum.PseudoV4(0xC0000201, 0xC6336407, protocol, length);
        BinaryPrimitives.WriteUInt32BigEndian(t, 0x04D20007);
        if (tcp)
        {
            BinaryPrimitives.WriteUInt32BigEndian(t[4..], 0xFFFFFF00); // wraps on the way
            (t[12], t[13], t[20], t[21]) = (0x80, flags, 1, 1);
            BinaryPrimitives.WriteUInt16BigEndian(t[16..], (ushort)pseudo);
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(t[4..], (ushort)length);
            BinaryPrimitives.WriteUInt16BigEndian(t[6..], (ushort)pseudo);
        }

        return f;
    }

    private static void AssertLengthsAndChecksums(byte[] frame, bool v6, int l3, int l4, byte protocol)
    {
        ReadOnlySpan<byte> ip = frame.AsSpan(l3);
        int length = frame.Length - l4;
        if (v6)
        {
            Assert.Equal(length, BinaryPrimitives.ReadUInt16BigEndian(ip[4..]));
            Assert.True(Checksum.IsValid(ip[40..], Checksum.PseudoV6(ip[8..], protocol, length)));
        }
        else
        {
            Assert.Equal(ip.Length, BinaryPrimitives.ReadUInt16BigEndian(ip[2..]));
            Assert.True(Checksum.IsValid(ip[..20]));
            Assert.True(Checksum.IsValid(ip[20..], Checksum.PseudoV4(0xC0000201, 0xC6336407, protocol, length)));
        }
    }
}
