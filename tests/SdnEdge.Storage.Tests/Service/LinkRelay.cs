using System.Net;
using System.Net.Sockets;
using SdnEdge.Testing;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>
/// A TCP relay between an owner's store and its replica's: counts, holds back, slows down, corrupts or discards bytes, and cuts the link.
/// </summary>
internal sealed class LinkRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Connection> _open = [];
    private int _target, _accepted;
    private Task _accepting = Task.CompletedTask;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _passed, _limit = long.MaxValue, _corruptIn = -1;
    private bool _isCut;

    /// <summary>Connections accepted so far.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Bytes that went to the replica.</summary>
    public long Passed => Interlocked.Read(ref _passed);

    /// <summary>Rate limit in each direction, bytes/s; 0 = none.</summary>
    public int BytesPerSecond { get; set; }

    /// <summary>Starts to listen.</summary>
    /// <param name="target">Port of the replica's store.</param>
    /// <returns>Port of the relay.</returns>
    public int To(int target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
        return ((IPEndPoint)_listener.LocalEndpoint).Port;
    }

    /// <summary>Lets so many bytes more pass to the replica, and no more.</summary>
    public void HoldAfter(long bytes)
    {
        lock (_lock) _limit = bytes == long.MaxValue ? bytes : Passed + bytes;
        Wake();
    }

    /// <summary>Waits until bytes are held back.</summary>
    public Task UntilHeldAsync(Func<string> tell) => Patience.UntilAsync(() => Passed >= _limit, tell);

    /// <summary>Closes all connections and refuses new ones until <see cref="Mend"/>.</summary>
    public void Cut()
    {
        lock (_lock)
        {
            _isCut = true;
            foreach (Connection connection in _open) connection.Dispose();
            _open.Clear();
        }

        Wake();
    }

    /// <summary>Accepts connections again.</summary>
    public void Mend(long holdAfter = long.MaxValue)
    {
        lock (_lock) _isCut = false;
        HoldAfter(holdAfter);
    }

    /// <summary>Discards everything on the present connections, in both directions, and leaves them open. Later connections work.</summary>
    public void Swallow()
    {
        lock (_lock)
        {
            foreach (Connection connection in _open) connection.Swallows = true;
        }
    }

    /// <summary>Flips one bit of a byte towards the replica, so many bytes from now.</summary>
    public void Corrupt(int bytesFromNow) => Interlocked.Exchange(ref _corruptIn, bytesFromNow);

    public async ValueTask DisposeAsync()
    {
        Cut();
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private void Wake() => Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private async Task AcceptAsync()
    {
        while (true)
        {
            var connection = new Connection(await _listener.AcceptSocketAsync(_stop.Token));
            lock (_lock)
            {
                if (_isCut)
                {
                    connection.Dispose();
                    continue;
                }

                _open.Add(connection);
            }

            Interlocked.Increment(ref _accepted);
            _ = RunAsync(connection);
        }
    }

    private async Task RunAsync(Connection connection)
    {
        try
        {
            await connection.Replica.ConnectAsync(IPAddress.Loopback, _target, _stop.Token);
            await await Task.WhenAny(PassAsync(connection, connection.Owner, connection.Replica, toReplica: true),
                PassAsync(connection, connection.Replica, connection.Owner, toReplica: false));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // Cut, or one end is gone.
        }

        connection.Dispose();
        lock (_lock) _open.Remove(connection);
    }

    private async Task PassAsync(Connection connection, Socket from, Socket to, bool toReplica)
    {
        byte[] bytes = new byte[32 << 10];
        while (await from.ReceiveAsync(bytes, _stop.Token) is > 0 and var received)
        {
            if (connection.Swallows) continue;
            if (toReplica) CorruptIn(bytes.AsSpan(0, received));
            for (int sent = 0; sent < received;)
            {
                int room = toReplica ? await RoomAsync(received - sent) : received - sent;
                int n = await to.SendAsync(bytes.AsMemory(sent, room), _stop.Token);
                if (toReplica) Interlocked.Add(ref _passed, n);
                sent += n;

                // The link's pace.
                if (BytesPerSecond > 0) await Task.Delay(TimeSpan.FromSeconds(n / (double)BytesPerSecond), _stop.Token);
            }
        }
    }

    private void CorruptIn(Span<byte> bytes)
    {
        long at = Interlocked.Read(ref _corruptIn);
        if (at < 0) return;
        if (at < bytes.Length) bytes[(int)at] ^= 0x10;
        Interlocked.Exchange(ref _corruptIn, at < bytes.Length ? -1 : at - bytes.Length);
    }

    // Bytes that may pass now, at most so many; waits until there are some. A connection that was cut meanwhile fails at its next send.
    private async Task<int> RoomAsync(int wanted)
    {
        while (true)
        {
            Task changed = Volatile.Read(ref _changed).Task;
            lock (_lock)
            {
                long room = Math.Min(wanted, _limit - Passed);
                if (room > 0) return (int)room;
                if (_isCut) return wanted;
            }

            await changed.WaitAsync(_stop.Token);
        }
    }

    private sealed class Connection(Socket owner) : IDisposable
    {
        public Socket Owner => owner;

        public Socket Replica { get; } = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        public bool Swallows { get; set; }

        public void Dispose()
        {
            Owner.Dispose();
            Replica.Dispose();
        }
    }
}
