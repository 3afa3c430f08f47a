using System.Diagnostics;

namespace SdnEdge.Testing;

/// <summary>
/// How long a test waits for what must come. It costs nothing where that comes, so it is far more than any machine needs, also one
/// that is busy or stands still for seconds.
/// </summary>
public static class Patience
{
    /// <summary>In seconds.</summary>
    public const int Seconds = 60;

    /// <summary>In nanoseconds.</summary>
    public const long Nanoseconds = Seconds * 1_000_000_000L;

    /// <summary>As a time span.</summary>
    public static TimeSpan Time { get; } = TimeSpan.FromSeconds(Seconds);

    // Between two looks at what signals nothing.
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(2);

    /// <summary>
    /// Waits for what nothing signals: the state of another process, an answer of an API that is asked again. Where something says when it
    /// has happened, wait for that instead.
    /// </summary>
    /// <param name="so">Whether it is so.</param>
    /// <param name="tell">What was waited for, and how it is instead.</param>
    /// <exception cref="TimeoutException">It did not come.</exception>
    public static async Task UntilAsync(Func<Task<bool>> so, Func<string> tell)
    {
        ArgumentNullException.ThrowIfNull(so);
        ArgumentNullException.ThrowIfNull(tell);
        long start = Stopwatch.GetTimestamp();
        while (!await so())
        {
            if (Stopwatch.GetElapsedTime(start) > Time) throw new TimeoutException($"not so after {Seconds} s: {tell()}");
            await Task.Delay(s_pause);
        }
    }

    /// <inheritdoc cref="UntilAsync(Func{Task{bool}}, Func{string})"/>
    public static Task UntilAsync(Func<bool> so, Func<string> tell)
    {
        ArgumentNullException.ThrowIfNull(so);
        return UntilAsync(() => Task.FromResult(so()), tell);
    }
}
