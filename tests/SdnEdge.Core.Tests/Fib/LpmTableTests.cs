using FsCheck.Xunit;
using SdnEdge.Core.Fib;
using Xunit;

namespace SdnEdge.Core.Tests.Fib;

/// <summary>The trie against a list that is searched from end to end.</summary>
public class LpmTableTests
{
    [Property(MaxTest = 300)]
    public void Ipv4_agrees_with_a_linear_list_after_any_sequence_of_changes(int[] seeds)
    {
        ArgumentNullException.ThrowIfNull(seeds);
        using var table = new LpmTable4();
        Run(seeds, 32, new LinearTable(32), new Subject(
            (k, l, leaf) => table.Set((uint)(k >> 96), l, leaf),
            (k, l) => table.Remove((uint)(k >> 96), l),
            k => table.Lookup((uint)(k >> 96)),
            keys =>
            {
                var leaves = new uint[keys.Length];
                table.Lookup(Array.ConvertAll(keys, k => (uint)(k >> 96)), leaves);
                return leaves;
            },
            (k, l) => table.TryGetExact((uint)(k >> 96), l, out uint leaf) ? leaf : 0,
            k => table.TryMatch((uint)(k >> 96), out int l, out uint leaf) ? (l, leaf) : (0, 0),
            table));
    }

    [Property(MaxTest = 300)]
    public void Ipv6_agrees_with_a_linear_list_after_any_sequence_of_changes(int[] seeds)
    {
        ArgumentNullException.ThrowIfNull(seeds);
        using var table = new LpmTable6();
        Run(seeds, 128, new LinearTable(128), new Subject(
            table.Set,
            table.Remove,
            table.Lookup,
            keys =>
            {
                var leaves = new uint[keys.Length];
                table.Lookup(keys, leaves);
                return leaves;
            },
            (k, l) => table.TryGetExact(k, l, out uint leaf) ? leaf : 0,
            k => table.TryMatch(k, out int l, out uint leaf) ? (l, leaf) : (0, 0),
            table));
    }

    [Fact]
    public void The_default_route_covers_what_nothing_else_does()
    {
        using var table = new LpmTable4();
        Assert.Equal(0u, table.Lookup(0xFFFFFFFF));
        table.Set(0, 0, 7);
        table.Set(0x0A000000, 8, 8);
        table.Set(0x0A010101, 32, 9);
        Assert.Equal(7u, table.Lookup(0));
        Assert.Equal(7u, table.Lookup(0xFFFFFFFF));
        Assert.Equal(8u, table.Lookup(0x0A010100));
        Assert.Equal(9u, table.Lookup(0x0A010101));
        Assert.Equal(8u, table.Lookup(0x0A010102));
        Assert.Equal(7u, table.Remove(0, 0));
        Assert.Equal(0u, table.Lookup(0xFFFFFFFF));
        Assert.Equal(8u, table.Lookup(0x0A010102));
        Assert.Equal(0u, table.Remove(0, 0));
        Assert.Equal(2, table.Count);
    }

    [Fact]
    public void A_host_route_in_an_empty_ipv6_table_is_found_at_its_address_only()
    {
        using var table = new LpmTable6();
        UInt128 address = UInt128.MaxValue - 5;
        table.Set(address, 128, 3);
        Assert.Equal(3u, table.Lookup(address));
        Assert.Equal(0u, table.Lookup(address - 1));
        Assert.Equal(0u, table.Lookup(address + 1));
        Assert.Equal(3u, table.Remove(address, 128));
        Assert.Equal(0u, table.Lookup(address));
    }

    [Theory]
    [InlineData(-1, 1u)]
    [InlineData(33, 1u)]
    [InlineData(24, 0u)]
    [InlineData(24, 0x8000_0000u)]
    public void A_length_or_leaf_out_of_range_is_refused_and_changes_nothing(int length, uint leaf)
    {
        using var table = new LpmTable4();
        Assert.Throws<ArgumentOutOfRangeException>(() => table.Set(0x0A000000, length, leaf));
        Assert.Equal(0, table.Count);
        Assert.Equal(0u, table.Lookup(0x0A000000));
    }

    [Fact]
    public void Taking_all_routes_away_leaves_no_memory_in_use()
    {
        using var table = new LpmTable4();
        long empty = table.LookupBytes;
        var random = new Random(4);
        var routes = new HashSet<(uint, int)>();
        while (routes.Count < 20_000)
        {
            int length = random.Next(0, 33);
            uint address = length == 0 ? 0 : (uint)random.NextInt64(1L << 32) >> (32 - length) << (32 - length);
            if (routes.Add((address, length))) table.Set(address, length, (uint)routes.Count);
        }

        Assert.Equal(20_000, table.Count);
        foreach ((uint address, int length) in routes) Assert.NotEqual(0u, table.Remove(address, length));
        table.Reclaim();
        Assert.Equal(0, table.Count);
        Assert.Equal(0, table.RetiredBytes);
        Assert.Equal(empty, table.LookupBytes);
        for (int i = 0; i < 100_000; i++) Assert.Equal(0u, table.Lookup((uint)random.NextInt64(1L << 32)));
    }

