using SdnEdge.Core.Replication;

namespace SdnEdge.Core.Api;

/// <summary>A volume of a server, as the store of the host's site has it: part of <see cref="ServerInfo"/>.</summary>
/// <param name="Name">Its name, the same at both sites.</param>
/// <param name="Id">Its identity, the same at both sites; null = the store does not say.</param>
/// <param name="SizeBytes">Its size; 0 = the store does not say.</param>
/// <param name="Store">The store's name; null = it never answered.</param>
/// <param name="Role">What the store is to it; null = it does not say.</param>
/// <param name="Epoch">Highest epoch that the store has seen for it: a store's epochs are the server's and one.</param>
/// <param name="Mode">Owner: the mode that is promised.</param>
/// <param name="InForce">Owner: the mode by which writes are answered now.</param>
/// <param name="Switching">Owner: the mode that a switch is armed for; null = none.</param>
/// <param name="Protection">Owner: what protection there is.</param>
/// <param name="InSync">Owner: in the promised mode, with equal content roots.</param>
/// <param name="Connected">Owner: the link to the replica is there.</param>
/// <param name="LagBytes">Owner: bytes that the replica lacks.</param>
/// <param name="LagSeconds">Owner: age of the oldest write that it lacks.</param>
/// <param name="Alarms">Owner: what is wrong with the replication.</param>
/// <param name="Fault">Why nothing, or not all, is known of it, for people; null = all is.</param>
public sealed record ServerVolumeInfo(
    string Name, Guid? Id = null, long SizeBytes = 0, string? Store = null, OwnerRole? Role = null, ulong Epoch = 0,
    ReplicationMode? Mode = null, ReplicationMode? InForce = null, ReplicationMode? Switching = null, Protection? Protection = null,
    bool InSync = false, bool Connected = false, long LagBytes = 0, double LagSeconds = 0, IReadOnlyList<ReplicationAlarm>? Alarms = null,
    string? Fault = null)
{
    /// <summary>True: the store says that there is no such volume.</summary>
    public bool IsMissing { get; init; }

    /// <summary>False: this store's copy is the only one; null = the store does not say.</summary>
    public bool? IsReplicated { get; init; }

    /// <summary>Epoch of the store's grant; 0 = it never was the owner.</summary>
    public ulong GrantedEpoch { get; init; }

    /// <summary>Not the owner: what the copy is.</summary>
    public CopyPhase? Phase { get; init; }

    /// <summary>Not the owner, while it is copied: bytes that are there.</summary>
    public long CopiedBytes { get; init; }

    /// <summary>Owner: first sequence that may be missing at the replica, by the record at the manager; null = none is.</summary>
    public ulong? StaleFrom { get; init; }

    /// <summary>Owner: most bytes that the replica may lack; 0 = no bound.</summary>
    public long LagBytesBound { get; init; }

    /// <summary>Owner: greatest age of what it may lack, seconds; 0 = no bound.</summary>
    public double LagSecondsBound { get; init; }

    /// <summary>Owner: round trip to the replica, milliseconds; 0 = not known.</summary>
    public double RoundTripMs { get; init; }

    /// <summary>Owner: what the link carries; 0 = not known.</summary>
    public long BytesPerSecond { get; init; }

    /// <summary>Owner: what the guest writes.</summary>
    public long WriteBytesPerSecond { get; init; }

    /// <summary>Mode, link and lag in words, or why they are not known.</summary>
    public string InWords()
    {
        if (Fault is { } fault) return fault;
        if (Role != OwnerRole.Owner)
            return $"{(Phase is { } phase ? Word(phase) : Word(Role ?? OwnerRole.Replica))} at {Store ?? "the store"}";
        if (IsReplicated == false) return "it has no replica";
        string mode = InForce is { } now ? Word(now) : "no mode";
        if (Switching is { } to && to != InForce) mode += $" to {Word(to)}";
        string lag = LagBytes == 0 ? "nothing behind" : string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"{LagBytes} bytes and {LagSeconds:0.0} s behind");
        return $"{mode}{(InSync ? ", in sync" : "")}{(Connected ? "" : ", no link")}, {lag}"
            + (StaleFrom is { } from ? $", its replica is stale from sequence {from} on" : "");
    }

    private static string Word<T>(T value) where T : struct, Enum
        => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>Of what a store says.</summary>
    /// <param name="store">The store's name.</param>
    /// <param name="volume">Its word.</param>
    public static ServerVolumeInfo Of(string? store, VolumeInfo volume)
    {
        ArgumentNullException.ThrowIfNull(volume);
        var info = new ServerVolumeInfo(volume.Name, volume.Id, volume.SizeBytes, store, volume.Role, volume.Epoch)
        {
            GrantedEpoch = volume.GrantedEpoch, Phase = volume.Replica?.Phase, CopiedBytes = volume.Replica?.CopiedBytes ?? 0,
            IsReplicated = volume.Replication is not null || volume.Replica is not null,
        };
        return volume.Replication is not { } at ? info : info with
        {
            Mode = at.Mode, InForce = at.InForce, Switching = at.Switching, Protection = at.Protection, InSync = at.InSync,
            Connected = at.Connected, LagBytes = at.Lag.Bytes, LagSeconds = at.Lag.Seconds, Alarms = at.Alarms, StaleFrom = at.StaleFrom,
            LagBytesBound = at.Lag.BytesBound, LagSecondsBound = at.Lag.SecondsBound, RoundTripMs = at.RoundTripMs,
            BytesPerSecond = at.BytesPerSecond, WriteBytesPerSecond = at.WriteBytesPerSecond,
        };
    }
}

