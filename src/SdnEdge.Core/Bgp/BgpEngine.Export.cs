using SdnEdge.Core.Fib;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The way out: what each peer is to be told.
/// 1. Routes of our own, as <see cref="Advertise"/> names them, go to every peer. 2. A best route learnt by eBGP goes to every
/// other peer. 3. One learnt by iBGP goes to eBGP peers only (RFC 4271 9.2). All of it as the export policy permits.
/// The next hop is always ourselves.
/// </summary>
public sealed partial class BgpEngine
{
    private const int TakeAtOnce = 8192;

    private readonly BgpExport _export;
    private readonly UpdateEncoder _encoder = new();
    private readonly Dictionary<IpPrefix, PathAttributes> _own = [];
    private IpPrefix[] _taken = [];

    /// <summary>Prefixes advertised as our own, with their attributes.</summary>
    public IReadOnlyDictionary<IpPrefix, PathAttributes> Own => _own;

    /// <summary>Advertises a prefix as our own. Repeating it with another LOCAL_PREF replaces it. Sent by the next
    /// <see cref="Flush"/>.</summary>
    /// <param name="prefix">Prefix.</param>
    /// <param name="localPref">LOCAL_PREF towards iBGP peers.</param>
    /// <param name="moveTag">Tag of the move that brought it here (<see cref="Migration.MoveTag"/>); null: none.</param>
    /// <param name="move">Number of that move, 1 to <see cref="MobilitySequence.Max"/>; 0: none.</param>
    public void Advertise(IpPrefix prefix, uint localPref, uint? moveTag = null, long move = 0)
    {
        if (move > 0) MoveDamping.Forget(prefix);
        PathAttributes attributes = _export.Own(localPref, moveTag, move);
        _own[prefix] = attributes;
        Publish(prefix, attributes, from: null, hop: null);
    }

    /// <summary>Advertises no longer. False when it was not advertised. Sent by the next <see cref="Flush"/>.</summary>
    public bool Withdraw(IpPrefix prefix)
    {
        if (!_own.Remove(prefix)) return false;
        RouteView? best = _rib.Best(prefix);
        bool learnt = best is { Origin.Source: RouteSource.Bgp };
        Publish(prefix, learnt ? best!.Value.Attributes : null, learnt ? best!.Value.Origin : null, best?.Hop);
        return true;
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
            do peer.Dirty = !(FlushTable(peer, peer.OutV4, peer.NextHopV4) & FlushTable(peer, peer.OutV6, peer.NextHopV6) & FlushVpn(peer));
            while (!peer.Dirty && SendEnds(peer));
            waits |= peer.Dirty;
        }

        return waits;
    }

    /// <summary>True when nothing waits.</summary>
    private bool FlushTable(BgpPeer peer, IAdjRibOut table, IpAddress nextHop)
    {
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
        foreach ((IpPrefix prefix, PathAttributes attributes) in _own) Advertise(peer, prefix, attributes, from: null, hop: null);
        foreach (RouteView route in _rib.BestRoutes())
        {
            if (route.Origin.Source == RouteSource.Bgp && !_own.ContainsKey(route.Prefix)) Advertise(peer, route.Prefix, route.Attributes,
                route.Origin, route.Hop);
        }

        TellAllVpn(peer);
        peer.EndOfRibDue = peer.Negotiated!.Families;
        peer.Dirty = true;
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
            && !(v4 ? peer.NextHopV4 : peer.NextHopV6).IsNone
            && !ReferenceEquals(from?.Session, peer.Origin)
            && (!reflected || from!.ReflectorClient || peer.Origin.ReflectorClient)
            && !BgpExport.IsHeldBack(attributes, peer.External)
            && RoleRules.MayAdvertise(peer.Role, attributes);
        IAdjRibOut table = v4 ? peer.OutV4 : peer.OutV6;
        table.Set(prefix, may ? Told(peer, prefix, attributes!, reflected ? from : null, hop) : null);
        peer.Dirty |= table.Waiting > 0;
    }

    private PathAttributes? Told(BgpPeer peer, IpPrefix prefix, PathAttributes attributes, RouteOrigin? reflectedFrom, NextHop? hop)
    {
        if (peer.Export.Find(prefix, attributes) is not { } term) return null;
        PathAttributes told = reflectedFrom is not null ? _export.Reflected(attributes, reflectedFrom.PeerRouterId, hop!.Spec.Address)
            : _export.For(peer.External, attributes, RoleRules.AddsOtcOnEgress(peer.Role));
        return _editor.Edit(term, told, peer.External);
    }
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

    /// <summary>Attributes of a VPN route of our own: route targets, and the tunnel it is reached by.</summary>
    public PathAttributes OwnVpn(uint localPref, long move, IReadOnlyList<BgpCommunity> targets, GreTunnelRoute tunnel)
    {
        _builder.Clear().Origin(BgpOrigin.Igp).Path().LocalPref(localPref);
        int used = 0;
        Span<byte> communities = new byte[8 * (targets.Count + 1)];
        foreach (BgpCommunity target in targets) used += target.Write(communities[used..]);
        if (move > 0) used += MobilitySequence.Community(move).Write(communities[used..]);
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
        Span<byte> hop = stackalloc byte[16];
        nextHop.Write(hop);
        PathAttributes made = table.Intern(_builder.Set(AttributeFlags.Transitive, AttributeCode.NextHop, hop[..nextHop.Size]).Build());
        _reflected.Add((attributes, originator, nextHop), made);
        return made;
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
        if (mark) BgpEngine.SetOnlyToCustomer(_builder, settings.As);
        return table.Intern(_builder.Build());
    }
}
