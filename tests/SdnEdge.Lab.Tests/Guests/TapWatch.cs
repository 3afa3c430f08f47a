using System.Globalization;
using SdnEdge.Core.Forwarding;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>
/// Sees at which hosts a guest runs, without asking anybody: at each host's TAP it is asked for its address all the time (ARP, as who looks
/// for a duplicate asks), past bridges and PEs, and what the guest sends is stamped by the kernel.
/// </summary>
internal sealed class TapWatch : IAsyncDisposable
{
    private const string Tap = "vs0";
    private const long PeriodNs = 20_000_000;
    private static readonly byte[] s_guest = [0x02, 0, 0, 0, 0x01, 0x10], s_own = [0x02, 0, 0, 0, 0x0e, 0x01];

    // The guest's MAC address, an address of nobody; ARP (RFC 826), a request; from 0.0.0.0, for 10.1.1.10.
    private static readonly byte[] s_question =
    [
        .. s_guest, .. s_own, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1, .. s_own, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 1, 10,
    ];

    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<long>> _seen;
    private readonly Task[] _watches;

    /// <summary>Begins to look at the TAPs of these hosts.</summary>
    public TapWatch(RunningLab lab, IEnumerable<string> hosts)
    {
        _seen = hosts.ToDictionary(h => h, _ => new List<long>(), StringComparer.Ordinal);
        _watches = [.. _seen.Keys.Select(host => Task.Factory.StartNew(() => Namespaces.Run(lab.NamespaceOf(host), () => Look(host)),
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>Forgets what was seen.</summary>
    public void Begin()
    {
        lock (_lock)
        {
            foreach (List<long> frames in _seen.Values) frames.Clear();
        }
    }

    /// <summary>Whether the guest was heard at a host since <see cref="Begin"/>.</summary>
    public bool HeardAt(string host)
    {
        lock (_lock) return _seen[host].Count > 0;
    }

    /// <summary>
    /// What must never be in a move: the guest sent something at the source after it had sent something at the target. Empty = it did not.
    /// </summary>
    public IReadOnlyList<string> Twice(string source, string target)
    {
        lock (_lock)
        {
            if (_seen[source] is not { Count: > 0 } there || _seen[target] is not { Count: > 0 } here || there[^1] <= here[0]) return [];
            long late = there.Count(at => at > here[0]);
            return [string.Create(CultureInfo.InvariantCulture,
                $"the guest sent {late} frames at {source} after its first one at {target}, for {(there[^1] - here[0]) / 1e6:F1} ms")];
        }
    }

    /// <summary>Longest time between two frames of the guest since <see cref="Begin"/>, wherever it was, milliseconds.</summary>
    public double LongestSilenceMs
    {
        get
        {
            lock (_lock)
            {
                long[] all = [.. _seen.Values.SelectMany(f => f).Order()];
                return all.Zip(all.Skip(1), (a, b) => b - a).DefaultIfEmpty().Max() / 1e6;
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_watches);
        _stop.Dispose();
    }

    private void Look(string host)
    {
        var options = new PacketSocketOptions { Timestamps = true, ReceiveBufferBytes = 4 << 20, SendBufferBytes = 1 << 20 };
        using var socket = PacketSocket.Open(Tap, Tap, options);
        using var epoll = new Epoll();
        epoll.Add(socket.Fd, EpollEvents.In, 0);
        using PacketBatch came = new(), question = new();
        question.TryAdd(s_question);
        long next = Monotonic.Now;
        while (!_stop.IsCancellationRequested)
        {
            if (Monotonic.Now >= next)
            {
                // One that finds the TAP's queue full is dropped: nobody reads it then.
                socket.Transmit(question.Packets);
                next = Math.Max(next + PeriodNs, Monotonic.Now);
            }

            int count = socket.Receive(came);
            lock (_lock)
            {
                for (int i = 0; i < count; i++)
                {
                    if (came[i].Length >= 12 && came[i].Span.Slice(6, 6).SequenceEqual(s_guest)) _seen[host].Add(socket.Timestamps[i]);
                }
            }

            if (count == 0) epoll.Wait(Math.Max(0, next - Monotonic.Now));
        }
    }
}
