using System.Collections.Immutable;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;

namespace SdnEdge.Testing.Simulation.Handover;

/// <summary>
/// One life of a manager: the machines as they ship, a loop that decides what is on disk before what (as ManagerService has it), and one
/// queue a resource (as MoveRunner has it). It begins with the fold of the journal and remembers nothing else.
/// </summary>
internal sealed class ManagerParty : Party
{
    private const long Ms = 1_000_000;

    private readonly Queue<Item> _items = new();
    private readonly List<JournalItem> _unwritten = [];
    private readonly List<Item> _unanswered = [];
    private readonly Dictionary<(string Migration, int Move), Runner> _runners = [];
    private readonly List<Action> _deferred = [];
    private ManagerState _state = ManagerState.Empty;
    private ManagerState _shown;
    private long _expected;
    private bool _busy, _idleFlush;
    private int _timer;

    public ManagerParty(HandoverWorld world, string name)
        : base(world, name)
    {
        foreach (JournalItem record in world.Journal.Records) _state = Step(_state, record.Input, record.Now);
        _expected = world.Journal.Records.Count;
        File = world.Journal.File;
        _shown = _state;
        foreach (MigrationState open in _state.Migrations.Values.Where(m => m.Outcome is null))
            _items.Enqueue(new Item(_ => new MoveHappened(open.Id, new TakenUp(WhyUndo(open))), MustSync: true, null));
        World.Sim.In(1, () => Guard(Pump));
    }

    // From the switch on a move without the word of a PE is undone (TakeUp). Before that it waits for it, which is not simulated.
    private string? WhyUndo(MigrationState open)
        => World.Pes.Values.FirstOrDefault(p => !p.Up) is { } down
            && open.Running.Any(n => open.MoveOf(n).Stage is MoveStage.Switch or MoveStage.Stop) ? $"{down.Name} is silent" : null;

    /// <summary>The journal's file that it has open.</summary>
    public int File { get; }

    /// <summary>True while the process stands still: it does nothing, and what comes to it waits.</summary>
    public bool Paused { get; private set; }

    /// <summary>What is on record as far as it knows.</summary>
    public ManagerState State => _shown;

    /// <summary>What waits, for people.</summary>
    public string Open => string.Join("; ", _runners.Values.SelectMany(r => r.Queues.Values).SelectMany(q => q.Open).Select(c => c.Key));

    /// <summary>The process stands still.</summary>
    public void Pause()
    {
        World.Log(Name, "stands still");
        Paused = true;
    }

    /// <summary>It goes on, with all that came meanwhile.</summary>
    public void Wake()
    {
        if (!Paused || !Up) return;
        World.Log(Name, "wakes up");
        Paused = false;
        Action[] deferred = [.. _deferred];
        _deferred.Clear();
        foreach (Action what in deferred) Guard(what);
    }

    /// <summary>Takes an input, decided on the state as it is when its turn comes.</summary>
    public void Post(Func<ManagerState, ManagerInput?> decide) => Guard(() =>
    {
        _items.Enqueue(new Item(decide, MustSync: true, null));
        Pump();
    });

    /// <summary>A store's report; the answer, when it is on record, is true, or false where it is refused.</summary>
    public void Report(StaleReported report, Action<bool> answer) => Guard(() =>
    {
        bool refused = false;
        _items.Enqueue(new Item(
            state =>
            {
                refused = VolumeMarks.WhyNot(state, report) is not null;
                return refused ? null : report;
            }, MustSync: true, _ => answer(!refused)));
        Pump();
    });

    protected override void OnCrash() => World.Journal.Killed(this);

    protected override void OnStart()
        => throw new InvalidOperationException("a manager that was killed does not come back: the next one is another");

    private void Guard(Action what)
    {
        if (!Up) return;
        if (Paused) _deferred.Add(what);
        else what();
    }

    private void After(long nanoseconds, Action what) => In(nanoseconds, () => Guard(what));

