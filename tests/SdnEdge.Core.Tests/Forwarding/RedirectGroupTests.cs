using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The source PE's side: one store moves all prefixes of a group into the tunnel, and back.</summary>
public sealed class RedirectGroupTests : IDisposable
{
    private readonly ForwarderRig _rig = new();
    private readonly RedirectGroup _group = new("m1", "default", 1);
    private readonly Tunnel _tunnel;

    public RedirectGroupTests()
    {
        _tunnel = _rig.Plane.AddTunnel(TunnelTests.Options() with { Key = 5, IsRedirect = true }, _rig.Vrf, _rig.Vrf);
        _tunnel.Up = true;
        IndirectNextHop hop = new(ForwardingDecision.Via(_rig.PeA));
        uint leaf = _rig.Vrf.AddLeaf(new FibLeaf(hop, _group));
        for (int i = 0; i < 256; i++) _rig.Vrf.Set(IpPrefix.Parse($"10.1.{i}.0/24"), leaf);
        _rig.Vrf.Set(IpPrefix.Parse("fd00:1:1::/48"), leaf);
    }

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void Arming_changes_nothing_switching_moves_every_prefix_and_switching_back_restores()
    {
        Assert.False(SendAll());
        _group.Arm(ForwardingDecision.Through(_tunnel));
        Assert.False(SendAll());
        _group.Switch();
        Assert.True(SendAll());
        _group.SwitchBack();
        Assert.False(SendAll());

        Assert.Equal((3 * 256, 256, 0), (_group.NativePackets, _group.TunnelPackets, _group.StalePackets));
        Assert.Equal(1_000_000_003, _group.FirstTunnelPacketAtNs);
        Assert.Equal(256, _tunnel.TxPackets);
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void Switching_without_arming_is_refused()
    {
        InvalidOperationException e = Assert.Throws<InvalidOperationException>(_group.Switch);
        Assert.Contains("call Arm", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_packet_that_uses_the_old_decision_after_the_acknowledgement_is_counted_as_stale()
    {
        GroupDecision old = _group.Active;
        _group.Arm(ForwardingDecision.Through(_tunnel));
        _group.Switch();
        old.Choose(false, 0, 1); // a worker in mid-batch, before the grace period is over
        _group.MarkAcknowledged();
        Assert.Equal(0, _group.StalePackets);
        Assert.True(SendAll());
        Assert.Equal(0, _group.StalePackets);
        old.Choose(false, 0, 2);
        old.Choose(true, 0, 2);
        Assert.Equal(2, _group.StalePackets);
    }

    [Fact]
    public void Prefixes_outside_the_group_are_not_touched()
    {
        _group.Arm(ForwardingDecision.Through(_tunnel));
        _group.Switch();
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.200.0.1")));
        Assert.Equal(34 + 20, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length);
        Assert.Equal(0, _group.TunnelPackets);
    }

    [Fact]
    public void A_leaf_may_join_and_leave_a_group_by_one_store()
    {
        FibLeaf leaf = _rig.Route("10.77.0.0/16", ForwardingDecision.Via(_rig.PeA));
        _group.Arm(ForwardingDecision.Through(_tunnel));
        _group.Switch();
        leaf.Group = _group;
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.77.0.1")));
        leaf.Group = null;
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.77.0.1")));
        Assert.Equal([54 + 28, 54], _rig.CoreDevice.Sent().Select(f => f.Bytes.Length));
    }

    [Fact]
    public void A_group_that_flips_and_goes_back_for_ever_counts_all_and_keeps_little()
    {
        for (int i = 0; i < 100; i++)
        {
            _group.Arm(ForwardingDecision.Through(_tunnel));
            _group.Switch();
            _group.MarkAcknowledged();
            Assert.True(SendAll());
            _group.SwitchBack();
            _group.MarkAcknowledged();
            Assert.False(SendAll());
        }

        Assert.Equal((100 * 256, 100 * 256, 0), (_group.NativePackets, _group.TunnelPackets, _group.StalePackets));
        Assert.Equal(1_000_000_001, _group.FirstTunnelPacketAtNs);
        Assert.InRange(_group.Decisions, 1, 40);
    }

    [Fact]
    public void While_what_is_asked_back_comes_out_of_the_tunnel_what_comes_from_elsewhere_waits_behind_it()
    {
        _group.Arm(ForwardingDecision.Through(_tunnel));
        _group.Switch();
        using var hold = new Hold("m1/back", _rig.Vrf, new HoldOptions(ReleasePacketsPerSecond: 0));
        _rig.Plane.AddHold(hold);
        _group.WaitForReturn(hold);
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.1.1.9")));
        Assert.Empty(_rig.CoreDevice.Sent());
        Assert.Equal(1, hold.Info.PacketsHeldNow);
        Assert.Null(_group.Active.ForTunnelArrivals);   // what comes out of the tunnel goes the native way
        hold.BeginRelease(DrainPath.Native);
        _rig.Forwarder.Poll(_rig.Now);
        Assert.Equal(20 + 34, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length);
        Assert.Equal("native", _group.Active.Name);
    }

    /// <summary>At the target: what is held leaves by the way that is said, and then the next hold is in force.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_a_target_holds_goes_the_native_way_when_the_source_is_back_and_through_the_tunnel_when_it_is_asked_back(bool asked)
    {
        using var held = new Hold("m1", _rig.Vrf, new HoldOptions(ReleasePacketsPerSecond: 0));
        using var next = new Hold("m1", _rig.Vrf, new HoldOptions());
        _rig.Plane.AddHold(held);
        _rig.Plane.AddHold(next);
        _group.HoldAll(held);
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.1.1.9")));
        Assert.Equal(1, held.Info.PacketsHeldNow);
        if (asked) _group.GiveBack(held, ForwardingDecision.Through(_tunnel), next);
        else _group.LetGo(held, next);
        Assert.Equal("returning", _group.Active.Name);
        _rig.Forwarder.Poll(_rig.Now);
        Assert.Equal(asked ? 54 + 28 : 54, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length);
        Assert.Equal("hold", _group.Active.Name);

        // What comes by the direct path is not held any more.
        _rig.Receive(_rig.Site, _rig.FromClient(Packet("10.1.1.9")));
        Assert.Equal(54, Assert.Single(_rig.CoreDevice.Sent()).Bytes.Length);
        Assert.Equal(0, next.Info.PacketsHeldTotal);
    }

    [Fact]
    public void What_the_ends_of_a_redirect_tunnel_say_to_one_another_comes_from_nobody_else()
    {
        _group.Arm(ForwardingDecision.Through(_tunnel));
        _group.Switch();
        foreach (FlushMarkerFlags flags in (FlushMarkerFlags[])[FlushMarkerFlags.GiveBack, FlushMarkerFlags.NothingHeld])
        {
            byte[] forged = new FlushMarker(1, 0, 1, flags).ToPacket(ForwarderRig.Client4, IpAddress.Parse("10.1.1.9"));
            _rig.Receive(_rig.Site, _rig.FromClient(forged));
        }

        Assert.Empty(_rig.CoreDevice.Sent());
        Assert.Equal(2, _rig.Plane.Drops(DropReason.MarkerForged));

        // Another's marker goes by.
        _rig.Receive(_rig.Site, _rig.FromClient(new FlushMarker(1, 0, 1).ToPacket(ForwarderRig.Client4, IpAddress.Parse("10.1.1.9"))));
        Assert.Single(_rig.CoreDevice.Sent());
    }

    // One packet to each prefix; all must take the same way. True: through the tunnel.
    private bool SendAll()
    {
        _rig.Now++;
        for (int i = 0; i < 256; i++) _rig.Receive(_rig.Site, _rig.FromClient(Packet($"10.1.{i}.9")));
        bool[] tunnelled = [.. _rig.CoreDevice.Sent().Select(f => f.Bytes[23] == IpProtocol.Gre)];
        Assert.Equal(256, tunnelled.Length);
        return Assert.Single(tunnelled.Distinct());
    }

    private static byte[] Packet(string to) => Frames.Ip(ForwarderRig.Client4, IpAddress.Parse(to), IpProtocol.Udp, Frames.Bytes(20));
}
