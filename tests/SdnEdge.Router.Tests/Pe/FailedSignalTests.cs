using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;
using SdnEdge.Testing;
using Xunit;
using static SdnEdge.Router.Tests.Pe.TwoPes;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>
/// A signal whose execution fails, since a worker is stuck and its grace period does not end, is not done: the same signal again
/// does it.
/// </summary>
public sealed class FailedSignalTests
{
    [Fact]
    public async Task A_switch_that_failed_in_its_grace_period_is_not_answered_as_repeated()
    {
        await using TwoPes two = await StartAsync();
        await PrepareAsync(two);
        using (await StuckAsync(two.CoreB))
        {
            Problem problem = await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch), 500);
            Assert.Contains("counts as not done", problem.Detail, StringComparison.Ordinal);
            Assert.Equal(PeMigrationState.Prepared, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
        }

        // No probe came back while the worker was stuck, so that the tunnel may be taken for down until one does.
        SignalReply again = await SignalAsync(two.ApiA, SignalKind.Switch, new SignalRequest(1, WaitMs: SignalChecks.MaxWaitMs));
        Assert.Equal((false, PeMigrationState.Switched), (again.Repeated, again.State));
        Assert.Equal("tunnel", Assert.Single(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups")).Active);
        Assert.True((await SignalAsync(two.ApiA, SignalKind.Switch)).Repeated);
        await two.RestartAAsync();
        Assert.Equal(PeMigrationState.Switched, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
    }

    [Fact]
    public async Task A_switch_that_failed_is_undone_by_an_abort()
    {
        await using TwoPes two = await StartAsync();
        await PrepareAsync(two);
        using (await StuckAsync(two.CoreB)) await ProblemAsync(PostAsync(two.ApiA, SignalKind.Switch), 500);
        Assert.Equal(PeMigrationState.Aborted, (await SignalAsync(two.ApiA, SignalKind.Abort, new SignalRequest(2))).State);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
        Assert.Equal("connected", (await GetAsync<FibInfo>(two.ApiA, "v1/fib/lookup?address=10.1.1.10")).Action);
    }

    [Fact]
    public async Task A_target_whose_release_failed_can_be_released_and_torn_down()
    {
        await using TwoPes two = await StartAsync();
        await PrepareAsync(two);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        using (await StuckAsync(two.CoreA))
        {
            await ProblemAsync(PostAsync(two.ApiB, SignalKind.Release), 500);
            Assert.Equal(PeMigrationState.Prepared, (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).State);
        }

        Assert.False((await SignalAsync(two.ApiB, SignalKind.Release)).Repeated);
        await SignalAsync(two.ApiB, SignalKind.Advertise);
        await UntilAsync("the hold drains",
            async () => (await GetAsync<MigrationInfo>(two.ApiB, "v1/migrations/m1")).Hold!.State == "released");
        Assert.Equal(PeMigrationState.TornDown, (await SignalAsync(two.ApiB, SignalKind.Teardown)).State);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups"));
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiB, "v1/tunnels"));
    }

    [Fact]
    public async Task A_target_whose_release_failed_can_be_aborted()
    {
        await using TwoPes two = await StartAsync();
        await PrepareAsync(two);
        using (await StuckAsync(two.CoreA)) await ProblemAsync(PostAsync(two.ApiB, SignalKind.Release), 500);
        await SignalAsync(two.ApiB, SignalKind.Abort, new SignalRequest(2));
        await UntilAsync("nothing is left at B", async () => (await GetAsync<RedirectGroupInfo[]>(two.ApiB, "v1/groups")).Length == 0
            && (await GetAsync<TunnelInfo[]>(two.ApiB, "v1/tunnels")).Length == 0);
    }

    [Fact]
    public async Task A_teardown_that_failed_half_way_is_carried_out_to_its_end_when_it_is_sent_again()
    {
        await using TwoPes two = await StartAsync();
        await PrepareAsync(two);
        await SignalAsync(two.ApiA, SignalKind.Switch);
        await SignalAsync(two.ApiA, SignalKind.Withdraw);
        using (await StuckAsync(two.CoreB)) await ProblemAsync(PostAsync(two.ApiA, SignalKind.Teardown), 500);
        Assert.Equal(PeMigrationState.Withdrawn, (await GetAsync<MigrationInfo>(two.ApiA, "v1/migrations/m1")).State);
        Assert.False((await SignalAsync(two.ApiA, SignalKind.Teardown)).Repeated);
        Assert.Empty(await GetAsync<RedirectGroupInfo[]>(two.ApiA, "v1/groups"));
        Assert.Empty(await GetAsync<TunnelInfo[]>(two.ApiA, "v1/tunnels"));
    }

    private static async Task PrepareAsync(TwoPes two)
    {
        await SignalAsync(two.ApiB, SignalKind.Prepare, Prepare(MigrationRole.Target));
        await SignalAsync(two.ApiA, SignalKind.Prepare, Prepare(MigrationRole.Source));
    }

    // Whoever sends the next frame to this end of a wire waits until the gate is opened: probes of the tunnel go both ways.
    private static async Task<IDisposable> StuckAsync(LinkedPort end)
    {
        var gate = new Gate(end);
        await gate.Stuck.Task.WaitAsync(Patience.Time);
        return gate;
    }

    private sealed class Gate : IDisposable
    {
        private readonly ManualResetEventSlim _open = new();
        private readonly LinkedPort _end;

        public Gate(LinkedPort end)
        {
            _end = end;
            end.Tap = _ =>
            {
                Stuck.TrySetResult();
                _open.Wait();
            };
        }

        public TaskCompletionSource Stuck { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Dispose()
        {
            _end.Tap = null;
            _open.Set();
        }
    }
}
