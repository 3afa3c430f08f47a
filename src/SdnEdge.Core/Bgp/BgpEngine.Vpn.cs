using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Routes of VRFs as VPNv4 and VPNv6 (RFC 4364, RFC 4659) over iBGP, for tunnels of GRE with a key (RFC 9012).
/// The way in: 1. the import policy, 2. the route targets: what no VRF takes is not kept, except on a route reflector,
/// 3. the table of VPN routes, 4. each VRF that takes it, with the tunnel as next hop.
/// The way out: what the VRFs advertise, with their distinguisher, targets and key; on a reflector the best of the table, as it came.
/// </summary>
public sealed partial class BgpEngine
{
    private readonly Dictionary<string, VpnVrf> _vrfs = [];
    private readonly List<(VpnPrefix Prefix, uint Label)> _vpnTaken = [];
    private readonly VpnTable _vpn;

    /// <summary>VPN prefixes kept.</summary>
    public int VpnPrefixes => _vpn.Prefixes;

    private bool Reflects => _peers.Values.Any(p => p.Origin.ReflectorClient && (p.Settings.Families & BgpFamilies.Vpn) != 0);

    /// <summary>
    /// Tells of a VRF, or of a change of its settings. When what it imports has changed, kept routes are looked at again, and
    /// peers are asked for those that were not kept (RFC 4364 4.3, RFC 2918).
    /// </summary>
    /// <param name="settings">Its settings.</param>
    /// <param name="rib">Its table.</param>
    /// <param name="now">CLOCK_MONOTONIC, nanoseconds.</param>
    public void SetVrf(VpnVrfSettings settings, LocRib rib, long now)
    {
        VpnVrfSettings? before = null;
        if (_vrfs.TryGetValue(settings.Name, out VpnVrf? vrf))
        {
            before = vrf.Settings;
            if (before == settings) return;
            foreach (IpPrefix prefix in vrf.Own.Keys) PublishVpn(new VpnPrefix(before.Rd, prefix), null, 0, null, default);
            vrf.Change(settings);
        }
        else
        {
            _vrfs.Add(settings.Name, vrf = new VpnVrf(settings, rib));
            rib.Reaches = address => _rib.Hops.FindVia(address)?.Resolved.IsUsable == true;
        }

        foreach ((IpPrefix prefix, VpnOwnRoute route) in vrf.Own) PublishOwn(vrf, prefix, route);
        if (before is not null && before.Import.SequenceEqual(settings.Import)) return;
        ImportAgain(now);
        foreach (BgpPeer peer in _peers.Values)
        {
            if (settings.Import.Count > 0 && peer.State == BgpState.Established) RequestRefresh(peer, BgpFamilies.Vpn);
        }
    }

    /// <summary>A VRF takes part no more: its routes are withdrawn from peers, those of others from it.</summary>
    public void RemoveVrf(string name, long now)
    {
        if (!_vrfs.Remove(name, out VpnVrf? vrf)) return;
        foreach (IpPrefix prefix in vrf.Own.Keys) PublishVpn(new VpnPrefix(vrf.Settings.Rd, prefix), null, 0, null, default);
        foreach (VpnPath path in _vpn.All) vrf.Rib.Withdraw(path.Origin, path.Prefix.Prefix, now);
        ImportAgain(now);
    }

    /// <summary>Advertises a prefix of a VRF. Repeating it with other values replaces it. Sent by the next <see cref="Flush"/>.</summary>
    /// <param name="vrf">A VRF that was told of.</param>
    /// <param name="prefix">Prefix.</param>
    /// <param name="localPref">LOCAL_PREF.</param>
    /// <param name="move">Number of the move that brought it here; 0: none.</param>
    /// <param name="learned">What a CE told of it; null: it is our own.</param>
    /// <param name="moveTag">Tag of that move (<see cref="Migration.MoveTag"/>); null: none.</param>
    public void AdvertiseVpn(string vrf, IpPrefix prefix, uint localPref, long move = 0, PathAttributes? learned = null,
        uint? moveTag = null)
    {
        VpnVrf known = _vrfs[vrf];
        var route = new VpnOwnRoute(localPref, move, learned, moveTag);
        known.Own[prefix] = route;
        PublishOwn(known, prefix, route);
    }

