using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// One run of the demo of an outage:
///   1. deploy the lab, see that every client reaches the server, start the probes and the look at the records of its disk,
///   2. protect the group; its source PE watches the server,
///   3. have a part fail without a farewell; the source PE switches by itself,
///   4. begin the fail-over as an operator does, unless the manager does it by itself; start a host's agent again that was killed,
///   5. wait until the server answers at the other site; it writes nothing there until its disk was read,
///   6. look at what the failed site has lost,
///   7. move the group home, as planned; wait until it is protected again,
///   8. stop the probes, read the disks of both sites, take the protection away, look for leftovers,
///   9. take the lab down, make the report, judge.
/// What goes wrong on the way is told in the report; the steps that need it are left out.
/// </summary>
internal sealed class OutageRun(OutageOptions options, DemoView view)
{
    private const string HomeFolder = "home";
    private static readonly TimeSpan s_before = TimeSpan.FromSeconds(10), s_after = TimeSpan.FromSeconds(2),
        s_caughtUp = TimeSpan.FromSeconds(60);

    /// <summary>Runs; the report is in the out folder when it returns.</summary>
    /// <exception cref="LabException">The lab cannot be deployed, a client does not reach the server, or the group cannot be
    /// protected.</exception>
    public async Task<DemoReport> RunAsync(CancellationToken cancel)
    {
        view.Say("deploying the lab");
        RunningLab lab = await LabRunner.DeployAsync(
            options.Topology, new LabOptions { Name = options.LabName, RttMs = options.RttMs, Progress = view.Say }, cancel);
        DirectoryInfo logs = Directory.CreateTempSubdirectory("sdnedge-demo-");
        OutageResult result;
        try
        {
            using var stage = new Stage(lab, options);
            result = await InLabAsync(stage, logs.FullName, cancel);
        }
        finally
        {
            logs.Delete(recursive: true);
            if (options.Keep)
            {
                view.Say($"the lab {lab.Name} is left running; 'sdnedge lab destroy --name {lab.Name}' ends it");
            }
            else
            {
                view.Say("taking the lab down");
                await lab.DestroyAsync();
            }
        }

        if (!options.Keep) result.Residue.AddRange(lab.Residue());
        return OutageReports.Write(result, options.Out, HomeFolder);
    }

