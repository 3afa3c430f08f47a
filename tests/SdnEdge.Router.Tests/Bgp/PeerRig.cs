using System.Diagnostics;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>
/// Two network namespaces and a veth between them: our speakers on one side, a router of another make on the other.
/// <code>
///   ours: lo 10.255.0.1, .2, .4, .5        theirs: lo 10.255.0.3
///         fd00:ff::1, ::2, ::4, ::5                fd00:ff::3
///         veth 172.16.0.1/24  ------------------  172.16.0.3/24
/// </code>
/// Both namespaces, all daemons (by process id) and the folder go away with Dispose.
/// </summary>
internal sealed class PeerRig : IDisposable
{
    // Loopbacks of our speakers: two PEs, an ingress PE, a router of another AS.
    private static readonly int[] Mine = [1, 2, 4, 5];
    private static int _count;

    private readonly List<Process> _daemons = [];
    private readonly Queue<string> _said = new();
    private readonly List<SpeakerHost> _speakers = [];

    // A test run that was killed could not take its namespaces away: the next one does.
    static PeerRig()
    {
        foreach (string line in TryRun("ip", "netns", "list").Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string ns = line.Split(' ')[0];
            if (ns.Split('-') is not ["sdnbgp", string process, _, _] || Directory.Exists($"/proc/{process}")) continue;
            foreach (string id in TryRun("ip", "netns", "pids", ns).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                TryRun("kill", "-KILL", id);
            TryRun("ip", "netns", "del", ns);
        }
    }

    public PeerRig()
    {
        string id = $"{Environment.ProcessId}-{Interlocked.Increment(ref _count)}";
        Ours = $"sdnbgp-{id}-a";
        Theirs = $"sdnbgp-{id}-b";
        Folder = Directory.CreateTempSubdirectory("sdnbgp").FullName;
        string[] setup =
        [
            $"netns add {Ours}", $"netns add {Theirs}",
            $"-n {Ours} link add veth0 type veth peer name veth0 netns {Theirs}",
            .. Side(Ours, "1", [.. Mine.Select(i => $"10.255.0.{i}")], [.. Mine.Select(i => $"fd00:ff::{i}")]),
            .. Side(Theirs, "3", ["10.255.0.3"], ["fd00:ff::3"]),
            $"-n {Ours} route add 10.255.0.3 via 172.16.0.3", $"-n {Ours} -6 route add fd00:ff::3 via fd00:16::3",
            .. Mine.Select(i => $"-n {Theirs} route add 10.255.0.{i} via 172.16.0.1"),
            .. Mine.Select(i => $"-n {Theirs} -6 route add fd00:ff::{i} via fd00:16::1"),
        ];
        foreach (string line in setup) Run("ip", line.Split(' '));
    }

    public string Ours { get; }

    public string Theirs { get; }

    /// <summary>A folder for configuration, sockets and process ids.</summary>
    public string Folder { get; }

    public static IpAddress Loopback4(int i) => IpAddress.FromV4(0x0AFF_0000u | (uint)i);

    /// <summary>A session with the peer. Its hold time is more than a busy machine stands still.</summary>
    public static BgpPeerSettings Settings => new(Loopback4(3), 65000) { ConnectRetryMilliseconds = 500, HoldTimeSeconds = 30 };

    /// <summary>A speaker of ours at 10.255.0.{i}, with the peer at 10.255.0.3.</summary>
    /// <param name="i">Last number of the loopback: 1, 2, 4 or 5.</param>
    /// <param name="with">Changes the settings of the session.</param>
    /// <param name="ownAs">AS of this speaker; the peer's is 65000.</param>
    /// <param name="speaker">Changes the settings of the speaker.</param>
    /// <param name="sockets">Takes every socket made, listeners too.</param>
    public SpeakerHost AddSpeaker(
        int i, Func<BgpPeerSettings, BgpPeerSettings>? with = null, uint ownAs = 65000,
        Func<BgpSpeakerSettings, BgpSpeakerSettings>? speaker = null,
        List<System.Net.Sockets.Socket>? sockets = null)
    {
        var options = new BgpTransportOptions([Loopback4(i)])
        {
            SocketFactory = family =>
            {
                System.Net.Sockets.Socket socket = Namespaces.Run(Ours, () => new System.Net.Sockets.Socket(
                    family, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp));
                sockets?.Add(socket);
                return socket;
            },
        };
        var ours = new BgpSpeakerSettings(ownAs, 0x0AFF_0000u | (uint)i, Loopback4(i), TwoSpeakersTests.Loopback6(i), i);
        var host = new SpeakerHost(speaker is null ? ours : speaker(ours), options);
        _speakers.Add(host);
        host.Reach(Loopback4(3));
        host.Reach(TwoSpeakersTests.Loopback6(3));
        host.AddPeer(with is null ? Settings : with(Settings));
        return host;
    }

    /// <summary>Starts a daemon in their namespace; it must stay in the foreground.</summary>
    /// <returns>The daemon's own process.</returns>
    public Process StartDaemon(params string[] command) => Start(Theirs, command);

    /// <summary>The last lines that the daemons wrote.</summary>
    public string Said
    {
        get
        {
            lock (_said) return string.Join('\n', _said);
        }
    }

    /// <summary>Starts a program in one of the namespaces; it is ended with the rig at the latest.</summary>
    public Process Start(string ns, params string[] command)
    {
        var start = new ProcessStartInfo("ip") { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in (string[])["netns", "exec", ns, .. command]) start.ArgumentList.Add(word);
        Process daemon = Process.Start(start)!;
        daemon.OutputDataReceived += (_, line) => Hear(line.Data);
        daemon.ErrorDataReceived += (_, line) => Hear(line.Data);
        daemon.BeginOutputReadLine();
        daemon.BeginErrorReadLine();
        _daemons.Add(daemon);
        return daemon;
    }

    /// <summary>Kills a daemon (SIGKILL, by its own process id) that runs this program, a whole path.</summary>
    public void Kill(string program)
    {
        Process daemon = _daemons.Single(d => !d.HasExited && File.ReadAllText($"/proc/{d.Id}/cmdline").Split('\0').Contains(program));
        daemon.Kill();
        daemon.WaitForExit();
    }

    /// <summary>Runs a command to its end; fails when it does.</summary>
    public static string Run(string program, params string[] arguments)
    {
        (int code, string text) = TryRun(program, arguments);
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)}: {text}");
        return text;
    }

    public static (int Code, string Text) TryRun(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string word in arguments) start.ArgumentList.Add(word);
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(Patience.Time), $"{program} does not end");
        return (process.ExitCode, output + error.Result);
    }

    /// <summary>Asks until the answer is right; fails with the last answer when it never is.</summary>
    public static string Await(Func<string> ask, Func<string, bool> right, string what, int seconds = Patience.Seconds)
    {
        string answer = "";
        Patience.Until(() => right(answer = ask()), () => $"{what}; last answer: {answer}", TimeSpan.FromSeconds(seconds));
        return answer;
    }

    public void Dispose()
    {
        foreach (SpeakerHost speaker in _speakers) speaker.Dispose();
        foreach (Process daemon in _daemons)
        {
            // "ip netns exec" has become the daemon: the id is its own.
            if (!daemon.HasExited) daemon.Kill();
        }

        // What a daemon started itself and did not take with it: the namespace is ours alone.
        foreach (string id in TryRun("ip", "netns", "pids", Theirs).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            TryRun("kill", "-KILL", id);
        foreach (Process daemon in _daemons)
        {
            daemon.WaitForExit(Patience.Time);
            daemon.Dispose();
        }

        TryRun("ip", "netns", "del", Ours);
        TryRun("ip", "netns", "del", Theirs);
        Directory.Delete(Folder, recursive: true);
    }

    private void Hear(string? line)
    {
        if (line is null) return;
        lock (_said)
        {
            _said.Enqueue(line);
            if (_said.Count > 40) _said.Dequeue();
        }
    }

    private static IEnumerable<string> Side(string ns, string last, string[] loopbacks4, string[] loopbacks6)
    {
        yield return $"-n {ns} link set lo up";
        yield return $"-n {ns} link set veth0 up";
        yield return $"-n {ns} addr add 172.16.0.{last}/24 dev veth0";
        yield return $"-n {ns} addr add fd00:16::{last}/64 dev veth0 nodad";
        foreach (string address in loopbacks4) yield return $"-n {ns} addr add {address}/32 dev lo";
        foreach (string address in loopbacks6) yield return $"-n {ns} addr add {address}/128 dev lo nodad";
    }
}