    private ManagerState Step(ManagerState before, ManagerInput input, long now)
    {
        ManagerState after = ManagerMachine.Step(before, input, now, "");
        if (World.Mutant == Mutant.PivotThoughStale) after = Forget(after);
        if (World.Mutant is not (Mutant.MoveReusesEpoch or Mutant.UndoWithSameEpoch) || ReferenceEquals(before, after)) return after;
        foreach (MigrationState migration in after.Migrations.Values)
        {
            MigrationState? was = before.Migrations.GetValueOrDefault(migration.Id);
            MoveState move = migration.Current;
            if (World.Mutant == Mutant.MoveReusesEpoch && (was is null || was.Moves.Count != migration.Moves.Count) && move.Epoch > 1)
            {
                // The highest one that was used, again and again.
                GroupState group = after.GroupOf(HandoverWorld.Group) with { Epoch = move.Epoch - 1 };
                move = move with { Epoch = group.Epoch, Plan = move.Plan with { Epoch = group.Epoch } };
                after = after with { Groups = after.Groups.SetItem(HandoverWorld.Group, group) };
            }
            else if (World.Mutant == Mutant.UndoWithSameEpoch && was is not null && was.Moves.Count == migration.Moves.Count
                && move.Epoch == was.Current.Epoch + 1 && !was.Current.TargetOwns)
                move = move with { Epoch = was.Current.Epoch };
            if (ReferenceEquals(move, migration.Current)) continue;
            after = after with { Migrations = after.Migrations.SetItem(migration.Id,
                migration with { Moves = migration.Moves.SetItem(migration.Moves.Count - 1, move) }) };
        }

        return after;
    }

    // What runs does not look at what is on record of its volumes.
    private static ManagerState Forget(ManagerState state)
    {
        foreach (MigrationState migration in state.Migrations.Values.Where(m => m.Outcome is null))
        {
            if (!migration.Running.Any(n => !migration.MoveOf(n).StaleVolumes.IsEmpty)) continue;
            state = state with
            {
                Migrations = state.Migrations.SetItem(migration.Id, migration with
                {
                    Moves = migration.Moves.ConvertAll(m => m.Outcome is not null || m.StaleVolumes.IsEmpty ? m
                        : m with { StaleVolumes = ImmutableSortedDictionary<Guid, ulong>.Empty }),
                }),
            };
        }

        return state;
    }

    private void Pump()
    {
        while (!_busy && _items.TryDequeue(out Item? item))
        {
            ManagerState before = _state;
            ManagerInput? input = item.Decide(before);
            ManagerState after = input is null ? before : Step(before, input, Now);
            if (ReferenceEquals(before, after))
            {
                item.Done?.Invoke(false);
                continue;
            }

            _unwritten.Add(new JournalItem(input!, Now, after));
            _unanswered.Add(item);
            _state = after;
            if (item.MustSync || ManagerMachine.OpensCommands(before, after))
            {
                if (World.Mutant == Mutant.CommandsBeforeRecord) Show(after);
                Flush();
                continue;
            }

            _unanswered.Remove(item);
            Show(after);
            item.Done?.Invoke(true);
        }

        if (_busy || _idleFlush || !MayFlush) return;
        _idleFlush = true;
        After(100 * Ms, () =>
        {
            _idleFlush = false;
            if (!_busy && MayFlush) Flush();
        });
    }

    private bool MayFlush => _unwritten.Count > 0
        && !_state.Migrations.Values.Any(m => m.Outcome is null
            && m.Running.Any(n => m.MoveOf(n).Stage is MoveStage.Stop or MoveStage.HandOver));

    private void Flush()
    {
        _busy = true;
        JournalItem[] batch = [.. _unwritten];
        World.Journal.Append(this, _expected, batch, result => Guard(() => Flushed(batch, result)));
    }

    private void Flushed(JournalItem[] batch, AppendResult result)
    {
        switch (result)
        {
            case AppendResult.Conflict:
                World.Log(Name, "ends: another manager uses the journal");
                Crash();
                return;
            case AppendResult.Unavailable:
                After(500 * Ms, Flush);
                return;
        }

        _expected += batch.Length;
        _unwritten.Clear();
        Item[] done = [.. _unanswered];
        _unanswered.Clear();
        _busy = false;
        Show(_state);
        foreach (Item item in done) item.Done?.Invoke(true);
        Pump();
    }

    private void Show(ManagerState state)
    {
        ManagerState before = _shown;
        _shown = state;
        long due = long.MaxValue;
        foreach (MigrationState migration in state.Migrations.Values)
        {
            MigrationState? was = before.Migrations.GetValueOrDefault(migration.Id);
            for (int number = 1; number <= migration.Moves.Count; number++)
            {
                MoveState move = migration.MoveOf(number);
                if (move.Outcome is not null)
                {
                    if (_runners.Remove((migration.Id, number), out Runner? ended)) ended.Stop();
                    continue;
                }

                if (!_runners.TryGetValue((migration.Id, number), out Runner? runner))
                    _runners[(migration.Id, number)] = runner = new Runner(this, migration.Id, migration.NumberFor(number));
                runner.Update(move, number <= was?.Moves.Count ? was.MoveOf(number) : null);
            }

            due = Math.Min(due, ManagerMachine.Deadline(migration));
        }

        int timer = ++_timer;
        if (due != long.MaxValue) Wait(timer, due);
    }

