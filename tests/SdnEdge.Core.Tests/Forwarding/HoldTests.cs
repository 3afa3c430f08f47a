using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Tests.Wire;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The hold alone, against a slow and obvious model.</summary>
public sealed class HoldTests
{
    private const long Ms = 1_000_000;

    [Property(MaxTest = 100)]
    public void Counts_and_order_are_those_of_the_model(int seed, bool dropOldest)
    {
        Random random = new(seed);
        HoldOptions options = new(
            MaxBytes: random.Next(200, 5000), MaxPackets: random.Next(1, 40), MaxMilliseconds: random.Next(1, 50),
            Overflow: dropOldest ? HoldOverflowPolicy.DropOldest : HoldOverflowPolicy.DropNewest, ReleasePacketsPerSecond: 0);
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, options);
        using PacketBatch from = new(), to = new();
        List<(byte[] Bytes, long At)> model = [];
        long total = 0, newest = 0, oldest = 0, expired = 0, released = 0, now = 1;
        bool releasing = false;

        for (int step = 0; step < 400; step++)
        {
            now += random.Next(0, 3) * Ms;
            int action = random.Next(10);
            if (action < 7)
            {
                byte[] bytes = Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, IpProtocol.Udp, Frames.Bytes(random.Next(0, 400)));
                from.Count = 0;
                from.TryAdd(bytes);
                Hold.Result result = hold.Enqueue(from[0], now, out int evicted, out int gone);

                bool Fits() => model.Count < options.MaxPackets && model.Sum(m => m.Bytes.Length) + bytes.Length <= options.MaxBytes;
                int modelGone = 0, modelEvicted = 0;
                if (bytes.Length <= options.MaxBytes && !Fits())
                {
                    modelGone = model.RemoveAll(m => now - m.At >= options.MaxMilliseconds * Ms);
                    while (dropOldest && !Fits())
                    {
                        model.RemoveAt(0);
                        modelEvicted++;
                    }
                }

                bool held = Fits();
                if (held) model.Add((bytes, now));
                expired += modelGone;
                oldest += modelEvicted;
                total += held ? 1 : 0;
                newest += held ? 0 : 1;
                Assert.Equal((held ? Hold.Result.Held : Hold.Result.Overflow, modelEvicted, modelGone), (result, evicted, gone));
            }
            else if (action < 8)
            {
                int modelGone = model.RemoveAll(m => now - m.At >= options.MaxMilliseconds * Ms);
                expired += modelGone;
                Assert.Equal(modelGone, hold.Expire(now));
            }
            else if (releasing)
            {
                to.Count = 0;
                Assert.Equal(model.Count > 0, Take(hold, to));
                if (model.Count == 0) continue;
                Assert.Equal(model[0].Bytes, to[0].Span.ToArray());
                model.RemoveAt(0);
                released++;
            }
            else if (step > 100)
            {
                hold.BeginRelease(DrainPath.Attached);
                releasing = true;
            }

