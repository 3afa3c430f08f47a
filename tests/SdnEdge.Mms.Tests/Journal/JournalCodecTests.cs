using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using Xunit;
using GateOpening = SdnEdge.Core.Migration.GateOpening;

namespace SdnEdge.Mms.Tests.Journal;

/// <summary>Inputs as records and back. What is lost here is forgotten after a crash.</summary>
public class JournalCodecTests
{
    [Property(MaxTest = 200)]
    public void Every_input_is_read_back_as_it_was_written(int seed)
    {
        var random = new Random(seed);
        ManagerInput[] inputs =
        [
            Request(random), new CommitRequested(Word(random), Word(random)),
            new Recovered(
                ImmutableSortedDictionary<string, GroupState>.Empty.Add(Word(random), new GroupState(
                    random.NextInt64(), ImmutableSortedDictionary<string,
                        Ownership>.Empty.Add(Word(random), new Ownership(Word(random), random.NextInt64())))),
                random.NextInt64(), (uint)random.Next(), Word(random), random.Next(2) == 0 ? null : [Word(random)]),
            new StaleReported(Guid.NewGuid(), (ulong)random.NextInt64(), (ulong)random.NextInt64(),
                random.Next(2) == 0 ? null : (ulong)random.NextInt64(), Word(random), random.Next(2) == 0 ? null : Word(random)),
            new ProtectionRequested(
                new ProtectionRequest(Word(random), ProtectionPolicy.Cold, random.Next(2) == 0,
                    [new SiteWatch(Word(random), new WatchedPart(Bfd: Word(random)))]),
                Plans.Move([Word(random)]), Word(random)),
            new UnprotectRequested(Word(random), Word(random)),
            new FailoverRequested(Word(random), Word(random), Word(random),
                new Failover(FenceKind.Kill, Word(random), random.Next(2) == 0 ? null : [Guid.NewGuid()]), Word(random)),
            .. ProtectionInputs(random).Select(i => new ProtectionHappened(Word(random), random.NextInt64(), i)),
            .. MoveInputs(random).Select(i => new MoveHappened(Word(random), i)),
        ];
        Assert.Equal(AllKinds(typeof(ProtectionInput)),
            inputs.OfType<ProtectionHappened>().Select(i => i.Input.GetType().Name).Distinct().Order());
        Assert.Equal(AllKinds(typeof(ManagerInput)), inputs.Select(i => i.GetType().Name).Distinct().Order());
        Assert.Equal(AllKinds(typeof(MoveInput)), inputs.OfType<MoveHappened>().Select(i => i.Input.GetType().Name).Distinct().Order());
        foreach (ManagerInput input in inputs)
        {
            JournalEntry entry = JournalCodec.Write(input, 5, "2026-01-01T00:00:00.000Z", "user ops");
            ManagerInput read = JournalCodec.Read(Record(entry));
            Assert.Equivalent(input, read, strict: true);
            Assert.Equal(entry, JournalCodec.Write(read, 5, "2026-01-01T00:00:00.000Z", "user ops"));
        }
    }

    private static ProtectionInput[] ProtectionInputs(Random random) =>
    [
        new PartDone(Word(random)), new PartLost(Word(random), Word(random)), new FlipSeen(Word(random), random.Next(2) == 0),
        new ProtectionFenced(Word(random)), new ProtectionTakenUp(),
        random.Next(2) == 0 ? new SourceTells(Word(random), null) : new SourceTells(Word(random), (uint)random.Next(), [Word(random)]),
    ];

    // The word in the record's column is the one in its body: replay filters by it, and people read it.
    [Fact]
    public void The_word_of_a_record_is_the_word_in_its_body()
    {
        foreach (MoveInput input in MoveInputs(new Random(1)))
        {
            JournalEntry entry = JournalCodec.Write(new MoveHappened("m1", input), 5, "", "manager");
            using JsonDocument body = JsonDocument.Parse(entry.Body);
            Assert.Equal("move-happened", body.RootElement.GetProperty("record").GetString());
            Assert.Equal(entry.Input, body.RootElement.GetProperty("input").GetProperty("input").GetString());
        }
    }