    private async Task<OutageResult> InLabAsync(Stage at, string logs, CancellationToken cancel)
    {
        RunningLab lab = at.Lab;
        string here = await DemoRun.WhereAsync(lab, at.Server.Name, cancel);
        at.From = at.Server.Sites.FirstOrDefault(s => s.Name == here)
            ?? throw new LabException($"server {at.Server.Name} runs where the topology gives it no leg.");
        at.To = at.Server.Sites.First(s => s.Name != at.From.Name);
        view.Say("asking the server's echo from every client");
        string[] unreached =
            [.. lab.Ingresses.SelectMany(i => at.Server.Addresses.Select(a => PathCheck.WhyNot(lab, i, a))).OfType<string>()];
        if (unreached.Length > 0) throw new LabException($"the lab does not work: {string.Join("; ", unreached)}.");

        PeClient[] ends = [at.Pes[at.From.Pe], at.Pes[at.To.Pe]];
        PeSnapshot[] before = await Task.WhenAll(ends.Select(pe => PeSnapshot.TakeAsync(pe, cancel)));
        DropCount dropsBefore = await DropCount.TakeAsync(lab, at.Pes, cancel);
        var facts = new OutageFacts
        {
            Failed = options.Failed.ToString().ToLowerInvariant(), Policy = options.Policy, From = at.From.Name, To = at.To.Name,
        };

        // 1, 2.
        view.Say($"starting the probes: {options.Rate:N0} packets/s from {lab.Ingresses.Count} clients to the server, which sends each "
            + "back, and a TCP transfer");
        var rates = new ProbeRates(options.Rate, options.Rate, options.TcpBytesPerSecond);
        using var presence = new GuestPresence(lab, at.Server.Sites.Select(s => s.Node));
        using var records = new RecordWatch(lab, lab.Ingresses[0].Name, at.Server.Addresses[0]);
        using var fleet = new ProbeFleet(lab, at.Server, rates, logs);
        await fleet.StartAsync(cancel);
        await ProtectAsync(at, facts, cancel);
        view.Say($"{at.Group} is protected: {at.From.Pe} watches {at.Server.Addresses[0]}, {at.To.Pe} would hold its packets");
        await Task.Delay(s_before, cancel);

        // 3 to 7. The rest is done in any case.
        TcpResult? outageTcp = null;
        HomeMove? home = null;
        try
        {
            await FailAsync(at, facts, records, presence, cancel);
            await FailOverAsync(at, facts, cancel);
            await ComeUpAsync(at, facts, records, presence, cancel);
            await OldSiteAsync(at, facts, cancel);
            outageTcp = await fleet.NextTcpAsync(cancel);
            facts.TcpSurvived = outageTcp.Resets == 0 && outageTcp.WrongBytes == 0;
            home = await HomeAsync(at, facts, cancel);
        }
        catch (Exception e) when (e is LabException or ApiProblemException or ApiUnreachableException or ProbeException or IOException)
        {
            view.Say($"failed: {e.Message}");
            facts.Wrong.Add(e.Message);
        }

        // 8.
        view.Say("stopping the probes");
        FleetResult probes = await fleet.StopAsync(cancel);
        DropCount dropsAfter = await DropCount.TakeAsync(lab, at.Pes, cancel);
        StorageFacts? disks = await DisksAsync(at, facts, records, cancel);
        var residue = new List<string>();
        if (await UnprotectedAsync(at, facts, cancel))
        {
            for (int i = 0; i < ends.Length; i++)
                residue.AddRange((await PeSnapshot.TakeAsync(ends[i], cancel)).Residue(before[i]));
        }

        return new OutageResult(facts, residue,
            await OutageAsync(at, facts, probes, rates, outageTcp, dropsAfter.Since(dropsBefore), cancel),
            home is null ? null : await HomeFactsAsync(at, facts, probes, rates, home, disks, cancel));
    }

    private async Task ProtectAsync(Stage at, OutageFacts facts, CancellationToken cancel)
    {
        var watch = new SiteWatch(at.From.Name, new WatchedPart(Neighbor: $"{at.Server.Addresses[0]}"));
        await at.Mms.ProtectAsync(
            at.Group, new ProtectCall(at.To.Name, options.Policy, options.Automatic ? true : null, [watch]), cancel);
        ProtectionInfo armed = await at.ProtectedAsync("armed", cancel);
        facts.Automatic = armed.Automatic;
    }

    // 3. What the source PE flips, and when, it says itself.
    private async Task FailAsync(Stage at, OutageFacts facts, RecordWatch records, GuestPresence presence, CancellationToken cancel)
    {
        ProtectionInfo armed = await at.ProtectedAsync("armed", cancel);
        facts.FalseAlarms = armed.Paths.Sum(p => p.Backup?.FalseAlarms ?? 0);
        facts.Owner = await at.Store(at.From.Name).VolumeAsync(at.Volume, cancel);
        presence.Begin();
        await Looks.UntilAsync($"the guest to be heard at {at.From.Node}", _ => Task.FromResult(presence.HeardAt(at.From.Node)), n => n > 0,
            cancel);
        facts.FailedNs = at.Failure.Kill(agent: options.Failed == FailedPart.Host);
        view.Say(options.Failed == FailedPart.Host
            ? $"killed: QEMU of {at.Server.Name} and the agent of {at.From.Node}, by SIGKILL; nobody is told"
            : $"killed: QEMU of {at.Server.Name} at {at.From.Node}, by SIGKILL; nobody is told");
        ProtectionInfo flipped = await Looks.UntilAsync($"{at.From.Pe} to switch by itself", c => at.Mms.ProtectionAsync(at.Group, c),
            p => p.State == "flipped" && p.Paths is [{ Backup.AcknowledgedAtNs: not null }, ..], cancel);
        facts.Backup = flipped.Paths[0].Backup;
        facts.First = records.Current;
        if (facts.Backup!.FlippedAtNs < facts.FailedNs)
            facts.Notes.Add($"{at.From.Pe} had switched already when it failed: a false alarm that was not over yet.");
        view.Say($"{at.From.Pe} has switched by itself, {Ms(facts, facts.Backup.AcknowledgedAtNs):0.0} ms after the failure; "
            + $"{at.To.Pe} holds");
    }

