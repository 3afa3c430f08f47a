using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>
/// Speakers in one process on a network of their own: connections are pairs of byte queues, time is a number. Connections
/// and bytes are delivered in rounds, so that both ends may connect at once and collide.
/// </summary>
internal sealed class SimNetwork
{
    public const long Millisecond = 1_000_000;

    private readonly Dictionary<IpAddress, SimSpeaker> _speakers = [];
    private readonly List<Link> _links = [];

    /// <summary>The time, nanoseconds; starts at an odd value.</summary>
    public long Now { get; private set; } = 12_345_678_901;

    /// <summary>Most bytes delivered of one queue in one round; small values tear messages.</summary>
    public int Chunk { get; set; } = 65536;

    /// <summary>What one speaker sends another waits as long as this says so, so that others hear of a change first.</summary>
    public Func<SimSpeaker, SimSpeaker, bool> IsLate { get; set; } = (_, _) => false;

    public SimSpeaker Add(int i, uint autonomousSystem = 65000, Func<BgpSpeakerSettings, BgpSpeakerSettings>? with = null)
    {
        IpAddress address = Address(i);
        var settings = new BgpSpeakerSettings(autonomousSystem, (uint)i, address, Address6(i), Seed: i);
        var speaker = new SimSpeaker(this, address, with is null ? settings : with(settings));
        _speakers.Add(address, speaker);
        return speaker;
    }

    public static IpAddress Address(int i) => IpAddress.FromV4(0x0AFF_0000u | (uint)i);

    public static IpAddress Address6(int i) => IpAddress.FromV6(((UInt128)0xfd00_00ff_0000_0000 << 64) | (uint)i);

    /// <summary>Delivers until nothing moves any more. Time stands still.</summary>
    public void Settle()
    {
        for (int round = 0; round < 100_000; round++)
        {
            if (!Round()) return;
        }

        throw new InvalidOperationException("The speakers never stop talking.");
    }

    /// <summary>Lets time pass in odd steps, timers included.</summary>
    public void Advance(long nanoseconds)
    {
        long until = Now + nanoseconds;
        while (Now < until)
        {
            Now = Math.Min(until, Now + (97 * Millisecond) + 13);
            foreach (SimSpeaker speaker in _speakers.Values) speaker.Engine.Tick(Now);
            Settle();
        }
    }

    /// <summary>Cuts all connections between two speakers: both ends see them closed.</summary>
    public void Cut(SimSpeaker a, SimSpeaker b)
    {
        foreach (Link link in _links.Where(l => (l.Opener == a && l.Acceptor == b) || (l.Opener == b && l.Acceptor == a)).ToList())
            Close(link, null);
        Settle();
    }

    /// <summary>
    /// Takes a speaker off the network as if its process had been killed: the others see their connections closed, or with
    /// <paramref name="silently"/> nothing at all. Another may then come in its place.
    /// </summary>
    public void Kill(SimSpeaker speaker, bool silently = false)
    {
        _speakers.Remove(speaker.Address);
        foreach (Link link in _links.Where(l => l.Opener == speaker || l.Acceptor == speaker).ToList())
        {
            link.OpenerGone |= link.Opener == speaker;
            link.AcceptorGone |= link.Acceptor == speaker;
            if (!silently) link.Closing = true;
        }

        Settle();
    }

    internal void Connect(SimSpeaker from, BgpPeer peer)
        => _links.Add(new Link(from, peer, _speakers.GetValueOrDefault(peer.Settings.Address)));

    internal void Send(SimSpeaker from, BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes)
    {
        if (Find(from, peer, side) is { } link) (link.Opener == from ? link.ToAcceptor : link.ToOpener).AddRange(bytes);
    }

    internal void Close(SimSpeaker from, BgpPeer peer, ConnectionSide side)
    {
        if (Find(from, peer, side) is { } link) Close(link, from);
    }

    private Link? Find(SimSpeaker from, BgpPeer peer, ConnectionSide side)
    {
        SimSpeaker? other = _speakers.GetValueOrDefault(peer.Settings.Address);
        return side == ConnectionSide.Outgoing
            ? _links.Find(l => l.Opener == from && l.Acceptor == other && !l.OpenerGone)
            : _links.Find(l => l.Acceptor == from && l.Opener == other && l.Open && !l.AcceptorGone);
    }

    private static void Close(Link link, SimSpeaker? by)
    {
        link.OpenerGone |= by == link.Opener;
        link.AcceptorGone |= by == link.Acceptor;
        link.Closing = true;
    }

    /// <summary>Delivers one round. False: nothing moved, and nothing is left but what is late.</summary>
    public bool Round()
    {
        bool moved = false;
        foreach (Link link in _links.ToList())
        {
            if (!link.Open && !link.Closing) Establish(link);
            else if (!Deliver(link)) continue;
            moved = true;
        }

        foreach (SimSpeaker speaker in _speakers.Values)
        {
            speaker.Engine.RibChanged(speaker.Rib.TakeChanges());
            speaker.Engine.Flush();
        }

        return moved || _links.Exists(l => (l.ToAcceptor.Count > 0 && !IsLate(l.Opener, l.Acceptor!))
            || (l.ToOpener.Count > 0 && !IsLate(l.Acceptor!, l.Opener)));
    }

