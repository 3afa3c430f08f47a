using System.Text;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Tests.Log;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>Checksum, content root, and the tree of sums.</summary>
public sealed class ContentTests
{
    [Fact]
    public void The_checksum_is_CRC_32C_of_any_length()
    {
        // RFC 3720 appendix B.4, and the usual check value.
        Assert.Equal(0xE3069283u, Crc32C.Of(Encoding.ASCII.GetBytes("123456789")));
        Assert.Equal(0x8A9136AAu, Crc32C.Of(new byte[32]));
        byte[] bytes = new byte[9000];
        new Random(1).NextBytes(bytes);
        for (int length = 0; length <= bytes.Length; length += 37)
        {
            uint slow = uint.MaxValue;
            for (int i = 0; i < length; i++)
            {
                slow ^= bytes[i];
                for (int bit = 0; bit < 8; bit++) slow = (slow >> 1) ^ ((slow & 1) != 0 ? 0x82F63B78u : 0);
            }

            Assert.Equal(~slow, Crc32C.Of(bytes.AsSpan(0, length)));
        }
    }

    [Fact]
    public void A_block_s_hash_is_zero_for_zeros_only_and_depends_on_contents_place_and_volume()
    {
        byte[] block = new byte[4096];
        Assert.Equal(0ul, ContentRoot.HashOf(7, 3, block));
        HashSet<ulong> seen = [];
        for (int bit = 0; bit < 4096 * 8; bit += 61)
        {
            block.AsSpan().Clear();
            block[bit / 8] = (byte)(1 << (bit % 8));
            Assert.True(seen.Add(ContentRoot.HashOf(7, 3, block)));
        }

        Assert.True(seen.Add(ContentRoot.HashOf(7, 4, block)));
        Assert.True(seen.Add(ContentRoot.HashOf(8, 3, block)));
        Assert.Equal(ContentRoot.HashOf(7, 3, [1, .. new byte[4095]]), ContentRoot.HashOf(7, 3, [1, .. new byte[511]]));
    }

    [Fact]
    public void The_tree_s_root_is_the_sum_of_its_leaves_whatever_is_set_or_zeroed_in_whatever_order()
    {
        for (int seed = 1; seed <= 12; seed++)
        {
            var random = new Random(seed);
            long blocks = random.Next(1, 700_000);
            var shape = new ContentTreeShape(blocks * 4096);
            var disk = new CrashDisk(seed);
            var file = disk.Open("hashes", shape.Pages * ContentTreeShape.PageSize, out _)!;
            var tree = new HashTree(file, shape, maxPages: 8);
            ulong[] leaves = new ulong[blocks];
            for (int step = 0; step < 60; step++)
            {
                if (random.Next(3) == 0)
                {
                    long first = random.NextInt64(blocks), count = Math.Min(blocks - first, random.NextInt64(1, blocks + 1));
                    tree.SetZeros(first, count);
                    leaves.AsSpan((int)first, (int)count).Clear();
                }
                else
                {
                    long block = random.NextInt64(blocks);
                    leaves[block] = (ulong)random.NextInt64();
                    tree.Set(block, leaves[block]);
                }

                Assert.Equal(Sum(leaves), tree.Root);
            }

            Assert.Equal(0, tree.Checkpoint());
            Assert.Equal(0, tree.Error);

            // A redo of everything comes to the same, wherever the file had got to.
            var again = new HashTree(file, shape, maxPages: 8);
            again.BeginRedo();
            again.SetZeros(0, blocks);
            for (long block = 0; block < blocks; block++)
            {
                if (leaves[block] != 0) again.Set(block, leaves[block]);
            }

            again.EndRedo();
            Assert.Equal(Sum(leaves), again.Root);
        }

        static ulong Sum(ulong[] leaves)
        {
            ulong sum = 0;
            foreach (ulong leaf in leaves) sum += leaf;
            return sum;
        }
    }

    [Fact]
    public void Two_trees_lead_from_the_top_to_exactly_the_blocks_that_differ()
    {
        var shape = new ContentTreeShape(600_000L * 4096);
        var disk = new CrashDisk(9);
        var mine = new HashTree(disk.Open("a", shape.Pages * ContentTreeShape.PageSize, out _)!, shape);
        var theirs = new HashTree(disk.Open("b", shape.Pages * ContentTreeShape.PageSize, out _)!, shape);
        var random = new Random(9);
        for (int i = 0; i < 2000; i++)
        {
            (long block, ulong hash) = (random.NextInt64(600_000), (ulong)random.NextInt64());
            mine.Set(block, hash);
            theirs.Set(block, hash);
        }

        SortedSet<long> changed = [];
        for (int i = 0; i < 50; i++)
        {
            long block = random.NextInt64(600_000);
            changed.Add(block);
            theirs.Set(block, (ulong)random.NextInt64());
        }

        List<long> entries = [0];
        ulong[] a = new ulong[ContentTreeShape.Fanout], b = new ulong[ContentTreeShape.Fanout];
        int pages = 0;
        for (int level = shape.Levels - 1; level >= 0; level--)
        {
            List<long> below = [];
            foreach (long page in entries)
            {
                mine.CopyPage(level, page * ContentTreeShape.Fanout, a);
                theirs.CopyPage(level, page * ContentTreeShape.Fanout, b);
                shape.Compare(level, page * ContentTreeShape.Fanout, a, b, below);
                pages++;
            }

            entries = below;
        }

        Assert.Equal(changed, entries);
        Assert.InRange(pages, 1, 1 + 3 + 50);
    }
}
