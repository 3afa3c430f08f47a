using SdnEdge.Core.Api;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bfd;

namespace SdnEdge.Router.Control;

/// <summary>
/// BFD of this PE: starts and changes the configured sessions, and hands on what they find: a path that went down ends its
/// peer's BGP session at once. A session that an operator took down, here or there, says nothing about the path (RFC 5882 3.2).
/// Without sessions there is no thread. Runs on the control loop.
/// </summary>
internal sealed class BfdDriver(PeState state, BgpDriver bgp, ControlLoop loop, Action<IpAddress> needAddress) : IWorkSource, IDisposable
{
    private readonly List<BfdChange> _changes = [];
    private readonly Dictionary<BfdKey, string> _failed = [];
    private BfdSpeaker? _speaker;
    private int _signalled;

    public bool HasWork => Volatile.Read(ref _signalled) != 0;

    /// <summary>Told of each session that comes up (null) or goes down (why).</summary>
    public Action<IpAddress, string?>? PathChanged { get; set; }

    /// <summary>Starts the configured sessions.</summary>
    /// <exception cref="LinuxException">A socket could not be had.</exception>
    public void Start(NodeConfig config)
    {
        foreach (BfdConfig session in config.BfdSessions) Open(session);
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
            _failed[session.Key] = e.Message;
            state.Events.Add(loop.Now, "bfd", session.Address.ToString(), "failed", e.Message);
        }
    }

    public void Remove(BfdConfig session)
    {
        _failed.Remove(session.Key);
        if (_speaker?.Remove(session.Key) == true) state.Events.Add(loop.Now, "bfd", session.Address.ToString(), "removed", session.Key.ToString());
    }

    public void Change(BfdConfig session)
    {
        if (_failed.Remove(session.Key))
        {
            Add(session);
            return;
        }

        _speaker?.Configure(session.Key, session.Parameters);
        _speaker?.SetAdminDown(session.Key, session.Shutdown);
    }

    public void Drain(long now)
    {
        Volatile.Write(ref _signalled, 0);
        if (_speaker is null) return;
        _changes.Clear();
        _speaker.TakeChanges(_changes);
        foreach (BfdChange change in _changes)
        {
            BfdSession session = change.Watch.Session;
            IpAddress peer = session.Key.Peer;
            string why = $"BFD session {Word(change.State)}: {Word(change.Diagnostic)}";
            if (change.WentDown)
            {
                state.Events.Add(now, "bfd", peer.ToString(), "down", $"{session.Key}: {Word(change.Diagnostic)}");
                if (!change.ByAdministrator)
                {
                    bgp.PathDown(peer, why, now);
                    PathChanged?.Invoke(peer, why);
                }
            }

            if (change.State == BfdState.AdminDown && !change.WentDown) state.Events.Add(now, "bfd", peer.ToString(), "admin-down", session.Key.ToString());
            if (change.State != BfdState.Up) continue;
            state.Events.Add(now, "bfd", peer.ToString(), "up", $"{session.Key}: {session.TransmitInterval / 1000.0:0.###} ms, detection in {session.DetectionTime / 1e6:0.###} ms");
            PathChanged?.Invoke(peer, null);
        }
    }

    /// <summary>What the API shows.</summary>
    public BfdInfo Info(long now)
    {
        BfdDiscardInfo[] discards = [.. from reason in Enum.GetValues<BfdDiscard>()
                                        let packets = reason == BfdDiscard.None ? 0 : _speaker?.Discards(reason) ?? 0
                                        where packets > 0
                                        select new BfdDiscardInfo(Word(reason), packets)];
        return new BfdInfo(
            [.. _speaker?.Sessions.Select(w => Session(w, now)) ?? [], .. _failed.Select(f => Failed(f.Key, f.Value))], Word(_speaker?.Urgency ?? ThreadUrgency.Ordinary), _speaker?.Stalls ?? 0,
            (_speaker?.LongestStallNs ?? 0) / 1e6, _speaker?.Credit.Times ?? 0, (_speaker?.Credit.Nanoseconds ?? 0) / 1e6, _speaker?.KernelDrops ?? 0, _speaker?.Faults ?? 0, discards);
    }

    public void Dispose() => _speaker?.Dispose();

    private static BfdSessionInfo Session(BfdWatch watch, long now)
    {
        BfdSession s = watch.Session;
        return new BfdSessionInfo(
            s.Key.Peer.ToString(), s.Key.Local.ToString(), s.Key.Multihop, Word(s.State), Word(s.RemoteState), Word(s.Diagnostic), Word(s.RemoteDiagnostic), s.LocalDiscriminator, s.RemoteDiscriminator,
            s.TransmitInterval / 1000.0, s.DetectionTime / 1e6, s.Parameters.DetectMultiplier, (now - s.ChangedAt) / 1_000_000_000, s.Received, s.Sent, watch.SendErrors, s.Ups, s.Downs, s.CreditGiven / 1e6);
    }

    private static BfdSessionInfo Failed(BfdKey key, string error)
        => new(key.Peer.ToString(), key.Local.ToString(), key.Multihop, "failed", "", error, "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    private static string Word<T>(T value)
        where T : struct, Enum => PeView.Kebab(value);

    private void Open(BfdConfig session)
    {
        needAddress(session.Local);
        _speaker ??= new BfdSpeaker(Wake);
        _speaker.Add(session.Key, session.Parameters, session.Shutdown);
    }

    private void Wake()
    {
        Volatile.Write(ref _signalled, 1);
        loop.Wake();
    }
}
