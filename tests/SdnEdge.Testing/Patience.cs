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
}
