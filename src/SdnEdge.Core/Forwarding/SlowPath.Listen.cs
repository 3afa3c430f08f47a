using SdnEdge.Core.Fib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Forwarding;

/// <content>What others say on the link: ARP and neighbour discovery frames.</content>
public sealed partial class SlowPath
{
    /// <summary>
    /// An ARP frame (RFC 826, in its order): who is in the table is updated; if we are the target the sender is added; if it
    /// is a request for an address of ours on that port it is answered. A gratuitous ARP thus moves a known neighbour and
    /// creates none.
    /// </summary>
    /// <param name="port">Port it came in on.</param>
    /// <param name="frame">The frame.</param>
    /// <param name="l3Offset">Where the ARP packet starts.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public SlowPathVerdict Arp(int port, ReadOnlySpan<byte> frame, int l3Offset, long now, SlowPathActions actions)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on)) return Tally(SlowPathVerdict.UnknownPort);
        if ((uint)l3Offset > (uint)frame.Length
            || !ArpView.TryParse(frame[l3Offset..], out ArpView arp)) return Tally(SlowPathVerdict.Malformed);
        if (arp.Operation is not (ArpOperation.Request or ArpOperation.Reply)) return Tally(SlowPathVerdict.Ignored);
        MacAddress mac = arp.SenderMac;
        IpAddress sender = arp.Sender, target = arp.Target;
        if (mac.IsMulticast || mac.Value == 0 || sender.IsMulticast || sender.V4 == uint.MaxValue) return Tally(SlowPathVerdict.Malformed);
        if (mac == on.Mac) return Tally(SlowPathVerdict.Ignored); // our own, come back
        if (on.Owns(sender)) return Tally(SlowPathVerdict.AddressConflict);

        bool forUs = on.Owns(target);
        bool isProbe = sender.V4 == 0; // somebody asks whether the address is free (RFC 5227 1.1)
        bool proxied = !forUs && !isProbe && sender != target && AnswersFor(on, target);
        bool noted = false;
        if (!isProbe && !on.IsDirectedBroadcast(sender))
        {
            // One that is on no subnet of the port is known because a route says that it is on the link, and it was asked for.
            bool mayBeNew = (forUs || proxied) && on.IsOnLink(sender);
            if (!_neighbors.TryGetValue((port, sender), out Neighbor? neighbor) && mayBeNew) neighbor = Add(port, sender);
            if (neighbor is not null)
            {
                // A reply to us confirms that it hears us; a request or a gratuitous ARP only says where it is.
                Learn(neighbor, mac, confirmed: arp.Operation == ArpOperation.Reply && forUs, now, actions);
                noted = true;
            }
            else if (mayBeNew && arp.Operation != ArpOperation.Request)
            {
                return Tally(SlowPathVerdict.TableFull);
            }
        }

