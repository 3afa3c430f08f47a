using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace SdnEdge.Lab.Probes;

/// <summary>One packet as a sender or a receiver noted it. 24 bytes, host byte order, in the order in which it happened.</summary>
/// <param name="SendNs">When it was sent, CLOCK_MONOTONIC nanoseconds.</param>
/// <param name="ArrivalNs">When the kernel took it in at the receiver; 0 in a sender's log.</param>
/// <param name="Sequence">Sequence in the stream.</param>
/// <param name="Flow">Flow in the stream.</param>
/// <param name="Stream">Stream.</param>
/// <param name="Flags">0; kept for later.</param>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public readonly record struct ProbeRecord(long SendNs, long ArrivalNs, uint Sequence, ushort Flow, byte Stream, byte Flags)
{
    /// <summary>Size in memory and in the file.</summary>
    public const int Size = 24;
}

/// <summary>
/// A log of every packet in native memory that the kernel gives page by page: appending allocates nothing. Everything else
/// about a run (loss by stage, order, delays) is computed from two such logs afterwards.
/// </summary>
public sealed unsafe class RecordLog : IDisposable
{
    private static ReadOnlySpan<byte> FileMagic => "SDNPLOG1"u8;

    private readonly nuint capacity;
    private ProbeRecord* records;
    private nuint count;

    /// <summary>A log for at most <paramref name="capacity"/> packets; 0 = keep none.</summary>
    public RecordLog(long capacity)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        this.capacity = (nuint)capacity;
        records = capacity == 0 ? null : (ProbeRecord*)NativeMemory.AllocZeroed(this.capacity, ProbeRecord.Size);
    }

    /// <summary>Packets in the log.</summary>
    public long Count => (long)count;

    /// <summary>Packets that found the log full. A report made from a log with this above 0 is not whole.</summary>
    public long Overflow { get; private set; }

    /// <summary>The packets, in order.</summary>
    public ReadOnlySpan<ProbeRecord> Records => new(records, checked((int)count));

    /// <summary>Appends one packet.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Append(in ProbeRecord record)
    {
        if (count < capacity)
        {
            records[count++] = record;
        }
        else
        {
            Overflow++;
        }
    }

    /// <summary>Writes the log to a file.</summary>
    public void Save(string path)
    {
        using FileStream file = File.Create(path);
        file.Write(FileMagic);
        file.Write(MemoryMarshal.AsBytes(Records));
    }

    /// <summary>Reads a log written by <see cref="Save"/>.</summary>
    /// <exception cref="InvalidDataException">The file is no probe log or was cut short.</exception>
    public static ProbeRecord[] Load(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        if (bytes.Length < FileMagic.Length || !bytes.AsSpan(0, FileMagic.Length).SequenceEqual(FileMagic))
        {
            throw new InvalidDataException($"{path} is no probe log: it does not start with SDNPLOG1");
        }

        if ((bytes.Length - FileMagic.Length) % ProbeRecord.Size != 0)
        {
            throw new InvalidDataException(
                $"{path} was cut short: {bytes.Length} bytes are no whole number of {ProbeRecord.Size}-byte records");
        }

        return MemoryMarshal.Cast<byte, ProbeRecord>(bytes.AsSpan(FileMagic.Length)).ToArray();
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        NativeMemory.Free(records);
        records = null;
        count = 0;
    }
}
