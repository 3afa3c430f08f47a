using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;
using static SdnEdge.Core.Tests.Forwarding.SlowPathBench;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Router advertisements on a port where a BGP peer is known by its link alone. Before, none were sent and none were heard.
/// </summary>
public sealed class SlowPathRouterTests
{
    private const long Every = 10 * Second;
    private static readonly IpAddress Unspecified = IpAddress.Parse("::"), Router = IpAddress.Parse("fe80::9");
    private static readonly IpAddress LinkLocal = Ipv6Addresses.LinkLocal(CoreMac);
    private readonly SlowPathBench _b = new();

    public SlowPathRouterTests() => Set(Every);

    [Fact]
    public void A_port_advertises_at_once_and_again_within_its_interval_as_nobodys_default_router()
    {
        Assert.True(_b.SlowPath.NextDeadline <= _b.Now);
        _b.SlowPath.Poll(_b.Now, _b.Actions);
        byte[] frame = Assert.Single(_b.TakeFrames(CorePort));
        Assert.Equal(MacAddress.Parse("33:33:00:00:00:01"), MacAddress.Read(frame));
        Assert.True(IpPacketView.TryParse(frame.AsSpan(14), out IpPacketView ip));
        Assert.Equal((LinkLocal, Ipv6Addresses.AllNodes, (byte)255), (ip.Source, ip.Destination, ip.HopLimit));
        Assert.True(IcmpView.TryParse(ip.Payload, out IcmpView icmp) && icmp.ChecksumIsValid(ip.Source, ip.Destination));
        Assert.True(NdpView.TryParse(ip.Payload, out NdpView nd));
        Assert.Equal(new RouterAdvertisement(64, false, false, LifetimeSeconds: 0, 0, 0), nd.Router);
        Assert.Equal(CoreMac, nd.SourceLinkLayer);
        HashSet<long> waits = [];
        for (int i = 0; i < 10; i++)
        {
            long next = _b.SlowPath.NextDeadline;
            waits.Add(next - _b.Now);
            Assert.InRange(next - _b.Now, Every * 3 / 4, Every);
            _b.Now = next - 1;
            _b.SlowPath.Poll(_b.Now, _b.Actions);
            Assert.Empty(_b.Take());
            _b.SlowPath.Poll(_b.Now = next, _b.Actions);
            Assert.Single(_b.TakeFrames(CorePort));
        }

        Assert.True(waits.Count > 5, "the waits differ");
        Assert.Equal(11, _b.SlowPath.RouterAdvertisementsSent);

        // Set anew the port does not begin anew, and without it nothing goes out any more.
        Set(Every);
        Assert.True(_b.SlowPath.NextDeadline > _b.Now);
        Set(0);
        Assert.Equal(long.MaxValue, _b.SlowPath.NextDeadline);
        Set(Every);
        _b.SlowPath.RemovePort(CorePort, _b.Actions);
        Assert.Equal(long.MaxValue, _b.SlowPath.NextDeadline);
    }

    [Fact]
    public void Solicitations_bring_the_next_one_forward_but_never_within_3_s_of_the_last()
    {
        _b.SlowPath.Poll(_b.Now, _b.Actions);
        _b.Take();
        long first = _b.Now;
        for (int i = 0; i < 1000; i++) Assert.Equal(SlowPathVerdict.Noted, Hear(Solicitation(null), Unspecified, Ipv6Addresses.AllRouters));
        Assert.Equal(first + (3 * Second), _b.SlowPath.NextDeadline);
        _b.SlowPath.Poll(_b.Now = _b.SlowPath.NextDeadline, _b.Actions);
        Assert.Single(_b.TakeFrames(CorePort));

        // Long after the last it is answered within half a second.
        _b.Now += 5 * Second;
        Assert.Equal(SlowPathVerdict.Noted, Hear(Solicitation(OtherMac), Router, Ipv6Addresses.AllRouters));
        Assert.InRange(_b.SlowPath.NextDeadline, _b.Now, _b.Now + (Second / 2));
        Assert.Equal(1001, _b.SlowPath.RouterSolicitationsReceived);

        // RFC 4861 6.1.1: who has no address yet has no link-layer address to tell.
        Assert.Equal(SlowPathVerdict.Malformed, Hear(Solicitation(OtherMac), Unspecified, Ipv6Addresses.AllRouters));
        Assert.Equal(SlowPathVerdict.Ignored, Hear(Solicitation(null), Unspecified, Ipv6Addresses.AllRouters, Dc));
    }

