using System.Buffers.Binary;

namespace SdnEdge.Core.Bgp;

/// <summary>
/// Collects attributes in any order and gives them back in canonical form. Reusable; holds at most one message's worth.
/// Not thread-safe.
/// </summary>
public sealed class AttributeBuilder
{
    // A received path of 2-octet numbers grows to twice its size in canonical form.
    private const int MostBytes = 4 * BgpLimits.MaxExtended;

    // All of these grow to what is used: most sets are of some tens of bytes.
    private readonly short[] _slotOf = new short[256];
    private byte[] _values = new byte[256];
    private byte[] _wire = new byte[256];
    private (byte Flags, int Start, int Length)[] _slots = new (byte, int, int)[16];
    private int _slotCount;
    private int _used;

    /// <summary>Starts anew.</summary>
    public AttributeBuilder Clear()
    {
        Array.Clear(_slotOf);
        _slotCount = 0;
        _used = 0;
        return this;
    }

    /// <summary>Starts anew with all attributes of a set.</summary>
    public AttributeBuilder Load(PathAttributes from)
    {
        Clear();
        foreach (RawAttribute attribute in new AttributeReader(from.Wire)) Set(attribute.Flags, attribute.Code, attribute.Value);
        return this;
    }

    /// <summary>True when the attribute is there.</summary>
    public bool Has(byte code) => _slotOf[code] != 0;

    /// <summary>Value of an attribute; empty when absent.</summary>
    public ReadOnlySpan<byte> Get(byte code)
    {
        if (_slotOf[code] == 0) return default;
        (_, int start, int length) = _slots[_slotOf[code] - 1];
        return _values.AsSpan(start, length);
    }

    /// <summary>Adds or replaces an attribute. The extended-length flag is set by the length alone.</summary>
    /// <exception cref="InvalidOperationException">More than four messages' worth of values were set.</exception>
    public AttributeBuilder Set(byte flags, byte code, ReadOnlySpan<byte> value)
    {
        if (_used + value.Length > _values.Length)
        {
            // The value may lie in the array that is left behind here, which stays as it is.
            if (_used + value.Length > MostBytes) throw new InvalidOperationException("The attributes are larger than any BGP message.");
            Array.Resize(ref _values, Math.Min(MostBytes, Math.Max(2 * _values.Length, _used + value.Length)));
        }

        value.CopyTo(_values.AsSpan(_used));
        if (_slotOf[code] == 0)
        {
            if (_slotCount == _slots.Length) Array.Resize(ref _slots, 2 * _slotCount);
            _slotOf[code] = (short)++_slotCount;
        }

        flags &= unchecked((byte)~AttributeFlags.ExtendedLength);
        if (value.Length > byte.MaxValue) flags |= AttributeFlags.ExtendedLength;
        _slots[_slotOf[code] - 1] = (flags, _used, value.Length);
        _used += value.Length;
        return this;
    }

    /// <summary>Takes an attribute away.</summary>
    public AttributeBuilder Remove(byte code)
    {
        // The slot stays behind with a length that marks it as gone; Clear frees it.
        if (_slotOf[code] != 0) _slots[_slotOf[code] - 1] = (0, 0, -1);
        _slotOf[code] = 0;
        return this;
    }

    /// <summary>ORIGIN.</summary>
    public AttributeBuilder Origin(BgpOrigin origin) => Set(AttributeFlags.Transitive, AttributeCode.Origin, [(byte)origin]);

    /// <summary>AS_PATH as one sequence; empty for a route of this AS.</summary>
    public AttributeBuilder Path(params ReadOnlySpan<uint> numbers)
    {
        Span<byte> value = stackalloc byte[BgpLimits.MaxMessage];
        return Set(AttributeFlags.Transitive, AttributeCode.AsPath, value[..AsPath.WriteSequence(numbers, value)]);
    }

    /// <summary>MULTI_EXIT_DISC.</summary>
    public AttributeBuilder Med(uint med) => Set32(AttributeFlags.Optional, AttributeCode.Med, med);

    /// <summary>LOCAL_PREF.</summary>
    public AttributeBuilder LocalPref(uint preference) => Set32(AttributeFlags.Transitive, AttributeCode.LocalPref, preference);

    /// <summary>COMMUNITIES.</summary>
    public AttributeBuilder Communities(params ReadOnlySpan<uint> communities)
    {
        Span<byte> value = stackalloc byte[communities.Length * 4];
        for (int i = 0; i < communities.Length; i++) BinaryPrimitives.WriteUInt32BigEndian(value[(i * 4)..], communities[i]);
        return Set(AttributeFlags.Optional | AttributeFlags.Transitive, AttributeCode.Communities, value);
    }

    /// <summary>ORIGINATOR_ID.</summary>
    public AttributeBuilder OriginatorId(uint id) => Set32(AttributeFlags.Optional, AttributeCode.OriginatorId, id);

    /// <summary>The canonical bytes; valid until the builder is used again.</summary>
    public ReadOnlySpan<byte> Build()
    {
        int at = 0;
        int most = _used + (4 * _slotCount);
        if (_wire.Length < most) _wire = new byte[Math.Max(most, 2 * _wire.Length)];
        for (int code = 0; code < _slotOf.Length; code++)
        {
            if (_slotOf[code] == 0) continue;
            (byte flags, int start, int length) = _slots[_slotOf[code] - 1];
            at += WriteAttribute(_wire.AsSpan(at), flags, (byte)code, _values.AsSpan(start, length));
        }

        return _wire.AsSpan(0, at);
    }

    /// <summary>Writes one attribute and returns its size; the extended-length flag follows from the length.</summary>
    public static int WriteAttribute(Span<byte> into, byte flags, byte code, ReadOnlySpan<byte> value)
    {
        bool extended = value.Length > byte.MaxValue;
        into[0] = (byte)(extended ? flags | AttributeFlags.ExtendedLength : flags & ~AttributeFlags.ExtendedLength);
        into[1] = code;
        if (extended) BinaryPrimitives.WriteUInt16BigEndian(into[2..], (ushort)value.Length);
        else into[2] = (byte)value.Length;
        int header = extended ? 4 : 3;
        value.CopyTo(into[header..]);
        return header + value.Length;
    }

    private AttributeBuilder Set32(byte flags, byte code, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return Set(flags, code, bytes);
    }
}
