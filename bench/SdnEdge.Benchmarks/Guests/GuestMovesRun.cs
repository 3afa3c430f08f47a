using System.Globalization;
using System.Net;
using SdnEdge.Benchmarks.Bgp;
using SdnEdge.Benchmarks.Moves;
using SdnEdge.Lab.Tests;
using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Lab.Tests.Moves;

namespace SdnEdge.Benchmarks.Guests;

/// <summary>
/// A guest moves back and forth in the lab under traffic: numbered datagrams of several streams and their echoes, and one TCP connection
/// that stays open. Each move must be clean, and what PEs, agents (the relay is in them) and manager keep in memory must not grow.
/// With a disk: the lab of Figure 1, whose guest writes records all the while; after each move every record that was acknowledged must be
/// on the disks of both sites, and these must have the same bytes.
/// </summary>
internal static class GuestMovesRun
{
    private const int Warm = 4, BoundKb = 6144, Streams = 4, PerSecond = 50;

    public static async Task<int> RunAsync(int moves, bool hasDisk)
    {
        await using GuestRig rig = await GuestRig.StartAsync(hasDisk ? LabFiles.Figure1Qemu : LabFiles.Guest, [Daemon.Executable()]);
        using DiskCheck? disk = hasDisk ? new DiskCheck(rig.Daemons, GuestRig.Client) : null;
        using EchoTraffic traffic = EchoTraffic.Start(rig.Lab, GuestRig.Client,
            Enumerable.Repeat(IPAddress.Parse(GuestRig.Address), Streams), TimeSpan.FromSeconds(1.0 / PerSecond));
        await traffic.SettleAsync();
        await using TcpLines tcp = await TcpLines.StartAsync(rig.Lab, GuestRig.Client, GuestRig.Address);
        await tcp.SettleAsync();
        Console.WriteLine($"{moves} moves of a guest "
            + (hasDisk ? "of 192 MiB (TCG) that writes to 200 pages a second, and to its disk a record of 4 KiB each 10 ms with fdatasync, "
                : "of 128 MiB (TCG) that writes to 400 pages a second, ")
            + $"{Streams * PerSecond} datagrams a second and their echoes, one TCP connection");
        Console.WriteLine($"  {"move",-7}{"to",-7}{"ended",-11}{"copy s",8}{"passes",8}{"copied MB",11}{"stop-run ms",13}{"UDP gap ms",12}"
            + $"{"TCP gap ms",12}{"sent",8}{"lost",6}{"twice",7}{"reord.",8}{"lines",8}"
            + (hasDisk ? $"{"records",10}{"lost",6}{"disks",8}" : "") + "  verdict");
        int warm = Math.Min(Warm, moves), clean = 0;
        IReadOnlyList<ProcessMemory> before = await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons.All);
        var results = new List<GuestMove>();
        for (int i = 1; i <= moves; i++)
        {
            GuestMove m = await rig.MoveAsync(traffic, tcp);
            DiskFinding? found = disk is null ? null : await disk.LookAsync(await rig.SiteAsync());
            if (found is not null) m = m with { Wrong = [.. m.Wrong, .. found.Wrong] };
            results.Add(m);
            if (m.Wrong.Count == 0) clean++;
            string passes = m.Copy is { } copy ? string.Create(CultureInfo.InvariantCulture, $"{copy.Pass,8}{copy.CopiedBytes / 1e6,11:F1}")
                : $"{"-",8}{"-",11}";
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {m.Id,-7}{m.To,-7}{m.State,-11}{m.CopySeconds,8:F2}{passes}{m.StopToRunMs,13:F1}{m.Echo.LongestGapMs,12:F1}")
                + string.Create(CultureInfo.InvariantCulture,
                $"{m.Tcp.LongestGapMs,12:F1}{m.Echo.Sent,8}{m.Echo.Lost,6}{m.Echo.Duplicated,7}{m.Echo.Reordered,8}{m.Tcp.Lines,8}")
                + (found is null ? "" : string.Create(CultureInfo.InvariantCulture, $"{found.Word?.Acknowledged ?? 0,10}")
                    + string.Create(CultureInfo.InvariantCulture, $"{found.Disks.Select(d => d.Lost).DefaultIfEmpty(0).Max(),6}")
                    + $"{(found.Disks.Count == 2 && found.Disks[0].Sha256 == found.Disks[1].Sha256 ? "equal" : "DIFFER"),8}") + "  "
                + (m.Wrong.Count == 0 ? "clean" : string.Join("; ", m.Wrong)));
            if (i == warm) before = await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons.All);
        }

        foreach ((string what, Func<GuestMove, double> value) in ((string, Func<GuestMove, double>)[])
            [("copy s", m => m.CopySeconds), ("stop-run ms", m => m.StopToRunMs), ("UDP gap ms", m => m.Echo.LongestGapMs),
                ("TCP gap ms", m => m.Tcp.LongestGapMs), ("UDP gap beyond stop-run ms", m => m.Echo.LongestGapMs - m.StopToRunMs)])
        {
            double[] sorted = [.. results.Select(value).Order()];
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {what,-28}least {sorted[0],8:F2}  median {sorted[sorted.Length / 2],8:F2}  most {sorted[^1],8:F2}"));
        }

        bool flat = ProcessMemory.Compare(before, await ProcessMemory.ReadAsync(rig.Lab, rig.Daemons.All), warm, moves, BoundKb);
        Console.WriteLine($"{clean} of {moves} clean; memory {(flat ? "flat" : "GROWS")}");
        return flat && clean == moves ? 0 : 1;
    }
}
