using System.Globalization;

namespace SdnEdge.Lab.Topologies;

/// <summary>Quantities with units, as they stand in a topology's link vars.</summary>
internal static class Quantity
{
    private static readonly (string Unit, double Factor)[] s_times = [("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];

    private static readonly (string Unit, double Factor)[] s_rates =
        [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("bit", 1)];

    private static readonly (string Unit, double Factor)[] s_sizes =
        [("kib", 1 << 10), ("mib", 1 << 20), ("kb", 1e3), ("mb", 1e6), ("b", 1)];

    /// <summary>A time such as 10ms, in nanoseconds; from 0 to 60 s.</summary>
    public static bool TryTime(string text, out long nanoseconds) => TryParse(text, s_times, 60e9, out nanoseconds);

    /// <summary>A rate such as 100mbit, in bits a second; from 0 (no limit) to 1 Tbit/s.</summary>
    public static bool TryRate(string text, out long bitsPerSecond) => TryParse(text, s_rates, 1e12, out bitsPerSecond);

    /// <summary>A size such as 16MiB, in bytes; up to 1 GiB.</summary>
    public static bool TrySize(string text, out long bytes) => TryParse(text, s_sizes, 1 << 30, out bytes);

    /// <summary>The size of a link's queue: from 128 KiB, two superpackets.</summary>
    public static bool TryQueue(string text, out long bytes) => TrySize(text, out bytes) && bytes >= 1 << 17;

    /// <summary>A share such as 0.5%, as 0 to 1.</summary>
    public static bool TryShare(string text, out double share)
    {
        text = text.Trim();
        bool ok = double.TryParse(text.EndsWith('%') ? text[..^1] : "x", NumberStyles.Float, CultureInfo.InvariantCulture, out share);
        share /= 100;
        return ok && share is >= 0 and <= 1;
    }

    private static bool TryParse(string text, (string Unit, double Factor)[] units, double most, out long value)
    {
        value = 0;
        text = text.Trim().ToLowerInvariant();
        foreach ((string unit, double factor) in units)
        {
            if (!text.EndsWith(unit, StringComparison.Ordinal)) continue;
            ReadOnlySpan<char> digits = text.AsSpan(0, text.Length - unit.Length);
            if (!double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)) continue;
            if (!(number >= 0 && number * factor <= most)) return false;
            value = (long)Math.Round(number * factor);
            return true;
        }

        return false;
    }
}
