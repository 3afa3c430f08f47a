using SdnEdge.Lab.Probes;
using Xunit;

namespace SdnEdge.Lab.Tests.Probe;

/// <summary>Sender and receiver joined by a queue in memory that can lose, repeat, swap and refuse.</summary>
public sealed class ProbeLoopTests
{
    private const uint Run = 77;

    [Fact]
    public void Every_packet_sent_is_received_once_in_order_and_both_logs_agree()
    {
        using var pipe = new Pipe();
        using var log = new RecordLog(10_000);
        var sender = NewSender(pipe, log);
        for (int tick = 0; tick < 100; tick++)
        {
            sender.SendDue(20);
        }

        using var received = new RecordLog(10_000);
        ReceiveResult result = Receive(pipe, received);
        Assert.True(result.Valid, result.WhyInvalid);
        Assert.Equal(2000, result.Streams.Sum(s => s.Received));
        Assert.All(result.Streams, s => Assert.Equal((1000, 0, 0, 8), (s.Received, s.Duplicated, s.Reordered, s.Flows)));
        Assert.Equal(
            log.Records.ToArray().Select(r => (r.Stream, r.Sequence, r.Flow)),
            received.Records.ToArray().Select(r => (r.Stream, r.Sequence, r.Flow)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Loss_and_duplication_on_the_way_are_counted_to_the_packet(int seed)
    {
        var random = new Random(seed);
        using var pipe = new Pipe();
        var sender = NewSender(pipe, null);
        sender.SendDue(5000);
        int lost = 0;
        int repeated = 0;
        var through = new List<byte[]>();
        foreach (byte[] packet in pipe.Packets)
        {
            int fate = random.Next(10);
            lost += fate == 0 ? 1 : 0;
            repeated += fate == 1 ? 1 : 0;
            through.AddRange(Enumerable.Repeat(packet, fate == 0 ? 0 : fate == 1 ? 2 : 1));
        }

        pipe.Packets.Clear();
        through.ForEach(pipe.Packets.Enqueue);
        ReceiveResult result = Receive(pipe, null);
        Assert.Equal(5000 - lost, result.Streams.Sum(s => s.Received));
        Assert.Equal(repeated, result.Streams.Sum(s => s.Duplicated));
        Assert.Equal(0, result.Streams.Sum(s => s.Reordered));
    }

    [Fact]
    public void A_refused_packet_is_an_error_and_neither_sent_nor_lost()
    {
        using var pipe = new Pipe { RefuseEvery = 7 };
        using var log = new RecordLog(10_000);
        var sender = NewSender(pipe, log);
        sender.SendDue(1000);
        sender.Stop();
        SendResult sent = sender.Run(0, 1_000_000);
        Assert.True(sent.Streams.Sum(s => s.Errors) > 100);
        Assert.Equal(1000, sent.Streams.Sum(s => s.Errors + s.Sent));
        Assert.Equal(105, sent.Streams[0].LastError);
        ReceiveResult result = Receive(pipe, null);
        Assert.Equal(sent.Streams.Sum(s => s.Sent), result.Streams.Sum(s => s.Received));
        Assert.Equal(0, result.Streams.Sum(s => s.Duplicated));
        Assert.Equal(sent.Streams.Sum(s => s.Sent), log.Count);
    }

    [Fact]
    public void What_is_due_by_the_end_is_sent_however_late_the_last_tick_is()
    {
        using var pipe = new Pipe { Keep = false };
        long now = 0;
        var sender = new ProbeSender(Run, 1000, 64, [new SendStream(1, [pipe])], () => now += 30_000_000, null);
        Assert.Equal(1000, Assert.Single(sender.Run(1_000_000_000, maxCatchUpNs: long.MaxValue).Streams).Sent);
    }

    [Fact]
    public void Packets_of_another_run_and_other_datagrams_are_left_out()
    {
        using var pipe = new Pipe();
        var sender = NewSender(pipe, null, Run + 1);
        sender.SendDue(10);
        pipe.Packets.Enqueue([1, 2, 3]);
        ReceiveResult result = Receive(pipe, null);
        Assert.Equal(11, result.Foreign);
        Assert.Equal(0, result.Streams.Sum(s => s.Received));
    }

    [Fact]
    public void A_receiver_that_lost_packets_itself_says_that_its_counts_are_not_valid()
    {
        using var pipe = new Pipe { OwnDrops = 3 };
        ReceiveResult result = Receive(pipe, null);
        Assert.False(result.Valid);
        Assert.Contains("3 packets were lost here, not in the network", result.WhyInvalid, StringComparison.Ordinal);
    }

    [Fact]
    public void A_receiver_told_what_was_sent_does_not_wait_longer_than_for_that()
    {
        using var pipe = new Pipe();
        NewSender(pipe, null).SendDue(10);
        long now = 0;
        var receiver = NewReceiver(pipe, null, () => now += 1_000_000);
        receiver.Announce(1, 5);
        receiver.Announce(2, 5);
        receiver.Stop();
        Assert.Equal(10, receiver.Run(0, quietNs: long.MaxValue, boundNs: long.MaxValue).Streams.Sum(s => s.Received));
    }

    [Fact]
    public void A_receiver_that_misses_packets_ends_when_the_way_has_gone_quiet()
    {
        using var pipe = new Pipe();
        NewSender(pipe, null).SendDue(10);
        long now = 0;
        var receiver = NewReceiver(pipe, null, () => now += 1_000_000);
        receiver.Announce(1, 6);
        receiver.Stop();
        Assert.Equal(10, receiver.Run(0, quietNs: 50_000_000, boundNs: long.MaxValue).Streams.Sum(s => s.Received));
        Assert.InRange(now, 50_000_000, 60_000_000);
    }

    [Fact]
    public void Sending_and_receiving_allocate_nothing_a_packet()
    {
        using var sink = new Pipe { Keep = false };
        var sender = NewSender(sink, null);
        sender.SendDue(1000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        sender.SendDue(50_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static ProbeSender NewSender(Pipe pipe, RecordLog? log, uint run = Run) => new(
        run, 20_000, 64,
        [
            new SendStream(1, [.. Enumerable.Repeat<IProbeTransmitter>(pipe, 8)]),
            new SendStream(2, [.. Enumerable.Repeat<IProbeTransmitter>(pipe, 8)]),
        ],
        static () => 1_000, log);

    private static ProbeReceiver NewReceiver(Pipe pipe, RecordLog? log, Func<long> clock) => new(
        Run, pipe, [new StreamTally(1, 10_000, 8, null), new StreamTally(2, 10_000, 8, null)], clock, log);

    private static ReceiveResult Receive(Pipe pipe, RecordLog? log)
    {
        long now = 0;
        ProbeReceiver receiver = NewReceiver(pipe, log, () => now += 1_000_000);
        receiver.Stop();
        return receiver.Run(0, 5_000_000, 1_000_000_000);
    }

    private sealed class Pipe : IProbeTransmitter, IProbeListener
    {
        private readonly List<byte[]> batch = [];
        private int offered;

        public Queue<byte[]> Packets { get; } = new();
        public int RefuseEvery { get; init; }
        public bool Keep { get; init; } = true;
        public long OwnDrops { get; init; }
        public int LastError { get; private set; }

        public int Send(ReadOnlySpan<byte> payloads, int payloadSize, int count)
        {
            for (int i = 0; i < count; i++)
            {
                if (RefuseEvery > 0 && ++offered % RefuseEvery == 0)
                {
                    LastError = 105;
                    return i;
                }

                if (Keep)
                {
                    Packets.Enqueue(payloads.Slice(i * payloadSize, payloadSize).ToArray());
                }
            }

            return count;
        }

        public int Receive(int timeoutMilliseconds)
        {
            batch.Clear();
            while (batch.Count < 64 && Packets.TryDequeue(out byte[]? packet))
            {
                batch.Add(packet);
            }

            return batch.Count;
        }

        public ReadOnlySpan<byte> Payload(int index) => batch[index];

        public long ArrivalNs(int index) => 2_000;

        public long ReadOwnDrops() => OwnDrops;

        public void Dispose()
        {
        }
    }
}
