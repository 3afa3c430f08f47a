using System.Collections.Concurrent;
using System.Threading.Tasks.Sources;

namespace SdnEdge.Storage.Volumes;

/// <summary>How a <see cref="FileDevice"/> is opened.</summary>
public sealed record FileDeviceOptions
{
    /// <summary>True: nothing is written.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Threads that wait for reads from the disk, 1 to 256.</summary>
    public int Readers { get; init; } = 16;

    /// <summary>Is told each failure of the file, one sentence, once for each kind of call and error. By any thread. Null:
    /// nobody.</summary>
    public Action<string>? Report { get; init; }
}

// What waits for the disk, and what fails.
public sealed partial class FileDevice
{
    private const int Eperm = 1, Enomem = 12, Einval = 22, Efbig = 27, Enospc = 28, Enosys = 38, Eopnotsupp = 95, Edquot = 122;

    private readonly ConcurrentDictionary<(string, int), long> _failures = new();
    private readonly ConcurrentBag<DiskRead> _free = [];
    private readonly Queue<DiskRead> _waiting = new();
    private readonly Lock _readersLock = new();
    private readonly SemaphoreSlim _work = new(0);
    private int _readers, _idle;
    private bool _closed;

    /// <summary>Calls that failed.</summary>
    public long Failures => _failures.Values.Sum();

    /// <inheritdoc/>
    public void Dispose()
    {
        int readers;
        lock (_readersLock)
        {
            if (_closed) return;
            _closed = true;
            readers = _readers;
        }

        if (readers > 0) _work.Release(readers);
        _file.Dispose();
    }

    private ValueTask<BlockResult> ReadFromDisk(long offset, Memory<byte> into)
    {
        DiskRead read = _free.TryTake(out DiskRead? kept) ? kept : new DiskRead(this);
        ValueTask<BlockResult> task = read.Begin(offset, into);
        lock (_readersLock)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            _waiting.Enqueue(read);
            if (_idle < _waiting.Count && _readers < _options.Readers)
            {
                _readers++;
                new Thread(ReadLoop, 256 << 10) { IsBackground = true, Name = "disk reads" }.Start();
            }
        }

        _work.Release();
        return task;
    }

    private void ReadLoop()
    {
        while (true)
        {
            lock (_readersLock) _idle++;
            _work.Wait();
            DiskRead? read;
            lock (_readersLock)
            {
                _idle--;
                if (!_waiting.TryDequeue(out read) && _closed) return;
            }

            read?.Run();
        }
    }

    private static bool IsUnsupported(int error) => error is Eopnotsupp or Enosys or Einval;

    private BlockResult Failed(string what, long offset, int error)
    {
        long times = _failures.AddOrUpdate((what, error), 1, (_, before) => before + 1);
        if (times == 1)
        {
            _options.Report?.Invoke($"{_path}: {what} at {offset} failed: {new System.ComponentModel.Win32Exception(error).Message} "
                + $"(errno {error}); the client is told, further ones are counted.");
        }

        return error switch
        {
            Enospc or Efbig or Edquot => BlockResult.NoSpace,
            Enomem => BlockResult.NoMemory,
            Eperm => BlockResult.NotPermitted,
            _ => BlockResult.IoError,
        };
    }

    // A read that one of the device's threads does. It is used again after its result was taken.
    private sealed class DiskRead(FileDevice device) : IValueTaskSource<BlockResult>
    {
        private ManualResetValueTaskSourceCore<BlockResult> _core;
        private long _offset;
        private Memory<byte> _into;

        public ValueTask<BlockResult> Begin(long offset, Memory<byte> into)
        {
            (_offset, _into) = (offset, into);
            return new ValueTask<BlockResult>(this, _core.Version);
        }

        public void Run()
        {
            int error;
            try
            {
                error = device._file.Read(_offset, _into.Span);
            }
            catch (Exception e)
            {
                _core.SetException(e);
                return;
            }

            _core.SetResult(error == 0 ? BlockResult.Ok : device.Failed("read", _offset, error));
        }

        public BlockResult GetResult(short token)
        {
            try
            {
                return _core.GetResult(token);
            }
            finally
            {
                _into = default;
                _core.Reset();
                device._free.Add(this);
            }
        }

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags)
            => _core.OnCompleted(continuation, state, token, flags);
    }
}
