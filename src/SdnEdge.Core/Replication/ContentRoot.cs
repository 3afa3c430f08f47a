using System.IO.Hashing;

namespace SdnEdge.Core.Replication;

/// <summary>
/// The content of a volume as one number: the sum modulo 2^64 of a keyed hash of each 4096-byte block that is not all zeros. A write
/// changes it by one subtraction and one addition; the order of the writes does not matter; a new volume of any size has 0. Two copies of a
/// volume with different contents have the same root by an accident of 2^-64; it is no protection against one who chooses contents.
/// </summary>
public static class ContentRoot
{
    /// <summary>Bytes of a block.</summary>
    public const int BlockSize = 4096;

    /// <summary>The key of a volume's hashes: copies of one volume have the same, so that their roots can be compared.</summary>
    public static ulong KeyOf(Guid identity)
    {
        Span<byte> bytes = stackalloc byte[16];
        identity.TryWriteBytes(bytes);
        return XxHash3.HashToUInt64(bytes, 0x524F_4F54);
    }

    /// <summary>The hash of one block: 0 if and only if all its bytes are 0.</summary>
    /// <param name="key">The volume's key.</param>
    /// <param name="index">The block's number, so that two blocks exchanged are noticed.</param>
    /// <param name="block">Its bytes; the last block of a volume may be shorter and counts as filled up with zeros.</param>
    public static ulong HashOf(ulong key, long index, ReadOnlySpan<byte> block)
    {
        if (!block.ContainsAnyExcept((byte)0)) return 0;
        if (block.Length < BlockSize)
        {
            Span<byte> whole = stackalloc byte[BlockSize];
            block.CopyTo(whole);
            whole[block.Length..].Clear();
            return HashOf(key, index, whole);
        }

        // The hash of the bytes alone would let equal blocks change places: mixed with the place, by a bijection of full avalanche.
        ulong hash = XxHash3.HashToUInt64(block) ^ Mix(key + ((ulong)index * 0x9E37_79B9_7F4A_7C15));
        hash = Mix(hash);
        return hash == 0 ? 1 : hash;
    }

    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB;
        return value ^ (value >> 31);
    }
}

/// <summary>
/// The shape of the tree of sums beside a content root. Level 0 has the hash of each block; an entry of a higher level is the sum of the
/// 512
/// below it; the highest level has at most 512 entries, whose sum is the root. In a file each level is a run of whole pages of 4096 bytes
/// (512 entries of 8 bytes, little endian), level 0 first: 0.2 % of the volume, and holes where the volume has zeros.
/// </summary>
public sealed class ContentTreeShape
{
    /// <summary>Entries of a page, and children of an entry.</summary>
    public const int Fanout = 512;

    /// <summary>Bytes of a page.</summary>
    public const int PageSize = Fanout * 8;

    private readonly long[] _entries, _firstPage;

    /// <summary>The tree of a volume.</summary>
    /// <param name="size">Bytes of the volume, more than 0.</param>
    public ContentTreeShape(long size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        List<long> entries = [(size - 1) / ContentRoot.BlockSize + 1], pages = [0];
        while (entries[^1] > Fanout)
        {
            long above = (entries[^1] - 1) / Fanout + 1;
            pages.Add(pages[^1] + above);
            entries.Add(above);
        }

        _entries = [.. entries];
        _firstPage = [.. pages];
        Pages = pages[^1] + 1;
    }

    /// <summary>How many levels there are, at least 1.</summary>
    public int Levels => _entries.Length;

    /// <summary>Pages of all levels.</summary>
    public long Pages { get; }

    /// <summary>How many entries a level has.</summary>
    public long Entries(int level) => _entries[level];

    /// <summary>The number of the page that an entry is in.</summary>
    public long PageOf(int level, long entry) => _firstPage[level] + (entry / Fanout);

    /// <summary>The level that a page belongs to, and the first entry of it.</summary>
    public (int Level, long FirstEntry) Locate(long page)
    {
        int level = Levels - 1;
        while (_firstPage[level] > page) level--;
        return (level, (page - _firstPage[level]) * Fanout);
    }

    /// <summary>
    /// Finds what differs between two trees of this shape, from the top: asks for pages of one level at a time and answers with the entries
    /// below that have to be asked for next, or at level 0 with the blocks themselves.
    /// </summary>
    /// <param name="level">The level of both pages.</param>
    /// <param name="firstEntry">The entry that the pages begin with.</param>
    /// <param name="mine">One tree's page.</param>
    /// <param name="theirs">The other's.</param>
    /// <param name="differing">Gets the numbers of the entries that differ: pages of the level below, or blocks.</param>
    public void Compare(int level, long firstEntry, ReadOnlySpan<ulong> mine, ReadOnlySpan<ulong> theirs, ICollection<long> differing)
    {
        ArgumentNullException.ThrowIfNull(differing);
        int count = (int)Math.Min(Fanout, Entries(level) - firstEntry);
        for (int i = mine.CommonPrefixLength(theirs); i < count; i++)
        {
            if (mine[i] != theirs[i]) differing.Add(firstEntry + i);
        }
    }
}
