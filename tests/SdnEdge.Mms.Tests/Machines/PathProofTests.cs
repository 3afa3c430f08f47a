using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// What is watched on a path as time goes by: when it is so, what had to be asked for it, and what it proves of the tunnel in the end.
/// </summary>
public class PathProofTests
{
    private const long Never = long.MaxValue, Ms = 1_000_000;

    [Fact]
    public void A_tunnel_is_up_when_probes_come_back_to_both_ends()
    {
        var net = new Network { TunnelUp = { ["pe-a"] = 100, ["pe-b"] = 300 } };
        Assert.Null(net.Watch(PathWatch.TunnelUp, forMs: 250));
        Assert.Equal((WaitReason.TunnelDown, "no full-size probe has come back to pe-b through tunnel mig-m1.1"), net.Waits);
        Assert.NotNull(net.Watch(PathWatch.TunnelUp));
        Assert.InRange(net.Now, 300, 350);
    }

    [Theory]
    [InlineData(PeMigrationState.Prepared, true)]
    [InlineData(PeMigrationState.Idle, false)]   // it has started again and knows of no prepare
    public void The_target_holds_when_it_is_prepared(PeMigrationState state, bool holds)
    {
        var net = new Network { TargetState = state };
        Assert.Equal(holds, net.Watch(PathWatch.Holding, forMs: 500) is not null);
        if (!holds) Assert.Equal((WaitReason.Refused, "pe-b does not hold for m1.1: it is idle there"), net.Waits);
    }

    [Theory]
    [InlineData(0, 0, false)]
    [InlineData(300, 300, false)]
    [InlineData(Never, 2000, true)]   // more comes than leaves: the direct paths are to help, not to wait
    public void The_hold_is_empty_or_its_bound_is_over(long emptyAt, long so, bool late)
    {
        var net = new Network { HoldEmpty = emptyAt, TargetState = PeMigrationState.Released };
        Assert.Equal(late, net.Watch(PathWatch.HoldEmpty)!.Late);
        Assert.InRange(net.Now, so, so + 2);
    }

    [Fact]
    public void With_flush_markers_the_tunnel_goes_as_soon_as_the_last_one_is_there_and_nobody_is_asked_for_routes()
    {
        var net = new Network { MarkerOut = { ["pe-c"] = 60, ["pe-d"] = 150 }, BusyUntil = Never };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.InRange(net.Now, 150, 152);
        Assert.Equal(["pe-c", "pe-d"], direct.ByMarker!);
        Assert.True(direct.DirectAt!["pe-c"] < direct.DirectAt["pe-d"]);
        Assert.Equal((TeardownProof.Markers, 0L, 20L), net.TearDown(direct));
        Assert.Equal(0, net.RoutesAsked);
    }

    [Fact]
    public void The_source_may_go_when_all_markers_have_gone_by_it_and_the_target_when_they_have_come_out_of_the_tunnel()
    {
        var net = new Network { MarkersPass = 100, MarkerOut = { ["pe-c"] = 600, ["pe-d"] = 700 }, BusyUntil = Never };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.InRange(net.Now, 100, 102);
        Assert.True(direct.Passed);
        Assert.Equal((TeardownProof.Markers, 0L, 700L - net.Now), net.TearDown(direct));
        Assert.Equal(0, net.RoutesAsked);
    }

    [Fact]
    public void A_marker_that_went_by_the_source_and_is_lost_in_the_tunnel_is_waited_for_only_so_long()
    {
        var net = new Network { MarkersPass = 100, MarkerOut = { ["pe-d"] = Never } };
        Assert.Equal((TeardownProof.Timer, 0L, 2000L), net.TearDown(net.Watch(PathWatch.DirectPath)!));
    }

    [Fact]
    public void Markers_that_went_by_the_source_say_nothing_of_a_PE_that_sends_none()
    {
        var net = new Network(silent: "pe-d") { MarkersPass = 10, Direct = { ["pe-d"] = 3000 } };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.InRange(net.Now, 3000, 3050);
        Assert.False(direct.Passed);
        Assert.Equal(["pe-c"], direct.ByMarker!);
        Assert.Equal((TeardownProof.Quiet, 500L, 20L), net.TearDown(direct));
    }

    [Fact]
    public void An_ingress_whose_markers_are_lost_is_asked_for_its_routes_after_the_bound_and_the_tunnel_has_to_be_quiet()
    {
        var net = new Network { MarkerOut = { ["pe-d"] = Never } };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.InRange(net.Now, 1000, 1050);
        Assert.True(net.RoutesAsked > 0);
        Assert.Equal((TeardownProof.Quiet, 500L, 20L), net.TearDown(direct));
    }

