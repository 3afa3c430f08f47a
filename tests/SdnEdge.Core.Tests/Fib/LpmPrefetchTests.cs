using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;
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

    [Theory]
    [InlineData(IpFamily.V4, 32)]
    [InlineData(IpFamily.V6, 128)]
    public void Prefetching_for_a_change_of_a_prefix_of_any_length_changes_nothing(IpFamily family, int bits)
    {
        using var vrf = new Vrf(0, "default");
        var random = new Random(6);
        var set = new Dictionary<IpPrefix, uint>();
        for (uint round = 1; round <= 2000; round++)
        {
            var prefix = new IpPrefix(IpAddress.Read(family,
                [.. Enumerable.Range(0, 16).Select(i => (byte)(i < 3 ? random.Next(4) : random.Next(256)))]), random.Next(bits + 1));
            vrf.PrefetchRoot(prefix);
            vrf.PrefetchNodes(prefix);
            uint before = set.GetValueOrDefault(prefix);
            if (round % 3 == 0)
            {
                Assert.Equal(before, vrf.Remove(prefix));
                set.Remove(prefix);
                continue;
            }

            Assert.Equal(before, vrf.Set(prefix, round));
            set[prefix] = round;
        }

        Assert.All(set, p => Assert.Equal(p.Value, vrf.Remove(p.Key)));
        Assert.Equal(0, vrf.V4.Count + vrf.V6.Count);
    }
}
