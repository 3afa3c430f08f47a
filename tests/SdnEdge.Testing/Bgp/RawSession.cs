using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Testing.Bgp;

/// <summary>
/// A speaker of ours (AS 65000, 10.255.0.1) with two peers: one under test, whose bytes the caller makes, and an observer
/// (eBGP, AS 65002) that is told every route let in.
/// <code>
///   bytes of the test --> 10.255.0.2 (iBGP, or eBGP AS 65001) --> speaker --> 10.255.0.3 (AS 65002) --> ToObserver
/// </code>
/// </summary>
public sealed class RawSession : IBgpWire
{
    /// <summary>Our AS.</summary>
    public const uint OurAs = 65000;

    /// <summary>AS of the peer under test over eBGP.</summary>
    public const uint ExternalAs = 65001;

    private const uint ObserverAs = 65002;
    private const long Second = 1_000_000_000;

    private readonly bool _fourOctetAs;
    private readonly bool _extended;
    private readonly byte[] _message = new byte[256];

    /// <summary>Makes the speaker; the observer's session is up, the other not.</summary>
    /// <param name="external">The peer under test is an eBGP peer.</param>
    /// <param name="fourOctetAs">It speaks 4-octet AS numbers.</param>
    /// <param name="extended">It sends extended messages (RFC 8654).</param>
    /// <param name="observerExtended">The observer takes them.</param>
    public RawSession(bool external, bool fourOctetAs = true, bool extended = false, bool observerExtended = false)
    {
        _extended = extended;
        External = external;
        _fourOctetAs = fourOctetAs;
        Engine = new BgpEngine(new BgpSpeakerSettings(OurAs, 0x0AFF0001, IpAddress.Parse("10.255.0.1"), IpAddress.Parse("fd00:ff::1")), Rib,
            this);
        var connected = new RouteOrigin(RouteSource.Connected, "connected");
        Rib.Offer(connected, IpPrefix.Parse("10.255.0.0/16"), HopSpec.Connected("core"), null, 0);
        Rib.Offer(connected, IpPrefix.Parse("fd00:ff::/64"), HopSpec.Connected("core"), null, 0);
        Engine.SetVrf(new VpnVrfSettings("red", RouteDistinguisher.Parse("65000:99"),
            99) { Import = [new BgpCommunity(CommunityKind.Extended, 0x0002_FDE8_0000_0001)] }, Red, Now);
        Peer = AddPeer("10.255.0.2", external ? ExternalAs : OurAs);
        Observer = AddPeer("10.255.0.3", ObserverAs);
        Up(Observer, ObserverAs, fourOctetAs: true, observerExtended);
        Turn();
        ToObserver.Clear();
    }

    /// <summary>The time, nanoseconds.</summary>
    public long Now { get; private set; } = 1_000_003;

    /// <summary>Whether the peer under test is an eBGP peer.</summary>
    public bool External { get; }

    /// <summary>Octets of the AS numbers it sends.</summary>
    public int AsSize => _fourOctetAs ? 4 : 2;

    /// <summary>The speaker.</summary>
    public BgpEngine Engine { get; }

    /// <summary>Its routes.</summary>
    public LocRib Rib { get; } = new("default");

    /// <summary>Routes of VRF red, which imports target 65000:1.</summary>
    public LocRib Red { get; } = new("red");

    /// <summary>The peer under test.</summary>
    public BgpPeer Peer { get; }

    /// <summary>The peer that is told everything.</summary>
    public BgpPeer Observer { get; }

    /// <summary>Messages sent to the peer under test since the connection was made.</summary>
    public List<byte[]> ToPeer { get; } = [];

    /// <summary>Bytes sent to the observer since the list was cleared.</summary>
    public List<byte[]> ToObserver { get; } = [];

    /// <summary>How often the connection of the peer under test was closed by us.</summary>
    public int Closed { get; private set; }

    /// <summary>What a peer under test that does not read leaves queued.</summary>
    public long PeerUnsent { get; set; }

    /// <summary>Body of the last NOTIFICATION sent to the peer under test; null when none was since it connected.</summary>
    public byte[]? Notification => ToPeer.LastOrDefault(m => m[18] == (byte)BgpMessageType.Notification)?[BgpLimits.HeaderSize..];

    /// <summary>Brings the connection of the peer under test to a state: OpenSent, OpenConfirm or Established.</summary>
    public void Connect(BgpState until = BgpState.Established)
    {
        // Past any wait after a fault, the doubled ones too; the observer's hold time is none.
        while (Peer.State == BgpState.Idle)
        {
            Now += 100 * Second;
            Engine.Tick(Now);
        }

        ToPeer.Clear();
        Engine.Connected(Peer, ConnectionSide.Incoming, Now);
        if (until >= BgpState.OpenConfirm) Receive(_message.AsSpan(0, Open(Peer.Settings.PeerAs, _fourOctetAs, 0x0AFF0002, _extended)));
        if (until >= BgpState.Established) Receive(_message.AsSpan(0, MessageWriter.Keepalive(_message)));
        Turn();
    }

    /// <summary>Bytes come from the peer under test.</summary>
    public void Receive(ReadOnlySpan<byte> bytes) => Engine.Received(Peer, ConnectionSide.Incoming, bytes, Now);

    /// <summary>Lets time pass.</summary>
    public void Advance(long nanoseconds)
    {
        Now += nanoseconds;
        Engine.Tick(Now);
    }

    /// <summary>What a control loop does after input: routes that changed are told to the peers.</summary>
    public void Turn()
    {
        ReadOnlySpan<RibChange> changes = Rib.TakeChanges();
        Engine.RibChanged(changes);
        Engine.CoreChanged(changes, Now);
        Red.TakeChanges();
        Engine.Flush();
    }

    void IBgpWire.Connect(BgpPeer peer)
    {
    }

    void IBgpWire.Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes)
        => (peer == Peer ? ToPeer : ToObserver).Add(bytes.ToArray());

    void IBgpWire.Close(BgpPeer peer, ConnectionSide side) => Closed += peer == Peer ? 1 : 0;

    long IBgpWire.Unsent(BgpPeer peer, ConnectionSide side) => peer == Peer ? PeerUnsent : 0;

    private BgpPeer AddPeer(string address, uint autonomousSystem) => Engine.AddPeer(
        new BgpPeerSettings(IpAddress.Parse(address), autonomousSystem)
        {
            Passive = true,
            Families = address == "10.255.0.3" ? BgpFamilies.Both : BgpFamilies.All,
            HoldTimeSeconds = address == "10.255.0.3" ? (ushort)0 : (ushort)90,
            Import = PrefixList.All,
            Export = PrefixList.All,
        },
        Now);

    private void Up(BgpPeer peer, uint autonomousSystem, bool fourOctetAs, bool extended)
    {
        Engine.Connected(peer, ConnectionSide.Incoming, Now);
        Engine.Received(peer, ConnectionSide.Incoming, _message.AsSpan(0, Open(autonomousSystem, fourOctetAs, 0x0AFF0003, extended)), Now);
        Engine.Received(peer, ConnectionSide.Incoming, _message.AsSpan(0, MessageWriter.Keepalive(_message)), Now);
    }

    private int Open(uint autonomousSystem, bool fourOctetAs, uint id, bool extended) =>
        new OpenMessage(autonomousSystem, 90, id, BgpFamilies.All, fourOctetAs, true) { ExtendedMessages = extended }.Write(_message);
}
