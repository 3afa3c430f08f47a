using System.Net.Security;
using System.Net.Sockets;

namespace SdnEdge.Host.Qemu;

/// <summary>What a relay has carried.</summary>
/// <param name="Forth">Bytes of the guest's state.</param>
/// <param name="Back">Bytes of the return path.</param>
public readonly record struct RelayCounts(long Forth, long Back);

/// <summary>
/// Carries one migration from QEMU to the other host, through a gate. It keeps at most one chunk of what it has read: a relay that keeps
/// more makes QEMU believe that less is left to send than there is, and the guest stands still while that is carried.
/// </summary>
public sealed class MigrationRelay : IAsyncDisposable
{
    /// <summary>The most that is kept between QEMU and the network, bytes; with sockets of this size on both sides.</summary>
    public const int ChunkBytes = 128 << 10;

    // tcp(7): IPPROTO_TCP, TCP_NOTSENT_LOWAT.
    private const int Tcp = 6, NotSentLowWater = 25;

    private readonly Stream _qemu, _network;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _run;
    private long _forth, _back, _bytesPerSecond;

    /// <summary>Begins to carry.</summary>
    /// <param name="qemu">QEMU's end.</param>
    /// <param name="network">The other host's end.</param>
    /// <param name="gate">What comes from QEMU passes it.</param>
    /// <param name="bytesPerSecond">See <see cref="BytesPerSecond"/>.</param>
    public MigrationRelay(Stream qemu, Stream network, RelayGate gate, long bytesPerSecond = 0)
    {
        ArgumentNullException.ThrowIfNull(gate);
        (_qemu, _network, _bytesPerSecond) = (qemu, network, bytesPerSecond);
        _run = RunAsync(gate);
    }

    /// <summary>What has been carried so far.</summary>
    public RelayCounts Counts => new(Interlocked.Read(ref _forth), Interlocked.Read(ref _back));

    /// <summary>The most that is carried from QEMU; 0 = as much as goes. QEMU measures it, and takes it for the way's.</summary>
    public long BytesPerSecond
    {
        get => Interlocked.Read(ref _bytesPerSecond);
        set => Interlocked.Exchange(ref _bytesPerSecond, value);
    }

    /// <summary>Completes when both ends have said all; fails with what ended it otherwise.</summary>
    public Task Completion => _run;

    /// <summary>
    /// Bounds what a socket keeps. Of a unix socket all of it; of a TCP socket what is not sent yet: what is on its way must be able to
    /// grow to what the way holds (bandwidth times round trip), or a long way is slow.
    /// </summary>
    public static void Bound(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        if (socket.AddressFamily == AddressFamily.Unix)
            (socket.SendBufferSize, socket.ReceiveBufferSize) = (ChunkBytes, ChunkBytes);
        else socket.SetRawSocketOption(Tcp, NotSentLowWater, BitConverter.GetBytes(ChunkBytes));
    }

    /// <summary>Cuts both ends.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _qemu.DisposeAsync();
        await _network.DisposeAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    // One end that fails ends the other: QEMU notices a migration that is cut, not one that is silent.
    private async Task RunAsync(RelayGate gate)
    {
        Task forth = Task.Run(() => CopyAsync(_qemu, _network, gate, n => Interlocked.Add(ref _forth, n)));
        Task back = Task.Run(() => CopyAsync(_network, _qemu, null, n => Interlocked.Add(ref _back, n)));
        Task first = await Task.WhenAny(forth, back);
        if (!first.IsCompletedSuccessfully)
        {
            await _qemu.DisposeAsync();
            await _network.DisposeAsync();
        }

        await Task.WhenAll(forth, back);
    }

    private async Task CopyAsync(Stream from, Stream to, RelayGate? gate, Action<int> count)
    {
        byte[] chunk = GC.AllocateUninitializedArray<byte>(ChunkBytes);
        while (true)
        {
            if (gate is not null) await gate.PassAsync(_stop.Token).ConfigureAwait(false);
            int read = await from.ReadAsync(chunk, _stop.Token).ConfigureAwait(false);
            if (read == 0)
            {
                // The end of one direction: what comes the other way still does.
                if (to is NetworkStream { Socket: { } socket }) socket.Shutdown(SocketShutdown.Send);
                else if (to is SslStream tls) await tls.ShutdownAsync().ConfigureAwait(false);
                return;
            }

            if (gate is not null) await gate.PassAsync(_stop.Token).ConfigureAwait(false);
            await to.WriteAsync(chunk.AsMemory(0, read), _stop.Token).ConfigureAwait(false);
            count(read);
            if (gate is not null && BytesPerSecond is > 0 and var limit)
                await Task.Delay(TimeSpan.FromSeconds(read / (double)limit), _stop.Token).ConfigureAwait(false);
        }
    }
}
