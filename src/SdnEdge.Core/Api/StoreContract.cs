using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Api;

/// <summary>What a problem of a store is, the last part of the problem's type.</summary>
public enum StoreProblem
{
    /// <summary>There is no volume of that name.</summary>
    NoSuchVolume,
    /// <summary>There is one already.</summary>
    VolumeExists,
    /// <summary>An export, a mark or a peer still uses it.</summary>
    VolumeInUse,
    /// <summary>The epoch is lower than the highest seen (R1).</summary>
    StaleEpoch,
    /// <summary>The epoch was said to be void here (R5).</summary>
    VoidEpoch,
    /// <summary>The store's role does not allow it.</summary>
    WrongRole,
    /// <summary>The copy may not become the owner's.</summary>
    NotPromotable,
    /// <summary>The stronger mode cannot be reached now.</summary>
    CannotConverge,
    /// <summary>The replica is not there.</summary>
    PeerGone,
    /// <summary>The sites say different things of the same point.</summary>
    CopiesDiffer,
    /// <summary>The disk below is full.</summary>
    NoSpace,
    /// <summary>The disk below failed.</summary>
    DiskFailed,
}

/// <summary>A point of a volume's history.</summary>
/// <param name="Sequence">The last record.</param>
/// <param name="Epoch">Its epoch.</param>
/// <param name="Chain">Its chain, 16 hexadecimal digits.</param>
public sealed record LogPointInfo(ulong Sequence, ulong Epoch, string Chain)
{
    /// <summary>Of a machine's point.</summary>
    public static LogPointInfo Of(LogPoint point) => new(point.Sequence, point.Epoch, point.Chain.ToString("x16", null));

    /// <summary>The machine's point; null where the chain is not 16 hexadecimal digits.</summary>
    public LogPoint? ToPoint() => Chain is { Length: 16 }
        && ulong.TryParse(Chain, System.Globalization.NumberStyles.AllowHexSpecifier, null, out ulong chain) ? new(Sequence, Epoch,
        chain) : null;
}

/// <summary>What a site says of its copy at a point; equal at both: the same history and the same bytes.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Point">The point.</param>
/// <param name="OwnerEpoch">The owner's epoch then.</param>
/// <param name="ContentRoot">The content root, 16 hexadecimal digits.</param>
public sealed record DrainProofInfo(string Volume, LogPointInfo Point, ulong OwnerEpoch, string ContentRoot)
{
    /// <summary>Of a machine's proof.</summary>
    public static DrainProofInfo Of(string volume, DrainProof proof)
        => new(volume, LogPointInfo.Of(proof.Point), proof.OwnerEpoch, proof.ContentRoot.ToString("x16", null));
}

/// <summary>How far the replica is behind.</summary>
/// <param name="Bytes">Bytes that it lacks; never understated.</param>
/// <param name="Seconds">Age of the oldest record that it lacks.</param>
/// <param name="BytesBound">Most bytes by policy; 0 = no bound.</param>
/// <param name="SecondsBound">Greatest age by policy; 0 = no bound.</param>
/// <param name="AtBound">What is done at a bound.</param>
public sealed record LagInfo(long Bytes, double Seconds, long BytesBound, double SecondsBound, LagAction AtBound);

