using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Win32.SafeHandles;
using SdnEdge.Core.Api;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bfd;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// BFD of this PE: orders the configured sessions from the BFD process, and hands on what it finds: a path that went down ends
/// its peer's BGP session at once. A session that an operator took down, here or there, says nothing about the path (RFC 5882 3.2).
/// <list type="number">
/// <item>The process is started with the first session; with a keeper, the one of the PE before is gone on with.</item>
/// <item>It tells changes at once and everything each second; what it tells of sessions ordered before is not taken for these.</item>
/// <item>Should it end, another one is started, later each time. No path is down for that: the peers judge for themselves.</item>
/// </list>
/// Runs on the control loop.
/// </summary>
internal sealed class BfdDriver(PeState state, BgpDriver bgp, HostPort host, ControlLoop loop, KeeperLink? keeper,
    Func<int, ProcessStartInfo>? program)
    : IWorkSource, ITimed, IDisposable
{
    private const string ChannelName = "bfd";
    private const long Never = long.MaxValue;

    private static readonly int[] BackOffMilliseconds = [0, 100, 500, 1000, 5000];

    private readonly ConcurrentQueue<BfdReport> _reports = new();
    private readonly Dictionary<BfdKey, Session> _sessions = [];
    private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private BfdLink? _link;
    private BfdHealth _health;
    private long[] _discards = [];
    private uint _orders = (uint)Random.Shared.NextInt64(); // no number of the PE before
    private int _endings;
    private long _startAt = Never, _restarts;
    private bool _disposed;

    /// <inheritdoc/>
    public bool HasWork => !_reports.IsEmpty;

    /// <inheritdoc/>
    public long NextDeadline => _startAt;

    /// <summary>Orders the configured sessions. The task ends when each is there, or fails when one cannot be had.</summary>
    /// <exception cref="IOException">The process could not be started.</exception>
    public Task Start(NodeConfig config)
    {
        foreach (BfdConfig session in config.BfdSessions) Open(session);
        if (_sessions.Count > 0) return _answered.Task;

        // The PE before may have had some, and its BFD process has them still.
        if (keeper?.TakeChannel(ChannelName) is { } kept and >= 0) BfdLink.Attach(kept, static _ => { }, static () => { }).Dispose();
        return Task.CompletedTask;
    }

    /// <summary>Adds a session while the PE runs. What the kernel refuses is told and shown.</summary>
    public void Add(BfdConfig session)
    {
        try
        {
            Open(session);
        }
        catch (IOException e)
        {
            Failed(_sessions[session.Key], e.Message);
        }
    }

    public void Remove(BfdConfig session)
    {
        if (!_sessions.Remove(session.Key)) return;
        _link?.Forget(session.Key);
        bgp.PathUp(session.Vrf, session.Peer, "BFD session removed");
        state.Events.Add(loop.Now, "bfd", session.Name, "removed", session.Title);
    }

    public void Change(BfdConfig session) => Add(session);

    public void Drain(long now)
    {
        while (_reports.TryDequeue(out BfdReport report))
        {
            switch (report.Kind)
            {
                case BfdMessageKind.Status:
                    Follow(report.Status, now);
                    break;
                case BfdMessageKind.Failed when _sessions.TryGetValue(report.Order.Key, out Session? session)
                    && session.Order == report.Order.Number:
                    Failed(session, report.Why);
                    break;
                case BfdMessageKind.Health:
                    (_health, _discards) = (report.Health, report.Discards!);
                    break;
            }
        }
    }

    public void Poll(long now)
    {
        if (now < _startAt) return;
        _startAt = Never;
        try
        {
            Connect();
            foreach (Session session in _sessions.Values) Order(session);
        }
        catch (IOException e)
        {
            Ended(e.Message);
        }
    }

    /// <summary>What the API shows.</summary>
    public BfdInfo Info(long now)
    {
        BfdDiscardInfo[] discards = [.. from reason in Enum.GetValues<BfdDiscard>()
                                        let packets = reason == BfdDiscard.None || (int)reason >= _discards.Length ? 0
                                            : _discards[(int)reason]
                                        where packets > 0
                                        select new BfdDiscardInfo(Word(reason), packets)];
        return new BfdInfo(
            _health.ProcessId, _restarts, [.. _sessions.Values.Select(s => Show(s, now))], Word(_health.Urgency), _health.Stalls,
            _health.LongestStallNs / 1e6, _health.Credits,
            _health.CreditNs / 1e6, _health.KernelDrops, _health.Faults, discards);
    }

    public void Dispose()
    {
        _disposed = true;
        _link?.Dispose();
    }

    private BfdSessionInfo Show(Session session, long now)
    {
        BfdKey key = session.Config.Key;
        (string vrf, string? port) = (session.Config.Vrf, key.Multihop ? null : session.Config.Port
            ?? state.Config.Ports.FirstOrDefault(p => p.Vrf == session.Config.Vrf && p.Addresses.Any(a => a.Address == key.Local))?.Name);
        if (session.Status is not { } s)
            return new BfdSessionInfo(key.Peer.ToString(), key.Local.ToString(), key.Multihop,
                session.Failure is null ? "starting" : "failed", "", session.Failure ?? "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                vrf, port);
        return new BfdSessionInfo(
            key.Peer.ToString(), key.Local.ToString(), key.Multihop, Word(s.State), Word(s.RemoteState), Word(s.Diagnostic),
            Word(s.RemoteDiagnostic), s.LocalDiscriminator, s.RemoteDiscriminator,
            s.TransmitInterval / 1000.0, s.DetectionTime / 1e6, s.Multiplier, Math.Max(0, now - s.ChangedAt) / 1_000_000_000, s.Received,
            s.Sent, s.SendErrors, s.Ups, s.Downs, s.CreditGiven / 1e6, vrf, port);
    }

    private static string Word<T>(T value)
        where T : struct, Enum => PeView.Kebab(value);

    private void Open(BfdConfig config)
    {
        // One that is changed goes on, and is told about as before.
        var session = new Session(config) { Status = _sessions.GetValueOrDefault(config.Key)?.Status };
        _sessions[config.Key] = session;
        if (_startAt != Never) return;
        if (_link is null) Connect();
        Order(session);
    }

    private void Order(Session session)
    {
        session.Order = ++_orders;
        session.Failure = null;
        BfdConfig config = session.Config;
        SafeFileHandle? space = host.SpaceOf(config.Vrf);
        string? device = config.Port is { } port ? host.EndOf(port)?.Device : null;
        try
        {
            int index = device is null ? 0 : Namespaces.Run(space, () => NetDevice.Index(device));
            _link!.Watch(new BfdOrder(session.Order, config.Key, config.Parameters, config.Shutdown, keeper is not null, index), space);
        }
        catch (LinuxException e)
        {
            Failed(session, e.Message);
        }
    }

    private void Connect()
    {
        Action<BfdReport> heard = report =>
        {
            _reports.Enqueue(report);
            loop.Wake();
        };
        Action ended = () => loop.Post(() => Ended("it was ended"));
        if (keeper?.TakeChannel(ChannelName) is { } kept and >= 0)
        {
            _link = BfdLink.Attach(kept, heard, ended);
            return;
        }

        _link = BfdLink.Start(program, heard, ended);
        keeper?.KeepChannel(ChannelName, _link.Duplicate());
    }

    private void Ended(string why)
    {
        if (_disposed) return;
        _link?.Dispose();
        _link = null;
        (_health, _discards) = (default, []);
        foreach (Session session in _sessions.Values) session.Status = null;
        int wait = BackOffMilliseconds[Math.Min(_endings++, BackOffMilliseconds.Length - 1)];
        _startAt = loop.Now + (wait * 1_000_000L);
        _restarts++;
        if (_endings == BackOffMilliseconds.Length)
            _answered.TrySetException(new IOException($"the BFD process ended {_endings} times in a row: {why}"));
        state.Events.Add(loop.Now, "bfd", state.Config.Name, "process-ended",
            $"{why}; another one is started{(wait == 0 ? "" : $" in {wait} ms")}, and {_sessions.Count} sessions anew");
    }

    private void Follow(in BfdStatus status, long now)
    {
        if (!_sessions.TryGetValue(status.Key, out Session? session))
        {
            // Of the PE before, which had it configured.
            _link?.Forget(status.Key);
            return;
        }

        if (session.Order != status.Order) return;
        BfdStatus before = session.Status ?? status with { State = BfdState.Down };
        session.Status = status;
        session.Failure = null;
        Answered();
        string peer = session.Config.Name;
        if (status.State == BfdState.Up) _endings = 0;
        if (status.WentDownSince(before)) state.Events.Add(now, "bfd", peer, "down", $"{session.Config.Title}: {Word(status.Diagnostic)}");
        if (status.PathFailedSince(before))
            bgp.PathDown(session.Config.Vrf, session.Config.Peer, $"BFD session {Word(status.State)}: {Word(status.Diagnostic)}", now,
                mayBeRestart: !status.SurvivesControlPlane);
        if (status.State is BfdState.Up or BfdState.AdminDown) bgp.PathUp(session.Config.Vrf, session.Config.Peer,
            $"BFD session {Word(status.State)}");
        if (status.State == BfdState.AdminDown && before.State != BfdState.AdminDown && !status.WentDownSince(before))
            state.Events.Add(now, "bfd", peer, "admin-down", session.Config.Title);
        if (status.State == BfdState.Up && (before.State != BfdState.Up || status.CameUpSince(before)))
            state.Events.Add(now, "bfd", peer, "up",
                $"{session.Config.Title}: {session.Config.Multiplier} x {session.Config.IntervalMilliseconds} ms");
    }

    private void Failed(Session session, string why)
    {
        (session.Status, session.Failure) = (null, why);
        state.Events.Add(loop.Now, "bfd", session.Config.Name, "failed", why);
        _answered.TrySetException(new IOException(why));
        Answered();
    }

    private void Answered()
    {
        if (_answered.Task.IsCompleted) return;
        foreach (Session session in _sessions.Values)
        {
            if (session.Status is null && session.Failure is null) return;
        }

        _answered.TrySetResult();
    }

    /// <summary>A session that is configured.</summary>
    private sealed class Session(BfdConfig config)
    {
        public BfdConfig Config { get; } = config;

        public uint Order { get; set; }

        public BfdStatus? Status { get; set; }

        public string? Failure { get; set; }
    }
}
