namespace SdnEdge.Storage.Tests;

/// <summary>Contents that a test writes and knows again: the same seed makes the same bytes.</summary>
internal static class TestBytes
{
    /// <summary>So many bytes.</summary>
    public static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>A block of 4096 bytes.</summary>
    public static byte[] Bytes(int seed) => Bytes(4096, seed);
}