        if (arp.Operation != ArpOperation.Request || !(forUs || proxied)) return Tally(noted ? SlowPathVerdict.Noted
            : SlowPathVerdict.Ignored);
        SendArp(on, new ArpPacket(ArpOperation.Reply, on.Mac, target, mac, sender), mac, actions);
        AdvertisementsSent++;
        return Tally(SlowPathVerdict.Answered);
    }

    // The answer of a proxy: for the router's own kernel always, for others in the place of a host that is not on its link.
    private bool AnswersFor(SlowPathPort on, IpAddress target)
        => on.AnswersForAll || (on.IsOnLink(target) && IsElsewhere?.Invoke(on.Index, target) == true);

    /// <summary>A neighbour discovery packet (RFC 4861 7): solicitations for us are answered, advertisements move the neighbour
    /// on.</summary>
    /// <param name="port">Port it came in on.</param>
    /// <param name="frame">The frame.</param>
    /// <param name="l3Offset">Where the IPv6 header starts.</param>
    /// <param name="now">Nanoseconds.</param>
    /// <param name="actions">Where what is to be done is appended.</param>
    public SlowPathVerdict NeighborDiscovery(int port, ReadOnlySpan<byte> frame, int l3Offset, long now, SlowPathActions actions)
    {
        if (!_ports.TryGetValue(port, out SlowPathPort? on)) return Tally(SlowPathVerdict.UnknownPort);
        if ((uint)l3Offset > (uint)frame.Length || !IpPacketView.TryParse(frame[l3Offset..], out IpPacketView ip)
            || ip.Family != IpFamily.V6 || ip.Protocol != IpProtocol.Icmpv6) return Tally(SlowPathVerdict.Malformed);
        if (ip.HopLimit != 255) return Tally(SlowPathVerdict.BadHopLimit);
        if (ip.IsFragment) return Tally(SlowPathVerdict.Fragment); // never fragmented (RFC 6980)
        if (!IcmpView.TryParse(ip.Payload, out IcmpView icmp)) return Tally(SlowPathVerdict.Malformed);
        if (!icmp.ChecksumIsValid(ip.Source, ip.Destination)) return Tally(SlowPathVerdict.BadChecksum);
        if (!NdpView.TryParse(ip.Payload, out NdpView nd) || ip.Source.IsMulticast) return Tally(SlowPathVerdict.Malformed);
        return Tally(nd.Type switch
        {
            Icmpv6Type.NeighborSolicitation => Solicitation(on, ip, nd, frame, l3Offset, now, actions),
            Icmpv6Type.NeighborAdvertisement => Advertisement(on, ip, nd, now, actions),
            Icmpv6Type.RouterSolicitation => RouterSolicited(on, ip, nd, now),
            Icmpv6Type.RouterAdvertisement => RouterAdvertised(on, ip, nd, now, actions),
            _ => SlowPathVerdict.Ignored,
        });
    }

    private SlowPathVerdict Solicitation(SlowPathPort on, in IpPacketView ip, NdpView nd, ReadOnlySpan<byte> frame, int l3Offset, long now,
        SlowPathActions actions)
    {
        bool isProbe = ip.Source.Bits == 0; // duplicate address detection (RFC 4862 5.4.3)
        MacAddress? mac = nd.SourceLinkLayer;
        if (isProbe && (mac is not null || ip.Destination != Ipv6Addresses.SolicitedNode(nd.Target))) return SlowPathVerdict.Malformed;
        if (mac is { } given && (given.IsMulticast || given.Value == 0)) return SlowPathVerdict.Malformed;
        bool ours = on.Owns(nd.Target);
        if (on.Owns(ip.Source)) return mac == on.Mac ? SlowPathVerdict.Ignored : SlowPathVerdict.AddressConflict;
        if (!ours && (isProbe || ip.Source == nd.Target || !AnswersFor(on, nd.Target))) return SlowPathVerdict.Ignored;

        if (isProbe)
        {
            Advertise(on, nd.Target, nd.Target, Ipv6Addresses.AllNodes, Ipv6Addresses.MulticastMac(Ipv6Addresses.AllNodes),
                NeighborFlags.Router | NeighborFlags.Override, actions);
            AdvertisementsSent++;
            return SlowPathVerdict.Answered;
        }

        // Without the option the answer goes to where the frame came from.
        MacAddress to = mac ?? (l3Offset >= EthernetHeader.Size ? MacAddress.Read(frame[6..]) : default);
        if (to.IsMulticast || to.Value == 0) return SlowPathVerdict.Malformed;
        if (mac is { } known && on.IsOnLink(ip.Source))
        {
            if (!_neighbors.TryGetValue((on.Index, ip.Source), out Neighbor? neighbor)) neighbor = Add(on.Index, ip.Source);
            if (neighbor is not null) Learn(neighbor, known, confirmed: false, now, actions);
        }

        // In a host's place: it is no router, and what the host says itself counts more (RFC 4861 7.2.8).
        Advertise(on, nd.Target, ours || on.AnswersForAll ? nd.Target : on.LinkLocalAddress, ip.Source, to, ours || on.AnswersForAll
            ? NeighborFlags.Router | NeighborFlags.Solicited | NeighborFlags.Override : NeighborFlags.Solicited, actions);
        AdvertisementsSent++;
        return SlowPathVerdict.Answered;
    }

    // RFC 4861 7.2.5, its cases in its order.
    private SlowPathVerdict Advertisement(SlowPathPort on, in IpPacketView ip, NdpView nd, long now, SlowPathActions actions)
    {
        bool solicited = (nd.Flags & NeighborFlags.Solicited) != 0;
        bool overrides = (nd.Flags & NeighborFlags.Override) != 0;
        MacAddress? mac = nd.TargetLinkLayer;
        if (ip.Destination.IsMulticast && solicited) return SlowPathVerdict.Malformed;
        if (mac is { } given && (given.IsMulticast || given.Value == 0)) return SlowPathVerdict.Malformed;
        if (on.Owns(nd.Target)) return mac == on.Mac ? SlowPathVerdict.Ignored : SlowPathVerdict.AddressConflict;
        if (!_neighbors.TryGetValue((on.Index, nd.Target), out Neighbor? neighbor)) return SlowPathVerdict.Ignored;

        if (neighbor.Mac is not { } known)
        {
            if (mac is not { } first) return SlowPathVerdict.Ignored;
            Learn(neighbor, first, solicited, now, actions);
            return SlowPathVerdict.Noted;
        }

        bool differs = mac is { } said && said != known;
        if (differs && !overrides)
        {
            // Another answer is not believed, but doubt is cast on the one we have.
            if (neighbor.State == NeighborState.Reachable)
            {
                SetState(neighbor, NeighborState.Stale);
                Schedule(neighbor, now + _options.DelayNs);
                actions.NeighborChanged(on.Index, nd.Target, known, NeighborState.Stale);
            }

            return SlowPathVerdict.Noted;
        }

        Learn(neighbor, mac ?? known, solicited, now, actions);
        return SlowPathVerdict.Noted;
    }
}
