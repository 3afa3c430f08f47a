using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>The stand-in server between two sites, with plain Linux routers where the PEs will be.</summary>
[Trait("needs", "executable")]
public sealed class LabServerTests
{
    // client - r (router, one address in each site's subnet is the same gateway) ; r has one port for each site, and a route
    // to the server that the test turns from one to the other, as the PEs' routing will.
    private const string TwoSites = """
        # client eth1 -- r eth1      r eth2 -- dc-a -- leg-a
        #                            r eth3 -- dc-b -- leg-b    vs
        name: LABNAME
        topology:
          nodes:
            client:
              kind: linux
              exec: [ip address add 10.2.0.10/24 dev eth1, ip route add default via 10.2.0.1,
                ip -6 address add fd02::10/64 dev eth1 nodad, ip -6 route add default via fd02::1]
            r:
              kind: linux
              exec:
                - ip link set eth2 address 00:00:5e:00:01:01
                - ip link set eth3 address 00:00:5e:00:01:01
                - ip address add 10.2.0.1/24 dev eth1
                - ip address add 10.1.1.1/32 dev eth2
                - ip address add 10.1.1.1/32 dev eth3
                - ip -6 address add fd02::1/64 dev eth1 nodad
                - ip -6 address add fd01::1/128 dev eth2 nodad
                - ip -6 address add fd01::1/128 dev eth3 nodad
                - ip route add 10.1.1.10/32 dev eth2
                - ip -6 route add fd01::10/128 dev eth2
                - sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            dc-a: { kind: bridge }
            dc-b: { kind: bridge }
            vs:
              kind: server
              labels:
                sdnedge.mac: "02:00:00:00:01:10"
                sdnedge.addresses: 10.1.1.10/24, fd01::10/64
                sdnedge.gateways: 10.1.1.1, fd01::1
          links:
            - endpoints: ["client:eth1", "r:eth1"]
            - endpoints: ["r:eth2", "dc-a:eth1"]
            - endpoints: ["r:eth3", "dc-b:eth1"]
            - endpoints: ["vs:leg-a", "dc-a:eth2"]
            - endpoints: ["vs:leg-b", "dc-b:eth2"]
        """;

