using SdnEdge.Lab.Disks;

namespace SdnEdge.Demo.Report;

/// <summary>What a client was told of the records of one boot of the guest.</summary>
/// <param name="boot">The boot.</param>
internal sealed class BootLog(ulong boot)
{
    private readonly List<DiskWrite> _writes = [];

    /// <summary>The boot.</summary>
    public ulong Boot { get; } = boot;

    /// <summary>The last record that was acknowledged to the client.</summary>
    public long Acknowledged { get; private set; }

    /// <summary>The last record of which its times were told.</summary>
    public long Told => _writes.Count == 0 ? 0 : _writes[^1].Number;

    /// <summary>Records that the guest read back, and those that were not as it had written them.</summary>
    public long ReadBack { get; private set; }

    /// <inheritdoc cref="ReadBack"/>
    public long Bad { get; private set; }

    /// <summary>The writes that were told, in order.</summary>
    public IReadOnlyList<DiskWrite> Writes => _writes;

    /// <summary>Takes an answer.</summary>
    /// <param name="word">The answer.</param>
    /// <param name="from">Numbers before it were told already.</param>
    public void Take(DiskWord word, long from)
    {
        Acknowledged = Math.Max(Acknowledged, word.Acknowledged);
        (ReadBack, Bad) = (word.ReadBack, word.Bad);
        _writes.AddRange(word.Writes.Where(w => w.Number >= from && w.Number > Told));
    }

    /// <summary>When a record was durable by the guest's own word, CLOCK_MONOTONIC, nanoseconds; null = that was not told.</summary>
    public long? DurableAtNs(long number)
    {
        int at = _writes.FindIndex(w => w.Number == number);
        return at < 0 ? null : _writes[at].BeganNs + _writes[at].LatencyNs;
    }

    /// <summary>What it is now, for another thread.</summary>
    public BootLog Copy()
    {
        var copy = new BootLog(Boot) { Acknowledged = Acknowledged, ReadBack = ReadBack, Bad = Bad };
        copy._writes.AddRange(_writes);
        return copy;
    }
}
