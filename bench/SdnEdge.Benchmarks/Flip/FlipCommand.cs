using System.Globalization;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Benchmarks.Ingress;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Keeper;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Benchmarks.Flip;

/// <summary>
/// An armed backup, and two faults. The host that PE_a watches by BFD stands still (SIGSTOP; its link stays up), and later goes on. Or the
/// site is cut off: the switch between PE_a and everything in the data centre drops what comes, without a word and with the carrier up,
/// and later forwards again. How long until PE_a has noticed, until its store is made, and until the first packet is at PE_b; then how soon
/// the false alarm is taken back. All the time numbered packets go from a client to the server: not one may come out of order, and none may
/// be lost but those that went into the black hole before the store.
/// </summary>
internal static class FlipCommand
{
    private const string Usage = "usage: bench flip [--fault frozen|cut] [--prefixes N] [--runs N] [--rate PACKETS/S]   (default: both, 1 "
        + "and 100000 prefixes, 20, 1000)";
    private const int GoalMedianMs = 175, GoalP99Ms = 250;

    // What was sent so short before the cut may have met it.
    private const long OnTheWayNs = 20_000_000;

    public static int Run(string[] args)
    {
        var numbers = new Dictionary<string, int> { ["--prefixes"] = 0, ["--runs"] = 20, ["--rate"] = 1000 };
        Fault[] faults = Enum.GetValues<Fault>();
        for (int i = 0; i < args.Length; i++)
        {
            if (Words.TakeNumber(numbers, args, ref i)) continue;
            if (args[i] == "--fault" && ++i < args.Length && args[i] is "frozen" or "cut")
            {
                faults = [args[i] == "cut" ? Fault.Cut : Fault.Frozen];
                continue;
            }

            Console.Error.WriteLine(Usage);
            return 2;
        }

        string? program = IngressCommand.Program();
        if (program is null)
        {
            Console.Error.WriteLine("bench flip: artifacts/bin/sdnedge is missing; run it as './build.sh bench flip'");
            return 2;
        }

        int[] counts = numbers["--prefixes"] == 0 ? [1, 100_000] : [numbers["--prefixes"]];
        return RunAsync(program, faults, counts, numbers["--runs"], numbers["--rate"]).GetAwaiter().GetResult();
    }

    // What fails.
    private enum Fault
    {
        Frozen,
        Cut,
    }

    private static async Task<int> RunAsync(string program, Fault[] faults, int[] counts, int runs, int rate)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("sdnedge-bench-");
        RunningLab? lab = null;
        bool sound = true;
        try
        {
            lab = await FlipLab.DeployAsync(folder.FullName, [program]);
            using PeClient a = Client("pe-a"), b = Client("pe-b");
            await UntilAsync(async () => (await a.BfdAsync()).Sessions is [{ State: "up" }]);
            int epoch = 0;
            foreach (Fault fault in faults)
            {
                foreach (int count in counts) sound &= await MeasureAsync(lab, a, b, fault, count, ++epoch, runs, rate);
            }

            return sound ? 0 : 1;
        }
        finally
        {
            if (lab is not null) await lab.DestroyAsync();
            folder.Delete(recursive: true);
        }

