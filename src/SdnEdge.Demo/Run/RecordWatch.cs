using SdnEdge.Core.Wire;
using SdnEdge.Demo.Report;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Asks the lab's guest from a client which records it has written to its disk, all the time, over more than one boot: what was told there
/// is acknowledged to somebody outside. A boot that was not seen before is told to write no more at once, so that it overwrites as little
/// as possible of what the one before it has written; <see cref="GoOnAsync"/> lets it go on.
/// </summary>
internal sealed class RecordWatch : IDisposable
{
    private const int PauseMilliseconds = 40;
    private static readonly TimeSpan s_stop = TimeSpan.FromSeconds(30);

    private readonly GuestDisk _disk;
    private readonly Lock _asking = new();
    private readonly Thread _thread;
    private readonly List<BootLog> _boots = [];
    private readonly TaskCompletionSource<BootLog> _second = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _stop;

    /// <summary>Starts to ask.</summary>
    public RecordWatch(RunningLab lab, string client, IpAddress guest)
    {
        _disk = new GuestDisk(lab, client, guest);
        _thread = new Thread(Watch) { IsBackground = true, Name = "record watch" };
        _thread.Start();
    }

    /// <summary>The second boot, when it has answered and was told to write no more.</summary>
    public Task<BootLog> Second => _second.Task;

    /// <summary>What was told so far of the boot that was seen last; null = nothing.</summary>
    public BootLog? Current
    {
        get
        {
            lock (_asking) return _boots.Count == 0 ? null : _boots[^1].Copy();
        }
    }

    /// <summary>Has the guest go on with its writing.</summary>
    public Task GoOnAsync(CancellationToken cancel) => Task.Run(() =>
    {
        lock (_asking) _disk.Go(s_stop);
    }, cancel);

    /// <summary>Ends the guest's writing. Its last word; null = it did not stop.</summary>
    public Task<DiskWord?> EndAsync(CancellationToken cancel) => Task.Run(() =>
    {
        _stop = true;
        _thread.Join();
        DiskWord? last = _disk.Stop(s_stop);

        // What is not told yet is told now.
        if (last is not null && _boots is [.., var boot])
            for (int told = -1; boot.Writes.Count > told && boot.Told < last.Acknowledged; Ask()) told = boot.Writes.Count;
        return last;
    }, cancel);

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _disk.Dispose();
    }

    private void Watch()
    {
        while (!_stop)
        {
            lock (_asking) Ask();
            Thread.Sleep(PauseMilliseconds);
        }
    }

    private void Ask()
    {
        BootLog? now = _boots.Count == 0 ? null : _boots[^1];
        long from = (now?.Told ?? 0) + 1;
        if (_disk.From(from) is not { } word) return;
        if (now?.Boot != word.Boot)
        {
            _boots.Add(now = new BootLog(word.Boot));
            if (_boots.Count > 1)
            {
                word = _disk.Stop(s_stop) ?? word;
                now.Take(word, 1);
                _second.TrySetResult(now.Copy());
                return;
            }
        }

        now.Take(word, from);
    }
}