    [RootFact]
    public async Task The_server_answers_ping_and_echo_over_udp_and_tcp_in_both_families()
    {
        await using var instance = LabInstance.Of(TwoSites);
        RunningLab lab = await instance.DeployAsync();
        foreach (string address in (string[])["10.1.1.10", "fd01::10"])
        {
            Assert.Contains(" 0% packet loss", await LabInstance.RunAsync(lab, "client", "ping", "-c", "1", "-W", "30", address),
                StringComparison.Ordinal);
            IPEndPoint server = new(IPAddress.Parse(address), EchoServer.Port);
            using Socket udp = Namespaces.Run(lab.NamespaceOf("client"),
                () => new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp));
            udp.ReceiveTimeout = (int)Patience.Long.TotalMilliseconds;
            udp.Connect(server);
            for (int length = 0; length <= 1400; length += 700)
            {
                udp.Send(new byte[length]);
                Assert.Equal(length, udp.Receive(new byte[2000]));
            }

            using Socket tcp = Connect(lab, server);
            tcp.Send("hello"u8);
            byte[] back = new byte[10];
            Assert.Equal(5, tcp.Receive(back));
            Assert.Equal("hello"u8, back.AsSpan(0, 5));
        }
    }

    [RootFact]
    public async Task A_connection_lives_on_when_the_server_is_paused_and_resumed_at_the_other_site()
    {
        await using var instance = LabInstance.Of(TwoSites);
        RunningLab lab = await instance.DeployAsync();
        var vs = new Moving(lab);
        using Socket tcp = Connect(lab, new IPEndPoint(IPAddress.Parse("10.1.1.10"), EchoServer.Port));
        Exchange(1);
        Assert.Equal("dc-a", await lab.LocateAsync("vs"));

        (string, string)[] moves = [("dc-b", "eth3"), ("dc-a", "eth2"), ("dc-b", "eth3")];
        foreach ((string site, string port) in moves)
        {
            await vs.PauseAsync();
            await vs.PauseAsync();   // again changes nothing
            Assert.Null(await lab.LocateAsync("vs"));
            Assert.Contains("100% packet loss",
                await LabInstance.RunAsync(lab, "client", "sh", "-c", "ping -c 2 -i 0.05 -W 1 10.1.1.10 || true"),
                StringComparison.Ordinal);

            tcp.Send([42]);   // on its way while nobody is there
            await LabInstance.RunAsync(lab, "r", "ip", "route", "replace", "10.1.1.10/32", "dev", port);
            await vs.ResumeAsync(site);
            await vs.ResumeAsync(site);
            Assert.Equal(site, await lab.LocateAsync("vs"));
            byte[] one = new byte[1];
            Assert.Equal(1, tcp.Receive(one));
            Assert.Equal(42, one[0]);
            Exchange(7);
        }

        void Exchange(byte value)
        {
            tcp.Send([value, value]);
            byte[] back = new byte[2];
            for (int got = 0; got < 2;) got += tcp.Receive(back.AsSpan(got));
            Assert.Equal([value, value], back);
        }
    }

    [RootFact]
    public async Task The_server_announces_itself_at_the_new_site_in_both_families_and_only_there()
    {
        await using var instance = LabInstance.Of(TwoSites);
        RunningLab lab = await instance.DeployAsync();
        var vs = new Moving(lab);
        using PacketSocket atA = Listen("eth2"), atB = Listen("eth3");
        await vs.PauseAsync();
        Drain(atA);
        await vs.ResumeAsync("dc-b");

        List<byte[]> seen = [];
        Assert.True(await Netns.UntilAsync(() =>
        {
            seen.AddRange(Drain(atB));
            return seen.Exists(IsArp) && seen.Exists(IsAdvertisement);
        }, Patience.Long, CancellationToken.None));
        Assert.DoesNotContain(Drain(atA), f => IsArp(f) || IsAdvertisement(f));

        // Linux checks the advertisement's checksum: it believes it for an address it asks for.
        await LabInstance.RunAsync(lab, "r", "ip", "-6", "route", "replace", "fd01::10/128", "dev", "eth3");
        Assert.Contains(" 0% packet loss", await LabInstance.RunAsync(lab, "client", "ping", "-c", "1", "-W", "30", "fd01::10"),
            StringComparison.Ordinal);

        PacketSocket Listen(string device) => Namespaces.Run(lab.NamespaceOf("r"), () => PacketSocket.Open(device, device));
        bool IsArp(byte[] f) => f.AsSpan(12, 2).SequenceEqual((ReadOnlySpan<byte>)[8, 6]) && f.AsSpan(28, 4)
            .SequenceEqual((ReadOnlySpan<byte>)[10, 1, 1, 10]) && f.AsSpan(28, 4).SequenceEqual(f.AsSpan(38, 4));
        bool IsAdvertisement(byte[] f) => f.AsSpan(12, 2).SequenceEqual((ReadOnlySpan<byte>)[0x86, 0xDD]) && f[54] == 136
            && IpAddress.Read(IpFamily.V6, f.AsSpan(62)) == IpAddress.Parse("fd01::10") && ChecksumIsRight(f);
    }

    [RootFact]
    public async Task Packets_sent_before_the_pause_arrive_and_packets_that_reach_it_in_time_are_answered_after_it()
    {
        await using var instance = LabInstance.Of(TwoSites);
        RunningLab lab = await instance.DeployAsync();
        var vs = new Moving(lab);
        IPEndPoint server = new(IPAddress.Parse("10.1.1.10"), EchoServer.Port);
        using Socket udp = Namespaces.Run(lab.NamespaceOf("client"),
            () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        udp.ReceiveTimeout = (int)Patience.Long.TotalMilliseconds;
        udp.Connect(server);
        udp.Send([0]);
        Assert.Equal(1, udp.Receive(new byte[10]));

        // Frozen with its leg still there: what comes waits in its socket, and nothing is lost.
        List<ProcessStat> processes = Netns.ProcessesIn(new HashSet<string> { Netns.IdOf(lab.NamespaceOf("vs"))! });
        foreach (ProcessStat process in processes) Signals.Send(process.ProcessId, ProcessSignal.Stop);
        for (byte i = 1; i <= 100; i++) udp.Send([i]);
        await LabInstance.RunAsync(lab, "client", "ping", "-c", "1", "-W", "30", "10.1.1.10");   // they have all arrived before this
        await vs.PauseAsync();
        await LabInstance.RunAsync(lab, "r", "ip", "route", "replace", "10.1.1.10/32", "dev", "eth3");
        await vs.ResumeAsync("dc-b");
        byte[] back = new byte[10];
        for (byte i = 1; i <= 100; i++)
        {
            Assert.Equal(1, udp.Receive(back));
            Assert.Equal(i, back[0]);
        }
    }

    [RootFact]
    public async Task A_server_has_a_site_for_each_leg_and_other_nodes_have_none()
    {
        await using var instance = LabInstance.Of(TwoSites);
        RunningLab lab = await instance.DeployAsync();
        LabException e = Assert.Throws<LabException>(() => lab.SitesOf("client"));
        Assert.Contains("vs", e.Message, StringComparison.Ordinal);
        Assert.Equal(["dc-a", "dc-b"], lab.SitesOf("vs").Select(s => s.Name));
    }

    /// <summary>The server, moved as the agents of two hosts move it: by the stand-in's driver at each site.</summary>
    private sealed class Moving(RunningLab lab)
    {
        private static readonly DriverContext s_context = new("vs", 1, "m1");

        private readonly Dictionary<string, StandInDriver> _hosts = lab.SitesOf("vs").ToDictionary(s => s.Name, s =>
        {
            ServerSpec spec = lab.Topology.Find("vs")!.Server!;
            return new StandInDriver("vs",
                new StandInConfig(lab.NamespaceOf("vs"), s.Leg, spec.Mac, [.. spec.Addresses.Select(a => a.Address)]));
        });

        private string _site = "dc-a";

        public async Task PauseAsync()
            => Assert.Equal(ServerState.Paused, await _hosts[_site].StopAsync(s_context, CancellationToken.None));

        public async Task ResumeAsync(string site)
        {
            Assert.Equal(ServerState.Running, await _hosts[site].ActivateAsync(s_context, CancellationToken.None));
            _site = site;
        }
    }

    private static Socket Connect(RunningLab lab, IPEndPoint server) => Namespaces.Run(lab.NamespaceOf("client"), () =>
    {
        var socket = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
            ReceiveTimeout = (int)Patience.Long.TotalMilliseconds,
        };
        socket.Connect(server);
        return socket;
    });

    private static List<byte[]> Drain(PacketSocket socket)
    {
        using var batch = new Core.Forwarding.PacketBatch();
        var frames = new List<byte[]>();
        while (socket.Receive(batch) > 0)
        {
            foreach (Core.Forwarding.Packet packet in batch.Packets)
            {
                if (packet.Length >= 42) frames.Add(packet.Span.ToArray());
            }
        }

        return frames;
    }

    private static bool ChecksumIsRight(byte[] frame)
    {
        uint sum = (uint)(frame.Length - 54) + 58;
        for (int i = 22; i < frame.Length; i += 2) sum += (uint)((frame[i] << 8) | frame[i + 1]);
        while (sum > 0xFFFF) sum = (sum & 0xFFFF) + (sum >> 16);
        return sum == 0xFFFF;
    }
}
