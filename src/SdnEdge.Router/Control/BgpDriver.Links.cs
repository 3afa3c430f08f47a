using SdnEdge.Core.Api;
using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Bgp;

namespace SdnEdge.Router.Control;

/// <content>
/// Peers known by their link alone (<c>link: core</c>): whoever is the router there.
/// <list type="number">
/// <item>The router is heard: it advertises itself, or connects to us. From then on it is a peer like one with a link-local address.</item>
/// <item>Another one takes its place only when it has no session and has not advertised itself for three intervals: two routers on one
/// link do not take the peer from each other.</item>
/// </list>
/// </content>
internal sealed partial class BgpDriver
{
    private const int IntervalsToForget = 3;

    private readonly Dictionary<string, LinkPeer> _links = []; // by port

    /// <summary>BFD is wanted with a peer that was found on its link.</summary>
    public event Action<BfdConfig>? WatchWanted;

    /// <summary>It is wanted no more.</summary>
    public event Action<BfdConfig>? WatchUnwanted;

    /// <summary>A router has advertised itself on a port.</summary>
    public void RouterHeard(string port, IpAddress address, long now)
    {
        if (_links.TryGetValue(port, out LinkPeer? link)) Meet(link, address, now);
    }

    private void AddLink(BgpPeerConfig config)
    {
        var link = new LinkPeer { Config = config, End = EndOf(config) };
        _links.Add(config.LinkPort!, link);
        if (link.End is { } end) SpeakerOf(config.Vrf)!.Keep(end);
    }

    // True: it is the peer now.
    private bool Meet(LinkPeer link, IpAddress address, long now)
    {
        if (link.Found is { } found)
        {
            if (found.Address != address)
            {
                BgpSpeaker speaker = SpeakerOf(found.Vrf)!;
                long forgetAt = link.HeardAt + (IntervalsToForget * link.Config.AdvertiseSeconds * 1_000_000_000L);
                if (now < forgetAt || speaker.Engine.Find(found.Key) is { State: BgpState.Established }) return false;
                link.Found = null;
                if (found.Bfd is { } watched) WatchUnwanted?.Invoke(watched);
                speaker.RemovePeer(found.Key, now);
                state.Events.Add(now, "bgp", NameOf(found), "removed", $"{address} is the router on port {found.LinkPort} now");
            }
            else
            {
                link.HeardAt = now;
                return true;
            }
        }

        link.Found = link.Config with { Address = address,
            Bfd = link.Config.Bfd is { } session ? session with { Address = address } : null };
        link.HeardAt = now;
        state.Events.Add(now, "bgp", NameOf(link.Found), "found", $"it is the router on port {link.Config.LinkPort}");
        AddPeer(link.Found);
        if (link.Found.Bfd is { } wanted) WatchWanted?.Invoke(wanted);
        return true;
    }

    // A connection that no key has protected tells nothing of a peer that must have one.
    private bool MeetStranger(string vrf, BgpPeerKey from) => _links.TryGetValue(from.Zone!, out LinkPeer? link) && link.Config.Vrf == vrf
        && link.Config is { Password: null, Ao: null } && from.Address is { IsV6: true, IsLinkLocal: true }
        && Meet(link, from.Address, loop.Now);

    // As it is to be found in its speaker.
    private BgpPeerConfig Found(BgpPeerConfig config)
        => config.OnLink && _links.TryGetValue(config.LinkPort!, out LinkPeer? link) ? link.Found ?? config : config;

    private static string NameOf(BgpPeerConfig found)
        => found.Vrf == NodeConfig.DefaultVrf ? found.Key.ToString() : $"{found.Key}@{found.Vrf}";

    private IEnumerable<BgpPeerInfo> NotFound => _links.Values.Where(l => l.Found is null).Select(l => new BgpPeerInfo(
        l.Config.Name, l.Config.As, "idle", 0, 0, 0, 0, 0, $"no router has been heard on port {l.Config.LinkPort}", [])
        { Vrf = l.Config.Vrf });

    /// <summary>A peer that is known by its link alone.</summary>
    private sealed class LinkPeer
    {
        /// <summary>As configured.</summary>
        public required BgpPeerConfig Config { get; set; }

        /// <summary>Our end of the session; null: the kernel has none.</summary>
        public BgpEnd? End { get; init; }

        /// <summary>With the address of the router that was heard; null: none was.</summary>
        public BgpPeerConfig? Found { get; set; }

        /// <summary>When it was heard last, ns.</summary>
        public long HeardAt { get; set; }
    }
}
