using SdnEdge.Core.Bgp;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;
using SdnEdge.Router.Control;
using SdnEdge.Testing;

namespace SdnEdge.Router.Tests.Bgp;

/// <summary>What an ingress PE forwards by, behind its speaker. For the speaker's loop.</summary>
internal sealed class IngressFib : IFibNames, IDisposable
{
    private readonly SpeakerHost _host;
    private readonly Vrf _vrf;
    private readonly PortEntry _core;

    public IngressFib(SpeakerHost host)
    {
        _host = host;
        var plane = new DataPlane(1);
        _vrf = plane.AddVrf("default");
        _core = plane.AddPort(new PortOptions("core", MacAddress.Parse("02:00:00:00:00:01"), 1500), LinkedPort.Pair("core", "x").One, _vrf);
        host.Do(() => host.Fib = new FibPublisher(_vrf, this));
    }

    public PortEntry? Port(string name) => name == "core" ? _core : null;

    public Tunnel? Tunnel(string name) => null;

    public RedirectGroup? Group(string name) => null;

    /// <summary>The address that a prefix's packets go to; none: there is no route.</summary>
    public IpAddress Goes(IpPrefix prefix) => _host.Fib!.LeafOf(prefix)?.Hop.Current.Adjacency?.Address ?? default;

    /// <summary>What PeState does.</summary>
    public void Fail(BgpPeerKey pe, bool failed) => _host.Fib!.Flip(_host.Rib.SetFailed(HopKind.Via, pe, failed));

    public void Dispose()
    {
        _host.Crash();
        _vrf.Dispose();
    }
}
