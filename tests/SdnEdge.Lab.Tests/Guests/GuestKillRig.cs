using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>
/// The lab with a real guest, which moves to and fro while one party after the other is killed, frozen or cut off. Each case ends with one
/// running guest, with an inspection, with what was heard of the guest at both hosts, and with a look at its disk at both sites.
/// </summary>
internal sealed class GuestKillRig : IAsyncDisposable
{
    // How long a party is frozen, or the way between the hosts cut, at most: longer than the driver's deadlines.
    private static readonly TimeSpan s_bound = TimeSpan.FromSeconds(15);

    private readonly GuestRig _rig;
    private readonly TapWatch _watch;
    private readonly DiskCheck? _disk;

    private GuestKillRig(GuestRig rig)
    {
        (_rig, _watch) = (rig, new TapWatch(rig.Lab, rig.Daemons.Hosts.Keys));
        if (rig.Lab.Stores.Count > 0) _disk = new DiskCheck(rig.Daemons, GuestRig.Client);
    }

    /// <summary>Deploys the lab and starts the guest.</summary>
    public static async Task<GuestKillRig> StartAsync(string topology, IReadOnlyList<string>? program = null)
        => new(await GuestRig.StartAsync(topology, program));

    /// <summary>Moves the guest to its other site, with a fault on the way, and inspects everything at the end.</summary>
    public async Task<GuestKillResult> RunAsync(GuestKillCase what)
    {
        LabDaemons lab = _rig.Daemons;
        string from = await _rig.SiteAsync(), to = GuestRig.Other(from);
        string source = GuestRig.HostOf(from), target = GuestRig.HostOf(to);
        (long ticks, long bad) = await _rig.CountsAsync();
        _watch.Begin();
        using var pings = new PingStream(_rig.Lab, GuestRig.Client, GuestRig.Address);
        string[] known = await lab.MigrationsAsync();
        if (what.Fault == GuestFault.NoMemory) _rig.LimitMemory(target, limited: true);
        try
        {
            var watch = Stopwatch.StartNew();
            Task<string> strike = StrikeAsync(what, source, target, known);
            string id = await lab.BeginAsync(GuestRig.Server, to, 0, known);
            string hit = await strike;
            bool anew = false;
            MigrationStatus status = await lab.UntilAsync($"migration {id} to end", async c =>
            {
                // One that has died where it ran already keeps its migration waiting until somebody starts it.
                if (what.KillsGuest) anew |= await StartDeadAsync(target);
                return await lab.Mms.MigrationAsync(id, c);
            }, m => m.Ended);
            double ms = watch.Elapsed.TotalMilliseconds;
            string home = status.State == "moved" ? to : from;
            anew |= what.KillsGuest && await StartAnewAsync(GuestRig.HostOf(home));
            await lab.AnswersAsync(GuestRig.Client, GuestRig.Address);
            (int Sent, int Lost) unanswered = await pings.EndAsync();
            var wrong = new List<string>();
            if (status.State is not ("moved" or "as-before")) wrong.Add($"it ended {status.State}: {status.Failure}");
            wrong.AddRange(await _rig.InspectAsync(home, status.Epoch));
            wrong.AddRange(_watch.Twice(source, target));
            if (!_watch.HeardAt(GuestRig.HostOf(home))) wrong.Add($"nothing was heard of the guest at {GuestRig.HostOf(home)}");
            if (status.State != "moved" && _watch.HeardAt(target))
                wrong.Add($"it ended {status.State}, and the guest was heard at {target}");
            (long now, bad) = await _rig.CountsAsync();

            // Only a guest that was killed itself, where it ran or was about to, begins anew.
            bool lost = what.KillsGuest && (what.Party == GuestParty.TargetQemu) == KillCase.AfterPivot.Contains(hit);
            if (now < ticks && !lost) wrong.Add($"the guest's clock went back from {ticks} to {now}");
            if (bad > 0) wrong.Add($"{bad} words of the guest's memory are wrong");
            if (_disk is not null) wrong.AddRange((await _disk.LookAsync(home)).Wrong);
            return new GuestKillResult(
                what, hit, status.State, ms, _watch.LongestSilenceMs, anew || now < ticks, unanswered, status.Failure, wrong);
        }
        finally
        {
            _rig.LimitMemory(target, limited: false);
        }
    }

