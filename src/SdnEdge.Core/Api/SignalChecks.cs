using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Api;

/// <summary>
/// What can be wrong with a signal by itself, before any state is looked at. Gives all errors at once; an empty list means
/// that the request has everything its signal needs.
/// </summary>
public static class SignalChecks
{
    /// <summary>Most prefixes of one migration.</summary>
    public const int MaxPrefixes = 1_000_000;

    /// <summary>Longest migration id.</summary>
    public const int MaxIdLength = 64;

    /// <summary>Checks the id and the body of a signal.</summary>
    public static IReadOnlyList<ProblemError> Check(string id, SignalKind kind, SignalRequest request)
    {
        var errors = new List<ProblemError>();
        if (id.Length is 0 or > MaxIdLength || !id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            errors.Add(new ProblemError("id", $"'{id}' is not a migration id; use 1 to {MaxIdLength} letters, digits, dashes, dots or underscores"));
        if (request.Epoch < 1) errors.Add(new ProblemError("/epoch", $"{request.Epoch} is not an epoch; send a number from 1, higher for each new attempt"));
        if (kind == SignalKind.Prepare)
        {
            CheckPrepare(request, errors);
        }
        else
        {
            Unwanted("/prefixes", request.Prefixes is not null);
            Unwanted("/tunnelKey", request.TunnelKey is not null);
            Unwanted("/peer", request.Peer is not null);
            Unwanted("/hold", request.Hold is not null);
        }

        if (kind is not (SignalKind.Advertise or SignalKind.Switch)) Unwanted("/localPref", request.LocalPref is not null && kind != SignalKind.Prepare);
        if (request.Force && kind != SignalKind.Teardown) errors.Add(new ProblemError("/force", $"does not belong to {kind.ToString().ToLowerInvariant()}; only a teardown can be forced"));
        return errors;

        void Unwanted(string pointer, bool there)
        {
            if (there) errors.Add(new ProblemError(pointer, $"does not belong to {kind.ToString().ToLowerInvariant()}; it is said once, with {(pointer == "/localPref" ? "switch or advertise" : "prepare")}"));
        }
    }

    private static void CheckPrepare(SignalRequest request, List<ProblemError> errors)
    {
        if (request.Role is null) errors.Add(new ProblemError("/role", "is missing; send source to the PE that has the server now, target to the PE that will have it"));
        if (request.TunnelKey is null) errors.Add(new ProblemError("/tunnelKey", "is missing; send the same unused GRE key (0 to 4294967295) to both PEs"));
        if (!IpAddress.TryParse(request.Peer, out IpAddress peer) || peer.IsMulticast || peer.Bits == 0)
            errors.Add(new ProblemError("/peer", $"{Quote(request.Peer)} is not the other PE's loopback address; send e.g. 10.255.0.2"));
        if (request.Prefixes is not { Count: > 0 })
        {
            errors.Add(new ProblemError("/prefixes", "is missing or empty; send the moving prefixes, e.g. [{\"prefix\": \"10.1.1.10/32\", \"port\": \"dc\"}]"));
        }
        else if (request.Prefixes.Count > MaxPrefixes)
        {
            errors.Add(new ProblemError("/prefixes", $"{request.Prefixes.Count} prefixes; one migration moves at most {MaxPrefixes}"));
        }
        else
        {
            var seen = new HashSet<IpPrefix>();
            for (int i = 0; i < request.Prefixes.Count && errors.Count < 100; i++) CheckPrefix(request.Prefixes[i], $"/prefixes/{i}", seen, errors);
        }

        if (request.Hold is not { } hold) return;
        if (request.Role == MigrationRole.Source) errors.Add(new ProblemError("/hold", "is for the target only; the source holds nothing"));
        if (hold.MaxBytes is < 65536 or > 16L << 30) errors.Add(new ProblemError("/hold/maxBytes", $"{hold.MaxBytes} is out of range; 65536 to 17179869184"));
        if (hold.MaxPackets is < 1 or > 100_000_000) errors.Add(new ProblemError("/hold/maxPackets", $"{hold.MaxPackets} is out of range; 1 to 100000000"));
        if (hold.MaxMilliseconds is < 1 or > 600_000) errors.Add(new ProblemError("/hold/maxMilliseconds", $"{hold.MaxMilliseconds} is out of range; 1 to 600000"));
        if (hold.ReleasePacketsPerSecond is < 0 or > 100_000_000) errors.Add(new ProblemError("/hold/releasePacketsPerSecond", $"{hold.ReleasePacketsPerSecond} is out of range; 0 (no pace) to 100000000"));
    }

    private static void CheckPrefix(MovingPrefix moving, string pointer, HashSet<IpPrefix> seen, List<ProblemError> errors)
    {
        bool good = IpPrefix.TryParse(moving.Prefix, out IpPrefix prefix);
        if (!good) errors.Add(new ProblemError($"{pointer}/prefix", $"{Quote(moving.Prefix)} is not a prefix; write it as 10.1.1.10/32, with no host bits set"));
        else if (!seen.Add(prefix)) errors.Add(new ProblemError($"{pointer}/prefix", $"'{prefix}' is there twice"));
        if (string.IsNullOrEmpty(moving.Port)) errors.Add(new ProblemError($"{pointer}/port", "is missing; name the port on this PE where the server is or will be"));
        if (moving.NextHop is null) return;
        if (!IpAddress.TryParse(moving.NextHop, out IpAddress hop)) errors.Add(new ProblemError($"{pointer}/nextHop", $"'{moving.NextHop}' is not an address"));
        else if (good && hop.Family != prefix.Address.Family) errors.Add(new ProblemError($"{pointer}/nextHop", $"'{moving.NextHop}' is not of the prefix's family"));
    }

    private static string Quote(string? text) => text is null ? "nothing" : $"'{text}'";
}
