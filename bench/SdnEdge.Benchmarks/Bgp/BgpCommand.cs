using System.Diagnostics;
using System.Globalization;
using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Bgp;

/// <summary>
/// Routes through a router, beside FRR, BIRD and GoBGP, in one run and interleaved. Each turn starts the router anew in a
/// namespace, feeds it from another one over eBGP, and has a third eBGP peer tell when it has been told everything:
/// <list type="number">
/// <item>One feeder: from the first byte to the receiver's last prefix; and withdrawing all.</item>
/// <item>Two feeders with the same prefixes and other attributes: until both are worked off and the receiver has all of
/// them; then both withdraw all.</item>
/// </list>
/// With the table loaded and nothing else to do, one prefix goes and comes, again and again: how long from the feeder's UPDATE
/// to the receiver's knowing it?
/// The same feeder and receiver for all; no router installs routes into a kernel. Memory is the process's peak; CPU is
/// what it used while announcing and withdrawing all, which other work on the machine disturbs least.
/// </summary>
internal static class BgpCommand
{
    private const int Toggles = 30;

    private static readonly (string Address, uint As)[] Peers = [("172.16.0.10", 65001), ("172.16.0.11", 65002), ("172.16.0.12", 65003)];

    public static int Run(string[] args)
    {
        var options = new Dictionary<string,
            string> { ["--routes"] = "100000", ["--big"] = "1000000", ["--repetitions"] = "3", ["--only"] = "", ["--seconds"] = "300" };
        for (int i = 0; i < args.Length; i += 2)
        {
            if (options.ContainsKey(args[i]) && i + 1 < args.Length)
            {
                options[args[i]] = args[i + 1];
                continue;
            }

            Console.Error.WriteLine($"usage: bench bgp "
                + $"[{string.Join("] [", options.Select(o => $"{o.Key} {(o.Value.Length == 0 ? "SdnEdge,BIRD" : o.Value)}"))}]; 0 routes "
                + $"leave that part out");
            return 2;
        }

        int repetitions = Number("--repetitions");
        Daemon[] daemons = [.. Daemon.All.Where(d
            => options["--only"].Length == 0 || options["--only"].Split(',').Contains(d.Name, StringComparer.OrdinalIgnoreCase))];
        foreach ((int routes, int feeders) in (ReadOnlySpan<(int, int)>)[(Number("--routes"), 1), (Number("--big"), 2)])
        {
            if (routes > 0) Compare(daemons, routes, feeders, repetitions, Number("--seconds"));
        }

        return 0;

        int Number(string name) => int.Parse(options[name], CultureInfo.InvariantCulture);
    }

    private static void Compare(Daemon[] daemons, int routes, int feeders, int repetitions, int seconds)
    {
        IpPrefix[] table = RouteSet.Make(routes);
        Feed[] feeds = [.. Enumerable.Range(0, feeders).Select(i => new Feed(table, i, IpAddress.Parse(Peers[i].Address), Peers[i].As))];
        Console.WriteLine();
        Console.WriteLine($"{routes} routes from {feeders} peer{(feeders == 1 ? "" : "s")}, {feeds[0].Sets} sets of attributes each, "
            + $"{repetitions} repetitions; median (least .. most)");
        var turns = daemons.ToDictionary(d => d, _ => new List<Turn>());
        for (int r = 0; r < repetitions; r++)
        {
            foreach (Daemon daemon in daemons)
            {
                try
                {
                    turns[daemon].Add(Measure(daemon, table, feeds, seconds));
                }
                catch (InvalidOperationException e)
                {
                    Console.WriteLine($"  {daemon.Name}: {e.Message}");
                }
            }
        }

        Console.WriteLine($"  {"",-10}{"announce s",-26}{"withdraw s",-26}{"memory MB",-26}{"CPU s",-26}one UPDATE ms: median, p95");
        foreach (Daemon daemon in daemons)
        {
            List<Turn> t = turns[daemon];
            if (t.Count == 0) continue;
            Console.WriteLine($"  {daemon.Name,-10}{Spread(t, x => x.Announce, "F2"),-26}{Spread(t, x => x.Withdraw, "F2"),-26}"
                + $"{Spread(t, x => x.Megabytes, "F0"),-26}{Spread(t, x => x.CpuSeconds, "F3"),-26}{Late(t, 0.5)}, {Late(t, 0.95)}");
        }

        if (daemons.FirstOrDefault(d => d.Name == "SdnEdge") is not { } ours || turns[ours].Count == 0) return;
        foreach ((string name, double goal) in (ReadOnlySpan<(string, double)>)[("FRR", 2), ("GoBGP", 5), ("BIRD", 1 / 1.5)])
        {
            if (daemons.FirstOrDefault(d => d.Name == name) is not { } peer || turns[peer].Count == 0) continue;
            double announce = Median(turns[peer].Select(t => t.Announce)) / Median(turns[ours].Select(t => t.Announce));
            double withdraw = Median(turns[peer].Select(t => t.Withdraw)) / Median(turns[ours].Select(t => t.Withdraw));
            Console.WriteLine($"  beside {name}: announce {announce:F2}x, withdraw {withdraw:F2}x; goal {goal:F2}x: "
                + $"{(announce >= goal && withdraw >= goal ? "met" : "missed")}");
        }
    }

