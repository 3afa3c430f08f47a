using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>Real sessions with Debian's BIRD, in namespaces of their own.</summary>
public sealed class BirdTests
{
    private const string Configuration = """
        router id 10.255.0.3;
        protocol device { scan time 1; }
        protocol direct { ipv4; ipv6; }
        protocol kernel { ipv4 { import all; export none; }; learn; scan time 1; }
        protocol kernel { ipv6 { import all; export none; }; learn; scan time 1; }
        protocol static { ipv4; route 10.2.3.0/24 blackhole; }
        protocol static { ipv6; route fd00:2:3::/64 blackhole; }
        template bgp edge {
          local 10.255.0.3 as 65000;
          multihop;
          hold time 30;
          connect delay time 1;
          connect retry time 1;
          error wait time 1, 2;
          ipv4 { import all; export where source = RTS_STATIC; next hop self; };
          ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:ff::3; };
        }
        protocol bgp a from edge { neighbor 10.255.0.1 as 65000; }
        protocol bgp b from edge { neighbor 10.255.0.2 as 65000; }
        """;

    [RootFact]
    public void BIRD_learns_prefers_the_higher_local_preference_and_sees_the_withdrawal_in_both_families()
    {
        IpPrefix server4 = IpPrefix.Parse("10.1.1.10/32");
        IpPrefix server6 = IpPrefix.Parse("fd00:1:1::10/128");
        using var rig = new PeerRig();
        SpeakerHost a = rig.AddSpeaker(1);
        SpeakerHost b = rig.AddSpeaker(2);
        string configuration = Path.Combine(rig.Folder, "bird.conf");
        File.WriteAllText(configuration, Configuration);
        rig.StartDaemon("/usr/sbin/bird", "-f", "-c", configuration, "-s", Path.Combine(rig.Folder, "bird.ctl"), "-P",
            Path.Combine(rig.Folder, "bird.pid"));

        foreach (IpPrefix prefix in (IpPrefix[])[server4, server6])
        {
            a.Do(() => a.Speaker.Advertise(prefix, 100));
            Await(prefix, text => BestProtocol(text) == "a", "a's route");
            b.Do(() => b.Speaker.Advertise(prefix, 200));
            Await(prefix, text => BestProtocol(text) == "b" && text.Contains("BGP.local_pref: 200", StringComparison.Ordinal),
                "b's route is preferred");
            a.Do(() => a.Speaker.Withdraw(prefix));
            Await(prefix, text => BestProtocol(text) == "b" && !text.Contains("[a ", StringComparison.Ordinal), "a's route is gone");
        }

        foreach (SpeakerHost host in (SpeakerHost[])[a, b])
        {
            host.Await(() => host.Rib.Best(IpPrefix.Parse("10.2.3.0/24")) is not null, "the IPv4 route of BIRD");
            host.Await(() => host.Rib.Best(IpPrefix.Parse("fd00:2:3::/64")) is not null, "the IPv6 route of BIRD");
            Assert.Empty(host.Ask(() => host.Speaker.Engine.Peers.Single().Faults.Seen().ToList()));
        }

        void Await(IpPrefix prefix, Func<string, bool> right, string what) => PeerRig.Await(
            () => PeerRig.TryRun("birdc", "-s", Path.Combine(rig.Folder, "bird.ctl"), $"show route for {prefix} all").Text, right,
            $"{prefix}: {what}");
    }

    [RootFact]
    public void A_route_with_1500_communities_goes_through_BIRD_in_extended_messages()
    {
        IpPrefix server = IpPrefix.Parse("10.1.1.10/32");
        using var rig = new PeerRig();
        BgpCommunity[] many = [.. Enumerable.Range(0, 1500).Select(i => new BgpCommunity(CommunityKind.Standard, 0xFDE8_0000u + (uint)i))];
        SpeakerHost a = rig.AddSpeaker(1, s => s with { Export = new RoutePolicy("many", [new PolicyTerm { Add = many }]) });
        SpeakerHost b = rig.AddSpeaker(2);
        string configuration = Path.Combine(rig.Folder, "bird.conf");
        File.WriteAllText(configuration,
            Configuration.Replace("  multihop;", "  multihop;\n  enable extended messages on;\n  rr client;", StringComparison.Ordinal)
            .Replace("ipv4 { import all; export where source = RTS_STATIC; next hop self; };",
                "ipv4 { import all; export all; next hop keep; };", StringComparison.Ordinal));
        rig.StartDaemon("/usr/sbin/bird", "-f", "-c", configuration, "-s", Path.Combine(rig.Folder, "bird.ctl"), "-P",
            Path.Combine(rig.Folder, "bird.pid"));
        a.Do(() => a.Speaker.Advertise(server, 100));
        PeerRig.Await(() => PeerRig.TryRun("birdc", "-s", Path.Combine(rig.Folder, "bird.ctl"), $"show route for {server} all").Text,
            text => text.Contains("65000,1499", StringComparison.Ordinal), "all communities at BIRD");
        b.Await(() => b.Rib.Explain(server).Count > 0, "the route by way of BIRD");
        Assert.Equal(many, b.Ask(() => BgpCommunity.Of(b.Rib.Explain(server).Single().Attributes!, CommunityKind.Standard).ToArray()));
        BgpPeer peer = b.Speaker.Engine.Peers.Single();
        Assert.True(b.Ask(() => peer.Negotiated!.ExtendedMessages));
        Assert.Empty(b.Ask(() => peer.Faults.Seen().ToList()));
        a.Do(() => a.Speaker.Withdraw(server));
        b.Await(() => b.Rib.Explain(server).Count == 0, "the withdrawal by way of BIRD");
    }

    /// <summary>The protocol of the route marked with a star.</summary>
    private static string? BestProtocol(string text)
    {
        string? line = text.Split('\n').FirstOrDefault(l => l.Contains(" * ", StringComparison.Ordinal));
        int start = line?.IndexOf('[', StringComparison.Ordinal) ?? -1;
        return start < 0 ? null : line![(start + 1)..].Split(' ')[0];
    }
}
