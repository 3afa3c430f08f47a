using SdnEdge.Core.Replication;
using SdnEdge.Linux;
using SdnEdge.Storage.Nbd;

namespace SdnEdge.Storage.Volumes;

/// <summary>How far a copy is.</summary>
/// <param name="Done">Bytes of the volume that are behind it.</param>
/// <param name="Size">Bytes of the volume.</param>
/// <param name="Data">Bytes that were data, and are written.</param>
public readonly record struct MarkCopyProgress(long Done, long Size, long Data);

/// <summary>Copies what an export holds to a raw file, with holes where it has zeros, and says what the content root of that is.</summary>
public static class MarkCopy
{
    private const int Block = ContentRoot.BlockSize;
    private const long Range = 256L << 20;

    /// <summary>Copies it. The file is there as a whole, and durable, or not at all.</summary>
    /// <param name="from">The export.</param>
    /// <param name="identity">The volume's identity, by which the root is keyed.</param>
    /// <param name="file">The file; one that is there is replaced.</param>
    /// <param name="expected">The root that it must have; with another one nothing is left.</param>
    /// <param name="progress">Is told now and then.</param>
    /// <param name="cancel">Ends it; nothing is left.</param>
    /// <returns>The content root of what was read: the file is there when it is the one that was expected.</returns>
    /// <exception cref="IOException">It could not be read or written; nothing is left.</exception>
    public static ulong ToFile(NbdReader from, Guid identity, string file, ulong expected, Action<MarkCopyProgress> progress,
        CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(from);
        ArgumentNullException.ThrowIfNull(progress);
        string part = file + ".part";
        try
        {
            ulong root;
            using (RawFile to = Create(part))
            {
                Check(to.SetLength(from.Size), part);
                root = Copy(from, ContentRoot.KeyOf(identity), to, progress, cancel);
                Check(to.SyncData(), part);
            }

            if (root != expected)
            {
                File.Delete(part);
                return root;
            }

            File.Move(part, file, overwrite: true);
            DurableFile.SyncFolder(Path.GetDirectoryName(Path.GetFullPath(file))!);
            return root;
        }
        catch (Exception e)
        {
            File.Delete(part);
            if (e is LinuxException or UnauthorizedAccessException) throw new IOException(e.Message, e);
            throw;
        }
    }

    private static RawFile Create(string part)
    {
        File.Delete(part);
        return RawFile.Create(part);
    }

    // Extents may begin and end inside a block; a block is read as a whole, and once.
    private static ulong Copy(NbdReader from, ulong key, RawFile to, Action<MarkCopyProgress> progress, CancellationToken cancel)
    {
        byte[] bytes = new byte[NbdReader.MaximumRead];
        List<BlockExtent> extents = [];
        ulong root = 0;
        long at = 0, data = 0;
        while (at < from.Size)
        {
            from.Extents(at, Math.Min(Range, from.Size - at), extents);
            long edge = at, done = at;
            foreach (BlockExtent extent in extents)
            {
                long begin = edge;
                edge = Math.Min(from.Size, edge + extent.Length);
                if (!extent.ReadsAsZeros) Take(Math.Max(done, begin / Block * Block), (edge + Block - 1) / Block * Block);
            }

            long next = Math.Max(done, edge == from.Size ? edge : edge / Block * Block);
            if (next == at) Take(at, at + Block);
            at = Math.Max(done, next);
            progress(new MarkCopyProgress(at, from.Size, data));

            void Take(long first, long end)
            {
                end = Math.Min(end, from.Size);
                while (first < end)
                {
                    cancel.ThrowIfCancellationRequested();
                    Span<byte> chunk = bytes.AsSpan(0, (int)Math.Min(bytes.Length, end - first));
                    from.Read(first, chunk);
                    data += Put(to, key, first, chunk, ref root);
                    first += chunk.Length;
                    progress(new MarkCopyProgress(first, from.Size, data));
                }

                done = Math.Max(done, end);
            }
        }

        return root;
    }

    // Runs of blocks that are not zeros. How many bytes.
    private static long Put(RawFile to, ulong key, long offset, ReadOnlySpan<byte> bytes, ref ulong root)
    {
        long written = 0;
        int run = -1;
        for (int i = 0; i < bytes.Length; i += Block)
        {
            ulong hash = ContentRoot.HashOf(key, (offset + i) / Block, bytes.Slice(i, Math.Min(Block, bytes.Length - i)));
            root += hash;
            if (hash != 0 && run < 0) run = i;
            if (hash != 0 || run < 0) continue;
            written += Write(to, offset + run, bytes[run..i]);
            run = -1;
        }

        return run < 0 ? written : written + Write(to, offset + run, bytes[run..]);
    }

    private static int Write(RawFile to, long offset, ReadOnlySpan<byte> bytes)
    {
        Check(to.Write(offset, bytes), to.Path);
        return bytes.Length;
    }

    private static void Check(int error, string what)
    {
        if (error != 0) throw new IOException($"{what}: {RawFile.Describe(error)}");
    }
}
