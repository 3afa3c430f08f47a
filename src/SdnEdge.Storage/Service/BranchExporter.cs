using System.Globalization;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Service;

/// <summary>Makes an image of a branch: what its records wrote is where they wrote it, all else is a hole.</summary>
public static class BranchExporter
{
    /// <summary>Writes it, and a line for each record.</summary>
    /// <param name="from">The branch's bytes.</param>
    /// <param name="image">An empty file.</param>
    /// <param name="size">Bytes of the volume; the image has more, where the branch made it larger.</param>
    /// <param name="said">What each record did, in order.</param>
    /// <exception cref="IOException">The branch is damaged, or the image cannot be written.</exception>
    public static Branch Export(Stream from, Stream image, long size, TextWriter said)
    {
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(said);
        image.SetLength(size);
        byte[] zeros = new byte[1 << 20];
        Branch branch = BranchFile.Read(from, (record, bytes) =>
        {
            said.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{record.Sequence} epoch {record.Epoch} {record.Kind.ToString().ToLowerInvariant()} {record.Offset} {record.Length}"));
            if (record.Kind == LogRecordKind.Size && record.Length > size) image.SetLength(size = record.Length);
            if (record.Kind is not (LogRecordKind.Write or LogRecordKind.Zero or LogRecordKind.Trim)) return;
            if (record.Offset < 0 || record.Length < 0 || record.Offset > size - record.Length)
                throw new IOException($"record {record.Sequence} has the range {record.Offset}+{record.Length}; the volume has "
                    + $"{size} bytes");
            image.Position = record.Offset;
            if (record.Kind == LogRecordKind.Write) image.Write(bytes.Span);
            else
                for (long left = record.Length; left > 0; left -= zeros.Length) image.Write(zeros, 0, (int)Math.Min(left, zeros.Length));
        });
        image.Flush();
        return branch;
    }
}
