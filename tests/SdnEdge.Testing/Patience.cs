using System.Diagnostics;

namespace SdnEdge.Testing;

/// <summary>
/// How long a test waits for what must come. It costs nothing where that comes, so it is far more than any machine needs, also one
/// that is busy or stands still for seconds. The waits here are for what nothing signals: the state of another process, an answer of an
/// API that is asked again. Where something says when it has happened, wait for that instead.
/// </summary>
public static class Patience
{
    /// <summary>In seconds.</summary>
    public const int Seconds = 60;

    /// <summary>In nanoseconds.</summary>
    public const long Nanoseconds = Seconds * 1_000_000_000L;

    /// <summary>As a time span.</summary>
    public static TimeSpan Time { get; } = TimeSpan.FromSeconds(Seconds);

    /// <summary>For what many processes do together, each of which may stand still for seconds.</summary>
    public static TimeSpan Long { get; } = 2 * Time;

    /// <summary>Waits until it is so.</summary>
    /// <param name="so">Whether it is so.</param>
    /// <param name="tell">What was waited for, and how it is instead.</param>
    /// <param name="within">How long at most; null = <see cref="Time"/>.</param>
    /// <exception cref="TimeoutException">It did not come.</exception>
    public static async Task UntilAsync(Func<Task<bool>> so, Func<string> tell, TimeSpan? within = null)
    {
        if (!await BecomesAsync(so, within)) throw Late(tell, within);
    }

    /// <inheritdoc cref="UntilAsync(Func{Task{bool}}, Func{string}, TimeSpan?)"/>
    public static Task UntilAsync(Func<bool> so, Func<string> tell, TimeSpan? within = null)
        => UntilAsync(() => Task.FromResult(so()), tell, within);

    /// <inheritdoc cref="UntilAsync(Func{Task{bool}}, Func{string}, TimeSpan?)"/>
    public static void Until(Func<bool> so, Func<string> tell, TimeSpan? within = null)
    {
        long start = Stopwatch.GetTimestamp();
        for (TimeSpan waited = default; !so(); waited = Stopwatch.GetElapsedTime(start))
        {
            if (waited > (within ?? Time)) throw Late(tell, within);
            Thread.Sleep(PauseAfter(waited));
        }
    }

    /// <summary>Reads again until what is read is right, and returns it.</summary>
    /// <param name="read">Reads.</param>
    /// <param name="right">Whether it is right.</param>
    /// <param name="what">What is waited for.</param>
    /// <param name="within">How long at most; null = <see cref="Time"/>.</param>
    /// <exception cref="TimeoutException">It did not come.</exception>
    public static async Task<T> ReadAsync<T>(Func<Task<T>> read, Func<T, bool> right, string what, TimeSpan? within = null)
    {
        T last = default!;
        await UntilAsync(async () => right(last = await read()), () => $"{what}; last seen: {last}", within);
        return last;
    }

    /// <summary>Whether it becomes so in time.</summary>
    /// <param name="so">Whether it is so. It is looked at once more after the time.</param>
    /// <param name="within">How long at most; null = <see cref="Time"/>.</param>
    /// <param name="cancel">Ends the wait.</param>
    public static async Task<bool> BecomesAsync(Func<Task<bool>> so, TimeSpan? within = null, CancellationToken cancel = default)
    {
        long start = Stopwatch.GetTimestamp();
        for (TimeSpan waited = default; !await so(); waited = Stopwatch.GetElapsedTime(start))
        {
            if (waited > (within ?? Time)) return false;
            await Task.Delay(PauseAfter(waited), cancel);
        }

        return true;
    }

    private static TimeoutException Late(Func<string> tell, TimeSpan? within)
        => new($"not so after {(within ?? Time).TotalSeconds} s: {tell()}");

    // The longer it takes, the seldomer it is looked at: a look may be a program that is run.
    private static TimeSpan PauseAfter(TimeSpan waited) => TimeSpan.FromMilliseconds(Math.Clamp(waited.TotalMilliseconds / 8, 1, 50));
}
