using SdnEdge.Core.Fib;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Fib;

/// <summary>Readers beside a writer that never stops.</summary>
public class LpmConcurrencyTests
{
    private const int Changes = 30_000;

    [Fact]
    public void A_reader_sees_for_each_address_only_the_value_before_or_after_a_change()
    {
        // Each address has a set of leaves that it may ever have: the host route's, the covering /20's or /16's.
        // The writer churns all three kinds and many neighbours; any other answer is a half-made update.
        using var table = new LpmTable4();
        const uint Net = 0x0A010000;
        table.Set(Net, 16, 1_000_000);
        using var stop = new CancellationTokenSource();
        long[] lookups = new long[2];
        long boundary = 0;
        string? wrong = null;
        Thread[] readers = [.. Enumerable.Range(0, 2).Select(r => new Thread(() =>
        {
            var random = new Random(r);
            Span<uint> addresses = stackalloc uint[32];
            Span<uint> leaves = stackalloc uint[32];
            while (!stop.IsCancellationRequested)
            {
                for (int i = 0; i < 32; i++) addresses[i] = Net + (uint)random.Next(1 << 16);
                if (r == 0) table.Lookup(addresses, leaves);
                else for (int i = 0; i < 32; i++) leaves[i] = table.Lookup(addresses[i]);
                for (int i = 0; i < 32; i++)
                {
                    uint low = addresses[i] & 0xFFFF;
                    bool legal = leaves[i] is 1_000_000 or 1_000_001
                        || leaves[i] == 2_000_000 + (low >> 12)
                        || leaves[i] == 3_000_000 + low;
                    if (!legal) wrong = $"{addresses[i]:x8} -> {leaves[i]}";
                }

                Interlocked.Increment(ref lookups[r]);
            }
        }))];
        foreach (Thread reader in readers) reader.Start();

        var writer = new Random(99);
        for (int i = 0; i < Changes || Volatile.Read(ref lookups[0]) < 100 || Volatile.Read(ref lookups[1]) < 100; i++)
        {
            uint low = (uint)writer.Next(1 << 16);
            switch (writer.Next(20))
            {
                case 0: table.Set(Net, 16, 1_000_000 + (uint)writer.Next(2)); break;
                case 1: table.Set(Net | (low & 0xF000), 20, 2_000_000 + (low >> 12)); break;
                case 2: table.Remove(Net | (low & 0xF000), 20); break;
                case < 12: table.Set(Net | low, 32, 3_000_000 + low); break;
                default: table.Remove(Net | low, 32); break;
            }

            if (i % 2000 != 0) continue;
            // A grace period: both readers have begun a lookup after the mark was taken.
            long mark = table.RetireMark;
            long[] seen = [Volatile.Read(ref lookups[0]), Volatile.Read(ref lookups[1])];
            for (int r = 0; r < 2; r++)
            {
                int reader = r;
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref lookups[reader]) >= seen[reader] + 1, Patience.Time),
                    "a reader stands still");
            }

            table.Reclaim(mark);
            boundary++;
        }

        stop.Cancel();
        foreach (Thread reader in readers) Assert.True(reader.Join(Patience.Time));
        Assert.Null(wrong);
        Assert.True(boundary > 10);
        Assert.True(table.Count > 0);
    }

    [Fact]
    public void A_growing_table_never_hides_a_route_that_is_there()
    {
        // Growth moves the arena while readers walk it.
        using var table = new LpmTable6();
        UInt128 fixedRoute = (UInt128)0x20010db8 << 96;
        table.Set(fixedRoute | 0xFFFF, 128, 5);
        using var stop = new CancellationTokenSource();
        long lookups = 0;
        long wrong = 0;
        var reader = new Thread(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                if (table.Lookup(fixedRoute | 0xFFFF) != 5) wrong++;
                Interlocked.Increment(ref lookups);
            }
        });
        reader.Start();
        var random = new Random(6);
        long first = table.LookupBytes;
        for (int i = 0; i < 30_000; i++)
            table.Set(fixedRoute | ((UInt128)random.Next() << 64) | (uint)random.Next(), 64 + random.Next(60), (uint)i + 10);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref lookups) > 1000, Patience.Time));
        stop.Cancel();
        Assert.True(reader.Join(Patience.Time));
        Assert.Equal(0, wrong);
        Assert.True(table.LookupBytes > first + (1 << 20));
    }
}
