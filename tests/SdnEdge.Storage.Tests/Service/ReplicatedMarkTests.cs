using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Replication;
using SdnEdge.Storage.Nbd;
using SdnEdge.Testing;
using SdnEdge.Web;
using Xunit;
using static SdnEdge.Storage.Tests.TestBytes;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>Marks of a volume at two stores, and what their metrics say.</summary>
public sealed class ReplicatedMarkTests
{
    [Fact]
    public async Task A_mark_is_kept_at_the_replica_at_the_same_point_with_the_same_bytes_and_each_store_lets_it_go_by_itself()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);
        for (int i = 0; i < 40; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i)));
        MarkInfo mark = Assert.Single(await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m1", Group: "g")));
        for (int i = 0; i < 80; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i + 1000), fua: i == 79));

        // 1. There, too, while the replica goes on.
        MarkInfo copy = await MarkedAsync(two, two.ApiB, "m1");
        Assert.Equal(mark with { Bytes = copy.Bytes }, copy);
        await two.UntilAsync(two.ApiA, v => v.Replication is { } r && r.ReplicaDurable >= r.Last);
        await two.ApiB.CheckAsync(TwoStores.Volume);
        foreach (string host in (string[])["host-a", "host-b"])
        {
            using NbdReader reader = NbdReader.Connect($"nbd+unix:///?socket={two.NbdOf(host)}", $"{TwoStores.Volume}@m1");
            byte[] bytes = new byte[80 * 4096];
            reader.Read(0, bytes);
            for (int i = 0; i < 80; i++)
                Assert.Equal(i < 40 ? Bytes(i) : new byte[4096], bytes.AsSpan(i * 4096, 4096).ToArray());
        }

        Assert.True((await two.ApiB.CheckMarkAsync(TwoStores.Volume, "m1")).Good);

        // 2. Only the owner marks.
        var refused = await Assert.ThrowsAsync<ApiProblemException>(
            () => two.ApiB.MarkAsync(TwoStores.Volume, new MarkRequest("m2")));
        Assert.Equal((409, $"volume {TwoStores.Volume} cannot be marked here: this store has its replica; mark it at store-a, and that "
            + "comes here with its log"), (refused.Problem.Status, refused.Problem.Detail));

        // 3. The name is free here again, and not there: nothing that is kept is taken away by that.
        await Patience.UntilAsync(async () => (await two.ApiA.NodeAsync()).Connections == 1, () => "the store still counts the reader");
        await two.ApiA.UnmarkAsync(TwoStores.Volume, "m1");
        MarkInfo second = Assert.Single(await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m1")));
        MarkInfo other = await MarkedAsync(two, two.ApiB, $"m1~{second.Point.Sequence}");
        Assert.Equal((second.Point, second.ContentRoot), (other.Point, other.ContentRoot));
        Assert.Equal(copy.Point, (await two.ApiB.MarksAsync(TwoStores.Volume))[0].Point);

        // 4. A volume that is handed over is not marked: its last point is promised already. A guest that writes again has called it off.
        await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, ReplicationMode.Sync));
        DrainProofInfo proof = await two.ApiA.DrainAsync(TwoStores.Volume);
        refused = await Assert.ThrowsAsync<ApiProblemException>(() => two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m2")));
        Assert.Contains("it is being handed over", refused.Problem.Detail, StringComparison.Ordinal);
        Assert.Equal(proof.Point, (await two.ApiA.DrainAsync(TwoStores.Volume)).Point);
        Assert.Equal(0u, await client.WriteAsync(0, Bytes(7)));
        await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m2"));
        await TwoStores.OrderAsync(two.ApiB, OwnershipOrderKind.Prepare, 2);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Prepare, 2);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Seal, 2);
        refused = await Assert.ThrowsAsync<ApiProblemException>(() => two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m3")));
        Assert.Equal(409, refused.Problem.Status);
        Assert.Contains("mark it at the store that owns it", refused.Problem.Detail, StringComparison.Ordinal);
        await TwoStores.OrderAsync(two.ApiA, OwnershipOrderKind.Unpark, 3);
        await TwoStores.OrderAsync(two.ApiB, OwnershipOrderKind.Cancel, 3);
        await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m3"));
        await MarkedAsync(two, two.ApiB, "m3");
    }

    [Fact]
    public async Task Metrics_say_how_far_the_replica_is_behind_and_what_the_marks_keep()
    {
        await using TwoStores two = await TwoStores.StartAsync();
        using NbdTestClient client = await two.ConnectAsync("store-a");
        await TwoStores.GrantAsync(two.ApiA, 1);

        // The grant is a record, too.
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: true, Lag.Bytes: 0 });
        Dictionary<string, double> now = Metrics(two.A!);
        string volume = $"{{volume=\"{TwoStores.Volume}\"";
        Assert.Equal((1, 1, 0, 0), (now[$"sdnedge_store_owner{volume}}}"], now[$"sdnedge_store_link_up{volume}}}"],
            now[$"sdnedge_store_lag_bytes{volume}}}"], now[$"sdnedge_store_marks{volume}}}"]));
        Assert.Equal(1, now[$"sdnedge_store_mode{volume},mode=\"async\"}}"]);
        Assert.Equal(0, now[$"sdnedge_store_mode{volume},mode=\"sync\"}}"]);
        Assert.DoesNotContain($"sdnedge_store_lag_bound_bytes{volume}}}", now.Keys);
        Assert.All(now.Where(m => m.Key.StartsWith("sdnedge_store_alarm{", StringComparison.Ordinal)), m => Assert.Equal(0, m.Value));

        // 1. What is written while the replica is away is lag, and what would be lost with this site.
        await two.StopBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        for (int i = 0; i < 50; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i)));
        await two.ApiA.MarkAsync(TwoStores.Volume, new MarkRequest("m1"));
        for (int i = 0; i < 50; i++) Assert.Equal(0u, await client.WriteAsync(i * 4096, Bytes(i + 1000), fua: i == 49));
        await two.ApiA.CheckAsync(TwoStores.Volume);
        await two.UntilAsync(two.ApiA, v => v.Replication!.Lag.Bytes >= 100 * 4096);
        now = Metrics(two.A!);
        Assert.Equal((0, 0), (now[$"sdnedge_store_link_up{volume}}}"], now[$"sdnedge_store_in_sync{volume}}}"]));
        Assert.True(now[$"sdnedge_store_lag_bytes{volume}}}"] >= 100 * 4096);
        Assert.True(now[$"sdnedge_store_lag_seconds{volume}}}"] > 0);
        Assert.True(now[$"sdnedge_store_rpo_seconds{volume}}}"] > 0);
        Assert.Equal((1, 50 * 4096), (now[$"sdnedge_store_marks{volume}}}"], now[$"sdnedge_store_mark_bytes{volume}}}"]));
        Assert.True(now[$"sdnedge_store_newest_mark_age_seconds{volume}}}"] >= 0);

        // 2. It is back, and in sync nothing would be lost.
        await two.StartBAsync();
        await two.ApiA.ModeAsync(TwoStores.Volume, new VolumeModeRequest(1, ReplicationMode.Sync));
        await two.UntilAsync(two.ApiA, v => v.Replication is { InSync: true, Lag.Bytes: 0 });
        now = Metrics(two.A!);
        Assert.Equal((1, 1, 0, 0), (now[$"sdnedge_store_link_up{volume}}}"], now[$"sdnedge_store_in_sync{volume}}}"],
            now[$"sdnedge_store_lag_bytes{volume}}}"], now[$"sdnedge_store_rpo_seconds{volume}}}"]));
        Assert.Equal(1, now[$"sdnedge_store_mode{volume},mode=\"sync\"}}"]);
        Dictionary<string, double> other = Metrics(two.B!);
        Assert.Equal((0, 1), (other[$"sdnedge_store_owner{volume}}}"], other[$"sdnedge_store_marks{volume}}}"]));
        Assert.DoesNotContain($"sdnedge_store_lag_bytes{volume}}}", other.Keys);

        // 3. What a write then waits for is counted when it is answered.
        string count = $"sdnedge_store_replica_waits_total{volume}}}", time = $"sdnedge_store_replica_wait_seconds_total{volume}}}";
        (double waits, double waited) = (now[count], now[time]);
        await two.StopBAsync();
        await two.UntilAsync(two.ApiA, v => v.Replication is { Connected: false });
        Task<uint> write = client.WriteAsync(0, Bytes(1));
        await two.UntilAsync(two.ApiA, v => v.Replication!.Last > v.Replication.ReplicaDurable);
        Assert.Equal(waits, Metrics(two.A!)[count]);
        await two.StartBAsync();
        Assert.Equal(0u, await write);
        now = Metrics(two.A!);
        Assert.Equal(waits + 1, now[count]);
        Assert.True(now[time] > waited, $"{now[time]} s");
    }

    // As a scraper reads it: every sample has its family's HELP and TYPE before it, a name and labels that are allowed, and is there once.
    private static Dictionary<string, double> Metrics(StoreAgent agent)
    {
        var samples = new Dictionary<string, double>(StringComparer.Ordinal);
        var families = new HashSet<string>(StringComparer.Ordinal);
        string family = "", type = "";
        foreach (string line in PrometheusText.Write(agent.Metrics()).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
            {
                string[] words = line.Split(' ', 4);
                family = words[2];
                Assert.True(families.Add(family), $"{family} is there twice");
                Assert.False(string.IsNullOrWhiteSpace(words[3]));
                type = "";
                continue;
            }

            if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
            {
                Assert.Equal(family, line.Split(' ')[2]);
                type = line.Split(' ')[3];
                Assert.Equal(family.EndsWith("_total", StringComparison.Ordinal), type == "counter");
                continue;
            }

            Match sample = Regex.Match(line,
                """^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*")*\})? (\S+)$""");
            Assert.True(sample.Success, line);
            Assert.Equal(family, sample.Groups[1].Value);
            Assert.NotEqual("", type);
            string series = sample.Groups[1].Value + sample.Groups[2].Value;
            double value = double.Parse(sample.Groups[3].Value, CultureInfo.InvariantCulture);
            Assert.True(samples.TryAdd(series, value), $"{series} is there twice");
        }

        return samples;
    }

    private static async Task<MarkInfo> MarkedAsync(TwoStores two, StoreClient store, string name)
    {
        MarkInfo? found = null;
        await Patience.UntilAsync(
            async () => (found = (await store.MarksAsync(TwoStores.Volume)).FirstOrDefault(m => m.Name == name)) is not null,
            () => $"there is no mark {name}; {two.Told()}");
        return found!;
    }
}
