using System.Globalization;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Guests;

namespace SdnEdge.Benchmarks.Guests;

/// <summary>
/// The whole matrix with a real guest: manager, agents and both QEMUs killed and frozen at each stage of a move, hosts cut off from the
/// manager, the way between the hosts cut, half open and slow, and a target without memory. With a disk: the same and, first, the stores
/// killed, frozen and cut off, and the way between them cut; at the end of each case the disks of both sites are compared.
/// </summary>
internal static class GuestKillsRun
{
    /// <summary>Words for parties.</summary>
    public static string Parties { get; } = string.Join(", ", Enum.GetNames<GuestParty>());

    /// <summary>Words for faults.</summary>
    public static string Faults { get; } = string.Join(", ", Enum.GetNames<GuestFault>());

    /// <summary>The cases that are named; empty = there are none of that name.</summary>
    public static GuestKillCase[] Cases(string[] args, bool hasDisk) => args.Length > 3 ? [] :
        [.. (hasDisk ? GuestKillCase.OfStores.Concat(GuestKillCase.All) : GuestKillCase.All).Where(c =>
        (args.Length < 1 || Is(args[0], $"{c.Party}")) && (args.Length < 2 || Is(args[1], $"{c.Fault}"))
        && (args.Length < 3 || Is(args[2], c.Stage)))];

    public static async Task<int> RunAsync(GuestKillCase[] cases, bool hasDisk)
    {
        Console.WriteLine($"{cases.Length} cases");
        Console.WriteLine($"  {"case",-42}{"hit at",-17}{"ended",-11}{"ms",8}{"silent ms",11}{"pings lost",12}  verdict");
        int failed = 0;
        GuestKillRig? rig = null;
        try
        {
            foreach (GuestKillCase what in cases)
            {
                rig ??= await GuestKillRig.StartAsync(hasDisk ? LabFiles.Figure1Qemu : LabFiles.Guest, [Daemon.Executable()]);
                string verdict;
                try
                {
                    GuestKillResult r = await rig.RunAsync(what);
                    verdict = string.Join("; ", r.Wrong);
                    string pings = string.Create(CultureInfo.InvariantCulture, $"{r.Pings.Lost}/{r.Pings.Sent}");
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                        $"  {what.ToString(),-42}{r.Hit,-17}{r.State,-11}{r.Ms,8:F0}{r.SilentMs,11:F0}{pings,12}  ")
                        + (verdict.Length > 0 ? verdict : r.Anew ? "well; the guest had been killed and was started anew" : "well")
                        + (r.Failure is null ? "" : $" ({r.Failure})"));
                }
                catch (Exception e) when (e is TimeoutException or InvalidOperationException)
                {
                    verdict = e.Message;
                    Console.WriteLine($"  {what.ToString(),-42}{e.Message}");
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

        Console.WriteLine($"{cases.Length - failed} of {cases.Length} ended moved or as before with one guest running, never two, "
            + "nothing left over" + (hasDisk ? ", no record lost, both disks equal" : ""));
        return failed == 0 ? 0 : 1;
    }

    private static bool Is(string word, string value) => string.Equals(word, value, StringComparison.OrdinalIgnoreCase);
}
