using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>
/// Forwarding from TAP to TAP, in one run, interleaved:
/// <list type="number">
/// <item>Everything under test is started, each with TAPs of its own, all on one core; all sleep but the one whose turn it is.</item>
/// <item>In each repetition each gets its turn. `--method drain`: its input queue is filled while it stands still, and then it
/// works that off. `--method flood`: the generator, on the other core, floods its input for a while. An XDP program on its
/// output counts what comes out and drops it.</item>
/// <item>Ratios are taken within a repetition, so that what the machine does meanwhile hits both sides; their median counts.</item>
/// </list>
/// Where the two cores are not its own, packets a second say what others left over: packets per second of the forwarder's
/// own processor time are the steadier figure, and both are shown. `--realtime yes` instead has generator and forwarder run
/// before everything else for the time of a turn (keep --seconds short). The first repetition only warms up (the JIT needs a few seconds of
/// load to be done). A flood is valid only where the generator outran the forwarder: the input queue must have overflowed.
/// </summary>
internal static class NetnsCommand
{
    private static readonly JsonSerializerOptions Json = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    /// <summary>Packets that wait before a forwarder: enough for a backlog.</summary>
    public const string QueueLength = "120000";

    private const int ForwarderCore = 0, GeneratorCore = 1;

    public static int Run(string[] args)
    {
        var options = new Dictionary<string, string>
        {
            ["--repetitions"] = "7", ["--seconds"] = "1.5", ["--warmup"] = "4", ["--routes"] = "1000000", ["--out"] = "", ["--only"] =
                "", ["--realtime"] = "no",
            ["--method"] = "drain", ["--backlog"] = "100000",
        };
        for (int i = 0; i < args.Length; i += 2)
        {
            if (!options.ContainsKey(args[i]) || i + 1 == args.Length)
            {
                Console.Error.WriteLine($"usage: bench netns [{string.Join("] [", options.Select(o => $"{o.Key} VALUE"))}]");
                return 2;
            }

            options[args[i]] = args[i + 1];
        }

        int repetitions = int.Parse(options["--repetitions"]);
        double seconds = double.Parse(options["--seconds"], CultureInfo.InvariantCulture);
        bool realtime = options["--realtime"] == "yes";
        bool drain = options["--method"] == "drain";
        double warmup = double.Parse(options["--warmup"], CultureInfo.InvariantCulture);
        if (Environment.ProcessorCount < 2) Console.Error.WriteLine(
            "only one core: generator and forwarder share it, and the figures say little");

        using var rig = new Rig();
        ConsoleCancelEventHandler cancel = (_, _) => rig.Dispose();
        Console.CancelKeyPress += cancel;
        List<Contender> contenders = [.. Start(rig, options["--routes"], options["--only"])];
        string[] sinks = [.. contenders.Select(c => c.Output).Distinct(StringComparer.Ordinal)];
        string generator = rig.Compile("netns/tapgen.c");
        Process sink = rig.Start(GeneratorCore, generator, ["drop", .. sinks]);
        Rig.Expect(sink, "ready");

        for (int repetition = 0; repetition <= repetitions; repetition++)
        {
            for (int i = 0; i < contenders.Count; i++)
            {
                int index = Array.IndexOf(sinks, contenders[i].Output);
                Turn turn = repetition > 0 && drain
                    ? Drain(rig, generator, sink, contenders[i], index, options["--backlog"], realtime)
                    : Flood(rig, generator, sink, contenders[i], index, repetition == 0 ? warmup : seconds, realtime && repetition > 0);
                if (repetition == 0) continue;
                if (realtime) Thread.Sleep((int)(seconds * 2000)); // the rest of the machine wants to run too
                contenders[i].Turns.Add(turn);
                Console.Error.WriteLine($"{repetition}/{repetitions} {contenders[i].Name,-14} {turn.Rate / 1000,7:F0} kpps, "
                    + $"{turn.PerCpuSecond / 1000,7:F0} k per CPU second");
            }
        }

        Report(contenders, options);
        foreach (Contender contender in contenders)
        {
            if (!contender.SaysWhatItCounted) continue;
            contender.Process.StandardInput.Close();
            Console.WriteLine($"{contender.Name}: {contender.Process.StandardOutput.ReadToEnd().Trim()}");
        }

        Console.CancelKeyPress -= cancel;
        return 0;
    }

