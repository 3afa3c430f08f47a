using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <content>
/// Router advertisements (RFC 4861 6), on ports where a BGP peer is known by its link alone: it is to find us, and we it.
/// <list type="number">
/// <item>The first one goes at once, further ones after 0.75 to 1 of the port's interval.</item>
/// <item>A solicitation brings the next one forward: within 0.5 s, but never within 3 s of the one before (6.2.6).</item>
/// <item>Lifetime 0: we are a router, and nobody's default router. No prefix, no flag.</item>
/// <item>Another router's is checked by 6.1.2, and told with its link-local address.</item>
/// </list>
/// </content>
public sealed partial class SlowPath
{
    // MIN_DELAY_BETWEEN_RAS and MAX_RA_DELAY_TIME (RFC 4861 10).
    private const long BetweenNs = 3_000_000_000, AnswerWithinNs = 500_000_000;

    private const byte HopLimitForHosts = 64;

    private readonly Dictionary<int, Advertiser> _advertisers = []; // by port

    /// <summary>Router advertisements sent.</summary>
    public long RouterAdvertisementsSent { get; private set; }

    /// <summary>Router advertisements of others taken.</summary>
    public long RouterAdvertisementsReceived { get; private set; }

    /// <summary>Router solicitations taken.</summary>
    public long RouterSolicitationsReceived { get; private set; }

    private long NextAdvertisementAt
    {
        get
        {
            long next = long.MaxValue;
            foreach (Advertiser advertiser in _advertisers.Values) next = Math.Min(next, advertiser.DueAt);
            return next;
        }
    }

    private void SetAdvertiser(SlowPathPort port)
    {
        if (port.AdvertiseEveryNs == 0) _advertisers.Remove(port.Index);
        else _advertisers.TryAdd(port.Index, new Advertiser());
    }

    private void PollAdvertisers(long now, SlowPathActions actions)
    {
        foreach ((int index, Advertiser advertiser) in _advertisers)
        {
            if (advertiser.DueAt > now || !_ports.TryGetValue(index, out SlowPathPort? port)) continue;
            SendRouterAdvertisement(port, actions);
            advertiser.Count++;
            advertiser.NotBefore = now + BetweenNs;
            advertiser.DueAt = now + port.AdvertiseEveryNs - (long)(port.AdvertiseEveryNs / 4 * Share(port, advertiser));
        }
    }

    private void SendRouterAdvertisement(SlowPathPort port, SlowPathActions actions)
    {
        IpAddress source = port.LinkLocalAddress, to = Ipv6Addresses.AllNodes;
        const int Length = RouterAdvertisement.Size + NdpOption.LinkLayerSize;
        Span<byte> packet = Frame(port, Ipv6Addresses.MulticastMac(to), EtherType.Ipv6, Ipv6Header.Size + Length, actions);
        new Ipv6Header(source, to, IpProtocol.Icmpv6, HopLimit: 255, TrafficClass: InternetworkControl).Emit(packet, Length);
        Span<byte> message = packet[Ipv6Header.Size..];
        NdpOption.EmitLinkLayer(message[RouterAdvertisement.Size..], NdpOption.SourceLinkLayer, port.Mac);
        new RouterAdvertisement(HopLimitForHosts, Managed: false, OtherConfig: false, LifetimeSeconds: 0, ReachableMs: 0, RetransMs: 0)
            .Emit(message, source, to);
        RouterAdvertisementsSent++;
    }

    // RFC 4861 6.1.1; what holds for all of neighbour discovery was checked before.
    private SlowPathVerdict RouterSolicited(SlowPathPort on, in IpPacketView ip, NdpView nd, long now)
    {
        if (!_advertisers.TryGetValue(on.Index, out Advertiser? advertiser)) return SlowPathVerdict.Ignored;
        if (ip.Source.Bits == 0 && nd.TryFindOption(NdpOption.SourceLinkLayer, out _)) return SlowPathVerdict.Malformed;
        RouterSolicitationsReceived++;
        long answer = now + (long)(AnswerWithinNs * Share(on, advertiser));
        advertiser.DueAt = Math.Min(advertiser.DueAt, Math.Max(answer, advertiser.NotBefore));
        return SlowPathVerdict.Noted;
    }

    // RFC 4861 6.1.2.
    private SlowPathVerdict RouterAdvertised(SlowPathPort on, in IpPacketView ip, NdpView nd, long now, SlowPathActions actions)
    {
        if (!_advertisers.ContainsKey(on.Index)) return SlowPathVerdict.Ignored;
        MacAddress? mac = nd.SourceLinkLayer;
        if (!ip.Source.IsLinkLocal || mac is { IsMulticast: true } or { Value: 0 }) return SlowPathVerdict.Malformed;
        if (on.Owns(ip.Source)) return mac == on.Mac ? SlowPathVerdict.Ignored : SlowPathVerdict.AddressConflict;
        RouterAdvertisementsReceived++;
        if (mac is { } said)
        {
            // 6.3.4: the neighbour is known by it, and not confirmed.
            if (!_neighbors.TryGetValue((on.Index, ip.Source), out Neighbor? neighbor)) neighbor = Add(on.Index, ip.Source);
            if (neighbor is not null) Learn(neighbor, said, confirmed: false, now, actions);
        }

        actions.RouterHeard(on.Index, ip.Source);
        return SlowPathVerdict.Noted;
    }

    // From 0 to 1, another one for each port and each time: no two routers of a link fall into step.
    private static double Share(SlowPathPort port, Advertiser advertiser)
        => FlowHash.Of(port.LinkLocalAddress, default, 0, (uint)advertiser.Count) / 4294967296.0;

    /// <summary>A port that advertises. Due at once when it is new.</summary>
    private sealed class Advertiser
    {
        public long DueAt { get; set; } = long.MinValue;

        public long NotBefore { get; set; } = long.MinValue;

        public long Count { get; set; }
    }
}
