using SdnEdge.Core.Replication;
using SdnEdge.Linux;

namespace SdnEdge.Storage.Volumes;

// The image, block by block, against the hashes that were kept when it was written; and a block that is put right.
public sealed partial class Volume
{
    /// <summary>Verifies the blocks of one page of the hash tree, from the next one that has contents by either account. Writes go on
    /// meanwhile, into the log.</summary>
    /// <param name="from">The block to go on from.</param>
    /// <param name="bad">Gets those that are not as they were written, with their right hashes.</param>
    /// <param name="next">The block to go on from; 0: all have been read.</param>
    /// <param name="error">The error number of a disk that failed; else 0.</param>
    /// <returns>How many were read.</returns>
    internal int VerifySome(long from, List<(long Block, ulong Hash)> bad, out long next, out int error)
    {
        ArgumentNullException.ThrowIfNull(bad);
        bad.Clear();
        error = 0;
        lock (_applyLock)
        {
            // After a crash hashes and image fit when what was applied since the last checkpoint is applied again.
            next = from;
            if (_disposed || IsCopying || _tree.IsRedoing) return 0;
            const int Fanout = ContentTreeShape.Fanout;
            long blocks = _tree.Shape.Entries(0), first = from / Fanout * Fanout;
            long found = Math.Min(_image.NextData(first * Block) / Block, _treeFile.NextData(first * 8) / 8);
            first = Math.Max(first, Math.Min(found, blocks) / Fanout * Fanout);
            next = first + Fanout >= blocks ? 0 : first + Fanout;
            if (found >= blocks) return 0;
            byte[] bytes = new byte[Fanout * Block];
            ulong[] leaves = new ulong[Fanout];
            int length = (int)Math.Min(bytes.Length, _appliedSize - (first * Block));
            _tree.CopyPage(0, first, leaves);
            error = _image.Read(first * Block, bytes.AsSpan(0, length));
            int read = 0;
            for (; read * Block < length && error == 0; read++)
            {
                ulong hash = ContentRoot.HashOf(_key, first + read, bytes.AsSpan(read * Block, Math.Min(Block, length - (read * Block))));
                if (hash != leaves[read]) bad.Add((first + read, leaves[read]));
            }

            return read;
        }
    }

    /// <summary>A block of the image, when it is the one that is asked for.</summary>
    /// <returns>Null: the image has another one, or cannot be read.</returns>
    internal byte[]? Vouched(long block, ulong hash)
    {
        lock (_applyLock)
        {
            if (block < 0 || block >= _tree.Shape.Entries(0)) return null;
            byte[] bytes = new byte[(int)Math.Min(Block, _appliedSize - (block * Block))];
            return _image.Read(block * Block, bytes) == 0 && ContentRoot.HashOf(_key, block, bytes) == hash ? bytes : null;
        }
    }

    /// <summary>Puts a block right, where it still is the one that was bad and the bytes are what was written.</summary>
    /// <returns>True: the image has them, durably.</returns>
    internal bool PutRight(long block, ulong hash, ReadOnlySpan<byte> bytes, out int error)
    {
        error = 0;
        if (ContentRoot.HashOf(_key, block, bytes) != hash) return false;
        lock (_applyLock)
        {
            if (_disposed || IsCopying || _tree.IsRedoing || block >= _tree.Shape.Entries(0) || _tree.Get(block) != hash) return false;
            ChangeStamps(block * Block, bytes.Length);
            error = _image.Write(block * Block, bytes);
            ChangeStamps(block * Block, bytes.Length);
            if (error == 0) error = _image.Sync();
            return error == 0;
        }
    }
}
