using Microsoft.Win32.SafeHandles;
using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>
/// The BFD process: a <see cref="BfdSpeaker"/> that does what its owner, a PE or a host's agent, orders and tells it what becomes
/// of it. It is a process of its own so that no collection of the owner's garbage stops it; and where a keeper forwards in a
/// killed PE's place, BFD goes on as well: the keeper holds the PE's end of the channel for the PE's successor.
/// <list type="number">
/// <item>One thread reads orders and carries them out.</item>
/// <item>Another, before all ordinary ones, tells changes at once, and each second every session and how all fares. While nobody
/// reads, it waits; then it goes on with what is so by then.</item>
/// <item>It ends when it is told to, and tells the peers AdminDown, or without a word when nobody has the other end of the
/// channel: the owner was killed, and with it what the peers rely on, and that is what they should find.</item>
/// </list>
/// </summary>
public sealed class BfdServer : IDisposable
{
    private const long PeriodNs = 1_000_000_000;

    private readonly ProcessChannel _channel;
    private readonly BfdSpeaker _speaker;
    private readonly AutoResetEvent _changed = new(false);
    private readonly Lock _gate = new(); // the speaker, and the order of what is sent
    private readonly Thread _teller;
    private readonly List<BfdStatus> _news = [];
    private volatile bool _stop, _told;
    private bool _disposed;

    /// <summary>Makes a server that does nothing yet.</summary>
    /// <param name="channel">Its end of the channel; it closes it at the end.</param>
    /// <param name="options">How the speaker runs; null: the defaults.</param>
    public BfdServer(ProcessChannel channel, BfdSpeakerOptions? options = null)
    {
        _channel = channel;
        _speaker = new BfdSpeaker(() => _changed.Set(), options);
        _teller = new Thread(Tell) { IsBackground = true, Name = "bfd-tell" };
    }

    /// <summary>Works until it is told to stop, or nobody has the other end.</summary>
    public void Run()
    {
        _teller.Start();
        byte[] buffer = new byte[ProcessChannel.MaxMessage];
        int length;
        while (!_stop && (length = _channel.Receive(buffer, out int descriptor)) > 0)
        {
            using SafeFileHandle? space = descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
            ReadOnlySpan<byte> message = buffer.AsSpan(0, length);
            switch (BfdMessage.KindOf(message))
            {
                case BfdMessageKind.Watch:
                    Watch(BfdMessage.Read<BfdOrder>(message), space);
                    break;
                case BfdMessageKind.Forget:
                    lock (_gate) _speaker.Remove(BfdMessage.Read<BfdKey>(message));
                    break;
                case BfdMessageKind.Stop:
                    _stop = _told = true;
                    break;
                default:
                    // An owner of another version: it will start a process of its own when this one has gone.
                    _stop = true;
                    break;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        lock (_gate)
        {
            if (_disposed) return;
            _disposed = true;
            if (_told) _speaker.Dispose();
            else _speaker.Abandon();
        }

        _channel.Dispose();
        _changed.Set();
        if (_teller.IsAlive) _teller.Join();
        _changed.Dispose();
    }

    private void Watch(in BfdOrder order, SafeFileHandle? space)
    {
        lock (_gate)
        {
            // On a device that was made anew its sockets reach nobody.
            BfdWatch? watch = _speaker.Find(order.Key);
            if (watch is not null && watch.Sender.Remote.Device != order.Device) _speaker.Remove(order.Key);
            else if (watch is not null)
            {
                if (watch.Session.Parameters != order.Parameters) _speaker.Configure(order.Key, order.Parameters);
                _speaker.SetAdminDown(order.Key, order.AdminDown);
                _speaker.Renew(order.Key, order.Number);
                return;
            }

            try
            {
                _speaker.Add(order.Key, order.Parameters, order.AdminDown, order.Number, order.ControlPlaneIndependent, space,
                    order.Device);
                _changed.Set();
            }
            catch (IOException e)
            {
                _channel.Send(BfdMessage.Failed(order, e.Message));
            }
        }
    }

    private void Tell()
    {
        Urgency.Raise();
        Span<long> discards = stackalloc long[BfdLimits.DiscardReasons];
        for (long next = 0; ;)
        {
            lock (_gate)
            {
                if (_stop) return;
                long now = Monotonic.Now;
                if (now >= next)
                {
                    next = now + PeriodNs;
                    _speaker.Refresh();
                    for (int i = 0; i < discards.Length; i++) discards[i] = _speaker.Discards((BfdDiscard)i);
                    var health = new BfdHealth(
                        Environment.ProcessId, _speaker.Urgency, _speaker.Stalls, _speaker.LongestStallNs, _speaker.Credit.Times,
                        _speaker.Credit.Nanoseconds, _speaker.KernelDrops, _speaker.Faults);
                    _channel.Send(BfdMessage.Health(health, discards));
                }

                _news.Clear();
                _speaker.TakeNews(_news);
                foreach (BfdStatus status in _news) _channel.Send(BfdMessage.Of(BfdMessageKind.Status, status));
            }

            _changed.WaitOne(TimeSpan.FromMilliseconds(Math.Max(0, (next - Monotonic.Now) / 1_000_000)));
        }
    }
}
