using System.Threading.Channels;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Replication;
using SdnEdge.Host.Api;
using SdnEdge.Host.Drivers;
using SdnEdge.Linux;
using SdnEdge.Web;
using IServerDriver = SdnEdge.Host.Drivers.IServerDriver;

namespace SdnEdge.Host;

/// <summary>
/// One server of the host: carries out what <see cref="HostFsm"/> wants. One loop takes the inputs in order and is the only one that steps
/// the machine, writes the record and calls the driver:
/// <code>
/// 1. an input: an order of the API, the end of a driver's call, time to look
/// 2. an order ends a look that is under way (it has no side effects), and goes on when that has ended; some looks ask for the machine too
/// 3. step the machine; carry out its commands in order; a record is synced before the next command
/// 4. publish what readers see
/// </code>
/// Readers never wait: they are given what was published last.
/// </summary>
internal sealed class ServerAgent : IAsyncDisposable
{
    // How often the driver is asked for the machine, and when it could not say all of it.
    private static readonly TimeSpan s_machine = TimeSpan.FromSeconds(30);

    // How often the site's store is asked for the volumes, and while the server is being moved.
    private static readonly TimeSpan s_volumes = TimeSpan.FromSeconds(1), s_volumesMoving = TimeSpan.FromMilliseconds(200);

    private readonly IServerDriver _driver;
    private readonly RecordStore _store;
    private readonly EventLog _events;
    private readonly Func<string?> _noLease;
    private readonly Channel<HostInput> _inputs = Channel.CreateUnbounded<HostInput>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<long, TaskCompletionSource<ServerReply>> _answers = [];
    private readonly Lock _answersLock = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly OrderCounts _counts = new();
    private HostServer _server;
    private (long Epoch, MirrorProgress Progress)? _mirror;
    private (long AtNs, ServerState State)? _machineAsked;
    private MachineInfo? _machine;
    private CancellationTokenSource? _lookCancel, _callCancel;
    private Task _news = Task.CompletedTask, _volumesAsked = Task.CompletedTask;
    private Task _look = Task.CompletedTask;
    private Task _call = Task.CompletedTask;
    private Task _loop = Task.CompletedTask;
    private long _lastTicket;
    private volatile ServerInfo _published;
    private volatile IReadOnlyList<ServerVolumeInfo>? _volumes;
    private volatile bool _unusable;

    /// <summary>Makes it.</summary>
    /// <param name="name">The server.</param>
    /// <param name="runs">Whether this host has the right to run it before any order was given.</param>
    /// <param name="driver">How it is driven.</param>
    /// <param name="store">Where its record is.</param>
    /// <param name="events">Where events are told.</param>
    /// <param name="noLease">Why it must not run now for want of a lease; null = it may.</param>
    public ServerAgent(string name, bool runs, IServerDriver driver, RecordStore store, EventLog events, Func<string?> noLease)
    {
        (Name, _driver, _store, _events, _noLease) = (name, driver, store, events, noLease);
        if (driver.VolumeNames is { Count: > 0 } volumes)
            _volumes = [.. volumes.Select(v => new ServerVolumeInfo(v, Fault: "the store was not asked yet"))];
        RecordFound found = store.Read(name);
        _server = HostFsm.Start(found.Record ?? HostRecord.First(name, runs && found.Fault is null), driver.Undoable, found.Fault);
        _unusable = found.Fault is not null;
        _published = Info();
        if (found.Fault is { } fault) events.Add(Monotonic.Now, "server", name, "fault", fault);
    }

    /// <summary>The server.</summary>
    public string Name { get; }

    /// <summary>What was published last.</summary>
    public ServerInfo Published => _volumes is { } volumes ? _published with { Volumes = volumes } : _published;

    /// <summary>The last copy of its memory from here; null = none since the agent's start.</summary>
    public CopyInfo? Copy => _driver.Copy;

    /// <summary>True when no order is taken for it.</summary>
    public bool Unusable => _unusable;

    /// <summary>Orders by their result.</summary>
    public OrderCounts Counts => _counts;

    /// <summary>Orders that are not answered yet.</summary>
    public int Open
    {
        get
        {
            lock (_answersLock) return _answers.Count;
        }
    }

    /// <summary>Begins to take orders. The server is looked at first, and nothing else is done (R4).</summary>
    public void Start() => (_loop, _news, _volumesAsked) = (Task.Run(RunAsync), Task.Run(NewsAsync), Task.Run(AskVolumesAsync));

