using SdnEdge.Core.Api;
using SdnEdge.Web;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>A real guest under the agents of two hosts, which carry it to one another by mutual TLS.</summary>
public sealed class GuestAgentsTests : IAsyncLifetime
{
    private TwoAgents _two = null!;

    public async Task InitializeAsync() => _two = await TwoAgents.StartAsync();

    public async Task DisposeAsync() => await _two.DisposeAsync();

    [Fact]
    public async Task A_guest_moves_by_the_manager_s_orders_and_the_next_agent_goes_on_with_it()
    {
        Assert.Equal(ServerState.Absent, (await TwoAgents.UntilAsync(_two.A, s => s.State != ServerState.Unknown)).State);
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 1);
        (long ticks, long bad) = await _two.CountsAsync(_two.A);
        await MoveAsync(_two.A, _two.B, 2);

        // The agents are started anew; the guest notices nothing.
        await _two.RestartAsync();
        await TwoAgents.UntilAsync(_two.B, s => s.State == ServerState.Running);
        await MoveAsync(_two.B, _two.A, 3);
        (long later, bad) = await _two.CountsAsync(_two.A);
        Assert.True(later > ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    [Fact]
    public async Task A_move_that_is_undone_after_the_stop_leaves_the_guest_running_where_it_was()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 1);
        (long ticks, _) = await _two.CountsAsync(_two.A);
        await _two.MirroredAsync(_two.A, _two.B, 2);
        Assert.Equal(ServerState.Paused, (await TwoAgents.OrderAsync(_two.A, ServerOrder.Stop, 2)).State);
        Assert.Equal(ServerState.Running, (await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 3)).State);
        await TwoAgents.OrderAsync(_two.B, ServerOrder.Cancel, 3);
        Assert.Equal(ServerState.Absent, _two.B.Server("vs").State);
        (long later, long bad) = await _two.CountsAsync(_two.A);
        Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    // The source has begun a copy that the target's next agent knows nothing of: it expects it again.
    [Fact]
    public async Task Agents_that_are_started_again_in_the_copy_go_on_with_the_move()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 1);
        await _two.CountsAsync(_two.A);
        await _two.MirroredAsync(_two.A, _two.B, 2);
        await _two.RestartAsync();
        await TwoAgents.UntilAsync(_two.A, s => s.Mirror is { Ready: false });
        await TwoAgents.UntilAsync(_two.A, s => s.Mirror is { Ready: true });
        Assert.Equal(ServerState.Paused, (await TwoAgents.OrderAsync(_two.A, ServerOrder.Stop, 2)).State);
        Assert.Equal(ServerState.Running, (await TwoAgents.OrderAsync(_two.B, ServerOrder.Activate, 2)).State);
        Assert.Equal(0, (await _two.CountsAsync(_two.B)).Bad);
    }

    // All of it has come, and it dies before it is told to run: the source still has it.
    [Fact]
    public async Task Nothing_is_promised_for_a_guest_that_died_at_the_target_before_it_ran()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 1);
        (long ticks, _) = await _two.CountsAsync(_two.A);
        await _two.MirroredAsync(_two.A, _two.B, 2);
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Stop, 2);
        await _two.KillGuestAsync(_two.B);
        var e = await Assert.ThrowsAsync<ProblemException>(() => TwoAgents.OrderAsync(_two.B, ServerOrder.Activate, 2));
        Assert.Equal("/problems/wrong-state", e.Problem.Type);
        Assert.Equal(EpochVerdict.Void, (await TwoAgents.OrderAsync(_two.B, ServerOrder.Void, 2)).Verdict);
        Assert.Equal(ServerState.Running, (await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 3)).State);
        (long later, long bad) = await _two.CountsAsync(_two.A);
        Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    // Between the hand-over and the pivot both sides have all of it and neither runs.
    [Fact]
    public async Task No_page_of_the_guest_s_memory_differs_between_the_source_and_the_target_before_it_runs_there()
    {
        await TwoAgents.OrderAsync(_two.A, ServerOrder.Resume, 1);
        await _two.CountsAsync(_two.A);
        MemoryComparison compared = await GuestMemory.MoveAsync(_two, _two.A, _two.B, 2);
        Assert.Equal(GuestMemory.Bytes / GuestMemory.PageBytes, compared.Pages);
        Assert.True(compared.NotZero > compared.Pages / 10, $"only {compared.NotZero} pages have anything in them");
        Assert.Empty(compared.Differing);
        Assert.Equal(0, (await _two.CountsAsync(_two.B)).Bad);
    }

    private async Task MoveAsync(HostAgent from, HostAgent to, long epoch)
    {
        await _two.MirroredAsync(from, to, epoch);
        Assert.Equal(ServerState.Running, from.Server("vs").State);
        Assert.Equal(ServerState.Paused, (await TwoAgents.OrderAsync(from, ServerOrder.Stop, epoch)).State);
        Assert.Equal(ServerState.Running, (await TwoAgents.OrderAsync(to, ServerOrder.Activate, epoch)).State);
        await TwoAgents.OrderAsync(from, ServerOrder.Retire, epoch);
        Assert.Equal(ServerState.Absent, from.Server("vs").State);
    }
}