    [Fact]
    public void An_ingress_that_sends_no_markers_is_asked_for_its_routes_at_once()
    {
        var net = new Network(silent: "pe-d") { Direct = { ["pe-d"] = 80 } };
        net.Watch(PathWatch.DirectPath);
        Assert.InRange(net.Now, 80, 130);
    }

    [Theory]
    [InlineData(5, false)]   // packets of a PE without a gate came out of the tunnel
    [InlineData(0, true)]    // the plan says that there are such PEs
    public void Traffic_of_other_PEs_asks_for_quiet_counters_besides_the_markers(long unordered, bool planned)
    {
        var net = new Network { Unordered = unordered, OtherIngress = planned, MarkersPass = 0 };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.Equal(["pe-c", "pe-d"], direct.ByMarker!);
        Assert.False(direct.Passed);
        Assert.Equal((TeardownProof.Quiet, 500L, 20L), net.TearDown(direct));
    }

    [Fact]
    public void A_last_marker_that_does_not_come_delays_the_end_only_so_long_and_the_proof_says_timer()
    {
        var net = new Network();
        Assert.Equal((TeardownProof.Timer, 0L, 2000L), net.TearDown(net.Watch(PathWatch.DirectPath)!, lastMarkerAfterMs: Never));
    }

    [Fact]
    public void Without_markers_every_ingress_is_asked_and_the_tunnel_has_to_be_quiet()
    {
        var net = new Network(keepOrder: false) { Direct = { ["pe-d"] = 5000 }, BusyUntil = 7000 };
        Assert.Null(net.Watch(PathWatch.DirectPath, forMs: 4000));
        Assert.Equal((WaitReason.NoDirectPath, "pe-d: by pe-a"), net.Waits);
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.InRange(net.Now, 5000, 5050);
        (TeardownProof proof, long drain, long last) = net.TearDown(direct);
        Assert.Equal((TeardownProof.Quiet, 500L), (proof, last));
        Assert.InRange(drain, 7500 - 5050, 7600 - 5000);
    }

    [Fact]
    public void A_tunnel_that_is_never_quiet_delays_the_end_only_so_long_and_the_proof_says_timer()
    {
        var net = new Network(keepOrder: false) { BusyUntil = Never };
        Assert.Equal((TeardownProof.Timer, 10_000L, 500L), net.TearDown(net.Watch(PathWatch.DirectPath)!));
    }

    [Fact]
    public void The_tunnel_stays_while_the_target_holds_packets()
    {
        var net = new Network(keepOrder: false) { HoldEmpty = Never };
        PathEvidence direct = net.Watch(PathWatch.DirectPath)!;
        Assert.Null(net.Watch(PathWatch.Drained, direct, forMs: 60_000));
        Assert.Equal((WaitReason.Draining, "pe-b still holds packets"), net.Waits);
    }

    [Theory]
    [InlineData(true, 20, 20)]
    [InlineData(true, 1500, 1500)]
    [InlineData(true, Never, 2000)]
    [InlineData(false, 20, 500)]
    public void After_an_abort_the_last_packet_is_out_when_its_marker_is_or_it_had_the_time_to(bool keepOrder, long markerOut, long so)
    {
        var net = new Network(keepOrder) { MarkerOut = { ["pe-a"] = markerOut } };
        Assert.NotNull(net.Watch(PathWatch.LastPacket));
        Assert.InRange(net.Now, so, so + 2);
    }

    [Fact]
    public void It_is_given_back_when_the_group_of_the_target_is_gone()
    {
        var net = new Network { GivenBack = 700, TargetState = PeMigrationState.Aborted };
        Assert.NotNull(net.Watch(PathWatch.GivenBack));
        Assert.InRange(net.Now, 700, 702);
    }

    [Fact]
    public void A_PE_that_does_not_answer_is_named()
    {
        var net = new Network { Silent = "pe-b" };
        Assert.Null(net.Watch(PathWatch.Drained, forMs: 20_000));
        Assert.Equal((WaitReason.PeerUnreachable, "pe-b does not say how its part is"), net.Waits);
    }

    /// <summary>What the PEs of a path from pe-a to pe-b say, with the ingress PEs pe-c and pe-d. Times: ms from the start.</summary>
    private sealed class Network
    {
        private readonly string[] _gates = [];
        private readonly PathMove _path;

        /// <param name="keepOrder">True: with flush markers.</param>
        /// <param name="silent">An ingress that sends none.</param>
        public Network(bool keepOrder = true, string? silent = null)
        {
            if (keepOrder) _gates = [.. new[] { "pe-a", "pe-c", "pe-d" }.Where(p => p != silent)];
            _path = Plans.Path(1) with
            {
                Ingress = ["pe-c", "pe-d"],
                Order = keepOrder ? new OrderOptions([.. _gates.Select(p => new OrderedIngress(p, ["10.255.0.1"]))]) : null,
            };
        }

