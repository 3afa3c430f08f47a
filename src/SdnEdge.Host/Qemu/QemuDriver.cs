using System.Net.Sockets;
using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qmp;

namespace SdnEdge.Host.Qemu;

/// <summary>How migrations reach the other host.</summary>
public interface IMigrationNetwork
{
    /// <summary>Connects to where another host expects a guest.</summary>
    /// <exception cref="IOException">It does not answer, or expects none.</exception>
    Task<Stream> ConnectAsync(string host, string server, long epoch, CancellationToken cancel);

    /// <summary>Passes incoming migrations of this guest and epoch to <paramref name="take"/>; null: accepts none any more.</summary>
    void Expect(string server, long epoch, Func<Stream, CancellationToken, Task>? take);
}

/// <summary>
/// Drives a guest of QEMU by two monitors. The order in which a guest moves:
/// <code>
/// target  -S -incoming defer; migrate-incoming                            the guest is expected
/// source  migrate to our relay; passes; near the end the gate is shut     the guest runs, QEMU waits in its pass
/// source  stop; query-status says paused                                  from here on it never runs on by itself
/// source  the gate opens; pre-switchover; migrate-continue; completed     the rest is at the target, which stands still
/// target  cont, RESUME                                                    after the pivot
/// </code>
/// QEMU decides by itself when to stop a guest, whatever downtime-limit says; stopped so, it resumes it by itself when the migration fails,
/// also when only the acknowledgement of its success was lost: two guests run then. Hence the gate, the explicit stop, and
/// <c>paused</c>, the only state in which nothing resumes by itself.
/// </summary>
public sealed partial class QemuDriver : IServerDriver
{
    private static readonly TimeSpan s_start = TimeSpan.FromSeconds(10), s_command = TimeSpan.FromSeconds(5),
        s_stop = TimeSpan.FromSeconds(10), s_rest = TimeSpan.FromSeconds(10), s_continue = TimeSpan.FromSeconds(2),
        s_pause = TimeSpan.FromMilliseconds(20);

    // Between two attempts of a guest whose disk has failed; and so long it has to run before its disk is said to work again.
    private const int DiskRetryMs = 1_000, DiskWorksMs = 500;

    // A process that ends closes its monitors a moment before it has ended: so many pauses are waited for that.
    private const int EndingPauses = 250;

    // What happens to a guest without an order. RESUME: what stopped it is over.
    private static readonly string[] s_reported = ["SHUTDOWN", "GUEST_PANICKED", "BLOCK_IO_ERROR", "WATCHDOG", "RESET", "RESUME"];

    // The copy's own limit, bytes/s: what passes between two looks must be little beside a pass.
    private const long Pace = 400 << 20;

    private readonly string _server;
    private readonly QemuConfig _config;
    private readonly IMigrationNetwork _network;
    private readonly CopyBandwidth _bandwidth;
    private readonly QemuProcess _process;
    private readonly QemuInspection _inspection;
    private readonly SemaphoreSlim _connecting = new(1), _taking = new(1);
    private CancellationTokenSource _expecting = new();
    private readonly Channel<DriverNews> _news =
        Channel.CreateBounded<DriverNews>(new BoundedChannelOptions(256) { FullMode = BoundedChannelFullMode.DropOldest });
    private volatile QmpMonitors? _qmp;
    private volatile string? _why;
    private volatile bool _diskFails, _waitsForDisk;
    private long _diskTriedAt;
    private volatile Outgoing? _outgoing, _lastOutgoing;
    private long? _expectedEpoch;
    private bool _disposed;

    /// <summary>A driver of <paramref name="server"/>.</summary>
    /// <param name="server">The server.</param>
    /// <param name="config">How it is run and copied.</param>
    /// <param name="folder">A folder of its own for sockets.</param>
    /// <param name="network">The way to other hosts.</param>
    /// <param name="bandwidth">What all copies of this host may take; null = as much as there is.</param>
    public QemuDriver(string server, QemuConfig config, string folder, IMigrationNetwork network, CopyBandwidth? bandwidth = null)
    {
        (_server, _config, _network, _bandwidth) = (server, config, network, bandwidth ?? new());
        _inspection = new QemuInspection(config, _bandwidth.BytesPerSecond);
        _process = new QemuProcess(folder, config.Given);
        _process.Adopt();
    }

