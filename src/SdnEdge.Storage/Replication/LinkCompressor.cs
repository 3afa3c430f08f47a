using K4os.Compression.LZ4;
using ZstdSharp;

namespace SdnEdge.Storage.Replication;

/// <summary>Packs and unpacks a frame's body.</summary>
internal static class LinkCompressor
{
    // More than any data of a disk: what claims more is an attack on memory.
    private const int MaxRatio = 4096;

    public static byte[] Pack(ReadOnlySpan<byte> raw, LinkCompression how)
    {
        if (how == LinkCompression.Zstd)
        {
            using var compressor = new Compressor(1);
            return compressor.Wrap(raw).ToArray();
        }

        byte[] packed = new byte[LZ4Codec.MaximumOutputSize(raw.Length)];
        int length = LZ4Codec.Encode(raw, packed);
        return length < 0 ? raw.ToArray() : packed[..length];
    }

    /// <exception cref="LinkFormatException">It does not unpack to what its header says.</exception>
    public static byte[] Unpack(ReadOnlySpan<byte> packed, LinkFrame frame)
    {
        if (frame.RawLength > (long)(packed.Length + 1) * MaxRatio)
            throw new LinkFormatException($"a {frame.Kind} frame claims to unpack from {packed.Length} to {frame.RawLength} bytes");
        byte[] raw = new byte[frame.RawLength];
        int length;
        try
        {
            if (frame.Compression == LinkCompression.Zstd)
            {
                using var decompressor = new Decompressor();
                length = decompressor.Unwrap(packed, raw);
            }
            else
            {
                length = LZ4Codec.Decode(packed, raw);
            }
        }
        catch (ZstdException e)
        {
            throw new LinkFormatException($"a {frame.Kind} frame does not unpack: {e.Message}");
        }

        return length == raw.Length ? raw : throw new LinkFormatException($"a {frame.Kind} frame does not unpack to {raw.Length} bytes");
    }
}
