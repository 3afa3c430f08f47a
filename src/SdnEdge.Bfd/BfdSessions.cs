using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>
/// The sessions that a PE or a host's agent has of its BFD process.
/// <list type="number">
/// <item>The process is started with the first session.</item>
/// <item>It tells changes at once and everything each second; what it tells of sessions ordered before is not taken for these.</item>
/// <item>A session that the kernel refused is ordered again after a while.</item>
/// <item>Should the process end, another one is started, later each time. No path is down for that: the peers judge for themselves.</item>
/// </list>
/// For one thread at a time.
/// </summary>
/// <param name="owner">Whose sessions they are.</param>
/// <param name="outliveOwner">They go on when the owner ends; the peers are told.</param>
public sealed class BfdSessions(IBfdOwner owner, bool outliveOwner) : IDisposable
{
    private const long Never = long.MaxValue, RetryNs = 5_000_000_000;

    private static readonly int[] s_backOffMilliseconds = [0, 100, 500, 1000, 5000];

    private readonly ConcurrentQueue<BfdReport> _reports = new();
    private readonly Dictionary<BfdKey, Session> _sessions = [];
    private readonly TaskCompletionSource _answered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private BfdLink? _link;
    private BfdHealth _health;
    private long[] _discards = [];
    private uint _orders = (uint)Random.Shared.NextInt64(); // no number of the owner before
    private int _endings;
    private long _startAt = Never, _retryAt = Never, _restarts;
    private bool _disposed;

    /// <summary>How many there are.</summary>
    public int Count => _sessions.Count;

    /// <summary>All of them, with what each told last; null: nothing yet, or it failed.</summary>
    public IEnumerable<(BfdConfig Config, BfdStatus? Status)> All => _sessions.Values.Select(s => (s.Config, s.Status));

    /// <summary>Ends when each session is there, or fails when one cannot be had.</summary>
    public Task Answered => _answered.Task;

    /// <summary>Whether <see cref="Drain"/> has something to do. Any thread.</summary>
    public bool HasWork => !_reports.IsEmpty;

    /// <summary>When <see cref="Poll"/> has something to do next; <see cref="long.MaxValue"/>: never.</summary>
    public long NextDeadline => Math.Min(_startAt, _retryAt);

    /// <summary>Orders a session, or orders it otherwise: then it goes on. What the kernel refuses is told and shown.</summary>
    /// <exception cref="IOException">The process could not be started.</exception>
    public void Open(BfdConfig config)
    {
        // One that is changed is told about as before.
        var session = new Session(config) { Status = _sessions.GetValueOrDefault(config.Key)?.Status };
        _sessions[config.Key] = session;
        if (_startAt != Never) return;
        if (_link is null) Connect();
        Order(session);
    }

    /// <summary>Has sessions ordered at the next <see cref="Poll"/>. A process that does not start is told then, and tried again.</summary>
    public void OpenLater(IEnumerable<BfdConfig> configs)
    {
        foreach (BfdConfig config in configs) _sessions[config.Key] = new Session(config);
        if (_sessions.Count > 0) _startAt = owner.Now;
    }

    /// <summary>Gives a session up. False when there is none.</summary>
    public bool Close(BfdKey key)
    {
        if (!_sessions.Remove(key)) return false;
        _link?.Forget(key);
        return true;
    }

    /// <summary>Notes that a session cannot be had.</summary>
    public void Fail(BfdConfig config, string why) => Failed(_sessions[config.Key], why);