    // 4.
    private async Task FailOverAsync(Stage at, OutageFacts facts, CancellationToken cancel)
    {
        MigrationStatus begun;
        if (facts.Automatic)
        {
            view.Say("the manager begins the fail-over by itself when that lasts");
            begun = (await Looks.UntilAsync("the manager to begin the fail-over", at.Mms.MigrationsAsync,
                all => all is [.., { To: var to }] && to == at.To.Name, cancel))[^1];
        }
        else
        {
            FailoverInfo dry = await at.Mms.FailoverAsync(at.Group, new FailoverCall(at.To.Name, DryRun: true), cancel);
            foreach (string line in dry.Fence) view.Say($"dry run: fence: {line}");
            foreach (string line in dry.Loss) view.Say($"dry run: lost: {line}");
            foreach (string line in dry.Warnings) view.Say($"dry run: {line}");
            view.Say($"the operator: sdnedge failover start {at.Group} --to {at.To.Name}");
            FailoverInfo said = await at.Mms.FailoverAsync(at.Group, new FailoverCall(at.To.Name, Why: "demo outage"), cancel);
            begun = said.Migration ?? throw new LabException($"{at.Group} cannot come up at {at.To.Name}: "
                + string.Join("; ", said.Obstacles.Select(o => $"{o.Where}: {o.Reason}, {o.Detail}")));
        }

        facts.BegunNs = Monotonic.Now;
        string stage = "";
        MigrationStatus end = await Looks.UntilAsync($"fail-over {begun.Id} to end", async c =>
        {
            MigrationStatus now = await at.Mms.MigrationAsync(begun.Id, c);
            facts.Failover = now;
            if (now.State == "suspected" && facts.SuspectedNs is null)
            {
                facts.SuspectedNs = Monotonic.Now;
                view.Say($"suspected: {string.Join("; ", now.Waiting.Select(w => $"{w.Step}: {w.Detail ?? w.Reason}"))}");
                if (options.Failed == FailedPart.Host) await RestartAsync();
            }

            if (now.Stage != stage) view.Stage(stage = now.Stage);
            return now;
        }, m => m.Ended, cancel);
        if (end.State != "moved") throw new LabException($"fail-over {end.Id} ended {end.State}: {end.Failure}");

        // The manager says suspected when the host has not answered in time; one that has been fenced before was started again too early.
        async Task RestartAsync()
        {
            await Task.Delay(options.AgentAfter, cancel);
            view.Say($"starting the agent of {at.From.Node} again, as whoever repairs the host does");
            await at.Failure.StartAgentAsync(cancel);
            facts.AgentStartedNs = Monotonic.Now;
            facts.Notes.Add($"The host's agent was killed, and only it can say that the server is dead there (fence kill): the demo "
                + $"started it again {options.AgentAfter.TotalSeconds:0.#} s after the fail-over was suspected. A host that is gone for "
                + "good keeps the fail-over suspected; other fences are to come.");
        }
    }

    // 5. The disk that it came up from, before it has written much to it.
    private async Task ComeUpAsync(Stage at, OutageFacts facts, RecordWatch records, GuestPresence presence, CancellationToken cancel)
    {
        view.Say($"waiting until {at.Server.Name} tells of its records at {at.To.Name}, where it boots from its replica");
        facts.Second = await Waited(records.Second, "the guest to say its records after its boot", cancel);
        facts.Twice = presence.Twice(at.From.Node, at.To.Node);
        view.Say($"{at.Server.Name} answers at {at.To.Name}; reading the disk that it came up from");
        LabStore store = at.StoreOf(at.To.Name);
        BootLog first = facts.First ?? throw new LabException("the guest had said nothing of its records before it failed.");
        BootRecords read = await BootRecords.ReadAsync(
            at.Lab.NbdSocket(store.Node), at.Volume, first.Boot, first.Acknowledged, facts.Second.Boot, cancel);
        facts.Recovered = new RecoveredRecords(store.Node, read.Expected, read.Last, read.Lost, read.FirstLost, read.Damaged, read.Gaps,
            read.Overwritten, read.Hidden);
        view.Say($"{first.Acknowledged:N0} records were acknowledged to {at.Lab.Ingresses[0].Name} before; {read.Lost:N0} of them are "
            + $"lost; the last one there is number {read.Last:N0}");
        await records.GoOnAsync(cancel);
    }

