using System.Text.Json;
using System.Text.Json.Nodes;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;
using SdnEdge.Demo.Run;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;
using Xunit;

namespace SdnEdge.Lab.Tests.Report;

/// <summary>What a report says of a server that is a virtual machine.</summary>
public sealed class GuestReportTests
{
    private const long Ms = SyntheticRun.Ms, Mib = 1 << 20;

    /// <summary>A copy of two passes that the gate ends, before the switch.</summary>
    private static readonly CopyInfo s_copy = new("m1", 1, "host-b", SyntheticRun.Switch - (1500 * Ms), SyntheticRun.Pause + (40 * Ms),
        true, 90 * Mib, 91 * Mib, 2,
        [.. Enumerable.Range(0, 15).Select(i => new CopySample(SyntheticRun.Switch - ((1500 - (100L * i)) * Ms), i < 10 ? 1 : 2,
            (i < 10 ? 100 - (10L * i) : 15 - i) * Mib, 10L * i * Mib, 80e6, 2e6, i > 12))]);

    private static GuestFacts Guest() => new(new MachineInfo("qemu", "10.0.2", "tcg", "pc-q35-7.2", "qemu64", 1, 160 * Mib), s_copy,
        [.. Enumerable.Range(0, 20).Select(i => Sample(i, 100 + (2 * i)))], 0, 8 * Mib, 20, [new RateTrial(5000, 9000, 3, 0),
            new RateTrial(2500, 5000, 0, 0)]);

    // One every 200 ms from the first packet on.
    private static GuestSample Sample(int i, long ticks, long bad = 0) => new(SyntheticRun.Origin + (200 * i * Ms),
        SyntheticRun.Origin + (((200 * i) + 45) * Ms), ticks, bad);

    private static RunFacts Facts(GuestFacts guest) => new SyntheticRun().Facts() with { Reverse = [], Guest = guest };

    private static DemoReport Build(GuestFacts guest) => ReportBuilder.Build(ReportBuilder.Analyse(Facts(guest)));

    [Fact]
    public void The_server_is_described_and_its_times_stand_beside_their_goals()
    {
        DemoReport report = Build(Guest());
        Assert.Empty(report.Failures);
        Assert.Equal(new ServerReport("qemu", "10.0.2", "tcg", 160 * Mib, 90 * Mib, 2, 300, true, true, 0), report.Server);

        // From the last packet before the switch to the first after the release: 300 ms of blackout, and what is before and after it.
        Assert.InRange(report.Goals!.GapMs!.Value, 300, 400);
        Assert.Equal((420, 300, 40 + 40 + 60), (report.Goals.GapBoundMs!.Value, report.Goals.StopToRunMs!.Value,
            report.Goals.StopToRunBoundMs));
        Assert.True(report.Passed, "a goal that is missed fails no run");
        Assert.Equal((true, 2), (report.Probe.Echo, report.Probe.Trials!.Count));
        Assert.Equal(15, report.Precopy!.Samples.Count);
        PrecopySample first = report.Precopy.Samples[0];
        Assert.Equal((500, 100 * Mib, 1), (report.Precopy.BeganMs, first.RemainingBytes, first.Pass));
    }

    [Fact]
    public void Json_has_each_field_of_the_server_and_nulls_for_a_stand_in()
    {
        JsonObject guest = Server(Build(Guest())), standIn = Server(ReportBuilder.Build(ReportBuilder.Analyse(new SyntheticRun().Facts())));
        string[] fields = ["kind", "version", "accelerator", "memoryBytes", "precopyBytes", "passes", "downtimeMs", "counterContinuous",
            "patternIntact"];
        Assert.All(fields, f => Assert.NotNull(guest[f]));
        Assert.Equal("stand-in", (string)standIn["kind"]!);
        Assert.All(fields.Skip(1), f => Assert.True(standIn.ContainsKey(f) && standIn[f] is null, f));

        static JsonObject Server(DemoReport report)
            => JsonNode.Parse(JsonSerializer.Serialize(report, DemoReport.Json))!["server"]!.AsObject();
    }

