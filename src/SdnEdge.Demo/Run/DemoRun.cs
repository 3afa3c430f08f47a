using SdnEdge.Client;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Demo.Run;

/// <summary>
/// One run of the demo:
///   1. deploy the lab,
///   2. see that every client reaches the server; find the rate that a virtual machine at rest answers without a loss,
///   3. start the probes and let them run a while (Figure 1(a)),
///   4. have the manager move the server, as <c>sdnedge migrate run</c> does (Figure 1(b)),
///   5. let the probes run on (Figure 1(c)), stop them,
///   6. look for leftovers on both PEs,
///   7. a virtual machine: the same once more, back to where it came from,
///   8. a server with a disk: have it end its writing, and read the disks of both sites,
///   9. where that is asked for, do the same by a script in a lab of its own,
///  10. make the report, judge.
/// Whatever happens, the lab is taken down at the end, unless it is to be kept.
/// </summary>
internal sealed class DemoRun(DemoOptions options, DemoView view)
{
    // A virtual machine without KVM is slow for a while where it has just come.
    private static readonly TimeSpan Before = TimeSpan.FromSeconds(2), After = TimeSpan.FromSeconds(1),
        AfterGuest = TimeSpan.FromSeconds(2);

    // A link between the stores that was lost is made anew in a fraction of this.
    private static readonly TimeSpan Turns = TimeSpan.FromSeconds(10);

    private const string BackFolder = "back";
    private const long LastOfTrialNs = 500_000_000;

    /// <summary>Runs; the report is in the out folder when it returns.</summary>
    /// <exception cref="LabException">The lab cannot be deployed, or a client does not reach the server.</exception>
    public async Task<DemoReport> RunAsync(CancellationToken cancel)
    {
        (RunFacts facts, RunFacts? back) = await DeployedAsync(cancel);
        if (back is not null) facts = WithBack(facts, MigrationReports.Write(back, options.Out.CreateSubdirectory(BackFolder)));
        if (options.Compare && facts.Guest is not null)
            facts = facts with { Script = await new ScriptedMove(options, view).RunAsync(facts.ForwardPacketsPerSecond, cancel) };
        return MigrationReports.Write(facts, options.Out);
    }

    private static RunFacts WithBack(RunFacts facts, DemoReport back) => facts with
    {
        Back = MigrationReports.Back(back, $"{BackFolder}/report.html"),
        // What the disks are is one thing, and is told once.
        BackFailures = [.. back.Failures.Where(f => !f.StartsWith("storage: ", StringComparison.Ordinal)
            || f.Contains("after the move", StringComparison.Ordinal))],
    };

