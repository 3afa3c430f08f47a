using SdnEdge.Core.Wire;

namespace SdnEdge.Lab.Wan;

/// <summary>Which link a MAC address was last seen on. Open addressing in two arrays of fixed size: nothing is allocated later.</summary>
internal sealed class MacTable
{
    private const int Slots = 1 << 14;
    private const int MostAddresses = Slots / 4 * 3;   // beyond it, frames to new addresses are flooded

    private readonly ulong[] _addresses = new ulong[Slots];
    private readonly int[] _links = new int[Slots];

    /// <summary>Addresses known.</summary>
    public int Count { get; private set; }

    /// <summary>Notes that frames from an address come by a link. Group addresses and 0 are nobody's.</summary>
    public void Learn(MacAddress address, int link)
    {
        if (address.IsMulticast || address.Value == 0) return;
        int slot = Find(address.Value);
        if (_addresses[slot] == 0)
        {
            if (Count == MostAddresses) return;
            Count++;
            _addresses[slot] = address.Value;
        }

        _links[slot] = link;
    }

    /// <summary>The link to an address; -1 when it is not known or is a group.</summary>
    public int Lookup(MacAddress address)
    {
        if (address.IsMulticast || address.Value == 0) return -1;
        int slot = Find(address.Value);
        return _addresses[slot] == 0 ? -1 : _links[slot];
    }

    private int Find(ulong address)
    {
        int slot = (int)((address * 0x9E37_79B9_7F4A_7C15UL) >> 50);
        while (_addresses[slot] != 0 && _addresses[slot] != address) slot = (slot + 1) & (Slots - 1);
        return slot;
    }
}
