using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qemu;
using SdnEdge.Host.Qmp;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>A real guest that moves between two drivers, as the agents of two hosts call them.</summary>
public class QemuDriverTests
{
    [Fact]
    public async Task A_guest_moves_there_and_back_with_all_its_memory()
    {
        await using var lab = new TwoDrivers();
        await lab.StartAsync();
        (long ticks, long bad) = await lab.CountsAsync(lab.A);
        Assert.Equal(0, bad);
        for (int move = 1; move <= 4; move++)
        {
            (Side from, Side to) = move % 2 == 1 ? (lab.A, lab.B) : (lab.B, lab.A);
            var context = new DriverContext("vs", move, $"m{move}", to.Name);
            Assert.Equal(ServerState.Incoming, await to.Driver.PrepareIncomingAsync(context, default));
            await lab.MirroredAsync(from, context);
            Assert.Equal(ServerState.Running, await from.Driver.LookAsync(context, default));
            Assert.Equal(ServerState.Paused, await from.Driver.StopAsync(context, default));
            Assert.Equal(ServerState.Paused, await from.Driver.HandOverAsync(context, default));
            Assert.Equal(ServerState.Incoming, await to.Driver.LookAsync(context, default));
            Assert.Equal(ServerState.Running, await to.Driver.ActivateAsync(context, default));
            Assert.Equal(ServerState.Absent, await from.Driver.KillAsync(context, default));
            (long now, bad) = await lab.CountsAsync(to);
            Assert.True(now >= ticks, $"move {move}: the guest's clock went back from {ticks} to {now}");
            Assert.Equal(0, bad);
            ticks = now;
        }
    }

