using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Bgp;

/// <summary>One path attribute as bytes: flags, type code and value.</summary>
public readonly ref struct RawAttribute
{
    /// <summary>Flags octet.</summary>
    public byte Flags { get; init; }

    /// <summary>Type code.</summary>
    public byte Code { get; init; }

    /// <summary>Value.</summary>
    public ReadOnlySpan<byte> Value { get; init; }
}

/// <summary>Walks over well-formed path attributes. It stops at the first one that does not fit.</summary>
public ref struct AttributeReader(ReadOnlySpan<byte> attributes)
{
    private ReadOnlySpan<byte> _rest = attributes;

    /// <summary>The attribute at hand.</summary>
    public RawAttribute Current { get; private set; }

    /// <summary>Bytes not walked over yet; after the end, the bytes that fit no attribute.</summary>
    public readonly ReadOnlySpan<byte> Rest => _rest;

    /// <summary>Goes to the next attribute; false at the end or when the rest holds no whole attribute.</summary>
    public bool MoveNext()
    {
        if (_rest.Length < 3) return false;
        byte flags = _rest[0];
        bool extended = (flags & AttributeFlags.ExtendedLength) != 0;
        int header = extended ? 4 : 3;
        if (_rest.Length < header) return false;
        int length = extended ? BinaryPrimitives.ReadUInt16BigEndian(_rest[2..]) : _rest[2];
        if (_rest.Length - header < length) return false;
        Current = new RawAttribute { Flags = flags, Code = _rest[1], Value = _rest.Slice(header, length) };
        _rest = _rest[(header + length)..];
        return true;
    }

    /// <summary>For foreach.</summary>
    public readonly AttributeReader GetEnumerator() => this;
}

/// <summary>
/// The attributes of a route, next hop and NLRI aside, as immutable bytes in canonical form: ascending type codes, each
/// once, 4-octet AS numbers, extended length only above 255 bytes. Equal attributes have equal bytes. What the decision
/// needs is read out once. Get instances from an <see cref="AttributeTable"/>, so that each set exists once.
/// </summary>
public sealed class PathAttributes : IEquatable<PathAttributes>
{
    private readonly byte[] _wire;
    private readonly int _hash;

    internal PathAttributes(byte[] canonical)
    {
        _wire = canonical;
        _hash = Hash(canonical);
        foreach (RawAttribute attribute in new AttributeReader(canonical))
        {
            ReadOnlySpan<byte> value = attribute.Value;
            switch (attribute.Code)
            {
                case AttributeCode.Origin when value.Length == 1:
                    Origin = (BgpOrigin)value[0];
                    break;
                case AttributeCode.AsPath:
                    AsPathLength = Bgp.AsPath.Length(value);
                    NeighborAs = Bgp.AsPath.First(value);
                    break;
                case AttributeCode.Med when value.Length == 4:
                    Med = BinaryPrimitives.ReadUInt32BigEndian(value);
                    break;
                case AttributeCode.LocalPref when value.Length == 4:
                    LocalPref = BinaryPrimitives.ReadUInt32BigEndian(value);
                    break;
                case AttributeCode.OriginatorId when value.Length == 4:
                    OriginatorId = BinaryPrimitives.ReadUInt32BigEndian(value);
                    break;
                case AttributeCode.ExtendedCommunities:
                    MobilitySequence = Bgp.MobilitySequence.Read(value);
                    MoveTag = Migration.MoveTag.Find(value);
                    break;
                case AttributeCode.NextHop:
                    KeptNextHop = IpAddress.Read(value.Length == 4 ? IpFamily.V4 : IpFamily.V6, value);
                    break;
                case AttributeCode.ClusterList:
                    ClusterListLength = value.Length / 4;
                    break;
                default:
                    break;
            }
        }
    }

    /// <summary>The canonical bytes.</summary>
    public ReadOnlySpan<byte> Wire => _wire;

    /// <summary>ORIGIN.</summary>
    public BgpOrigin Origin { get; }

    /// <summary>LOCAL_PREF; null when absent.</summary>
    public uint? LocalPref { get; }

    /// <summary>MULTI_EXIT_DISC; null when absent.</summary>
    public uint? Med { get; }

    /// <summary>ORIGINATOR_ID; null when absent.</summary>
    public uint? OriginatorId { get; }

    /// <summary>Tag of the migration that brought the prefix where it is, while flush markers are wanted; null when there is
    /// none.</summary>
    public uint? MoveTag { get; }

    /// <summary>AS numbers in AS_PATH as the decision counts them: a set is one, confederation segments are none.</summary>
    public int AsPathLength { get; }

    /// <summary>The neighbouring AS: the first number of the path; 0 when the path is empty or starts with a set.</summary>
    public uint NeighborAs { get; }

    /// <summary>Number of cluster ids in CLUSTER_LIST.</summary>
    public int ClusterListLength { get; }

    /// <summary>Number of the prefix's last move (<see cref="Bgp.MobilitySequence"/>); 0 when there is none.</summary>
    public long MobilitySequence { get; }

    /// <summary>On the way out only: the next hop that a reflected route, or one of a third party on the peer's link, keeps. None:
    /// ourselves.</summary>
    internal IpAddress KeptNextHop { get; }

    /// <summary>Tables that hold the set: while there are any, an <see cref="AttributeTable"/> keeps it.</summary>
    internal int Users { get; set; }

    /// <summary>Value of one attribute; empty when absent.</summary>
    public ReadOnlySpan<byte> Find(byte code)
    {
        foreach (RawAttribute attribute in new AttributeReader(_wire))
        {
            if (attribute.Code == code) return attribute.Value;
        }

        return default;
    }

    /// <summary>True when the attribute is there, even if empty.</summary>
    public bool Has(byte code)
    {
        foreach (RawAttribute attribute in new AttributeReader(_wire))
        {
            if (attribute.Code == code) return true;
        }

        return false;
    }

    /// <summary>AS_PATH as text: "65001 65002 {65003,65004}".</summary>
    public string AsPathText() => Bgp.AsPath.ToText(Find(AttributeCode.AsPath));

    /// <inheritdoc/>
    public bool Equals(PathAttributes? other) => ReferenceEquals(this, other)
        || (other is not null && _hash == other._hash && _wire.AsSpan().SequenceEqual(other._wire));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as PathAttributes);

    /// <inheritdoc/>
    public override int GetHashCode() => _hash;

    /// <summary>For people and test failures.</summary>
    public override string ToString() => $"origin {Origin} path [{AsPathText()}] localpref {LocalPref} med {Med} ({_wire.Length} bytes)";

    internal static int Hash(ReadOnlySpan<byte> bytes)
    {
        var hash = default(HashCode);
        hash.AddBytes(bytes);
        return hash.ToHashCode();
    }
}