    /// <inheritdoc cref="LabDaemons.TellAsync"/>
    public Task<string> TellAsync() => _rig.Daemons.TellAsync();

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _disk?.Dispose();
        await _watch.DisposeAsync();
        await _rig.DisposeAsync();
    }

    // Waits for the case's stage by the manager's events, and does there what the case says. Returns the stage that it was.
    private async Task<string> StrikeAsync(GuestKillCase what, string source, string target, string[] known)
    {
        LabDaemons lab = _rig.Daemons;
        EventRecord e = await lab.StageAsync(known, what.Stage, due => what.IsDue(due.Change));
        string node = what.Party switch
        {
            GuestParty.Manager => "mms",
            GuestParty.SourceHost => source,
            GuestParty.SourceStore => StoreBeside(source),
            GuestParty.TargetStore => StoreBeside(target),
            _ => target,
        };
        (string near, string far) = what.Party == GuestParty.StoreWan ? (StoreBeside(source), StoreBeside(target)) : (source, target);
        switch (what.Fault, what.Party)
        {
            case (GuestFault.Kill, GuestParty.SourceQemu or GuestParty.TargetQemu):
                if (Qemu() is { } process) Signals.Send(process, ProcessSignal.Kill);
                break;
            case (GuestFault.Kill, _):
                await lab.KillAsync(node);
                break;
            case (GuestFault.Freeze, GuestParty.SourceQemu or GuestParty.TargetQemu):
                await FreezeAsync(Qemu(), e.Subject);
                break;
            case (GuestFault.Freeze, _):
                await FreezeAsync(lab.ProcessOf(node), e.Subject);
                break;
            case (GuestFault.CutOff, _):
                await lab.CutOffAsync(node, e.Subject, null);
                break;
            case (GuestFault.Cut, _):
                await WithoutAsync([(near, far), (far, near)], e.Subject);
                break;
            case (GuestFault.HalfOpen, _):
                await WithoutAsync([(far, near)], e.Subject);
                break;
            case (GuestFault.Slow, _):
                await SlowAsync(source, e.Subject);
                break;
            case (GuestFault.DiskFails, _):
                await StoreFault.BeginAsync(lab.ProcessOf(node));
                try
                {
                    await BoundAsync(e.Subject);
                }
                finally
                {
                    await StoreFault.EndAsync(lab.ProcessOf(node));
                }

                break;
            case (GuestFault.NoMemory, _):
                break;
        }

        return e.Change;

        int? Qemu() => _rig.QemuAt(what.Party == GuestParty.SourceQemu ? source : target);
    }

    // Until the migration has ended, or the bound is over. The manager may be the one that is frozen.
    private async Task BoundAsync(string migration)
    {
        using var bound = new CancellationTokenSource(s_bound);
        await Patience.BecomesAsync(async () =>
        {
            try
            {
                return (await _rig.Daemons.Mms.MigrationAsync(migration, bound.Token)).Ended;
            }
            catch (Exception e) when (e is Client.ApiUnreachableException or OperationCanceledException)
            {
                // Asked again, while there is time.
                return bound.IsCancellationRequested;
            }
        }, s_bound);
    }

    private async Task FreezeAsync(int? process, string migration)
    {
        // Nothing is there to be frozen: it has not been started, or has ended.
        if (process is not { } id || ProcessStat.Read(id) is not { } stat) return;
        Signals.Send(id, ProcessSignal.Stop);
        try
        {
            await BoundAsync(migration);
        }
        finally
        {
            if (ProcessStat.Read(id) is { } now && now.StartTicks == stat.StartTicks) Signals.Send(id, ProcessSignal.Continue);
        }
    }

    // A route that drops: what a node sends to another one does not leave it.
    private async Task WithoutAsync((string From, string To)[] ways, string migration)
    {
        await RouteAsync("add");
        try
        {
            await BoundAsync(migration);
        }
        finally
        {
            await RouteAsync("del");
        }

        async Task RouteAsync(string change)
        {
            foreach ((string from, string to) in ways)
                await LabInstance.RunAsync(_rig.Lab, from, "ip", "route", change, "blackhole", AddressOf(to) + "/32");
        }
    }

    private async Task SlowAsync(string host, string migration)
    {
        await LabInstance.RunAsync(_rig.Lab, host, "tc", "qdisc", "add", "dev", "eth2", "root", "tbf", "rate", "20mbit", "burst", "64k",
            "latency", "400ms");
        try
        {
            await BoundAsync(migration);
        }
        finally
        {
            await LabInstance.RunAsync(_rig.Lab, host, "tc", "qdisc", "del", "dev", "eth2", "root");
        }
    }

    // The network of hosts and stores, as the topologies have it.
    private static string AddressOf(string node) => node switch
    {
        "host-a" => "10.1.10.11",
        "host-b" => "10.1.20.11",
        "store-a" => "10.1.10.21",
        _ => "10.1.20.21",
    };

    private string StoreBeside(string host)
        => _rig.Lab.Stores.Single(s => GuestRig.HostOf(s.Site) == host).Node;

    // The same while its migration goes on. False: it is not so, or not yet.
    private async Task<bool> StartDeadAsync(string host)
    {
        ServerInfo info = await _rig.ServerAsync(host);
        if (info is not { MayRun: { } epoch, State: ServerState.Absent, Phase: "running" } || _rig.QemuAt(host) is not null) return false;
        await _rig.StartGuestAsync(host, epoch);
        return true;
    }

    // The one who operates it: a guest that has died is started by an order, and by nothing else. False: it had not.
    private async Task<bool> StartAnewAsync(string host)
    {
        ServerInfo info = await _rig.Daemons.UntilAsync($"{host} to say what became of the guest",
            c => _rig.Daemons.Hosts[host].ServerAsync(GuestRig.Server, c), s => s.State is ServerState.Running or ServerState.Absent
                && (_rig.QemuAt(host) is not null) == (s.State == ServerState.Running));
        if (info.State == ServerState.Running) return false;
        await _rig.StartGuestAsync(host, info.MayRun ?? 0);
        return true;
    }
}
