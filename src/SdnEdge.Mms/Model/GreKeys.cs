namespace SdnEdge.Mms.Model;

/// <summary>
/// The GRE keys (RFC 2890, 32 bits) that migrations use: from <see cref="ManagerState.FirstKey"/> to the last one, then from the first
/// again. Which of two keys is ahead of the other is decided by the shorter way round, as with serial numbers (RFC 1982).
/// </summary>
public static class GreKeys
{
    private const ulong Count = 1UL + uint.MaxValue - ManagerState.FirstKey;

    /// <summary>The key after this one.</summary>
    public static uint After(uint key) => key is uint.MaxValue or < ManagerState.FirstKey ? ManagerState.FirstKey : key + 1;

    /// <summary>The next unused key once <paramref name="used"/> is in use, too. A key below the first, or one that lies behind, changes
    /// nothing.</summary>
    /// <param name="next">The next unused key so far.</param>
    /// <param name="used">A key in use.</param>
    public static uint Behind(uint next, uint used) => IsAhead(next, used) ? After(used) : next;

    /// <summary>The one of two next unused keys that is ahead; the first where the second is none.</summary>
    public static uint Later(uint one, uint other) => IsAhead(one, other) ? other : one;

    /// <summary>The first key from <paramref name="key"/> on that is not in use.</summary>
    /// <exception cref="InvalidOperationException">All are in use.</exception>
    public static uint Free(uint key, IReadOnlySet<uint> used)
    {
        ArgumentNullException.ThrowIfNull(used);
        uint first = key < ManagerState.FirstKey ? ManagerState.FirstKey : key;
        for (uint next = first; ;)
        {
            if (!used.Contains(next)) return next;
            next = After(next);
            if (next == first) throw new InvalidOperationException("all GRE keys of migrations are in use");
        }
    }

    // A key is ahead of itself.
    private static bool IsAhead(uint of, uint key) => key >= ManagerState.FirstKey && (key + Count - of) % Count < Count / 2;
}
