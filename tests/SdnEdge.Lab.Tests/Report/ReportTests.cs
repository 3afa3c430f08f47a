using System.Text.Json;
using System.Text.Json.Nodes;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Probes;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

public sealed class ReportTests
{
    private const long Ms = SyntheticRun.Ms;

    private static DemoReport Build(RunFacts facts) => ReportBuilder.Build(ReportBuilder.Analyse(facts));

    [Fact]
    public void A_clean_switchover_passes()
    {
        DemoReport report = Build(new SyntheticRun().Facts());
        Assert.Empty(report.Failures);
        Assert.True(report.Passed);
        Assert.All(report.Ingress.Concat(report.Reverse), s => Assert.Equal((0, 0, 0), (s.Lost, s.Duplicated, s.ReorderedSwitchToRelease)));
        Assert.Equal(300, report.Parameters.MeasuredBlackoutMs);
        Assert.Equal(0.6, report.Switch.SignalToFirstMs);
    }

    [Fact]
    public void The_json_has_every_field_the_report_promises()
    {
        JsonNode json = JsonNode.Parse(JsonSerializer.Serialize(Build(new SyntheticRun().Facts()), DemoReport.Json))!;
        foreach (string path in new[]
        {
            "scenario", "probe.packetsPerSecond", "probe.flows", "probe.sizeBytes", "probe.seconds", "ingress", "reverse", "tcp.bytes",
            "tcp.resets", "tcp.maxStallMs", "stages", "switch.prefixes", "switch.storeNanoseconds", "switch.signalToFirstMs",
            "switch.stalePackets", "hold.packetsHeld", "hold.peakBytes", "hold.overflow", "tunnel.packets", "tunnel.tornDown", "residue",
        })
        {
            Assert.True(At(json, path) is not null, $"report.json has no {path}");
        }

        foreach (string list in new[] { "ingress", "reverse" })
        {
            Assert.Equal(3, json[list]!.AsArray().Count);
            foreach (string field in new[] { "name", "sent", "received", "lost", "duplicated", "reordered", "maxGapMs",
                "directPathAfterMs" })
            {
                Assert.All(json[list]!.AsArray(), s => Assert.True(s!.AsObject().ContainsKey(field), $"{list}[] has no {field}"));
            }
        }

        Assert.All(json["stages"]!.AsArray(), s => Assert.True((double)s!["startMs"]! <= (double)s["endMs"]!));
        Assert.All(json["stages"]!.AsArray(), s => Assert.NotEmpty((string)s!["name"]!));
    }

