using System.Diagnostics;
using System.Globalization;
using System.Net;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Report;
using SdnEdge.Demo.Run;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Moves;

/// <summary>What came of a move.</summary>
/// <param name="Id">The migration.</param>
/// <param name="To">The site that the group went to.</param>
/// <param name="State">How it ended.</param>
/// <param name="BlackoutMs">Longest time in which one of its servers stood still, by the hosts' clocks, milliseconds.</param>
/// <param name="NetworkMs">All stages but those in which servers stand still, milliseconds.</param>
/// <param name="TotalMs">From the first stage to the end of the last, milliseconds.</param>
/// <param name="Echo">Traffic of a client with all servers of the group, since the move before.</param>
/// <param name="Wrong">What must not be; empty = all is well.</param>
/// <param name="BlackoutsMs">How long each server stood still, milliseconds, least first.</param>
/// <param name="GapsMs">Longest time without an answer from an address, of each address, least first.</param>
/// <param name="MostAtOnce">Most moves on the way at once, by the journal.</param>
/// <param name="PlanMs">How long the planning of it took, milliseconds.</param>
internal sealed record MoveResult(
    string Id, string To, string State, double BlackoutMs, double NetworkMs, double TotalMs, EchoCount Echo, IReadOnlyList<string> Wrong,
    IReadOnlyList<double> BlackoutsMs, IReadOnlyList<double> GapsMs, int MostAtOnce, double PlanMs);

/// <summary>
/// Figure 1 with a group of several servers beside <c>vs</c> (<see cref="GroupLab"/>), whose groups move back and forth under traffic.
/// Each move ends with an inspection that does not rest on what the manager says: the servers' namespaces, the host agents, every PE.
/// </summary>
internal sealed class MoveRig : IAsyncDisposable
{
    private const string Client = "client-c";

    // Stages in which a server stands still, or may.
    private static readonly string[] s_dark = ["stop", "hand-over", "activate"];

    private static int s_rigs;

    private readonly string _folder;
    private readonly int _routed;
    private readonly Dictionary<string, PeClient> _pes;
    private readonly Dictionary<string, HostClient> _hosts;
    private readonly MmsClient _mms;

