using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Nbd;

/// <summary>
/// A request as it is on the wire (section "Request message"); the bytes of a write follow it.
/// <code>
///  0              4       6       8
/// +------+-------+-------+-------+-----------------------+
/// | magic 25609513 | flags | type  |     cookie (8)        |
/// +----------------+-------+-------+-----------------------+
/// |           offset (8)           |  length (4) |          28 bytes
/// +--------------------------------+-------------+
/// </code>
/// </summary>
/// <param name="Magic">Anything but <see cref="NbdProtocol.RequestMagic"/>: the stream is out of step, and nothing after it can be
/// read.</param>
/// <param name="Flags">As sent.</param>
/// <param name="Command">As sent.</param>
/// <param name="Cookie">The client's, given back in the reply.</param>
/// <param name="Offset">Bytes; as sent.</param>
/// <param name="Length">Bytes; as sent.</param>
internal readonly record struct NbdRequest(
    uint Magic, NbdCommandFlags Flags, NbdCommand Command, ulong Cookie, ulong Offset, uint Length)
{
    /// <summary>Bytes of the header.</summary>
    public const int Size = 28;

    /// <summary>Reads the first <see cref="Size"/> bytes.</summary>
    public static NbdRequest Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt32BigEndian(bytes),
        (NbdCommandFlags)BinaryPrimitives.ReadUInt16BigEndian(bytes[4..]),
        (NbdCommand)BinaryPrimitives.ReadUInt16BigEndian(bytes[6..]),
        BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
        BinaryPrimitives.ReadUInt32BigEndian(bytes[24..]));

    /// <summary>Writes <see cref="Size"/> bytes.</summary>
    public void Write(Span<byte> into)
    {
        BinaryPrimitives.WriteUInt32BigEndian(into, Magic);
        BinaryPrimitives.WriteUInt16BigEndian(into[4..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(into[6..], (ushort)Command);
        BinaryPrimitives.WriteUInt64BigEndian(into[8..], Cookie);
        BinaryPrimitives.WriteUInt64BigEndian(into[16..], Offset);
        BinaryPrimitives.WriteUInt32BigEndian(into[24..], Length);
    }
}

/// <summary>Emits replies of the transmission phase.</summary>
internal static class NbdReply
{
    /// <summary>Bytes of a simple reply without data.</summary>
    public const int SimpleSize = 16;

    /// <summary>Bytes of a chunk's header.</summary>
    public const int ChunkSize = 20;

    /// <summary>Bytes before the data of an OFFSET_DATA chunk.</summary>
    public const int OffsetDataSize = ChunkSize + 8;

    /// <summary>Bytes of an error chunk without a message.</summary>
    public const int ErrorSize = ChunkSize + 6;

    /// <summary>Bytes of an error chunk with an offset.</summary>
    public const int ErrorOffsetSize = ErrorSize + 8;

    private const ushort Done = 1;

    /// <summary>
    /// A simple reply (section "Simple reply message"); the bytes of a read follow where there is no error.
    /// <code>
    /// +----------------+-----------+------------+
    /// | magic 67446698 | error (4) | cookie (8) |   16 bytes
    /// +----------------+-----------+------------+
    /// </code>
    /// </summary>
    public static void WriteSimple(Span<byte> into, ulong cookie, NbdError error)
    {
        BinaryPrimitives.WriteUInt32BigEndian(into, NbdProtocol.SimpleReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(into[4..], (uint)error);
        BinaryPrimitives.WriteUInt64BigEndian(into[8..], cookie);
    }

    /// <summary>
    /// The header of a chunk (section "Structured reply chunk message").
    /// <code>
    /// +----------------+---------+--------+------------+----------------+
    /// | magic 668e33ef | flags 2 | type 2 | cookie (8) | length (4) ... |   20 bytes
    /// +----------------+---------+--------+------------+----------------+
    ///                    bit 0: DONE, the last one
    /// </code>
    /// </summary>
    public static void WriteChunk(Span<byte> into, ulong cookie, NbdChunk type, bool last, uint length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(into, NbdProtocol.ChunkMagic);
        BinaryPrimitives.WriteUInt16BigEndian(into[4..], last ? Done : (ushort)0);
        BinaryPrimitives.WriteUInt16BigEndian(into[6..], (ushort)type);
        BinaryPrimitives.WriteUInt64BigEndian(into[8..], cookie);
        BinaryPrimitives.WriteUInt32BigEndian(into[16..], length);
    }

    /// <summary>NBD_REPLY_TYPE_OFFSET_DATA: header, offset (8), then the data.</summary>
    public static void WriteOffsetData(Span<byte> into, ulong cookie, bool last, ulong offset, uint length)
    {
        WriteChunk(into, cookie, NbdChunk.OffsetData, last, length + 8);
        BinaryPrimitives.WriteUInt64BigEndian(into[ChunkSize..], offset);
    }

    /// <summary>NBD_REPLY_TYPE_ERROR: header, error (4), length of the message (2), which is empty here.</summary>
    public static void WriteError(Span<byte> into, ulong cookie, NbdError error)
    {
        WriteChunk(into, cookie, NbdChunk.Error, last: true, 6);
        BinaryPrimitives.WriteUInt32BigEndian(into[ChunkSize..], (uint)error);
        BinaryPrimitives.WriteUInt16BigEndian(into[(ChunkSize + 4)..], 0);
    }

    /// <summary>NBD_REPLY_TYPE_ERROR_OFFSET: as <see cref="WriteError"/>, then the offset (8) where it happened.</summary>
    public static void WriteErrorOffset(Span<byte> into, ulong cookie, NbdError error, ulong offset)
    {
        WriteChunk(into, cookie, NbdChunk.ErrorOffset, last: true, 14);
        BinaryPrimitives.WriteUInt32BigEndian(into[ChunkSize..], (uint)error);
        BinaryPrimitives.WriteUInt16BigEndian(into[(ChunkSize + 4)..], 0);
        BinaryPrimitives.WriteUInt64BigEndian(into[(ChunkSize + 6)..], offset);
    }

    /// <summary>Bytes of a BLOCK_STATUS chunk with so many extents.</summary>
    public static int BlockStatusSize(int extents) => ChunkSize + 4 + (8 * extents);

    /// <summary>
    /// NBD_REPLY_TYPE_BLOCK_STATUS of base:allocation: header, context (4), then for each extent its length (4) and state (4: bit 0 a hole,
    /// bit 1 reads as zeros).
    /// </summary>
    public static void WriteBlockStatus(Span<byte> into, ulong cookie, IReadOnlyList<BlockExtent> extents)
    {
        WriteChunk(into, cookie, NbdChunk.BlockStatus, last: true, (uint)(4 + (8 * extents.Count)));
        BinaryPrimitives.WriteUInt32BigEndian(into[ChunkSize..], NbdProtocol.BaseAllocationId);
        Span<byte> at = into[(ChunkSize + 4)..];
        for (int i = 0; i < extents.Count; i++, at = at[8..])
        {
            BlockExtent extent = extents[i];
            BinaryPrimitives.WriteUInt32BigEndian(at, (uint)extent.Length);
            BinaryPrimitives.WriteUInt32BigEndian(at[4..], (extent.IsHole ? 1u : 0) | (extent.ReadsAsZeros ? 2u : 0));
        }
    }
}

/// <summary>Emits what a server says in the handshake.</summary>
internal static class NbdHandshakeWire
{
    /// <summary>Bytes of an option's header.</summary>
    public const int OptionSize = 16;

    /// <summary>Bytes of zeros that end the answer to EXPORT_NAME, unless the client has said that it does not want them.</summary>
    public const int Zeroes = 124;

    /// <summary>
    /// The server's first bytes (section "Newstyle negotiation").
    /// <code>
    /// +----------+----------+-----------+
    /// | NBDMAGIC | IHAVEOPT | flags (2) |   18 bytes
    /// +----------+----------+-----------+
    /// </code>
    /// </summary>
    public static void WriteGreeting(IBufferWriter<byte> output, NbdHandshakeFlags flags)
    {
        Span<byte> into = output.GetSpan(18);
        BinaryPrimitives.WriteUInt64BigEndian(into, NbdProtocol.Magic);
        BinaryPrimitives.WriteUInt64BigEndian(into[8..], NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt16BigEndian(into[16..], (ushort)flags);
        output.Advance(18);
    }

    /// <summary>
    /// A reply to an option (section "Option haggling").
    /// <code>
    /// +--------------------------+------------+-----------+------------+----------+
    /// | magic 0003e889045565a9 8 | option (4) | type (4)  | length (4) | data ... |
    /// +--------------------------+------------+-----------+------------+----------+
    /// </code>
    /// </summary>
    public static void WriteReply(IBufferWriter<byte> output, uint option, NbdOptionReply type, ReadOnlySpan<byte> data)
    {
        Span<byte> into = output.GetSpan(20 + data.Length);
        BinaryPrimitives.WriteUInt64BigEndian(into, NbdProtocol.OptionReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(into[8..], option);
        BinaryPrimitives.WriteUInt32BigEndian(into[12..], (uint)type);
        BinaryPrimitives.WriteUInt32BigEndian(into[16..], (uint)data.Length);
        data.CopyTo(into[20..]);
        output.Advance(20 + data.Length);
    }

    /// <summary>NBD_REP_SERVER: length of the name (4), the name, then what people may want to know of it.</summary>
    public static void WriteServer(IBufferWriter<byte> output, string name, string? description)
    {
        int length = Encoding.UTF8.GetByteCount(name);
        byte[] data = new byte[4 + length + Encoding.UTF8.GetByteCount(description ?? "")];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)length);
        Encoding.UTF8.GetBytes(name, data.AsSpan(4));
        Encoding.UTF8.GetBytes(description ?? "", data.AsSpan(4 + length));
        WriteReply(output, (uint)NbdOption.List, NbdOptionReply.Server, data);
    }

    /// <summary>NBD_INFO_EXPORT: type (2), size (8), transmission flags (2).</summary>
    public static void WriteExportInfo(IBufferWriter<byte> output, uint option, long size, NbdTransmissionFlags flags)
    {
        Span<byte> data = stackalloc byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)NbdInfo.Export);
        BinaryPrimitives.WriteUInt64BigEndian(data[2..], (ulong)size);
        BinaryPrimitives.WriteUInt16BigEndian(data[10..], (ushort)flags);
        WriteReply(output, option, NbdOptionReply.Info, data);
    }

    /// <summary>NBD_INFO_NAME or NBD_INFO_DESCRIPTION: type (2), text.</summary>
    public static void WriteTextInfo(IBufferWriter<byte> output, uint option, NbdInfo info, string text)
    {
        byte[] data = new byte[2 + Encoding.UTF8.GetByteCount(text)];
        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)info);
        Encoding.UTF8.GetBytes(text, data.AsSpan(2));
        WriteReply(output, option, NbdOptionReply.Info, data);
    }

    /// <summary>NBD_INFO_BLOCK_SIZE: type (2), minimum (4), preferred (4), maximum payload (4).</summary>
    public static void WriteBlockSizeInfo(IBufferWriter<byte> output, uint option, int minimum, int preferred, int maximum)
    {
        Span<byte> data = stackalloc byte[14];
        BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)NbdInfo.BlockSize);
        BinaryPrimitives.WriteUInt32BigEndian(data[2..], (uint)minimum);
        BinaryPrimitives.WriteUInt32BigEndian(data[6..], (uint)preferred);
        BinaryPrimitives.WriteUInt32BigEndian(data[10..], (uint)maximum);
        WriteReply(output, option, NbdOptionReply.Info, data);
    }

    /// <summary>NBD_REP_META_CONTEXT: number (4), name.</summary>
    public static void WriteMetaContext(IBufferWriter<byte> output, uint option, uint id, string name)
    {
        byte[] data = new byte[4 + Encoding.UTF8.GetByteCount(name)];
        BinaryPrimitives.WriteUInt32BigEndian(data, id);
        Encoding.UTF8.GetBytes(name, data.AsSpan(4));
        WriteReply(output, option, NbdOptionReply.MetaContext, data);
    }

    /// <summary>
    /// The answer to EXPORT_NAME (section "Newstyle negotiation"): size (8), transmission flags (2), 124 zeros unless agreed otherwise. It
    /// has no header.
    /// </summary>
    public static void WriteExportName(IBufferWriter<byte> output, long size, NbdTransmissionFlags flags, bool zeroes)
    {
        int length = 10 + (zeroes ? Zeroes : 0);
        Span<byte> into = output.GetSpan(length)[..length];
        into.Clear();
        BinaryPrimitives.WriteUInt64BigEndian(into, (ulong)size);
        BinaryPrimitives.WriteUInt16BigEndian(into[8..], (ushort)flags);
        output.Advance(length);
    }
}
