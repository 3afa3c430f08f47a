using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>What names a peer: its address, and for a link-local one the port it is on, since every link may have the same.</summary>
/// <param name="Address">The peer's address.</param>
/// <param name="Zone">Name of the port (RFC 4007 11); null where the address alone is enough.</param>
public readonly record struct BgpPeerKey(IpAddress Address, string? Zone = null)
{
    /// <summary>A peer whose address is enough.</summary>
    public static implicit operator BgpPeerKey(IpAddress address) => new(address);

    /// <summary>The key of a peer, as its configuration names it.</summary>
    /// <param name="address">The peer's address.</param>
    /// <param name="port">The port that it is on, whether its address needs it or not; null: none.</param>
    public static BgpPeerKey Of(IpAddress address, string? port)
        => new(address, address is { IsV6: true, IsLinkLocal: true } ? port : null);

    /// <summary>Reads <c>192.0.2.1</c>, <c>2001:db8::1</c> or <c>fe80::1%core</c>.</summary>
    public static bool TryParse(string? text, out BgpPeerKey key)
    {
        int percent = text?.IndexOf('%', StringComparison.Ordinal) ?? -1;
        bool read = IpAddress.TryParse(percent < 0 ? text : text![..percent], out IpAddress address);
        key = new BgpPeerKey(address, percent < 0 ? null : text![(percent + 1)..]);
        return read && key.Zone is not "";
    }

    /// <summary>As it is written.</summary>
    public override string ToString() => Zone is null ? Address.ToString() : $"{Address}%{Zone}";
}

/// <summary>The link that a peer is on, one hop away: a port of ours.</summary>
/// <param name="Port">Name of the port.</param>
/// <param name="Addresses">Our addresses on it, each with the length of its subnet.</param>
/// <param name="LinkLocal">Our IPv6 link-local address on it; none where the port speaks no IPv6.</param>
public sealed record BgpLink(string Port, IReadOnlyList<PortAddress> Addresses, IpAddress LinkLocal = default)
{
    /// <summary>True when an address is on one of the link's subnets.</summary>
    public bool Covers(IpAddress address)
    {
        foreach (PortAddress own in Addresses)
        {
            if (own.Subnet.Contains(address)) return true;
        }

        return false;
    }

    /// <summary>True for an address of ours on the link.</summary>
    public bool Owns(IpAddress address)
    {
        foreach (PortAddress own in Addresses)
        {
            if (own.Address == address) return true;
        }

        return !LinkLocal.IsNone && LinkLocal == address;
    }

    /// <summary>Our address of a family to be reached by: the session's own end if it is of that family, else the first; none: there is
    /// none.</summary>
    public IpAddress AddressFor(IpFamily family, IpAddress local)
    {
        if (local.Family == family && !(local.IsV6 && local.IsLinkLocal) && Owns(local)) return local;
        foreach (PortAddress own in Addresses)
        {
            if (own.Address.Family == family && !(own.Address.IsV6 && own.Address.IsLinkLocal)) return own.Address;
        }

        return default;
    }

    /// <summary>True when both say the same.</summary>
    public bool Equals(BgpLink? other)
        => other is not null && Port == other.Port && LinkLocal == other.LinkLocal && Addresses.SequenceEqual(other.Addresses);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Port, LinkLocal, Addresses.Count);
}
