using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Web;

namespace SdnEdge.Mms.Api;

/// <summary>
/// The manager as a daemon. Started in this order: 1. the journal is opened and locked, 2. its records are folded and what is open in them
/// is taken up, once its parties have said that they know of nothing later, 3. the API listens. Stopped in the other order.
/// <para>
/// Where the journal is in etcd it is one of several managers: the API listens at once, and 1 and 2 are done whenever this one begins to
/// lead. While another one leads it sends all callers there; while nobody does it answers what it has read.
/// </para>
/// </summary>
public sealed partial class MmsDaemon : IAsyncDisposable
{
    private readonly MmsConfig _config;
    private readonly PartyClients _clients;
    private readonly IPlanView _view;
    private readonly string _incarnation = Guid.NewGuid().ToString("N")[..12];
    private readonly long _startedAt = Now;
    private readonly TaskCompletionSource<string> _foundOld = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Seat? _only;
    private readonly EtcdSeat? _several;
    private ApiServer? _api;

    // Exactly one of the two.
    private MmsDaemon(MmsConfig config, PartyClients clients, Seat? only, EtcdSeat? several)
    {
        (_config, _clients, _only, _several) = (config, clients, only, several);
        _view = new HttpPlanView(clients);
        if (only is not null)
        {
            Begin(only);
            return;
        }

        several!.Won += seat =>
        {
            Begin(seat);
            TellRole("leads", $"term {seat.Term!.Revision}, {seat.Journal.Length} records");
        };
        several.Gone += why => TellRole("standby", why);
    }

    /// <summary>Of several managers: this one begins or ceases to lead, in words.</summary>
    public event Action<string>? RoleChanged;

    /// <summary>Its API; null where its configuration gives it none.</summary>
    public ApiServer? Api => _api;

    /// <summary>What happened, for the event stream.</summary>
    public Web.EventLog Events { get; } = new();

    /// <summary>Ends with a sentence for people when the journal is found to be an old copy: nothing moves until it was
    /// recovered.</summary>
    public Task<string> FoundOld => _foundOld.Task;

    /// <summary>Ends when the manager can go on no more, with the reason.</summary>
    public Task Ended => _several?.Ended ?? _only!.Service.Ended;

    private static long Now => Stopwatch.GetTimestamp() * (1_000_000_000 / Stopwatch.Frequency);

    /// <summary>Starts a manager.</summary>
    /// <exception cref="JournalUnavailableException">The journal cannot be used; the message says why and what would be right.</exception>
    /// <exception cref="IOException">A certificate cannot be read, or the API's socket cannot be made.</exception>
    public static async Task<MmsDaemon> StartAsync(MmsConfig config, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        var clients = new PartyClients(config);
        var parties = new HttpParties(clients);
        IJournal? journal = null;
        MmsDaemon? daemon = null;
        try
        {
            if (config.Etcd is not null)
            {
                daemon = new MmsDaemon(config, clients, null, new EtcdSeat(config, parties));
            }
            else
            {
                journal = await SqliteJournal.OpenAsync(config.Journal, create: true, cancel);
                ManagerService service = await ManagerService.StartAsync(journal, parties, cancel);
                daemon = new MmsDaemon(config, clients, new Seat(journal, service, null), null);
            }

            daemon._api = await ApiServer.StartAsync(new ApiServerOptions(
                "SdnEdge migration manager", "Moves groups of servers between sites: all or none.", config.Api, ApiJson.Options,
                [ApiJson.Options.GetTypeInfo(typeof(MigrationCall)), ApiJson.Options.GetTypeInfo(typeof(AbortCall)),
                    ApiJson.Options.GetTypeInfo(typeof(ProtectCall)), ApiJson.Options.GetTypeInfo(typeof(FailoverCall)),
                    ApiJson.Options.GetTypeInfo(typeof(HoldOptions))],
                (app, checks, stopping) => MmsEndpoints.Map(app, daemon, checks, stopping))
            { MeterName = "SdnEdge.Mms" });
            return daemon;
        }
        catch
        {
            if (daemon is not null) await daemon.DisposeAsync();
            else if (journal is not null) await journal.DisposeAsync();
            clients.Dispose();
            throw;
        }
    }

    /// <summary>Has one of several managers try to lead; what <see cref="RoleChanged"/> tells begins here. Without an effect where there is
    /// only one.</summary>
    public void Campaign() => _several?.Start();

