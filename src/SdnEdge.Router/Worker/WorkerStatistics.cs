namespace SdnEdge.Router.Worker;

/// <summary>What a worker has counted since it started. Written by the worker, readable at any time.</summary>
public sealed class WorkerStatistics
{
    private long _batches;
    private long _packets;
    private long _fullBatches;
    private long _sleeps;
    private long _faults;

    /// <summary>Batches received that were not empty.</summary>
    public long Batches => Volatile.Read(ref _batches);

    /// <summary>Frames received; a superpacket counts once.</summary>
    public long Packets => Volatile.Read(ref _packets);

    /// <summary>Batches that were full: more was waiting.</summary>
    public long FullBatches => Volatile.Read(ref _fullBatches);

    /// <summary>Times the worker went to sleep for want of work.</summary>
    public long Sleeps => Volatile.Read(ref _sleeps);

    /// <summary>
    /// Exceptions that came out of processing or a command; the batch or command was lost. Always 0 unless there is a bug.
    /// </summary>
    public long Faults => Volatile.Read(ref _faults);

    /// <summary>The last such exception.</summary>
    public Exception? LastFault { get; private set; }

    internal void Received(int packets, bool full)
    {
        Volatile.Write(ref _batches, _batches + 1);
        Volatile.Write(ref _packets, _packets + packets);
        if (full) Volatile.Write(ref _fullBatches, _fullBatches + 1);
    }

    internal void Slept() => Volatile.Write(ref _sleeps, _sleeps + 1);

    internal void Faulted(Exception fault)
    {
        LastFault = fault;
        Volatile.Write(ref _faults, _faults + 1);
    }
}
