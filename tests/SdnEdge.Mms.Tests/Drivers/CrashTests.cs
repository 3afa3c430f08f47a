using System.Collections.Concurrent;
using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Etcd;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>
/// The manager dies before and after every record that it writes, and before and after every command that it gives: at each of them once,
/// with the journal on a disk (<see cref="CrashPoint"/>). What the next manager finds is what SIGKILL leaves: the journal's files as they
/// are, and parties that have carried out what had reached them. Every case must end moved or as before, never with two servers live.
/// Real processes, killed by SIGKILL at every stage: <c>./build.sh bench kills Manager</c>.
/// </summary>
public sealed class CrashTests(EtcdServer etcd, ITestOutputHelper output) : IClassFixture<EtcdServer>, IDisposable
{
    // Most of the time a case waits: for a sync, for the time between two looks.
    private const int AtOnce = 12;

    // A manager that forgets stands still for ever; a whole one needs a fraction of a second.
    private static readonly TimeSpan s_forBroken = TimeSpan.FromSeconds(5);

    private readonly string _folder = Directory.CreateTempSubdirectory("crash-").FullName;
    private int _files;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Places))]
    public Task A_move_ends_moved_wherever_its_manager_dies(string at)
        => EverywhereAsync(Scenario.Move, Enum.Parse<CrashAt>(at), MigrationOutcome.Moved);

    // The operator's abort comes when one server stands still and the other is about to.
    [Theory]
    [MemberData(nameof(Places))]
    public Task A_move_that_is_aborted_ends_as_before_wherever_its_manager_dies(string at)
        => EverywhereAsync(Scenario.Abort, Enum.Parse<CrashAt>(at), MigrationOutcome.AsBefore);

    // Three members, two of them on the way at once: several runners, pivots and undos between the records.
    [Theory]
    [MemberData(nameof(Places))]
    public Task Two_at_once_of_three_end_moved_wherever_their_manager_dies(string at)
        => EverywhereAsync(Scenario.AtOnce, Enum.Parse<CrashAt>(at), MigrationOutcome.Moved);

    [Theory]
    [MemberData(nameof(Places))]
    public Task Two_at_once_that_are_aborted_end_as_before_wherever_their_manager_dies(string at)
        => EverywhereAsync(Scenario.AtOnceAbort, Enum.Parse<CrashAt>(at), MigrationOutcome.AsBefore);

    // After the pivot: the target cannot start it, says so for ever, and the source is granted the next epoch (R5).
    [Theory]
    [MemberData(nameof(Places))]
    public Task A_move_whose_target_cannot_start_ends_as_before_wherever_its_manager_dies(string at)
        => EverywhereAsync(Scenario.Void, Enum.Parse<CrashAt>(at), MigrationOutcome.AsBefore);

    // A service without state: no host has a word in it, and the PEs' epochs are the only fence.
    [Theory]
    [MemberData(nameof(Places))]
    public Task A_service_without_state_ends_moved_wherever_its_manager_dies(string at)
        => EverywhereAsync(Scenario.Service, Enum.Parse<CrashAt>(at), MigrationOutcome.Moved);

    [Theory]
    [MemberData(nameof(Places))]
    public Task A_service_whose_move_is_aborted_ends_as_before_wherever_its_manager_dies(string at)
        => EverywhereAsync(Scenario.ServiceAbort, Enum.Parse<CrashAt>(at), MigrationOutcome.AsBefore);

    // All of it once more with the journal in etcd. The next life leads because the lease of the one before is gone.
    [Theory]
    [MemberData(nameof(AllOnEtcd))]
    public Task With_its_journal_in_etcd_it_ends_the_same_wherever_its_manager_dies(string scenario, string at)
    {
        Scenario what = Enum.Parse<Scenario>(scenario);
        return EverywhereAsync(what, Enum.Parse<CrashAt>(at),
            what is Scenario.Move or Scenario.Service or Scenario.AtOnce ? MigrationOutcome.Moved : MigrationOutcome.AsBefore,
            inEtcd: true);
    }

    // The checks above, against a manager that is broken: without a crash it does well, and at one of the crashes they see it.
    [Theory]
    [InlineData(Broken.CommandsBeforeSync, CrashAt.AfterCommand, "the journal is older than what PEs and hosts know")]
    [InlineData(Broken.OpenCommandsForgotten, CrashAt.AfterCommand, "not over after")]
    [InlineData(Broken.OpenCommandsForgotten, CrashAt.BeforeCommand, "not over after")]
    internal async Task A_broken_manager_is_found_out_at_one_of_its_deaths(Broken how, CrashAt at, string says)
    {
        Assert.Null(await CaseAsync(Scenario.Move, at, int.MaxValue, MigrationOutcome.Moved, how));
        string? found = null, died = "";
        for (int k = 0; found is null && died is not null; k++)
        {
            try
            {
                died = await CaseAsync(Scenario.Move, at, k, MigrationOutcome.Moved, how);
            }
            catch (XunitException e)
            {
                found = e.Message;
            }
        }

        output.WriteLine(found);
        Assert.True(found is not null, "a whole move, and no death showed it");
        Assert.Contains(says, found, StringComparison.Ordinal);
    }

    // R8. The old manager stands still with its pivot decided on and not written; the next one has the move aborted, and then the old one
    // goes on.
    [Theory]
    [InlineData(Broken.No)]
    [InlineData(Broken.AppendsAnywhere)]
    public async Task A_pivot_behind_an_abort_is_refused_and_without_its_position_two_servers_run(Broken how)
    {
        var parties = new ScriptedParties(new ScriptedJournal());
        MovePlan plan = Plans.Move(["s1"]);
        await using SqliteJournal disk = await SqliteJournal.OpenAsync(NextFile(), create: true);
        var pivot = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        IJournal door = how == Broken.AppendsAnywhere ? new AnywhereJournal(disk) : disk;
        await using ManagerService old = await ManagerService.StartAsync(
            new WatchedJournal(
                door,
                async entries =>
                {
                    if (!entries.Any(e => e.Body.Contains("stop s1", StringComparison.Ordinal))) return;
                    pivot.TrySetResult();
                    await goOn.Task;
                },
                _ => Task.CompletedTask), parties);
        _ = old.PostAsync(_ => Plans.Request(Cutover.Together, plan), "user ops");
        await pivot.Task.WaitAsync(Patience.Time);

        // The next manager's own stop is not answered before its abort, or it would come to a pivot of its own.
        parties.Keep("stop s1");

        // So that it is not a matter of which of its two orders the next one gives first.
        if (how == Broken.AppendsAnywhere) parties.Keep("cancel s1");

        // The undo is on record; before the next manager acts on it the old one goes on, to its end or to a server that runs.
        var runs = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        old.Changed += (_, after, _) =>
        {
            if (!after.Migrations["m1"].Current.Running.IsEmpty) runs.TrySetResult();
        };
        await using ManagerService next = await ManagerService.StartAsync(
            new WatchedJournal(
                disk, _ => Task.CompletedTask,
                async entries =>
                {
                    if (!entries.Any(e => e.Input == "abort-requested")) return;
                    goOn.TrySetResult();
                    await Task.WhenAny(runs.Task, old.Ended).WaitAsync(Patience.Time);
                }), parties);
        var over = new TaskCompletionSource<MigrationState>(TaskCreationOptions.RunContinuationsAsynchronously);
        var takenUp = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        next.Changed += (_, after, input) =>
        {
            if (input is MoveHappened { Input: TakenUp }) takenUp.TrySetResult();
            if (after.Migrations["m1"] is { Outcome: not null } ended) over.TrySetResult(ended);
        };
        if (next.WhyHeld("m1") is not null) await takenUp.Task.WaitAsync(Patience.Time);
        await next.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "changed my mind")), "user ops");
        await Task.WhenAny(over.Task, next.Ended).WaitAsync(Patience.Time);
        if (how == Broken.No)
        {
            await Assert.ThrowsAsync<JournalConflictException>(() => old.Ended);
            await CheckAsync(next, parties, [plan], MigrationOutcome.AsBefore, "two managers");
            return;
        }

        Assert.Contains(parties.Violations, v => v.StartsWith("s1 runs at two places", StringComparison.Ordinal));
    }

    public static TheoryData<string, string> AllOnEtcd()
    {
        var all = new TheoryData<string, string>();
        foreach (string scenario in Enum.GetNames<Scenario>())
        {
            foreach (string at in Enum.GetNames<CrashAt>()) all.Add(scenario, at);
        }

        return all;
    }

    public static TheoryData<string> Places => new(Enum.GetNames<CrashAt>());

    private async Task EverywhereAsync(Scenario scenario, CrashAt at, MigrationOutcome outcome, bool inEtcd = false)
    {
        var died = new ConcurrentDictionary<int, string>();
        int next = -1, end = int.MaxValue;
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(_ => Task.Run(async () =>
        {
            // Up to the first one that a whole migration does not come to.
            for (int k; (k = Interlocked.Increment(ref next)) < Volatile.Read(ref end);)
            {
                bool well = false;
                try
                {
                    if (await CaseAsync(scenario, at, k, outcome, inEtcd: inEtcd) is { } what) died[k] = what;
                    else Volatile.Write(ref end, Math.Min(end, k));
                    well = true;
                }
                finally
                {
                    if (!well) Volatile.Write(ref end, -1);   // the first that fails is enough
                }
            }
        })));
        output.WriteLine($"{scenario}, {at}: died at {died.Count}");
        foreach ((int k, string what) in died.OrderBy(d => d.Key)) output.WriteLine($"  {k,3} {what}");

        // All of them in turn, and of a whole migration: its shortest has six appends and ten commands. The network alone has eight; when
        // it is taken back, five.
        int least = (scenario, at is CrashAt.BeforeAppend or CrashAt.AfterAppend) switch
        {
            (Scenario.Service, false) => 8,
            (Scenario.ServiceAbort, _) => 5,
            (_, true) => 6,
            _ => 10,
        };
        Assert.True(died.Count >= least, $"only {died.Count} places");
        Assert.Equal(Enumerable.Range(0, end), died.Keys.Where(k => k < end).Order());
    }

    // Returns at what the first life died; null: it did not.
    private async Task<string?> CaseAsync(
        Scenario scenario, CrashAt at, int number, MigrationOutcome outcome, Broken how = Broken.No, bool inEtcd = false)
    {
        var issued = new ConcurrentDictionary<string, int>(StringComparer.Ordinal);
        var parties = new ScriptedParties(new ScriptedJournal());
        if (scenario == Scenario.Void) parties.Failures["activate s1"] = ScriptedParties.Refusal("wrong-state");
        MovePlan plan = scenario is Scenario.Service or Scenario.ServiceAbort ? Plans.Stateless(["sip"])
            : Plans.Move(scenario == Scenario.Void ? ["s1"] : ["s1", "s2"]);
        MigrationRequested request = Plans.Request(Cutover.Together, plan);
        if (scenario is Scenario.AtOnce or Scenario.AtOnceAbort)
        {
            request = Plans.Request(
                Cutover.OneByOne, Plans.Move(["s1"]), Plans.Move(["s2"], firstPath: 2), Plans.Move(["s3"], firstPath: 3));
            request = request with { Request = request.Request with { AtOnce = 2 } };
        }
        var life = new CrashPoint(at, number);
        await using ICrashDisk disk = inEtcd ? await EtcdCrashDisk.OpenAsync(etcd, $"/crash/{Guid.NewGuid():N}")
            : await FileCrashDisk.OpenAsync(NextFile);
        string? died = null;
        int lives = 1;
        while (true)
        {
            IParties seen = life.Parties(parties);
            if (how == Broken.OpenCommandsForgotten) seen = new ForgetfulParties(seen, issued, lives);
            var door = new AbortAtStop(seen, scenario is Scenario.Abort or Scenario.ServiceAbort or Scenario.AtOnceAbort);
            IJournal journal = life.Journal(disk.Journal);
            if (how == Broken.CommandsBeforeSync) journal = new LateJournal(journal);
            ManagerService manager = await ManagerService.StartAsync(journal, door);
            door.Manager.SetResult(manager);
            TimeSpan patience = how == Broken.OpenCommandsForgotten && lives > 1 ? s_forBroken : Patience.Time;
            if (await EndedAsync(manager, life, request, $"{scenario}, {at} {number}", patience))
            {
                await CheckAsync(manager, parties, request.Moves, outcome, $"{scenario}, {at} {number} ({died ?? "lived"})");
                await manager.DisposeAsync();
                if (journal is LateJournal late) await late.FlushAsync();
                IReadOnlyList<JournalRecord> records = await disk.Journal.ReadAsync(0, 10_000, default);
                Assert.Equal(outcome, Story.Fold(records).Migrations["m1"].Outcome);
                return died;
            }

            // The dead life is left as it is: it never comes through its doors again. Its files are the next one's.
            await life.QuietAsync();
            died ??= at is CrashAt.BeforeAppend or CrashAt.AfterAppend ? life.Appends[number] : life.Commands[number];
            await disk.NextLifeAsync();

            // The second life dies, too, early on: while it takes up what it found. The third one does not.
            life = ++lives == 2 ? new CrashPoint(at, number % 3) : new CrashPoint();
        }
    }

    // Asks for the move where it is not on record, as its client does. False: the manager died.
    private static async Task<bool> EndedAsync(
        ManagerService manager, CrashPoint life, MigrationRequested request, string what, TimeSpan patience)
    {
        if (!manager.State.Migrations.ContainsKey("m1"))
            _ = manager.PostAsync(state => state.Migrations.IsEmpty ? request : null, "user ops");
        var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Look(ManagerState state)
        {
            if (state.Migrations.TryGetValue("m1", out MigrationState? m) && m.Outcome is not null) over.TrySetResult();
        }

        void OnChanged(ManagerState before, ManagerState after, ManagerInput input) => Look(after);

        manager.Changed += OnChanged;
        Look(manager.State);
        Task? first = null;
        try
        {
            first = await Task.WhenAny(over.Task, life.Died, manager.Ended, manager.FoundOld).WaitAsync(patience);
        }
        catch (TimeoutException)
        {
            // Told below.
        }

        manager.Changed -= OnChanged;
        if (first == manager.Ended && manager.Ended.IsFaulted && !life.Died.IsCompleted) await manager.Ended;
        if (first == over.Task || life.Died.IsCompleted) return !life.Died.IsCompleted;
        Assert.Fail($"{what}: not over after {patience.TotalSeconds} s; {manager.State.Migrations.GetValueOrDefault("m1")?.Current.Stage}; "
            + $"{manager.Fault}; {string.Join(", ", manager.WaitingOf("m1"))}");
        return false;
    }

    private static async Task CheckAsync(
        ManagerService manager, ScriptedParties parties, IReadOnlyList<MovePlan> plans, MigrationOutcome outcome, string what)
    {
        MigrationState migration = manager.State.Migrations["m1"];
        Assert.True(outcome == migration.Outcome, $"{what}: {migration.Outcome}: {migration.Failure}");
        Assert.True(parties.Violations.Count == 0, $"{what}: {string.Join("; ", parties.Violations)}");
        Assert.DoesNotContain(migration.Moves, m => m.Outcome is null);
        foreach (MovePlan plan in plans) await CheckAsync(manager, parties, plan, outcome, what);
    }

    private static async Task CheckAsync(
        ManagerService manager, ScriptedParties parties, MovePlan plan, MigrationOutcome outcome, string what)
    {
        MigrationState migration = manager.State.Migrations["m1"];
        bool moved = outcome == MigrationOutcome.Moved;

        // One that had not begun has no epoch, and was asked nothing.
        if (migration.Moves.FindLast(m => m.Plan.Names.SequenceEqual(plan.Names)) is not { } last)
        {
            Assert.True(outcome == MigrationOutcome.AsBefore, what);
            Assert.False(manager.State.GroupOf("shop").Owners.ContainsKey(plan.Names.First()), what);
            return;
        }

        foreach (ServerMove server in plan.Servers)
        {
            ServerInfo here = await parties.ServerAsync(moved ? server.TargetHost : server.SourceHost, server.Name, default),
                there = await parties.ServerAsync(moved ? server.SourceHost : server.TargetHost, server.Name, default);
            Assert.True(here.State == ServerState.Running && here.MayRun == last.Epoch, $"{what}: {here}");
            Assert.True(there is { State: ServerState.Absent, MayRun: null }, $"{what}: {there}");
            Assert.True(new Ownership(moved ? plan.To : plan.From, last.Epoch)
                == manager.State.GroupOf("shop").Owners[server.Name], $"{what}: the journal has another owner of {server.Name}");
        }

        foreach (string service in plan.Services ?? [])
        {
            Assert.True(new Ownership(moved ? plan.To : plan.From, last.Epoch)
                == manager.State.GroupOf("shop").Owners[service], $"{what}: the journal has {service} elsewhere");
        }

        Assert.True(plan.Services is null || migration.Moves.All(m => m.Orders.IsEmpty), $"{what}: a host was asked");
        foreach (string pe in plan.Paths.SelectMany(p => (string[])[p.Source.Pe, p.Target.Pe]))
            Assert.True((await parties.LeftOverAsync(pe, plan.Paths[0].Id, default)).Count == 0, $"{what}: {pe} has something left");
    }

    private string NextFile() => Path.Combine(_folder, $"{Interlocked.Increment(ref _files)}.db");

    private enum Scenario
    {
        Move,
        Abort,
        Void,
        Service,
        ServiceAbort,
        AtOnce,
        AtOnceAbort,
    }

    // Before the second server is told to stop, an operator has the move aborted. It stands outside the life's doors: an abort is no
    // command.
    private sealed class AbortAtStop(IParties parties, bool abort) : IParties
    {
        /// <summary>Set when it is known.</summary>
        public TaskCompletionSource<ManagerService> Manager { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public async Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel)
        {
            if (abort && command is { Order: ServerOrder.Stop, Server: "s2" })
            {
                ManagerService manager = await Manager.Task.WaitAsync(cancel);
                await manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "changed my mind")), "user ops");
            }

            return await parties.OrderAsync(command, cancel);
        }

        // Where nothing is stopped: when the switch has been asked for.
        public async Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel)
        {
            if (abort && command is { Signal: SignalKind.Switch })
            {
                ManagerService manager = await Manager.Task.WaitAsync(cancel);
                if (manager.State.Migrations["m1"].Current.Plan.IsStateless)
                    await manager.PostAsync(_ => new MoveHappened("m1", new AbortRequested("user ops", "changed my mind")), "user ops");
            }

            return await parties.SignalAsync(command, cancel);
        }

        public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
            => parties.MigrationAsync(pe, path, wait, cancel);

        public Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel)
            => parties.WhyNotDirectAsync(pe, path, cancel);

        public Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel) => parties.LeaseAsync(command, cancel);

        public Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel) => parties.TellsAsync(path, cancel);

        public Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
            => parties.LeftOverAsync(pe, path, cancel);

        public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel)
            => parties.ServerAsync(host, server, cancel);
    }
}
