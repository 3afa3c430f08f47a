using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

public class ChecksumTests
{
    // The example of RFC 1071 section 3.
    [Fact]
    public void The_sum_of_the_RFC_1071_example_is_ddf2()
        => Assert.Equal(0xDDF2u, Checksum.Sum([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]));

    // The example of RFC 1624 section 4: equation 3 gives 0x0000 where the older one gave 0xFFFF.
    [Fact]
    public void Incremental_update_gives_the_right_zero_of_RFC_1624()
        => Assert.Equal(0x0000, Checksum.Update(0xDD2F, 0x5555, (ushort)0x3285));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(129)]
    [InlineData(1500)]
    [InlineData(65535)]
    public void The_fast_sum_is_the_slow_sum_at_every_length_and_with_all_bits_set(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        Assert.Equal(Slow(bytes), Checksum.Sum(bytes));
        Array.Fill(bytes, (byte)0xFF);
        Assert.Equal(Slow(bytes), Checksum.Sum(bytes));
    }

    [Property(MaxTest = 500)]
    public void The_fast_sum_is_the_slow_sum_from_any_alignment(byte[] bytes, byte skip, ushort seed)
    {
        ReadOnlySpan<byte> part = bytes.AsSpan(Math.Min(skip, bytes.Length));
        Assert.Equal(Slow(part, seed), Checksum.Sum(part, seed));
    }

    [Property(MaxTest = 500)]
    public void Incremental_update_is_the_checksum_computed_anew(ushort[] words, byte at, ushort now, uint wide)
    {
        // A sum of all zeros has no incremental way back (RFC 1624 3); IP headers never are.
        byte[] bytes = [0x45, 0, .. words.SelectMany(w => new[] { (byte)(w >> 8), (byte)w }), 1, 2, 3, 4];
        int offset = 2 * (at % (bytes.Length / 2));
        ushort before = Checksum.Compute(bytes);
        ushort old = (ushort)((bytes[offset] << 8) | bytes[offset + 1]);
        (bytes[offset], bytes[offset + 1]) = ((byte)(now >> 8), (byte)now);
        if (Checksum.Sum(bytes) != 0) Assert.Equal(Checksum.Compute(bytes), Checksum.Update(before, old, now));

        before = Checksum.Compute(bytes);
        int last = bytes.Length - 4;
        uint tail = 0x01020304;
        if (offset >= last - 1) return;
        for (int i = 0; i < 4; i++) bytes[last + i] = (byte)(wide >> (24 - (8 * i)));
        if (Checksum.Sum(bytes) != 0) Assert.Equal(Checksum.Compute(bytes), Checksum.Update(before, tail, wide));
    }

    [Fact]
    public void Pseudo_headers_of_both_families_sum_what_stands_in_the_RFCs()
    {
        IpAddress a = IpAddress.Parse("192.0.2.1"), b = IpAddress.Parse("198.51.100.255");
        Assert.Equal(Slow([192, 0, 2, 1, 198, 51, 100, 255, 0, 17, 0x12, 0x34]), Checksum.Pseudo(a, b, 17, 0x1234));

        IpAddress c = IpAddress.Parse("2001:db8::1"), d = IpAddress.Parse("fd00:1:1::ffff");
        byte[] pseudo = new byte[40];
        c.Write(pseudo);
        d.Write(pseudo.AsSpan(16));
        (pseudo[33], pseudo[34], pseudo[35], pseudo[39]) = (1, 2, 3, 58);
        Assert.Equal(Slow(pseudo), Checksum.Pseudo(c, d, 58, 0x010203));
    }

    [Fact]
    public void A_UDP_checksum_is_never_written_as_zero()
    {
        Assert.Equal(0x0000, Checksum.Finish(0xFFFF));
        Assert.Equal(0xFFFF, Checksum.FinishUdp(0xFFFF));
        Assert.Equal(0xEDCB, Checksum.FinishUdp(0x1234));
    }

    private static uint Slow(ReadOnlySpan<byte> bytes, uint seed = 0)
    {
        uint sum = seed;
        for (int i = 0; i < bytes.Length; i++)
        {
            sum += (uint)(i % 2 == 0 ? bytes[i] << 8 : bytes[i]);
            while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return sum;
    }
}
