using System.Globalization;
using SdnEdge.Bfd;
using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Benchmarks.Bfd;

/// <summary>
/// The other end of <see cref="BfdCommand"/>: a process with nothing but a BFD speaker. A line on its input is answered with
/// how often its sessions came up and went down; the end of its input ends it.
/// </summary>
internal static class BfdPeerCommand
{
    public static int Run(string[] args)
    {
        int sessions = int.Parse(args[0], CultureInfo.InvariantCulture), interval = int.Parse(args[1], CultureInfo.InvariantCulture);
        using var speaker = new BfdSpeaker(() => { });
        for (int i = 0; i < sessions; i++) speaker.Add(BfdCommand.Key(i, ours: false),
            BfdParameters.Every(interval, BfdCommand.Multiplier));
        Console.WriteLine("ready");
        while (Console.ReadLine() is not null)
        {
            BfdSession[] all = [.. speaker.Sessions.Select(w => w.Session)];
            string causes = string.Join(',', all.Where(s => s.State != BfdState.Up).Select(s => s.Diagnostic).Distinct());
            Console.WriteLine($"{all.Sum(s => s.Ups)} {all.Sum(s => s.Downs)} {all.Count(s => s.State == BfdState.Up)} {speaker.Stalls} "
                + $"{speaker.LongestStallNs} {causes}");
        }

        return 0;
    }
}
