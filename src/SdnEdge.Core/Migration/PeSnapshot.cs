using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>Where the servers behind a prefix are, as a migration that was executed here says.</summary>
/// <param name="IsHere">True: at this PE, which advertises it. False: they left, and this PE's own routes to it are out of use.</param>
/// <param name="Port">Here: the attachment port.</param>
/// <param name="NextHop">Here: the server or CE on it; null when it is a host on the port's own subnet.</param>
/// <param name="LocalPref">Here: LOCAL_PREF of the advertisement.</param>
/// <param name="Move">Here: number of the move in the advertisement.</param>
public sealed record PrefixPlace(bool IsHere, string? Port = null, string? NextHop = null, uint LocalPref = 0, long Move = 0)
{
    /// <summary>They left.</summary>
    public static PrefixPlace Away { get; } = new(false);
}

/// <summary>What a PE keeps of a prefix for ever, once a signal has named it.</summary>
/// <param name="Vrf">VRF.</param>
/// <param name="Prefix">The prefix.</param>
/// <param name="Epoch">Highest epoch seen: signals with a lower one are refused.</param>
/// <param name="By">The migration of that epoch.</param>
/// <param name="Last">The last migration that ended here; null: none has.</param>
/// <param name="Ended">How it ended: torn down or aborted.</param>
/// <param name="Place">Where the servers are; null: as the configuration has it.</param>
public readonly record struct PrefixRecord(
    string Vrf, IpPrefix Prefix, long Epoch = 0, string By = "", string? Last = null, PeMigrationState? Ended = null,
        PrefixPlace? Place = null);

/// <summary>A migration with the answers that were given.</summary>
/// <param name="Migration">The migration.</param>
/// <param name="Replies">Answers to the signals that were executed.</param>
public sealed record KeptMigration(PeMigration Migration, IReadOnlyList<SignalReply> Replies);

/// <summary>All that outlives a restart of a PE. Immutable: it may be written by another thread than the machine's.</summary>
/// <param name="Migrations">Migrations, oldest first.</param>
/// <param name="Prefixes">Prefixes that signals have named.</param>
/// <param name="Ended">Those of the migrations that are over, in the order of their ends: the first is forgotten first. Null: an earlier
/// version wrote it, and the records of prefixes lack what the last signal changed.</param>
public sealed record PeSnapshot(
    IReadOnlyList<KeptMigration> Migrations, IReadOnlyList<PrefixRecord> Prefixes, IReadOnlyList<string>? Ended = null);

/// <summary>What has to be carried out, after a restart, for a migration to be in the tables as it was.</summary>
/// <param name="Id">The migration; null: for prefixes whose migration is over.</param>
/// <param name="Commands">In order.</param>
public sealed record Restoration(string? Id, IReadOnlyList<PeCommand> Commands);
