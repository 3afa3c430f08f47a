using System.Globalization;
using SdnEdge.Demo.Report;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Demo.Run;

/// <summary>
/// All probes of one run. From each client a sender to the server, from the server one sender to all clients, a receiver at
/// each end, and a TCP transfer from the first client. Receivers are started first and stopped last, with what was sent.
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
    private readonly string folder;
    private readonly ProbeProcess serverReceiver;
    private readonly ProbeProcess[] clientReceivers;
    private readonly ProbeProcess tcp;
    private readonly Func<ProbeProcess[]> startSenders;
    private ProbeProcess[] senders = [];

    /// <summary>Starts the receivers and the TCP transfer.</summary>
    /// <param name="lab">The lab.</param>
    /// <param name="server">The server's node.</param>
    /// <param name="addresses">The server's addresses, IPv4 first.</param>
    /// <param name="options">Rates.</param>
    /// <param name="folder">Where the packet logs go.</param>
    public ProbeFleet(RunningLab lab, string server, IReadOnlyList<IpAddress> addresses, DemoOptions options, string folder)
    {
        ingresses = lab.Ingresses;
        this.folder = folder;
        string run = ((uint)Environment.ProcessId).ToString(CultureInfo.InvariantCulture);
        string[] common = ["--run", run, "--capacity", "4000000"];
        string streams = string.Join(' ', ingresses.Select((_, i) => i + 1));
        string target = string.Join(',', addresses);

        serverReceiver = new ProbeProcess(lab, server, "receiver at the server",
            ["receive", "--port", $"{ForwardPort}", "--stream", .. streams.Split(' '), "--bin", "0", "--quiet", $"{QuietMs}", "--bound",
                $"{BoundMs}", "--log", LogOf("server", "received"), .. common]);
        clientReceivers = [.. ingresses.Select((ingress, i) => new ProbeProcess(lab, ingress.Name, $"receiver at {ingress.Name}",
            ["receive", "--port", $"{ReversePort}", "--stream", $"{ReverseStreamBase + i + 1}", "--bin", "0", "--quiet", $"{QuietMs}",
                "--bound", $"{BoundMs}", "--log", LogOf(ingress.Name, "received"), .. common]))];
        tcp = new ProbeProcess(lab, ingresses[0].Name, $"TCP transfer from {ingresses[0].Name}",
            ["tcp", "--target", $"{addresses[0]}:7", "--rate", "250000"]);

        startSenders = () =>
        [
            new ProbeProcess(lab, server, "sender at the server",
                [
                    "send", .. ingresses.SelectMany((ingress, i) => new[] { "--target",
                        $"{ReverseStreamBase + i + 1}={string.Join(',', ingress.Addresses.Select(a => a.Address))}" }),
                    "--rate", $"{options.ReverseRate}", "--port", $"{ReversePort}", "--max-catch-up", $"{ServerCatchUpMs}", "--log",
                    LogOf("server", "sent"), .. Shape(), .. common,
                ]),
            .. ingresses.Select((ingress, i) => new ProbeProcess(lab, ingress.Name, $"sender at {ingress.Name}",
                [
                    "send", "--target", $"{i + 1}={target}", "--rate", $"{Share(options.Rate, ingresses.Count, i)}",
                    "--port", $"{ForwardPort}",
                    "--log", LogOf(ingress.Name, "sent"), .. Shape(), .. common,
                ])),
        ];
    }

    private static string[] Shape() => ["--flows", $"{FlowsPerStream}", "--flows6", $"{Ipv6FlowsPerStream}", "--size", $"{PayloadBytes}"];

    /// <summary>One of <paramref name="parts"/> whole shares that add up to the total.</summary>
    internal static long Share(long total, int parts, int index) => (total * (index + 1) / parts) - (total * index / parts);

    /// <summary>Waits for the receivers and the TCP connection, then starts all senders.</summary>
    public async Task StartAsync(CancellationToken cancel)
    {
        foreach (ProbeProcess probe in clientReceivers.Append(serverReceiver).Append(tcp))
        {
            await probe.WaitReadyAsync(cancel);
        }

        senders = startSenders();
        foreach (ProbeProcess probe in senders)
        {
            await probe.WaitReadyAsync(cancel);
        }
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
        ReceiveResult?[] received =
            await Task.WhenAll(clientReceivers.Append(serverReceiver).Select(r => stop<ReceiveResult>(r, "stop" + counts)));
        TcpResult? tcpResult = await transferred;
        invalid.AddRange(received.OfType<ReceiveResult>().Where(r => !r.Valid).Select(r => r.WhyInvalid!));

        ReceiveResult? atServer = received[^1];
        SendResult? fromServer = sent.Length > 0 ? sent[0] : null;
        ProbeRecord[] serverReceived = Load("server", "received", atServer);
        ProbeRecord[] serverSent = Load("server", "sent", fromServer);
        StreamFacts[] forward = [.. ingresses.Select((ingress, i) => Facts(ingress, i + 1,
            sent.ElementAtOrDefault(i + 1), atServer, Load(ingress.Name, "sent", sent.ElementAtOrDefault(i + 1)), serverReceived))];
        StreamFacts[] reverse = [.. ingresses.Select((ingress, i) => Facts(ingress, ReverseStreamBase + i + 1,
            fromServer, received[i], serverSent, Load(ingress.Name, "received", received[i])))];
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

    private static StreamFacts Facts(
        LabIngress ingress, int stream, SendResult? sender, ReceiveResult? receiver, ProbeRecord[] sent, ProbeRecord[] received) => new(
        ingress.Pe, ingress.Name, (byte)stream, sender?.Streams.FirstOrDefault(s => s.Stream == stream),
        receiver?.Streams.FirstOrDefault(s => s.Stream == stream), sent, received);

    private string LogOf(string node, string kind) => Path.Combine(folder, $"{node}.{kind}");

    private ProbeRecord[] Load(string node, string kind, object? result) => result is null ? [] : RecordLog.Load(LogOf(node, kind));

    public void Dispose()
    {
        foreach (ProbeProcess probe in clientReceivers.Append(serverReceiver).Append(tcp).Concat(senders))
        {
            probe.Dispose();
        }
    }
}

/// <summary>What the probes found.</summary>
internal sealed record FleetResult(
    IReadOnlyList<StreamFacts> Forward, IReadOnlyList<StreamFacts> Reverse, TcpResult? Tcp, IReadOnlyList<string> Invalid);
