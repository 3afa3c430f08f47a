using SdnEdge.Core.Api;
using static SdnEdge.Core.Migration.HostPhase;

namespace SdnEdge.Core.Migration;

/// <summary>
/// The steps of each order, by the server's phase.
/// <code>
/// source   Running --prepare--> Offered --stop--> Stopping > Stopped [--hand-over--> HandingOver > HandedOver] --retire--> Retiring > Away
///             ^                    |                 |          |
///             +----- Resuming &lt;----+---- resume e+2 -+----------+          (never from HandingOver or HandedOver)
/// target   Away --prepare--> Preparing > Incoming --activate--> Starting > Running
///            ^                    |          |
///            +--- Cancelling &lt;----+- cancel e+2
/// fail-over, source   any phase --fence--> Fencing > Fenced --retire--> Retiring > Away, or --cold resume e+2--> Resuming > Running
/// fail-over, target   Away --cold activate--> Starting > Running
/// </code>
/// "&gt;" is the driver's confirmation. Orders after prepare must carry the epoch that was prepared; the undo carries a higher one (R2),
/// and so does activate when the target was granted a new one after a void of some servers only (R5).
/// What follows an answer in a plan need not be durable for it: the phase before says the same after a crash, only that the driver is asked
/// once more. It keeps one sync out of the blackout at stop and at activate.
/// </summary>
internal static class HostPlans
{
    /// <summary>The steps.</summary>
    /// <param name="r">The record.</param>
    /// <param name="order">The order.</param>
    /// <param name="undoable">Whether the driver's hand-over can be undone.</param>
    /// <param name="seen">What the server was seen doing in this order; null = it was not looked at.</param>
    public static IReadOnlyList<HostStep> Of(HostRecord r, HostOrder order, bool undoable, ServerState? seen)
    {
        ServerOrderRequest q = order.Request;

        // A question is not a change: void is answered of every epoch, for ever (R5).
        if (order.Order == ServerOrder.Void) return VoidOf(r, q);
        if (q.Epoch < r.Epoch && !(order.Order == ServerOrder.Start && q.Epoch == r.MayRun))
        {
            return [new Refuse(new HostRefusal(HostRefusalKind.StaleEpoch,
                $"epoch {q.Epoch} is older than {r.Epoch}, the highest seen for server {r.Name} (R1); only the newest migration gives "
                    + "orders"))];
        }

        return order.Order switch
        {
            ServerOrder.Prepare => Prepare(r, q, undoable, seen),
            ServerOrder.Stop => Stop(r, q, undoable),
            ServerOrder.HandOver => HandOver(r, q, undoable),
            ServerOrder.Activate => Activate(r, q, undoable, seen),
            ServerOrder.Resume => Resume(r, q, seen),
            ServerOrder.Cancel => Cancel(r, q),
            ServerOrder.Retire => Retire(r, q, seen),
            ServerOrder.Start => Start(r, q, seen),
            ServerOrder.Fence => Fence(r, q),
            _ => throw new ArgumentOutOfRangeException(nameof(order), order.Order, "an unknown order"),
        };
    }

    // R5. Of an epoch that was promised: ran. Of all others: void, and then never again anything else.
    private static IReadOnlyList<HostStep> VoidOf(HostRecord r, ServerOrderRequest q)
    {
        HostRecord seen = r with { Epoch = Math.Max(r.Epoch, q.Epoch) };
        if (q.Epoch == r.VoidEpoch) return [new Reply(true, EpochVerdict.Void)];
        if (q.Epoch <= r.RanEpoch) return [new Reply(true, EpochVerdict.Ran)];
        return q.Epoch < r.VoidEpoch ? [new Reply(true, EpochVerdict.Void)]
            : [new Write(seen with { VoidEpoch = q.Epoch }), new Reply(false, EpochVerdict.Void)];
    }

    private static IReadOnlyList<HostStep> Prepare(HostRecord r, ServerOrderRequest q, bool undoable, ServerState? seen)
        => q.Role == MigrationRole.Source ? PrepareSource(r, q, seen) : PrepareTarget(r, q, undoable, seen);