    [Fact]
    public async Task A_guest_that_was_stopped_and_handed_over_goes_on_where_it_was_when_the_move_is_undone()
    {
        await using var lab = new TwoDrivers();
        DriverContext context = await lab.StoppedAsync();
        Assert.Equal(ServerState.Running, await lab.A.Driver.ResumeAsync(context with { Epoch = 2 }, default));
        Assert.Equal(ServerState.Absent, await lab.B.Driver.CancelAsync(context with { Epoch = 2 }, default));
        (long ticks, long bad) = await lab.CountsAsync(lab.A);
        Assert.Equal(0, bad);

        // Again, and now all of it is at the target already.
        context = context with { Epoch = 3 };
        await lab.B.Driver.PrepareIncomingAsync(context, default);
        await lab.MirroredAsync(lab.A, context);
        await lab.A.Driver.StopAsync(context, default);
        await lab.A.Driver.HandOverAsync(context, default);
        Assert.Equal(ServerState.Running, await lab.A.Driver.ResumeAsync(context with { Epoch = 4 }, default));
        Assert.Equal(ServerState.Absent, await lab.B.Driver.CancelAsync(context with { Epoch = 4 }, default));
        (long later, bad) = await lab.CountsAsync(lab.A);
        Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    // The guest runs on at the source, and the target takes a second attempt.
    [Fact]
    public async Task A_copy_that_is_cut_is_begun_anew()
    {
        await using var lab = new TwoDrivers();
        await lab.StartAsync();
        var context = new DriverContext("vs", 1, "m1", "host-b");
        await lab.B.Driver.PrepareIncomingAsync(context, default);
        await lab.MirroredAsync(lab.A, context);
        lab.Network.Cut();
        await lab.UntilAsync(async () => await lab.A.Driver.MirrorAsync(context, default) is { Ready: false });
        Assert.Equal(ServerState.Running, await lab.A.Driver.LookAsync(context, default));
        await lab.MirroredAsync(lab.A, context);
        await lab.A.Driver.StopAsync(context, default);
        await lab.A.Driver.HandOverAsync(context, default);
        Assert.Equal(ServerState.Running, await lab.B.Driver.ActivateAsync(context, default));
        Assert.Equal(0, (await lab.CountsAsync(lab.B)).Bad);
    }

    [Theory]
    [InlineData("killed")]
    [InlineData("frozen")]
    [InlineData("cut off")]
    public async Task A_target_that_fails_in_the_hand_over_leaves_the_guest_stopped_at_the_source_which_resumes_it(string how)
    {
        await using var lab = new TwoDrivers();
        DriverContext context = await lab.StoppedAsync();
        int target = new QemuProcess(lab.B.Folder).Id!.Value;
        if (how == "cut off") lab.Network.Cut();
        else Assert.True(Signals.Send(target, how == "killed" ? ProcessSignal.Kill : ProcessSignal.Stop));
        Exception e = await Assert.ThrowsAnyAsync<Exception>(() => lab.A.Driver.HandOverAsync(context, default));
        Assert.True(e is DriverException or QmpException, e.ToString());

        // Stopped by command, it does not go on by itself, whatever became of its migration.
        Assert.Equal(ServerState.Paused, await lab.A.Driver.LookAsync(context, default));
        Assert.Equal(ServerState.Running, await lab.A.Driver.ResumeAsync(context with { Epoch = 2 }, default));
        if (how == "frozen") Assert.True(Signals.Send(target, ProcessSignal.Continue));
        Assert.Equal(ServerState.Absent, await lab.B.Driver.CancelAsync(context with { Epoch = 2 }, default));
        Assert.Equal(0, (await lab.CountsAsync(lab.A)).Bad);
    }

    // The target has all of it, and its acknowledgement is lost. QEMU, had it stopped the guest by itself, would run it on: at both sides.
    [Fact]
    public async Task A_lost_acknowledgement_makes_no_second_guest()
    {
        await using var lab = new TwoDrivers();
        DriverContext context = await lab.StoppedAsync();
        lab.Network.LoseAnswers();
        await Assert.ThrowsAsync<DriverException>(() => lab.A.Driver.HandOverAsync(context, default));
        Assert.Equal(ServerState.Paused, await lab.A.Driver.LookAsync(context, default));
        Assert.Equal(ServerState.Incoming, await lab.B.Driver.LookAsync(context, default));
        Assert.Equal(ServerState.Running, await lab.A.Driver.ResumeAsync(context with { Epoch = 2 }, default));
        Assert.Equal(ServerState.Absent, await lab.B.Driver.CancelAsync(context with { Epoch = 2 }, default));
        Assert.Equal(0, (await lab.CountsAsync(lab.A)).Bad);
    }

    [Fact]
    public async Task The_next_agent_finds_the_guest_of_the_one_before()
    {
        await using var lab = new TwoDrivers();
        await lab.StartAsync();
        await lab.A.Driver.DisposeAsync();

        // It was killed before it had written down which process it had started.
        File.Delete(Path.Combine(lab.A.Folder, "process"));
        await using var next = new QemuDriver("vs", new QemuConfig([]), lab.A.Folder, lab.Network);
        Assert.Equal(ServerState.Running, await next.LookAsync(new DriverContext("vs"), default));
        Assert.Equal(ServerState.Paused, await next.StopAsync(new DriverContext("vs", 1), default));
        Assert.Equal(ServerState.Running, await next.ResumeAsync(new DriverContext("vs", 2), default));
        Assert.Equal(ServerState.Absent, await next.KillAsync(new DriverContext("vs", 2), default));
    }

    [Fact]
    public async Task What_happens_to_a_guest_without_an_order_is_said_with_its_reason()
    {
        await using var lab = new TwoDrivers();
        await lab.StartAsync();
        Assert.Null(lab.A.Driver.Why);
        Assert.True(Signals.Send(new QemuProcess(lab.A.Folder).Id!.Value, ProcessSignal.Terminate));
        DriverNews first = await lab.A.Driver.News.ReadAsync().AsTask().WaitAsync(Patience.Time);
        Assert.Equal(("shut-down", true), (first.Change, first.LookNow));
        Assert.Contains("host-signal", first.Detail, StringComparison.Ordinal);
        Assert.Equal("ended", (await lab.A.Driver.News.ReadAsync().AsTask().WaitAsync(Patience.Time)).Change);
        Assert.Equal(ServerState.Absent, await lab.A.Driver.LookAsync(new DriverContext("vs"), default));
        Assert.Contains("its QEMU has ended", lab.A.Driver.Why, StringComparison.Ordinal);

        // What the driver ends itself is no news.
        Assert.Equal(ServerState.Running, await lab.A.Driver.ResumeAsync(new DriverContext("vs", 1), default));
        Assert.Equal(ServerState.Absent, await lab.A.Driver.KillAsync(new DriverContext("vs", 1), default));
        Assert.Null(lab.A.Driver.Why);
        Assert.False(lab.A.Driver.News.TryRead(out DriverNews? none), none?.Detail);
    }

    [Fact]
    public async Task In_one_pass_the_memory_is_copied_once_and_the_rest_when_the_guest_stands_still()
    {
        await using var lab = new TwoDrivers(onePass: true);
        DriverContext context = await lab.StoppedAsync();
        Assert.Equal(ServerState.Paused, await lab.A.Driver.HandOverAsync(context, default));
        Assert.Equal(ServerState.Running, await lab.B.Driver.ActivateAsync(context, default));
        Assert.Equal(0, (await lab.CountsAsync(lab.B)).Bad);
        CopyInfo copy = lab.A.Driver.Copy!;
        Assert.True(copy is { Completed: true, EndedAtNs: not null } && copy.CopiedBytes > 64 << 20, copy.ToString());
        Assert.All(copy.Samples.Where(s => !s.GateShut).SkipLast(1), s => Assert.Equal(1, s.Pass));
    }

    // 16 MiB that change all the time over 8 MB/s: each pass has as much to copy as the one before.
    [Fact]
    public async Task A_guest_that_changes_its_memory_faster_than_it_is_carried_is_said_not_to_converge()
    {
        await using var lab = new TwoDrivers(app: "dirty=4000,over=16", bytesPerSecond: 8_000_000);
        await lab.StartAsync();
        var context = new DriverContext("vs", 1, "m1", "host-b", MaxStopMs: 1_000);
        await lab.B.Driver.PrepareIncomingAsync(context, default);
        MirrorProgress? at = null;
        await lab.UntilAsync(async () => (at = await lab.A.Driver.MirrorAsync(context, default)) is { NotConverging: not null });
        Assert.False(at!.Ready);
        Assert.Contains("1000 are allowed", at.NotConverging, StringComparison.Ordinal);
        Assert.Equal(ServerState.Running, await lab.A.Driver.LookAsync(context, default));
    }

    // As users of other managers have it: a QEMU that runs already, with two monitors.
    [Fact]
    public async Task A_guest_that_was_started_by_others_is_taken_over_as_it_runs_and_moves()
    {
        await using var lab = new TwoDrivers();
        string folder = Directory.CreateDirectory(Path.Combine(Path.GetDirectoryName(lab.A.Folder)!, "given")).FullName;
        var given = new QemuSockets(Path.Combine(folder, "a"), Path.Combine(folder, "b"));
        await using var driver = new QemuDriver("vs", lab.A.Config with { Given = given }, lab.A.Folder, lab.Network);
        Assert.Equal(ServerState.Absent, await driver.LookAsync(new DriverContext("vs"), default));
        using Process qemu = Process.Start(new ProcessStartInfo(lab.A.Config.Run[0],
            [.. lab.A.Config.Run.Skip(1), "-qmp", $"unix:{given.Main},server=on,wait=off", "-qmp",
                $"unix:{given.Rescue},server=on,wait=off"]))!;
        try
        {
            await lab.UntilAsync(async () => await driver.LookAsync(new DriverContext("vs"), default) == ServerState.Running);
            (long ticks, _) = await lab.CountsAsync(lab.A);
            var context = new DriverContext("vs", 1, "m1", "host-b");
            await lab.B.Driver.PrepareIncomingAsync(context, default);
            await lab.UntilAsync(async () => await driver.MirrorAsync(context, default) is { Ready: true });
            Assert.Equal(ServerState.Paused, await driver.StopAsync(context, default));
            await driver.HandOverAsync(context, default);
            Assert.Equal(ServerState.Running, await lab.B.Driver.ActivateAsync(context, default));
            Assert.Equal(ServerState.Absent, await driver.KillAsync(context, default));
            await qemu.WaitForExitAsync().WaitAsync(Patience.Time);
            (long later, long bad) = await lab.CountsAsync(lab.B);
            Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
        }
        finally
        {
            qemu.Kill();
        }
    }

    internal sealed record Side(string Name, string Folder, QemuConfig Config, QemuDriver Driver, int Counter);

    /// <summary>Two hosts' drivers of one guest, by QEMU 10 where nothing else is said.</summary>
    internal sealed class TwoDrivers : IAsyncDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-guest-").FullName;

        private readonly string _app;
        private readonly bool _onePass;
        private readonly CopyBandwidth _bandwidth;

        public TwoDrivers(
            string app = "dirty=400,over=16", bool onePass = false, long bytesPerSecond = 0, string[]? qemuA = null, string[]? qemuB = null)
        {
            (_app, _onePass, _bandwidth) = (app, onePass, new CopyBandwidth(bytesPerSecond));
            (A, B) = (Make("host-a", qemuA), Make("host-b", qemuB));
        }

        public Loopback Network { get; } = new();

        public Side A { get; }

        public Side B { get; }

        public async Task StartAsync()
        {
            Assert.Equal(ServerState.Running, await A.Driver.ActivateAsync(new DriverContext("vs"), default));
            await CountsAsync(A);
        }

        /// <summary>The guest runs at A, nearly all of it is at B, and it has been stopped.</summary>
        public async Task<DriverContext> StoppedAsync()
        {
            await StartAsync();
            var context = new DriverContext("vs", 1, "m1", B.Name);
            await B.Driver.PrepareIncomingAsync(context, default);
            await MirroredAsync(A, context);
            await A.Driver.StopAsync(context, default);
            return context;
        }

        public Task<(long Ticks, long Bad)> CountsAsync(Side side) => Guest.CountsAsync(side.Counter, Patience.Time * 2);

        public Task MirroredAsync(Side from, DriverContext context)
            => UntilAsync(async () => await from.Driver.MirrorAsync(context, default) is { Ready: true });

        public Task UntilAsync(Func<Task<bool>> so) => Patience.UntilAsync(so, () => "the driver does not say so");

        public async ValueTask DisposeAsync()
        {
            foreach (Side side in (Side[])[A, B])
            {
                await side.Driver.DisposeAsync();
                await new QemuProcess(side.Folder).KillAsync(default);
            }

            Network.Dispose();
            Directory.Delete(_folder, recursive: true);
        }

        private Side Make(string host, string[]? qemu)
        {
            string folder = Path.Combine(_folder, host);
            int counter = Guest.FreePort();
            string[] command = Guest.Command(Path.Combine(_folder, host + ".console"), Guest.FreePort(), counter, _app, qemu);
            var config = new QemuConfig(command, _onePass);
            return new Side(host, folder, config, new QemuDriver("vs", config, folder, Network, _bandwidth), counter);
        }
    }

