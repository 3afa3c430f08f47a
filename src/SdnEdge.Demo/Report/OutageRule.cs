namespace SdnEdge.Demo.Report;

/// <summary>
/// When a run with an outage has passed: what its policy promises was kept. Cold: the server runs at the other site, nothing ran twice,
/// what is lost of the disk is its newest part and no older than what the replica lacked, packets keep their order, the failed site has
/// lost the server and its disk, a planned move brings all of it home as any planned move does, and nothing is left over. Pure.
/// </summary>
internal static class OutageRule
{
    // What is asked of the owner is as old as this when the server fails; and the clocks of the guest and of its store are not one.
    private const double SlackMs = 1000;

    /// <summary>Every promise that was not kept, in words; empty = passed.</summary>
    /// <param name="report">The report, with its outage.</param>
    /// <param name="facts">The outage.</param>
    /// <param name="home">The report of the way home; null = it was not made.</param>
    public static IReadOnlyList<string> Judge(DemoReport report, OutageFacts facts, DemoReport? home)
    {
        OutageReport outage = report.Outage!;
        var failures = new List<string>(facts.Wrong);
        Fail(!report.Probe.Valid, $"probe not valid: {report.Probe.WhyInvalid}");
        Fail(outage.FlippedMs is null, $"flip: the PE of {facts.From} did not switch by itself");
        Fail(facts.Failover is { State: not "moved" }, $"fail-over: it ended {facts.Failover?.State}: {facts.Failover?.Failure}");
        Fail(outage.Fence is null, $"fence: no host of {facts.From} has said that its server is dead");
        Fail(outage.FencedMs > outage.ActivatedMs, "fence: the server was started before the fence was on record");
        Fail(outage.ActivatedMs is null, $"activate: the server does not run at {facts.To}");
        Fail(outage.FirstReplyMs is null, $"activate: no client has an answer of the server at {facts.To}");
        Fail(outage.DualActive is null, "twice: the guest was not heard at both sites, so nobody can tell whether it ran twice");
        Fail(outage.DualActive == true, $"twice: the guest sent {facts.Twice} frames at {facts.From} after its first one at {facts.To}");
        Records();
        foreach (StreamReport s in report.Ingress)
        {
            Fail(s.Sent == 0, $"{s.Client}: nothing was sent");
            Fail(s.Duplicated != 0, $"{s.Client}: {s.Duplicated} packets duplicated");
            Fail(s.OrderKept && s.Reordered != 0, $"order: {s.Reordered} packets of {s.Client} reordered");
            Fail(!s.OrderKept && s.ReorderedSwitchToRelease != 0,
                $"order: {s.ReorderedSwitchToRelease} packets of {s.Client} reordered from the flip through the release");
        }

        Fail(home is null, "home: the group was not moved home");
        failures.AddRange((home?.Failures ?? []).Select(f => "home: " + f));
        Fail(outage.ProtectedAgainMs is null, "home: the group is not protected again");
        Fail(report.Residue.Count != 0, $"left over: {string.Join(", ", report.Residue)}");
        return failures;

        void Records()
        {
            Fail(outage.RecordsAcknowledged is null or 0, "records: none was acknowledged before the failure");
            Fail(facts.Recovered is null, $"records: the disk at {facts.To} was not read before the server went on to write");
            Fail(facts.Recovered?.Hidden > 0, $"records: the server had written over {facts.Recovered?.Hidden} of those that may be lost, "
                + "before the disk was read");
            Fail(facts.Recovered?.Damaged > 0, $"records: {facts.Recovered?.Damaged} that were acknowledged are damaged");
            Fail(outage.RecordGaps > 0, $"records: {outage.RecordGaps} are lost and later ones are there: the disk is of no moment that "
                + "there was");
            Fail(outage.RecordsLostAcknowledged > 0 && outage.RpoMs is null, "records: it is not known how old those are that are lost");
            Fail(outage.RecordsLostAcknowledged > 0 && outage.DiskMode == "async" && !(outage.RpoMs <= outage.LagMs + SlackMs),
                $"records: one that is lost was acknowledged {outage.RpoMs:0.0} ms before the failure, and the replica was "
                + $"{outage.LagMs?.ToString("0.0") ?? "an unknown number of"} ms behind");
            Fail(outage.RecordsLostFlushed > 0 && outage.DiskMode != "async",
                $"records: {outage.RecordsLostFlushed} that were flushed are lost, with the disk in the mode "
                + $"{outage.DiskMode ?? "unknown"}");
        }

        void Fail(bool bad, string what)
        {
            if (bad) failures.Add(what);
        }
    }
}
