using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Volumes;

/// <summary>The sizes that a volume has had, by where in its history it got them: the last <see cref="Most"/> are known. Guarded by the
/// log's lock.</summary>
/// <param name="size">Its size behind the last of <paramref name="grown"/>, bytes.</param>
/// <param name="grown">The records that gave it another size, in order, with the size before each.</param>
internal sealed class SizeHistory(long size, IEnumerable<(ulong Sequence, long Before)> grown)
{
    /// <summary>How many changes are known.</summary>
    public const int Most = 40;

    private readonly List<(ulong Sequence, long Before)> _grown = [.. grown];

    /// <summary>The size behind the newest record, bytes.</summary>
    public long Last { get; private set; } = size;

    /// <summary>A record that is newer than all that are known.</summary>
    public void Note(in LogRecord record)
    {
        if (record.Kind != LogRecordKind.Size) return;
        _grown.Add((record.Sequence, Last));
        Last = record.Length;
    }

    /// <summary>The size behind a record; null = it is not known any more.</summary>
    public long? At(ulong sequence)
    {
        int next = _grown.FindIndex(g => g.Sequence > sequence);
        return next < 0 ? Last : next == 0 && _grown.Count >= Most ? null : _grown[next].Before;
    }

    /// <summary>Whether a record gave it another size.</summary>
    public bool GrowsAt(ulong sequence) => _grown.Exists(g => g.Sequence == sequence);

    /// <summary>The newest changes up to a record, for the superblock.</summary>
    public IReadOnlyList<(ulong Sequence, long Before)> UpTo(ulong sequence)
        => [.. _grown.Where(g => g.Sequence <= sequence).TakeLast(Most)];

    /// <summary>Those of the history that ends at a record.</summary>
    /// <param name="sequence">The record.</param>
    /// <param name="size">The size there; one that is not the one that is known is that of another history.</param>
    public SizeHistory EndingAt(ulong sequence, long size) => new(size, At(sequence) == size ? UpTo(sequence) : []);
}
