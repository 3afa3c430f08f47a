using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Volumes;
using SdnEdge.Web;

namespace SdnEdge.Storage.Api;

/// <summary>Metrics of volumes: who owns them, how far their replicas are behind, what waits, their marks.</summary>
internal static class VolumeMetrics
{
    /// <summary>Those of these volumes. What a volume does not have (an owner's lag, at a replica) has no sample.</summary>
    public static IEnumerable<MetricFamily> Of(
        IEnumerable<(VolumeInfo Info, IReadOnlyList<VolumePoint> Points, MarkRetention? Keep)> volumes)
    {
        var all = volumes.ToList();
        VolumeInfo[] infos = [.. all.Select(v => v.Info)];
        (VolumeInfo Info, VolumePoint[] Marks, MarkRetention? Keep)[] marks =
            [.. all.Select(v => (v.Info, v.Points.Where(p => p.IsMark).ToArray(), v.Keep))];
        DateTimeOffset now = DateTimeOffset.UtcNow;
        return
        [
            Gauge("sdnedge_store_owner", "1 where this store owns the volume, 0 where it has its replica.",
                infos.Select(v => One(v, v.Role is OwnerRole.Owner or OwnerRole.Sealed ? 1 : 0))),
            Gauge("sdnedge_store_epoch", "Highest epoch seen.", infos.Select(v => One(v, v.Epoch))),
            Gauge("sdnedge_store_waiting_requests", "Requests that wait for who may write.", infos.Select(v => One(v, v.Parked))),
            Gauge("sdnedge_store_waiting_bytes", "Their bytes.", infos.Select(v => One(v, v.ParkedBytes))),
            Replicated("sdnedge_store_link_up", "1 while the replica's store is connected.", r => r.Connected ? 1 : 0),
            Replicated("sdnedge_store_in_sync", "1 while the replica has everything, proved, in the mode that is promised.",
                r => r.InSync ? 1 : 0),
            Replicated("sdnedge_store_lag_bytes", "Bytes of the log that the replica does not have durably; never understated.",
                r => r.Lag.Bytes),
            Replicated("sdnedge_store_lag_seconds", "Age of the oldest record that the replica does not have durably.", r => r.Lag.Seconds),
            Replicated("sdnedge_store_rpo_seconds", "What a loss of this site would lose now, as time: answered writes that the replica "
                + "lacks. 0 in sync.", r => r is { InForce: ReplicationMode.Sync, InSync: true } ? 0 : r.Lag.Seconds),
            Bound("sdnedge_store_lag_bound_bytes", "Most bytes of lag by policy.", r => r.Lag.BytesBound),
            Bound("sdnedge_store_lag_bound_seconds", "Greatest lag by policy.", r => r.Lag.SecondsBound),
            Bound("sdnedge_store_link_round_trip_seconds", "Round trip of the link.", r => r.RoundTripMs / 1e3),
            Replicated("sdnedge_store_link_bytes_per_second", "What the link carries; 0 = not known.", r => r.BytesPerSecond),
            Replicated("sdnedge_store_write_bytes_per_second", "What the clients write.", r => r.WriteBytesPerSecond),
            Gauge("sdnedge_store_mode", "1 for the mode by which writes are answered now.",
                infos.Where(v => v.Replication is not null).SelectMany(v => Enum.GetValues<ReplicationMode>().Select(
                    m => new MetricSample(v.Replication!.InForce == m ? 1 : 0, ("volume", v.Name), ("mode", Word(m)))))),
            Gauge("sdnedge_store_alarm", "1 while an alarm of the replication is raised.",
                infos.Where(v => v.Replication is not null).SelectMany(v => Enum.GetValues<ReplicationAlarm>()
                    .Where(a => a != ReplicationAlarm.None).Select(
                        a => new MetricSample(v.Replication!.Alarms.Contains(a) ? 1 : 0, ("volume", v.Name), ("alarm", Word(a)))))),
            Gauge("sdnedge_store_marks", "Marks that are kept.", marks.Select(v => One(v.Info, v.Marks.Length))),
            Gauge("sdnedge_store_mark_bytes", "Bytes that the marks keep beside the image.",
                marks.Select(v => One(v.Info, v.Marks.Sum(p => p.Bytes)))),
            Gauge("sdnedge_store_mark_bytes_bound", "Most bytes that they may keep; the oldest goes then.",
                marks.Where(v => v.Keep is { Bytes: > 0 }).Select(v => One(v.Info, v.Keep!.Bytes))),
            Gauge("sdnedge_store_newest_mark_age_seconds", "Age of the newest mark.",
                marks.Where(v => v.Marks.Length > 0).Select(v => One(v.Info, Math.Max(0, (now - v.Marks[^1].Created).TotalSeconds)))),
        ];

        MetricFamily Replicated(string name, string help, Func<VolumeReplicationInfo, double> value)
            => Gauge(name, help, infos.Where(v => v.Replication is not null).Select(v => One(v, value(v.Replication!))));

        // 0 is "none".
        MetricFamily Bound(string name, string help, Func<VolumeReplicationInfo, double> value)
            => Gauge(name, help, infos.Where(v => v.Replication is not null && value(v.Replication) > 0)
                .Select(v => One(v, value(v.Replication!))));
    }

    /// <summary>What it costs that the replica is waited for.</summary>
    public static IEnumerable<MetricFamily> Waits(IEnumerable<(string Volume, (long Count, long Time) Waited)> volumes)
    {
        var all = volumes.ToList();
        return
        [
            new("sdnedge_store_replica_waits_total", "Requests that were answered when the replica had them durably.", MetricKind.Counter,
                [.. all.Select(v => new MetricSample(v.Waited.Count, ("volume", v.Volume)))]),
            new("sdnedge_store_replica_wait_seconds_total", "How long all of them waited for it, once they were durable here.",
                MetricKind.Counter,
                [.. all.Select(v => new MetricSample(v.Waited.Time / 1e9, ("volume", v.Volume)))]),
        ];
    }

    private static MetricFamily Gauge(string name, string help, IEnumerable<MetricSample> samples)
        => new(name, help, MetricKind.Gauge, [.. samples]);

    private static MetricSample One(VolumeInfo volume, double value) => new(value, ("volume", volume.Name));

    private static string Word<T>(T value) where T : struct, Enum
        => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
