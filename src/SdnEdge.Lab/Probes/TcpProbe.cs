using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace SdnEdge.Lab.Probes;

/// <summary>
/// Sends a known stream of bytes over TCP to an echo server at a moderate pace and checks what comes back, byte by byte.
/// A broken connection is counted and made again. The longest time in which data was outstanding and nothing came back is
/// the stall a user would have felt.
/// </summary>
public sealed class TcpProbe : IDisposable
{
    private const int ChunkBytes = 1024;
    private const int TcpInfoOption = 11;
    private const int TotalRetransmitsAt = 100; // tcpi_total_retrans in struct tcp_info

    private static readonly TimeSpan s_lastBytes = TimeSpan.FromSeconds(15);

    private readonly IPEndPoint target;
    private readonly int bytesPerSecond;
    private readonly CancellationTokenSource stopping = new();
    private long sent, checkedBytes, wrong, retransmits;
    private long maxStallNs, maxStallEndedNs;
    private int resets, connects;
    private string? lastError;

    /// <summary>A probe to <paramref name="target"/>.</summary>
    public TcpProbe(IPEndPoint target, int bytesPerSecond)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bytesPerSecond, ChunkBytes);
        this.target = target;
        this.bytesPerSecond = bytesPerSecond;
    }

    /// <summary>Ends the transfer; what is outstanding is still waited for, up to a bound.</summary>
    public void Stop() => stopping.Cancel();

    /// <summary>Runs until <see cref="Stop"/> or until <paramref name="duration"/> is over.</summary>
    /// <param name="duration">Null = until stopped.</param>
    /// <param name="connected">Called once, when the first connection stands.</param>
    public async Task<TcpResult> RunAsync(TimeSpan? duration, Action connected)
    {
        if (duration is { } limit)
        {
            stopping.CancelAfter(limit);
        }

        bool first = true;
        while (!stopping.IsCancellationRequested)
        {
            using var socket = new Socket(target.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(target, stopping.Token);
                connects++;
                if (first)
                {
                    first = false;
                    connected();
                }

                await TransferAsync(socket);
                NoteRetransmits(socket);
                break; // stopped and all outstanding bytes are back
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                resets++;
                lastError = e.Message;
                NoteRetransmits(socket);
                await Task.Delay(50, CancellationToken.None);
            }
        }

        return new TcpResult(
            "tcp", sent, checkedBytes, wrong, resets, connects, maxStallNs / 1e6, maxStallEndedNs, retransmits, lastError);
    }

    /// <summary>Frees the token source.</summary>
    public void Dispose() => stopping.Dispose();

    private async Task TransferAsync(Socket socket)
    {
        long written = 0;
        using var broken = new CancellationTokenSource();
        Task reader = ReadAsync(socket, () => Volatile.Read(ref written), broken.Token);
        byte[] chunk = new byte[ChunkBytes];
        long origin = Stopwatch.GetTimestamp();
        while (!stopping.IsCancellationRequested && !reader.IsCompleted)
        {
            // At most a second's worth is outstanding: while the server stands still the probe waits as any sender does.
            long due = Math.Min((long)(Stopwatch.GetElapsedTime(origin).TotalSeconds * bytesPerSecond), written + bytesPerSecond);
            while (written + ChunkBytes <= due)
            {
                Fill(chunk, written);
                int n = await socket.SendAsync(chunk, SocketFlags.None, CancellationToken.None).AsTask()
                    .WaitAsync(TimeSpan.FromSeconds(20));
                Volatile.Write(ref written, written + n);
                sent += n;
            }

            await Task.Delay(4, CancellationToken.None);
        }

        if (!reader.IsCompleted)
        {
            socket.Shutdown(SocketShutdown.Send);
        }

        broken.CancelAfter(s_lastBytes);
        try
        {
            await reader;
        }
        catch (OperationCanceledException e)
        {
            throw new IOException($"of {written} bytes not all came back within {s_lastBytes.TotalSeconds} s of the end", e);
        }
    }

    private async Task ReadAsync(Socket socket, Func<long> written, CancellationToken cancel)
    {
        byte[] buffer = new byte[64 * 1024];
        long offset = 0;
        long last = Stopwatch.GetTimestamp();
        while (true)
        {
            int n = await socket.ReceiveAsync(buffer, SocketFlags.None, cancel);
            long now = Stopwatch.GetTimestamp();
            if (n == 0)
            {
                if (stopping.IsCancellationRequested && offset == written())
                {
                    return;
                }

                throw new IOException($"the far end closed the connection after {offset} of {written()} bytes");
            }

            if (now - last > maxStallNs)
            {
                maxStallNs = now - last;
                maxStallEndedNs = now;
            }

            last = now;
            for (int i = 0; i < n; i++)
            {
                if (buffer[i] == Expected(offset + i))
                {
                    checkedBytes++;
                }
                else
                {
                    wrong++;
                }
            }

            offset += n;
        }
    }

    private static void Fill(Span<byte> chunk, long offset)
    {
        for (int i = 0; i < chunk.Length; i++)
        {
            chunk[i] = Expected(offset + i);
        }
    }

    /// <summary>Byte at an offset: its period (a prime) is no multiple of any segment or buffer size.</summary>
    private static byte Expected(long offset) => (byte)(offset % 251 ^ (offset / 251 & 0x7F));

    private void NoteRetransmits(Socket socket)
    {
        Span<byte> info = stackalloc byte[256];
        try
        {
            int length = socket.GetRawSocketOption((int)SocketOptionLevel.Tcp, TcpInfoOption, info);
            if (length >= TotalRetransmitsAt + 4)
            {
                retransmits += BitConverter.ToUInt32(info[TotalRetransmitsAt..]);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            lastError ??= e.Message;
        }
    }
}
