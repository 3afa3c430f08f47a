using System.Collections.Concurrent;
using SdnEdge.Host.Qmp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qmp;

/// <summary>One connection to a monitor, whatever QEMU, or what stands in its place, does.</summary>
public class QmpConnectionTests
{
    private static readonly TimeSpan s_soon = TimeSpan.FromMilliseconds(50);

    [Fact]
    public async Task It_negotiates_out_of_band_from_the_start_and_knows_the_version()
    {
        await using var qemu = new FakeQemu();
        await using QmpConnection qmp = await ConnectAsync(qemu);
        Assert.Equal((QmpState.Ready, true, "10.0.2"), (qmp.State, qmp.OutOfBand, qmp.Version.ToString()));
        Assert.Equal("""{"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}""", Assert.Single(qemu.Received));
    }

    [Fact]
    public async Task Names_and_values_are_those_of_the_schema_and_what_is_not_said_is_not_sent()
    {
        await using var qemu = new FakeQemu(c => c.Name switch
        {
            "query-status" => c.ReturnAsync("""{"running":false,"singlestep":false,"status":"postmigrate"}"""),
            "query-migrate" => c.ReturnAsync("""
                {"status":"active","total-time":12,"ram":{"transferred":10,"remaining":20,"total":30,"dirty-pages-rate":4,
                 "dirty-sync-count":2,"page-size":4096,"mbps":1.5},"expected-downtime":300}
                """.ReplaceLineEndings("")),
            _ => c.ReturnAsync(),
        });
        await using QmpConnection qmp = await ConnectAsync(qemu);
        Assert.Equal(new QmpStatus(false, "postmigrate"), await qmp.ExecuteAsync(QmpCommands.QueryStatus, Patience.Time, default));
        Assert.Equal(new QmpMigration("active", TotalTime: 12, Ram: new QmpMigrationRam(10, 20, 30, 4, 2, 4096)),
            await qmp.ExecuteAsync(QmpCommands.QueryMigrate, Patience.Time, default));
        await qmp.ExecuteAsync(QmpCommands.SetParameters, new QmpMigrationParameters(DowntimeLimit: 1, AnnounceRounds: 0), Patience.Time,
            default);
        await qmp.ExecuteAsync(QmpCommands.SetCapabilities, QmpCapabilities.On("events"), Patience.Time, default);
        await qmp.ExecuteAsync(QmpCommands.Yank, new QmpYank([new QmpYankInstance("migration")]), Patience.Time, default);
        Assert.Equal(
            [
                """{"execute":"query-status","id":2}""",
                """{"execute":"query-migrate","id":3}""",
                """{"execute":"migrate-set-parameters","arguments":{"downtime-limit":1,"announce-rounds":0},"id":4}""",
                """{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]},"id":5}""",
                """{"exec-oob":"yank","arguments":{"instances":[{"type":"migration"}]},"id":6}""",
            ], qemu.Received.Skip(1));
    }

    [Fact]
    public async Task Answers_out_of_order_come_to_whoever_asked()
    {
        var kept = new ConcurrentQueue<FakeCommand>();
        await using var qemu = new FakeQemu(async c =>
        {
            kept.Enqueue(c);
            if (kept.Count < 3) return;
            foreach (FakeCommand command in kept.Reverse()) await command.ReturnAsync($$"""{"running":true,"status":"{{command.Id}}"}""");
        });
        await using QmpConnection qmp = await ConnectAsync(qemu);
        Task<QmpStatus>[] asked = [.. Enumerable.Range(0, 3).Select(_
            => qmp.ExecuteAsync(QmpCommands.QueryStatus, Patience.Time, default))];
        Assert.Equal(["2", "3", "4"], (await Task.WhenAll(asked)).Select(s => s.Status));
    }

