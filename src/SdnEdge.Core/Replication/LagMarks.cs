using System.Collections.Immutable;

namespace SdnEdge.Core.Replication;

/// <summary>A stretch of records that were appended one soon after the other.</summary>
/// <param name="Last">Its last sequence.</param>
/// <param name="Bytes">Bytes of all records up to and with it.</param>
/// <param name="Since">When its first record was appended, nanoseconds.</param>
public readonly record struct LagMark(ulong Last, long Bytes, long Since);

/// <summary>
/// When, and after how many bytes, what the replica lacks was appended: sequences are turned into bytes and ages by it. Bounded: when there
/// are too many stretches, two neighbours become one; a lag is then overstated by less than a stretch, never understated.
/// </summary>
public sealed record LagMarks
{
    private const int MaxMarks = 2048;
    private const long StretchTime = 2_000_000, StretchBytes = 128 << 10;

    private readonly ImmutableList<LagMark> _marks = [];

    /// <summary>Bytes of all records.</summary>
    public long TotalBytes { get; private init; }

    /// <summary>Bytes of all records that are known to be confirmed.</summary>
    public long ConfirmedBytes { get; private init; }

    /// <summary>Up to this sequence it is confirmed.</summary>
    public ulong Confirmed { get; private init; }

    /// <summary>Bytes that are not confirmed.</summary>
    public long LagBytes => TotalBytes - ConfirmedBytes;

    /// <summary>Stretches kept.</summary>
    public int Count => _marks.Count;

    /// <summary>Marks of a log that is there already.</summary>
    /// <param name="totalBytes">Its bytes.</param>
    /// <param name="last">Its last record.</param>
    /// <param name="now">Its age counts from here.</param>
    public static LagMarks Start(ulong last, long totalBytes, long now)
    {
        var marks = new LagMarks { TotalBytes = totalBytes };
        return last == 0 ? marks with { ConfirmedBytes = totalBytes } : new LagMarks(marks, [new(last, totalBytes, now)]);
    }

    /// <summary>No marks.</summary>
    public LagMarks()
    {
    }

    private LagMarks(LagMarks of, ImmutableList<LagMark> marks)
        : this(of) => _marks = marks;

    /// <summary>Age of the oldest record that is not confirmed, nanoseconds; 0 = all are.</summary>
    public long Age(long now) => _marks.Count == 0 ? 0 : Math.Max(0, now - _marks[0].Since);

    /// <summary>When the oldest record that is not confirmed was appended; null = all are.</summary>
    public long? OldestSince => _marks.Count == 0 ? null : _marks[0].Since;

    /// <summary>Records were appended.</summary>
    public LagMarks Append(ulong last, long totalBytes, long now)
    {
        ImmutableList<LagMark> marks = _marks;
        if (marks.Count > 0 && marks[^1] is var tail && now - tail.Since < StretchTime
            && totalBytes - Before(marks.Count - 1) < StretchBytes)
            marks = marks.SetItem(marks.Count - 1, tail with { Last = last, Bytes = totalBytes });
        else
            marks = marks.Add(new(last, totalBytes, now));
        if (marks.Count > MaxMarks)
        {
            ImmutableList<LagMark>.Builder half = ImmutableList.CreateBuilder<LagMark>();
            for (int i = 0; i < marks.Count; i += 2)
                half.Add(i + 1 < marks.Count ? marks[i + 1] with { Since = marks[i].Since } : marks[i]);
            marks = half.ToImmutable();
        }

        return new LagMarks(this with { TotalBytes = totalBytes }, marks);
    }

    /// <summary>Records were confirmed.</summary>
    public LagMarks Confirm(ulong through)
    {
        if (through <= Confirmed) return this;
        int gone = 0;
        while (gone < _marks.Count && _marks[gone].Last <= through) gone++;
        return new LagMarks(this with { Confirmed = through, ConfirmedBytes = gone == 0 ? ConfirmedBytes : _marks[gone - 1].Bytes },
            gone == 0 ? _marks : _marks.RemoveRange(0, gone));
    }

    /// <summary>Bytes of all records up to a sequence, at least.</summary>
    public long BytesUpTo(ulong sequence)
    {
        int low = 0, high = _marks.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_marks[middle].Last <= sequence) low = middle + 1;
            else high = middle;
        }

        return low == 0 ? ConfirmedBytes : _marks[low - 1].Bytes;
    }

    /// <summary>The last sequence up to which no more than so many bytes are unconfirmed.</summary>
    public ulong Within(long bytes)
    {
        int low = 0, high = _marks.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_marks[middle].Bytes - ConfirmedBytes <= bytes) low = middle + 1;
            else high = middle;
        }

        return low == 0 ? Confirmed : _marks[low - 1].Last;
    }

    private long Before(int index) => index == 0 ? ConfirmedBytes : _marks[index - 1].Bytes;
}