    [Fact]
    public void Another_router_is_told_with_its_address_and_is_known_as_a_neighbour()
    {
        Assert.Equal(SlowPathVerdict.Noted, Hear(Advertisement(OtherMac), Router, Ipv6Addresses.AllNodes));
        List<(SlowPathAction Action, byte[] Bytes)> actions = _b.Take();
        Assert.Equal((SlowPathActionKind.NeighborChanged, Router, OtherMac), (actions[0].Action.Kind, actions[0].Action.Address,
            actions[0].Action.Mac));
        Assert.Equal((SlowPathActionKind.RouterHeard, CorePort, Router), (actions[1].Action.Kind, actions[1].Action.Port,
            actions[1].Action.Address));
        Assert.Equal(NeighborState.Stale, _b.StateOf(Router));

        // Without the option too; and not on a port that is not asked to listen.
        Assert.Equal(SlowPathVerdict.Noted, Hear(Advertisement(null), IpAddress.Parse("fe80::a"), Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathActionKind.RouterHeard, Assert.Single(_b.Take()).Action.Kind);
        Assert.Equal(SlowPathVerdict.Ignored, Hear(Advertisement(OtherMac), Router, Ipv6Addresses.AllNodes, Dc));
        Assert.Empty(_b.Take());
        Assert.Equal(2, _b.SlowPath.RouterAdvertisementsReceived);
    }

    [Fact]
    public void What_RFC_4861_6_1_2_refuses_tells_nobody()
    {
        byte[] sound = Advertisement(OtherMac), option = Advertisement(OtherMac);
        option[RouterAdvertisement.Size + 1] = 0;
        Assert.Equal(SlowPathVerdict.Malformed, Hear(sound, IpAddress.Parse("fd00:16::9"), Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathVerdict.BadHopLimit, Hear(sound, Router, Ipv6Addresses.AllNodes, hopLimit: 254));
        Assert.Equal(SlowPathVerdict.Malformed, Hear(option, Router, Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathVerdict.Malformed, Hear(sound[..12], Router, Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathVerdict.Malformed, Hear(Advertisement(MacAddress.Broadcast), Router, Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathVerdict.Malformed, Hear(sound, Router, Ipv6Addresses.AllNodes, code: 1));
        Assert.Equal(SlowPathVerdict.Ignored, Hear(Advertisement(CoreMac), LinkLocal, Ipv6Addresses.AllNodes));
        Assert.Equal(SlowPathVerdict.AddressConflict, Hear(sound, LinkLocal, Ipv6Addresses.AllNodes));
        Assert.Empty(_b.Take());
        Assert.Equal(0, _b.SlowPath.RouterAdvertisementsReceived);
    }

    private void Set(long every) => _b.SlowPath.SetPort(
        new SlowPathPort(CorePort, 0, CoreMac) { Addresses = [(CoreAddress, 24)], AdvertiseEveryNs = every }, _b.Actions);

    private SlowPathVerdict Hear(byte[] message, IpAddress from, IpAddress to, int port = CorePort, byte hopLimit = 255, byte code = 0)
    {
        byte[] icmp = [.. message];
        if (icmp[0] == Icmpv6Type.RouterAdvertisement && icmp.Length >= RouterAdvertisement.Size)
            new RouterAdvertisement(64, false, false, 1800, 0, 0).Emit(icmp, from, to);
        else new IcmpHeader(icmp[0], 0, 0).Emit(icmp, from, to);
        if (code != 0)
        {
            // The checksum follows.
            icmp[1] = code;
            icmp[3] -= code;
        }

        byte[] packet = Frames.Ip(from, to, IpProtocol.Icmpv6, icmp, hopLimit);
        return _b.SlowPath.NeighborDiscovery(port, Frames.Ethernet(EtherType.Ipv6, packet, from: OtherMac), 14, _b.Now, _b.Actions);
    }

    private static byte[] Solicitation(MacAddress? mac) => Message(Icmpv6Type.RouterSolicitation, 8, mac);

    private static byte[] Advertisement(MacAddress? mac) => Message(Icmpv6Type.RouterAdvertisement, RouterAdvertisement.Size, mac);

    private static byte[] Message(byte type, int fixedPart, MacAddress? mac)
    {
        byte[] message = new byte[fixedPart + (mac is null ? 0 : NdpOption.LinkLayerSize)];
        message[0] = type;
        if (mac is { } at) NdpOption.EmitLinkLayer(message.AsSpan(fixedPart), NdpOption.SourceLinkLayer, at);
        return message;
    }
}
