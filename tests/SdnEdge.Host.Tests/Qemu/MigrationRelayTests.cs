using System.Diagnostics;
using System.Net.Sockets;
using SdnEdge.Host.Qemu;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>What passes between QEMU and the network, and when.</summary>
public class MigrationRelayTests
{
    [Fact]
    public async Task What_comes_in_goes_out_both_ways_and_is_counted_and_one_end_of_a_direction_is_passed_on()
    {
        using var lab = new Ends();
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, new RelayGate());
        byte[] state = [.. Enumerable.Range(0, 3_000_000).Select(i => (byte)(i * 31 >> 3))];
        Task send = SendAsync(lab.Qemu, state);
        Assert.Equal(state, await ReadAsync(lab.Network, state.Length));
        await send;
        await lab.Network.SendAsync("done"u8.ToArray(), default);
        Assert.Equal("done"u8.ToArray(), await ReadAsync(lab.Qemu, 4));

        // What has been sent on is counted right behind that.
        await Patience.UntilAsync(() => relay.Counts == new RelayCounts(state.Length, 4), () => $"it counts {relay.Counts}");

        lab.Qemu.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await lab.Network.ReceiveAsync(new byte[1], SocketFlags.None));
        Assert.False(relay.Completion.IsCompleted);
        await lab.Network.SendAsync("late"u8.ToArray(), default);
        Assert.Equal("late"u8.ToArray(), await ReadAsync(lab.Qemu, 4));
        lab.Network.Shutdown(SocketShutdown.Send);
        await relay.Completion.WaitAsync(Patience.Time);
    }

    // Whoever believes that all is sent when the relay has it all believes wrong: it must not have much.
    [Fact]
    public async Task Behind_a_shut_gate_nothing_passes_little_is_kept_and_the_way_back_stays_open()
    {
        using var lab = new Ends();
        var gate = new RelayGate();
        gate.Shut();
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, gate);
        MigrationRelay.Bound(lab.Qemu);
        Task send = SendAsync(lab.Qemu, new byte[8 << 20]);
        await lab.Network.SendAsync("back"u8.ToArray(), default);
        Assert.Equal("back"u8.ToArray(), await ReadAsync(lab.Qemu, 4));
        Assert.False(send.IsCompleted);
        Assert.Equal((0, 0), ((int)relay.Counts.Forth, lab.Network.Available));
        gate.Open();
        await ReadAsync(lab.Network, 8 << 20);
        await send;
        Assert.False(gate.IsShut);
    }

    [Fact]
    public async Task No_more_than_its_allowance_passes_the_gate_and_the_rest_when_it_is_opened()
    {
        using var lab = new Ends();
        var gate = new RelayGate();
        gate.Allow(1_000_000);
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, gate);
        Task send = SendAsync(lab.Qemu, new byte[3_000_000]);
        await ReadAsync(lab.Network, 1_000_000);
        await Patience.UntilAsync(() => gate.IsShut, () => "the gate is open");
        gate.Allow(500_000);
        await ReadAsync(lab.Network, 500_000);
        await Patience.UntilAsync(() => gate.IsShut, () => "the gate is open");
        await Patience.UntilAsync(() => relay.Counts.Forth == 1_500_000, () => $"it counts {relay.Counts}");
        Assert.Equal(0, lab.Network.Available);
        gate.Open();
        await ReadAsync(lab.Network, 1_500_000);
        await send;
        Assert.False(gate.IsShut);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_one_end_breaks_the_other_is_told(bool qemuBreaks)
    {
        using var lab = new Ends();
        var gate = new RelayGate();
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, gate);
        (Socket breaks, Socket other) = qemuBreaks ? (lab.Qemu, lab.Network) : (lab.Network, lab.Qemu);
        breaks.LingerState = new LingerOption(true, 0);
        await SendAsync(breaks, [1]);
        await ReadAsync(other, 1);
        breaks.Dispose();
        try
        {
            Assert.Equal(0, await other.ReceiveAsync(new byte[1], SocketFlags.None).WaitAsync(Patience.Time));
        }
        catch (SocketException)
        {
            // Reset: it has been told, too.
        }

        other.Dispose();
        await EndsAsync(relay);
    }

    // A QEMU that has died closes its socket as one does that is done; the source must not wait for its acknowledgement.
    [Fact]
    public async Task A_way_back_that_ends_before_all_has_come_ends_the_migration()
    {
        using var lab = new Ends();
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, new RelayGate());
        await SendAsync(lab.Qemu, [1]);
        await ReadAsync(lab.Network, 1);
        await lab.Network.SendAsync("end"u8.ToArray(), default);
        lab.Network.Shutdown(SocketShutdown.Send);
        Assert.Equal("end"u8.ToArray(), await ReadAsync(lab.Qemu, 3));
        Assert.Equal(0, await lab.Qemu.ReceiveAsync(new byte[1], SocketFlags.None).WaitAsync(Patience.Time));
        Assert.Equal(0, await lab.Network.ReceiveAsync(new byte[1], SocketFlags.None).WaitAsync(Patience.Time));
        await EndsAsync(relay);
    }

    // Only the lower bound is asserted: a busy machine is slower.
    [Fact]
    public async Task A_limited_relay_is_not_faster_than_its_limit()
    {
        using var lab = new Ends();
        using CopyShare share = new CopyBandwidth(4 << 20).Join();
        share.Limit = 1 << 20;
        await using var relay = new MigrationRelay(lab.RelayToQemu, lab.RelayToNetwork, new RelayGate(), share);
        long start = Stopwatch.GetTimestamp();
        Task send = SendAsync(lab.Qemu, new byte[1 << 20]);
        await ReadAsync(lab.Network, 1 << 20);
        await send;
        Assert.True(Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(0.7));
    }

    [Fact]
    public void Copies_share_what_there_is_and_a_guest_that_stands_still_goes_first()
    {
        var bandwidth = new CopyBandwidth(90);
        using CopyShare a = bandwidth.Join(), b = bandwidth.Join();
        CopyShare c = bandwidth.Join();
        Assert.Equal((30, 30, 30), (a.BytesPerSecond, b.BytesPerSecond, c.BytesPerSecond));
        a.Waits = true;
        Assert.Equal((30, 45, 45), (a.BytesPerSecond, b.BytesPerSecond, c.BytesPerSecond));
        a.Waits = false;
        b.Limit = 10;
        Assert.Equal(10, b.BytesPerSecond);
        c.Dispose();
        Assert.Equal((45, 2), (a.BytesPerSecond, bandwidth.Count));
        bandwidth = new CopyBandwidth(900 << 20);
        using CopyShare still = bandwidth.Join(), runs = bandwidth.Join();
        still.Urgent = true;
        Assert.Equal(900 << 20, still.BytesPerSecond);
        Assert.True(runs.BytesPerSecond <= 1 << 20);
        still.Urgent = false;
        Assert.Equal(450 << 20, runs.BytesPerSecond);
        using CopyShare free = new CopyBandwidth().Join();
        Assert.Equal(0, free.BytesPerSecond);
    }

    // Guards: CopyBandwidth: a migration's own limit, whatever the host's is.
    [Fact]
    public void Copies_of_a_migration_share_its_limit_and_the_others_are_not_in_it()
    {
        var bandwidth = new CopyBandwidth(900);
        using CopyShare a = bandwidth.Join("m1", 300), b = bandwidth.Join("m1", 300), other = bandwidth.Join("m2", 0);
        Assert.Equal((150, 150, 300), (a.BytesPerSecond, b.BytesPerSecond, other.BytesPerSecond));
        CopyShare c = bandwidth.Join("m1", 300);
        Assert.Equal((100, 100, 100), (a.BytesPerSecond, b.BytesPerSecond, c.BytesPerSecond));
        c.Waits = true;
        Assert.Equal((150, 150), (a.BytesPerSecond, b.BytesPerSecond));
        c.Dispose();

        // One that stands still goes first, within the limit.
        a.Urgent = true;
        Assert.Equal(300, a.BytesPerSecond);
        Assert.True(b.BytesPerSecond <= 300 / 16);

        using CopyShare free = new CopyBandwidth().Join("m1", 300);
        Assert.Equal(300, free.BytesPerSecond);
    }

    [Fact]
    public async Task A_gate_lets_everybody_pass_when_it_opens()
    {
        var gate = new RelayGate();
        await gate.PassAsync(1, default);
        gate.Shut();
        gate.Shut();
        Task[] wait = [.. Enumerable.Range(0, 3).Select(_ => gate.PassAsync(1, default).AsTask())];
        Assert.DoesNotContain(wait, w => w.IsCompleted);
        using var cancel = new CancellationTokenSource();
        Task gaveUp = gate.PassAsync(1, cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => gaveUp);
        gate.Open();
        await Task.WhenAll(wait).WaitAsync(Patience.Time);
    }

    private static async Task SendAsync(Socket socket, byte[] bytes)
    {
        for (int sent = 0; sent < bytes.Length;) sent += await socket.SendAsync(bytes.AsMemory(sent), SocketFlags.None);
    }

    private static async Task<byte[]> ReadAsync(Socket socket, int length)
    {
        byte[] bytes = new byte[length];
        for (int read = 0; read < length;)
        {
            int once = await socket.ReceiveAsync(bytes.AsMemory(read), SocketFlags.None).AsTask().WaitAsync(Patience.Time);
            Assert.NotEqual(0, once);
            read += once;
        }

        return bytes;
    }

    // Well or not.
    private static async Task EndsAsync(MigrationRelay relay)
    {
        await relay.Completion.WaitAsync(Patience.Time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Assert.True(relay.Completion.IsCompleted);
    }

    /// <summary>Two pairs of sockets, the relay between them.</summary>
    private sealed class Ends : IDisposable
    {
        public Ends() => ((Qemu, RelayToQemu), (Network, RelayToNetwork)) = (Pair(), Pair());

        public Socket Qemu { get; }

        public NetworkStream RelayToQemu { get; }

        public Socket Network { get; }

        public NetworkStream RelayToNetwork { get; }

        public void Dispose()
        {
            Qemu.Dispose();
            Network.Dispose();
        }

        private static (Socket Outside, NetworkStream Relay) Pair()
        {
            using var listener = new TcpListener(System.Net.IPAddress.Loopback, 0);
            listener.Start();
            var outside = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            outside.Connect(listener.LocalEndpoint);
            Socket inside = listener.AcceptSocket();
            MigrationRelay.Bound(inside);
            return (outside, new NetworkStream(inside, ownsSocket: true));
        }
    }
}
