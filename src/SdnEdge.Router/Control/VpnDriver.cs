using SdnEdge.Core.Bgp;
using SdnEdge.Core.Config;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <summary>
/// VRFs in BGP: what of their routes is told, and the tunnels that routes of other PEs go through. Runs on the control loop.
/// <list type="number">
/// <item>A VRF with a route distinguisher and export targets tells its connected and static routes, what a migration brought, and what
/// its CEs tell.</item>
/// <item>Before the FIB of a VRF follows a change, the tunnels that its next hops name are made: one for each far end and key,
/// and one by which the far end reaches us with our key.</item>
/// <item>At the end of a round, tunnels for next hops of routes that are not the best are created, and those that no next hop names any
/// more are removed.</item>
/// </list>
/// </summary>
internal sealed class VpnDriver(PeState state, TunnelKeeper tunnels, ControlLoop loop)
{
    private readonly Dictionary<string, VrfState> _vrfs = [];
    private readonly Dictionary<(string Vrf, IpPrefix Prefix), VpnMove> _moved = [];
    private readonly Dictionary<(string Vrf, IpPrefix Prefix), PathAttributes?> _told = []; // with what a CE told of it
    private readonly Dictionary<(string Vrf, IpPrefix Prefix), uint> _backups = [];
    private readonly Dictionary<(IpAddress Remote, uint Key), string> _made = [];
    private readonly HashSet<(IpAddress Remote, uint Key)> _wanted = [];
    private uint _localPref = 100;
    private long _hopsSeen;
    private bool _dirty;

    /// <summary>The engine; null while there are no peers.</summary>
    public BgpEngine? Engine { get; private set; }

    /// <summary>BGP starts: all VRFs that are configured so far take part.</summary>
    public void Start(BgpEngine engine)
    {
        Engine = engine;
        foreach (VrfState vrf in state.Vrfs.Values) Set(vrf.Config);
    }

    /// <summary>LOCAL_PREF of what is told.</summary>
    public void SetLocalPref(uint localPref)
    {
        if (_localPref == localPref) return;
        _localPref = localPref;
        foreach ((string vrf, IpPrefix prefix) in _told.Keys) Advertise(vrf, prefix);
    }

    /// <summary>A VRF is there, or its distinguisher or targets have changed.</summary>
    public void Set(VrfConfig config)
    {
        if (Engine is null) return;
        if (config is not { Rd: { } rd, Key: { } key })
        {
            Remove(config.Name);
            return;
        }

        VrfState vrf = state.Vrfs[config.Name];
        bool known = _vrfs.ContainsKey(config.Name);
        _vrfs[config.Name] = vrf;
        Engine.SetVrf(new VpnVrfSettings(config.Name, rd, key) { Import = config.Import, Export = config.Export }, vrf.Rib, loop.Now);
        if (known) return;
        foreach (RouteView route in vrf.Rib.BestRoutes().ToArray()) Tell(vrf, route.Prefix, route.Origin, route.Attributes);
        foreach ((string Vrf, IpPrefix Prefix) backup in _backups.Keys)
        {
            if (backup.Vrf == config.Name) TellBackup(backup.Vrf, backup.Prefix);
        }
    }

    /// <summary>A VRF is about to go, or is in no VPN any more.</summary>
    public void Remove(string name)
    {
        if (!_vrfs.Remove(name, out VrfState? vrf)) return;
        Engine!.RemoveVrf(name, loop.Now);
        foreach ((string Vrf, IpPrefix) told in _told.Keys.Where(t => t.Vrf == name).ToArray()) _told.Remove(told);
        _dirty = true;

        // Its table may go right after this: nothing may come out of a tunnel into it.
        foreach (((IpAddress, uint) tunnel, string made) in _made.ToArray())
        {
            if (state.Tunnel(made)?.Vrf != vrf.Table) continue;
            _made.Remove(tunnel);
            tunnels.Remove(made);
        }
    }

    /// <summary>Sets, or with null forgets, how a prefix that a migration moved is told.</summary>
    public void SetMoved(string vrf, IpPrefix prefix, MovedRoute? moved)
    {
        if (moved is not { } value) _moved.Remove((vrf, prefix));
        else _moved[(vrf, prefix)] =
            new VpnMove(value.LocalPref, value.Move is { } move ? Math.Clamp(move, 0, MobilitySequence.Max)
            : _moved.GetValueOrDefault((vrf, prefix)).Move, value.Tag);
        if (_told.ContainsKey((vrf, prefix))) Advertise(vrf, prefix);
    }

    /// <summary>Sets, or with null forgets, the LOCAL_PREF with which a prefix is told as a backup, while it is not told as this PE's
    /// own.</summary>
    public void SetBackup(string vrf, IpPrefix prefix, uint? localPref)
    {
        if (localPref is { } pref) _backups[(vrf, prefix)] = pref;
        else if (!_backups.Remove((vrf, prefix))) return;
        TellBackup(vrf, prefix);
    }

    /// <summary>The LOCAL_PREF with which a prefix is told; null when it is not told.</summary>
    public uint? Told(string vrf, IpPrefix prefix) => _told.ContainsKey((vrf, prefix)) ? LocalPrefOf(vrf, prefix) : null;

