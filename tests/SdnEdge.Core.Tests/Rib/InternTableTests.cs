using SdnEdge.Core.Rib;
using Xunit;

namespace SdnEdge.Core.Tests.Rib;

public sealed class InternTableTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void It_agrees_with_a_dictionary_of_counts(int seed)
    {
        var random = new Random(seed);
        var table = new InternTable<string>();
        var held = new List<(int Number, string Value)>();
        for (int n = 0; n < 20_000; n++)
        {
            // Grows for a while, then shrinks, and again.
            if (held.Count == 0 || random.Next(100) < (n / 4000 % 2 == 0 ? 70 : 30))
            {
                string value = $"value {random.Next(3000)}";
                bool known = held.Exists(h => h.Value == value);
                int number = table.Take(value, out bool added);
                Assert.Equal(!known, added);
                Assert.NotEqual(0, number);
                held.Add((number, value));
            }
            else
            {
                int at = random.Next(held.Count);
                (int number, string value) = held[at];
                held[at] = held[^1];
                held.RemoveAt(held.Count - 1);
                bool last = table.Release(number, out string? gone);
                Assert.Equal(!held.Exists(h => h.Value == value), last);
                Assert.Equal(last ? value : null, gone);
            }

            if (n % 500 != 0) continue;
            Assert.All(held, h => Assert.Equal(h.Value, table[h.Number]));
            Assert.Equal(held.Select(h => h.Value).Distinct().Order(), table.Values.Order());
            Assert.Equal(table.Values.Count(), table.Count);
        }
    }

    [Fact]
    public void Equal_values_have_one_number_and_a_free_number_is_given_again()
    {
        var table = new InternTable<string>();
        int one = table.Take("a", out _), two = table.Take(string.Concat("a", ""), out _), other = table.Take("b", out _);
        Assert.Equal(one, two);
        Assert.NotEqual(one, other);
        Assert.False(table.Release(one, out _));
        Assert.True(table.Release(one, out _));
        Assert.Equal(one, table.Take("c", out _));
        table.Clear();
        Assert.Equal(0, table.Count);
        Assert.Equal("d", table[table.Take("d", out _)]);
    }
}