            HoldInfo info = hold.Info;
            Assert.Equal((total, released, newest, oldest, expired),
                (info.PacketsHeldTotal, info.Released, info.DroppedNewest, info.DroppedOldest, info.Expired));
            Assert.Equal((model.Count, model.Sum(m => m.Bytes.Length)), ((int)info.PacketsHeldNow, (int)info.BytesHeldNow));
            Assert.True(info.PeakBytes <= options.MaxBytes && info.PeakPackets <= options.MaxPackets);
        }
    }

    [Fact]
    public void Nothing_is_taken_out_while_it_is_armed()
    {
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, new HoldOptions());
        using PacketBatch batch = new();
        batch.TryAdd(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, 17, []));
        hold.Enqueue(batch[0], 1, out _, out _);
        Assert.False(Take(hold, batch) || hold.TryFinish() || hold.TryPeek(out _) || hold.TryTake(default, batch, out _));
        Assert.Equal(0, hold.Budget(1));
        Assert.Equal("armed", hold.Info.State);
    }

    [Fact]
    public void The_pace_is_the_configured_rate_plus_what_arrives()
    {
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, new HoldOptions(ReleasePacketsPerSecond: 10_000));
        using PacketBatch from = new(), to = new();
        from.TryAdd(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, 17, []));
        for (int i = 0; i < 5000; i++) hold.Enqueue(from[0], 1, out _, out _);
        hold.BeginRelease(DrainPath.Attached);

        long now = 10 * Ms;
        long taken = Take(hold.Budget(now));
        Assert.Equal(32, taken);
        for (int ms = 1; ms <= 100; ms++)
        {
            // 3 arrive in each millisecond while 10 may leave: the backlog shrinks by 10 a millisecond all the same.
            for (int i = 0; i < 3; i++) hold.Enqueue(from[0], now, out _, out _);
            taken += Take(hold.Budget(now += Ms));
        }

        Assert.InRange(taken, 32 + 1300 - 1, 32 + 1300 + 1);
        Assert.InRange(hold.NextDeadline, now, now + (4 * Ms));

        // A long sleep does not earn a flood: at most 10 ms worth.
        Assert.InRange(hold.Budget(now + (1000 * Ms)), 64, 101);

        long Take(int budget)
        {
            int count = 0;
            for (; count < budget; count++)
            {
                to.Count = 0;
                Assert.True(HoldTests.Take(hold, to));
            }

            return count;
        }
    }

    /// <summary>Where no pace is configured the hold empties in a fifth of the time that it was held for, whatever the rate.</summary>
    [Theory]
    [InlineData(20_000, 20_000)]
    [InlineData(300, 2_000)]
    [InlineData(300, 30_000)]
    public void Without_a_configured_pace_packets_leave_five_times_as_fast_as_they_came(int heldMs, int packets)
    {
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, new HoldOptions(MaxMilliseconds: 60_000));
        using PacketBatch from = new(), to = new();
        from.TryAdd(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, 17, []));
        long now = Ms;
        for (int i = 0; i < packets; i++) hold.Enqueue(from[0], now + (heldMs * Ms * i / packets), out _, out _);
        now += heldMs * Ms;
        hold.BeginRelease(DrainPath.Attached);

        int ms = 0;
        for (; !hold.TryFinish(); ms++, now += Ms)
        {
            int budget = hold.Budget(now);
            Assert.InRange(budget, 0, Math.Max(64, packets / heldMs * 10 * 6));
            for (; budget > 0 && hold.TryPeek(out _); budget--)
            {
                to.Count = 0;
                Assert.True(Take(hold, to));
            }
        }

        Assert.InRange(ms, heldMs / 5 * 9 / 10, (heldMs / 5 * 11 / 10) + 2);
    }

    [Fact]
    public void A_late_packet_finds_it_released_and_is_delivered_by_its_worker()
    {
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, new HoldOptions());
        using PacketBatch batch = new();
        batch.TryAdd(Frames.Ip(ForwarderRig.Client4, ForwarderRig.Server4, 17, []));
        hold.BeginRelease(DrainPath.Attached);
        Assert.Equal(Hold.Result.Held, hold.Enqueue(batch[0], 1, out _, out _));
        Assert.False(hold.TryFinish());
        Assert.True(Take(hold, batch));
        Assert.True(hold.TryFinish());
        Assert.Equal(Hold.Result.Deliver, hold.Enqueue(batch[0], 1, out _, out _));
        Assert.Equal(long.MaxValue, hold.NextDeadline);
    }

    [Fact]
    public void A_packet_that_was_dropped_after_the_look_is_not_taken_for_the_next_one()
    {
        using Vrf vrf = new(0, "v");
        using Hold hold = new("h", vrf, new HoldOptions(MaxPackets: 2, Overflow: HoldOverflowPolicy.DropOldest));
        using PacketBatch from = new(), to = new();
        IpAddress[] destinations = [ForwarderRig.Server4, ForwarderRig.Client4, ForwarderRig.Loopback4];
        foreach (IpAddress destination in destinations) from.TryAdd(Frames.Ip(ForwarderRig.Client4, destination, 17, []));
        hold.Enqueue(from[0], 1, out _, out _);
        hold.Enqueue(from[1], 1, out _, out _);
        hold.BeginRelease(DrainPath.Attached);
        Assert.True(hold.TryPeek(out HeldPacket looked));
        Assert.Equal(new HeldPacket(0, destinations[0]), looked);
        hold.Enqueue(from[2], 1, out int evicted, out _);
        Assert.Equal(1, evicted);

        Assert.False(hold.TryTake(looked, to, out HeldPacket? next));
        Assert.Equal((0, new HeldPacket(1, destinations[1])), (to.Count, next));
        Assert.True(hold.TryTake(next!.Value, to, out next));
        Assert.Equal(new HeldPacket(2, destinations[2]), next);
        Assert.Equal(from[1].Span.ToArray(), to[0].Span.ToArray());
        Assert.Equal((1, 1, 1), (hold.Info.Released, hold.Info.DroppedOldest, hold.Info.PacketsHeldNow));
    }

    private static bool Take(Hold hold, PacketBatch into) => hold.TryPeek(out HeldPacket oldest) && hold.TryTake(oldest, into, out _);

    [Fact]
    public void Options_out_of_range_are_refused()
    {
        using Vrf vrf = new(0, "v");
        Assert.Throws<ArgumentOutOfRangeException>(() => new Hold("h", vrf, new HoldOptions(MaxBytes: 0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Hold("h", vrf, new HoldOptions(MaxPackets: 0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Hold("h", vrf, new HoldOptions(MaxMilliseconds: 0)));
    }
}
