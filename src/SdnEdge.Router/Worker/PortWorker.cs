using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;

namespace SdnEdge.Router.Worker;

/// <summary>How a worker runs.</summary>
public sealed record PortWorkerOptions
{
    /// <summary>Core to run on, 0 to 63; null: wherever the kernel puts it.</summary>
    public int? Core { get; init; }

    /// <summary>How long to look for work before sleeping, in ns. 0 sleeps at once: right wherever cores are shared.</summary>
    public long BusyPollNanoseconds { get; init; }

    /// <summary>Commands the mailbox takes.</summary>
    public int MailboxCapacity { get; init; } = 8192;

    /// <summary>Told, on the worker's thread, when a port's device has gone; the worker has let go of the port.</summary>
    public Action<int>? PortLost { get; init; }
}

/// <summary>
/// A thread that moves frames from its ports through a processor. One round:
/// <list type="number">
/// <item>Take the control loop's commands.</item>
/// <item>Ask epoll which ports are readable: without waiting as long as some port had more, else until a port, a command or
/// the processor's deadline wakes the worker.</item>
/// <item>Receive one batch from each readable port in turn (so that no port starves another) and process it.</item>
/// <item>After each batch pass a batch boundary.</item>
/// <item>Let the processor do what has become due.</item>
/// </list>
/// A sleeping worker is woken by its eventfd. It says that it will sleep before it looks at its mailbox for the last time,
/// and a poster looks whether it sleeps after posting, so one of the two always sees the other.
/// </summary>
public sealed class PortWorker : IDisposable
{
    private const ulong WakeTag = ulong.MaxValue;

    // A port that reports an error but neither gives frames nor is gone is let go after so many rounds, or it would keep the worker awake.
    private const int MaxFruitlessErrors = 16;

    // Between two commands the frames wait; a control loop that posts thousands must not stop the traffic.
    private const int CommandsARound = 64;

    private readonly IBatchProcessor _processor;
    private readonly PortWorkerOptions _options;
    private readonly WorkerMailbox _mailbox;
    private readonly Epoll _epoll = new();
    private readonly EventFd _wake = new();
    private readonly PacketBatch _batch = new();
    private readonly List<AttachedPort> _ports = [];
    private readonly List<AttachedPort> _ready = [];
    private readonly Thread _thread;
    private QuiescentState _quiescent = new();
    private int _sleeping;
    private volatile bool _stop;
    private volatile bool _started;
    private bool _disposed;

    /// <summary>Makes a worker that <see cref="Start"/> sets going.</summary>
    /// <param name="index">Its number, from 0.</param>
    /// <param name="processor">What it drives; not shared with another worker.</param>
    /// <param name="options">How it runs; null for the defaults.</param>
    public PortWorker(int index, IBatchProcessor processor, PortWorkerOptions? options = null)
    {
        Index = index;
        _processor = processor;
        _options = options ?? new PortWorkerOptions();
        _mailbox = new WorkerMailbox(_options.MailboxCapacity);
        _epoll.Add(_wake.Fd, EpollEvents.In, WakeTag);
        _thread = new Thread(Run) { IsBackground = true, Name = $"worker-{index}" };
    }

    /// <summary>The worker's number.</summary>
    public int Index { get; }

    /// <summary>What it has counted.</summary>
    public WorkerStatistics Statistics { get; } = new();

    /// <summary>Commands refused because the mailbox was full.</summary>
    public long CommandsRefused => _mailbox.Refused;

    /// <summary>See <see cref="QuiescentState"/>.</summary>
    internal long Quiescence => _quiescent.Value;

    /// <summary>True on the worker's own thread.</summary>
    internal bool IsCurrentThread => Thread.CurrentThread == _thread;

