using System.Text;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Mirror;

/// <summary>
/// Puts records into frames of bytes. A frame holds whole records only and is handed out when it is full, or with
/// <see cref="Flush"/>. Writing never waits and, but for names, allocates only the frames.
/// </summary>
/// <param name="frame">Takes each frame; the bytes are its own from then on.</param>
public sealed class MirrorWriter(Action<byte[]> frame) : IMirrorSink
{
    /// <summary>A frame is handed out when it has reached so many bytes.</summary>
    public const int FrameBytes = 32 << 10;

    // The longest record but the two that hold lists, which grow the buffer.
    private const int RecordBytes = 1024;

    private byte[] _bytes = new byte[FrameBytes + RecordBytes];
    private int _at;

    /// <summary>Records written.</summary>
    public long Records { get; private set; }

    /// <summary>Hands out what has been written since the last frame, if anything.</summary>
    public void Flush()
    {
        if (_at == 0) return;
        byte[] full = _bytes.AsSpan(0, _at).ToArray();
        _at = 0;
        frame(full);
    }

    /// <summary>Forgets what has been written since the last frame.</summary>
    public void Discard() => _at = 0;

    /// <inheritdoc/>
    public void Begin() => Start(MirrorRecord.Begin);

    /// <inheritdoc/>
    public void End() => Start(MirrorRecord.End);

    /// <inheritdoc/>
    public void Loopbacks(IReadOnlyList<IpAddress> addresses)
    {
        Start(MirrorRecord.Loopbacks, 17 * addresses.Count);
        Number((uint)addresses.Count);
        foreach (IpAddress address in addresses) Address(address);
    }

    /// <inheritdoc/>
    public void Vrf(int index, string name, uint? key)
    {
        Start(MirrorRecord.Vrf);
        Number((uint)index);
        Text(name);
        Optional(key);
    }

    /// <inheritdoc/>
    public void VrfGone(int index) => Start(MirrorRecord.VrfGone, (uint)index);

    /// <inheritdoc/>
    public void Port(MirrorPort port)
    {
        Start(MirrorRecord.Port, 18 * port.Addresses.Count);
        Number((uint)port.Index);
        Text(port.Name);
        Number((uint)port.Vrf);
        Mac(port.Mac);
        Number((uint)port.Mtu);
        Byte((byte)((port.IsHost ? 1 : 0) | (port.Up ? 2 : 0) | (port.Link is null ? 0 : 4)));
        if (port.Link is { } link) Number((uint)link);
        Number((uint)port.Addresses.Count);
        foreach (PortAddress address in port.Addresses)
        {
            Address(address.Address);
            Number((uint)address.PrefixLength);
        }
    }

    /// <inheritdoc/>
    public void PortGone(int index) => Start(MirrorRecord.PortGone, (uint)index);

    /// <inheritdoc/>
    public void Neighbor(int port, IpAddress address, MacAddress mac, NeighborState state)
    {
        Start(MirrorRecord.Neighbor, (uint)port);
        Address(address);
        Mac(mac);
        Byte((byte)state);
    }

    /// <inheritdoc/>
    public void NeighborGone(int port, IpAddress address)
    {
        Start(MirrorRecord.NeighborGone, (uint)port);
        Address(address);
    }

    /// <inheritdoc/>
    public void Host(int port, IpAddress address)
    {
        Start(MirrorRecord.Host, (uint)port);
        Address(address);
    }

    /// <inheritdoc/>
    public void Tunnel(int id, TunnelOptions options, int vrf, int underlay, bool up)
    {
        Start(MirrorRecord.Tunnel, (uint)id);
        Text(options.Name);
        Address(options.Local);
        Address(options.Remote);
        Optional(options.Key);
        Byte((byte)options.Encapsulation);
        Number((uint)options.Mtu);
        Byte(options.Ttl);
        Byte((byte)options.Dscp);
        Byte(options.PipeDscp);
        Byte((byte)((options.TtlUniform ? 1 : 0) | (options.Ecn ? 2 : 0) | (options.MssClamp ? 4 : 0) | (options.Checksum ? 8 : 0)
            | (options.Sequence ? 16 : 0) | (options.UdpChecksum ? 32 : 0) | (options.IsRedirect ? 64 : 0) | (options.SendOnly ? 128 : 0)));
        Number((uint)vrf);
        Number((uint)underlay);
        Byte(up ? (byte)1 : (byte)0);
    }

    /// <inheritdoc/>
    public void TunnelState(int id, bool up, int pathMtu)
    {
        Start(MirrorRecord.TunnelState, (uint)id);
        Byte(up ? (byte)1 : (byte)0);
        Number((uint)pathMtu);
    }

    /// <inheritdoc/>
    public void TunnelGone(int id) => Start(MirrorRecord.TunnelGone, (uint)id);

