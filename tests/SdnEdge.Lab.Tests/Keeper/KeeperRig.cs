using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Mms;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>
/// Two PEs as programs, the first one with a keeper, and a host behind each; BGP between them tells each the other's hosts.
/// <code>
/// ha 10.1.0.10 --- a [pe-k] b 172.16.0.1 --- 172.16.0.2 b [pe-n] c --- 10.2.0.10 hb
/// </code>
/// </summary>
internal sealed class KeeperRig : IAsyncDisposable
{
    private const string HostDevice = "eth0";
    private const int PortMtu = 1400;

    private static int _rigs;

    private readonly string _tag =
        string.Create(CultureInfo.InvariantCulture, $"kp{Environment.ProcessId % 100000}{Interlocked.Increment(ref _rigs)}");
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-keeper-").FullName;
    private readonly List<Process> _processes = [];
    private readonly List<string> _said = [];
    private string _bfd = "";
    private Func<int, string> _addressOf = static i => $"10.255.0.{i}";

    private KeeperRig()
    {
    }

    /// <summary>The process that was started: keeper of pe-k.</summary>
    public Process Keeper => _processes[0];

    public PeClient Kept { get; private set; } = null!;

    public PeClient Next { get; private set; } = null!;

    /// <summary>What the processes printed.</summary>
    public string Said
    {
        get
        {
            lock (_said) return string.Join('\n', _said);
        }
    }

    /// <summary>Starts everything; when it returns, each PE has the other's hosts.</summary>
    /// <param name="program">How <c>sdnedge</c> is started; null: the one beside this program.</param>
    /// <param name="peersOfNext">More peers of pe-n, a line of its configuration each.</param>
    /// <param name="next">Starts something else in pe-n's place; null: pe-n.</param>
    /// <param name="bfd">The <c>bfd:</c> of the session between the two; null: none.</param>
    /// <param name="addressOf">Address at which each speaks BGP, by number; null: the loopback.</param>
    public static async Task<KeeperRig> StartAsync(IReadOnlyList<string>? program = null, string peersOfNext = "",
        Func<KeeperRig, Task>? next = null, string? bfd = null, Func<int, string>? addressOf = null)
    {
        var rig = new KeeperRig { _bfd = bfd is null ? "" : $", bfd: {bfd}" };
        if (addressOf is not null) rig._addressOf = addressOf;
        try
        {
            await rig.BuildAsync(program ?? RunningLab.Self, peersOfNext, next);
            return rig;
        }
        catch
        {
            await rig.DisposeAsync();
            throw;
        }
    }

    public string Space(string name) => $"{_tag}-{name}";

    /// <summary>
    /// A UDP socket of a host, with room for what comes in seconds, whatever the machine's limit (SO_RCVBUFFORCE of socket(7)).
    /// </summary>
    public Socket SocketOf(string host, string address, int port) => Namespaces.Run(Space(host), () =>
    {
        const int SolSocket = 1, ReceiveBufferForce = 33, Bytes = 32 << 20;
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.SetRawSocketOption(SolSocket, ReceiveBufferForce, BitConverter.GetBytes(Bytes));
        socket.Bind(new IPEndPoint(IPAddress.Parse(address), port));
        return socket;
    });

    /// <summary>The PE's process, not the keeper's.</summary>
    public async Task<int> PeAsync() => (await Kept.NodeAsync()).ProcessId;

    /// <summary>Changes pe-k's configuration file; it is read at the next start or reload.</summary>
    public async Task ChangeAsync(string from, string to)
    {
        string file = Path.Combine(_folder, "k.yaml"), text = await File.ReadAllTextAsync(file);
        await File.WriteAllTextAsync(file, text.Replace(from, to, StringComparison.Ordinal));
    }

    /// <summary>Waits until something of pe-k holds; a PE that does not answer is asked again.</summary>
    public async Task UntilAsync(string what, Func<PeClient, Task<bool>> condition, PeClient? of = null)
    {
        string last = "no answer";
        await Patience.UntilAsync(AskAsync, () => $"{what} ({last}).\n{Said}", Patience.Long);

        async Task<bool> AskAsync()
        {
            try
            {
                last = "not so";
                return await condition(of ?? Kept);
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException or IOException or HttpRequestException)
            {
                last = e.Message;
                return false;
            }
        }
    }

    /// <summary>Waits until pe-k forwards itself again after so many takeovers.</summary>
    public Task TakenBackAsync(int takeovers) => UntilAsync($"pe-k forwards again after {takeovers} takeovers", async pe =>
        await pe.KeeperAsync() is { State: "connected" } keeper && keeper.Takeovers >= takeovers && (await pe.NodeAsync()).Ready);

    /// <summary>Ends the PE's process at once.</summary>
    public static void Kill(int process) => Signals.Send(process, ProcessSignal.Kill);

