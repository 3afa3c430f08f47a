using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>A next hop as UPDATE carries it.</summary>
/// <param name="Address">The address; none: there is none to tell.</param>
/// <param name="LinkLocal">The link-local address beside a global one, for a peer on the same link (RFC 2545 3); none: none.</param>
public readonly record struct BgpNextHop(IpAddress Address, IpAddress LinkLocal = default)
{
    /// <summary>Octets it takes: 4, 16 or 32.</summary>
    public int Size => Address.Size + (LinkLocal.IsNone ? 0 : LinkLocal.Size);

    /// <summary>A single address.</summary>
    public static implicit operator BgpNextHop(IpAddress address) => new(address);

    /// <summary>Writes it in network order.</summary>
    public void Write(Span<byte> into)
    {
        Address.Write(into);
        if (!LinkLocal.IsNone) LinkLocal.Write(into[Address.Size..]);
    }
}