    /// <summary>The FIB of a VRF is about to follow: what its next hops name must be there.</summary>
    public void RoutesChanging(VrfState vrf, ReadOnlySpan<RibChange> changes)
    {
        if (!_vrfs.ContainsKey(vrf.Config.Name)) return;
        _dirty = true;
        foreach (NextHop hop in vrf.Rib.NextHops)
        {
            if (TunnelOf(hop) is not { } wanted) continue;
            Make(wanted);
            if (vrf.Config.Key is { } key && key != wanted.Key) Make((wanted.Remote, key));
        }
    }

    /// <summary>Best routes have changed, and the FIB has followed.</summary>
    public void RoutesChanged(ReadOnlySpan<RibChange> changes, long now)
    {
        if (Engine is null) return;
        if (changes[0].Vrf == NodeConfig.DefaultVrf)
        {
            if (_vrfs.Count == 0) return;
            Engine.CoreChanged(changes, now);

            // What that changed in VRFs is published in the next round, unless they come behind in this one.
            loop.Wake();
        }
        else if (_vrfs.TryGetValue(changes[0].Vrf, out VrfState? vrf))
        {
            foreach (ref readonly RibChange change in changes)
            {
                if (change.ChangedHop is null) Tell(vrf, change.Prefix, change.Native is null ? null : change.Origin,
                    change.Attributes);
            }
        }
    }

    /// <summary>
    /// At the end of a round: removes tunnels that no next hop names any more, and creates those that are missing: one that was removed
    /// with a VRF while others need it, and one to a PE none of whose routes is the best. That PE may send here although we do not send
    /// there.
    /// </summary>
    public void Sweep()
    {
        long hops = 0;
        foreach (VrfState vrf in _vrfs.Values) hops += vrf.Rib.NextHopsVersion;
        if (!_dirty && hops == _hopsSeen) return;
        (_dirty, _hopsSeen) = (false, hops);
        _wanted.Clear();
        foreach (VrfState vrf in _vrfs.Values)
        {
            foreach (NextHop hop in vrf.Rib.NextHops)
            {
                if (TunnelOf(hop) is not { } wanted) continue;
                _wanted.Add(wanted);
                if (vrf.Config.Key is { } key) _wanted.Add((wanted.Remote, key));
            }
        }

        foreach ((IpAddress Remote, uint Key) tunnel in _wanted) Make(tunnel);
        foreach (((IpAddress Remote, uint Key) tunnel, string name) in _made.ToArray())
        {
            if (_wanted.Contains(tunnel)) continue;
            _made.Remove(tunnel);
            tunnels.Remove(name);
        }
    }

    private static (IpAddress Remote, uint Key)? TunnelOf(NextHop hop) => hop.Spec.Kind == HopKind.Remote
        ? (hop.Spec.Address, hop.Spec.TunnelKey) : null;

    private void Make((IpAddress Remote, uint Key) wanted)
    {
        string name = VpnTunnelName.Of(wanted.Remote, wanted.Key);
        if (_made.ContainsKey(wanted) || state.Tunnels.ContainsKey(name)) return;

        // What comes back with this key is for the VRF that has it here; a key of the far end's alone is for sending only.
        string? ours = state.Vrfs.Values.FirstOrDefault(v => v.Config.Key == wanted.Key)?.Config.Name;
        if (state.Tunnels.Values.FirstOrDefault(t => t.Options.Remote == wanted.Remote && t.Options.Key == wanted.Key) is { } taken)
        {
            state.Events.Add(loop.Now, "tunnel", name, "refused", $"tunnel {taken.Name} has the same far end and key; give it another key");
            return;
        }

        tunnels.AddForVpn(name, ours ?? NodeConfig.DefaultVrf, wanted.Remote, wanted.Key, sendOnly: ours is null);
        _made.Add(wanted, name);
    }

    private void Tell(VrfState vrf, IpPrefix prefix, RouteOrigin? origin, PathAttributes? attributes)
    {
        string name = vrf.Config.Name;
        bool fromCe = origin is { Source: RouteSource.Bgp, External: true };
        if (fromCe || origin?.Source is RouteSource.Migration or RouteSource.Connected or RouteSource.Static or RouteSource.Neighbor)
        {
            _told[(name, prefix)] = fromCe ? attributes : null;
            Advertise(name, prefix);
        }
        else if (_told.Remove((name, prefix)))
        {
            Engine!.WithdrawVpn(name, prefix);
            TellBackup(name, prefix);
        }
    }

    private void TellBackup(string vrf, IpPrefix prefix)
    {
        if (Engine is null || !_vrfs.ContainsKey(vrf) || _told.ContainsKey((vrf, prefix))) return;
        if (_backups.TryGetValue((vrf, prefix), out uint localPref)) Engine.AdvertiseVpn(vrf, prefix, localPref);
        else Engine.WithdrawVpn(vrf, prefix);
    }

    private void Advertise(string vrf, IpPrefix prefix)
    {
        VpnMove moved = _moved.GetValueOrDefault((vrf, prefix));
        Engine!.AdvertiseVpn(vrf, prefix, LocalPrefOf(vrf, prefix), moved.Move, _told.GetValueOrDefault((vrf, prefix)), moved.Tag);
    }

    // An import policy may have given a CE's route one of its own.
    private uint LocalPrefOf(string vrf, IpPrefix prefix) => _moved.TryGetValue((vrf, prefix), out VpnMove moved) ? moved.LocalPref
        : _told.GetValueOrDefault((vrf, prefix))?.LocalPref ?? _localPref;

    private readonly record struct VpnMove(uint LocalPref, long Move, uint? Tag);
}
