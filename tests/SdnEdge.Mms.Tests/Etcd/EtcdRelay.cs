using System.Net;
using System.Net.Sockets;

namespace SdnEdge.Mms.Tests.Etcd;

/// <summary>A way to an etcd that can be cut in either direction.</summary>
internal sealed class EtcdRelay : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly int _port;
    private volatile bool _asks = true, _answers = true;

    /// <summary>Makes a way to a port of this machine.</summary>
    public EtcdRelay(int port)
    {
        _port = port;
        _listener.Start();
        Address = $"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/";
        _ = AcceptAsync();
    }

    /// <summary>Where clients find it.</summary>
    public string Address { get; }

    /// <summary>Bytes of answers that were swallowed.</summary>
    public long Swallowed { get; private set; }

    /// <summary>What gets through. What does not is swallowed: nobody is told.</summary>
    public void Let(bool asks, bool answers) => (_asks, _answers) = (asks, answers);

    public void Dispose()
    {
        _end.Cancel();
        _listener.Dispose();
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                TcpClient here = await _listener.AcceptTcpClientAsync(_end.Token);
                _ = RelayAsync(here);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // Ended.
        }
    }

    private async Task RelayAsync(TcpClient here)
    {
        using TcpClient _ = here, there = new();
        try
        {
            await there.ConnectAsync(IPAddress.Loopback, _port, _end.Token);
            await Task.WhenAny(CopyAsync(here, there, () => _asks), CopyAsync(there, here, () =>
            {
                if (!_answers) Swallowed++;
                return _answers;
            }));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException or ObjectDisposedException)
        {
            // One of the two ends has gone.
        }
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, Func<bool> lets)
    {
        byte[] buffer = new byte[64 * 1024];
        NetworkStream input = from.GetStream(), output = to.GetStream();
        try
        {
            for (int read; (read = await input.ReadAsync(buffer, _end.Token)) > 0;)
            {
                if (lets()) await output.WriteAsync(buffer.AsMemory(0, read), _end.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            // One of the two ends has gone.
        }
    }
}
