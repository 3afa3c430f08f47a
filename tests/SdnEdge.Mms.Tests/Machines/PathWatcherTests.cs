using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>What a path's two ends say, one after the other, and what follows from it.</summary>
public class PathWatcherTests
{
    private const long Ms = 1_000_000;
    private static readonly IReadOnlyDictionary<string, string?> Nothing = new Dictionary<string, string?>();
    private static readonly PathMove Marked = Plans.InOrder(Plans.Move(["s1"])).Paths[0];

    [Fact]
    public void A_tunnel_is_up_when_each_end_has_said_so_in_whatever_order()
    {
        PathWatcher watcher = Watch(PathWatch.TunnelUp);
        Assert.Null(Take(watcher, source: Info(up: false)));
        Assert.Contains("to pe-a through tunnel mig-m1.1", watcher.Detail, StringComparison.Ordinal);
        Assert.Null(Take(watcher, target: Info(up: true)));
        Assert.NotNull(Take(watcher, source: Info(up: true)));
    }

    [Fact]
    public void One_that_does_not_answer_is_named()
    {
        PathWatcher watcher = Watch(PathWatch.TunnelUp);
        Assert.Null(watcher.Take(new PathLook(null, null, Nothing, "pe-b"), Ms, out _));
        Assert.Equal((WaitReason.PeerUnreachable, "pe-b does not say how its part is"), (watcher.Reason, watcher.Detail));
    }

    [Fact]
    public void Markers_that_went_by_the_source_prove_the_direct_path_and_that_no_more_comes()
    {
        PathWatcher watcher = Watch(PathWatch.DirectPath);
        Assert.True(watcher.First is { Source: true, Target: true, Ingress.Count: 0 });
        Assert.Null(Take(watcher, source: Info(gates: [Gate("pe-i", proved: false)], proved: false)));
        PathEvidence seen = Take(watcher, source: Info(gates: [Gate("pe-i", proved: true)], proved: true))!;
        Assert.True(seen is { Passed: true, ByMarker: null });
        Assert.Equal(["pe-i"], seen.DirectAt!.Keys);
    }

    [Fact]
    public void So_do_markers_that_came_out_of_the_tunnel()
    {
        PathEvidence seen = Take(Watch(PathWatch.DirectPath), target: Info(gates: [Gate("pe-i", proved: true)], proved: true))!;
        Assert.True(seen is { Source: null, Passed: true });
        Assert.Equal(["pe-i"], seen.ByMarker!);
    }

    // Packets of a PE that sends no markers were seen: markers alone prove nothing then.
    [Fact]
    public void Where_others_send_too_the_markers_do_not_prove_that_the_tunnel_is_empty()
    {
        MigrationInfo others = Info(gates: [Gate("pe-i", proved: true)], proved: true, unordered: 1);
        PathEvidence seen = Take(Watch(PathWatch.DirectPath), target: others)!;
        Assert.True(seen is { Passed: false, OthersSeen: true });
        PathWatcher watcher = new(PathWatch.DirectPath, Marked with { OtherIngress = true }, Plans.Quick, new PathEvidence(), 0);
        Assert.False(watcher.First.Source);
        Assert.True(Take(watcher, target: Info(gates: [Gate("pe-i", proved: true)], proved: true)) is { Passed: false });
    }

    [Fact]
    public void Where_no_marker_comes_in_time_the_ingress_is_asked_for_its_routes()
    {
        PathWatcher watcher = Watch(PathWatch.DirectPath);
        Assert.Null(watcher.Take(new PathLook(Info(), Info(), Nothing), (Marked.Order!.BoundMs - 1) * Ms, out PathQuestion next));
        Assert.Empty(next.Ingress);
        Assert.Null(watcher.Take(new PathLook(null, Info(), Nothing), Marked.Order.BoundMs * Ms, out next));
        Assert.Equal(["pe-i"], next.Ingress);
        Assert.Null(watcher.Take(new PathLook(null, null, new Dictionary<string, string?> { ["pe-i"] = "no route" }), 2000 * Ms, out next));
        Assert.Equal("pe-i: no route", watcher.Detail);
        PathEvidence seen = watcher.Take(new PathLook(null, null, new Dictionary<string, string?> { ["pe-i"] = null }), 2001 * Ms, out _)!;
        Assert.True(seen is { Passed: false, ByMarker: null });
    }

