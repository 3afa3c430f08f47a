using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>When the source knows that no ingress sends it anything any more.</summary>
public sealed class PassingMarkersTests
{
    private static readonly IpAddress PeC = IpAddress.Parse("10.255.0.3"), PeD = IpAddress.Parse("10.255.0.4");

    [Fact]
    public void All_have_passed_when_the_last_ones_copies_have_had_their_time()
    {
        PassingMarkers passing = Two(prefixes: 2);
        passing.Marker(PeC, new FlushMarker(7, 2, 0), 1_000);
        Assert.False(passing.Passed(long.MaxValue));
        passing.Marker(PeD, new FlushMarker(7, 1, 0), 2_000);
        Assert.False(passing.Passed(long.MaxValue), "one of its prefixes has not moved");
        passing.Marker(PeD, new FlushMarker(7, 2, 0), 3_000);
        Assert.False(passing.Passed(3_000 + PassingMarkers.SettleNs - 1));
        Assert.True(passing.Passed(3_000 + PassingMarkers.SettleNs));
        Assert.True(PassingMarkers.SettleNs > FlushMarkers.LastCopyNs);
    }

    [Fact]
    public void Copies_do_not_prolong_it_and_markers_of_another_move_say_nothing()
    {
        PassingMarkers passing = Two(prefixes: 1);
        passing.Marker(PeC, new FlushMarker(7, 1, 0), 1_000);
        passing.Marker(PeD, new FlushMarker(8, 1, 0), 1_000);
        passing.Marker(IpAddress.Parse("10.255.0.5"), new FlushMarker(7, 1, 0), 1_000);
        Assert.False(passing.Passed(long.MaxValue));
        Assert.Equal(2, passing.Info(0).StrangeMarkers);
        passing.Marker(PeD, new FlushMarker(7, 1, 0), 2_000);
        passing.Marker(PeD, new FlushMarker(7, 1, 0), 2_000 + FlushMarkers.LastCopyNs);
        Assert.True(passing.Passed(2_000 + PassingMarkers.SettleNs));
        Assert.All(passing.Info(0).Gates, g => Assert.True(g.Proved));
        Assert.False(passing.Info(0).Proved);
        Assert.True(passing.Info(2_000 + PassingMarkers.SettleNs).Proved);
    }

    private static PassingMarkers Two(int prefixes) => new(7, prefixes, 0, [("pe-c", PeC), ("pe-d", PeD)]);
}
