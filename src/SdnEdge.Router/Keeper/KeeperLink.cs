using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Mirror;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;

namespace SdnEdge.Router.Keeper;

/// <summary>A neighbour that the keeper knew at the hand-over.</summary>
internal readonly record struct KnownNeighbor(string Port, IpAddress Address, MacAddress Mac);

/// <summary>
/// The PE's end of the way to its keeper.
/// <list type="number">
/// <item>At start it takes the devices and channels that the keeper still has, and learns whether the keeper forwards (then the PE is on
/// standby).</item>
/// <item>On standby, when the PE says that it is ready, the keeper stops, tells what it knows of neighbours, and grants.</item>
/// <item>From then on what changes in the data plane goes to the keeper. A thread of its own sends; what waits is bounded. When
/// it is too much, all of it is thrown away and the whole state is sent once the keeper has read what was sent before.</item>
/// </list>
/// Public methods are for the control loop's thread, but for <see cref="Connect"/> and <see cref="Bye"/>.
/// </summary>
public sealed class KeeperLink : IDisposable
{
    private static readonly TimeSpan ForgetTimeout = TimeSpan.FromSeconds(2);

    private readonly ProcessChannel _channel;
    private readonly Dictionary<string, TapPort> _adopted = [];
    private readonly HashSet<TapPort> _taken = []; // opened, of those that the keeper has already
    private readonly Dictionary<string, int> _channels = [];
    private readonly Queue<(byte[] Message, int Descriptor, bool IsMirror)> _queue = new();
    private readonly SemaphoreSlim _forgotten = new(0);
    private readonly MirrorWriter _writer;
    private readonly NeighborList _neighbors = new();
    private Thread? _reader, _sender;
    private long _queuedBytes, _wholeBytes, _sentBytes;
    private bool _closed, _outOfSync;
    private volatile bool _connected = true;
    private KeeperRecord _record;

    private KeeperLink(ProcessChannel channel)
    {
        _channel = channel;
        _writer = new MirrorWriter(frame => Enqueue(KeeperMessage.Mirror(frame), -1, isMirror: true));
        Source = new MirrorSource(_writer);
    }

    /// <summary>Bytes that may wait for the keeper, beyond one whole state.</summary>
    public long QueueLimit { get; init; } = 16 << 20;

    /// <summary>True from the start after a crash until the keeper hands over.</summary>
    public bool IsStandby => _record.Standby;

    /// <summary>True while the keeper is there.</summary>
    public bool IsConnected => _connected;

    /// <summary>What tells the keeper about the data plane.</summary>
    internal MirrorSource Source { get; }

    /// <summary>What the keeper did.</summary>
    internal KeeperRecord Record => _record;

    /// <summary>Records told to the keeper.</summary>
    public long Records => _writer.Records;

    /// <summary>Bytes sent.</summary>
    public long SentBytes => Interlocked.Read(ref _sentBytes);

    /// <summary>Bytes that wait to be sent.</summary>
    public long QueuedBytes
    {
        get
        {
            lock (_queue) return _queuedBytes;
        }
    }

    /// <summary>Whole states sent.</summary>
    public long Wholes { get; private set; }

    /// <summary>Times the keeper was too slow and what waited was thrown away.</summary>
    public long OutOfSyncs { get; private set; }

    /// <summary>Takes what the keeper has to say and give at the start. Waits for it.</summary>
    /// <param name="descriptor">The inherited descriptor.</param>
    /// <param name="queueLimit">Bytes that may wait; null: the default.</param>
    /// <exception cref="IOException">There is no keeper at the other end.</exception>
    /// <exception cref="LinuxException">It is no open descriptor.</exception>
    public static KeeperLink Connect(int descriptor, long? queueLimit = null) => Connect(ProcessChannel.Inherited(descriptor), queueLimit);

    internal static KeeperLink Connect(ProcessChannel channel, long? queueLimit = null)
    {
        var link = queueLimit is { } limit ? new KeeperLink(channel) { QueueLimit = limit } : new KeeperLink(channel);
        byte[] message = new byte[ProcessChannel.MaxMessage];
        while (true)
        {
            int length = channel.Receive(message, out int passed);
            if (length == 0)
            {
                link.Dispose();
                throw new IOException("the keeper that started this PE has gone");
            }

            switch ((KeeperMessageKind)message[0])
            {
                case KeeperMessageKind.Device when KeeperMessage.ReadDevice(message.AsSpan(0, length), passed) is { } port:
                    link._adopted[port.Name] = port;
                    break;
                case KeeperMessageKind.Channel when passed >= 0 && KeeperMessage.ReadName(message.AsSpan(0, length)) is { } name:
                    link._channels[name] = passed;
                    break;
                case KeeperMessageKind.Start:
                    link._record = KeeperMessage.ReadRecord(message.AsSpan(0, length));
                    return link;
                default:
                    ProcessChannel.CloseDescriptor(passed);
                    break;
            }
        }
    }

