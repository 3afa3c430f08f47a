using System.Globalization;

namespace SdnEdge.Benchmarks.Guests;

/// <summary>
/// Real guests of QEMU: their memory compared page by page, moves back and forth under traffic, and moves with one party after the other
/// killed, frozen or cut off. Needs the guest and its QEMU (guest/make-guest.sh, guest/fetch-qemu.sh) in the folder SDNEDGE_GUEST.
/// </summary>
internal static class GuestsCommand
{
    public static int Run(string[] args)
    {
        if (Environment.GetEnvironmentVariable("SDNEDGE_GUEST") is not { Length: > 0 })
        {
            Console.Error.WriteLine("bench guests: SDNEDGE_GUEST names no folder with the test guest; make it with "
                + "guest/fetch-qemu.sh DIR && guest/make-guest.sh DIR");
            return 2;
        }

        Task<int>? run = args switch
        {
            ["memory", .. string[] rest] when Moves(rest, 20) is { } moves => GuestMemoryRun.RunAsync(moves),
            ["moves", "--disk", .. string[] rest] when Moves(rest, 20) is { } moves => GuestMovesRun.RunAsync(moves, hasDisk: true),
            ["moves", .. string[] rest] when Moves(rest, 20) is { } moves => GuestMovesRun.RunAsync(moves, hasDisk: false),
            ["demo", .. string[] rest] when Moves(rest, 10) is { } moves => GuestDemoRun.RunAsync(moves),
            ["kills", "--disk", .. string[] rest] when GuestKillsRun.Cases(rest, hasDisk: true) is { Length: > 0 } cases
                => GuestKillsRun.RunAsync(cases, hasDisk: true),
            ["kills", .. string[] rest] when GuestKillsRun.Cases(rest, hasDisk: false) is { Length: > 0 } cases
                => GuestKillsRun.RunAsync(cases, hasDisk: false),
            _ => null,
        };
        if (run is not null) return run.GetAwaiter().GetResult();
        Console.Error.WriteLine($"""
            usage: bench guests memory [--moves N]                N moves between two agents (20), memory compared page by page in each
                   bench guests moves [--disk] [--moves N]        N moves back and forth in the lab (20), under traffic; with
                                                                  a disk, of both sites, compared after each
                   bench guests demo [--moves N]                  the demo with a virtual machine, N times (10), beside a script
                   bench guests kills [--disk] [PARTY [FAULT [STAGE]]]
                                                                  every party killed, frozen, cut off, at every stage; without words,
                                                                  all; with a disk, the stores and the way between them, too
              PARTY: {GuestKillsRun.Parties}
              FAULT: {GuestKillsRun.Faults}
            """);
        return 2;
    }

    // Null: not understood.
    private static int? Moves(string[] args, int unsaid) => args switch
    {
        [] => unsaid,
        ["--moves", string text] when int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int moves) && moves > 0
            => moves,
        _ => null,
    };
}
