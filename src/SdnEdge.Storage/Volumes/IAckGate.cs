using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Volumes;

/// <summary>What must be there before a request is answered. Values may be combined.</summary>
[Flags]
public enum AckRule
{
    /// <summary>The record is in the log, with the kernel.</summary>
    Appended = 0,

    /// <summary>It is durable here.</summary>
    LocallyDurable = 1,

    /// <summary>It is durable at the replica.</summary>
    ReplicaDurable = 2,
}

/// <summary>
/// Decides when a volume's requests may be answered: the modes async, sync and semantic differ in nothing else. Without one a request is
/// answered when it is appended, and one for which the guest asked for durability when it is durable here.
/// </summary>
public interface IAckGate
{
    /// <summary>The rule for a record that was just appended. It is called in the order of the sequences, under the lock that gives them
    /// out:
    /// a mode that is switched under that lock (<see cref="Volume.WithSequenceLock"/>) holds from one sequence on. It must return at once
    /// and must not call the volume.</summary>
    /// <param name="record">The request's last record.</param>
    /// <param name="durable">The guest asked for durability: a flush or a FUA write.</param>
    AckRule RuleFor(in LogRecord record, bool durable);

    /// <summary>Completes when the replica has every record up to <paramref name="sequence"/> durably, or when the policy lets the request
    /// go on without (<see cref="BlockResult.Ok"/>), or refuses it.</summary>
    ValueTask<BlockResult> ReplicaDurableAsync(ulong sequence, CancellationToken cancel);
}

/// <summary>What happened to a volume that its operator has to know.</summary>
public enum VolumeEventKind
{
    /// <summary>The log cannot be written: writes are refused until it can.</summary>
    LogFailed,

    /// <summary>The log could not be made durable. It ends here until the volume is opened again.</summary>
    LogEnded,

    /// <summary>The image cannot be written: the log grows meanwhile, and when it is full writes are refused.</summary>
    ImageFailed,

    /// <summary>The superblock or the hash tree cannot be written: as an image that fails.</summary>
    MetadataFailed,

    /// <summary>What failed works again.</summary>
    Recovered,

    /// <summary>The log is full of records that a replica has not acknowledged: writes wait until it has, or until it is given
    /// up.</summary>
    RetentionExceeded,

    /// <summary>A record of the log that was read back is not what was written.</summary>
    LogDamaged,

    /// <summary>A kept point was given up, or is damaged.</summary>
    PointLost,

    /// <summary>A mark's point is kept.</summary>
    PointKept,

    /// <summary>The volume has become larger.</summary>
    Grown,
}

/// <summary>An event of a volume.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="Subject">The file, or the replica, that it happened to.</param>
/// <param name="Error">The error number of the system; 0 where there is none.</param>
/// <param name="Message">For people: what, where, and what would help.</param>
public sealed record VolumeEvent(VolumeEventKind Kind, string Subject, int Error, string Message);

/// <summary>What a copy of a volume has to have to be the same: equal proofs are equal histories and equal contents.</summary>
/// <param name="Epoch">The epoch of the last record.</param>
/// <param name="Sequence">The last record that is in the image.</param>
/// <param name="Chain">The log's chain there.</param>
/// <param name="Root">The content root there.</param>
public readonly record struct VolumeProof(ulong Epoch, ulong Sequence, ulong Chain, ulong Root);
