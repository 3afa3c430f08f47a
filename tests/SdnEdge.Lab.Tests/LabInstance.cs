using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests;

/// <summary>A lab of a test's own: its name is nobody else's, its state lies in a folder of its own, and it goes with the test.</summary>
internal sealed partial class LabInstance : IAsyncDisposable
{
    private static int s_count;

    private LabInstance(string topology)
    {
        Name = string.Create(CultureInfo.InvariantCulture, $"t{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}");
        // Not the temporary folder's own kind, which only root may enter: FRR's daemons are another user.
        Root = Path.Combine(Path.GetTempPath(), $"sdnedge-{Name}");
        Directory.CreateDirectory(Root);
        File = Path.Combine(Root, "lab.clab.yml");
        System.IO.File.WriteAllText(File, topology.Replace("LABNAME", Name, StringComparison.Ordinal));
        StateRoot = Path.Combine(Root, "state");
        Options = new LabOptions { StateRoot = StateRoot, ReadyTimeout = Patience.Long };
    }

    public string Name { get; }

    public string Root { get; }

    public string File { get; }

    public string StateRoot { get; }

    public LabOptions Options { get; }

    public string Folder => Path.Combine(StateRoot, Name);

    public static LabInstance Of(string topology) => new(topology);

    /// <summary>One of the repository's topologies, with the configurations in the folder of its name.</summary>
    public static LabInstance WithFiles(string topology)
    {
        string name = Path.GetFileName(topology).Replace(".clab.yml", "", StringComparison.Ordinal);
        var instance = new LabInstance(System.IO.File.ReadAllText(topology).Replace($"name: {name}\n", "name: LABNAME\n",
            StringComparison.Ordinal));
        string folder = Path.Combine(instance.Root, name);
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.GetFiles(Path.Combine(Path.GetDirectoryName(topology)!, name)))
        {
            System.IO.File.WriteAllText(Path.Combine(folder, Path.GetFileName(file)),
                System.IO.File.ReadAllText(file).Replace($"/run/sdnedge/{name}", instance.Folder, StringComparison.Ordinal));
        }

        return instance;
    }

    public Task<RunningLab> DeployAsync(LabOptions? options = null)
        => LabRunner.DeployAsync(File, options ?? Options, CancellationToken.None);

    /// <summary>Deploys it by the command itself, in a process that may be sent a signal.</summary>
    public Process StartDeploy()
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return Process.Start(new ProcessStartInfo(self[0], [.. self.Skip(1), "lab", "deploy", "-t", File, "--state-dir", StateRoot])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        })!;
    }

    public string Namespace(string node) => $"clab-{Name}-{node}";

    /// <summary>All that is left of the lab: namespaces, state, and processes that name its folder.</summary>
    public IReadOnlyList<string> Residue() =>
    [
        .. Directory.Exists(Namespaces.Folder) ? Directory.GetFiles(Namespaces.Folder, $"clab-{Name}-*") : [],
        .. Directory.Exists(StateRoot) ? Directory.GetFileSystemEntries(StateRoot) : [],
        .. Directory.GetDirectories("/proc").Where(d => char.IsAsciiDigit(Path.GetFileName(d)[0])
            && Path.GetFileName(d) != $"{Environment.ProcessId}" && CommandOf(d).Contains(StateRoot, StringComparison.Ordinal)),
    ];

    /// <summary>Runs a program in a node and returns what it printed; throws when it fails.</summary>
    public static async Task<string> RunAsync(RunningLab lab, string node, params string[] argv)
    {
        using Process process = lab.Start(node, argv, redirect: true);
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output
            : throw new InvalidOperationException(
                $"{string.Join(' ', argv)} in {node}: exit code {process.ExitCode}: {output}{await errors}");
    }

    /// <summary>
    /// Pings until so many are answered. Without a deadline ping waits for its last answers only two round trips long, or one
    /// interval, once it has had one: a pause of 0.1 s would be a loss. It sends on meanwhile, so more may be answered. Returns what it
    /// printed.
    /// </summary>
    public static async Task<string> PingAsync(RunningLab lab, string node, int count, params string[] arguments)
    {
        using Process ping =
            lab.Start(node, ["ping", "-D", "-c", $"{count}", "-w", $"{(int)Patience.Long.TotalSeconds}", .. arguments], redirect: true);
        string output = await ping.StandardOutput.ReadToEndAsync();
        await ping.WaitForExitAsync();
        return output;
    }

    /// <summary>The numbers of the pings that were answered, in the order of the answers.</summary>
    public static IReadOnlyList<int> Answered(string pings)
        => [.. Answer().Matches(pings).Select(m => int.Parse(m.Groups["n"].ValueSpan, CultureInfo.InvariantCulture))];

    /// <summary>
    /// Waits until a node gets an answer from an address: all neighbours on the way there and back are known then. One try after the
    /// other, since a ping with a deadline ends at the first error that the network tells, such as a neighbour not found in 3 s.
    /// </summary>
    public static Task ReachAsync(RunningLab lab, string node, string address)
        => Patience.UntilAsync(() => AnswersAsync(lab, node, address), () => $"{node} gets an answer from {address}", Patience.Long);

    /// <summary>Whether a node gets an answer from an address within a second.</summary>
    public static async Task<bool> AnswersAsync(RunningLab lab, string node, string address)
        => (await RunAsync(lab, node, "sh", "-c", $"ping -c 1 -W 1 {address} || true"))
            .Contains(" 0% packet loss", StringComparison.Ordinal);

    /// <summary>Datagrams that a node's sockets have received, both families: those to a port where nobody is are not counted.</summary>
    public static async Task<long> ReceivedAsync(RunningLab lab, string node)
    {
        string[] lines = (await RunAsync(lab, node, "cat", "/proc/net/snmp", "/proc/net/snmp6")).Split('\n');
        string[][] udp = [.. lines.Where(l => l.StartsWith("Udp:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
        string six = lines.Single(l => l.StartsWith("Udp6InDatagrams", StringComparison.Ordinal)).Split((char[]?)null,
            StringSplitOptions.RemoveEmptyEntries)[1];
        return long.Parse(udp[1][Array.IndexOf(udp[0], "InDatagrams")], CultureInfo.InvariantCulture)
            + long.Parse(six, CultureInfo.InvariantCulture);
    }

    public async ValueTask DisposeAsync()
    {
        await LabRunner.DestroyAsync(Name, StateRoot);
        Directory.Delete(Root, recursive: true);
    }

    [GeneratedRegex(@"bytes from .* icmp_seq=(?<n>\d+) ttl=")]
    private static partial Regex Answer();

    private static string CommandOf(string folder)
    {
        try
        {
            return System.IO.File.ReadAllText(folder + "/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }
}
