using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Wire;
using SdnEdge.Lab.Probes;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests.Probe;

/// <summary>The probe over a pair of veth devices between two namespaces of its own.</summary>
public sealed class ProbeOverVethTests : IDisposable
{
    private const int Rate = 20_000;
    private const ushort Port = 7001;

    // Packets that a run has room for: more than the rate makes while a slow machine sets a link down and up.
    private const int Most = 2_000_000;

    private readonly string left = $"sdnedge-pl{Environment.ProcessId}";
    private readonly string right = $"sdnedge-pr{Environment.ProcessId}";

    private long helloReceived;

    [RootFact]
    public void Twenty_thousand_packets_a_second_for_two_seconds_arrive_once_and_in_order()
    {
        MakeNamespaces();
        (SendResult sent, ReceiveResult received) = Run("10.9.0.2", "fd09::2", 2_000_000_000, static (_, _) => { });
        SentStream s = sent.Streams[0];
        ReceivedStream r = received.Streams[0];
        Assert.True(received.Valid, received.WhyInvalid);
        Assert.Equal(0, s.Errors);
        Assert.Equal((s.Sent, 0, 0, 16), (r.Received, r.Duplicated, r.Reordered, r.Flows));
        Assert.InRange(s.Sent + (sent.SkippedNs * Rate / 1_000_000_000), (Rate * 2) - 1, Rate * 2);

        // The kernel stamps by the wall clock, which may be slewed between two looks at how far it is from ours.
        Assert.InRange(r.MinDelayNs, -500_000, 5_000_000);
    }

    [RootFact]
    public void What_the_link_loses_is_counted_as_lost_to_the_packet()
    {
        MakeNamespaces();
        (SendResult sent, ReceiveResult received) = Run("10.9.0.2", null, 0, (sender, log) =>
        {
            AwaitMore(log);
            Ip($"-n {right} link set pr down");
            AwaitMore(log);
            Ip($"-n {right} link set pr up");
            AwaitMore(log);
            sender.Stop();
        });
        SentStream s = sent.Streams[0];
        ReceivedStream r = received.Streams[0];
        Assert.True(received.Valid, received.WhyInvalid);
        Assert.InRange(s.Sent - r.Received, 1, s.Sent - 1);
        Assert.Equal(KernelReceived() - helloReceived, r.Received + r.Duplicated + received.Foreign);
        Assert.Equal(0, r.Duplicated);
    }

    [RootFact]
    public void A_receiver_with_too_small_a_buffer_knows_that_it_lost_packets_itself()
    {
        MakeNamespaces();
        using UdpProbeListener listener = Namespaces.Run(right, () => new UdpProbeListener(Port, bufferBytes: 4096));
        using UdpProbeTransmitter flow =
            Namespaces.Run(left, () => new UdpProbeTransmitter(new UdpEndpoint(IpAddress.Parse("10.9.0.2"), Port), 64));
        WaitForWay(flow, listener, 64);
        long before = listener.ReadOwnDrops();   // of those that waited for the neighbour and came all at once
        new ProbeSender(1, 1000, 64, [new SendStream(1, [flow])], () => Monotonic.Now, null).SendDue(500);
        var receiver = new ProbeReceiver(1, listener, [new StreamTally(1, 1000, 1, null)], () => Monotonic.Now, null);
        receiver.Stop();
        ReceiveResult result = receiver.Run(0, 300_000_000, 30_000_000_000);
        Assert.True(result is { Valid: false } && result.OwnDrops > before, $"{before} drops before, then {result}, {result.Streams[0]}");
        Assert.Equal(500, result.Streams[0].Received + result.OwnDrops - before);
    }

