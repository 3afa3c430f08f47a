using System.Diagnostics;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Mms.Api;
using SdnEdge.Mms.Config;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;
using SdnEdge.Mms.Tests.Machines;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Mms.Tests.Api;

/// <summary>The manager as a daemon, by its API, with a journal that has a migration half way and parties that nobody reaches.</summary>
public sealed class MmsDaemonTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-mms-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_migration_whose_parties_are_silent_is_held_and_ends_only_by_an_operators_word_that_is_shown()
    {
        await using MmsDaemon daemon = await StartAsync(Story.Of("s1").Until(MoveStage.Stop).Records);
        using var client = new MmsClient(new ApiEndpoint("mms", Socket)) { RequestTimeout = Patience.Time };
        WaitingInfo waiting = null!;
        await Patience.UntilAsync(
            async () => (waiting = Assert.Single((await client.MigrationAsync("m1")).Waiting)).Reason == "peer-unreachable",
            () => $"it waits for {waiting}");
        Assert.Equal("take-up", waiting.Step);
        Assert.Contains("host-a, host-b must say first", waiting.Detail, StringComparison.Ordinal);

        Problem problem = await ProblemAsync(() => client.AbortAsync("m1", "too slow"));
        Assert.Equal(503, problem.Status);
        Assert.Contains("m1 is not taken up yet", problem.Detail, StringComparison.Ordinal);
        problem = await ProblemAsync(() => client.RecoverAsync());
        Assert.Equal(409, problem.Status);
        problem = await ProblemAsync(() => client.AbortAsync("m1", new AbortCall("gone", ["host-z"])));
        Assert.Equal(409, problem.Status);
        Assert.Contains("'host-z' is no party of it", problem.Detail, StringComparison.Ordinal);

        MigrationStatus ended = await client.AbortAsync("m1", new AbortCall("both burnt down", ["site-a", "site-b"]));
        Assert.Equal(("given-up", "given-up"), (ended.State, ended.Moves[0].Outcome));
        Assert.EndsWith(" gave up site-a, site-b: both burnt down", ended.Failure, StringComparison.Ordinal);
        Assert.Equal(4, ended.Unproved!.Count);
        Assert.Contains("that s1 runs at host-a, which owns it", ended.Unproved);
        Assert.Contains("that s1 does not run at host-b, and that nothing of it is left there", ended.Unproved);
        Assert.Empty((await client.MigrationAsync("m1")).Waiting);
        Assert.Equal(409, (await ProblemAsync(() => client.RollbackAsync("m1"))).Status);
        Assert.Equal(409, (await ProblemAsync(() => client.CommitAsync("m1"))).Status);
    }

    [Fact]
    public async Task A_migration_that_ended_a_while_ago_is_a_row_in_the_list_and_whole_when_it_is_asked_for()
    {
        using var story = new ManyMigrations();
        MigrationState first = story.Next();
        for (int i = 0; i <= ManagerState.EndedKept; i++) story.Next(undo: i == 0);
        await using MmsDaemon daemon = await StartAsync(story.Records);
        using var client = new MmsClient(new ApiEndpoint("mms", Socket)) { RequestTimeout = Patience.Time };

        IReadOnlyList<MigrationStatus> all = await client.MigrationsAsync();
        Assert.Equal(Enumerable.Range(1, ManagerState.EndedKept + 2).Select(i => $"m{i}"), all.Select(m => m.Id));
        Assert.Equal([0, 0], all.Take(2).Select(m => m.Moves.Count));
        Assert.All(all.Skip(2), m => Assert.Single(m.Moves));
        Assert.Equal([("moved", false, null), ("as-before", false, "changed my mind")],
            all.Take(2).Select(m => (m.State, m.Committed, m.Failure)));

        // All but its moves is in the row.
        MigrationStatus whole = await client.MigrationAsync("m1");
        Assert.Equal(first.Current.Timeline.Select(t => (Words.Of(t.Stage), t.StartNs, t.EndNs)),
            Assert.Single(whole.Moves).Timeline.Select(t => (t.Stage, t.StartNs, t.EndNs)));
        Assert.Equal(first.Current.Signals.Count, whole.Moves[0].Signals.Count);
        Assert.Equal(whole with { Moves = all[0].Moves, Waiting = all[0].Waiting }, all[0]);
        Assert.Equal(404, (await ProblemAsync(() => client.MigrationAsync("m99"))).Status);

        // The same call again.
        MigrationStatus again = await client.StartAsync(new MigrationCall("shop", "site-b"), "key-m1");
        Assert.Equal(("m1", 1), (again.Id, again.Moves.Count));

        Problem problem = await ProblemAsync(() => client.AbortAsync("m1", "too late"));
        Assert.Equal(409, problem.Status);
        Assert.Contains("it has ended (moved)", problem.Detail, StringComparison.Ordinal);
        problem = await ProblemAsync(() => client.AbortAsync("m1", new AbortCall("gone", ["host-a"])));
        Assert.Equal(409, problem.Status);
        Assert.Contains("it has ended (moved)", problem.Detail, StringComparison.Ordinal);
        Assert.Equal(409, (await ProblemAsync(() => client.RollbackAsync("m2"))).Status);
        Assert.Equal(409, (await ProblemAsync(() => client.CommitAsync("m2"))).Status);
        MigrationStatus committed = await client.CommitAsync("m1");
        Assert.Equal((true, 1), (committed.Committed, committed.Moves.Count));
        Assert.True((await client.MigrationsAsync())[0].Committed);
        problem = await ProblemAsync(() => client.RollbackAsync("m1"));
        Assert.Equal(409, problem.Status);
        Assert.Contains("start a migration of shop to site-a", problem.Detail, StringComparison.Ordinal);
    }

    // Guards: the answer means that it is on disk. A store acknowledges writes that are at one site alone from then on.
    [Fact]
    public async Task A_report_that_a_replica_is_stale_is_answered_when_it_is_on_record_and_outlives_the_manager()
    {
        var disk = Guid.NewGuid();
        var report = new StaleReport(disk, 3, 1, 901, "vs-disk");
        using var client = new MmsClient(new ApiEndpoint("mms", Socket)) { RequestTimeout = Patience.Time };
        await using (MmsDaemon daemon = await StartAsync([]))
        {
            Assert.Empty(await client.VolumesAsync());
            VolumeMarkInfo mark = await client.ReportAsync(report);
            Assert.Equal((disk, "vs-disk", 3ul, 1ul, 901ul), (mark.Volume, mark.Name, mark.Epoch, mark.Generation, mark.StaleFrom!.Value));
            Assert.StartsWith("user ", mark.By, StringComparison.Ordinal);
            Assert.NotNull(mark.Since);
            Assert.Equal(mark, await client.ReportAsync(report));
            Assert.Contains("sdnedge_mms_stale_volumes 1", await client.TextAsync("/metrics"), StringComparison.Ordinal);
            Assert.Contains(daemon.Events.After(0, out _), e => e is { Subject: "vs-disk", Change: "stale" });
        }

        await using (MmsDaemon daemon = await StartAsync())
        {
            Assert.Equal(901ul, Assert.Single(await client.VolumesAsync()).StaleFrom);
            Problem problem = await ProblemAsync(() => client.ReportAsync(report with { Epoch = 2, Generation = 9 }));
            Assert.Equal(("/problems/stale-epoch", 409), (problem.Type, problem.Status));
            Assert.Contains("volume vs-disk: the report is of epoch 2, and epoch 3 of the volume is on record", problem.Detail,
                StringComparison.Ordinal);
            Assert.Null((await client.ReportAsync(report with { StaleFrom = null })).StaleFrom);
            Assert.Null((await client.ReportAsync(report)).StaleFrom);
            Assert.Contains("sdnedge_mms_stale_volumes 0", await client.TextAsync("/metrics"), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_report_that_is_none_is_refused_with_all_that_is_wrong()
    {
        await using MmsDaemon daemon = await StartAsync([]);
        using var client = new MmsClient(new ApiEndpoint("mms", Socket)) { RequestTimeout = Patience.Time };
        Problem problem = await ProblemAsync(() => client.ReportAsync(new StaleReport(Guid.NewGuid(), 0, 0, 0, new string('x', 65))));
        Assert.Equal(400, problem.Status);
        Assert.Equal(["/epoch", "/generation", "/staleFrom", "/name"], problem.Errors!.Select(e => e.Pointer));
        Assert.Empty(daemon.Volumes());
    }

    [Fact]
    public async Task A_window_that_cannot_be_one_is_refused_before_anybody_is_asked()
    {
        await using MmsDaemon daemon = await StartAsync([]);
        using var client = new MmsClient(new ApiEndpoint("mms", Socket)) { RequestTimeout = Patience.Time };
        DateTimeOffset now = DateTimeOffset.UtcNow;
        var call = new MigrationCall("shop", "site-b", Window: new WindowCall(now, now.AddHours(-1)));
        Problem problem = await ProblemAsync(() => client.PlanAsync(call));
        Assert.Equal((400, "/window"), (problem.Status, Assert.Single(problem.Errors!).Pointer));
    }

    private string Socket => Path.Combine(_folder, "mms.sock");

    private static async Task<Problem> ProblemAsync(Func<Task> call) => (await Assert.ThrowsAsync<ApiProblemException>(call)).Problem;

    private async Task<MmsDaemon> StartAsync(IEnumerable<JournalRecord> records)
    {
        string file = Path.Combine(_folder, "mms.db");
        await using (IJournal journal = await SqliteJournal.OpenAsync(file, create: true))
        {
            await journal.AppendAsync(
                0, [.. records.Select(r => new JournalEntry(r.At, r.NowNs, r.Actor, r.Migration, r.Input, r.Body))], default);
        }

        return await StartAsync();
    }

    private Task<MmsDaemon> StartAsync()
        => MmsDaemon.StartAsync(new MmsConfig { Name = "mms", Journal = Path.Combine(_folder, "mms.db"), Api = new ApiConfig(Socket) });
}