    /// <summary>Advertises a prefix of a VRF no longer. False when it was not advertised.</summary>
    public bool WithdrawVpn(string vrf, IpPrefix prefix)
    {
        if (!_vrfs.TryGetValue(vrf, out VpnVrf? known) || !known.Own.Remove(prefix)) return false;
        PublishBest(new VpnPrefix(known.Settings.Rd, prefix));
        return true;
    }

    /// <summary>Takes changes of the core's next hops to the VPN routes that rest on them.</summary>
    public void CoreChanged(ReadOnlySpan<RibChange> changes, long now)
    {
        foreach (ref readonly RibChange change in changes)
        {
            if (change.ChangedHop is not { Spec: { IsRecursive: true } spec } hop || _vpn.Prefixes == 0) continue;
            foreach (VpnVrf vrf in _vrfs.Values) vrf.Rib.RemoteChanged(spec.Address, now);
            foreach (VpnPrefix prefix in _vpn.All.Where(p => ReferenceEquals(p.Hop, hop)).Select(p => p.Prefix).Distinct().ToList())
            {
                if (_vpn.Reselect(prefix)) PublishBest(prefix);
            }
        }
    }

    private void HandleVpn(BgpPeer peer, scoped in UpdateMessage update, PathAttributes? attributes, long now)
    {
        var gone = new VpnNlriReader(update.VpnWithdrawn, update.VpnWithdrawnFamily);
        while (update.VpnWithdrawnFamily != 0 && gone.MoveNext()) RemoveVpn(peer, gone.Current, now);
        if (update.VpnEndOfRib != 0) TakeEndOfRib(peer, update.VpnEndOfRib.VpnFlag(), now);
        if (update.VpnFamily == 0) return;
        var reader = new VpnNlriReader(update.VpnNlri, update.VpnFamily);
        bool reflects = Reflects;
        while (reader.MoveNext())
        {
            if (attributes is null)
            {
                RemoveVpn(peer, reader.Current, now);
            }
            else if (peer.Import.Find(reader.Current.Prefix, attributes) is not { } term
                || _editor.Edit(term, attributes, toExternal: false) is not { } taken)
            {
                peer.Denied++;
                RemoveVpn(peer, reader.Current, now);
            }
            else if (!reflects && !IsImported(taken))
            {
                peer.VpnFiltered++;
                RemoveVpn(peer, reader.Current, now);
            }
            else
            {
                OfferVpn(peer, reader.Current, reader.Label, update.VpnNextHop, taken, now);
            }
        }
    }

    private void OfferVpn(BgpPeer peer, VpnPrefix prefix, uint label, IpAddress nextHop, PathAttributes attributes, long now)
    {
        VpnPath path = _vpn.Offer(prefix, peer.Origin, out bool added);
        path.Stale = false;
        if (!added && path.Attributes.Equals(attributes) && path.Label == label && path.Hop.Spec.Address == nextHop) return;
        if (added) peer.VpnReceived++;
        (path.Attributes, path.Label) = (attributes, label);
        IpAddress endpoint = default;
        if (label == VpnLabel.ImplicitNull
            && GreTunnelRoute.TryFind(attributes.Find(AttributeCode.TunnelEncapsulation), out GreTunnelRoute tunnel))
        {
            endpoint = tunnel.Endpoint.IsNone ? nextHop : tunnel.Endpoint;
            IpAddress ours = endpoint.IsV4 ? _settings.NextHopV4 : _settings.NextHopV6;
            if (ours.IsNone || endpoint == ours) endpoint = default;
            path.TunnelKey = tunnel.Key;
        }

        if (!endpoint.IsNone) NoteHop(peer, endpoint, attributes);
        _vpn.SetHops(path, nextHop, endpoint);
        Import(path, now);
        if (path.Endpoint is null && IsImported(attributes)) peer.VpnUnusable++;
        if (_vpn.Reselect(prefix) || path.Best) PublishBest(prefix);
    }

    private void RemoveVpn(BgpPeer peer, VpnPrefix prefix, long now)
    {
        if (_vpn.Find(prefix, peer.Origin) is { } path) RemoveVpn(peer, path, now);
    }

    private void RemoveVpn(BgpPeer peer, VpnPath path, long now)
    {
        peer.VpnReceived--;
        foreach (VpnVrf vrf in _vrfs.Values) vrf.Rib.Withdraw(path.Origin, path.Prefix.Prefix, now);
        _vpn.Remove(path);
        if (_vpn.Reselect(path.Prefix) || path.Best) PublishBest(path.Prefix);
    }

