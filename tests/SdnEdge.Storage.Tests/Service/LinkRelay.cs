using System.Net;
using System.Net.Sockets;
using SdnEdge.Testing;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>Stands between a store and the one that it replicates to: bytes are counted, held after a number, or the link is cut.</summary>
internal sealed class LinkRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly List<Socket> _open = [];
    private readonly int _to;
    private readonly Task _accepting;
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _passed, _limit = long.MaxValue;
    private bool _isCut;

    public LinkRelay(int to)
    {
        _to = to;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Bytes that went to the replica.</summary>
    public long Passed => Interlocked.Read(ref _passed);

    /// <summary>Lets so many bytes more pass, and no more.</summary>
    public void HoldAfter(long bytes)
    {
        lock (_lock) _limit = bytes == long.MaxValue ? bytes : Passed + bytes;
        Wake();
    }

    /// <summary>Waits until it holds.</summary>
    public Task UntilHeldAsync(Func<string> tell) => Patience.UntilAsync(() => Passed >= _limit, tell);

    /// <summary>Ends what is there, and takes nothing new before <see cref="Mend"/>.</summary>
    public void Cut()
    {
        lock (_lock)
        {
            _isCut = true;
            foreach (Socket socket in _open) socket.Dispose();
            _open.Clear();
        }

        Wake();
    }

    public void Mend(long holdAfter = long.MaxValue)
    {
        lock (_lock) _isCut = false;
        HoldAfter(holdAfter);
    }

    public async ValueTask DisposeAsync()
    {
        Cut();
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private void Wake() => Interlocked.Exchange(ref _more, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket from = await _listener.AcceptSocketAsync(_stop.Token);
            var to = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                if (_isCut) throw new IOException("cut");
                await to.ConnectAsync(IPAddress.Loopback, _to, _stop.Token);
                lock (_lock)
                {
                    if (_isCut) throw new IOException("cut");
                    _open.AddRange([from, to]);
                }

                _ = PassAsync(from, to, counts: true);
                _ = PassAsync(to, from, counts: false);
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                from.Dispose();
                to.Dispose();
            }
        }
    }

    private async Task PassAsync(Socket from, Socket to, bool counts)
    {
        byte[] buffer = new byte[32 << 10];
        try
        {
            while (true)
            {
                int got = await from.ReceiveAsync(buffer.AsMemory());
                if (got == 0) break;
                for (int sent = 0; sent < got;)
                {
                    long room = got - sent;
                    if (counts)
                    {
                        Task more = Volatile.Read(ref _more).Task;
                        lock (_lock) room = Math.Min(room, _limit - Passed);
                        if (room <= 0)
                        {
                            await more;
                            if (!to.Connected) return;
                            continue;
                        }
                    }

                    int n = await to.SendAsync(buffer.AsMemory(sent, (int)room));
                    if (counts) Interlocked.Add(ref _passed, n);
                    sent += n;
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Cut, or one end is gone.
        }

        from.Dispose();
        to.Dispose();
    }
}
