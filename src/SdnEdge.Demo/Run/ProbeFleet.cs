using System.Globalization;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Demo.Run;

/// <summary>What the probes send.</summary>
/// <param name="PacketsPerSecond">Towards the server, all ingresses together.</param>
/// <param name="ReversePacketsPerSecond">From the server to all clients. Not for a server that echoes.</param>
/// <param name="TcpBytesPerSecond">The TCP transfer.</param>
internal sealed record ProbeRates(long PacketsPerSecond, long ReversePacketsPerSecond, int TcpBytesPerSecond);

/// <summary>
/// All probes of one run. From each client a sender to the server, from the server one sender to all clients, a receiver at
/// each end, and a TCP transfer from the first client. Receivers are started first and stopped last, with what was sent.
/// In a server that is a virtual machine no probe runs: it sends each packet back, to the receiver at the client that sent it (guest/app.c,
/// port 7001). A stream is then there and back, and there are none of the server's own.
/// </summary>
internal sealed class ProbeFleet : IDisposable
{
    private const int ForwardPort = 7001, ReversePort = 7002;
    private const int FlowsPerStream = 16, Ipv6FlowsPerStream = 4;
    private const int PayloadBytes = 128;
    private const int ReverseStreamBase = 100;

    /// <summary>The server's clock stops while it moves: a gap this long is not made up for by its sender.</summary>
    private const int ServerCatchUpMs = 20;

    /// <summary>
    /// No way in the lab is longer than this, the hold's time and a machine that stands still included. Receivers end as soon as all has
    /// come.
    /// </summary>
    private const int QuietMs = 5000, BoundMs = 15_000;

    private readonly IReadOnlyList<LabIngress> ingresses;
    private readonly bool echo;
    private readonly string folder;
    private readonly ProbeProcess[] receivers;   // at the clients, in order; then at the server, unless it echoes
    private readonly Func<ProbeProcess> startTcp;
    private ProbeProcess tcp;
    private readonly Func<ProbeProcess[]> startSenders;   // at the clients, in order; then at the server, unless it echoes
    private ProbeProcess[] senders = [];

    /// <summary>Starts the receivers and the TCP transfer.</summary>
    /// <param name="lab">The lab.</param>
    /// <param name="server">The server.</param>
    /// <param name="rates">Rates.</param>
    /// <param name="folder">Where the packet logs go.</param>
    public ProbeFleet(RunningLab lab, MovedServer server, ProbeRates rates, string folder)
    {
        ingresses = lab.Ingresses;
        echo = server.IsGuest;
        this.folder = folder;
        string run = ((uint)Environment.ProcessId).ToString(CultureInfo.InvariantCulture);
        string[] common = ["--run", run, "--capacity", "4000000"];
        string target = string.Join(',', server.Addresses);
        receivers =
        [
            .. ingresses.Select((ingress, i) => Receiver(ingress.Name, ingress.Name, ReversePort, [StreamAt(i)])),
            .. echo ? Array.Empty<ProbeProcess>() : [Receiver(server.Name, "server", ForwardPort, [.. ingresses.Select((_, i) => i + 1)])],
        ];
        startTcp = () => new ProbeProcess(lab, ingresses[0].Name, $"TCP transfer from {ingresses[0].Name}",
            ["tcp", "--target", $"{server.Addresses[0]}:7", "--rate", $"{rates.TcpBytesPerSecond}"]);
        tcp = startTcp();
        startSenders = () =>
        [
            .. ingresses.Select((ingress, i) => new ProbeProcess(lab, ingress.Name, $"sender at {ingress.Name}",
                [
                    "send", "--target", $"{i + 1}={target}", "--rate", $"{Share(rates.PacketsPerSecond, ingresses.Count, i)}",
                    "--port", $"{ForwardPort}",
                    "--log", LogOf(ingress.Name, "sent"), .. Shape(), .. common,
                ])),
            .. echo ? Array.Empty<ProbeProcess>() : [new ProbeProcess(lab, server.Name, "sender at the server",
                [
                    "send", .. ingresses.SelectMany((ingress, i) => new[] { "--target",
                        $"{ReverseStreamBase + i + 1}={string.Join(',', ingress.Addresses.Select(a => a.Address))}" }),
                    "--rate", $"{rates.ReversePacketsPerSecond}", "--port", $"{ReversePort}", "--max-catch-up", $"{ServerCatchUpMs}",
                    "--log", LogOf("server", "sent"), .. Shape(), .. common,
                ])],
        ];

        // What a client receives: the server's own stream to it, or its own back.
        int StreamAt(int ingress) => echo ? ingress + 1 : ReverseStreamBase + ingress + 1;

        ProbeProcess Receiver(string node, string log, int port, int[] streams) => new(lab, node,
            log == "server" ? "receiver at the server" : $"receiver at {node}",
            ["receive", "--port", $"{port}", "--stream", .. streams.Select(s => $"{s}"), "--bin", "0", "--quiet", $"{QuietMs}", "--bound",
                $"{BoundMs}", "--log", LogOf(log, "received"), .. common]);
    }

