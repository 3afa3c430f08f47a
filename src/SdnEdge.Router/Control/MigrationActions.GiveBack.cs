using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <content>
/// A false alarm is taken back in order, by the two PEs alone (docs/decisions/0036):
/// <list type="number">
/// <item>Source: what comes from now on waits here. Behind the last packet in the tunnel goes a marker: give back.</item>
/// <item>Target: what it holds goes back through the tunnel; behind the last of it goes a marker: nothing held. A new hold is armed.</item>
/// <item>Source: what came back went to the servers as it came; now what waits here follows, and then all goes natively.</item>
/// </list>
/// The request is repeated until it is answered, or for <see cref="ReturnBoundNs"/>: then what waits goes on without the answer.
/// </content>
internal sealed partial class MigrationActions
{
    /// <summary>How long the source waits for the target's answer, nanoseconds.</summary>
    public const long ReturnBoundNs = 600_000_000;

    private const long AskBackEveryNs = 5_000_000;

    // Holds that nobody puts anything into any more, and that still send what they have.
    private readonly List<Hold> _emptying = [];

    // Source. The store comes first: what the marker is behind is all that went into the tunnel.
    private void AskBack(Armed armed, GiveBack c)
    {
        EndReturn(armed);
        var waiting = new Hold($"{c.Group}/back", state.Vrfs[armed.Group.Vrf].Table, new Core.Api.HoldOptions());
        state.Plane.AddHold(waiting);
        armed.Group.WaitForReturn(waiting);
        state.Workers.Grace();
        armed.Asked = new AskedBack(waiting, c.Tag, loop.Now, loop.Now + ReturnBoundNs);
        Ask(armed, armed.Asked, loop.Now);
    }

    private void Ask(Armed armed, AskedBack asked, long now)
    {
        asked.NextNs = now + AskBackEveryNs;
        Say(armed, new FlushMarker(asked.Tag, 0, asked.Number, FlushMarkerFlags.GiveBack), armed.Prefixes[0].Prefix.Address);
    }

    private void ArmAgain(Armed armed)
    {
        EndReturn(armed);
        armed.Group.Arm(ForwardingDecision.Through(state.Tunnels[armed.Tunnel]));
    }

    // What waits goes to the servers, or, where the group has gone on, wherever its prefixes lead.
    private void EndReturn(Armed armed)
    {
        if (armed.Asked is { } asked)
        {
            armed.Asked = null;
            asked.Waiting.BeginRelease(DrainPath.Native);
            _emptying.Add(asked.Waiting);
        }

        if (armed is { IsLeaving: true, GivenBack: { IsDone: false, Hold: { } givesBack } })
        {
            // The tunnel goes, too.
            armed.GivenBack = null;
            givesBack.BeginRelease(DrainPath.Native);
            _emptying.Add(givesBack);
        }

        if (_emptying.Count > 0) state.Workers.PollAll();
    }

    // One end of a redirect tunnel to the other.
    private void BetweenEnds(Armed armed, in FlushMarker marker, IpAddress to, long now)
    {
        if (marker.Flags.HasFlag(FlushMarkerFlags.GiveBack))
        {
            if (!armed.IsSource) GiveBack(armed, marker, to, now);
        }
        else if (armed.Asked is { } asked && asked.Number == marker.MovedAtNs)
        {
            state.Steps.ReturnEnded(armed.Group.Name, inOrder: true);
        }
    }

    // Target. Once it delivers it gives nothing back.
    private void GiveBack(Armed armed, in FlushMarker marker, IpAddress to, long now)
    {
        if (armed.IsReleased || armed.IsLeaving || !state.Tunnels.TryGetValue(armed.Tunnel, out Tunnel? tunnel)) return;
        if (armed.GivenBack is { } known && known.Number == marker.MovedAtNs)
        {
            if (known.IsDone) Answer(armed, known);
            return;
        }

        if (armed.GivenBack is { IsDone: false }) return;
        changes.Note();
        if (armed.Hold is not { State: HoldState.Armed } held)
        {
            // It delivers as things come, and has nothing.
            armed.GivenBack = new GivenBack(null, marker.MovedAtNs, marker.Tag, to) { IsDone = true };
            Answer(armed, armed.GivenBack);
            return;
        }

        Hold next = NextHold(armed, held);
        long before = held.Info.PacketsHeldNow;
        armed.GivenBack = new GivenBack(held, marker.MovedAtNs, marker.Tag, to);
        armed.Group.GiveBack(held, ForwardingDecision.Through(tunnel), next, armed.HoldsAll);
        Use(armed, next);
        state.Events.Add(now, "migration", armed.Group.Name, "gives-back", $"{before} packets: it was a false alarm");
    }

