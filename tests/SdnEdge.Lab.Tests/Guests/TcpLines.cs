using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;

namespace SdnEdge.Lab.Tests.Guests;

/// <summary>What became of the lines of a TCP connection.</summary>
/// <param name="Lines">Lines that came back, in order and unchanged.</param>
/// <param name="LongestGapMs">Longest time in which none came, milliseconds.</param>
/// <param name="Failure">What went wrong with the connection; null = nothing, and it is open.</param>
internal sealed record LineCount(long Lines, double LongestGapMs, string? Failure);

/// <summary>
/// One TCP connection of a client to a server's echo port, which stays open: numbered lines are sent all the time, and each byte that
/// comes back is checked.
/// </summary>
internal sealed class TcpLines : IAsyncDisposable
{
    private const int EchoPort = 7, LineBytes = 12;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    private readonly Socket _socket;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly Arrivals _news = new();
    private readonly Task _sending, _receiving;
    private long _sent, _returned, _counted, _longestGap;
    private string? _failure;

    private TcpLines(Socket socket)
    {
        _socket = socket;
        _sending = Task.Run(SendAsync);
        _receiving = Task.Run(ReceiveAsync);
    }

    /// <summary>Connects, and begins to send.</summary>
    public static async Task<TcpLines> StartAsync(RunningLab lab, string client, string address)
    {
        Socket socket = Namespaces.Run(lab.NamespaceOf(client),
            () => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true });
        using var end = new CancellationTokenSource(Patience.Time);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Parse(address), EchoPort), end.Token);
            return new TcpLines(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Waits until all that was sent so far has come back, and counts since the last call. It sends on meanwhile.</summary>
    public async Task<LineCount> SettleAsync()
    {
        long upTo;
        lock (_lock) upTo = _sent;
        await _news.UntilAsync(IsSettled, Patience.Time);
        lock (_lock)
        {
            string? failure = _failure ?? (_returned < upTo ? $"{upTo - _returned} lines did not come back" : null);
            var count = new LineCount(_returned - _counted, _longestGap / 1e6, failure);
            (_counted, _longestGap) = (_returned, 0);
            return count;
        }

        bool IsSettled()
        {
            lock (_lock) return _returned >= upTo || _failure is not null;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_sending, _receiving);
        _socket.Dispose();
        _stop.Dispose();
        _news.Dispose();
    }

    private static string Line(long number) => string.Create(CultureInfo.InvariantCulture, $"{number:D11}\n");

    private async Task SendAsync()
    {
        try
        {
            for (long number = 0; ; number++)
            {
                byte[] line = Encoding.ASCII.GetBytes(Line(number));
                for (int sent = 0; sent < line.Length;) sent += await _socket.SendAsync(line.AsMemory(sent), _stop.Token);
                lock (_lock) _sent = number + 1;
                await Task.Delay(s_pause, _stop.Token);   // the sender's pace
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            Fail(e);
        }
    }

    private async Task ReceiveAsync()
    {
        byte[] line = new byte[LineBytes];
        long last = Monotonic.Now;
        try
        {
            for (long number = 0; ; number++)
            {
                for (int got = 0; got < LineBytes;)
                {
                    int read = await _socket.ReceiveAsync(line.AsMemory(got), _stop.Token);
                    if (read == 0) throw new SocketException((int)SocketError.Disconnecting);
                    got += read;
                }

                if (Encoding.ASCII.GetString(line) != Line(number))
                {
                    lock (_lock) _failure ??= $"line {number} came back as '{Encoding.ASCII.GetString(line).Trim()}'";
                    _news.Tell();
                    return;
                }

                long now = Monotonic.Now;
                lock (_lock) (_returned, _longestGap) = (number + 1, Math.Max(_longestGap, now - last));
                last = now;
                _news.Tell();
            }
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            Fail(e);
        }
    }

    private void Fail(Exception e)
    {
        if (_stop.IsCancellationRequested) return;
        lock (_lock) _failure ??= e.Message;
        _news.Tell();
    }
}
