using System.Runtime.CompilerServices;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// Whole migrations as stories: each input, what is on record after it, and what is asked. The files in transcripts/ are what somebody has
/// read and found right. After an intended change: <c>SDNEDGE_UPDATE_GOLDEN=1 dotnet test tests/SdnEdge.Mms.Tests --filter
/// FullyQualifiedName~TranscriptTests</c> rewrites them; read the difference before you commit it.
/// </summary>
public class TranscriptTests
{

    internal static readonly Dictionary<string, Func<Story>> Stories = new(StringComparer.Ordinal)
    {
        ["one-server"] = () => Story.Of("s1").End().Feed(new CommitRequested("m1", "user ops"), "user ops"),
        ["three-servers-two-pairs"] = ()
            => new Story().Ask(Plans.Request(Cutover.Together, Plans.Move(["s1", "s2", "s3"], paths: 2))).End(),
        ["order-is-kept"] = () => new Story().Ask(Plans.Request(Cutover.Together, Plans.InOrder(Plans.Move(["s1"]))))
            .Until(MoveStage.Release).Done("advertise").Done("release")
            .Feed(new Seen("direct-path m1.1", new PathEvidence(Passed: true))).Done("teardown").Done("withdraw").End(),
        ["hand-over-after-the-pivot"] = () =>
        {
            MovePlan plan = Plans.Move(["s1"]);
            return new Story().Ask(Plans.Request(Cutover.Together, plan with { Servers = [plan.Servers[0] with { Undoable = false }] }))
                .Until(MoveStage.HandOver).Abort().End();
        },
        ["in-a-window"] = () => InWindow("s1").Feed(new WindowReached(Plans.Window.Near.AddSeconds(-1)))
            .Feed(new WindowReached(Plans.Window.Near)).Until(MoveStage.Mirror).Done("tunnel-up")
            .Feed(new WindowReached(Plans.Window.From)).End(),
        ["a-window-that-is-over"] = () => InWindow("s1").Feed(new WindowReached(Plans.Window.From)).Until(MoveStage.Mirror)
            .Done("tunnel-up").Feed(new WindowReached(Plans.Window.To)).End(),
        ["a-window-that-was-slept-through"] = () => InWindow("s1").Feed(new WindowReached(Plans.Window.To.AddDays(1))),
        ["a-fail-over"] = () => Story.FailOver(Plans.Move(["s1", "s2"])).End(),
        ["abort-in-fence"] = () => Story.FailOver(Plans.Move(["s1", "s2"])).Done("fence s1").Abort("it is back").End(),
        ["abort-in-await-window"] = () => InWindow("s1").Abort(),
        ["a-stale-volume"] = () => new Story().Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1"]))))
            .Until(MoveStage.Stop).Feed(Stale(epoch: 1, generation: 1, from: 901)).Until(MoveStage.ResumeSource)
            .Feed(Stale(epoch: 3, generation: 1, from: 901)).Feed(Stale(epoch: 3, generation: 1, from: null)).End(),
        ["a-stale-volume-is-whole-again"] = () => new Story()
            .Ask(Plans.Request(Cutover.Together, Plans.WithVolumes(Plans.Move(["s1"])))).Until(MoveStage.Mirror)
            .Feed(Stale(epoch: 1, generation: 1, from: 901)).Feed(Stale(epoch: 1, generation: 1, from: null)).Until(MoveStage.Activate)
            .Feed(Stale(epoch: 1, generation: 2, from: 950)).End(),
        ["abort-in-prepare-target"] = () => Story.Of("s1").Abort().End(),
        ["abort-in-prepare-source"] = () => Story.Of("s1").Until(MoveStage.PrepareSource).Abort().End(),
        ["abort-in-mirror"] = () => Story.Of("s1").Until(MoveStage.Mirror).Abort().End(),
        ["abort-in-switch"] = () => Story.Of("s1").Until(MoveStage.Switch).Abort().End(),
        ["abort-in-stop"] = () => Story.Of("s1").Until(MoveStage.Stop).Abort().End(),
        ["stop-times-out"] = () => Story.Of("s1").Until(MoveStage.Stop).Expire("stop s1 host-a 1: host-a does not answer").End(),
        ["stop-times-out-and-the-host-is-cut-off"] = () =>
        {
            MoveOptions options = Plans.Quick with { StopMs = 4_000, StopByHold = true };
            Story story = new Story().Ask(Plans.Request(Cutover.Together, Plans.Move(["s1", "s2"], options: options)))
                .Until(MoveStage.Stop).Done("stop s1").Expire("stop s2 host-a 1: host-a does not answer");
            foreach (string done in (string[])["abort m1.1 pe-a", "last-packet", "abort m1.1 pe-b", "given-back"]) story.Done(done);
            return story.End();
        },
        ["settled-at-the-source"] = () => Settled(atTarget: false).End(),
        ["settled-at-the-target"] = () => Settled(atTarget: true).End(),
        ["settled-and-another-host-ran-it"] = () => Settled(atTarget: false)
            .Done("void s1 host-b 5", EpochVerdict.Ran).End(),
        ["settled-and-a-second-right-is-used"] = () => Settled(atTarget: false, two: true)
            .Refuse("retire s1 host-b 6", "server s1: it may run here, under epoch 5, and it runs").Abort(),
        ["settled-and-called-off"] = () => Settled(atTarget: true).Done("void s1 host-a 5").Abort("not yet"),
        ["void-answered-void"] = ()
            => Story.Of("s1", "s2").Until(MoveStage.Activate).Abort("host-b is on fire").Done("void s1").Done("void s2").End(),
        ["void-answered-ran"] = () => Story.Of("s1").Until(MoveStage.Activate).Abort().Done("void s1", EpochVerdict.Ran)
            .Abort("do it nevertheless").Refuse("activate s1", "out of memory").End(),
        ["void-answered-by-activate"] = () =>
        {
            Story story = Story.Of("s1").Until(MoveStage.Activate);
            MoveInput late = Plans.Answer(story.Command("activate s1"));
            return story.Abort().Feed(late).End();
        },
        ["void-mixed"] = () => Story.Of("s1", "s2").Until(MoveStage.Activate).Abort().Done("void s1").Done("void s2",
            EpochVerdict.Ran).End(),
        ["activate-refused"] = ()
            => Story.Of("s1").Until(MoveStage.Activate).Refuse("activate s1", "the machine type is unknown here").End(),
        ["activate-refused-when-one-runs"] = ()
            => Story.Of("s1", "s2").Until(MoveStage.Activate).Done("activate s2").Refuse("activate s1", "no memory")
            .Abort().End(),
        ["fenced"] = () => Story.Of("s1").Until(MoveStage.Switch).Refuse("switch", "epoch 1 is lower than 7", "/problems/stale-epoch"),
        ["taken-up-in-stop-without-a-PE"] = () => Story.Of("s1").Until(MoveStage.Stop).Feed(new TakenUp("pe-a is silent")).End(),
        ["taken-up-in-stop"] = () => Story.Of("s1").Until(MoveStage.Stop).Feed(new TakenUp()).End(),
        ["one-by-one-the-third-fails"] = () => OneByOne().Until(MoveStage.PrepareTarget).EndMove().EndMove()
            .Refuse("prepare m1.3 pe-b", "its table is full").EndMove().EndMove().EndMove(),
        ["a-move-back-is-tried-again"] = () => OneByOne().EndMove().EndMove().Refuse("prepare m1.3").EndMove()
            .Refuse("prepare m1-4.1", "its table is full").EndMove().Abort().Feed(new TakenUp()).Feed(new Begin()).End(),
    };

