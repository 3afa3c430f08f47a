using SdnEdge.Core.Fib;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The way out: what each peer is to be told.
/// 1. Routes of our own, as <see cref="Advertise"/> names them, go to every peer. 2. A best route learnt by eBGP goes to every
/// other peer. 3. One learnt by iBGP goes to eBGP peers only (RFC 4271 9.2); iBGP peers are told instead
/// what this PE is a backup for (<see cref="AdvertiseBackup"/>). All of it as the export policy permits.
/// The next hop is ourselves: on the peer's link our address there, else the loopback. A reflected route keeps its own, and one
/// whose next hop is a neighbour on the link of an eBGP peer keeps that towards this peer (RFC 4271 5.1.3).
/// </summary>
public sealed partial class BgpEngine
{
    private const int TakeAtOnce = 8192;

    private readonly BgpExport _export;
    private readonly UpdateEncoder _encoder = new();
    private readonly Dictionary<IpPrefix, PathAttributes> _own = [];
    private readonly HashSet<IpPrefix> _leaving = [];
    private readonly Dictionary<IpPrefix, PathAttributes> _backups = [];
    private IpPrefix[] _taken = [];

    /// <summary>Prefixes advertised as our own, with their attributes.</summary>
    public IReadOnlyDictionary<IpPrefix, PathAttributes> Own => _own;

    /// <summary>Advertises a prefix as our own. Repeating it with other values replaces it. Sent by the next
    /// <see cref="Flush"/>.</summary>
    /// <param name="prefix">Prefix.</param>
    /// <param name="localPref">LOCAL_PREF towards iBGP peers.</param>
    /// <param name="moveTag">Tag of the move that brought it here (<see cref="Migration.MoveTag"/>); null: none.</param>
    /// <param name="move">Number of that move, 1 to <see cref="MobilitySequence.Max"/>; 0: none.</param>
    /// <param name="leaving">Its servers are about to leave for another PE: terms of policies may say so
    /// (<see cref="PolicyTerm.Ownership"/>).</param>
    public void Advertise(IpPrefix prefix, uint localPref, uint? moveTag = null, long move = 0, bool leaving = false)
    {
        if (leaving) _leaving.Add(prefix);
        else _leaving.Remove(prefix);
        if (move > 0) MoveDamping.Forget(prefix);
        PathAttributes attributes = _export.Own(localPref, moveTag, move);
        _own[prefix] = attributes;
        Publish(prefix, attributes, from: null, hop: null);
    }

    /// <summary>Advertises no longer. False when it was not advertised. Sent by the next <see cref="Flush"/>.</summary>
    public bool Withdraw(IpPrefix prefix)
    {
        if (!_own.Remove(prefix)) return false;
        _leaving.Remove(prefix);
        PublishLearnt(prefix);
        return true;
    }

    /// <summary>
    /// Advertises a prefix as a backup: to iBGP peers, which are told nothing of a best route that was learnt by iBGP (the field calls it
    /// "advertise best external"). The best route stays in use, and is told to other peers as before. An advertisement as our own
    /// (<see cref="Advertise(IpPrefix, uint, uint?, long, bool)"/>) takes its place while there is one. Sent by the next
    /// <see cref="Flush"/>.
    /// </summary>
    /// <param name="prefix">Prefix.</param>
    /// <param name="localPref">LOCAL_PREF, lower than the best route's.</param>
    public void AdvertiseBackup(IpPrefix prefix, uint localPref)
    {
        _backups[prefix] = _export.Own(localPref, moveTag: null, move: 0);
        if (!_own.ContainsKey(prefix)) PublishLearnt(prefix);
    }

    /// <summary>Is no backup for a prefix any longer. False when it was none. Sent by the next <see cref="Flush"/>.</summary>
    public bool WithdrawBackup(IpPrefix prefix)
    {
        if (!_backups.Remove(prefix)) return false;
        if (!_own.ContainsKey(prefix)) PublishLearnt(prefix);
        return true;
    }

