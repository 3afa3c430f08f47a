using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Keeper;

/// <summary>Numbered UDP packets from one host to another, at a steady rate, until stopped.</summary>
internal sealed class Numbered : IDisposable
{
    // A packet that is longer on its way is lost. Longer than a busy machine lets a router stand still.
    private static readonly TimeSpan LastWay = TimeSpan.FromSeconds(10);

    private readonly Socket _from, _to;
    private readonly EndPoint _target;
    private readonly Thread _sender, _receiver;
    private readonly long _intervalNs;
    private readonly HashSet<long> _seen = [];
    private readonly List<long> _sentAt = [];
    private readonly Arrivals _arrivals = new();
    private long _sent, _lastAt, _longestGap;
    private int _outOfOrder;
    private volatile bool _stop, _end;

    public Numbered(Socket from, Socket to, int perSecond)
    {
        (_from, _to, _target, _intervalNs) = (from, to, to.LocalEndPoint!, 1_000_000_000 / perSecond);
        _to.ReceiveTimeout = 50;
        _sender = new Thread(Send) { IsBackground = true };
        _receiver = new Thread(Receive) { IsBackground = true };
        _receiver.Start();
        _sender.Start();
    }

    /// <summary>Packets sent.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>Packets received, each number once.</summary>
    public int Received
    {
        get
        {
            lock (_seen) return _seen.Count;
        }
    }

    /// <summary>The longest time between two arrivals, ms.</summary>
    public double LongestGapMs => Interlocked.Read(ref _longestGap) / 1e6;

    /// <summary>Packets that came behind a later one.</summary>
    public int OutOfOrder => Volatile.Read(ref _outOfOrder);

    /// <summary>Of the packets that were sent in a time (CLOCK_MONOTONIC, nanoseconds), how many have not arrived.</summary>
    public int MissingOf(long fromNs, long toNs)
    {
        lock (_seen)
        {
            int missing = 0;
            for (int number = 0; number < _sentAt.Count; number++)
            {
                if (_sentAt[number] >= fromNs && _sentAt[number] < toNs && !_seen.Contains(number)) missing++;
            }

            return missing;
        }
    }

    /// <summary>Waits until so many more have arrived.</summary>
    public async Task MoreAsync(int count)
    {
        int goal = Received + count;
        if (!await _arrivals.UntilAsync(() => Received >= goal, Patience.Long))
            throw new TimeoutException($"{Received} of {Sent} packets arrived, and then no more");
    }

    /// <summary>Ends sending; waits for what is on its way. Returns how many are missing.</summary>
    public async Task<long> EndAsync()
    {
        _stop = true;
        _sender.Join();
        while (Received < Sent && await _arrivals.NextAsync(LastWay))
        {
        }

        return Sent - Received;
    }

    public void Dispose()
    {
        _stop = _end = true;
        _sender.Join();
        _receiver.Join();
        _arrivals.Dispose();
        _from.Dispose();
        _to.Dispose();
    }

    private void Send()
    {
        byte[] packet = new byte[64];
        long next = Monotonic.Now;
        while (!_stop)
        {
            long now = Monotonic.Now;
            if (now < next)
            {
                Thread.Sleep((int)Math.Max(1, (next - now) / 1_000_000));   // the sender's pace
                continue;
            }

            // A sender that was held up goes on from here: a burst would measure the receiver's queue.
            if (now - next > 20_000_000) next = now;
            next += _intervalNs;
            BinaryPrimitives.WriteInt64BigEndian(packet, _sent);
            try
            {
                _from.SendTo(packet, _target);
                lock (_seen) _sentAt.Add(now);
                Interlocked.Increment(ref _sent);
            }
            catch (SocketException)
            {
                // An ICMP error about an earlier one, or a full queue of ours: not sent, not counted.
            }
        }
    }

    private void Receive()
    {
        byte[] packet = new byte[256];
        long highest = -1;
        while (!_end)
        {
            int length;
            try
            {
                length = _to.Receive(packet);
            }
            catch (SocketException)
            {
                continue;
            }

            long now = Monotonic.Now;
            if (length < 8) continue;
            long number = BinaryPrimitives.ReadInt64BigEndian(packet);
            if (number < highest) Interlocked.Increment(ref _outOfOrder);
            highest = Math.Max(highest, number);
            lock (_seen) _seen.Add(number);
            _arrivals.Tell();
            if (_lastAt != 0) _longestGap = Math.Max(_longestGap, now - _lastAt);
            _lastAt = now;
        }
    }
}