    /// <summary>Gives an order; returns when its effect is there. It is carried out also when nobody waits for the answer any
    /// more.</summary>
    /// <exception cref="ProblemException">It was refused.</exception>
    public Task<ServerReply> OrderAsync(ServerOrder order, ServerOrderRequest request, CancellationToken cancel)
    {
        var answer = new TaskCompletionSource<ServerReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        long ticket = Interlocked.Increment(ref _lastTicket);
        lock (_answersLock) _answers.Add(ticket, answer);
        if (!_inputs.Writer.TryWrite(new OrderArrived(new HostOrder(ticket, order, request))))
            Take(ticket)?.SetException(new ProblemException(Problems.Unavailable("the agent is stopping; ask again when it runs")));
        return answer.Task.WaitAsync(cancel);
    }

    /// <summary>Stops taking orders; one that is being carried out is broken off, which its repetition after the next start makes
    /// good.</summary>
    public async ValueTask DisposeAsync()
    {
        _inputs.Writer.TryComplete();
        await _stop.CancelAsync();
        await _loop;
        await Task.WhenAll(_look, _call, _news, _volumesAsked);
        while (Oldest() is { } open) Take(open)?.TrySetException(new ProblemException(Problems.Unavailable("the agent is stopping; ask "
            + "again when it runs")));
        await _driver.DisposeAsync();
        _lookCancel?.Dispose();
        _callCancel?.Dispose();
        _stop.Dispose();
    }