    /// <summary>The lowest LOCAL_PREF with which a prefix of our own is told to the iBGP peers whose sessions are up and that take its
    /// family. Null: one of them is told nothing of it, there is no such peer, or it is not our own.</summary>
    public uint? ToldInside(IpPrefix prefix)
    {
        if (!_own.TryGetValue(prefix, out PathAttributes? own)) return null;
        uint? lowest = null;
        foreach (BgpPeer peer in _peers.Values)
        {
            if (peer.External || peer.State != BgpState.Established || (peer.Negotiated!.Families & prefix.Family.Flag()) == 0) continue;
            if (peer.NextHop(prefix.Family).Address.IsNone
                || Told(peer, prefix, own, OwnershipOf(prefix), reflectedFrom: null, hop: null)?.LocalPref is not { } pref) return null;
            lowest = Math.Min(lowest ?? pref, pref);
        }

        return lowest;
    }

    private void PublishLearnt(IpPrefix prefix)
    {
        RouteView? best = _rib.Best(prefix);
        bool learnt = best is { Origin.Source: RouteSource.Bgp };
        Publish(prefix, learnt ? best!.Value.Attributes : null, learnt ? best!.Value.Origin : null, best?.Hop);
    }

    /// <summary>Takes changes of the best routes (from <see cref="LocRib.TakeChanges"/>) to what peers are told.</summary>
    public void RibChanged(ReadOnlySpan<RibChange> changes)
    {
        while (changes.Length > 0)
        {
            ReadOnlySpan<RibChange> next = changes[..Math.Min(CacheLine.Ahead, changes.Length)];
            changes = changes[next.Length..];
            Prefetch(next);
            foreach (ref readonly RibChange change in next)
            {
                if (change.ChangedHop is { Resolved.IsUsable: false } gone) HopGone(gone);
                if (change.ChangedHop is not null || _own.ContainsKey(change.Prefix)) continue;
                bool learnt = change.Origin is { Source: RouteSource.Bgp };
                Publish(change.Prefix, learnt ? change.Attributes : null, learnt ? change.Origin : null, change.Native);
            }
        }
    }

    /// <summary>Packs and sends what waits, as far as the peers take it. True when some still waits: call again when
    /// <see cref="IBgpWire.Unsent"/> has gone down.</summary>
    public bool Flush()
    {
        bool waits = false;
        if (IsRestarting) return false;
        foreach (BgpPeer peer in _peers.Values)
        {
            if (!peer.Dirty || peer.State != BgpState.Established) continue;
            do peer.Dirty = !(FlushTable(peer, peer.OutV4, IpFamily.V4) & FlushTable(peer, peer.OutV6, IpFamily.V6) & FlushVpn(peer));
            while (!peer.Dirty && SendEnds(peer));
            waits |= peer.Dirty;
        }

        return waits;
    }

