using FsCheck.Xunit;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>The markers an ingress PE sends, and the tag that asks for them.</summary>
public class FlushMarkersTests
{
    private const string Vrf = "default";

    private static readonly object OldPath = new();

    [Fact]
    public void A_marker_goes_at_once_and_two_copies_follow()
    {
        var markers = new FlushMarkers();
        markers.Moved(Vrf, 7, [IpPrefix.Parse("10.1.1.10/32")], OldPath, 1000);
        var sent = new List<MarkerToSend>();
        var times = new List<long>();
        while (markers.NextDeadline != long.MaxValue)
        {
            times.Add(markers.NextDeadline - 1000);
            markers.Due(markers.NextDeadline, sent);
        }

        Assert.Equal([0, 5_000_000, 20_000_000], times);
        Assert.Equal((3L, 3), (markers.Sent, sent.Count));
        Assert.All(sent, s => Assert.Equal(new MarkerToSend(Vrf, OldPath, IpAddress.Parse("10.1.1.10"), new FlushMarker(7, 1, 1000)), s));
    }

    [Fact]
    public void Each_marker_says_how_many_have_moved_so_far_of_its_family_and_move()
    {
        var markers = new FlushMarkers();
        markers.Moved(Vrf, 7, [IpPrefix.Parse("10.1.1.10/32"), IpPrefix.Parse("10.1.1.11/32")], OldPath, 1);
        markers.Moved(Vrf, 7, [IpPrefix.Parse("10.1.1.11/32"), IpPrefix.Parse("10.1.2.0/24")], OldPath, 2);
        markers.Moved(Vrf, 7, [IpPrefix.Parse("fd00::/64")], OldPath, 2);
        markers.Moved(Vrf, 8, [IpPrefix.Parse("10.1.1.10/32")], null, 2);
        markers.Moved(Vrf, 7, [IpPrefix.Parse("10.1.1.10/32")], OldPath, 3); // told again: nothing new
        var sent = new List<MarkerToSend>();
        markers.Due(3, sent);
        Assert.Equal([(7u, 2u), (7u, 3u), (7u, 1u), (8u, 1u)], sent.Select(s => (s.Marker.Tag, s.Marker.Moved)));
        Assert.Equal(FlushMarkerFlags.NoOldPath, sent[3].Marker.Flags);
    }

    [Fact]
    public void Equal_prefixes_and_tags_of_two_VRFs_are_counted_apart()
    {
        var markers = new FlushMarkers();
        IpPrefix[] both = [IpPrefix.Parse("10.1.1.10/32"), IpPrefix.Parse("10.1.1.11/32")];
        markers.Moved("red", 7, both[..1], OldPath, 1);
        markers.Moved("blue", 7, both, OldPath, 1);
        markers.MovedTogether("green", 7, IpFamily.V4, 5, both[0].Address, OldPath, 1);
        markers.Moved("red", 7, both, OldPath, 1);
        var sent = new List<MarkerToSend>();
        markers.Due(1, sent);
        Assert.Equal([("red", 1u), ("blue", 2u), ("green", 5u), ("red", 2u)], sent.Select(s => (s.Vrf, s.Marker.Moved)));
    }

    [Fact]
    public void Memory_is_bounded()
    {
        var markers = new FlushMarkers();
        var sent = new List<MarkerToSend>();
        for (uint tag = 1; tag <= FlushMarkers.MaxMoves + 1; tag++) markers.Moved(Vrf, tag, [IpPrefix.Parse("10.1.1.10/32")], OldPath, 0);
        markers.Due(long.MaxValue - 1, sent);
        markers.Moved(Vrf, 1, [IpPrefix.Parse("10.1.1.10/32")], OldPath, 0); // forgotten, so it is new
        Assert.Equal(0, markers.NextDeadline);
    }

