using System.Buffers.Binary;

namespace SdnEdge.Testing;

/// <summary>
/// Classic pcap files of Ethernet frames, little-endian, microseconds. Frame n carries n milliseconds, so that files are reproducible.
/// </summary>
public static class PcapFile
{
    private const uint Magic = 0xA1B2C3D4;
    private const int FileHeader = 24, RecordHeader = 16;

    /// <summary>Writes the frames.</summary>
    public static void Write(string path, IReadOnlyList<byte[]> frames) => File.WriteAllBytes(path, ToBytes(frames));

    /// <summary>The bytes of a file with the frames.</summary>
    public static byte[] ToBytes(IReadOnlyList<byte[]> frames)
    {
        byte[] file = new byte[FileHeader + frames.Sum(f => RecordHeader + f.Length)];
        BinaryPrimitives.WriteUInt32LittleEndian(file, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(4), 2);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(6), 4);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(16), 262_144);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(20), 1); // Ethernet
        int at = FileHeader;
        for (int i = 0; i < frames.Count; i++)
        {
            byte[] frame = frames[i];
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at + 4), (uint)(i * 1000));
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at + 8), (uint)frame.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at + 12), (uint)frame.Length);
            frame.CopyTo(file, at + RecordHeader);
            at += RecordHeader + frame.Length;
        }

        return file;
    }

    /// <summary>Reads the frames of a file that <see cref="Write"/> made.</summary>
    /// <exception cref="InvalidDataException">Another format, or truncated.</exception>
    public static List<byte[]> Read(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        if (file.Length < FileHeader || BinaryPrimitives.ReadUInt32LittleEndian(file) != Magic)
            throw new InvalidDataException($"{path} is no little-endian pcap file with microseconds.");
        List<byte[]> frames = [];
        for (int at = FileHeader; at < file.Length;)
        {
            if (at + RecordHeader > file.Length)
                throw new InvalidDataException($"{path} ends inside the header of frame {frames.Count + 1}.");
            int length = (int)BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8));
            at += RecordHeader;
            if (length < 0 || at + length > file.Length) throw new InvalidDataException($"{path} ends inside frame {frames.Count + 1}.");
            frames.Add(file[at..(at + length)]);
            at += length;
        }

        return frames;
    }
}