    /// <summary>Offers a route to the VRFs that take it, and takes it from the others.</summary>
    private void Import(VpnPath path, long now)
    {
        IpPrefix prefix = path.Prefix.Prefix;
        foreach (VpnVrf vrf in _vrfs.Values)
        {
            if (path.Endpoint is { Spec.Address: var endpoint } && vrf.Imports(path.Attributes))
                vrf.Rib.Offer(path.Origin, prefix,
                    HopSpec.Remote(VpnTunnelName.AsPort + VpnTunnelName.Of(endpoint, path.TunnelKey), endpoint, path.TunnelKey),
                    path.Attributes, now);
            else
                vrf.Rib.Withdraw(path.Origin, prefix, now);
        }
    }

    private void ImportAgain(long now)
    {
        bool reflects = Reflects;
        foreach (VpnPath path in _vpn.All.ToList())
        {
            Import(path, now);
            if (reflects || IsImported(path.Attributes)) continue;
            BgpPeer? peer = _peers.Values.FirstOrDefault(p => ReferenceEquals(p.Origin, path.Session));
            if (peer is not null) RemoveVpn(peer, path, now);
        }
    }

    private bool IsImported(PathAttributes attributes)
    {
        foreach (VpnVrf vrf in _vrfs.Values)
        {
            if (vrf.Imports(attributes)) return true;
        }

        return false;
    }

    private void PublishOwn(VpnVrf vrf, IpPrefix prefix, VpnOwnRoute route) =>
        PublishVpn(new VpnPrefix(vrf.Settings.Rd, prefix), OwnAttributes(vrf, prefix, route), VpnLabel.ImplicitNull, null, default);

    private PathAttributes? OwnAttributes(VpnVrf vrf, IpPrefix prefix, VpnOwnRoute route)
    {
        IpAddress hop = OwnVpnHop(prefix.Family);
        return hop.IsNone || vrf.Settings.Export.Count == 0 ? null
            : _export.OwnVpn(route.LocalPref, route.MoveTag, route.Move, vrf.Settings.Export, new GreTunnelRoute(vrf.Settings.Key, hop),
                route.Learned);
    }

    /// <summary>One tunnel serves both families: over IPv4 wherever there is an IPv4 loopback (RFC 4659 3.2.1).</summary>
    private IpAddress OwnVpnHop(IpFamily family)
        => !_settings.NextHopV4.IsNone ? _settings.NextHopV4 : family == IpFamily.V6 ? _settings.NextHopV6 : default;

    /// <summary>Tells what is best for a prefix now: our own route, or on a reflector the best of the table.</summary>
    private void PublishBest(VpnPrefix prefix)
    {
        foreach (VpnVrf vrf in _vrfs.Values)
        {
            if (vrf.Settings.Rd == prefix.Rd && vrf.Own.ContainsKey(prefix.Prefix)) return;
        }

        VpnPath? best = _vpn.Best(prefix);
        PublishVpn(prefix, best?.Attributes, best?.Label ?? 0, best?.Session, best?.Hop.Spec.Address ?? default);
    }

    private void PublishVpn(VpnPrefix prefix, PathAttributes? attributes, uint label, RouteOrigin? from, IpAddress nextHop)
    {
        foreach (BgpPeer peer in _peers.Values)
        {
            if (peer.State == BgpState.Established) TellVpn(peer, prefix, attributes, label, from, nextHop);
        }
    }

    private void TellVpn(BgpPeer peer, VpnPrefix prefix, PathAttributes? attributes, uint label, RouteOrigin? from, IpAddress nextHop)
    {
        if ((peer.Negotiated!.Families & prefix.Prefix.Family.VpnFlag()) == 0) return;
        bool may = attributes is not null && !peer.External
            && (from is null || (!ReferenceEquals(from, peer.Origin) && !from.External
                && (from.ReflectorClient || peer.Origin.ReflectorClient)))
            && !BgpExport.IsHeldBack(attributes, external: false);
        PathAttributes? told = null;
        if (may && peer.Export.Find(prefix.Prefix, attributes!) is { } term)
            told = _editor.Edit(term, from is null ? attributes! : _export.Reflected(attributes!, from.PeerRouterId, nextHop),
                toExternal: false);
        peer.OutVpn.Set(prefix, told, label);
        peer.Dirty |= peer.OutVpn.Waiting > 0;
    }

