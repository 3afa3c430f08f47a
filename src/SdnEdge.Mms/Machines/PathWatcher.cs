using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Machines;

/// <summary>What to look at next.</summary>
/// <param name="Source">Read the migration at the source PE.</param>
/// <param name="Target">Read it at the target PE.</param>
/// <param name="Ingress">Ask these ingress PEs whether they take the direct path.</param>
/// <param name="AfterMs">Wait this long first.</param>
public sealed record PathQuestion(bool Source, bool Target, IReadOnlyList<string> Ingress, int AfterMs = 0);

/// <summary>What was seen. A part that was not asked for, or could not be read, is null.</summary>
/// <param name="Source">The source PE's word.</param>
/// <param name="Target">The target PE's word.</param>
/// <param name="Ingress">For each ingress PE that answered: null = it takes the direct path, else why not.</param>
/// <param name="Silent">A PE of the two that was asked and did not answer; null = none.</param>
/// <param name="TargetForgot">The target PE answered that it does not know the path, and has been fenced since.</param>
/// <param name="SourceGone">The source PE has answered that it sends nothing into the tunnel any more
/// (<see cref="MoveMachine.SourceIsGone"/>).</param>
public sealed record PathLook(
    MigrationInfo? Source, MigrationInfo? Target, IReadOnlyDictionary<string, string?> Ingress, string? Silent = null,
    bool TargetForgot = false, bool SourceGone = true);

/// <summary>
/// Watches one path until something is so: pure, one answer after the other, of one PE or of several. What many looks showed becomes one
/// piece of evidence, so that the journal has one record of it.
/// </summary>
public sealed class PathWatcher
{
    private const long Ms = 1_000_000;

    // Between two looks at the same thing, milliseconds; markers are on their way for one trip through the tunnel.
    private const int Poll = 50, PollMarkers = 2;

    private readonly PathWatch _kind;
    private readonly PathMove _path;
    private readonly MoveOptions _options;
    private readonly long _startedNs;
    private readonly HashSet<string> _waitForRoutes = new(StringComparer.Ordinal);
    private PathEvidence _seen;
    private bool _targetDrained;
    private bool _sourceRead;
    private long _packets = -1;
    private long _quietSince;

    // Since when what is watched may be late; null: it has not begun.
    private long? _boundSince;

    /// <summary>Begins to watch.</summary>
    /// <param name="kind">What for.</param>
    /// <param name="path">The path.</param>
    /// <param name="options">The move's bounds.</param>
    /// <param name="prior">What is known of the path.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    /// <param name="sourceGone">What the first look's <see cref="PathLook.SourceGone"/> would be if it came at once.</param>
    public PathWatcher(
        PathWatch kind, PathMove path, MoveOptions options, PathEvidence prior, long now, bool sourceGone = true)
        => (_kind, _path, _options, _seen, _startedNs, _quietSince, _boundSince) = (kind, path, options, prior with { Late = false }, now,
            now, kind == PathWatch.LastPacket && sourceGone ? now : null);

    /// <summary>Why it is not so yet.</summary>
    public WaitReason Reason { get; private set; } = WaitReason.InProgress;

    /// <summary>The same for people; null: nothing was seen yet.</summary>
    public string? Detail { get; private set; }

    /// <summary>The PE that it waits for because it does not answer, or has not taken the direct path; null: it is not that.</summary>
    public string? Party { get; private set; }

    /// <summary>What to look at first.</summary>
    public PathQuestion First => _kind switch
    {
        PathWatch.TunnelUp => new PathQuestion(true, true, []),
        PathWatch.DirectPath => new PathQuestion(Marked && !_path.OtherIngress, Marked, Marked ? [] : _path.Ingress),
        PathWatch.Drained => new PathQuestion(true, true, []),
        _ => new PathQuestion(false, true, []),
    };

    /// <summary>What the source PE is asked to wait for with its answer; null: for any change.</summary>
    public MigrationCondition? SourceUntil => _kind switch
    {
        PathWatch.TunnelUp => MigrationCondition.TunnelUp,
        PathWatch.DirectPath => MigrationCondition.Settled,
        _ => null,
    };

    /// <summary>The same for the target PE.</summary>
    public MigrationCondition? TargetUntil => _kind switch
    {
        PathWatch.TunnelUp => MigrationCondition.TunnelUp,
        PathWatch.Answering => MigrationCondition.ServersAnswer,
        PathWatch.HoldEmpty => MigrationCondition.HoldEmpty,
        PathWatch.DirectPath => MigrationCondition.Direct,
        PathWatch.LastPacket when Marked => MigrationCondition.Settled,
        PathWatch.GivenBack => MigrationCondition.Gone,
        _ => null,
    };

    private bool Marked => _path.Order is not null;