    // 6.
    private async Task OldSiteAsync(Stage at, OutageFacts facts, CancellationToken cancel)
    {
        view.Say($"looking at what {at.From.Name} has lost");
        using var host = new HostClient(new ApiEndpoint(at.From.Node, at.Lab.ApiSocket(at.From.Node)));
        ServerInfo there = await host.ServerAsync(at.Server.Name, cancel);
        Found(there is { State: ServerState.Absent, MayRun: null } && at.Failure.Guests().Count == 0,
            $"the agent of {at.From.Node} starts nothing: {at.Server.Name} is {there.State.ToString().ToLowerInvariant()} there, may not "
            + $"run, epoch {there.VoidEpoch} is void for ever",
            $"{at.Server.Name} at {at.From.Node} is {there.State}, may run: {there.MayRun?.ToString() ?? "no"}, "
            + $"{at.Failure.Guests().Count} processes of QEMU");
        try
        {
            VolumeInfo old = await Looks.UntilAsync($"{at.StoreOf(at.From.Name).Node} to follow {at.StoreOf(at.To.Name).Node}",
                c => at.Store(at.From.Name).VolumeAsync(at.Volume, c),
                v => v is { Role: OwnerRole.Replica or OwnerRole.Released, Replica.Phase: CopyPhase.Following }, cancel);
            VolumeInfo owner = await Looks.UntilAsync($"the replica at {at.From.Name} to be whole",
                c => at.Store(at.To.Name).VolumeAsync(at.Volume, c),
                v => v is { Role: OwnerRole.Owner, Replication: { Connected: true, ReplicaWhole: true } }, cancel);
            Found(true, $"{at.Volume} at {at.StoreOf(at.From.Name).Node} is a replica again, by itself, and lacks "
                + $"{owner.Replication!.Lag.Bytes:N0} bytes; {Branches(old)}", "");
        }
        catch (LabException e)
        {
            Found(false, "", e.Message);
        }

        void Found(bool good, string line, string wrong)
        {
            facts.OldSite.Add(good ? line : "NOT SO: " + wrong);
            view.Say(facts.OldSite[^1]);
            if (!good) facts.Wrong.Add($"the failed site: {wrong}");
        }

        static string Branches(VolumeInfo volume) => volume.Branches.Count == 0 ? "it had nothing that the new owner lacked"
            : $"put aside what the new owner lacked: {volume.Branches.Sum(b => b.Records):N0} writes, "
                + $"{volume.Branches.Sum(b => b.Bytes):N0} bytes";
    }

    // 7.
    private async Task<HomeMove> HomeAsync(Stage at, OutageFacts facts, CancellationToken cancel)
    {
        await Task.Delay(s_after, cancel);
        var call = new MigrationCall(at.Group, at.From.Name, QuietMs: options.QuietMs, OrderBoundMs: options.OrderBoundMs);
        PlanInfo plan = await at.Mms.PlanAsync(call, cancel);
        if (plan.Obstacles.Count > 0)
            throw new LabException($"{at.Group} cannot be moved home: "
                + string.Join("; ", plan.Obstacles.Select(o => $"{o.Where}: {o.Reason}, {o.Detail}")));
        view.Say($"home: {at.Server.Name} moves from {at.To.Name} to {at.From.Name}, as planned");
        facts.HomeNs = Monotonic.Now;
        using var guest = new GuestWatch(at.Lab, at.Lab.Ingresses[0].Name, at.Server.Addresses[0]);
        await Task.Delay(s_after, cancel);
        using var watch = new OldLegOnce(() => new OldLegWatch(at.Lab, at.To, at.Server.Addresses));
        MigrationStatus move = await new MigrationProgress(at.Mms).RunAsync(call, stage =>
        {
            view.Stage(stage);
            if (stage is "stop" or "hand-over" or "activate") watch.Start();
        }, cancel);
        await Task.Delay(s_after, cancel);
        var home = new HomeMove(move, watch.Stop(),
            await DemoRun.GuestAsync(at.Lab, at.Server, guest.Stop(), move, [], cancel));
        if (move.State != "moved") return home;
        await at.ProtectedAsync("armed", cancel);
        facts.ProtectedAgainNs = Monotonic.Now;
        view.Say($"{at.Group} is protected again, by itself");
        return home;
    }

