using System.Runtime.InteropServices;
using SdnEdge.Bfd;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Host.Config;
using SdnEdge.Linux;
using SdnEdge.Web;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace SdnEdge.Host;

/// <summary>
/// BFD of this host: it answers the PEs that watch it, so that they notice within their detection time when the host, its link or its agent
/// is dead. An agent that is stopped says AdminDown, which says nothing about the path; one that is killed takes the BFD process with it.
/// What cannot be had is told, shown and tried again: an agent goes on without BFD, since its servers do not need it.
/// </summary>
internal sealed class HostBfd : IBfdOwner, IAsyncDisposable
{
    private readonly string _host;
    private readonly EventLog _events;
    private readonly Func<int, ProcessStartInfo>? _program;
    private readonly Lock _gate = new(); // the sessions
    private readonly BfdSessions _sessions;
    private readonly SemaphoreSlim _news = new(0);
    private Task _following = Task.CompletedTask;
    private volatile bool _stopping;

    /// <summary>Makes it; nothing is started yet.</summary>
    /// <param name="config">The agent's configuration.</param>
    /// <param name="events">Where events are told.</param>
    /// <param name="program">How the BFD process is started, given the descriptor that it inherits; null: a thread of this process.</param>
    public HostBfd(HostAgentConfig config, EventLog events, Func<int, ProcessStartInfo>? program)
    {
        (_host, _events, _program) = (config.Name, events, program);
        _sessions = new BfdSessions(this, outliveOwner: false);
        _sessions.OpenLater(config.Bfd ?? []);
    }

    /// <inheritdoc/>
    long IBfdOwner.Now => Monotonic.Now;

    /// <summary>Starts the process, where there are sessions.</summary>
    public void Start() => _following = Task.Run(FollowAsync);

    /// <summary>What the API shows.</summary>
    public BfdInfo Info()
    {
        lock (_gate) return _sessions.Info(Monotonic.Now, static _ => null);
    }

    /// <summary>Stops the process; the PEs are told AdminDown.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stopping) return;
        _stopping = true;
        Wake();
        await _following;
        _sessions.Dispose();
        _news.Dispose();
    }

    /// <inheritdoc/>
    public void Wake()
    {
        if (_news.CurrentCount == 0) _news.Release();
    }

    BfdLink IBfdOwner.Connect(Action<BfdReport> heard, Action ended) => BfdLink.Start(_program, heard, ended);

    (SafeHandle? Space, int Device) IBfdOwner.PlaceOf(BfdConfig session) => (null, 0);

    void IBfdOwner.Heard(BfdConfig session, in BfdStatus before, in BfdStatus status, long now)
    {
    }

    void IBfdOwner.Tell(string? subject, string change, string detail, long now)
        => _events.Add(now, "bfd", subject ?? _host, change, detail);

    private async Task FollowAsync()
    {
        while (!_stopping)
        {
            long next;
            lock (_gate)
            {
                long now = Monotonic.Now;
                _sessions.Drain(now);
                _sessions.Poll(now);
                next = _sessions.NextDeadline;
            }

            TimeSpan wait = next == long.MaxValue ? Timeout.InfiniteTimeSpan
                : TimeSpan.FromMilliseconds(Math.Max(0, (next - Monotonic.Now + 999_999) / 1_000_000));
            await _news.WaitAsync(wait);
        }
    }
}