    /// <summary>Takes what was seen. Returns the evidence when it is so, else null and what to look at next.</summary>
    public PathEvidence? Take(PathLook look, long now, out PathQuestion next)
    {
        ArgumentNullException.ThrowIfNull(look);
        if (look.Source is not null) _seen = _seen with { Source = Newest(_seen.Source, look.Source) };
        if (look.Target is not null) _seen = _seen with { Target = Newest(_seen.Target, look.Target) };
        next = First with { AfterMs = Poll };
        PathEvidence? evidence = Judge(look, now, ref next);
        return evidence is null && look.Silent is { } silent ? Unread(silent) : evidence;
    }

    private PathEvidence? Judge(PathLook look, long now, ref PathQuestion next)
    {
        return _kind switch
        {
            PathWatch.TunnelUp => TunnelUp(),
            PathWatch.Answering => Answering(look),
            PathWatch.Holding => Holding(look),
            PathWatch.HoldEmpty => HoldEmpty(look, now, ref next),
            PathWatch.DirectPath => DirectPath(look, now, ref next),
            PathWatch.Drained => Drained(look, now),
            PathWatch.LastPacket => LastPacket(look, now, ref next),
            PathWatch.GivenBack => GivenBack(look, ref next),
            _ => throw new InvalidOperationException($"{_kind} is not watched by looking at migrations"),
        };
    }

    // What is torn down has no counters any more: the last word before it is the one to keep.
    private static MigrationInfo Newest(MigrationInfo? known, MigrationInfo seen)
        => known is not null && seen.State is PeMigrationState.TornDown or PeMigrationState.Aborted ? known : seen;

    private PathEvidence? Not(WaitReason reason, string detail)
    {
        (Reason, Detail, Party) = (reason, detail, null);
        return null;
    }

    private PathEvidence? Unread(string pe)
    {
        Not(WaitReason.PeerUnreachable, $"{pe} does not say how its part is");
        Party = pe;
        return null;
    }

    private bool Over(long now, int boundMs) => now - _startedNs >= boundMs * Ms;

    private PathEvidence? TunnelUp()
    {
        if (_seen is { Source.TunnelUp: true, Target.TunnelUp: true }) return _seen;
        string down = _seen.Source is { TunnelUp: true } ? _path.Target.Pe : _path.Source.Pe;
        return Not(WaitReason.TunnelDown, $"no full-size probe has come back to {down} through tunnel mig-{_path.Id}");
    }

    // A PE of an older version is not able to say it, and says nothing else.
    private PathEvidence? Answering(PathLook look)
    {
        if (look.Target is not { } target) return Unread(_path.Target.Pe);
        return target.Is(MigrationCondition.ServersAnswer) ? _seen
            : Not(WaitReason.InstanceSilent, $"{_path.Target.Pe}: {target.Silent ?? "it has not asked the instances there"}");
    }

    private PathEvidence? Holding(PathLook look)
    {
        if (look.Target is not { } target) return Unread(_path.Target.Pe);
        return target.State == PeMigrationState.Prepared && (target.Hold is not null || _path.Hold is { Disabled: true }) ? _seen
            : Not(WaitReason.Refused, $"{_path.Target.Pe} does not hold for {_path.Id}: it is {Words.Of(target.State)} there");
    }

    private PathEvidence? HoldEmpty(PathLook look, long now, ref PathQuestion next)
    {
        next = next with { AfterMs = PollMarkers };
        if (look.Target is not { } target) return Unread(_path.Target.Pe);

        // Asked ahead of the release: what comes until then is held, too.
        if (target.State == PeMigrationState.Prepared) return Not(WaitReason.InProgress, $"{_path.Target.Pe} still holds what comes");
        if (target.Hold is not { PacketsHeldNow: > 0 } hold) return _seen;
        _boundSince ??= now;

        // More comes than can leave: the direct paths relieve the tunnel, so go on.
        if (now - _boundSince >= _options.HoldDrainMs * Ms) return _seen with { Late = true };
        return Not(WaitReason.Draining, $"{_path.Target.Pe} still holds {hold.PacketsHeldNow} packets");
    }

