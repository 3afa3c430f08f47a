using SdnEdge.Core.Forwarding;
using SdnEdge.Router.Control;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

public sealed class PuntRingTests
{
    [Fact]
    public void Packets_come_out_in_order_with_what_was_said_about_them()
    {
        var seen = new List<(PuntReason, int, byte[])>();
        int wakes = 0;
        using var ring = new PuntRing(() => wakes++,
            (in PuntInfo info, ReadOnlySpan<byte> frame, long now) => seen.Add((info.Reason, info.Port, frame.ToArray())));
        for (int i = 0; i < 3000; i++)
        {
            Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp, Port = i }, [(byte)i, (byte)(i >> 8)]));
            if (i % 7 == 6) Drain(ring);
        }

        Drain(ring);
        Assert.Equal(3000, wakes);
        Assert.Equal(Enumerable.Range(0, 3000), seen.Select(s => s.Item2));
        Assert.All(seen, s => Assert.Equal([(byte)s.Item2, (byte)(s.Item2 >> 8)], s.Item3));
    }

    [Fact]
    public void A_full_ring_refuses_and_takes_again_after_a_drain()
    {
        using var ring = new PuntRing(() => { }, (in PuntInfo _, ReadOnlySpan<byte> _, long _) => { });
        for (int i = 0; i < PuntRing.Capacity; i++) Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, [1]));
        Assert.False(ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, [1]));
        Drain(ring);
        Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, [1]));
    }

    [Fact]
    public void Packets_that_earn_an_error_cannot_keep_arp_out()
    {
        using var ring = new PuntRing(() => { }, (in PuntInfo _, ReadOnlySpan<byte> _, long _) => { });
        int taken = 0;
        while (ring.TryPunt(new PuntInfo { Reason = PuntReason.TtlExpired }, [1])) taken++;
        Assert.Equal(PuntRing.Capacity / 2, taken);
        Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, [1]));
        Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.NeighborNeeded }, [1]));
    }

    [Fact]
    public void A_frame_longer_than_any_port_takes_is_refused()
    {
        using var ring = new PuntRing(() => { }, (in PuntInfo _, ReadOnlySpan<byte> _, long _) => { });
        Assert.True(ring.TryPunt(new PuntInfo { Reason = PuntReason.LocalIcmp }, new byte[PuntRing.MaxFrameBytes]));
        Assert.False(ring.TryPunt(new PuntInfo { Reason = PuntReason.LocalIcmp }, new byte[PuntRing.MaxFrameBytes + 1]));
    }

    [Fact]
    public void Taking_a_packet_that_makes_the_handler_throw_takes_it_out_all_the_same()
    {
        using var ring = new PuntRing(() => { },
            (in PuntInfo _, ReadOnlySpan<byte> _, long _) => throw new InvalidOperationException("bug"));
        ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, [1]);
        Assert.Throws<InvalidOperationException>(() => ring.Drain(0));
        Assert.False(ring.HasWork);
    }

    [Fact]
    public async Task One_thread_puts_in_while_another_takes_out()
    {
        const int total = 200_000;
        long sum = 0, count = 0;
        using var ring = new PuntRing(() => { }, (in PuntInfo info, ReadOnlySpan<byte> frame, long now) =>
        {
            sum += BitConverter.ToInt32(frame);
            count++;
        });
        Task producer = Task.Run(() =>
        {
            for (int i = 0; i < total; i++)
            {
                while (!ring.TryPunt(new PuntInfo { Reason = PuntReason.Arp }, BitConverter.GetBytes(i))) Thread.Yield();
            }
        });
        while (count < total)
        {
            ring.Drain(0);
            if (!ring.HasWork) Thread.Yield();
            Assert.False(producer.IsFaulted);
        }

        await producer;
        Assert.Equal((long)total * (total - 1) / 2, sum);
    }

    private static void Drain(PuntRing ring)
    {
        while (ring.HasWork) ring.Drain(0);
    }
}
