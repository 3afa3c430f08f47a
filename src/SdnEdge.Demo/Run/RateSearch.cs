using SdnEdge.Demo.Report;
using SdnEdge.Lab.Running;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Finds the rate at which a virtual machine is asked while it moves: half of the highest rate of those tried at which it loses nothing and
/// keeps up while it stays where it is. Twice the wanted rate is tried first, then half of the one before. To copy its memory takes as much
/// of a machine as its traffic: what it cannot answer meanwhile waits in its sockets, is lost when they are full, and says nothing of the
/// move.
/// </summary>
internal static class RateSearch
{
    private const long Least = 50;

    /// <summary>Finds it.</summary>
    /// <param name="wanted">Packets per second.</param>
    /// <param name="tryAsync">Tries a rate on the unmoved machine.</param>
    /// <exception cref="LabException">It loses packets at every rate.</exception>
    public static async Task<(long Rate, IReadOnlyList<RateTrial> Trials)> FindAsync(long wanted, Func<long, Task<RateTrial>> tryAsync)
    {
        var trials = new List<RateTrial>();
        for (long rate = 2 * wanted; rate >= Least; rate /= 2)
        {
            RateTrial trial = await tryAsync(rate);
            trials.Add(trial);
            if (trial.Clean) return (Math.Max(rate / 2, Least), trials);
        }

        throw new LabException("the virtual machine loses packets before anything is moved, also at "
            + $"{trials[^1].PacketsPerSecond} packets/s: {trials[^1].Lost} of {trials[^1].Sent}; is the machine too busy?");
    }
}
