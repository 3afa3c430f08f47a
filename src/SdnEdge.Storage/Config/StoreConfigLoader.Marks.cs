using System.Globalization;
using SdnEdge.Core.Config;

namespace SdnEdge.Storage.Config;

public static partial class StoreConfigLoader
{
    private static readonly (string Suffix, TimeSpan Time)[] s_times =
    [
        ("s", TimeSpan.FromSeconds(1)), ("m", TimeSpan.FromMinutes(1)), ("h", TimeSpan.FromHours(1)), ("d", TimeSpan.FromDays(1)),
        ("w", TimeSpan.FromDays(7)),
    ];

    /// <summary>Reads a time: a whole number with s, m, h, d or w. Null = it is none, or more than 100 years.</summary>
    public static TimeSpan? ReadTime(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        foreach ((string suffix, TimeSpan time) in s_times)
        {
            if (text.EndsWith(suffix, StringComparison.Ordinal)
                && long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long n)
                && n <= TimeSpan.FromDays(36_525) / time) return n * time;
        }

        return null;
    }

    private static MarkRetention? ReadMarks(MapReader map)
    {
        if (map.Map("marks") is not { } marks) return null;
        TimeSpan time = default;
        long bytes = 0;
        if (marks.Text("keepFor", example: "7d") is { } age)
        {
            time = ReadTime(age) ?? default;
            if (time <= TimeSpan.Zero) marks.Error("keepFor", $"'{age}' is not a time; write it as 7d, 12h, 30m or 90s");
        }

        if (marks.Text("keepBytes", example: "10GiB") is { } size)
        {
            bytes = ReadSize(size) ?? 0;
            if (bytes <= 0) marks.Error("keepBytes", $"'{size}' is not a size; write it as 10GiB or 512MiB");
        }

        if (!marks.Has("keepFor") && !marks.Has("keepBytes"))
            map.Error("marks", "says nothing; write marks: { keepFor: 7d, keepBytes: 10GiB }, or one of the two");
        marks.Finish();
        return new MarkRetention(time, bytes);
    }
}