    private void Wait(int timer, long due) => After(Math.Max(1 * Ms, (due - Now) * 1001 / 1000), () =>
    {
        if (timer != _timer) return;
        foreach (MigrationState migration in _state.Migrations.Values.Where(m => m.Outcome is null
            && ManagerMachine.Deadline(m) <= Now).ToArray())
        {
            int number = ManagerMachine.Due(migration).Move;
            MoveState move = migration.MoveOf(number);
            Post(_ => new MoveHappened(migration.Id, move.Stage == MoveStage.Planned ? new Begin() : new StageExpired(move.Stage, "time"),
                migration.NumberFor(number)));
        }
    });

    private sealed record Item(Func<ManagerState, ManagerInput?> Decide, bool MustSync, Action<bool>? Done);

    private sealed class CommandQueue
    {
        public IReadOnlyList<MoveCommand> Open { get; set; } = [];

        public bool Running { get; set; }

        // Rises when the head is another command: what only looks ends then.
        public int Head { get; set; }

        // Ends the wait for the answer to the command that was issued last.
        public Action? GiveUp { get; set; }
    }

    // The open commands of one move.
    private sealed class Runner(ManagerParty manager, string migration, int? number)
    {
        private MoveState _state = null!;
        private bool _stopped;

        public Dictionary<string, CommandQueue> Queues { get; } = new(StringComparer.Ordinal);

        private HandoverWorld World => manager.World;

        public void Stop() => _stopped = true;

        public void Update(MoveState state, MoveState? before)
        {
            _state = state;
            if (before is not null && before.Plan.Epoch == state.Plan.Epoch && !before.TargetOwns && state.TargetOwns) AtPivot(state);
            ILookup<string, MoveCommand> open = Opened(state).ToLookup(MoveMachine.ResourceOf, StringComparer.Ordinal);
            foreach ((string name, CommandQueue queue) in Queues) Set(queue, [.. open[name]]);
            foreach (IGrouping<string, MoveCommand> group in open)
            {
                if (!Queues.TryGetValue(group.Key, out CommandQueue? queue))
                {
                    Queues[group.Key] = queue = new CommandQueue();
                    Set(queue, [.. group]);
                }

                if (queue.Running) continue;
                queue.Running = true;
                CommandQueue one = queue;
                manager.After(1, () => Run(one, 0));
            }
        }

        private static void Set(CommandQueue queue, MoveCommand[] commands)
        {
            if (queue.Open.Count > 0 && commands.Length > 0 && queue.Open[0].Key == commands[0].Key)
            {
                queue.Open = commands;
                return;
            }

            queue.Open = commands;
            queue.Head++;
            if (commands.Length > 0 && MoveMachine.IsUndo(commands[0])) queue.GiveUp?.Invoke();
        }

        private IEnumerable<MoveCommand> Opened(MoveState state)
        {
            IReadOnlyList<MoveCommand> open = MoveMachine.Open(state);
            return World.Mutant == Mutant.AheadWithoutOrder && state.Stage is MoveStage.Release or MoveStage.HoldDrain
                ? open.Concat(StageTable.Of(MoveStage.Advertise).Commands(state)).DistinctBy(c => c.Key) : open;
        }

        // What the mutants do too early.
        private void AtPivot(MoveState state)
        {
            if (World.Mutant == Mutant.RetireAtPivot)
            {
                foreach (ServerMove server in state.Plan.Servers)
                    Ask(new SendOrder(server.SourceHost, server.Name, ServerOrder.Retire, new ServerOrderRequest(state.Epoch,
                        state.Plan.Migration)), _ => { });
            }
            else if (World.Mutant == Mutant.ReleaseAtPivot)
            {
                foreach (PathMove path in state.Plan.Paths) Ask(new SendSignal(path.Target.Pe, path.Id, SignalKind.Release,
                    new SignalRequest(state.Epoch)), _ => { });
            }
        }

