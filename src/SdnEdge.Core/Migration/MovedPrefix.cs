using System.Collections;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>A moving prefix, read: see <see cref="MovingPrefix"/>, which is its text.</summary>
/// <param name="Prefix">The prefix.</param>
/// <param name="Port">The attachment port on this PE; empty where nobody said it (abort and teardown).</param>
/// <param name="NextHop">The server or CE on that port; null when the prefix is a host on the port's own subnet.</param>
public readonly record struct MovedPrefix(IpPrefix Prefix, string Port, IpAddress? NextHop = null);

/// <summary>The prefixes of a migration, read once from what was said. Immutable; two are equal when they have the same in the same
/// order.</summary>
public sealed class PrefixSet : IReadOnlyList<MovedPrefix>, IEquatable<PrefixSet>
{
    private readonly MovedPrefix[] _list;
    private MovingPrefix[]? _texts;

    /// <summary>Makes a set.</summary>
    public PrefixSet(IEnumerable<MovedPrefix> prefixes) => _list = [.. prefixes];

    /// <summary>No prefix.</summary>
    public static PrefixSet Empty { get; } = new([]);

    /// <inheritdoc/>
    public int Count => _list.Length;

    /// <summary>As the API and the state file have it. Made once.</summary>
    public IReadOnlyList<MovingPrefix> Texts
        => _texts ??= [.. _list.Select(p => new MovingPrefix(p.Prefix.ToString(), p.Port, p.NextHop?.ToString()))];

    /// <inheritdoc/>
    public MovedPrefix this[int index] => _list[index];

    /// <summary>Reads what <see cref="SignalChecks"/> has found good.</summary>
    /// <exception cref="FormatException">It is not.</exception>
    public static PrefixSet Parse(IEnumerable<MovingPrefix> texts)
        => new(texts.Select(t =>
            new MovedPrefix(IpPrefix.Parse(t.Prefix), t.Port ?? "", t.NextHop is { } hop ? IpAddress.Parse(hop) : null)));

    /// <inheritdoc/>
    public bool Equals(PrefixSet? other)
        => ReferenceEquals(this, other) || (other is not null && _list.AsSpan().SequenceEqual(other._list));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as PrefixSet);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_list.Length, _list.Length == 0 ? default : _list[0]);

    /// <inheritdoc/>
    public IEnumerator<MovedPrefix> GetEnumerator() => ((IEnumerable<MovedPrefix>)_list).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => _list.GetEnumerator();
}
