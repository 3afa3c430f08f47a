using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Lab.Probes;
using Xunit;

namespace SdnEdge.Lab.Tests.Probe;

public sealed class StreamTallyTests
{
    private const int Flows = 4;

    [Fact]
    public void A_packet_behind_a_later_one_of_its_flow_is_reordered_and_one_behind_another_flow_is_not()
    {
        var tally = new StreamTally(1, 100, Flows, null);
        Assert.Equal(Arrival.InOrder, tally.Add(5, 0, 0, 10));
        Assert.Equal(Arrival.InOrder, tally.Add(2, 1, 0, 11));
        Assert.Equal(Arrival.Reordered, tally.Add(1, 0, 0, 12));
        Assert.Equal(Arrival.InOrder, tally.Add(9, 0, 0, 13));
        Assert.Equal(1, tally.Reordered);
        Assert.Equal(4, tally.Received);
        Assert.Equal(2, tally.Flows);
    }

    [Fact]
    public void A_second_copy_counts_as_duplicated_and_never_as_received_or_reordered()
    {
        var tally = new StreamTally(1, 100, Flows, null);
        tally.Add(1, 0, 0, 10);
        tally.Add(2, 0, 0, 11);
        Assert.Equal(Arrival.Duplicate, tally.Add(1, 0, 0, 12));
        Assert.Equal(Arrival.Duplicate, tally.Add(1, 0, 0, 13));
        Assert.Equal((2, 2, 0), (tally.Received, tally.Duplicated, tally.Reordered));
    }

    [Fact]
    public void What_has_no_place_is_counted_and_does_not_throw()
    {
        var tally = new StreamTally(1, 64, Flows, null);
        Assert.Equal(Arrival.OutOfRange, tally.Add(64, 0, 0, 1));
        Assert.Equal(Arrival.OutOfRange, tally.Add(uint.MaxValue, 0, 0, 2));
        Assert.Equal(Arrival.OutOfRange, tally.Add(0, Flows, 0, 3));
        Assert.Equal((0, 3), (tally.Received, tally.OutOfRange));
    }

    [Fact]
    public void The_longest_gap_is_between_neighbours_in_time()
    {
        var tally = new StreamTally(1, 100, Flows, null);
        tally.Add(0, 0, 0, 1000);
        tally.Add(1, 0, 0, 1010);
        tally.Add(2, 0, 0, 1310);
        tally.Add(3, 0, 0, 1320);
        Assert.Equal(300, tally.MaxGapNs);
        Assert.Equal(1310, tally.MaxGapEndedNs);
    }

    [Fact]
    public void Counting_a_packet_allocates_nothing()
    {
        var tally = new StreamTally(1, 200_000, Flows, new DelaySeries(0, 1000, 1000));
        tally.Add(0, 0, 0, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (uint i = 1; i < 100_000; i++)
        {
            tally.Add(i, (ushort)(i % Flows), i, i + 5);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Bins_hold_count_and_extremes_of_what_was_sent_in_their_time()
    {
        var series = new DelaySeries(1000, 100, 10);
        series.Add(1000, 5_000);
        series.Add(1099, 9_000);
        series.Add(1250, 2_000);
        series.Add(999, 1);
        series.Add(2000, 1);
        Assert.Equal([2, 0, 1], series.Counts.ToArray());
        Assert.Equal([5, 0, 2], series.MinMicroseconds.ToArray());
        Assert.Equal([9, 0, 2], series.MaxMicroseconds.ToArray());
    }

    /// <summary>Any mix of loss, duplication and reordering is counted exactly, against a slow reading of the definitions.</summary>
    [Property(MaxTest = 200)]
    public Property Counts_equal_a_slow_reading_of_the_definitions() =>
        Prop.ForAll(
            Gen.Choose(0, 59).Select(i => (uint)i).ListOf().ToArbitrary(),
            arrivals =>
            {
                var tally = new StreamTally(1, 60, Flows, null);
                foreach (uint sequence in arrivals)
                {
                    tally.Add(sequence, (ushort)(sequence % Flows), 0, 1);
                }

                List<uint> list = [.. arrivals];
                List<uint> first = [.. list.Distinct()];
                int reordered = first.Where((s, i) => first.Take(i).Any(e => e % Flows == s % Flows && e > s)).Count();
                return tally.Received == first.Count && tally.Duplicated == list.Count - first.Count && tally.Reordered == reordered;
            });
}
