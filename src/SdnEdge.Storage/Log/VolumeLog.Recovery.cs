using System.Buffers.Binary;
using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Log;

public sealed partial class VolumeLog
{
    /// <summary>What recovery may rely on beside the log itself.</summary>
    /// <param name="Sequence">Every record up to it was durable, and its effect is in the image.</param>
    /// <param name="Salt">The salt of the segment with which the log was begun anew; 0: it never was.</param>
    public readonly record struct Floor(ulong Sequence, ulong Salt = 0);

    /// <summary>
    /// Opens a log that is there. 1. The segments by ordinal, without those of a history that was left. 2. Record by record from the
    /// segment that has the first one not applied.
    /// 3. Where the run ends <see cref="LogRecoveryTable"/> decides. 4. The tail is cut and everything that was read is made durable.
    /// </summary>
    /// <param name="folder">The volume's folder.</param>
    /// <param name="options">As it was made.</param>
    /// <param name="identity">The volume's identity.</param>
    /// <param name="floor">What the superblock knows.</param>
    /// <param name="visit">Called for each record after the floor, in order, with the position of its bytes.</param>
    /// <param name="recovery">What was found.</param>
    /// <param name="error">The error number of a disk that failed; 0 when the log is damaged, or open.</param>
    /// <returns>Null when it is damaged or the disk failed.</returns>
    public static VolumeLog? Open(IStoreFolder folder, VolumeLogOptions options, Guid identity, Floor floor,
        Action<LogRecord, long>? visit, out LogRecovery recovery, out int error)
    {
        ArgumentNullException.ThrowIfNull(folder);
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        var log = new VolumeLog(folder, options, identity);
        var scan = new Scan(log, floor, visit);
        error = scan.Run();
        recovery = scan.Result();
        if (error == 0 && recovery.Damage.Count == 0)
        {
            error = scan.Cut();
            if (error == 0)
            {
                log.DurableSequence = Math.Min(floor.Sequence, log.LastSequence);
                foreach (var segment in log._segments) segment.Dirty = segment.LastSequence > log.DurableSequence;
                error = log.Commit();
            }

            if (error == 0)
            {
                recovery = scan.Result();
                log.Begin();
                return log;
            }
        }

        scan.Close();
        return null;
    }

    private sealed class Scan(VolumeLog log, Floor floor, Action<LogRecord, long>? visit)
    {
        private readonly List<(IStoreFile File, SegmentHeader Header)> _used = [];
        private readonly List<IStoreFile> _files = [], _broken = [], _behind = [], _abandoned = [];
        private readonly List<LogDamage> _damage = [];
        private readonly byte[] _window = new byte[log.BatchSize];
        private IStoreFile? _windowOf;
        private long _windowAt, _windowEnd, _records, _cutBytes, _cutRecords, _cutAt = -1;
        private ulong _sequence, _chain, _epoch;

        public LogRecovery Result() => new(_sequence, _chain, _epoch, _records, _cutBytes, _cutRecords, _damage);

        public void Close()
        {
            foreach (var file in _files) file.Dispose();
        }

        public int Run()
        {
            int error = ReadHeaders();
            if (error != 0) return error;
            LeaveHistories();

            // The segment that has the first record not applied, and before it the history that is still there.
            int start = _used.FindLastIndex(used => used.Header.FirstSequence <= floor.Sequence + 1);
            if (start < 0)
            {
                string where = _broken.Count > 0 ? _broken[0].Name : Subfolder;
                _damage.Add(new LogDamage(where, 0, floor.Sequence + 1, "@header", "no segment begins at or before this record"));
                return 0;
            }

            int first = start;
            while (first > 0 && _used[first - 1].Header.Ordinal + 1 == _used[first].Header.Ordinal) first--;
            for (int i = 0; i < first; i++) log._free.Enqueue(_used[i].File);
            for (int i = first; i < start; i++)
            {
                // Not read again: each of these was applied. A reader checks each record that it reads.
                var history = new LogSegment(_used[i].File, _used[i].Header)
                {
                    End = _used[i].Header.Size,
                    LastSequence = _used[i + 1].Header.FirstSequence - 1,
                };
                log._segments.Add(history);
            }

            return ReadRecords(start);
        }

        private int ReadHeaders()
        {
            byte[] bytes = new byte[SegmentHeader.Bytes];
            foreach (string name in log._folder.List(Subfolder))
            {
                var file = log._folder.Open($"{Subfolder}/{name}", -1, out int error);
                if (file is null) return error;
                _files.Add(file);
                log._files++;
                error = file.Read(0, bytes);
                if (error != 0)
                {
                    log.FailedFile = file.Name;
                    return error;
                }

                if (SegmentHeader.TryRead(bytes, out var header) && header.Identity == log._identity && header.Size == file.Length)
                    _used.Add((file, header));
                else if (bytes.AsSpan().ContainsAnyExcept((byte)0))
                    _broken.Add(file);
                else if (file.Length == log._options.SegmentSize && file.NextHole(0) >= file.Length)
                    log._free.Enqueue(file);
                else
                    log._unfilled.Enqueue(file);
            }

            _used.Sort(static (a, b) => a.Header.Ordinal.CompareTo(b.Header.Ordinal));
            return 0;
        }

