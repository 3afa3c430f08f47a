using SdnEdge.Storage.Config;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests;

/// <summary>How long marks are kept, as a configuration says it, and what a mark says in the log.</summary>
public class MarkConfigTests
{
    private const string Head = """
        name: store-a
        site: dc-a
        api: { unix: /run/store-a.sock }
        state: { folder: /var/lib/store-a }
        nbd: { unix: /run/store-a.nbd }

        """;

    [Fact]
    public void What_a_volume_says_is_its_own_and_the_store_says_it_for_the_others()
    {
        StoreConfigResult result = StoreConfigLoader.Load(Head + """
            marks: { keepFor: 7d, keepBytes: 10GiB }
            volumes:
              - { name: a, size: 8GiB }
              - { name: b, size: 8GiB, marks: { keepBytes: 512MiB } }
              - { name: c, size: 8GiB, marks: { keepFor: 90s } }
            """, "store-a.yaml");
        Assert.Empty(result.Errors);
        Assert.Equal(new MarkRetention(TimeSpan.FromDays(7), 10L << 30), result.Config!.Marks);
        Assert.Equal([null, new MarkRetention(default, 512 << 20), new MarkRetention(TimeSpan.FromSeconds(90), 0)],
            result.Config.Volumes.Select(v => v.Marks));
    }

    [Fact]
    public void All_that_is_wrong_is_said_at_once_with_its_place()
    {
        StoreConfigResult result = StoreConfigLoader.Load(Head + """
            marks: { keepFor: 7, keepBytes: much }
            volumes:
              - { name: a, size: 8GiB, marks: {} }
              - { name: b, size: 8GiB, marks: { keepfor: 7d } }
              - { name: c, size: 8GiB, marks: { keepFor: 0s, keepBytes: 0 } }
              - { name: d, size: 8GiB, marks: 7d }
            """, "store-a.yaml");
        Assert.Null(result.Config);
        string said = string.Join("\n", result.Errors);
        foreach (string wanted in (string[])
            [
                "store-a.yaml:6:19: marks.keepFor: '7' is not a time; write it as 7d, 12h, 30m or 90s",
                "marks.keepBytes: 'much' is not a size; write it as 10GiB or 512MiB",
                "volumes[0].marks: says nothing; write marks: { keepFor: 7d, keepBytes: 10GiB }, or one of the two",
                "volumes[1].marks.keepfor: is not a known field; did you mean 'keepFor'?",
                "volumes[2].marks.keepFor: '0s' is not a time", "volumes[2].marks.keepBytes: '0' is not a size",
                "volumes[3].marks: ",
            ])
        {
            Assert.True(said.Contains(wanted, StringComparison.Ordinal), $"'{wanted}' is not among:\n{said}");
        }
    }

    [Theory]
    [InlineData("90s", 90)]
    [InlineData("30m", 1800)]
    [InlineData("12h", 43200)]
    [InlineData("2w", 1209600)]
    [InlineData("d", null)]
    [InlineData("-1d", null)]
    [InlineData("1.5h", null)]
    [InlineData("36526d", null)]
    [InlineData("99999999999999999999s", null)]
    [InlineData("", null)]
    public void A_time_is_a_whole_number_with_its_unit(string text, int? seconds)
        => Assert.Equal(seconds is { } s ? TimeSpan.FromSeconds(s) : null, StoreConfigLoader.ReadTime(text));

    [Fact]
    public void What_a_mark_says_is_read_back_and_a_name_alone_is_a_mark()
    {
        foreach (MarkText mark in (MarkText[])
            [
                new("m", null, default), new("m", "g", default), new("m", null, DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_123)),
                new(new string('n', 63), new string('g', 63), DateTimeOffset.FromUnixTimeMilliseconds(253_402_300_799_999)),
            ])
        {
            Assert.Equal(mark, MarkText.Parse(mark.ToBytes()));
        }

        Assert.Equal(new MarkText("before lunch", null, default), MarkText.Parse("before lunch"u8));
        Assert.Equal(new MarkText("m", "g", default), MarkText.Parse("m\0g\099999999999999999"u8));
        Assert.Throws<ArgumentException>(() => new MarkText("", null, default).ToBytes());
        Assert.Throws<ArgumentException>(() => new MarkText(new string('n', 256), null, default).ToBytes());
    }
}