    /// <summary>Takes what the process said.</summary>
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
                case default(BfdMessageKind):
                    Ended("it was ended");
                    break;
            }
        }
    }

    /// <summary>Does what is due.</summary>
    public void Poll(long now)
    {
        // The process did not start when a session was added.
        if (now >= _retryAt && _link is null && _startAt == Never) _startAt = now;
        if (now >= _startAt)
        {
            _startAt = _retryAt = Never;
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
        else if (now >= _retryAt)
        {
            _retryAt = Never;
            foreach (Session session in _sessions.Values.Where(s => _link is not null && s.Failure is not null)) Order(session);
        }
    }

    /// <summary>What the API shows.</summary>
    /// <param name="now">Now.</param>
    /// <param name="portOf">Name of the port that a session's peer is on; null: on none.</param>
    public BfdInfo Info(long now, Func<BfdConfig, string?> portOf)
    {
        BfdDiscardInfo[] discards = [.. from reason in Enum.GetValues<BfdDiscard>()
                                        let packets = reason == BfdDiscard.None || (int)reason >= _discards.Length ? 0
                                            : _discards[(int)reason]
                                        where packets > 0
                                        select new BfdDiscardInfo(Word(reason), packets)];
        return new BfdInfo(
            _health.ProcessId, _restarts, [.. _sessions.Values.Select(s => Show(s, now, portOf(s.Config)))], Word(_health.Urgency),
            _health.Stalls, _health.LongestStallNs / 1e6, _health.Credits, _health.CreditNs / 1e6, _health.KernelDrops, _health.Faults,
            discards);
    }

    /// <summary>The API's word for a value.</summary>
    public static string Word<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>Stops the process; peers are told AdminDown.</summary>
    public void Dispose()
    {
        _disposed = true;
        _link?.Dispose();
    }

    private static BfdSessionInfo Show(Session session, long now, string? port)
    {
        (BfdKey key, string vrf) = (session.Config.Key, session.Config.Vrf);
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

    private void Order(Session session)
    {
        session.Order = ++_orders;
        BfdConfig config = session.Config;
        try
        {
            (SafeHandle? space, int device) = owner.PlaceOf(config);
            _link!.Watch(new BfdOrder(session.Order, config.Key, config.Parameters, config.Shutdown, outliveOwner, device), space);
        }
        catch (LinuxException e)
        {
            Failed(session, e.Message);
        }
    }

    private void Connect() => _link = owner.Connect(Put, () => Put(default));

    // A report of no kind: the process has ended.
    private void Put(BfdReport report)
    {
        _reports.Enqueue(report);
        owner.Wake();
    }

    private void Ended(string why)
    {
        if (_disposed) return;
        _link?.Dispose();
        _link = null;
        (_health, _discards) = (default, []);
        foreach (Session session in _sessions.Values) session.Status = null;
        int wait = s_backOffMilliseconds[Math.Min(_endings++, s_backOffMilliseconds.Length - 1)];
        _startAt = owner.Now + (wait * 1_000_000L);
        _restarts++;
        if (_endings == s_backOffMilliseconds.Length)
            _answered.TrySetException(new IOException($"the BFD process ended {_endings} times in a row: {why}"));
        owner.Tell(null, "process-ended",
            $"{why}; another one is started{(wait == 0 ? "" : $" in {wait} ms")}, and {_sessions.Count} sessions anew", owner.Now);
    }

    private void Follow(in BfdStatus status, long now)
    {
        if (!_sessions.TryGetValue(status.Key, out Session? session))
        {
            // Of the owner before, which had it configured.
            _link?.Forget(status.Key);
            return;
        }

        if (session.Order != status.Order) return;
        BfdStatus before = session.Status ?? status with { State = BfdState.Down };
        session.Status = status;
        session.Failure = null;
        Answer();
        BfdConfig config = session.Config;
        if (status.State == BfdState.Up) _endings = 0;
        if (status.WentDownSince(before)) owner.Tell(config.Name, "down", $"{config.Title}: {Word(status.Diagnostic)}", now);
        owner.Heard(config, before, status, now);
        if (status.State == BfdState.AdminDown && before.State != BfdState.AdminDown && !status.WentDownSince(before))
            owner.Tell(config.Name, "admin-down", config.Title, now);
        if (status.State == BfdState.Up && (before.State != BfdState.Up || status.CameUpSince(before)))
            owner.Tell(config.Name, "up", $"{config.Title}: {config.Multiplier} x {config.IntervalMilliseconds} ms", now);
    }

    private void Failed(Session session, string why)
    {
        bool known = session.Failure == why;
        (session.Status, session.Failure) = (null, why);
        _retryAt = Math.Min(_retryAt, owner.Now + RetryNs);
        if (!known) owner.Tell(session.Config.Name, "failed", why, owner.Now);
        _answered.TrySetException(new IOException(why));
        Answer();
    }

    private void Answer()
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