    private static Turn Measure(Daemon daemon, IpPrefix[] table, Feed[] feeds, int seconds)
    {
        using var rig = new Rig();
        string lab = rig.Namespace + "-f";
        rig.Outside("ip", "netns", "add", lab);
        try
        {
            Wire(rig, lab);
            Process process = daemon.Start(rig, Peers);
            var reached = new Reached([.. table, .. feeds.Select(f => f.Sentinel)], table.Length + feeds.Length);
            IpAddress to = IpAddress.Parse(daemon.Address);
            using BgpEnd receiver = BgpEnd.Connect(lab, IpAddress.Parse(Peers[2].Address), to, Peers[2].As, reached);
            BgpEnd[] feeders = [.. feeds.Select((_, i) => BgpEnd.Connect(lab, IpAddress.Parse(Peers[i].Address), to, Peers[i].As, null))];
            try
            {
                double before = CpuSeconds(process);
                double announce = Phase(f => f.Announce, ()
                    => reached.Count >= table.Length + feeds.Length && feeds.All(f => reached.Has(f.Sentinel)));
                double cpu = CpuSeconds(process) - before;
                double megabytes = Daemon.PeakMegabytes(process);
                double[] one = OneByOne(feeders[0], feeds[0], reached, receiver);
                before = CpuSeconds(process);
                double withdraw = Phase(f => f.Withdraw, () => reached.Count == 0);
                cpu += CpuSeconds(process) - before;
                if (reached.Unknown > 0) throw new InvalidOperationException($"{reached.Unknown} prefixes came that nobody had fed");
                return new Turn(announce, withdraw, megabytes, cpu, one);
            }
            finally
            {
                foreach (BgpEnd feeder in feeders) feeder.Dispose();
            }

            double Phase(Func<Feed, byte[]> bytes, Func<bool> done)
            {
                long start = Monotonic.Now;
                Thread[] threads = [.. feeders.Select((f, i) => new Thread(() => f.Send(bytes(feeds[i]))) { IsBackground = true })];
                foreach (Thread thread in threads) thread.Start();
                while (!done())
                {
                    receiver.CheckAlive();
                    foreach (BgpEnd feeder in feeders) feeder.CheckAlive();
                    if (Monotonic.Now - start > seconds * 1_000_000_000L) throw new InvalidOperationException(
                        $"not done after {seconds} s: the receiver has {reached.Count} prefixes");
                    Thread.Sleep(1);
                }

                double took = (Monotonic.Now - start) / 1e9;
                foreach (Thread thread in threads) thread.Join();
                return took;
            }
        }
        finally
        {
            rig.Outside("ip", "netns", "del", lab);
        }
    }

    private static double[] OneByOne(BgpEnd feeder, Feed feed, Reached reached, BgpEnd receiver)
    {
        var took = new List<double>();
        for (int i = 0; i < 2 * Toggles; i++)
        {
            // In no step with any timer of the router.
            Thread.Sleep(20 + (i % 7 * 3));
            bool there = i % 2 == 1;
            long start = Monotonic.Now;
            feeder.Send(there ? feed.AnnounceOne : feed.WithdrawOne);
            while (reached.Has(feed.Sentinel) != there)
            {
                receiver.CheckAlive();
                if (Monotonic.Now - start > 30_000_000_000L) throw new InvalidOperationException(
                    "one UPDATE was not passed on within 30 s");
                Thread.Yield();
            }

            took.Add((Monotonic.Now - start) / 1e6);
        }

        return [.. took];
    }

    private static string Late(List<Turn> turns, double share)
    {
        double[] all = [.. turns.SelectMany(t => t.OneMs).Order()];
        return all[(int)(share * (all.Length - 1))].ToString("F2", CultureInfo.InvariantCulture);
    }

    // What else the router needs at its end of the link is its own affair.
    private static void Wire(Rig rig, string lab)
    {
        string ns = rig.Namespace;
        rig.Outside("ip", "-n", ns, "link", "add", "eth1", "type", "veth", "peer", "name", "veth0", "netns", lab);
        rig.Outside("ip", "-n", lab, "link", "set", "lo", "up");
        rig.Outside("ip", "-n", lab, "link", "set", "veth0", "up");
        foreach ((string address, _) in Peers) rig.Outside("ip", "-n", lab, "address", "add", address + "/24", "dev", "veth0");
        rig.Outside("ip", "-n", lab, "route", "add", Daemon.Loopback, "via", Daemon.Link);
        rig.Outside("ip", "-n", ns, "link", "set", "eth1", "up");
    }

    private static string Spread(List<Turn> turns, Func<Turn, double> value, string format)
    {
        double[] all = [.. turns.Select(value)];
        return $"{Median(all).ToString(format, CultureInfo.InvariantCulture)} ({all.Min().ToString(format, CultureInfo.InvariantCulture)} "
            + $".. {all.Max().ToString(format, CultureInfo.InvariantCulture)})";
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private static double CpuSeconds(Process process) => Rig.CpuNanoseconds(process).Values.Sum() / 1e9;

    private sealed record Turn(double Announce, double Withdraw, double Megabytes, double CpuSeconds, double[] OneMs);
}