    /// <summary>
    /// Opens a port's device, or takes the one that the keeper had. The keeper has it with <see cref="Keep"/>;
    /// <see cref="Abandon"/> undoes the opening.
    /// </summary>
    /// <param name="name">The port.</param>
    /// <param name="device">The device.</param>
    /// <param name="options">How it is set up.</param>
    /// <param name="adopted">True when the keeper had it: the device is set up already, but for its MTU.</param>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    internal TapPort Open(string name, string device, TapOptions options, out bool adopted)
    {
        adopted = _adopted.Remove(name, out TapPort? port) && port.Device == device && NetDevice.Exists(device);
        if (adopted)
        {
            if (options.Mtu is { } mtu) NetDevice.SetMtu(device, mtu);
            _taken.Add(port!);
            return port!;
        }

        if (port is not null) Forget(port);
        return TapPort.Open(name, device, options);
    }

    /// <summary>Takes a device in another namespace that the keeper had; null: it had none, or it is gone. <see cref="Keep"/> is not needed
    /// then.</summary>
    internal TapPort? Adopt(string name)
    {
        if (!_adopted.Remove(name, out TapPort? port)) return null;
        try
        {
            using (port.OpenNamespace()) return port;
        }
        catch (LinuxException)
        {
            Forget(port);
            return null;
        }
    }

    /// <summary>Gives the keeper the device of a port that is in use from now on, in place of the one it had by this name.</summary>
    internal void Keep(TapPort port)
    {
        if (!_taken.Remove(port)) Enqueue(KeeperMessage.Device(port), ProcessChannel.Duplicate(port.Fd), isMirror: false);
    }

    /// <summary>Closes a device that came to no use. One that the keeper had is there for the next who opens it.</summary>
    internal void Abandon(TapPort port)
    {
        if (_taken.Remove(port)) _adopted[port.Name] = port;
        else port.Dispose();
    }

    /// <summary>
    /// The end of a channel that the PE before had, as <see cref="KeepChannel"/> was told; -1: there is none. The caller closes it.
    /// </summary>
    internal int TakeChannel(string name) => _channels.Remove(name, out int descriptor) ? descriptor : -1;

    /// <summary>Has the keeper keep the end of a channel for this PE's successor, in place of the one it had by this name.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="descriptor">The descriptor, which is closed here once it is sent.</param>
    internal void KeepChannel(string name, int descriptor) => Enqueue(KeeperMessage.Channel(name), descriptor, isMirror: false);

    /// <summary>Closes a port's device here and at the keeper, so that it goes away.</summary>
    internal void Forget(IFdPort port)
    {
        port.Dispose();
        if (!_connected) return;
        // Not an answer that came too late for the one before.
        while (_forgotten.CurrentCount > 0) _forgotten.Wait();
        Enqueue(KeeperMessage.Forget(port.Name), -1, isMirror: false);
        _forgotten.Wait(ForgetTimeout);
    }

    /// <summary>Begins to listen and to send.</summary>
    /// <param name="granted">The PE forwards from now on; with what the keeper knew. Any thread.</param>
    /// <param name="resync">The whole state is wanted: call <see cref="SendAll"/>. Any thread.</param>
    /// <param name="lost">The keeper is gone. Any thread.</param>
    internal void Start(Action<IReadOnlyList<KnownNeighbor>> granted, Action resync, Action lost)
    {
        _reader = new Thread(() => Listen(granted, resync, lost)) { IsBackground = true, Name = "keeper-in" };
        _sender = new Thread(() => Send(resync)) { IsBackground = true, Name = "keeper-out" };
        _reader.Start();
        _sender.Start();
    }

    /// <summary>Says that the PE can forward. <see cref="Start"/>'s granted follows.</summary>
    internal void Ready() => Enqueue(KeeperMessage.Plain(KeeperMessageKind.Ready), -1, isMirror: false);

    /// <summary>The PE forwards: devices that no port of the configuration wants are closed.</summary>
    internal void Granted()
    {
        _record = _record with { Standby = false };
        foreach (TapPort port in _adopted.Values.ToArray()) Forget(port);
        _adopted.Clear();
    }

