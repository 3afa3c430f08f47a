using SdnEdge.Core.Fib;
using Xunit;

namespace SdnEdge.Core.Tests.Fib;

public sealed class LpmPrefetchTests
{
    [Fact]
    public void Prefetching_reads_no_memory_but_the_tables_and_changes_nothing()
    {
        using var table = new LpmTable4();
        var random = new Random(5);
        uint[] addresses = new uint[64];
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < addresses.Length; i++) addresses[i] = (uint)random.NextInt64(1L << 32);
            addresses[0] = 0;
            addresses[1] = uint.MaxValue;
            uint[] before = [.. addresses.Select(table.Lookup)];
            table.Prefetch(addresses);
            table.Prefetch(addresses.AsSpan(0, round % 64));
            Assert.Equal(before, addresses.Select(table.Lookup));
            table.Set(addresses[round % 64], random.Next(33), (uint)round + 1);
        }
    }
}
