using System.Globalization;

namespace SdnEdge.Core.Api;

/// <summary>When a migration may switch: part of <see cref="MigrationCall"/>. Its volumes follow before, its preparations begin shortly
/// before, and when it is over before the switch all is as before.</summary>
/// <param name="From">From then on.</param>
/// <param name="To">Until then; a switch that has begun goes on.</param>
/// <param name="LeadMs">How long before <paramref name="From"/> the preparations begin, milliseconds, 0 to 86400000; null = 120000.</param>
public sealed record WindowCall(DateTimeOffset From, DateTimeOffset To, int? LeadMs = null)
{
    /// <summary>How long before the window the preparations begin, milliseconds, where nothing is said.</summary>
    public const int UsualLeadMs = 120_000;

    private const int MostLeadMs = 86_400_000;

    private const string Right = "write FROM..TO, e.g. 2026-12-01T02:00Z..2026-12-01T04:00Z, 02:00..04:00 or now..+30m";

    private static readonly TimeSpan s_longest = TimeSpan.FromDays(7), s_shortest = TimeSpan.FromSeconds(1);

    private static readonly string[] s_times = ["H:mm", "H:mm:ss"];

    private static readonly string[] s_dates =
    [
        "yyyy-MM-dd'T'HH:mm", "yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd'T'HH:mmK", "yyyy-MM-dd'T'HH:mm:ssK", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFK",
        "yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd HH:mmK", "yyyy-MM-dd HH:mm:ssK",
    ];

    /// <summary>Why it cannot be one, and what would be right; null = it can.</summary>
    public string? WhyNot()
    {
        if (To <= From) return $"it ends ({To:u}) before it begins ({From:u}); {Right}";
        if (To - From < s_shortest)
            return $"it is {(To - From).TotalMilliseconds:0} ms long; give it {s_shortest.TotalSeconds:0} s at least";
        if (To - From > s_longest) return $"it is {(To - From).TotalDays:0.#} days long; give it {s_longest.TotalDays:0} days at most";
        return LeadMs is < 0 or > MostLeadMs
            ? string.Create(CultureInfo.InvariantCulture, $"leadMs {LeadMs} is out of range; 0 to {MostLeadMs}") : null;
    }

    /// <summary>Reads <c>FROM..TO</c>: each a date and time (without a zone: <paramref name="now"/>'s), a time of day (the next one that
    /// comes), <c>now</c>, or <c>+30m</c> (from now; the end: from the beginning).</summary>
    /// <exception cref="ArgumentException">It is none; the message says why and what would be right.</exception>
    public static WindowCall Read(string text, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(text);
        string[] ends = text.Split("..");
        if (ends.Length != 2) throw new ArgumentException($"'{text}' is no window; {Right}");
        DateTimeOffset from = ReadTime(ends[0].Trim(), now, now, "begins"), to = ReadTime(ends[1].Trim(), now, from, "ends");
        var window = new WindowCall(from, to);
        if (window.WhyNot() is { } why) throw new ArgumentException($"'{text}' is no window: {why}");
        return to > now ? window
            : throw new ArgumentException($"the window '{text}' is over: it ended at {to:u}, and it is {now:u}; name one that is to come");
    }

    private static DateTimeOffset ReadTime(string text, DateTimeOffset now, DateTimeOffset after, string what)
    {
        if (text.Equals("now", StringComparison.OrdinalIgnoreCase)) return now;
        if (text.StartsWith('+'))
        {
            long unit = text.Length < 3 ? 0 : char.ToLowerInvariant(text[^1]) switch { 's' => 1, 'm' => 60, 'h' => 3600, _ => 0 };
            if (unit > 0 && int.TryParse(text.AsSpan(1, text.Length - 2), NumberStyles.None, CultureInfo.InvariantCulture, out int n))
                return after.AddSeconds(n * unit);
        }
        else if (TimeOnly.TryParseExact(text, s_times, CultureInfo.InvariantCulture, DateTimeStyles.None, out TimeOnly time))
        {
            var today = new DateTimeOffset(after.Date + time.ToTimeSpan(), after.Offset);
            return today >= after ? today : today.AddDays(1);
        }
        else if (DateTimeOffset.TryParseExact(
            text, s_dates, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset at))
        {
            // Without a zone it is meant as the clock on the wall.
            bool zoned = text.EndsWith('Z') || text.LastIndexOfAny(['+', '-']) > 10;
            return zoned ? at : new DateTimeOffset(at.DateTime, now.Offset);
        }

        throw new ArgumentException($"'{text}' is no time at which a window {what}; {Right}");
    }
}
