using System.Text;

namespace SdnEdge.Core.Bgp;

/// <summary>The shared secret of a session (TCP-MD5, RFC 2385). It compares by value and never shows itself.</summary>
public sealed class BgpPassword : IEquatable<BgpPassword>
{
    /// <summary>Most octets of a key (the kernel's TCP_MD5SIG_MAXKEYLEN).</summary>
    public const int MaxBytes = 80;

    private readonly byte[] _key;

    /// <summary>Takes a secret of 1 to 80 octets of UTF-8.</summary>
    /// <exception cref="ArgumentException">It is empty or longer.</exception>
    public BgpPassword(string text)
    {
        _key = Encoding.UTF8.GetBytes(text);
        if (_key.Length is 0 or > MaxBytes) throw new ArgumentException($"A password has 1 to {MaxBytes} octets, not {_key.Length}.",
            nameof(text));
    }

    /// <summary>The octets of the key.</summary>
    public ReadOnlySpan<byte> Key => _key;

    /// <inheritdoc/>
    public bool Equals(BgpPassword? other) => other is not null && _key.AsSpan().SequenceEqual(other._key);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as BgpPassword);

    /// <inheritdoc/>
    public override int GetHashCode() => _key.Length;

    /// <summary>Says only that there is one.</summary>
    public override string ToString() => "(secret)";
}
