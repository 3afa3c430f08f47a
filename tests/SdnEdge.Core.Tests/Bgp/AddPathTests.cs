using SdnEdge.Core.Bgp;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp;

/// <summary>Several paths to one prefix from one peer (RFC 7911), as a route reflector of another make sends them.</summary>
public sealed class AddPathTests
{
    private const string Server = "10.1.1.10/32";
    private static readonly IpPrefix Prefix = IpPrefix.Parse(Server);

    private readonly SimNetwork _net = new();
    private readonly SimSpeaker _a;
    private readonly BgpPeer _peer;

    public AddPathTests()
    {
        _a = _net.Add(1);
        _peer = _a.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(2), 65000) { Passive = true, AddPath = true,
            LimitV4 = new BgpPrefixLimit(3) }, _net.Now);
        Establish(BgpFamilies.V4);
    }

    [Fact]
    public void Each_path_is_a_route_of_its_own_and_goes_by_itself()
    {
        Announce(1, 100);
        Announce(2, 200);
        Announce(3, 150);
        IReadOnlyList<RouteView> all = _a.Rib.Explain(Prefix);
        Assert.Equal(3, all.Count);
        Assert.Equal(3, _peer.Origin.Prefixes);
        Assert.Equal(200u, _a.Rib.Best(Prefix)!.Value.Attributes!.LocalPref);
        RouteView loser = all.First(r => !r.Best);
        Assert.Contains("LOCAL_PREF", BestPathReason.Text(loser, all), StringComparison.Ordinal);

        Send("0009 00000002 20 0A01010A 0000");
        Assert.Equal(150u, _a.Rib.Best(Prefix)!.Value.Attributes!.LocalPref);
        Announce(1, 300);
        Assert.Equal(2, _a.Rib.Explain(Prefix).Count);
        Assert.Equal(300u, _a.Rib.Best(Prefix)!.Value.Attributes!.LocalPref);
    }

    [Fact]
    public void All_paths_go_with_the_session_and_count_for_its_limit()
    {
        for (uint id = 1; id <= 3; id++) Announce(id, 100);
        Assert.Equal(BgpState.Established, _peer.State);
        Announce(4, 100);
        Assert.Equal(BgpState.Idle, _peer.State);
        Assert.Equal(0, _peer.Origin.Prefixes);
        Assert.Null(_a.Rib.Best(Prefix));
    }

    [Fact]
    public void A_family_the_peer_does_not_tell_so_has_no_identifiers_and_a_torn_one_resets()
    {
        var test = new AddPathTests(none: true);
        string attributes = "40 01 01 00 40 02 00 40 03 04 0AFF0002 40 05 04 00000064";
        test._a.Engine.Received(test._peer, ConnectionSide.Incoming,
            UpdateBytes.Message(BgpMessageType.Update, UpdateBytes.Body(attributes, "20 0A01010A")), test._net.Now);
        Assert.Single(test._a.Rib.Explain(Prefix));

        Send($"0000 {UpdateBytes.Hex(attributes).Length:X4} {attributes} 000000");
        Assert.NotEqual(BgpState.Established, _peer.State);
        Assert.Equal(1, _peer.Faults[BgpFault.NlriSyntax]);
    }

    private AddPathTests(bool none)
    {
        Assert.True(none);
        _a = _net.Add(1);
        _peer = _a.Engine.AddPeer(new BgpPeerSettings(SimNetwork.Address(2), 65000) { Passive = true, AddPath = true }, _net.Now);
        Establish(BgpFamilies.None);
    }

    private void Establish(BgpFamilies tells)
    {
        _a.Engine.Connected(_peer, ConnectionSide.Incoming, _net.Now);
        var bytes = new byte[128];
        int open = new OpenMessage(65000, 9, 2, BgpFamilies.Both, true, true) { AddPathSendFamilies = tells }.Write(bytes);
        _a.Engine.Received(_peer, ConnectionSide.Incoming, bytes.AsSpan(0, open), _net.Now);
        _a.Engine.Received(_peer, ConnectionSide.Incoming, bytes.AsSpan(0, MessageWriter.Keepalive(bytes)), _net.Now);
        Assert.Equal(tells, _peer.Negotiated!.AddPathFamilies);
    }

    private void Announce(uint id, uint localPref)
    {
        string attributes = $"40 01 01 00 40 02 00 40 03 04 0AFF0002 40 05 04 {localPref:X8}";
        Send($"0000 {UpdateBytes.Hex(attributes).Length:X4} {attributes} {id:X8} 20 0A01010A");
    }

    private void Send(string body)
        => _a.Engine.Received(_peer, ConnectionSide.Incoming, UpdateBytes.Message(BgpMessageType.Update, UpdateBytes.Hex(body)), _net.Now);
}
