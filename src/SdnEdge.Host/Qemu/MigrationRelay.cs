using System.Net.Sockets;

namespace SdnEdge.Host.Qemu;

/// <summary>Byte counters of a relay.</summary>
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
    private readonly CopyShare? _share;
    private long _forth, _back;

    /// <summary>Begins to carry.</summary>
    /// <param name="qemu">QEMU's end.</param>
    /// <param name="network">The other host's end.</param>
    /// <param name="gate">What comes from QEMU passes it.</param>
    /// <param name="share">What the stream from QEMU may take of the network; QEMU takes the rate that it sees for the link's. Null = as
    /// much as there is.</param>
    public MigrationRelay(Stream qemu, Stream network, RelayGate gate, CopyShare? share = null)
    {
        ArgumentNullException.ThrowIfNull(gate);
        (_qemu, _network, _share) = (qemu, network, share);
        _run = RunAsync(gate);
    }

    /// <summary>What has been carried so far.</summary>
    public RelayCounts Counts => new(Interlocked.Read(ref _forth), Interlocked.Read(ref _back));

    /// <summary>Completes when both directions have ended; faults with the error that ended it otherwise.</summary>
    public Task Completion => _run;

    /// <summary>
    /// Limits what a socket buffers. A unix socket: all of it. A TCP socket: only data not yet sent (TCP_NOTSENT_LOWAT); data in flight may
    /// grow to the bandwidth-delay product, or a long link is slow.
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

    // A failure of one end closes the other: QEMU notices a migration that is closed, not one that is silent.
    private async Task RunAsync(RelayGate gate)
    {
        Task forth = Task.Run(() => CopyAsync(_qemu, _network, gate, n => Interlocked.Add(ref _forth, n)));
        Task back = Task.Run(() => CopyAsync(_network, _qemu, null, n => Interlocked.Add(ref _back, n)));
        Task first = await Task.WhenAny(forth, back);

        // A target needs the way back until it has everything: one that closes it earlier has died, however properly it was closed.
        if (first == back || !first.IsCompletedSuccessfully)
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
            int most = gate is null ? chunk.Length : await gate.PassAsync(chunk.Length, _stop.Token).ConfigureAwait(false);
            int read = await from.ReadAsync(chunk.AsMemory(0, most), _stop.Token).ConfigureAwait(false);
            if (read == 0)
            {
                // Half-close: the other direction goes on.
                if (to is NetworkStream { Socket: { } socket }) socket.Shutdown(SocketShutdown.Send);
                else if (to is MigrationStream stream) await stream.CompleteAsync().ConfigureAwait(false);
                return;
            }

            if (gate is not null) await gate.PassAsync(read, _stop.Token).ConfigureAwait(false);
            await to.WriteAsync(chunk.AsMemory(0, read), _stop.Token).ConfigureAwait(false);
            count(read);
            gate?.Spend(read);
            if (gate is not null && _share is not null) await _share.PayAsync(read, _stop.Token).ConfigureAwait(false);
        }
    }
}