/// <summary>The replication of a volume, as its owner has it.</summary>
/// <param name="Mode">The mode that is promised.</param>
/// <param name="InForce">The mode by which writes are answered now.</param>
/// <param name="Switching">The mode that a switch is armed for; null = none.</param>
/// <param name="Protection">What protection there is.</param>
/// <param name="InSync">In the promised mode, with equal content roots.</param>
/// <param name="Connected">The link is there.</param>
/// <param name="Lag">The lag.</param>
/// <param name="Last">Last sequence.</param>
/// <param name="Durable">Up to this sequence it is durable here.</param>
/// <param name="ReplicaReceived">Up to this one the replica has received.</param>
/// <param name="ReplicaDurable">Up to this one it is durable there.</param>
/// <param name="RoundTripMs">Round trip of the link, milliseconds; 0 = not known.</param>
/// <param name="BytesPerSecond">What the link carries; 0 = not known.</param>
/// <param name="WriteBytesPerSecond">What the guest writes.</param>
/// <param name="StaleFrom">First sequence that may be missing at the replica, by the record at the manager; null = none is.</param>
/// <param name="Alarms">What is wrong, as words.</param>
public sealed record VolumeReplicationInfo(
    ReplicationMode Mode, ReplicationMode InForce, ReplicationMode? Switching, Protection Protection, bool InSync, bool Connected,
        LagInfo Lag,
    ulong Last, ulong Durable, ulong ReplicaReceived, ulong ReplicaDurable, double RoundTripMs, long BytesPerSecond,
        long WriteBytesPerSecond,
    ulong? StaleFrom, IReadOnlyList<ReplicationAlarm> Alarms)
{
    /// <summary>The copy that is under way; null = none is.</summary>
    public VolumeCopyInfo? Copy { get; init; }

    /// <summary>Bytes that were sent over the link since the store was started, with headers.</summary>
    public long SentBytes { get; init; }

    /// <summary>The replica is whole: it has been copied, and follows the log.</summary>
    public bool ReplicaWhole { get; init; }

    /// <summary>The log has let go what the replica lacks, up to this sequence; what those records touched is copied when it is back. Null
    /// = it has not.</summary>
    public ulong? LetGoThrough { get; init; }

    /// <summary>Of a machine's state.</summary>
    /// <param name="state">The state.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public static VolumeReplicationInfo Of(PrimaryState state, long now)
    {
        ArgumentNullException.ThrowIfNull(state);
        ReplicationPolicy policy = state.Policy;
        var lag = new LagInfo(state.Lag.LagBytes, state.Lag.Age(now) / 1e9, policy.LagBytes, policy.LagTime / 1e9, policy.AtLagBound);
        ReplicationAlarm[] alarms = [.. Enum.GetValues<ReplicationAlarm>().Where(a => a != ReplicationAlarm.None
            && (state.Alarms & a) != 0)];
        return new(state.Record.Mode, state.InForce, state.Armed is { Mode: not ReplicationMode.Async } armed ? armed.Mode : null,
            state.Protection, state.IsInSync, state.IsConnected, lag,
            state.Last,
            state.LocalDurable, state.Received, state.Durable, state.RoundTrip / 1e6, state.Bandwidth, state.WriteRate,
                state.Record.Stale?.From,
            alarms) { ReplicaWhole = state.IsReplicaWhole };
    }
}

/// <summary>A copy that the owner sends.</summary>
/// <param name="CopiedBytes">Bytes of the volume that were sent, zeros too.</param>
/// <param name="TotalBytes">Bytes in all.</param>
public sealed record VolumeCopyInfo(long CopiedBytes, long TotalBytes);

/// <summary>A copy that is not the owner's.</summary>
/// <param name="Phase">What it is.</param>
/// <param name="Durable">Its last durable point.</param>
/// <param name="LastConsistent">The point that may be promoted; null = there is none.</param>
/// <param name="CopiedBytes">While it is copied: bytes that are there.</param>
/// <param name="CopyBytes">While it is copied: bytes in all; 0 = not known.</param>
public sealed record VolumeReplicaInfo(CopyPhase Phase, LogPointInfo Durable, LogPointInfo? LastConsistent, long CopiedBytes,
    long CopyBytes);

