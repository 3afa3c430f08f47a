using System.Diagnostics;
using System.Runtime.InteropServices;

namespace SdnEdge.Core.Fib;

/// <summary>
/// Native memory handed out in blocks of 8-byte units, with one free list for each size. A block is named by its offset
/// in units, so that it costs four bytes in a slot and survives a move of the whole arena.
/// One writer. With readers, what is given back is only <em>retired</em>, and freed later by <see cref="Reclaim"/>.
/// </summary>
internal sealed unsafe class LpmArena : IDisposable
{
    /// <summary>Bytes of a unit.</summary>
    public const int Unit = 8;

    private const uint FirstCapacity = 512;
    private const uint MaxCapacity = 0x7FFF_FFFF;

    private readonly bool _shared;
    private readonly uint[] _free;
    private readonly Queue<Retired> _retired = new();
    private byte* _base;
    private uint _capacity;
    private uint _next = 1;
    private uint _freeUnits;
    private long _retiredBytes;
    private long _retiredEver;
    private long _reclaimedEver;

    /// <summary>Makes an arena for blocks of up to <paramref name="maxUnits"/> units.</summary>
    /// <param name="maxUnits">Largest block.</param>
    /// <param name="shared">True when readers look at it while it changes.</param>
    public LpmArena(int maxUnits, bool shared)
    {
        _shared = shared;
        _free = new uint[maxUnits + 1];
        _capacity = FirstCapacity;
        _base = (byte*)NativeMemory.Alloc(_capacity, Unit);
    }

    /// <summary>Where the arena lies now. Changes when <see cref="Allocate"/> must grow it: read it again after each call.</summary>
    public byte* Base => _base;

    /// <summary>Bytes in blocks that are in use or retired.</summary>
    public long UsedBytes => (long)(_next - _freeUnits) * Unit;

    /// <summary>Bytes that wait for <see cref="Reclaim"/>, earlier copies of the arena included.</summary>
    public long RetiredBytes => _retiredBytes;

    /// <summary>How many blocks were ever retired: hand it to <see cref="Reclaim"/> after a grace period that began now.</summary>
    public long RetireMark => _retiredEver;

    /// <summary>A block of that many units, its content undefined. Its name is never zero.</summary>
    public uint Allocate(int units)
    {
        uint block = _free[units];
        if (block != 0)
        {
            _free[units] = *(uint*)(_base + ((nint)block * Unit));
            _freeUnits -= (uint)units;
            return block;
        }

        if (_capacity - _next < (uint)units) Grow();
        block = _next;
        _next += (uint)units;
        return block;
    }

    /// <summary>Gives a block back: at once without readers, else when it is reclaimed.</summary>
    public void Release(uint block, int units)
    {
        if (!_shared)
        {
            Free(block, units);
            return;
        }

        _retired.Enqueue(new Retired(block, units, 0));
        _retiredEver++;
        _retiredBytes += (long)units * Unit;
    }

    /// <summary>Frees what was retired up to <paramref name="mark"/>. No reader may still be inside a lookup that began before
    /// it.</summary>
    public void Reclaim(long mark)
    {
        while (_reclaimedEver < mark && _retired.TryDequeue(out Retired item))
        {
            _reclaimedEver++;
            if (item.OldBase != 0)
            {
                NativeMemory.Free((void*)item.OldBase);
                _retiredBytes -= (long)item.Block * Unit;
            }
            else
            {
                Free(item.Block, item.Units);
                _retiredBytes -= (long)item.Units * Unit;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Reclaim(long.MaxValue);
        NativeMemory.Free(_base);
        _base = null;
    }

    private void Free(uint block, int units)
    {
        Debug.Assert(block != 0 && block < _next);
        *(uint*)(_base + ((nint)block * Unit)) = _free[units];
        _free[units] = block;
        _freeUnits += (uint)units;
    }

    private void Grow()
    {
        if (_capacity == MaxCapacity) throw new InvalidOperationException(
            "The longest-prefix-match table is full: its nodes need more than 16 GiB.");
        uint capacity = (uint)Math.Min((long)_capacity + (_capacity / 2) + FirstCapacity, MaxCapacity);
        byte* grown = (byte*)NativeMemory.Alloc(capacity, Unit);
        Buffer.MemoryCopy(_base, grown, (long)capacity * Unit, (long)_next * Unit);
        if (_shared)
        {
            // A reader may be walking the old copy. It stays as it was, and so does what the reader finds.
            _retired.Enqueue(new Retired(_capacity, 0, (nint)_base));
            _retiredEver++;
            _retiredBytes += (long)_capacity * Unit;
        }
        else
        {
            NativeMemory.Free(_base);
        }

        _base = grown;
        _capacity = capacity;
    }

    private readonly record struct Retired(uint Block, int Units, nint OldBase);
}
