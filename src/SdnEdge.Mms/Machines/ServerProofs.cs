using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Machines;

/// <summary>What two hosts' words prove about a server.</summary>
public static class ServerProofs
{
    /// <summary>Null: the server runs at the one host under the epoch, and has neither a right to run nor a guest at the other. Else why
    /// not.</summary>
    /// <param name="here">The host where it is to run.</param>
    /// <param name="at">That host's word.</param>
    /// <param name="there">The other host.</param>
    /// <param name="other">The other host's word; null: it was given up, and proves nothing.</param>
    /// <param name="epoch">The epoch.</param>
    public static string? WhyNot(string here, ServerInfo at, string there, ServerInfo? other, long epoch)
    {
        ArgumentNullException.ThrowIfNull(at);
        if (at.State != ServerState.Running) return $"{at.Name} is {Model.Words.Of(at.State)} at "
            + $"{here}{(at.Fault is null ? "" : ": " + at.Fault)}";
        if (at.MayRun is not { } right
            || right < epoch) return $"{at.Name} runs at {here} under epoch {at.MayRun?.ToString() ?? "none"}, not {epoch}";
        if (other is null) return null;
        if (other.MayRun is { } two) return $"{there} may run {other.Name}, too, under epoch {two}";
        return other.State is ServerState.Absent ? null : $"{other.Name} is {Model.Words.Of(other.State)} at {there}";
    }
}