    private async Task<(RunFacts, RunFacts?)> DeployedAsync(CancellationToken cancel)
    {
        view.Say("deploying the lab");
        RunningLab lab = await LabRunner.DeployAsync(
            options.Topology, new LabOptions { Name = options.LabName, RttMs = options.RttMs, Progress = view.Say }, cancel);
        try
        {
            return await InLabAsync(lab, cancel);
        }
        finally
        {
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
    }

    private async Task<(RunFacts There, RunFacts? Back)> InLabAsync(RunningLab lab, CancellationToken cancel)
    {
        // Who and where.
        var server = MovedServer.Of(lab);
        string group = lab.Groups.FirstOrDefault(g => g.Servers.Contains(server.Name))?.Name
            ?? throw new LabException(
                $"the lab's manager has no group with server {server.Name}; give the topology a node of kind sdnedge-mms with one.");
        string here = await WhereAsync(lab, server.Name, cancel);
        MovedSite from = server.Sites.FirstOrDefault(s => s.Name == here)
            ?? throw new LabException($"server {server.Name} runs at {here}, where the topology gives it no leg.");
        MovedSite to = server.Sites.FirstOrDefault(s => s.Name != here)
            ?? throw new LabException($"server {server.Name} has no other site to move to.");
        using var mms = new MmsClient(new ApiEndpoint("mms", lab.MmsSocket!)) { RequestTimeout = TimeSpan.FromSeconds(60) };
        Dictionary<string, PeClient> pes = lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe)
            .ToDictionary(n => n.Name, n => PeClient.ForUnixSocket(lab.ApiSocket(n.Name), n.Name), StringComparer.Ordinal);

        view.Say("asking the server's echo from every client");
        string[] unreached = [.. lab.Ingresses.SelectMany(i => server.Addresses.Select(a => PathCheck.WhyNot(lab, i, a))).OfType<string>()];
        if (unreached.Length > 0)
        {
            throw new LabException($"the lab does not work: {string.Join("; ", unreached)}.");
        }

        DirectoryInfo logs = Directory.CreateTempSubdirectory("sdnedge-demo-");
        try
        {
            using StorageWatch? storage = server.Volume is null ? null : new StorageWatch(lab, server);
            var run = new Measured(lab, server, mms, group, pes, logs.FullName, storage);
            var rates = new ProbeRates(options.Rate, options.ReverseRate, options.TcpBytesPerSecond);
            IReadOnlyList<RateTrial> trials = [];
            if (server.IsGuest)
            {
                (long rate, trials) = await RateSearch.FindAsync(options.Rate,
                    r => TryAsync(lab, server, rates with { PacketsPerSecond = r }, logs.FullName, cancel));
                rates = rates with { PacketsPerSecond = rate, ReversePacketsPerSecond = rate };
            }

            RunFacts there = await MeasureAsync(run, from, to, rates, trials, cancel);
            RunFacts? back = null;
            if (server.IsGuest && there.Move.Succeeded)
            {
                view.Say($"the way back: {server.Name} moves from {to.Name} to {from.Name}");
                back = await MeasureAsync(run, to, from, rates, trials, cancel);
            }

            if (storage is null) return (there, back);
            view.Say($"{server.Name} ends its writing; reading its disk at both sites");
            StorageFacts disks = await storage.EndAsync(cancel);
            return (there with { Storage = disks }, back is null ? null : back with { Storage = disks });
        }
        finally
        {
            logs.Delete(recursive: true);
            foreach (PeClient pe in pes.Values)
            {
                pe.Dispose();
            }
        }
    }

    /// <summary>What all moves of a run have in common.</summary>
    private sealed record Measured(
        RunningLab Lab, MovedServer Server, MmsClient Mms, string Group, Dictionary<string, PeClient> Pes, string Logs,
        StorageWatch? Storage);

