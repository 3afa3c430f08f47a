using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Linux;

namespace SdnEdge.Host.Drivers;

/// <summary>
/// The stand-in for a virtual server: one namespace, shared by all hosts, with a leg in each site. It runs at the host whose leg is a port
/// of its bridge eth0. Stopping freezes every process in it, as a guest is frozen, and takes the leg out; activating puts the other host's
/// leg in, announces the server there as QEMU announces a guest, and lets the processes go on.
/// <para>
/// Each host knows its own leg alone. What it keeps of the server (source) or expects of it (target) is a number at that leg in the kernel
/// (<c>net.ipv4.conf.LEG.tag</c>, which nothing else uses): it is gone with the namespace, and outlives the agent.
/// </para>
/// <code>
/// own leg in eth0   processes      tag        seen
/// yes               all frozen     any        paused
/// yes               some run       any        running
/// no                any            kept       paused       (the last leg that was in eth0, or before a retire)
/// no                any            expected   incoming
/// no                any            0          absent
/// </code>
/// </summary>
public sealed class StandInDriver : IServerDriver
{
    /// <summary>The bridge that has the server's addresses.</summary>
    public const string Bridge = "eth0";

    /// <summary>A port of the bridge that keeps its carrier while no leg is in it.</summary>
    public const string Stub = "stub0";

    private const int Nothing = 0, Expected = 1, Kept = 2;

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    // Who only looks at a server may know its processes from so long ago: a hundred servers are looked at each second.
    private static readonly TimeSpan s_known = TimeSpan.FromMilliseconds(500);

    private readonly string _server;
    private readonly StandInConfig _config;

    /// <summary>A driver of <paramref name="server"/>.</summary>
    public StandInDriver(string server, StandInConfig config) => (_server, _config) = (server, config);

    /// <inheritdoc/>
    public string Kind => "stand-in";

    /// <inheritdoc/>
    public bool Undoable => true;

