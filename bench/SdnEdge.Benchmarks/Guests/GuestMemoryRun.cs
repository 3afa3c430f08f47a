using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Host;
using SdnEdge.Host.Tests.Qemu;

namespace SdnEdge.Benchmarks.Guests;

/// <summary>Moves of a guest between two agents, its memory compared page by page when it is handed over and runs nowhere.</summary>
internal static class GuestMemoryRun
{
    public static async Task<int> RunAsync(int moves)
    {
        await using TwoAgents two = await TwoAgents.StartAsync();
        await TwoAgents.OrderAsync(two.A, ServerOrder.Resume, 1);
        (long ticks, _) = await two.CountsAsync(two.A);
        Console.WriteLine($"{moves} moves of a guest of {GuestMemory.Bytes >> 20} MiB that writes to 400 pages a second of 16 MiB, "
            + "between two agents of this machine");
        Console.WriteLine($"  {"move",-6}{"to",-8}{"copy s",8}{"pages",9}{"not zero",10}{"differ",8}{"clock",9}{"bad words",11}  verdict");
        int clean = 0;
        for (int move = 1; move <= moves; move++)
        {
            (HostAgent from, HostAgent to) = move % 2 == 1 ? (two.A, two.B) : (two.B, two.A);
            MemoryComparison m = await GuestMemory.MoveAsync(two, from, to, move + 1);
            (long now, long bad) = await two.CountsAsync(to);
            bool well = m.Differing.Count == 0 && now >= ticks && bad == 0;
            if (well) clean++;
            string differing = m.Differing.Count == 0 ? "" : "pages at " + string.Join(", ", m.Differing.Select(a => $"{a:x}"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {move,-6}{(to == two.A ? "host-a" : "host-b"),-8}{m.CopyMs / 1000,8:F2}{m.Pages,9}{m.NotZero,10}{m.Differing.Count,8}")
                + string.Create(CultureInfo.InvariantCulture, $"{now,9}{bad,11}  {(well ? "same" : $"NOT the same {differing}")}"));
            ticks = now;
        }

        Console.WriteLine($"{clean} of {moves} moves: no page differs, the guest's clock goes on, and it finds its memory as it left it");
        return clean == moves ? 0 : 1;
    }
}