        // The superblock says with which segment the log begins. What is older is another history; what would begin the log anew and is not
        // named was prepared, and a crash came before the superblock.
        private void LeaveHistories()
        {
            int begins = _used.FindIndex(used => used.Header.BeginsAnew && used.Header.Salt == floor.Salt);
            for (int i = _used.Count - 1; i >= 0; i--)
            {
                if (i < begins) log._free.Enqueue(_used[i].File);
                else if (_used[i].Header.BeginsAnew && _used[i].Header.Salt != floor.Salt) _abandoned.Add(_used[i].File);
                else continue;
                _used.RemoveAt(i);
                if (i < begins) begins--;
            }
        }

        private int ReadRecords(int start)
        {
            int index = start;
            var header = _used[index].Header;
            _sequence = header.FirstSequence - 1;
            _chain = header.PreviousChain;
            _epoch = header.PreviousEpoch;
            var segment = Take(index);
            while (true)
            {
                var found = Look(segment, out var record, out int error);
                if (error != 0) return error;
                if (found != FoundHeader.Whole && index + 1 < _used.Count && Continues(_used[index + 1].Header, segment))
                {
                    segment = Take(++index);
                    continue;
                }

                FoundBehind behind = FoundBehind.Nothing;
                if (found != FoundHeader.Whole)
                {
                    for (int i = index + 1; i < _used.Count; i++) _behind.Add(_used[i].File);
                    behind = LookBehind(segment, index, out error);
                    if (error != 0) return error;
                }

                var row = LogRecoveryTable.Decide(found, behind);
                switch (row.Action)
                {
                    case RecoveryAction.Accept:
                        segment.Note(record.Sequence, segment.End);
                        if (record.Sequence > floor.Sequence)
                            visit?.Invoke(record, log.PositionOf(segment, segment.End + LogRecordCodec.HeaderSize));
                        segment.End += LogRecordCodec.SizeOnDisk(record);
                        segment.LastSequence = record.Sequence;
                        (_sequence, _chain, _epoch) = (record.Sequence, record.Chain, record.Epoch);
                        _records++;
                        continue;
                    case RecoveryAction.Damaged:
                        _damage.Add(new LogDamage(segment.File.Name, segment.End, _sequence + 1, row.Label, Words(found)));
                        return 0;
                    case RecoveryAction.CutTail:
                        _cutAt = segment.End;
                        _cutBytes += found switch
                        {
                            FoundHeader.BadPayload => Math.Min(LogRecordCodec.SizeOnDisk(record), segment.Header.Size - segment.End),
                            FoundHeader.Zeros or FoundHeader.OtherUse => 0,
                            _ => LogRecordCodec.HeaderSize,
                        };
                        break;
                    default:
                        break;
                }

                (log.LastSequence, log.Chain, log.Epoch) = (_sequence, _chain, _epoch);
                return 0;
            }
        }

        private LogSegment Take(int index)
        {
            var segment = new LogSegment(_used[index].File, _used[index].Header);
            log._segments.Add(segment);
            return segment;
        }

        private bool Continues(in SegmentHeader next, LogSegment segment) =>
            next.Ordinal == segment.Header.Ordinal + 1 && next.FirstSequence == _sequence + 1
            && next.PreviousChain == _chain && next.PreviousEpoch == _epoch;

        private FoundHeader Look(LogSegment segment, out LogRecord record, out int error)
        {
            record = default;
            long at = segment.End, left = segment.Header.Size - at;
            error = 0;
            if (left < LogRecordCodec.HeaderSize) return FoundHeader.Zeros;
            var bytes = Window(segment.File, at, LogRecordCodec.HeaderSize, out error);
            if (error != 0) return FoundHeader.Broken;
            if (!LogRecordCodec.TryRead(bytes, out record, out ulong salt, out _))
                return bytes.ContainsAnyExcept((byte)0) ? FoundHeader.Broken : FoundHeader.Zeros;
            if (salt != segment.Header.Salt) return FoundHeader.OtherUse;
            if (record.Sequence != _sequence + 1) return FoundHeader.OtherSequence;
            if (record.Epoch < _epoch || LogRecordCodec.NextChain(_chain, record) != record.Chain) return FoundHeader.OtherHistory;
            if (record.PayloadLength == 0) return FoundHeader.Whole;
            long size = LogRecordCodec.SizeOnDisk(record);
            if (size > left || record.PayloadLength > log._options.MaxPayload) return FoundHeader.BadPayload;
            bytes = Window(segment.File, at, (int)size, out error);
            if (error != 0) return FoundHeader.Broken;
            return Crc32C.Of(bytes.Slice(LogRecordCodec.HeaderSize, (int)record.PayloadLength)) == record.Checksum
                ? FoundHeader.Whole
                : FoundHeader.BadPayload;
        }

