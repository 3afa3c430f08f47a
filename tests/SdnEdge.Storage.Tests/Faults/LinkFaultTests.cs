using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Tests.Service;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>What lies between two stores fails, or the replica's disk: the owner's client goes on as the policy says, and what
/// protection is left is told.</summary>
public sealed class LinkFaultTests
{
    private static readonly ReplicationPolicy s_soon = new() { PeerGoneAfter = 1_000_000_000 };

    [Fact]
    public async Task A_cut_link_keeps_synchronous_writes_waiting_with_an_alarm_until_it_is_mended()
    {
        await using TwoStores two = await StartAsync(ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
        two.Relay.Cut();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        Task<uint> waits = client.WriteAsync(4096, Bytes(2));
        await ToldAsync(two, "alarm: peer-gone", "writes wait until it is back (policy: stop)");
        Assert.False(waits.IsCompleted);
        two.Relay.Mend();
        Assert.Equal(0u, await waits.WaitAsync(Patience.Time));
        await ToldAsync(two, "alarm-over: peer-gone");
        await EqualAsync(two);
    }

    [Fact]
    public async Task A_cut_link_does_not_stop_asynchronous_writes_and_the_alarm_says_that_the_lag_grows()
    {
        await using TwoStores two = await StartAsync(ReplicationMode.Async);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(1)));
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        two.Relay.Cut();
        await ToldAsync(two, "alarm: peer-gone", "the lag grows");
        for (int i = 0; i < 100; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i), fua: i % 8 == 0));
        await two.UntilAsync(two.ApiA, v => v.Replication!.Lag.Bytes >= 100 * 4096);
        two.Relay.Mend();
        await ToldAsync(two, "alarm-over: peer-gone");
        await EqualAsync(two);
    }

    // Nothing ends such a connection by itself: not the kernel for a quarter of an hour, nor the other end.
    [Fact]
    public async Task A_link_that_swallows_everything_is_made_anew_and_what_waits_is_answered()
    {
        await using TwoStores two = await StartAsync(ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i)));
            int before = two.Relay.Accepted;
            two.Relay.Swallow();
            Assert.Equal(0u, await client.WriteAsync(i * 8192, Bytes(10 + i)).WaitAsync(Patience.Time));
            Assert.True(two.Relay.Accepted > before);
        }

        await ToldAsync(two, "nothing was heard for 1000 ms");
        await EqualAsync(two);
    }

    [Fact]
    public async Task A_byte_that_is_changed_on_the_way_is_found_and_the_replica_has_what_was_written()
    {
        await using TwoStores two = await StartAsync(ReplicationMode.Sync);
        using NbdTestClient client = await two.ConnectAsync("store-a");
        for (int i = 0; i < 12; i++)
        {
            int before = two.Relay.Accepted;
            two.Relay.Corrupt(i * 700);
            for (int n = 0; n < 4; n++)
                Assert.Equal(0u, await client.WriteAsync(((i * 4) + n) * 4096, Bytes((i * 4) + n)).WaitAsync(Patience.Time));
            await Patience.UntilAsync(() => two.Relay.Accepted > before, two.Told);
        }

        await EqualAsync(two);
        for (int i = 0; i < 48; i++) Assert.Equal(Bytes(i), await client.ReadAsync(i * 4096, 4096));
    }

    [Fact]
    public async Task A_writer_waits_at_the_bound_of_the_lag_and_is_told_and_goes_on_at_the_speed_of_the_link()
    {
        await using TwoStores two = await StartAsync(ReplicationMode.Async, new ReplicationPolicy { LagBytes = 256 << 10 });
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true });
        two.Relay.HoldAfter(0);
        Task told = ToldAsync(two, "alarm: lag-at-bound", "writes wait for it");
        Task<uint> write = Task.FromResult(0u);
        int written = 0;
        while (await Task.WhenAny(told, write) == write) await NextAsync();
        await told;

        // The one that reached the bound may have been answered before that was seen.
        if (write.IsCompleted) await NextAsync();
        Assert.False(write.IsCompleted);
        two.Relay.BytesPerSecond = 64 << 10;
        two.Relay.HoldAfter(long.MaxValue);
        Assert.Equal(0u, await write.WaitAsync(Patience.Time));
        two.Relay.BytesPerSecond = 0;
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
        // The alarm is told once, with the reason that is known by then, also on a busy machine.
        var policy = new ReplicationPolicy { PeerGoneAfter = 5_000_000_000 };
        using var disk = new ManualResetEventSlim();
        await using var two = new TwoSites(policy);
        (PairSite a, PairSite b) = (two.A, two.B);
        try
        {
            await two.StartAsync(1);
            await a.Replicated!.ModeAsync(ReplicationMode.Sync, default).WaitAsync(Patience.Time);
            ClientView client = two.Client();
            Assert.Equal(BlockResult.Ok, await client.WriteAsync(0, Bytes(1), BlockFlags.None, default));

            if (hangs) b.Disk.Hangs = disk;
            else (b.Disk.FailingError, b.Disk.FailingName) = (Log.CrashDisk.NoSpace, "");
            Task<BlockResult> waits = client.WriteAsync(4096, Bytes(2), BlockFlags.None, default).AsTask();
            string alarm = await ToldAsync("peer-gone");
            foreach (string said in (string[])["has made nothing durable", "writes wait until it is back (policy: stop)",
                hangs ? "look at its disk" : "No space left on device"])
                Assert.True(alarm.Contains(said, StringComparison.Ordinal), $"'{said}' is not in: {alarm}");
            Assert.False(waits.IsCompleted);

            // An operator may choose to go on without the promise.
            await a.Replicated.ModeAsync(ReplicationMode.Async, default).WaitAsync(Patience.Time);
            Assert.Equal(BlockResult.Ok, await waits.WaitAsync(Patience.Time));
            Assert.Equal(BlockResult.Ok,
                await client.WriteAsync(8192, Bytes(3), BlockFlags.None, default).AsTask().WaitAsync(Patience.Time));

            (b.Disk.Hangs, b.Disk.FailingName) = (null, null);
            disk.Set();
            await ToldAsync("alarm-over");
            _ = await a.Replicated.DrainAsync(default).WaitAsync(Patience.Time);
            Assert.Equal(await a.ReadAsync(), await b.ReadAsync());
        }
        finally
        {
            disk.Set();
        }

        async Task<string> ToldAsync(string word)
        {
            string? told = null;
            await Patience.UntilAsync(() => (told = a.Told.FirstOrDefault(t => t.Contains(word, StringComparison.Ordinal))) is not null,
                () => string.Join('\n', a.Told));
            return told!;
        }
    }

    private static async Task<TwoStores> StartAsync(ReplicationMode mode, ReplicationPolicy? policy = null)
    {
        TwoStores two = await TwoStores.StartWithRelayAsync(mode: mode, policy: policy ?? s_soon);
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
}
