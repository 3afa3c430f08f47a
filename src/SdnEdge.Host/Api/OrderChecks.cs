using SdnEdge.Core.Api;

namespace SdnEdge.Host.Api;

/// <summary>What can be wrong with an order by itself. Gives all errors at once.</summary>
internal static class OrderChecks
{
    /// <summary>Longest copy of a stand-in, milliseconds.</summary>
    public const int MaxCopyMs = 60_000;

    /// <summary>Longest time for which nobody may run, milliseconds.</summary>
    public const int MaxStopMs = 600_000;

    /// <summary>Checks what binds a server to a lease.</summary>
    public static IReadOnlyList<ProblemError> Check(ServerLeaseCall call)
    {
        var errors = new List<ProblemError>();
        if (call.Epoch < 1) errors.Add(new ProblemError("/epoch", $"{call.Epoch} is not an epoch; send the group's, from 1"));
        if (call.Group is null != call.Site is null)
            errors.Add(new ProblemError(call.Group is null ? "/group" : "/site", "is missing; send both, or none to bind it to no lease"));
        if (call.Group is { } group && !IsName(group)) errors.Add(new ProblemError("/group", Name("group", group)));
        if (call.Site is { } site && !IsName(site)) errors.Add(new ProblemError("/site", Name("site", site)));
        return errors;
    }

    /// <summary>Checks the body of an order.</summary>
    public static IReadOnlyList<ProblemError> Check(ServerOrder order, ServerOrderRequest request)
    {
        string word = Core.Migration.HostFsm.Word(order);
        var errors = new List<ProblemError>();
        int least = order == ServerOrder.Start ? 0 : 1;
        if (request.Epoch < least)
            errors.Add(new ProblemError("/epoch", $"{request.Epoch} is not an epoch; send the group's, from {least}"));
        if (!IsName(request.Migration)) errors.Add(new ProblemError("/migration", Name("migration", request.Migration)));
        if (order == ServerOrder.Prepare && request.Role is null)
            errors.Add(new ProblemError("/role",
                "is missing; send source to the host where the server runs, target to the host where it will"));
        if (order != ServerOrder.Prepare
            && request.Role is not null) errors.Add(new ProblemError("/role", $"does not belong to {word}; it is said once, with prepare"));
        if (order != ServerOrder.Prepare && request.PeerHost is not null)
            errors.Add(new ProblemError("/peerHost", $"does not belong to {word}; it is said once, with prepare"));
        if (request.PeerHost is { } peer && !IsName(peer)) errors.Add(new ProblemError("/peerHost", Name("host", peer)));
        if (request.CopyMs is < 0 or > MaxCopyMs) errors.Add(new ProblemError("/copyMs",
            $"{request.CopyMs} is out of range; 0 to {MaxCopyMs}"));
        else if (request.CopyMs > 0 && order is not (ServerOrder.Stop or ServerOrder.HandOver))
            errors.Add(new ProblemError("/copyMs", $"does not belong to {word}; it is how long the hand-over of a stand-in takes"));
        if (request.MaxStopMs is < 1 or > MaxStopMs) errors.Add(new ProblemError("/maxStopMs",
            $"{request.MaxStopMs} is out of range; 1 to {MaxStopMs}"));
        else if (request.MaxStopMs is not null && (order != ServerOrder.Prepare || request.Role != MigrationRole.Source))
            errors.Add(new ProblemError("/maxStopMs", "belongs to prepare of a source: there its memory is copied"));
        if (request.CopyBytesPerSecond is < 1)
            errors.Add(new ProblemError("/copyBytesPerSecond", $"{request.CopyBytesPerSecond} is out of range; 1 or more"));
        else if (request.CopyBytesPerSecond is not null && (order != ServerOrder.Prepare || request.Role != MigrationRole.Source))
            errors.Add(new ProblemError("/copyBytesPerSecond", "belongs to prepare of a source: there its memory is copied"));
        if (request.SyncNotBefore is not null && (order != ServerOrder.Prepare || request.Role != MigrationRole.Source))
            errors.Add(new ProblemError("/syncNotBefore", "belongs to prepare of a source: there its volumes are put into sync mode"));
        if (request.StaleVolumes is not null && order != ServerOrder.Activate)
            errors.Add(new ProblemError("/staleVolumes", $"does not belong to {word}; it is what activate must not have granted"));
        if (request.Cold && order is not (ServerOrder.Activate or ServerOrder.Resume))
            errors.Add(new ProblemError("/cold", $"does not belong to {word}; it is how a server of a fail-over is started"));
        return errors;
    }

    private static bool IsName(string? name)
        => name is { Length: > 0 and <= SignalChecks.MaxIdLength } && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');

    private static string Name(string what, string? name)
        => $"'{name}' is not the name of a {what}; use 1 to {SignalChecks.MaxIdLength} letters, digits, dashes, dots or underscores";
}