        // The rest of this segment, the segments behind it, and those whose header is broken: their records may be ours.
        private FoundBehind LookBehind(LogSegment segment, int index, out int error)
        {
            ulong missing = _sequence + 1;
            bool any = false, witness = floor.Sequence >= missing;
            error = Search(segment.File, segment.End + LogRecordCodec.HeaderSize, segment.Header.Salt, missing, ref any, ref witness);
            for (int i = index + 1; i < _used.Count && error == 0; i++)
                error = Search(_used[i].File, SegmentHeader.Bytes, _used[i].Header.Salt, missing, ref any, ref witness);
            for (int i = 0; i < _broken.Count && error == 0; i++)
                error = Search(_broken[i], SegmentHeader.Bytes, null, missing, ref any, ref witness);

            // A segment that was begun behind the missing record is to be cut, too, even if it has no record.
            any |= index + 1 < _used.Count;
            return witness ? FoundBehind.Witness : any ? FoundBehind.Loose : FoundBehind.Nothing;
        }

        private int Search(IStoreFile file, long from, ulong? salt, ulong missing, ref bool any, ref bool witness)
        {
            const int Size = LogRecordCodec.HeaderSize;
            for (long at = from; at + Size <= file.Length;)
            {
                int length = (int)Math.Min(_window.Length, file.Length - at) & ~(Size - 1);
                var bytes = Window(file, at, length, out int error);
                if (error != 0) return error;
                for (int i = 0; i < bytes.Length; i += Size)
                {
                    var header = bytes.Slice(i, Size);
                    if (salt is ulong s ? BinaryPrimitives.ReadUInt64LittleEndian(header[56..]) != s : header[4] != 1) continue;
                    if (!LogRecordCodec.TryRead(header, out var record, out _, out uint notDurable) || record.Sequence < missing) continue;
                    if (salt is null && record.Sequence == missing && record.Epoch >= _epoch
                        && LogRecordCodec.NextChain(_chain, record) == record.Chain)
                    {
                        // The missing record itself, in a segment whose header is broken: a header is synced with its first record.
                        witness = true;
                    }

                    any = true;
                    _cutRecords++;
                    _cutBytes = Math.Max(_cutBytes, 0) + LogRecordCodec.SizeOnDisk(record);
                    witness |= record.Sequence > missing && record.Sequence - 1 - notDurable >= missing;
                }

                at += bytes.Length;
            }

            return 0;
        }

        private ReadOnlySpan<byte> Window(IStoreFile file, long at, int length, out int error)
        {
            error = 0;
            if (_windowOf != file || at < _windowAt || at + length > _windowEnd)
            {
                int get = (int)Math.Min(_window.Length, file.Length - at);
                error = file.Read(at, _window.AsSpan(0, get));
                if (error != 0)
                {
                    log.FailedFile = file.Name;
                    _windowOf = null;
                    return default;
                }

                (_windowOf, _windowAt, _windowEnd) = (file, at, at + get);
            }

            return _window.AsSpan((int)(at - _windowAt), length);
        }

        /// <summary>Overwrites with zeros what is behind the end: whole segments first, the newest first, then the rest of the last
        /// one.</summary>
        public int Cut()
        {
            foreach (var file in _broken) log._unfilled.Enqueue(file);
            byte[] zeros = new byte[1 << 20];
            int error = 0;
            foreach (var file in _abandoned)
            {
                if (error == 0) error = file.Write(0, zeros.AsSpan(0, SegmentHeader.Bytes));
                if (error == 0) error = file.Sync();
                if (error != 0) log.FailedFile = file.Name;
                else log._free.Enqueue(file);
            }

            if (_cutAt < 0 || error != 0) return error;
            for (int i = _behind.Count - 1; i >= 0 && error == 0; i--)
            {
                error = _behind[i].Write(0, zeros.AsSpan(0, SegmentHeader.Bytes));
                if (error == 0) error = _behind[i].Sync();
                if (error != 0) log.FailedFile = _behind[i].Name;
                else log._free.Enqueue(_behind[i]);
            }

            var last = log._segments[^1].File;
            for (long at = _cutAt; at < last.Length && error == 0; at += zeros.Length)
                error = last.Write(at, zeros.AsSpan(0, (int)Math.Min(zeros.Length, last.Length - at)));
            if (error == 0) error = last.Sync();
            if (error != 0 && log.FailedFile.Length == 0) log.FailedFile = last.Name;
            return error;
        }

        private static string Words(FoundHeader found) => found switch
        {
            FoundHeader.Zeros => "it was durable, and zeros are there",
            FoundHeader.Broken => "it was durable, and its header is damaged",
            FoundHeader.OtherUse => "it was durable, and a record of the segment's earlier use is there",
            FoundHeader.OtherSequence => "it was durable, and another record is there",
            FoundHeader.OtherHistory => "its chain does not follow from the record before",
            FoundHeader.BadPayload => "it was durable, and its bytes do not fit their checksum",
            _ => "whole",
        };
    }
}
