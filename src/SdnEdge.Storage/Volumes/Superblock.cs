using System.Buffers.Binary;
using System.Text;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>
/// What is durable of a volume beside its log: up to where the log is in the image, the content root there, and how far each replica is.
/// Two slots of 4096 bytes are written in turn; the one with the higher number that is whole is the superblock, so a crash in the middle of
/// writing one leaves the other.
/// <code>
///  0  u32  CRC-32C of bytes 4 to 4095
///  4  u32  magic "SVS1"
///  8  16   the volume's identity
/// 24  u64  number of this superblock, one more each time
/// 32  u64  applied: every record up to this sequence is in the image, durably
/// 40  u64  content root there
/// 48  u64  chain there
/// 56  u64  epoch there
/// 64  u32  replicas
/// 68       for each: u8 length of its name, the name as UTF-8, u64 the sequence that it has acknowledged
/// 3416     for each of the last changes of its size: u64 the record's sequence, i64 the size before it
/// 4064 u32 how many
/// 4072 i64 size of the volume there; 0: that of volume.json, and it never had another one. Else the magic is "SVS2": programs that know
///          of no sizes take it for damaged
/// 4080 u64 salt of the segment with which the log was begun anew; 0: it never was
/// 4088 u64 1: the contents are being replaced by a copy; the content root is not known, nor the sums above the hashes of the blocks
/// </code>
/// </summary>
/// <param name="Number">One more each time.</param>
/// <param name="Applied">Every record up to this sequence is in the image, durably.</param>
/// <param name="Root">The content root there.</param>
/// <param name="Chain">The log's chain there.</param>
/// <param name="Epoch">The epoch there.</param>
/// <param name="Replicas">The sequence that each replica has acknowledged.</param>
internal sealed record Superblock(ulong Number, ulong Applied, ulong Root, ulong Chain, ulong Epoch,
    IReadOnlyDictionary<string, ulong> Replicas)
{
    public const int Slot = 4096, Slots = 2, MaxReplicas = 16, MaxName = 200;

    private const uint Magic = 0x3153_5653, SizedMagic = 0x3253_5653;
    private const int SizesAt = 3416, SizesCountAt = 4064, SizeAt = 4072, SaltAt = 4080, CopyAt = 4088;

    /// <summary>The salt of the segment with which the log was begun anew; 0: it never was.</summary>
    public ulong LogSalt { get; init; }

    /// <summary>Size of the volume there, bytes; 0: that of volume.json.</summary>
    public long Size { get; init; }

    /// <summary>The records that gave it another size, up to there, with the size before each.</summary>
    public IReadOnlyList<(ulong Sequence, long Before)> Grown { get; init; } = [];

    /// <summary>The contents are being replaced: there is no root.</summary>
    public bool IsCopying { get; init; }

    /// <summary>Size of the volume there, bytes.</summary>
    public long SizeOf(VolumeMetadata metadata) => Size > 0 ? Size : metadata.Size;

    /// <summary>Writes it into the slot of its number, and makes it durable.</summary>
    public int Write(IStoreFile file, Guid identity)
    {
        byte[] bytes = new byte[Slot];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), Size > 0 ? SizedMagic : Magic);
        identity.TryWriteBytes(bytes.AsSpan(8));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), Number);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(32), Applied);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(40), Root);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(48), Chain);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(56), Epoch);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(64), Replicas.Count);
        int at = 68;
        foreach ((string name, ulong sequence) in Replicas)
        {
            int length = Encoding.UTF8.GetBytes(name, bytes.AsSpan(at + 1));
            bytes[at] = (byte)length;
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at + 1 + length), sequence);
            at += 9 + length;
        }

        at = SizesAt;
        foreach ((ulong sequence, long before) in Grown)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at), sequence);
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at + 8), before);
            at += 16;
        }

        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(SizesCountAt), Grown.Count);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(SizeAt), Size);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(SaltAt), LogSalt);
        bytes[CopyAt] = IsCopying ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(bytes.AsSpan(4)));
        int error = file.Write((long)(Number % Slots) * Slot, bytes);
        return error != 0 ? error : file.Sync();
    }

    /// <summary>Reads the newest whole one; null when there is none, or the disk failed.</summary>
    public static Superblock? Read(IStoreFile file, Guid identity, out int error)
    {
        Superblock? newest = null;
        byte[] bytes = new byte[Slot];
        error = 0;
        for (int slot = 0; slot < Slots; slot++)
        {
            error = file.Read(slot * Slot, bytes);
            if (error != 0) return null;
            if (Parse(bytes, identity) is { } found && (newest is null || found.Number > newest.Number)) newest = found;
        }

        return newest;
    }

    private static Superblock? Parse(ReadOnlySpan<byte> bytes, Guid identity)
    {
        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Crc32C.Of(bytes[4..]) || magic is not (Magic or SizedMagic)
            || new Guid(bytes[8..24]) != identity) return null;
        int count = BinaryPrimitives.ReadInt32LittleEndian(bytes[64..]), at = 68;
        int changes = BinaryPrimitives.ReadInt32LittleEndian(bytes[SizesCountAt..]);
        if (count is < 0 or > MaxReplicas || changes is < 0 or > SizeHistory.Most) return null;
        Dictionary<string, ulong> replicas = [];
        for (int i = 0; i < count; i++)
        {
            int length = bytes[at];
            if (at + 9 + length > bytes.Length) return null;
            replicas[Encoding.UTF8.GetString(bytes.Slice(at + 1,
                length))] = BinaryPrimitives.ReadUInt64LittleEndian(bytes[(at + 1 + length)..]);
            at += 9 + length;
        }

        var grown = new (ulong, long)[changes];
        for (int i = 0; i < changes; i++)
        {
            grown[i] = (BinaryPrimitives.ReadUInt64LittleEndian(bytes[(SizesAt + (i * 16))..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[(SizesAt + (i * 16) + 8)..]));
        }

        return new Superblock(BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]), BinaryPrimitives.ReadUInt64LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[40..]), BinaryPrimitives.ReadUInt64LittleEndian(bytes[48..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[56..]), replicas)
        {
            LogSalt = BinaryPrimitives.ReadUInt64LittleEndian(bytes[SaltAt..]), IsCopying = bytes[CopyAt] == 1,
            Size = BinaryPrimitives.ReadInt64LittleEndian(bytes[SizeAt..]), Grown = grown,
        };
    }
}