    [Theory]
    [InlineData(true, "gate shut")]
    [InlineData(false, "its host has no record")]
    public void The_page_shows_the_copy_in_the_timeline_where_there_is_one(bool copied, string says)
    {
        RunFacts facts = Facts(copied ? Guest() : Guest() with { Copy = null });
        RunAnalysis run = ReportBuilder.Analyse(facts);
        string page = HtmlReport.Render(run, ReportBuilder.Build(run));
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);
        Assert.Equal(copied, page.Contains("class=\"remaining\"", StringComparison.Ordinal));
        Assert.Equal(copied, page.Contains("class=\"dirty\"", StringComparison.Ordinal));
        Assert.Contains(says, page, StringComparison.Ordinal);
        Assert.Contains("emulated (tcg)", page, StringComparison.Ordinal);
    }

    [Fact]
    public void The_switch_is_drawn_larger_where_the_copy_takes_most_of_the_time()
    {
        const string Detail = "From the switch to the direct path";
        RunFacts facts = Facts(Guest());
        Assert.DoesNotContain(Detail, Page(facts), StringComparison.Ordinal);
        MoveFacts move = facts.Move with
        {
            Stages = [new StageMark("mirror", SyntheticRun.Switch - (9000 * Ms), SyntheticRun.Switch - (90 * Ms)), .. facts.Move.Stages],
        };
        string page = Page(facts with { Move = move });
        Assert.Contains(Detail, page, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page, StringComparison.Ordinal);

        static string Page(RunFacts facts)
        {
            RunAnalysis run = ReportBuilder.Analyse(facts);
            return HtmlReport.Render(run, ReportBuilder.Build(run));
        }
    }

    [Fact]
    public void What_the_host_and_the_machine_did_not_say_is_told_as_that()
    {
        DemoReport report = Build(Guest() with { Machine = null, Copy = null, PatternWrong = null, Samples = [] });
        Assert.Equal(new ServerReport("qemu", DowntimeMs: 300), report.Server);
        Assert.Equal(3, report.Failures.Count(f => f.StartsWith("server: ", StringComparison.Ordinal)));
    }

    public static TheoryData<string> Breaks
        => ["its counter did not go on", "the pattern in its memory is damaged", "7 words of its memory"];

    [Theory]
    [MemberData(nameof(Breaks))]
    public void A_machine_that_is_not_the_same_fails_the_run(string says)
    {
        GuestFacts guest = says switch
        {
            "its counter did not go on" => Guest() with { Samples = [.. Guest().Samples.Take(15), .. Enumerable.Range(15, 5)
                .Select(i => Sample(i, i))] },
            "7 words of its memory" => Guest() with { Samples = [.. Guest().Samples, Sample(20, 140, 7)] },
            _ => Guest() with { PatternWrong = 1 },
        };
        string failure = Assert.Single(Build(guest).Failures);
        Assert.StartsWith("server: ", failure, StringComparison.Ordinal);
        Assert.Contains(says, failure, StringComparison.Ordinal);
    }

    [Fact]
    public void A_counter_that_stands_still_after_the_move_or_runs_ahead_is_not_continuous()
    {
        GuestSample[] good = [.. Guest().Samples];
        Assert.True(Judge(good));
        GuestSample still = good.Last(s => s.AnsweredNs < SyntheticRun.Pause);
        Assert.False(Judge([.. good.Select(s => s.AskedNs > still.AskedNs ? s with { Ticks = still.Ticks } : s)]));
        Assert.False(Judge([.. good.Select((s, i) => i > 15 ? s with { Ticks = s.Ticks + 1000 } : s)]));
        Assert.Null(Judge([.. good.Where(s => s.AskedNs < SyntheticRun.Pause)]));
        Assert.Null(Judge([.. good.Where(s => s.AskedNs > SyntheticRun.Pause)]));

        static bool? Judge(GuestSample[] samples)
            => (Guest() with { Samples = samples }).CounterContinuous(SyntheticRun.Pause, SyntheticRun.Resume);
    }

    [Fact]
    public void A_move_by_a_script_stands_beside_the_managers()
    {
        var script = new ScriptReport(5000, 20_000, 1234, 0, 7, 800, 100 * Mib, 250, 3000, 0, 450, true, null);
        RunFacts facts = Facts(Guest()) with { Script = script };
        RunAnalysis run = ReportBuilder.Analyse(facts);
        DemoReport report = ReportBuilder.Build(run);
        Assert.True(report.Passed, "what the script loses fails no run");
        Assert.Equal(script, report.Script);
        string[][] rows = Beside.Rows(report, script);
        Assert.Equal(["by a script", "20,000", "1,234", "7", "800", "250", "450", "0", "100.0"], rows[1]);
        Assert.Equal(("by the manager", "0", "300", "90.0"), (rows[0][0], rows[0][2], rows[0][5], rows[0][8]));
        string page = HtmlReport.Render(run, report);
        Assert.Contains("moved by a script", page, StringComparison.Ordinal);
        Assert.Contains("<td>1,234</td>", page, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(10_000, 5000, 1)]
    [InlineData(9_999, 2500, 2)]
    [InlineData(2600, 1250, 3)]
    [InlineData(700, 312, 5)]
    public async Task The_rate_is_half_of_what_the_machine_keeps_up_with_and_at_most_the_wanted_one(long copes, long expected, int tries)
    {
        (long rate, IReadOnlyList<RateTrial> trials) = await RateSearch.FindAsync(5000, r => Try(r, copes));
        Assert.Equal((expected, tries), (rate, trials.Count));
        Assert.True(trials[^1].Clean);
        Assert.All(trials.SkipLast(1), t => Assert.False(t.Clean));
    }

    [Fact]
    public void A_machine_that_only_queues_does_not_keep_up()
    {
        Assert.True(new RateTrial(5000, 100, 0, 0, 150).Clean);
        Assert.False(new RateTrial(5000, 100, 0, 0, 151).Clean);

        // Each packet takes 10 longer than the one before it.
        ProbeRecord[] sent = [.. Enumerable.Range(0, 11).Select(i => new ProbeRecord(i + 1, 0, (uint)i, 0, 1, 0))];
        ProbeRecord[] received = [.. sent.Select(p => p with { ArrivalNs = p.SendNs + 40 + (10 * p.Sequence) })];
        Assert.Equal(90, StreamAnalysis.Of(1, sent, received).BehindNs(2));
        Assert.Equal(0, StreamAnalysis.Of(1, sent, []).BehindNs(2));
    }

    [Fact]
    public async Task A_machine_that_loses_packets_at_any_rate_is_an_error()
        => Assert.Contains("before anything is moved", (await Assert.ThrowsAsync<LabException>(
            () => RateSearch.FindAsync(5000, r => Try(r, 10)))).Message, StringComparison.Ordinal);

    [Fact]
    public void The_longest_gap_is_that_around_the_move_not_one_elsewhere()
    {
        ProbeRecord[] sent = [.. Enumerable.Range(0, 5).Select(i => new ProbeRecord(i + 1, 0, (uint)i, 0, 1, 0))];
        ProbeRecord[] received = [.. new long[] { 10, 20, 50, 60, 200 }.Select((at, i) => new ProbeRecord(i + 1, at, (uint)i, 0, 1, 0))];
        var analysis = StreamAnalysis.Of(1, sent, received);
        Assert.Equal((140, 30, 30, 0),
            (analysis.MaxGapNs, analysis.LongestGapNs(30, 40), analysis.LongestGapNs(15, 55), analysis.LongestGapNs(201, 300)));
    }

    private static Task<RateTrial> Try(long rate, long copes)
        => Task.FromResult(new RateTrial(rate, 2 * rate, Math.Max(rate - copes, 0), 0));
}
