using System.Buffers.Binary;
using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>What servers send first from a new place, kept back: in order, counted, and nobody else is touched.</summary>
public sealed class KeptBackTests : IDisposable
{
    private const long Ms = 1_000_000;
    private readonly ForwarderRig _rig = new();
    private readonly Hold _hold;

    public KeptBackTests()
    {
        _hold = new Hold("m1/servers", _rig.Vrf, new HoldOptions(MaxPackets: 100));
        _rig.Plane.AddHold(_hold);
        _rig.Site.KeptBack = [new KeptBack(_hold, [IpPrefix.Host(ForwarderRig.Client4), IpPrefix.Parse("fd00:2:3::/64")])];
    }

    [Fact]
    public void They_wait_and_leave_in_order_before_what_comes_later()
    {
        for (int i = 0; i < 20; i++) Send(i);
        Assert.Equal((0, 20L, 20L), (_rig.CoreDevice.SentCount, _hold.Info.PacketsHeldNow, _rig.Plane.Ledger.IntoHold));

        _hold.BeginRelease(DrainPath.Attached);
        for (int i = 20; i < 30; i++) Send(i);
        while (_hold.State != HoldState.Released) _rig.Forwarder.Poll(_rig.Now += Ms);
        for (int i = 30; i < 40; i++) Send(i);
        Assert.Equal(Enumerable.Range(0, 40), Sent());

        _rig.Site.KeptBack = [];
        Send(40);
        Assert.Equal([40], Sent());
        Assert.Equal((0L, 0L), (_rig.Plane.Ledger.Imbalance, _rig.Plane.DropsTotal));
    }

    [Fact]
    public void A_network_counts_as_its_hosts_and_others_go_on()
    {
        _rig.Receive(_rig.Site, _rig.FromClient(Frames.Ip(ForwarderRig.Client6, ForwarderRig.Server6, IpProtocol.Udp, [])));
        Assert.Equal(1, _hold.Info.PacketsHeldNow);
        _rig.Receive(_rig.Site, _rig.FromClient(Frames.Ip(IpAddress.Parse("10.2.3.11"), ForwarderRig.Server4, IpProtocol.Udp, [])));
        _rig.Receive(_rig.Core, _rig.FromPeA(Frames.Ip(ForwarderRig.Server4, ForwarderRig.Client4, IpProtocol.Udp, [])));
        Assert.Equal((1, 1), (_rig.CoreDevice.SentCount, _rig.SiteDevice.SentCount));
    }

    /// <summary>The router asks where the server is, and must hear the answer.</summary>
    [Fact]
    public void What_they_say_to_the_router_itself_does_not_wait()
    {
        byte[] answer = Frames.Neighbor(new NeighborMessage(Icmpv6Type.NeighborAdvertisement, ForwarderRig.Client6, ForwarderRig.ClientMac,
            NeighborFlags.Solicited), ForwarderRig.Client6, IpAddress.Parse("fd00:2:3::1"));
        byte[] packet = Frames.Ip(ForwarderRig.Client6, IpAddress.Parse("fd00:2:3::1"), IpProtocol.Icmpv6, answer, 255);
        _rig.Receive(_rig.Site, _rig.FromClient(packet));
        Assert.Equal(PuntReason.Nd, Assert.Single(_rig.Punts.Take()).Info.Reason);
        Assert.Equal(0, _hold.Info.PacketsHeldTotal);
    }

    [Fact]
    public void Beyond_its_bound_they_are_dropped_and_counted()
    {
        for (int i = 0; i < 110; i++) Send(i);
        Assert.Equal((100L, 10L), (_hold.Info.PacketsHeldNow, _rig.Plane.DropsTotal));
        Assert.Equal(0, _rig.Plane.Ledger.Imbalance);
    }

    public void Dispose()
    {
        _rig.Dispose();
        _hold.Dispose();
    }

    private void Send(int number)
    {
        byte[] body = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(body, number);
        _rig.Receive(_rig.Site, _rig.FromClient(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, body)));
    }

    private IEnumerable<int> Sent() => _rig.CoreDevice.Sent().Select(f => BinaryPrimitives.ReadInt32BigEndian(f.Bytes.AsSpan(34)));
}
