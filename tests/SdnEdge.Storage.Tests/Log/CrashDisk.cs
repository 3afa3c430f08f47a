using SdnEdge.Storage.Log;

namespace SdnEdge.Storage.Tests.Log;

/// <summary>
/// A simulated folder of files below a volume. What was written and not synced is kept per sector of 512 bytes in all its versions; a power
/// cut leaves of each sector any one of them, or the one that was durable, independently: the disk keeps, drops and reorders. Names are
/// durable at once, as <see cref="IStoreFolder.Open"/> promises.
/// </summary>
internal sealed class CrashDisk(int seed) : IStoreFolder
{
    public const int Sector = 512, IoError = 5, NoSpace = 28, FileTooLarge = 27;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, CrashFile> _files = new(StringComparer.Ordinal);
    private readonly Random _random = new(seed);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _left = long.MaxValue;

    /// <summary>Operations that change the disk, since it was made.</summary>
    public long Operations { get; private set; }

    /// <summary>The power is off: nothing has an effect any more.</summary>
    public bool IsOff
    {
        get;
        private set
        {
            field = value;
            if (value) _ended.TrySetResult();
        }
    }

    /// <summary>Completes when the power is off.</summary>
    public Task Ended => _ended.Task;

    /// <summary>A file's operations that fail from now on, by the end of its name; null: none.</summary>
    public string? FailingName { get; set; }

    /// <summary>The error number that they fail with.</summary>
    public int FailingError { get; set; } = IoError;

    /// <summary>No file gets more bytes; null: as many as it is given.</summary>
    public long? LargestFile { get; set; }

    /// <summary>Only syncs fail.</summary>
    public bool FailsOnlySync { get; set; }

    /// <summary>Syncs wait for it; null: for nothing.</summary>
    public ManualResetEventSlim? Hangs { get; set; }

    /// <summary>The power goes off in the middle of the n-th operation from now.</summary>
    public void CutAfter(long operations) => _left = operations;

    /// <summary>The power goes off now.</summary>
    public void Off()
    {
        lock (_lock) IsOff = true;
    }

    /// <summary>Replaces something that is kept elsewhere, whole or not at all.</summary>
    /// <returns>The error number; after an error it was replaced or not.</returns>
    public int Atomically(Action replace)
    {
        lock (_lock)
        {
            if (IsOff) return IoError;
            Operations++;
            bool cut = _left-- <= 0;
            if (!cut || _random.Next(2) == 0) replace();
            if (cut) IsOff = true;
            return cut ? IoError : 0;
        }
    }

    /// <summary>What is on the disk after the power cut.</summary>
    public CrashDisk Survivor(int nextSeed)
    {
        lock (_lock)
        {
            IsOff = true;
            var next = new CrashDisk(nextSeed);
            foreach ((string name, var file) in _files) next._files[name] = file.Survivor(next, _random);
            return next;
        }
    }

    /// <summary>A copy of the disk as it is, everything durable.</summary>
    public CrashDisk Copy(int nextSeed = 0)
    {
        lock (_lock)
        {
            var next = new CrashDisk(nextSeed);
            foreach ((string name, var file) in _files) next._files[name] = new CrashFile(next, name, file.Snapshot());
            return next;
        }
    }

    public CrashFile File(string name) => _files[name];

    public IStoreFile? Open(string name, long length, out int error)
    {
        lock (_lock)
        {
            error = 0;
            if (_files.TryGetValue(name, out var file)) return file;
            error = length < 0 ? 2 : IsOff ? IoError : FailingName is not null && name.EndsWith(FailingName,
                StringComparison.Ordinal) ? FailingError : 0;
            return error != 0 ? null : _files[name] = new CrashFile(this, name, new byte[length]);
        }
    }

    public IReadOnlyList<string> List(string subfolder)
    {
        lock (_lock)
        {
            return [.. _files.Keys.Where(name => name.StartsWith(subfolder + "/", StringComparison.Ordinal))
                .Select(name => name[(subfolder.Length + 1)..]).Order(StringComparer.Ordinal)];
        }
    }

    public int Delete(string name)
    {
        lock (_lock)
        {
            if (IsOff) return IoError;
            Operations++;
            if (_left-- <= 0)
            {
                // Gone or not, as the power went.
                if (_random.Next(2) == 0) _files.Remove(name);
                IsOff = true;
                return IoError;
            }

            _files.Remove(name);
            return 0;
        }
    }

    internal sealed class CrashFile(CrashDisk disk, string name, byte[] bytes) : IStoreFile
    {
        // The length is kept as the sectors are: with the last sync, or as it was changed since.
        private byte[] _durable = [.. bytes], _current = bytes;
        private readonly Dictionary<long, List<byte[]>> _dirty = [];