    // A target that is a backup holds what comes by the direct path while the source PE has failed: it would be sent into a void.
    private void SetBackup(AdvertiseBackup c)
    {
        foreach (Armed armed in _armed.Values)
        {
            if (armed.IsSource || armed.Group.Vrf != c.Vrf || !armed.Prefixes.Equals(c.Prefixes)) continue;
            armed.IsBackup = c.LocalPref is not null;
            HoldAll(armed, armed.IsBackup && state.IsFailed(Core.Config.NodeConfig.DefaultVrf, RemoteOf(armed)));
        }
    }

    private void PeFailed(IpAddress pe, bool failed)
    {
        foreach (Armed armed in _armed.Values)
        {
            if (armed.IsBackup && RemoteOf(armed) == pe) HoldAll(armed, failed);
        }
    }

    private void HoldAll(Armed armed, bool all)
    {
        if (armed.Hold is not { State: HoldState.Armed } hold || armed.IsReleased || armed.IsLeaving || armed.HoldsAll == all) return;
        armed.HoldsAll = all;
        if (all) armed.Group.HoldAll(hold);
        else LetGo(armed, hold);
        changes.Note();
        state.Events.Add(loop.Now, "migration", armed.Group.Name, all ? "holds-all" : "holds-arrivals",
            all ? $"PE {RemoteOf(armed)} has failed: what comes by the direct path is held"
                : $"PE {RemoteOf(armed)} is back, or this PE is no backup any more");
    }

    private IpAddress RemoteOf(Armed armed) => state.Tunnels.GetValueOrDefault(armed.Tunnel)?.Options.Remote ?? default;

    // Target, the source PE is back: what came by the direct path goes on to it.
    private void LetGo(Armed armed, Hold held)
    {
        Hold next = NextHold(armed, held);
        armed.Group.LetGo(held, next);
        Use(armed, next);
        _emptying.Add(held);
    }

    private Hold NextHold(Armed armed, Hold held)
    {
        var next = new Hold(armed.Group.Name, held.Vrf, armed.HoldOptions);
        state.Plane.AddHold(next);
        return next;
    }

    private void Use(Armed armed, Hold next)
    {
        armed.Hold = next;
        armed.Order?.Behind(next);
        state.Workers.PollAll();
    }

    private void Answer(Armed armed, GivenBack back)
        => Say(armed, new FlushMarker(back.Tag, 0, back.Number, FlushMarkerFlags.NothingHeld), back.To);

    private void Say(Armed armed, in FlushMarker marker, IpAddress to)
    {
        IpAddress from = MarkerSender.Of(state.Config.Loopbacks, to.Family, !state.Vrfs[armed.Group.Vrf].Table.IsDefault);
        if (!from.IsNone && state.Tunnels.TryGetValue(armed.Tunnel, out Tunnel? tunnel))
            state.Workers.Probe(tunnel, marker.ToPacket(from, to));
    }

    private void PollReturn(Armed armed, long now)
    {
        if (armed.Asked is { } asked)
        {
            if (now >= asked.DeadlineNs) state.Steps.ReturnEnded(armed.Group.Name, inOrder: false);
            else if (now >= asked.NextNs) Ask(armed, asked, now);
        }

        if (armed.GivenBack is { IsDone: false, Hold: { State: HoldState.Released } empty } back)
        {
            // What was held is on the wire: the answer goes behind it.
            state.Workers.Grace();
            back.IsDone = true;
            changes.Note();
            Answer(armed, back);
            state.Plane.RemoveHold(empty);
            state.Workers.Grace();
            empty.Dispose();
        }
    }

    private void ForgetEmptied()
    {
        if (!_emptying.Exists(h => h.State == HoldState.Released)) return;
        Hold[] empty = [.. _emptying.Where(h => h.State == HoldState.Released)];
        foreach (Hold hold in empty) state.Plane.RemoveHold(hold);
        state.Workers.Grace();
        foreach (Hold hold in empty)
        {
            _emptying.Remove(hold);
            hold.Dispose();
        }
    }

    /// <summary>What was asked back from the target.</summary>
    private sealed class AskedBack(Hold waiting, uint tag, long number, long deadlineNs)
    {
        /// <summary>What came meanwhile.</summary>
        public Hold Waiting { get; } = waiting;

        public uint Tag { get; } = tag;

        /// <summary>Number of the request.</summary>
        public long Number { get; } = number;

        public long DeadlineNs { get; } = deadlineNs;

        /// <summary>When it is asked again.</summary>
        public long NextNs { get; set; }
    }

    /// <summary>A request that came to the target.</summary>
    private sealed class GivenBack(Hold? hold, long number, uint tag, IpAddress to)
    {
        /// <summary>What sends it back; null: nothing was held.</summary>
        public Hold? Hold { get; } = hold;

        public long Number { get; } = number;

        public uint Tag { get; } = tag;

        public IpAddress To { get; } = to;

        /// <summary>All that was held is on its way.</summary>
        public bool IsDone { get; set; }
    }
}