    /// <summary>A stream whose answers can be lost.</summary>
    internal sealed class OneWay(Stream inner) : Stream
    {
        public bool Lost { get; set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (true)
            {
                int read = await inner.ReadAsync(buffer, cancellationToken);
                if (read == 0 || !Lost) return read;
            }
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
            => inner.WriteAsync(buffer, cancellationToken);

        public override void Flush() => inner.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing) inner.Dispose();
            base.Dispose(disposing);
        }
    }

    /// <summary>Migrations by TCP on the loopback, one port a guest that is expected.</summary>
    internal sealed class Loopback : IMigrationNetwork, IDisposable
    {
        private readonly ConcurrentDictionary<(string Server, long Epoch), TcpListener> _expected = [];
        private TcpClient? _incoming;

        private OneWay? _outgoing;

        public void Dispose()
        {
            _outgoing?.Dispose();
            _incoming?.Dispose();
            foreach (TcpListener listener in _expected.Values) listener.Dispose();
        }

        /// <summary>The link breaks.</summary>
        public void Cut() => _incoming!.Client.Close(0);

        /// <summary>What the target says does not arrive any more.</summary>
        public void LoseAnswers() => _outgoing!.Lost = true;

        public async Task<Stream> ConnectAsync(string host, string server, long epoch, CancellationToken cancel)
        {
            var client = new TcpClient();
            await client.ConnectAsync((IPEndPoint)_expected[(server, epoch)].LocalEndpoint, cancel);
            return _outgoing = new OneWay(client.GetStream());
        }

        public void Expect(string server, long epoch, Func<Stream, CancellationToken, Task>? take)
        {
            if (_expected.TryRemove((server, epoch), out TcpListener? old)) old.Dispose();
            if (take is null) return;
            var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            _expected[(server, epoch)] = listener;
            _ = Task.Run(async () =>
            {
                while (true)
                {
                    TcpClient client = await listener.AcceptTcpClientAsync();
                    _incoming = client;
                    _ = take(client.GetStream(), default);
                }
            });
        }
    }
}
