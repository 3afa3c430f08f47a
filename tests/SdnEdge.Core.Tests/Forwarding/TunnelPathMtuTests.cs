using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>Probes over a path that carries less than its first link, and says nothing about it: what is found, and how soon.</summary>
public sealed class TunnelPathMtuTests
{
    private const long Ms = 1_000_000, Second = 1000 * Ms;
    private const int Full = 1556;

    [Fact]
    public void A_path_that_carries_all_is_found_by_the_first_answer_and_nothing_else_is_probed()
    {
        var path = new SimulatedPath(Full);
        path.Run(5 * Second);
        Assert.True(path.Probe.CarriesAll);
        Assert.Equal((0, 0), (path.Probe.Path.Limit, path.Probe.Path.Candidate));
        Assert.All(path.Sizes.Skip(2), size => Assert.Equal(Full, size));
    }

    // What a user saw: the tunnel was up, and every packet of full size was swallowed for ever.
    [Property(MaxTest = 100)]
    public void What_a_narrow_path_carries_is_found_to_the_byte(ushort seed, byte roundTrip)
    {
        int carries = PathMtuSearch.BaseBytes + (seed % (Full - PathMtuSearch.BaseBytes));
        var path = new SimulatedPath(carries) { RoundTripNs = (1 + (roundTrip % 80)) * Ms };
        path.Run(20 * Second);
        Assert.True(path.Probe.IsUp);
        Assert.False(path.Probe.CarriesAll);
        Assert.Equal((carries, carries, 0), (path.Probe.Path.Confirmed, path.Probe.Path.Limit, path.Probe.Path.Candidate));
    }

    [Fact]
    public void A_path_that_becomes_narrow_stays_up_and_what_it_carries_is_found()
    {
        var path = new SimulatedPath(Full);
        path.Run(5 * Second);
        path.Carries = 1400;
        path.Run(20 * Second);
        Assert.False(path.WentDown);
        Assert.Equal((1400, 1400), (path.Probe.Path.Confirmed, path.Probe.Path.Limit));
    }

    [Fact]
    public void A_refused_size_is_tried_again_after_ten_minutes_and_not_before()
    {
        var path = new SimulatedPath(1400);
        path.Run(20 * Second);
        path.Carries = Full;
        path.Run(500 * Second);
        Assert.Equal(1400, path.Probe.Path.Limit);
        path.Run(150 * Second);
        Assert.True(path.Probe.CarriesAll);
    }

    [Fact]
    public void Trying_again_in_vain_changes_nothing_meanwhile()
    {
        var path = new SimulatedPath(1400);
        path.Run(20 * Second);
        for (int i = 0; i < 70; i++)
        {
            path.Run(10 * Second);
            Assert.Equal(1400, path.Probe.Path.Limit);
        }

        Assert.Contains(Full, path.Sizes.Skip(path.Sizes.Count / 2));
        Assert.False(path.WentDown);
    }

    [Fact]
    public void What_a_router_says_counts_at_once_and_is_refuted_by_an_answer_that_is_larger()
    {
        var path = new SimulatedPath(Full);
        path.Run(5 * Second);
        path.Carries = 1380;
        path.Probe.Path.Told(1380, path.Now);
        Assert.Equal(1380, path.Probe.Path.Limit);
        path.Run(5 * Second);
        Assert.Equal((1380, 0), (path.Probe.Path.Limit, path.Probe.Path.Candidate));

        // A lie does harm until the next try only.
        path.Carries = Full;
        path.Probe.Path.Told(600, path.Now);
        Assert.Equal(600, path.Probe.Path.Limit);
        path.Run(700 * Second);
        Assert.True(path.Probe.CarriesAll);
        Assert.False(path.WentDown);
    }

    [Fact]
    public void Nothing_coming_back_is_a_tunnel_that_is_down_and_not_a_narrow_one()
    {
        var path = new SimulatedPath(Full);
        path.Run(5 * Second);
        path.Carries = 0;
        path.Run(3 * Second);
        Assert.False(path.Probe.IsUp);
        Assert.Equal(0, path.Probe.Path.Limit);
        path.Carries = Full;
        path.Run(2 * Second);
        Assert.True(path.Probe.CarriesAll);
    }

    [Property(MaxTest = 50)]
    public void A_path_that_loses_one_probe_in_ten_is_not_taken_for_a_narrow_one_for_longer_than_a_search(int seed)
    {
        var path = new SimulatedPath(Full) { Loses = new Random(seed) };
        path.Run(300 * Second);
        path.Loses = null;
        path.Run(650 * Second);
        Assert.True(path.Probe.CarriesAll);
    }

    [Fact]
    public void Another_mtu_of_the_first_link_is_followed()
    {
        var path = new SimulatedPath(9000);
        path.Run(5 * Second);
        path.Probe.Resize(8000);
        path.Run(5 * Second);
        Assert.True(path.Probe.CarriesAll);
        Assert.Equal(8000, path.Sizes[^1]);
        path.Probe.Resize(1300);
        path.Run(5 * Second);
        Assert.True(path.Probe.CarriesAll);
        Assert.Equal(1300, path.Sizes[^1]);
    }

    private sealed class SimulatedPath(int carries)
    {
        private readonly Queue<(long At, byte[] Reply)> _wire = new();

        public TunnelProbe Probe { get; } = new(new TunnelProbeOptions(IpAddress.Parse("10.255.0.1"), IpAddress.Parse("10.255.0.2"), Full,
            0x5DE6, Tag: 7));

        public int Carries { get; set; } = carries;

        public long RoundTripNs { get; init; } = 40 * Ms;

        public Random? Loses { get; set; }

        public long Now { get; private set; } = 1;

        public List<int> Sizes { get; } = [];

        public bool WentDown { get; private set; }

        public void Run(long forNs)
        {
            for (long end = Now + forNs; Now < end;)
            {
                while (_wire.TryPeek(out (long At, byte[] Reply) next) && next.At <= Now)
                    Assert.True(Probe.OnReply(_wire.Dequeue().Reply, Now));
                bool wasUp = Probe.IsUp;
                while (Probe.Poll(Now))
                {
                    Sizes.Add(Probe.Packet.Length);
                    if (Probe.Packet.Length <= Carries && Loses?.Next(10) is not 0)
                        _wire.Enqueue((Now + RoundTripNs, TunnelProbeTests.Reply(Probe.Packet)));
                }

                WentDown |= wasUp && !Probe.IsUp;
                long step = Math.Min(Probe.NextDeadline, _wire.TryPeek(out (long At, byte[] Reply) soon) ? soon.At : long.MaxValue);
                Now = Math.Min(end, Math.Max(Now + 1, step));
            }
        }
    }
}
