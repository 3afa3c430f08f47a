using FsCheck.Xunit;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>When a gate opens at the target, and by what.</summary>
public class OrderKeeperTests
{
    private const long Ms = 1_000_000, Bound = 1000 * Ms;
    private static readonly IpAddress PeC = IpAddress.Parse("10.255.0.3"), PeC6 = IpAddress.Parse("fd00:ff::3"),
    PeD = IpAddress.Parse("10.255.0.4");

    [Fact]
    public void A_gate_opens_once_when_all_its_prefixes_have_moved_and_the_hold_is_sent()
    {
        OrderKeeper keeper = Keeper(prefixesV4: 3);
        keeper.Marker(PeC, new FlushMarker(7, 2, 11), throughTunnel: true, 5);
        Assert.False(keeper.Open(0, holdSent: true, null, 6)); // one is still on the old path
        keeper.Marker(PeC, new FlushMarker(7, 3, 12), throughTunnel: true, 7);
        Assert.False(keeper.Open(0, holdSent: false, null, 8)); // what it keeps goes behind what the hold has
        Assert.True(keeper.Open(0, holdSent: true, null, 9));
        Assert.False(keeper.Open(0, holdSent: true, null, 10));
        OrderGateInfoOf(keeper, 0, out GateOpening by, out long? movedAt, out long? markerAt, out long? openedAt);
        Assert.Equal((GateOpening.Marker, 12L, 7L, 9L), (by, movedAt!.Value, markerAt!.Value, openedAt!.Value));
    }

    [Fact]
    public void Markers_of_another_move_or_of_strangers_or_past_the_tunnel_open_nothing()
    {
        OrderKeeper keeper = Keeper(prefixesV4: 1);
        keeper.Marker(PeC, new FlushMarker(8, 1, 0), throughTunnel: true, 1);
        keeper.Marker(IpAddress.Parse("10.255.0.99"), new FlushMarker(7, 1, 0), throughTunnel: true, 2);
        keeper.Marker(PeC, new FlushMarker(7, 1, 0), throughTunnel: false, 3);
        Assert.Equal(3, keeper.StrangeMarkers);
        Assert.False(keeper.Open(0, holdSent: true, null, 4));
        Assert.False(keeper.Proved);
    }

    [Fact]
    public void An_ingress_without_an_old_path_may_say_so_by_the_direct_one()
    {
        OrderKeeper keeper = Keeper(prefixesV4: 1);
        keeper.Marker(PeC, new FlushMarker(7, 1, 0, FlushMarkerFlags.NoOldPath), throughTunnel: false, 1);
        Assert.True(keeper.Open(0, holdSent: true, null, 2));
        OrderGateInfoOf(keeper, 0, out GateOpening by, out _, out _, out _);
        Assert.Equal(GateOpening.NoOldPath, by);
    }

    [Fact]
    public void A_gate_of_a_family_that_does_not_move_is_open_from_the_start()
    {
        OrderKeeper keeper = Keeper(prefixesV4: 1);
        Assert.True(keeper.Open(1, holdSent: true, null, 1));
        OrderGateInfoOf(keeper, 1, out GateOpening by, out _, out _, out _);
        Assert.Equal(GateOpening.NothingMoves, by);
    }

    [Fact]
    public void A_packet_waits_for_a_marker_no_longer_than_the_bound()
    {
        OrderKeeper keeper = Keeper(prefixesV4: 1);
        Assert.False(keeper.Open(0, holdSent: true, null, 5 * Bound)); // nothing waits
        Assert.False(keeper.Open(0, holdSent: true, 5 * Bound, (6 * Bound) - 1));
        Assert.True(keeper.Open(0, holdSent: true, 5 * Bound, 6 * Bound));
        Assert.False(keeper.Proved);
        keeper.Marker(PeC, new FlushMarker(7, 1, 0), throughTunnel: true, 7 * Bound); // late, but it is the proof that teardown needs
        keeper.Marker(PeD, new FlushMarker(7, 1, 0), throughTunnel: true, 7 * Bound);
        Assert.True(keeper.Proved);
    }

    [Fact]
    public void Who_sends_no_markers_holds_up_no_proof()
    {
        var keeper = new OrderKeeper(7, 1, 0, [("frr", PeC, false, 50 * Ms)]);
        Assert.True(keeper.Proved);
        keeper.Marker(PeC, new FlushMarker(7, 1, 0), throughTunnel: true, 1);
        Assert.Equal(1, keeper.StrangeMarkers);
        Assert.False(keeper.Open(0, holdSent: true, 100 * Ms, 149 * Ms));
        Assert.True(keeper.Open(0, holdSent: true, 100 * Ms, 150 * Ms));
    }

    [Property(MaxTest = 500)]
    public void Whatever_order_markers_come_in_a_gate_is_proved_when_the_highest_number_is_all(ushort[] moved, byte prefixes)
    {
        OrderKeeper keeper = Keeper(prefixes);
        uint highest = 0;
        foreach (ushort m in moved)
        {
            keeper.Marker(PeC, new FlushMarker(7, m, 0), throughTunnel: true, 1);
            highest = Math.Max(highest, m);
        }

        Assert.Equal(highest >= prefixes, keeper.Open(0, holdSent: true, null, 2));
    }

    private static OrderKeeper Keeper(int prefixesV4) =>
        new(7, prefixesV4, 0, [("pe-c", PeC, true, Bound), ("pe-c", PeC6, true, Bound), ("pe-d", PeD, true, Bound)]);

    private static void OrderGateInfoOf(OrderKeeper keeper, int gate, out GateOpening by, out long? movedAt, out long? markerAt,
        out long? openedAt)
    {
        var info = keeper.Info(gate, new("armed", 0, 0, 0, 0, 0, 0, 0, 0, 0));
        (by, movedAt, markerAt, openedAt) = (info.OpenedBy, info.MovedAtNs, info.MarkerAtNs, info.OpenedAtNs);
    }
}