    private void Establish(Link link)
    {
        if (link.Acceptor is null || !link.Acceptor.Engine.Accepts(link.Opener.Address))
        {
            _links.Remove(link);
            if (!link.OpenerGone) link.Opener.Engine.Disconnected(link.OpenerPeer, ConnectionSide.Outgoing, Now);
            return;
        }

        // A newer incoming connection replaces the older one.
        foreach (Link older in _links.Where(l => l != link && l.Opener == link.Opener && l.Acceptor == link.Acceptor && l.Open
            && !l.AcceptorGone)) Close(older, link.Acceptor);
        link.Open = true;
        link.Acceptor.Engine.Connected(link.AcceptorPeer, ConnectionSide.Incoming, Now);
        if (!link.OpenerGone) link.Opener.Engine.Connected(link.OpenerPeer, ConnectionSide.Outgoing, Now);
    }

    private bool Deliver(Link link)
    {
        bool moved = !IsLate(link.Opener, link.Acceptor!)
            && Deliver(link.ToAcceptor, link.AcceptorGone ? null : link.Acceptor, link.AcceptorPeer, ConnectionSide.Incoming);
        moved |= !IsLate(link.Acceptor!, link.Opener)
            && Deliver(link.ToOpener, link.OpenerGone ? null : link.Opener, link.OpenerPeer, ConnectionSide.Outgoing);
        if (!link.Closing || link.ToAcceptor.Count + link.ToOpener.Count > 0) return moved;
        _links.Remove(link);
        if (link.Open && !link.AcceptorGone) link.Acceptor!.Engine.Disconnected(link.AcceptorPeer, ConnectionSide.Incoming, Now);
        if (!link.OpenerGone) link.Opener.Engine.Disconnected(link.OpenerPeer, ConnectionSide.Outgoing, Now);
        return true;
    }

    private bool Deliver(List<byte> queue, SimSpeaker? to, BgpPeer peer, ConnectionSide side)
    {
        if (queue.Count == 0) return false;
        int count = Math.Min(Chunk, queue.Count);
        byte[] bytes = [.. queue.Take(count)];
        queue.RemoveRange(0, count);
        to?.Engine.Received(peer, side, bytes, Now);
        return true;
    }

    private sealed class Link(SimSpeaker opener, BgpPeer openerPeer, SimSpeaker? acceptor)
    {
        public SimSpeaker Opener { get; } = opener;

        public SimSpeaker? Acceptor { get; } = acceptor;

        public List<byte> ToAcceptor { get; } = [];

        public List<byte> ToOpener { get; } = [];

        public bool Open { get; set; }

        public bool Closing { get; set; }

        public bool OpenerGone { get; set; }

        public bool AcceptorGone { get; set; }

        public BgpPeer OpenerPeer { get; } = openerPeer;

        public BgpPeer AcceptorPeer => Acceptor!.Engine.Find(Opener.Address)!;
    }
}

/// <summary>A speaker on the simulated network; every other one's addresses are reachable.</summary>
internal sealed class SimSpeaker : IBgpWire
{
    private readonly SimNetwork _network;

    public SimSpeaker(SimNetwork network, IpAddress address, BgpSpeakerSettings settings)
    {
        _network = network;
        Address = address;
        Engine = new BgpEngine(settings, Rib, this);
        Rib.Offer(Connected, IpPrefix.Parse("10.255.0.0/16"), HopSpec.Connected("core"), null, 0);
        Rib.Offer(Connected, IpPrefix.Parse("fd00:ff::/64"), HopSpec.Connected("core"), null, 0);
    }

    public IpAddress Address { get; }

    public LocRib Rib { get; } = new("default");

    public RouteOrigin Connected { get; } = new(RouteSource.Connected, "connected");

    public BgpEngine Engine { get; }

    public BgpPeer Peer(SimSpeaker other, uint autonomousSystem = 65000, Func<BgpPeerSettings, BgpPeerSettings>? with = null)
    {
        var settings = new BgpPeerSettings(other.Address, autonomousSystem);
        return Engine.AddPeer(with is null ? settings : with(settings), _network.Now);
    }

    public IpAddress? BestVia(string prefix) => Rib.Best(IpPrefix.Parse(prefix))?.Hop.Spec.Address;

    public void Connect(BgpPeer peer) => _network.Connect(this, peer);

    public void Send(BgpPeer peer, ConnectionSide side, ReadOnlySpan<byte> bytes) => _network.Send(this, peer, side, bytes);

    public void Close(BgpPeer peer, ConnectionSide side) => _network.Close(this, peer, side);

    public long Unsent(BgpPeer peer, ConnectionSide side) => 0;
}