    private static IReadOnlyList<HostStep> PrepareSource(HostRecord r, ServerOrderRequest q, ServerState? seen)
    {
        if (r.MayRun is null)
        {
            return Wrong(r, q, $"{May(r)}, so this host is not the source; the source is the host where it runs");
        }

        if (seen is null) return Look(r, q);
        if (seen != ServerState.Running) return Wrong(r, q,
            $"it may run here and was seen {HostFsm.Word(seen.Value)}; start it first: activate or resume with its epoch");
        if (r.Phase == Offered && r.PhaseEpoch == q.Epoch) return [new Reply(true)];
        return [new Write(Begin(r, q, Offered, MigrationRole.Source)), new Reply()];
    }

    // Under one epoch a server is expected once: a prepare that comes late, behind the hand-over, would put an empty one in the place of
    // what came from the source and died, and activate would promise to run it (R6).
    private static IReadOnlyList<HostStep> PrepareTarget(HostRecord r, ServerOrderRequest q, bool undoable, ServerState? seen)
    {
        if (r.VoidEpoch >= q.Epoch) return Voided(r, q);
        if (r.MayRun is not null) return Wrong(r, q, $"{May(r)}, so this host is not the target");
        if (r.Phase is not (Away or Preparing or Incoming or Cancelling))
            return Wrong(r, q, $"it is {HostFsm.Word(r.Phase)} here since epoch {r.PhaseEpoch}; retire it before it is expected back");
        if (seen is null) return Look(r, q);
        if (seen == ServerState.Running) return Wrong(r, q,
            "it runs here without the right to; find out where it is to run, and retire it here if it is elsewhere");
        if (seen == ServerState.Paused && r.Phase == Away) return Wrong(r, q,
            "something of it stands still here that nobody expects; retire it first");
        if (r.Phase == Incoming && r.PhaseEpoch == q.Epoch && seen is ServerState.Incoming or ServerState.Paused) return [new Reply(true)];
        if (undoable && r.Phase == Incoming && r.PhaseEpoch == q.Epoch && seen == ServerState.Absent) return Wrong(r, q,
            "what waited here under this epoch is gone, and it is not expected a second time under it; undo the migration, or ask for a "
                + "void, and it goes on at the source");
        HostRecord preparing = Begin(r, q, Preparing, MigrationRole.Target);
        return [new Write(preparing), new Call(DriverCall.PrepareIncoming, ServerState.Incoming),
            new Write(preparing with { Phase = Incoming }), new Reply()];
    }

    // R4: the right goes, on disk, before the driver is asked.
    private static IReadOnlyList<HostStep> Stop(HostRecord r, ServerOrderRequest q, bool undoable)
    {
        bool now = r.PhaseEpoch == q.Epoch;
        if (now && r.Phase is Stopped or HandingOver or HandedOver) return [new Reply(true)];
        if (!(now && r.Phase is Offered or Stopping))
            return Wrong(r, q, $"stop is for a source prepared with this epoch, and here it is {Where(r)}; prepare it with role source "
                + "first");
        HostRecord stopping = r with { MayRun = null, Phase = Stopping };
        HostRecord stopped = stopping with { Phase = Stopped };
        List<HostStep> steps = r.Phase == Offered ? [new Write(stopping)] : [];
        steps.Add(new Call(DriverCall.Stop, ServerState.Paused));

        // With a hand-over that is an order of its own the answer must not be ahead of the record: the next order builds on it.
        steps.AddRange(undoable ? [new Call(DriverCall.HandOver, ServerState.Paused), new Reply(), new Write(stopped)]
            : [new Write(stopped), new Reply()]);
        return steps;
    }

    private static IReadOnlyList<HostStep> HandOver(HostRecord r, ServerOrderRequest q, bool undoable)
    {
        if (undoable) return Wrong(r, q, "its hand-over can be undone and is part of stop; there is no other");
        bool now = r.PhaseEpoch == q.Epoch;
        if (now && r.Phase == HandedOver) return [new Reply(true)];
        if (!(now && r.Phase is Stopped or HandingOver)) return Wrong(r, q,
            $"hand-over follows a stop of this epoch, and here it is {Where(r)}; stop it first");
        HostRecord handing = r with { Phase = HandingOver };
        List<HostStep> steps = r.Phase == Stopped ? [new Write(handing)] : [];
        steps.AddRange([new Call(DriverCall.HandOver, ServerState.Paused), new Reply(), new Write(handing with { Phase = HandedOver })]);
        return steps;
    }

