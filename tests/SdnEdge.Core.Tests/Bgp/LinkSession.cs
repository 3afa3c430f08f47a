using System.Buffers.Binary;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>
/// A session of an engine (AS 65000, loopbacks 10.255.0.1 and fd00:ff::1, ports core 172.16.0.1/24, fd00:16::1/64 and dc 10.1.0.1/24) with
/// a peer that the test speaks for, byte by byte.
/// </summary>
internal sealed class LinkSession : IBgpWire
{
    public static readonly IpAddress LinkLocal = IpAddress.Parse("fe80::1");

    public static readonly BgpLink OnCore = new("core",
        [new PortAddress(IpAddress.Parse("172.16.0.1"), 24), new PortAddress(IpAddress.Parse("fd00:16::1"), 64)], LinkLocal);

    private readonly List<(BgpPeer Peer, byte[] Message)> _sent;

    /// <summary>A session of a new engine, or one more of that of another session.</summary>
    public LinkSession(BgpPeerSettings settings, LinkSession? with = null)
    {
        _sent = with?._sent ?? [];
        Rib = with?.Rib ?? new LocRib("default");
        Engine = with?.Engine ?? new BgpEngine(new BgpSpeakerSettings(65000, 0x0AFF_0001, IpAddress.Parse("10.255.0.1"),
            IpAddress.Parse("fd00:ff::1")), Rib, this);
        if (with is null)
        {
            var connected = new RouteOrigin(RouteSource.Connected, "connected");
            Rib.Offer(connected, IpPrefix.Parse("172.16.0.0/24"), HopSpec.Connected("core"), null, 0);
            Rib.Offer(connected, IpPrefix.Parse("fd00:16::/64"), HopSpec.Connected("core"), null, 0);
            Rib.Offer(connected, IpPrefix.Parse("10.1.0.0/24"), HopSpec.Connected("dc"), null, 0);
        }

        Peer = Engine.AddPeer(settings, 0);
    }

    public LocRib Rib { get; }

    public BgpEngine Engine { get; }

    public BgpPeer Peer { get; }

    /// <summary>NOTIFICATIONs sent to the peer: code, subcode and data.</summary>
    public IEnumerable<string> Notifications => _sent.Where(s => s.Peer == Peer && s.Message[18] == (byte)BgpMessageType.Notification)
        .Select(s => Convert.ToHexString(s.Message.AsSpan(BgpLimits.HeaderSize)));

    /// <summary>The OPEN that we send.</summary>
    public OpenMessage Offered()
    {
        if (Peer.State != BgpState.OpenSent) Engine.Connected(Peer, ConnectionSide.Incoming, 0);
        byte[] message = _sent.First(s => s.Peer == Peer && s.Message[18] == (byte)BgpMessageType.Open).Message;
        Assert.Equal(BgpFault.None, OpenMessage.Parse(message.AsSpan(BgpLimits.HeaderSize), out OpenMessage? open));
        return open!;
    }

    /// <summary>The peer connects and agrees on what it is offered, changed by <paramref name="with"/>.</summary>
    public void Establish(Func<OpenMessage, OpenMessage>? with = null)
    {
        OpenMessage offered = Offered();
        OpenMessage open = offered with { As = Peer.Settings.PeerAs, RouterId = 0x0AFF_0009, GracefulRestart = null };
        byte[] message = new byte[BgpLimits.MaxMessage];
        Hear(message.AsSpan(0, (with is null ? open : with(open)).Write(message)));
        Hear(message.AsSpan(0, MessageWriter.Keepalive(message)));
        Assert.Equal(BgpState.Established, Peer.State);
    }

    /// <summary>An UPDATE of the peer.</summary>
    public void Say(string attributes, string nlri, string withdrawn = "")
        => Hear(UpdateBytes.Message(BgpMessageType.Update, UpdateBytes.Body(attributes, nlri, withdrawn)));

    /// <summary>Bytes of the peer.</summary>
    public void Hear(ReadOnlySpan<byte> bytes) => Engine.Received(Peer, ConnectionSide.Incoming, bytes, 1);

    /// <summary>What the peer is told: prefixes with their next hops, two where there are two.</summary>
    public List<string> Told()
    {
        Engine.RibChanged(Rib.TakeChanges());
        Engine.Flush();
        var told = new List<string>();
        foreach ((_, byte[] message) in _sent.Where(s => s.Peer == Peer && s.Message[18] == (byte)BgpMessageType.Update))
        {
            ReadOnlySpan<byte> body = message.AsSpan(BgpLimits.HeaderSize);
            int attributes = BinaryPrimitives.ReadUInt16BigEndian(body[2..]);
            string hop = "";
            foreach (RawAttribute attribute in new AttributeReader(body.Slice(4, attributes)))
            {
                ReadOnlySpan<byte> value = attribute.Value;
                if (attribute.Code == AttributeCode.NextHop) hop = IpAddress.Read(IpFamily.V4, value).ToString();
                if (attribute.Code != AttributeCode.MpReach) continue;
                var hops = new List<IpAddress>();
                for (int at = 4; at < 4 + value[3]; at += 16) hops.Add(IpAddress.Read(IpFamily.V6, value[at..]));
                foreach (IpPrefix prefix in new NlriReader(value[(5 + value[3])..], (IpFamily)value[1]))
                    told.Add($"{prefix} {string.Join(' ', hops)}");
            }

            foreach (IpPrefix prefix in new NlriReader(body[(4 + attributes)..], IpFamily.V4)) told.Add($"{prefix} {hop}");
        }

        return told;
    }

    public void Connect(BgpPeer peer)
    {
    }

    public void Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes) => _sent.Add((peer, bytes.ToArray()));

    public void Close(BgpPeer peer, ConnectionSide side)
    {
    }

    public long Unsent(BgpPeer peer, ConnectionSide side) => 0;
}
