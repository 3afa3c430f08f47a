using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Leases;
using Xunit;

namespace SdnEdge.Core.Tests.Leases;

/// <summary>Leases: what a witness says of them, and what the parties take them for.</summary>
public sealed class LeaseTests
{
    private const long Ms = 1_000_000;
    private static readonly LeaseRules s_rules = new();

    private static Gen<LeaseEvent> AnyEvent => from what in Gen.Choose(0, 11) from arg in Gen.Choose(0, 4_095) select new LeaseEvent(what,
        arg);

    private static Gen<(int Clocks, LeaseEvent[] Events)> AnyCourse
        => from clocks in Gen.Choose(0, 4_095) from events in AnyEvent.ArrayOf(80) select (clocks, events);

    [Property(MaxTest = 5_000)]
    public Property Nothing_runs_once_the_witness_has_said_that_every_lease_has_run_out()
        => Prop.ForAll(AnyCourse.ToArbitrary(), course =>
        {
            LeaseWorld world = Run(LeaseFault.None, course.Clocks, course.Events);
            return (world.Wrong is null).Label(world.Wrong ?? "").Classify(world.Count is { Grants: > 0, Ends: > 0 },
                "granted and ended");
        });

    [Theory]
    [InlineData(LeaseFault.CountsFromTheAnswer)]
    [InlineData(LeaseFault.CountsFromTheLastSent)]
    [InlineData(LeaseFault.NoDrift)]
    [InlineData(LeaseFault.NoStandstill)]
    [InlineData(LeaseFault.RestartForgets)]
    [InlineData(LeaseFault.RevokedIsNotDurable)]
    [InlineData(LeaseFault.ForgetsTheLongestTtl)]
    public void Without_any_one_of_its_rules_that_is_found(LeaseFault fault)
    {
        var random = new Random(7);
        for (int course = 1; course <= 50_000; course++)
        {
            var events = new LeaseEvent[80];
            for (int i = 0; i < events.Length; i++) events[i] = new LeaseEvent(random.Next(12), random.Next(4_096));
            if (Run(fault, random.Next(4_096), events).Wrong is not null) return;
        }

        Assert.Fail($"{fault} was not found");
    }

    [Fact]
    public void A_lease_counts_from_when_its_renewal_was_sent_and_an_older_answer_takes_nothing_away()
    {
        LeaseClock clock = default;
        Assert.False(clock.IsValidAt(0));
        clock = clock.Sent(100 * Ms).Sent(1_100 * Ms);
        clock = clock.Granted(1_100 * Ms, 3_000);
        Assert.Equal((4_100 * Ms, 2_100 * Ms), (clock.ValidUntilNs, clock.NextRenewalNs));
        Assert.Equal(clock, clock.Granted(100 * Ms, 3_000));
        Assert.True(clock.IsValidAt((4_100 * Ms) - 1));
        Assert.False(clock.IsValidAt(4_100 * Ms));
    }

    [Fact]
    public void Leases_are_open_under_one_epoch_and_what_was_revoked_is_so_for_ever()
    {
        WitnessLeases leases = WitnessMachine.Unknown("vs", "dc-a", 0);
        Assert.NotNull(Step(new RenewLease("host-a", 1)));
        Assert.Null(Step(new OpenLeases(3)));
        Assert.Null(Step(new OpenLeases(3)));
        Assert.Null(Step(new RenewLease("host-a", 3)));
        foreach (long epoch in (long[])[2, 4]) Assert.NotNull(Step(new RenewLease("host-a", epoch)));
        Assert.Contains("older than 3", Step(new OpenLeases(2)), StringComparison.Ordinal);
        Assert.Null(Step(new RevokeLeases(3)));
        Assert.Null(Step(new RevokeLeases(2)));
        LeaseInfo info = WitnessMachine.Show(leases, s_rules, 10_000 * Ms);
        Assert.Equal((3L, true, 3_000, 3_530L), (info.Epoch, info.Revoked, info.TtlMs, info.RunsOutInMs));
        Assert.Equal([new LeaseParty("host-a", 0)], info.Parties);
        Assert.Equal(0, WitnessMachine.Show(leases, s_rules, 13_530 * Ms).RunsOutInMs);
        Assert.Contains("revoked, for ever", Step(new OpenLeases(3)), StringComparison.Ordinal);
        Assert.NotNull(Step(new RenewLease("host-a", 3)));
        Assert.Null(Step(new OpenLeases(4)));
        Assert.Empty(leases.Parties);
        Assert.Null(Step(new RenewLease("host-a", 4)));

        string? Step(WitnessInput input)
        {
            WitnessStep step = WitnessMachine.Step(leases, input, s_rules, 10_000 * Ms);
            leases = step.Leases;
            return step.Refusal;
        }
    }

    [Fact]
    public void A_revocation_of_leases_that_nobody_knows_counts_from_the_start_of_the_witness()
    {
        WitnessStep step = WitnessMachine.Step(WitnessMachine.Unknown("vs", "dc-a", 1_000 * Ms), new RevokeLeases(7), s_rules,
            2_000 * Ms);
        Assert.Equal((7L, true), (step.Write!.Epoch, step.Write.Revoked));
        Assert.Equal(2_530 * Ms, WitnessMachine.RunsOutInNs(step.Leases, s_rules, 2_000 * Ms));
    }

    private static LeaseWorld Run(LeaseFault fault, int clocks, LeaseEvent[] events)
    {
        var world = new LeaseWorld(fault, clocks);
        foreach (LeaseEvent next in events)
        {
            world.Take(next);
            if (world.Wrong is not null) break;
        }

        return world;
    }
}
