using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Tunnels and their probes. A migration's tunnel is down until a full-size probe has come back; a configured one starts up
/// and follows its probe once the far end has answered one, because not every far end does.
/// </summary>
internal sealed class TunnelKeeper(PeState state, ControlLoop loop) : ITimed
{
    private readonly Dictionary<string, Kept> _kept = [];
    private uint _nextTag = 1;

    public long NextDeadline
    {
        get
        {
            long next = long.MaxValue;
            if (state.IsStandby) return next;
            foreach (Kept kept in _kept.Values) next = Math.Min(next, kept.Probe?.NextDeadline ?? long.MaxValue);
            return next;
        }
    }

    /// <summary>All tunnels with what their probes say, by name.</summary>
    public IEnumerable<(Tunnel Tunnel, TunnelProbe? Probe, bool Up)> All => _kept.Values.Select(k => (k.Tunnel, k.Probe, k.Up));

    /// <summary>Why a configured tunnel cannot be added beside those that are there, a migration's or a VPN's among them; null: it
    /// can.</summary>
    /// <param name="config">The tunnel.</param>
    /// <param name="going">Names of tunnels that go before it comes.</param>
    public string? Conflict(TunnelConfig config, IReadOnlySet<string> going)
    {
        TunnelOptions wanted = OptionsOf(config);
        foreach (Tunnel other in state.Tunnels.Values)
        {
            TunnelOptions o = other.Options;
            if (going.Contains(o.Name)) continue;
            if (o.Name == wanted.Name) return "a tunnel has this name already; give this one another";
            if (o.IsSameOnTheWire(wanted))
                return $"tunnel {o.Name} runs from {o.Local} to {o.Remote} with key {o.Key?.ToString() ?? "none"} already; give this one "
                    + $"another key";
        }

        return null;
    }

    /// <summary>Adds a configured tunnel.</summary>
    public void Add(TunnelConfig config)
    {
        Kept kept = Add(OptionsOf(config), config.Vrf);
        kept.Up = kept.Tunnel.Up = true;
        ProbeWith(config.Name, MtuOf(kept.Tunnel));
        state.RefreshHops();
    }

    /// <summary>Adds a migration's tunnel: accepted from now on, up once probed.</summary>
    /// <param name="name">Name.</param>
    /// <param name="vrf">VRF of what comes out.</param>
    /// <param name="peer">The far end.</param>
    /// <param name="key">GRE key.</param>
    /// <param name="proven">Before a restart it was up: packets go in at once, since they have no other way; it is told as up when it is
    /// probed.</param>
    public void AddForMigration(string name, string vrf, IpAddress peer, uint key, bool proven)
    {
        Remove(name); // of an attempt that failed half way
        IpAddress local = state.Config.Loopbacks.First(l => l.Family == peer.Family);
        Kept kept = Add(new TunnelOptions(name, local, peer, key) { IsRedirect = true }, vrf);
        kept.HasAnswered = kept.Tunnel.Up = proven;
    }

    /// <summary>
    /// Adds a tunnel of VPN routes: up at once, and not probed, since its routes go when the core has no way to the far end.
    /// </summary>
    /// <param name="name">Name.</param>
    /// <param name="vrf">VRF of what comes out.</param>
    /// <param name="peer">The far end.</param>
    /// <param name="key">GRE key.</param>
    /// <param name="sendOnly">The key is the far end's only: nothing comes out here.</param>
    public void AddForVpn(string name, string vrf, IpAddress peer, uint key, bool sendOnly)
    {
        IpAddress local = state.Config.Loopbacks.First(l => l.Family == peer.Family);
        Kept kept = Add(new TunnelOptions(name, local, peer, key) { Ttl = 255, SendOnly = sendOnly }, vrf);
        kept.Up = kept.Tunnel.Up = true;
        state.RefreshHops();
    }

    /// <summary>Probes a tunnel with packets of this size from now on.</summary>
    public void ProbeWith(string name, int packetBytes)
    {
        Kept kept = _kept[name];
        TunnelOptions options = kept.Tunnel.Options;
        int size = Math.Clamp(packetBytes, TunnelProbe.LeastBytes, 65535);
        kept.Probe = new TunnelProbe(new TunnelProbeOptions(options.Local, options.Remote, size, state.Plane.ProbeIdentifier, _nextTag++));
    }

    /// <summary>Takes a tunnel away: neither used nor accepted any more.</summary>
    public void Remove(string name)
    {
        if (!_kept.Remove(name, out Kept? kept)) return;
        state.Tunnels.Remove(name);
        state.RefreshHops();
        state.Plane.RemoveTunnel(kept.Tunnel);
        state.Workers.Grace();
        state.Events.Add(loop.Now, "tunnel", name, "removed");
    }

