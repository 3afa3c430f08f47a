using System.CommandLine;
using SdnEdge.Client;
using SdnEdge.Demo.Run;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge demo</c>: the Figure 1 lab, traffic from every ingress, one planned switchover, a report and a verdict.</summary>
internal static class DemoCommand
{
    // A virtual machine boots, is tried at rest, and its memory is copied while it runs.
    private static readonly TimeSpan StandInLimit = TimeSpan.FromSeconds(85), GuestLimit = TimeSpan.FromSeconds(300);

    private const long StandInRate = 20_000, GuestRate = 5000;
    private const int StandInTcp = 250_000, GuestTcp = 50_000;

    public static Command Create()
    {
        var folder = new Option<DirectoryInfo>("--out")
        {
            Description = "Folder for report.json and report.html.",
            DefaultValueFactory = _ => new DirectoryInfo("demo-report"),
        };
        var vm = new Option<string?>("--vm")
        {
            Description = "qemu: the server is a virtual machine, which moves with its memory and its disk, there and back (./build.sh "
                + "guest "
                + "makes it). stand-in: it is processes in a namespace, and moves once; the quick one. Default: qemu, and with --topology "
                + "what that has.",
        };
        vm.AcceptOnlyFromAmong("stand-in", "qemu");
        var rate = new Option<long?>("--rate")
        {
            Description = "Packets per second towards the server, all ingresses together; a quarter of it goes back. Default: "
                + $"{StandInRate}. With --vm qemu all of it goes back; a machine that does not answer all of it at rest gets half of "
                + $"what it does. Default: {GuestRate}.",
        };
        var blackout = new Option<int>("--blackout")
        {
            Description = "Stand-in only: milliseconds that the last copy of the server's state takes: for so long it is at neither site.",
            DefaultValueFactory = _ => 300,
        };
        var rtt = new Option<double?>("--rtt")
        {
            Description = "Round-trip time between two PEs, milliseconds. Default: as the topology says (40).",
        };
        var noHold = new Option<bool>("--no-hold") { Description = "Without the hold at the target PE: shows what is lost then." };
        var noOrder = new Option<bool>("--no-order")
        {
            Description = "Without flush markers: shows what is reordered when ingress PEs go over to the direct path.",
        };
        var orderBound = new Option<int>("--order-bound")
        {
            Description = "Longest time in which packets of an ingress wait for its flush marker, milliseconds: a machine that stands "
                + "still for longer reorders.",
            DefaultValueFactory = _ => 1000,
        };
        var quiet = new Option<int>("--quiet")
        {
            Description = "Longest time that a packet may be on its way in the tunnel, milliseconds, where no flush marker says that it is "
                + "through.",
            DefaultValueFactory = _ => 500,
        };
        var compare = new Option<bool>("--compare")
        {
            Description = "With --vm qemu: the same machine is moved a second time, by a script with plain migrate and a change of routes, "
                + "in a lab of its own; the report has both side by side.",
        };
        var keep = new Option<bool>("--keep") { Description = "Leaves the lab running afterwards." };
        var topology = new Option<string?>("--topology", "-t")
        {
            Description = "Topology file, or the name of one of ours: figure1 (the default), ce-switchover; with a virtual machine that is "
                + "topologies/NAME-qemu.clab.yml, with --vm stand-in topologies/NAME.clab.yml.",
        };
        var name = new Option<string?>("--name", "-n") { Description = "Name of the lab. Default: the topology's." };
        var command = new Command("demo",
            """
            Moves a virtual server from data centre A to data centre B, and a virtual machine back again, under traffic, and shows that
            nothing is lost.

            Exit code 0 only when: no packet lost, duplicated, reordered, stale or dropped by the hold; no TCP reset; every ingress
            on the direct path; the tunnel torn down; nothing left over; a virtual machine's counter and memory intact; every record
            that was acknowledged to it on the disks of both sites, and these equal.
            (Of ingress PEs that send no flush markers, packets may be reordered at the step to the direct path.)
            1: a condition failed. 2: the run could not be made.
            """)
        {
            folder, vm, rate, blackout, rtt, noHold, noOrder, orderBound, quiet, compare, keep, topology, name,
            DemoOutageCommand.Create(),
        };
        command.SetAction(async (parse, cancel) =>
        {
            string? given = parse.GetValue(topology);
            if (Topologies.Find(given ?? Topologies.Default, parse.GetValue(vm)) is not { } file)
                return Fail($"there is no topology {given ?? Topologies.Default}; give --topology FILE, or the name of one in the folder "
                    + "topologies of the working folder or one above it, e.g. --topology figure1");
            bool guest = (parse.GetValue(vm) ?? KindIn(file)) == "qemu";
            long packets = parse.GetValue(rate) ?? (guest ? GuestRate : StandInRate);
            TimeSpan most = (guest ? GuestLimit : StandInLimit) + (parse.GetValue(compare) ? GuestLimit : TimeSpan.Zero);
            if (packets is < 3 or > 500_000 || parse.GetValue(blackout) is < 0 or > 9_000)
            {
                return Fail("--rate is 3 to 500000 packets per second, --blackout 0 to 9000 milliseconds (the hold keeps no packet longer "
                    + "than 10 s)");
            }

            if (parse.GetValue(orderBound) is < 1 or > 60_000 || parse.GetValue(quiet) is < 1 or > 60_000)
                return Fail("--order-bound and --quiet are 1 to 60000 milliseconds");

            if (parse.GetValue(compare) && !guest) return Fail("--compare moves a virtual machine a second time; not with --vm stand-in");

            try
            {
                parse.GetValue(folder)!.Create();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return Fail($"--out {parse.GetValue(folder)}: no report can be written there: {e.Message}");
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(most);
            var view = new DemoView(DemoView.NewConsole());
            try
            {
                DemoReport report = await new DemoRun(new DemoOptions
                {
                    Topology = file,
                    Out = parse.GetValue(folder)!,
                    LabName = parse.GetValue(name),
                    Rate = packets,
                    TcpBytesPerSecond = guest ? GuestTcp : StandInTcp,
                    BlackoutMs = parse.GetValue(blackout),
                    RttMs = parse.GetValue(rtt),
                    Hold = !parse.GetValue(noHold),
                    Order = !parse.GetValue(noOrder),
                    OrderBoundMs = parse.GetValue(orderBound),
                    QuietMs = parse.GetValue(quiet),
                    Compare = parse.GetValue(compare),
                    Keep = parse.GetValue(keep),
                }, view).RunAsync(limit.Token);
                view.Show(report, parse.GetValue(folder)!);
                return report.Passed ? 0 : 1;
            }
            catch (OperationCanceledException)
            {
                return Fail(cancel.IsCancellationRequested ? "interrupted; the lab is gone"
                    : $"not done within {most.TotalSeconds:0} s; given up");
            }
            catch (Exception e) when (e is LabException or TopologyException or ProbeException or ApiUnreachableException
                or ApiProblemException or InvalidOperationException
                or IOException or UnauthorizedAccessException or LinuxException)
            {
                return Fail(e.Message);
            }
        });
        return command;
    }

    // A topology that cannot be read is told of when it is deployed.
    private static string KindIn(string topology)
    {
        try
        {
            return TopologyLoader.Load(topology).Nodes.Any(n => n.Kind == NodeKind.Server) ? "stand-in" : "qemu";
        }
        catch (TopologyException)
        {
            return "qemu";
        }
    }

    private static int Fail(string why)
    {
        Console.Error.WriteLine($"sdnedge demo: {why}");
        return 2;
    }

    /// <summary>Topology files by name.</summary>
    internal static class Topologies
    {
        public const string Default = "figure1";

        /// <summary>A topology file; or, of a name, ours in the working folder or in one above it or above the program: that with a virtual
        /// machine before that with a stand-in, unless a kind is asked for.</summary>
        public static string? Find(string given, string? kind)
        {
            if (given.Contains('/', StringComparison.Ordinal) || given.Contains('.', StringComparison.Ordinal) || File.Exists(given))
                return given;
            string[] names = kind switch
            {
                "stand-in" => [given],
                "qemu" => [$"{given}-qemu"],
                _ => [$"{given}-qemu", given],
            };
            foreach (string start in new[] { Directory.GetCurrentDirectory(), AppContext.BaseDirectory })
            {
                for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
                {
                    foreach (string name in names)
                    {
                        string file = Path.Combine(folder.FullName, "topologies", $"{name}.clab.yml");
                        if (File.Exists(file)) return file;
                    }
                }
            }

            return null;
        }
    }
}