        public string Name => name;

        public long Length => _current.Length;

        public int Syncs { get; private set; }

        public byte[] Snapshot() => [.. _current];

        /// <summary>Changes bytes behind everybody's back, durably: a disk that rots.</summary>
        public void Rot(long offset, ReadOnlySpan<byte> with)
        {
            with.CopyTo(_current.AsSpan((int)offset));
            with.CopyTo(_durable.AsSpan((int)offset));
        }

        public CrashFile Survivor(CrashDisk onto, Random random)
        {
            byte[] left = [.. _durable];
            if (left.Length < _current.Length && random.Next(2) == 0) Array.Resize(ref left, _current.Length);
            foreach ((long sector, var versions) in _dirty)
            {
                if (sector * Sector >= left.Length) continue;
                int which = random.Next(versions.Count + 1);
                if (which < versions.Count) versions[which].CopyTo(left, sector * Sector);
            }

            return new CrashFile(onto, name, left);
        }

        public int Read(long offset, Span<byte> into)
        {
            lock (disk._lock)
            {
                if (disk.IsOff) return IoError;
                into.Clear();
                int have = (int)Math.Clamp(_current.Length - offset, 0, into.Length);
                _current.AsSpan((int)offset, have).CopyTo(into);
                return 0;
            }
        }

        public int Write(long offset, ReadOnlySpan<byte> data)
        {
            lock (disk._lock)
            {
                int error = Begin(sync: false);
                if (error != 0) return error;
                if (offset + data.Length > _current.Length) return NoSpace;
                bool cut = disk._left-- <= 0;
                if (cut) data = data[..disk._random.Next(data.Length + 1)];
                data.CopyTo(_current.AsSpan((int)offset));
                if (data.Length > 0) MarkDirty(offset, data.Length);
                if (cut) disk.IsOff = true;
                return cut ? IoError : 0;
            }
        }

        public int Write(long offset, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second) => Write(offset, [.. first, .. second]);

        public int Sync()
        {
            disk.Hangs?.Wait();
            lock (disk._lock)
            {
                int error = Begin(sync: true);
                if (error != 0) return error;
                if (disk._left-- <= 0)
                {
                    disk.IsOff = true;
                    return IoError;
                }

                Syncs++;
                Array.Resize(ref _durable, _current.Length);
                foreach (long sector in _dirty.Keys) _current.AsSpan((int)(sector * Sector),
                    Sector).CopyTo(_durable.AsSpan((int)(sector * Sector)));
                _dirty.Clear();
                return 0;
            }
        }

        private int Begin(bool sync)
        {
            if (disk.IsOff) return IoError;
            disk.Operations++;
            bool fails = disk.FailingName is not null && name.EndsWith(disk.FailingName,
                StringComparison.Ordinal) && (sync || !disk.FailsOnlySync);
            return fails ? disk.FailingError : 0;
        }

        private void MarkDirty(long offset, long length)
        {
            for (long sector = offset / Sector; sector <= (offset + length - 1) / Sector; sector++)
            {
                if (!_dirty.TryGetValue(sector, out var versions)) _dirty[sector] = versions = [];
                versions.Add(_current.AsSpan((int)(sector * Sector), Sector).ToArray());
            }
        }

        public int PunchHole(long offset, long length) => Write(offset, new byte[Math.Min(length, _current.Length - offset)]);

        public int Allocate(long offset, long length) => 0;

        public int SetLength(long length)
        {
            lock (disk._lock)
            {
                int error = Begin(sync: false);
                if (error != 0) return error;
                if (disk.LargestFile is { } most && length > most) return FileTooLarge;
                bool cut = disk._left-- <= 0;
                if (_current.Length < length && (!cut || disk._random.Next(2) == 0)) Array.Resize(ref _current, (int)length);
                if (cut) disk.IsOff = true;
                return cut ? IoError : 0;
            }
        }

        public long NextData(long offset)
        {
            int at = offset >= Length ? -1 : _current.AsSpan((int)offset).IndexOfAnyExcept((byte)0);
            return at < 0 ? Length : Math.Max(offset, (offset + at) / 4096 * 4096);
        }

        public long NextHole(long offset)
        {
            for (long at = offset / 4096 * 4096; at < Length; at += 4096)
            {
                if (!_current.AsSpan((int)at, (int)Math.Min(4096, Length - at)).ContainsAnyExcept((byte)0)) return Math.Max(offset, at);
            }

            return Length;
        }

        public void ReadAhead(long offset, long length)
        {
        }

        // The disk outlives whoever has the file open.
        public void Dispose()
        {
        }
    }
}