    private static IEnumerable<Contender> Start(Rig rig, string routes, string only)
    {
        bool Wanted(string name) => only.Length == 0 || only.Split(',').Contains(name, StringComparer.Ordinal);
        byte[] frames = RouteSet.Frames(RouteSet.Make(int.Parse(routes)), 65536);
        File.WriteAllBytes(Path.Combine(rig.Folder, "frames"), frames);
        File.WriteAllBytes(Path.Combine(rig.Folder, "frame"), frames[..RouteSet.FrameBytes]);
        foreach ((string name, string way, string prefix) in new[] { ("c-loop", "wait", "c"), ("c-loop-poll", "poll", "n") })
        {
            if (!Wanted(name)) continue;
            Process loop = rig.Start(ForwarderCore, rig.Compile("netns/tapcopy.c"), prefix + "in", prefix + "out", way);
            Rig.Expect(loop, "ready");
            foreach (string device in new[] { prefix + "in", prefix + "out" }) rig.Inside("ip", "link", "set", device, "up", "txqueuelen",
                QueueLength);
            yield return new Contender(name, loop, prefix + "in", prefix + "out");
        }

        if (Wanted("ovs"))
        {
            if (OpenVSwitch.IsInstalled)
            {
                // Its exact-match cache does best with one flow, so it is measured with that too.
                OpenVSwitch ovs = OpenVSwitch.Start(rig, ForwarderCore, "oin", "oout");
                yield return new Contender("ovs", ovs.Process, "oin", "oout");
                yield return new Contender("ovs-one-flow", ovs.Process, "oin", "oout") { Frames = "frame" };
            }
            else Console.Error.WriteLine("Open vSwitch is not installed (package openvswitch-switch): left out");
        }

        foreach ((string name, string kind, string prefix) in new[] { ("sdnedge", "plain", "p"), ("sdnedge-gre", "gre", "g"),
            ("sdnedge-single", "single", "s") })
        {
            if (!Wanted(name)) continue;
            Process forward = rig.Start(ForwarderCore, Environment.ProcessPath!,
                [.. Self(), "netns-forward", prefix + "in", prefix + "out", routes, kind]);
            Rig.Expect(forward, "ready");
            yield return new Contender(name, forward, prefix + "in", prefix + "out") { SaysWhatItCounted = true };
        }
    }

    // When started as `dotnet x.dll`, the process is dotnet and needs to be told the program.
    private static string[] Self() =>
        Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [typeof(NetnsCommand).Assembly.Location] : [];

    /// <summary>
    /// How fast a backlog is worked off: the forwarder is stopped, its input queue filled, and it goes on. No generator
    /// runs meanwhile, so none can be too slow or in the way. The first and the last twentieth are left out.
    /// </summary>
    private static Turn Drain(Rig rig, string generator, Process sink, Contender contender, int index, string backlog, bool realtime)
    {
        long before = Sample.Take(sink, contender, index).Packets;
        Rig.Signal(contender.Process, "STOP");
        string filled;
        try
        {
            filled = rig.Inside(generator, "fill", contender.Input, backlog, Path.Combine(rig.Folder, contender.Frames),
                $"{RouteSet.FrameBytes}");
        }
        catch
        {
            Rig.Signal(contender.Process, "CONT");
            throw;
        }

        using JsonDocument json = JsonDocument.Parse(filled);
        long count = json.RootElement.GetProperty("taken").GetInt64();
        using IDisposable? priority = realtime ? new Realtime(contender.Process, sink) : null;
        Rig.Signal(contender.Process, "CONT");
        Sample? first = null, last = null;
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < TimeSpan.FromSeconds(20))
        {
            Sample sample = Sample.Take(sink, contender, index);
            long done = sample.Packets - before;
            if (first is null && done >= count / 20) first = sample;
            else if (first is not null && done <= count * 19 / 20) last = sample;
            if (done >= count * 19 / 20) break;
            Thread.Sleep(1);
        }

