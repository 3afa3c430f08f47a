using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using SdnEdge.Core.Bfd;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>How a <see cref="BfdSpeaker"/> runs.</summary>
public sealed record BfdSpeakerOptions
{
    /// <summary>Network namespace of the sockets of sessions that bring none; null: the process's own.</summary>
    public string? Namespace { get; init; }

    /// <summary>Raise the thread's priority as far as the system permits.</summary>
    public bool Urgent { get; init; } = true;

    /// <summary>The thread counts as held up when it wakes so much later than it wanted to, ns.</summary>
    public long StallNs { get; init; } = 2_000_000;

    /// <summary>
    /// Most credit for one stall, ns: what waited elsewhere in the router takes no longer to arrive once all run again, and at
    /// 3x50 ms a dead peer is still found within 155.
    /// </summary>
    public long MaxCreditNs { get; init; } = 4_000_000;

    /// <summary>Discriminators, source ports and jitter; null: random ones.</summary>
    public Random? Random { get; init; }
}

/// <summary>
/// The sessions and the thread that runs them. The thread, called "bfd", allocates nothing while nobody adds or removes a
/// session. Its turn:
/// <list type="number">
/// <item>Sleep until the first deadline of any session, or until a packet or an order comes.</item>
/// <item>Carry out orders of the control loop.</item>
/// <item>Take every packet that waits: what is in a socket was not silence.</item>
/// <item>If the thread itself was held up, or all threads were by the garbage collector, give credit
/// (<see cref="BfdSession.Credit"/>).</item>
/// <item>Let the clock judge; send what is due.</item>
/// </list>
/// Methods are for one thread at a time unless they say otherwise; <c>changed</c> is called on the BFD thread when
/// <see cref="TakeNews"/> has something, and must not block.
/// </summary>
public sealed class BfdSpeaker : IDisposable
{
    private const int BatchesATurn = 32;
    private const int Ports = BfdLimits.LastSourcePort - BfdLimits.FirstSourcePort + 1;

    private readonly BfdSpeakerOptions _options;
    private readonly Action _changed;
    private readonly Random _random;
    private readonly BfdTable _table = new(); // the thread's
    private readonly List<BfdWatch> _running = []; // the thread's
    private readonly List<Receiver?> _receivers = []; // the thread's, by the tag of their events
    private readonly Dictionary<BfdKey, BfdWatch> _watches = [];
    private readonly HashSet<uint> _discriminators = [];
    private readonly Dictionary<(IpAddress Local, bool Multihop, BfdPlace Place), Receiver> _open = [];
    private readonly ConcurrentQueue<Action> _orders = new();
    private readonly Epoll _epoll = new();
    private readonly EventFd _signal = new();
    private readonly Thread _thread;
    private volatile bool _stop;
    private bool _started;
    private long _stalls, _longestStall, _credits, _creditNs, _turns, _kernelDrops, _faults;

    /// <summary>Makes a speaker without sessions; its thread starts with the first.</summary>
    public BfdSpeaker(Action changed, BfdSpeakerOptions? options = null)
    {
        _options = options ?? new BfdSpeakerOptions();
        _changed = changed;
        _random = _options.Random ?? new Random();
        _thread = new Thread(Run) { IsBackground = true, Name = "bfd" };
        _epoll.Add(_signal.Fd, EpollEvents.In, ulong.MaxValue);
    }

    /// <summary>The sessions.</summary>
    public IReadOnlyCollection<BfdWatch> Sessions => _watches.Values;

    /// <summary>How far the thread's priority was raised.</summary>
    public ThreadUrgency Urgency { get; private set; }

    /// <summary>Times the thread, or all threads, were held up. Any thread.</summary>
    public long Stalls => Volatile.Read(ref _stalls);

    /// <summary>The longest of them, ns. Any thread.</summary>
    public long LongestStallNs => Volatile.Read(ref _longestStall);

    /// <summary>Times a session was spared by credit, and the ns given in all. Any thread.</summary>
    public (long Times, long Nanoseconds) Credit => (Volatile.Read(ref _credits), Volatile.Read(ref _creditNs));

