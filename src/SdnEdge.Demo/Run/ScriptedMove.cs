using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using SdnEdge.Core.Config;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using InterfaceAddress = SdnEdge.Lab.Topologies.InterfaceAddress;

namespace SdnEdge.Demo.Run;

/// <summary>
/// The same virtual machine under the same traffic, moved by a script instead of the manager (move-by-script.sh beside the topology's other
/// files), in a lab of its own:
///   1. deploy the lab without its guests; start QEMU at the source, and at the target expecting a migration, with the hosts' arguments but
///      those of the disk,
///   2. wait until the guest answers every client, start the probes,
///   3. run the script, wait until the guest answers every client again, stop the probes, and count.
/// </summary>
internal sealed partial class ScriptedMove(DemoOptions options, DemoView view)
{
    private const int Port = 7811;
    private static readonly TimeSpan s_before = TimeSpan.FromSeconds(2), s_after = TimeSpan.FromSeconds(2);

    /// <summary>The script of a topology file.</summary>
    public static string ScriptOf(string topology)
    {
        string name = Path.GetFileName(topology);
        return Path.Combine(Path.GetDirectoryName(Path.GetFullPath(topology))!,
            name.EndsWith(".clab.yml", StringComparison.Ordinal) ? name[..^".clab.yml".Length] : name, "move-by-script.sh");
    }

    /// <summary>Moves it and says what that cost.</summary>
    /// <param name="packetsPerSecond">As in the manager's move.</param>
    /// <param name="cancel">Ends it; the lab goes.</param>
    /// <exception cref="LabException">The lab or the script failed.</exception>
    public async Task<ScriptReport> RunAsync(long packetsPerSecond, CancellationToken cancel)
    {
        string script = ScriptOf(options.Topology);
        if (!File.Exists(script)) throw new LabException($"--compare needs {script}, which is not there.");
        string name = (options.LabName ?? TopologyLoader.Load(options.Topology).Name) + "-script";
        view.Say("the same by a script: deploying a lab of its own");
        RunningLab lab = await LabRunner.DeployAsync(
            options.Topology, new LabOptions { Name = name, RttMs = options.RttMs, StartGuests = false }, cancel);
        DirectoryInfo logs = Directory.CreateTempSubdirectory("sdnedge-demo-");
        try
        {
            return await InLabAsync(lab, script, packetsPerSecond, logs.FullName, cancel);
        }
        finally
        {
            logs.Delete(recursive: true);
            await lab.DestroyAsync();
        }
    }

    private async Task<ScriptReport> InLabAsync(RunningLab lab, string script, long packetsPerSecond, string logs, CancellationToken cancel)
    {
        var server = MovedServer.Of(lab);
        LabGuest guest = lab.Guests[0];
        LabGuestSite from = guest.Sites.First(s => s.Starts), to = guest.Sites.First(s => !s.Starts);
        string uri = string.Create(CultureInfo.InvariantCulture, $"tcp:{AddressOf(lab, to.Host)}:{Port}");
        string source = Path.Combine(lab.Folder, "source.qmp"), target = Path.Combine(lab.Folder, "target.qmp");
        using Process first = Qemu(lab, from.Host, guest.Name, source, []);
        Reach("by a script: waiting for the guest");
        using Process second = Qemu(lab, to.Host, guest.Name, target, ["-incoming", uri]);

        using var fleet = new ProbeFleet(lab, server, new ProbeRates(packetsPerSecond, packetsPerSecond, options.TcpBytesPerSecond), logs);
        await fleet.StartAsync(cancel);
        await Task.Delay(s_before, cancel);
        view.Say("by a script: migrate, then the routes of the PEs");
        var watch = Stopwatch.StartNew();
        string said = await ScriptAsync(script, [source, target, uri, .. Router(from.Pe), .. Router(to.Pe),
            .. guest.Addresses.Select(a => $"{a}/{(a.IsV4 ? 32 : 128)}")], cancel);
        double tookMs = watch.Elapsed.TotalMilliseconds;
        Reach("by a script: asking the server's echo from every client");
        await Task.Delay(s_after, cancel);
        FleetResult probes = await fleet.StopAsync(cancel);
        StreamAnalysis[] streams = [.. probes.Forward.Select(s => StreamAnalysis.Of(s.Stream, s.Sent, s.Received))];
        (long bytes, double downtimeMs) = Account(said);
        return new ScriptReport(
            packetsPerSecond, streams.Sum(s => (long)s.Sent), streams.Sum(s => s.Lost), streams.Sum(s => s.Duplicated),
            streams.Sum(s => s.Reordered), Math.Round(streams.Max(s => s.MaxGapNs) / 1e6, 3), bytes, downtimeMs, Math.Round(tookMs, 3),
            probes.Tcp?.Resets ?? 0, Math.Round(probes.Tcp?.MaxStallMs ?? 0, 3), probes.Invalid.Count == 0,
            probes.Invalid.Count == 0 ? null : string.Join("; ", probes.Invalid));

        string[] Router(string pe)
        {
            LabProcess process = lab.State.Processes.First(p => p.Node == pe && p.Name == "pe");
            return [Path.Combine(lab.Folder, pe + ".yaml"), process.ProcessId.ToString(CultureInfo.InvariantCulture)];
        }

        void Reach(string what)
        {
            view.Say(what);
            string[] unreached =
                [.. lab.Ingresses.SelectMany(i => server.Addresses.Select(a => PathCheck.WhyNot(lab, i, a))).OfType<string>()];
            if (unreached.Length > 0) throw new LabException($"moved by a script: {string.Join("; ", unreached)}.");
        }
    }