    [Fact]
    public async Task A_refusal_is_told_by_its_class_and_the_connection_goes_on()
    {
        await using var qemu = new FakeQemu(c => c.Name == "cont" ? c.RefuseAsync("GenericError", "it cannot") : c.ReturnAsync());
        await using QmpConnection qmp = await ConnectAsync(qemu);
        QmpCommandException e = await Assert.ThrowsAsync<QmpCommandException>(()
            => qmp.ExecuteAsync(QmpCommands.Cont, Patience.Time, default));
        Assert.Equal(("cont", "GenericError"), (e.Command, e.ErrorClass));
        Assert.Contains("it cannot", e.Message, StringComparison.Ordinal);
        await qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default);
    }

    [Fact]
    public async Task A_command_without_an_answer_ends_at_its_deadline_and_the_late_answer_is_nobodys()
    {
        FakeCommand? late = null;
        await using var qemu = new FakeQemu(c => c.Name == "stop" ? Keep(c) : c.ReturnAsync());
        await using QmpConnection qmp = await ConnectAsync(qemu);
        QmpTimeoutException e = await Assert.ThrowsAsync<QmpTimeoutException>(() => qmp.ExecuteAsync(QmpCommands.Stop, s_soon, default));
        Assert.Contains("has not answered stop within 0.05 s", e.Message, StringComparison.Ordinal);
        await late!.ReturnAsync();
        await qmp.ExecuteAsync(QmpCommands.Cont, Patience.Time, default);
        Assert.Equal((1, QmpState.Ready), (qmp.Strays, qmp.State));

        // Whoever gives up is not kept waiting either.
        using var cancel = new CancellationTokenSource(s_soon);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, cancel.Token));

        Task Keep(FakeCommand command)
        {
            late = command;
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task An_event_is_heard_that_comes_before_the_answer_and_those_before_listening_are_not()
    {
        await using var qemu = new FakeQemu(async c =>
        {
            if (c.Name == "stop") await c.Qemu.EventAsync("STOP");
            await c.ReturnAsync();
        });
        await using QmpConnection qmp = await ConnectAsync(qemu);
        await qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default);
        using QmpListener all = qmp.Listen();
        using QmpListener migration = qmp.Listen("MIGRATION");
        await qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default);
        await qemu.EventAsync("MIGRATION", """{"status":"setup"}""");
        await qemu.EventAsync("MIGRATION", """{"status":"active"}""");
        QmpEvent active = await migration.NextAsync(e => e.Text("status") == "active", "it is active", Patience.Time, default);
        Assert.Equal((1700000000, 5), (active.Seconds, active.Microseconds));
        Assert.Equal("STOP", (await all.NextAsync(_ => true, "anything happens", Patience.Time, default)).Name);
        Assert.Equal("setup", (await all.NextAsync(_ => true, "anything happens", Patience.Time, default)).Text("status"));
        QmpTimeoutException e = await Assert.ThrowsAsync<QmpTimeoutException>(()
            => migration.NextAsync(_ => true, "it has completed", s_soon, default));
        Assert.Contains("did not say within 0.05 s that it has completed", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task When_QEMU_dies_everybody_who_waits_is_told_and_nothing_is_left()
    {
        await using var qemu = new FakeQemu(async c =>
        {
            await c.Qemu.EventAsync("SHUTDOWN");
            c.Qemu.Hangup();
        });
        await using QmpConnection qmp = await ConnectAsync(qemu);
        using QmpListener listener = qmp.Listen();
        await Assert.ThrowsAsync<QmpDisconnectedException>(() => qmp.ExecuteAsync(QmpCommands.Quit, Patience.Time, default));

        // What it said before is not lost; then comes the end, not silence.
        Assert.Equal("SHUTDOWN", (await listener.NextAsync(_ => true, "it ends", Patience.Time, default)).Name);
        await Assert.ThrowsAsync<QmpDisconnectedException>(() => listener.NextAsync(_ => true, "it ends", Patience.Time, default));
        await qmp.Closed.WaitAsync(Patience.Time);
        Assert.Equal(QmpState.Closed, qmp.State);
        await Assert.ThrowsAsync<QmpDisconnectedException>(() => qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default));
        using QmpListener late = qmp.Listen();
        await Assert.ThrowsAsync<QmpDisconnectedException>(() => late.NextAsync(_ => true, "anything", Patience.Time, default));
    }

    [Theory]
    [InlineData("this is no JSON\n")]
    [InlineData("[1,2,3]\n")]
    [InlineData("""{"return":{},"id":""" + "\n")]
    [InlineData("""{"event":5}""" + "\n")]
    [InlineData("""{"event":"STOP","timestamp":{"seconds":"now"}}""" + "\n")]
    [InlineData("""{"id":2}""" + "\n")]
    public async Task What_is_no_QMP_ends_the_connection_and_says_so(string bytes)
    {
        await using var qemu = new FakeQemu(c => c.Qemu.SendAsync(bytes));
        await using QmpConnection qmp = await ConnectAsync(qemu);
        QmpDisconnectedException e = await Assert.ThrowsAsync<QmpDisconnectedException>(
            () => qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default));
        Assert.Contains(qemu.Path, e.Message, StringComparison.Ordinal);
        await qmp.Closed.WaitAsync(Patience.Time);
    }

    [Fact]
    public async Task A_line_without_end_does_not_fill_the_memory()
    {
        await using var qemu = new FakeQemu(c => c.Qemu.SendAsync(new string(' ', 2 << 20)));
        await using QmpConnection qmp = await ConnectAsync(qemu);
        QmpDisconnectedException e = await Assert.ThrowsAsync<QmpDisconnectedException>(
            () => qmp.ExecuteAsync(QmpCommands.Stop, Patience.Time, default));
        Assert.Contains("without an end of line", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answers_come_in_pieces_and_several_at_once()
    {
        await using var qemu = new FakeQemu(async c =>
        {
            string answer = "{\"event\":\"RESUME\"}\n" + $"{{\"return\":{{\"running\":true,\"status\":\"running\"}},\"id\":{c.Id}}}\r\n"
                + "{\"event\":\"STOP\"}\n";
            foreach (char one in answer) await c.Qemu.SendAsync(one.ToString());
        });
        await using QmpConnection qmp = await ConnectAsync(qemu);
        using QmpListener listener = qmp.Listen();
        Assert.True((await qmp.ExecuteAsync(QmpCommands.QueryStatus, Patience.Time, default)).Running);
        QmpEvent resume = await listener.NextAsync(_ => true, "it runs", Patience.Time, default);
        Assert.Equal(("RESUME", -1L, null), (resume.Name, resume.Seconds, resume.Text("status")));
        await listener.NextAsync(e => e.Name == "STOP", "it stops", Patience.Time, default);
    }

    [Theory]
    [InlineData("""{"hello":"world"}""")]
    [InlineData("""{"QMP":{"version":"10"}}""")]
    [InlineData("SSH-2.0-OpenSSH_9.2")]
    public async Task What_is_no_monitor_is_refused(string greeting)
    {
        await using var other = new FakeQemu(greeting: greeting + "\n");
        QmpException e = await Assert.ThrowsAnyAsync<QmpException>(() => ConnectAsync(other));
        Assert.Contains(other.Path, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_that_does_not_greet_is_given_up()
    {
        await using var hangs = new FakeQemu(greeting: "");
        QmpTimeoutException e = await Assert.ThrowsAsync<QmpTimeoutException>(
            () => QmpConnection.ConnectAsync(hangs.Path, s_soon, default));
        Assert.Contains("has not greeted within 0.05 s", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_socket_without_a_listener_is_named()
    {
        QmpDisconnectedException e = await Assert.ThrowsAsync<QmpDisconnectedException>(
            () => QmpConnection.ConnectAsync("/nowhere/qmp", Patience.Time, default));
        Assert.Contains("no monitor of QEMU answers at /nowhere/qmp", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_monitor_that_another_client_has_greets_nobody_until_that_one_leaves()
    {
        await using var qemu = new FakeQemu();
        QmpConnection first = await ConnectAsync(qemu);
        Task<QmpConnection> second = ConnectAsync(qemu);
        await first.ExecuteAsync(QmpCommands.Stop, Patience.Time, default);
        Assert.False(second.IsCompleted);
        await first.DisposeAsync();
        await using QmpConnection qmp = await second;
        Assert.Equal(QmpState.Ready, qmp.State);
    }

    [Fact]
    public async Task Without_out_of_band_nothing_is_sent_that_needs_it()
    {
        await using var qemu = new FakeQemu(greeting: FakeQemu.Greeting.Replace("\"oob\"", "", StringComparison.Ordinal));
        await using QmpConnection qmp = await ConnectAsync(qemu);
        Assert.False(qmp.OutOfBand);
        await Assert.ThrowsAsync<QmpException>(() => qmp.ExecuteAsync(QmpCommands.Yank, new QmpYank([]), Patience.Time, default));
        Assert.Single(qemu.Received);
    }

    // A main loop that hangs in a migration is freed by cutting the migration's connection on the other monitor.
    [Fact]
    public async Task A_command_that_hangs_is_freed_by_a_yank_on_the_other_monitor()
    {
        FakeCommand? hangs = null;
        await using var main = new FakeQemu(c =>
        {
            hangs = c;
            return Task.CompletedTask;
        });
        await using var rescue = new FakeQemu(async c =>
        {
            Assert.True(c.OutOfBand);
            await c.ReturnAsync();
            await hangs!.ReturnAsync();
        });
        await using QmpMonitors qmp = await QmpMonitors.ConnectAsync(main.Path, rescue.Path, Patience.Time, default);
        await qmp.ExecuteOrYankAsync(QmpCommands.MigrateContinue, new QmpMigrationState("pre-switchover"), s_soon, default);
        Assert.Equal("""{"exec-oob":"yank","arguments":{"instances":[{"type":"migration"}]},"id":2}""", rescue.Received[1]);
    }

    [Fact]
    public async Task Where_there_is_nothing_to_yank_the_command_has_its_second_chance_and_then_fails()
    {
        await using var main = new FakeQemu(_ => Task.CompletedTask);
        await using var rescue = new FakeQemu(c => c.RefuseAsync("DeviceNotFound", "Instance not found"));
        await using QmpMonitors qmp = await QmpMonitors.ConnectAsync(main.Path, rescue.Path, Patience.Time, default);
        Assert.False(await qmp.YankMigrationAsync(default));
        await Assert.ThrowsAsync<QmpTimeoutException>(() => qmp.ExecuteOrYankAsync(QmpCommands.Stop, QmpNothing.Value, s_soon, default));
        await Assert.ThrowsAsync<QmpDisconnectedException>(()
            => QmpMonitors.ConnectAsync(main.Path + "x", rescue.Path, Patience.Time, default));
    }

    private static Task<QmpConnection> ConnectAsync(FakeQemu qemu) => QmpConnection.ConnectAsync(qemu.Path, Patience.Time, default);
}
