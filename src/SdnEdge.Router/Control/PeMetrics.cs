using SdnEdge.Core.Api;
using SdnEdge.Core.Forwarding;
using SdnEdge.Web;
using SdnEdge.Router.Worker;

namespace SdnEdge.Router.Control;

/// <summary>The PE's metrics, from the same records and counters that the API shows. Runs on the control loop.</summary>
internal sealed class PeMetrics(PeState state, PeView view, MigrationActions actions, BgpDriver bgp, BfdDriver bfd, KeeperDriver keeper,
    MigrationRunner migrations, SlowPathDriver slowPath, ConfigApplier config, ControlLoop loop)
{
    public IReadOnlyList<MetricFamily> Collect()
    {
        IReadOnlyList<PortInfo> ports = view.Ports();
        IReadOnlyList<TunnelInfo> tunnels = view.Tunnels();
        FragmentReassembler fragments = slowPath.Fragments;
        IReadOnlyList<RedirectGroupInfo> groups = actions.GroupInfos();
        IReadOnlyList<BgpPeerInfo> peers = bgp.Peers(loop.Now);
        KeeperInfo[] keepers = keeper.Info() is { State: not "off" } there ? [there] : [];
        IReadOnlyList<VrfInfo> vrfs = view.Vrfs();
        IReadOnlyList<MigrationInfo> moving = migrations.Infos();
        PacketLedger ledger = state.Plane.Ledger;
        return
        [
            Counter("sdnedge_port_receive_packets_total", "Frames received on a port.", ports, p => p.RxPackets, p => [("port", p.Name)]),
            Counter("sdnedge_port_receive_bytes_total", "Bytes received on a port, with Ethernet headers.", ports, p => p.RxBytes,
                p => [("port", p.Name)]),
            Counter("sdnedge_port_transmit_packets_total", "Frames that a port's device took.", ports, p => p.TxPackets,
                p => [("port", p.Name)]),
            Counter("sdnedge_port_transmit_bytes_total", "Bytes that a port's device took.", ports, p => p.TxBytes,
                p => [("port", p.Name)]),
            Counter("sdnedge_port_dropped_packets_total", "Dropped packets that had come in on a port.", ports, p => p.Drops,
                p => [("port", p.Name)]),
            Gauge("sdnedge_port_up", "1 when the port is up.", ports, p => p.Up ? 1 : 0, p => [("port", p.Name)]),
            Counter("sdnedge_port_mtu_changes_total", "Times that somebody else changed the MTU of a port's device.", ports,
                p => p.MtuChanges, p => [("port", p.Name)]),
            Counter("sdnedge_dropped_packets_total", "Dropped packets by reason.",
                Enum.GetValues<DropReason>().Where(r => r != DropReason.None),
                r => state.Plane.Drops(r), r => [("reason", PeView.Kebab(r))]),
            Gauge("sdnedge_packets_unaccounted", "Packets that are neither forwarded, dropped, held nor waiting. Always 0 between batches.",
                [ledger], l => l.Imbalance, _ => []),
            Counter("sdnedge_punted_packets_total", "Packets handed to the control loop.", [ledger], l => l.Punted, _ => []),
            Gauge("sdnedge_fib_routes", "Prefixes in the FIB.",
                vrfs.SelectMany(v => new[] { (v.Name, "4", v.RoutesV4), (v.Name, "6", v.RoutesV6) }), v => v.Item3,
                v => [("vrf", v.Name), ("ip_version", v.Item2)]),
            Counter("sdnedge_rib_unsettled_next_hops_total",
                "Next hops left unresolved because their resolution never settled: routes that exclude one another.",
                state.Vrfs.Values, v => v.Rib.UnsettledNextHops, v => [("vrf", v.Config.Name)]),
            Gauge("sdnedge_neighbors", "Neighbours by state.", view.Neighbors().GroupBy(n => (n.Port, n.State)), g => g.Count(),
                g => [("port", g.Key.Port), ("state", g.Key.State)]),
            Counter("sdnedge_slow_path_packets_total", "What became of packets for the router itself.", Enum.GetValues<SlowPathVerdict>(),
                v => slowPath.Count(v), v => [("verdict", PeView.Kebab(v))]),
            Counter("sdnedge_tunnel_transmit_packets_total", "Packets sent into a tunnel.", tunnels, t => t.TxPackets,
                t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_transmit_bytes_total", "Inner bytes sent into a tunnel.", tunnels, t => t.TxBytes,
                t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_receive_packets_total", "Packets that came out of a tunnel.", tunnels, t => t.RxPackets,
                t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_receive_bytes_total", "Inner bytes that came out of a tunnel.", tunnels, t => t.RxBytes,
                t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_probes_sent_total", "Probes sent through a tunnel.", tunnels, t => t.ProbesSent,
                t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_probes_received_total", "Probes answered.", tunnels, t => t.ProbesReceived, t => [("tunnel", t.Name)]),
            Gauge("sdnedge_tunnel_up", "1 when the tunnel is up.", tunnels, t => t.Up ? 1 : 0, t => [("tunnel", t.Name)]),
            Gauge("sdnedge_tunnel_path_mtu_bytes",
                "Largest outer packet that the path carries, where that is less than its first link does.",
                tunnels.Where(t => t.PathMtu is not null), t => t.PathMtu!.Value, t => [("tunnel", t.Name)]),
            Counter("sdnedge_tunnel_reassembly_total", "Outer packets that came in fragments, by what became of them.",
                new[] { ("complete", fragments.Reassembled), ("timed-out", fragments.TimedOut), ("displaced", fragments.Displaced),
                    ("refused", fragments.Refused) }, f => f.Item2, f => [("result", f.Item1)]),
            Counter("sdnedge_router_discovery_messages_total",
                "Router advertisements and solicitations (RFC 4861) on ports with a BGP peer that is known by its link alone.",
                slowPath.RouterDiscovery, d => d.Messages, d => [("kind", d.Kind)]),
            Gauge("sdnedge_stretched_hosts", "Hosts of a port's subnet that are elsewhere, and answered for.", [slowPath.Stretched],
                s => s.Away, _ => []),
            Gauge("sdnedge_tunnel_round_trip_seconds", "Round-trip time of the last probe.",
                tunnels.Where(t => t.RttMilliseconds is not null), t => t.RttMilliseconds!.Value / 1000, t => [("tunnel", t.Name)]),
            Counter("sdnedge_group_native_packets_total", "Packets of a redirect group forwarded the native way.", groups,
                g => g.NativePackets, g => [("group", g.Name)]),
            Counter("sdnedge_group_tunnel_packets_total", "Packets of a redirect group sent into its tunnel.", groups, g => g.TunnelPackets,
                g => [("group", g.Name)]),
            Counter("sdnedge_group_stale_packets_total", "Packets forwarded the old way after a switch was acknowledged. Always 0.", groups,
                g => g.StalePackets, g => [("group", g.Name)]),
            Gauge("sdnedge_group_prefixes", "Prefixes of a redirect group.", groups, g => g.Prefixes, g => [("group", g.Name)]),
            Gauge("sdnedge_hold_packets", "Packets in a hold now.", Holds(moving), m => m.Hold!.PacketsHeldNow, m => [("migration", m.Id)]),
            Gauge("sdnedge_hold_bytes", "Bytes in a hold now.", Holds(moving), m => m.Hold!.BytesHeldNow, m => [("migration", m.Id)]),
            Counter("sdnedge_hold_held_packets_total", "Packets that went into a hold.", Holds(moving), m => m.Hold!.PacketsHeldTotal,
                m => [("migration", m.Id)]),
            Counter("sdnedge_hold_dropped_packets_total", "Packets that a hold dropped.",
                Holds(moving).SelectMany(m => new[] { (m.Id, "newest", m.Hold!.DroppedNewest), (m.Id, "oldest", m.Hold.DroppedOldest),
                    (m.Id, "expired", m.Hold.Expired) }),
                h => h.Item3, h => [("migration", h.Id), ("policy", h.Item2)]),
            Gauge("sdnedge_migrations", "Migrations by role and state.", moving.GroupBy(m => (m.Role, m.State)), g => g.Count(),
                g => [("role", PeView.Kebab(g.Key.Role)), ("state", PeView.Kebab(g.Key.State))]),
            Counter("sdnedge_backup_flips_total", "Times an armed backup switched by itself.", [migrations.BackupCounts], b => b.Flips,
                _ => []),
            Counter("sdnedge_backup_false_alarms_total", "Flips that were taken back by themselves.", [migrations.BackupCounts],
                b => b.FalseAlarms, _ => []),
            Counter("sdnedge_backup_unordered_returns_total", "False alarms after which the target did not say that it holds nothing.",
                [migrations.BackupCounts], b => b.Unordered, _ => []),
            Gauge("sdnedge_bgp_peer_up", "1 when the session is established.", peers,
                p => string.Equals(p.State, "established", StringComparison.OrdinalIgnoreCase) ? 1 : 0, p => [("peer", p.Address)]),
            Gauge("sdnedge_bgp_peer_received_prefixes", "Prefixes received from a peer.", peers, p => p.PrefixesReceived,
                p => [("peer", p.Address)]),
            Gauge("sdnedge_bgp_peer_sent_prefixes", "Prefixes sent to a peer.", peers, p => p.PrefixesSent, p => [("peer", p.Address)]),
            Counter("sdnedge_bgp_messages_received_total", "BGP messages received.", peers, p => p.MessagesIn, p => [("peer", p.Address)]),
            Counter("sdnedge_bgp_messages_sent_total", "BGP messages sent.", peers, p => p.MessagesOut, p => [("peer", p.Address)]),
            Gauge("sdnedge_bgp_damped_prefixes", "Prefixes that move too often and are held at their last owner.", [bgp.Damping],
                d => d?.HeldNow ?? 0, _ => []),
            Counter("sdnedge_bgp_dampings_total", "Times a prefix began to be damped.", [bgp.Damping], d => d?.Alarms ?? 0, _ => []),
            .. BfdMetrics.Of(bfd.Info(loop.Now)),
            Gauge("sdnedge_keeper_connected", "1 while the keeper is there.", keepers, k => k.State == "gone" ? 0 : 1, _ => []),
            Gauge("sdnedge_keeper_forwarding", "1 while the keeper forwards in the PE's place.", keepers,
                k => k.State == "forwarding" ? 1 : 0, _ => []),
            Counter("sdnedge_keeper_records_total", "Records of the forwarding state told to the keeper.", keepers,
                k => k.Records, _ => []),
            Gauge("sdnedge_keeper_queue_bytes", "Bytes that wait for the keeper.", keepers, k => k.QueuedBytes, _ => []),
            Counter("sdnedge_keeper_out_of_sync_total", "Times the keeper was too slow and the whole state was sent anew.", keepers,
                k => k.OutOfSyncs, _ => []),
            Counter("sdnedge_keeper_takeovers_total", "Times the keeper took over forwarding.", keepers, k => k.Takeovers, _ => []),
            Counter("sdnedge_keeper_forwarded_packets_total", "Packets that the keeper forwarded.", keepers, k => k.Packets, _ => []),
            Counter("sdnedge_keeper_dropped_packets_total", "Packets that the keeper dropped.", keepers, k => k.Dropped, _ => []),
            Counter("sdnedge_worker_batches_total", "Batches a worker received.", state.Workers.Workers, w => w.Statistics.Batches, Worker),
            Counter("sdnedge_worker_packets_total", "Frames a worker received.", state.Workers.Workers, w => w.Statistics.Packets, Worker),
            Counter("sdnedge_worker_sleeps_total", "Times a worker slept for want of work.", state.Workers.Workers,
                w => w.Statistics.Sleeps, Worker),
            Counter("sdnedge_worker_faults_total", "Exceptions in a worker. Always 0.", state.Workers.Workers,
                w => w.Statistics.Faults, Worker),
            Counter("sdnedge_config_reloads_total", "Reloads of the configuration by outcome. What was refused or failed changed nothing.",
                new[] { ("applied", config.Applied), ("refused", config.Refused), ("failed", config.Failed) }, r => r.Item2, r
                    => [("result", r.Item1)]),
            Counter("sdnedge_control_faults_total", "Exceptions in the control loop. Always 0.", [loop], l => l.Faults, _ => []),
            Gauge("sdnedge_process_memory_bytes", "Memory of the process (resident set).", [Environment.WorkingSet], w => w, _ => []),
        ];
    }

    private static IEnumerable<MigrationInfo> Holds(IEnumerable<MigrationInfo> all) => all.Where(m => m.Hold is not null);

    private static (string Name, string Value)[] Worker(PortWorker worker) => [("worker", $"{worker.Index}")];

    private static MetricFamily Counter<T>(string name, string help, IEnumerable<T> items, Func<T, double> value, Func<T,
        (string Name, string Value)[]> labels)
        => new(name, help, MetricKind.Counter, [.. items.Select(i => new MetricSample(value(i), labels(i)))]);

    private static MetricFamily Gauge<T>(string name, string help, IEnumerable<T> items, Func<T, double> value, Func<T,
        (string Name, string Value)[]> labels)
        => new(name, help, MetricKind.Gauge, [.. items.Select(i => new MetricSample(value(i), labels(i)))]);
}
