using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Host.Qemu;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>What came of a move of a guest.</summary>
/// <param name="Id">The migration.</param>
/// <param name="To">The site that it went to.</param>
/// <param name="State">How it ended.</param>
/// <param name="CopySeconds">From the first byte of its memory to the convenient point, by the stages, seconds.</param>
/// <param name="Copy">The source's record of the copy; null = it keeps none.</param>
/// <param name="StopToRunMs">From the stop at the source to where it was seen running at the target, by the hosts' clocks,
/// milliseconds.</param>
/// <param name="Echo">UDP echo of a client since the move before.</param>
/// <param name="Tcp">A TCP connection that was opened before the first move.</param>
/// <param name="Wrong">What must not be; empty = all is well.</param>
internal sealed record GuestMove(
    string Id, string To, string State, double CopySeconds, CopyInfo? Copy, double StopToRunMs, EchoCount Echo, LineCount Tcp,
    IReadOnlyList<string> Wrong);

/// <summary>
/// The lab with a real guest behind two PEs. What is inspected does not rest on what the manager says: the hosts' processes, files and
/// connections, the agents, every PE, and the guest itself.
/// </summary>
internal sealed partial class GuestRig : IAsyncDisposable
{
    /// <summary>A node that uses the guest.</summary>
    public const string Client = "client-c";

    /// <summary>The guest.</summary>
    public const string Server = "vs";

    /// <summary>Its address.</summary>
    public const string Address = "10.1.1.10";

    // migration.listen of both hosts.
    private const int LinkPort = 7810;

    private static readonly Dictionary<string, string> s_hosts = new(StringComparer.Ordinal) { ["dc-a"] = "host-a", ["dc-b"] = "host-b" };

    private GuestRig(LabDaemons daemons) => Daemons = daemons;

    /// <summary>The lab's daemons.</summary>
    public LabDaemons Daemons { get; }

    /// <summary>The lab.</summary>
    public RunningLab Lab => Daemons.Lab;

