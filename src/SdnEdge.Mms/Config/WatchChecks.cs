using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Mms.Config;

/// <summary>Whether what is to be watched can be.</summary>
public static class WatchChecks
{
    /// <summary>Null: it is said rightly. Else what is wrong, and what would be right.</summary>
    public static string? WhyNot(WatchedPart part)
    {
        ArgumentNullException.ThrowIfNull(part);
        string?[] said = [part.Bfd, part.Carrier, part.Neighbor];
        if (said.Count(s => s is not null) != 1)
            return "exactly one of bfd (the peer of a session), carrier (a network device) and neighbor (a host's address) is watched";
        if ((part.Bfd ?? part.Neighbor) is { } address && !IpAddress.TryParse(address, out _))
            return $"'{address}' is not an IP address; write the {(part.Bfd is null ? "host's" : "BFD peer's")}, such as 10.1.1.10";
        return part.Carrier is { } device && (device.Length is 0 or > 15 || device.Any(c => c is '/' or ' '))
            ? $"'{device}' is not the name of a network device; write 1 to 15 characters, such as eth1" : null;
    }
}
