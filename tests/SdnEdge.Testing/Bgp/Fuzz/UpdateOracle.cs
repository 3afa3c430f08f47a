using SdnEdge.Core.Bgp;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Bgp.Fuzz;

/// <summary>What an UPDATE means to the speaker that gets it.</summary>
public enum UpdateVerdict
{
    /// <summary>Its routes are taken.</summary>
    Take,

    /// <summary>Its routes are treated as withdrawn.</summary>
    Withdraw,

    /// <summary>The session ends.</summary>
    Reset,
}

/// <summary>
/// Judges UPDATEs a second time, slowly and in the order of the RFCs' text, and shares no code with the decoder: it copies
/// arrays, keeps lists, and looks at each question for itself. The session: all four families, no confederation.
/// </summary>
public sealed class UpdateOracle
{
    private readonly bool _external;
    private readonly int _asSize;
    private readonly uint _peerAs;
    private readonly uint _ourAs;
    private readonly List<(int Flags, int Code, byte[] Value)> _attributes = [];
    private bool _withdraw;
    private bool _broken;

    /// <summary>Makes a judge for one kind of session.</summary>
    public UpdateOracle(bool external, int asSize, uint peerAs, uint ourAs)
    {
        _external = external;
        _asSize = asSize;
        _peerAs = peerAs;
        _ourAs = ourAs;
    }

