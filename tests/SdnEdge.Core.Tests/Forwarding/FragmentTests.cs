using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using FsCheck.Xunit;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Larger than the egress MTU: fragments (RFC 791), or too big.</summary>
public sealed class FragmentTests
{
    [Property(MaxTest = 200)]
    public void Fragments_fit_and_put_together_again_are_the_packet(ushort size, ushort mtuSeed, bool isFragment, byte optionSeed)
    {
        int mtu = 68 + (mtuSeed % 1400);
        using ForwarderRig rig = new(coreMtu: mtu);
        byte[][] optionSets = [[], [1, 1, 1, 0], [0x94, 4, 0, 0], [7, 7, 4, 0, 0, 0, 0], [1, 0x94, 4, 0, 0, 7, 3, 4]];
        byte[] ip = Frames.Ip(
            new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, Identification: 4711, MoreFragments: isFragment,
                FragmentOffset: (ushort)(isFragment ? 100 : 0)),
            Frames.Bytes(size % 5000), optionSets[optionSeed % optionSets.Length]);
        rig.Receive(rig.Site, rig.FromClient(ip));

        byte[][] pieces = [.. rig.CoreDevice.Sent().Select(f => f.Bytes[14..])];
        Assert.All(pieces, p => Assert.True(p.Length <= mtu));
        Assert.True(ip.Length <= mtu ? pieces.Length == 1 : pieces.Length > 1);
        Assert.Equal(RoutingTests.Decremented(ip, optionSets[optionSeed % optionSets.Length]), Reassemble(pieces, isFragment));
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Only_options_that_say_so_are_copied_into_later_fragments()
    {
        using ForwarderRig rig = new(coreMtu: 200);
        byte[] ip = Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp), Frames.Bytes(400),
            [7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0]);
        rig.Receive(rig.Site, rig.FromClient(ip));
        byte[][] pieces = [.. rig.CoreDevice.Sent().Select(f => f.Bytes[14..])];
        Assert.Equal(0x48, pieces[0][0]);
        Assert.All(pieces[1..], p => Assert.Equal((0x46, 0x94), (p[0], p[20])));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void With_df_or_ipv6_the_sender_is_told_the_mtu(bool v4)
    {
        using ForwarderRig rig = new(coreMtu: 1300);
        byte[] ip = v4
            ? Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, DontFragment: true), Frames.Bytes(1281))
            : Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, Frames.Bytes(1261));
        rig.Receive(rig.Site, rig.FromClient(ip));
        Assert.Equal(0, rig.CoreDevice.SentCount);
        Assert.Equal(1, rig.Plane.Drops(DropReason.TooBig));
        Punted punt = Assert.Single(rig.Punts.Take());
        Assert.Equal((PuntReason.TooBig, 1300), (punt.Info.Reason, punt.Info.Mtu));
        Assert.Equal(ip[..1280], punt.Frame[14..]);
    }

    [Fact]
    public void A_fragment_that_would_end_beyond_64_kib_is_dropped()
    {
        using ForwarderRig rig = new(coreMtu: 200);
        byte[] ip = Frames.Ip(new Ipv4Header(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, FragmentOffset: 8191),
            Frames.Bytes(400));
        rig.Receive(rig.Site, rig.FromClient(ip));
        Assert.Equal(1, rig.Plane.Drops(DropReason.IpHeaderInvalid));
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    // Slow and obvious: place each payload at its offset, take the first header, and write length and flags as they were.
    internal static byte[] Reassemble(byte[][] pieces, bool more = false)
    {
        SortedDictionary<int, byte[]> parts = [];
        int first = int.MaxValue;
        byte[] header = [];
        for (int i = 0; i < pieces.Length; i++)
        {
            Assert.True(Ipv4View.TryParse(pieces[i], out Ipv4View view));
            Assert.True(view.ChecksumIsValid);
            Assert.Equal(pieces[i].Length, view.TotalLength);
            parts.Add(view.FragmentOffset, view.Payload.ToArray());
            if (view.FragmentOffset < first) (first, header) = (view.FragmentOffset, pieces[i][..view.HeaderLength]);
            Assert.Equal(more || i < pieces.Length - 1, view.MoreFragments);
        }

        int expected = first;
        foreach ((int offset, byte[] part) in parts)
        {
            Assert.Equal(expected, offset);
            expected = offset + (part.Length / 8);
        }

        byte[] whole = [.. header, .. parts.Values.SelectMany(p => p)];
        Assert.True(Ipv4View.TryParse(pieces[0], out Ipv4View head));
        (head.Header with { MoreFragments = more }).Emit(whole, whole.Length - header.Length, header.AsSpan(20));
        return whole;
    }
}
