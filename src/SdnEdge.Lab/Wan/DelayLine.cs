using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using SdnEdge.Core.Forwarding;
using SdnEdge.Lab.Topologies;

namespace SdnEdge.Lab.Wan;

/// <summary>
/// Frames under way on one direction of a link, in one native ring: a record for each, header before bytes, never broken at
/// the ring's end. Frames leave in the order of their due times. Bounded in bytes; nothing is allocated for a frame.
/// </summary>
internal sealed unsafe class DelayLine : IDisposable
{
    private const int Align = 32;

    /// <summary>
    /// Head of a record. A record's size is a multiple of <see cref="Align"/>, so there is always room for a head before the end.
    /// </summary>
    private struct Record
    {
        public long Due;
        public int Size;        // with head and padding; the next record follows
        public int Length;      // of the frame; -1 = padding up to the ring's end, -2 = has left already
        public VnetHeader Vnet;
    }

    private readonly LinkModel _model;
    private readonly byte* _ring;
    private readonly int _size;

    // With free order frames may pass one another: then a heap knows which is next. Otherwise the ring's order is the order.
    private readonly PriorityQueue<int, (long Due, long Number)>? _byDue;
    private readonly int[] _takenOffsets = new int[PacketBatch.Capacity];
    private long _number;
    private int _head;      // where the next record goes
    private int _tail;      // oldest record
    private int _used;      // bytes between tail and head
    private int _taken;     // records handed out by Take, not yet released

    public DelayLine(Impairment impairment, ulong seed)
    {
        _model = new LinkModel(impairment, seed);
        _size = impairment.QueueBytes / Align * Align;
        _ring = (byte*)NativeMemory.AlignedAlloc((nuint)_size, 4096);
        if (!impairment.KeepOrder) _byDue = new PriorityQueue<int, (long, long)>(4096);
    }

    public long Frames { get; private set; }

    public long Bytes { get; private set; }

    public long Lost { get; private set; }

    public long QueueFull { get; private set; }

    public long PeakBytes { get; private set; }

    public long Sent { get; set; }

    public long Refused { get; set; }

    public long LateNs { get; set; }

    /// <summary>When the next frame leaves; <see cref="long.MaxValue"/> when none is under way.</summary>
    public long NextDue => _used == 0 ? long.MaxValue : _byDue is null ? First()->Due : _byDue.TryPeek(out _, out (long Due, long) next)
        ? next.Due : long.MaxValue;

    /// <summary>A frame enters at <paramref name="at"/>. It is copied, lost as the model says, or dropped when there is no room.</summary>
    public void Enter(in Packet packet, long at)
    {
        Frames++;
        Bytes += packet.Length;
        int size = (sizeof(Record) + packet.Length + Align - 1) / Align * Align;
        int toEnd = _size - _head;
        int padding = size > toEnd ? toEnd : 0;
        if (_used + padding + size > _size)
        {
            QueueFull++;
            return;
        }

        if (!_model.Admit(at, packet.Length, out long due))
        {
            Lost++;
            return;
        }

        if (padding > 0)
        {
            Record* skip = At(_head);
            skip->Size = padding;
            skip->Length = -1;
            _head = 0;
            _used += padding;
        }

        Record* record = At(_head);
        record->Due = due;
        record->Size = size;
        record->Length = packet.Length;
        record->Vnet = packet.Vnet;
        Unsafe.CopyBlockUnaligned(record + 1, packet.Data, (uint)packet.Length);
        _byDue?.Enqueue(_head, (due, _number++));
        _head = _head + size == _size ? 0 : _head + size;
        _used += size;
        if (_used > PeakBytes) PeakBytes = _used;
    }

    /// <summary>
    /// Takes the frames that are due at <paramref name="now"/>, as many as fit. They stay in the ring, and the packets point
    /// there, until <see cref="Release"/>.
    /// </summary>
    /// <param name="now">Time, nanoseconds.</param>
    /// <param name="packets">Filled from the start; at most 64 long.</param>
    /// <param name="dues">When each was due.</param>
    /// <returns>How many.</returns>
    public int Take(long now, Span<Packet> packets, Span<long> dues)
    {
        int count = 0;
        if (_byDue is not null)
        {
            while (count < packets.Length && _byDue.TryPeek(out int offset, out (long Due, long) next) && next.Due <= now)
            {
                _byDue.Dequeue();
                _takenOffsets[count] = offset;
                Put(At(offset), ref packets[count], out dues[count]);
                count++;
            }
        }
        else
        {
            int at = _tail, left = _used;
            while (count < packets.Length && left > 0)
            {
                Record* record = At(at);
                if (record->Length >= 0)
                {
                    if (record->Due > now) break;
                    _takenOffsets[count] = at;
                    Put(record, ref packets[count], out dues[count]);
                    count++;
                }

                left -= record->Size;
                at = at + record->Size == _size ? 0 : at + record->Size;
            }
        }

        _taken = count;
        return count;
    }

    /// <summary>Frees what <see cref="Take"/> handed out.</summary>
    public void Release()
    {
        for (int i = 0; i < _taken; i++) At(_takenOffsets[i])->Length = -2;
        _taken = 0;
        while (_used > 0 && At(_tail)->Length < 0)
        {
            int size = At(_tail)->Size;
            _used -= size;
            _tail = _tail + size == _size ? 0 : _tail + size;
        }

        // An empty ring starts again from the front, whose memory is warm.
        if (_used == 0) _head = _tail = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => NativeMemory.AlignedFree(_ring);

    public WanDirectionStats Stats()
        => new(Frames, Bytes, Sent, Lost, QueueFull, Refused, PeakBytes, Sent == 0 ? 0 : Math.Round(LateNs / 1e3 / Sent, 1));

    private static void Put(Record* record, ref Packet packet, out long due)
    {
        packet.Data = (byte*)(record + 1);
        packet.Length = record->Length;
        packet.Headroom = 0;
        packet.Vnet = record->Vnet;
        due = record->Due;
    }

    private Record* At(int offset) => (Record*)(_ring + offset);

    // The oldest record that is no padding; there is one whenever _used > 0.
    private Record* First()
    {
        Record* record = At(_tail);
        return record->Length >= 0 ? record : At(0);
    }
}