    /// <summary>Deploys the lab and starts the guest at dc-a; returns when a client has its answer.</summary>
    /// <param name="topology">The topology file; it and its folder are copied.</param>
    /// <param name="program">How <c>sdnedge</c> is started; null: found by itself.</param>
    /// <param name="edit">Further changes to its files: name and text to text; null = none.</param>
    public static async Task<GuestRig> StartAsync(
        string topology, IReadOnlyList<string>? program = null, Func<string, string, string>? edit = null)
    {
        string guest = GuestFolder.Find(topology, out string? why) ?? throw new InvalidOperationException(why);
        var rig = new GuestRig(await LabDaemons.StartAsync(topology, "gu", program, edit: (folder, name, text) => Program().Replace(
            edit?.Invoke(name, text) ?? text,
            m => m.Groups[1] + Wrapper(folder, Path.GetFileNameWithoutExtension(name),
                m.Groups[2].Value.Replace("${lab.guest}", guest, StringComparison.Ordinal)))));
        try
        {
            await rig.StartGuestAsync("host-a", 0);
            await rig.Daemons.AnswersAsync(Client, Address);
            await rig.CountsAsync();
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    /// <summary>The host of a site.</summary>
    public static string HostOf(string site) => s_hosts[site];

    /// <summary>The site that is not this one.</summary>
    public static string Other(string site) => s_hosts.Keys.Single(s => s != site);

    /// <summary>The site whose host may run the guest.</summary>
    public async Task<string> SiteAsync()
    {
        foreach ((string site, string host) in s_hosts)
            if ((await ServerAsync(host)).MayRun is not null) return site;
        throw new InvalidOperationException("no host may run the guest");
    }

    /// <summary>The guest at a host, as its agent has it.</summary>
    public Task<ServerInfo> ServerAsync(string host)
        => Daemons.AskAsync($"what {host} has", c => Daemons.Hosts[host].ServerAsync(Server, c));

    /// <summary>Has a host start the guest, under an epoch.</summary>
    public Task<ServerReply> StartGuestAsync(string host, long epoch)
        => Daemons.Hosts[host].OrderAsync(Server, ServerOrder.Start, new ServerOrderRequest(epoch, "start"));

    /// <summary>The process of QEMU at a host; null = none, by the agent's file.</summary>
    public int? QemuAt(string host) => new QemuProcess(RunFolder(host)).Id;

    /// <summary>From now on a QEMU that starts at this host gets less memory than its guest has; or as much as it wants again.</summary>
    public void LimitMemory(string host, bool limited)
    {
        if (!File.Exists(WrapperOf(Daemons.Folder, host)))
            throw new InvalidOperationException($"no QEMU of {host} is started with a limit");
        if (limited) File.WriteAllText(NoMemory(Daemons.Folder, host), "");
        else File.Delete(NoMemory(Daemons.Folder, host));
    }

    /// <summary>The guest's ticks, ten a second of its own clock, and the words of its memory that it found wrong.</summary>
    public async Task<(long Ticks, long Bad)> CountsAsync()
    {
        using Socket socket = Namespaces.Run(Lab.NamespaceOf(Client),
            () => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        socket.Connect(IPAddress.Parse(Address), 8);
        byte[] buffer = new byte[128];
        (long, long)? counts = null;
        if (!await Patience.BecomesAsync(async () => (counts = await AskAsync()) is not null, Patience.Long))
            throw new TimeoutException($"the guest does not say its counter\n{await Daemons.TellAsync()}");
        return counts!.Value;

        async Task<(long, long)?> AskAsync()
        {
            using var wait = new CancellationTokenSource(500);
            try
            {
                await socket.SendAsync("?"u8.ToArray(), wait.Token);
                int length = await socket.ReceiveAsync(buffer, wait.Token);
                string[] words = Encoding.ASCII.GetString(buffer, 0, length).Split(' ', '\n');
                return (long.Parse(words[0], CultureInfo.InvariantCulture), long.Parse(words[1], CultureInfo.InvariantCulture));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                // It was lost, or nobody is there yet: asked again.
                return null;
            }
        }
    }

    /// <summary>Moves the guest to its other site, and inspects everything at the end.</summary>
    public async Task<GuestMove> MoveAsync(EchoTraffic traffic, TcpLines tcp)
    {
        string from = await SiteAsync(), to = Other(from);
        (long ticks, _) = await CountsAsync();
        string id = (await Daemons.Mms.StartAsync(new MigrationCall(Server, to, QuietMs: 100))).Id;
        MigrationStatus status = await MoveRig.EndedAsync(Daemons.Mms, id);
        EchoCount echo = await traffic.SettleAsync();
        LineCount lines = await tcp.SettleAsync();
        CopyInfo? copy = await CopyAsync(HostOf(from));
        List<string> wrong = [];
        if (status.State != "moved") wrong.Add($"it ended {status.State}: {status.Failure}");
        wrong.AddRange(await InspectAsync(status.State == "moved" ? to : from, status.Epoch));
        (long now, long bad) = await CountsAsync();
        if (now < ticks) wrong.Add($"the guest's clock went back from {ticks} to {now}");
        if (bad > 0) wrong.Add($"{bad} words of its memory are wrong");
        if (echo.Lost > 0) wrong.Add($"{echo.Lost} of {echo.Sent} datagrams have no answer");
        if (echo.Duplicated > 0) wrong.Add($"{echo.Duplicated} answers came twice");
        if (echo.Reordered > 0) wrong.Add($"{echo.Reordered} answers came out of order");
        if (lines.Failure is { } failure) wrong.Add($"TCP: {failure}");
        StageTime[] stages = [.. status.Moves.SelectMany(m => m.Timeline)];
        double dark = status.Moves.SelectMany(m => m.Servers)
            .Max(s => s is { StoppedAtNs: { } stopped, RunningAtNs: { } running } ? (running - stopped) / 1e6 : 0);
        double copied = stages.Where(s => s.Stage is "prepare-source" or "mirror").Sum(s => s.EndNs - s.StartNs) / 1e9;
        return new GuestMove(id, to, status.State, copied, copy, dark, echo, lines, wrong);
    }

    /// <summary>What must not be, when the guest is at this site and no migration is under way. Empty = all is well.</summary>
    /// <param name="home">The site.</param>
    /// <param name="epoch">The epoch under which it may run; null = not looked at.</param>
    public async Task<IReadOnlyList<string>> InspectAsync(string home, long? epoch)
    {
        var wrong = new List<string>();
        string here = HostOf(home), there = HostOf(Other(home));

        // Between orders an agent looks once a second: what it published may be older than the end of the migration.
        ServerInfo at = await AsAsync(here, s => s is { State: ServerState.Running, Fault: null });
        if (at is not { State: ServerState.Running, MayRun: not null, Fault: null }) wrong.Add($"at {here}: {at}");
        if (epoch is { } wanted && at.MayRun != wanted) wrong.Add($"the epoch in force is {wanted}, and the guest runs under {at.MayRun}");
        ServerInfo away = await AsAsync(there, s => s is { State: ServerState.Absent, Fault: null });
        if (away is not { State: ServerState.Absent, MayRun: null, Fault: null }) wrong.Add($"at {there}: {away}");
        wrong.AddRange(await Daemons.LeftOverAsync());

        ProcessStat[] running = Qemus(here), left = Qemus(there);
        if (running.Length != 1) wrong.Add($"at {here} are {running.Length} processes of QEMU");
        wrong.AddRange(left.Select(p => $"at {there} is process {p.ProcessId} of QEMU"));
        wrong.AddRange(running.Concat(left).Where(p => p.IsStopped).Select(p => $"QEMU (process {p.ProcessId}) is frozen"));
        wrong.AddRange(Directory.GetFiles(RunFolder(there)).Select(Path.GetFileName).Where(f => f != "log")
            .Select(f => $"{there} still has {f} of the guest"));
        foreach (string host in (string[])[here, there])
        {
            string[] open = [];
            await Patience.BecomesAsync(() => Task.FromResult((open = Links(host)).Length == 0), Patience.Long);
            wrong.AddRange(open.Select(c => $"{host} still has a connection to the other host: {c}"));
        }

        return wrong;

        // The state that is wanted, or the last one seen in a long time.
        async Task<ServerInfo> AsAsync(string host, Predicate<ServerInfo> so)
        {
            ServerInfo info = null!;
            await Patience.BecomesAsync(async () => so(info = await ServerAsync(host)));
            return info;
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Daemons.DisposeAsync();

    // A machine's program: in words, or the first word of `run`.
    [GeneratedRegex("""(\n      program: |\n      run:\n        - )"?([^"\n ]+)"?""")]
    private static partial Regex Program();

    // Runs a host's QEMU, with a limit to its memory when a file is there. The agent knows it by its arguments, which it keeps.
    private static string Wrapper(string folder, string host, string program)
    {
        string file = WrapperOf(folder, host);
        File.WriteAllText(file,
            $"#!/bin/sh\n[ ! -e {NoMemory(folder, host)} ] || ulimit -v 200000\nexec {program} \"$@\"\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return file;
    }

    private static string WrapperOf(string folder, string host) => Path.Combine(folder, host + ".qemu");

    private static string NoMemory(string folder, string host) => Path.Combine(folder, host + ".limit");

    private string RunFolder(string host) => Path.Combine(Lab.Folder, host + ".state", Server + ".run");

    private ProcessStat[] Qemus(string host)
        => [.. NamespaceProcesses.In(NamespaceProcesses.IdOf(Lab.NamespaceOf(host))!).Where(p => IsQemu(p.ProcessId))];

    // One without a machine is asked by the agent what QEMU can do (QemuProbe), and runs no guest.
    private static bool IsQemu(int process)
    {
        try
        {
            string command = File.ReadAllText($"/proc/{process}/cmdline");
            return command.Split('\0')[0].Contains("qemu-system", StringComparison.Ordinal)
                && !command.Contains("\0-machine\0none\0", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    // Established connections of the hosts' migration port, as /proc/net/tcp has them (proc(5)): local, remote, state 01.
    private string[] Links(string host)
    {
        string port = LinkPort.ToString("X4", CultureInfo.InvariantCulture);
        return Namespaces.Run(Lab.NamespaceOf(host), () => File.ReadAllLines("/proc/thread-self/net/tcp").Skip(1)
            .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(w => w[3] == "01" && (w[1].EndsWith(port, StringComparison.Ordinal) || w[2].EndsWith(port, StringComparison.Ordinal)))
            .Select(w => $"{w[1]} {w[2]}").ToArray());
    }

    private async Task<CopyInfo?> CopyAsync(string host)
    {
        try
        {
            return await Daemons.Hosts[host].CopyAsync(Server);
        }
        catch (ApiProblemException)
        {
            return null;
        }
    }
}
