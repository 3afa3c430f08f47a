using System.Buffers.Binary;
using System.IO.Hashing;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>
/// The file of a kept point: what blocks of the image had been before they were overwritten after it. All of it is sparse.
/// <code>
///       0  header, written once: u32 CRC-32C of bytes 4 to 4095; u32 magic "SVP1"; 16 the volume's identity; u64 number;
///          u64 sequence, u64 epoch, u64 chain, u64 content root of the point; i64 when, milliseconds of Unix time;
///          u32 1 = a mark; u8 length of the name, u8 length of the group; the name, the group as UTF-8
///          at 4088: i64 size of the volume there; 0: that which it was made with
///    4096  two slots of 32 KiB, used in turn: u32 CRC-32C of what follows; u32 count; u64 round; for each block: u64 number, u64 XXH3
/// 128 KiB  one bit for each block: it is here
///       .  the blocks, each at its own place
/// </code>
/// <para>Its length says how many blocks it has room for: its own, and those of every point before it, which reads through it.</para>
/// <para><b>A round</b> brings blocks here with one sync: their bytes, the slot that names them, and the bits of the round before; only
/// then may the image be overwritten. A slot counts after a crash when all bytes that it names are there. The other slot has the round
/// before, whose bits the crash may have kept from the disk. So a block is here, or its image was not touched.</para>
/// </summary>
internal sealed class PointFile : IDisposable
{
    /// <summary>The most blocks of a round.</summary>
    public const int MaxRound = 1024;

    /// <summary>The most bytes of a name, and of a group.</summary>
    public const int MaxName = 255;

    private const int Block = ContentRoot.BlockSize, Header = 4096, Slot = 32 << 10, MapAt = 128 << 10;
    private const int PageBits = Block * 8, PageWords = PageBits / 64;
    private const int PointSizeAt = 4088;
    private const uint Magic = 0x3150_5653;

    private readonly IStoreFile _file;
    private readonly long _dataAt;
    private readonly ulong[]?[] _map;
    private readonly SortedSet<long> _unwritten = [];
    private ulong _round = 1;

    private PointFile(IStoreFile file, string fileName, ulong number, VolumePoint point, long size)
    {
        (_file, FileName, Number, Point) = (file, fileName, number, point);
        Blocks = (size + Block - 1) / Block;
        _map = new ulong[]?[(Blocks + PageBits - 1) / PageBits];
        _dataAt = MapAt + ((long)_map.Length * Block);
    }

    /// <summary>Its name in the volume's folder.</summary>
    public string FileName { get; }

    /// <summary>Points are in the order of their numbers.</summary>
    public ulong Number { get; }

    /// <summary>What it is.</summary>
    public VolumePoint Point { get; }

    /// <summary>Blocks that it has room for.</summary>
    public long Blocks { get; }

    /// <summary>Blocks that are here.</summary>
    public long Count { get; private set; }

    /// <summary>The name of the file of a point.</summary>
    public static string NameOf(ulong number) => $"points/{number:d8}";