    /// <summary>The manager.</summary>
    public MmsNodeInfo Node()
    {
        Seat? seat = Current;
        string? fault = seat is null ? WhyNone() : seat.Service.Fault;
        var node = new MmsNodeInfo(
            _config.Name, typeof(MmsDaemon).Assembly.GetName().Version?.ToString(3) ?? "", _incarnation, _startedAt, fault is null, fault);
        if (_several is null) return node;
        return seat is { Term: { } term } ? node with { Role = "leader", Leader = _config.Name, Term = term.Revision }
            : node with { Role = "standby", Leader = _several.View.Leader?.Name, LeaderApi = _several.View.Leader?.Api };
    }

    /// <summary>Groups, by the journal.</summary>
    public IReadOnlyList<GroupInfo> Groups()
        => [.. _config.Groups.Select(g => StatusOf.Group(g, Known) with { Protection = ProtectionOf(Known, g.Name) })];

    /// <summary>All migrations, oldest first. Those that ended a while ago are without their moves.</summary>
    public IReadOnlyList<MigrationStatus> Migrations()
    {
        ManagerState state = Known;
        IEnumerable<MigrationStatus> all = state.Ended.Values.Select(StatusOf.Migration).Concat(state.Migrations.Values.Select(Status));
        return [.. all.OrderBy(m => m.Id.Length).ThenBy(m => m.Id, StringComparer.Ordinal)];
    }

    /// <summary>One migration, with its moves.</summary>
    /// <exception cref="ProblemException">There is none of that id, or the journal cannot be read.</exception>
    public async Task<MigrationStatus> MigrationAsync(string id, CancellationToken cancel = default)
    {
        if (Current is not { } seat)
        {
            ManagerState known = Known;
            if (known.Migrations.GetValueOrDefault(id) is { } whole) return Status(whole);
            return known.Ended.GetValueOrDefault(id) is { } ended ? StatusOf.Migration(ended) : throw Unknown(id);
        }

        try
        {
            return await seat.Service.FindAsync(id, cancel) is { } migration ? Status(migration) : throw Unknown(id);
        }
        catch (JournalUnavailableException e)
        {
            throw new ProblemException(Problems.Unavailable($"migration {id} cannot be read from the journal: {e.Message}"));
        }
    }

    /// <summary>A dry run.</summary>
    public async Task<PlanInfo> PlanAsync(MigrationCall call, CancellationToken cancel)
    {
        CheckCall(call);
        return (await Planner.PlanAsync(_config, _view, Lead.State, call, cancel)).Info;
    }

    /// <summary>Starts a migration; returns when it is on record.</summary>
    /// <exception cref="ProblemException">There are obstacles: all of them are in it.</exception>
    public async Task<MigrationStatus> StartAsync(MigrationCall call, string by, string? idempotencyKey, CancellationToken cancel)
    {
        CheckCall(call);
        CheckJournal();
        if (Again(idempotencyKey) is { } again) return await MigrationAsync(again, cancel);
        while (true)
        {
            PlanResult plan = await Planner.PlanAsync(_config, _view, Lead.State, call, cancel);
            if (plan.Request is null || plan.Moves.Count == 0) throw new ProblemException(Obstacles(call, plan.Info.Obstacles));
            string id = plan.Moves[0].Migration;
            ManagerState? after = await PostAsync(state =>
            {
                // What the plan rests on must still be so when it becomes a record.
                if (state.RunningOf(call.Group) is { } running)
                    throw new ProblemException(Obstacles(call, [new Obstacle("busy", call.Group, Planner.Busy(running))]));
                return id == ManagerMachine.IdOf(state.NextMigration)
                    ? new MigrationRequested(id, plan.Request, plan.Moves, by, idempotencyKey) : null;
            }, by);
            if (after is not null) return Status(after.Migrations[id]);
            if (Again(idempotencyKey) is { } other) return await MigrationAsync(other, cancel);
        }
    }

