using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// Tunnels and their probes. A migration's tunnel is down until a full-size probe has come back; a configured one takes packets from
/// the start and follows its probe once the far end has answered one, because not every far end does. What a path carries is found by
/// the probes, and by what routers on the way say. That is a property of the outer path: a tunnel that is not probed (VPN routes')
/// takes what a probed one between the same ends finds.
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
            foreach (Kept kept in _kept.Values) next = Math.Min(next, Math.Min(kept.Probe?.NextDeadline ?? long.MaxValue, kept.ToldUntil));
            return next;
        }
    }

    /// <summary>All tunnels with what their probes say, by name.</summary>
    public IEnumerable<(Tunnel Tunnel, TunnelProbe? Probe, bool Up)> All => _kept.Values.Select(k => (k.Tunnel, k.Probe, k.Up));

    /// <summary>The largest packet that goes into a tunnel, bytes; null: there is no route to its far end, or not by a port.</summary>
    public static int? MtuOf(Tunnel tunnel) => LinkOf(tunnel) is { } port ? tunnel.EffectiveMtu(port.Mtu) : null;

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
        kept.Tunnel.Up = kept.FollowsLink = true;
        ProbeWith(config.Name, LinkMtuOf(kept.Tunnel) ?? NodeConfigLoader.MinMtu);
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
    /// Adds a tunnel of VPN routes: up at once, and not probed, since its routes go when the core has no way to the far end. What its path
    /// carries a tunnel says that is probed and has the same ends, where there is one.
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
        FollowPath(kept, loop.Now);
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
        if (kept.Probe is not null) Bequeath(kept, loop.Now);
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

    /// <summary>
    /// A router on the way says that larger packets do not fit. Believed of a packet that is one of ours: its ends, and its key where the
    /// least quote has it. What probes are answered on is judged by them (RFC 8899 4.6); for the rest it holds 10 minutes (RFC 1191 6.3).
    /// </summary>
    public void OnPathMtu(SlowPathAction said, long now)
    {
        foreach (Kept kept in _kept.Values)
        {
            Tunnel tunnel = kept.Tunnel;
            TunnelOptions o = tunnel.Options;
            bool quotesKey = o is { Encapsulation: Core.Forwarding.TunnelEncapsulation.Gre, Checksum: false };
            if (o.Remote != said.Address || o.Local != said.Source || said.IsUdp == quotesKey || (quotesKey && said.Key != o.Key)) continue;
            if (LinkMtuOf(tunnel) is { } link && said.Mtu - tunnel.HeaderBytes >= link) continue;
            kept.SaidBy = said.SaidBy;
            if (ProberOf(kept) is not { Probe: { IsUp: true } probe } prober)
            {
                (kept.Told, kept.ToldUntil) = (said.Mtu, now + PathMtuSearch.RaiseAfterNs);
                FollowPath(kept, now);
                continue;
            }

            probe.Path.Told(said.Mtu - prober.Tunnel.HeaderBytes, now);
            prober.SaidBy = said.SaidBy;
            FollowPath(prober, now);
            FollowBeside(prober, now);
        }
    }

    public void Poll(long now)
    {
        foreach (Kept kept in _kept.Values.ToArray())
        {
            if (kept.ToldUntil <= now)
            {
                (kept.Told, kept.ToldUntil) = (0, long.MaxValue);
                FollowPath(kept, now);
            }

            if (kept.Probe is not { } probe || probe.NextDeadline > now) continue;
            if (kept.FollowsLink && LinkMtuOf(kept.Tunnel) is { } link) probe.Resize(Math.Max(link, TunnelProbe.LeastBytes));
            while (probe.Poll(now)) state.Workers.Probe(kept.Tunnel, probe.Packet.ToArray());
            Follow(kept, now);
        }
    }

    /// <summary>Why a tunnel is not up, for people.</summary>
    public string WhyDown(string name)
    {
        if (!_kept.TryGetValue(name, out Kept? kept)) return "it is gone";
        TunnelOptions options = kept.Tunnel.Options;
        int size = kept.Probe?.Options.PacketBytes ?? 0, header = kept.Tunnel.HeaderBytes;
        if (kept.Tunnel.Underlay.Lookup(options.Remote) is null) return $"there is no route to {options.Remote}";
        PortEntry? link = LinkOf(kept.Tunnel);
        if (link is not null && kept.Tunnel.LinkMtu(link.Mtu) < size)
            return $"the way to {options.Remote} leaves {kept.Tunnel.LinkMtu(link.Mtu)} bytes inside the tunnel and the servers' port has "
                + $"an MTU of {size}; raise the core ports' MTU to {size + header} or more";
        if (kept.Probe is { IsUp: true } probe)
            return $"packets as large as the servers' port takes, {size} bytes, {size + header} in the tunnel, do not pass: the way to "
                + $"{options.Remote} carries {(probe.Path.Candidate == 0 ? "" : "at least ")}{probe.Path.Confirmed + header}"
                + $"{(kept.SaidBy.IsNone ? "" : $", as {kept.SaidBy} says")}. Port {link?.Name} of this PE has an MTU of {link?.Mtu}, so "
                + $"that a link behind it is narrower: give every link of the way {size + header} or more";
        return $"{kept.Probe?.Sent ?? 0} probes of {size} bytes and less to {options.Remote} (key {options.Key}) got no answer; is the "
            + "target prepared, with the same key?"
            + (kept.Told > 0 ? $" {kept.SaidBy} says that the way carries {kept.Told} bytes only" : "");
    }

    private static TunnelOptions OptionsOf(TunnelConfig config) => new(config.Name, config.Local, config.Remote, config.Key)
    {
        Encapsulation = config.Encapsulation == Core.Config.TunnelEncapsulation.Gre ? Core.Forwarding.TunnelEncapsulation.Gre
            : Core.Forwarding.TunnelEncapsulation.GreInUdp,
        Mtu = config.Mtu ?? 0,
        Ttl = (byte)config.Ttl,
        Dscp = config.Dscp switch
        {
            DscpMode.Uniform => DscpModel.Uniform,
            DscpMode.Pipe => DscpModel.Pipe,
            _ => DscpModel.Inherit,
        },
        Ecn = config.Ecn == EcnMode.Normal,
        MssClamp = config.MssClamp,
        Checksum = config.Checksum,
        Sequence = config.Sequence,
    };

    private Kept Add(TunnelOptions options, string vrf)
    {
        Tunnel tunnel = state.Plane.AddTunnel(options, state.Vrfs[vrf].Table, state.Default.Table);
        tunnel.BeginIdentificationsAt(Random.Shared.Next());
        var kept = new Kept(tunnel);
        _kept.Add(options.Name, kept);
        state.Tunnels.Add(options.Name, tunnel);
        state.Events.Add(loop.Now, "tunnel", options.Name, "added", $"to {options.Remote}, key {options.Key?.ToString() ?? "none"}");
        return kept;
    }

    private static PortEntry? LinkOf(Tunnel tunnel) => tunnel.Underlay.Lookup(tunnel.Options.Remote)?.Hop.Current.Port;

    private static int? LinkMtuOf(Tunnel tunnel) => LinkOf(tunnel) is { } port ? tunnel.LinkMtu(port.Mtu) : null;

    // What a redirect sends into its tunnel has no other way: a route that is native goes to a server that is gone. So once such a
    // tunnel has worked, probes that fail are told, and the packets go on: what is wrong may be the probes' way back.
    private void Follow(Kept kept, long now)
    {
        FollowPath(kept, now);
        FollowBeside(kept, now);
        bool isRedirect = kept.Tunnel.Options.IsRedirect;
        bool up = kept.Probe!.IsUp && (!isRedirect || kept.HasAnswered || kept.Probe.CarriesAll);
        kept.HasAnswered |= up;
        if (up == kept.Up || (!up && !kept.HasAnswered && !isRedirect)) return;
        kept.Up = up;
        kept.Tunnel.Up = up || (isRedirect && kept.HasAnswered);
        state.Events.Add(now, "tunnel", kept.Tunnel.Name, up ? "up" : "down",
            up ? $"round trip {kept.Probe.LastRttNs / 1e6:0.###} ms" : "probes are not answered");
        state.Steps.TunnelHealthChanged(kept.Tunnel.Name, up);
    }

    // The tunnel whose probes say what this one's path carries: itself, or another between the same ends; null: nobody probes.
    private Kept? ProberOf(Kept kept) => kept.Probe is not null ? kept
        : _kept.Values.Where(k => k.Probe is not null && SameEnds(k, kept)).MaxBy(k => k.Probe!.IsUp);

    // Tunnels that are not probed themselves.
    private void FollowBeside(Kept prober, long now)
    {
        foreach (Kept other in _kept.Values)
        {
            if (other.Probe is null && SameEnds(other, prober)) FollowPath(other, now);
        }
    }

    // What it found holds on for a while where nobody else probes, as what a router says.
    private void Bequeath(Kept gone, long now)
    {
        foreach (Kept other in _kept.Values)
        {
            if (other.Probe is not null || !SameEnds(other, gone)) continue;
            if (other.Tunnel.PathMtu > 0 && ProberOf(other) is null)
                (other.Told, other.ToldUntil) = (other.Tunnel.PathMtu, now + PathMtuSearch.RaiseAfterNs);
            FollowPath(other, now);
        }
    }

    private static bool SameEnds(Kept one, Kept other) => one.Tunnel.Options.Remote == other.Tunnel.Options.Remote
        && one.Tunnel.Options.Local == other.Tunnel.Options.Local;

    // While nothing comes back, what was known of the path is kept.
    private void FollowPath(Kept kept, long now)
    {
        Tunnel tunnel = kept.Tunnel;
        Kept? prober = ProberOf(kept);
        PathMtuSearch? path = prober?.Probe is { IsUp: true } probe ? probe.Path : null;
        if (prober is not null && path is null && kept.Told == 0 && tunnel.PathMtu > 0) return;
        int mtu = path is { Limit: > 0 and int inside } ? inside + prober!.Tunnel.HeaderBytes : 0;
        if (kept.Told > 0) mtu = mtu == 0 ? kept.Told : Math.Min(mtu, kept.Told);
        int before = tunnel.PathMtu;
        tunnel.PathMtu = mtu;

        // A search that goes on is told at its end.
        bool isTold = path is null || path.Candidate == 0 || (mtu > 0 && (before == 0 || mtu < before));
        if (!isTold || mtu == kept.PathMtuTold) return;
        kept.PathMtuTold = mtu;
        state.Events.Add(now, "tunnel", tunnel.Name, "path-mtu", mtu == 0 ? "what the first link carries"
            : $"{mtu} bytes, {mtu - tunnel.HeaderBytes} inside the tunnel{(kept.SaidBy.IsNone ? "" : $", as {kept.SaidBy} says")}");
    }

    private sealed class Kept(Tunnel tunnel)
    {
        public Tunnel Tunnel { get; } = tunnel;

        public TunnelProbe? Probe { get; set; }

        /// <summary>What the probes say.</summary>
        public bool Up { get; set; }

        public bool HasAnswered { get; set; }

        /// <summary>Probes are as large as the first link allows, whichever that is.</summary>
        public bool FollowsLink { get; set; }

        /// <summary>Bytes of outer packet that a router said to fit, while no probe is answered that could tell; 0 = none.</summary>
        public int Told { get; set; }

        public long ToldUntil { get; set; } = long.MaxValue;

        /// <summary>The router that said so last.</summary>
        public IpAddress SaidBy { get; set; }

        public int PathMtuTold { get; set; }
    }
}