    // 1. An ingress is on the direct path when its markers have come out of the tunnel, for each address family that moves; or, where the
    //    source sees them go by, when those of all have.
    // 2. Where none come in time, or it sends none, it is asked for its routes.
    private PathEvidence? DirectPath(PathLook look, long now, ref PathQuestion next)
    {
        TakeMarkers(look.Target, now);
        if (Marked && !_path.OtherIngress && !_seen.OthersSeen)
        {
            // What has come out of the tunnel has gone by the source.
            bool wentBy = look.Source?.Order is { Proved: true } order && _path.Ingress.All(pe => order.Gates.Any(g => g.Ingress == pe));
            _seen = _seen with { Passed = _seen.Passed || wentBy || (_seen.ByMarker ?? []).IsSupersetOf(_path.Ingress) };
            if (wentBy) foreach (string pe in _path.Ingress) Direct(pe, now);
        }

        foreach ((string pe, string? why) in look.Ingress)
        {
            if (why is null) Direct(pe, now);
            else (Reason, Detail, Party) = (WaitReason.NoDirectPath, $"{pe}: {why}", pe);
        }

        string[] missing = [.. _path.Ingress.Where(pe => !(_seen.DirectAt?.ContainsKey(pe) ?? false))];
        if (missing.Length == 0) return _seen;
        if (Marked && Over(now, _path.Order!.BoundMs)) _waitForRoutes.UnionWith(missing);
        else if (Marked) _waitForRoutes.UnionWith(missing.Where(pe => _path.Order!.Ingress.All(i => i.Name != pe)));
        string[] ask = Marked ? [.. missing.Where(_waitForRoutes.Contains)] : missing;
        next = new PathQuestion(Marked && !_path.OtherIngress, Marked, ask, ask.Length > 0 ? Poll : PollMarkers);
        if (look.Ingress.Count == 0)
            (Reason, Detail, Party) = (WaitReason.NoDirectPath, $"without the direct path: {string.Join(", ", missing)}", null);
        return null;
    }

    private void Direct(string pe, long now) => _seen = PathProofs.WithDirect(_seen, pe, now);

    private void TakeMarkers(MigrationInfo? target, long now)
    {
        if (target?.Order is not { } order) return;
        _targetDrained = IsDrained(target);
        _seen = PathProofs.WithMarkers(_path, _seen, order, now);
    }

    // The hold, and the gates of all ingress PEs that have moved; the source's own opens at teardown.
    private bool IsDrained(MigrationInfo target) => target.Hold is null or { PacketsHeldNow: 0 }
        && (target.Order?.Gates.All(g => g.PacketsHeldNow == 0 || !_path.Ingress.Contains(g.Ingress)) ?? true);

    private PathEvidence? Drained(PathLook look, long now)
    {
        TakeMarkers(look.Target, now);
        if (look.Target is { } target) _targetDrained = IsDrained(target);
        if (look.Source is { } source)
        {
            // The counter proves it: the same number twice means that nothing came between, also when looks in between were lost.
            long packets = source.Group?.TunnelPackets ?? 0;
            if (packets != _packets) (_packets, _quietSince) = (packets, now);
            _sourceRead = true;
            _seen = _seen with { Quiet = now - _quietSince >= _options.QuietMs * Ms };
        }

        // The source's own markers are the last packets in the tunnel: it may close when nothing comes to it any more, whatever is inside.
        if (_sourceRead && (_seen.Passed || (_targetDrained && (_seen.Quiet || PathProofs.MarkersSuffice(_path, _seen))))) return _seen;

        // Traffic that starts at the source PE itself goes on; after teardown its route is BGP's, by the direct path.
        if (_sourceRead && _targetDrained && Over(now, _options.DrainMs)) return _seen with { Late = true };
        return Not(WaitReason.Draining, _targetDrained ? $"packets still come to tunnel mig-{_path.Id}"
            : $"{_path.Target.Pe} still holds packets");
    }

    // Where there are no markers the last packets may be on their way still, and nothing says when they are through: the quiet time is
    // longer than the way.
    private PathEvidence? LastPacket(PathLook look, long now, ref PathQuestion next)
    {
        next = next with { AfterMs = PollMarkers };
        if (!Marked)
        {
            next = next with { AfterMs = _options.QuietMs };
            return Over(now, _options.QuietMs) ? _seen : Not(WaitReason.Draining, "the last packets may be in the tunnel");
        }

        TakeMarkers(look.Target, now);
        bool allOut = look.Target is { Order: { } order } && order.Gates.All(g => g.Ingress != _path.Source.Pe || g.Proved)
            && (!_seen.Passed || (_targetDrained && (_seen.ByMarker ?? []).IsSupersetOf(_path.Ingress)));
        if (allOut) return _seen;

        // Lost, all copies of it. The source sends into the tunnel no more, and it has had time to become empty. Asked ahead of the
        // source's teardown, the time begins with that.
        if (look.SourceGone) _boundSince ??= now;
        if (now - _boundSince >= Math.Max(2_000, _options.QuietMs) * Ms) return _seen with { Late = true };
        return look.Target is null ? Unread(_path.Target.Pe)
            : Not(WaitReason.Draining, $"{_path.Source.Pe}'s last packet has not come out of the tunnel");
    }

    private PathEvidence? GivenBack(PathLook look, ref PathQuestion next)
    {
        // A PE that does not know the path has nothing of it left.
        if (look.TargetForgot || look.Target is { State: PeMigrationState.Aborted, Group: null }) return _seen;
        next = next with { AfterMs = PollMarkers };
        return look.Target is null ? Unread(_path.Target.Pe) : Not(WaitReason.Draining, $"{_path.Target.Pe} still gives back what it held");
    }
}