    /// <summary>All that a peer is to know of VPN routes.</summary>
    private void TellAllVpn(BgpPeer peer)
    {
        if ((peer.Negotiated!.Families & BgpFamilies.Vpn) == 0) return;
        foreach (VpnPath path in _vpn.All)
        {
            if (path.Best) TellVpn(peer, path.Prefix, path.Attributes, path.Label, path.Session, path.Hop.Spec.Address);
        }

        foreach (VpnVrf vrf in _vrfs.Values)
        {
            foreach ((IpPrefix prefix, VpnOwnRoute route) in vrf.Own)
                TellVpn(peer, new VpnPrefix(vrf.Settings.Rd, prefix), OwnAttributes(vrf, prefix, route), VpnLabel.ImplicitNull, null,
                    default);
        }
    }

    /// <summary>True when nothing waits.</summary>
    private bool FlushVpn(BgpPeer peer)
    {
        ConnectionSide side = peer.Fsm.EstablishedSide;
        while (peer.OutVpn.Waiting > 0)
        {
            if (_wire.Unsent(peer, side) >= SendWindow) return false;
            if (!peer.OutVpn.Take(_vpnTaken, out PathAttributes? attributes)) return true;
            ReadOnlySpan<(VpnPrefix Prefix, uint Label)> routes = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_vpnTaken);
            Span<byte> into = _message;
            while (routes.Length > 0)
            {
                int length = attributes is null ? UpdateEncoder.WithdrawVpn(into, ref routes)
                    : _encoder.AnnounceVpn(into, attributes, peer.Negotiated!.FourOctetAs, OwnVpnHop(routes[0].Prefix.Prefix.Family),
                        ref routes);
                if (length == 0 && peer.Negotiated!.ExtendedMessages)
                {
                    length = _encoder.AnnounceVpn(LargeMessage, attributes!, peer.Negotiated.FourOctetAs,
                        OwnVpnHop(routes[0].Prefix.Prefix.Family), ref routes);
                    if (length > 0)
                    {
                        Send(peer, side, LargeMessage.AsSpan(0, length));
                        continue;
                    }
                }

                if (length == 0)
                {
                    peer.TooLarge += routes.Length;
                    foreach ((VpnPrefix prefix, _) in routes) peer.OutVpn.Forget(prefix);
                    length = UpdateEncoder.WithdrawVpn(into, ref routes);
                    attributes = null;
                }

                Send(peer, side, length);
            }
        }

        return true;
    }

    // What the tables of unicast and of VPNs have in common, by family.

    private void WithdrawAll(BgpPeer peer, BgpFamilies family, long now)
    {
        if (family.IsVpn()) SweepVpn(peer, family, staleOnly: false, now);
        else _rib.WithdrawAll(peer.Origin, family.Ip(), now);
    }

    private void WithdrawStale(BgpPeer peer, BgpFamilies family, long now)
    {
        if (family.IsVpn()) SweepVpn(peer, family, staleOnly: true, now);
        else _rib.WithdrawStale(peer.Origin, family.Ip(), now);
    }

    private void MarkStale(BgpPeer peer, BgpFamilies family)
    {
        if (!family.IsVpn())
        {
            _rib.MarkStale(peer.Origin, family.Ip());
            return;
        }

        foreach (VpnPath path in _vpn.All)
        {
            if (ReferenceEquals(path.Session, peer.Origin) && path.Prefix.Prefix.Family == family.Ip()) path.Stale = true;
        }
    }

    private void SweepVpn(BgpPeer peer, BgpFamilies family, bool staleOnly, long now)
    {
        if (peer.VpnReceived == 0) return;
        foreach (VpnPath path in _vpn.All.Where(p
            => ReferenceEquals(p.Session, peer.Origin) && p.Prefix.Prefix.Family == family.Ip() && (p.Stale || !staleOnly)).ToList())
            RemoveVpn(peer, path, now);
    }

    private static void Resend(BgpPeer peer, BgpFamilies family)
    {
        if (family.IsVpn()) peer.OutVpn.Resend(family.Ip());
        else peer.Out(family.Ip()).Resend();
    }
}
