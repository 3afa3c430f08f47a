using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Core.Api;

namespace SdnEdge.Benchmarks.Switchover;

/// <summary>One trial: a switch of a group, or a control run in which nothing is switched.</summary>
internal sealed record Trial(int Prefixes, double StoreNs, double SignalUs, double BystanderGapUs, double BystanderRate,
    double GroupFirstUs, long Stale);

/// <summary>What many trials of one kind say.</summary>
internal sealed record SwitchoverRow(
    string What, int Trials, double StoreP50Ns, double StoreP99Ns, double StoreMaxNs, double SignalP50Us, double SignalP99Us,
        double SignalMaxUs,
    double FirstP50Us, double GapP50Us, double GapP99Us, double GapMaxUs, double RateP50, long Stale);

/// <summary>
/// What switching a redirect group of 1, 1 k, 100 k and 1 M prefixes costs: the store, the whole signal (the store and the
/// grace period of a worker that forwards at full speed), and the bystanders, packets to other prefixes. Trials of all
/// sizes and control runs without a switch (there "store" is the clock read twice) take turns, in random order, over one table.
/// </summary>
internal static class SwitchoverCommand
{
    private static readonly int[] Sizes = [1, 1_000, 100_000, 1_000_000];
    private static readonly JsonSerializerOptions RowsJson = new(ApiJson.Indented) { TypeInfoResolver = new DefaultJsonTypeInfoResolver() };

    public static int Run(string[] args)
    {
        int trials = 200;
        string? file = null;
        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--trials" && i + 1 < args.Length && int.TryParse(args[i + 1], out int value)
                && value is >= 100 and <= 100_000) (trials, i) = (value, i + 1);
            else if (args[i] == "--json" && i + 1 < args.Length) file = args[++i];
            else
            {
                Console.Error.WriteLine("usage: bench switchover [--trials N] [--json FILE]   (N: switches of each size, 100 to 100000; "
                    + "default 200)");
                return 2;
            }
        }

        Console.WriteLine($"filling a table: groups of {string.Join(", ", Sizes.Select(s => s.ToString("N0")))} prefixes and "
            + $"{SwitchoverRig.Bystanders:N0} bystanders");
        using var rig = new SwitchoverRig(Sizes);
        rig.Start();
        foreach (int group in Enumerable.Range(-1, Sizes.Length + 1)) for (int i = 0; i < 30; i++) rig.Try(group);

        var all = new Dictionary<int, List<Trial>>();
        var random = new Random(1);
        long begin = Stopwatch.GetTimestamp();
        for (int round = 0; round < trials; round++)
        {
            int[] order = [.. Enumerable.Range(-1, Sizes.Length + 1)];
            random.Shuffle(order);
            foreach (int group in order)
            {
                if (!all.TryGetValue(group, out List<Trial>? list)) all[group] = list = [];
                list.Add(rig.Try(group));
            }
        }

        SwitchoverRow[] rows = [.. all.OrderBy(p => p.Key).Select(p
            => Sum(p.Key < 0 ? "no switch" : Sizes[p.Key].ToString("N0", CultureInfo.InvariantCulture), p.Value))];
        Console.WriteLine($"{trials} switches of each size in {Stopwatch.GetElapsedTime(begin).TotalSeconds:0} s, one worker at full speed "
            + $"({rig.PacketsPerSecond() / 1e6:0.00} Mpps, half of them bystanders)\n");
        Console.WriteLine($"{"",-10} | {"store ns",-21} | {"signal us",-23} | {"1st us",7} | {"bystanders: longest gap us",-26} | "
            + $"{"Mpps",5} |");
        Console.WriteLine($"{"prefixes",-10} | {"p50",6} {"p99",6} {"max",7} | {"p50",6} {"p99",7} {"max",8} | {"p50",7} | {"p50",8} "
            + $"{"p99",8} {"max",8} | {"p50",5} | stale");
        foreach (SwitchoverRow r in rows)
        {
            bool control = r.What == "no switch";
            Console.WriteLine((control ? $"{r.What,-10} | {r.StoreP50Ns,6:0} {r.StoreP99Ns,6:0} {r.StoreMaxNs,7:0} | {"",23} | {"",7} | "
                : $"{r.What,-10} | {r.StoreP50Ns,6:0} {r.StoreP99Ns,6:0} {r.StoreMaxNs,7:0} | {r.SignalP50Us,6:0.0} {r.SignalP99Us,7:0.0} "
                + $"{r.SignalMaxUs,8:0.0} | {r.FirstP50Us,7:0.0} | ")
                + $"{r.GapP50Us,8:0.0} {r.GapP99Us,8:0.0} {r.GapMaxUs,8:0.0} | {r.RateP50 / 1e6,5:0.00} | {r.Stale}");
        }

        SwitchoverRow one = rows[1], million = rows[^1];
        Console.WriteLine($"\nstore, 1 M prefixes to 1: {million.StoreP50Ns / one.StoreP50Ns:0.00} (goal 1.10 at most); store p50 "
            + $"{million.StoreP50Ns:0} ns (goal below 1000), the clock's {rows[0].StoreP50Ns:0} ns included");
        Console.WriteLine($"signal, 1 M prefixes to 1: {million.SignalP50Us / one.SignalP50Us:0.00}; bystanders at 1 M to control: gap "
            + $"{million.GapP50Us / rows[0].GapP50Us:0.00}, rate {million.RateP50 / rows[0].RateP50:0.00} (a group of one: "
            + $"{one.RateP50 / rows[0].RateP50:0.00}; the group's packets cost more in the tunnel)");
        if (file is not null) File.WriteAllText(file, JsonSerializer.Serialize(rows, RowsJson) + "\n");
        return rows.All(r => r.Stale == 0) ? 0 : 1;
    }

    private static SwitchoverRow Sum(string what, List<Trial> trials) => new(
        what, trials.Count, At(trials, t => t.StoreNs, 0.5), At(trials, t => t.StoreNs, 0.99), At(trials, t => t.StoreNs, 1),
        At(trials, t => t.SignalUs, 0.5), At(trials, t => t.SignalUs, 0.99), At(trials, t => t.SignalUs, 1),
            At(trials, t => t.GroupFirstUs, 0.5),
        At(trials, t => t.BystanderGapUs, 0.5), At(trials, t => t.BystanderGapUs, 0.99), At(trials, t => t.BystanderGapUs, 1),
        At(trials, t => t.BystanderRate, 0.5), trials.Sum(t => t.Stale));

    private static double At(List<Trial> trials, Func<Trial, double> value, double quantile)
    {
        double[] sorted = [.. trials.Select(value).Order()];
        return sorted[Math.Min(sorted.Length - 1, (int)(quantile * sorted.Length))];
    }
}
