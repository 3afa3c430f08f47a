using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Kills;

namespace SdnEdge.Benchmarks.Kills;

/// <summary>
/// The whole matrix: every party killed by SIGKILL, and cut off from the manager, at every stage of a move and of an abort, in the Figure 1
/// lab with real processes. The manager is killed several times at each stage: after its record and before its command is there, with
/// the command carried out and the answer on the way, and with the answer there.
/// </summary>
internal static class KillsCommand
{
    // The manager is 10 ms away from every party.
    private static readonly int[] s_delays = [0, 12, 25];

    public static int Run(string[] args)
    {
        bool several = args.Contains("--managers");
        args = [.. args.Where(a => a != "--managers")];
        Party[] parties = [.. Enum.GetValues<Party>().Where(p => args.Length == 0 || Is(args[0], p))];
        Fault[] faults = [.. Enum.GetValues<Fault>().Where(f => args.Length < 2 || Is(args[1], f))];
        KillCase[] cases = [.. parties.SelectMany(p => Matrix(p, several)).Where(c => faults.Contains(c.Fault))];
        string topology = several ? LabFiles.Managers : LabFiles.Figure1;
        if (cases.Length > 0 && args.Length <= 2) return RunAsync(cases, topology).GetAwaiter().GetResult();
        if (parties.Length == 1 && faults.Length == 1 && args.Length == 2)
        {
            Console.Error.WriteLine($"bench kills: there are no cases of {parties[0]} {faults[0]}; there are those of "
                + string.Join(", ", Enum.GetValues<Party>().SelectMany(p => Matrix(p, several)).Select(c => $"{c.Party} {c.Fault}")
                    .Distinct()));
            return 2;
        }

        Console.Error.WriteLine("usage: bench kills [PARTY [FAULT]] [--managers]\n" +
            $"  PARTY: {string.Join(", ", Enum.GetNames<Party>())}\n  " +
            $"FAULT: {string.Join(", ", Enum.GetNames<Fault>())}\n  without them, all\n  "
            + "--managers: three managers with one journal in etcd");
        return 2;

        static bool Is<T>(string word, T value) where T : struct, Enum
            => string.Equals(word, value.ToString(), StringComparison.OrdinalIgnoreCase);
    }

    private static IEnumerable<KillCase> Matrix(Party party, bool several)
    {
        int[] delays = party == Party.Manager ? s_delays : [0];
        foreach (int delay in delays)
        {
            foreach (string stage in KillCase.Forward) yield return new KillCase(party, stage, AfterMs: delay);
            foreach (string at in (string[])["mirror", "stop"])
            {
                foreach (string stage in KillCase.Undo) yield return new KillCase(party, stage, at, AfterMs: delay);
            }
        }

        if (party == Party.Manager)
        {
            if (!several) yield break;
            foreach (Fault fault in (Fault[])[Fault.Freeze, Fault.CutOff])
            {
                foreach (string stage in KillCase.Forward) yield return new KillCase(party, stage, Fault: fault);
                foreach (string stage in KillCase.Undo) yield return new KillCase(party, stage, "stop", fault);
            }

            yield break;
        }

        foreach (string stage in KillCase.Forward) yield return new KillCase(party, stage, Fault: Fault.CutOff);
        foreach (string stage in KillCase.Undo) yield return new KillCase(party, stage, "stop", Fault.CutOff);
    }

    private static async Task<int> RunAsync(KillCase[] cases, string topology)
    {
        Console.WriteLine($"{cases.Length} cases");
        Console.WriteLine(
            $"  {"case",-58}{"node",-8}{"hit at",-17}{"ended",-11}{"ms",8}{"dark ms",9}{"answer ms",11}{"pings lost",12}  verdict");
        int failed = 0;
        KillRig? rig = null;
        try
        {
            foreach (KillCase what in cases)
            {
                rig ??= await KillRig.StartAsync(topology, [Daemon.Executable()]);
                string verdict = "";
                try
                {
                    KillResult r = await rig.RunAsync(what);
                    verdict = string.Join("; ", r.Wrong);
                    string pings = string.Create(CultureInfo.InvariantCulture, $"{r.Pings.Lost}/{r.Pings.Sent}");
                    string times = string.Create(CultureInfo.InvariantCulture, $"{r.Ms,8:F0}{r.DarkMs,9:F0}{r.AnsweredMs,11:F0}");
                    string abort = r.Aborted == false ? "well (the abort came too late)" : "well";
                    Console.WriteLine($"  {what.ToString(),-58}{r.Node,-8}{r.Hit,-17}{r.State,-11}{times}{pings,12}  " +
                        (verdict.Length == 0 ? abort : verdict));
                }
                catch (Exception e) when (e is TimeoutException or InvalidOperationException)
                {
                    verdict = e.Message;
                    Console.WriteLine($"  {what.ToString(),-58}{e.Message}");
                }

                if (verdict.Length == 0) continue;

                // The next case begins with a lab in which nothing of this one is left.
                failed++;
                Console.WriteLine(await rig.TellAsync());
                await rig.DisposeAsync();
                rig = null;
            }
        }
        finally
        {
            if (rig is not null) await rig.DisposeAsync();
        }

        Console.WriteLine($"{cases.Length - failed} of {cases.Length} ended moved or as before, never two servers live, nothing left over");
        return failed == 0 ? 0 : 1;
    }
}
