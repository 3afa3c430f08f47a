using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using ClientIdentity = SdnEdge.Core.Replication.ClientIdentity;
using Xunit;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>What lies between two stores fails, or the replica's disk: the owner's client goes on as the policy says, and what
/// protection is left is told.</summary>
public sealed class LinkFaultTests
{
    private static readonly ReplicationPolicy s_soon = new() { PeerGoneAfter = 1_000_000_000 };

    [Fact]
    public async Task A_cut_link_keeps_synchronous_writes_waiting_with_an_alarm_until_it_is_mended()
    {
        await using var relay = new LinkRelay();
        await using TwoStores two = await StartAsync(relay, ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
        relay.Cut();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        Task<uint> waits = client.WriteAsync(4096, Bytes(2));
        await ToldAsync(two, "alarm: peer-gone", "writes wait until it is back (policy: stop)");
        Assert.False(waits.IsCompleted);
        relay.Mend();
        Assert.Equal(0u, await waits.WaitAsync(Patience.Time));
        await ToldAsync(two, "alarm-over: peer-gone");
        await EqualAsync(two);
    }

    [Fact]
    public async Task A_cut_link_does_not_stop_asynchronous_writes_and_the_alarm_says_that_the_lag_grows()
    {
        await using var relay = new LinkRelay();
        await using TwoStores two = await StartAsync(relay, ReplicationMode.Async);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        relay.Cut();
        await ToldAsync(two, "alarm: peer-gone", "the lag grows");
        for (int i = 0; i < 100; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i), fua: i % 8 == 0));
        await two.UntilAsync(two.ApiA, v => v.Replication!.Lag.Bytes >= 100 * 4096);
        relay.Mend();
        await ToldAsync(two, "alarm-over: peer-gone");
        await EqualAsync(two);
    }

    // Nothing ends such a connection by itself: not the kernel for a quarter of an hour, nor the other end.
    [Fact]
    public async Task A_link_that_swallows_everything_is_made_anew_and_what_waits_is_answered()
    {
        await using var relay = new LinkRelay();
        await using TwoStores two = await StartAsync(relay, ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i)));
            int before = relay.Accepted;
            relay.Swallow();
            Assert.Equal(0u, await client.WriteAsync(i * 8192, Bytes(10 + i)).WaitAsync(Patience.Time));
            Assert.True(relay.Accepted > before);
        }

        await ToldAsync(two, "nothing was heard for 1000 ms");
        await EqualAsync(two);
    }

    [Fact]
    public async Task A_byte_that_is_changed_on_the_way_is_found_and_the_replica_has_what_was_written()
    {
        await using var relay = new LinkRelay();
        await using TwoStores two = await StartAsync(relay, ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        for (int i = 0; i < 12; i++)
        {
            int before = relay.Accepted;
            relay.Corrupt(i * 700);
            for (int n = 0; n < 4; n++)
                Assert.Equal(0u, await client.WriteAsync(((i * 4) + n) * 4096, Bytes((i * 4) + n)).WaitAsync(Patience.Time));
            await Patience.UntilAsync(() => relay.Accepted > before, two.Told);
        }

        await EqualAsync(two);
        for (int i = 0; i < 48; i++) Assert.Equal(Bytes(i), await client.ReadAsync(i * 4096, 4096));
    }

    [Fact]
    public async Task A_writer_waits_at_the_bound_of_the_lag_and_is_told_and_goes_on_at_the_speed_of_the_link()
    {
        await using var relay = new LinkRelay();
        await using TwoStores two = await StartAsync(relay, ReplicationMode.Async, new ReplicationPolicy { LagBytes = 256 << 10 });
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        relay.HoldAfter(0);
        Task told = ToldAsync(two, "alarm: lag-at-bound", "writes wait for it");
        Task<uint> write = Task.FromResult(0u);
        int written = 0;
        while (await Task.WhenAny(told, write) == write) await NextAsync();
        await told;

        // The one that reached the bound may have been answered before that was seen.
        if (write.IsCompleted) await NextAsync();
        Assert.False(write.IsCompleted);
        relay.BytesPerSecond = 64 << 10;
        relay.HoldAfter(long.MaxValue);
        Assert.Equal(0u, await write.WaitAsync(Patience.Time));
        relay.BytesPerSecond = 0;
        await EqualAsync(two);

        async Task NextAsync()
        {
            Assert.Equal(0u, await write);
            write = client.WriteAsync(written * 4096, Bytes(written));
            written++;
            await two.UntilAsync(two.ApiA, v => v.Replication!.Last > (ulong)written);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_replica_whose_disk_is_full_or_hangs_stops_synchronous_writes_only_and_the_alarm_says_why(bool hangs)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-pair-").FullName;
        using var disk = new ManualResetEventSlim();
        try
        {
            await using var a = new PairSite("store-a", "store-b", true, Directory.CreateDirectory($"{folder}/a").FullName, s_soon);
            await using var b = new PairSite("store-b", "store-a", false, Directory.CreateDirectory($"{folder}/b").FullName, s_soon);
            a.Create(1);
            b.Create(2);
            b.Start(_ => throw new IOException("a copy connects to nobody"));
            a.Start(cancel => b.AcceptAsync(a, cancel));
            var guest = ClientIdentity.Certificate("guest");
            await a.Replicated!.OrderAsync(OwnershipOrderKind.Grant, 1, guest, 1, null, default).WaitAsync(Patience.Time);
            await a.Replicated.ModeAsync(ReplicationMode.Sync, default).WaitAsync(Patience.Time);
            var client = new ClientView(a.Replicated, guest);
            Assert.Equal(BlockResult.Ok, await client.WriteAsync(0, Bytes(1), BlockFlags.None, default));

            if (hangs) b.Disk.Hangs = disk;
            else (b.Disk.FailingError, b.Disk.FailingName) = (Log.CrashDisk.NoSpace, "");
            Task<BlockResult> waits = client.WriteAsync(4096, Bytes(2), BlockFlags.None, default).AsTask();
            await Patience.UntilAsync(() => a.Told.Any(t => t.Contains("peer-gone", StringComparison.Ordinal)),
                () => string.Join('\n', a.Told));
            string alarm = a.Told.First(t => t.Contains("peer-gone", StringComparison.Ordinal));
            Assert.Contains("has made nothing durable", alarm, StringComparison.Ordinal);
            Assert.Contains("writes wait until it is back (policy: stop)", alarm, StringComparison.Ordinal);
            Assert.Contains(hangs ? "look at its disk" : "No space left on device", alarm, StringComparison.Ordinal);
            Assert.False(waits.IsCompleted);

            // An operator may choose to go on without the promise.
            await a.Replicated.ModeAsync(ReplicationMode.Async, default).WaitAsync(Patience.Time);
            Assert.Equal(BlockResult.Ok, await waits.WaitAsync(Patience.Time));
            Assert.Equal(BlockResult.Ok,
                await client.WriteAsync(8192, Bytes(3), BlockFlags.None, default).AsTask().WaitAsync(Patience.Time));

            (b.Disk.Hangs, b.Disk.FailingName) = (null, null);
            disk.Set();
            await Patience.UntilAsync(() => a.Told.Any(t => t.Contains("alarm-over", StringComparison.Ordinal)),
                () => string.Join('\n', a.Told));
            _ = await a.Replicated.DrainAsync(default).WaitAsync(Patience.Time);
            Assert.Equal(await a.ReadAsync(), await b.ReadAsync());
        }
        finally
        {
            disk.Set();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<TwoStores> StartAsync(LinkRelay relay, ReplicationMode mode, ReplicationPolicy? policy = null)
    {
        TwoStores two = await TwoStores.StartAsync(mode, policy ?? s_soon, between: relay.To);
        await TwoStores.GrantAsync(two.ApiA, 1);
        await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, mode));
        return two;
    }

    private static Task ToldAsync(TwoStores two, params string[] words) => Patience.UntilAsync(
        () => two.Told().Split('\n').Any(line => words.All(w => line.Contains(w, StringComparison.Ordinal))), two.Told);

    // Both have proved to be equal, and each is as it was written.
    private static async Task EqualAsync(TwoStores two)
    {
        await two.ApiA.DrainAsync(TwoStores.Volume).WaitAsync(Patience.Time);
        Assert.True((await two.ApiA.CheckAsync(TwoStores.Volume)).Good);
        Assert.True((await two.ApiB.CheckAsync(TwoStores.Volume)).Good);
    }

    private static byte[] Bytes(int seed)
    {
        byte[] bytes = new byte[4096];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
