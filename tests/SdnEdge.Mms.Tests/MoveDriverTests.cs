using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Mms.Tests;

public sealed class MoveDriverTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-mms-").FullName;
    private readonly Network _network = new();
    private readonly Dictionary<string, FakePe> _pes = [];
    private Dictionary<string, PeClient> _clients = [];
    private FakeServer _server = null!;

    public async Task InitializeAsync()
    {
        _server = new FakeServer(_network);
        foreach ((string name, string loopback) in new[] { ("pe-a", "10.255.0.1"), ("pe-b", "10.255.0.2"), ("pe-c", "10.255.0.3") })
            _pes[name] = await FakePe.StartAsync(name, loopback, _folder, _network);
        _clients = _pes.ToDictionary(p => p.Key, p => PeClient.ForUnixSocket(p.Value.Socket));
    }

    public async Task DisposeAsync()
    {
        foreach (PeClient client in _clients.Values) client.Dispose();
        foreach (FakePe pe in _pes.Values) await pe.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_move_is_driven_to_its_end_and_back_again()
    {
        MoveResult there = await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b");
        Assert.True(there.Succeeded, there.Failure);
        Assert.Equal("dc-b", _server.Site);
        Assert.Equal(200u, _network.LocalPref);
        Assert.True(there.TunnelTornDown);
        Assert.Equal(100, there.Source!.Group!.TunnelPackets);
        Assert.Equal(5, there.Target!.Hold!.Released);
        Assert.True(there.PausedNs <= there.ResumedNs);
        Assert.True(there.AtSource(SignalKind.Switch)!.AnsweredNs <= there.PausedNs);
        Assert.True(there.ResumedNs <= there.AtTarget(SignalKind.Release)!.SentNs);
        Assert.Equal(3, there.AtSource(SignalKind.Switch)!.Reply.StoreNs);

        MoveResult back = await MoveAsync("pe-b", "dc-b", "pe-a", "dc-a");
        Assert.True(back.Succeeded, back.Failure);
        Assert.Equal("dc-a", _server.Site);
        Assert.Equal(300u, _network.LocalPref);
        Assert.True(back.Plan.Epoch > there.Plan.Epoch);
        Assert.NotEqual(there.Plan.Migration, back.Plan.Migration);
    }

    [Fact]
    public async Task LOCAL_PREF_is_bounded_however_often_a_server_moves_and_always_above_the_sources()
    {
        // After nine moves.
        _network.LocalPref = 1000;
        MoveResult last = await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b");
        Assert.True(last.Succeeded, last.Failure);
        Assert.Equal((1100u, (uint?)null), (_network.LocalPref, last.Plan.SourceLocalPref));
        MoveResult first = await MoveAsync("pe-b", "dc-b", "pe-a", "dc-a");
        Assert.True(first.Succeeded, first.Failure);
        Assert.Equal((300u, (uint?)200), (_network.LocalPref, first.Plan.SourceLocalPref));
    }

    [Theory]
    [InlineData(100, 100, true, 200, null)]
    [InlineData(1000, 100, true, 1100, null)]
    [InlineData(1100, 100, true, 300, 200)]
    [InlineData(1100, 100, false, 1200, null)]
    [InlineData(100, 5000, true, 5100, null)]
    [InlineData(6000, 5000, true, 5200, 5100)]
    public void The_next_LOCAL_PREF_follows_from_what_is_told(int highest, int native, bool sourceAlone, int target, int? source) =>
        Assert.Equal(((uint)target, (uint?)source), MovePlanner.NextLocalPref((uint)highest, (uint)native, sourceAlone));

    [Fact]
    public void There_is_nothing_above_the_highest_LOCAL_PREF() =>
        Assert.Throws<InvalidOperationException>(() => MovePlanner.NextLocalPref(uint.MaxValue - 5, 100, sourceAlone: false));

    [Fact]
    public async Task An_answer_that_is_lost_is_asked_again_and_nothing_is_done_twice()
    {
        _pes["pe-a"].LoseAnswers = 2;
        _pes["pe-b"].LoseAnswers = 3;
        MoveResult result = await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b");
        Assert.True(result.Succeeded, result.Failure);
        Assert.Equal(
            ["pe-b Prepare", "pe-a Prepare", "pe-a Switch", "pause", "resume dc-b", "pe-b Release", "pe-b Advertise", "pe-a Withdraw", "pe-a Teardown", "pe-b Teardown"],
            _network.Effects);
    }

    [Fact]
    public async Task A_server_that_does_not_come_up_at_the_target_is_brought_back()
    {
        _server.ResumeFails = true;
        MoveResult result = await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b");
        Assert.Equal(MoveOutcome.RolledBack, result.Outcome);
        Assert.Contains("no room at dc-b", result.Failure, StringComparison.Ordinal);
        Assert.Equal("dc-a", _server.Site);
        Assert.Empty(result.Residue);
        Assert.Equal(PeMigrationState.Aborted, _pes["pe-a"].Find(result.Plan.Migration)!.State);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    public async Task Cancelling_before_the_pivot_gives_the_move_up_and_ends_when_the_hold_has_been_given_back(int looks)
    {
        _pes["pe-b"].LooksUntilGivenBack = looks;
        using var cancel = new CancellationTokenSource();
        MoveResult result = await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b", p =>
        {
            if (p.Stage == MoveStage.Blackout) cancel.Cancel();
        }, cancel: cancel.Token);
        Assert.Equal(MoveOutcome.RolledBack, result.Outcome);
        Assert.Equal("cancelled by the operator", result.Failure);
        Assert.Equal("dc-a", _server.Site);
        Assert.Empty(result.Residue);
    }

    [Fact]
    public async Task The_journal_has_every_intent_before_its_result()
    {
        string path = Path.Combine(_folder, "journal", "moves.jsonl");
        using (var journal = new MoveJournal(path)) await MoveAsync("pe-a", "dc-a", "pe-b", "dc-b", journal: journal);
        await File.AppendAllTextAsync(path, "{\"atNs\":1,\"migr");
        IReadOnlyList<JournalLine> lines = MoveJournal.Read(path);
        Assert.Equal("plan", lines[0].Kind);
        Assert.Equal("end", lines[^1].Kind);
        string[] intents = [.. lines.Where(l => l.What == nameof(SendSignal)).Select(l => l.Body.GetProperty("signal").GetString()!)];
        Assert.Equal(["prepare", "prepare", "switch", "release", "advertise", "withdraw", "teardown", "teardown"], intents);
        int open = 0;
        foreach (JournalLine line in lines)
        {
            if (line.Kind == "intent") open++;
            if (line.Kind == "result" && line.What is not (nameof(IngressSeen))) Assert.True(--open >= 0, "a result without an intent");
        }

        Assert.Equal(0, open);
    }

    [Fact]
    public async Task A_plan_is_refused_while_another_move_of_the_prefix_is_not_finished()
    {
        await _clients["pe-a"].SignalAsync("old", SignalKind.Prepare,
            new SignalRequest(1, MigrationRole.Source, "default", [new("10.1.1.10/32", "dc")], "10.255.0.2", 5));
        InvalidOperationException e = await Assert.ThrowsAsync<InvalidOperationException>(() => MoveAsync("pe-a", "dc-a", "pe-b", "dc-b"));
        Assert.Contains("'old'", e.Message, StringComparison.Ordinal);
    }

    private async Task<MoveResult> MoveAsync(
        string from, string fromSite, string to, string toSite, Action<MoveProgress>? progress = null, MoveJournal? journal = null, CancellationToken cancel = default)
    {
        var request = new MoveRequest("vs", "default", ["10.1.1.10/32"], from, fromSite, "dc", to, toSite, "dc", ["pe-c"],
            BlackoutMs: 20, Timeouts: new MoveTimeouts(Quiet: 30, Poll: 5, Server: 60_000));
        MovePlan plan = await MovePlanner.PlanAsync(request, _clients, DateTimeOffset.UtcNow, CancellationToken.None);
        return await new MoveDriver(_clients, _server, journal).RunAsync(plan, progress, cancel);
    }
}
