using SdnEdge.Storage.Nbd;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>Metrics of what NBD clients have asked.</summary>
internal static class StoreMetrics
{
    /// <summary>Those of a server's counters.</summary>
    public static IEnumerable<MetricFamily> Of(NbdCounters counters) =>
    [
        new("sdnedge_nbd_requests_total", "Requests of NBD clients.", MetricKind.Counter,
        [
            Request("read", counters.Reads), Request("write", counters.Writes), Request("flush", counters.Flushes),
            Request("trim", counters.Trims), Request("write-zeroes", counters.WriteZeroes), Request("cache", counters.Caches),
            Request("block-status", counters.BlockStatuses),
        ]),
        new("sdnedge_nbd_read_bytes_total", "Bytes that NBD clients have read.", MetricKind.Counter,
            [new MetricSample(counters.BytesRead)]),
        new("sdnedge_nbd_written_bytes_total", "Bytes that they have written.", MetricKind.Counter,
            [new MetricSample(counters.BytesWritten)]),
        new("sdnedge_nbd_errors_total", "Requests that were answered with an error.", MetricKind.Counter,
            [new MetricSample(counters.Errors)]),
        new("sdnedge_nbd_protocol_errors_total", "Connections that ended because their bytes made no sense, or TLS failed.",
            MetricKind.Counter, [new MetricSample(counters.ProtocolErrors)]),
        new("sdnedge_nbd_device_faults_total", "Calls of a volume that ended by a mistake of ours.", MetricKind.Counter,
            [new MetricSample(counters.DeviceFaults)]),
    ];

    private static MetricSample Request(string kind, long count) => new(count, ("request", kind));
}