    [Property(MaxTest = 300)]
    public void A_marker_comes_back_as_it_was_sent_over_either_family(uint tag, uint moved, long at, bool v6, byte flags)
    {
        (IpAddress from, IpAddress to) = v6
            ? (IpAddress.Parse("fd00:ff::3"), IpAddress.Parse("fd00:1:1::10"))
            : (IpAddress.Parse("10.255.0.3"), IpAddress.Parse("10.1.1.10"));
        var marker = new FlushMarker(tag, moved, at, (FlushMarkerFlags)flags);
        Assert.True(FlushMarker.TryParse(marker.ToPacket(from, to), out FlushMarker read, out IpAddress readFrom, out IpAddress readTo));
        Assert.Equal((marker, from, to), (read, readFrom, readTo));
    }

    [Property(MaxTest = 300)]
    public void A_marker_with_a_changed_byte_is_none_or_still_sound(int at, byte value)
    {
        byte[] packet = new FlushMarker(7, 1, 99).ToPacket(IpAddress.Parse("fd00:ff::3"), IpAddress.Parse("fd00:1:1::10"));
        int index = (int)((uint)at % packet.Length);
        bool inBody = index >= Ipv6Header.Size;
        if (packet[index] == value) return;
        packet[index] = value;
        bool read = FlushMarker.TryParse(packet, out _, out _, out _);
        if (inBody) Assert.False(read); // the UDP checksum covers it
    }

    [Property(MaxTest = 300)]
    public void Any_bytes_are_read_without_harm(byte[] bytes) => Assert.False(FlushMarker.TryParse(bytes, out _, out _, out _));

    [Fact]
    public void The_tag_travels_in_an_extended_community_among_others()
    {
        uint tag = MoveTag.Of("vs-1", 99);
        Assert.Equal(tag, MoveTag.Of("vs-1", 99));
        Assert.NotEqual(tag, MoveTag.Of("vs-1", 98));
        Assert.NotEqual(tag, MoveTag.Of("vs-2", 99));
        byte[] others = [0, 2, 0xFD, 0xE8, 0, 0, 0, 1];
        Assert.Equal(tag, MoveTag.Find([.. others, .. MoveTag.ToCommunity(tag), .. others]));
        Assert.Null(MoveTag.Find(others));
        Assert.Null(MoveTag.Find(MoveTag.ToCommunity(tag).AsSpan(0, 7)));

        var table = new AttributeTable();
        var builder = new AttributeBuilder();
        byte transitive = AttributeFlags.Optional | AttributeFlags.Transitive;
        PathAttributes route =
            table.Intern(builder.Clear().Origin(BgpOrigin.Igp).Path()
                .Set(transitive, AttributeCode.ExtendedCommunities, MoveTag.ToCommunity(tag)).Build());
        Assert.Equal(tag, route.MoveTag);
    }

    [Fact]
    public void Prefixes_that_left_their_paths_by_one_store_are_counted_over_their_paths_and_not_again_by_their_names()
    {
        var markers = new FlushMarkers();
        object other = new();
        IpAddress to = IpAddress.Parse("10.1.1.10");
        markers.MovedTogether(Vrf, 7, IpFamily.V4, 2, to, OldPath, 1000);
        markers.MovedTogether(Vrf, 7, IpFamily.V4, 5, to, other, 1000);
        markers.MovedTogether(Vrf, 7, IpFamily.V6, 1, IpAddress.Parse("fd00::1"), null, 1000);
        var due = new List<MarkerToSend>();
        markers.Due(1000, due);
        Assert.Equal([(OldPath, 2u, false), (other, 5u, false), (null, 1u, true)],
            due.Select(d => (d.Way, d.Marker.Moved, (d.Marker.Flags & FlushMarkerFlags.NoOldPath) != 0)));
        due.Clear();
        markers.Due(long.MaxValue, due);
        Assert.Equal(6, due.Count);

        // The same again (an attempt that was made anew), and one of them by its route.
        markers.MovedTogether(Vrf, 7, IpFamily.V4, 5, to, other, 2000);
        markers.Moved(Vrf, 7, [IpPrefix.Parse("10.1.1.10/32")], OldPath, 2000);
        Assert.Equal(long.MaxValue, markers.NextDeadline);
        markers.MovedTogether(Vrf, 7, IpFamily.V4, 6, to, other, 3000);
        Assert.Equal(3000, markers.NextDeadline);
    }
}
