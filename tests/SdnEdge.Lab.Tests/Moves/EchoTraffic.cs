using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Moves;

/// <summary>What became of numbered datagrams to servers' echo ports, and of the answers.</summary>
/// <param name="Sent">Datagrams that the client's kernel took.</param>
/// <param name="Lost">Those without an answer.</param>
/// <param name="Duplicated">Answers that had come before.</param>
/// <param name="Reordered">Answers behind an answer to a later datagram of the same address (RFC 4737).</param>
/// <param name="LongestGapMs">Longest time without an answer from an address, milliseconds; the worst of all addresses.</param>
/// <param name="LongestTripMs">Longest time from a datagram to its answer, milliseconds.</param>
internal sealed record EchoCount(long Sent, long Lost, long Duplicated, long Reordered, double LongestGapMs, double LongestTripMs);

/// <summary>
/// A client that sends a numbered datagram to the echo port of each address, evenly, all the time, and knows of each whether it was
/// answered. One thread in the client's namespace does all of it, by a socket a family: an answer says itself what it is for, and may come
/// from another address of the server than was asked.
/// </summary>
internal sealed class EchoTraffic : IDisposable
{
    private static readonly TimeSpan s_bound = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly Arrivals _answers = new();
    private readonly Stream[] _streams;
    private readonly Dictionary<AddressFamily, Socket> _sockets = [];
    private readonly byte[] _buffer = new byte[64];
    private readonly TimeSpan _interval;
    private readonly Task _loop;
    private volatile bool _stop;

