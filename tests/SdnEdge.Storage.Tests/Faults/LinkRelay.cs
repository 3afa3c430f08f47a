using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>Stands between two stores and spoils what goes through it.</summary>
internal sealed class LinkRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<Way, bool> _ways = [];
    private readonly CancellationTokenSource _stop = new();
    private Task _accepting = Task.CompletedTask;
    private int _target, _accepted;
    private volatile bool _isCut;
    private long _corruptIn = -1, _toReplica;

    /// <summary>Connections so far.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Bytes that have gone towards the replica.</summary>
    public long ToReplica => Interlocked.Read(ref _toReplica);

    /// <summary>What goes through, bytes/s; 0 = everything at once.</summary>
    public int BytesPerSecond { get; set; }

    /// <summary>Begins; gets the port of the store behind it, and says its own.</summary>
    public int To(int target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
        return ((IPEndPoint)_listener.LocalEndpoint).Port;
    }

    /// <summary>Ends all connections, and takes none.</summary>
    public void Cut()
    {
        _isCut = true;
        foreach (Way way in _ways.Keys) way.Dispose();
    }

    /// <summary>Takes connections again.</summary>
    public void Mend() => _isCut = false;

    /// <summary>The connections that are there stay, and nothing comes out of them any more, either way. Those made later work.</summary>
    public void Swallow()
    {
        foreach (Way way in _ways.Keys) way.Swallows = true;
    }

    /// <summary>One bit of a byte towards the replica will be another, so many bytes from now.</summary>
    public void Corrupt(int bytesFromNow) => Interlocked.Exchange(ref _corruptIn, bytesFromNow);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        Cut();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket near = await _listener.AcceptSocketAsync(_stop.Token);
            if (_isCut)
            {
                near.Dispose();
                continue;
            }

            var way = new Way(near);
            _ways[way] = true;
            Interlocked.Increment(ref _accepted);
            _ = CarryAsync(way);
        }
    }

    private async Task CarryAsync(Way way)
    {
        try
        {
            await way.Far.ConnectAsync(IPAddress.Loopback, _target, _stop.Token);
            await Task.WhenAny(CopyAsync(way, way.Near, way.Far, true), CopyAsync(way, way.Far, way.Near, false));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // One of the two has ended it.
        }

        way.Dispose();
        _ways.TryRemove(way, out _);
    }

    private async Task CopyAsync(Way way, Socket from, Socket to, bool towardsReplica)
    {
        byte[] bytes = new byte[16 << 10];
        while (true)
        {
            int n = await from.ReceiveAsync(bytes, _stop.Token);
            if (n == 0) return;
            if (way.Swallows) continue;
            if (towardsReplica)
            {
                Interlocked.Add(ref _toReplica, n);
                long at = Interlocked.Read(ref _corruptIn);
                if (at >= 0)
                {
                    if (at < n) bytes[at] ^= 0x10;
                    Interlocked.Exchange(ref _corruptIn, at < n ? -1 : at - n);
                }
            }

            for (int sent = 0; sent < n;) sent += await to.SendAsync(bytes.AsMemory(sent, n - sent), _stop.Token);
            if (BytesPerSecond > 0) await Task.Delay(TimeSpan.FromSeconds(n / (double)BytesPerSecond), _stop.Token);
        }
    }

    private sealed class Way(Socket near) : IDisposable
    {
        public Socket Near => near;

        public Socket Far { get; } = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        public bool Swallows { get; set; }

        public void Dispose()
        {
            Near.Dispose();
            Far.Dispose();
        }
    }
}
