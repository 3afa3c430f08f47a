using System.Threading.Channels;

namespace SdnEdge.Router.Control;

/// <summary>Something with a deadline that the control loop drives. Called on the loop's thread only.</summary>
public interface ITimed
{
    /// <summary>When <see cref="Poll"/> wants to be called; <see cref="long.MaxValue"/> for never.</summary>
    long NextDeadline { get; }

    /// <summary>Does what has become due by <paramref name="now"/>.</summary>
    void Poll(long now);
}

/// <summary>Where other threads leave work without waiting, such as a punt ring. Drained on the loop's thread only.</summary>
public interface IWorkSource
{
    /// <summary>True when there is something to take.</summary>
    bool HasWork { get; }

    /// <summary>Takes what is there, but not without end: at most a batch.</summary>
    void Drain(long now);
}

/// <summary>
/// The single writer of all shared tables. One thread; each round: 1. work posted by other threads, in order, 2. one part of what is
/// done in parts, 3. punted packets, 4. machines whose deadline has come, 5. the end of the round (what it has changed is published),
/// 6. sleep until the next of any of these.
/// </summary>
public sealed class ControlLoop : IDisposable
{
    private const int WorkARound = 256;

    private readonly Channel<Action> _work = Channel.CreateUnbounded<Action>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Queue<Action> _parts = new();
    private readonly AutoResetEvent _wake = new(false);
    private readonly TimeProvider _time;
    private readonly Action<long>? _afterRound;
    private readonly Action<Exception>? _faulted;
    private readonly double _nanosecondsPerTick;
    private readonly Thread _thread;
    private readonly List<ITimed> _timed = [];
    private readonly List<IWorkSource> _sources = [];
    private int _sleeping;
    private volatile bool _stop;
    private bool _started;
    private long _faults;

    /// <summary>Makes a loop that is not running yet.</summary>
    /// <param name="time">The clock. On Linux the system's time provider is CLOCK_MONOTONIC.</param>
    /// <param name="afterRound">Runs at the end of each round on the loop's thread.</param>
    /// <param name="faulted">Told about each fault, on the loop's thread.</param>
    public ControlLoop(TimeProvider time, Action<long>? afterRound = null, Action<Exception>? faulted = null)
    {
        (_time, _afterRound, _faulted) = (time, afterRound, faulted);
        _nanosecondsPerTick = 1e9 / time.TimestampFrequency;
        _thread = new Thread(Run) { Name = "control-loop", IsBackground = true };
    }

    /// <summary>CLOCK_MONOTONIC, nanoseconds.</summary>
    public long Now => _time.TimestampFrequency == 1_000_000_000 ? _time.GetTimestamp()
        : (long)(_time.GetTimestamp() * _nanosecondsPerTick);

    /// <summary>True on the loop's own thread.</summary>
    public bool IsCurrent => Thread.CurrentThread == _thread;

    /// <summary>Exceptions that came out of posted work or a machine. Always 0 unless there is a bug.</summary>
    public long Faults => Interlocked.Read(ref _faults);

    /// <summary>Adds a machine. Before <see cref="Start"/>, or on the loop's thread.</summary>
    public void Add(ITimed machine) => _timed.Add(machine);

    /// <summary>Adds a source. Before <see cref="Start"/>, or on the loop's thread.</summary>
    public void Add(IWorkSource source) => _sources.Add(source);

    /// <summary>Starts the thread.</summary>
    public void Start()
    {
        _started = true;
        _thread.Start();
    }

    /// <summary>Has the loop carry out work; false when it has ended. Any thread.</summary>
    public bool Post(Action work)
    {
        if (!_work.Writer.TryWrite(work)) return false;
        Wake();
        return true;
    }

    /// <summary>
    /// Leaves the rest of long work for a later round: everything else comes between two parts of it. A round does one part, so of two
    /// long works it does them in turn. Parts that are left when the loop ends are not done. On the loop's thread.
    /// </summary>
    public void PostPart(Action part) => _parts.Enqueue(part);

    /// <summary>Has the loop compute something; the task completes with its result or exception.</summary>
    public Task<T> RunAsync<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        void Carry()
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        }

        if (!Post(Carry)) done.SetException(new ObjectDisposedException(nameof(ControlLoop), "The PE is stopping."));
        return done.Task;
    }

    /// <summary>Has the loop do something; the task completes when it is done.</summary>
    public Task RunAsync(Action work) => RunAsync(() =>
    {
        work();
        return true;
    });

    /// <summary>Wakes the loop if it sleeps. Called by whoever put something into a source; does not allocate.</summary>
    public void Wake()
    {
        // Pairs with the exchange in Sleep: whoever comes second sees what the first has written.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) != 0 && Interlocked.Exchange(ref _sleeping, 0) != 0) _wake.Set();
    }

    /// <summary>Ends the loop after the work posted so far.</summary>
    public void Dispose()
    {
        _work.Writer.TryComplete();
        _stop = true;
        Interlocked.Exchange(ref _sleeping, 0);
        _wake.Set();
        if (_started && !IsCurrent) _thread.Join();
        _wake.Dispose();
    }

    private void Run()
    {
        while (!_stop)
        {
            for (int i = 0; i < WorkARound && _work.Reader.TryRead(out Action? work); i++) Guard(work);
            if (_parts.TryDequeue(out Action? part)) Guard(part);
            long now = Now;
            foreach (IWorkSource source in _sources)
            {
                if (source.HasWork) Guard(() => source.Drain(now));
            }

            for (int i = 0; i < _timed.Count; i++)
            {
                ITimed machine = _timed[i];
                if (machine.NextDeadline <= now) Guard(() => machine.Poll(now));
            }

            if (_afterRound is not null) Guard(() => _afterRound(now));
            Sleep();
        }

        while (_work.Reader.TryRead(out Action? work)) Guard(work);
    }

    private void Sleep()
    {
        Interlocked.Exchange(ref _sleeping, 1);
        long deadline = long.MaxValue;
        foreach (ITimed machine in _timed) deadline = Math.Min(deadline, machine.NextDeadline);
        long wait = deadline == long.MaxValue ? -1 : Math.Max(0, (deadline - Now + 999_999) / 1_000_000);
        bool work = _stop || _parts.Count > 0 || _work.Reader.TryPeek(out _);
        foreach (IWorkSource source in _sources) work |= source.HasWork;
        if (!work && wait != 0) _wake.WaitOne((int)Math.Min(wait, 60_000));
        Interlocked.Exchange(ref _sleeping, 0);
    }

    private void Guard(Action work)
    {
        try
        {
            work();
        }
        catch (Exception e)
        {
            // The loop must outlive a bug in one piece of work; it is counted and told.
            Interlocked.Increment(ref _faults);
            _faulted?.Invoke(e);
        }
    }
}
