namespace SdnEdge.Host.Qemu;

/// <summary>
/// Decides when the last pass of a migration begins. While it is shut the relay reads nothing of QEMU's stream, so QEMU, which would decide
/// by itself, cannot finish: it waits in its pass, and the guest runs on. Any thread.
/// </summary>
public sealed class RelayGate
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _shut;

    /// <summary>True while nothing passes.</summary>
    public bool IsShut
    {
        get
        {
            lock (_lock) return _shut is not null;
        }
    }

    /// <summary>Stops the stream. A chunk that was already read waits, too.</summary>
    public void Shut()
    {
        lock (_lock) _shut ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>Resumes the stream.</summary>
    public void Open()
    {
        TaskCompletionSource? shut;
        lock (_lock) (shut, _shut) = (_shut, null);
        shut?.SetResult();
    }

    /// <summary>Completes while it is open.</summary>
    public async ValueTask PassAsync(CancellationToken cancel)
    {
        while (true)
        {
            Task? shut;
            lock (_lock) shut = _shut?.Task;
            if (shut is null) return;
            await shut.WaitAsync(cancel).ConfigureAwait(false);
        }
    }
}