    // 8. The guest having stopped to write, and the replica having caught up.
    private async Task<StorageFacts?> DisksAsync(Stage at, OutageFacts facts, RecordWatch records, CancellationToken cancel)
    {
        view.Say($"{at.Server.Name} ends its writing; reading its disk at both sites");
        if (await records.EndAsync(cancel) is not { } last || records.Current is not { } log) return null;
        VolumeInfo?[] volumes = [];
        for (long until = Monotonic.Now + (long)s_caughtUp.TotalNanoseconds; Monotonic.Now < until; await Task.Delay(50, cancel))
        {
            volumes = await Task.WhenAll(at.Stores.Select(s => StorageWatch.InfoAsync(s.Client, at.Volume, cancel)));
            if (volumes.Any(v => v?.Replication is { Connected: true } r && r.ReplicaDurable >= r.Last)) break;
        }

        var disks = new List<DiskRead>();
        foreach ((LabStore store, _) in at.Stores)
            disks.Add(await DiskRead.OfAsync(store.Node, at.Lab.NbdSocket(store.Node), at.Volume, last.Boot, last.Acknowledged, cancel));
        return new StorageFacts(at.Volume, [.. at.Stores.Select((s, i) => new StorageSide(s.Store.Node, s.Store.Site, volumes[i]))], last,
            log.Writes, disks);
    }

    private async Task<bool> UnprotectedAsync(Stage at, OutageFacts facts, CancellationToken cancel)
    {
        try
        {
            await at.Mms.UnprotectAsync(at.Group, cancel);
            await Looks.UntilAsync("the protection to go", at.Mms.GroupsAsync, all => all.All(g => g.Protection is null), cancel);
            return true;
        }
        catch (Exception e) when (e is LabException or ApiProblemException or ApiUnreachableException)
        {
            facts.Wrong.Add($"the protection was not taken away: {e.Message}");
            return false;
        }
    }

    private async Task<RunFacts> OutageAsync(Stage at, OutageFacts facts, FleetResult probes, ProbeRates rates, TcpResult? tcp,
        IReadOnlyList<DropReport> drops, CancellationToken cancel)
    {
        StreamFacts[] streams = [.. probes.Forward.Select(s => OutageBuilder.Part(s, facts.HomeNs ?? long.MaxValue, after: false))];
        MoveFacts move = facts.Failover is { } failover ? MoveFactsOf.From(failover, null) : new MoveFacts();
        if (facts.Failover is { } moved)
            streams = [.. await Task.WhenAll(streams.Select(s => DemoRun.WithFibTimeAsync(s, at.Pes, moved, at.Server.Addresses, cancel)))];
        return Facts(at, at.From, at.To, rates, probes) with
        {
            Forward = streams,
            Tcp = tcp ?? probes.Tcp,
            Guest = new GuestFacts(null, null, [], null, 0, DemoRun.ManagerRoundTripOf(at.Lab.Topology), []),
            Move = OutageBuilder.Move(move, facts, OutageBuilder.FirstReplyNs(facts, streams)),
            Drops = drops,
            Migration = facts.Failover,
        };
    }

    private async Task<RunFacts> HomeFactsAsync(Stage at, OutageFacts facts, FleetResult probes, ProbeRates rates, HomeMove home,
        StorageFacts? disks, CancellationToken cancel)
    {
        StreamFacts[] streams = [.. probes.Forward.Select(s => OutageBuilder.Part(s, facts.HomeNs!.Value, after: true))];
        return Facts(at, at.To, at.From, rates, probes) with
        {
            Forward = await Task.WhenAll(streams.Select(s => DemoRun.WithFibTimeAsync(s, at.Pes, home.Move, at.Server.Addresses, cancel))),
            Tcp = probes.Tcp,
            Guest = home.Guest,
            Move = MoveFactsOf.From(home.Move, home.StaleAtLeg),
            Storage = disks,
            Migration = home.Move,
        };
    }

