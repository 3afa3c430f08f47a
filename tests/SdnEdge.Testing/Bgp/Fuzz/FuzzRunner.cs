using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Bgp.Fuzz;

/// <summary>
/// Runs cases against the real engine and tells what is wrong with what it did:
/// 1. nothing is thrown; 2. the session is reset when the <see cref="UpdateOracle"/> says so, and never else; 3. the routes
/// kept are those it expects; 4. what an observing peer is told is right by our decoder and by the oracle; 5. the session
/// still works, and nothing is left when the peer takes its routes back.
/// Sessions are used again for the next case as long as they live.
/// </summary>
public sealed class FuzzRunner
{
    private static readonly UpdateContext ObserverContext = new(FourOctetAs: true, External: true, RawSession.OurAs, BgpFamilies.Both);

    private readonly RawSession?[] _sessions = new RawSession?[4];
    private readonly UpdateOracle[] _oracles = [.. new[] { (false, 2), (false, 4), (true, 2), (true, 4) }
        .Select(k => new UpdateOracle(k.Item1, k.Item2, k.Item1 ? RawSession.ExternalAs : RawSession.OurAs, RawSession.OurAs))];

    private readonly UpdateOracle _observerOracle = new(external: true, 4, RawSession.OurAs, ourAs: 65002)
    {
        Ours = ([10, 255, 0, 3], [1]),
    };
    private BgpFaultCounters _observerFaults = new();
    private UpdateDecoder _observerDecoder;
    private readonly HashSet<IpPrefix> _expected = [];
    private readonly HashSet<(ulong Rd, IpPrefix Prefix)> _expectedVpn = [];
    private readonly HashSet<IpPrefix> _told = [];
    private readonly byte[] _withdrawal = new byte[BgpLimits.MaxMessage];
    private readonly UpdateEncoder _encoder = new();

    /// <summary>Makes a runner.</summary>
    public FuzzRunner() => _observerDecoder = new UpdateDecoder(new AttributeTable(), _observerFaults);

    /// <summary>Cases run.</summary>
    public long Cases { get; private set; }

    /// <summary>Cases that ended the session, rightly.</summary>
    public long Resets { get; private set; }

    /// <summary>UPDATEs whose routes were taken, UPDATEs treated as withdrawn, and routes told to the observer.</summary>
    public (long Taken, long Withdrawn, long ToldOn) Updates { get; private set; }

    /// <summary>Runs one case. Null: all is right; else what is wrong.</summary>
    public string? Run(FuzzCase one)
    {
        Cases++;
        int kind = (one.External ? 2 : 0) + (one.FourOctetAs ? 1 : 0);
        string? wrong;
        try
        {
            RawSession session = _sessions[kind] ??= new RawSession(one.External, one.FourOctetAs);
            wrong = Feed(session, one);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            wrong = $"threw {e.GetType().Name}: {e.Message} {e.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}";
        }

        if (wrong is null) return null;
        _sessions[kind] = null;
        _observerDecoder = new UpdateDecoder(new AttributeTable(), _observerFaults = new BgpFaultCounters());
        return wrong;
    }

    /// <summary>Makes a failing case as small as it will get while it still fails, by dropping messages, then bytes.</summary>
    public FuzzCase Shrink(FuzzCase failing)
    {
        int budget = 5000;
        bool Fails(FuzzCase one) => budget-- > 0 && Run(one) is not null;
        if (Fails(failing with { Cuts = [] })) failing = failing with { Cuts = [] };
        for (int i = failing.Messages.Count - 1; i >= 0 && failing.Messages.Count > 1; i--)
        {
            FuzzCase less = failing with { Messages = [.. failing.Messages.Where((_, n) => n != i)] };
            if (Fails(less)) failing = less;
        }

        for (int i = 0; i < failing.Messages.Count; i++)
        {
            for (int size = 64; size > 0; size /= 2)
            {
                for (int at = BgpLimits.HeaderSize; at + size <= failing.Messages[i].Length;)
                {
                    FuzzCase less = failing with { Messages = [.. failing.Messages.Select((m, n) => n == i ? Without(m, at, size) : m)] };
                    if (Fails(less)) failing = less;
                    else at += size;
                }
            }
        }

        return failing;
    }