    [Fact]
    public void An_ingress_that_never_converged_stands_there_as_null()
    {
        RunFacts facts = new SyntheticRun().Facts();
        facts = facts with { Move = facts.Move with { AdvertisedNs = null } };
        string text = JsonSerializer.Serialize(Build(facts), DemoReport.Json);
        Assert.Contains("\"directPathAfterMs\": null", text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_direct_path_is_dated_by_the_first_packet_faster_than_the_tunnel()
    {
        DemoReport report = Build(new SyntheticRun().Facts());
        Assert.All(report.Ingress, i => Assert.Equal(50, i.DirectPathAfterMs));
        Assert.All(report.Ingress, i => Assert.Equal(35, i.FibAfterMs));
        Assert.Equal(20, report.Ingress[0].Delay.DirectMs);
        Assert.Equal(40, report.Ingress[0].Delay.TunnelMs);
    }

    [Fact]
    public void The_step_to_the_direct_path_may_reorder_and_is_counted_apart()
    {
        DemoReport report = Build(new SyntheticRun().Facts());
        Assert.All(report.Ingress, i => Assert.True(i.Reordered > 0));
        Assert.All(report.Ingress, i => Assert.Equal(0, i.ReorderedSwitchToRelease));
    }

    [Fact]
    public void Without_the_hold_what_was_sent_in_the_blackout_is_lost_and_the_run_fails()
    {
        DemoReport report = Build(new SyntheticRun { Hold = false }.Facts());
        Assert.False(report.Passed);
        Assert.All(report.Ingress, i => Assert.InRange(i.Lost, 300, 400));
        Assert.Contains(report.Failures, f => f.Contains("client-c to server", StringComparison.Ordinal)
            && f.Contains("lost", StringComparison.Ordinal));
        Assert.Equal(report.Ingress.Sum(i => i.Lost), report.Ledger.Sum(r => r.Forward.Lost));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Injected_loss_and_duplication_are_counted_to_the_packet(int seed)
    {
        var random = new Random(seed);
        SyntheticRun.Fate[] fates = [.. Enumerable.Range(0, 6000).Select(_ => (SyntheticRun.Fate)Math.Max(0, random.Next(20) - 17))];
        DemoReport report = Build(new SyntheticRun { FateOf = s => fates[s] }.Facts());
        int sent = (int)report.Ingress[0].Sent;
        Assert.All(report.Ingress, i => Assert.Equal(fates.Take(sent).Count(f => f == SyntheticRun.Fate.Lost), i.Lost));
        Assert.All(report.Ingress, i => Assert.Equal(fates.Take(sent).Count(f => f == SyntheticRun.Fate.Twice), i.Duplicated));
    }

    [Fact]
    public void The_ledger_equals_a_slow_count_over_all_packets()
    {
        var random = new Random(11);
        SyntheticRun.Fate[] fates = [.. Enumerable.Range(0, 6000).Select(_ => (SyntheticRun.Fate)Math.Max(0, random.Next(20) - 17))];
        RunFacts facts = new SyntheticRun { FateOf = s => fates[s] }.Facts();
        DemoReport report = Build(facts);
        for (int i = 0; i < report.Ledger.Count; i++)
        {
            long from = i == 0 ? long.MinValue : i == report.Ledger.Count - 1 ? facts.Move.Stages[^1].EndNs
                : facts.Move.Stages[i - 1].StartNs;
            long to = i == report.Ledger.Count - 1 ? long.MaxValue : i == report.Ledger.Count - 2 ? facts.Move.Stages[^1].EndNs
                : facts.Move.Stages[i].StartNs;
            long sent = 0, delivered = 0, held = 0, duplicated = 0;
            foreach (StreamFacts stream in facts.Forward)
            {
                long oneWay = stream.Received.Where(r => r.SendNs < SyntheticRun.Switch - (100 * Ms)).Min(r => r.ArrivalNs - r.SendNs);
                foreach (ProbeRecord packet in stream.Sent.Where(p => p.SendNs >= from && p.SendNs < to))
                {
                    ProbeRecord[] copies = [.. stream.Received.Where(r => r.Sequence == packet.Sequence)];
                    sent++;
                    delivered += copies.Length > 0 ? 1 : 0;
                    duplicated += Math.Max(copies.Length - 1, 0);
                    held += copies.Length > 0 && packet.SendNs >= SyntheticRun.Switch
                        && packet.SendNs + (2 * oneWay) < SyntheticRun.Release ? 1 : 0;
                }
            }

            LedgerCounts row = report.Ledger[i].Forward;
            Assert.Equal((sent, delivered, sent - delivered, duplicated), (row.Sent, row.Delivered, row.Lost, row.Duplicated));
            Assert.Equal(held, row.Held);
        }

        Assert.Equal(report.Ingress.Sum(s => s.Sent), report.Ledger.Sum(r => r.Forward.Sent));
        Assert.Equal(report.Reverse.Sum(s => s.Sent), report.Ledger.Sum(r => r.Reverse.Sent));
    }

    [Fact]
    public void A_packet_overtaken_on_its_own_way_is_told_from_one_overtaken_by_the_direct_path()
    {
        // Flow 0: 2 overtakes 1 at 60, on the tunnel; 4 comes by the direct path at 80 and overtakes 3.
        ProbeRecord[] sent = [.. Enumerable.Range(0, 5).Select(i => new ProbeRecord(10 * (i + 1), 0, (uint)i, 0, 1, 0))];
        ProbeRecord[] received =
            [.. new[] { (0, 50), (2, 60), (1, 70), (4, 80),
                (3, 90) }.Select(p => new ProbeRecord(10 * (p.Item1 + 1), p.Item2, (uint)p.Item1, 0, 1, 0))];
        var analysis = StreamAnalysis.Of(1, sent, received);
        Assert.Equal(2, analysis.Reordered);
        Assert.Equal(1, analysis.ReorderedBy(overtakenBeforeNs: 80, arrivedFromNs: 0));
        Assert.Equal(0, analysis.ReorderedBy(overtakenBeforeNs: 80, arrivedFromNs: 71));
        Assert.Equal(2, analysis.ReorderedBy(overtakenBeforeNs: long.MaxValue, arrivedFromNs: 0));
    }

    [Fact]
    public void A_packet_that_arrived_but_was_never_sent_is_not_received()
    {
        ProbeRecord[] sent = [new(1, 0, 0, 0, 1, 0)];
        ProbeRecord[] received = [new(1, 2, 0, 0, 1, 0), new(1, 3, 9, 0, 1, 0)];
        var analysis = StreamAnalysis.Of(1, sent, received);
        Assert.Equal((1, 1, 0), (analysis.Received, analysis.Unknown, analysis.Lost));
    }

    [Fact]
    public void The_page_needs_nothing_from_outside_and_tells_the_loss()
    {
        RunFacts facts = new SyntheticRun { Hold = false }.Facts();
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = ReportBuilder.Build(run);
        string page = HtmlReport.Render(run, report);
        Assert.DoesNotContain("http", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("src=", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.Contains("prefers-color-scheme: dark", page, StringComparison.Ordinal);
        Assert.Contains($"{report.Ingress.Sum(i => i.Lost):N0} of ", page, StringComparison.Ordinal);
        Assert.Contains("class=\"lost\"", page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_died_at_once_still_makes_a_report()
    {
        RunFacts whole = new SyntheticRun().Facts();
        RunFacts facts = whole with
        {
            Forward = [.. whole.Forward.Select(s => s with { Sent = [], Received = [], Sender = null })],
            Reverse = [],
            Tcp = null,
            Move = new MoveFacts { Error = "pe-a <refused> prepare" },
            Invalid = ["probe client-c died"],
        };
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = ReportBuilder.Build(run);
        string page = HtmlReport.Render(run, report);
        Assert.Contains("pe-a &lt;refused&gt; prepare", page, StringComparison.Ordinal);
        Assert.Contains(report.Failures, f => f.Contains("refused", StringComparison.Ordinal));
        Assert.Contains(report.Failures, f => f.Contains("probe client-c died", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("moved")]
    [InlineData("as-before")]
    [InlineData("running")]
    public void A_report_can_be_made_of_what_the_manager_says_alone(string state)
    {
        RunFacts facts = MigrationReports.Facts(SyntheticMigration.Of(state));
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = ReportBuilder.Build(run);
        Assert.Equal(state == "moved", report.Passed);
        Assert.False(report.Probe.Ran);
        Assert.Equal(("vs-7", 7L, "root"), (report.Migration!.Id, report.Migration.Epoch, report.Migration.By));
        Assert.Equal(["prepare", "switch", "stop", "activate", "release"], report.Migration.Calls.Select(c => c.What));
        Assert.Equal(300, report.Parameters.MeasuredBlackoutMs);
        Assert.Equal((903, 903, 0), (report.Hold.PacketsHeld, report.Hold.Released, report.Hold.Overflow));
        Assert.Equal(0, report.Stages[0].StartMs);
        string page = HtmlReport.Render(run, report);
        Assert.Contains("No probes ran", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<b>refused", page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.DoesNotContain("packets lost", page, StringComparison.Ordinal);
        Assert.DoesNotContain("pe-c", page, StringComparison.Ordinal);
    }

    [Fact]
    public void A_report_can_be_made_of_a_migration_that_has_not_begun()
    {
        MigrationStatus status = SyntheticMigration.Of("running") with { Moves = [] };
        RunAnalysis run = ReportBuilder.Analyse(MigrationReports.Facts(status));
        Assert.DoesNotContain("NaN", HtmlReport.Render(run, ReportBuilder.Build(run)), StringComparison.Ordinal);
    }

    private static JsonNode? At(JsonNode json, string path) => path.Split('.').Aggregate((JsonNode?)json, (node, name) => node?[name]);
}
