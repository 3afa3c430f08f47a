using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>A slow path with two ports and a clock that stands still unless it is moved.</summary>
internal sealed class SlowPathBench
{
    public const int CorePort = 3, Dc = 5;
    public const long Ms = 1_000_000, Second = 1_000_000_000;

    public static readonly MacAddress CoreMac = MacAddress.Parse("02:00:00:00:00:c0"), DcMac = MacAddress.Parse("00:00:5e:00:01:01");
    public static readonly MacAddress HostMac = MacAddress.Parse("02:00:00:00:01:10"), OtherMac = MacAddress.Parse("02:00:00:00:01:11");
    public static readonly IpAddress Gateway = IpAddress.Parse("10.1.1.1"), Gateway6 = IpAddress.Parse("fd00:1:1::1");
    public static readonly IpAddress CoreAddress = IpAddress.Parse("172.16.0.1"), Loopback = IpAddress.Parse("10.255.0.1"),
    Loopback6 = IpAddress.Parse("fd00:ff::1");
    public static readonly IpAddress Host = IpAddress.Parse("10.1.1.10"), Host6 = IpAddress.Parse("fd00:1:1::10");
    public static readonly IpAddress ClientHost = IpAddress.Parse("10.2.3.10"), Client6 = IpAddress.Parse("fd00:2:3::10");

    public readonly SlowPathActions Actions = new();
    public readonly SlowPath SlowPath;
    public readonly HashSet<IpAddress> Elsewhere = [];
    public long Now = 987_654_321_987;

    public SlowPathBench(SlowPathOptions? options = null)
    {
        SlowPath = new SlowPath(options) { IsElsewhere = (port, address) => port == Dc && Elsewhere.Contains(address) };
        SlowPath.SetPort(new SlowPathPort(CorePort, 0, CoreMac) { Addresses = [(CoreAddress, 24), (IpAddress.Parse("fd00:16::1"), 64)] },
            Actions);
        SlowPath.SetPort(new SlowPathPort(Dc, 0, DcMac) { Addresses = [(Gateway, 24), (Gateway6, 64)] }, Actions);
        SlowPath.SetLoopbacks(0, [Loopback, Loopback6]);
    }

    public SlowPathVerdict Arp(ArpOperation operation, MacAddress from, IpAddress sender, IpAddress target, int port = Dc)
        => SlowPath.Arp(port,
            Frames.Ethernet(EtherType.Arp, Frames.Arp(new ArpPacket(operation, from, sender, default, target)), from: from),
            14, Now, Actions);

    public SlowPathVerdict Nd(NeighborMessage message, IpAddress source, IpAddress destination, MacAddress? from = null,
        byte hopLimit = 255, int port = Dc)
    {
        byte[] packet = Frames.Ip(source, destination, IpProtocol.Icmpv6, Frames.Neighbor(message, source, destination), hopLimit);
        return SlowPath.NeighborDiscovery(port, Frames.Ethernet(EtherType.Ipv6, packet, from: from ?? HostMac), 14, Now, Actions);
    }

    /// <summary>An error about an IP packet that came in on the DC port.</summary>
    public SlowPathVerdict Error(IcmpErrorKind kind, byte[] packet, int mtu = 0, MacAddress? to = null, int port = Dc)
    {
        ushort type = packet[0] >> 4 == 4 ? EtherType.Ipv4 : EtherType.Ipv6;
        return SlowPath.Error(kind, port, 0, Frames.Ethernet(type, packet, to: to ?? DcMac, from: HostMac), 14, mtu, Now, Actions);
    }

    public List<(SlowPathAction Action, byte[] Bytes)> Take()
    {
        List<(SlowPathAction, byte[])> all = [];
        foreach (SlowPathAction action in Actions.Items) all.Add((action, Actions.Bytes(action).ToArray()));
        Actions.Clear();
        return all;
    }

    public List<byte[]> TakeFrames(int port)
    {
        List<(SlowPathAction Action, byte[] Bytes)> all = Take();
        return [.. all.Where(a => a.Action.Kind == SlowPathActionKind.SendFrame && a.Action.Port == port).Select(a => a.Bytes)];
    }

    public byte[] TakeOriginated()
    {
        (SlowPathAction action, byte[] bytes) = Assert.Single(Take());
        Assert.Equal(SlowPathActionKind.Originate, action.Kind);
        return bytes;
    }

    public NeighborSnapshot? Find(IpAddress address)
        => SlowPath.Neighbors.Cast<NeighborSnapshot?>().SingleOrDefault(n => n!.Value.Address == address);

    public NeighborState StateOf(IpAddress address) => Find(address)!.Value.State;
}