    /// <summary>Takes bytes out, and off all lengths around them that stay true thereby.</summary>
    private static byte[] Without(byte[] message, int at, int size)
    {
        byte[] less = [.. message[..at], .. message[(at + size)..]];
        bool honest = (message[16] << 8) + message[17] == message.Length;
        if (honest) (less[16], less[17]) = ((byte)(less.Length >> 8), (byte)less.Length);
        if (message[18] != 2 || message.Length < 23) return less;
        int withdrawn = (message[19] << 8) + message[20], lengths = 21 + withdrawn;
        if (at >= 21 && at + size <= lengths)
        {
            (less[19], less[20]) = ((byte)((withdrawn - size) >> 8), (byte)(withdrawn - size));
        }
        else if (lengths + 2 <= at && lengths + 2 <= message.Length)
        {
            int attributes = (message[lengths] << 8) + message[lengths + 1];
            if (at + size <= lengths + 2 + attributes)
                (less[lengths], less[lengths + 1]) = ((byte)((attributes - size) >> 8), (byte)(attributes - size));
        }

        return less;
    }

    private string? Feed(RawSession session, FuzzCase one)
    {
        if (one.State != BgpState.Established && session.Peer.State == BgpState.Established)
            session.Engine.Disconnected(session.Peer, ConnectionSide.Incoming, session.Now);
        if (session.Peer.State != one.State)
        {
            if (session.Peer.State > BgpState.Active) session.Engine.Disconnected(session.Peer, ConnectionSide.Incoming, session.Now);
            session.Turn();
            session.Connect(one.State);
        }

        if (session.Peer.State != one.State) return $"could not reach {one.State}: the session is {session.Peer.State}";
        int closed = session.Closed;
        session.ToPeer.Clear();
        session.ToObserver.Clear();
        _expected.Clear();
        _expectedVpn.Clear();
        _told.Clear();

        byte[] stream = [.. one.Messages.SelectMany(m => m)];
        int from = 0;
        foreach (int cut in one.Cuts.Append(stream.Length))
        {
            if (cut <= from || cut > stream.Length) continue;
            session.Receive(stream.AsSpan(from, cut - from));
            from = cut;
            session.Turn();
        }

        session.Turn();
        bool reset = session.Closed > closed;
        if (reset && session.Peer.VpnReceived > 0) return $"{session.Peer.VpnReceived} VPN routes are left after a reset";
        if (reset && session.Peer.Origin.Prefixes > 0) return $"{session.Peer.Origin.Prefixes} routes are left after a reset";
        if (reset) Resets++;
        string? wrong = one.State == BgpState.Established ? Compare(session, one, stream, reset) : CompareOpening(session, reset);
        wrong ??= CheckTold(session);
        if (wrong is not null || reset || session.Peer.State != BgpState.Established) return wrong;

        // The end of a case may be half a message: then nothing more can be said on this connection. One that has only come up
        // during the case has routes of which no book was kept.
        bool leave = HasTail(stream) || one.State != BgpState.Established;
        if (session.Peer.Origin.Prefixes + session.Peer.VpnReceived == 0 && !leave) return null;
        if (leave) session.Engine.Disconnected(session.Peer, ConnectionSide.Incoming, session.Now);
        else TakeBack(session);
        session.Turn();
        if (session.Peer.Origin.Prefixes + session.Peer.VpnReceived > 0)
            return $"{session.Peer.Origin.Prefixes} routes and {session.Peer.VpnReceived} of VPNs are left after all were withdrawn";
        return CheckTold(session)
            ?? (session.Observer.PrefixesSent + session.Observer.PrefixesWaiting > 0
                || _told.Count > 0 ? $"the observer still knows {_told.Count} routes" : null);
    }

    private static bool HasTail(byte[] stream)
    {
        int at = 0;
        while (at + 19 <= stream.Length) at += Math.Max(19, (stream[at + 16] << 8) + stream[at + 17]);
        return at != stream.Length;
    }

    private void TakeBack(RawSession session)
    {
        foreach (IGrouping<IpFamily, IpPrefix> family in _expected.GroupBy(p => p.Family))
        {
            ReadOnlySpan<IpPrefix> prefixes = family.ToArray();
            while (prefixes.Length > 0) session.Receive(_withdrawal.AsSpan(0, _encoder.Withdraw(_withdrawal, ref prefixes)));
        }

        foreach (IGrouping<IpFamily, (ulong Rd, IpPrefix Prefix)> family in _expectedVpn.GroupBy(r => r.Prefix.Family))
        {
            ReadOnlySpan<(VpnPrefix, uint)> routes = family.Select(r => (new VpnPrefix(new RouteDistinguisher(r.Rd), r.Prefix), 0u))
                .ToArray();
            while (routes.Length > 0) session.Receive(_withdrawal.AsSpan(0, UpdateEncoder.WithdrawVpn(_withdrawal, ref routes)));
        }
    }

