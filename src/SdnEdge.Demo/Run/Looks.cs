using SdnEdge.Client;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>Asks a party again until its answer is as it is waited for.</summary>
internal static class Looks
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(50), s_longest = TimeSpan.FromSeconds(90);

    /// <summary>Asks until it is so.</summary>
    /// <param name="what">What is waited for, for the message.</param>
    /// <param name="ask">Asks.</param>
    /// <param name="so">Whether it is so.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">It was not so for a long time; the message has the last answer.</exception>
    public static async Task<T> UntilAsync<T>(
        string what, Func<CancellationToken, Task<T>> ask, Predicate<T> so, CancellationToken cancel)
    {
        string last = "no answer";
        for (long until = Monotonic.Now + (long)s_longest.TotalNanoseconds; Monotonic.Now < until;)
        {
            try
            {
                T answer = await ask(cancel);
                if (so(answer)) return answer;
                last = $"{answer}";
            }
            catch (Exception e) when (e is ApiUnreachableException or ApiProblemException)
            {
                last = e.Message;
            }

            await Task.Delay(s_pause, cancel);
        }

        throw new LabException($"waited {s_longest.TotalSeconds:0} s in vain for {what}: {last}");
    }
}
