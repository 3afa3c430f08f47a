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

    /// <summary>Makes a set.</summary>
    public PrefixSet(IEnumerable<MovedPrefix> prefixes) => _list = [.. prefixes];

    /// <summary>No prefix.</summary>
    public static PrefixSet Empty { get; } = new([]);

    /// <inheritdoc/>
    public int Count => _list.Length;

    /// <summary>As the API has it. Each text is made when it is read, by whoever reads it.</summary>
    public IReadOnlyList<MovingPrefix> Texts => new TextList(_list);

    /// <inheritdoc/>
    public MovedPrefix this[int index] => _list[index];

    /// <summary>Reads what <see cref="SignalChecks"/> has found good.</summary>
    /// <exception cref="FormatException">It is not.</exception>
    public static PrefixSet Parse(IEnumerable<MovingPrefix> texts)
    {
        // Of equal names one is kept: very many prefixes mostly are behind one port.
        string port = "";
        return new(texts.Select(t =>
        {
            if (t.Port != port) port = t.Port ?? "";
            return new MovedPrefix(IpPrefix.Parse(t.Prefix), port, t.NextHop is { } hop ? IpAddress.Parse(hop) : null);
        }));
    }

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

    private sealed class TextList(MovedPrefix[] list) : IReadOnlyList<MovingPrefix>
    {
        public int Count => list.Length;

        public MovingPrefix this[int index]
        {
            get
            {
                ref readonly MovedPrefix moved = ref list[index];
                return new MovingPrefix(moved.Prefix.ToString(), moved.Port, moved.NextHop?.ToString());
            }
        }

        public IEnumerator<MovingPrefix> GetEnumerator()
        {
            for (int i = 0; i < list.Length; i++) yield return this[i];
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
