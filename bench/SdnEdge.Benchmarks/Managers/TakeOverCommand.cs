using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Managers;

/// <summary>
/// Three managers as processes with one journal in an etcd of three members: the one that leads goes away in one way after the other.
/// Measured from then on until another one says that it leads, and until that one has put something on record.
/// </summary>
internal static class TakeOverCommand
{
    private static readonly (string Name, Func<Round, Task> Hit, Func<Round, Task> Mend)[] s_faults =
    [
        ("asked to end (SIGTERM)", r => r.SignalAsync(ProcessSignal.Terminate), r => r.StartAsync()),
        ("killed (SIGKILL)", r => r.SignalAsync(ProcessSignal.Kill), r => r.StartAsync()),
        ("frozen", r => r.SignalAsync(ProcessSignal.Stop), r => r.SignalAsync(ProcessSignal.Continue)),
        ("cut off, with its member of etcd", r => r.LinkAsync("down"), r => r.LinkAsync("up")),
        ("frozen, and its member of etcd", r => r.WithMemberAsync(r.Leader, ProcessSignal.Stop),
            r => r.WithMemberAsync(r.Leader, ProcessSignal.Continue)),
        ("frozen, and etcd's leader", r => r.WithMemberAsync(r.EtcdLeader, ProcessSignal.Stop),
            r => r.WithMemberAsync(r.EtcdLeader, ProcessSignal.Continue)),
    ];

    public static int Run(string[] args)
    {
        var options = new Dictionary<string, int> { ["--count"] = 10, ["--lease"] = 0 };
        for (int i = 0; i < args.Length; i++)
        {
            if (Words.TakeNumber(options, args, ref i)) continue;
            Console.Error.WriteLine($"""
                usage: bench takeover [--count N] [--lease S]
                  --count N  take-overs of each kind ({options["--count"]})
                  --lease S  leases of so many seconds (1 and 2)
                """);
            return 2;
        }

        return RunAsync(options["--count"], options["--lease"] is > 0 and var lease ? [lease] : [1, 2]).GetAwaiter().GetResult();
    }

    private static async Task<int> RunAsync(int count, int[] leases)
    {
        const double Goal = 3000;
        bool reached = true;
        Console.WriteLine($"three managers, three members of etcd, {count} take-overs of each kind, to within 50 ms; goal {Goal:F0} ms");
        Console.WriteLine($"  {"lease",-7}{"the one that leads is",-36}{"leads ms: least",17}{"median",9}{"most",9}"
            + $"{"on record ms: median",23}{"most",9}");
        foreach (int lease in leases)
        {
            await using LabDaemons lab = await LabDaemons.StartAsync(LabFiles.Managers, "to", [Daemon.Executable()], edit: (_, _, text)
                => text.Replace("leaseSeconds: 1 ", $"leaseSeconds: {lease} ", StringComparison.Ordinal));
            foreach ((string name, Func<Round, Task> hit, Func<Round, Task> mend) in s_faults)
            {
                var leads = new List<double>();
                var records = new List<double>();
                for (int i = 0; i < count; i++)
                {
                    Round round = await Round.BeginAsync(lab);
                    long start = Stopwatch.GetTimestamp();
                    await hit(round);
                    string next = await lab.NextLeaderAsync(round.Leader);
                    leads.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                    using (var manager = new MmsClient(new ApiEndpoint(next, lab.Lab.ApiSocket(next))))
                        await manager.ReportAsync(new StaleReport(Guid.NewGuid(), 1, 1, 1, "disk"));
                    records.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                    await mend(round);
                    await lab.UntilAsync("all managers to know who leads",
                        async c => await Task.WhenAll(lab.Managers.Select(m => lab.ManagerAsync(m, c))),
                        all => all.Select(n => n.Leader).Distinct().ToArray() is [not null]);
                }

                leads.Sort();
                records.Sort();
                reached &= records[^1] <= Goal;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {$"{lease} s",-7}{name,-36}{leads[0],17:F0}"
                    + $"{leads[count / 2],9:F0}{leads[^1],9:F0}{records[count / 2],23:F0}{records[^1],9:F0}"));
            }
        }

        Console.WriteLine(reached ? "each within the goal" : "NOT each within the goal");
        return reached ? 0 : 1;
    }

    /// <summary>One take-over.</summary>
    /// <param name="Lab">The lab.</param>
    /// <param name="Leader">The manager that leads before it.</param>
    /// <param name="EtcdLeader">The node whose member leads etcd before it.</param>
    private sealed record Round(LabDaemons Lab, string Leader, string EtcdLeader)
    {
        public static async Task<Round> BeginAsync(LabDaemons lab)
        {
            string? etcdLeader = await lab.UntilAsync("a member of etcd to lead", async _ =>
            {
                foreach (string node in lab.Managers)
                {
                    if (await LeadsEtcdAsync(lab, node)) return node;
                }

                return null;
            }, node => node is not null);
            return new Round(lab, await lab.LeaderAsync(), etcdLeader!);
        }

        public Task SignalAsync(ProcessSignal signal)
        {
            Signals.Send(Lab.ProcessOf(Leader), signal);
            return Task.CompletedTask;
        }

        public async Task StartAsync()
        {
            await Lab.EndAsync(Leader);   // SIGTERM may not have ended it yet
            await Lab.BeginAgainAsync(Leader);
        }

        public Task LinkAsync(string state) => LabInstance.RunAsync(Lab.Lab, Leader, "ip", "link", "set", "mgmt0", state);

        public async Task WithMemberAsync(string member, ProcessSignal signal)
        {
            await SignalAsync(signal);
            Signals.Send(Lab.Lab.State.Processes.Single(p => p.Name == "etcd" && p.Node == member).ProcessId, signal);
        }

        private static async Task<bool> LeadsEtcdAsync(LabDaemons lab, string node)
        {
            string folder = lab.Lab.Folder, files = Path.Combine(folder, node);
            string address = lab.Lab.Topology.Find(node)!.Management!.Value.Address.ToString();
            string said = await LabInstance.RunAsync(lab.Lab, node, "sh", "-c", $"curl -s -m 5 --cacert {folder}/ca.crt --cert {files}.crt "
                + $"--key {files}.key -X POST -d '{{}}' https://{address}:2379/v3/maintenance/status || true");
            if (said.Length == 0) return false;
            using JsonDocument status = JsonDocument.Parse(said);
            return status.RootElement.TryGetProperty("leader", out JsonElement leader)
                && leader.GetString() == status.RootElement.GetProperty("header").GetProperty("member_id").GetString();
        }
    }
}
