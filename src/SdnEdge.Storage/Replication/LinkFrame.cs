using System.Buffers;
using System.Buffers.Binary;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Replication;

/// <summary>What a frame of the link carries. Owner to replica unless it says otherwise.</summary>
public enum FrameKind : byte
{
    /// <summary>The owner's first frame.</summary>
    Hello = 1,

    /// <summary>Replica: how far its copy is.</summary>
    Answer = 2,

    /// <summary>What is the chain at these sequences?</summary>
    ChainQuery = 3,

    /// <summary>Replica: the chains.</summary>
    ChainAnswer = 4,

    /// <summary>The last common point.</summary>
    Common = 5,

    /// <summary>Replica: what the stream is to begin with.</summary>
    Start = 6,

    /// <summary>The log of the copy that follows begins behind this point.</summary>
    LogBegins = 7,

    /// <summary>Bytes of the volume.</summary>
    CopyData = 8,

    /// <summary>A range of the volume that reads as zeros.</summary>
    CopyZero = 9,

    /// <summary>All data were sent.</summary>
    CopyEnd = 10,

    /// <summary>Records.</summary>
    Batch = 11,

    /// <summary>Replica: received, durable.</summary>
    Ack = 12,

    /// <summary>Keepalive, with what is durable at the owner.</summary>
    Ping = 13,

    /// <summary>Replica: the ping's answer.</summary>
    Pong = 14,

    /// <summary>Replica: the copy is whole.</summary>
    Whole = 15,

    /// <summary>Give a proof of this sequence.</summary>
    ProofRequest = 16,

    /// <summary>Replica: the proof.</summary>
    Proof = 17,

    /// <summary>Either: the connection ends; the reason follows as UTF-8.</summary>
    Refuse = 18,

    /// <summary>Either: give the block of this number, when it has this hash.</summary>
    BlockAsk = 19,

    /// <summary>Either: the block; nothing behind its number: it has another hash.</summary>
    BlockAnswer = 20,

    /// <summary>Can the volume have so many bytes? Then get ready for it.</summary>
    SizeAsk = 21,

    /// <summary>Replica: that number, and why not, as UTF-8; nothing: it can.</summary>
    SizeAnswer = 22,
}

/// <summary>How a frame's body is compressed.</summary>
public enum LinkCompression : byte
{
    /// <summary>Not.</summary>
    None = 0,

    /// <summary>Zstandard (RFC 8878).</summary>
    Zstd = 1,

    /// <summary>LZ4 block format.</summary>
    Lz4 = 2,
}

/// <summary>Bytes that are no frame, or no message. The connection cannot go on.</summary>
public sealed class LinkFormatException(string message) : IOException(message);

/// <summary>
/// The header of a frame, little endian.
/// <code>
///  0        2      3             4              8             12            16            20
///  +--------+------+-------------+--------------+-------------+-------------+-------------+----------
///  | magic  | kind | compression | body, bytes  | raw, bytes  | CRC-32C of  | CRC-32C of  | body ...
///  | 0x5352 |      |             | on the wire  | decompressed| the body    | bytes 0..15 |
///  +--------+------+-------------+--------------+-------------+-------------+-------------+----------
/// </code>
/// Valid if and only if both checksums are right, kind and compression are known, and raw is at most <see cref="MaxBody"/>; without
/// compression raw and body are equal.
/// </summary>
public readonly record struct LinkFrame(FrameKind Kind, LinkCompression Compression, int BodyLength, int RawLength, uint BodyChecksum)
{
    /// <summary>Bytes of a header.</summary>
    public const int HeaderLength = 20;

    /// <summary>Most bytes of a body, raw: the largest NBD write (32 MiB), its batch, and room.</summary>
    public const int MaxBody = 40 << 20;

    private const ushort Magic = 0x5352;

    /// <summary>Writes the header.</summary>
    public void Write(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(to, Magic);
        to[2] = (byte)Kind;
        to[3] = (byte)Compression;
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], BodyLength);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], RawLength);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], BodyChecksum);
        BinaryPrimitives.WriteUInt32LittleEndian(to[16..], LinkChecksum.Of(to[..16]));
    }

    /// <summary>Reads a header.</summary>
    /// <exception cref="LinkFormatException">It is not valid.</exception>
    public static LinkFrame Read(ReadOnlySpan<byte> from)
    {
        if (BinaryPrimitives.ReadUInt16LittleEndian(from) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[16..]) != LinkChecksum.Of(from[..16]))
            throw new LinkFormatException("the bytes are no frame's header: another protocol speaks here, or bytes were changed on "
                + "the way");
        var frame = new LinkFrame((FrameKind)from[2], (LinkCompression)from[3], BinaryPrimitives.ReadInt32LittleEndian(from[4..]),
            BinaryPrimitives.ReadInt32LittleEndian(from[8..]), BinaryPrimitives.ReadUInt32LittleEndian(from[12..]));
        if (frame.Kind is < FrameKind.Hello or > FrameKind.SizeAnswer || frame.Compression > LinkCompression.Lz4)
            throw new LinkFormatException($"a frame has the unknown kind {from[2]} or compression {from[3]}; the other site's "
                + "version is newer");
        if (frame.BodyLength is < 0 or > MaxBody || frame.RawLength is < 0 or > MaxBody
            || (frame.Compression == LinkCompression.None && frame.BodyLength != frame.RawLength))
        {
            throw new LinkFormatException($"a {frame.Kind} frame claims {frame.BodyLength} bytes, {frame.RawLength} raw; {MaxBody} "
                + "is the most");
        }

        return frame;
    }
}