    /// <summary>Has a migration undone; returns when that is on record.</summary>
    /// <exception cref="ProblemException">There is none, or it cannot be undone any more.</exception>
    public async Task<MigrationStatus> AbortAsync(string id, AbortCall? call, string by)
    {
        CheckJournal();
        Find(id);
        IReadOnlyList<string> parties = call?.GiveUp ?? [];
        string text = call?.Why is { Length: > 0 } said ? said
            : parties.Count == 0 ? $"aborted by {by}" : $"{by} gave up {string.Join(", ", parties)}";
        try
        {
            ManagerState? after = await PostAsync(state =>
            {
                string? why = WhyNot(state, id, parties);
                if (why is not null)
                {
                    throw new ProblemException(Problems.WrongState(parties.Count == 0 ? $"migration {id} cannot be aborted: {why}"
                        : $"{string.Join(", ", parties)} cannot be given up in migration {id}: {why}"));
                }

                return new MoveHappened(id, parties.Count == 0 ? new AbortRequested(by, text) : new GiveUpRequested(by, text, parties));
            }, by);
            return await StatusAsync(id, after);
        }
        catch (MigrationHeldException e)
        {
            throw new ProblemException(Problems.Unavailable($"migration {id} is not taken up yet: {e.Message}"));
        }
    }

    /// <summary>Ends the trial of a migration.</summary>
    public async Task<MigrationStatus> CommitAsync(string id, string by)
    {
        CheckJournal();
        if (Find(id).Outcome != MigrationOutcome.Moved)
            throw new ProblemException(Problems.WrongState($"migration {id} has not moved its group; only one that has can be committed"));
        return await StatusAsync(id, await PostAsync(_ => new CommitRequested(id, by), by));
    }

    /// <summary>Moves the group of a migration back to where it was.</summary>
    public Task<MigrationStatus> RollbackAsync(string id, string by, CancellationToken cancel)
    {
        (MigrationRequest request, string from, MigrationOutcome? outcome, bool committed) = Find(id);
        if (outcome != MigrationOutcome.Moved)
            throw new ProblemException(Problems.WrongState($"migration {id} has not moved its group; there is nothing to move back"));
        if (committed)
        {
            throw new ProblemException(Problems.WrongState(
                $"migration {id} is committed; start a migration of {request.Group} to {from} instead"));
        }

        MoveOptions options = request.Options ?? new MoveOptions();
        return StartAsync(new MigrationCall(
            request.Group, from, Words.Of(request.Cutover), options.Hold, options.CopyMs, options.QuietMs, options.KeepOrder,
            options.OrderBoundMs, options.OthersHoldMs, options.MaxBlackoutMs, options.KeepTrying,
            AtOnce: request.Cutover == Cutover.OneByOne ? request.AtOnce ?? 1 : null, Bandwidth: request.Bandwidth), by, null, cancel);
    }

    /// <summary>Rebuilds owners and epochs from what PEs and hosts say, and begins to settle what is in doubt as was asked for.</summary>
    /// <exception cref="ProblemException">A migration runs, or who owns what is not known: nothing was recovered.</exception>
    public async Task<IReadOnlyList<GroupInfo>> RecoverAsync(RecoverCall? call, string by, CancellationToken cancel)
    {
        if (Lead.JournalFault is { } fault) throw new ProblemException(Problems.Unavailable(fault));
        ManagerState asked = Lead.State;
        if (Lead.OldJournal is null && asked.Migrations.Values.FirstOrDefault(m => m.Outcome is null) is { } running)
        {
            throw new ProblemException(Problems.WrongState(
                $"migration {running.Id} runs; recover is for a journal that has none that runs, or was found to be an old copy"));
        }

        Recovered found = await Recovery.AskAsync(_config, _view, asked, by, call?.Settle ?? new Dictionary<string, string>(), cancel);
        ManagerState? after = await PostAsync(state =>
        {
            // What began or moved while the parties were asked is not in what they said.
            bool same = ReferenceEquals(state.Groups, asked.Groups) && state.NextMigration == asked.NextMigration;
            return same ? found : throw new ProblemException(Problems.Conflict("nothing was recovered: a migration began meanwhile"));
        }, by);
        if (after is null) throw new ProblemException(Problems.WrongState("nothing was recovered: a migration runs"));
        Events.Add(Now, "journal", _config.Journal, "recovered", $"by {by}");
        return Groups();
    }

    /// <summary>Volumes of which something is on record, by name.</summary>
    public IReadOnlyList<VolumeMarkInfo> Volumes() =>
    [
        .. Known.Volumes.Select(v => StatusOf.Volume(v.Key, v.Value)).OrderBy(v => v.Name, StringComparer.Ordinal)
            .ThenBy(v => v.Volume),
    ];

