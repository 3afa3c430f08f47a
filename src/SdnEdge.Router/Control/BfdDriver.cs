using System.Diagnostics;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using SdnEdge.Bfd;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Keeper;

namespace SdnEdge.Router.Control;

/// <summary>
/// BFD of this PE: orders the configured sessions from the BFD process (<see cref="BfdSessions"/>), and hands on what it finds: a path
/// that went down flips the backups that watch it, and ends its peer's BGP session, at once. A session that an operator took down, here or
/// there, says nothing about the path (RFC 5882 3.2). With a keeper, the process of the PE before is gone on with.
/// Runs on the control loop.
/// </summary>
internal sealed class BfdDriver : IWorkSource, ITimed, IBfdOwner, IDisposable
{
    private const string ChannelName = "bfd";

    private readonly PeState _state;
    private readonly HostPort _host;
    private readonly ControlLoop _loop;
    private readonly KeeperLink? _keeper;
    private readonly Func<int, ProcessStartInfo>? _program;
    private readonly BfdSessions _sessions;

    public BfdDriver(PeState state, HostPort host, ControlLoop loop, KeeperLink? keeper, Func<int, ProcessStartInfo>? program)
    {
        (_state, _host, _loop, _keeper, _program) = (state, host, loop, keeper, program);
        _sessions = new BfdSessions(this, outliveOwner: keeper is not null);
    }

    /// <inheritdoc/>
    public bool HasWork => _sessions.HasWork;

    /// <inheritdoc/>
    public long NextDeadline => _sessions.NextDeadline;

    /// <inheritdoc/>
    long IBfdOwner.Now => _loop.Now;

    /// <summary>Orders the configured sessions. The task ends when each is there, or fails when one cannot be had.</summary>
    /// <exception cref="IOException">The process could not be started.</exception>
    public Task Start(NodeConfig config)
    {
        foreach (BfdConfig session in config.BfdSessions) _sessions.Open(session);
        if (_sessions.Count > 0) return _sessions.Answered;

        // The PE before may have had some, and its BFD process has them still.
        if (_keeper?.TakeChannel(ChannelName) is { } kept and >= 0) BfdLink.Attach(kept, static _ => { }, static () => { }).Dispose();
        return Task.CompletedTask;
    }

    /// <summary>Adds a session while the PE runs. What the kernel refuses is told and shown.</summary>
    public void Add(BfdConfig session)
    {
        try
        {
            _sessions.Open(session);
        }
        catch (IOException e)
        {
            _sessions.Fail(session, e.Message);
        }
    }

    public void Remove(BfdConfig session)
    {
        if (!_sessions.Close(session.Key)) return;
        _state.Steps.BfdGone(session);
        _state.Events.Add(_loop.Now, "bfd", session.Name, "removed", session.Title);
    }

    public void Change(BfdConfig session) => Add(session);

    public void Drain(long now) => _sessions.Drain(now);

    public void Poll(long now) => _sessions.Poll(now);

    /// <summary>The session with a peer, in a VRF or else in the default VRF; null: none is configured.</summary>
    public (BfdConfig Config, BfdStatus? Status)? Find(string vrf, IpAddress peer)
    {
        (BfdConfig Config, BfdStatus? Status)? found = null;
        foreach ((BfdConfig Config, BfdStatus? Status) session in _sessions.All)
        {
            if (session.Config.Address != peer) continue;
            if (session.Config.Vrf == vrf) return session;
            if (session.Config.Vrf == NodeConfig.DefaultVrf) found = session;
        }

        return found;
    }

    /// <summary>What the API shows.</summary>
    public BfdInfo Info(long now) => _sessions.Info(now, session => session.Multihop ? null : session.Port
        ?? _state.Config.Ports.FirstOrDefault(p => p.Vrf == session.Vrf && p.Addresses.Any(a => a.Address == session.Local))?.Name);

    public void Dispose() => _sessions.Dispose();

    BfdLink IBfdOwner.Connect(Action<BfdReport> heard, Action ended)
    {
        if (_keeper?.TakeChannel(ChannelName) is { } kept and >= 0) return BfdLink.Attach(kept, heard, ended);
        BfdLink link = BfdLink.Start(_program, heard, ended);
        _keeper?.KeepChannel(ChannelName, link.Duplicate());
        return link;
    }

    (SafeHandle? Space, int Device) IBfdOwner.PlaceOf(BfdConfig session)
    {
        SafeFileHandle? space = _host.SpaceOf(session.Vrf);
        string? device = session.Port is { } port ? _host.EndOf(port)?.Device : null;
        return (space, device is null ? 0 : Namespaces.Run(space, () => NetDevice.Index(device)));
    }

    void IBfdOwner.Wake() => _loop.Wake();

    void IBfdOwner.Heard(BfdConfig session, in BfdStatus before, in BfdStatus status, long now)
        => _state.Steps.BfdHeard(session, status, before);

    void IBfdOwner.Tell(string? subject, string change, string detail, long now)
        => _state.Events.Add(now, "bfd", subject ?? _state.Config.Name, change, detail);
}
