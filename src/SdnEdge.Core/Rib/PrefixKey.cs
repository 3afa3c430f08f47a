using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Rib;

/// <summary>A prefix of one family, as small as it can be: a full table holds a million of them.</summary>
internal interface IPrefixKey<TSelf> : IEquatable<TSelf>
    where TSelf : struct, IPrefixKey<TSelf>
{
    static abstract IpFamily Family { get; }

    static abstract TSelf From(IpPrefix prefix);

    /// <summary>The key of the prefix of this length that covers an address.</summary>
    static abstract TSelf Covering(IpAddress address, int length);

    int Length { get; }

    IpPrefix ToPrefix();
}

/// <summary>IPv4 prefix in eight bytes: address in the high half, length in the low.</summary>
internal readonly struct Key4 : IPrefixKey<Key4>
{
    private readonly ulong _value;

    private Key4(uint address, int length) => _value = ((ulong)address << 32) | (uint)length;

    public static IpFamily Family => IpFamily.V4;

    public int Length => (int)(uint)_value;

    public static Key4 From(IpPrefix prefix) => new(prefix.Address.V4, prefix.Length);

    public static Key4 Covering(IpAddress address, int length)
        => new(length == 0 ? 0 : address.V4 & (uint.MaxValue << (32 - length)), length);

    public IpPrefix ToPrefix() => new(IpAddress.FromV4((uint)(_value >> 32)), Length);

    public bool Equals(Key4 other) => _value == other._value;

    public override bool Equals(object? obj) => obj is Key4 other && Equals(other);

    // Prefixes differ in their high bits: multiply so that those reach the bits a table indexes by.
    public override int GetHashCode() => (int)((_value * 0x9E3779B97F4A7C15UL) >> 32);
}

/// <summary>IPv6 prefix in 24 bytes.</summary>
internal readonly struct Key6 : IPrefixKey<Key6>
{
    private readonly ulong _high;
    private readonly ulong _low;
    private readonly int _length;

    private Key6(IpAddress address, int length) => (_high, _low, _length) = (address.High, address.Low, length);

    public static IpFamily Family => IpFamily.V6;

    public int Length => _length;

    public static Key6 From(IpPrefix prefix) => new(prefix.Address, prefix.Length);

    public static Key6 Covering(IpAddress address, int length) => new(address.Masked(length), length);

    public IpPrefix ToPrefix() => new(new IpAddress(IpFamily.V6, _high, _low), _length);

    public bool Equals(Key6 other) => _high == other._high && _low == other._low && _length == other._length;

    public override bool Equals(object? obj) => obj is Key6 other && Equals(other);

    public override int GetHashCode()
        => (int)(((_high * 0x9E3779B97F4A7C15UL) ^ (_low * 0xC2B2AE3D27D4EB4FUL) ^ (uint)_length) >> 32) + _length;
}