    /// <inheritdoc/>
    public void Group(MirrorGroup group)
    {
        Start(MirrorRecord.Group, (uint)group.Id);
        Text(group.Name);
        Text(group.Vrf);
        Byte((byte)group.Arrivals);
        Byte((byte)group.Others);
        Number((uint)group.Tunnel);
    }

    /// <inheritdoc/>
    public void GroupGone(int id) => Start(MirrorRecord.GroupGone, (uint)id);

    /// <inheritdoc/>
    public void Hop(int id, MirrorHop decision)
    {
        Start(MirrorRecord.Hop, (uint)id);
        Decision(decision);
    }

    /// <inheritdoc/>
    public void HopGone(int id) => Start(MirrorRecord.HopGone, (uint)id);

    /// <inheritdoc/>
    public void Leaf(int vrf, uint index, int hop, int group, MirrorHop? attached)
    {
        Start(MirrorRecord.Leaf, (uint)vrf);
        Number(index);
        Number((uint)hop);
        Number((uint)group);
        Byte(attached is null ? (byte)0 : (byte)1);
        if (attached is { } hopOfServer) Decision(hopOfServer);
    }

    /// <inheritdoc/>
    public void LeafGone(int vrf, uint index)
    {
        Start(MirrorRecord.LeafGone, (uint)vrf);
        Number(index);
    }

    /// <inheritdoc/>
    public void Prefix(int vrf, IpPrefix prefix, uint leaf)
    {
        Start(prefix.Family == IpFamily.V4 ? MirrorRecord.PrefixV4 : MirrorRecord.PrefixV6, (uint)vrf);
        Number(leaf);
        Cut(prefix);
    }

    /// <inheritdoc/>
    public void PrefixGone(int vrf, IpPrefix prefix)
    {
        Start(prefix.Family == IpFamily.V4 ? MirrorRecord.PrefixGoneV4 : MirrorRecord.PrefixGoneV6, (uint)vrf);
        Cut(prefix);
    }

    private void Start(MirrorRecord kind, int extra = 0)
    {
        if (_at >= FrameBytes) Flush();
        if (_at + RecordBytes + extra > _bytes.Length) Array.Resize(ref _bytes, _at + RecordBytes + extra);
        Records++;
        _bytes[_at++] = (byte)kind;
    }

    private void Start(MirrorRecord kind, uint number)
    {
        Start(kind);
        Number(number);
    }

    private void Byte(byte value) => _bytes[_at++] = value;

    private void Number(uint value)
    {
        while (value >= 0x80)
        {
            _bytes[_at++] = (byte)(value | 0x80);
            value >>= 7;
        }

        _bytes[_at++] = (byte)value;
    }

    private void Optional(uint? value)
    {
        Byte(value is null ? (byte)0 : (byte)1);
        if (value is { } number) Number(number);
    }

    // Names are bounded by the configuration; what is longer is cut rather than trusted.
    private void Text(string text)
    {
        Span<byte> utf8 = stackalloc byte[MirrorReader.MaxText];
        Encoding.UTF8.TryGetBytes(text, utf8, out int length);
        if (length == 0 && text.Length > 0) length = Encoding.UTF8.GetBytes(text.AsSpan(0, MirrorReader.MaxText / 4), utf8);
        Number((uint)length);
        utf8[..length].CopyTo(_bytes.AsSpan(_at));
        _at += length;
    }

    private void Mac(MacAddress mac)
    {
        mac.Write(_bytes.AsSpan(_at, MacAddress.Size));
        _at += MacAddress.Size;
    }

    private void Address(IpAddress address)
    {
        Byte(address.IsNone ? (byte)0 : address.IsV4 ? (byte)1 : (byte)2);
        if (address.IsNone) return;
        address.Write(_bytes.AsSpan(_at, address.Size));
        _at += address.Size;
    }

    private void Decision(MirrorHop hop)
    {
        Byte((byte)hop.Kind);
        switch (hop.Kind)
        {
            case ForwardingKind.Drop:
                Byte((byte)hop.Reason);
                break;
            case ForwardingKind.Connected:
                Number((uint)hop.Port);
                break;
            case ForwardingKind.Via:
                Number((uint)hop.Port);
                Address(hop.Address);
                Address(hop.RemotePe);
                break;
            case ForwardingKind.Tunnel:
                Number((uint)hop.Tunnel);
                break;
        }
    }

    private void Cut(IpPrefix prefix)
    {
        Span<byte> address = stackalloc byte[16];
        prefix.Address.Write(address);
        int length = (prefix.Length + 7) / 8;
        Byte(prefix.Length);
        address[..length].CopyTo(_bytes.AsSpan(_at));
        _at += length;
    }
}
