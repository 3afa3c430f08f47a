using System.Text;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>Reads frames of a <see cref="MirrorWriter"/>. Whatever the bytes are it does not throw.</summary>
public ref struct MirrorReader
{
    /// <summary>Longest text, bytes.</summary>
    public const int MaxText = 255;

    // Indexes and numbers beyond this are no index of ours: a table that grew to one would fill the memory.
    private const uint MaxIndex = 1 << 24;

    private ReadOnlySpan<byte> _rest;
    private bool _bad;

    /// <summary>Reads a frame and makes its calls, in order. False: the frame is damaged; the calls before the damage were made.</summary>
    /// <param name="frame">The frame, whole.</param>
    /// <param name="into">Is called.</param>
    /// <param name="records">Records read.</param>
    public static bool Read(ReadOnlySpan<byte> frame, IMirrorSink into, out int records)
    {
        var reader = new MirrorReader { _rest = frame };
        records = 0;
        while (!reader._rest.IsEmpty)
        {
            reader.One(into);
            if (reader._bad) return false;
            records++;
        }

        return true;
    }

    private void One(IMirrorSink into)
    {
        switch ((MirrorRecord)Byte())
        {
            case MirrorRecord.Begin:
                into.Begin();
                break;
            case MirrorRecord.End:
                into.End();
                break;
            case MirrorRecord.Loopbacks:
                var addresses = new List<IpAddress>();
                for (uint left = Number(); left > 0 && !_bad; left--) addresses.Add(Address());
                if (!_bad) into.Loopbacks(addresses);
                break;
            case MirrorRecord.Vrf:
                (int index, string name, uint? key) = (Index(), Text(), Optional());
                if (!_bad) into.Vrf(index, name, key);
                break;
            case MirrorRecord.VrfGone:
                index = Index();
                if (!_bad) into.VrfGone(index);
                break;
            case MirrorRecord.Port:
                MirrorPort port = ReadPort();
                if (!_bad) into.Port(port);
                break;
            case MirrorRecord.PortGone:
                index = Index();
                if (!_bad) into.PortGone(index);
                break;
            case MirrorRecord.Neighbor:
                (index, IpAddress address, MacAddress mac, NeighborState state) =
                    (Index(), Address(), Mac(), (NeighborState)Limited((byte)NeighborState.Permanent));
                if (!_bad) into.Neighbor(index, address, mac, state);
                break;
            case MirrorRecord.NeighborGone:
                (index, address) = (Index(), Address());
                if (!_bad) into.NeighborGone(index, address);
                break;
            case MirrorRecord.Host:
                (index, address) = (Index(), Address());
                if (!_bad) into.Host(index, address);
                break;
            case MirrorRecord.Tunnel:
                ReadTunnel(into);
                break;
            case MirrorRecord.TunnelState:
                (index, bool up, int pathMtu) = (Index(), Limited(1) == 1, Index());
                if (!_bad) into.TunnelState(index, up, pathMtu);
                break;
            case MirrorRecord.TunnelGone:
                index = Index();
                if (!_bad) into.TunnelGone(index);
                break;
            case MirrorRecord.Group:
                var group = new MirrorGroup(Index(), Text(), Text(), (MirrorGroupAction)Limited(2), (MirrorGroupAction)Limited(2), Index());
                if (!_bad) into.Group(group);
                break;
            case MirrorRecord.GroupGone:
                index = Index();
                if (!_bad) into.GroupGone(index);
                break;
            case MirrorRecord.Hop:
                (index, MirrorHop hop) = (Index(), Decision());
                if (!_bad) into.Hop(index, hop);
                break;
            case MirrorRecord.HopGone:
                index = Index();
                if (!_bad) into.HopGone(index);
                break;
            case MirrorRecord.Leaf:
                ReadLeaf(into);
                break;
            case MirrorRecord.LeafGone:
                (index, uint leaf) = (Index(), (uint)Index());
                if (!_bad) into.LeafGone(index, leaf);
                break;
            case MirrorRecord.PrefixV4:
                ReadPrefix(into, IpFamily.V4);
                break;
            case MirrorRecord.PrefixV6:
                ReadPrefix(into, IpFamily.V6);
                break;
            case MirrorRecord.PrefixGoneV4:
                (index, IpPrefix gone) = (Index(), Cut(IpFamily.V4));
                if (!_bad) into.PrefixGone(index, gone);
                break;
            case MirrorRecord.PrefixGoneV6:
                (index, gone) = (Index(), Cut(IpFamily.V6));
                if (!_bad) into.PrefixGone(index, gone);
                break;
            default:
                _bad = true;
                break;
        }
    }

    private MirrorPort ReadPort()
    {
        (int index, string name, int vrf, MacAddress mac, int mtu, byte flags) = (Index(), Text(), Index(), Mac(), Index(), Limited(7));
        int? link = (flags & 4) != 0 ? Index() : null;
        var addresses = new List<PortAddress>();
        for (uint left = Number(); left > 0 && !_bad; left--)
        {
            IpAddress address = Address();
            uint length = Number();
            _bad |= address.IsNone || length > address.BitLength;
            if (!_bad) addresses.Add(new PortAddress(address, (int)length));
        }

        _bad |= mtu is 0 or > 65535;
        return new MirrorPort(index, name, vrf, mac, mtu, (flags & 1) != 0, (flags & 2) != 0, addresses, link);
    }

    private void ReadTunnel(IMirrorSink into)
    {
        int id = Index();
        var options = new TunnelOptions(Text(), Address(), Address(), Optional())
        {
            Encapsulation = (TunnelEncapsulation)Limited(1),
            Mtu = Index(),
            Ttl = Byte(),
            Dscp = (DscpModel)Limited(2),
            PipeDscp = Limited(63),
        };
        byte flags = Byte();
        options = options with
        {
            TtlUniform = (flags & 1) != 0,
            Ecn = (flags & 2) != 0,
            MssClamp = (flags & 4) != 0,
            Checksum = (flags & 8) != 0,
            Sequence = (flags & 16) != 0,
            UdpChecksum = (flags & 32) != 0,
            IsRedirect = (flags & 64) != 0,
            SendOnly = (flags & 128) != 0,
        };
        (int vrf, int underlay, bool up) = (Index(), Index(), Limited(1) == 1);
        _bad |= options.Local.IsNone || options.Local.Family != options.Remote.Family;
        if (!_bad) into.Tunnel(id, options, vrf, underlay, up);
    }

    private void ReadLeaf(IMirrorSink into)
    {
        (int vrf, uint index, int hop, int group) = (Index(), (uint)Index(), Index(), Index());
        MirrorHop? attached = Limited(1) == 1 ? Decision() : null;
        if (!_bad) into.Leaf(vrf, index, hop, group, attached);
    }

    private void ReadPrefix(IMirrorSink into, IpFamily family)
    {
        (int vrf, uint leaf) = (Index(), (uint)Index());
        IpPrefix prefix = Cut(family);
        if (!_bad) into.Prefix(vrf, prefix, leaf);
    }

    private MirrorHop Decision()
    {
        var kind = (ForwardingKind)Byte();
        switch (kind)
        {
            case ForwardingKind.Drop:
                var reason = (DropReason)Byte();
                _bad |= !Enum.IsDefined(reason);
                return new MirrorHop(kind, Reason: reason);
            case ForwardingKind.Unreachable or ForwardingKind.Local: return new MirrorHop(kind);
            case ForwardingKind.Connected: return new MirrorHop(kind, Port: Index());
            case ForwardingKind.Via: return new MirrorHop(kind, Port: Index(), Address: Address(), RemotePe: Address());
            case ForwardingKind.Tunnel: return new MirrorHop(kind, Tunnel: Index());
            default:
                _bad = true;
                return default;
        }
    }

    private IpPrefix Cut(IpFamily family)
    {
        int length = Byte(), bytes = (length + 7) / 8;
        if (length > (family == IpFamily.V4 ? 32 : 128) || bytes > _rest.Length)
        {
            _bad = true;
            return default;
        }

        Span<byte> address = stackalloc byte[16];
        address.Clear();
        _rest[..bytes].CopyTo(address);
        _rest = _rest[bytes..];
        return new IpPrefix(IpAddress.Read(family, address[..(family == IpFamily.V4 ? 4 : 16)]), length);
    }

    private byte Byte()
    {
        if (_rest.IsEmpty)
        {
            _bad = true;
            return 0;
        }

        byte value = _rest[0];
        _rest = _rest[1..];
        return value;
    }

    private byte Limited(byte most)
    {
        byte value = Byte();
        _bad |= value > most;
        return value;
    }

    private uint Number()
    {
        uint value = 0;
        for (int shift = 0; shift < 35; shift += 7)
        {
            byte part = Byte();
            value |= (uint)(part & 0x7F) << shift;
            if ((part & 0x80) == 0) return value;
        }

        _bad = true;
        return 0;
    }

    private int Index()
    {
        uint value = Number();
        _bad |= value > MaxIndex;
        return _bad ? 0 : (int)value;
    }

    private uint? Optional() => Limited(1) == 1 ? Number() : null;

    private string Text()
    {
        uint length = Number();
        if (length > MaxText || length > _rest.Length)
        {
            _bad = true;
            return "";
        }

        string text = Encoding.UTF8.GetString(_rest[..(int)length]);
        _rest = _rest[(int)length..];
        return text;
    }

    private MacAddress Mac()
    {
        if (_rest.Length < MacAddress.Size)
        {
            _bad = true;
            return default;
        }

        MacAddress mac = MacAddress.Read(_rest);
        _rest = _rest[MacAddress.Size..];
        return mac;
    }

    private IpAddress Address()
    {
        byte family = Limited(2);
        int size = family == 0 ? 0 : family == 1 ? 4 : 16;
        if (_bad || size > _rest.Length)
        {
            _bad = true;
            return default;
        }

        if (size == 0) return default;
        IpAddress address = IpAddress.Read(family == 1 ? IpFamily.V4 : IpFamily.V6, _rest[..size]);
        _rest = _rest[size..];
        return address;
    }
}
