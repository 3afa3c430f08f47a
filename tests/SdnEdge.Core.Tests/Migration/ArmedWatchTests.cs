using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>When what is watched has failed, and when it is back.</summary>
public sealed class ArmedWatchTests
{
    private const long Steady = ArmedWatch.SteadyNs;

    [Fact]
    public void One_part_that_is_down_is_enough_and_all_that_were_must_have_worked_for_a_while()
    {
        ArmedWatch watch = Two();
        watch.Report(0, WatchState.Up, 1, "up");
        watch.Report(1, WatchState.Up, 2, "up");
        Assert.Equal((false, true), (watch.HasFailed, watch.IsBack(2)));
        Assert.True(watch.Report(0, WatchState.Down, 10, "timeout"));
        Assert.True(watch.Report(1, WatchState.Down, 12, "no carrier"));
        Assert.Equal((true, 10L), (watch.HasFailed, watch.FailedAtNs));
        watch.Report(0, WatchState.Up, 20, "up");
        Assert.Equal((true, long.MaxValue), (watch.HasFailed, watch.BackAtNs));
        watch.Report(1, WatchState.Up, 30, "carrier");
        Assert.Equal((false, false, true), (watch.HasFailed, watch.IsBack(29 + Steady), watch.IsBack(30 + Steady)));

        // Each time anew, until it was made good.
        watch.Report(1, WatchState.Down, 40, "no carrier");
        watch.Report(1, WatchState.Up, 50, "carrier");
        Assert.Equal(50 + Steady, watch.BackAtNs);
        watch.Forgive();
        Assert.True(watch.IsBack(0));
    }

    [Fact]
    public void What_was_never_seen_working_does_not_fail()
    {
        ArmedWatch watch = Two();
        Assert.False(watch.Report(0, WatchState.Down, 1, "it does not answer"));
        Assert.Equal((false, WatchState.Unknown), (watch.HasFailed, watch.Info[0].State));
        Assert.Equal("it does not answer; not seen yet", watch.WhyBlind);
        watch.Report(1, WatchState.Up, 2, "carrier");
        Assert.Null(watch.WhyBlind);
    }

    [Fact]
    public void What_an_operator_took_down_does_not_fail_and_what_is_down_stays_so_until_it_works()
    {
        ArmedWatch watch = Two();
        watch.Report(0, WatchState.Up, 1, "up");
        watch.Report(0, WatchState.Unknown, 2, "an operator took it down");
        Assert.False(watch.Report(0, WatchState.Down, 3, "timeout"));
        Assert.False(watch.HasFailed);
        watch.Report(0, WatchState.Up, 4, "up");
        watch.Report(0, WatchState.Down, 5, "timeout");
        Assert.False(watch.Report(0, WatchState.Unknown, 6, "an operator took it down"));
        Assert.True(watch.HasFailed);
    }

    [Fact]
    public void After_a_restart_in_the_middle_it_is_back_when_all_of_it_is_seen_working()
    {
        var watch = new ArmedWatch([new WatchedPart("10.1.1.10"), new WatchedPart(Carrier: "eth1")], hasFailed: true);
        Assert.Equal(long.MaxValue, watch.BackAtNs);
        watch.Report(0, WatchState.Up, 10, "up");
        Assert.Equal(long.MaxValue, watch.BackAtNs);
        watch.Report(1, WatchState.Up, 20, "carrier");
        Assert.Equal(20 + Steady, watch.BackAtNs);
    }

    [Fact]
    public void What_cannot_be_watched_is_told_with_its_field_whatever_comes()
    {
        (WatchedPart? Part, string? Field)[] all =
        [
            (null, ""), (new WatchedPart(), ""), (new WatchedPart("10.1.1.1", "eth1"), ""), (new WatchedPart("10.1.1.300"), "/bfd"),
            (new WatchedPart(Neighbor: "224.0.0.1"), "/neighbor"), (new WatchedPart(Carrier: "a/b"), "/carrier"),
            (new WatchedPart("fd00::1"), null), (new WatchedPart(Carrier: "eth1"), null), (new WatchedPart(Neighbor: "10.1.1.1"), null),
        ];
        Assert.Equal(all.Select(a => a.Field), all.Select(a => SignalChecks.WhyNotWatched(a.Part)?.Field));
    }

    private static ArmedWatch Two() => new([new WatchedPart("10.1.1.10"), new WatchedPart(Carrier: "eth1")]);
}
