using SdnEdge.Core.Replication;
using Xunit;

namespace SdnEdge.Core.Tests.Replication;

/// <summary>Who may write a volume.</summary>
public sealed class OwnershipMachineTests
{
    private static OwnershipStory Owner(bool lease = false)
        => new(OwnershipRecord.First(OwnershipStory.Volume, OwnershipStory.Guest), lease);

    private static OwnershipStory Replica() => new(OwnershipRecord.Follower(OwnershipStory.Volume));

    [Fact]
    public void R1_An_order_with_a_lower_epoch_is_refused_also_after_a_crash()
    {
        OwnershipStory a = Owner().Order(OwnershipOrderKind.Prepare, 5).Crash().Order(OwnershipOrderKind.Seal, 4);
        Assert.Equal(OwnershipRefusalKind.StaleEpoch, a.Refusal!.Kind);
        Assert.Equal(Admission.Admit, a.Admit());
        Assert.Contains("5", a.Refusal.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void The_record_is_on_disk_before_the_answer()
    {
        foreach (OwnershipOrderKind kind in Enum.GetValues<OwnershipOrderKind>())
        {
            bool target = kind is OwnershipOrderKind.Grant or OwnershipOrderKind.Cancel;
            OwnershipStory store = target ? Replica() : Owner();
            store.Order(kind, 2, o => o with { Client = OwnershipStory.Guest });
            Assert.NotNull(store.Reply);
            int written = store.Commands.FindLastIndex(c => c is WriteOwnership);
            int answered = store.Commands.FindIndex(c => c is AnswerOwnership);
            Assert.True(written >= 0 && written < answered, $"{kind}: {string.Join(", ", store.Commands)}");
            Assert.True(store.State.Record.Seen == 2, kind.ToString());
        }
    }

    [Fact]
    public void An_order_whose_record_cannot_be_written_is_not_done_and_the_same_again_is()
    {
        OwnershipStory b = Replica();
        b.DiskWorks = false;
        b.Grant(2);
        Assert.Equal(OwnershipRefusalKind.StoreFailed, b.Refusal!.Kind);
        Assert.Equal(Admission.Park, b.Admit());
        b.DiskWorks = true;
        b.Grant(2);
        Assert.False(b.Reply!.Repeated);
        Assert.Equal(Admission.Admit, b.Admit());
    }

    [Fact]
    public void A_seal_parks_from_its_first_moment_and_is_answered_with_the_last_sequence()
    {
        OwnershipState state = OwnershipMachine.Start(OwnershipRecord.First(OwnershipStory.Volume, OwnershipStory.Guest));
        (state, IReadOnlyList<OwnershipCommand> commands) = OwnershipMachine.Step(state, new OwnershipOrderArrived(
            new(1, OwnershipOrderKind.Seal, 2), new(true, OwnershipStory.Point, OwnershipStory.Point)));
        Assert.IsType<StopAdmission>(Assert.Single(commands));
        Assert.Equal(Admission.Park, OwnershipMachine.Admit(state, OwnershipStory.Guest, 0));

        // What has its sequence already may still be answered.
        Assert.True(OwnershipMachine.MayAnswer(state, OwnershipStory.Guest, 0));
        (state, commands) = OwnershipMachine.Step(state, new AdmissionStopped(OwnershipStory.Point));
        Assert.IsType<WriteOwnership>(Assert.Single(commands));
        (state, commands) = OwnershipMachine.Step(state, new OwnershipSynced());
        Assert.Equal(OwnershipStory.Point, Assert.IsType<AnswerOwnership>(Assert.Single(commands)).Reply.SealedAt);
        Assert.Equal(OwnerRole.Sealed, state.Record.Role);
    }

    [Fact]
    public void A_seal_that_is_repeated_after_a_crash_says_the_same_sequence()
    {
        OwnershipStory a = Owner().Order(OwnershipOrderKind.Seal, 2).Crash();
        a.Last = new LogPoint(99, 1, 1);
        a.Order(OwnershipOrderKind.Seal, 2);
        Assert.Equal((OwnershipStory.Point, true), (a.Reply!.SealedAt!.Value, a.Reply.Repeated));
    }

    [Fact]
    public void After_the_pivot_the_old_owner_answers_EPERM_and_follows()
    {
        OwnershipStory a = Owner().Order(OwnershipOrderKind.Seal, 2);
        Assert.Equal(Admission.Park, a.Admit());
        a.Order(OwnershipOrderKind.Release, 2);
        Assert.Contains(a.Commands, c => c is RefuseParked);
        Assert.Equal(Admission.NotPermitted, a.Admit());
        Assert.Null(OwnershipMachine.MayFollow(a.State.Record, 2));
        Assert.NotNull(OwnershipMachine.MayFollow(a.State.Record, 1));

        // The way back: writes wait again.
        a.Order(OwnershipOrderKind.Prepare, 3);
        Assert.Equal(Admission.Park, a.Admit());
    }

    [Fact]
    public void R2_R3_An_undo_carries_a_higher_epoch_and_the_late_seal_of_the_undone_move_is_refused()
    {
        OwnershipStory a = Owner().Order(OwnershipOrderKind.Seal, 2).Order(OwnershipOrderKind.Unpark, 3);
        Assert.Equal(3ul, a.State.Record.GrantedEpoch);
        Assert.Contains(a.Commands, c => c is BeginEpoch { Epoch: 3 });
        Assert.Equal(Admission.Admit, a.Admit());
        a.Order(OwnershipOrderKind.Seal, 2);
        Assert.Equal(OwnershipRefusalKind.StaleEpoch, a.Refusal!.Kind);
        Assert.Equal(Admission.Admit, a.Admit());

        // R3: it reaches those too that were never asked.
        Assert.NotNull(Owner().Order(OwnershipOrderKind.Unpark, 3).Reply);
        Assert.NotNull(Replica().Order(OwnershipOrderKind.Cancel, 3).Reply);
    }

    [Fact]
    public void R5_A_void_epoch_is_never_granted_and_one_that_ran_is_never_void()
    {
        OwnershipStory b = Replica().Order(OwnershipOrderKind.Void, 2);
        Assert.Equal(GrantVerdict.Void, b.Reply!.Verdict);
        b.Crash().Grant(2);
        Assert.Equal(OwnershipRefusalKind.VoidEpoch, b.Refusal!.Kind);
        b.Grant(4).Order(OwnershipOrderKind.Void, 2);
        Assert.Equal(GrantVerdict.Void, b.Reply!.Verdict);
        b.Order(OwnershipOrderKind.Void, 4);
        Assert.Equal(GrantVerdict.Ran, b.Reply!.Verdict);
    }

    [Fact]
    public void R5_The_target_that_was_granted_is_sealed_by_the_second_pivot_and_follows_again()
    {
        OwnershipStory b = Replica().Grant(2).Order(OwnershipOrderKind.Seal, 3).Order(OwnershipOrderKind.Release, 3);
        Assert.Equal(OwnerRole.Released, b.State.Record.Role);
        Assert.Null(OwnershipMachine.MayFollow(b.State.Record, 3));
    }

    [Fact]
    public void A_grant_names_its_client_and_the_old_one_writes_nothing()
    {
        OwnershipStory b = Replica().Grant(2);
        Assert.Equal(Admission.Admit, b.Admit());
        b.Grant(2, OwnershipStory.Twin, generation: 1);
        Assert.Contains(b.Commands, c => c is CloseOthers other && other.Client == OwnershipStory.Twin);
        Assert.Equal(Admission.Park, b.Admit(OwnershipStory.Guest));
        Assert.False(OwnershipMachine.MayAnswer(b.State, OwnershipStory.Guest, 0));
        Assert.Equal(Admission.Admit, b.Admit(OwnershipStory.Twin));

        // The same process number again is another process.
        Assert.Equal(Admission.Park, b.Admit(OwnershipStory.Twin with { StartTime = 6001 }));
        b.Grant(2, OwnershipStory.Guest);
        Assert.Equal(OwnershipRefusalKind.StaleEpoch, b.Refusal!.Kind);
    }

    [Fact]
    public void A_copy_that_is_not_what_the_sealed_owner_had_is_not_promoted()
    {
        OwnershipStory b = Replica();
        b.Grant(2, expected: new LogPoint(42, 1, 0xABCD));
        Assert.Equal(OwnershipRefusalKind.NotPromotable, b.Refusal!.Kind);
        Assert.Contains("42", b.Refusal.Detail, StringComparison.Ordinal);
        b.Grant(2, expected: OwnershipStory.Point with { Chain = 1 });
        Assert.Contains("histories differ", b.Refusal!.Detail, StringComparison.Ordinal);
        b.Grant(2, stale: true);
        Assert.Contains("stale", b.Refusal!.Detail, StringComparison.Ordinal);
        b.Copy = new CopyFacts(false, OwnershipStory.Point, new LogPoint(12, 1, 3));
        b.Grant(2);
        Assert.Contains("last consistent point is 12", b.Refusal!.Detail, StringComparison.Ordinal);
        Assert.Equal(OwnerRole.Replica, b.State.Record.Role);

        // By name, at the last consistent point.
        b.Grant(2, force: "ada: site A burnt down");
        Assert.Equal(12ul, Assert.Single(b.Commands.OfType<BeginEpoch>()).From!.Value.Sequence);
        Assert.Equal("ada: site A burnt down", b.State.Record.ForcedBy);

        OwnershipStory never = Replica();
        never.Copy = new CopyFacts(false, default, null);
        never.Grant(2, force: "ada");
        Assert.Equal(OwnershipRefusalKind.NotPromotable, never.Refusal!.Kind);
    }

    [Fact]
    public void Parked_requests_are_counted_and_bounded()
    {
        OwnershipStory b = Replica();
        b.Take(new ParkedChanged(OwnershipMachine.MaxParked - 1, 4096));
        Assert.Equal(Admission.Park, b.Admit());
        b.Take(new ParkedChanged(1, 4096));
        Assert.Equal(Admission.HoldConnection, b.Admit());
        b.Take(new ParkedChanged(-OwnershipMachine.MaxParked, -8192));
        Assert.Equal((0, 0L, (long)OwnershipMachine.MaxParked), (b.State.Parked, b.State.ParkedBytes, b.State.ParkedEver));
        b.Take(new ParkedChanged(1, OwnershipMachine.MaxParkedBytes));
        Assert.Equal(Admission.HoldConnection, b.Admit());
    }

    [Fact]
    public void An_owner_whose_lease_has_run_out_parks_and_answers_nothing()
    {
        OwnershipStory a = Owner(lease: true);
        Assert.Equal(Admission.Park, a.Admit(now: 10));
        a.Take(new LeaseRenewed(100, 50));
        Assert.Equal(Admission.Admit, a.Admit(now: 149));
        Assert.Equal(Admission.Park, a.Admit(now: 150));
        Assert.False(OwnershipMachine.MayAnswer(a.State, OwnershipStory.Guest, 150));
        a.Take(new LeaseRenewed(90, 20));
        Assert.Equal(Admission.Admit, a.Admit(now: 149));
        Assert.Equal(Admission.Park, a.Crash().Admit(now: 101));
    }

    [Fact]
    public void An_owner_follows_nobody_and_the_newest_owner_alone_is_followed()
    {
        Assert.Equal(OwnershipRefusalKind.WrongRole, OwnershipMachine.MayFollow(Owner().State.Record, 9)!.Kind);
        OwnershipStory b = Replica().Take(new OwnerSeen(4));
        Assert.Equal(OwnershipRefusalKind.StaleEpoch, OwnershipMachine.MayFollow(b.State.Record, 3)!.Kind);
        Assert.Null(OwnershipMachine.MayFollow(b.State.Record, 4));
    }

    [Fact]
    public void Too_many_orders_are_refused_and_the_others_are_answered_in_order()
    {
        OwnershipState state = OwnershipMachine.Start(OwnershipRecord.First(OwnershipStory.Volume));
        var commands = new List<OwnershipCommand>();
        for (long i = 1; i <= OwnershipMachine.MaxWaiting + 2; i++)
        {
            (state, IReadOnlyList<OwnershipCommand> more) = OwnershipMachine.Step(state,
                new OwnershipOrderArrived(new(i, OwnershipOrderKind.Prepare, 2), new(true, default, default)));
            commands.AddRange(more);
        }

        Assert.Equal(OwnershipMachine.MaxWaiting + 2, Assert.Single(commands.OfType<RefuseOwnership>()).Ticket);
        (state, IReadOnlyList<OwnershipCommand> rest) = OwnershipMachine.Step(state, new OwnershipSynced());
        Assert.Equal(Enumerable.Range(1, OwnershipMachine.MaxWaiting + 1).Select(i => (long)i), rest.OfType<AnswerOwnership>().Select(a
            => a.Ticket));
        Assert.Equal(0, state.WaitingCount);
    }

    [Fact]
    public void Every_order_is_answered_or_refused_in_every_role()
    {
        foreach (OwnerRole role in Enum.GetValues<OwnerRole>())
        foreach (OwnershipOrderKind kind in Enum.GetValues<OwnershipOrderKind>())
        foreach (ulong epoch in new ulong[] { 1, 5, 6 })
        {
            var story = new OwnershipStory(new OwnershipRecord(OwnershipStory.Volume, 5, role)
            {
                Granted = role is OwnerRole.Replica ? [] : [5], OwnerEpoch = 5, SealedAt = role == OwnerRole.Sealed
                    ? OwnershipStory.Point : null,
            });
            story.Order(kind, epoch, o => o with { Client = OwnershipStory.Guest });
            Assert.True(story.Reply is null != story.Refusal is null, $"{role} {kind} {epoch}");
            Assert.True(story.State.Current is null && story.State.Record.Seen >= 5, $"{role} {kind} {epoch}");
        }
    }
}
