using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>A part of a command that was carried out: the loop may do other work before the next one.</summary>
/// <param name="StoreNs">Nanoseconds that the command's store took, where it is one store; else 0.</param>
/// <param name="More">True: the command has more parts, for later rounds of the loop.</param>
internal readonly record struct CommandPart(long StoreNs = 0, bool More = false);

/// <summary>
/// What each <see cref="PeCommand"/> does to the tables. A redirect is a route source over all others: taking it away restores
/// what they say, so nothing is remembered twice. What costs as much as there are prefixes is done in parts of
/// <see cref="PrefixesAPart"/>, each of them published, so that the loop goes on with all else meanwhile. A store (switch, release) is
/// whole, and in the first part. Runs on the control loop.
/// </summary>
/// <param name="state">The tables.</param>
/// <param name="tunnels">Tunnels and their probes.</param>
/// <param name="resolve">Starts ARP or ND for a neighbour at once.</param>
/// <param name="setMoved">Sets (or with null forgets) how BGP advertises a prefix that a migration brought here.</param>
/// <param name="setLeaving">Says whether the servers of a prefix are about to leave this PE.</param>
/// <param name="setBackup">Sets (or with null forgets) the LOCAL_PREF with which BGP advertises a prefix that this PE is a backup
/// for.</param>
/// <param name="markers">Flush markers of this PE.</param>
/// <param name="stretched">Told where moved prefixes go, for who looks for them on a link.</param>
/// <param name="changes">Told when a flush marker has come or gone by, and when a gate opens.</param>
/// <param name="loop">The loop.</param>
internal sealed partial class MigrationActions(
    PeState state, TunnelKeeper tunnels, Action<Adjacency> resolve, Action<string, IpPrefix, MovedRoute?> setMoved,
    Action<string, IpPrefix, bool> setLeaving, Action<string, IpPrefix, uint?> setBackup, MarkerDriver markers, StretchedSubnets stretched,
    MigrationChanges changes, ControlLoop loop)
{
    // A move of more prefixes than this lets ARP and ND ask for the rest when packets come.
    private const int MaxResolvedAhead = 1024;

    /// <summary>Most prefixes that one part of a command works on.</summary>
    public const int PrefixesAPart = 1024;

    private const int PrefixesARound = 4096;
    private const int MaxEnded = 64;

    // The source's last marker and copies of it: there is no later time to repeat it.
    private const int FinalMarkers = 3;

    private readonly Dictionary<string, Armed> _armed = [];

    // Of groups that are gone: gates, and what was kept back, that still send what they have.
    private readonly List<OrderedGroup> _leaving = [];
    private readonly List<KeptBackServers> _goingOn = [];

    // What gates did, of the last groups that are gone, newest first.
    private readonly LinkedList<(string Group, OrderInfo? Order)> _ended = [];

    /// <summary>From now on failures of other PEs count (<see cref="PeState.PeFailed"/>).</summary>
    public MigrationActions Watch()
    {
        state.PeFailed += PeFailed;
        return this;
    }

    /// <summary>True while the tables are filled before the loop runs: groups are armed at once.</summary>
    public bool AtOnce { get; set; }

    /// <summary>
    /// The neighbours by which a group's servers are reached, as far as one can be asked: next hops, and hosts on the port's own subnet.
    /// One whose MAC address was never needed has been sent nothing.
    /// </summary>
    /// <param name="group">The group.</param>
    /// <param name="unasked">True: those, too, whose MAC address was never needed.</param>
    /// <param name="most">Where there are more, the answer has one more than this.</param>
    public List<(PortEntry Port, IpAddress Address)> Neighbors(string group, bool unasked, int most)
    {
        var all = new OrderedDictionary<(PortEntry Port, IpAddress Address), bool>();
        if (!_armed.TryGetValue(group, out Armed? armed)) return [];
        foreach (MovedPrefix moving in armed.Prefixes)
        {
            if (moving.NextHop is null && moving.Prefix.Length != moving.Prefix.Address.BitLength) continue;
            PortEntry port = state.Ports[moving.Port].Entry;
            IpAddress address = moving.NextHop ?? moving.Prefix.Address;
            if (unasked || (port.Neighbors.Find(address) is { } known && (known.Mac is not null || known.WaitingPackets > 0)))
                all.TryAdd((port, address), true);
            if (all.Count > most) break;
        }

        return [.. all.Keys];
    }

    /// <summary>True while prefixes of a group are still to be armed.</summary>
    public bool IsArming(string group) => _armed.TryGetValue(group, out Armed? armed) && armed.IsArming;

    /// <summary>How many prefixes of a group are armed, and how many there are.</summary>
    public (int Armed, int All) Progress(string group) => _armed.TryGetValue(group, out Armed? armed)
        ? (armed.Offered, armed.Prefixes.Count) : (0, 0);

    /// <summary>The hold of a migration; null when it has none.</summary>
    public Hold? HoldOf(string group) => _armed.GetValueOrDefault(group)?.Hold;

    /// <summary>How a group keeps order, or kept it until it was removed, or which markers went by it; null when it does none of
    /// that.</summary>
    public OrderInfo? OrderOf(string group) => _armed.GetValueOrDefault(group) is { } armed
        && (armed.Order?.Info ?? armed.Passing?.Info(loop.Now)) is { } info ? info : _ended.FirstOrDefault(e => e.Group == group).Order;

    /// <summary>True while a gate of a migration has packets that are to go before later ones.</summary>
    public bool KeepsOrder(string group) => _armed.GetValueOrDefault(group)?.Order?.HasPackets == true;

    /// <summary>True while gates may have something to do.</summary>
    public bool HasGates => _leaving.Count > 0 || _goingOn.Count > 0 || _emptying.Count > 0
        || _armed.Values.Any(a => a.Order is not null || a.KeptBack is not null || a.Asked is not null || a.GivenBack is { IsDone: false });

    /// <summary>A prefix of a migration to which, its group aside, this PE has no route but to the port the prefix was on; null
    /// when there is none.</summary>
    public IpPrefix? Unrouted(PeMigration migration)
    {
        if (!state.Vrfs.TryGetValue(migration.Vrf, out VrfState? vrf)) return null;
        LocRib rib = vrf.Rib;

        // Asked again and again while routes come: where one was missing, not from the start.
        Armed? armed = _armed.GetValueOrDefault(migration.Group);
        int first = armed?.Unrouted ?? 0, count = migration.Prefixes.Count;
        for (int i = 0; i < count; i++)
        {
            int at = (first + i) % count;
            MovedPrefix moving = migration.Prefixes[at];
            IpPrefix prefix = moving.Prefix;
            if (armed is not null) armed.Unrouted = at;
            if (rib.BestCovering(prefix)?.Hop.Resolved is not { IsUsable: true } hop || hop.Kind == HopKind.Blackhole
                || hop.Port == moving.Port) return prefix;
        }

        return null;
    }

    /// <summary>A flush marker for a group of this PE: of its VRF, and, at the target, out of its own tunnel. Another move's says nothing
    /// of it, whatever its tag.</summary>
    public void Marker(in PuntInfo info, ReadOnlySpan<byte> packet, long now)
    {
        if (!FlushMarker.TryParse(packet, out FlushMarker marker, out IpAddress from, out IpAddress to)) return;
        foreach (Armed armed in _armed.Values)
        {
            if (!state.Vrfs.TryGetValue(armed.Group.Vrf, out VrfState? vrf) || vrf.Table.Index != info.Vrf) continue;
            if ((marker.Flags & FlushMarker.BetweenEnds) != 0)
            {
                if (info.Tunnel?.Options.Name == armed.Tunnel) BetweenEnds(armed, marker, to, now);
                continue;
            }

            if (armed.Passing is { } passing && passing.Tag == marker.Tag)
            {
                changes.Note();
                passing.Marker(from, marker, now);
                state.Events.Add(now, "migration", armed.Group.Name, "flush-marker-passed",
                    $"of {from} for {to}: {marker.Moved} prefixes moved");
            }

            if (armed.Order is not { } order || order.Tag != marker.Tag) continue;
            changes.Note();
            order.Marker(from, marker, info.Tunnel?.Options.Name == armed.Tunnel, now);
            state.Events.Add(now, "migration", armed.Group.Name, "flush-marker", $"of {from} for {to}: {marker.Moved} prefixes moved");
            if (order.Poll(now)) changes.Note();
        }
    }

    /// <summary>Opens gates that may be opened, and forgets those that have nothing left.</summary>
    public void PollGates(long now)
    {
        foreach (Armed armed in _armed.Values)
        {
            if (armed.Order?.Poll(now) == true) changes.Note();
            armed.KeptBack?.Poll(now);
            PollReturn(armed, now);
        }

        ForgetEmptied();

        _goingOn.RemoveAll(kept => kept.TryEnd());

        _leaving.RemoveAll(order =>
        {
            if (order.IsBusy) return false;
            order.Dispose();
            return true;
        });
    }

    /// <summary>Counters of a group; null when it is gone.</summary>
    public RedirectGroupInfo? GroupInfo(string group) => _armed.TryGetValue(group, out Armed? armed) ? Info(armed) : null;

    /// <summary>All groups.</summary>
    public IReadOnlyList<RedirectGroupInfo> GroupInfos() => [.. _armed.Values.Select(Info)];

    /// <summary>The grace period after a change of the group is over.</summary>
    public void MarkAcknowledged(string group)
    {
        if (_armed.TryGetValue(group, out Armed? armed)) armed.Group.MarkAcknowledged();
    }

    /// <summary>
    /// Carries a command out, a part each time the next element is asked for; a small one is a single part. Between two parts the tables
    /// are as far as the parts have come. One that is left in the middle may be begun again, or undone.
    /// </summary>
    public IEnumerable<CommandPart> Carry(PeCommand command)
    {
        switch (command)
        {
            case CreateTunnel c:
                tunnels.AddForMigration(c.Tunnel, c.Vrf, c.Peer, c.Key, c.Proven);
                return Done();
            case ArmGroup c:
                return ArmTunnel(c);
            case ArmHold c:
                return ArmHold(c);
            case TellWith c:
                return InParts(c.Prefixes, moving => setMoved(c.Vrf, moving.Prefix, new MovedRoute(c.LocalPref)));
            case AdvertiseBackup c:
                SetBackup(c);
                HashSet<IpPrefix> except = [.. c.Except ?? []];
                return InParts(c.Prefixes, moving => setBackup(c.Vrf, moving.Prefix, except.Contains(moving.Prefix) ? null : c.LocalPref));
            case SwitchToTunnel c:
                TellLink(_armed[c.Group]);
                return Done(Switch(_armed[c.Group].Group));
            case SwitchBack c:
                if (!_armed.TryGetValue(c.Group, out Armed? switched)) return Done();
                TellLink(switched);
                return Done(Timed(switched.Group.SwitchBack));
            case GiveBack c:
                AskBack(_armed[c.Group], c);
                return Done();
            case ArmAgain c:
                ArmAgain(_armed[c.Group]);
                return Done();
            case ReleaseHold c:
                TellLink(_armed[c.Group]);
                return Done(Release(_armed[c.Group], c.KeepBackMs));
            case ReturnHold c:
                Return(c);
                return Done();
            case AdvertisePrefixes c:
                return Advertise(c);
            case WithdrawPrefixes c:
                return Withdraw(c);
            case RestorePrefixes c:
                return InParts(c.Prefixes, moving => state.Restore(c.Vrf, moving.Prefix), () => state.Publish(loop.Now));
            case FlushTunnel c:
                Flush(c);
                return Done();
            case RemoveGroup c:
                return Remove(c);
            case RemoveTunnel c:
                tunnels.Remove(c.Tunnel);
                return Done();
            default:
                throw new InvalidOperationException($"unknown command {command.GetType().Name}");
        }
    }

    private static IEnumerable<CommandPart> Done(long storeNs = 0) => [new CommandPart(storeNs)];

    // Each prefix, then, behind each part of them, what is to follow.
    private static IEnumerable<CommandPart> InParts(PrefixSet prefixes, Action<MovedPrefix> each, Action? behind = null)
    {
        for (int i = 0; i < prefixes.Count;)
        {
            for (int end = Math.Min(prefixes.Count, i + PrefixesAPart); i < end; i++) each(prefixes[i]);
            behind?.Invoke();
            yield return new CommandPart(More: i < prefixes.Count);
        }
    }

    // After the store: those beyond the first are told when their routes change.
    private void TellLink(Armed armed)
        => loop.Post(() => stretched.Switched(armed.Group.Vrf, armed.Prefixes.Take(MaxResolvedAhead).Select(p => p.Prefix)));

    private static long Timed(Action store)
    {
        long start = Stopwatch.GetTimestamp();
        store();
        return (long)((Stopwatch.GetTimestamp() - start) * (1e9 / Stopwatch.Frequency));
    }

    private static long TimedRelease(RedirectGroup group, Hold hold)
    {
        long start = Stopwatch.GetTimestamp();
        group.Release(hold);
        return (long)((Stopwatch.GetTimestamp() - start) * (1e9 / Stopwatch.Frequency));
    }

    // Once it goes into the tunnel there is nothing to store: an attempt that failed behind the store is made again.
    private static long Switch(RedirectGroup group) => group.Active.ForOthers?.Kind == ForwardingKind.Tunnel ? 0 : Timed(group.Switch);

    // 1. the group, native; 2. the prefixes' leaves point at it, a chunk in each round of the loop, so that it goes on with all
    // else meanwhile; 3. the tunnel is probed with packets as large as the servers' ports take.
    private Armed Arm(string name, string vrfName, PrefixSet prefixes, string tunnel, Hold? hold, bool isSource,
        HoldOptions? options = null)
    {
        var group = new RedirectGroup(name, vrfName, state.Plane.Workers);
        var armed = new Armed(group, hold, prefixes, new RouteOrigin(RouteSource.Redirect, $"migration {name}"), tunnel)
        {
            IsSource = isSource,
            HoldOptions = options ?? new HoldOptions(),
        };
        _armed.Add(name, armed);
        state.Groups.Add(name, group);
        Continue(armed, tunnel);
        return armed;
    }

    private void Continue(Armed armed, string tunnel)
    {
        // Aborted meanwhile: what was offered is being withdrawn.
        if (armed.IsLeaving) return;
        VrfState vrf = state.Vrfs[armed.Group.Vrf];
        HopSpec hop = HopSpec.Group(armed.Group.Name);
        long now = loop.Now;
        int end = AtOnce ? armed.Prefixes.Count : Math.Min(armed.Prefixes.Count, armed.Offered + PrefixesARound);
        for (; armed.Offered < end; armed.Offered++)
        {
            MovedPrefix moving = armed.Prefixes[armed.Offered];
            IpPrefix prefix = moving.Prefix;
            PortEntry port = state.Ports[moving.Port].Entry;
            armed.Mtu = Math.Max(armed.Mtu, port.Mtu);
            vrf.Publisher.Attach(prefix, Attachment(vrf, port, moving));
            vrf.Rib.Offer(armed.Origin, prefix, hop, null, now);
            if (armed.IsSource) setLeaving(armed.Group.Vrf, prefix, true);
        }

        state.Publish(now);
        if (armed.IsArming)
        {
            loop.PostPart(() => Continue(armed, tunnel));
            return;
        }

        tunnels.ProbeWith(tunnel, armed.Mtu);
        state.Steps.FullyArmed(armed.Group.Name);
    }

    private IEnumerable<CommandPart> ArmTunnel(ArmGroup c)
    {
        // Of an attempt that failed half way.
        foreach (CommandPart part in Remove(new RemoveGroup(c.Group, c.Vrf, c.Prefixes))) yield return part with { More = true };
        Armed armed = Arm(c.Group, c.Vrf, c.Prefixes, c.Tunnel, null, isSource: true);
        armed.Group.Arm(ForwardingDecision.Through(state.Tunnels[c.Tunnel]));
        if (c.Order is not { } order) yield break;

        // Its own markers do not go by: they are the last packets of the tunnel.
        bool vpn = !state.Vrfs[c.Vrf].Table.IsDefault;
        (string Ingress, IpAddress Loopback)[] others = [.. order.Options.Ingress
            .Select(i => (i.Name, Loopbacks: i.Loopbacks.Select(IpAddress.Parse).Where(l => !state.Config.Loopbacks.Contains(l))))
            .SelectMany(i => OrderedGroup.Senders(i.Loopbacks, vpn).Select(l => (i.Name, l)))];
        int v4 = c.Prefixes.Count(p => p.Prefix.Family == IpFamily.V4);
        armed.Passing = new PassingMarkers(order.Tag, v4, c.Prefixes.Count - v4, others);
        armed.Group.ShowsMarkers = true;
    }

    private IEnumerable<CommandPart> ArmHold(ArmHold c)
    {
        // Of an attempt that failed half way.
        foreach (CommandPart part in Remove(new RemoveGroup(c.Group, c.Vrf, c.Prefixes))) yield return part with { More = true };
        Hold? hold = c.Hold.Disabled ? null : new Hold(c.Group, state.Vrfs[c.Vrf].Table, c.Hold);
        if (hold is not null) state.Plane.AddHold(hold);
        Armed armed = Arm(c.Group, c.Vrf, c.Prefixes, c.Tunnel, hold, isSource: false, c.Hold);
        if (hold is not null) armed.Group.ArmHold(hold);
        else armed.Group.Release(null);
        if (c.KeepBackMs > 0) armed.KeptBack = new KeptBackServers(state, c.Group, c.Vrf, c.Prefixes, c.KeepBackMs);
        if (hold is null || c.Order is not { } order) yield break; // without a hold packets are lost anyway: there is no order to keep
        armed.Order = new OrderedGroup(state, order, armed.Group, state.Vrfs[c.Vrf], [.. c.Prefixes.Select(p => p.Prefix)], hold, c.Hold);
    }

    private long Release(Armed armed, int keepBackMs)
    {
        armed.KeptBack?.LetGoAfter(keepBackMs, loop.Now);
        // Ask for the server before anything is sent to it, so that the answer is under way while the store is made.
        VrfState vrf = state.Vrfs[armed.Group.Vrf];
        foreach (MovedPrefix moving in armed.Prefixes.Take(MaxResolvedAhead))
        {
            IpPrefix prefix = moving.Prefix;
            PortEntry port = state.Ports[moving.Port].Entry;
            if (moving.NextHop is null && prefix.Length != prefix.Address.BitLength) continue;
            IpAddress neighbor = moving.NextHop ?? prefix.Address;
            if (port.Neighbors.GetOrAdd(neighbor) is { } adjacency) resolve(adjacency);
        }

        armed.IsReleased = true;

        // Once it drains there is nothing to store: an attempt that failed behind the store is made again.
        long took = armed.Hold is { State: HoldState.Armed } hold ? TimedRelease(armed.Group, hold) : 0;
        state.Workers.PollAll();
        if (armed.Order is not { } order) return took;

        // Clients attached here took the old path too, to the source PE and back; from now on they are delivered here.
        state.Workers.Grace();
        markers.MovedByGroup(order.Tag, vrf, armed.Group, armed.Prefixes);
        return took;
    }

    // Also of a hold that a release had begun to empty: what is left, and what is still to come, takes the native way.
    private void Return(ReturnHold c)
    {
        if (!_armed.TryGetValue(c.Group, out Armed? armed)) return;
        if (armed.IsReleased || armed.Hold is null) armed.Group.SwitchBack();
        armed.Hold?.BeginRelease(DrainPath.Native);
        if (armed.GivenBack is { IsDone: false, Hold: { } givesBack }) givesBack.BeginRelease(DrainPath.Native);
        state.Workers.PollAll();
    }

    // What this PE sent into the tunnel for its own clients, and what came from PEs that had not moved, goes by the FIB now. The
    // marker is the last packet of the move in the tunnel.
    private void Flush(FlushTunnel c)
    {
        if (!_armed.TryGetValue(c.Group, out Armed? armed) || !state.Tunnels.TryGetValue(c.Tunnel, out Tunnel? tunnel)) return;
        state.Workers.Grace();
        long now = loop.Now;
        foreach (IGrouping<IpFamily, IpPrefix> family in armed.Prefixes.Select(p => p.Prefix).GroupBy(p => p.Family))
        {
            IpAddress from = MarkerSender.Of(state.Config.Loopbacks, family.Key, !state.Vrfs[armed.Group.Vrf].Table.IsDefault);
            if (from.IsNone) continue;
            byte[] packet = new FlushMarker(c.Tag, (uint)family.Count(), now).ToPacket(from, family.First().Address);
            for (int i = 0; i < FinalMarkers; i++) state.Workers.Probe(tunnel, packet);
        }

        state.Workers.Grace();
    }

    private IEnumerable<CommandPart> Advertise(AdvertisePrefixes c)
    {
        VrfState vrf = state.Vrfs[c.Vrf];
        if (c.Tag is not null && _armed.TryGetValue(c.Group, out Armed? armed)) armed.Advertised = c;
        var moved = new MovedRoute(c.LocalPref, c.Tag, c.Move);
        return InParts(c.Prefixes, moving =>
        {
            IpPrefix prefix = moving.Prefix;
            setMoved(c.Vrf, prefix, moved);
            state.Restore(c.Vrf, prefix);
            HopSpec hop = moving.NextHop is { } next ? HopSpec.Via(next, moving.Port) : HopSpec.Connected(moving.Port);
            vrf.Rib.Offer(state.Migrated, prefix, hop, null, loop.Now);
        }, () => state.Publish(loop.Now));
    }

    private IEnumerable<CommandPart> Withdraw(WithdrawPrefixes c) => InParts(c.Prefixes, moving =>
    {
        state.Suppress(c.Vrf, moving.Prefix);
        setMoved(c.Vrf, moving.Prefix, null);
    }, () => state.Publish(loop.Now));

    // The leaves leave the group, then nobody uses its hold. Each step may be made again: only when all are through is the group forgotten.
    private IEnumerable<CommandPart> Remove(RemoveGroup c)
    {
        if (!_armed.TryGetValue(c.Group, out Armed? armed)) yield break;
        armed.IsLeaving = true;
        VrfState vrf = state.Vrfs[c.Vrf];
        EndReturn(armed);
        if (armed.Order is { } order)
        {
            // Nothing goes through the gates any more; then what they still have goes out.
            armed.Group.Settle();
            state.Workers.Grace();
            order.Drain();
            _leaving.Add(order);
            _ended.AddFirst((c.Group, order.Info));
            if (_ended.Count > MaxEnded) _ended.RemoveLast();
            armed.Order = null;
        }

        if (armed.KeptBack is { } kept)
        {
            kept.LetGo();
            _goingOn.Add(kept);
            armed.KeptBack = null;
        }

        // Nobody is to send markers for a group that is gone.
        if (armed.Advertised is { } told)
        {
            var untagged = new MovedRoute(told.LocalPref);
            foreach (CommandPart part in InParts(told.Prefixes, moving => setMoved(told.Vrf, moving.Prefix, untagged)))
                yield return part with { More = true };
            armed.Advertised = null;
        }

        // A prefix that has left the group goes by its own routes, as the group itself does by now; where it was attached nobody asks
        // any more.
        for (int begin = 0; begin < armed.Prefixes.Count; begin += PrefixesAPart)
        {
            int end = Math.Min(armed.Prefixes.Count, begin + PrefixesAPart);
            for (int i = begin; i < end; i++) vrf.Rib.Withdraw(armed.Origin, armed.Prefixes[i].Prefix, loop.Now);
            state.Publish(loop.Now);
            for (int i = begin; i < end; i++)
            {
                vrf.Publisher.Detach(armed.Prefixes[i].Prefix);
                if (armed.IsSource) setLeaving(c.Vrf, armed.Prefixes[i].Prefix, false);
            }

            if (end < armed.Prefixes.Count) yield return new CommandPart(More: true);
        }

        state.Groups.Remove(c.Group);
        if (armed.Hold is { } hold)
        {
            state.Plane.RemoveHold(hold);
            state.Workers.Grace();
            hold.Dispose();
        }

        _armed.Remove(c.Group);
    }

    private static ForwardingDecision Attachment(VrfState vrf, PortEntry port, MovedPrefix moving)
    {
        if (moving.NextHop is not { } hop) return vrf.Publisher.Connected(port);
        return port.Neighbors.GetOrAdd(hop) is { } adjacency ? ForwardingDecision.Via(adjacency) : ForwardingDecision.Unreachable;
    }

    private static RedirectGroupInfo Info(Armed armed) => new(
        armed.Group.Name, armed.Group.Vrf, armed.Prefixes.Count, armed.Group.Active.Name, armed.Group.NativePackets,
            armed.Group.TunnelPackets,
        armed.Group.StalePackets, armed.Group.FirstTunnelPacketAtNs);
}
