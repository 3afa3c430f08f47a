using System.Collections.Immutable;

namespace SdnEdge.Core.Replication;

/// <summary>
/// Finds the last point that two histories have in common, by asking the other site for its chain at some sequences a round trip. Usually
/// none is asked: the other's last point is in this site's log. It is right because a chain covers the whole history before it: where two
/// are equal, everything before is.
/// </summary>
public sealed record CommonPointSearch
{
    /// <summary>Most sequences that are asked for in a round trip.</summary>
    public const int Fan = 16;

    // Equal up to and with low; different from high on; what is between is not known.
    private LogPoint? Low { get; init; }

    private ulong LowSequence { get; init; }

    private ulong High { get; init; }

    /// <summary>It is known.</summary>
    public bool IsDone { get; private init; }

    /// <summary>The last common point; null = there is none that both still have.</summary>
    public LogPoint? Common => Low;

    /// <summary>The sequences to ask the other site for; empty when it is done.</summary>
    public ImmutableArray<ulong> Ask { get; private init; } = [];

    /// <summary>Begins.</summary>
    /// <param name="oldest">The point before the oldest record that this site still has.</param>
    /// <param name="last">Its last point.</param>
    /// <param name="otherLast">The other site's last point.</param>
    /// <param name="at">This site's point of a sequence between <paramref name="oldest"/> and <paramref name="last"/>; null = it is not
    /// kept any more.</param>
    public static CommonPointSearch Start(LogPoint oldest, LogPoint last, LogPoint otherLast, Func<ulong, LogPoint?> at)
    {
        ArgumentNullException.ThrowIfNull(at);
        if (otherLast.Sequence < oldest.Sequence) return new() { IsDone = true };
        if (otherLast.Sequence <= last.Sequence && at(otherLast.Sequence) is { } mine && mine.Chain == otherLast.Chain)
            return new() { IsDone = true, Low = mine };

        // Before the first record all histories of a volume are equal.
        ulong high = otherLast.Sequence <= last.Sequence ? otherLast.Sequence : last.Sequence + 1;
        bool isStart = oldest.Sequence == 0;
        return new CommonPointSearch
        {
            Low = isStart ? LogPoint.Start : null, LowSequence = isStart ? 0 : oldest.Sequence - 1, High = high,
        }.Next();
    }

    /// <summary>Takes the other site's answer.</summary>
    /// <param name="chains">Its chain at each sequence that was asked for, in that order; null = it does not have it any more.</param>
    /// <param name="at">This site's point of a sequence.</param>
    public CommonPointSearch Answer(IReadOnlyList<ulong?> chains, Func<ulong, LogPoint?> at)
    {
        ArgumentNullException.ThrowIfNull(chains);
        ArgumentNullException.ThrowIfNull(at);
        CommonPointSearch next = this;
        for (int i = 0; i < Ask.Length && i < chains.Count; i++)
        {
            if (Ask[i] <= next.LowSequence || Ask[i] >= next.High) continue;
            if (chains[i] is null || at(Ask[i]) is not { } mine) next = next with { LowSequence = Ask[i] };
            else if (chains[i] == mine.Chain) next = next with { Low = mine, LowSequence = Ask[i] };
            else next = next with { High = Ask[i] };
        }

        // An answer that says nothing new would be asked for for ever.
        return next.LowSequence == LowSequence && next.High == High ? next with { IsDone = true, Ask = [] } : next.Next();
    }

    private CommonPointSearch Next()
    {
        // With LowSequence one below the oldest point there is one more candidate at it.
        ulong between = High - LowSequence - 1;
        if (High <= LowSequence + 1) return this with { IsDone = true, Ask = [] };
        ImmutableArray<ulong>.Builder ask = ImmutableArray.CreateBuilder<ulong>();
        ulong parts = Math.Min(between, Fan);
        for (ulong i = 1; i <= parts; i++)
        {
            ulong sequence = LowSequence + (ulong)((UInt128)between * i / parts);
            if (ask.Count == 0 || sequence > ask[^1]) ask.Add(sequence);
        }

        return this with { IsDone = false, Ask = ask.ToImmutable() };
    }
}
