using System.Runtime.InteropServices;

namespace SdnEdge.Core.Forwarding;

/// <summary>
/// A bounded first-in first-out store of packets in native memory. It takes memory in chunks as it grows and gives it back as
/// it shrinks, so a packet costs no allocation on the managed heap. Not thread safe: the owner locks.
/// <para>Guarantees: packets come out in the order they went in, byte for byte, with their offload state; Count and Bytes
/// never exceed the caps given.</para>
/// </summary>
internal sealed unsafe class PacketRing : IDisposable
{
    [StructLayout(LayoutKind.Sequential)]
    private struct Record
    {
        public int Length;
        public long At;
        public VnetHeader Vnet;
    }

    // Each chunk starts with the bytes used in it; a record never spans two chunks.
    private const int ChunkHeader = 16;
    private const int RecordHeader = 32;

    private readonly int _chunkBytes;
    private readonly byte*[] _chunks; // a circle of chunks: _first is the oldest, _used of them are live
    private int _first, _used;
    private int _readOffset;
    private byte* _spare;

    /// <summary>Makes an empty ring. No memory is taken until the first packet.</summary>
    /// <param name="chunkBytes">Bytes taken at a time; must hold the largest frame.</param>
    /// <param name="maxBytes">Most payload bytes kept.</param>
    /// <param name="maxPackets">Most packets kept.</param>
    public PacketRing(int chunkBytes, long maxBytes, int maxPackets)
    {
        int largest = PacketBatch.MaxFrameBytes + RecordHeader + 8;
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkBytes, ChunkHeader + (2 * largest) - RecordHeader);
        (_chunkBytes, MaxBytes, MaxPackets) = (chunkBytes, maxBytes, maxPackets);
        long worst = maxBytes + ((long)maxPackets * (RecordHeader + 8));
        long usable = chunkBytes - ChunkHeader - largest;
        _chunks = new byte*[checked((int)Math.Min((worst / usable) + 3, (long)maxPackets + 2))];
    }

    /// <summary>Most payload bytes kept.</summary>
    public long MaxBytes { get; }

    /// <summary>Most packets kept.</summary>
    public int MaxPackets { get; }

    /// <summary>Packets kept.</summary>
    public int Count { get; private set; }

    /// <summary>Payload bytes kept.</summary>
    public long Bytes { get; private set; }

    /// <summary>Packets that have left, whatever became of them: the number of the oldest one that is kept.</summary>
    public long Left { get; private set; }

    /// <summary>When the oldest packet went in. Meaningful when Count is above zero.</summary>
    public long OldestNs => Head->At;

    /// <summary>The oldest packet's bytes. Meaningful when Count is above zero, until the next change.</summary>
    public ReadOnlySpan<byte> Oldest => new((byte*)Head + RecordHeader, Head->Length);

    private Record* Head => (Record*)(_chunks[_first] + _readOffset);

    /// <summary>True when a packet of that size fits the caps now.</summary>
    public bool HasRoomFor(int length) => Count < MaxPackets && Bytes + length <= MaxBytes;

    /// <summary>Copies a packet in as the newest; false, nothing changed, when it does not fit the caps.</summary>
    public bool TryPush(in Packet packet, long now)
    {
        if (!HasRoomFor(packet.Length) || packet.Length > PacketBatch.MaxFrameBytes) return false;
        int size = (RecordHeader + packet.Length + 7) & ~7;
        byte* chunk = _used == 0 ? null : _chunks[(_first + _used - 1) % _chunks.Length];
        if (chunk is null || *(int*)chunk + size > _chunkBytes)
        {
            if (_used == _chunks.Length) return false;
            chunk = _spare is not null ? _spare : (byte*)NativeMemory.Alloc((nuint)_chunkBytes);
            _spare = null;
            *(int*)chunk = ChunkHeader;
            _chunks[(_first + _used) % _chunks.Length] = chunk;
            if (_used++ == 0) _readOffset = ChunkHeader;
        }

        int at = *(int*)chunk;
        Record* record = (Record*)(chunk + at);
        *record = new Record { Length = packet.Length, At = now, Vnet = packet.Vnet };
        Buffer.MemoryCopy(packet.Data, chunk + at + RecordHeader, packet.Length, packet.Length);
        *(int*)chunk = at + size;
        Count++;
        Bytes += packet.Length;
        return true;
    }

    /// <summary>Moves the oldest packet into the next slot of the batch; false when the ring is empty or the batch full.</summary>
    public bool TryPop(PacketBatch destination)
    {
        if (Count == 0 || destination.Count == PacketBatch.Capacity) return false;
        ref Packet slot = ref destination.Reset(destination.Count++, Head->Length);
        slot.Vnet = Head->Vnet;
        Oldest.CopyTo(slot.Span);
        Drop();
        return true;
    }

    /// <summary>Forgets the oldest packet. Count must be above zero.</summary>
    public void Drop()
    {
        Record* head = Head;
        Count--;
        Left++;
        Bytes -= head->Length;
        _readOffset += (RecordHeader + head->Length + 7) & ~7;
        byte* chunk = _chunks[_first];
        if (_readOffset < *(int*)chunk) return;

        // The chunk is read out. Keep one for the next push, give the others back.
        _chunks[_first] = null;
        _first = (_first + 1) % _chunks.Length;
        _used--;
        _readOffset = ChunkHeader;
        if (_spare is null) _spare = chunk;
        else NativeMemory.Free(chunk);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = 0; i < _used; i++) NativeMemory.Free(_chunks[(_first + i) % _chunks.Length]);
        NativeMemory.Free(_spare);
        _spare = null;
        Array.Clear(_chunks);
        (_first, _used, Count, Bytes) = (0, 0, 0, 0);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives native memory back when the owner forgot.</summary>
    ~PacketRing() => Dispose();
}
