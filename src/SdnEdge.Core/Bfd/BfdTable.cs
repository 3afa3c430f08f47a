using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bfd;

/// <summary>
/// The sessions of a router and the choice among them for a packet (RFC 5880 6.3): by your discriminator, and while that is
/// zero by the addresses. Counts what it discards. One thread uses it; looking up allocates nothing.
/// </summary>
public sealed class BfdTable
{
    private readonly Dictionary<uint, BfdSession> _byDiscriminator = [];
    private readonly Dictionary<BfdKey, BfdSession> _byKey = [];
    private readonly long[] _discards = new long[BfdLimits.DiscardReasons];

    /// <summary>Packets discarded for a reason.</summary>
    public long Discards(BfdDiscard reason) => Volatile.Read(ref _discards[(int)reason]);

    /// <summary>Adds a session. False when there is one with this key or discriminator.</summary>
    public bool Add(BfdSession session)
    {
        if (_byKey.ContainsKey(session.Key) || !_byDiscriminator.TryAdd(session.LocalDiscriminator, session)) return false;
        _byKey.Add(session.Key, session);
        return true;
    }

    /// <summary>Takes a session out. False when it is not there.</summary>
    public bool Remove(BfdKey key)
    {
        if (!_byKey.Remove(key, out BfdSession? session)) return false;
        _byDiscriminator.Remove(session.LocalDiscriminator);
        return true;
    }

    /// <summary>
    /// Takes a UDP payload that came from <see cref="BfdKey.Peer"/> to <see cref="BfdKey.Local"/>. Returns the session it was for,
    /// or null when it was discarded; <paramref name="discard"/> says why.
    /// </summary>
    /// <param name="from">Addresses it came with, and by which port it came (multihop or not).</param>
    /// <param name="payload">The UDP payload.</param>
    /// <param name="ttl">TTL or hop limit it arrived with, 0 to 255; negative: unknown, which is refused where it must be 255.</param>
    /// <param name="now">The time.</param>
    /// <param name="discard">Why not.</param>
    public BfdSession? Receive(BfdKey from, ReadOnlySpan<byte> payload, int ttl, long now, out BfdDiscard discard)
    {
        BfdSession? session = null;
        if (!from.Multihop && ttl != BfdLimits.TimeToLive)
        {
            discard = BfdDiscard.TimeToLive;
        }
        else
        {
            discard = BfdView.Parse(payload, out BfdView view);
            if (discard == BfdDiscard.None) discard = Choose(from, view.YourDiscriminator, out session);
            if (discard == BfdDiscard.None) discard = session!.Receive(view, now);
        }

        if (discard == BfdDiscard.None) return session;
        _discards[(int)discard]++;
        return null;
    }

    private BfdDiscard Choose(BfdKey from, uint discriminator, out BfdSession? session)
    {
        if (discriminator == 0) return _byKey.TryGetValue(from, out session) ? BfdDiscard.None : BfdDiscard.UnknownPeer;
        if (!_byDiscriminator.TryGetValue(discriminator, out session)) return BfdDiscard.UnknownDiscriminator;
        return session.Key == from ? BfdDiscard.None : BfdDiscard.WrongSender;
    }
}
