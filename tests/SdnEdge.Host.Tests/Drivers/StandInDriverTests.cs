using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Drivers;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>The stand-in in a real namespace with two legs, driven from both ends.</summary>
public sealed class StandInDriverTests
{
    private static DriverContext Context => new("vs", 1, "m");

    [RootFact]
    public async Task A_server_moves_from_one_leg_to_the_other_and_each_end_sees_its_own()
    {
        using var space = new ServerSpace();
        await using var a = new StandInDriver("vs", space.Config("leg-a"));
        await using var b = new StandInDriver("vs", space.Config("leg-b"));
        await SeesAsync(ServerState.Running, ServerState.Absent);
        Assert.Equal(ServerState.Incoming, await b.PrepareIncomingAsync(Context, default));
        Assert.Contains("never two", (await Assert.ThrowsAsync<DriverException>(() => b.ActivateAsync(Context, default))).Message,
            StringComparison.Ordinal);
        Assert.Contains("is at this host",
            (await Assert.ThrowsAsync<DriverException>(() => a.PrepareIncomingAsync(Context, default))).Message, StringComparison.Ordinal);
        for (int i = 0; i < 2; i++) Assert.Equal(ServerState.Paused, await a.StopAsync(Context, default));
        Assert.True(space.Frozen);
        Assert.Equal(ServerState.Paused, await a.HandOverAsync(Context with { CopyMs = 1 }, default));
        await SeesAsync(ServerState.Paused, ServerState.Incoming);
        for (int i = 0; i < 2; i++) Assert.Equal(ServerState.Running, await b.ActivateAsync(Context, default));
        Assert.False(space.Frozen);
        Assert.Equal((false, true), (space.IsIn("leg-a"), space.IsIn("leg-b")));
        await SeesAsync(ServerState.Paused, ServerState.Running);
        Assert.Contains("leg-b", (await Assert.ThrowsAsync<DriverException>(() => a.ResumeAsync(Context, default))).Message,
            StringComparison.Ordinal);
        for (int i = 0; i < 2; i++) Assert.Equal(ServerState.Absent, await a.KillAsync(Context, default));
        Assert.False(space.Frozen);   // they are the processes of the server at b
        await Assert.ThrowsAsync<DriverException>(() => a.StopAsync(Context, default));
        await SeesAsync(ServerState.Absent, ServerState.Running);

        async Task SeesAsync(ServerState atA, ServerState atB)
            => Assert.Equal((atA, atB), (await a.LookAsync(Context, default), await b.LookAsync(Context, default)));
    }

    [RootFact]
    public async Task A_move_that_is_undone_leaves_the_server_where_it_was()
    {
        using var space = new ServerSpace();
        await using var a = new StandInDriver("vs", space.Config("leg-a"));
        await using var b = new StandInDriver("vs", space.Config("leg-b"));
        await b.PrepareIncomingAsync(Context, default);
        await a.StopAsync(Context, default);
        Assert.Equal(ServerState.Running, await a.ResumeAsync(Context, default));
        Assert.Equal(ServerState.Absent, await b.CancelAsync(Context, default));
        Assert.False(space.Frozen);
        Assert.True(space.IsIn("leg-a"));
    }

    [RootFact]
    public async Task It_is_announced_at_its_new_site_by_arp_and_nd()
    {
        using var space = new ServerSpace();
        await using var a = new StandInDriver("vs", space.Config("leg-a"));
        await using var b = new StandInDriver("vs", space.Config("leg-b"));
        using PacketSocket site = Namespaces.Run(space.Name, () => PacketSocket.Open("site-b", "site-b", new PacketSocketOptions()));
        await a.StopAsync(Context, default);
        await b.ActivateAsync(Context, default);
        using var batch = new PacketBatch();
        var announced = new HashSet<IpAddress>();
        long end = Monotonic.Now + Patience.Nanoseconds;
        while (announced.Count < 2)
        {
            Assert.True(Monotonic.Now < end, $"announced: {string.Join(", ", announced)}");
            site.Receive(batch);
            foreach (Packet packet in batch.Packets)
            {
                Assert.True(EthernetView.TryParse(packet.Span, out EthernetView frame));
                if (frame.Type == EtherType.Arp && ArpView.TryParse(frame.Payload, out ArpView arp)
                    && arp.Sender == arp.Target) announced.Add(arp.Sender);
                if (frame.Type == EtherType.Ipv6 && NdpView.TryParse(frame.Payload[40..], out NdpView nd)
                    && nd.Type == Icmpv6Type.NeighborAdvertisement)
                {
                    Assert.Equal((NeighborFlags.Override, MacAddress.Parse("02:00:00:00:01:10")), (nd.Flags, nd.TargetLinkLayer!.Value));
                    Assert.True(IcmpView.TryParse(frame.Payload[40..], out IcmpView icmp));
                    Assert.True(icmp.ChecksumIsValid(IpAddress.Read(IpFamily.V6, frame.Payload[8..]),
                        IpAddress.Read(IpFamily.V6, frame.Payload[24..])));
                    announced.Add(nd.Target);
                }
            }
        }

        Assert.Equal(["10.1.1.10", "fd00:1:1::10"], announced.Select(x => x.ToString()).Order(StringComparer.Ordinal));
    }

    [RootFact]
    public async Task A_namespace_that_is_gone_is_a_failure_that_names_it()
    {
        await using var driver = new StandInDriver("vs", new("no-such-namespace", "leg-a", MacAddress.Parse("02:00:00:00:01:10"), []));
        Assert.Contains("no-such-namespace", (await Assert.ThrowsAsync<DriverException>(() => driver.LookAsync(Context, default))).Message,
            StringComparison.Ordinal);
    }
}