    public static TheoryData<string> Names => new(Stories.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void The_story_is_as_somebody_has_read_it(string name) => Golden.Check($"Machines/transcripts/{name}.txt", Stories[name]().Text);

    [Fact]
    public void Every_transcript_is_made_by_a_test() => Assert.Equal(
        Stories.Keys.Order(StringComparer.Ordinal),
        Directory.GetFiles(Golden.PathOf("Machines/transcripts"),
            "*.txt").Select(f => Path.GetFileNameWithoutExtension(f)!).Order(StringComparer.Ordinal));

    [Fact]
    public void Every_stage_before_the_pivot_has_a_story_of_its_abort() => Assert.All(
        SdnEdge.Mms.Machines.StageTable.Rows.Where(r => r.BeforePivot), r
            => Assert.Contains($"abort-in-{Words.Of(r.Stage)}", Stories.Keys));

    [Fact]
    public void Every_stage_is_reached_by_a_story()
    {
        IEnumerable<MoveStage> reached =
            Stories.Values.SelectMany(s => s().States).SelectMany(s => s.Timeline.Select(t => t.Stage).Append(s.Stage));
        Assert.Equal(Enum.GetValues<MoveStage>(), reached.Distinct().Order());
    }

    [Fact]
    public void The_fold_of_the_records_is_the_state_that_was_lived() => Assert.All(Stories.Values, make =>
    {
        Story story = make();
        Assert.Equivalent(story.State, Story.Fold(story.Records), strict: true);
    });

    // s1 was half way to site-b under epoch 5 when the journal was lost.
    private static Story Settled(bool atTarget, bool two = false)
    {
        SettleAsk Void(string host, long epoch) => new(host, "s1", ServerOrder.Void, epoch);
        SettleAsk[] asks = two ? [Void("host-a", 5), Void("host-a", 6), new("host-b", "s1", ServerOrder.Retire, 6)]
            : [Void("host-a", 5), Void("host-a", 6), Void("host-b", 5), Void("host-b", 6)];
        MovePlan plan = Plans.Move(["s1"]) with { Migration = "m4", Epoch = 6, Settle = new Settlement(atTarget, asks) };
        var groups = System.Collections.Immutable.ImmutableSortedDictionary<string, GroupState>.Empty.Add("shop", GroupState.Fresh with
        {
            Epoch = 5,
        });
        return new Story().Feed(
            new Recovered(groups, 1, ManagerState.FirstKey, "user ops", Settled: [new SettledMove("shop", plan)]), "user ops");
    }

    private static Story InWindow(params string[] servers)
        => new Story().Ask(Plans.Request(Cutover.Together, Plans.InWindow(Plans.Move(servers))));

    private static StaleReported Stale(ulong epoch, ulong generation, ulong? from)
        => new(Plans.VolumeId("disk-s1"), epoch, generation, from, "certificate store-a", "disk-s1");

    private static Story OneByOne() => new Story().Ask(Plans.Request(
        Cutover.OneByOne, Plans.Move(["s1"]), Plans.Move(["s2"], firstPath: 2), Plans.Move(["s3"], firstPath: 3)));
}

/// <summary>Golden files, and the one switch that rewrites them.</summary>
internal static class Golden
{
    public static bool Rewrite => Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_GOLDEN") == "1";

    public static string PathOf(string name, [CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", name);

    public static void Check(string name, string actual)
    {
        string path = PathOf(name);
        if (Rewrite)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, actual);
        }

        Assert.True(File.Exists(path), $"{path} is not there; SDNEDGE_UPDATE_GOLDEN=1 writes it");
        Assert.Equal(File.ReadAllText(path), actual);
    }
}