    /// <summary>Our own addresses, which may be no next hop: IPv4 and IPv6.</summary>
    public (byte[] V4, byte[] V6) Ours { get; init; } = ([10, 255, 0, 1], [0xfd, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// <summary>Routes taken away by the message judged last, in any case but a reset.</summary>
    public List<IpPrefix> Gone { get; } = [];

    /// <summary>Routes announced by it, and taken unless treated as withdrawn or looping.</summary>
    public List<IpPrefix> Announced { get; } = [];

    /// <summary>VPN routes taken away: the eight octets of the distinguisher, and the prefix.</summary>
    public List<(ulong Rd, IpPrefix Prefix)> VpnGone { get; } = [];

    /// <summary>VPN routes announced.</summary>
    public List<(ulong Rd, IpPrefix Prefix)> VpnAnnounced { get; } = [];

    /// <summary>True when the message judged last has nothing wrong at all.</summary>
    public bool Clean { get; private set; }

    /// <summary>True when the routes of the message judged last carry route target 65000:1.</summary>
    public bool Targeted => First(16) is { } targets && targets.Length % 8 == 0 && targets.Chunk(8)
        .Any(t => t.SequenceEqual((byte[])[0, 2, 0xFD, 0xE8, 0, 0, 0, 1]));

    /// <summary>True when the AS path, the originator or the cluster list shows that the routes have been here before.</summary>
    public bool Loops { get; private set; }

    /// <summary>Judges the body of an UPDATE.</summary>
    public UpdateVerdict Judge(byte[] body)
    {
        Gone.Clear();
        Announced.Clear();
        VpnGone.Clear();
        VpnAnnounced.Clear();
        _attributes.Clear();
        Clean = true;
        Loops = _withdraw = _broken = false;
        if (body.Length < 4) return UpdateVerdict.Reset;
        int withdrawnLength = (body[0] << 8) + body[1];
        if (2 + withdrawnLength + 2 > body.Length) return UpdateVerdict.Reset;
        int attributesLength = (body[2 + withdrawnLength] << 8) + body[3 + withdrawnLength];
        int nlriAt = 4 + withdrawnLength + attributesLength;
        if (nlriAt > body.Length) return UpdateVerdict.Reset;
        if (!Prefixes(body[2..(2 + withdrawnLength)], 4, Gone) || !Prefixes(body[nlriAt..], 4, Announced)) return UpdateVerdict.Reset;
        bool plain = Announced.Count > 0;

        // RFC 7606 4: the attributes as far as they can be told apart.
        byte[] rest = body[(4 + withdrawnLength)..nlriAt];
        while (rest.Length > 0)
        {
            int header = (rest[0] & 0x10) != 0 ? 4 : 3;
            int length = rest.Length < header ? 0 : header == 4 ? (rest[2] << 8) + rest[3] : rest[2];
            if (rest.Length < header + length)
            {
                Fault(breaks: true);
                break;
            }

            _attributes.Add((rest[0] & 0xC0, rest[1], rest[header..(header + length)]));
            rest = rest[(header + length)..];
        }

        var firsts = new HashSet<int>();
        bool announces = plain, anyMpRoutes = false;
        foreach ((int flags, int code, byte[] value) in _attributes)
        {
            if (!firsts.Add(code))
            {
                Clean = false;
                if (code is 14 or 15) return UpdateVerdict.Reset;
                continue;
            }

            if (code == 23)
            {
                // RFC 9012 11: nothing that eBGP lets in. 13: malformed, or not transitive, withdraws, and no more than that.
                if (_external) Clean = false;
                else if (flags != 0xC0 || !WholeTlvs(value)) Fault(breaks: false);
                continue;
            }

            int right = RightFlags(code);
            if (right < 0)
            {
                if (flags < 0x80) return UpdateVerdict.Reset;
                continue;
            }

            if (flags != right)
            {
                if (code is 14 or 15) return UpdateVerdict.Reset;
                if (code is 6 or 7) Clean = false;
                else Fault(breaks: true);
                continue;
            }

            if (code == 14)
            {
                if (!Reach(value, ref announces, ref anyMpRoutes)) return UpdateVerdict.Reset;
            }
            else if (code == 15)
            {
                if (!Unreach(value)) return UpdateVerdict.Reset;
            }
            else
            {
                Look(code, value);
            }
        }

        // What is mandatory, when there is something to announce.
        if (announces && !(firsts.Contains(1) && firsts.Contains(2) && (!plain || firsts.Contains(3)) && (_external || firsts.Contains(5))))
            Fault(breaks: false);
        if (_withdraw && _broken && !announces && !anyMpRoutes) return UpdateVerdict.Reset;
        Loops = !_withdraw && WasHere();
        return _withdraw ? UpdateVerdict.Withdraw : UpdateVerdict.Take;
    }

    private static int RightFlags(int code) => code switch
    {
        1 or 2 or 3 or 5 or 6 => 0x40,
        4 or 9 or 10 or 14 or 15 => 0x80,
        7 or 8 or 16 or 17 or 18 or 25 or 32 => 0xC0,
        _ => -1,
    };

    private static bool Prefixes(byte[] bytes, int size, List<IpPrefix> into)
    {
        for (int at = 0; at < bytes.Length;)
        {
            int bits = bytes[at], count = (bits / 8) + (bits % 8 > 0 ? 1 : 0);
            if (bits > size * 8 || at + 1 + count > bytes.Length) return false;
            byte[] address = new byte[size];
            Array.Copy(bytes, at + 1, address, 0, count);
            into.Add(new IpPrefix(size == 4 ? IpAddress.FromV4(Big(address, 0, 4)) : IpAddress.Read(IpFamily.V6, address), bits));
            at += 1 + count;
        }

        return true;
    }

    /// <summary>RFC 4364 4.3.4, RFC 8277 2.2: a label of three octets and a distinguisher of eight count in the length.</summary>
    private static bool VpnPrefixes(byte[] bytes, int size, List<(ulong Rd, IpPrefix Prefix)> into)
    {
        while (bytes.Length > 0)
        {
            int bits = bytes[0] - 88, all = 1 + 11 + ((bits + 7) / 8);
            if (bits < 0 || bits > size * 8 || all > bytes.Length) return false;
            byte[] address = [.. bytes[12..all], .. new byte[size]];
            into.Add((((ulong)Big(bytes, 4, 4) << 32) | Big(bytes, 8, 4),
                new IpPrefix(size == 4 ? IpAddress.FromV4(Big(address, 0, 4)) : IpAddress.Read(IpFamily.V6, address.AsSpan(0, 16)), bits)));
            bytes = bytes[all..];
        }

        return true;
    }

    /// <summary>
    /// RFC 9012 2, 3: tunnel TLVs with two octets of type and length; sub-TLVs with one of type, and one or (from 128 on) two of length.
    /// </summary>
    private static bool WholeTlvs(byte[] value)
    {
        if (value.Length == 0) return false;
        while (value.Length > 0)
        {
            if (value.Length < 4 || value.Length < 4 + Big(value, 2, 2)) return false;
            int end = 4 + (int)Big(value, 2, 2);
            for (int at = 4; at < end;)
            {
                int header = value[at] >= 128 ? 3 : 2;
                if (at + header > end) return false;
                at += header + (int)Big(value, at + 1, header - 1);
                if (at > end) return false;
            }

            value = value[end..];
        }

        return true;
    }

    private static uint Big(byte[] bytes, int at, int size)
    {
        uint value = 0;
        for (int i = 0; i < size; i++) value = (value << 8) | bytes[at + i];
        return value;
    }

    private void Fault(bool breaks)
    {
        Clean = false;
        _withdraw = true;
        _broken |= breaks;
    }

    private bool Reach(byte[] value, ref bool announces, ref bool anyRoutes)
    {
        if (value.Length < 5 || value.Length < 5 + value[3]) return false;
        int hop = value[3];
        byte[] routes = value[(5 + hop)..];
        anyRoutes = routes.Length > 0;
        if (value[0] == 0 && value[1] is 1 or 2 && value[2] == 128)
        {
            if (!(value[1] == 1 ? hop == 12 : hop is 24 or 48) || !VpnPrefixes(routes, value[1] == 1 ? 4 : 16, VpnAnnounced)) return false;
            announces |= routes.Length > 0;
            byte[] address = value[12..(12 + (value[1] == 1 ? 4 : 16))];
            bool mapped = address.Length == 16 && address[..10].All(b => b == 0) && address[10] == 0xFF && address[11] == 0xFF;
            if (!UsableHop(mapped ? address[12..] : address)) Fault(breaks: false);
            return true;
        }

        int family = value[0] == 0 && value[2] == 1 ? value[1] : 0;
        if (family is not (1 or 2))
        {
            Clean = false;
            return true;
        }

        if (!(family == 1 ? hop == 4 : hop is 16 or 32) || !Prefixes(routes, family == 1 ? 4 : 16, Announced)) return false;
        announces |= routes.Length > 0;
        if (!UsableHop(value[4..(4 + (family == 1 ? 4 : 16))])) Fault(breaks: false);
        return true;
    }

    private bool Unreach(byte[] value)
    {
        if (value.Length < 3) return false;
        if (value[0] == 0 && value[2] == 1 && value[1] is 1 or 2) return Prefixes(value[3..], value[1] == 1 ? 4 : 16, Gone);
        if (value[0] == 0 && value[2] == 128 && value[1] is 1 or 2) return VpnPrefixes(value[3..], value[1] == 1 ? 4 : 16, VpnGone);
        Clean = false;
        return true;
    }

    private bool UsableHop(byte[] hop)
    {
        if (hop.Length == 4) return hop[0] is > 0 and < 224 and not 127 && !hop.SequenceEqual(Ours.V4);
        bool lowest = hop[..15].All(b => b == 0) && hop[15] <= 1;
        return !lowest && hop[0] != 0xFF && !hop.SequenceEqual(Ours.V6);
    }

    private void Look(int code, byte[] value)
    {
        int n = value.Length;
        switch (code)
        {
            case 1 when n != 1 || value[0] > 2:
            case 2 when Path(value, _asSize, false) is not { } path || (_external && !BeginsRight(path)):
            case 3 when n != 4:
            case 4 when n != 4:
            case 5 when !_external && n != 4:
            case 8 when n == 0 || n % 4 != 0:
            case 9 when !_external && n != 4:
            case 10 when !_external && (n == 0 || n % 4 != 0):
            case 16 when n == 0 || n % 8 != 0:
            case 25 when n == 0 || n % 20 != 0:
            case 32 when n == 0 || n % 12 != 0:
                Fault(breaks: true);
                break;
            case 3 when !UsableHop(value):
                Fault(breaks: false);
                break;
            case 5 or 9 or 10 when _external:
            case 6 when n != 0:
            case 7 when !RightAggregator(value, _asSize):
            case 17 when _asSize == 4 || n == 0 || Path(value, 4, true) is not { } as4 || as4.Exists(s => s.Type > 2):
            case 18 when _asSize == 4 || !RightAggregator(value, 4):
                Clean = false;
                break;
            default:
                break;
        }
    }

    private static bool RightAggregator(byte[] value, int asSize) => value.Length == asSize + 4 && Big(value, 0, asSize) != 0;

    private bool BeginsRight(List<(int Type, List<uint> Numbers)> path) =>
        path.Count > 0 && path[0].Type == 2 && path[0].Numbers[0] == (_asSize == 2 && _peerAs > 65535 ? 23456 : _peerAs);

    /// <summary>The segments; null when they are malformed.</summary>
    private static List<(int Type, List<uint> Numbers)>? Path(byte[] value, int size, bool confederation)
    {
        var path = new List<(int, List<uint>)>();
        for (int at = 0; at < value.Length;)
        {
            if (at + 2 > value.Length) return null;
            int type = value[at], count = value[at + 1];
            if (type == 0 || type > (confederation ? 4 : 2) || count == 0 || at + 2 + (count * size) > value.Length) return null;
            var numbers = new List<uint>();
            for (int i = 0; i < count; i++) numbers.Add(Big(value, at + 2 + (i * size), size));
            if (numbers.Contains(0)) return null;
            path.Add((type, numbers));
            at += 2 + (count * size);
        }

        return path;
    }

    /// <summary>The first attribute of a type, when its flags are right; else null.</summary>
    private byte[]? First(int code)
    {
        int at = _attributes.FindIndex(a => a.Code == code);
        return at >= 0 && _attributes[at].Flags == RightFlags(code) ? _attributes[at].Value : null;
    }

    private bool WasHere()
    {
        byte[]? own = First(2);
        if (own is null || Path(own, _asSize, false) is not { } path) return false;
        if (_asSize == 2) path = Merged(path);
        if (path.Exists(s => s.Numbers.Contains(_ourAs))) return true;
        if (_external) return false;
        byte[] us = Ours.V4;
        if (First(9) is { Length: 4 } originator && originator.SequenceEqual(us)) return true;
        return First(10) is { } clusters && clusters.Length % 4 == 0 && clusters.Chunk(4).Any(c => c.SequenceEqual(us));
    }

    /// <summary>RFC 6793 4.2.3: from the front of AS_PATH so many as AS4_PATH is shorter, then AS4_PATH.</summary>
    private List<(int Type, List<uint> Numbers)> Merged(List<(int Type, List<uint> Numbers)> path)
    {
        if (First(17) is not { Length: > 0 } raw || Path(raw, 4, true) is not { } as4) return path;
        as4.RemoveAll(s => s.Type > 2);
        bool known = First(7) is { } aggregator && RightAggregator(aggregator, 2) && Big(aggregator, 0, 2) != 23456;
        bool wide = First(18) is { } aggregator4 && RightAggregator(aggregator4, 4);
        int short4 = as4.Sum(s => s.Type == 1 ? 1 : s.Numbers.Count), all = path.Sum(s => s.Type == 1 ? 1 : s.Numbers.Count);
        if (as4.Count == 0 || (known && wide) || short4 > all) return path;
        var merged = new List<(int, List<uint>)>();
        int front = all - short4;
        foreach ((int type, List<uint> numbers) in path)
        {
            if (front == 0) break;
            int take = type == 1 ? numbers.Count : Math.Min(front, numbers.Count);
            front -= type == 1 ? 1 : take;
            merged.Add((type, numbers[..take]));
        }

        merged.AddRange(as4);
        return merged;
    }
}
