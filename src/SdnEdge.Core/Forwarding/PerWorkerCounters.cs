namespace SdnEdge.Core.Forwarding;

/// <summary>
/// 64-bit counters with one row for each worker, on cache lines of its own. A worker writes only its own row, without locks
/// or atomics; any thread may read the sums at any time. Sums never go backwards; a sum read while workers run is a value
/// that was true at some moment of the reading for each row.
/// </summary>
public sealed unsafe class PerWorkerCounters
{
    // Two lines, because the hardware prefetches lines in pairs.
    private const int AlignBytes = 128;

    private readonly long[] _memory; // pinned: the rows are handed out as pointers
    private readonly long* _rows;
    private readonly int _stride;

    /// <summary>Makes zeroed counters.</summary>
    /// <param name="workers">Rows: 1 and up.</param>
    /// <param name="fields">Counters of each row: 1 and up.</param>
    public PerWorkerCounters(int workers, int fields)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(fields, 1);
        Workers = workers;
        Fields = fields;
        int perLine = AlignBytes / sizeof(long);
        _stride = (fields + perLine - 1) / perLine * perLine;
        _memory = GC.AllocateArray<long>((_stride * workers) + perLine, pinned: true);
        nuint start = (nuint)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(_memory, 0);
        _rows = (long*)((start + AlignBytes - 1) / AlignBytes * AlignBytes);
    }

    /// <summary>Rows.</summary>
    public int Workers { get; }

    /// <summary>Counters in a row.</summary>
    public int Fields { get; }

    // The row of a worker, for code that adds to it many times. Valid while this object is reachable.
    internal long* Row(int worker) => _rows + (worker * _stride);

    /// <summary>Adds to a counter of the calling worker's own row.</summary>
    public void Add(int worker, int field, long amount = 1) => _rows[(worker * _stride) + field] += amount;

    /// <summary>Sets a cell of the calling worker's own row.</summary>
    public void Set(int worker, int field, long value) => Volatile.Write(ref _rows[(worker * _stride) + field], value);

    /// <summary>Reads one cell.</summary>
    public long Get(int worker, int field) => Volatile.Read(ref _rows[(worker * _stride) + field]);

    /// <summary>Sum of a counter over all workers.</summary>
    public long Total(int field)
    {
        long sum = 0;
        for (int worker = 0; worker < Workers; worker++) sum += Get(worker, field);
        GC.KeepAlive(_memory);
        return sum;
    }
}