    /// <summary>Starts the thread. Once only.</summary>
    public void Start()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        _started = true;
        _thread.Start();
    }

    /// <summary>
    /// Gives the worker a port to receive from, known to the processor as <paramref name="id"/>. Done when this returns. The
    /// worker does not own the port.
    /// </summary>
    public void Attach(int id, IFdPort port) => Invoke(() =>
    {
        if (_ports.Exists(p => p.Id == id)) throw new ArgumentException($"worker {Index} has a port {id} already", nameof(id));
        var attached = new AttachedPort(id, port);
        _epoll.Add(port.Fd, EpollEvents.In, (ulong)(uint)id);
        _ports.Add(attached);
    });

    /// <summary>
    /// Takes a port away; done when this returns: the worker will not receive from it any more. Workers may still transmit on
    /// it until the processor's tables no longer name it and a grace period has passed.
    /// </summary>
    /// <returns>False when the worker had no such port.</returns>
    public bool Detach(int id)
    {
        bool found = false;
        Invoke(() => found = Release(id));
        return found;
    }

    /// <summary>Has <paramref name="command"/> carried out by the worker between two batches; false when its mailbox is full.</summary>
    public bool TryPost(Action command)
    {
        if (!_mailbox.TryPost(command)) return false;
        Wake();
        return true;
    }

    /// <summary>
    /// Has <paramref name="command"/> carried out by the worker between two batches and waits for it; its exception is thrown
    /// here. Runs at once on the worker's own thread and while no thread runs.
    /// </summary>
    public void Invoke(Action command)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_started || IsCurrentThread)
        {
            command();
            return;
        }

        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Carry()
        {
            try
            {
                command();
                done.SetResult();
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }

        var spin = new SpinWait();
        while (!TryPost(Carry)) spin.SpinOnce();
        done.Task.GetAwaiter().GetResult();
    }

    /// <summary>Ends the thread after its present batch; commands already posted are carried out first. The ports stay open.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _stop = true;
        if (_started)
        {
            _wake.Signal();
            _thread.Join();
        }

        _disposed = true;
        _epoll.Dispose();
        _wake.Dispose();
        _batch.Dispose();
    }

    private void Wake()
    {
        // Pairs with the exchange in Sleep: whoever comes second sees what the first has written.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) != 0) _wake.Signal();
    }

    private void Run()
    {
        try
        {
            if (_options.Core is { } core) Affinity.Pin(core);
        }
        catch (LinuxException e)
        {
            // A core this machine does not have: slower, not wrong.
            Statistics.Faulted(e);
        }

        _quiescent.Return();
        long lastWork = Monotonic.Now;
        while (!_stop)
        {
            // 1. Commands.
            if (!_mailbox.IsEmpty) RunCommands();

            // 2. Which ports are readable?
            long now = Monotonic.Now;
            bool rest = _ready.Count == 0 && now - lastWork >= _options.BusyPollNanoseconds;
            int events = rest ? Sleep(now) : _epoll.Wait(0);
            for (int i = 0; i < events; i++) NoteEvent(_epoll.Tag(i), _epoll.Events(i));

            // 3. and 4. A batch from each.
            now = Monotonic.Now;
            for (int i = 0; i < _ready.Count; i++)
            {
                // False when a command or a dead device has taken the port away meanwhile.
                if (!_ready[i].More || ReceiveFrom(_ready[i], now) == 0) continue;
                now = Monotonic.Now;
                lastWork = now;
            }

            _ready.RemoveAll(static p => !p.More);

            // 5. What has become due.
            if (_processor.NextDeadline <= now)
            {
                PollProcessor(now);
                _quiescent.Pass();
            }
        }

        while (!_mailbox.IsEmpty) RunCommands();
        _quiescent.Leave();
    }

    /// <summary>Waits for work, holding nothing meanwhile. Returns the number of events.</summary>
    private int Sleep(long now)
    {
        long deadline = _processor.NextDeadline;
        if (deadline <= now) return _epoll.Wait(0);

        _quiescent.Leave();
        Interlocked.Exchange(ref _sleeping, 1);
        long timeout = deadline == long.MaxValue ? -1 : deadline - now;
        if (!_mailbox.IsEmpty || _stop) timeout = 0;
        else Statistics.Slept();
        int events = _epoll.Wait(timeout);
        Volatile.Write(ref _sleeping, 0);
        _quiescent.Return();
        return events;
    }

    private void NoteEvent(ulong tag, EpollEvents events)
    {
        if (tag == WakeTag)
        {
            _wake.Drain();
            return;
        }

        foreach (AttachedPort port in _ports)
        {
            if ((ulong)(uint)port.Id != tag) continue;
            if ((events & EpollEvents.In) == 0) port.Errors++;
            if (port.More) return;
            port.More = true;
            _ready.Add(port);
            return;
        }
    }

    private int ReceiveFrom(AttachedPort port, long now)
    {
        int count;
        try
        {
            count = port.Port.Receive(_batch);
            if (count > 0)
            {
                port.Errors = 0;
                Statistics.Received(count, count == PacketBatch.Capacity);
                _processor.Process(_batch, port.Id, now);
            }
        }
        catch (Exception e)
        {
            // The worker carries every port's traffic: it must outlive a bug in the handling of one batch.
            count = 0;
            Statistics.Faulted(e);
        }

        _quiescent.Pass();
        port.More = count == PacketBatch.Capacity;
        if (count == 0 && (port.Port.IsGone || port.Errors > MaxFruitlessErrors))
        {
            Release(port.Id);
            _options.PortLost?.Invoke(port.Id);
        }

        return count;
    }

    private void PollProcessor(long now)
    {
        try
        {
            _processor.Poll(now);
        }
        catch (Exception e)
        {
            Statistics.Faulted(e);
        }
    }

    private void RunCommands()
    {
        for (int i = 0; i < CommandsARound && _mailbox.TryTake(out Action command); i++)
        {
            try
            {
                command();
            }
            catch (Exception e)
            {
                Statistics.Faulted(e);
            }
        }

        _quiescent.Pass();
    }

    private bool Release(int id)
    {
        int at = _ports.FindIndex(p => p.Id == id);
        if (at < 0) return false;
        AttachedPort port = _ports[at];
        _ports.RemoveAt(at);
        port.More = false;
        try
        {
            _epoll.Remove(port.Port.Fd);
        }
        catch (LinuxException)
        {
            // Closed already: the kernel has taken it out of the set.
        }

        return true;
    }

    private sealed class AttachedPort(int id, IFdPort port)
    {
        public int Id { get; } = id;

        public IFdPort Port { get; } = port;

        /// <summary>True while frames are known to wait; the port is then in the ready list.</summary>
        public bool More { get; set; }

        /// <summary>Error events in a row that brought no frame.</summary>
        public int Errors { get; set; }
    }
}