    [Fact]
    public void Memory_retired_after_the_mark_is_not_freed_by_it()
    {
        using var table = new LpmTable4();
        table.Set(0x0A000000, 24, 1);
        table.Set(0x0A000100, 24, 2);
        long mark = table.RetireMark;
        long before = table.RetiredBytes;
        table.Set(0x0A000300, 24, 3);
        long all = table.RetiredBytes;
        Assert.True(before > 0);
        Assert.True(all > before);
        table.Reclaim(mark);
        Assert.Equal(all - before, table.RetiredBytes);
    }

    private static void Run(int[] seeds, int keyBits, LinearTable slow, Subject fast)
    {
        var probes = new List<UInt128> { 0, UInt128.MaxValue };
        foreach (int seed in seeds.SelectMany(s => new[] { s, s * 31, s * 37 }))
        {
            var random = new Random(seed);
            UInt128 key = Key(random, keyBits);
            int length = Length(random, keyBits);
            if (random.Next(4) == 0)
            {
                // Half of the removals are aimed at something that is there.
                if (slow.Rules.Count > 0 && random.Next(2) == 0) (key, length) = slow.Rules.Keys.ElementAt(random.Next(slow.Rules.Count));
                Assert.Equal(slow.Remove(key, length), fast.Remove(key, length));
            }
            else
            {
                uint leaf = random.Next(3) == 0 ? (uint)random.Next(1, 4) : (uint)random.NextInt64(1, LpmTable.MaxLeaf + 1L);
                Assert.Equal(slow.Set(key, length, leaf), fast.Set(key, length, leaf));
            }

            if (random.Next(3) == 0) fast.Table.Reclaim();
            UInt128 size = length == 0 ? UInt128.MaxValue : (UInt128.One << (128 - length)) - 1;
            UInt128 first = key & ~size;
            UInt128 step = UInt128.One << (128 - keyBits);
            probes.AddRange([key, first, first - step, first | size, (first | size) + 1]);
            Assert.Equal(slow.Exact(key, length), fast.Exact(key, length));
            foreach (UInt128 probe in probes.TakeLast(20)) Assert.Equal(slow.Lookup(probe).Leaf, fast.Lookup(probe));
        }

        Assert.Equal(slow.Rules.Count, fast.Table.Count);
        UInt128[] all = [.. probes];
        uint[] batch = fast.Batch(all);
        for (int i = 0; i < all.Length; i++)
        {
            (int length, uint leaf) = slow.Lookup(all[i]);
            Assert.Equal(leaf, batch[i]);
            Assert.Equal((length, leaf), fast.Match(all[i]));
        }
    }

    /// <summary>Addresses near one another, so that prefixes lie inside prefixes: a corner of the space with a few bits changed.</summary>
    private static UInt128 Key(Random random, int keyBits)
    {
        UInt128 key = random.Next(4) switch
        {
            0 => UInt128.Zero,
            1 => UInt128.MaxValue,
            2 => (UInt128)0x0A010100 << 96,
            _ => ((UInt128)(ulong)random.NextInt64() << 64) | (ulong)random.NextInt64(),
        };
        for (int flips = random.Next(4); flips > 0; flips--) key ^= UInt128.One << (127 - random.Next(keyBits));
        return keyBits == 128 ? key : key >> (128 - keyBits) << (128 - keyBits);
    }

    private static int Length(Random random, int keyBits)
    {
        int[] edges = [0, 1, 17, 18, 19, 23, 24, 25, 29, 30, 31, 32, 48, 64, 65, 66, 67, 126, 127, 128];
        int length = random.Next(3) == 0 ? random.Next(keyBits + 1) : edges[random.Next(edges.Length)];
        return Math.Min(length, keyBits);
    }

    private sealed record Subject(
        Func<UInt128, int, uint, uint> Set, Func<UInt128, int, uint> Remove, Func<UInt128, uint> Lookup, Func<UInt128[], uint[]> Batch,
        Func<UInt128, int, uint> Exact, Func<UInt128, (int Length, uint Leaf)> Match, LpmTable Table);

    private sealed class LinearTable(int keyBits)
    {
        public Dictionary<(UInt128 Key, int Length), uint> Rules { get; } = [];

        public uint Set(UInt128 key, int length, uint leaf)
        {
            uint was = Exact(key, length);
            Rules[(Mask(key, length), length)] = leaf;
            return was;
        }

        public uint Remove(UInt128 key, int length) => Rules.Remove((Mask(key, length), length), out uint was) ? was : 0;

        public uint Exact(UInt128 key, int length) => Rules.GetValueOrDefault((Mask(key, length), length));

        public (int Length, uint Leaf) Lookup(UInt128 key)
        {
            (int Length, uint Leaf) best = (-1, 0);
            key = Mask(key, keyBits);
            foreach (((UInt128 prefix, int length), uint leaf) in Rules)
            {
                if (length > best.Length && Mask(key, length) == prefix) best = (length, leaf);
            }

            return best.Length < 0 ? (0, 0) : best;
        }

        private static UInt128 Mask(UInt128 key, int length) => length == 0 ? 0 : key >> (128 - length) << (128 - length);
    }
}
