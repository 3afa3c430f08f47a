namespace SdnEdge.Demo.Report;

/// <summary>
/// When a run has passed: nothing lost, duplicated, stale or overflown, no reset, every ingress on the direct way, the tunnel
/// gone and nothing left over, and the probes themselves sound; and order kept: everywhere for ingress PEs with flush markers,
/// from the switch through the release for others. A virtual machine must be the same one, with the same memory; both sites' disks must
/// have every record that was acknowledged, and be equal. Pure.
/// </summary>
internal static class ExitRule
{
    /// <summary>Every condition that does not hold, in words; empty = passed.</summary>
    /// <param name="report">The report.</param>
    /// <param name="moveError">What the migration itself said went wrong; null = nothing.</param>
    public static IReadOnlyList<string> Judge(DemoReport report, string? moveError)
    {
        var failures = new List<string>();
        void fail(bool bad, string what)
        {
            if (bad)
            {
                failures.Add(what);
            }
        }

        fail(moveError is not null, $"migration: {moveError}");
        fail(!report.Probe.Valid, $"probe not valid: {report.Probe.WhyInvalid}");
        fail(report.Probe.Ran && report.Ingress.Count == 0, "no ingress was probed");
        foreach ((string way, StreamReport s) in report.Ingress.Select(s => ($"{s.Client} to server", s))
            .Concat(report.Reverse.Select(s => ($"server to {s.Client}", s))))
        {
            fail(s.Sent == 0, $"{way}: nothing was sent");
            fail(s.Lost != 0, $"{way}: {s.Lost} of {s.Sent} packets lost");
            fail(s.Duplicated != 0, $"{way}: {s.Duplicated} packets duplicated");
            fail(s.OrderKept && s.Reordered != 0, $"{way}: {s.Reordered} packets reordered");
            fail(!s.OrderKept && s.ReorderedSwitchToRelease != 0,
                $"{way}: {s.ReorderedSwitchToRelease} packets reordered from the switch through the release");
        }

        foreach (StreamReport s in report.Ingress)
        {
            fail(s.DirectPathAfterMs is null, $"{s.Name}: never took the direct path to the new site");
        }

        fail(report.Switch.StalePackets != 0, $"switch: {report.Switch.StalePackets} packets went the old way after the acknowledgement");
        fail(report.Switch.StaleAtServerLeg is > 0,
            $"switch: {report.Switch.StaleAtServerLeg} packets reached the server's old leg after it had gone");
        fail(report.Hold.Overflow != 0, $"hold: {report.Hold.Overflow} packets dropped by a cap");
        fail(report.Tcp.Resets != 0, $"tcp: {report.Tcp.Resets} resets ({report.Tcp.LastError})");
        fail(report.Tcp.WrongBytes != 0, $"tcp: {report.Tcp.WrongBytes} bytes came back wrong");
        fail(report.Probe.Ran && report.Tcp.Bytes == 0, $"tcp: nothing was transferred ({report.Tcp.LastError ?? "no error reported"})");
        fail(!report.Tunnel.TornDown, "tunnel: not torn down");
        fail(report.Residue.Count != 0, $"left over: {string.Join(", ", report.Residue)}");
        if (report.Server is { Kind: not "stand-in" } server)
        {
            fail(server.CounterContinuous is null, "server: its counter was not seen on both sides of the move");
            fail(server.CounterContinuous == false, "server: its counter did not go on where it was");
            fail(server.PatternIntact is null, "server: it did not say whether the pattern in its memory is intact");
            fail(server.PatternIntact == false, "server: the pattern in its memory is damaged");
            fail(server.BadWords is null, "server: it did not say whether its memory is intact");
            fail(server.BadWords > 0, $"server: {server.BadWords} words of its memory are wrong");
        }

        if (report.Storage is { } storage) Storage(storage, fail);
        return failures;
    }

    // What the disks themselves say counts; what the guest says of its writing comes beside it.
    private static void Storage(StorageReport storage, Action<bool, string> fail)
    {
        foreach (DiskReport disk in storage.Disks)
        {
            fail(disk.Fault is not null, $"storage: the disk at {disk.Site} ({disk.Store}) was not read: {disk.Fault}");
            fail(disk.Lost > 0, $"storage: {disk.Lost} of {disk.RecordsExpected} records that were acknowledged are not on the disk at "
                + $"{disk.Site} ({disk.Store}); the first is number {disk.FirstLost}"
                + (disk.Damaged > 0 ? $"; {disk.Damaged} of them are damaged" : ""));
        }

        fail(storage.Disks.Count < 2, "storage: not both sites' disks were read");
        fail(storage.RootEqual == false, $"storage: the disks of {string.Join(" and ", storage.Disks.Select(d => d.Store))} differ");
        fail(storage.WritesAcknowledged is null, "storage: the guest did not say what it has written");
        fail(storage.WritesAcknowledged == 0, "storage: no write of the guest was acknowledged");
        fail(storage.WritesAcknowledged > 0 && storage.WritesAfterMove == 0,
            "storage: no write of the guest was acknowledged after the move");
        fail(storage.Reverse is { Connected: false }, $"storage: {storage.Reverse?.To} does not follow {storage.Reverse?.From} after the "
            + $"move");
        fail(storage.ReadBackWrong > 0, $"storage: {storage.ReadBackWrong} of {storage.ReadBack} records that the guest read back were "
            + $"not as "
            + "it had written them");
        fail(storage.WriteErrors > 0, $"storage: {storage.WriteErrors} requests of the guest failed");
    }
}