        private void Run(CommandQueue queue, int failures)
        {
            if (_stopped || queue.Open.Count == 0)
            {
                queue.Running = false;
                return;
            }

            MoveCommand command = queue.Open[0];
            (int head, bool over) = (queue.Head, false);
            void Finish(MoveInput? input)
            {
                if (over) return;
                over = true;
                if (input is null) Again();
                else
                {
                    manager._items.Enqueue(new Item(_ => new MoveHappened(migration, input, number), MustSync: false, changed =>
                    {
                        if (changed) Run(queue, 0);
                        else Again();
                    }));
                    manager.Pump();
                }
            }

            void Again() => manager.After(queue.Head != head ? 1 : (failures < 10 ? 50 : 1000) * Ms, () => Run(queue, failures + 1));

            queue.GiveUp = command is SendSignal or SendOrder && !MoveMachine.IsUndo(command) ? () => Finish(null) : null;
            if (command is SendSignal or SendOrder && World.BreaksOff()) manager.After(World.Sim.Between(20 * Ms, 500 * Ms), ()
                => Finish(null));
            switch (command)
            {
                case SendSignal signal:
                    if (SkipUndo(signal)) Finish(new SignalDone(signal.Key, new SignalReply(signal.Path, signal.Signal,
                        PeMigrationState.Aborted, signal.Request.Epoch, false, 0, 0), manager.Now));
                    else Ask(signal, Finish);
                    manager.After((signal.Signal == SignalKind.Prepare ? 12_000 : 6_000) * Ms, () => Finish(null));
                    break;
                case SendOrder order:
                    if (SkipUndo(order)) Finish(Fake(order, null));
                    else Ask(order, Finish);
                    bool silence = World.Mutant == Mutant.SilenceIsVoid && order.Order == ServerOrder.Void;
                    manager.After((silence ? 1_000 : 15_000) * Ms, () => Finish(silence ? Fake(order, EpochVerdict.Void) : null));
                    break;
                case WatchPath { Kind: PathWatch.Clean } clean:
                    Clean(clean, Finish);
                    break;
                case WatchPath watch when Unwatched(watch):
                    manager.After(World.Sim.Between(1 * Ms, 30 * Ms), () => Finish(new Seen(watch.Key, _state.EvidenceOf(watch.Path))));
                    break;
                case WatchPath watch:
                    PathMove path = _state.Plan.Paths.First(p => p.Id == watch.Path);
                    var watcher = new PathWatcher(watch.Kind, path, _state.Plan.Options, _state.EvidenceOf(watch.Path), manager.Now,
                        MoveMachine.SourceIsGone(_state, watch.Path));
                    Look(queue, head, watch, path, watcher, watcher.First, Finish);
                    break;
                case WatchServer watch:
                    Watch(watch, Finish);
                    break;
            }
        }

        // What a mutant takes as seen.
        private bool Unwatched(WatchPath watch) => (World.Mutant, watch.Kind) is (Mutant.TeardownBeforeLastMarker, PathWatch.LastPacket)
            or (Mutant.DirectUnseen, PathWatch.DirectPath) or (Mutant.DrainUnseen, PathWatch.Drained);

        private static OrderDone Fake(SendOrder order, EpochVerdict? verdict) => new(
            order.Key, new ServerReply(order.Server, order.Order, order.Request.Epoch, order.Order == ServerOrder.Resume
                ? ServerState.Running : ServerState.Absent, false, 0, verdict), 0);

        private bool SkipUndo(MoveCommand command) => World.Mutant == Mutant.UndoOnlyWhoAnswered && _state.Failure is not null
            && command switch
        {
            SendSignal { Signal: SignalKind.Abort } s => !_state.Signals.Any(a => a.Pe == s.Pe && a.Reply.Migration == s.Path),
            SendOrder { Order: ServerOrder.Cancel or ServerOrder.Resume } o => !_state.Orders.Any(a => a.Host == o.Host
                && a.Reply.Server == o.Server),
            _ => false,
        };

        private void Ask(SendSignal signal, Action<MoveInput?> finish)
        {
            PeParty pe = World.Pes[signal.Pe];
            long sent = manager.Now;
            World.Ask<Answer<SignalReply>>(pe, manager.Name, $"{signal.Key} epoch {signal.Request.Epoch}",
                answer => pe.Signal(signal.Path, signal.Signal, signal.Request, answer),
                answer => manager.Guard(() => finish(answer.Value is { } reply ? new SignalDone(signal.Key, reply, sent) : Judge(signal,
                    answer.Problem!))));
        }

        private void Ask(SendOrder order, Action<MoveInput?> finish)
        {
            HostParty host = World.Hosts[order.Host];
            long sent = manager.Now;
            World.Ask<Answer<ServerReply>>(host, manager.Name, order.Key,
                answer => host.Order(order.Server, order.Order, order.Request, answer),
                answer => manager.Guard(() => finish(answer.Value is not { } reply ? Judge(order, answer.Problem!)
                    : MoveMachine.WhyNoAnswer(order, reply) is null ? new OrderDone(order.Key, reply, sent) : null)));
        }