    private async Task<RunFacts> MeasureAsync(
        Measured run, MovedSite from, MovedSite to, ProbeRates rates, IReadOnlyList<RateTrial> trials, CancellationToken cancel)
    {
        (RunningLab lab, MovedServer server, MmsClient mms, string group, Dictionary<string, PeClient> pes, string logs, _) = run;
        PeClient[] ends = [pes[from.Pe], pes[to.Pe]];
        PeSnapshot[] before = await Task.WhenAll(ends.Select(pe => PeSnapshot.TakeAsync(pe, cancel)));
        DropCount dropsBefore = await DropCount.TakeAsync(lab, pes, cancel);
        view.Say($"starting the probes: {rates.PacketsPerSecond:N0} packets/s from {lab.Ingresses.Count} clients to the server, "
            + $"{(server.IsGuest ? "which sends each back" : $"{rates.ReversePacketsPerSecond:N0} back")}, and a TCP transfer");
        using GuestWatch? guest = server.IsGuest ? new GuestWatch(lab, lab.Ingresses[0].Name, server.Addresses[0]) : null;
        using var fleet = new ProbeFleet(lab, server, rates, logs);
        await fleet.StartAsync(cancel);
        await Task.Delay(Before, cancel);

        // The move, with the old leg watched from when nothing comes there any more.
        var call = new MigrationCall(
            group, to.Name, Hold: options.Hold ? null : new HoldOptions(Disabled: true), CopyMs: server.IsGuest ? 0 : options.BlackoutMs,
            QuietMs: options.QuietMs,
            KeepOrder: options.Order, OrderBoundMs: options.OrderBoundMs);
        PlanInfo plan = await mms.PlanAsync(call, cancel);
        if (plan.Obstacles.Count > 0)
            throw new LabException(
                $"{group} cannot be moved to {to.Name}: "
                + $"{string.Join("; ", plan.Obstacles.Select(o => $"{o.Where}: {o.Reason}, {o.Detail}"))}.");
        using var watch = new OldLegOnce(() => new OldLegWatch(lab, from, server.Addresses));
        using var turning = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<long?> turned = run.Storage?.LinkedAsync(to.Name, turning.Token) ?? Task.FromResult<long?>(null);
        MigrationStatus move = await new MigrationProgress(mms).RunAsync(call, stage =>
        {
            view.Stage(stage);
            if (stage is "stop" or "hand-over" or "activate") watch.Start();
        }, cancel);
        await Task.Delay(server.IsGuest ? AfterGuest : After, cancel);
        long? staleAtLeg = watch.Stop();
        turning.CancelAfter(Turns);
        DirectionFacts? direction = run.Storage is null ? null
            : new DirectionFacts(await turned, await run.Storage.LagAsync(to.Name, cancel));

        view.Say("stopping the probes");
        FleetResult probes = await fleet.StopAsync(cancel);
        GuestFacts? guestFacts = guest is null ? null : await GuestAsync(lab, server, guest.Stop(), move, trials, cancel);
        IReadOnlyList<DropReport> drops = (await DropCount.TakeAsync(lab, pes, cancel)).Since(dropsBefore);
        if (guestFacts is { Full: > 0 and var full })
            drops = [.. drops.Append(new DropReport(server.Name, "socket without room", full)).OrderByDescending(d => d.Packets)];
        var residue = new List<string>();
        for (int i = 0; i < ends.Length; i++)
        {
            residue.AddRange((await PeSnapshot.TakeAsync(ends[i], cancel)).Residue(before[i]));
        }

        residue.AddRange(MoveFactsOf.Residue(move).Where(r => !residue.Contains(r)));
        StreamFacts[] forward =
            [.. await Task.WhenAll(probes.Forward.Select(s => WithFibTimeAsync(s, pes, move, server.Addresses, cancel)))];
        return new RunFacts
        {
            Parameters = new ParametersReport(
                lab.Name, server.Name, from.Name, to.Name, options.RttMs ?? RoundTripOf(lab.Topology),
                server.IsGuest ? 0 : options.BlackoutMs, null, options.Hold),
            ForwardPacketsPerSecond = rates.PacketsPerSecond,
            ReversePacketsPerSecond = rates.ReversePacketsPerSecond,
            Guest = guestFacts,
            Direction = direction,
            Forward = forward,
            Reverse = probes.Reverse,
            Tcp = probes.Tcp,
            Move = MoveFactsOf.From(move, staleAtLeg),
            Residue = residue,
            Drops = drops,
            Invalid = probes.Invalid,
            Migration = move,
        };
    }

    private async Task<RateTrial> TryAsync(RunningLab lab, MovedServer server, ProbeRates rates, string logs, CancellationToken cancel)
    {
        view.Say($"trying {rates.PacketsPerSecond:N0} packets/s there and back while {server.Name} stays where it is");
        using var guest = new GuestWatch(lab, lab.Ingresses[0].Name, server.Addresses[0]);
        using var fleet = new ProbeFleet(lab, server, rates, logs);
        await fleet.StartAsync(cancel);
        await Task.Delay(options.Trial, cancel);
        FleetResult result = await fleet.StopAsync(cancel);
        long full = GuestFacts.FullOf(guest.Stop());
        if (result.Invalid.Count > 0) throw new LabException($"the probes are not sound: {string.Join("; ", result.Invalid)}.");
        StreamAnalysis[] streams = [.. result.Forward.Select(s => StreamAnalysis.Of(s.Stream, s.Sent, s.Received))];
        var trial = new RateTrial(rates.PacketsPerSecond, streams.Sum(s => (long)s.Sent), streams.Sum(s => s.Lost),
            result.Tcp?.Resets ?? 1, Math.Round(streams.Max(s => s.BehindNs(LastOfTrialNs)) / 1e6, 3));
        if (!trial.Clean)
            view.Say($"{trial.Lost:N0} of {trial.Sent:N0} packets lost ({full:N0} at its full sockets), {trial.BehindMs:N0} ms behind "
                + $"at the end, {trial.TcpResets} connections broken: half the rate");
        return trial;
    }