    // The host's own arguments of the guest, out of the configuration that the lab has made for its agent.
    private static Process Qemu(RunningLab lab, string host, string guest, string monitor, string[] more)
    {
        string file = Path.Combine(lab.Folder, host + ".yaml");
        var errors = new ConfigErrors(file);
        string[] argv = [.. ((YamlTree.Parse(File.ReadAllText(file), errors) as YamlMap)?["servers"] as YamlList)?.Items.OfType<YamlMap>()
            .Where(s => (s["name"] as YamlText)?.Text == guest).Select(s => (s["qemu"] as YamlMap)?["run"]).OfType<YamlList>()
            .SelectMany(run => run.Items.OfType<YamlText>()).Select(t => t.Text) ?? []];
        if (argv.Length == 0) throw new LabException($"{file} has no QEMU arguments of {guest}.");
        argv = [.. WithoutDisk(argv)];
        return lab.Start(host, ["setsid", "sh", "-c", "log=$1; shift; exec \"$@\" >\"$log\" 2>&1 </dev/null", "sh",
            monitor + ".log", .. argv, .. more, "-qmp", $"unix:{monitor},server=on,wait=off"]);
    }

    // A script of this kind moves no disk; and a store's volume that nobody grants is written by nobody.
    internal static IEnumerable<string> WithoutDisk(IReadOnlyList<string> argv)
    {
        for (int i = 0; i < argv.Count; i++)
        {
            bool isDisk = argv[i] == "-blockdev" || (argv[i] == "-device" && i + 1 < argv.Count
                && argv[i + 1].StartsWith("virtio-blk", StringComparison.Ordinal));
            if (isDisk) i++;
            else yield return AppDisk().Replace(argv[i], "");
        }
    }

    [GeneratedRegex(",disk=[^, ]*(,every=[0-9]+)?")]
    private static partial Regex AppDisk();

    private static async Task<string> ScriptAsync(string script, string[] arguments, CancellationToken cancel)
    {
        using Process process = Process.Start(new ProcessStartInfo("bash", [script, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        }) ?? throw new LabException("cannot start bash.");
        try
        {
            Task<string> errors = process.StandardError.ReadToEndAsync(cancel);
            string said = await process.StandardOutput.ReadToEndAsync(cancel);
            await process.WaitForExitAsync(cancel);
            return process.ExitCode == 0 ? said
                : throw new LabException($"{Path.GetFileName(script)} ended with exit code {process.ExitCode}: {(await errors).Trim()}");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    // QEMU's answer to query-migrate.
    private static (long Bytes, double DowntimeMs) Account(string said)
    {
        using JsonDocument answer = JsonDocument.Parse(said);
        JsonElement account = answer.RootElement.GetProperty("return");
        return (account.GetProperty("ram").GetProperty("transferred").GetInt64(), account.GetProperty("downtime").GetDouble());
    }

    // The host's address on the hosts' own network: the one that its exec lines give it.
    private static string AddressOf(RunningLab lab, string host)
    {
        InterfaceAddress[] own = [.. Sites.AddressesOf(lab.Topology.Find(host)!)];
        return own.Length > 0 ? own[0].Address.ToString()
            : throw new LabException($"host {host} has no address of its own; the memory of a guest cannot come there.");
    }
}
