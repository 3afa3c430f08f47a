using SdnEdge.Core.Wire;

namespace SdnEdge.Benchmarks.Bgp;

/// <summary>Which prefixes of a known table a receiver has: a hash table made beforehand, and a flag for each prefix.</summary>
internal sealed class Reached
{
    private readonly ulong[] _keys;
    private readonly bool[] _there;
    private readonly int _mask;
    private int _count;
    private long _unknown;

    public Reached(IEnumerable<IpPrefix> prefixes, int count)
    {
        int size = 1024;
        while (size < count * 3) size *= 2;
        (_keys, _there, _mask) = (new ulong[size], new bool[size], size - 1);
        foreach (IpPrefix prefix in prefixes)
        {
            ulong key = Key(prefix.Address.V4, prefix.Length);
            int slot = Slot(key);
            _keys[slot] = key;
        }
    }

    /// <summary>Prefixes that are there now.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Prefixes nobody fed; always 0.</summary>
    public long Unknown => _unknown;

    public bool Has(IpPrefix prefix) => Volatile.Read(ref _there[Slot(Key(prefix.Address.V4, prefix.Length))]);

    /// <summary>Takes the prefixes of an UPDATE's withdrawn routes or NLRI.</summary>
    public void Take(ReadOnlySpan<byte> nlri, bool there)
    {
        while (!nlri.IsEmpty)
        {
            int length = nlri[0], bytes = (length + 7) / 8;
            uint address = 0;
            for (int i = 0; i < bytes; i++) address |= (uint)nlri[1 + i] << (24 - (8 * i));
            nlri = nlri[(1 + bytes)..];
            ulong key = Key(address, length);
            int slot = Slot(key);
            if (_keys[slot] != key) _unknown++;
            else if (_there[slot] != there)
            {
                Volatile.Write(ref _there[slot], there);
                Volatile.Write(ref _count, _count + (there ? 1 : -1));
            }
        }
    }

    private int Slot(ulong key)
    {
        int slot = (int)((key * 0x9E37_79B9_7F4A_7C15) >> 32) & _mask;
        while (_keys[slot] != 0 && _keys[slot] != key) slot = (slot + 1) & _mask;
        return slot;
    }

    private static ulong Key(uint address, int length) => ((ulong)address << 8) | (uint)length | 0x80;
}