        private static Refused? Judge(MoveCommand command, Problem problem)
            => Refusals.WaitFor(problem) is null ? new Refused(command.Key, problem.Type, problem.Detail) : null;

        // Asks several parties and goes on when all have answered, or with null for those who have not in time.
        private void AskAll<T>((Party Party, Func<T> Read)[] questions, Action<T?[]> then)
            where T : class
        {
            var answers = new T?[questions.Length];
            var here = new bool[questions.Length];
            int left = questions.Length;
            bool over = left == 0;
            if (over)
            {
                then(answers);
                return;
            }

            for (int i = 0; i < questions.Length; i++)
            {
                (int n, (Party party, Func<T> read)) = (i, questions[i]);
                World.Ask<T?>(party, null, "", answer => answer(read()), answer => manager.Guard(() =>
                {
                    if (over || here[n]) return;
                    (answers[n], here[n]) = (answer, true);
                    if (--left > 0) return;
                    over = true;
                    then(answers);
                }));
            }

            manager.After(5_000 * Ms, () =>
            {
                if (over) return;
                over = true;
                then(answers);
            });
        }

        private void Look(CommandQueue queue, int head, WatchPath watch, PathMove path, PathWatcher watcher, PathQuestion question,
            Action<MoveInput?> finish)
        {
            if (_stopped || queue.Head != head)
            {
                finish(null);
                return;
            }

            PeParty source = World.Pes[path.Source.Pe], target = World.Pes[path.Target.Pe];
            var asked = new List<(Party, Func<Box>)>();
            if (question.Source) asked.Add((source, () => new Box(source.Info(path.Id))));
            if (question.Target) asked.Add((target, () => new Box(target.Info(path.Id))));
            int pes = asked.Count;
            foreach (string name in question.Ingress)
            {
                IngressParty pe = World.Ingress[name];
                asked.Add((pe, () => new Box(null, path.Target.Prefixes.All(p => pe.WayTo(IpPrefix.Parse(p.Prefix)) == target) ? null
                    : "no direct path")));
            }

            AskAll([.. asked], answers =>
            {
                var ingress = new Dictionary<string, string?>(StringComparer.Ordinal);
                for (int i = 0; i < question.Ingress.Count; i++)
                {
                    if (answers[pes + i] is { } said) ingress[question.Ingress[i]] = said.Why;
                }

                MigrationInfo? at = question.Source ? answers[0]?.Info : null, there = question.Target ? answers[pes - 1]?.Info : null;
                var seen = new PathLook(at, there, ingress, SourceGone: MoveMachine.SourceIsGone(_state, path.Id));
                if (watcher.Take(seen, manager.Now, out PathQuestion next) is { } evidence) finish(new Seen(watch.Key, evidence));
                else manager.After(Math.Max(20, next.AfterMs) * Ms, () => Look(queue, head, watch, path, watcher, next, finish));
            });
        }

        private void Clean(WatchPath watch, Action<MoveInput?> finish)
        {
            PathMove path = _state.Plan.Paths.First(p => p.Id == watch.Path);
            string[] pes = _state.SourcesAsked ? [path.Source.Pe, path.Target.Pe] : [path.Target.Pe];
            AskAll([.. pes.Select(pe => ((Party)World.Pes[pe], (Func<string[]>)(() => [.. World.Pes[pe].LeftOver(path.Id)])))],
                left => finish(left.All(l => l is { Length: 0 }) ? new Seen(watch.Key, null) : null));
        }

        private void Watch(WatchServer watch, Action<MoveInput?> finish)
        {
            ServerMove server = _state.Plan.Servers.First(s => s.Name == watch.Server);
            (string here, string there) = watch.Kind == ServerWatch.RunsAtTarget ? (server.TargetHost, server.SourceHost)
                : (server.SourceHost, server.TargetHost);
            if (watch.Kind == ServerWatch.Mirrored)
            {
                AskAll<ServerInfo>([(World.Hosts[here], () => World.Hosts[here].Info(server.Name))],
                    at => finish(at[0] is { } info && info.Mirror is null or { Ready: true } ? new Seen(watch.Key, null) : null));
                return;
            }

            AskAll<ServerInfo>([(World.Hosts[here], () => World.Hosts[here].Info(server.Name)), (World.Hosts[there], ()
                => World.Hosts[there].Info(server.Name))],
                at => finish(at[0] is { } one && at[1] is { } two && ServerProofs.WhyNot(here, one, there, two, watch.Epoch) is null
                    ? new Seen(watch.Key, null) : null));
        }

        private sealed record Box(MigrationInfo? Info, string? Why = null);
    }
}