    /// <summary>What the oracle makes of the stream, beside what the engine made of it.</summary>
    private string? Compare(RawSession session, FuzzCase one, byte[] stream, bool reset)
    {
        UpdateOracle oracle = _oracles[(one.External ? 2 : 0) + (one.FourOctetAs ? 1 : 0)];
        string? expected = null;
        for (int at = 0; at + 19 <= stream.Length && expected is null;)
        {
            int length = (stream[at + 16] << 8) + stream[at + 17], type = stream[at + 18];
            expected = HeaderFault(stream.AsSpan(at, 16), length, type);
            if (expected is not null || at + length > stream.Length) break;
            byte[] body = stream[(at + 19)..(at + length)];
            at += length;
            if (type == 3) expected = "a NOTIFICATION came";
            else if (type == 1) expected = "an OPEN came in Established";
            else if (type == 5 && body.Length != 4) expected = "a ROUTE-REFRESH of wrong length came";
            if (type != 2) continue;
            UpdateVerdict verdict = oracle.Judge(body);
            if (verdict == UpdateVerdict.Reset)
            {
                expected = "an UPDATE that cannot be read came";
                break;
            }

            Updates = verdict == UpdateVerdict.Take ? Updates with { Taken = Updates.Taken + 1 }
                : Updates with { Withdrawn = Updates.Withdrawn + 1 };
            _expected.ExceptWith(oracle.Gone);
            if (verdict == UpdateVerdict.Take && !oracle.Loops) _expected.UnionWith(oracle.Announced);
            else _expected.ExceptWith(oracle.Announced);

            // Of VPN routes those are kept that the one VRF imports.
            _expectedVpn.ExceptWith(oracle.VpnGone);
            if (verdict == UpdateVerdict.Take && !oracle.Loops && oracle.Targeted) _expectedVpn.UnionWith(oracle.VpnAnnounced);
            else _expectedVpn.ExceptWith(oracle.VpnAnnounced);
        }

        if (reset && expected is null) return $"needless reset: {session.Peer.LastError}";
        if (!reset && expected is not null) return $"no reset, although {expected}";
        if (reset) return session.Notification is null && expected != "a NOTIFICATION came" ? "a reset without a NOTIFICATION" : null;
        if (session.Peer.Origin.Prefixes != _expected.Count)
            return $"{session.Peer.Origin.Prefixes} routes are kept, {_expected.Count} are right";
        if (session.Peer.VpnReceived != _expectedVpn.Count)
            return $"{session.Peer.VpnReceived} VPN routes are kept, {_expectedVpn.Count} are right";
        foreach (IpPrefix prefix in _expected)
        {
            if (!session.Rib.Explain(prefix).Any(r => r.Origin == session.Peer.Origin)) return $"{prefix} is not kept";
        }

        return null;
    }

    private static string? HeaderFault(ReadOnlySpan<byte> marker, int length, int type)
    {
        foreach (byte b in marker)
        {
            if (b != 0xFF) return "the marker is wrong";
        }

        int least = type switch { 1 => 29, 2 => 23, 3 => 21, 4 or 5 => 19, _ => int.MaxValue };
        int most = type == 4 ? 19 : 4096;
        return length < least || length > most ? "the header is wrong" : null;
    }

    private static string? CompareOpening(RawSession session, bool reset)
    {
        if (!reset)
            return session.Peer.Origin.Prefixes > 0 && session.Peer.State != BgpState.Established ? "routes without a session" : null;
        bool asked = session.Peer.LastError?.StartsWith("received", StringComparison.Ordinal) ?? false;
        return session.Notification is null && !asked ? "a reset without a NOTIFICATION" : null;
    }

    /// <summary>What the observer was told: well-formed by two measures, and never more than is known.</summary>
    private string? CheckTold(RawSession session)
    {
        UpdateOracle oracle = _observerOracle;
        foreach (byte[] message in session.ToObserver)
        {
            if (HeaderFault(message.AsSpan(0, 16), (message[16] << 8) + message[17], message[18]) is { } wrong
                || (message[16] << 8) + message[17] != message.Length)
            {
                return $"sent on a message with a wrong header: {Convert.ToHexString(message)}";
            }

            if (message[18] != 2) continue;
            _observerDecoder.Decode(message.AsSpan(BgpLimits.HeaderSize), ObserverContext);
            UpdateVerdict verdict = oracle.Judge(message[BgpLimits.HeaderSize..]);
            if (verdict != UpdateVerdict.Take || !oracle.Clean || _observerFaults.Seen().Any())
            {
                return $"sent on something malformed ({verdict}, {string.Join(", ", _observerFaults.Seen())}): "
                    + $"{Convert.ToHexString(message)}";
            }

            _told.ExceptWith(oracle.Gone);
            _told.UnionWith(oracle.Announced);
            Updates = Updates with { ToldOn = Updates.ToldOn + oracle.Announced.Count };
        }

        session.ToObserver.Clear();
        if (session.Observer.PrefixesSent != _told.Count)
            return $"the observer knows {_told.Count} routes, {session.Observer.PrefixesSent} are booked as sent";
        return null;
    }
}