    /// <summary>Takes a store's report; returns when it is on record.</summary>
    /// <exception cref="ProblemException">It is none, it is of an owner that is none any more, or the journal takes no
    /// records.</exception>
    public async Task<VolumeMarkInfo> ReportAsync(string id, StaleReport report, string by)
    {
        ArgumentNullException.ThrowIfNull(report);
        var errors = new List<ProblemError>();
        if (!Guid.TryParse(id, out Guid volume)) errors.Add(new ProblemError("{id}", $"'{id}' is no identity of a volume; send its UUID"));
        else if (volume != report.Volume) errors.Add(new ProblemError("/volume", $"is {report.Volume}, and the path says {volume}"));
        if (report.Epoch == 0) errors.Add(new ProblemError("/epoch", "0 is no epoch of an owner; send that of the grant, from 1"));
        if (report.Generation == 0) errors.Add(new ProblemError("/generation", "0 is no number of a report; send one from 1"));
        if (report.StaleFrom == 0)
            errors.Add(new ProblemError("/staleFrom", "0 is no sequence; send the first that may be missing, from 1"));
        if (report.Name is { Length: > 64 }) errors.Add(new ProblemError("/name", "is longer than 64 characters"));
        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("the report is not made rightly", errors));
        if (Lead.JournalFault is { } fault) throw new ProblemException(Problems.Unavailable(fault));
        var input = new StaleReported(volume, report.Epoch, report.Generation, report.StaleFrom, by, report.Name);

