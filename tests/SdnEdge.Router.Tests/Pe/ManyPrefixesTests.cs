using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Router.Control;
using SdnEdge.Testing;
using SdnEdge.Web;
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

    [Fact]
    public async Task Advertising_and_withdrawing_many_is_done_in_parts_and_answered_behind_the_last()
    {
        const int count = (3 * MigrationActions.PrefixesAPart) + 5;
        await using TwoPes two = await StartAsync();
        await PreparedAsync(two, count);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        await SignalAsync(two.ApiB, SignalKind.Release);
        long before = Last(two.B);
        await SignalAsync(two.ApiB, SignalKind.Advertise);
        Assert.All(Some(count), a => Assert.Equal("connected", Find(two.B, a).Action));
        Assert.Equal([1024, 1024, 1024], Published(two.B, before).Where(n => n >= 1024));
        Assert.Equal(count, Published(two.B, before).Sum());

        // Back: what was advertised is withdrawn, and what is left of the first move's group went before that.
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        await SignalAsync(two.ApiA, SignalKind.Teardown, new SignalRequest(1, Force: true));
        await UntilAsync("the hold drains",
            async () => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.State == "released");
        before = Last(two.B);
        await SignalAsync(two.ApiB, SignalKind.Teardown);
        Assert.Equal([1024, 1024, 1024], Published(two.B, before).Where(n => n >= 1024));
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups"));
        Assert.All(Some(count), a => Assert.Equal(("connected", null), (Find(two.B, a).Action, Find(two.B, a).Group)));
    }

    [Fact]
    public async Task A_pe_that_ends_in_the_middle_of_a_withdraw_has_withdrawn_all_when_it_is_back()
    {
        const int count = 20_000;
        await using TwoPes two = await StartAsync();
        await PreparedAsync(two, count);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        Task<SignalReply> withdraw = two.A.SignalAsync("m1", SignalKind.Withdraw, new SignalRequest(1), CancellationToken.None);
        string file = Path.Combine(two.StateA, "migrations");
        await UntilAsync("the withdraw is on disk",
            () => Task.FromResult(File.ReadAllText(file).Contains("\"withdrawn\"", StringComparison.Ordinal)));
        await two.RestartAAsync();
        Assert.Equal(PeMigrationState.Withdrawn, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Withdraw)).Repeated);
        Assert.All(Some(count), a => Assert.Equal("tunnel", Find(two.A, a).Action));

        // Each is out of use: a route of the configuration to it is not used.
        await SignalAsync(two.ApiA, SignalKind.Teardown, new SignalRequest(1, Force: true));
        Assert.All(Some(count), a => Assert.Equal("no-route", Find(two.A, a).Action));

        // Its answer is lost, or came before the end.
        if (withdraw.IsCompleted) Assert.Equal(PeMigrationState.Withdrawn, (await withdraw).State);
    }

    [Fact]
    public async Task A_prepare_of_the_same_prefixes_waits_until_an_aborted_group_is_gone_in_all_its_parts()
    {
        const int count = 20_000;
        await using TwoPes two = await StartAsync();
        SignalRequest For(long epoch)
            => Prepare(MigrationRole.Target, epoch, new HoldOptions()) with { Prefixes = Prefixes(count), TunnelKey = 80 };
        await SignalAsync(two.ApiB, SignalKind.Prepare, For(1));
        await SignalAsync(two.ApiB, SignalKind.Abort);

        // Refused while the hold gives back; from then on it is taken.
        await UntilAsync("the second prepare is taken", async () =>
        {
            using HttpResponseMessage answer = await PostAsync(two.ApiB, SignalKind.Prepare, For(2), "m2");
            return answer.IsSuccessStatusCode;
        });
        Assert.Equal("m2", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups")).Name);
        await SignalAsync(two.ApiB, SignalKind.Release, new SignalRequest(2), "m2");
        await UntilAsync("the hold drains",
            async () => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m2")).Hold!.State == "released");
        Assert.All(Some(count), a => Assert.Equal(("connected", "m2"), (Find(two.B, a).Action, Find(two.B, a).Group)));
    }

    private static MovingPrefix[] Prefixes(int count)
        => [.. Enumerable.Range(0, count).Select(i => new MovingPrefix($"{Address(i)}/32", "dc"))];

    private static string Address(int i) => $"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}";

    // The first and last ones, and some between.
    private static IEnumerable<string> Some(int count) => Enumerable.Range(0, 16).Select(i => Address(i * (count - 1) / 15));

    private static FibInfo Find(PeRouter pe, string address)
        => pe.LookupAsync("default", IpAddress.Parse(address)).WaitAsync(Patience.Time).GetAwaiter().GetResult();

    private static async Task PreparedAsync(TwoPes two, int count)
    {
        Task<SignalReply> target =
            SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target) with { Prefixes = Prefixes(count) });
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source) with { Prefixes = Prefixes(count) });
        await target;
    }

    private static long Last(PeRouter pe) => pe.Events.Newest;

    // How many prefixes changed in the FIB, in one go each.
    private static int[] Published(PeRouter pe, long after)
    {
        var sizes = new List<int>();
        int named = 0;
        foreach (EventRecord e in pe.Events.After(after, out _).Where(e => e.Kind == "route"))
        {
            if (e.Change is "installed" or "removed") named++;
            if (e.Change != "more") continue;
            sizes.Add(named + int.Parse(e.Detail!.Split(' ')[0], CultureInfo.InvariantCulture));
            named = 0;
        }

        if (named > 0) sizes.Add(named);
        return [.. sizes];
    }
}