        if (first is null || last is null) throw new InvalidOperationException(
            $"{contender.Name} did not work off {count} packets in {watch.Elapsed.TotalSeconds:F0} s, or faster than it could be watched");
        double packets = last.Packets - first.Packets;
        return new Turn(
            packets / (last.At - first.At), packets / last.CpuSecondsSince(first), 0, count, (last.Bytes - first.Bytes) / packets);
    }

    private static Turn Flood(Rig rig, string generator, Process sink, Contender contender, int index, double seconds, bool realtime)
    {
        using IDisposable? priority = realtime ? new Realtime(contender.Process, sink) : null;
        long droppedBefore = TxDropped(rig, contender.Input);
        string[] place = realtime ? ["chrt", "-f", "5", "taskset"] : ["taskset"];
        using var load = Process.Start(new ProcessStartInfo(place[0],
            [.. place[1..], "-c", $"{GeneratorCore}", "ip", "netns", "exec", rig.Namespace, generator, "send", contender.Input,
                seconds.ToString(CultureInfo.InvariantCulture), Path.Combine(rig.Folder, contender.Frames), $"{RouteSet.FrameBytes}"])
        { UseShellExecute = false, RedirectStandardOutput = true })!;

        // The middle of the flood: the first tenth fills the queue, the end is left out.
        Thread.Sleep((int)(seconds * 150));
        Sample first = Sample.Take(sink, contender, index);
        Thread.Sleep((int)(seconds * 700));
        Sample last = Sample.Take(sink, contender, index);
        string result = load.StandardOutput.ReadToEnd();
        load.WaitForExit();
        using JsonDocument json = JsonDocument.Parse(result);
        double offered = json.RootElement.GetProperty("offered").GetDouble() / json.RootElement.GetProperty("seconds").GetDouble();
        double packets = last.Packets - first.Packets;
        return new Turn(
            packets / (last.At - first.At), packets / last.CpuSecondsSince(first), offered,
            TxDropped(rig, contender.Input) - droppedBefore, packets > 0 ? (last.Bytes - first.Bytes) / packets : 0);
    }

    private static long TxDropped(Rig rig, string device)
    {
        foreach (string line in rig.Inside("cat", "/proc/net/dev").Split('\n'))
        {
            string[] fields = line.Split([' ', ':'], StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > 12 && fields[0] == device) return long.Parse(fields[12]);
        }

        throw new InvalidOperationException($"device {device} is not there");
    }

    private static void Report(List<Contender> contenders, Dictionary<string, string> options)
    {
        Console.WriteLine();
        Console.WriteLine($"TAP to TAP, {options["--routes"]} routes, {RouteSet.FrameBytes}-byte frames to 65536 random destinations, "
            + $"{options["--method"]}; median (min .. max) of {options["--repetitions"]}");
        Console.WriteLine($"{"",-14} {"kpps",-24} {"k per CPU second",-24} {"frame out",-10} {"offered kpps",-13} valid");
        foreach (Contender c in contenders)
        {
            Console.WriteLine($"{c.Name,-14} {Spread(c.Turns.Select(t => t.Rate / 1000)),-24} "
                + $"{Spread(c.Turns.Select(t => t.PerCpuSecond / 1000)),-24} "
                + $"{Median(c.Turns.Select(t => t.FrameBytes)),-10:F0} {Median(c.Turns.Select(t => t.Offered / 1000)),-13:F0} "
                + $"{(c.Turns.TrueForAll(t => t.QueueOverflow > 0) ? "yes" : "NO: the generator did not outrun it")}");
        }

        Console.WriteLine();
        var ratios = new List<object>();
        foreach (Contender ours in contenders.Where(c => c.SaysWhatItCounted))
        {
            foreach (Contender peer in contenders.Where(c => !c.SaysWhatItCounted))
            {
                double[] rates = [.. ours.Turns.Zip(peer.Turns, (a, b) => a.Rate / b.Rate)];
                double[] perCpu = [.. ours.Turns.Zip(peer.Turns, (a, b) => a.PerCpuSecond / b.PerCpuSecond)];
                double goal = peer.Name.StartsWith("c-loop", StringComparison.Ordinal) ? 0.9 : 2;
                Console.WriteLine($"{ours.Name} / {peer.Name}: {Spread(rates, "F2")} in packets a second, {Spread(perCpu, "F2")} in "
                    + $"packets per CPU second; "
                    + $"goal {goal.ToString(CultureInfo.InvariantCulture)}: {(Median(rates) >= goal ? "met" : "missed")}, per CPU second "
                    + $"{(Median(perCpu) >= goal ? "met" : "missed")}");
                ratios.Add(new { ours = ours.Name, peer = peer.Name, rate = Median(rates), ratePerCpuSecond = Median(perCpu) });
            }
        }

        if (options["--out"].Length == 0) return;
        File.WriteAllText(options["--out"], JsonSerializer.Serialize(
            new
            {
                routes = int.Parse(options["--routes"]),
                frameBytes = RouteSet.FrameBytes,
                contenders = contenders.Select(c => new { name = c.Name, turns = c.Turns }),
                ratios,
            },
            Json));
    }

    private static string Spread(IEnumerable<double> values, string format = "F0")
    {
        double[] all = [.. values];
        return $"{Median(all).ToString(format)} ({all.Min().ToString(format)} .. {all.Max().ToString(format)})";
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? 0 : sorted.Length % 2 == 1 ? sorted[sorted.Length / 2]
            : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private sealed record Contender(string Name, Process Process, string Input, string Output)
    {
        public bool SaysWhatItCounted { get; init; }

        /// <summary>File of the frames sent to it.</summary>
        public string Frames { get; init; } = "frames";

        public List<Turn> Turns { get; } = [];
    }

    /// <summary>One flood: packets a second out, the same per second of the forwarder's processor time, packets a second offered, packets
    /// its full input queue refused, mean bytes of a frame out.</summary>
    private sealed record Turn(double Rate, double PerCpuSecond, double Offered, long QueueOverflow, double FrameBytes);

    private sealed record Sample(double At, long Packets, long Bytes, Dictionary<string, long> Cpu)
    {
        public static Sample Take(Process sink, Contender contender, int index)
        {
            sink.StandardInput.Write('\n');
            sink.StandardInput.Flush();
            string[] counts = sink.StandardOutput.ReadLine()!.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return new Sample(Stopwatch.GetTimestamp() / (double)Stopwatch.Frequency, long.Parse(counts[2 * index]),
                long.Parse(counts[(2 * index) + 1]),
                Rig.CpuNanoseconds(contender.Process));
        }

        /// <summary>Processor time since an earlier sample; of a thread that ended in between, nothing is known any more.</summary>
        public double CpuSecondsSince(Sample earlier) => Cpu.Sum(t => t.Value - earlier.Cpu.GetValueOrDefault(t.Key)) / 1e9;
    }
}
