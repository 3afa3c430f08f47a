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

    private readonly string left = $"sdnedge-pl{Environment.ProcessId}";
    private readonly string right = $"sdnedge-pr{Environment.ProcessId}";

    private long helloReceived;

    [RootFact]
    public void Twenty_thousand_packets_a_second_for_two_seconds_arrive_once_and_in_order()
    {
        MakeNamespaces();
        (SendResult sent, ReceiveResult received) = Run("10.9.0.2", "fd09::2", 2_000_000_000, static () => { });
        SentStream s = sent.Streams[0];
        ReceivedStream r = received.Streams[0];
        Assert.True(received.Valid, received.WhyInvalid);
        Assert.Equal(0, s.Errors);
        Assert.Equal((s.Sent, 0, 0, 16), (r.Received, r.Duplicated, r.Reordered, r.Flows));
        Assert.InRange(s.Sent + (sent.SkippedNs * Rate / 1_000_000_000), Rate * 2 * 0.98, Rate * 2 * 1.001);
        Assert.InRange(r.MinDelayNs, 0, 5_000_000);
    }

    [RootFact]
    public void What_the_link_loses_is_counted_as_lost_to_the_packet()
    {
        MakeNamespaces();
        (SendResult sent, ReceiveResult received) = Run("10.9.0.2", null, 1_500_000_000, () =>
        {
            Ip($"-n {right} link set pr down");
            Ip($"-n {right} link set pr up");
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
        using UdpProbeTransmitter flow = Namespaces.Run(left, () => new UdpProbeTransmitter(new UdpEndpoint(IpAddress.Parse("10.9.0.2"), Port), 64));
        new ProbeSender(1, 1000, 64, [new SendStream(1, [flow])], () => Monotonic.Now, null).SendDue(500);
        var receiver = new ProbeReceiver(1, listener, [new StreamTally(1, 1000, 1, null)], () => Monotonic.Now, null);
        receiver.Stop();
        ReceiveResult result = receiver.Run(0, 50_000_000, 1_000_000_000);
        Assert.False(result.Valid);
        Assert.Equal(500, result.Streams[0].Received + result.OwnDrops);
    }

    private (SendResult Sent, ReceiveResult Received) Run(string v4, string? v6, long durationNs, Action halfway)
    {
        using UdpProbeListener listener = Namespaces.Run(right, () => new UdpProbeListener(Port));
        UdpProbeTransmitter[] flows = Namespaces.Run(left, () => Enumerable.Range(0, 16)
            .Select(i => new UdpProbeTransmitter(new UdpEndpoint(IpAddress.Parse(i % 4 == 3 && v6 is not null ? v6 : v4), Port), 128)).ToArray());
        try
        {
            WaitForWay(flows[0], listener);
            WaitForWay(flows[3], listener);
            var receiver = new ProbeReceiver(5, listener, [new StreamTally(1, 200_000, 16, null)], () => Monotonic.Now, null);
            var sender = new ProbeSender(5, Rate, 128, [new SendStream(1, flows)], () => Monotonic.Now, null);
            ReceiveResult? received = null;
            SendResult? sent = null;
            var receiving = new Thread(() => received = receiver.Run(0, 300_000_000, 5_000_000_000));
            var sending = new Thread(() => sent = sender.Run(durationNs, 50_000_000));
            receiving.Start();
            sending.Start();
            long half = Monotonic.Now + (durationNs / 3);
            SpinWait.SpinUntil(() => Monotonic.Now >= half);
            halfway();
            sending.Join();
            receiver.Announce(1, sent!.Streams[0].Sent);
            receiver.Stop();
            receiving.Join();
            return (sent, received!);
        }
        finally
        {
            Array.ForEach(flows, f => f.Dispose());
        }
    }

    /// <summary>Neighbours resolved and addresses usable: IPv6 takes up to a second for that after the link is up.</summary>
    private void WaitForWay(UdpProbeTransmitter flow, UdpProbeListener listener)
    {
        byte[] hello = new byte[128];
        int seen = 0;
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                flow.Send(hello, hello.Length, 1);
                return (seen += listener.Receive(10)) > 0;
            },
            TimeSpan.FromSeconds(10)), "nothing gets through between the namespaces");
        helloReceived += seen;
    }

    /// <summary>The kernel's own count of UDP datagrams delivered in the receiver's namespace.</summary>
    private long KernelReceived() => Namespaces.Run(right, () =>
    {
        string[][] udp = [.. File.ReadLines("/proc/thread-self/net/snmp").Where(l => l.StartsWith("Udp:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
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
        using Process process = Process.Start(new ProcessStartInfo("ip", arguments) { UseShellExecute = false, RedirectStandardError = true })!;
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