    /// <summary>Sends the whole state.</summary>
    /// <param name="plane">The data plane.</param>
    /// <param name="loopbacks">The router's own addresses.</param>
    /// <param name="prefixes">Tells leaves and prefixes to <see cref="Source"/>.</param>
    internal void SendAll(DataPlane plane, IReadOnlyList<IpAddress> loopbacks, Action prefixes)
    {
        if (!_connected || IsStandby) return;
        Discard();
        long before;
        lock (_queue)
        {
            _outOfSync = false;
            before = _queuedBytes;
        }

        Source.Full(plane, loopbacks, prefixes);
        _writer.Flush();
        Wholes++;
        lock (_queue)
        {
            _wholeBytes = Math.Max(0, _queuedBytes - before);
        }
    }

    /// <summary>At the end of a round: what has changed goes out.</summary>
    internal void Flush(DataPlane plane)
    {
        if (!Source.IsActive) return;
        Source.Scan(plane);
        _writer.Flush();
        bool tooMuch;
        lock (_queue) tooMuch = _queuedBytes > QueueLimit + _wholeBytes;
        if (!tooMuch) return;
        Discard();
        OutOfSyncs++;
        lock (_queue)
        {
            _outOfSync = true;
            Monitor.Pulse(_queue);
        }
    }

    /// <summary>Says that the PE stops because it was told to. Any thread.</summary>
    internal void Bye()
    {
        if (_connected) _channel.Send(KeeperMessage.Plain(KeeperMessageKind.Bye));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_queue)
        {
            if (_closed) return;
            _closed = true;
            Monitor.Pulse(_queue);
        }

        _connected = false;
        _channel.Dispose();
        _reader?.Join();
        _sender?.Join();
        foreach (TapPort port in _adopted.Values) port.Dispose();
        foreach (int channel in _channels.Values) ProcessChannel.CloseDescriptor(channel);
        foreach ((_, int descriptor, _) in _queue) ProcessChannel.CloseDescriptor(descriptor);
        _forgotten.Dispose();
    }

    // What waits of the mirror is of no use any more.
    private void Discard()
    {
        Source.Stop();
        _writer.Discard();
        lock (_queue)
        {
            for (int left = _queue.Count; left > 0; left--)
            {
                (byte[] Message, int Descriptor, bool IsMirror) item = _queue.Dequeue();
                if (item.IsMirror) _queuedBytes -= item.Message.Length;
                else _queue.Enqueue(item);
            }
        }
    }

    private void Enqueue(byte[] message, int descriptor, bool isMirror)
    {
        lock (_queue)
        {
            if (_closed || !_connected)
            {
                ProcessChannel.CloseDescriptor(descriptor);
                return;
            }

            _queue.Enqueue((message, descriptor, isMirror));
            if (isMirror) _queuedBytes += message.Length;
            Monitor.Pulse(_queue);
        }
    }

    private void Send(Action resync)
    {
        while (true)
        {
            (byte[] Message, int Descriptor, bool IsMirror) item;
            lock (_queue)
            {
                while (_queue.Count == 0 && !_closed && !_outOfSync) Monitor.Wait(_queue);
                if (_closed) return;
                if (_queue.Count == 0)
                {
                    // The keeper has taken everything: it is ready for the whole.
                    _outOfSync = false;
                    item = default;
                }
                else
                {
                    item = _queue.Dequeue();
                    if (item.IsMirror) _queuedBytes -= item.Message.Length;
                }
            }

            if (item.Message is null)
            {
                resync();
                continue;
            }

            bool sent = _channel.Send(item.Message, item.Descriptor);
            ProcessChannel.CloseDescriptor(item.Descriptor);
            Interlocked.Add(ref _sentBytes, item.Message.Length);
            if (!sent) return;
        }
    }

    private void Listen(Action<IReadOnlyList<KnownNeighbor>> granted, Action resync, Action lost)
    {
        byte[] message = new byte[ProcessChannel.MaxMessage];
        while (true)
        {
            int length = _channel.Receive(message, out int passed);
            ProcessChannel.CloseDescriptor(passed);
            if (length == 0) break;
            switch ((KeeperMessageKind)message[0])
            {
                case KeeperMessageKind.Forgotten:
                    _forgotten.Release();
                    break;
                case KeeperMessageKind.Mirror:
                    MirrorReader.Read(message.AsSpan(1, length - 1), _neighbors, out _);
                    break;
                case KeeperMessageKind.Resync:
                    resync();
                    break;
                case KeeperMessageKind.Granted:
                    _record = KeeperMessage.ReadRecord(message.AsSpan(0, length)) with { Standby = true };
                    granted(_neighbors.Take());
                    break;
            }
        }

        if (!_connected) return;
        _connected = false;
        lock (_queue) Monitor.Pulse(_queue);
        lost();
    }
}