    /// <summary>Makes the file of a point, with room for so many bytes of the volume; it is durable on return.</summary>
    public static PointFile? Create(IStoreFolder folder, ulong number, Guid identity, VolumePoint point, long size, out int error)
    {
        long map = (((size + Block - 1) / Block) + PageBits - 1) / PageBits * Block;
        long length = MapAt + map + ((size + Block - 1) / Block * Block);
        string name = NameOf(number);
        IStoreFile? file = folder.Open(name, length, out error);
        if (file is null) return null;
        byte[] header = new byte[Header];
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), Magic);
        identity.TryWriteBytes(header.AsSpan(8));
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(24), number);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(32), point.At.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(40), point.At.Epoch);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(48), point.At.Chain);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(56), point.Root);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(64), point.Created.ToUnixTimeMilliseconds());
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(72), point.IsMark ? 1u : 0u);
        header[76] = (byte)Encoding.UTF8.GetBytes(point.Name, header.AsSpan(78));
        header[77] = (byte)Encoding.UTF8.GetBytes(point.Group ?? "", header.AsSpan(78 + header[76]));
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(PointSizeAt), point.Size);
        BinaryPrimitives.WriteUInt32LittleEndian(header, Crc32C.Of(header.AsSpan(4)));
        error = file.Write(0, header);
        if (error == 0) error = file.Sync();
        if (error == 0) return new PointFile(file, name, number, point, size);
        file.Dispose();
        _ = folder.Delete(name);
        return null;
    }

    /// <summary>Opens the file of a point.</summary>
    /// <param name="folder">The volume's.</param>
    /// <param name="number">The point's.</param>
    /// <param name="identity">The volume's.</param>
    /// <param name="size">The size that the volume was made with.</param>
    /// <param name="unfinished">It never was a point: a crash came while it was made.</param>
    /// <param name="error">The error number of a disk that failed; 0 with a null answer: it is damaged.</param>
    public static PointFile? Open(IStoreFolder folder, ulong number, Guid identity, long size, out bool unfinished, out int error)
    {
        unfinished = false;
        string name = NameOf(number);
        IStoreFile? file = folder.Open(name, -1, out error);
        if (file is null) return null;
        byte[] header = new byte[Header];
        error = file.Read(0, header);
        if (error == 0)
        {
            if (Parse(header, identity, number, size) is { } point)
            {
                // A page of bits for each 32,768 blocks.
                long pages = (file.Length - MapAt) / Block, room = pages - ((pages + PageBits) / (PageBits + 1));
                var open = new PointFile(file, name, number, point, room * Block);
                if (open._dataAt + (open.Blocks * Block) == file.Length && open.Blocks * Block >= point.Size)
                {
                    error = open.Load();
                    if (error == 0) return open;
                }
            }
            else
            {
                unfinished = file.NextData(Header) == file.Length;
            }
        }

        file.Dispose();
        return null;
    }

    private static VolumePoint? Parse(ReadOnlySpan<byte> header, Guid identity, ulong number, long size)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(header) != Crc32C.Of(header[4..])
            || BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) != Magic || new Guid(header[8..24]) != identity
            || BinaryPrimitives.ReadUInt64LittleEndian(header[24..]) != number) return null;
        var at = new LogPoint(BinaryPrimitives.ReadUInt64LittleEndian(header[32..]), BinaryPrimitives.ReadUInt64LittleEndian(header[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(header[48..]));
        if (BinaryPrimitives.ReadInt64LittleEndian(header[PointSizeAt..]) is > 0 and var own) size = own;
        string group = Encoding.UTF8.GetString(header.Slice(78 + header[76], header[77]));
        return new VolumePoint(Encoding.UTF8.GetString(header.Slice(78, header[76])), at,
            BinaryPrimitives.ReadUInt64LittleEndian(header[56..]),
            DateTimeOffset.FromUnixTimeMilliseconds(BinaryPrimitives.ReadInt64LittleEndian(header[64..])), group.Length > 0 ? group : null,
            BinaryPrimitives.ReadUInt32LittleEndian(header[72..]) == 1, 0, size);
    }

    // 1. The bits; 2. the last two rounds, whose bits may be missing.
    private int Load()
    {
        for (long at = _file.NextData(MapAt); at < _dataAt; at = _file.NextData(at + Block))
        {
            long page = (at - MapAt) / Block;
            at = MapAt + (page * Block);
            ulong[] words = new ulong[PageWords];
            int error = _file.Read(at, MemoryMarshal.AsBytes(words.AsSpan()));
            if (error != 0) return error;
            foreach (ulong word in words) Count += BitOperations.PopCount(word);
            _map[page] = words;
        }

        byte[] slot = new byte[Slot], bytes = new byte[Block];
        bool any = false;
        for (int i = 0; i < 2; i++)
        {
            int error = _file.Read(Header + (i * Slot), slot);
            if (error != 0) return error;
            int count = BinaryPrimitives.ReadInt32LittleEndian(slot.AsSpan(4));
            if (count is <= 0 or > MaxRound
                || BinaryPrimitives.ReadUInt32LittleEndian(slot) != Crc32C.Of(slot.AsSpan(4, 12 + (count * 16)))) continue;
            _round = Math.Max(_round, BinaryPrimitives.ReadUInt64LittleEndian(slot.AsSpan(8)) + 1);
            bool whole = true;
            for (int n = 0; n < count && whole; n++)
            {
                error = Read(BinaryPrimitives.ReadInt64LittleEndian(slot.AsSpan(16 + (n * 16))), bytes);
                if (error != 0) return error;
                whole = XxHash3.HashToUInt64(bytes) == BinaryPrimitives.ReadUInt64LittleEndian(slot.AsSpan(24 + (n * 16)));
            }

            if (!whole) continue;
            for (int n = 0; n < count; n++) Set(BinaryPrimitives.ReadInt64LittleEndian(slot.AsSpan(16 + (n * 16))));
            any = true;
        }

        if (!any) return 0;
        int failed = WriteMap();
        return failed != 0 ? failed : _file.Sync();
    }

    /// <summary>Whether a block is here. From any thread: what it says stays true.</summary>
    public bool Has(long block) => Volatile.Read(ref _map[block / PageBits]) is { } page
        && (Volatile.Read(ref page[block % PageBits / 64]) & (1ul << (int)(block & 63))) != 0;

    /// <summary>The first block that is here, of those from <paramref name="from"/> on; <paramref name="limit"/> when there is none
    /// before it.</summary>
    public long Next(long from, long limit)
    {
        for (long block = from; block < limit;)
        {
            if (Volatile.Read(ref _map[block / PageBits]) is not { } page)
            {
                block = ((block / PageBits) + 1) * PageBits;
                continue;
            }

            ulong word = Volatile.Read(ref page[block % PageBits / 64]) >> (int)(block & 63);
            if (word != 0) return Math.Min(limit, block + BitOperations.TrailingZeroCount(word));
            block = ((block / 64) + 1) * 64;
        }

        return limit;
    }

    /// <summary>Reads from a block that is here.</summary>
    public int Read(long block, Span<byte> into, int from = 0) => _file.Read(_dataAt + (block * Block) + from, into);

    /// <summary>The first byte at or behind a place in the volume, among the blocks that are here, that is not in a hole.</summary>
    public long NextData(long offset) => _file.NextData(_dataAt + offset) - _dataAt;

    /// <summary>The first byte at or behind a place in the volume, among the blocks that are here, that is in a hole.</summary>
    public long NextHole(long offset) => _file.NextHole(_dataAt + offset) - _dataAt;

    /// <summary>One round: brings blocks here that are not here yet, durably.</summary>
    /// <param name="blocks">Their numbers, ascending; at most <see cref="MaxRound"/>.</param>
    /// <param name="bytes">Their bytes, one behind the other.</param>
    /// <returns>0, or the error number: then none of them is here, and it may be tried again.</returns>
    public int Add(ReadOnlySpan<long> blocks, ReadOnlySpan<byte> bytes)
    {
        // 1. The bytes; zeros are a hole.
        byte[] slot = new byte[16 + (blocks.Length * 16)];
        int error = 0;
        for (int i = 0; i < blocks.Length && error == 0;)
        {
            int first = i;
            bool zeros = !bytes.Slice(i * Block, Block).ContainsAnyExcept((byte)0);
            do
            {
                BinaryPrimitives.WriteInt64LittleEndian(slot.AsSpan(16 + (i * 16)), blocks[i]);
                BinaryPrimitives.WriteUInt64LittleEndian(slot.AsSpan(24 + (i * 16)), XxHash3.HashToUInt64(bytes.Slice(i * Block, Block)));
                i++;
            }
            while (i < blocks.Length && blocks[i] == blocks[i - 1] + 1
                && zeros == !bytes.Slice(i * Block, Block).ContainsAnyExcept((byte)0));
            long at = _dataAt + (blocks[first] * Block);
            if (!zeros) error = _file.Write(at, bytes[(first * Block)..(i * Block)]);
            else if (_file.NextData(at) < at + ((long)(i - first) * Block)) error = _file.PunchHole(at, (long)(i - first) * Block);
        }

        // 2. What names them, and the bits of the round before; 3. one sync.
        BinaryPrimitives.WriteInt32LittleEndian(slot.AsSpan(4), blocks.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(slot.AsSpan(8), _round);
        BinaryPrimitives.WriteUInt32LittleEndian(slot, Crc32C.Of(slot.AsSpan(4)));
        if (error == 0) error = _file.Write(Header + ((long)(_round & 1) * Slot), slot);
        if (error == 0) error = WriteMap();
        if (error == 0) error = _file.Sync();
        if (error != 0) return error;
        _unwritten.Clear();
        _round++;
        foreach (long block in blocks) Set(block);
        Interlocked.MemoryBarrier();
        return 0;
    }

    private void Set(long block)
    {
        ref ulong[]? page = ref _map[block / PageBits];
        if (page is null) Volatile.Write(ref page, new ulong[PageWords]);
        ref ulong word = ref page![block % PageBits / 64];
        ulong bit = 1ul << (int)(block & 63);
        if ((word & bit) == 0) Count++;
        Volatile.Write(ref word, word | bit);
        _unwritten.Add(block / PageBits);
    }

    private int WriteMap()
    {
        foreach (long page in _unwritten)
        {
            int error = _file.Write(MapAt + (page * Block), MemoryMarshal.AsBytes(_map[page].AsSpan()));
            if (error != 0) return error;
        }

        return 0;
    }

    public void Dispose() => _file.Dispose();
}