    /// <summary>True when nothing waits.</summary>
    private bool FlushTable(BgpPeer peer, IAdjRibOut table, IpFamily family)
    {
        BgpNextHop nextHop = peer.NextHop(family);
        ConnectionSide side = peer.Fsm.EstablishedSide;
        while (table.Waiting > 0)
        {
            if (_wire.Unsent(peer, side) >= SendWindow) return false;
            if (_taken.Length < TakeAtOnce && _taken.Length < table.Waiting) _taken =
                new IpPrefix[Math.Min(TakeAtOnce, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)table.Waiting))];
            int count = table.Take(_taken, out PathAttributes? attributes);
            ReadOnlySpan<IpPrefix> prefixes = _taken.AsSpan(0, count);
            while (prefixes.Length > 0)
            {
                int length = attributes is null
                    ? _encoder.Withdraw(_message, ref prefixes)
                    : _encoder.Announce(_message, attributes, peer.Negotiated!.FourOctetAs, nextHop, ref prefixes);
                if (length == 0 && peer.Negotiated!.ExtendedMessages)
                {
                    length = _encoder.Announce(LargeMessage, attributes!, peer.Negotiated.FourOctetAs, nextHop, ref prefixes);
                    if (length > 0)
                    {
                        Send(peer, side, LargeMessage.AsSpan(0, length));
                        continue;
                    }
                }

                if (length == 0)
                {
                    // Attributes that fill a message leave no room: the peer must not keep an older route instead.
                    peer.TooLarge += prefixes.Length;
                    foreach (IpPrefix prefix in prefixes) table.Forget(prefix);
                    length = _encoder.Withdraw(_message, ref prefixes);
                    attributes = null;
                }

                Send(peer, side, length);
            }
        }

        return true;
    }

    /// <summary>A session came up: everything it is to know waits, End-of-RIB behind it.</summary>
    private void FillOut(BgpPeer peer)
    {
        TellAll(peer);
        peer.EndOfRibDue = peer.Negotiated!.Families;
        peer.Dirty = true;
    }

    /// <summary>All that a peer is to know.</summary>
    private void TellAll(BgpPeer peer)
    {
        foreach ((IpPrefix prefix, PathAttributes attributes) in _own) Advertise(peer, prefix, attributes, from: null, hop: null);
        foreach (RouteView route in _rib.BestRoutes())
        {
            if (route.Origin.Source == RouteSource.Bgp && !_own.ContainsKey(route.Prefix)) Advertise(peer, route.Prefix, route.Attributes,
                route.Origin, route.Hop);
        }

        foreach (IpPrefix prefix in _backups.Keys)
        {
            if (!_own.ContainsKey(prefix) && _rib.Best(prefix) is not { Origin.Source: RouteSource.Bgp })
                Advertise(peer, prefix, attributes: null, from: null, hop: null);
        }

        TellAllVpn(peer);
    }

    private void Prefetch(ReadOnlySpan<RibChange> changes)
    {
        foreach (BgpPeer peer in _peers.Values)
        {
            if (peer.State != BgpState.Established) continue;
            peer.OutV4.Prefetch(changes);
            peer.OutV6.Prefetch(changes);
        }
    }

    private void Publish(IpPrefix prefix, PathAttributes? attributes, RouteOrigin? from, NextHop? hop)
    {
        foreach (BgpPeer peer in _peers.Values)
        {
            if (peer.State == BgpState.Established) Advertise(peer, prefix, attributes, from, hop);
        }
    }

    private void Advertise(BgpPeer peer, IpPrefix prefix, PathAttributes? attributes, RouteOrigin? from, NextHop? hop)
    {
        bool v4 = prefix.Family == IpFamily.V4;
        if ((peer.Negotiated!.Families & prefix.Family.Flag()) == 0) return;
        bool reflected = !peer.External && from is { External: false };
        bool may = attributes is not null
            && !peer.NextHop(prefix.Family).Address.IsNone
            && !ReferenceEquals(from?.Session, peer.Origin)
            && (!reflected || from!.ReflectorClient || peer.Origin.ReflectorClient)
            && !BgpExport.IsHeldBack(attributes, peer.External)
            && RoleRules.MayAdvertise(peer.Role, attributes)
            && peer.Settings.SiteOfOrigin?.IsOn(attributes) != true; // RFC 4364 7: never back to its site
        if (!may && !peer.External && from?.External != true && !_own.ContainsKey(prefix) && !peer.NextHop(prefix.Family).Address.IsNone
            && _backups.TryGetValue(prefix, out PathAttributes? backup))
        {
            (may, attributes, from, hop, reflected) = (true, backup, null, null, false);
        }

        IAdjRibOut table = v4 ? peer.OutV4 : peer.OutV6;
        table.Set(prefix, may ? Told(peer, prefix, attributes!, from is null ? OwnershipOf(prefix) : RouteOwnership.Learned,
            reflected ? from : null, hop) : null);
        peer.Dirty |= table.Waiting > 0;
    }

    private RouteOwnership OwnershipOf(IpPrefix own) => _leaving.Contains(own) ? RouteOwnership.Leaving : RouteOwnership.Own;

    private PathAttributes? Told(BgpPeer peer, IpPrefix prefix, PathAttributes attributes, RouteOwnership ownership,
        RouteOrigin? reflectedFrom, NextHop? hop)
    {
        if (peer.Export.Find(prefix, attributes, ownership) is not { } term) return null;
        PathAttributes told = reflectedFrom is not null
            ? _export.Reflected(attributes, reflectedFrom.PeerRouterId,
                CanTell(peer, prefix.Family, hop!.Spec.Address) ? hop.Spec.Address : default)
            : _export.For(peer.External, ForPath(peer, attributes), RoleRules.AddsOtcOnEgress(peer.Role));
        if (hop is not null && KeepsHop(peer, prefix.Family, hop.Spec.Address)) told = _export.WithNextHop(told, hop.Spec.Address);
        return _editor.Edit(term, told, peer.External);
    }

    private PathAttributes ForPath(BgpPeer peer, PathAttributes attributes) => peer.External
        && peer.Settings is { AsOverride: true } or { RemovePrivateAs: true }
        ? _export.Rewritten(attributes, peer.As, peer.Settings.AsOverride, peer.Settings.RemovePrivateAs) : attributes;

    /// <summary>RFC 4271 5.1.3: a third party's next hop, told to a peer that is on the same link; never the peer's own
    /// address.</summary>
    private static bool KeepsHop(BgpPeer peer, IpFamily family, IpAddress hop) => peer is { External: true, Settings: { NextHopSelf: false,
        Link: { } link } settings }
        && hop.Family == family && settings.Ttl is null or 1 && hop != settings.Address && !IsLinkLocal(hop) && link.Covers(hop);

    /// <summary>False for a next hop that means something on one link only, or is of a family that the peer does not take for these
    /// routes.</summary>
    private static bool CanTell(BgpPeer peer, IpFamily family, IpAddress hop)
        => !IsLinkLocal(hop) && (hop.Family == family || (hop.IsV6 && peer.Negotiated!.ExtendedNextHop));

    private static bool IsLinkLocal(IpAddress address) => address is { IsV6: true, IsLinkLocal: true };
}

