using System.Text.Json;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using Xunit;

namespace SdnEdge.Mms.Tests.Journal;

/// <summary>What <c>mms replay</c> says. Its words for each kind of record are in the transcripts
/// (<see cref="TranscriptTests"/>).</summary>
public class ReplayTests
{
    [Fact]
    public async Task Every_record_is_told_and_a_filter_leaves_out_those_of_other_migrations()
    {
        ScriptedJournal journal = Two();
        using var all = new StringWriter();
        Assert.Equal(journal.Records.Count, await Replay.RunAsync(journal, all));
        using var one = new StringWriter();
        int told = await Replay.RunAsync(journal, one, "m2");
        Assert.Equal(journal.Records.Count(r => r.Migration == "m2"), told);
        Assert.InRange(told, 1, journal.Records.Count - 1);
        Assert.DoesNotContain("  m1  ", one.ToString());
        Assert.Contains("  m2  ", one.ToString());
        Assert.Contains("THE PIVOT", all.ToString());
        Assert.Contains("2026-01-01T00:00:01", all.ToString());
        Assert.Equal(0, await Replay.RunAsync(journal, TextWriter.Null, "m9"));
    }

    [Fact]
    public async Task As_JSON_each_record_is_a_line_of_its_own()
    {
        ScriptedJournal journal = Two();
        using var text = new StringWriter { NewLine = "\n" };
        await Replay.RunAsync(journal, text, json: true);
        JsonElement[] lines =
            [.. text.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement)];
        Assert.Equal(journal.Records.Select(r => r.Position), lines.Select(l => l.GetProperty("position").GetInt64()));
        JsonElement pivot = Assert.Single(lines,
            l => l.GetProperty("owner").EnumerateArray().Any(o => o.GetString()!.Contains("site-b", StringComparison.Ordinal)));
        Assert.Equal(["stop", "hand-over", "activate"], pivot.GetProperty("stages").EnumerateArray().Select(s => s.GetString()));
        Assert.Equal("host-b: activate s1 (epoch 1)", pivot.GetProperty("asks")[0].GetString());
    }

    [Fact]
    public async Task What_can_be_read_is_told_before_the_record_that_cannot()
    {
        Story story = Story.Of("s1").Until(MoveStage.Mirror);
        var later = new JournalRecord(story.Records.Count + 1, "", 1, "l", "manager", "m1", "x", """{"record":"later"}""");
        var journal = new ScriptedJournal(story.Records.Append(later));
        using var text = new StringWriter();
        var e = await Assert.ThrowsAsync<JournalUnavailableException>(() => Replay.RunAsync(journal, text));
        Assert.Equal(story.Records.Count + 1, e.Position);
        Assert.Contains("prepare-source -> mirror", text.ToString());
    }

    // One that moved, and one of another group that is undone.
    private static ScriptedJournal Two()
    {
        Story story = Story.Of("s1").End().Ask(Plans.Request(Cutover.Together, Plans.Move(["t1"], migration: "m2")));
        return new ScriptedJournal(story.Feed(new MoveHappened("m2", new AbortRequested("user ops", "no"))).Records);
    }
}
