namespace SdnEdge.Host.Qemu;

/// <summary>
/// Decides when the last pass of a migration begins. While it is shut the relay reads nothing of QEMU's stream, so QEMU, which would decide
/// by itself, cannot finish: it waits in its pass, and the guest runs on. Near the end of a pass an allowance shuts it in time, however
/// late the next look at the copy comes. Any thread.
/// </summary>
public sealed class RelayGate
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _shut;
    private long _allowance = long.MaxValue;

    /// <summary>True while nothing passes until it is opened.</summary>
    public bool IsShut
    {
        get
        {
            lock (_lock) return _shut is not null;
        }
    }

    /// <summary>Stops the stream. A chunk that was already read waits, too.</summary>
    public void Shut() => Allow(0);

    /// <summary>Resumes the stream.</summary>
    public void Open() => Allow(long.MaxValue);

    /// <summary>From now on so many bytes may pass, 0 or more; <see cref="long.MaxValue"/> = all.</summary>
    public void Allow(long bytes)
    {
        TaskCompletionSource? shut = null;
        lock (_lock)
        {
            _allowance = bytes;
            if (bytes > 0) (shut, _shut) = (_shut, null);
            else _shut ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        shut?.SetResult();
    }

    /// <summary>Takes so many bytes off what may pass; they have passed.</summary>
    public void Spend(int bytes)
    {
        lock (_lock)
        {
            if (_allowance == long.MaxValue) return;
            _allowance = Math.Max(0, _allowance - bytes);
            if (_allowance == 0) _shut ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>Completes when something may pass: how much, bytes, at most <paramref name="wanted"/>.</summary>
    public async ValueTask<int> PassAsync(int wanted, CancellationToken cancel)
    {
        while (true)
        {
            Task shut;
            lock (_lock)
            {
                if (_shut is null) return (int)Math.Min(wanted, _allowance);
                shut = _shut.Task;
            }

            await shut.WaitAsync(cancel).ConfigureAwait(false);
        }
    }
}
