namespace SdnEdge.Lab.Disks;

/// <summary>
/// What is left on a disk of the records of a boot of the lab's guest that ended without a farewell, when a later boot has begun to write
/// there, from record 1 on again (guest/disk.c). A record of the earlier boot whose place a later one has was overwritten, not lost. Given
/// in order, as it is read. Pure.
/// </summary>
/// <param name="places">Records that the disk has room for.</param>
/// <param name="boot">The boot that ended.</param>
/// <param name="acknowledged">Its last number that was acknowledged.</param>
/// <param name="later">The boot that writes now.</param>
public sealed class BootRecords(long places, ulong boot, long acknowledged, ulong later)
{
    private const int Part = 1 << 20;
    private readonly List<long> _lost = [], _overwritten = [];
    private long _place;

    /// <summary>Records of the earlier boot that are due: acknowledged, and no later one of the same boot has their place.</summary>
    public long Expected { get; private set; }

    /// <summary>The highest number of the earlier boot that is there; 0 = none.</summary>
    public long Last { get; private set; }

    /// <summary>Of those that are due: not there, or not as written, and the later boot has not written there.</summary>
    public long Lost => _lost.Count;

    /// <summary>Of the lost: something is there that is no whole record of either boot.</summary>
    public long Damaged { get; private set; }

    /// <summary>The lowest number that is lost; null = none is.</summary>
    public long? FirstLost => _lost.Count == 0 ? null : _lost.Min();

    /// <summary>Of the lost: a later one of the same boot is there. More than 0: the disk is of no moment that there ever was.</summary>
    public long Gaps => _lost.Count(n => n < Last);

    /// <summary>Of those that are due: the later boot has written there.</summary>
    public long Overwritten => _overwritten.Count;

    /// <summary>Of the overwritten: nobody can tell whether they were there, as nothing behind them is.</summary>
    public long Hidden => _overwritten.Count(n => n > Last);

    /// <summary>The next part of the disk, a multiple of a record long.</summary>
    public void Add(ReadOnlySpan<byte> part)
    {
        for (; part.Length >= DiskRecords.Size; part = part[DiskRecords.Size..]) AddOne(part[..DiskRecords.Size]);
    }

    /// <summary>Reads all of a volume by NBD.</summary>
    /// <param name="socket">The clients' socket of the store.</param>
    /// <param name="volume">The volume.</param>
    /// <param name="boot">The boot that ended.</param>
    /// <param name="acknowledged">Its last number that was acknowledged.</param>
    /// <param name="later">The boot that writes now.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static async Task<BootRecords> ReadAsync(
        string socket, string volume, ulong boot, long acknowledged, ulong later, CancellationToken cancel)
    {
        using NbdReader disk = await NbdReader.ConnectAsync(socket, volume, cancel);
        var records = new BootRecords(disk.Size / DiskRecords.Size, boot, acknowledged, later);
        byte[] part = new byte[Part];
        for (long at = 0; at < disk.Size;)
        {
            int length = (int)Math.Min(Part, disk.Size - at);
            await disk.ReadAsync(at, part.AsMemory(0, length), cancel);
            records.Add(part.AsSpan(0, length));
            at += length;
        }

        await disk.EndAsync(cancel);
        return records;
    }

    private void AddOne(ReadOnlySpan<byte> bytes)
    {
        long place = _place++;
        if (place >= places) return;
        long? there = NumberOf(bytes, boot, place);
        if (there is { } number) Last = Math.Max(Last, number);
        long due = acknowledged - ((((acknowledged - place) % places) + places) % places);
        if (due < 1) return;
        Expected++;
        if (there >= due) return;   // itself, or a later one that was written and not acknowledged
        if (NumberOf(bytes, later, place) is not null)
        {
            _overwritten.Add(due);
            return;
        }

        _lost.Add(due);
        if (there is null && bytes.ContainsAnyExcept((byte)0)) Damaged++;
    }

    // The number of the whole record of a boot that is at its place; null = there is none.
    private long? NumberOf(ReadOnlySpan<byte> bytes, ulong of, long place)
    {
        if (!DiskRecords.IsWhole(bytes, of)) return null;
        long number = BitConverter.ToInt64(bytes[16..24]);
        return number >= 1 && number % places == place ? number : null;
    }
}