    private MoveRig(RunningLab lab, string folder, int routed)
    {
        (Lab, _folder, _routed) = (lab, folder, routed);
        _pes = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe)
            .ToDictionary(n => n.Name, n => PeClient.ForUnixSocket(lab.ApiSocket(n.Name), n.Name));
        _hosts = lab.Hosts.ToDictionary(h => h.Site, h => new HostClient(new ApiEndpoint(h.Node, lab.ApiSocket(h.Node))));
        _mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!)) { RequestTimeout = TimeSpan.FromSeconds(120) };
    }

    /// <summary>The lab.</summary>
    public RunningLab Lab { get; }

    /// <summary>The daemons of the lab, as clients of their APIs: PEs, hosts, manager.</summary>
    public IEnumerable<ApiClient> Daemons => [.. _pes.Values, .. _hosts.Values, _mms];

    /// <summary>Deploys the lab.</summary>
    /// <param name="figure1">The topology file of Figure 1.</param>
    /// <param name="servers">Servers of group <see cref="GroupLab.Group"/>.</param>
    /// <param name="program">How <c>sdnedge</c> is started; null: found by itself.</param>
    /// <param name="routed">Routed prefixes behind each of them.</param>
    public static async Task<MoveRig> StartAsync(string figure1, int servers, IReadOnlyList<string>? program = null, int routed = 0)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-moves-").FullName;
        try
        {
            string topology = GroupLab.Write(figure1, folder, servers, routed);
            string name = string.Create(CultureInfo.InvariantCulture, $"mv{Environment.ProcessId}-{Interlocked.Increment(ref s_rigs)}");
            var options = new LabOptions
            {
                Name = name, StateRoot = Path.Combine(folder, "labs"), RttMs = 40, ReadyTimeout = Patience.Long,
                Self = program ?? RunningLab.Self,
            };
            return new MoveRig(await LabRunner.DeployAsync(topology, options, CancellationToken.None), folder, routed);
        }
        catch
        {
            Directory.Delete(folder, recursive: true);
            throw;
        }
    }

    /// <summary>Begins traffic of a client with all servers of a group, by IPv4 and IPv6; returns when each address has answered.</summary>
    /// <param name="group">The group.</param>
    /// <param name="perSecond">Datagrams a second to each address.</param>
    public async Task<EchoTraffic> TrafficAsync(string group, double perSecond)
    {
        IPAddress[] addresses = group == GroupLab.Group && _routed > 0
            ? [.. Enumerable.Range(1, ServersOf(group).Count).SelectMany(n => GroupLab.AddressesOf(n, _routed).Select((a, k) => (a, k)))
                .OrderBy(a => a.k).Select(a => a.a)]
            : [.. ServersOf(group).SelectMany(s => Lab.Topology.Find(s)!.Server!.Addresses)
                .Select(a => IPAddress.Parse(a.Address.ToString()))];
        foreach (IPAddress address in addresses) await LabInstance.ReachAsync(Lab, Client, address.ToString());
        EchoTraffic traffic = EchoTraffic.Start(Lab, Client, addresses, TimeSpan.FromSeconds(1.0 / perSecond));
        await traffic.SettleAsync();
        return traffic;
    }

    /// <summary>Waits until a migration has ended, which the manager's events say.</summary>
    /// <exception cref="TimeoutException">It does not end.</exception>
    public static async Task<MigrationStatus> EndedAsync(MmsClient mms, string id)
    {
        using var end = new CancellationTokenSource(Patience.Long * 2);
        try
        {
            await foreach (EventRecord e in mms.EventsAsync(0, end.Token))
            {
                if (e.Kind == "migration" && e.Subject == id && e.Change is "moved" or "as-before" or "fenced" or "given-up") break;
            }
        }
        catch (OperationCanceledException)
        {
            // Said below.
        }

        MigrationStatus status = await mms.MigrationAsync(id);
        return status.Ended ? status
            : throw new TimeoutException($"migration {id} has not ended in {2 * Patience.Long.TotalSeconds} s: {Tell(status)}");
    }

    /// <summary>Moves a group to its other site, and inspects everything at the end.</summary>
    /// <param name="group">The group.</param>
    /// <param name="traffic">Traffic with it.</param>
    /// <param name="copyMs">How long the last copy of each server's state takes, milliseconds: the blackout is so much longer.</param>
    /// <param name="atOnce">Null: together. Else one by one, so many at once.</param>
    public async Task<MoveResult> MoveAsync(string group, EchoTraffic traffic, int copyMs, int? atOnce = null)
    {
        string from = await SiteAsync(group), to = _hosts.Keys.Single(s => s != from);
        var call = new MigrationCall(
            group, to, atOnce is null ? null : "one-by-one", CopyMs: copyMs, QuietMs: 100, AtOnce: atOnce);
        DropCount before = await DropCount.TakeAsync(Lab, _pes, CancellationToken.None);
        var asked = Stopwatch.StartNew();
        string id = (await _mms.StartAsync(call)).Id;
        double planMs = asked.Elapsed.TotalMilliseconds;
        MigrationStatus status = await EndedAsync(_mms, id);
        IReadOnlyList<EchoCount> each = await traffic.SettleEachAsync();
        EchoCount echo = EchoTraffic.Sum(each);
        List<string> wrong = await InspectAsync(group, status, from, to);
        if (echo.Lost > 0)
        {
            IReadOnlyList<DropReport> drops = (await DropCount.TakeAsync(Lab, _pes, CancellationToken.None)).Since(before);
            wrong.Add($"{echo.Lost} of {echo.Sent} datagrams have no answer; dropped meanwhile: {string.Join(", ", drops)}");
        }

        if (echo.Duplicated > 0) wrong.Add($"{echo.Duplicated} answers came twice");
        StageTime[] stages = [.. status.Moves.SelectMany(m => m.Timeline)];
        double[] dark = [.. status.Moves.SelectMany(m => m.Servers)
            .Select(s => s is { StoppedAtNs: { } stopped, RunningAtNs: { } running } ? (running - stopped) / 1e6 : 0).Order()];
        int most = await MostAtOnceAsync(id);
        if (most > (atOnce ?? 1)) wrong.Add($"{most} moves were on the way at once");
        return new MoveResult(
            id, to, status.State, dark[^1], stages.Where(s => !s_dark.Contains(s.Stage)).Sum(s => s.EndNs - s.StartNs) / 1e6,
            (stages.Max(s => s.EndNs) - stages.Min(s => s.StartNs)) / 1e6, echo, wrong, dark, [.. each.Select(c => c.LongestGapMs).Order()],
            most, planMs);
    }

    /// <summary>The migrations of the manager's journal, record by record, from its file.</summary>
    public async Task<IReadOnlyList<(JournalRecord Record, ManagerState After)>> JournalAsync()
    {
        var all = new List<(JournalRecord, ManagerState)>();
        await using SqliteJournal journal = await SqliteJournal.OpenReadOnlyAsync(Path.Combine(Lab.Folder, "mms.db"));
        ManagerState state = ManagerState.Empty;
        foreach (JournalRecord record in await journal.ReadAsync(0, int.MaxValue, CancellationToken.None))
        {
            state = ManagerMachine.Step(state, JournalCodec.Read(record), record.NowNs, record.At);
            all.Add((record, state));
        }

        return all;
    }

    private async Task<int> MostAtOnceAsync(string id)
        => (await JournalAsync()).Max(r => r.After.Migrations.TryGetValue(id, out MigrationState? m) ? m.Running.Count() : 0);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (ApiClient daemon in Daemons) daemon.Dispose();
        await Lab.DestroyAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private IReadOnlyList<string> ServersOf(string group) => Lab.Groups.Single(g => g.Name == group).Servers;

    private async Task<string> SiteAsync(string group)
        => await Lab.LocateAsync(ServersOf(group)[0])
            ?? throw new InvalidOperationException($"before a move {ServersOf(group)[0]} must be live at one site");

    private async Task<List<string>> InspectAsync(string group, MigrationStatus status, string from, string to)
    {
        var wrong = new List<string>();
        if (status.State != "moved") wrong.Add($"it ended {Tell(status)}");
        string home = status.State == "moved" ? to : from, away = home == to ? from : to;
        Dictionary<string, ServerInfo> here = await ServersAsync(home), there = await ServersAsync(away);
        foreach (string server in ServersOf(group))
        {
            if (await Lab.LocateAsync(server) is var site && site != home)
                wrong.Add($"{server} is live at {site ?? "no site"}, not at {home}");
            long epoch = status.Moves.Last(m => m.Servers.Any(s => s.Name == server)).Epoch;
            if (here[server] is not { State: ServerState.Running } run || run.MayRun != epoch)
                wrong.Add($"at {home}: {here[server]}");
            if (there[server] is not { State: ServerState.Absent, MayRun: null }) wrong.Add($"at {away}: {there[server]}");
        }

        foreach ((string name, PeClient pe) in _pes)
        {
            wrong.AddRange((await pe.TunnelsAsync()).Select(t => $"{name} still has tunnel {t.Name}"));
            wrong.AddRange((await pe.GroupsAsync()).Select(g => $"{name} still has group {g.Name} ({g.Active})"));
            foreach (MigrationInfo m in await pe.MigrationsAsync())
            {
                if (m.State is not (PeMigrationState.TornDown or PeMigrationState.Aborted))
                    wrong.Add($"{name} still has migration {m.Id} ({m.State})");
                if (m.Hold is not null) wrong.Add($"{name} still has a hold of {m.Id} ({m.Hold.PacketsHeldNow} packets)");
                long kept = m.Order?.Gates.Sum(g => g.PacketsHeldNow) ?? 0;
                if (kept > 0) wrong.Add($"gates of {m.Id} at {name} still keep {kept} packets");
            }
        }

        return wrong;

        async Task<Dictionary<string, ServerInfo>> ServersAsync(string site)
            => (await _hosts[site].ServersAsync()).ToDictionary(s => s.Name, StringComparer.Ordinal);
    }

    private static string Tell(MigrationStatus m) => $"{m.State} in {m.Stage}: {m.Failure ?? "no failure"}; "
        + string.Join("; ", m.Waiting.Select(w => $"{w.Step}: {w.Reason} {w.Detail}"));
}
