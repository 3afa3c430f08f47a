using SdnEdge.Core.Wire;
using SdnEdge.Lab.Disks;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Demo.Run;

/// <summary>
/// Asks the lab's guest which records it has written to its disk since it was last asked, several times a second until stopped; an answer
/// that is lost is asked for again. At the end the guest is told to write no more.
/// </summary>
internal sealed class DiskWatch : IDisposable
{
    private const int PauseMilliseconds = 150;

    // Longest time until the guest has ended its last write, and told of it.
    private static readonly TimeSpan s_stop = TimeSpan.FromSeconds(30);

    private readonly GuestDisk _disk;
    private readonly Thread _thread;
    private readonly List<DiskWrite> _writes = [];
    private DiskWord? _last;
    private volatile bool _stop, _abandoned;

    /// <summary>Starts to ask.</summary>
    public DiskWatch(RunningLab lab, string client, IpAddress guest)
    {
        _disk = new GuestDisk(lab, client, guest);
        _thread = new Thread(Watch) { IsBackground = true, Name = "disk watch" };
        _thread.Start();
    }

    /// <summary>Has the guest end its writing. Returns its last word, and what it wrote, in order; the word is null when it has not
    /// stopped.</summary>
    public (DiskWord? Last, IReadOnlyList<DiskWrite> Writes) Stop()
    {
        _stop = true;
        _thread.Join();
        return (_last, _writes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _abandoned = true;
        _stop = true;
        _thread.Join();
        _disk.Dispose();
    }

    private void Watch()
    {
        while (!_stop)
        {
            Ask();
            Thread.Sleep(PauseMilliseconds);
        }

        if (_abandoned) return;

        // The record that it is writing ends first; then it tells what was not told yet.
        _last = _disk.Stop(s_stop);
        long until = Monotonic.Now + (long)s_stop.TotalNanoseconds;
        while (_last is { } last && Told < last.Acknowledged && Monotonic.Now < until) Ask();
    }

    private long Told => _writes.Count == 0 ? 0 : _writes[^1].Number;

    private void Ask()
    {
        long from = Told + 1;
        if (_disk.From(from) is { } word) _writes.AddRange(word.Writes.Where(w => w.Number >= from));
    }
}