    private EchoTraffic(string clientNamespace, IEnumerable<IPAddress> addresses, TimeSpan interval)
    {
        _streams = [.. addresses.Select((a, i) => new Stream(a, i))];
        _interval = interval;
        _loop = Task.Factory.StartNew(
            () => Namespaces.Run(clientNamespace, Loop), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Begins.</summary>
    /// <param name="lab">The lab.</param>
    /// <param name="client">The node that sends.</param>
    /// <param name="addresses">Where to.</param>
    /// <param name="interval">Time between two datagrams to one address.</param>
    public static EchoTraffic Start(RunningLab lab, string client, IEnumerable<IPAddress> addresses, TimeSpan interval)
        => new(lab.NamespaceOf(client), addresses, interval);

    /// <summary>Datagrams that the client's kernel took, since the beginning.</summary>
    public long Sent
    {
        get
        {
            lock (_lock) return _streams.Sum(s => s.Sent);
        }
    }

    /// <summary>
    /// Waits until all that was sent so far is answered, a server's last answers included; what has none after a long time is lost.
    /// Returns the counts since the last call. It sends on meanwhile.
    /// </summary>
    public async Task<EchoCount> SettleAsync() => Sum(await SettleEachAsync());

    /// <summary>The same, of each address, in the order in which they were given.</summary>
    public async Task<IReadOnlyList<EchoCount>> SettleEachAsync()
    {
        long[] upTo;
        lock (_lock) upTo = [.. _streams.Select(s => s.Next)];
        long end = Monotonic.Now + (long)s_bound.TotalNanoseconds;
        while (true)
        {
            if (_loop.IsFaulted) await _loop;
            lock (_lock)
            {
                bool all = !_streams.Where((s, i) => s.Waits(upTo[i])).Any();
                if (all || Monotonic.Now > end) return [.. _streams.Select((s, i) => s.Take(upTo[i]))];
            }

            await Task.WhenAny(_answers.NextAsync(TimeSpan.FromMilliseconds((end - Monotonic.Now) / 1e6)), _loop);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop = true;
        _loop.ContinueWith(_ => { }, TaskScheduler.Default).Wait();
        _answers.Dispose();
    }

    /// <summary>The counts of several addresses together.</summary>
    public static EchoCount Sum(IReadOnlyCollection<EchoCount> counts) => new(
        counts.Sum(c => c.Sent), counts.Sum(c => c.Lost), counts.Sum(c => c.Duplicated), counts.Sum(c => c.Reordered),
        counts.Max(c => c.LongestGapMs), counts.Max(c => c.LongestTripMs));

    // Each address has its turn at an even time of the interval, so that they do not come in bursts.
    private void Loop()
    {
        try
        {
            foreach (AddressFamily family in _streams.Select(s => s.To.AddressFamily).Distinct())
            {
                var socket = new Socket(family, SocketType.Dgram, ProtocolType.Udp) { Blocking = false };
                _sockets.Add(family, socket);

                // What a hold releases at once must find room; more than the machine's usual most (SO_RCVBUFFORCE).
                socket.SetRawSocketOption(1, 33, BitConverter.GetBytes(32 << 20));
            }

            long step = (long)_interval.TotalNanoseconds / _streams.Length, next = Monotonic.Now;
            for (int turn = 0; !_stop; turn = (turn + 1) % _streams.Length)
            {
                lock (_lock) _streams[turn].Send(_sockets[_streams[turn].To.AddressFamily]);
                next = Math.Max(next + step, Monotonic.Now - (long)_interval.TotalNanoseconds);
                do
                {
                    long left = next - Monotonic.Now;
                    List<Socket> ready = [.. _sockets.Values];

                    // In whole milliseconds, or it would not wait at all; what is late by that is caught up with.
                    Socket.Select(ready, null, null, left <= 0 ? 0 : (int)Math.Max(1000, left / 1000));
                    lock (_lock)
                    {
                        foreach (Socket socket in ready) Receive(socket);
                    }

                    if (ready.Count > 0) _answers.Tell();
                }
                while (Monotonic.Now < next);
            }
        }
        finally
        {
            foreach (Socket socket in _sockets.Values) socket.Dispose();
        }
    }

    private void Receive(Socket socket)
    {
        long now = Monotonic.Now;
        while (socket.Available > 0)
        {
            try
            {
                if (socket.Receive(_buffer) < 2 * sizeof(long)) continue;
            }
            catch (SocketException)
            {
                continue;   // an ICMP error: what it was for stays without an answer
            }

            long stream = BinaryPrimitives.ReadInt64BigEndian(_buffer.AsSpan(sizeof(long)));
            if (stream >= 0 && stream < _streams.Length) _streams[stream].Take(BinaryPrimitives.ReadInt64BigEndian(_buffer), now);
        }
    }

    // One address.
    private sealed class Stream(IPAddress address, int index)
    {
        private const int EchoPort = 7;
        private readonly SortedDictionary<long, long> _waiting = [];
        private readonly IPEndPoint _to = new(address, EchoPort);
        private long _first, _highest = -1, _duplicated, _reordered, _lastAnswer, _longestGap, _longestTrip, _refused;

        public IPAddress To => address;

        public long Next { get; private set; }

        public long Sent { get; private set; }

        public bool Waits(long upTo) => _waiting.Count > 0 && _waiting.First().Key < upTo;

        public void Send(Socket socket)
        {
            byte[] datagram = new byte[64];
            BinaryPrimitives.WriteInt64BigEndian(datagram, Next);
            BinaryPrimitives.WriteInt64BigEndian(datagram.AsSpan(sizeof(long)), index);
            try
            {
                socket.SendTo(datagram, _to);
                _waiting.Add(Next, Monotonic.Now);
                Sent++;
            }
            catch (SocketException)
            {
                _refused++;   // not sent, not lost
            }

            Next++;
        }

        public void Take(long number, long now)
        {
            if (!_waiting.Remove(number, out long sentAt))
            {
                _duplicated++;
                return;
            }

            if (number < _highest) _reordered++;
            _highest = Math.Max(_highest, number);
            if (_lastAnswer != 0) _longestGap = Math.Max(_longestGap, now - _lastAnswer);
            _lastAnswer = now;
            _longestTrip = Math.Max(_longestTrip, now - sentAt);
        }

        public EchoCount Take(long upTo)
        {
            long[] lost = [.. _waiting.Keys.TakeWhile(n => n < upTo)];
            foreach (long number in lost) _waiting.Remove(number);
            var count = new EchoCount(
                upTo - _first - _refused, lost.Length, _duplicated, _reordered, _longestGap / 1e6, _longestTrip / 1e6);
            (_first, _refused, _duplicated, _reordered, _longestGap, _longestTrip) = (upTo, 0, 0, 0, 0, 0);
            return count;
        }
    }
}
