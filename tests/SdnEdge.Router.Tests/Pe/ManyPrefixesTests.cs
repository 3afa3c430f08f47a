using SdnEdge.Core.Api;
using SdnEdge.Linux;
using Xunit;
using Xunit.Abstractions;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>A migration of very many prefixes: arming takes time in proportion, switching does not.</summary>
public sealed class ManyPrefixesTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Switching_a_hundred_thousand_prefixes_is_one_store_and_the_pe_answers_meanwhile()
    {
        const int count = 100_000;
        await using TwoPes two = await StartAsync();
        MovingPrefix[] prefixes =
            [.. Enumerable.Range(0, count).Select(i => new MovingPrefix($"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}/32", "dc"))];
        SignalRequest For(MigrationRole role) => Prepare(role) with { Prefixes = prefixes };

        long begin = Monotonic.Now;
        Task<SignalReply> target = SignalAsync(two.ApiB, SignalKind.Prepare, For(MigrationRole.Target));
        Task<SignalReply> source = SignalAsync(two.ApiA, SignalKind.Prepare, For(MigrationRole.Source));
        long slowest = 0;
        while (!source.IsCompleted)
        {
            long asked = Monotonic.Now;
            await GetAsync<NodeInfo>(two.ApiA, "v1/node");
            slowest = Math.Max(slowest, Monotonic.Now - asked);
        }

        await target;
        await source;
        long prepared = Monotonic.Now;
        SignalReply switched = await SignalAsync(two.ApiA, SignalKind.Switch);
        long atOnce = Monotonic.Now - prepared;
        foreach (string address in (string[])["100.64.0.0", "100.64.200.7", "100.65.134.159"])
            Assert.Equal("tunnel", (await GetAsync<FibInfo>(two.ApiA, $"v1/fib/lookup?address={address}")).Action);
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=100.65.134.160")).Action);
        output.WriteLine($"prepare {(prepared - begin) / 1e6:0} ms, slowest answer meanwhile {slowest / 1e6:0} ms; switch "
            + $"{atOnce / 1e6:0.0} ms, store {switched.StoreNs} ns, on every worker after "
            + $"{(switched.AcknowledgedAtNs - switched.TookEffectAtNs) / 1e3:0} us");
        Assert.InRange(switched.StoreNs!.Value, 0, 100_000_000);

        begin = Monotonic.Now;
        await SignalAsync(two.ApiA, SignalKind.Abort);
        await SignalAsync(two.ApiB, SignalKind.Abort);
        output.WriteLine($"abort {(Monotonic.Now - begin) / 1e6:0} ms");
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=100.64.200.7")).Action);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
    }

    [Fact]
    public async Task An_abort_in_the_middle_of_arming_leaves_nothing_over()
    {
        const int count = 100_000;
        await using TwoPes two = await StartAsync();
        MovingPrefix[] prefixes =
            [.. Enumerable.Range(0, count).Select(i => new MovingPrefix($"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}/32", "dc"))];
        Task<HttpResponseMessage> waiting =
            PostAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with { Prefixes = prefixes });
        await UntilAsync("arming is under way", async () => (await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Length == 1);
        await SignalAsync(two.ApiA, SignalKind.Abort);
        await ProblemAsync(waiting, 409);
        Assert.Empty(await GetAsync<RouteInfo[]>(two.ApiA, "v1/routes?prefix=100.64.0.0/10"));
        Assert.Equal("no-route", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=100.64.0.0")).Action);
        Assert.Contains("sdnedge_control_faults_total 0", await two.ApiA.GetStringAsync("metrics"), StringComparison.Ordinal);
    }
}
