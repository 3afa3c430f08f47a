using System.Diagnostics;
using System.Text.Json;
using System.Threading.Channels;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;

namespace SdnEdge.Mms;

/// <summary>
/// Carries out one move: owns sockets and timers, while <see cref="MoveFsm"/> owns the decisions.
/// <list type="number">
/// <item>A command is journalled as an intent, then runs on its own; what comes of it is an input.</item>
/// <item>Inputs are taken one by one, journalled, and given to the machine; with no input by
/// <see cref="MoveFsm.NextDeadline"/> the machine is told so.</item>
/// <item>When the machine has ended, both PEs are asked what is left over.</item>
/// </list>
/// Cancelling gives the move up where that is still possible, and carries the giving up out; it never just stops.
/// </summary>
public sealed class MoveDriver
{
    private readonly IReadOnlyDictionary<string, PeClient> _pes;
    private readonly IServerDriver _server;
    private readonly MoveJournal? _journal;
    private readonly Channel<MoveInput> _inputs = Channel.CreateUnbounded<MoveInput>();
    private readonly Dictionary<(string Pe, SignalKind Signal), long> _sent = [];
    private readonly List<SignalRecord> _signals = [];
    private readonly Dictionary<string, MigrationInfo> _seen = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PathObserver> _observers = new(StringComparer.Ordinal);
    private long? _pausedNs;
    private long? _resumedNs;

    /// <summary>Makes a driver for one move.</summary>
    /// <param name="pes">Clients of the PEs, by the names the plan uses: both ends and all ingresses.</param>
    /// <param name="server">What runs the server.</param>
    /// <param name="journal">Where to write intents and results; null = nowhere.</param>
    public MoveDriver(IReadOnlyDictionary<string, PeClient> pes, IServerDriver server, MoveJournal? journal = null)
        => (_pes, _server, _journal) = (pes, server, journal);

    /// <summary>Moves a server. A driver runs once.</summary>
    /// <param name="plan">What to do; see <see cref="MovePlanner"/>.</param>
    /// <param name="progress">Called with news, on the driver's task.</param>
    /// <param name="cancel">Gives the move up, before the server is live at the target.</param>
    public async Task<MoveResult> RunAsync(MovePlan plan, Action<MoveProgress>? progress = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(plan);
        foreach (string pe in plan.Ingress.Append(plan.Source.Pe).Append(plan.Target.Pe))
        {
            if (!_pes.ContainsKey(pe)) throw new ArgumentException($"the plan needs PE '{pe}', for which there is no client", nameof(plan));
        }

        _journal?.Write(plan.Migration, "plan", plan);
        var fsm = new MoveFsm(plan);
        using CancellationTokenRegistration giveUp = cancel.Register(() => _inputs.Writer.TryWrite(new GiveUp("cancelled by the operator")));
        MoveInput input = new Begin();
        while (true)
        {
            long now = Now;
            Keep(input, now);
            MoveStage before = fsm.Stage;
            IReadOnlyList<MoveCommand> commands = fsm.Step(input, now);
            if (fsm.Stage != before) progress?.Invoke(new MoveProgress(fsm.Stage, now, Tell(fsm, plan)));
            foreach (MoveCommand command in commands) Start(plan, command);
            if (fsm.Outcome is not null) break;
            input = await NextAsync(fsm.NextDeadline);
            if (input is not (DeadlineReached or MigrationSeen or IngressSeen { Direct: false })) _journal?.Write(plan.Migration, "result", input);
        }

        IReadOnlyList<string> residue = await ResidueAsync(plan);
        var result = new MoveResult(plan, fsm.Outcome.Value, fsm.Failure, fsm.Timeline, fsm.DirectAt, _signals, _pausedNs, _resumedNs,
            _seen.GetValueOrDefault(plan.Source.Pe), _seen.GetValueOrDefault(plan.Target.Pe), residue, fsm.Proof, fsm.ProvedByMarker);
        _journal?.Write(plan.Migration, "end", new JournalEnd(result.Outcome, result.Failure, result.Timeline, result.Residue));
        return result;
    }