/// <summary>What a host's agent has done with a volume of a server in a move: part of the answers to its orders. Times are CLOCK_MONOTONIC
/// of that host, nanoseconds; what an agent did before it was started again is not known.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="SyncAskedAtNs">Source: when it was asked for sync mode; null = it was not, or was in that mode before.</param>
/// <param name="InSyncAtNs">Source: when it was seen in sync.</param>
/// <param name="DrainMs">Source: how long the proof took that the replica has everything, milliseconds.</param>
/// <param name="SealedAt">Source: its last sequence.</param>
/// <param name="SealedAtNs">Source: when it was sealed.</param>
/// <param name="GrantedAtNs">Target: when the store owned it.</param>
/// <param name="RestoredAtNs">Source, of a move that was undone: when its mode was the configured one again.</param>
/// <param name="ReleasedAtNs">Source: when what waited there was refused for good.</param>
public sealed record VolumeStepInfo(
    string Volume, long? SyncAskedAtNs = null, long? InSyncAtNs = null, double? DrainMs = null, ulong? SealedAt = null,
    long? SealedAtNs = null, long? GrantedAtNs = null, long? RestoredAtNs = null, long? ReleasedAtNs = null);

/// <summary>A volume of a move: part of <see cref="MoveStatus"/>. Times are CLOCK_MONOTONIC of the host that did it, nanoseconds.</summary>
/// <param name="Server">Its server.</param>
/// <param name="Volume">The volume.</param>
/// <param name="SyncAskedAtNs">When the source's store was asked for sync mode; null = it was not, or is not known.</param>
/// <param name="InSyncAtNs">When it was seen in sync.</param>
/// <param name="DrainMs">How long the proof took that the replica has everything, milliseconds.</param>
/// <param name="SealedAt">Last sequence of the source: all that was written before the hand-over.</param>
/// <param name="SealedAtNs">When the source's store was sealed.</param>
/// <param name="GrantedAtNs">When the target's store owned it.</param>
/// <param name="ReleasedAtNs">When the source's store was released: a replica from then on.</param>
/// <param name="RestoredAtNs">Of a move that was undone: when the mode was the configured one again.</param>
/// <param name="SyncExposureMs">How long the guest's writes took a round trip longer because of the move, milliseconds: from the question
/// for sync mode to the stop, or until the configured mode was back. The target's store begins in its configured mode. Null = not known, or
/// not over.</param>
public sealed record VolumeMoveStatus(
    string Server, string Volume, long? SyncAskedAtNs, long? InSyncAtNs, double? DrainMs, ulong? SealedAt, long? SealedAtNs,
    long? GrantedAtNs, long? ReleasedAtNs, long? RestoredAtNs, double? SyncExposureMs)
{
    /// <summary>The volume at the source's store, or at the target's when the server runs there, as the manager saw it last; null = it has
    /// not looked in this move, which is also so when the move has ended.</summary>
    public ServerVolumeInfo? Seen { get; init; }
}