    // R6: the promise to run is on disk before the driver is asked. A group of which some ran and some were void is granted anew, with a
    // higher epoch and without another prepare. Nothing is promised for a server that died here before it ran while its source still has
    // all of it: the manager then asks for a void (R5), and it goes on at the source.
    private static IReadOnlyList<HostStep> Activate(HostRecord r, ServerOrderRequest q, bool undoable, ServerState? seen)
    {
        if (r.VoidEpoch >= q.Epoch) return Voided(r, q);
        if (q.Cold && r.Phase == Away) return ActivateCold(r, q, seen);
        bool anew = q.Epoch > r.PhaseEpoch && r.Migration == q.Migration && r.Migration is not null
            && (r.Phase == Incoming ? r.VoidEpoch >= r.PhaseEpoch : r.RanEpoch == r.PhaseEpoch);
        if (!(r.Role == MigrationRole.Target && (r.PhaseEpoch == q.Epoch || anew) && r.Phase is Incoming or Starting or Running))
            return Wrong(r, q, $"activate is for a target prepared with this epoch, and here it is {Where(r)}; prepare it with role "
                + "target first");
        if (r.Phase == Incoming && undoable)
        {
            if (seen is null) return Look(r, q);
            if (seen == ServerState.Absent) return Wrong(r, q,
                $"what came from {r.PeerHost ?? "the source"} is gone: it has died here before it ran; ask for a void, and resume it at "
                    + $"the "
                    + "source, which still has it");
        }

        HostRecord starting = r with { Epoch = q.Epoch, PhaseEpoch = q.Epoch, Phase = Starting, RanEpoch = q.Epoch, MayRun = q.Epoch };
        HostRecord running = starting with { Phase = Running };
        if (r.Phase == Running)
        {
            if (seen is null) return Look(r, q);
            if (seen == ServerState.Running) return anew ? [new Write(running), new Reply()] : [new Reply(true)];

            // It has died since: a cold start.
            if (!anew) return [new Call(DriverCall.Activate, ServerState.Running), new Reply()];
        }

        List<HostStep> steps = r.Phase == Incoming || anew ? [new Write(starting)] : [];
        steps.AddRange([new Call(DriverCall.Activate, ServerState.Running), new Reply(), new Write(running)]);
        return steps;
    }

    // A start from its volumes: nobody hands anything over, so nothing was prepared. The promise is as that of any other start (R6).
    private static IReadOnlyList<HostStep> ActivateCold(HostRecord r, ServerOrderRequest q, ServerState? seen)
    {
        if (seen is null) return Look(r, q);
        if (seen != ServerState.Absent) return Wrong(r, q,
            $"something of it is here and was seen {HostFsm.Word(seen.Value)}, where nothing should be; retire it first");
        HostRecord starting = Begin(r, q, Starting, MigrationRole.Target) with { RanEpoch = q.Epoch, MayRun = q.Epoch };
        return [new Write(starting), new Call(DriverCall.Activate, ServerState.Running), new Reply(),
            new Write(starting with { Phase = Running })];
    }

    // R4, R5: the right goes and the epoch is void, on disk, before the driver is asked. It is killed again with each repetition.
    private static IReadOnlyList<HostStep> Fence(HostRecord r, ServerOrderRequest q)
    {
        if (q.Epoch <= r.RanEpoch)
            return Wrong(r, q, $"this host has promised to run epoch {r.RanEpoch}; fence it with a higher one");

        // It comes late, behind the retire: what it is about is done.
        if (r.Phase == Away && r.PhaseEpoch == q.Epoch && r.VoidEpoch >= q.Epoch)
            return [new Call(DriverCall.Fence, ServerState.Absent), new Reply(true, EpochVerdict.Void)];
        bool again = r.PhaseEpoch == q.Epoch && (r.Phase is Fencing or Fenced), done = again && r.Phase == Fenced;
        HostRecord fencing = r with
        {
            Epoch = q.Epoch, PhaseEpoch = q.Epoch, Phase = Fencing, MayRun = null, VoidEpoch = Math.Max(r.VoidEpoch, q.Epoch),
            Role = MigrationRole.Source, Migration = q.Migration,
        };
        return
        [
            .. again ? (ReadOnlySpan<HostStep>)[] : [new Write(fencing)], new Call(DriverCall.Fence, ServerState.Absent),
            .. done ? (ReadOnlySpan<HostStep>)[] : [new Write(fencing with { Phase = Fenced })], new Reply(done, EpochVerdict.Void),
        ];
    }