    /// <inheritdoc/>
    public TimeSpan LookInterval => TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    public Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel) => Inside(id => See(id, s_known), cancel);

    /// <inheritdoc/>
    public Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel) => Inside(id =>
    {
        if (IsIn) throw new DriverException($"server {_server} is at this host: its leg {_config.Leg} is a port of {Bridge}");
        SetTag(Expected);
        return See(id);
    }, cancel);

    /// <inheritdoc/>
    public Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel) => Inside(id =>
    {
        if (!IsIn)
        {
            return Tag == Kept ? ServerState.Paused
                : throw new DriverException($"server {_server} is not at this host: its leg {_config.Leg} is no port of {Bridge}");
        }

        SetTag(Kept);
        Signal(id, ProcessSignal.Stop, p => p.IsStopped, "stop", cancel);

        // What it sent is out already: a send ends only when the frame is at the other end of the leg. What was on its way to it has come,
        // into the sockets of the frozen processes: PE_a has seen to that when it switched.
        NetDevice.RemoveFromBridge(Bridge, _config.Leg);
        return See(id);
    }, cancel);

    /// <inheritdoc/>
    public async Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel)
    {
        // The thing that is simulated: the copy of what was left of the server's state when it was stopped.
        if (context.CopyMs > 0) await Task.Delay(context.CopyMs, cancel);
        return await LookAsync(context, cancel);
    }

    /// <inheritdoc/>
    public Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel) => Inside(id => Run(id, cancel), cancel);

    /// <inheritdoc/>
    public Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel) => Inside(id => Run(id, cancel), cancel);

    /// <inheritdoc/>
    public Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel) => Inside(id =>
    {
        SetTag(Nothing);
        return See(id);
    }, cancel);

    /// <inheritdoc/>
    public Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel) => Inside(id =>
    {
        // The processes are shared with the host where it runs now: they are frozen only where nobody else runs them.
        if (IsIn)
        {
            if (OtherLeg() is null) Signal(id, ProcessSignal.Stop, p => p.IsStopped, "stop", cancel);
            NetDevice.RemoveFromBridge(Bridge, _config.Leg);
        }

        SetTag(Nothing);
        return See(id);
    }, cancel);

    /// <inheritdoc/>
    public Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel) => Task.FromResult<MirrorProgress?>(null);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private bool IsIn => NetDevice.IsPortOf(_config.Leg, Bridge);

    private ServerState Run(string id, CancellationToken cancel)
    {
        if (OtherLeg() is { } other)
        {
            throw new DriverException(
                $"server {_server} is live at another leg: {other} is a port of {Bridge}, and never two are; stop it there first");
        }

        if (IsIn && See(id) == ServerState.Running) return ServerState.Running;
        if (!IsIn) NetDevice.AddToBridge(Bridge, _config.Leg);
        Announce();
        Signal(id, ProcessSignal.Continue, p => !p.IsStopped, "go on", cancel);
        SetTag(Nothing);
        return See(id);
    }

    private ServerState See(string id, TimeSpan known = default)
    {
        if (!IsIn) return Tag switch { Kept => ServerState.Paused, Expected => ServerState.Incoming, _ => ServerState.Absent };
        IReadOnlyList<ProcessStat> processes = NamespaceProcesses.In(id, known);
        return processes.Count > 0 && processes.All(p => p.IsStopped) ? ServerState.Paused : ServerState.Running;
    }

    // The leg of another site that is in the bridge; null when there is none.
    private string? OtherLeg()
    {
        foreach (string line in File.ReadLines("/proc/thread-self/net/dev").Skip(2))
        {
            string device = line[..line.IndexOf(':')].Trim();
            if (device is not (Bridge or Stub or "lo") && device != _config.Leg && NetDevice.IsPortOf(device, Bridge)) return device;
        }

        return null;
    }

    // /proc/sys/net shows the namespace of the thread that opens it.
    private string TagFile => $"/proc/sys/net/ipv4/conf/{_config.Leg}/tag";

    private int Tag => int.Parse(File.ReadAllText(TagFile), CultureInfo.InvariantCulture);

    private void SetTag(int tag) => File.WriteAllText(TagFile, tag.ToString(CultureInfo.InvariantCulture));

    // One thread inside the namespace does all of a call: no waiting for the pool in the middle of a blackout.
    private Task<ServerState> Inside(Func<string, ServerState> work, CancellationToken cancel)
    {
        string id = NamespaceProcesses.IdOf(_config.Namespace)
            ?? throw new DriverException($"namespace {_config.Namespace} of server {_server} is not there; 'ip netns' lists those that "
                + "are");
        return Task.Factory.StartNew(() => Namespaces.Run(_config.Namespace, () => work(id)), cancel, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
    }

    // A process may be starting others meanwhile: look again until all that is there has heard it.
    private void Signal(string id, ProcessSignal signal, Predicate<ProcessStat> done, string verb, CancellationToken cancel)
    {
        var told = new HashSet<int>();
        bool all = Until(() =>
        {
            List<ProcessStat> waiting = [.. NamespaceProcesses.In(id).Where(p => told.Add(p.ProcessId) || !done(p))];
            foreach (ProcessStat process in waiting) Signals.Send(process.ProcessId, signal);
            return waiting.Count == 0;
        }, s_limit, cancel);
        if (!all) throw new DriverException($"the processes of server {_server} do not {verb} within {s_limit.TotalSeconds} s");
    }

    private static bool Until(Func<bool> condition, TimeSpan limit, CancellationToken cancel)
    {
        long end = Monotonic.Now + (long)(limit.TotalMilliseconds * 1e6);
        while (true)
        {
            bool late = Monotonic.Now > end;
            if (condition()) return true;
            cancel.ThrowIfCancellationRequested();
            if (late) return false;
            Thread.Sleep(1);
        }
    }

    private void Announce()
    {
        var options = new PacketSocketOptions { ReceiveBufferBytes = 1 << 16, SendBufferBytes = 1 << 16, Promiscuous = false };
        using PacketSocket socket = PacketSocket.Open(_config.Leg, _config.Leg, options);
        using var batch = new PacketBatch();
        foreach (IpAddress address in _config.Addresses) batch.TryAdd(Announcement.Of(_config.Mac, address));
        if (socket.Transmit(batch.Packets) < batch.Count)
            throw new DriverException($"server {_server} cannot announce itself through {_config.Leg}; the leg must be up and lead to "
                + "its site");
    }
}
