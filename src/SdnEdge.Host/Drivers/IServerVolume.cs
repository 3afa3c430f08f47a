using SdnEdge.Core.Api;

namespace SdnEdge.Host.Drivers;

/// <summary>How far a volume's replica is.</summary>
/// <param name="InSync">True: each write is answered only when the replica has it, and it has all that was written.</param>
/// <param name="LagBytes">What the replica lacks, bytes.</param>
/// <param name="NotConverging">Why it will not get in sync, with its numbers; null = it may.</param>
/// <param name="WasSync">True: writes were answered so before this was asked for.</param>
public sealed record VolumeProgress(bool InSync, long LagBytes, string? NotConverging = null, bool WasSync = false);

/// <summary>
/// A volume of a server, as this site's store has it. Each call is idempotent and returns when its effect is on the store's disk; one that
/// fails throws <see cref="DriverException"/>, <see cref="IOException"/> or <see cref="TimeoutException"/>. The rules R1 to R8 are those of
/// the hand-over, docs/design.md.
/// </summary>
public interface IServerVolume
{
    /// <summary>Its name at both sites.</summary>
    string Name { get; }

    /// <summary>The volume as the store has it, within a bound of its own: one that does not answer is a fault in it.</summary>
    Task<ServerVolumeInfo> InfoAsync(CancellationToken cancel);

    /// <summary>A move begins: older epochs are refused from now on (R1).</summary>
    Task PrepareAsync(long epoch, CancellationToken cancel);

    /// <summary>Source: asks that writes are answered when the replica has them; returns at once, with how far that is.</summary>
    Task<VolumeProgress> GetInSyncAsync(CancellationToken cancel);

    /// <summary>Source, of a move that is undone: back to when writes are answered otherwise.</summary>
    Task RestoreModeAsync(CancellationToken cancel);

    /// <summary>Source, while the server stands still: returns when the replica has proved that it has the same history and the same
    /// bytes.</summary>
    Task DrainAsync(long epoch, CancellationToken cancel);

    /// <summary>Source: no write is carried out any more; what comes waits. Returns the last one's
    /// sequence; null = the store does not say it.</summary>
    Task<ulong?> SealAsync(long epoch, CancellationToken cancel);

    /// <summary>Source, of a move that is undone: the store owns it under the higher epoch, and what waits is carried out (R2,
    /// R3).</summary>
    Task UnparkAsync(long epoch, CancellationToken cancel);

    /// <summary>Source, when the server runs at the target: what waits is refused for good.</summary>
    Task ReleaseAsync(long epoch, CancellationToken cancel);

    /// <summary>Target: the store owns it under this epoch, and only this process writes; null = nobody yet.</summary>
    /// <param name="epoch">The epoch.</param>
    /// <param name="process">The process.</param>
    /// <param name="stale">Volumes whose copy here is stale by the manager's record: the store grants none of them.</param>
    /// <param name="cancel">Ends it.</param>
    Task GrantAsync(long epoch, int? process, IReadOnlyList<Guid> stale, CancellationToken cancel);

    /// <summary>Target, of a move that is undone: older epochs are never granted here.</summary>
    Task CancelAsync(long epoch, CancellationToken cancel);
}