    /// <summary>A reply to a probe, of whichever tunnel.</summary>
    public void OnReply(ReadOnlySpan<byte> packet, long now)
    {
        foreach (Kept kept in _kept.Values)
        {
            if (kept.Probe is null || !kept.Probe.OnReply(packet, now)) continue;
            Follow(kept, now);
            return;
        }
    }

    public void Poll(long now)
    {
        foreach (Kept kept in _kept.Values.ToArray())
        {
            if (kept.Probe is not { } probe || probe.NextDeadline > now) continue;
            if (probe.Poll(now)) state.Workers.Probe(kept.Tunnel, probe.Packet.ToArray());
            Follow(kept, now);
        }
    }

    /// <summary>Why a tunnel is not up, for people.</summary>
    public string WhyDown(string name)
    {
        if (!_kept.TryGetValue(name, out Kept? kept)) return "it is gone";
        TunnelOptions options = kept.Tunnel.Options;
        int mtu = MtuOf(kept.Tunnel), size = kept.Probe?.Options.PacketBytes ?? 0;
        if (kept.Tunnel.Underlay.Lookup(options.Remote) is null) return $"there is no route to {options.Remote}";
        return mtu < size
            ? $"the way to {options.Remote} leaves {mtu} bytes inside the tunnel and the servers' port has an MTU of {size}; raise the "
                + $"core ports' MTU to {size + kept.Tunnel.HeaderBytes} or more"
            : $"{kept.Probe?.Sent ?? 0} probes of {size} bytes to {options.Remote} (key {options.Key}) got no answer; is the target "
                + $"prepared, with the same key?";
    }

    private static TunnelOptions OptionsOf(TunnelConfig config) => new(config.Name, config.Local, config.Remote, config.Key)
    {
        Encapsulation = config.Encapsulation == Core.Config.TunnelEncapsulation.Gre ? Core.Forwarding.TunnelEncapsulation.Gre
            : Core.Forwarding.TunnelEncapsulation.GreInUdp,
        Mtu = config.Mtu ?? 0,
        Ttl = (byte)config.Ttl,
        Dscp = config.Dscp == DscpMode.Uniform ? DscpModel.Uniform : DscpModel.Pipe,
        Ecn = config.Ecn == EcnMode.Normal,
        MssClamp = config.MssClamp,
        Checksum = config.Checksum,
        Sequence = config.Sequence,
    };

    private Kept Add(TunnelOptions options, string vrf)
    {
        Tunnel tunnel = state.Plane.AddTunnel(options, state.Vrfs[vrf].Table, state.Default.Table);
        var kept = new Kept(tunnel);
        _kept.Add(options.Name, kept);
        state.Tunnels.Add(options.Name, tunnel);
        state.Events.Add(loop.Now, "tunnel", options.Name, "added", $"to {options.Remote}, key {options.Key?.ToString() ?? "none"}");
        return kept;
    }

    private static int MtuOf(Tunnel tunnel)
        => tunnel.EffectiveMtu(tunnel.Underlay.Lookup(tunnel.Options.Remote)?.Hop.Current.Port?.Mtu
            ?? NodeConfigLoader.MinMtu + tunnel.HeaderBytes);

    // What a redirect sends into its tunnel has no other way: a route that is native goes to a server that is gone. So once such a
    // tunnel has worked, probes that fail are told, and the packets go on: what is wrong may be the probes' way back.
    private void Follow(Kept kept, long now)
    {
        bool up = kept.Probe!.IsUp;
        kept.HasAnswered |= up;
        bool isRedirect = kept.Tunnel.Options.IsRedirect;
        if (up == kept.Up || (!up && !kept.HasAnswered && !isRedirect)) return;
        kept.Up = up;
        kept.Tunnel.Up = up || (isRedirect && kept.HasAnswered);
        state.Events.Add(now, "tunnel", kept.Tunnel.Name, up ? "up" : "down",
            up ? $"round trip {kept.Probe.LastRttNs / 1e6:0.###} ms" : "probes are not answered");
        state.Steps.TunnelHealthChanged(kept.Tunnel.Name, up);
    }

    private sealed class Kept(Tunnel tunnel)
    {
        public Tunnel Tunnel { get; } = tunnel;

        public TunnelProbe? Probe { get; set; }

        /// <summary>What the probes say.</summary>
        public bool Up { get; set; }

        public bool HasAnswered { get; set; }
    }
}
