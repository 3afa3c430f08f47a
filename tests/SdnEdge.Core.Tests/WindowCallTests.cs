using SdnEdge.Core.Api;
using Xunit;

namespace SdnEdge.Core.Tests;

/// <summary>When a migration may switch, as an operator writes it.</summary>
public sealed class WindowCallTests
{
    // Half past one at night, two hours east of Greenwich.
    private static readonly DateTimeOffset s_now = new(2026, 12, 1, 1, 30, 0, TimeSpan.FromHours(2));

    [Theory]
    [InlineData("2026-12-01T02:00Z..2026-12-01T04:00Z", "2026-12-01T02:00:00Z", "2026-12-01T04:00:00Z")]
    [InlineData("2026-12-01T02:00:30+01:00..2026-12-01T02:01:00+01:00", "2026-12-01T01:00:30Z", "2026-12-01T01:01:00Z")]
    [InlineData("2026-12-01 02:00..2026-12-01T04:00", "2026-12-01T00:00:00Z", "2026-12-01T02:00:00Z")]
    [InlineData("02:00..04:00", "2026-12-01T00:00:00Z", "2026-12-01T02:00:00Z")]
    [InlineData("1:00..3:00", "2026-12-01T23:00:00Z", "2026-12-02T01:00:00Z")]
    [InlineData("23:00..01:00", "2026-12-01T21:00:00Z", "2026-12-01T23:00:00Z")]
    [InlineData("02:00 .. +90m", "2026-12-01T00:00:00Z", "2026-12-01T01:30:00Z")]
    [InlineData("now..+30s", "2026-11-30T23:30:00Z", "2026-11-30T23:30:30Z")]
    [InlineData("+1h..+2h", "2026-12-01T00:30:00Z", "2026-12-01T02:30:00Z")]
    public void Windows_are_read(string text, string from, string to)
    {
        WindowCall window = WindowCall.Read(text, s_now);
        Assert.Equal((DateTimeOffset.Parse(from, null), DateTimeOffset.Parse(to, null)),
            (window.From.ToUniversalTime(), window.To.ToUniversalTime()));
        Assert.Null(window.WhyNot());
    }

    [Theory]
    [InlineData("", "'' is no window; write FROM..TO")]
    [InlineData("02:00", "'02:00' is no window; write FROM..TO")]
    [InlineData("02:00-04:00", "is no window")]
    [InlineData("02:00..04:00..06:00", "is no window")]
    [InlineData("soon..04:00", "'soon' is no time at which a window begins")]
    [InlineData("02:00..later", "'later' is no time at which a window ends")]
    [InlineData("02:00..+5", "'+5' is no time")]
    [InlineData("02:00..+5d", "'+5d' is no time")]
    [InlineData("25:00..26:00", "'25:00' is no time")]
    [InlineData("2026-12-01T04:00Z..2026-12-01T02:00Z", "it ends (2026-12-01 02:00:00Z) before it begins (2026-12-01 04:00:00Z)")]
    [InlineData("2026-12-01T04:00Z..2026-12-01T04:00Z", "before it begins")]
    [InlineData("2026-11-30T04:00Z..2026-11-30T05:00Z", "is over: it ended at 2026-11-30 05:00:00Z")]
    [InlineData("2026-12-01T04:00Z..2027-12-01T04:00Z", "it is 365 days long; give it 7 days at most")]
    public void What_is_none_is_said_with_what_would_be_right(string text, string why)
        => Assert.Contains(why, Assert.Throws<ArgumentException>(() => WindowCall.Read(text, s_now)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(-1)]
    [InlineData(86_400_001)]
    public void A_lead_out_of_range_is_said(int lead)
        => Assert.Contains($"leadMs {lead} is out of range; 0 to 86400000", (WindowCall.Read("02:00..04:00", s_now) with { LeadMs = lead })
            .WhyNot(), StringComparison.Ordinal);
}
