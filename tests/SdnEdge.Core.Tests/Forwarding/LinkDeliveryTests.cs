using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The router's addresses on a link as the kernel's own. Before, link-local packets of either family never reached it.</summary>
public sealed class LinkDeliveryTests
{
    private static readonly MacAddress Kernel = MacAddress.Parse("02:00:00:00:fe:77");

    [Fact]
    public void What_is_for_a_link_local_address_goes_to_the_kernels_device_of_that_link_and_of_no_other()
    {
        using ForwarderRig rig = new(host: true);
        MemoryPort device = new("device");
        PortEntry link = AddLink(rig, device);
        IpAddress from = IpAddress.Parse("fe80::9");
        byte[] bgp = Tcp(from, rig.Core.LinkLocal);
        rig.Receive(rig.Core, rig.FromPeA(bgp));
        byte[] sent = Assert.Single(device.Sent()).Bytes;
        Assert.Equal((Kernel, link.Mac), (MacAddress.Read(sent), MacAddress.Read(sent.AsSpan(6))));
        Assert.Equal(bgp, sent[14..]);

        // Another port of ours has no such device: nobody listens there.
        rig.Receive(rig.Site, rig.FromClient(Tcp(from, rig.Site.LinkLocal)));
        Assert.Equal((0, 0), (rig.HostDevice.SentCount, device.Sent().Count));
        Assert.Equal(PuntReason.NoListener, Assert.Single(rig.Punts.Take()).Info.Reason);

        // Gone again: the same here.
        rig.Plane.RemovePort(link);
        Assert.Null(rig.Core.Host);
        rig.Receive(rig.Core, rig.FromPeA(bgp));
        Assert.Equal(PuntReason.NoListener, Assert.Single(rig.Punts.Take()).Info.Reason);
        Assert.Equal(0, rig.Plane.Ledger.Imbalance);
    }

    [Fact]
    public void What_the_kernel_sends_to_a_link_local_address_leaves_by_that_link_with_its_hop_limit()
    {
        using ForwarderRig rig = new(host: true);
        PortEntry link = AddLink(rig, new MemoryPort("device"));
        IpAddress to = IpAddress.Parse("fe80::9");
        rig.Resolve(rig.Core, to, ForwarderRig.PeAMac);
        byte[] bgp = Tcp(rig.Core.LinkLocal, to);
        rig.Receive(link, ForwarderRig.Ethernet(link.Mac, Kernel, bgp));
        Assert.Equal(bgp, Assert.Single(rig.CoreDevice.Sent()).Bytes[14..]);
        Assert.Equal(0, rig.SiteDevice.SentCount);

        // From the host port of all links nobody knows which one is meant.
        rig.Receive(rig.HostPort!, ForwarderRig.Ethernet(rig.HostPort!.Mac, ForwarderRig.HostMac, bgp));
        Assert.Equal(1, rig.Plane.Drops(DropReason.Martian));
    }

    [Fact]
    public void An_IPv4_link_local_subnet_is_spoken_to_and_from_and_never_forwarded()
    {
        using ForwarderRig rig = new(host: true);
        PortAddress own = new(IpAddress.Parse("169.254.10.1"), 30);
        IpAddress neighbor = IpAddress.Parse("169.254.10.2");
        rig.Core.Addresses = [.. rig.Core.Addresses, own];
        rig.Vrf.Set(own.Subnet, new FibLeaf(new IndirectNextHop(ForwardingDecision.Connected(rig.Core))));
        rig.Vrf.Set(IpPrefix.Host(own.Address), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        rig.Resolve(rig.Core, neighbor, ForwarderRig.PeAMac);
        byte[] asked = Tcp(neighbor, own.Address), answered = Tcp(own.Address, neighbor);
        rig.Receive(rig.Core, rig.FromPeA(asked));
        Assert.Equal(asked, Assert.Single(rig.HostDevice.Sent()).Bytes[14..]);
        rig.Receive(rig.HostPort!, ForwarderRig.Ethernet(rig.HostPort!.Mac, ForwarderRig.HostMac, answered));
        Assert.Equal(answered, Assert.Single(rig.CoreDevice.Sent()).Bytes[14..]);

        // From it to elsewhere, and from elsewhere to it (RFC 3927 7).
        rig.Receive(rig.Core, rig.FromPeA(Tcp(neighbor, ForwarderRig.Client4)));
        rig.Receive(rig.Site, rig.FromClient(Tcp(ForwarderRig.Client4, neighbor)));
        rig.Receive(rig.Site, rig.FromClient(Tcp(ForwarderRig.Client4, IpAddress.Parse("169.254.77.7"))));
        Assert.Equal((3L, 0, 0), (rig.Plane.Drops(DropReason.Martian), rig.SiteDevice.SentCount, rig.CoreDevice.SentCount));
        Assert.Empty(rig.Punts.Take());
    }

    [Fact]
    public void A_VRF_without_a_host_of_its_own_does_not_reach_that_of_another()
    {
        using ForwarderRig rig = new(host: true);
        using Vrf red = rig.Plane.AddVrf("red");
        MemoryPort device = new("device");
        PortEntry port = rig.Plane.AddPort(new PortOptions("red", MacAddress.Parse("02:00:00:00:00:77"), 1500)
        {
            Addresses = [new PortAddress(IpAddress.Parse("10.7.0.1"), 24)],
        }, device, red);
        red.Set(IpPrefix.Host(IpAddress.Parse("10.7.0.1")), new FibLeaf(new IndirectNextHop(ForwardingDecision.Local)));
        rig.Receive(port, ForwarderRig.Ethernet(port.Mac, ForwarderRig.ClientMac,
            Tcp(IpAddress.Parse("10.7.0.9"), IpAddress.Parse("10.7.0.1"))));
        Assert.Equal((0, 1L), (rig.HostDevice.SentCount, rig.Plane.Drops(DropReason.NoListener)));
    }

    private static PortEntry AddLink(ForwarderRig rig, MemoryPort device)
    {
        PortEntry link = rig.Plane.AddPort(new PortOptions("host%core", MacAddress.Parse("02:00:00:00:fe:78"), 1500)
        {
            IsHost = true,
            Link = rig.Core,
        }, device, rig.Vrf);
        DataPlane.SetHost(rig.Resolve(link, rig.Core.LinkLocal, Kernel));
        return link;
    }

    private static byte[] Tcp(IpAddress from, IpAddress to) => Frames.Ip(from, to, IpProtocol.Tcp, Frames.Bytes(40), ttl: 1);
}
