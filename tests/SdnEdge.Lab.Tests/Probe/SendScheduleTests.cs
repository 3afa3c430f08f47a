using SdnEdge.Lab.Probes;
using Xunit;

namespace SdnEdge.Lab.Tests.Probe;

public sealed class SendScheduleTests
{
    private const long Ms = 1_000_000;

    [Theory]
    [InlineData(1)]
    [InlineData(333)]
    [InlineData(6667)]
    [InlineData(20_000)]
    [InlineData(1_000_000)]
    public void Whatever_the_ticks_the_count_follows_the_rate_exactly(long rate)
    {
        var random = new Random(7);
        var schedule = new SendSchedule(rate, 17, 200 * Ms);
        long now = 17;
        long taken = 0;
        while (now < 17 + (10_000 * Ms))
        {
            now += random.NextInt64(1, 30 * Ms);
            taken += schedule.TakeDue(now);
            Assert.Equal((long)((Int128)(now - 17) * rate / 1_000_000_000), taken);
        }

        Assert.Equal(0, schedule.SkippedNs);
    }

    [Fact]
    public void Time_in_which_the_process_stood_still_is_not_made_up_for()
    {
        var schedule = new SendSchedule(10_000, 0, 20 * Ms);
        Assert.Equal(100, schedule.TakeDue(10 * Ms));
        Assert.Equal(0, schedule.TakeDue(310 * Ms)); // 300 ms stopped
        Assert.Equal(10, schedule.TakeDue(311 * Ms));
        Assert.Equal(300 * Ms, schedule.SkippedNs);
        Assert.Equal(1, schedule.Skips);
    }

    [Fact]
    public void A_late_tick_below_the_limit_is_made_up_for()
    {
        var schedule = new SendSchedule(10_000, 0, 20 * Ms);
        Assert.Equal(200, schedule.TakeDue(20 * Ms));
        Assert.Equal(0, schedule.Skips);
    }

    [Fact]
    public void A_rate_that_makes_no_sense_is_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SendSchedule(0, 0, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SendSchedule(10_000_001, 0, 1));
    }
}
