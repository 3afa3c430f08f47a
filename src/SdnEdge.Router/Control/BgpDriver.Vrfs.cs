using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Bgp;

namespace SdnEdge.Router.Control;

/// <content>The speakers of VRFs beside that of the default one (decision 0025).</content>
internal sealed partial class BgpDriver
{
    private IEnumerable<BgpSpeaker> Speakers => _vrfs.Values.Select(v => v.Speaker).Concat(_speaker is null ? [] : [_speaker]);

    private BgpSpeaker? SpeakerOf(string vrf) => vrf == NodeConfig.DefaultVrf ? _speaker : _vrfs.GetValueOrDefault(vrf)?.Speaker;

    private static string NameIn(string vrf, BgpPeer peer) => vrf == NodeConfig.DefaultVrf ? peer.ToString() : $"{peer}@{vrf}";

    private static IEnumerable<BgpPeerInfo> Infos(BgpSpeaker? speaker, string vrf, long now) => speaker?.Engine.Peers.Select(p =>
    {
        BgpPeerInfo info = p.ToInfo(now);
        return info with { Address = NameIn(vrf, p), Vrf = vrf, RoundTripMs = speaker.RoundTripMs(p), State = KebabWord(info.State) };
    }) ?? [];

    // What a CE is told of its VRF's own routes; those of other PEs and CEs the engine tells by itself.
    private void Tell(string vrf, VrfSessions sessions, IpPrefix prefix, RouteOrigin? origin)
    {
        if (origin?.Source != RouteSource.Local && IsTold(prefix, origin)) // loopbacks are of the default VRF
        {
            sessions.Told.Add(prefix);
            sessions.Speaker.Advertise(prefix, _config.LocalPref, leaving: _leaving.Contains((vrf, prefix)));
        }
        else if (sessions.Told.Remove(prefix))
        {
            sessions.Speaker.Withdraw(prefix);
        }
    }

    /// <summary>The sessions of a VRF, and which of its own routes they tell.</summary>
    private sealed record VrfSessions(BgpSpeaker Speaker)
    {
        public HashSet<IpPrefix> Told { get; } = [];
    }
}
