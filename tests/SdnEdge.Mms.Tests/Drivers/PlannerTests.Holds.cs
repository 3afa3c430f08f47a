using System.Collections.Immutable;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <content>Whether the hold takes what comes while nobody runs, and for how long nobody may.</content>
public sealed partial class PlannerTests
{
    [Fact]
    public async Task Hold_that_is_too_small_in_packets_bytes_or_time()
    {
        _lab.A.PacketsPerSecond = 10_010;
        await FindsAsync("hold-too-small", "pe-a > pe-b", ["801 packets, of 1000", "maxPackets: 1002"]);
        _lab.A.PacketsPerSecond = 10_000;
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);

        _lab.A.BytesPerSecond = 10_000_000;
        Obstacle bytes = Only(await _lab.PlanAsync(with: c => c with { Hold = new HoldOptions(MaxBytes: 900_000) }), "hold-too-small",
            "pe-a > pe-b");
        Assert.Contains("800000 bytes, of 900000", bytes.Detail, StringComparison.Ordinal);

        (_lab.A.PacketsPerSecond, _lab.A.BytesPerSecond) = (0, 0);
        Obstacle time = Only(await _lab.PlanAsync(with: c => c with { CopyMs = 9000, Hold = new HoldOptions() }), "hold-too-small",
            "pe-a > pe-b");
        Assert.Contains("older than 10000 ms", time.Detail, StringComparison.Ordinal);
    }

    // 12000 packets at 1000 a second last 12 s, and what is older than 10 s is dropped; two round trips to the source PE are 20 ms,
    // and to switch back takes 500.
    [Theory]
    [InlineData(1_000, 1_000, 0, 3_000, true)]        // never less, however small the hold
    [InlineData(12_000, 1_000, 0, 9_480, true)]       // by age
    [InlineData(9_000, 1_000, 0, 8_480, true)]        // by packets
    [InlineData(9_000, 0, 0, 9_480, true)]
    [InlineData(9_000, 10, 10_000_000, 6_190, true)]  // by bytes
    [InlineData(9_000, 1_000, 4_000, 8_480, true)]    // the copy is a part of the stop, and has twice its time at least
    [InlineData(9_000, 1_000, 7_000, 14_120, true)]
    public async Task The_stop_is_waited_for_as_long_as_the_hold_has_room(int packets, int rate, int bytesOrCopy, int stopMs, bool byHold)
    {
        int copyMs = bytesOrCopy < 10_000 ? bytesOrCopy : 0;
        (_lab.A.PacketsPerSecond, _lab.A.BytesPerSecond) = (rate, bytesOrCopy - copyMs);
        PlanResult plan = await _lab.PlanAsync(with: c => c with { CopyMs = copyMs, Hold = new HoldOptions(MaxPackets: packets) });
        Assert.Empty(plan.Info.Obstacles);
        Assert.Equal((stopMs, byHold), (plan.Moves[0].Options.StopMs, plan.Moves[0].Options.StopByHold));
    }

    // 60 ms of what is allowed are the orders'; the hold is asked for no more than four fifths, of which two round trips are 20.
    [Theory]
    [InlineData(null, 9_000, 1_940)]      // the group's two seconds
    [InlineData(500, 9_000, 440)]
    [InlineData(100_000, 9_000, 7_120)]   // 9000 packets at 1000 a second
    public async Task A_server_is_stopped_only_when_nobody_runs_for_as_long_as_is_allowed_and_held(int? allowed, int packets, int expected)
    {
        PlanResult plan = await _lab.PlanAsync(with: c => c with
        {
            MaxBlackoutMs = allowed, KeepTrying = true, Hold = new HoldOptions(MaxPackets: packets, MaxMilliseconds: 20_000),
        });
        Assert.Equal((expected, true), (plan.Moves[0].Options.MaxBlackoutMs, plan.Moves[0].Options.KeepTrying));
    }

    [Fact]
    public async Task More_than_is_allowed_is_an_obstacle_where_it_was_asked_for()
    {
        Obstacle found = Only(await _lab.PlanAsync(with: c => c with { MaxBlackoutMs = 59 }), "blackout-too-long", "web");
        Assert.Contains("nobody would run for 60 ms, 59 are allowed", found.Detail, StringComparison.Ordinal);
        Assert.Empty((await _lab.PlanAsync(with: c => c with { MaxBlackoutMs = 60 })).Info.Obstacles);
    }

    [Fact]
    public async Task Without_a_hold_the_stop_has_its_usual_time()
    {
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Hold = new HoldOptions(Disabled: true) });
        Assert.Equal((30_000, false), (plan.Moves[0].Options.StopMs, plan.Moves[0].Options.StopByHold));
    }

    [Fact]
    public async Task Others_behind_the_port_make_a_small_hold_a_warning()
    {
        _lab.A.PacketsPerSecond = 100_000;
        foreach (string own in new[] { "10.1.1.10", "10.1.1.12", "fe80::1" }) _lab.A.Neighbors.Add(new NeighborInfo("dc", own,
            "02:00:00:00:00:01", "reachable", 1));
        await FindsAsync("hold-too-small", "pe-a > pe-b", []);

        _lab.A.Neighbors.Add(new NeighborInfo("dc", "10.1.1.77", "02:00:00:00:00:02", "reachable", 1));
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Contains("10.1.1.77", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }
}
