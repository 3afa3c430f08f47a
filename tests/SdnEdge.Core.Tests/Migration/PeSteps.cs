using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>A data plane that always obeys.</summary>
internal static class PeSteps
{
    /// <summary>Sends a signal and, when it is accepted, says that its commands have been executed.</summary>
    public static PeStep Do(this PeMigrationFsm fsm, string id, SignalKind kind, SignalRequest request, long now, PeFacts? facts = null)
    {
        PeStep step = fsm.Signal(id, kind, request, now, facts);
        if (step is { Refusal: null, Repeated: false, Underway: false, Migration: { } after })
        {
            PeStep done = fsm.Result(id,
                new Executed(kind, new SignalReply(id, kind, after.State, after.Epoch, Repeated: false, now, now)), now);
            return step with { Migration = done.Migration };
        }

        return step;
    }

    /// <summary>Empties holds and finds every tunnel up: what a restart loses, so that two machines can be compared.</summary>
    public static void Tested(this PeMigrationFsm fsm)
    {
        foreach (PeMigration m in fsm.Migrations.ToArray())
        {
            fsm.Result(m.Id, new HoldDrained(), 2);
            fsm.Result(m.Id, new TunnelHealth(true), 2);
        }
    }
}
