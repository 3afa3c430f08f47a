using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Host.Drivers;

/// <summary>The driver could not do what it was asked. Not done: it may be asked again.</summary>
/// <param name="message">What was tried, and what stood in the way; for people.</param>
/// <param name="final">See <see cref="Final"/>.</param>
public sealed class DriverException(string message, bool final = false) : Exception(message)
{
    /// <summary>True: asking again is of no use in this move, which has to be undone.</summary>
    public bool Final => final;
}

/// <summary>Something happened to a server that no order caused: it ended, its disk failed, its copy begins anew.</summary>
/// <param name="Change">One word, e.g. <c>panicked</c>.</param>
/// <param name="Detail">What, for people; null = the word says it.</param>
/// <param name="LookNow">True: what the server does may have changed.</param>
public sealed record DriverNews(string Change, string? Detail = null, bool LookNow = false);

/// <summary>What a driver is told with each call.</summary>
/// <param name="Server">The server.</param>
/// <param name="Epoch">Epoch of the order; 0 when it is only looked at.</param>
/// <param name="Migration">Id of the migration; empty when it is only looked at.</param>
/// <param name="PeerHost">The host at the other end; null = not said.</param>
/// <param name="CopyMs">Hand-over of a stand-in: how long the copy of the last of the server's state takes, milliseconds.</param>
/// <param name="MaxStopMs">Longest time for which nobody may run, milliseconds; null = not said: <see cref="UnsaidMaxStopMs"/>.</param>
/// <param name="StaleVolumes">Activate: volumes whose copy here is stale, by the manager's record; null = none is.</param>
/// <param name="SyncNotBefore">Its volumes are not put into sync mode before this time; null = as soon as that helps.</param>
/// <param name="CopyBytesPerSecond">What the copies of the migration that go on at this host at once may take together, bytes/s; null = as
/// much as there is.</param>
public sealed record DriverContext(
    string Server, long Epoch = 0, string Migration = "", string? PeerHost = null, int CopyMs = 0, int? MaxStopMs = null,
    IReadOnlyList<Guid>? StaleVolumes = null, DateTimeOffset? SyncNotBefore = null, long? CopyBytesPerSecond = null)
{
    /// <summary>Longest time for which nobody may run, where the order says none, milliseconds.</summary>
    public const int UnsaidMaxStopMs = 2_000;
}

/// <summary>
/// Drives one server on this host. The agent decides who may run (<see cref="HostFsm"/>) and never makes two calls of one server at once.
/// Every call is idempotent: made again after a failure, or by an agent that was started again in the middle of it, it ends in the same
/// state. It returns what the server was seen doing at its end: after <see cref="StopAsync"/> and <see cref="HandOverAsync"/> paused, after
/// <see cref="ActivateAsync"/> and <see cref="ResumeAsync"/> running, after <see cref="PrepareIncomingAsync"/> incoming, after
/// <see cref="CancelAsync"/> and <see cref="KillAsync"/> absent; anything else counts as failed. A driver remembers nothing that it cannot
/// find out again, and starts, resumes or stops nothing by itself: when the agent ends, what runs goes on and what is paused stays paused.
/// The agent alone has a server try again whose disk had failed (<see cref="RetryDiskAsync"/>), and only one that has the right to run.
/// A call throws <see cref="DriverException"/>, <see cref="IOException"/> or <see cref="TimeoutException"/> when it failed.
/// </summary>
/// <remarks>
/// What a virtual machine's driver does: PrepareIncoming starts it with its state awaited and adopts one that it finds so; the source's
/// pre-copy begins with the first Mirror after prepare; Stop is `stop` and PAUSED seen; HandOver waits until the rest is copied; Activate
/// is `cont` and RESUME
/// seen, or a cold start of one that has died; Cancel and Kill end the process; Look adopts what an earlier agent has started.
/// </remarks>
public interface IServerDriver : IAsyncDisposable
{
    /// <summary>Its kind, as the API says it: stand-in, exec.</summary>
    string Kind { get; }

    /// <summary>False: once handed over the server cannot be resumed here, so the pivot must come before the hand-over.</summary>
    bool Undoable { get; }

    /// <summary>How often it is to be looked at between orders.</summary>
    TimeSpan LookInterval { get; }

    /// <summary>True: state is copied before the stop, and whoever stops the server waits until enough of it is.</summary>
    bool Mirrors => false;

    /// <summary>How often it is to be looked at while state is copied.</summary>
    TimeSpan MirrorInterval => LookInterval < TimeSpan.FromSeconds(1) ? LookInterval : TimeSpan.FromSeconds(1);

    /// <summary>What the server is doing. Has no side effects; may be cancelled at any time.</summary>
    Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Target: makes what is needed to take the server over, and discards what an earlier prepare made.</summary>
    Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Source: stops the server.</summary>
    Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel);

    /// <summary>
    /// Source: hands its state over to the target. Where that can be undone it may be cancelled at any time: then, as after a failure,
    /// the server stands still here with all its state, and <see cref="ResumeAsync"/> follows.
    /// </summary>
    Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Target: runs the server with what was handed over; a second time, when it has died, anew.</summary>
    Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Source: lets the stopped server go on.</summary>
    Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Target: removes what prepare made. Does not touch a server that runs.</summary>
    Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Source: removes what was kept of the server, or what runs here without a right.</summary>
    Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel);

    /// <summary>Source of a fail-over: kills the server, whatever it does.</summary>
    Task<ServerState> FenceAsync(DriverContext context, CancellationToken cancel) => KillAsync(context, cancel);

    /// <summary>How far the server's state is copied; null = nothing is copied before the stop. May be cancelled at any time.</summary>
    Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel);

    /// <summary>What happens without an order, as soon as it is known; null = the driver learns of nothing before it looks.</summary>
    ChannelReader<DriverNews>? News => null;

    /// <summary>Why the server does not run, as far as that is known; null = it runs, or nothing is known. Any thread.</summary>
    string? Why => null;

    /// <summary>True: when it was last looked at it stood still because a request of its disk had failed. Any thread.</summary>
    bool WaitsForDisk => false;

    /// <summary>Has a server that waits for its disk try again what failed there. Whether it goes on the next look will see. May be
    /// cancelled at any time.</summary>
    Task RetryDiskAsync(CancellationToken cancel) => Task.CompletedTask;

    /// <summary>The process that the server is here, and that opens its volumes; null = there is none, or the driver knows of none. Any
    /// thread.</summary>
    int? Process => null;

    /// <summary>The last copy of its memory from here; null = none since the driver was made. Any thread.</summary>
    CopyInfo? Copy => null;

    /// <summary>What was done with its volumes in the last move; empty = it has none. Any thread.</summary>
    IReadOnlyList<VolumeStepInfo> VolumeSteps => [];

    /// <summary>Its volumes, by name; empty = it has none.</summary>
    IReadOnlyList<string> VolumeNames => [];

    /// <summary>Its volumes as the site's store has them. Beside all other calls; each answer has its bound, and one that does not come is
    /// a fault in it.</summary>
    Task<IReadOnlyList<ServerVolumeInfo>> VolumesAsync(CancellationToken cancel) => Task.FromResult<IReadOnlyList<ServerVolumeInfo>>([]);

    /// <summary>The virtual machine that it is, or would be here; null = the driver knows none. Has no side effects; may be cancelled at
    /// any time.</summary>
    Task<MachineInfo?> MachineAsync(CancellationToken cancel) => Task.FromResult<MachineInfo?>(null);
}
