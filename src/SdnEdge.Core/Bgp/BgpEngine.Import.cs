using System.Buffers.Binary;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// The way in, behind the decoder: 1. loops (RFC 4271 9.1.2, RFC 4456 8), 2. leaks, and the mark of RFC 9234, 3. what another
/// AS may not say (<see cref="MobilitySequence"/>), 4. for each prefix the import policy, 5. moves that come too fast (BgpEngine.Damping),
/// 6. the RIB, 7. the limits.
/// </summary>
public sealed partial class BgpEngine
{
    private readonly PolicyEditor _editor;
    private readonly AttributeBuilder _builder = new();
    private readonly IpPrefix[] _nextPrefixes = new IpPrefix[CacheLine.Ahead];
    private readonly uint[] _nextPathIds = new uint[CacheLine.Ahead];
    private bool _movesSeen;

    /// <summary>
    /// Gives a peer another policy. What was told to it follows at once; what it told us is asked for again (RFC 2918), and
    /// a peer that does not know route refresh keeps what was let in, with a warning.
    /// </summary>
    /// <param name="peer">The peer.</param>
    /// <param name="import">Null: the default of RFC 8212.</param>
    /// <param name="export">Null: the default of RFC 8212.</param>
    public void SetPolicy(BgpPeer peer, RoutePolicy? import, RoutePolicy? export)
    {
        peer.SetPolicy(import, export);
        if (peer.State != BgpState.Established) return;
        TellAll(peer);
        if (RequestRefresh(peer) == BgpFamilies.None) Warned?.Invoke(peer,
            "does not know route refresh: the new import policy holds for what it tells from now on; reset the session");
    }

    /// <summary>The attributes to go on with; null: the routes are to be left aside.</summary>
    private PathAttributes? Accept(BgpPeer peer, PathAttributes attributes)
    {
        if (IsLoop(peer, attributes))
        {
            peer.Loops++;
            return null;
        }

        if (!peer.External)
        {
            _movesSeen |= attributes.MobilitySequence != 0;
            return attributes;
        }

        if (peer.Role != BgpRole.None && RoleRules.IsLeak(peer.Role, peer.As, attributes))
        {
            peer.Leaks++;
            return null;
        }

        bool mark = RoleRules.AddsOtcOnIngress(peer.Role) && !attributes.Has(AttributeCode.OnlyToCustomer);
        BgpCommunity? site = peer.Settings.SiteOfOrigin;
        if (!mark && attributes.MobilitySequence == 0 && site is null) return attributes;
        _builder.Load(attributes);
        MobilitySequence.Remove(_builder);
        if (site is { } origin) SetSiteOfOrigin(_builder, origin);
        if (mark) SetOnlyToCustomer(_builder, peer.As);
        return Attributes.Intern(_builder.Build());
    }

    // In place of any other: which site the peer is of is not the peer's to say. Subtype 3 of the three types that name a number (RFC
    // 4360 5).
    private static void SetSiteOfOrigin(AttributeBuilder builder, BgpCommunity site)
    {
        ReadOnlySpan<byte> value = builder.Get(AttributeCode.ExtendedCommunities);
        Span<byte> kept = new byte[value.Length + site.Size];
        int used = site.Write(kept);
        for (; value.Length >= 8; value = value[8..])
        {
            if ((value[0] & 0x3F) <= 2 && value[1] == 3) continue;
            value[..8].CopyTo(kept[used..]);
            used += 8;
        }

        builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.ExtendedCommunities, kept[..used]);
    }

    internal static void SetOnlyToCustomer(AttributeBuilder builder, uint autonomousSystem)
    {
        Span<byte> value = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(value, autonomousSystem);
        builder.Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.OnlyToCustomer, value);
    }

    private void Withdraw(BgpPeer peer, uint pathId, IpPrefix prefix, long now)
    {
        if (peer.FindOrigin(pathId) is not { } origin) return;
        _rib.Withdraw(origin, prefix, now);
        if (origin.Prefixes == 0) peer.ForgetPath(pathId);
    }

    private static bool HasPathIds(BgpPeer peer, IpFamily family) => (peer.Fsm.Negotiated!.AddPathFamilies & family.Flag()) != 0;

    /// <summary>RFC 4271 9.1.2: our AS in the path; RFC 4456 8: our identifier as originator, our cluster in the cluster list.</summary>
    private bool IsLoop(BgpPeer peer, PathAttributes attributes)
    {
        if (AsPath.Count(attributes.Find(AttributeCode.AsPath), _settings.As) > peer.Settings.AllowAsIn) return true;
        if (peer.External) return false;
        if (attributes.OriginatorId == _settings.RouterId) return true;
        ReadOnlySpan<byte> clusters = attributes.Find(AttributeCode.ClusterList);
        for (int i = 0; i < clusters.Length / 4; i++)
        {
            if (AsPath.ReadAs(clusters, i, 4) == _export.ClusterId) return true;
        }

        return false;
    }

    private void Offer(BgpPeer peer, ReadOnlySpan<byte> nlri, IpFamily family, IpAddress nextHop, PathAttributes attributes, long now)
    {
        HopSpec hop = nextHop is { IsV6: true, IsLinkLocal: true } ? HopSpec.Via(nextHop, peer.Settings.Link!.Port) : HopSpec.Via(nextHop);
        NoteHop(peer, nextHop, attributes);
        var reader = new NlriReader(nlri, family, HasPathIds(peer, family));
        for (int count; (count = ReadNext(ref reader, family)) > 0;)
        {
            for (int i = 0; i < count; i++)
            {
                if (Offer(peer, _nextPathIds[i], _nextPrefixes[i], hop, attributes, now) && IsOverLimit(peer, family, now)) return;
            }
        }
    }

    // Of routes that are an iBGP peer's own, not reflected by it.
    private static void NoteHop(BgpPeer peer, IpAddress nextHop, PathAttributes attributes)
    {
        bool own = !peer.External && attributes.OriginatorId is null && nextHop != peer.Settings.Address;
        if (own && !nextHop.IsNone && !IsLinkLocal(nextHop) && peer.OtherHops.Count < BgpPeer.MaxOtherHops) peer.OtherHops.Add(nextHop);
    }

    /// <summary>False when nothing came of it.</summary>
    private bool Offer(BgpPeer peer, uint pathId, IpPrefix prefix, HopSpec hop, PathAttributes attributes, long now)
    {
        if (peer.Import.Find(prefix, attributes) is { } term && _editor.Edit(term, attributes, toExternal: false) is { } taken)
        {
            if (_movesSeen && _rib.Best(prefix) is { } best && best.Attributes?.MobilitySequence > taken.MobilitySequence
                && !ReferenceEquals(best.Origin.Session, peer.Origin)) peer.Fenced++;
            RouteOrigin origin = peer.OriginOf(pathId);
            if (_movesSeen) taken = Damp(origin, prefix, taken, now);
            return _rib.Offer(origin, prefix, hop, taken, now);
        }

        // A route that policy let in before may have come again in a form it denies now.
        peer.Denied++;
        Withdraw(peer, pathId, prefix, now);
        return false;
    }

    /// <summary>Reads the next few prefixes, and asks for what the RIB will read for them. Returns how many; 0 at the end.</summary>
    private int ReadNext(ref NlriReader reader, IpFamily family)
    {
        int count = 0;
        for (; count < CacheLine.Ahead && reader.MoveNext(); count++) (_nextPathIds[count], _nextPrefixes[count]) =
            (reader.PathId, reader.Current);
        _rib.Prefetch(family, _nextPrefixes.AsSpan(0, count));
        return count;
    }
}
