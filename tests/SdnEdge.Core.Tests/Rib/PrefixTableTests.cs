using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Rib;

public sealed class PrefixTableTests
{
    [Theory]
    [InlineData(1, 200)]
    [InlineData(2, 5000)]
    public void A_table_that_grows_and_shrinks_holds_what_a_dictionary_holds(int seed, int prefixes)
    {
        var random = new Random(seed);
        var table = new PrefixTable<Key4, int>();
        var oracle = new Dictionary<Key4, (int Index, int Value)>();
        for (int step = 0; step < 20 * prefixes; step++)
        {
            // Whole stretches of equal length and step, as real tables have them; in turns more come than go, and the other way.
            Key4 key = Key4.From(new IpPrefix(IpAddress.FromV4((uint)random.Next(prefixes) << 8), 24 + random.Next(2)));
            int index = table.Find(key);
            Assert.Equal(oracle.TryGetValue(key, out (int Index, int Value) known) ? known.Index : -1, index);
            if (index >= 0) Assert.Equal((key, known.Value), (table.KeyOf(index), table[index]));
            if (random.Next(100) < (step / (4 * prefixes) % 2 == 0 ? 80 : 20))
            {
                index = table.FindOrAdd(key, out bool added);
                Assert.NotEqual(oracle.ContainsKey(key), added);
                if (added) Assert.Equal((0, 0), (table[index], table.Mark(index)));
                (table[index], table.Mark(index)) = (step, -step);
                oracle[key] = (index, step);
            }
            else if (index >= 0)
            {
                table.Remove(index);
                oracle.Remove(key);
                Assert.Equal((0, 0), (table[index], table.Mark(index)));
            }

            Assert.Equal(oracle.Count, table.Count);
        }

        Assert.Equal(oracle.Count, Enumerable.Range(0, table.End).Count(i => table.Mark(i) != 0));
        table.Clear();
        Assert.Equal((0, 0), (table.Count, table.End));
        Assert.All(oracle.Keys, k => Assert.Equal(-1, table.Find(k)));
    }
}