    /// <inheritdoc/>
    public string Kind => "qemu";

    /// <inheritdoc/>
    public bool Undoable => true;

    /// <inheritdoc/>
    public TimeSpan LookInterval => TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    public bool Mirrors => true;

    /// <inheritdoc/>
    public TimeSpan MirrorInterval => TimeSpan.FromMilliseconds(100);

    /// <inheritdoc/>
    public async Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel)
    {
        if (_process.Id is null && _config.Given is not null) _process.Adopt();
        _waitsForDisk = false;
        if (_process.Id is null) return ServerState.Absent;
        QmpStatus status = await (await MonitorsAsync(cancel)).Main.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        if (status.Running)
        {
            DiskWorks();
            return ServerState.Running;
        }

        _waitsForDisk = status.Status == "io-error" && !_process.IsExpected;
        return status.Status switch
        {
            _ when _process.IsExpected => ServerState.Incoming,

            // Not finish-migrate: QEMU has stopped the guest by itself, and resumes it by itself when the migration fails.
            "paused" or "postmigrate" or "prelaunch" => ServerState.Paused,

            // QEMU has stopped it and does not resume it: its disk has failed, or the guest itself has.
            "io-error" or "guest-panicked" or "internal-error" or "watchdog" or "shutdown" => Failed(status.Status),
            _ => throw new DriverException($"QEMU of {_server} is in state {status.Status}"),
        };
    }

    /// <inheritdoc/>
    public async Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel)
    {
        if (_process.Id is not null && !_process.IsExpected) throw new DriverException($"a guest {_server} is here already");
        await StopTakingAsync(context, cancel);
        await ExpectAsync(cancel);
        Expect(context.Epoch);
        return ServerState.Incoming;
    }

    /// <inheritdoc/>
    public async Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel)
    {
        if (_process.IsExpected)
        {
            // The agent was started again: the source begins its copy anew.
            if (_expectedEpoch != context.Epoch) Expect(context.Epoch);
            return null;
        }

        if (_process.Id is null) return null;
        QmpMonitors qmp = await MonitorsAsync(cancel);
        QmpMigration at = await qmp.Main.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);

        // A copy that failed, that an agent before this one began, or in which QEMU has stopped the guest by itself, is begun anew: the
        // target expects it again.
        bool goesOn = _outgoing is { Ended: false } known && known.Epoch == context.Epoch && at.Status is "setup" or "active";
        if (!goesOn && (_outgoing is not null || at.Status is not (null or "none" or "cancelled" or "failed" or "completed")))
        {
            if (_outgoing is { } broken && broken.Epoch == context.Epoch)
                _news.Writer.TryWrite(new DriverNews("copy-anew", $"its copy to {context.PeerHost} is begun anew: the migration is "
                    + $"{at.Status ?? "gone"}{(at.ErrorDesc is { } why ? $" ({why})" : "")}"));
            await CancelOutgoingAsync(qmp.Main, cancel);
        }

        _outgoing ??= _lastOutgoing = await BeginAsync(qmp, context, cancel);
        return _outgoing.Progress;
    }

    /// <inheritdoc/>
    public ChannelReader<DriverNews> News => _news.Reader;

    /// <inheritdoc/>
    public string? Why => _why;

    /// <inheritdoc/>
    public int? Process => _process.Id;

    /// <inheritdoc/>
    public CopyInfo? Copy => _lastOutgoing?.Info;

    /// <inheritdoc/>
    public async Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel)
    {
        QmpConnection qmp = (await MonitorsAsync(cancel)).Main;
        _outgoing?.StopsNow();
        await qmp.ExecuteAsync(QmpCommands.Stop, s_stop, cancel);

        // An answer proves nothing: QEMU may have decided by itself a moment before, and would resume by itself; or the disk has failed.
        QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        if (status is { Running: false, Status: "paused" }) return ServerState.Paused;
        throw new DriverException($"QEMU of {_server} was told to stop and is in state {status.Status}"
            + $"{(status.Running ? ", with its processors running" : "")}, not paused: it may run on by itself", final: true);
    }

    /// <inheritdoc/>
    public async Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel)
    {
        QmpMonitors qmp = await MonitorsAsync(cancel);
        if (_outgoing is not { } outgoing || outgoing.Ended || outgoing.Epoch != context.Epoch)
            throw new DriverException($"no copy of {_server} is under way under epoch {context.Epoch}; the move has to be undone",
                final: true);
        using QmpListener listener = qmp.Main.Listen("MIGRATION");
        outgoing.OpenForRest();
        try
        {
            await ReachesAsync(qmp.Main, listener, "pre-switchover", cancel);
            await qmp.ExecuteOrYankAsync(QmpCommands.MigrateContinue, new QmpMigrationState("pre-switchover"), s_continue, cancel);
            await ReachesAsync(qmp.Main, listener, "completed", cancel);
        }
        catch (QmpTimeoutException e)
        {
            // The target or the link hangs: this migration cannot complete any more.
            await qmp.YankMigrationAsync(cancel);
            await SettleAsync(qmp.Main, cancel);
            throw new DriverException($"the rest of {_server} was not taken by {context.PeerHost}: {e.Message}", final: true);
        }
        catch (DriverException)
        {
            await SettleAsync(qmp.Main, cancel);
            throw;
        }

        await EndOutgoingAsync(completed: true);
        QmpStatus status = await qmp.Main.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        return !status.Running ? ServerState.Paused
            : throw new DriverException($"{_server} was handed over, and its QEMU here runs it again ({status.Status})");
    }

    /// <inheritdoc/>
    public async Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel)
    {
        // It has died after it was granted: a start from its disk.
        if (_process.Id is null) _process.Start(_config.Run, expected: false);
        QmpConnection qmp = (await MonitorsAsync(cancel)).Main;
        if (_process.IsExpected)
        {
            QmpMigration came = await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);
            if (came.Status != "completed")
                throw new DriverException($"what {_server} needs to run here has not come: its migration is {came.Status ?? "not begun"}");
        }

        await RunAsync(qmp, cancel);
        _process.HasRun();
        await AnnounceAsync(qmp, cancel);
        await StopTakingAsync(context, cancel);
        return ServerState.Running;
    }

    /// <inheritdoc/>
    public async Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel)
    {
        // The guest died or was never started: cold start. A guest that is only expected here must not run.
        if (_process.Id is null) _process.Start(_config.Run, expected: false);
        else if (_process.IsExpected) throw new DriverException($"{_server} is expected here and has never run; it cannot be resumed");
        QmpConnection qmp = (await MonitorsAsync(cancel)).Main;
        await CancelOutgoingAsync(qmp, cancel);
        await RunAsync(qmp, cancel);
        return ServerState.Running;
    }

    /// <inheritdoc/>
    public async Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel)
    {
        await StopTakingAsync(context, cancel);
        if (_process.Id is null || _process.IsExpected) await EndAsync(cancel);
        else if (await LookAsync(context, cancel) == ServerState.Running) return ServerState.Running;
        return ServerState.Absent;
    }

    /// <inheritdoc/>
    public async Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel)
    {
        await EndAsync(cancel);
        return ServerState.Absent;
    }

    /// <inheritdoc/>
    public async Task<MachineInfo?> MachineAsync(CancellationToken cancel)
        => await _inspection.DescribeAsync(_process.IsExpected ? null : _process.Id, async end => (await MonitorsAsync(end)).Main, cancel);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_disposed) return;
        _disposed = true;
        await _expecting.CancelAsync();
        await EndOutgoingAsync();
        await _taking.WaitAsync();
        await ForgetMonitorsAsync();
        _connecting.Dispose();
        _taking.Dispose();
        _expecting.Dispose();
    }

    // Switches and neighbours learn where it is now. QEMU's own announcements are kept back: they would come before anybody knows that it
    // runs. One that cannot be made is no reason to say that it does not run: what it sends itself shows where it is.
    private async Task AnnounceAsync(QmpConnection qmp, CancellationToken cancel)
    {
        try
        {
            await qmp.ExecuteAsync(QmpCommands.AnnounceSelf, new QmpAnnounce(50, 550, 5, 100), s_command, cancel);
        }
        catch (QmpException e)
        {
            _news.Writer.TryWrite(new DriverNews("not-announced", e.Message));
        }
    }

    // A migration that has failed is failed a moment before its guest is back in the state that it had; until then QEMU takes no orders.
    private static async Task<QmpStatus> SettleAsync(QmpConnection qmp, CancellationToken cancel)
    {
        for (long since = Environment.TickCount64; ; await Task.Delay(s_pause, cancel))
        {
            QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
            if (status.Status != "finish-migrate" || Environment.TickCount64 - since > s_command.TotalMilliseconds) return status;
        }
    }

    // Idempotent. Successful only when QEMU reports that the guest runs.
    private static async Task RunAsync(QmpConnection qmp, CancellationToken cancel)
    {
        if ((await SettleAsync(qmp, cancel)).Running) return;
        await qmp.ExecuteAsync(QmpCommands.Cont, s_command, cancel);
        QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        if (!status.Running) throw new DriverException($"QEMU was told to run and is in state {status.Status}");
    }

    private static async Task ReachesAsync(QmpConnection qmp, QmpListener listener, string wanted, CancellationToken cancel)
    {
        QmpMigration at = await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);
        string? status = at.Status;
        while (status != wanted)
        {
            if (status is "failed" or "cancelled" or "cancelling")
            {
                at = await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);
                throw new DriverException($"the migration is {status} instead of {wanted}: {at.ErrorDesc}", final: true);
            }

            status = (await listener.NextAsync(_ => true, $"its migration is {wanted}", s_rest, cancel)).Text("status");
        }
    }

    private async Task<QmpMonitors> MonitorsAsync(CancellationToken cancel)
    {
        await _connecting.WaitAsync(cancel);
        string why = "";
        try
        {
            if (_qmp is { Main.State: QmpState.Ready, Rescue.State: QmpState.Ready }) return _qmp;
            await ForgetMonitorsAsync();
            using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            end.CancelAfter(s_start);
            while (true)
            {
                if (_process.Id is null) throw new DriverException($"there is no QEMU of {_server} here: {_process.LastWords}");
                try
                {
                    (string main, string rescue) = _process.Monitors;
                    QmpMonitors qmp = await QmpMonitors.ConnectAsync(main, rescue, s_command, end.Token);
                    _qmp = qmp;
                    _ = ReportAsync(qmp, qmp.Main.Listen(s_reported));
                    return qmp;
                }
                catch (QmpDisconnectedException e)
                {
                    // It has just been started.
                    why = e.Message;
                    await Task.Delay(s_pause, end.Token);
                }
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new DriverException($"QEMU of {_server} has opened no monitor within {s_start.TotalSeconds} s: {why}; "
                + _process.LastWords);
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async Task<Outgoing> BeginAsync(QmpMonitors qmp, DriverContext context, CancellationToken cancel)
    {
        string host = context.PeerHost ?? throw new DriverException($"nobody has said to which host {_server} is to go");
        QmpListener passes = qmp.Main.Listen("MIGRATION_PASS", "MIGRATION");
        Stream network = Stream.Null;
        try
        {
            network = await _network.ConnectAsync(host, _server, context.Epoch, cancel);
            File.Delete(_process.Outgoing);
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(_process.Outgoing));
            listener.Listen(1);
            await qmp.Main.ExecuteAsync(QmpCommands.SetCapabilities,
                new QmpCapabilities([
                    .. QmpCapabilities.On("events", "return-path", "validate-uuid", "pause-before-switchover").Capabilities,
                    new QmpCapability("auto-converge", _config.AutoConverge),
                ]), s_command, cancel);
            await qmp.Main.ExecuteAsync(QmpCommands.SetParameters,
                new QmpMigrationParameters(DowntimeLimit: 1, MaxBandwidth: 1L << 40, AnnounceRounds: 0), s_command, cancel);
            await qmp.Main.ExecuteAsync(QmpCommands.Migrate, new QmpUri("unix:" + _process.Outgoing), s_command, cancel);
            using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            end.CancelAfter(s_command);
            Socket socket;
            try
            {
                socket = await listener.AcceptAsync(end.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                throw new DriverException($"QEMU of {_server} was told to migrate and has not connected to the relay within "
                    + $"{s_command.TotalSeconds} s");
            }

            MigrationRelay.Bound(socket);
            return new Outgoing(this, context, host, qmp.Main, passes, new NetworkStream(socket, ownsSocket: true), network);
        }
        catch
        {
            // Failed or cancelled half way: the next call of Mirror cancels the migration that QEMU may have begun.
            passes.Dispose();
            await network.DisposeAsync();
            throw;
        }
    }

    // A new process: one into which a migration has begun and failed is of no use any more.
    private async Task ExpectAsync(CancellationToken cancel)
    {
        await EndAsync(cancel);
        _process.Start(_config.Run, expected: true);
        QmpConnection qmp = (await MonitorsAsync(cancel)).Main;
        await qmp.ExecuteAsync(QmpCommands.SetCapabilities,
            QmpCapabilities.On("events", "return-path", "validate-uuid", "late-block-activate"), s_command, cancel);
        await qmp.ExecuteAsync(QmpCommands.SetParameters, new QmpMigrationParameters(AnnounceRounds: 0), s_command, cancel);
        await qmp.ExecuteAsync(QmpCommands.MigrateIncoming, new QmpUri("unix:" + _process.Incoming), s_command, cancel);
        QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        if (status.Running)
            throw new DriverException($"QEMU of {_server} was started to wait for a guest, and runs one ({status.Status})");
    }

    private void Expect(long epoch)
    {
        _network.Expect(_server, epoch, TakeAsync);
        _expectedEpoch = epoch;
    }

    // A migration from the other host. One that was cut leaves a QEMU that has ended or will: another one waits for the next attempt.
    private async Task TakeAsync(Stream network, CancellationToken cancel)
    {
        await _taking.WaitAsync(cancel);
        try
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, _expecting.Token);
            if (_process.Id is null || await HasBegunAsync(stop.Token)) await ExpectAsync(stop.Token);
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(_process.Incoming), stop.Token);
            MigrationRelay.Bound(socket);
            await using var relay = new MigrationRelay(network, new NetworkStream(socket, ownsSocket: true), new RelayGate());
            await relay.Completion.WaitAsync(stop.Token);
        }
        finally
        {
            _taking.Release();
        }
    }

    // Stops expecting the guest. A connection that arrives meanwhile starts no new QEMU.
    private async Task StopTakingAsync(DriverContext context, CancellationToken cancel)
    {
        _network.Expect(_server, context.Epoch, null);
        _expectedEpoch = null;
        await _expecting.CancelAsync();
        await _taking.WaitAsync(cancel);
        _expecting.Dispose();
        _expecting = new CancellationTokenSource();
        _taking.Release();
    }

    private async Task<bool> HasBegunAsync(CancellationToken cancel)
    {
        try
        {
            return (await (await MonitorsAsync(cancel)).Main.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel)).Status
                is not (null or "none" or "setup");
        }
        catch (QmpDisconnectedException)
        {
            return true;
        }
    }

    private async Task CancelOutgoingAsync(QmpConnection qmp, CancellationToken cancel)
    {
        await qmp.ExecuteAsync(QmpCommands.MigrateCancel, s_command, cancel);
        await EndOutgoingAsync();
        for (long since = Environment.TickCount64; ; await Task.Delay(s_pause, cancel))
        {
            string? status = (await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel)).Status;
            if (status is null or "none" or "cancelled" or "failed" or "completed") return;
            if (Environment.TickCount64 - since > s_rest.TotalMilliseconds)
                throw new DriverException($"QEMU of {_server} was told to cancel its migration and is in state {status} after "
                    + $"{s_rest.TotalSeconds} s");
        }
    }

    private async Task EndOutgoingAsync(bool completed = false)
    {
        if (_outgoing is not { } outgoing) return;
        _outgoing = null;
        outgoing.End(completed);
        await outgoing.DisposeAsync();
    }

    private async Task EndAsync(CancellationToken cancel)
    {
        await EndOutgoingAsync();
        QmpMonitors? qmp = _qmp;
        (_qmp, _why) = (null, null);
        await _process.KillAsync(cancel);
        if (qmp is not null) await qmp.DisposeAsync();
    }

    // What its connection says from now on is of no interest.
    private async Task ForgetMonitorsAsync()
    {
        if (_qmp is not { } qmp) return;
        _qmp = null;
        await qmp.DisposeAsync();
    }
}
