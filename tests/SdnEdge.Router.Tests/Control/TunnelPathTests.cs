using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

/// <summary>What a path carries is a property of the outer path: tunnels that nobody probes take it from one between the same
/// ends.</summary>
public sealed class TunnelPathTests
{
    private const int Carries = 1400;
    private const int Ethernet = 14, OuterHeader = 20, GreWithKey = 8;

    private static readonly IpAddress Router = IpAddress.Parse("172.16.0.2");

    [Fact]
    public void A_tunnel_of_vpn_routes_takes_what_a_probed_one_between_the_same_ends_finds()
    {
        using PeTables pe = Make();
        pe.Tunnels.AddForVpn("vpn-before", "default", PeTables.Peer, 9, sendOnly: false);
        pe.Tunnels.AddForVpn("vpn-elsewhere", "default", IpAddress.Parse("10.255.0.3"), 9, sendOnly: false);
        Assert.Equal([0, 0], PathMtus(pe, "vpn-before", "vpn-elsewhere"));
        pe.Tunnels.Add(pe.State.Config.Tunnels[0]);
        RunUntil(pe, Monotonic.Now, () => pe.State.Events.After(0, out _).Any(e => e is { Subject: "vpn-before", Change: "path-mtu" }
            && e.Detail!.StartsWith($"{Carries} bytes", StringComparison.Ordinal)));
        pe.Tunnels.AddForVpn("vpn-behind", "default", PeTables.Peer, 10, sendOnly: true);
        Assert.Equal([Carries, Carries, 0], PathMtus(pe, "vpn-before", "vpn-behind", "vpn-elsewhere"));

        // The tunnel that was probed goes: what it found holds on for a while.
        pe.Tunnels.Remove("t");
        Assert.Equal([Carries, Carries], PathMtus(pe, "vpn-before", "vpn-behind"));
        pe.Tunnels.Poll(Monotonic.Now + (2 * PathMtuSearch.RaiseAfterNs));
        Assert.Equal([0, 0], PathMtus(pe, "vpn-before", "vpn-behind"));
    }

    [Fact]
    public void What_a_router_says_of_such_a_tunnels_packet_is_judged_by_the_probes_of_the_other()
    {
        using PeTables pe = Make();
        pe.Tunnels.AddForVpn("vpn", "default", PeTables.Peer, 9, sendOnly: false);
        pe.Tunnels.Add(pe.State.Config.Tunnels[0]);
        long now = RunUntil(pe, Monotonic.Now, () => PathMtus(pe, "t")[0] == Carries);
        var said = new SlowPathAction
        {
            Address = PeTables.Peer, Source = pe.State.Config.Loopbacks[0], Key = 9, Mtu = 1300, SaidBy = Router,
        };
        pe.Tunnels.OnPathMtu(said, now);
        Assert.Equal([1300, 1300], PathMtus(pe, "t", "vpn"));

        // The path carries more: the probes find that, as they do for the tunnel that they are of.
        RunUntil(pe, now + PathMtuSearch.RaiseAfterNs, () => PathMtus(pe, "t")[0] == Carries);
        Assert.Equal([Carries, Carries], PathMtus(pe, "t", "vpn"));
    }

    private static PeTables Make()
    {
        var pe = new PeTables("tunnels:\n  - { name: t, remote: 10.255.0.2, key: 5 }\n");
        pe.State.Ports["core"].Entry.Neighbors.GetOrAdd(Router)!.Resolve(MacAddress.Parse("02:00:00:00:00:02"), NeighborState.Permanent);
        return pe;
    }

    private static int[] PathMtus(PeTables pe, params string[] tunnels) => [.. tunnels.Select(t => pe.State.Tunnels[t].PathMtu)];

    // The far end answers what the path carries.
    private static long RunUntil(PeTables pe, long now, Func<bool> condition)
    {
        TunnelProbe probe = pe.Tunnels.All.Single(t => t.Tunnel.Name == "t").Probe!;
        long frames = probe.Sent;
        for (int i = 0; !condition(); i++)
        {
            Assert.True(i < 20_000, "did not happen");
            now = Math.Max(now, pe.Tunnels.NextDeadline);
            pe.Tunnels.Poll(now);

            // Each probe is a frame, which a worker sends.
            Assert.True(SpinWait.SpinUntil(() => probe.Sent == frames || Answer(), Patience.Time));

            bool Answer()
            {
                while (pe.Wires["core"].TryTake(out SentFrame frame))
                {
                    ReadOnlySpan<byte> outer = frame.Bytes.AsSpan(Ethernet);
                    if (outer[9] != 47) continue;
                    frames++;
                    if (outer.Length <= Carries) pe.Tunnels.OnReply(Reply(outer[(OuterHeader + GreWithKey)..]), now + 1_000_000);
                }

                return probe.Sent == frames;
            }
        }

        return now;
    }

    private static byte[] Reply(ReadOnlySpan<byte> request)
    {
        SlowPath peer = new();
        SlowPathActions actions = new();
        Assert.Equal(SlowPathVerdict.Answered, peer.LocalIcmp(-1, 0, request, 0, 0, actions));
        return actions.Bytes(actions.Items[0]).ToArray();
    }
}