/// <summary><c>GET /v1/volumes</c>: a volume of this store.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Id">Its identity, the same at both sites.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Role">What this store is to it.</param>
/// <param name="Epoch">Highest epoch seen.</param>
/// <param name="GrantedEpoch">Epoch of this store's grant; 0 = it never was the owner.</param>
/// <param name="Client">Who may write, for people; null = nobody yet.</param>
/// <param name="Parked">Requests that wait.</param>
/// <param name="ParkedBytes">Their bytes.</param>
/// <param name="ForcedBy">The operator's words, where the grant in force was forced.</param>
/// <param name="Replication">Where this store is the owner.</param>
/// <param name="Replica">Where it is not.</param>
/// <param name="Branches">Tails that were put aside after a split brain, for inspection.</param>
/// <param name="Modes">The last changes of when its writes were answered here, the oldest first, since the store was started; null = it has
/// no replica.</param>
/// <param name="Drain">The last proof for a client that stood still; null = there was none since the store was started.</param>
public sealed record VolumeInfo(
    string Name, Guid Id, long SizeBytes, OwnerRole Role, ulong Epoch, ulong GrantedEpoch, string? Client, int Parked, long ParkedBytes,
    string? ForcedBy, VolumeReplicationInfo? Replication, VolumeReplicaInfo? Replica, IReadOnlyList<BranchInfo> Branches,
    IReadOnlyList<ModeChangeInfo>? Modes = null, DrainTimeInfo? Drain = null);

/// <summary>A change of when a volume's writes are answered. Times are CLOCK_MONOTONIC of the store, nanoseconds.</summary>
/// <param name="Epoch">Epoch of the owner.</param>
/// <param name="Mode">The mode.</param>
/// <param name="AskedAtNs">When it was asked for; of the first of an epoch: when the store owned the volume.</param>
/// <param name="LagBytes">Bytes that the replica lacked then.</param>
/// <param name="InForceAtNs">Writes are answered so since then; null = not yet.</param>
/// <param name="ReachedAtNs">When the replica had proved that it has everything before it, where the mode promises that; null = not
/// yet.</param>
public sealed record ModeChangeInfo(
    ulong Epoch, ReplicationMode Mode, long AskedAtNs, long LagBytes, long? InForceAtNs = null, long? ReachedAtNs = null);

/// <summary>A drain: the proof that the replica has everything, while the volume's client stood still. Times are CLOCK_MONOTONIC of the
/// store, nanoseconds.</summary>
/// <param name="AskedAtNs">When it was asked for.</param>
/// <param name="ProvedAtNs">When it was proved.</param>
/// <param name="Proof">What both sites were.</param>
public sealed record DrainTimeInfo(long AskedAtNs, long ProvedAtNs, DrainProofInfo Proof);

/// <summary>Records that only this site has, and that no owner's history goes on from: a tail of its log that was put aside.</summary>
/// <param name="Number">Its number at this store.</param>
/// <param name="From">The last common point.</param>
/// <param name="Last">Its last point.</param>
/// <param name="Records">How many records.</param>
/// <param name="Bytes">Bytes that they wrote.</param>
public sealed record BranchInfo(int Number, LogPointInfo From, LogPointInfo Last, long Records, long Bytes);

/// <summary>Body of <c>POST /v1/volumes/{name}/promote</c>: a person makes the copy the owner, because the owner's site is lost.</summary>
/// <param name="Force">The volume's name, where it is done although something is lost by it; null = it is refused then.</param>
/// <param name="Client">Who may write from then on; null = nobody before a grant.</param>
/// <param name="Epoch">The epoch, more than any that this store has seen; 0 = the next.</param>
public sealed record VolumePromoteRequest(string? Force = null, ClientIdentity? Client = null, ulong Epoch = 0);

/// <summary>Body of <c>POST /v1/volumes/{name}/resync</c>: a person has a copy made good again, or an ownership given up.</summary>
/// <param name="Force">The volume's name, where this store owns the volume: it gives that up; null = it is refused then.</param>
public sealed record VolumeResyncRequest(string? Force = null);

/// <summary>Body of <c>POST /v1/volumes/{name}/resize</c>: the volume gets larger, here and at its replica.</summary>
/// <param name="SizeBytes">A multiple of 4096, not less than it has.</param>
/// <param name="Reconnect">True: its clients are disconnected then, so that those that connect again see the new size.</param>
public sealed record VolumeResizeRequest(long SizeBytes, bool Reconnect = false);

