using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Api;

/// <summary>
/// What can be wrong with a signal by itself, before any state is looked at: the only place that checks it. Gives all errors
/// at once; an empty list means that the request has everything its signal needs. Names that only a PE knows (VRFs, ports) are
/// the PE's to check.
/// </summary>
public static class SignalChecks
{
    /// <summary>Most prefixes of one migration.</summary>
    public const int MaxPrefixes = 1_000_000;

    /// <summary>Longest migration id.</summary>
    public const int MaxIdLength = 64;

    /// <summary>Longest time that a PE waits for a signal to become possible, and for a migration to change, milliseconds.</summary>
    public const int MaxWaitMs = 10_000;

    /// <summary>Longest time that a target keeps back what its servers send first, milliseconds.</summary>
    public const int MaxKeepBackMs = 1_000;

    /// <summary>Most parts that one migration watches.</summary>
    public const int MaxWatched = 16;

    private const int MaxErrors = 100;

    /// <summary>Checks the id and the body of a signal.</summary>
    public static IReadOnlyList<ProblemError> Check(string id, SignalKind kind, SignalRequest request)
    {
        var errors = new List<ProblemError>();
        if (id.Length is 0 or > MaxIdLength || !id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            errors.Add(new ProblemError("id",
                $"'{id}' is not a migration id; use 1 to {MaxIdLength} letters, digits, dashes, dots or underscores"));
        if (request.Epoch < 1) errors.Add(new ProblemError("/epoch",
            $"{request.Epoch} is not an epoch; send a number from 1, higher for each new attempt"));
        if (kind == SignalKind.Prepare)
        {
            CheckPrepare(request, errors);
        }
        else
        {
            // An abort or teardown may say of what, so that the prefixes are known when the migration is not.
            if (kind is not (SignalKind.Abort or SignalKind.Teardown)) Unwanted("/prefixes", request.Prefixes is not null);
            else if (request.Prefixes is not null) CheckPrefixes(request.Prefixes, needsPort: false, errors);
            Unwanted("/tunnelKey", request.TunnelKey is not null);
            Unwanted("/peer", request.Peer is not null);
            Unwanted("/hold", request.Hold is not null);
            Unwanted("/order", request.Order is not null);
            Unwanted("/watch", request.Watch is not null);
        }

        if (kind is not (SignalKind.Advertise or SignalKind.Switch)) Unwanted("/localPref", request.LocalPref is not null
            && kind != SignalKind.Prepare);
        if (request.Force && kind != SignalKind.Teardown) errors.Add(new ProblemError("/force",
            $"does not belong to {kind.ToString().ToLowerInvariant()}; only a teardown can be forced"));
        if (request.KeepBackMs is < 0 or > MaxKeepBackMs)
            errors.Add(new ProblemError("/keepBackMs", $"{request.KeepBackMs} is out of range; 0 to {MaxKeepBackMs} ms"));
        bool keepsBack = kind == SignalKind.Release || (kind == SignalKind.Prepare && request.Role == MigrationRole.Target);
        if (request.KeepBackMs != 0 && !keepsBack)
            errors.Add(new ProblemError("/keepBackMs", "is for prepare and release at the target only"));
        if (request.BackupLocalPref is not null && (kind != SignalKind.Prepare || request.Role != MigrationRole.Target))
            errors.Add(new ProblemError("/backupLocalPref", "is for prepare at the target only"));
        if (request.BackupLocalPref == 0)
            errors.Add(new ProblemError("/backupLocalPref", "0 is out of range; send 1 or more, and less than the source advertises with"));
        if (request.BackupExcept is not null) CheckExcept(request, errors);
        if (request.AfterMarkers && kind is not (SignalKind.Withdraw or SignalKind.Teardown))
            errors.Add(new ProblemError("/afterMarkers", "is for withdraw and teardown only"));
        if (request.AfterServers && kind != SignalKind.Release) errors.Add(new ProblemError("/afterServers", "is for release only"));
        if (request.WaitMs is < 0 or > MaxWaitMs)
            errors.Add(new ProblemError("/waitMs", $"{request.WaitMs} is out of range; 0 to {MaxWaitMs} ms"));
        return errors;

        void Unwanted(string pointer, bool there)
        {
            if (there) errors.Add(new ProblemError(pointer,
                $"does not belong to {kind.ToString().ToLowerInvariant()}; it is said once, with "
                + $"{(pointer == "/localPref" ? "switch or advertise" : "prepare")}"));
        }
    }

    private static void CheckPrepare(SignalRequest request, List<ProblemError> errors)
    {
        if (request.Role is null) errors.Add(new ProblemError("/role",
            "is missing; send source to the PE that has the server now, target to the PE that will have it"));
        if (request.TunnelKey is null) errors.Add(new ProblemError("/tunnelKey",
            "is missing; send the same unused GRE key (0 to 4294967295) to both PEs"));
        if (!IpAddress.TryParse(request.Peer, out IpAddress peer) || peer.IsMulticast || peer.Bits == 0)
            errors.Add(new ProblemError("/peer", $"{Quote(request.Peer)} is not the other PE's loopback address; send e.g. 10.255.0.2"));
        if (request.Order is { } order) CheckOrder(order, errors);
        CheckPrefixes(request.Prefixes, needsPort: true, errors);
        if (request.Watch is { } watch) CheckWatch(watch, request.Role, errors);
        if (request.Hold is not { } hold) return;
        if (request.Role == MigrationRole.Source) errors.Add(new ProblemError("/hold", "is for the target only; the source holds nothing"));
        if (hold.MaxBytes is < 65536
            or > 16L << 30) errors.Add(new ProblemError("/hold/maxBytes", $"{hold.MaxBytes} is out of range; 65536 to 17179869184"));
        if (hold.MaxPackets is < 1
            or > 100_000_000) errors.Add(new ProblemError("/hold/maxPackets", $"{hold.MaxPackets} is out of range; 1 to 100000000"));
        if (hold.MaxMilliseconds is < 1
            or > 600_000) errors.Add(new ProblemError("/hold/maxMilliseconds", $"{hold.MaxMilliseconds} is out of range; 1 to 600000"));
        if (hold.ReleasePacketsPerSecond is < 0
            or > 100_000_000) errors.Add(new ProblemError("/hold/releasePacketsPerSecond",
            $"{hold.ReleasePacketsPerSecond} is out of range; 0 (no pace) to 100000000, or leave it out"));
    }

    private static void CheckPrefixes(IReadOnlyList<MovingPrefix>? prefixes, bool needsPort, List<ProblemError> errors)
    {
        if (prefixes is not { Count: > 0 })
        {
            errors.Add(new ProblemError("/prefixes",
                "is missing or empty; send the moving prefixes, e.g. [{\"prefix\": \"10.1.1.10/32\", \"port\": \"dc\"}]"));
            return;
        }

        if (prefixes.Count > MaxPrefixes)
        {
            errors.Add(new ProblemError("/prefixes", $"{prefixes.Count} prefixes; one migration moves at most {MaxPrefixes}"));
            return;
        }

        var seen = new HashSet<IpPrefix>(prefixes.Count);
        for (int i = 0; i < prefixes.Count && errors.Count < MaxErrors; i++) CheckPrefix(prefixes[i], $"/prefixes/{i}", needsPort, seen,
            errors);
    }

    private static void CheckExcept(SignalRequest request, List<ProblemError> errors)
    {
        if (request.BackupLocalPref is null)
        {
            errors.Add(new ProblemError("/backupExcept", "is for a prepare with backupLocalPref only"));
            return;
        }

        HashSet<IpPrefix> known = [];
        foreach (MovingPrefix? moving in request.Prefixes ?? [])
        {
            if (IpPrefix.TryParse(moving?.Prefix, out IpPrefix prefix)) known.Add(prefix);
        }

        for (int i = 0; i < request.BackupExcept!.Count && errors.Count < MaxErrors; i++)
        {
            string? text = request.BackupExcept[i];
            if (!IpPrefix.TryParse(text, out IpPrefix prefix) || !known.Remove(prefix))
                errors.Add(new ProblemError($"/backupExcept/{i}", $"'{text}' is not one of the prefixes, or is there twice"));
        }
    }

    private static void CheckOrder(OrderOptions order, List<ProblemError> errors)
    {
        if (order.BoundMs is < 1 or > 60_000) errors.Add(new ProblemError("/order/boundMs", $"is {order.BoundMs}; send 1 to 60000 ms"));
        if (order.OthersHoldMs is < 0
            or > 60_000) errors.Add(new ProblemError("/order/othersHoldMs",
            $"is {order.OthersHoldMs}; send 0 (deliver as they come) to 60000 ms"));
        if (order.Ingress is null)
        {
            errors.Add(new ProblemError("/order/ingress", "is missing; send the ingress PEs that send flush markers, or an empty list"));
            return;
        }

        var seen = new HashSet<IpAddress>();
        for (int i = 0; i < order.Ingress.Count && errors.Count < MaxErrors; i++)
        {
            if (order.Ingress[i] is null) errors.Add(new ProblemError($"/order/ingress/{i}",
                "is null; send an object with name and loopbacks"));
            foreach (string text in order.Ingress[i]?.Loopbacks ?? [])
            {
                if (!IpAddress.TryParse(text, out IpAddress loopback)) errors.Add(new ProblemError($"/order/ingress/{i}/loopbacks",
                    $"'{text}' is no address"));
                else if (!seen.Add(loopback)) errors.Add(new ProblemError($"/order/ingress/{i}/loopbacks", $"{loopback} is there twice"));
            }
        }
    }

    private static void CheckWatch(IReadOnlyList<WatchedPart> watch, MigrationRole? role, List<ProblemError> errors)
    {
        if (role == MigrationRole.Target) errors.Add(new ProblemError("/watch", "is for the source only; the target does not switch"));
        if (watch.Count is 0 or > MaxWatched)
            errors.Add(new ProblemError("/watch", $"has {watch.Count} parts; send 1 to {MaxWatched}, or leave it out"));
        var seen = new HashSet<WatchedPart>();
        for (int i = 0; i < watch.Count && errors.Count < MaxErrors; i++)
        {
            if (WhyNotWatched(watch[i]) is { } wrong) errors.Add(new ProblemError($"/watch/{i}{wrong.Field}", wrong.Why));
            else if (!seen.Add(watch[i])) errors.Add(new ProblemError($"/watch/{i}", "is there twice"));
        }
    }

    /// <summary>What is wrong with a part that is to be watched, and in which field of it (as <c>/bfd</c>; empty = the whole); null: it can
    /// be.</summary>
    public static (string Field, string Why)? WhyNotWatched(WatchedPart? part)
    {
        string?[] said = [part?.Bfd, part?.Carrier, part?.Neighbor];
        if (said.Count(s => s is not null) != 1)
            return ("", "exactly one of bfd (the peer of a session), carrier (a network device) and neighbor (a host's address) is watched"
                + $", not {said.Count(s => s is not null)}");
        if (part!.Carrier is { } device)
        {
            return device.Length is 0 or > 15 || device.Any(c => char.IsWhiteSpace(c) || c == '/')
                ? ("/carrier", $"'{device}' is not the name of a network device; write 1 to 15 characters, such as eth1") : null;
        }

        string host = (part.Bfd ?? part.Neighbor)!;
        if (IpAddress.TryParse(host, out IpAddress address) && !address.IsMulticast && address.Bits != 0) return null;
        return part.Bfd is not null ? ("/bfd", $"'{host}' is not an IP address of a BFD peer; write it as 10.1.1.10")
            : ("/neighbor", $"'{host}' is not an IP address of a host; write it as 10.1.1.10");
    }

    private static void CheckPrefix(MovingPrefix moving, string pointer, bool needsPort, HashSet<IpPrefix> seen, List<ProblemError> errors)
    {
        if (moving is null)
        {
            errors.Add(new ProblemError(pointer, "is null; send an object with prefix and port"));
            return;
        }

        bool good = IpPrefix.TryParse(moving.Prefix, out IpPrefix prefix);
        if (!good) errors.Add(new ProblemError($"{pointer}/prefix",
            $"{Quote(moving.Prefix)} is not a prefix; write it as "
                + $"{(moving.Prefix?.Contains(':', StringComparison.Ordinal) == true ? "2001:db8::10/128" : "10.1.1.10/32")}, with no host "
                + "bits set"));
        else if (!seen.Add(prefix)) errors.Add(new ProblemError($"{pointer}/prefix", $"'{prefix}' is there twice"));
        if (needsPort && string.IsNullOrEmpty(moving.Port)) errors.Add(new ProblemError($"{pointer}/port",
            "is missing; name the port on this PE where the server is or will be"));
        if (moving.NextHop is null) return;
        if (!IpAddress.TryParse(moving.NextHop, out IpAddress hop)) errors.Add(new ProblemError($"{pointer}/nextHop",
            $"'{moving.NextHop}' is not an address"));
        else if (good && hop.Family != prefix.Address.Family) errors.Add(new ProblemError($"{pointer}/nextHop",
            $"'{moving.NextHop}' is not of the prefix's family"));
    }

    private static string Quote(string? text) => text is null ? "nothing" : $"'{text}'";
}