    private static string[] Shape() => ["--flows", $"{FlowsPerStream}", "--flows6", $"{Ipv6FlowsPerStream}", "--size", $"{PayloadBytes}"];

    /// <summary>One of <paramref name="parts"/> whole shares that add up to the total.</summary>
    internal static long Share(long total, int parts, int index) => (total * (index + 1) / parts) - (total * index / parts);

    /// <summary>Waits for the receivers and the TCP connection, then starts all senders.</summary>
    public async Task StartAsync(CancellationToken cancel)
    {
        foreach (ProbeProcess probe in receivers.Append(tcp))
        {
            await probe.WaitReadyAsync(cancel);
        }

        senders = startSenders();
        foreach (ProbeProcess probe in senders)
        {
            await probe.WaitReadyAsync(cancel);
        }
    }

    /// <summary>Ends the TCP transfer and begins another one, which is then that of <see cref="StopAsync"/>. Returns what came of the first
    /// one.</summary>
    /// <exception cref="ProbeException">The transfer gave no result, or the next one does not begin.</exception>
    public async Task<TcpResult> NextTcpAsync(CancellationToken cancel)
    {
        TcpResult result = await tcp.StopAsync<TcpResult>("stop", cancel);
        tcp.Dispose();
        tcp = startTcp();
        await tcp.WaitReadyAsync(cancel);
        return result;
    }

    /// <summary>Stops the senders, lets the receivers drain against what was sent, and gathers all results and logs.</summary>
    public async Task<FleetResult> StopAsync(CancellationToken cancel)
    {
        var invalid = new List<string>();
        async Task<T?> stop<T>(ProbeProcess probe, string line) where T : class
        {
            try
            {
                return await probe.StopAsync<T>(line, cancel);
            }
            catch (Exception e) when (e is ProbeException or TimeoutException)
            {
                lock (invalid)
                {
                    invalid.Add(e.Message);
                }

                return null;
            }
        }

        SendResult?[] sent = await Task.WhenAll(senders.Select(s => stop<SendResult>(s, "stop")));
        string counts = string.Concat(sent.OfType<SendResult>().SelectMany(r => r.Streams).Select(s => $" {s.Stream}={s.Sent}"));
        Task<TcpResult?> transferred = stop<TcpResult>(tcp, "stop");
        ReceiveResult?[] received = await Task.WhenAll(receivers.Select(r => stop<ReceiveResult>(r, "stop" + counts)));
        TcpResult? tcpResult = await transferred;
        invalid.AddRange(received.OfType<ReceiveResult>().Where(r => !r.Valid).Select(r => r.WhyInvalid!));

        ProbeRecord[][] sentLogs = [.. sent.Select((s, i) => Load(NameAt(i), "sent", s))];
        ProbeRecord[][] receivedLogs = [.. received.Select((r, i) => Load(NameAt(i), "received", r))];
        int last = ingresses.Count;
        StreamFacts[] forward = [.. ingresses.Select((ingress, i) => Facts(ingress, i + 1,
            sent.ElementAtOrDefault(i), received[echo ? i : last], sentLogs.ElementAtOrDefault(i) ?? [], receivedLogs[echo ? i : last]))];
        StreamFacts[] reverse = echo ? [] : [.. ingresses.Select((ingress, i) => Facts(ingress, ReverseStreamBase + i + 1,
            sent.ElementAtOrDefault(last), received[i], sentLogs.ElementAtOrDefault(last) ?? [], receivedLogs[i]))];
        foreach (StreamFacts s in forward.Concat(reverse).Where(s => s.Sender is not null))
        {
            // The sender's count and its log are two ways to the same figure; a difference would make both worthless.
            long logged = s.Sent.LongCount(r => r.Stream == s.Stream);
            if (logged != s.Sender!.Sent)
            {
                invalid.Add($"the sender of stream {s.Stream} counted {s.Sender.Sent} packets but logged {logged}");
            }
        }

        return new FleetResult(forward, reverse, tcpResult, invalid);
    }

    private string NameAt(int probe) => probe < ingresses.Count ? ingresses[probe].Name : "server";

    private static StreamFacts Facts(
        LabIngress ingress, int stream, SendResult? sender, ReceiveResult? receiver, ProbeRecord[] sent, ProbeRecord[] received) => new(
        ingress.Pe, ingress.Name, (byte)stream, sender?.Streams.FirstOrDefault(s => s.Stream == stream),
        receiver?.Streams.FirstOrDefault(s => s.Stream == stream), sent, received);

    private string LogOf(string node, string kind) => Path.Combine(folder, $"{node}.{kind}");

    private ProbeRecord[] Load(string node, string kind, object? result) => result is null ? [] : RecordLog.Load(LogOf(node, kind));

    public void Dispose()
    {
        foreach (ProbeProcess probe in receivers.Append(tcp).Concat(senders))
        {
            probe.Dispose();
        }
    }
}

/// <summary>What the probes found.</summary>
internal sealed record FleetResult(
    IReadOnlyList<StreamFacts> Forward, IReadOnlyList<StreamFacts> Reverse, TcpResult? Tcp, IReadOnlyList<string> Invalid);