    // What nobody ordered is said at once, and looked at without waiting for the next look.
    private async Task NewsAsync()
    {
        if (_driver.News is not { } news) return;
        try
        {
            await foreach (DriverNews next in news.ReadAllAsync(_stop.Token))
            {
                _events.Add(Monotonic.Now, "server", Name, next.Change, next.Detail);
                if (next.LookNow) _inputs.Writer.TryWrite(new LookWanted());
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    // Beside the loop: what a store does not answer keeps no order and no look waiting.
    private async Task AskVolumesAsync()
    {
        if (_volumes is null) return;
        try
        {
            while (!_stop.IsCancellationRequested)
            {
                _volumes = await _driver.VolumesAsync(_stop.Token);
                bool settled = _published.Phase is "running" or "away" && _volumes.All(IsSettled);
                await Task.Delay(settled ? s_volumes : s_volumesMoving, _stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
        catch (Exception e)
        {
            string fault = $"the store is not asked any more: the agent made a mistake ({Said(e)}); start it again";
            _volumes = [.. _driver.VolumeNames.Select(v => new ServerVolumeInfo(v, Fault: fault))];
            _events.Add(Monotonic.Now, "server", Name, "fault", fault);
        }
    }

    // Else it is likely to change soon, as right after a move: whoever plans the next one is not told what was.
    private static bool IsSettled(ServerVolumeInfo volume) => volume.Fault is null && (volume.IsReplicated != true
        || (volume.Role == OwnerRole.Owner ? volume.Connected : volume.Phase == CopyPhase.Following));

    private async Task RunAsync()
    {
        try
        {
            BeginLook();
            while (!_stop.IsCancellationRequested)
            {
                Task<bool> more = _inputs.Reader.WaitToReadAsync(_stop.Token).AsTask();
                while (!more.IsCompleted && _server.Current is null)
                {
                    // What a look has seen is an input, and may be taken a moment before the look ends; and a look may end without a word.
                    if (!_look.IsCompleted)
                    {
                        await Task.WhenAny(more, _look);
                        continue;
                    }

                    using var due = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                    bool late = await Task.WhenAny(more, Task.Delay(LookInterval, due.Token)) != more;
                    await due.CancelAsync();
                    if (late) BeginLook();
                }

                if (!await more) return;
                while (_inputs.Reader.TryRead(out HostInput? input))
                {
                    if (input is LookWanted)
                    {
                        if (_look.IsCompleted && _server.Current is null) BeginLook();
                        continue;
                    }

                    if (input is OrderArrived) await EndLookAsync();
                    Take(input);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
        catch (Exception e)
        {
            // A mistake of ours: no order is taken any more, and it is said.
            string fault = $"no order is taken: the agent made a mistake ({e.GetType().Name}: {e.Message}); start it again";
            _inputs.Writer.TryComplete();
            _server = _server with { Unusable = fault };
            _unusable = true;
            _published = Info();
            _events.Add(Monotonic.Now, "server", Name, "fault", fault);
            while (Oldest() is { } open) Take(open)?.TrySetException(new ProblemException(Problems.Internal(fault)));
        }
    }

    // While its state is copied, who waits for the convenient point wants fresh figures.
    private TimeSpan LookInterval => IsCopied(_server.Record) ? _driver.MirrorInterval : _driver.LookInterval;

    private static bool IsCopied(HostRecord record) => record.Phase is HostPhase.Offered or HostPhase.Incoming;

    private void Take(HostInput input)
    {
        var inputs = new Queue<HostInput>([input]);
        while (inputs.TryDequeue(out HostInput? next))
        {
            HostServer before = _server;
            (_server, IReadOnlyList<HostCommand> commands) = HostFsm.Step(_server, next, Monotonic.Now);
            foreach (HostCommand command in commands)
            {
                switch (command)
                {
                    case WriteRecord write:
                        inputs.Enqueue(Write(write.Record));
                        break;
                    case CallDriver call:
                        _callCancel?.Dispose();
                        _callCancel = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                        _call = CallAsync(call, _callCancel.Token);
                        break;
                    case BreakOffCall:
                        _ = _callCancel!.CancelAsync();
                        break;
                    case AnswerOrder answer:
                        Publish(before);
                        before = _server;
                        _counts.Add(answer.Reply.Order, answer.Reply.Repeated ? "repeated" : "done");
                        _events.Add(Monotonic.Now, "server", Name, HostFsm.Word(answer.Reply.Order),
                            $"epoch {answer.Reply.Epoch}, {HostFsm.Word(answer.Reply.State)}{(answer.Reply.Repeated ? ", repeated" : "")}");
                        Take(answer.Ticket)?.TrySetResult(WithVolumes(answer.Reply));
                        break;
                    case RefuseOrder refuse:
                        _counts.Add(null, HostFsm.Word(refuse.Refusal.Kind));
                        _events.Add(Monotonic.Now, "server", Name, "refused", refuse.Refusal.Detail);
                        Take(refuse.Ticket)?.TrySetException(new ProblemException(HostProblems.Of(refuse.Refusal)));
                        break;
                }
            }

            Publish(before);
        }
    }

    private ServerReply WithVolumes(ServerReply reply)
        => reply.Order is ServerOrder.Stop or ServerOrder.Activate or ServerOrder.Resume or ServerOrder.Retire
            && _driver.VolumeSteps is { Count: > 0 } steps ? reply with { Volumes = steps } : reply;

    // The driver has news: no input of the machine, which only judges what is seen.
    private sealed record LookWanted : HostInput;

    private HostInput Write(HostRecord record)
    {
        try
        {
            _store.Write(record);
            return new RecordSynced();
        }
        catch (IOException e)
        {
            return new RecordFailed(e.Message);
        }
    }

    private async Task CallAsync(CallDriver call, CancellationToken cancel)
    {
        HostInput result;
        try
        {
            ServerOrderRequest request = call.Order.Request;
            var context = new DriverContext(Name, request.Epoch, request.Migration, request.PeerHost ?? _server.Record.PeerHost,
                request.CopyMs, _server.Record.MaxStopMs, request.StaleVolumes, CopyBytesPerSecond: _server.Record.CopyBytesPerSecond);
            if (call.Call is DriverCall.Activate or DriverCall.Resume && _noLease() is { } why) throw new DriverException(why);
            Task<ServerState> task = call.Call switch
            {
                DriverCall.Look => _driver.LookAsync(context, cancel),
                DriverCall.PrepareIncoming => _driver.PrepareIncomingAsync(context, cancel),
                DriverCall.Stop => _driver.StopAsync(context, cancel),
                DriverCall.HandOver => _driver.HandOverAsync(context, cancel),
                DriverCall.Activate => _driver.ActivateAsync(context, cancel),
                DriverCall.Resume => _driver.ResumeAsync(context, cancel),
                DriverCall.Cancel => _driver.CancelAsync(context, cancel),
                DriverCall.Kill => _driver.KillAsync(context, cancel),
                DriverCall.Fence => _driver.FenceAsync(context, cancel),
                _ => throw new InvalidOperationException($"no driver call {call.Call}"),
            };
            result = new DriverDone(await task);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            return;
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            result = new DriverFailed($"{HostFsm.Word(call.Call)} was broken off: the server is to go on here");
        }
        catch (Exception e)
        {
            result = new DriverFailed(Said(e), e is DriverException { Final: true });
        }

        _inputs.Writer.TryWrite(result);
    }

    private void BeginLook()
    {
        _lookCancel?.Dispose();
        _lookCancel = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        _look = LookAsync(MachineIsDue(), _lookCancel.Token);
    }

    // Not before it was seen for the first time, and not while it is moved.
    private bool MachineIsDue()
    {
        if (_server.Seen == ServerState.Unknown || _server.Record.Phase is not (HostPhase.Running or HostPhase.Away)) return false;
        if (_machineAsked is not { } asked || asked.State != _server.Seen) return true;
        return Monotonic.Now - asked.AtNs >= s_machine.TotalNanoseconds;
    }

    private async Task EndLookAsync()
    {
        if (_look.IsCompleted) return;
        await _lookCancel!.CancelAsync();
        await _look;
    }

    private async Task LookAsync(bool withMachine, CancellationToken cancel)
    {
        HostInput seen;
        ServerState before = _server.Seen;
        try
        {
            HostRecord record = _server.Record;
            var context = new DriverContext(Name, record.PhaseEpoch, record.Migration ?? "", record.PeerHost, MaxStopMs: record.MaxStopMs,
                SyncNotBefore: record.SyncNotBefore, CopyBytesPerSecond: record.CopyBytesPerSecond);
            if (withMachine) await AskMachineAsync(before, cancel);

            // The copy first: what has gone wrong in it may keep the server from a state that the driver can name.
            _mirror = IsCopied(record) && await _driver.MirrorAsync(context, cancel) is { } at ? (record.PhaseEpoch, at) : null;
            ServerState state = await _driver.LookAsync(context, cancel);

            // It has the right to run, and would but for its disk: no order is needed. An order that comes meanwhile waits for the look.
            if (state == ServerState.Paused && _driver.WaitsForDisk && record.MayRun is not null && _noLease() is null)
                await _driver.RetryDiskAsync(cancel);
            seen = new ServerSeen(state, state == ServerState.Running ? null : _driver.Why);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            return;
        }
        catch (Exception e)
        {
            seen = new ServerSeen(ServerState.Unknown, Said(e));
        }

        _inputs.Writer.TryWrite(seen);
    }

    // A failure keeps nobody from anything but a plan.
    private async Task AskMachineAsync(ServerState state, CancellationToken cancel)
    {
        MachineInfo? was = _machine;
        string? why = null;
        try
        {
            _machine = await _driver.MachineAsync(cancel);
            why = _machine?.Unknown;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            (_machine, why) = (null, Said(e));
        }

        if (why is not null && why != was?.Unknown)
            _events.Add(Monotonic.Now, "server", Name, "machine", $"what machine it is was not found out: {why}");
        _machineAsked = (Monotonic.Now, state);
    }

    private static string Said(Exception e)
        => e is DriverException or IOException or TimeoutException or UnauthorizedAccessException ? e.Message
            : $"{e.GetType().Name}: {e.Message}";

    private void Publish(HostServer before)
    {
        ServerInfo was = _published;
        _published = Info();
        if (_server.Record.Phase != before.Record.Phase)
            _events.Add(Monotonic.Now, "server", Name, "phase", $"{HostFsm.Word(_server.Record.Phase)}, epoch {_server.Record.PhaseEpoch}");
        if (_published.State != was.State) _events.Add(Monotonic.Now, "server", Name, HostFsm.Word(_published.State));
        if (_published.Fault != was.Fault && _server.Current is null) _events.Add(Monotonic.Now, "server", Name, _published.Fault is null
            ? "fault over" : "fault", _published.Fault);
    }

    private ServerInfo Info()
    {
        HostRecord r = _server.Record;
        return new ServerInfo(Name, _driver.Kind, _server.Seen, r.Epoch, r.MayRun, r.RanEpoch, r.VoidEpoch, r.Migration, _driver.Undoable,
            IsCopied(r) ? Mirror(r) : null, _server.Fault, HostFsm.Word(r.Phase), _machine);
    }

    // Progress of an earlier move does not count; before the first look nothing has been copied.
    private MirrorProgress? Mirror(HostRecord record) => _mirror is { } seen && seen.Epoch == record.PhaseEpoch ? seen.Progress
        : _driver.Mirrors && record.Phase == HostPhase.Offered ? new MirrorProgress(false, 0, 0, 0) : null;

    private long? Oldest()
    {
        lock (_answersLock) return _answers.Count == 0 ? null : _answers.Keys.Min();
    }

    private TaskCompletionSource<ServerReply>? Take(long ticket)
    {
        lock (_answersLock) return _answers.Remove(ticket, out TaskCompletionSource<ServerReply>? answer) ? answer : null;
    }
}

/// <summary>Counts of orders, read from any thread.</summary>
internal sealed class OrderCounts
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);

    /// <summary>Counts one. <paramref name="order"/> null: it was refused.</summary>
    public void Add(ServerOrder? order, string result)
    {
        string key = order is null ? "refused " + result : HostFsm.Word(order.Value) + " " + result;
        lock (_lock) _counts[key] = _counts.GetValueOrDefault(key) + 1;
    }

    /// <summary>All, by order (refused: none) and result.</summary>
    public IReadOnlyList<(string Order, string Result, long Count)> All
    {
        get
        {
            lock (_lock) return [.. _counts.Select(c => (c.Key[..c.Key.IndexOf(' ')], c.Key[(c.Key.IndexOf(' ') + 1)..], c.Value))];
        }
    }
}