/// <summary>Changes attributes on the way out.</summary>
internal sealed class BgpExport(BgpSpeakerSettings settings, AttributeTable table)
{
    private const int CacheLimit = 16384;

    // A peer may send sets of 4 KiB, each another one: the cache must not keep many of them alive.
    private const long CacheBytes = 4 << 20;
    private const uint NoExport = 0xFFFFFF01;
    private const uint NoAdvertise = 0xFFFFFF02;
    private const uint NoExportSubconfed = 0xFFFFFF03;

    private readonly AttributeBuilder _builder = new();
    private readonly Dictionary<PathAttributes, PathAttributes> _internal = [];
    private readonly Dictionary<PathAttributes, PathAttributes> _external = [];
    private readonly Dictionary<PathAttributes, PathAttributes> _marked = [];
    private readonly Dictionary<(PathAttributes, uint, IpAddress), PathAttributes> _reflected = [];
    private readonly Dictionary<(PathAttributes, uint, bool, bool), PathAttributes> _rewritten = [];
    private long _cached;

    private byte[] Path => field ??= new byte[BgpLimits.MaxExtended + BgpLimits.MaxMessage];

    /// <summary>Our cluster (RFC 4456).</summary>
    public uint ClusterId { get; } = settings.ClusterId != 0 ? settings.ClusterId : settings.RouterId;

