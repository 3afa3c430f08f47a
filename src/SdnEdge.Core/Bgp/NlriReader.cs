using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Prefixes as UPDATE carries them (RFC 4271 4.3): one octet of length in bits, then as many octets as these bits need.
/// Bits beyond the length are ignored. With add-path (RFC 7911) four octets of path identifier stand before each.
/// </summary>
public ref struct NlriReader(ReadOnlySpan<byte> nlri, IpFamily family, bool addPath = false)
{
    private const int PathIdSize = 4;

    private ReadOnlySpan<byte> _rest = nlri;

    /// <summary>The prefix at hand.</summary>
    public IpPrefix Current { get; private set; }

    /// <summary>Its path identifier; 0 without add-path.</summary>
    public uint PathId { get; private set; }

    /// <summary>Goes to the next prefix; false at the end or at bytes that are none (see <see cref="IsWellFormed"/>).</summary>
    public bool MoveNext()
    {
        int max = family == IpFamily.V4 ? 32 : 128;
        if (addPath)
        {
            if (_rest.Length < PathIdSize + 1) return false;
            PathId = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(_rest);
            _rest = _rest[PathIdSize..];
        }

        if (_rest.IsEmpty || _rest[0] > max) return false;
        int bytes = (_rest[0] + 7) / 8;
        if (_rest.Length < 1 + bytes) return false;
        Span<byte> address = stackalloc byte[16];
        address.Clear();
        _rest.Slice(1, bytes).CopyTo(address);
        Current = new IpPrefix(IpAddress.Read(family, address), _rest[0]);
        _rest = _rest[(1 + bytes)..];
        return true;
    }

    /// <summary>For foreach.</summary>
    public readonly NlriReader GetEnumerator() => this;

    /// <summary>True when all bytes are prefixes of this family.</summary>
    public static bool IsWellFormed(ReadOnlySpan<byte> nlri, IpFamily family, bool addPath = false)
    {
        int max = family == IpFamily.V4 ? 32 : 128;
        while (nlri.Length > 0)
        {
            if (addPath)
            {
                if (nlri.Length < PathIdSize + 1) return false;
                nlri = nlri[PathIdSize..];
            }

            int bytes = (nlri[0] + 7) / 8;
            if (nlri[0] > max || nlri.Length < 1 + bytes) return false;
            nlri = nlri[(1 + bytes)..];
        }

        return true;
    }

    /// <summary>Bytes a prefix takes.</summary>
    public static int SizeOf(IpPrefix prefix) => 1 + ((prefix.Length + 7) / 8);

    /// <summary>Writes a prefix; returns its size.</summary>
    public static int Write(IpPrefix prefix, Span<byte> into)
    {
        Span<byte> address = stackalloc byte[16];
        prefix.Address.Write(address);
        int bytes = (prefix.Length + 7) / 8;
        into[0] = prefix.Length;
        address[..bytes].CopyTo(into[1..]);
        return 1 + bytes;
    }
}
