using SdnEdge.Core.Replication;
using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Volumes;

/// <summary>What a check found.</summary>
/// <param name="Proof">What the volume is by its own account.</param>
/// <param name="Root">The content root of what was read from the image.</param>
/// <param name="BlocksRead">Blocks of 4096 bytes that were read.</param>
/// <param name="BadBlocks">Blocks whose bytes are not those that were written, by number; the first ones only.</param>
/// <param name="BadCount">How many there are.</param>
/// <param name="RecordsRead">Records of the log that were read.</param>
/// <param name="LogDamage">The first record of the log that is not as it was written; null when all are.</param>
/// <param name="Error">The error number of a disk that failed meanwhile; 0 when none did.</param>
public sealed record VolumeCheck(VolumeProof Proof, ulong Root, long BlocksRead, IReadOnlyList<long> BadBlocks, long BadCount,
    long RecordsRead,
    string? LogDamage, int Error)
{
    /// <summary>Everything is as it was written.</summary>
    public bool IsGood => Error == 0 && BadCount == 0 && LogDamage is null && Root == Proof.Root;
}

public sealed partial class Volume
{
    private const int BadBlocksNamed = 1000;

    /// <summary>
    /// Verifies the volume from its own records: 1. everything in the log goes to the image; 2. each block of the image that is not in a
    /// hole, and each that is said to have contents, is hashed and compared; 3. the log is read, its chain followed. Writes go on
    /// meanwhile, into the log.
    /// </summary>
    public VolumeCheck Check(CancellationToken cancel)
    {
        lock (_applyLock)
        {
            List<long> bad = [];
            long badCount = 0, blocksRead = 0;
            ulong root = 0;
            if (Drain(ulong.MaxValue, out int error) is not { } proof) return new VolumeCheck(default, 0, 0, bad, 0, 0, null, error);
            error = Checkpoint();
            byte[] bytes = new byte[ContentTreeShape.Fanout * Block];
            ulong[] leaves = new ulong[ContentTreeShape.Fanout];
            long blocks = _tree.Shape.Entries(0);
            for (long first = 0; first < blocks && error == 0; first += ContentTreeShape.Fanout)
            {
                cancel.ThrowIfCancellationRequested();
                long at = first * Block;
                int length = (int)Math.Min(bytes.Length, _appliedSize - at);
                _tree.CopyPage(0, first, leaves);
                bool hole = _image.NextData(at) >= at + length;
                if (hole && !leaves.AsSpan().ContainsAnyExcept(0ul))
                {
                    // Nothing here by either account: on to the next place where one of them has something.
                    long data = _image.NextData(at) / Block, hashed = _treeFile.NextData((first + ContentTreeShape.Fanout) * 8) / 8;
                    long next = Math.Min(data, Math.Min(hashed, blocks));
                    if (next > first + ContentTreeShape.Fanout)
                        first = (next / ContentTreeShape.Fanout * ContentTreeShape.Fanout) - ContentTreeShape.Fanout;
                    continue;
                }

                error = _image.Read(at, bytes.AsSpan(0, length));
                for (int i = 0; i * Block < length && error == 0; i++)
                {
                    ulong hash = ContentRoot.HashOf(_key, first + i, bytes.AsSpan(i * Block, Math.Min(Block, length - (i * Block))));
                    root += hash;
                    blocksRead++;
                    if (hash == leaves[i]) continue;
                    if (badCount++ < BadBlocksNamed) bad.Add(first + i);
                }
            }

            string? damage = CheckLog(out long records, cancel);
            return new VolumeCheck(proof, root, blocksRead, bad, badCount, records, damage, error != 0 ? error : _tree.Error);
        }
    }

    private string? CheckLog(out long records, CancellationToken cancel)
    {
        records = 0;
        LogCursor cursor = default;
        List<LogEntry> entries = [];
        byte[] buffer = new byte[_applyBuffer.Length];
        (ulong next, ulong chain) = _log.Begins();
        for (ulong last = _log.DurableSequence; next <= last;)
        {
            cancel.ThrowIfCancellationRequested();
            if (_log.Read(next, last, ref cursor, buffer, entries) != LogReadStatus.Read) return $"record {next} of the log is damaged";
            foreach (var entry in entries)
            {
                if (LogRecordCodec.NextChain(chain, entry.Record) != entry.Record.Chain) return $"the chain does not lead to record {next}";
                chain = entry.Record.Chain;
                records++;
                next++;
            }
        }

        return null;
    }
}