    /// <summary>Turns of the thread. Any thread.</summary>
    public long Turns => Volatile.Read(ref _turns);

    /// <summary>Packets the kernel dropped because nobody took them. Any thread.</summary>
    public long KernelDrops => Volatile.Read(ref _kernelDrops);

    /// <summary>Exceptions in the thread. Always 0 unless there is a bug. Any thread.</summary>
    public long Faults => Volatile.Read(ref _faults);

    /// <summary>Packets discarded for a reason. Any thread.</summary>
    public long Discards(BfdDiscard reason) => _table.Discards(reason);

    /// <summary>The session with a key; null when there is none.</summary>
    public BfdWatch? Find(BfdKey key) => _watches.GetValueOrDefault(key);

    /// <summary>Adds a session; it starts at once.</summary>
    /// <param name="key">Whom it watches.</param>
    /// <param name="parameters">How.</param>
    /// <param name="adminDown">It is held down.</param>
    /// <param name="order">Number under which it tells of itself.</param>
    /// <param name="controlPlaneIndependent">It goes on when the control plane ends; the peer is told.</param>
    /// <param name="space">Network namespace of its sockets, used before this returns; null: that of the options.</param>
    /// <param name="device">Index of the device that a link-local peer is on; 0: none.</param>
    /// <exception cref="ArgumentException">There is one with this key.</exception>
    /// <exception cref="LinuxException">A socket could not be had: another program has the port, or all source ports are taken.</exception>
    public BfdWatch Add(BfdKey key, BfdParameters parameters, bool adminDown = false, uint order = 0, bool controlPlaneIndependent = false,
        SafeHandle? space = null, int device = 0)
    {
        if (_watches.ContainsKey(key)) throw new ArgumentException($"There is a BFD session with {key} already.", nameof(key));
        (Receiver? receiver, UdpSender sender) = space is null ? Namespaces.Run(_options.Namespace, () => OpenSockets(key, device))
            : Namespaces.Run(space, () => OpenSockets(key, device));
        uint discriminator;
        do discriminator = (uint)_random.NextInt64(1, uint.MaxValue + 1L);
        while (!_discriminators.Add(discriminator));
        var session = new BfdSession(key, discriminator, parameters, (ulong)_random.NextInt64(), Monotonic.Now, controlPlaneIndependent);
        if (adminDown) session.SetAdminDown(true, Monotonic.Now);
        var watch = new BfdWatch(session, sender, order);
        _watches.Add(key, watch);
        Order(() =>
        {
            if (receiver is not null) Start(receiver);
            _table.Add(session);
            _running.Add(watch);
        });
        if (_started) return watch;
        _started = true;
        _thread.Start();
        return watch;
    }

    /// <summary>Forgets a session; the peer is told AdminDown once and then finds silence. False when there is none. When this returns its
    /// sockets are closed.</summary>
    public bool Remove(BfdKey key)
    {
        if (!_watches.Remove(key, out BfdWatch? watch)) return false;
        Receiver receiver = _open[(key.Local, key.Multihop, key.Place)];
        bool last = --receiver.Users == 0;
        if (last) _open.Remove((key.Local, key.Multihop, key.Place));
        using var done = new ManualResetEventSlim();
        Order(() =>
        {
            try
            {
                long now = Monotonic.Now;
                watch.Session.SetAdminDown(true, now);
                Send(watch, now);
                _running.Remove(watch);
                _table.Remove(key);
                watch.Sender.Dispose();
                if (last) Stop(receiver);
            }
            finally
            {
                done.Set();
            }
        });

        // The next session may want the same port, or the namespace may be about to go.
        done.Wait();
        _discriminators.Remove(watch.Session.LocalDiscriminator);
        return true;
    }

    /// <summary>Changes a session's parameters, by a poll sequence if it is up. False when there is none.</summary>
    public bool Configure(BfdKey key, BfdParameters parameters) => Order(key, w => w.Session.Configure(parameters));

    /// <summary>Holds a session down, or lets it come up. False when there is none.</summary>
    public bool SetAdminDown(BfdKey key, bool down) => Order(key, w => w.Session.SetAdminDown(down, Monotonic.Now));