        PeClient Client(string name) => new(new ApiEndpoint(name, lab.ApiSocket(name))) { RequestTimeout = TimeSpan.FromMinutes(3) };
    }

    private static async Task<bool> MeasureAsync(
        RunningLab lab, PeClient a, PeClient b, Fault fault, int count, int epoch, int runs, int rate)
    {
        MovingPrefix[] prefixes = [new($"{FlipLab.Server}/32", "dc"), .. Enumerable.Range(0, count - 1).Select(i =>
            new MovingPrefix($"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}/32", "dc"))];
        string id = $"flip{epoch}";
        await b.SignalAsync(id, SignalKind.Prepare, new SignalRequest(epoch, MigrationRole.Target, "default", prefixes, "10.255.0.1",
            (uint)(100 + epoch)));
        await a.SignalAsync(id, SignalKind.Prepare, new SignalRequest(epoch, MigrationRole.Source, "default", prefixes, "10.255.0.2",
            (uint)(100 + epoch), Watch: [new WatchedPart(Bfd: FlipLab.Watched)]));
        await UntilAsync(async () => await a.MigrationAsync(id) is { Backup.Unready: null });
        int bfdd = lab.State.Processes.Single(p => p.Node == "hv" && p.Name.Contains("bfdd", StringComparison.Ordinal)).ProcessId;
        using var traffic = new Numbered(SocketOf(lab, "c3", "10.2.3.10"), SocketOf(lab, "vs", FlipLab.Server), rate);
        await traffic.MoreAsync(rate / 2);
        Console.WriteLine($"{(fault == Fault.Cut ? "the site is cut off" : "the watched host stands still")}: {count} prefixes, {rate} "
            + $"packets a second, BFD at 3x50 ms\n{"run",4} {"noticed ms",11} {"stored us",10} {"at PE_b ms",11} {"back ms",8} {"held",6}");
        var noticed = new List<double>();
        var arrived = new List<double>();
        var backs = new List<double>();
        long swallowed = 0;
        var holes = new List<(long From, long To)>();
        for (int run = 1; run <= runs; run++)
        {
            // A migration of 100000 prefixes is megabytes: while time counts, only the groups are looked at.
            long before = (await GroupAsync(a)).TunnelPackets;
            long failedAt = Monotonic.Now;
            if (fault == Fault.Frozen) Signals.Send(bfdd, ProcessSignal.Stop);
            else await CutAsync(lab, cut: true);
            await UntilAsync(async () => (await GroupAsync(a)).TunnelPackets >= before + (rate / 10));
            BackupInfo backup = (await a.MigrationAsync(id)).Backup!;
            HoldInfo hold = (await b.MigrationAsync(id)).Hold!;
            if (fault == Fault.Frozen) Signals.Send(bfdd, ProcessSignal.Continue);
            else await CutAsync(lab, cut: false);
            await UntilAsync(async () => (await GroupAsync(a)).Active == "native");
            BackupInfo after = (await a.MigrationAsync(id)).Backup!;
            long up = after.Watch[0].SinceNs;
            if (fault == Fault.Cut) holes.Add((failedAt - OnTheWayNs, backup.FlippedAtNs!.Value));
            noticed.Add((backup.NoticedAtNs!.Value - failedAt) / 1e6);
            arrived.Add((hold.FirstAtNs!.Value - failedAt) / 1e6);
            backs.Add((after.BackAtNs!.Value - up) / 1e6);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{run,4} {noticed[^1],11:F1} {(backup.FlippedAtNs!.Value - backup.NoticedAtNs.Value) / 1e3,10:F0} {arrived[^1],11:F1} "
                + $"{backs[^1],8:F1} {hold.PacketsHeldTotal,6}"));
            await traffic.MoreAsync(rate / 4);
        }

        long missing = await traffic.EndAsync();
        foreach ((long from, long to) in holes) swallowed += traffic.MissingOf(from, to);
        long lost = missing - swallowed;
        BackupInfo end = (await a.MigrationAsync(id)).Backup!;
        await a.SignalAsync(id, SignalKind.Abort, new SignalRequest(epoch));
        await b.SignalAsync(id, SignalKind.Abort, new SignalRequest(epoch));
        await UntilAsync(async () => await b.MigrationAsync(id) is { LeftOver.Count: 0 });
        (double median, double p99) = (At(arrived, 50), At(arrived, 99));
        string hole = fault == Fault.Cut ? $", and {swallowed} in the black hole before the store" : "";
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"  from the failure to the first packet at PE_b: median {median:F1} ms, p99 {p99:F1} ms, of it detection {At(noticed, 50):F1} "
            + $"and {At(noticed, 99):F1} ms; a false alarm was back {At(backs, 50):F1} ms (median) after BFD, {backs.Max():F1} at most\n"
            + $"  lost {lost} of {traffic.Sent} packets{hole}, "
            + $"{traffic.OutOfOrder} out of order, {end.Unordered} returns without the target's word\n"
            + $"  goal: median <= {GoalMedianMs} ms: {Met(median <= GoalMedianMs)}; p99 <= {GoalP99Ms} ms: {Met(p99 <= GoalP99Ms)}; back "
            + $"within 1 s, in order, nothing lost: {Met(backs.Max() <= 1000 && lost == 0 && traffic.OutOfOrder == 0)}\n"));
        return lost == 0 && traffic.OutOfOrder == 0;
    }

    // The port of the data centre's switch towards PE_a: neither end sees its carrier go.
    private static Task CutAsync(RunningLab lab, bool cut)
        => LabInstance.RunAsync(lab, "dc-a", "bridge", "link", "set", "dev", "eth1", "state", cut ? "0" : "3");

    private static string Met(bool met) => met ? "met" : "missed";

    private static double At(List<double> values, int percent)
    {
        double[] sorted = [.. values.Order()];
        return sorted[Math.Min(sorted.Length - 1, sorted.Length * percent / 100)];
    }

    private static async Task<RedirectGroupInfo> GroupAsync(PeClient pe) => (await pe.GroupsAsync()).Single();

    private static Socket SocketOf(RunningLab lab, string node, string address) => Namespaces.Run(lab.NamespaceOf(node), () =>
    {
        // What was held comes at once: a receiver that is held up itself must not lose it in its own queue.
        const int SolSocket = 1, ReceiveBufferForce = 33, Bytes = 32 << 20;
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.SetRawSocketOption(SolSocket, ReceiveBufferForce, BitConverter.GetBytes(Bytes));
        socket.Bind(new IPEndPoint(IPAddress.Parse(address), 5000));
        return socket;
    });

    private static Task UntilAsync(Func<Task<bool>> condition) => Patience.UntilAsync(condition, () => "the lab does not get there");
}
