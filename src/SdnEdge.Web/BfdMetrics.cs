using SdnEdge.Core.Api;

namespace SdnEdge.Web;

/// <summary>Metrics of BFD, the same of a PE and of a server host.</summary>
public static class BfdMetrics
{
    /// <summary>The metrics of what the API shows.</summary>
    public static IReadOnlyList<MetricFamily> Of(BfdInfo bfd) =>
    [
        Each("sdnedge_bfd_session_up", "1 when the BFD session is up.", MetricKind.Gauge, bfd, s => s.State == "up" ? 1 : 0),
        Each("sdnedge_bfd_session_downs_total", "Times a BFD session left Up.", MetricKind.Counter, bfd, s => s.Downs),
        Each("sdnedge_bfd_received_packets_total", "BFD control packets taken.", MetricKind.Counter, bfd, s => s.PacketsReceived),
        Each("sdnedge_bfd_sent_packets_total", "BFD control packets sent.", MetricKind.Counter, bfd, s => s.PacketsSent),
        Each("sdnedge_bfd_detection_seconds", "Silence after which a BFD session goes down.", MetricKind.Gauge, bfd,
            s => s.DetectionMilliseconds / 1000),
        new("sdnedge_bfd_discarded_packets_total", "BFD control packets discarded, by reason.", MetricKind.Counter,
            [.. bfd.Discards.Select(d => new MetricSample(d.Packets, ("reason", d.Reason)))]),
        new("sdnedge_bfd_stalls_total", "Times the BFD thread was held up.", MetricKind.Counter, [new MetricSample(bfd.Stalls)]),
        new("sdnedge_bfd_credit_seconds_total", "Time that sessions were spared because the BFD thread was held up.", MetricKind.Counter,
            [new MetricSample(bfd.CreditMilliseconds / 1000)]),
        new("sdnedge_bfd_thread_urgent", "1 when the BFD thread could be given a higher priority.", MetricKind.Gauge,
            [new MetricSample(bfd.Urgency == "ordinary" ? 0 : 1)]),
    ];

    private static MetricFamily Each(string name, string help, MetricKind kind, BfdInfo bfd, Func<BfdSessionInfo, double> value)
        => new(name, help, kind, [.. bfd.Sessions.Select(s => new MetricSample(value(s), ("peer", s.Peer), ("local", s.Local),
            ("multihop", s.Multihop ? "true" : "false"), ("vrf", s.Vrf), ("port", s.Port ?? "")))]);
}