        /// <summary>When a full-size probe comes back to each end.</summary>
        public Dictionary<string, long> TunnelUp { get; } = [];

        /// <summary>When the markers of each ingress come out of the tunnel; without an entry after 40 ms. Of pe-a: at its end.</summary>
        public Dictionary<string, long> MarkerOut { get; } = [];

        /// <summary>When the source has seen all markers go by.</summary>
        public long MarkersPass { get; init; } = Never;

        /// <summary>When each ingress has the direct route; without an entry after 80 ms.</summary>
        public Dictionary<string, long> Direct { get; } = [];

        public long HoldEmpty { get; init; }

        /// <summary>Until when packets come to the tunnel.</summary>
        public long BusyUntil { get; init; }

        /// <summary>Packets that came to the target by PEs without a gate.</summary>
        public long Unordered { get; init; }

        public bool OtherIngress { init => _path = _path with { OtherIngress = value }; }

        public long GivenBack { get; init; } = Never;

        public PeMigrationState TargetState { get; init; } = PeMigrationState.Prepared;

        /// <summary>A PE that does not answer.</summary>
        public string? Silent { get; init; }

        public long Now { get; private set; }

        public int RoutesAsked { get; private set; }

        /// <summary>What the last watch said it waits for.</summary>
        public (WaitReason Reason, string? Detail) Waits { get; private set; }

        /// <summary>Watches until it is so; null: it was not within a time.</summary>
        public PathEvidence? Watch(PathWatch kind, PathEvidence? prior = null, long forMs = 100_000)
        {
            var watcher = new PathWatcher(kind, _path, new MoveOptions(), prior ?? new PathEvidence(), Now * Ms);
            PathQuestion question = watcher.First;
            for (long until = Now + forMs; Now <= until; Now += Math.Max(1, question.AfterMs))
            {
                if (watcher.Take(Answer(question), Now * Ms, out question) is { } seen) return seen;
                Waits = (watcher.Reason, watcher.Detail);
            }

            return null;
        }

        /// <summary>The end of a move when all have the direct path: the proof, and the times of drain and last packet.</summary>
        public (TeardownProof Proof, long DrainMs, long LastPacketMs) TearDown(PathEvidence direct, long lastMarkerAfterMs = 20)
        {
            long began = Now;
            PathEvidence drained = Watch(PathWatch.Drained, direct)!;
            long tornDown = Now;
            MarkerOut["pe-a"] = lastMarkerAfterMs == Never ? Never : Now + lastMarkerAfterMs;
            PathEvidence last = Watch(PathWatch.LastPacket, drained)!;
            return (PathProofs.Of(_path, last), tornDown - began, Now - tornDown);
        }

        private PathLook Answer(PathQuestion question)
        {
            RoutesAsked += question.Ingress.Count;
            return new PathLook(
                question.Source && Silent != "pe-a" ? Source() : null, question.Target && Silent != "pe-b" ? Target() : null,
                question.Ingress.ToDictionary(pe => pe, pe => Now >= Direct.GetValueOrDefault(pe, 80) ? null : "by pe-a"), Silent);
        }

        private MigrationInfo Source() => new("m1.1", MigrationRole.Source, PeMigrationState.Switched, 1, "blue", _path.Source.Prefixes,
            _path.Target.Loopback, "m1.1", Now >= TunnelUp.GetValueOrDefault("pe-a"), null, Group(Math.Min(Now, BusyUntil)),
            MarkersPass == Never ? null : Order([.. _gates.Where(pe => pe != "pe-a")], _ => Now >= MarkersPass));

        private MigrationInfo Target() => new("m1.1", MigrationRole.Target, TargetState, 1, "blue", _path.Target.Prefixes,
            _path.Source.Loopback, "m1.1", Now >= TunnelUp.GetValueOrDefault("pe-b"),
            new HoldInfo("armed", 9, Now >= HoldEmpty ? 0 : 5, 0, 9, 9, 9, 0, 0, 0), Now >= GivenBack ? null : Group(0),
            _gates.Length == 0 ? null : Order(_gates, pe => Now >= MarkerOut.GetValueOrDefault(pe, pe == "pe-a" ? Never : 40)));

        private static RedirectGroupInfo Group(long tunnelPackets) => new("m1.1", "blue", 1, "tunnel", 0, tunnelPackets, 0, null);

        private OrderInfo Order(string[] gates, Func<string, bool> proved)
        {
            OrderGateInfo[] all = [.. gates.Select(pe => Gate(pe, proved(pe)))];
            return new OrderInfo(7, Array.TrueForAll(all, g => g.Proved), all, Unordered, 0);
        }

        private static OrderGateInfo Gate(string pe, bool proved) => new(pe, "", true, proved ? GateOpening.Marker : GateOpening.Closed, 1,
            proved ? 1u : 0, proved, null, null, null, 0, 0, 0, 0);
    }
}
