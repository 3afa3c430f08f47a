namespace SdnEdge.Core.Replication;

/// <summary>When a write is answered to the guest.</summary>
public enum ReplicationMode
{
    /// <summary>A write at once; a flush when it is durable here. What the replica lacks is lost with the site.</summary>
    Async,

    /// <summary>A write at once; a flush, or a write with FUA, when it is durable here and at the replica. What a guest asked to be durable
    /// is at both sites.</summary>
    Semantic,

    /// <summary>A write when it is durable here and at the replica.</summary>
    Sync,
}

/// <summary>What is done when the replica is gone and the mode promises it.</summary>
public enum PeerGoneAction
{
    /// <summary>The writes wait until it is back. The guest stands still; nothing is unprotected.</summary>
    Stop,

    /// <summary>The writes are answered without it, from the moment at which "the replica is stale" is durable at the manager.</summary>
    GoOn,
}

/// <summary>What is done when the lag reaches its bound.</summary>
public enum LagAction
{
    /// <summary>The writer is slowed down to the speed of the link: no write beyond the bound is answered.</summary>
    Slow,

    /// <summary>The writes are answered beyond the bound, from the moment at which "the replica is stale" is durable at the
    /// manager.</summary>
    GoOn,
}

/// <summary>A point of a volume's history.</summary>
/// <param name="Sequence">The last record of it; 0 = nothing was written yet.</param>
/// <param name="Epoch">That record's epoch; 0 = no record.</param>
/// <param name="Chain">That record's chain: the same sequence and chain at two sites is the same history up to here.</param>
public readonly record struct LogPoint(ulong Sequence, ulong Epoch, ulong Chain)
{
    /// <summary>The point before the first record.</summary>
    public static LogPoint Start => default;

    /// <summary>The point that a record is.</summary>
    public static LogPoint Of(in LogRecord record) => new(record.Sequence, record.Epoch, record.Chain);

    /// <inheritdoc/>
    public override string ToString() => $"{Sequence} (epoch {Epoch}, chain {Chain:x16})";
}

/// <summary>
/// What a site says of its copy at a point. Two that are equal prove that both sites have the same history (chain) and the same bytes
/// (content root) there.
/// </summary>
/// <param name="Point">The point; its epoch is that of the last record.</param>
/// <param name="OwnerEpoch">The epoch of the owner at that time.</param>
/// <param name="ContentRoot">The content root at that point, 64 bits.</param>
public readonly record struct DrainProof(LogPoint Point, ulong OwnerEpoch, ulong ContentRoot)
{
    /// <summary>What is different in the other's proof, for people; null = nothing.</summary>
    /// <param name="other">The other site's proof.</param>
    public string? DiffersFrom(in DrainProof other)
    {
        if (Point.Sequence != other.Point.Sequence)
            return $"the replica is at sequence {other.Point.Sequence}, the owner at {Point.Sequence}; let it catch up and ask again";
        if (Point.Chain != other.Point.Chain)
        {
            return $"the histories differ at sequence {Point.Sequence}: chain {Point.Chain:x16} here, {other.Point.Chain:x16} at "
                + "the replica; "
                + "resynchronize it";
        }

        if (OwnerEpoch != other.OwnerEpoch)
            return $"the replica follows epoch {other.OwnerEpoch}, the owner has {OwnerEpoch}";
        return ContentRoot == other.ContentRoot ? null
            : $"the same history, but other bytes at sequence {Point.Sequence}: content root {ContentRoot:x16} here, "
                + $"{other.ContentRoot:x16} at "
            + "the replica; check both volumes, then repair the one that does not vouch for itself";
    }
}

/// <summary>How a client of an export is known.</summary>
public enum ClientKind
{
    /// <summary>A process of this machine, by the kernel's word for the unix socket.</summary>
    Process,

    /// <summary>A certificate of a TLS connection.</summary>
    Certificate,
}

/// <summary>A client, known so that it is not mistaken for one started later with the same number.</summary>
/// <param name="Kind">How it is known.</param>
/// <param name="ProcessId">Its process, where it is one; else 0.</param>
/// <param name="StartTime">Start time of the process, clock ticks after boot (field 22 of proc_pid_stat(5)); else 0.</param>
/// <param name="Subject">Common name of its certificate, where it has one; else empty.</param>
public sealed record ClientIdentity(ClientKind Kind, int ProcessId, ulong StartTime, string Subject)
{
    /// <summary>A process.</summary>
    public static ClientIdentity Process(int id, ulong startTime) => new(ClientKind.Process, id, startTime, "");

    /// <summary>A certificate.</summary>
    public static ClientIdentity Certificate(string subject) => new(ClientKind.Certificate, 0, 0, subject);

    /// <inheritdoc/>
    public override string ToString()
        => Kind == ClientKind.Process ? $"process {ProcessId} (started at tick {StartTime})" : $"the holder of certificate {Subject}";
}

/// <summary>A step of a history: gives the chain of a record from the one before it. It covers all fields but the chain itself.</summary>
/// <param name="previous">The chain of the record before; 0 for the first.</param>
/// <param name="record">The record.</param>
public delegate ulong ChainStep(ulong previous, in LogRecord record);