    private (SendResult Sent, ReceiveResult Received) Run(string v4, string? v6, long durationNs, Action<ProbeSender, RecordLog> meanwhile)
    {
        using UdpProbeListener listener = Namespaces.Run(right, () => new UdpProbeListener(Port));
        UdpProbeTransmitter[] flows = Namespaces.Run(left, () => Enumerable.Range(0, 16)
            .Select(i => new UdpProbeTransmitter(new UdpEndpoint(IpAddress.Parse(i % 4 == 3 && v6 is not null ? v6 : v4), Port), 128))
            .ToArray());
        try
        {
            WaitForWay(flows[0], listener, 128);
            WaitForWay(flows[3], listener, 128);
            using var log = new RecordLog(Most);
            var receiver = new ProbeReceiver(5, listener, [new StreamTally(1, Most, 16, null)], () => Monotonic.Now, null);
            var sender = new ProbeSender(5, Rate, 128, [new SendStream(1, flows)], () => Monotonic.Now, log);
            ReceiveResult? received = null;
            SendResult? sent = null;
            var receiving = new Thread(() => received = receiver.Run(0, 1_000_000_000, 30_000_000_000));
            var sending = new Thread(() =>
            {
                // On one core: each has a backlog of its own, and what waits in one would be overtaken by what goes through another.
                int core = Thread.GetCurrentProcessorId();
                if (core < Math.Min(64, Environment.ProcessorCount)) Affinity.Pin(core);
                sent = sender.Run(durationNs, 20_000_000);   // a burst after a standstill fits into the kernel's backlog of 1000
            });
            receiving.Start();
            sending.Start();
            try
            {
                meanwhile(sender, log);
            }
            catch
            {
                sender.Stop();
                throw;
            }
            finally
            {
                sending.Join();
                receiver.Announce(1, sent!.Streams[0].Sent);
                receiver.Stop();
                receiving.Join();
            }

            return (sent, received!);
        }
        finally
        {
            Array.ForEach(flows, f => f.Dispose());
        }
    }

    /// <summary>Neighbours resolved and addresses usable: IPv6 takes up to a second for that after the link is up.</summary>
    private void WaitForWay(UdpProbeTransmitter flow, UdpProbeListener listener, int size)
    {
        byte[] hello = new byte[size];
        int seen = 0;
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                flow.Send(hello, hello.Length, 1);
                return (seen += listener.Receive(10)) > 0;
            },
            Patience.Long), "nothing gets through between the namespaces");

        // Those that waited for the neighbour come after the first one.
        for (int more; (more = listener.Receive(10)) > 0;) seen += more;
        helloReceived += seen;
    }

    /// <summary>Waits until another thousand packets have been sent.</summary>
    private static void AwaitMore(RecordLog log)
    {
        long goal = log.Count + 1000;
        Assert.True(SpinWait.SpinUntil(() => log.Count >= goal, Patience.Long), "nothing more is sent");
    }

    /// <summary>The kernel's own count of UDP datagrams delivered in the receiver's namespace.</summary>
    private long KernelReceived() => Namespaces.Run(right, () =>
    {
        string[][] udp = [.. File.ReadLines("/proc/thread-self/net/snmp").Where(l => l.StartsWith("Udp:", StringComparison.Ordinal))
            .Select(l => l.Split(' '))];
        return long.Parse(udp[1][Array.IndexOf(udp[0], "InDatagrams")], CultureInfo.InvariantCulture);
    });

    private void MakeNamespaces()
    {
        Ip($"netns add {left}");
        Ip($"netns add {right}");
        Ip($"link add pl netns {left} type veth peer name pr netns {right}");
        foreach ((string ns, string device, int host) in new[] { (left, "pl", 1), (right, "pr", 2) })
        {
            Ip($"-n {ns} address add 10.9.0.{host}/24 dev {device}");
            Ip($"-n {ns} address add fd09::{host}/64 dev {device} nodad");
            Ip($"-n {ns} link set {device} up");
        }
    }

    private static void Ip(string arguments, bool mayFail = false)
    {
        using Process process =
            Process.Start(new ProcessStartInfo("ip", arguments) { UseShellExecute = false, RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(mayFail || process.ExitCode == 0, $"ip {arguments}: {error}");
    }

    public void Dispose()
    {
        Ip($"netns del {left}", mayFail: true);
        Ip($"netns del {right}", mayFail: true);
    }
}