        // What changes nothing is on record already: each report before it was synced before the next was looked at.
        await PostAsync(state => VolumeMarks.WhyNot(state, input) is { } why
            ? throw new ProblemException(Problems.StaleEpoch($"volume {report.Name ?? id}: {why}")) : input, by);
        return StatusOf.Volume(volume, Lead.State.Volumes[volume]);
    }

    /// <summary>Metrics.</summary>
    public IReadOnlyList<MetricFamily> Metrics()
    {
        Seat? seat = Current;
        ManagerState state = seat?.Service.State ?? _several!.Followed;
        return
        [
            new("sdnedge_mms_migrations", "Migrations by state.", MetricKind.Gauge,
            [
                new(state.Migrations.Values.Count(m => m.Outcome is null), ("state", "running")),
                .. Enum.GetValues<MigrationOutcome>().Select(o => new MetricSample(
                    state.Migrations.Values.Count(m => m.Outcome == o) + state.Ended.Values.Count(e => e.Outcome == o),
                    ("state", Words.Of(o)))),
            ]),
            new("sdnedge_mms_journal_records", "Records in the journal.", MetricKind.Gauge,
                [new(seat?.Journal.Length ?? _several!.Position)]),
            new("sdnedge_mms_journal_up", "1 while the journal takes records.", MetricKind.Gauge,
                [new(seat is { Service.JournalFault: null } ? 1 : 0)]),
            new("sdnedge_mms_leader", "1 while this manager leads; always, where it is the only one.", MetricKind.Gauge,
                [new(seat is null ? 0 : 1)]),
            new("sdnedge_mms_stale_volumes", "Volumes whose replica is stale, on record: acknowledged writes are at one site alone.",
                MetricKind.Gauge, [new(state.Volumes.Values.Count(v => v.StaleFrom is not null))]),
            new("sdnedge_mms_journal_old", "1 while the journal is known to be an old copy: nothing moves.", MetricKind.Gauge,
                [new(seat?.Service.OldJournal is null ? 0 : 1)]),
        ];
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_api is not null) await _api.DisposeAsync();
        if (_several is not null) await _several.DisposeAsync();
        if (_only is not null) await _only.Service.DisposeAsync();
        _clients.Dispose();
        if (_only is not null) await _only.Journal.DisposeAsync();
    }

    /// <summary>Cancelled when this manager no longer leads. Only the leader publishes events of migrations; a stream from another manager
    /// would stay silent.</summary>
    /// <exception cref="ProblemException">This one does not lead.</exception>
    internal CancellationToken Leading => Current is { } seat ? seat.Term?.Lost ?? CancellationToken.None
        : throw new ProblemException(Problems.Standby(WhyNone()));

    private Seat? Current => _only ?? _several!.Current;

    // The loop of the manager that leads: this one.
    private ManagerService Lead => Current?.Service ?? throw new ProblemException(Problems.Standby(WhyNone()));

    // What can be read. While another manager leads its word is the newer one.
    private ManagerState Known => Current?.Service.State
        ?? (_several!.View.Leader is null ? _several.Followed : throw new ProblemException(Problems.Standby(WhyNone())));

    private string WhyNone()
    {
        ElectionView view = _several!.View;
        if (view.Fault is { } fault) return $"nothing moves: no manager is known to lead: {fault}";
        return view.Leader is { } leader
            ? $"{_config.Name} stands by; {leader.Name} leads{(leader.Api is { } api ? $": ask {api}" : "")}"
            : "nothing moves: no manager leads; in a moment one will";
    }

    private void Begin(Seat seat)
    {
        seat.Service.Changed += Tell;
        _ = TellOldAsync(seat.Service);
    }

    private void TellRole(string what, string why)
    {
        Events.Add(Now, "manager", _config.Name, what, why);
        RoleChanged?.Invoke($"{what}: {why}");
    }

    private async Task<ManagerState?> PostAsync(Func<ManagerState, ManagerInput?> decide, string actor)
    {
        try
        {
            return await Lead.PostAsync(decide, actor);
        }
        catch (ObjectDisposedException) when (_several is not null)
        {
            throw new ProblemException(Problems.Unavailable(
                $"{_config.Name} leads no more, and whether this is on record is not known; ask the manager that leads"));
        }
    }

    private MigrationStatus Status(MigrationState migration)
    {
        ManagerService? service = Current?.Service;
        return StatusOf.Migration(
            migration, service?.WaitingOf(migration.Id) ?? [],
            service?.VolumesOf(migration.Id) ?? new Dictionary<string, IReadOnlyList<ServerVolumeInfo>>(),
            w => Remedies.Of(service?.State ?? ManagerState.Empty, migration, w, _view.Now));
    }

    // As a step has left it; one that is a row is read from the journal.
    private Task<MigrationStatus> StatusAsync(string id, ManagerState? after)
        => after?.Migrations.GetValueOrDefault(id) is { } whole ? Task.FromResult(Status(whole)) : MigrationAsync(id);

    // What is in memory of every migration, whole or a row.
    private (MigrationRequest Request, string From, MigrationOutcome? Outcome, bool Committed) Find(string id)
    {
        ManagerState state = Lead.State;
        if (state.Migrations.GetValueOrDefault(id) is { } m) return (m.Request, m.Moves[0].Plan.From, m.Outcome, m.Committed);
        return state.Ended.GetValueOrDefault(id) is { } e ? (e.Request, e.From, e.Outcome, e.Committed) : throw Unknown(id);
    }

    private static ProblemException Unknown(string id)
        => new(Problems.NotFound($"there is no migration '{id}'; sdnedge migrate list (GET /v1/migrations) shows them"));

    private static string? WhyNot(ManagerState state, string id, IReadOnlyList<string> parties)
    {
        if (state.Ended.TryGetValue(id, out EndedMigration? ended))
            return parties.Count == 0 ? ManagerMachine.WhyNotAbort(ended.Outcome) : ManagerMachine.WhyNotGiveUp(ended.Outcome);
        MigrationState migration = state.Migrations[id];
        return parties.Count == 0 ? ManagerMachine.MayAbort(migration) : ManagerMachine.MayGiveUp(migration, parties);
    }

    private string? Again(string? idempotencyKey)
    {
        if (idempotencyKey is null) return null;
        ManagerState state = Lead.State;
        return state.Migrations.Values.FirstOrDefault(m => m.IdempotencyKey == idempotencyKey)?.Id
            ?? state.Ended.Values.FirstOrDefault(e => e.IdempotencyKey == idempotencyKey)?.Id;
    }

    private void CheckJournal()
    {
        if (Lead.Fault is { } fault) throw new ProblemException(Problems.Unavailable(fault));
    }

    private static void CheckCall(MigrationCall call)
    {
        var errors = new List<ProblemError>();
        if (string.IsNullOrEmpty(call.Group)) errors.Add(new ProblemError("/group", "is missing; GET /v1/groups lists them"));
        if (string.IsNullOrEmpty(call.To)) errors.Add(new ProblemError("/to", "is missing; name the site that the group goes to"));
        if (call.Cutover is not (null or "together" or "one-by-one")) errors.Add(new ProblemError("/cutover",
            $"'{call.Cutover}' is not known; together or one-by-one"));
        Range("/copyMs", call.CopyMs, 0);
        Range("/quietMs", call.QuietMs ?? 500, 1);
        Range("/orderBoundMs", call.OrderBoundMs ?? 1000, 1);
        Range("/othersHoldMs", call.OthersHoldMs, 0);
        Range("/maxBlackoutMs", call.MaxBlackoutMs ?? 1, 1, 600_000);
        if (call.AtOnce is < 1 or > 1000)
            errors.Add(new ProblemError("/atOnce", $"{call.AtOnce} is out of range; 1 to 1000 servers"));
        if (call.Bandwidth is < 1 or > 1_000_000)
            errors.Add(new ProblemError("/bandwidth", $"{call.Bandwidth} is out of range; 1 to 1000000 Mbit/s"));
        if (call.AtOnce is not null && call.Cutover != "one-by-one")
            errors.Add(new ProblemError("/atOnce", "belongs to cutover one-by-one; together all are on the way at once: leave it out"));
        if (call.Window is { } window && window.WhyNot() is { } wrong) errors.Add(new ProblemError("/window", wrong));
        if (errors.Count > 0) throw new ProblemException(Problems.BadRequest("the migration is not asked for rightly", errors));

        void Range(string pointer, int value, int least, int most = 60_000)
        {
            if (value < least || value > most)
                errors.Add(new ProblemError(pointer,
                    string.Create(CultureInfo.InvariantCulture, $"{value} is out of range; {least} to {most} milliseconds")));
        }
    }

    private static Problem Obstacles(MigrationCall call, IReadOnlyList<Obstacle> obstacles) => new(
        "/problems/obstacles", "The migration cannot be started", obstacles.Any(o => o.Reason == "busy") ? 409 : 422,
        $"{call.Group} cannot be moved to {call.To}: {obstacles.Count} obstacle{(obstacles.Count == 1 ? "" : "s")}; nothing was changed",
        [.. obstacles.Select(o => new ProblemError(o.Where, $"{o.Reason}: {o.Detail}"))]);

    private async Task TellOldAsync(ManagerService service)
    {
        string old = await service.FoundOld;
        Events.Add(Now, "journal", _config.Journal, "old", old);
        _foundOld.TrySetResult(old);
    }

    private static IEnumerable<string> Settled(ManagerState before, ManagerState after)
        => after.Migrations.Keys.Where(id => !before.Migrations.ContainsKey(id));

    // On the manager's loop: short.
    private void Tell(ManagerState before, ManagerState after, ManagerInput input)
    {
        if (input is StaleReported report)
        {
            Events.Add(Now, "volume", report.Name ?? $"{report.Volume}", report.StaleFrom is null ? "whole" : "stale", report.StaleFrom
                is { } from ? $"its replica lacks acknowledged writes from sequence {from} on, epoch {report.Epoch}, by {report.By}"
                : $"its replica has everything again, epoch {report.Epoch}, by {report.By}");
            return;
        }

        TellProtections(before, after);
        string? id = input switch
        {
            MoveHappened m => m.Migration,
            MigrationRequested r => r.Id,
            FailoverRequested r => r.Id,
            Recovered { Settled: not null } => Settled(before, after).FirstOrDefault(),
            CommitRequested c => c.Migration,
            _ => null,
        };
        if (id is not null && input is CommitRequested) Events.Add(Now, "migration", id, "committed");
        if (id is null || !after.Migrations.TryGetValue(id, out MigrationState? now)) return;
        MigrationState? was = before.Migrations.GetValueOrDefault(id);
        long at = Now;
        if (was is null) Events.Add(at, "migration", id, "requested",
            $"{now.Request.Group} from {now.Moves[0].Plan.From} to {now.Request.To}, by {now.By}");
        for (int number = 1; number <= now.Moves.Count; number++)
        {
            (MoveState? then, MoveState move) = (number <= was?.Moves.Count ? was.MoveOf(number) : null, now.MoveOf(number));
            if (ReferenceEquals(then, move)) continue;
            string? whose = now.NumberFor(number) is null ? null : string.Join(", ", move.Plan.Names);
            string? why = whose is null || move.Failure is null ? whose ?? move.Failure : $"{whose}: {move.Failure}";
            if (then?.Stage != move.Stage && (move.Outcome is null || whose is null))
                Events.Add(at, "migration", id, Words.Of(move.Stage), why);
            if (move.TargetOwns && then is not { TargetOwns: true }) Events.Add(at, "migration", id, "pivot",
                $"{move.Plan.To} owns epoch {move.Epoch}{(whose is null ? "" : $" of {whose}")}");
        }

        if (now.Outcome is { } outcome && was?.Outcome is null) Events.Add(at, "migration", id, Words.Of(outcome), now.Failure);
    }
}
