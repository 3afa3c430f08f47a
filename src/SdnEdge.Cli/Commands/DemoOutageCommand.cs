using System.CommandLine;
using SdnEdge.Client;
using SdnEdge.Demo.Report;
using SdnEdge.Demo.Run;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge demo outage</c>: the Figure 1 lab, traffic from every ingress, one failure without a farewell, a fail-over, a report
/// and a verdict.</summary>
internal static class DemoOutageCommand
{
    private const string Topology = "figure1";
    private const double AgentAfterSeconds = 5;
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(420);

    public static Command Create()
    {
        var policy = new Option<string>("--policy")
        {
            Description = "How the group comes up at the other site: cold, from its volumes there.",
            DefaultValueFactory = _ => "cold",
        };
        var fail = new Option<string>("--fail")
        {
            Description = "What fails without a farewell. guest: its QEMU is killed. host: QEMU and the host's agent are killed; the agent "
                + "is started again after a while.",
            HelpName = "guest|host|site",
            DefaultValueFactory = _ => "guest",
        };
        var automatic = new Option<bool>("--automatic")
        {
            Description = "The manager begins the fail-over by itself. Without it: as its configuration says; else the demo begins it, as "
                + "an operator does.",
        };
        var agentAfter = new Option<double?>("--agent-after")
        {
            Description = "With --fail host: seconds that the fail-over stays suspected before the agent is started again. Default: "
                + $"{AgentAfterSeconds:0}.",
            HelpName = "SECONDS",
        };
        var rate = new Option<long>("--rate")
        {
            Description = "Packets per second towards the server, all ingresses together; it sends each back.",
            DefaultValueFactory = _ => 300,
        };
        var rtt = new Option<double?>("--rtt")
        {
            Description = "Round-trip time between two PEs, milliseconds. Default: as the topology says (40).",
        };
        var orderBound = new Option<int>("--order-bound")
        {
            Description = "On the way home: longest time in which packets of an ingress wait for its flush marker, milliseconds.",
            DefaultValueFactory = _ => 1000,
        };
        var quiet = new Option<int>("--quiet")
        {
            Description = "On the way home: longest time that a packet may be on its way in the tunnel, milliseconds, where no flush "
                + "marker says that it is through.",
            DefaultValueFactory = _ => 500,
        };
        var folder = new Option<DirectoryInfo>("--out")
        {
            Description = "Folder for report.json and report.html.",
            DefaultValueFactory = _ => new DirectoryInfo("demo-report"),
        };
        var keep = new Option<bool>("--keep") { Description = "Leaves the lab running afterwards." };
        var name = new Option<string?>("--name", "-n") { Description = "Name of the lab. Default: the topology's." };
        var command = new Command("outage",
            """
            Has a virtual machine with its disk fail at data centre A, under traffic and while it writes, and come up at data centre B from
            its replica; then moves it home as planned. Shows what was lost, and when.

            Exit code 0 only when the policy's promises were kept. cold: the server runs at B, nothing ran twice, what is lost of its disk
            is its newest part and no older than what the replica lacked, packets keep their order, the failed site has lost the server and
            its disk, the planned move home is as any planned move, the group is protected again, nothing is left over.
            1: a promise was not kept. 2: the run could not be made.
            """)
        {
            policy, fail, automatic, agentAfter, rate, rtt, orderBound, quiet, folder, keep, name,
        };
        command.SetAction(async (parse, cancel) =>
        {
            string part = parse.GetValue(fail)!;
            if (WhyNot(part, parse.GetValue(policy)!, parse.GetValue(agentAfter), parse.GetValue(rate)) is { } why) return Fail(why);
            if (parse.GetValue(orderBound) is < 1 or > 60_000 || parse.GetValue(quiet) is < 1 or > 60_000)
                return Fail("--order-bound and --quiet are 1 to 60000 milliseconds");
            if (DemoCommand.Topologies.Find(Topology, "qemu") is not { } file)
                return Fail($"topologies/{Topology}-qemu.clab.yml is not in the working folder or one above it");
            DirectoryInfo into = parse.GetValue(folder)!;
            try
            {
                into.Create();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return Fail($"--out {into}: no report can be written there: {e.Message}");
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(s_limit);
            IAnsiConsole console = DemoView.NewConsole();
            try
            {
                DemoReport report = await new OutageRun(new OutageOptions
                {
                    Topology = file,
                    Out = into,
                    Failed = part == "host" ? FailedPart.Host : FailedPart.Guest,
                    Policy = parse.GetValue(policy)!,
                    Automatic = parse.GetValue(automatic),
                    AgentAfter = TimeSpan.FromSeconds(parse.GetValue(agentAfter) ?? AgentAfterSeconds),
                    LabName = parse.GetValue(name),
                    Rate = parse.GetValue(rate),
                    RttMs = parse.GetValue(rtt),
                    OrderBoundMs = parse.GetValue(orderBound),
                    QuietMs = parse.GetValue(quiet),
                    Keep = parse.GetValue(keep),
                }, new DemoView(console)).RunAsync(limit.Token);
                OutageView.Show(console, report, into);
                return report.Passed ? 0 : 1;
            }
            catch (OperationCanceledException)
            {
                return Fail(cancel.IsCancellationRequested ? "interrupted; the lab is gone"
                    : $"not done within {s_limit.TotalSeconds:0} s; given up");
            }
            catch (Exception e) when (e is LabException or TopologyException or ProbeException or ApiUnreachableException
                or ApiProblemException or InvalidOperationException or IOException or UnauthorizedAccessException or LinuxException)
            {
                return Fail(e.Message);
            }
        });
        return command;
    }

    /// <summary>What is wrong with what was asked for; null = nothing.</summary>
    internal static string? WhyNot(string fail, string policy, double? agentAfter, long rate) => (fail, policy) switch
    {
        ("site", _) => "--fail site is not possible yet: nobody at a site that is gone can say that its servers are dead, and this lab has "
            + "no witness whose lease would end; --fail guest and --fail host work",
        (not ("guest" or "host"), _) => $"--fail is guest or host, not '{fail}'",
        (_, not "cold") => $"--policy '{policy}' is not there; cold is: the group comes up from its volumes at the other site",
        ("guest", _) when agentAfter is not null =>
            "--agent-after goes with --fail host: where the guest alone fails its host's agent lives on",
        _ when agentAfter is < 0 or > 60 => "--agent-after is 0 to 60 seconds",
        _ when rate is < 30 or > 5000 => "--rate is 30 to 5000 packets per second",
        _ => null,
    };

    private static int Fail(string why)
    {
        Console.Error.WriteLine($"sdnedge demo outage: {why}");
        return 2;
    }
}