    private RunFacts Facts(Stage at, MovedSite from, MovedSite to, ProbeRates rates, FleetResult probes) => new()
    {
        Parameters = new ParametersReport(at.Lab.Name, at.Server.Name, from.Name, to.Name,
            options.RttMs ?? DemoRun.RoundTripOf(at.Lab.Topology), 0, null, true),
        ForwardPacketsPerSecond = rates.PacketsPerSecond,
        ReversePacketsPerSecond = rates.PacketsPerSecond,
        Forward = [],
        Reverse = [],
        Tcp = null,
        Move = new MoveFacts(),
        Residue = [],
        Invalid = probes.Invalid,
    };

    private static async Task<T> Waited<T>(Task<T> task, string what, CancellationToken cancel)
    {
        try
        {
            return await task.WaitAsync(s_caughtUp, cancel);
        }
        catch (TimeoutException)
        {
            throw new LabException($"waited {s_caughtUp.TotalSeconds:0} s in vain for {what}.");
        }
    }

    private static double? Ms(OutageFacts facts, long? ns) => (ns - facts.FailedNs) / 1e6;

    private sealed record HomeMove(MigrationStatus Move, long? StaleAtLeg, GuestFacts Guest);

    /// <summary>Who is there, and how they are reached.</summary>
    private sealed class Stage : IDisposable
    {
        public Stage(RunningLab lab, OutageOptions options)
        {
            Lab = lab;
            Server = MovedServer.Of(lab);
            Volume = Server is { IsGuest: true, Volume: { } volume } ? volume : throw new LabException(
                $"server {Server.Name} of {options.Topology} is no virtual machine with a disk of a store; an outage needs one.");
            Group = lab.Groups.FirstOrDefault(g => g.Servers.Contains(Server.Name))?.Name
                ?? throw new LabException($"the lab's manager has no group with server {Server.Name}.");
            Mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!)) { RequestTimeout = TimeSpan.FromSeconds(60) };
            Pes = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe)
                .ToDictionary(n => n.Name, n => PeClient.ForUnixSocket(lab.ApiSocket(n.Name), n.Name), StringComparer.Ordinal);
            Stores = [.. Server.Sites.SelectMany(site => lab.Stores.Where(s => s.Site == site.Name && s.Volumes.Contains(Volume)))
                .Select(s => (s, new StoreClient(new ApiEndpoint(s.Node, lab.ApiSocket(s.Node)))))];
            if (Stores.Count < 2) throw new LabException($"volume {Volume} of server {Server.Name} has no replica.");
        }

        public RunningLab Lab { get; }
        public MovedServer Server { get; }
        public string Volume { get; }
        public string Group { get; }
        public MmsClient Mms { get; }
        public Dictionary<string, PeClient> Pes { get; }
        public IReadOnlyList<(LabStore Store, StoreClient Client)> Stores { get; }
        public MovedSite From { get; set; } = null!;
        public MovedSite To { get; set; } = null!;
        public HostFailure Failure => _failure ??= new HostFailure(Lab, From.Node);
        private HostFailure? _failure;

        public LabStore StoreOf(string site) => Stores.First(s => s.Store.Site == site).Store;

        public StoreClient Store(string site) => Stores.First(s => s.Store.Site == site).Client;

        public Task<ProtectionInfo> ProtectedAsync(string state, CancellationToken cancel) => Looks.UntilAsync(
            $"{Group} to be {state}", c => Mms.ProtectionAsync(Group, c), p => p.State == state && p.From == From.Name, cancel);

        public void Dispose()
        {
            Mms.Dispose();
            _failure?.Dispose();
            foreach (PeClient pe in Pes.Values) pe.Dispose();
            foreach ((_, StoreClient client) in Stores) client.Dispose();
        }
    }
}
