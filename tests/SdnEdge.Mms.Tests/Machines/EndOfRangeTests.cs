using System.Collections.Immutable;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Drivers;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>GRE keys and epochs at the end of their range.</summary>
public class EndOfRangeTests
{
    [Fact]
    public void After_the_last_key_comes_the_first_and_what_lies_behind_changes_nothing()
    {
        const uint First = ManagerState.FirstKey;
        Assert.Equal(First, GreKeys.After(uint.MaxValue));
        Assert.Equal(First, GreKeys.After(17));
        Assert.Equal(First + 1, GreKeys.After(First));
        Assert.Equal(First + 9, GreKeys.Behind(First, First + 8));
        Assert.Equal(First + 9, GreKeys.Behind(First + 9, First + 8));
        Assert.Equal(First + 1, GreKeys.Behind(uint.MaxValue, First));
        Assert.Equal(First + 1, GreKeys.Behind(First + 1, uint.MaxValue));
        Assert.Equal(First + 3, GreKeys.Behind(First + 3, 17));
        Assert.Equal(First + 2, GreKeys.Later(uint.MaxValue - 1, First + 2));
        Assert.Equal(First + 2, GreKeys.Later(First + 2, uint.MaxValue - 1));
        Assert.Equal(First + 2, GreKeys.Free(uint.MaxValue, new HashSet<uint> { uint.MaxValue, First, First + 1 }));
    }

    // Before, the key after the last one was 0, and the keys of the configuration were given out.
    [Fact]
    public void A_machine_that_has_used_the_last_key_goes_on_with_the_first_and_leaves_out_what_is_in_use()
    {
        ManagerState state = ManagerState.Empty with { NextKey = uint.MaxValue };
        state = Step(state, Plans.Request(Cutover.OneByOne, Keyed(["s1"], 1, uint.MaxValue), Keyed(["s2"], 2, ManagerState.FirstKey)));
        Assert.Equal(ManagerState.FirstKey + 1, state.NextKey);

        // The way back of the first member, with the counter set back to keys that are in use.
        state = state with { NextKey = uint.MaxValue };
        for (int i = 0; i < 100 && state.Migrations["m1"].Moves.Count == 1; i++) state = Answer(state);
        while (state.Migrations["m1"].Current.Stage != MoveStage.Mirror) state = Answer(state);
        state = Step(state, new MoveHappened("m1", new AbortRequested("user ops", "no")));
        for (int i = 0; i < 100 && state.Migrations["m1"].Moves.Count == 2; i++) state = Answer(state);
        Assert.Equal(ManagerState.FirstKey + 1, state.Migrations["m1"].Current.Plan.Paths[0].TunnelKey);
        Assert.Equal(ManagerState.FirstKey + 2, state.NextKey);
    }

    [Fact]
    public async Task A_plan_at_the_end_of_the_keys_takes_the_first_ones_again_and_none_that_a_PE_has()
    {
        var lab = new PlanLab { State = ManagerState.Empty with { NextKey = uint.MaxValue } };
        lab.A.Tunnels.Add(PlanLab.Tunnel("mig-x", ManagerState.FirstKey));
        PlanResult plan = await lab.PlanAsync(with: c => c with { Cutover = "one-by-one" });
        Assert.Empty(plan.Info.Obstacles);
        Assert.Equal([uint.MaxValue, ManagerState.FirstKey + 1], plan.Moves.SelectMany(m => m.Paths).Select(p => p.TunnelKey));
    }

    // An epoch that overflows is lower than all that PEs and hosts have seen: everything would be refused, an undo, too.
    [Fact]
    public async Task At_the_end_of_the_epochs_no_migration_begins_and_the_plan_says_why()
    {
        var lab = new PlanLab
        {
            State = ManagerState.Empty with
            {
                Groups = ImmutableSortedDictionary<string, GroupState>.Empty
                    .Add("web", GroupState.Fresh with { Epoch = ManagerState.LastEpoch })
                    .Add("shop", GroupState.Fresh with { Epoch = ManagerState.LastEpoch }),
            },
        };
        PlanResult plan = await lab.PlanAsync();
        Assert.Contains(plan.Info.Obstacles, o => o.Reason == "epochs-exhausted" && o.Where == "web");
        Assert.Same(lab.State, Step(lab.State, Plans.Request(Cutover.Together, Plans.Move(["s1"]))));
    }

    private static MovePlan Keyed(string[] servers, int path, uint key)
    {
        MovePlan plan = Plans.Move(servers, firstPath: path);
        return plan with { Paths = [plan.Paths[0] with { TunnelKey = key }] };
    }

    private static ManagerState Step(ManagerState state, ManagerInput input) => ManagerMachine.Step(state, input, 1, "t");

    private static ManagerState Answer(ManagerState state)
        => Step(state, new MoveHappened("m1", Plans.Answer(MoveMachine.Open(state.Migrations["m1"].Current)[0])));
}