    /// <summary>Attributes of a route of our own.</summary>
    public PathAttributes Own(uint localPref, uint? moveTag, long move)
    {
        _builder.Clear().Origin(BgpOrigin.Igp).Path().LocalPref(localPref);
        Span<byte> communities = stackalloc byte[2 * Migration.MoveTag.CommunityBytes];
        int used = 0;
        if (move > 0) used += MobilitySequence.Community(move).Write(communities);
        if (moveTag is { } tag)
        {
            Migration.MoveTag.ToCommunity(tag).CopyTo(communities[used..]);
            used += Migration.MoveTag.CommunityBytes;
        }

        if (used > 0) _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities,
            communities[..used]);
        return table.Intern(_builder.Build());
    }

    /// <summary>Attributes of a VPN route of our own: route targets, and the tunnel it is reached by. What a CE told keeps what it
    /// carries, but for targets and tags of moves.</summary>
    public PathAttributes OwnVpn(uint localPref, uint? moveTag, long move, IReadOnlyList<BgpCommunity> targets, GreTunnelRoute tunnel,
        PathAttributes? learned)
    {
        if (learned is null) _builder.Clear().Origin(BgpOrigin.Igp).Path();
        else _builder.Load(learned);
        _builder.LocalPref(localPref);
        RemoveOurs();
        int used = _builder.Get(AttributeCode.ExtendedCommunities).Length;
        Span<byte> communities = new byte[used + (8 * (targets.Count + 2))];
        _builder.Get(AttributeCode.ExtendedCommunities).CopyTo(communities);
        foreach (BgpCommunity target in targets) used += target.Write(communities[used..]);
        if (move > 0) used += MobilitySequence.Community(move).Write(communities[used..]);
        if (moveTag is { } tag)
        {
            Migration.MoveTag.ToCommunity(tag).CopyTo(communities[used..]);
            used += Migration.MoveTag.CommunityBytes;
        }

        _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities, communities[..used]);
        Span<byte> value = stackalloc byte[GreTunnelRoute.MaxSize];
        _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.TunnelEncapsulation, value[..tunnel.Write(value)]);
        return table.Intern(_builder.Build());
    }

    /// <summary>Well-known communities (RFC 1997).</summary>
    public static bool IsHeldBack(PathAttributes attributes, bool external)
    {
        ReadOnlySpan<byte> communities = attributes.Find(AttributeCode.Communities);
        for (int i = 0; i < communities.Length / 4; i++)
        {
            uint community = AsPath.ReadAs(communities, i, 4);
            if (community == NoAdvertise || (external && community is NoExport or NoExportSubconfed)) return true;
        }

        return false;
    }

    /// <summary>The attributes as a peer is to see them; <paramref name="mark"/>: only to customers from here on (RFC 9234).</summary>
    public PathAttributes For(bool external, PathAttributes attributes, bool mark = false)
    {
        mark &= external && !attributes.Has(AttributeCode.OnlyToCustomer);
        Dictionary<PathAttributes, PathAttributes> cache = mark ? _marked : external ? _external : _internal;
        if (cache.TryGetValue(attributes, out PathAttributes? known)) return known;
        if (cache.Count >= CacheLimit || _cached >= CacheBytes)
        {
            _internal.Clear();
            _external.Clear();
            _marked.Clear();
            _reflected.Clear();
            _rewritten.Clear();
            _cached = 0;
        }

        _cached += attributes.Wire.Length;
        PathAttributes made = external ? ToExternal(attributes, mark) : ToInternal(attributes);
        cache.Add(attributes, made);
        return made;
    }

    /// <summary>A route of one iBGP peer for another: it says where it comes from, and keeps its next hop (RFC 4456 8, 10).</summary>
    public PathAttributes Reflected(PathAttributes attributes, uint originator, IpAddress nextHop)
    {
        if (_reflected.TryGetValue((attributes, originator, nextHop), out PathAttributes? known)) return known;
        if (_reflected.Count >= CacheLimit) _reflected.Clear();
        ReadOnlySpan<byte> clusters = attributes.Find(AttributeCode.ClusterList);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(Path, ClusterId);
        clusters.CopyTo(Path.AsSpan(4));
        _builder.Load(ToInternal(attributes)).Set(AttributeFlags.Optional, AttributeCode.ClusterList, Path.AsSpan(0, 4 + clusters.Length));
        if (attributes.OriginatorId is null) _builder.OriginatorId(originator);
        if (!nextHop.IsNone) SetNextHop(nextHop);
        PathAttributes made = table.Intern(_builder.Build());
        _reflected.Add((attributes, originator, nextHop), made);
        return made;
    }

    /// <summary>The attributes with a next hop of their own (see <see cref="PathAttributes.KeptNextHop"/>).</summary>
    public PathAttributes WithNextHop(PathAttributes attributes, IpAddress nextHop)
    {
        // The number of no originator: no reflected route has it.
        if (_reflected.TryGetValue((attributes, 0, nextHop), out PathAttributes? known)) return known;
        if (_reflected.Count >= CacheLimit) _reflected.Clear();
        _builder.Load(attributes);
        SetNextHop(nextHop);
        PathAttributes made = table.Intern(_builder.Build());
        _reflected.Add((attributes, 0, nextHop), made);
        return made;
    }

    /// <summary>The attributes with the path as one peer is to see it, before our AS goes in front (see
    /// <see cref="AsPath.Rewrite"/>).</summary>
    public PathAttributes Rewritten(PathAttributes attributes, uint peerAs, bool replace, bool withoutPrivate)
    {
        if (_rewritten.TryGetValue((attributes, peerAs, replace, withoutPrivate), out PathAttributes? known)) return known;
        if (_rewritten.Count >= CacheLimit) _rewritten.Clear();
        ReadOnlySpan<byte> path = attributes.Find(AttributeCode.AsPath);
        int length = AsPath.Rewrite(path, peerAs, replace ? settings.As : null, withoutPrivate, Path);
        PathAttributes made = path.SequenceEqual(Path.AsSpan(0, length)) ? attributes : table.Intern(
            _builder.Load(attributes).Set(AttributeFlags.Transitive, AttributeCode.AsPath, Path.AsSpan(0, length)).Build());
        _rewritten.Add((attributes, peerAs, replace, withoutPrivate), made);
        return made;
    }

    private void SetNextHop(IpAddress nextHop)
    {
        Span<byte> hop = stackalloc byte[16];
        nextHop.Write(hop);
        _builder.Set(AttributeFlags.Transitive, AttributeCode.NextHop, hop[..nextHop.Size]);
    }

    // Subtype 2 of the three types that name a number (RFC 4360 4, RFC 5668 2).
    // Route targets, and tags of moves: between PEs only. A CE neither says which markers a PE sends nor needs to know.
    private void RemoveOurs()
    {
        ReadOnlySpan<byte> value = _builder.Get(AttributeCode.ExtendedCommunities);
        Span<byte> kept = new byte[value.Length];
        int used = 0;
        for (; value.Length >= 8; value = value[8..])
        {
            if (((value[0] & 0x3F) <= 2 && value[1] == 2) || Migration.MoveTag.Find(value[..8]) is not null) continue;
            value[..8].CopyTo(kept[used..]);
            used += 8;
        }

        if (used == kept.Length) return;
        if (used == 0) _builder.Remove(AttributeCode.ExtendedCommunities);
        else _builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities, kept[..used]);
    }

    private PathAttributes ToInternal(PathAttributes attributes) => attributes.LocalPref is not null
        ? attributes
        : table.Intern(_builder.Load(attributes).LocalPref(BestPath.DefaultLocalPref).Build());

    /// <summary>Our AS in front; what is for inside an AS only is taken out (RFC 4271 5.1.2 - 5.1.5, RFC 4456 8, RFC 9012 11).</summary>
    private PathAttributes ToExternal(PathAttributes attributes, bool mark)
    {
        int length = AsPath.Prepend(attributes.Find(AttributeCode.AsPath), settings.As, Path);
        _builder.Load(attributes)
            .Set(AttributeFlags.Transitive, AttributeCode.AsPath, Path.AsSpan(0, length))
            .Remove(AttributeCode.Med).Remove(AttributeCode.LocalPref)
            .Remove(AttributeCode.OriginatorId).Remove(AttributeCode.ClusterList)
            .Remove(AttributeCode.TunnelEncapsulation);
        MobilitySequence.Remove(_builder);
        if (settings.OfVrf) RemoveOurs();
        if (mark) BgpEngine.SetOnlyToCustomer(_builder, settings.As);
        return table.Intern(_builder.Build());
    }
}