    /// <summary>Has a session tell of itself under another number from now on. False when there is none.</summary>
    public bool Renew(BfdKey key, uint order) => Order(key, w =>
    {
        w.Order = order;
        w.Tell();
        _changed();
    });

    /// <summary>Has all sessions tell of themselves, changed or not; <c>changed</c> follows.</summary>
    public void Refresh()
    {
        if (!_started) return;
        Order(() =>
        {
            foreach (BfdWatch watch in _running) watch.Tell();
            _changed();
        });
    }

    /// <summary>Appends the sessions that have changed, or were added, renewed or refreshed, since the last call.</summary>
    public void TakeNews(List<BfdStatus> news)
    {
        foreach (BfdWatch watch in _watches.Values)
        {
            if (watch.TryTake(out BfdStatus status)) news.Add(status);
        }
    }

    /// <summary>Ends the thread and closes everything; peers are told AdminDown.</summary>
    public void Dispose() => End(good: true);

    /// <summary>Ends the thread and closes everything without a word: the peers find silence, as after a failure.</summary>
    public void Abandon() => End(good: false);

    private void End(bool good)
    {
        if (_stop) return;
        if (good)
        {
            foreach (BfdKey key in _watches.Keys.ToArray()) Remove(key);
        }

        _stop = true;
        _signal.Signal();
        if (_started) _thread.Join();
        foreach (BfdWatch watch in _watches.Values) watch.Sender.Dispose();
        foreach (Receiver? receiver in _receivers) receiver?.Socket.Dispose();
        _epoll.Dispose();
        _signal.Dispose();
    }

    private bool Order(BfdKey key, Action<BfdWatch> order)
    {
        if (!_watches.TryGetValue(key, out BfdWatch? watch)) return false;
        Order(() => order(watch));
        return true;
    }

    /// <summary>Has the BFD thread run something between two turns. It must be short.</summary>
    internal void Post(Action order) => Order(order);

    private void Order(Action order)
    {
        _orders.Enqueue(order);
        _signal.Signal();
    }

    // The receiver is null where that of another session serves this one too.
    private (Receiver? New, UdpSender Sender) OpenSockets(BfdKey key, int device)
    {
        UdpSender sender = OpenSender(key, device);
        if (_open.TryGetValue((key.Local, key.Multihop, key.Place), out Receiver? there))
        {
            there.Users++;
            return (null, sender);
        }

        try
        {
            int port = key.Multihop ? BfdLimits.MultihopPort : BfdLimits.SingleHopPort;
            var options = new UdpBatchOptions { MaxPayloadBytes = 256, ReceiveBufferBytes = 4 << 20, SendBufferBytes = 0,
                ReceiveTimeToLive = true, FreeBind = true };
            var receiver = new Receiver(key, UdpBatchSocket.Open(new UdpEndpoint(key.Local, (ushort)port, device), options));
            _open.Add((key.Local, key.Multihop, key.Place), receiver);
            return (receiver, sender);
        }
        catch
        {
            sender.Dispose();
            throw;
        }
    }

    private void Start(Receiver receiver)
    {
        int tag = _receivers.IndexOf(null);
        if (tag < 0)
        {
            tag = _receivers.Count;
            _receivers.Add(null);
        }

        _receivers[tag] = receiver;
        _epoll.Add(receiver.Socket.Fd, EpollEvents.In, (ulong)tag);
    }

    private void Stop(Receiver receiver)
    {
        _receivers[_receivers.IndexOf(receiver)] = null;
        _epoll.Remove(receiver.Socket.Fd);
        receiver.Socket.Dispose();
    }

    // RFC 5881 4: from 49152 up, the same for the whole session, and no other session's.
    private UdpSender OpenSender(BfdKey key, int device)
    {
        var remote = new UdpEndpoint(key.Peer, (ushort)(key.Multihop ? BfdLimits.MultihopPort : BfdLimits.SingleHopPort), device);
        int first = _random.Next(Ports);
        for (int i = 0; i < Ports; i++)
        {
            ushort port = (ushort)(BfdLimits.FirstSourcePort + ((first + i) % Ports));
            if (_watches.Values.Any(w => w.Sender.Local.Port == port)) continue;
            if (UdpSender.TryOpen(new UdpEndpoint(key.Local, port, device), remote) is { } sender) return sender;
        }

        throw new LinuxException($"find a free UDP source port from {BfdLimits.FirstSourcePort} for {key}", 98);
    }