    [Fact]
    public void The_last_packet_is_out_when_the_markers_of_the_source_and_of_all_that_went_by_are()
    {
        PathWatcher watcher = Watch(PathWatch.LastPacket, new PathEvidence(Passed: true));
        Assert.Null(Take(watcher, target: Info(gates: [Gate("pe-i", proved: false), Gate("pe-a", proved: true)])));
        Assert.Null(Take(watcher, target: Info(gates: [Gate("pe-i", proved: true), Gate("pe-a", proved: false)])));
        Assert.True(Take(watcher, target: Info(gates: [Gate("pe-i", proved: true), Gate("pe-a", proved: true)])) is { Late: false });

        watcher = Watch(PathWatch.LastPacket, new PathEvidence(Passed: true));
        Assert.Null(watcher.Take(new PathLook(null, Info(gates: [Gate("pe-a", proved: false)]), Nothing), 1_999 * Ms, out _));
        Assert.True(watcher.Take(new PathLook(null, null, Nothing), 2_000 * Ms, out _) is { Late: true });
    }

    // Guards: _boundSince. The watch is asked ahead; without it the target was torn down with packets in the tunnel when the source's
    // teardown took longer than the bound.
    [Fact]
    public void The_time_for_the_last_packet_begins_when_the_source_is_gone()
    {
        var watcher = new PathWatcher(PathWatch.LastPacket, Marked, Plans.Quick, new PathEvidence(Passed: true), 0, sourceGone: false);
        var look = new PathLook(null, Info(gates: [Gate("pe-a", proved: false)]), Nothing, SourceGone: false);
        Assert.Null(watcher.Take(look, 1_000 * Ms, out _));
        Assert.Null(watcher.Take(look, 9_000 * Ms, out _));
        Assert.Null(watcher.Take(look with { SourceGone = true }, 9_500 * Ms, out _));
        Assert.Null(watcher.Take(look with { SourceGone = true }, 11_499 * Ms, out _));
        Assert.True(watcher.Take(look with { SourceGone = true }, 11_500 * Ms, out _) is { Late: true });

        // Also where no look came before it was gone.
        watcher = new PathWatcher(PathWatch.LastPacket, Marked, Plans.Quick, new PathEvidence(Passed: true), 0, sourceGone: false);
        Assert.Null(watcher.Take(look with { SourceGone = true }, 9_500 * Ms, out _));
    }

    [Fact]
    public void A_hold_is_empty_or_late_only_after_its_release()
    {
        PathWatcher watcher = Watch(PathWatch.HoldEmpty);
        long bound = Plans.Quick.HoldDrainMs * Ms;
        Assert.Null(watcher.Take(new PathLook(null, Info(), Nothing), 1, out _));
        MigrationInfo full = Info() with { State = PeMigrationState.Released, Hold = Info().Hold! with { PacketsHeldNow = 3 } };
        Assert.Null(watcher.Take(new PathLook(null, full, Nothing), 5 * bound, out _));
        Assert.Null(watcher.Take(new PathLook(null, full, Nothing), (6 * bound) - 1, out _));
        Assert.True(watcher.Take(new PathLook(null, full, Nothing), 6 * bound, out _) is { Late: true });
        Assert.True(Take(Watch(PathWatch.HoldEmpty), target: Info() with { State = PeMigrationState.Released }) is { Late: false });
    }

    [Fact]
    public void What_is_torn_down_leaves_the_last_word_before_it()
    {
        PathWatcher watcher = Watch(PathWatch.LastPacket, new PathEvidence(Target: Info(gates: [Gate("pe-i", proved: true)])));
        PathEvidence seen = Take(watcher, target: Info(gates: [Gate("pe-a", proved: true)]) with { State = PeMigrationState.TornDown })!;
        Assert.Equal("pe-i", Assert.Single(seen.Target!.Order!.Gates).Ingress);
    }

    private static PathWatcher Watch(PathWatch kind, PathEvidence? prior = null)
        => new(kind, Marked, Plans.Quick, prior ?? new PathEvidence(), 0);

    private static PathEvidence? Take(PathWatcher watcher, MigrationInfo? source = null, MigrationInfo? target = null)
        => watcher.Take(new PathLook(source, target, Nothing), Ms, out _);

    private static MigrationInfo Info(bool up = true, OrderGateInfo[]? gates = null, bool proved = false, long unordered = 0) => new(
        "m1.1", MigrationRole.Target, PeMigrationState.Prepared, 1, "blue", [], "peer", "mig-m1.1", up,
        new HoldInfo("released", 0, 0, 0, 0, 0, 0, 0, 0, 0), null, gates is null ? null : new OrderInfo(1, proved, gates, unordered, 0));

    private static OrderGateInfo Gate(string ingress, bool proved)
        => new(ingress, "10.255.0.9", true, GateOpening.Closed, 1, proved ? 1u : 0u, proved, null, null, null, 0, 0, 0, 0);
}
