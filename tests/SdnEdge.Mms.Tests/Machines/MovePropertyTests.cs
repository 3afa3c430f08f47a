using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>
/// Random inputs: right ones, twice, late, with the wrong key, out of turn. <see cref="Invariants"/> is checked after each of them.
/// </summary>
public class MovePropertyTests
{
    [Property(MaxTest = 400)]
    public void Whatever_comes_the_invariants_hold_and_the_records_alone_lead_to_the_same_state(byte[] choices, bool oneByOne,
        bool handOver)
    {
        Story story = Play(choices, oneByOne, handOver);

        // What is on record is all that is known: the fold, and what is open in it.
        ManagerState folded = Story.Fold(story.Records);
        Assert.Equivalent(story.State, folded, strict: true);
        MigrationState migration = folded.Migrations["m1"];
        if (migration.Outcome is null) Assert.Equal(story.Open.Select(c => c.Key), MoveMachine.Open(migration.Current).Select(c => c.Key));

        // The same choices lead to the same story.
        Assert.Equal(story.Text, Play(choices, oneByOne, handOver).Text);
    }

    [Property(MaxTest = 400)]
    public void From_wherever_it_got_to_it_ends_when_all_answer_and_everybody_is_at_one_place(byte[] choices, bool oneByOne, bool handOver)
    {
        Story story = Play(choices, oneByOne, handOver).End();
        Assert.Contains(story.Migration.Outcome!.Value, Enum.GetValues<MigrationOutcome>());
        if (story.Migration.Outcome == MigrationOutcome.Fenced) return;
        string site = story.Migration.Outcome == MigrationOutcome.Moved ? "site-b" : "site-a";
        Assert.All(story.State.GroupOf("shop").Owners.Values, o => Assert.Equal(site, o.Site));

        // Nothing that comes later changes anything.
        ManagerState end = story.State;
        foreach (MoveCommand command in story.Asked) story.Feed(Plans.Answer(command));
        story.Feed(new Begin()).Feed(new TakenUp()).Abort();
        Assert.Same(end, story.State);
    }

    private static Story Play(byte[] choices, bool oneByOne, bool handOver)
    {
        MovePlan first = Plans.Move(["s1", "s2"], paths: 2), second = Plans.Move(["s3"], firstPath: 3);
        if (handOver) first = first with { Servers = [first.Servers[0], first.Servers[1] with { Undoable = false }] };
        Story story = new Story().Ask(oneByOne ? Plans.Request(Cutover.OneByOne, first, second) : Plans.Request(Cutover.Together, first));
        var given = new List<MoveInput> { new Begin() };

        // Most inputs are right ones, so that moves get far.
        foreach (byte choice in choices.Append((byte)0))
        {
            if (story.Migration.Outcome is not null) break;
            int which = choice / 24;
            MoveInput? input = (choice % 24) switch
            {
                0 => new AbortRequested("user ops", "because"),
                1 => new StageExpired(story.Move.Stage, "late"),
                2 => new StageExpired((MoveStage)which, "late"),
                3 => new TakenUp(which == 1 ? "a PE is silent" : null),
                4 => new Begin(),
                5 => given[choice * 7 % given.Count],
                6 => story.Asked.Count == 0 ? null : Plans.Answer(story.Asked[choice * 5 % story.Asked.Count], EpochVerdict.Ran),
                7 => story.Asked.Count == 0 ? null
                    : new Refused(story.Asked[choice * 5 % story.Asked.Count].Key, "/problems/wrong-state", "no"),
                8 when story.Open.Count > 0
                    => new Refused(story.Open[which % story.Open.Count].Key, which == 3 ? "/problems/stale-epoch" : "/problems/invalid",
                    "no"),
                9 => new OrderDone("activate s1 host-b 99", new ServerReply("s1", ServerOrder.Activate, 99, ServerState.Running, false, 1),
                    1),
                10 when story.Open.Count > 0 => Plans.Answer(story.Open[which % story.Open.Count], EpochVerdict.Ran),
                _ when story.Open.Count > 0 => Plans.Answer(story.Open[which % story.Open.Count]),
                _ => null,
            };
            if (input is null) continue;
            given.Add(input);
            story.Feed(input);

            // Several right ones behind each, or no random sequence would ever see the far stages.
            for (int i = 0; i < which && story.Open.Count > 0; i++)
            {
                given.Add(Plans.Answer(story.Open[0]));
                story.Feed(given[^1]);
            }
        }

        return story;
    }
}