    /// <summary>What the source's host and the virtual machine itself say of the move.</summary>
    internal static async Task<GuestFacts> GuestAsync(RunningLab lab, MovedServer server, IReadOnlyList<GuestSample> samples,
        MigrationStatus move, IReadOnlyList<RateTrial> trials, CancellationToken cancel)
    {
        (long Wrong, long Words)? pattern = await GuestWatch.PatternAsync(lab, lab.Ingresses[0].Name, server.Addresses[0]);
        MachineInfo? machine = null;
        CopyInfo? copy = null;
        if (move.Moves.SelectMany(m => m.Servers).FirstOrDefault(s => s.Name == server.Name) is { } moved)
        {
            using var source = new HostClient(new ApiEndpoint(moved.SourceHost, lab.ApiSocket(moved.SourceHost)));
            machine = (await source.ServerAsync(server.Name, cancel)).Machine;
            try
            {
                copy = await source.CopyAsync(server.Name, cancel);
            }
            catch (ApiProblemException)
            {
                // It has no record of a copy: the move ended before one began.
            }
        }

        return new GuestFacts(machine, copy, samples, pattern?.Wrong, pattern?.Words ?? 0, ManagerRoundTripOf(lab.Topology), trials);
    }

    /// <summary>
    /// When the first and the last of the moving prefixes had their direct routes in this ingress's FIB: as its flush markers
    /// said, else as its RIB says now.
    /// </summary>
    internal static async Task<StreamFacts> WithFibTimeAsync(
        StreamFacts stream, Dictionary<string, PeClient> pes, MigrationStatus move, IReadOnlyList<IpAddress> addresses,
        CancellationToken cancel)
    {
        long[] moved = [.. move.Moves.SelectMany(m => m.Paths).SelectMany(p => p.Target?.Order?.Gates ?? [])
            .Where(g => g.Ingress == stream.Pe && g.MovedAtNs is not null).Select(g => g.MovedAtNs!.Value)];
        if (moved.Length > 0)
        {
            return stream with { FibFirstAtNs = moved.Min(), FibLastAtNs = moved.Max() };
        }

        if (!pes.TryGetValue(stream.Pe, out PeClient? pe))
        {
            // A PE of another make tells nothing. Before it could hear of the new place its packets came by the tunnel.
            return stream with { FibFirstAtNs = MoveFactsOf.From(move, null).AdvertisedNs };
        }

        long first = long.MaxValue;
        long last = 0;
        foreach (IpAddress address in addresses)
        {
            RouteInfo? best = (await pe.RoutesAsync("default", IpPrefix.Host(address).ToString(), cancel))
                .FirstOrDefault(r => r.Best && r.Prefix == IpPrefix.Host(address).ToString());
            bool direct = best is not null && move.Moves.SelectMany(m => m.Paths)
                .Any(p => best.Peer == p.TargetLoopback || best.NextHop == p.TargetLoopback);
            if (!direct)
            {
                return stream;
            }

            first = Math.Min(first, best!.InstalledAtNs);
            last = Math.Max(last, best.InstalledAtNs);
        }

        return stream with { FibFirstAtNs = first, FibLastAtNs = last };
    }

    /// <summary>Two WAN links there and the same two back.</summary>
    internal static double RoundTripOf(LabTopology topology)
    {
        LabLink? link = topology.Links.FirstOrDefault(l => l.ToWan is not null);
        return link is null ? 0 : 2 * (link.ToWan!.DelayNs + link.FromWan!.DelayNs) / 1e6;
    }

    /// <summary>From the manager to a host and back, by the links of the management network.</summary>
    internal static double ManagerRoundTripOf(LabTopology topology)
    {
        double Most(NodeKind kind) => topology.Nodes.Where(n => n.Kind == kind).SelectMany(n => topology.LinksOf(n.Name))
            .Where(l => l.IsManagement && l.ToWan is not null).Select(l => (l.ToWan!.DelayNs + l.FromWan!.DelayNs) / 1e6)
            .DefaultIfEmpty(0).Max();
        return Most(NodeKind.SdnEdgeMms) + Most(NodeKind.SdnEdgeHost);
    }

    /// <summary>The site at which a server runs, as the hosts say.</summary>
    internal static async Task<string> WhereAsync(RunningLab lab, string server, CancellationToken cancel)
    {
        foreach (LabHost host in lab.Hosts.Where(h => h.Servers.Contains(server)))
        {
            using var client = new HostClient(new ApiEndpoint(host.Node, lab.ApiSocket(host.Node)));
            if ((await client.ServerAsync(server, cancel)).State == ServerState.Running) return host.Site;
        }

        throw new LabException($"server {server} runs at no site.");
    }
}