    // R2: an undo carries a higher epoch than what it undoes. R3: it may come to a host that was never asked anything.
    private static IReadOnlyList<HostStep> Resume(HostRecord r, ServerOrderRequest q, ServerState? seen)
    {
        if (r.VoidEpoch >= q.Epoch) return Voided(r, q);
        bool again = r.PhaseEpoch == q.Epoch && r.Role == MigrationRole.Source && r.Phase is Running or Resuming;
        if (r.Phase is HandingOver or HandedOver)
            return Wrong(r, q, $"its state has been handed over in epoch {r.PhaseEpoch}, which cannot be undone; activate it at the "
                + "target");
        bool fenced = q.Cold && (r.Phase is Fencing or Fenced);
        if (!fenced && r.Phase is not (Running or Offered or Starting or Stopping or Stopped or Resuming))
            return Wrong(r, q, $"here it is {Where(r)}, so there is nothing to resume; resume goes to the source, the target is cancelled");
        if (!again && q.Epoch <= r.PhaseEpoch)
            return Wrong(r, q, $"resume undoes epoch {r.PhaseEpoch} and must carry a higher one (R2); grant the source a new epoch and "
                + "send that");
        HostRecord resuming = r with
        {
            Epoch = q.Epoch, PhaseEpoch = q.Epoch, Phase = Resuming, MayRun = q.Epoch, RanEpoch = q.Epoch, Role = MigrationRole.Source,
                Migration = null, PeerHost = null, MaxStopMs = null, SyncNotBefore = null,
                CopyBytesPerSecond = null,
        };
        HostRecord running = resuming with { Phase = Running };
        if (r.Phase is Running or Offered or Starting)
        {
            // Never stopped: it goes on running, under the higher epoch. Starting: it may run already, and be the source of the move after
            // the one that brought it here; it has the right anyhow.
            if (seen is null) return Look(r, q);
            if (seen == ServerState.Running) return again ? [new Reply(true)] : [new Write(running), new Reply()];
        }

        List<HostStep> steps = again && r.Phase == Resuming ? [] : [new Write(resuming)];
        steps.AddRange([new Call(DriverCall.Resume, ServerState.Running), new Reply(), new Write(running)]);
        return steps;
    }

    private static IReadOnlyList<HostStep> Cancel(HostRecord r, ServerOrderRequest q)
    {
        bool again = r.PhaseEpoch == q.Epoch && r.Role == MigrationRole.Target && r.Phase is Away or Cancelling;
        if (again && r.Phase == Away) return [new Reply(true)];
        if (r.MayRun is not null)
        {
            return Wrong(r, q, $"{May(r)}; a target that was activated is not cancelled (ask void of the epoch: it says ran), and a "
                + "source is resumed");
        }

        if (r.Phase is not (Away or Preparing or Incoming or Cancelling)) return Wrong(r, q,
            $"here it is {Where(r)}: this is the source, which is resumed");
        if (!again && q.Epoch <= r.PhaseEpoch)
            return Wrong(r, q, $"cancel undoes epoch {r.PhaseEpoch} and must carry a higher one (R2); grant the source a new epoch and "
                + "send that");
        HostRecord cancelling = Begin(r, q, Cancelling, MigrationRole.Target);
        return
        [
            .. again ? (ReadOnlySpan<HostStep>)[] : [new Write(cancelling)], new Call(DriverCall.Cancel, ServerState.Absent),
            new Write(cancelling with { Phase = Away, Migration = null, PeerHost = null, MaxStopMs = null, SyncNotBefore = null,
                CopyBytesPerSecond = null }),
            new Reply(),
        ];
    }

