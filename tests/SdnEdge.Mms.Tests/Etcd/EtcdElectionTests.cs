using SdnEdge.Mms.Journal.Etcd;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Etcd;

/// <summary>One manager leads at most, and by its own clock it stops before another one begins.</summary>
public sealed class EtcdElectionTests(EtcdServer server) : IClassFixture<EtcdServer>
{
    private static int s_prefixes;

    private readonly string _prefix = $"/election/{Interlocked.Increment(ref s_prefixes)}";

    [Fact]
    public async Task Of_several_one_leads_and_when_it_gives_the_lead_back_another_one_has_it_at_once()
    {
        using EtcdClient client = server.Client(60);
        using var stop = new CancellationTokenSource();
        int leading = 0, most = 0, terms = 0;
        long last = 0;
        await Task.WhenAll(Enumerable.Range(0, 5).Select(n => Task.Run(async () =>
        {
            for (int i = 0; i < 4; i++)
            {
                // A lease of a minute: nobody has waited for one to run out.
                EtcdTerm term = await CampaignAsync(client, 60, $"m{n}");
                int now = Interlocked.Increment(ref leading);
                InterlockedMax(ref most, now);
                Assert.True(term.Revision > Interlocked.Exchange(ref last, term.Revision), "a later term has a lower token");
                Interlocked.Increment(ref terms);
                Assert.True(term.IsValid);
                Interlocked.Decrement(ref leading);
                await term.DisposeAsync();
                Assert.False(term.IsValid);
            }
        })));
        Assert.Equal((1, 20), (most, terms));
    }

    // In turn: etcd is not reached; the answers are lost; all is well again.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_manager_that_etcd_does_not_hear_stops_leading_before_another_one_begins(bool asks)
    {
        using var relay = new EtcdRelay(server.Port);
        using EtcdClient cut = server.Client(1, relay.Address), other = server.Client(1);
        for (int i = 0; i < 3; i++)
        {
            await using EtcdTerm first = await CampaignAsync(cut, 1, "cut");
            Assert.True(first.IsValid);
            relay.Let(asks, answers: false);

            // Where its renewals arrive it leads on by etcd, and does not know it: it is one that stops, and gives way.
            Task<EtcdTerm> next = CampaignAsync(other, 1, "other");
            await Task.WhenAny(next, Task.Delay(Timeout.Infinite, first.Lost)).WaitAsync(Patience.Time);
            Assert.False(first.IsValid, "another one leads, and this one does not know it");
            await using EtcdTerm second = await next.WaitAsync(Patience.Time);
            Assert.True(second.Revision > first.Revision);
            relay.Let(asks: true, answers: true);
            Assert.False(first.IsValid);
        }
    }

    [Fact]
    public async Task A_manager_that_is_heard_leads_on_for_many_leases()
    {
        using EtcdClient client = server.Client(1);
        await using EtcdTerm term = await CampaignAsync(client, 1, "steady");
        int looks = 0;
        using var stop = new CancellationTokenSource();
        Task other = new EtcdElection(client, _prefix, 1).CampaignAsync(
            new LeaderInfo("other", null, "l", "t"), view =>
            {
                Assert.Equal("steady", view.Leader?.Name);
                looks++;
                return Task.CompletedTask;
            }, stop.Token);
        await Patience.UntilAsync(() => looks >= 25 || other.IsCompleted, () => $"{looks} looks");
        Assert.False(other.IsCompleted, "another one leads");
        Assert.True(term.IsValid);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => other);
    }

    [Fact]
    public async Task While_nobody_answers_the_reason_is_said_with_every_member_and_nobody_leads()
    {
        using EtcdClient client = server.Client(1, "http://127.0.0.1:1/", "http://127.0.0.1:2/");
        using var stop = new CancellationTokenSource();
        var seen = new TaskCompletionSource<ElectionView>();
        Task<EtcdTerm> campaign = new EtcdElection(client, _prefix, 1).CampaignAsync(new LeaderInfo("m", null, "l", "t"), view =>
        {
            seen.TrySetResult(view);
            return Task.CompletedTask;
        }, stop.Token);
        ElectionView view = await seen.Task.WaitAsync(Patience.Time);
        Assert.Null(view.Leader);
        Assert.Contains("127.0.0.1:1: Connection refused", view.Fault, StringComparison.Ordinal);
        Assert.Contains("127.0.0.1:2: Connection refused", view.Fault, StringComparison.Ordinal);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => campaign);
    }

    private Task<EtcdTerm> CampaignAsync(EtcdClient client, int seconds, string name) => new EtcdElection(client, _prefix, seconds)
        .CampaignAsync(new LeaderInfo(name, null, name, "2026-11-30T12:00:00Z"), _ => Task.CompletedTask, CancellationToken.None);

    private static void InterlockedMax(ref int place, int value)
    {
        for (int was; (was = Volatile.Read(ref place)) < value && Interlocked.CompareExchange(ref place, value, was) != was;)
        {
        }
    }
}