    [Theory]
    [InlineData("""{"record":"volume-sealed","migration":"m1"}""")]
    [InlineData("""{"record":"move-happened","migration":"m1","input":{"input":"guest-flew"}}""")]
    [InlineData("""{"record":"move-happened","migration":"m1","input":{"input":"stage-expired","stage":"teleport","detail":""}}""")]
    [InlineData("""{"record":"move-happened","migration":"m1","input":{"input":"begin","faster":true}}""")]
    [InlineData("""{"migration":"m1"}""")]
    [InlineData("null")]
    [InlineData("{")]
    public void A_record_that_this_version_does_not_know_is_refused_with_its_position(string body)
    {
        var e = Assert.Throws<JournalUnavailableException>(() => JournalCodec.Read(new JournalRecord(17, "", 1, "l", "manager", "m1", "x",
            body)));
        Assert.Equal(JournalFault.TooNew, e.Fault);
        Assert.Equal(17, e.Position);
        Assert.Contains("record 17", e.Message);
        Assert.Contains("use the version that wrote it", e.Message);
    }

    [Fact]
    public async Task A_journal_that_is_too_new_is_not_taken_up()
    {
        Story story = Story.Of("s1").Until(MoveStage.Stop);
        var journal = new ScriptedJournal(story.Records.Append(
            new JournalRecord(story.Records.Count + 1, "", 1, "l", "manager", "m1", "x", """{"record":"later"}""")));
        var parties = new ScriptedParties(journal);
        var e = await Assert.ThrowsAsync<JournalUnavailableException>(() => Mms.Drivers.ManagerService.StartAsync(journal, parties));
        Assert.Equal(JournalFault.TooNew, e.Fault);
        Assert.Empty(parties.Log);
    }

    /// <summary>
    /// data/v1-inputs.jsonl are the journals of the first version, one record a line, and data/v1-outcomes.txt what they led to. They are
    /// never
    /// rewritten: a later version must read them, to the same end. A new form of a record is a new file.
    /// </summary>
    [Fact]
    public void The_journals_of_the_first_version_lead_to_what_they_led_to_then()
    {
        string file = Golden.PathOf("data/v1-inputs.jsonl"), outcomes = Golden.PathOf("data/v1-outcomes.txt");
        if (Golden.Rewrite && !File.Exists(file))
        {
            var made = new StringBuilder();
            foreach ((string name, Func<Story> make) in TranscriptTests.Stories.OrderBy(s => s.Key, StringComparer.Ordinal))
            {
                foreach (JournalRecord r in make().Records)
                    made.Append(JsonSerializer.Serialize(new { story = name, r.Position, r.At, r.NowNs, r.Life, r.Actor, r.Migration,
                        r.Input, r.Body }, s_web)).Append('\n');
            }

            File.WriteAllText(file, made.ToString());
            File.WriteAllText(outcomes, Outcomes(file));
        }

        Assert.Equal(File.ReadAllText(outcomes), Outcomes(file));
        Assert.Equal(19, File.ReadAllText(outcomes).Split('\n').Count(l => l.StartsWith("story ", StringComparison.Ordinal)));
    }

