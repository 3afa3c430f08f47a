using SdnEdge.Core.Config;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Machines;

/// <summary>Migrations of one server each, one after the other or beside one another, with the records of all of them.</summary>
internal sealed class ManyMigrations : IDisposable
{
    private readonly Story _story = new();

    public ManagerState State => _story.State;

    public List<JournalRecord> Records => _story.Records;

    public void Dispose() => _story.Dispose();

    /// <summary>Asks for one more; its idempotency key is <c>key-</c> and its id.</summary>
    public string Begin()
    {
        string id = ManagerMachine.IdOf(State.NextMigration);
        MovePlan plan = Plans.Move(["s-" + id], migration: id);
        plan = plan with { Paths = [.. plan.Paths.Select(p => p with { Vrf = NodeConfig.DefaultVrf })] };
        _story.Ask(Plans.Request(Cutover.Together, plan) with { IdempotencyKey = "key-" + id });
        return id;
    }

    /// <summary>Brings one to its end. The state that it ended with.</summary>
    public MigrationState End(string id, bool undo = false)
    {
        if (undo) Feed(new MoveHappened(id, new AbortRequested("user ops", "changed my mind")));
        for (int i = 0; i < 1000 && State.Migrations[id].Outcome is null; i++)
            Feed(new MoveHappened(id, Plans.Answer(MoveMachine.Open(State.Migrations[id].Current)[0])));
        Assert.NotNull(State.Migrations[id].Outcome);
        return State.Migrations[id];
    }

    /// <summary>One more, from its beginning to its end.</summary>
    public MigrationState Next(bool undo = false) => End(Begin(), undo);

    /// <summary>The state after an input.</summary>
    public ManagerState Feed(ManagerInput input) => _story.Feed(input).State;
}