    private void Run()
    {
        if (_options.Urgent) Urgency = Linux.Urgency.Raise();
        long last = Monotonic.Now;
        TimeSpan paused = GC.GetTotalPauseDuration();
        while (!_stop)
        {
            try
            {
                Turn(ref last, ref paused);
            }
            catch (Exception)
            {
                // A bug in one turn must not end all sessions at once; it is counted and shown.
                _faults++;
            }
        }

        Carry();
    }

    private void Turn(ref long last, ref TimeSpan paused)
    {
        long deadline = NextDeadline();
        long wait = deadline == long.MaxValue ? -1 : Math.Max(0, deadline - Monotonic.Now);
        int events = _epoll.Wait(wait);
        long now = Monotonic.Now;
        _turns++;
        long stall = deadline == long.MaxValue ? 0 : now - Math.Max(deadline, last);
        TimeSpan pausedNow = GC.GetTotalPauseDuration();
        if (pausedNow != paused)
        {
            stall = Math.Max(stall, (pausedNow - paused).Ticks * 100);
            paused = pausedNow;
        }

        last = now;
        for (int i = 0; i < events; i++)
        {
            ulong tag = _epoll.Tag(i);
            if (tag == ulong.MaxValue) Carry();
            else if (_receivers[(int)tag] is { } receiver) Drain(receiver);
        }

        if (stall > _options.StallNs) Forgive(stall, now);
        bool changed = false;
        for (int i = 0; i < _running.Count; i++)
        {
            BfdWatch watch = _running[i];
            BfdSession session = watch.Session;
            if (session.NextDeadline > now && !watch.HasNews) continue;
            session.Expire(now);
            if (watch.HasNews)
            {
                watch.Tell();
                changed = true;
            }

            Send(watch, now);
        }

        if (changed) _changed();
    }

    private long NextDeadline()
    {
        long next = long.MaxValue;
        for (int i = 0; i < _running.Count; i++) next = Math.Min(next, _running[i].Session.NextDeadline);
        return next;
    }

    private void Carry()
    {
        _signal.Drain();
        while (_orders.TryDequeue(out Action? order)) order();
    }

    private void Drain(Receiver receiver)
    {
        for (int batch = 0; batch < BatchesATurn; batch++)
        {
            ReadOnlySpan<UdpDatagram> datagrams = receiver.Socket.Receive();
            long now = Monotonic.Now;
            for (int i = 0; i < datagrams.Length; i++)
            {
                ref readonly UdpDatagram d = ref datagrams[i];
                _table.Receive(receiver.Of with { Peer = d.Source.Address }, d.Payload, d.TimeToLive, now, out _);
            }

            _kernelDrops += receiver.Socket.KernelDrops - receiver.DropsSeen;
            receiver.DropsSeen = receiver.Socket.KernelDrops;
            if (datagrams.Length < UdpBatchSocket.Capacity) return;
        }
    }

    private void Forgive(long stall, long now)
    {
        _stalls++;
        _longestStall = Math.Max(_longestStall, stall);
        for (int i = 0; i < _running.Count; i++)
        {
            long credit = _running[i].Session.Credit(Math.Min(stall, _options.MaxCreditNs), now);
            if (credit == 0) continue;
            _credits++;
            _creditNs += credit;
        }
    }

    private static void Send(BfdWatch watch, long now)
    {
        Span<byte> packet = stackalloc byte[BfdControl.Size];
        while (watch.Session.TryTake(now, packet)) watch.Sender.Send(packet);
    }

    private sealed class Receiver(BfdKey of, UdpBatchSocket socket)
    {
        /// <summary>One of the sessions that it was opened for: they differ by the peer alone.</summary>
        public BfdKey Of { get; } = of;

        public UdpBatchSocket Socket { get; } = socket;

        /// <summary>Sessions that it serves.</summary>
        public int Users { get; set; } = 1;

        public long DropsSeen { get; set; }
    }
}
