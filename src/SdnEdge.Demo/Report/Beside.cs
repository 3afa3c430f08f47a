namespace SdnEdge.Demo.Report;

/// <summary>The manager's move and the script's, side by side. Pure.</summary>
internal static class Beside
{
    /// <summary>
    /// Two rows: by whom, packets sent, lost, reordered, longest gap (ms), stop to run (ms), longest TCP stall (ms), resets, MiB copied.
    /// </summary>
    public static string[][] Rows(DemoReport report, ScriptReport script) =>
    [
        [
            "by the manager", $"{report.Ingress.Sum(s => s.Sent):N0}", $"{report.Ingress.Sum(s => s.Lost):N0}",
            $"{report.Ingress.Sum(s => s.Reordered):N0}", $"{report.Ingress.Select(s => s.MaxGapMs).DefaultIfEmpty(0).Max():N0}",
            report.Server?.DowntimeMs is { } still ? $"{still:N0}" : "-", $"{report.Tcp.MaxStallMs:N0}", $"{report.Tcp.Resets:N0}",
            report.Server?.PrecopyBytes is { } bytes ? Mib(bytes) : "-",
        ],
        [
            "by a script", $"{script.Sent:N0}", $"{script.Lost:N0}", $"{script.Reordered:N0}", $"{script.GapMs:N0}",
            $"{script.DowntimeMs:N0}", $"{script.TcpMaxStallMs:N0}", $"{script.TcpResets:N0}", Mib(script.PrecopyBytes),
        ],
    ];

    private static string Mib(long bytes) => $"{bytes / 1048576.0:N1}";
}