    // Stopwatch counts CLOCK_MONOTONIC in nanoseconds here, as every process of the lab does.
    private static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    private async Task<MoveInput> NextAsync(long deadline)
    {
        if (_inputs.Reader.TryRead(out MoveInput? ready)) return ready;
        long left = deadline == long.MaxValue ? long.MaxValue : deadline - Now;
        if (left <= 0) return new DeadlineReached();
        if (left == long.MaxValue) return await _inputs.Reader.ReadAsync();
        using var timer = new CancellationTokenSource(TimeSpan.FromMilliseconds(Math.Max(1, left / 1_000_000)));
        try
        {
            return await _inputs.Reader.ReadAsync(timer.Token);
        }
        catch (OperationCanceledException)
        {
            return new DeadlineReached();
        }
    }

    private void Keep(MoveInput input, long now)
    {
        switch (input)
        {
            case SignalTaken taken:
                _signals.Add(new SignalRecord(taken.Pe, taken.Reply.Signal, _sent[(taken.Pe, taken.Reply.Signal)], now, taken.Reply));
                break;
            case MigrationSeen { Info: { } info } seen when info.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted):
                _seen[seen.Pe] = info;
                break;
            case ServerPaused:
                _pausedNs = now;
                break;
            case ServerResumed:
                _resumedNs = now;
                break;
        }
    }

    private void Start(MovePlan plan, MoveCommand command)
    {
        if (command is not (LookAtMigration or LookAtIngress)) _journal?.Write(plan.Migration, "intent", command);
        if (command is SendSignal send) _sent.TryAdd((send.Pe, send.Signal), Now);
        _ = Task.Run(() => RunAsync(plan, command));
    }

    private async Task RunAsync(MovePlan plan, MoveCommand command)
    {
        MoveInput input;
        try
        {
            input = await CarryOutAsync(plan, command);
        }
        catch (Exception e)
        {
            // Whatever it was, the machine must hear of it.
            input = command switch
            {
                SendSignal send => new SignalLost(send.Pe, send.Signal, e.Message),
                LookAtMigration look => new MigrationSeen(look.Pe, null),
                LookAtIngress look => new IngressSeen(look.Pe, false, e.Message),
                _ => new ServerFailed(e.Message),
            };
        }

        _inputs.Writer.TryWrite(input);
    }

    private async Task<MoveInput> CarryOutAsync(MovePlan plan, MoveCommand command)
    {
        using var serverLimit = new CancellationTokenSource(plan.Timeouts.Server);
        switch (command)
        {
            case SendSignal send:
                try
                {
                    return new SignalTaken(send.Pe, await _pes[send.Pe].SignalAsync(plan.Migration, send.Signal, send.Request));
                }
                catch (ApiProblemException e) when (e.Problem.Status < 500)
                {
                    string detail = e.Problem.Detail + string.Concat((e.Problem.Errors ?? []).Select(x => $"; {x.Pointer} {x.Detail}"));
                    return new SignalRefused(send.Pe, send.Signal, e.Problem.Type, detail);
                }

            case LookAtMigration look:
                return new MigrationSeen(look.Pe, await _pes[look.Pe].MigrationAsync(plan.Migration));
            case LookAtIngress look:
                if (!_observers.TryGetValue(look.Pe, out PathObserver? observer)) _observers[look.Pe] = observer = new PathObserver(_pes[look.Pe], plan);
                return await observer.LookAsync();
            case PauseServer:
                await _server.PauseAsync(plan.Server, serverLimit.Token);
                return new ServerPaused();
            case ResumeServer resume:
                await _server.ResumeAsync(plan.Server, resume.Site, serverLimit.Token);
                return new ServerResumed(resume.Site);
            case LocateServer:
                return new ServerLocated(await _server.LocateAsync(plan.Server, serverLimit.Token));
            default:
                throw new InvalidOperationException($"no way to carry out {command.GetType().Name}");
        }
    }

    private async Task<IReadOnlyList<string>> ResidueAsync(MovePlan plan)
    {
        var residue = new List<string>();
        string tunnel = "mig-" + plan.Migration;
        foreach (string pe in new[] { plan.Source.Pe, plan.Target.Pe })
        {
            try
            {
                PeClient client = _pes[pe];
                residue.AddRange((await client.TunnelsAsync()).Where(t => t.Name == tunnel).Select(t => $"{pe} tunnel {t.Name}"));
                residue.AddRange((await client.GroupsAsync()).Where(g => g.Name == plan.Migration).Select(g => $"{pe} group {g.Name} ({g.Active})"));
                residue.AddRange((await client.MigrationsAsync()).Where(m => m.Id == plan.Migration && m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted))
                    .Select(m => $"{pe} migration {m.Id} ({m.State})"));
            }
            catch (Exception e) when (e is ApiProblemException or ApiUnreachableException)
            {
                residue.Add($"{pe} could not be read: {e.Message}");
            }
        }

        return residue;
    }

    private static string Tell(MoveFsm fsm, MovePlan plan) => fsm.Stage switch
    {
        MoveStage.PrepareTarget => $"{plan.Target.Pe} accepts the tunnel and arms its hold",
        MoveStage.PrepareSource => $"{plan.Source.Pe} makes the tunnel and arms the redirect group",
        MoveStage.TunnelUp => "full-size probes go through the tunnel, both ways",
        MoveStage.Switch => $"{plan.Source.Pe} switches {plan.Source.Prefixes.Count} prefixes into the tunnel",
        MoveStage.Pause => $"{plan.Server} stops at {plan.Source.Site}; {plan.Target.Pe} holds what comes",
        MoveStage.Blackout => $"{plan.Server} is nowhere for {plan.BlackoutMs} ms",
        MoveStage.Resume => $"{plan.Server} becomes live at {plan.Target.Site}",
        MoveStage.Release => $"{plan.Target.Pe} sends what it held, in order",
        MoveStage.HoldDrain => $"{plan.Target.Pe}'s hold becomes empty",
        MoveStage.Advertise => $"{plan.Target.Pe} advertises with LOCAL_PREF {plan.LocalPref}",
        MoveStage.DirectPath when plan.Order is not null => $"waiting for the flush markers of {string.Join(", ", plan.Ingress)}",
        MoveStage.DirectPath => $"waiting for the direct path on {string.Join(", ", plan.Ingress)}",
        MoveStage.Withdraw => $"{plan.Source.Pe} withdraws",
        MoveStage.Drain when plan.Order is not null => "the tunnel's counters are read once more",
        MoveStage.Drain => $"the tunnel drains until it is quiet for {plan.Timeouts.Quiet} ms",
        MoveStage.TeardownSource => $"{plan.Source.Pe} takes tunnel and group away",
        MoveStage.LastPacket => $"{plan.Target.Pe} waits for the last packet of the tunnel",
        MoveStage.TeardownTarget => $"{plan.Target.Pe} takes tunnel, group and hold away",
        MoveStage.ReturnServer => $"giving up ({fsm.Failure}): {plan.Server} becomes live at {plan.Source.Site} again",
        MoveStage.AbortSource => $"giving up ({fsm.Failure}): {plan.Source.Pe} switches back",
        MoveStage.EmptyTunnel => $"giving up ({fsm.Failure}): {plan.Target.Pe} waits for the last packet of the tunnel",
        MoveStage.AbortTarget => $"giving up ({fsm.Failure}): {plan.Target.Pe} gives back what it held",
        MoveStage.GiveBack => $"giving up ({fsm.Failure}): {plan.Target.Pe}'s hold becomes empty",
        _ => fsm.Outcome switch
        {
            MoveOutcome.Moved => $"{plan.Server} is at {plan.Target.Site}",
            MoveOutcome.RolledBack => $"given up; {plan.Server} is at {plan.Source.Site} as before",
            _ => $"{JsonNamingPolicy.KebabCaseLower.ConvertName(fsm.Outcome?.ToString() ?? "")}: {fsm.Failure}",
        },
    };
}
