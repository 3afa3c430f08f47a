using System.Text;
using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Report;

/// <summary>The volumes of a migration in the report: what was done with each, and how long its writes took a round trip longer.</summary>
internal static class VolumeReports
{
    // Two seconds beside the drain and the time from stop to run (docs/design.md).
    private const double OwnMs = 2_000;

    /// <summary>Of a manager's word.</summary>
    public static IReadOnlyList<VolumeReport> Of(MigrationStatus migration, Func<long, double> ms)
    {
        double? at(long? ns) => ns is { } known ? ms(known) : null;
        return
        [
            .. migration.Moves.SelectMany(m => (m.Volumes ?? []).Select(v => (Move: m, Volume: v))).Select(x => new VolumeReport(
                x.Volume.Server, x.Volume.Volume, at(x.Volume.SyncAskedAtNs), at(x.Volume.InSyncAtNs), x.Volume.DrainMs, x.Volume.SealedAt,
                at(x.Volume.SealedAtNs), at(x.Volume.GrantedAtNs), at(x.Volume.RestoredAtNs), x.Volume.SyncExposureMs,
                Bound(x.Move, x.Volume))),
        ];
    }

    /// <summary>The table of them.</summary>
    public static void Append(StringBuilder page, IReadOnlyList<VolumeReport> volumes)
    {
        if (volumes.Count == 0) return;
        page.Append("<section class=\"card\">\n<h2>Volumes</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>volume</th><th>server</th>"
            + "<th>sync asked</th><th>in sync</th><th>proof took</th><th>sealed at sequence</th><th>sealed</th><th>granted</th>"
            + "<th>writes waited for the other site</th><th>at most</th></tr></thead>\n<tbody>\n");
        foreach (VolumeReport v in volumes)
        {
            page.Append($"<tr><th>{Svg.Escape(v.Volume)}</th><td>{Svg.Escape(v.Server)}</td>{Ms(v.SyncAskedMs)}{Ms(v.InSyncMs)}"
                + $"{Ms(v.DrainMs)}<td>{(v.SealedAt is { } last ? $"{last:N0}" : "–")}</td>{Ms(v.SealedMs)}{Ms(v.GrantedMs)}"
                + $"{Ms(v.SyncExposureMs)}{Ms(v.SyncExposureBoundMs)}</tr>\n");
        }

        page.Append("</tbody></table></div>\n<p class=\"foot\">By the clock of the host that did it. The proof: the replica has the same "
            + "history and the same content root at the last sequence, and the guest stood still.</p>\n</section>\n");
    }

    private static double? Bound(MoveStatus move, VolumeMoveStatus volume)
        => volume.DrainMs is { } drain
            && move.Servers.FirstOrDefault(s => s.Name == volume.Server) is { StoppedAtNs: { } stopped, RunningAtNs: { } runs }
            ? Math.Round(drain + ((runs - stopped) / 1e6) + OwnMs, 1) : null;

    private static string Ms(double? ms) => ms is { } v ? $"<td>{v:0.0} ms</td>" : "<td class=\"none\">–</td>";
}