    // R7. A right to run that is not used is taken away by a higher epoch than the one that gave it: two hosts had it, and the manager was
    // told which of them is the right one.
    private static IReadOnlyList<HostStep> Retire(HostRecord r, ServerOrderRequest q, ServerState? seen)
    {
        if (r.MayRun is not null && (q.Epoch <= r.PhaseEpoch || seen == ServerState.Running))
            return Wrong(r, q, $"{May(r)}{(seen == ServerState.Running ? ", and it runs" : "")}; only what was stopped is retired");
        if (r.MayRun is not null && seen is null) return Look(r, q);
        if (r.Phase is Preparing or Incoming or Cancelling) return Wrong(r, q,
            $"here it is {Where(r)}: this is the target, which is cancelled");
        HostRecord retiring = r with { Epoch = q.Epoch, PhaseEpoch = q.Epoch, Phase = Retiring, MayRun = null };
        if (r.Phase == Away && r.PhaseEpoch == q.Epoch && r.Role == MigrationRole.Source) return [new Reply(true)];
        List<HostStep> steps = r.Phase == Retiring && r.PhaseEpoch == q.Epoch ? [] : [new Write(retiring)];
        steps.AddRange([new Call(DriverCall.Kill, ServerState.Absent),
            new Write(retiring with
            {
                Phase = Away, Role = MigrationRole.Source, Migration = null, PeerHost = null, MaxStopMs = null, SyncNotBefore = null,
                CopyBytesPerSecond = null,
            }), new Reply()]);
        return steps;
    }

    // No right changes, and no epoch is raised: what may run here runs. What was promised (R6) or undone on disk, and not finished, is
    // finished as its own order would: nobody may be left to repeat that, where the managers' journal was lost. A source that is offered is
    // left to its migration.
    private static IReadOnlyList<HostStep> Start(HostRecord r, ServerOrderRequest q, ServerState? seen)
    {
        string? why = r.MayRun is null ? $"{May(r)}; the host that may run it starts it"
            : r.Phase is not (Running or Starting or Resuming)
                ? $"here it is {Where(r)}: a migration has it in its hands, and goes on with it"
            : q.Epoch != r.MayRun ? $"{May(r)}, and this start carries epoch {q.Epoch}; send {r.MayRun}"
            : null;
        if (why is not null) return [new Refuse(new HostRefusal(HostRefusalKind.WrongState, $"server {r.Name}: {why}"))];
        if (r.Phase != Running)
        {
            return [new Call(r.Phase == Starting ? DriverCall.Activate : DriverCall.Resume, ServerState.Running), new Reply(),
                new Write(r with { Phase = Running })];
        }

        if (seen is null) return [new LookFirst()];
        return seen == ServerState.Running ? [new Reply(true)] : [new Call(DriverCall.Resume, ServerState.Running), new Reply()];
    }

    private static HostRecord Begin(HostRecord r, ServerOrderRequest q, HostPhase phase, MigrationRole role)
        => r with { Epoch = q.Epoch, PhaseEpoch = q.Epoch, Phase = phase, Role = role, Migration = q.Migration,
            PeerHost = q.PeerHost ?? r.PeerHost, MaxStopMs = q.MaxStopMs, SyncNotBefore = q.SyncNotBefore,
            CopyBytesPerSecond = q.CopyBytesPerSecond };

    // R1 holds also when the look fails and the order with it.
    private static IReadOnlyList<HostStep> Look(HostRecord r, ServerOrderRequest q)
        => q.Epoch > r.Epoch ? [new Write(r with { Epoch = q.Epoch }), new LookFirst()] : [new LookFirst()];

    // R1: a higher epoch is on disk before the answer, also before a refusal.
    private static IReadOnlyList<HostStep> Wrong(HostRecord r, ServerOrderRequest q, string what)
        => No(r, q, new HostRefusal(HostRefusalKind.WrongState, $"server {r.Name}: {what}"));

    private static IReadOnlyList<HostStep> Voided(HostRecord r, ServerOrderRequest q)
        => No(r, q, new HostRefusal(HostRefusalKind.VoidEpoch,
            $"this host has said that it never runs epoch {q.Epoch} of server {r.Name} (void up to {r.VoidEpoch}, R5); a new migration "
                + "has a new epoch"));

    private static IReadOnlyList<HostStep> No(HostRecord r, ServerOrderRequest q, HostRefusal refusal)
        => q.Epoch > r.Epoch ? [new Write(r with { Epoch = q.Epoch }), new Refuse(refusal)] : [new Refuse(refusal)];

    private static string May(HostRecord r) => r.MayRun is { } epoch ? $"it may run here, under epoch {epoch}" : "it may not run here";

    private static string Where(HostRecord r) => $"{HostFsm.Word(r.Phase)} since epoch {r.PhaseEpoch}";
}
