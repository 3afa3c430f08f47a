using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Kills;

/// <summary>
/// The Figure 1 lab, whose server moves to and fro while one party after the other is killed, or cut off from the manager. Each case ends
/// with an inspection that does not rest on what the manager says: the server's namespace, the PEs, the host agents, and a client's ping.
/// </summary>
internal sealed class KillRig : IAsyncDisposable
{
    private const string Client = "client-c", Server = "vs", Address = "10.1.1.10";

    private readonly LabDaemons _lab;
    private readonly LegWatch _legs;

    private KillRig(LabDaemons lab) => (_lab, _legs) = (lab, new LegWatch(lab.Lab, Server, lab.Hosts));

    // The first use of each kind of request takes long on a busy machine, and the first case waits for none of it.
    private async Task WarmUpAsync()
    {
        await _lab.MigrationsAsync();
        await AbortAsync("none");
        using var enough = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));   // the stream has no end of its own
        try
        {
            await foreach (EventRecord e in _lab.Mms.EventsAsync(0, enough.Token))
                _ = new KillCase(Party.Manager, "mirror").IsDue(e.Change);
        }
        catch (OperationCanceledException)
        {
        }

        await _lab.AnswersAsync(Client, Address);
    }

    /// <summary>The lab.</summary>
    public RunningLab Lab => _lab.Lab;

    /// <summary>Deploys the lab. No PE damps moves in it, as the server moves more often than anybody's would.</summary>
    /// <param name="topology">The topology file of Figure 1; it and its folder are copied.</param>
    /// <param name="program">How <c>sdnedge</c> is started; null: found by itself.</param>
    public static async Task<KillRig> StartAsync(string topology, IReadOnlyList<string>? program = null)
    {
        var rig = new KillRig(await LabDaemons.StartAsync(topology, "kl", program, rttMs: 20));
        try
        {
            await rig.WarmUpAsync();
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Moves the server to its other site while etcd has no majority from a stage on: the members beside the managers that do not lead
    /// stand still. Nothing moves; when they go on, it does.
    /// </summary>
    public async Task<KillResult> WithoutMajorityAsync(string stage)
    {
        string from = _legs.Site ?? throw new InvalidOperationException("before the case the server must be live at one site");
        string to = _legs.Other(from);
        var what = new KillCase(Party.Manager, stage, Fault: Fault.Freeze);
        _legs.Begin();
        string[] known = await _lab.MigrationsAsync();
        int[] members = await _lab.MembersBesideLeaderAsync();   // known beforehand: the manager goes on meanwhile
        var watch = Stopwatch.StartNew();
        Task<EventRecord> due = _lab.StageAsync(known, stage, e => what.IsDue(e.Change));
        string id = await _lab.BeginAsync("vs", to, what.CopyMs, known);
        EventRecord hit = await due;
        var wrong = new List<string>();
        using var pings = new PingStream(Lab, Client, Address);
        string held = await _lab.WithoutMajorityAsync(members, async () =>
        {
            // What runs goes on: the server answers, or it is between two sites, maybe by an order that was under way: it stands still,
            // or its packets are held already.
            await Patience.UntilAsync(
                async () => _legs.Site is null || _legs.Stopped().Count > 0 || await LabInstance.AnswersAsync(Lab, Client, Address)
                    || await _lab.IsHeldAsync(),
                () => $"{Client} gets an answer from {Address}, which is live at {_legs.Site}");
            return _legs.Stopped().Count > 0 ? "no site" : _legs.Site ?? "no site";
        });
        MigrationStatus status = await _lab.UntilAsync($"migration {id} to end", c => _lab.Mms.MigrationAsync(id, c), m => m.Ended);
        double ms = watch.Elapsed.TotalMilliseconds;
        double answeredMs = await _lab.AnswersAsync(Client, Address);
        (int Sent, int Lost) lost = await pings.EndAsync();
        wrong.AddRange(await InspectAsync(what, hit.Change, null, status, from, to));
        return new KillResult(what, $"held at {held}", hit.Change, null, status.State, ms, _legs.DarkMs, answeredMs, lost, wrong);
    }

    /// <summary>Moves the server to its other site, with a fault on the way, and inspects everything at the end.</summary>
    public async Task<KillResult> RunAsync(KillCase what)
    {
        string from = _legs.Site ?? throw new InvalidOperationException("before the case the server must be live at one site");
        string to = _legs.Other(from);
        string node = what.Party == Party.Manager ? await _lab.LeaderAsync() : NodeOf(what.Party, from, to);
        _legs.Begin();
        using var pings = new PingStream(Lab, Client, Address);
        string[] known = await _lab.MigrationsAsync();
        var watch = Stopwatch.StartNew();
        Task<(string Hit, bool? Aborted)> strike = StrikeAsync(what, node, known);
        string id = await _lab.BeginAsync("vs", to, what.CopyMs, known);
        (string hit, bool? aborted) = await strike;
        MigrationStatus status = await _lab.UntilAsync($"migration {id} to end", c => _lab.Mms.MigrationAsync(id, c), m => m.Ended);
        double ms = watch.Elapsed.TotalMilliseconds;

        // A PE that was killed has its sessions again before the next case begins.
        if (what.Fault == Fault.Kill && what.Party is Party.SourcePe or Party.TargetPe) await _lab.BgpIsUpAsync();
        double answeredMs = await _lab.AnswersAsync(Client, Address);
        (int Sent, int Lost) lost = await pings.EndAsync();
        List<string> wrong = await InspectAsync(what, hit, aborted, status, from, to);
        return new KillResult(what, node, hit, aborted, status.State, ms, _legs.DarkMs, answeredMs, lost, wrong);
    }

    /// <inheritdoc cref="LabDaemons.TellAsync"/>
    public Task<string> TellAsync() => _lab.TellAsync();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _legs.DisposeAsync();
        await _lab.DisposeAsync();
    }

    private string NodeOf(Party party, string from, string to) => party switch
    {
        Party.SourcePe => PeOf(from),
        Party.TargetPe => PeOf(to),
        Party.SourceHost => HostOf(from),
        _ => HostOf(to),
    };

    private string PeOf(string site) => Lab.SitesOf(Server).First(s => s.Name == site).Pe!;

    private string HostOf(string site) => Lab.Hosts.First(h => h.Site == site).Node;

    // Waits for the case's stage by the manager's events, and does there what the case says. Returns the stage that it was.
    private async Task<(string Hit, bool? Aborted)> StrikeAsync(KillCase what, string node, string[] known)
    {
        Task<bool?>? abort = null;
        EventRecord e = await _lab.StageAsync(known, what.Stage, stage =>
        {
            if (abort is null && what.IsAbortDue(stage.Change)) abort = AbortAsync(stage.Subject);
            return (what.AbortAt is null || abort is not null) && what.IsDue(stage.Change);
        });
        if (what.AfterMs > 0) await Task.Delay(what.AfterMs);   // the moment of the kill
        if (what.Fault == Fault.Kill) await _lab.KillAsync(node);
        else if (what.Party == Party.Manager) await _lab.TakeOverAsync(node, freeze: what.Fault == Fault.Freeze);
        else await _lab.CutOffAsync(node, e.Subject, what.Until);
        return (e.Change, abort is null ? null : await abort);
    }

    // Whether the manager took it. Null: the answer was lost with it; how the migration ends shows what is on record.
    private async Task<bool?> AbortAsync(string migration)
    {
        try
        {
            await _lab.Mms.AbortAsync(migration, "a test");
            return true;
        }
        catch (ApiProblemException)
        {
            return false;
        }
        catch (ApiUnreachableException)
        {
            return null;
        }
    }

    private async Task<List<string>> InspectAsync(KillCase what, string hit, bool? aborted, MigrationStatus status, string from, string to)
    {
        var wrong = new List<string>();
        string[] stages = [.. status.Moves.SelectMany(m => m.Timeline).Select(t => t.Stage)];
        bool voided = stages.Contains("void"), pivoted = stages.Contains("hand-over") || stages.Contains("activate");
        if (status.State is not ("moved" or "as-before")) wrong.Add($"it ended {status.State}: {status.Failure}");
        if (aborted == true && status.State != "as-before" && !voided) wrong.Add($"the abort was taken, and it ended {status.State}");
        if (what.AbortAt is null && KillCase.AfterPivot.Contains(hit) && status.State != "moved" && !voided)
            wrong.Add($"after the pivot it ended {status.State}: {status.Failure}");
        if (what.Until is not null && status.State != "as-before")
            wrong.Add($"it was cut off until {what.Until}, and ended {status.State}");
        if (status.State == "as-before" && pivoted && !voided)
            wrong.Add("it was undone after the pivot, and the target was not asked to void the epoch");

        string home = status.State == "moved" ? to : from, away = home == to ? from : to;
        if (_legs.Site != home) wrong.Add($"{status.State}, and the server is live at {_legs.Site ?? "no site"}, not at {home}");
        wrong.AddRange(_legs.Stopped().Select(p => $"process {p.ProcessId} of the server stands still"));
        wrong.AddRange(_legs.Seen);

        // The host agents, each asked itself.
        ServerInfo here = await ServerAsync(home), there = await ServerAsync(away);
        if (here is not { State: ServerState.Running } || here.MayRun is null) wrong.Add($"at {home}: {here}");
        if (there is not { State: ServerState.Absent, MayRun: null }) wrong.Add($"at {away}: {there}");
        if (here.MayRun != status.Epoch) wrong.Add($"the epoch in force is {status.Epoch}, and the server runs under {here.MayRun}");
        foreach (string site in (string[])[from, to])
        {
            HostClient host = _lab.Hosts[HostOf(site)];
            long epoch = (await ServerAsync(site)).Epoch;
            if (status.State == "moved" && epoch != status.Epoch) wrong.Add($"{host.Name} has epoch {epoch}, not {status.Epoch}");
            if (epoch > 1)
            {
                await RefusesAsync($"{host.Name} an order of epoch {epoch - 1}",
                    c => host.OrderAsync(Server, ServerOrder.Resume, new ServerOrderRequest(epoch - 1, status.Id), c));
            }
        }

        wrong.AddRange(await _lab.LeftOverAsync());
        foreach (string site in (string[])[from, to])
        {
            PeClient pe = _lab.Pes[PeOf(site)];
            IReadOnlyList<MigrationInfo> migrations = await _lab.AskAsync($"migrations of {pe.Name}", c => pe.MigrationsAsync(c));
            foreach (string path in status.Moves.SelectMany(m => m.Paths).Select(p => p.Id))
            {
                if (migrations.FirstOrDefault(m => m.Id == path) is not { } known)
                {
                    if (status.State == "moved") wrong.Add($"{pe.Name} does not know migration {path}");
                    continue;
                }

                if (known.Epoch <= 1) continue;
                SignalKind late = site == from ? SignalKind.Switch : SignalKind.Release;
                var old = new SignalRequest(known.Epoch - 1);
                await RefusesAsync($"{pe.Name} a signal of epoch {old.Epoch}", c => pe.SignalAsync(path, late, old, c));
            }
        }

        return wrong;

        Task<ServerInfo> ServerAsync(string site)
            => _lab.AskAsync($"what {HostOf(site)} has", c => _lab.Hosts[HostOf(site)].ServerAsync(Server, c));

        async Task RefusesAsync<T>(string whom, Func<CancellationToken, Task<T>> ask)
        {
            try
            {
                await ask(CancellationToken.None);
                wrong.Add($"{whom}: accepted");
            }
            catch (ApiProblemException e)
            {
                if (e.Problem.Type != "/problems/stale-epoch") wrong.Add($"{whom}: {e.Problem.Type}: {e.Problem.Detail}");
            }
        }
    }
}
