using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Benchmarks.Netns;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Tests.Keeper;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Restart;

/// <summary>
/// A PE with a keeper is ended by SIGKILL, again and again, while numbered UDP packets pass it in both directions. Its peer,
/// another PE, has a full table from a feeder and tells it each time anew. Times are those of the PE's own events
/// (CLOCK_MONOTONIC) from the kill on:
/// <list type="number">
/// <item>established: the BGP session is up again;</item>
/// <item>routes: End-of-RIB has come, every route is in the FIB, and the PE forwards by it in the keeper's place;</item>
/// <item>with --bfd MS the two watch each other at 3 times that interval: what the peer saw;</item>
/// <item>gap: the longest time without a packet at the receivers, over the whole restart; lost: packets that never came.</item>
/// </list>
/// </summary>
internal static class RestartCommand
{
    public static int Run(string[] args)
    {
        var options = new Dictionary<string, string> { ["--routes"] = "100000", ["--kills"] = "5", ["--rate"] = "2000", ["--bfd"] = "0" };
        for (int i = 0; i < args.Length; i += 2)
        {
            if (options.ContainsKey(args[i]) && i + 1 < args.Length)
            {
                options[args[i]] = args[i + 1];
                continue;
            }

            Console.Error.WriteLine($"usage: bench restart [{string.Join("] [", options.Select(o => $"{o.Key} {o.Value}"))}]");
            return 2;
        }

        MeasureAsync(Number("--routes"), Number("--kills"), Number("--rate"), Number("--bfd")).GetAwaiter().GetResult();
        return 0;

        int Number(string name) => int.Parse(options[name], CultureInfo.InvariantCulture);
    }

    private static async Task MeasureAsync(int routes, int kills, int rate, int bfd)
    {
        string program = Daemon.Executable();
        await using KeeperRig rig = await KeeperRig.StartAsync([program],
            "- { address: 10.2.0.10, as: 65001, passive: true, import: all, export: none }",
            bfd: bfd > 0 ? $"{{ interval: {bfd}, multiplier: 3 }}" : null);
        IpAddress feeder = IpAddress.Parse("10.2.0.10");
        IpPrefix[] table = RouteSet.Make(routes);
        var feed = new Feed(table, 0, feeder, 65001);
        using BgpEnd session = BgpEnd.Connect(rig.Space("hb"), feeder, IpAddress.Parse("10.255.0.2"), 65001, null);
        session.Send(feed.Announce);
        await WholeAsync(rig, routes);

        if (bfd > 0) await rig.UntilAsync("BFD is up", async pe => (await pe.BfdAsync()).Sessions is [{ State: "up", RemoteState: "up" }]);
        Console.WriteLine($"{routes} routes, {rate} packets a second each way, {kills} kills{(bfd > 0 ? $", BFD at 3x{bfd} ms" : "")}");
        Console.WriteLine($"  {"kill",-6}{"established ms",16}{"routes ms",12}{"gap ms",10}{"lost",8}{"of",10}"
            + $"{(bfd > 0 ? "  BFD downs at the peer" : "")}");
        var established = new List<double>();
        var whole = new List<double>();
        long lostInAll = 0;
        for (int kill = 1; kill <= kills; kill++)
        {
            long downs = await BfdDownsAsync(rig);
            using var there = new Numbered(rig.SocketOf("ha", "10.1.0.10", 5000), rig.SocketOf("hb", "10.2.0.10", 5000), rate);
            using var back = new Numbered(rig.SocketOf("hb", "10.2.0.10", 5001), rig.SocketOf("ha", "10.1.0.10", 5001), rate);
            await there.MoreAsync(rate / 4);
            await back.MoreAsync(rate / 4);
            int process = await rig.PeAsync();
            long killedAt = Monotonic.Now;
            KeeperRig.Kill(process);
            await rig.TakenBackAsync(kill);
            (long up, long forwards) = await EventsAsync(rig);
            await WholeAsync(rig, routes);
            await there.MoreAsync(rate / 4);
            await back.MoreAsync(rate / 4);
            long lost = await there.EndAsync() + await back.EndAsync();
            established.Add((up - killedAt) / 1e6);
            whole.Add((forwards - killedAt) / 1e6);
            lostInAll += lost;
            string wentDown = bfd > 0 ? $"  {await BfdDownsAsync(rig) - downs}" : "";
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {kill,-6}{established[^1],16:F0}{whole[^1],12:F0}{Math.Max(there.LongestGapMs, back.LongestGapMs),10:F1}{lost,8}"
                + $"{there.Sent + back.Sent,10}{wentDown}"));
        }

        KeeperInfo keeper = await rig.Kept.KeeperAsync();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  median{Median(established),16:F0}{Median(whole),12:F0}{"",10}{lostInAll,8}   keeper: {keeper.Packets} packets forwarded, "
            + $"{keeper.Dropped} dropped, {keeper.SentBytes / 1e6:F1} MB of state since the last restart"));
        Console.WriteLine($"  goal: established <= 1000 ms: {(established.Max() <= 1000 ? "met" : "missed")}; routes <= 2000 ms: "
            + $"{(whole.Max() <= 2000 ? "met" : "missed")}; nothing lost: {(lostInAll == 0 ? "met" : "missed")}");
    }

    private static async Task<long> BfdDownsAsync(KeeperRig rig)
        => (await rig.Next.BfdAsync()).Sessions is [{ Downs: var downs }] ? downs : 0;

    private static async Task<(long Established, long Forwards)> EventsAsync(KeeperRig rig)
    {
        long up = 0;
        using var patience = new CancellationTokenSource(Patience.Long);
        await foreach (EventRecord e in rig.Kept.EventsAsync(0, patience.Token))
        {
            if (e is { Kind: "bgp", Change: "established" } && up == 0) up = e.AtNs;
            if (e is { Kind: "keeper", Change: "taken-back" }) return (up, e.AtNs);
        }

        throw new InvalidOperationException("the events ended before the PE forwarded");
    }

    // The FIB has it all, and the keeper too.
    private static Task WholeAsync(KeeperRig rig, int routes) => rig.UntilAsync($"{routes} routes are in the FIB", async pe =>
        (await pe.VrfsAsync())[0].RoutesV4 > routes && await pe.KeeperAsync() is { QueuedBytes: 0, Wholes: > 0 });

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }
}
