using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>The last signals of a move whose ingress PEs all send flush markers: asked ahead, and carried out when those have
/// come.</summary>
public class AfterMarkersTests
{
    private static readonly OrderGateInfo Gate
        = new("pe-i", "10.255.0.9", true, GateOpening.Marker, 1, 1, true, 1, 2, 3, 0, 0, 0, 0);

    [Fact]
    public void A_target_that_was_torn_down_after_the_markers_has_proved_that_the_tunnel_was_empty()
    {
        using Story story = InOrder().Until(MoveStage.Release).Done("release").Done("advertise").Done("direct-path");
        Assert.DoesNotContain(story.Open, c => c is WatchPath { Kind: PathWatch.Clean } or WatchServer);
        Assert.Equal(3, story.Open.Count(c => c is SendSignal { Request: { AfterMarkers: true, WaitMs: > 0 } } or WatchPath
            || c.Key.StartsWith("withdraw", StringComparison.Ordinal)));
        story.Done("withdraw").Done("teardown m1.1 pe-a");
        Assert.Contains(story.Open, c => c is WatchPath { Kind: PathWatch.Clean });
        Assert.Contains(story.Open, c => c is WatchServer { Kind: ServerWatch.RunsAtTarget });
        story.Feed(TornDown(story, new OrderInfo(7, true, [Gate], 0, 0)));
        Assert.Equal(MoveStage.Inspect, story.Move.Stage);
        Assert.Equal(TeardownProof.Markers, story.Move.Proofs["m1.1"]);
        Assert.Equal(["pe-i"], story.Move.EvidenceOf("m1.1").ByMarker!);
        story.End();
        Assert.Equal(MigrationOutcome.Moved, story.Migration.Outcome);
    }

    [Fact]
    public void One_that_does_not_say_so_has_not()
    {
        foreach (OrderInfo? order in (OrderInfo?[])[null, new OrderInfo(7, false, [Gate with { Proved = false }], 0, 0)])
        {
            using Story story = InOrder().Until(MoveStage.Release).Done("release").Done("advertise").Done("direct-path").Done("withdraw")
                .Done("teardown m1.1 pe-a");
            story.Feed(TornDown(story, order));
            Assert.Equal(MoveStage.Drain, story.Move.Stage);
            Assert.Empty(story.Move.Proofs);
            story.Until(MoveStage.LastPacket);
            Assert.Contains(story.Open, c => c is WatchPath { Kind: PathWatch.LastPacket });
        }
    }

    [Fact]
    public void Where_packets_come_by_others_nothing_is_asked_before_the_tunnel_is_seen_quiet()
    {
        MovePlan plan = Plans.InOrder(Plans.Move(["s1"]));
        using Story configured = new Story().Ask(Plans.Request(
            Cutover.Together, plan with { Paths = [.. plan.Paths.Select(p => p with { OtherIngress = true })] }));
        configured.End();
        using Story without = Story.Of("s1").End();
        Assert.All((Story[])[configured, without], s
            => Assert.DoesNotContain(s.Asked, c => c is SendSignal { Request.AfterMarkers: true }));

        // They were not expected, and have been seen.
        using Story seen = InOrder().Until(MoveStage.Release).Done("release").Done("advertise");
        seen.Feed(new Seen("direct-path m1.1", new PathEvidence(OthersSeen: true)));
        Assert.Equal(MoveStage.Withdraw, seen.Move.Stage);
        Assert.DoesNotContain(seen.Open, c => c is SendSignal { Request.AfterMarkers: true });
        Assert.DoesNotContain(seen.Open, c => c.Key.StartsWith("teardown", StringComparison.Ordinal));
    }

    // The markers of a path may be lost, all copies of them. What waits for them in vain does not keep what goes on without them waiting.
    [Fact]
    public void A_signal_that_waits_for_markers_has_a_queue_of_its_own()
    {
        using Story story = InOrder().Until(MoveStage.Release);
        var waits = (SendSignal)story.Command("withdraw");
        var plain = waits with { Request = waits.Request with { AfterMarkers = false, WaitMs = 0 } };
        Assert.NotEqual(MoveMachine.ResourceOf(plain), MoveMachine.ResourceOf(waits));
        Assert.Equal(plain.Key, waits.Key);
        story.Done("release").Done("advertise").Done("direct-path");
        Assert.False(((SendSignal)story.Command("withdraw")).Request.AfterMarkers);
    }

    private static Story InOrder() => new Story().Ask(Plans.Request(Cutover.Together, Plans.InOrder(Plans.Move(["s1"]))));

    private static SignalDone TornDown(Story story, OrderInfo? order)
    {
        var done = (SignalDone)Plans.Answer(story.Command("teardown m1.1 pe-b"));
        return done with { Reply = done.Reply with { Order = order } };
    }
}