    private static readonly JsonSerializerOptions s_web =
        new(JsonSerializerDefaults.Web) { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static string Outcomes(string file)
    {
        var text = new StringBuilder();
        foreach (var story in File.ReadLines(file).Select(l => JsonDocument.Parse(l).RootElement.Clone()).GroupBy(l
            => l.GetProperty("story").GetString()!))
        {
            ManagerState state = Story.Fold(story.Select(l => l.Deserialize<JournalRecord>(s_web)!));
            text.Append($"story {story.Key}\n");
            foreach ((string name, GroupState group) in state.Groups)
                text.Append($"  group {name} epoch {group.Epoch}: "
                    + $"{string.Join(", ", group.Owners.Select(o => $"{o.Key} at {o.Value.Site} under {o.Value.Epoch}"))}\n");
            foreach (MigrationState migration in state.Migrations.Values)
            {
                text.Append($"  {migration.Id} {(migration.Outcome is { } o ? Words.Of(o) : "runs")}, failure: "
                    + $"{migration.Failure ?? "none"}, committed: {migration.Committed}\n");
                foreach (MoveState move in migration.Moves)
                {
                    text.Append($"    {move.Plan.From} to {move.Plan.To}, epoch {move.Epoch}, {Words.Of(move.Stage)}, "
                        + $"{(move.Outcome is { } m ? Words.Of(m) : "runs")}: ");
                    text.Append($"{string.Join(' ', move.Timeline.Select(t => Words.Of(t.Stage) + (t.Error is null ? "" : "!")))}; done "
                        + $"{move.Done.Count}, ");
                    text.Append($"signals {move.Signals.Count}, orders {move.Orders.Count}, running {string.Join('+', move.Running)}\n");
                }
            }
        }

        return text.ToString();
    }

    private static IEnumerable<string> AllKinds(Type of)
        => of.Assembly.GetTypes().Where(t => t.IsSubclassOf(of)).Select(t => t.Name).Order();

    private static JournalRecord Record(JournalEntry e) => new(1, e.At, e.NowNs, "life", e.Actor, e.Migration, e.Input, e.Body);

    private static MoveInput[] MoveInputs(Random random) =>
    [
        new Begin(), new TakenUp(), new TakenUp(Word(random)),
        new SignalDone(Word(random),
            new SignalReply(Word(random), Any<SignalKind>(random), Any<PeMigrationState>(random), random.NextInt64(), random.Next(2) == 0,
            random.NextInt64(), random.NextInt64(), random.Next(2) == 0 ? null : random.NextInt64()), random.NextInt64()),
        new OrderDone(Word(random),
            new ServerReply(Word(random), Any<ServerOrder>(random), random.NextInt64(), Any<ServerState>(random), random.Next(2) == 0,
            random.NextInt64(), random.Next(2) == 0 ? null : Any<EpochVerdict>(random)), random.NextInt64()),
        new Seen(Word(random), null), new Seen(Word(random), new PathEvidence()),
        new Seen(Word(random), new PathEvidence(Info(random), Info(random),
            ImmutableSortedDictionary<string, long>.Empty.Add(Word(random), random.NextInt64()), [Word(random) + "1", Word(random) + "2"],
            random.Next(2) == 0, random.Next(2) == 0, random.Next(2) == 0, random.Next(2) == 0)),
        new Refused(Word(random), Word(random), Word(random)), new StageExpired(Any<MoveStage>(random), Word(random)),
        new WindowReached(When(random)),
        new AbortRequested(Word(random), Word(random)), new GiveUpRequested(Word(random), Word(random), [Word(random), Word(random)]),
    ];

    private static MigrationInfo Info(Random random) => new(
        Word(random), Any<MigrationRole>(random), Any<PeMigrationState>(random), random.NextInt64(), Word(random),
            [new MovingPrefix(Word(random), Word(random), Word(random))],
        Word(random), Word(random), random.Next(2) == 0,
        random.Next(2) == 0 ? null : new HoldInfo(Word(random), random.Next(), 2, 3, 4, 5, 6, 7, 8, 9),
        random.Next(2) == 0 ? null
            : new RedirectGroupInfo(Word(random), Word(random), 3, Word(random), 4, 5, 6, random.Next(2) == 0 ? null : 7),
        random.Next(2) == 0 ? null : new OrderInfo((uint)random.Next(), true,
            [new OrderGateInfo(Word(random), Word(random), true, Any<GateOpening>(random), 1, 2, false, null, 4, random.NextInt64(), 5, 6,
                7, 8)], 1, 2));

    private static MigrationRequested Request(Random random)
    {
        PathMove path = Plans.Path(random.Next(1, 9)) with
        {
            Order = random.Next(2) == 0 ? null
                : new OrderOptions([new OrderedIngress(Word(random), [Word(random)])], random.Next(), random.Next()),
            SourceLocalPref = random.Next(2) == 0 ? null : (uint)random.Next(), OtherIngress = random.Next(2) == 0,
            Hold = random.Next(2) == 0 ? null
                : new HoldOptions(random.Next(), Overflow: Any<HoldOverflowPolicy>(random), Disabled: random.Next(2) == 0),
        };
        var options = new MoveOptions(new HoldOptions(random.Next()), random.Next(), random.Next(), random.Next(2) == 0, random.Next(),
            random.Next(), random.Next(),
            random.Next(), random.Next(), random.Next(), random.Next(), random.Next(2) == 0, random.Next(2) == 0 ? null : random.Next(),
            random.Next(2) == 0, random.Next(2) == 0 ? null : new MoveWindow(When(random), When(random), random.Next()));
        return new MigrationRequested(
            Word(random), new MigrationRequest(Word(random), Word(random), Any<Cutover>(random), random.Next(2) == 0 ? null : options),
            [
                new MovePlan(Word(random), random.NextInt64(), Word(random), Word(random),
                    [new ServerMove(Word(random), Word(random), Word(random), random.Next(2) == 0,
                        random.Next(2) == 0 ? null : [new MovedVolume(Word(random), Guid.NewGuid())])],
                    [path], options, random.Next(2) == 0),
            ], Word(random));
    }

    private static DateTimeOffset When(Random random) => DateTimeOffset.UnixEpoch.AddMilliseconds(random.NextInt64(4_000_000_000_000));

    private static T Any<T>(Random random) where T : struct, Enum
    {
        T[] all = Enum.GetValues<T>();
        return all[random.Next(all.Length)];
    }

    private static string Word(Random random)
        => string.Concat(Enumerable.Range(0, random.Next(1, 8)).Select(_ => "abcß\"\\\n€ -/."[random.Next(12)]));
}