    public static async Task<string> RunAsync(string program, params string[] words)
    {
        using Process process =
            Process.Start(new ProcessStartInfo(program, words) { UseShellExecute = false, RedirectStandardOutput = true,
                RedirectStandardError = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{program} {string.Join(' ', words)}: {await errors}");
        return output;
    }

    public async ValueTask DisposeAsync()
    {
        Kept?.Dispose();
        Next?.Dispose();
        foreach (Process process in _processes)
        {
            if (!process.HasExited) Signals.Send(process.Id, ProcessSignal.Terminate);
        }

        foreach (Process process in _processes)
        {
            using var patience = new CancellationTokenSource(Patience.Long);
            try
            {
                await process.WaitForExitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
            }

            process.Dispose();
        }

        foreach (string space in (string[])["ha", "k", "n", "hb"])
        {
            if (Namespaces.Exists(Space(space))) await RunAsync("ip", "netns", "del", Space(space));
        }

        Directory.Delete(_folder, recursive: true);
    }

    private async Task BuildAsync(IReadOnlyList<string> program, string peersOfNext, Func<KeeperRig, Task>? next)
    {
        foreach (string space in (string[])["ha", "k", "n", "hb"]) await RunAsync("ip", "netns", "add", Space(space));
        await WireAsync("ha", HostDevice, "k", "wire-a");
        await WireAsync("k", "wire-b", "n", "wire-b");
        await WireAsync("n", "wire-c", "hb", HostDevice);
        foreach ((string host, string address, string gateway) in (ReadOnlySpan<(string, string, string)>)[("ha", "10.1.0.10", "10.1.0.1"),
            ("hb", "10.2.0.10", "10.2.0.1")])
        {
            RunAsync("ip", "-n", Space(host), "address", "add", $"{address}/24", "dev", HostDevice).Wait();
            RunAsync("ip", "-n", Space(host), "route", "add", "default", "via", gateway).Wait();
        }

        Kept = await StartPeAsync(program, "k", 1, 2, "a", "10.1.0.1/24", "", "forwarding: { keeper: true }");
        if (next is not null)
        {
            await next(this);
        }
        else
        {
            Next = await StartPeAsync(program, "n", 2, 1, "c", "10.2.0.1/24", peersOfNext, "");
            await UntilAsync("pe-k has the route to hb",
                async pe => (await pe.FibLookupAsync(null, "10.2.0.10", default)).Prefix == "10.2.0.0/24");
            await UntilAsync("pe-n has the route to ha",
                async pe => (await pe.FibLookupAsync(null, "10.1.0.10", default)).Prefix == "10.1.0.0/24", Next);
        }

        // All neighbours on the way are known: what waits for one is bounded, and less than a slow machine's answer takes at a test's rate.
        // One try after the other: a ping with a deadline ends at the first error that the network tells.
        await UntilAsync("ha gets an answer from hb",
            async _ => (await RunAsync("ip", "netns", "exec", Space("ha"), "sh", "-c", "ping -c 1 -W 1 10.2.0.10 || true"))
            .Contains(" 0% packet loss", StringComparison.Ordinal));
    }

    private async Task WireAsync(string left, string leftDevice, string right, string rightDevice)
    {
        await RunAsync("ip", "link", "add", leftDevice, "netns", Space(left), "type", "veth", "peer", "name", rightDevice,
            "netns", Space(right));
        foreach ((string space, string device) in (ReadOnlySpan<(string, string)>)[(left, leftDevice), (right, rightDevice)])
        {
            // A host's packets fit its PE's port: the bridge between them drops a larger one silently (those of a burst pass, uncut).
            if (device == HostDevice) RunAsync("ip", "-n", Space(space), "link", "set", device, "mtu", $"{PortMtu}").Wait();
            RunAsync("ip", "-n", Space(space), "link", "set", device, "up").Wait();
            RunAsync("ip", "-n", Space(space), "link", "set", "lo", "up").Wait();
        }
    }

    private async Task<PeClient> StartPeAsync(IReadOnlyList<string> program, string name, int self, int peer, string port, string address,
        string peers, string extra)
    {
        string socket = Path.Combine(_folder, $"{name}.sock"), file = Path.Combine(_folder, $"{name}.yaml");
        await File.WriteAllTextAsync(file, $$"""
            name: pe-{{name}}
            routerId: 10.255.0.{{self}}
            as: 65000
            loopbacks: [10.255.0.{{self}}]
            host: { device: host0 }
            ports:
              - { name: {{port}}, device: tap-{{port}}, mtu: {{PortMtu}}, addresses: [{{address}}] }
              - { name: b, device: tap-b, addresses: [172.16.0.{{self}}/24], mac: "02:00:00:00:b0:0{{self}}" }
            static:
              - { prefix: 10.255.0.{{peer}}/32, via: 172.16.0.{{peer}} }
            bgp:
              advertise: [connected]
              gracefulRestart: { mode: full, restartTime: 120 }
              peers:
                - { address: "{{_addressOf(peer)}}", as: 65000{{_bfd}} }
            {{(peers.Length == 0 ? "" : "    " + peers)}}
            api: { unix: {{socket}} }
            state: { folder: {{Path.Combine(_folder, name + ".state")}} }
            {{extra}}
            """);
        var start = new ProcessStartInfo("ip", ["netns", "exec", Space(name), .. program, "pe", "--config", file])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process process = Process.Start(start)!;
        _processes.Add(process);
        var ready = new TaskCompletionSource();
        process.OutputDataReceived += (_, line) => Hear(line.Data);
        process.ErrorDataReceived += (_, line) => Hear(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        await ready.Task.WaitAsync(Patience.Long);
        foreach (string of in (string[])[port, "b"])
        {
            await RunAsync("ip", "-n", Space(name), "link", "add", $"br-{of}", "type", "bridge", "mcast_snooping", "0");
            await RunAsync("ip", "-n", Space(name), "link", "set", $"br-{of}", "up");
            await RunAsync("ip", "-n", Space(name), "link", "set", $"wire-{of}", "master", $"br-{of}");
            await RunAsync("ip", "-n", Space(name), "link", "set", $"tap-{of}", "master", $"br-{of}");
        }

        return PeClient.For(socket);

        void Hear(string? line)
        {
            if (line is null) return;
            lock (_said) _said.Add(line);
            if (line.Contains(": ready", StringComparison.Ordinal)) ready.TrySetResult();
        }
    }
}