/// <summary>CRC-32C (RFC 3720, section 12.1), as the log's.</summary>
public static class LinkChecksum
{
    /// <summary>The checksum of some bytes.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes) => Crc32C.Of(bytes);
}

/// <summary>Frames on a stream. One reads, one writes; neither is for two at a time.</summary>
public sealed class LinkFrames(Stream stream)
{
    // Bodies up to Kept are read into the same two buffers in turn.
    private const int FirstPiece = 256 << 10, Kept = 2 << 20, Together = 64 << 10;

    private byte[] _body = [], _bodyBefore = [];
    private readonly byte[] _header = new byte[LinkFrame.HeaderLength], _out = new byte[LinkFrame.HeaderLength + Together];

    /// <summary>Bytes sent, with headers.</summary>
    public long SentBytes { get; private set; }

    /// <summary>Bytes received, with headers.</summary>
    public long ReceivedBytes { get; private set; }

    /// <summary>Writes a frame.</summary>
    /// <exception cref="IOException">The connection is gone.</exception>
    public async ValueTask WriteAsync(FrameKind kind, ReadOnlyMemory<byte> raw, LinkCompression compression, CancellationToken cancel)
    {
        byte[]? packed = compression == LinkCompression.None ? null : LinkCompressor.Pack(raw.Span, compression);

        // What does not become smaller goes as it is.
        if (packed is null || packed.Length >= raw.Length) (packed, compression) = (null, LinkCompression.None);
        ReadOnlyMemory<byte> body = packed ?? raw;
        new LinkFrame(kind, compression, body.Length, raw.Length, LinkChecksum.Of(body.Span)).Write(_out);

        // A frame that is not long goes as a whole: one call, and one record of TLS for each 16 KiB.
        int together = body.Length <= Together ? body.Length : 0;
        body.Span[..together].CopyTo(_out.AsSpan(LinkFrame.HeaderLength));
        await stream.WriteAsync(_out.AsMemory(0, LinkFrame.HeaderLength + together), cancel).ConfigureAwait(false);
        if (together < body.Length) await stream.WriteAsync(body, cancel).ConfigureAwait(false);
        SentBytes += LinkFrame.HeaderLength + body.Length;
    }

    /// <summary>Sends what was written.</summary>
    public Task FlushAsync(CancellationToken cancel) => stream.FlushAsync(cancel);

    /// <summary>Reads the next frame. Memory is taken as bytes arrive, not as they are announced. A body may be used until the next but one
    /// is read: one frame can be taken while the next one comes.</summary>
    /// <returns>Its kind and body; null = the other site has closed the connection between two frames.</returns>
    /// <exception cref="LinkFormatException">It is not valid.</exception>
    /// <exception cref="IOException">The connection is gone.</exception>
    public async ValueTask<(FrameKind Kind, ReadOnlyMemory<byte> Body)?> ReadAsync(CancellationToken cancel)
    {
        int got = await stream.ReadAtLeastAsync(_header, LinkFrame.HeaderLength, false, cancel).ConfigureAwait(false);
        if (got == 0) return null;
        if (got < LinkFrame.HeaderLength) throw new LinkFormatException("the connection ended inside a frame's header");
        LinkFrame frame = LinkFrame.Read(_header);
        (byte[] body, _bodyBefore) = (_bodyBefore, _body);
        if (body.Length < frame.BodyLength && body.Length < FirstPiece) body = new byte[Math.Min(frame.BodyLength, FirstPiece)];
        for (int filled = 0; filled < frame.BodyLength;)
        {
            if (filled == body.Length) Array.Resize(ref body, Math.Min(frame.BodyLength, body.Length * 2));
            int room = Math.Min(body.Length, frame.BodyLength) - filled;
            int more = await stream.ReadAsync(body.AsMemory(filled, room), cancel).ConfigureAwait(false);
            if (more == 0) throw new LinkFormatException($"the connection ended inside a {frame.Kind} frame");
            filled += more;
        }

        _body = body.Length <= Kept ? body : [];
        if (LinkChecksum.Of(body.AsSpan(0, frame.BodyLength)) != frame.BodyChecksum)
            throw new LinkFormatException($"a {frame.Kind} frame has a wrong checksum: bytes were changed on the way");
        ReceivedBytes += LinkFrame.HeaderLength + frame.BodyLength;
        return (frame.Kind, frame.Compression == LinkCompression.None ? body.AsMemory(0, frame.BodyLength)
            : LinkCompressor.Unpack(body.AsSpan(0, frame.BodyLength), frame));
    }
}