/// <summary>Body of <c>POST /v1/volumes</c>.</summary>
/// <param name="Name">1 to 63 of a-z, 0-9, '.', '_' and '-', the first a letter or digit.</param>
/// <param name="SizeBytes">A multiple of 4096, more than 0.</param>
/// <param name="Mode">The mode.</param>
/// <param name="Replica">True: it follows another site's volume; <paramref name="Id"/> is that volume's.</param>
/// <param name="Id">Its identity; null = a new one.</param>
/// <param name="Image">Absolute path of a raw image or block device that is there, whose contents it has from the beginning; its size is
/// the volume's, and <paramref name="SizeBytes"/> is 0. Null = it is made, full of zeros.</param>
public sealed record VolumeRequest(
    string Name, long SizeBytes, ReplicationMode Mode = ReplicationMode.Async, bool Replica = false, Guid? Id = null, string? Image = null);

/// <summary>Body of <c>PUT /v1/volumes/{name}/mode</c>. Answered when the mode is reached.</summary>
/// <param name="Epoch">Epoch of the group.</param>
/// <param name="Mode">The mode; null = that of its configuration, which holds while no migration says otherwise.</param>
/// <param name="TimeoutMs">Longest wait for it, milliseconds, 1 to 3600000.</param>
public sealed record VolumeModeRequest(ulong Epoch, ReplicationMode? Mode = null, int TimeoutMs = 60_000);

/// <summary>Body of <c>POST /v1/volumes/{name}/{order}</c>: an order of the manager.</summary>
/// <param name="Epoch">Epoch of the group; a lower one than the highest seen is refused (409 stale-epoch).</param>
/// <param name="Migration">Id of the migration, for logs and events.</param>
/// <param name="Client">Grant: who may write.</param>
/// <param name="Generation">Grant: number of the grant within its epoch.</param>
/// <param name="Expected">Grant: what the sealed owner had; null = nobody knows (an outage).</param>
/// <param name="IsStale">Grant: the manager has it on record that this copy is stale.</param>
/// <param name="ForcedBy">Grant: the operator's words; null = it is not forced.</param>
public sealed record VolumeOrderRequest(
    ulong Epoch, string Migration, ClientIdentity? Client = null, uint Generation = 0, LogPointInfo? Expected = null, bool IsStale = false,
    string? ForcedBy = null);

/// <summary>Answer to an order, given when its effect is on disk.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Order">The order.</param>
/// <param name="Epoch">Highest epoch seen.</param>
/// <param name="Role">The role now.</param>
/// <param name="Repeated">It had been carried out before.</param>
/// <param name="SealedAt">Seal and release: the last point.</param>
/// <param name="Verdict">Void only.</param>
public sealed record VolumeOrderReply(
    string Volume, OwnershipOrderKind Order, ulong Epoch, OwnerRole Role, bool Repeated, LogPointInfo? SealedAt = null,
    GrantVerdict? Verdict = null);

/// <summary>A store's report to the manager, made again until it is confirmed: <c>POST /v1/volumes/{id}/stale</c> of the manager.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Epoch">The owner's epoch; another than that on record is refused.</param>
/// <param name="Generation">Number of the report within the epoch; a lower one than the highest seen changes nothing.</param>
/// <param name="StaleFrom">First sequence that may be missing at the replica; null = the report of this number is over.</param>
/// <param name="Name">The volume's name, for people; null = not said.</param>
public sealed record StaleReport(Guid Volume, ulong Epoch, ulong Generation, ulong? StaleFrom, string? Name = null);

/// <summary>What a manager has on record of a volume: <c>GET /v1/volumes</c> of the manager, and its answer to a store's report.</summary>
/// <param name="Volume">The volume's identity.</param>
/// <param name="Name">Its name; null = not known.</param>
/// <param name="Epoch">Its owner's epoch, as stores count.</param>
/// <param name="Generation">Highest number of a report within the epoch; 0 = there was none.</param>
/// <param name="StaleFrom">First sequence that may be missing at the replica; null = it is not stale.</param>
/// <param name="Since">Since when (ISO 8601, UTC); null = it is not stale.</param>
/// <param name="By">Who reported last.</param>
public sealed record VolumeMarkInfo(
    Guid Volume, string? Name, ulong Epoch, ulong Generation, ulong? StaleFrom, string? Since, string? By);
