using System.Diagnostics;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qemu;
using SdnEdge.Host.Qmp;
using SdnEdge.Host.Tests.Qmp;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>
/// The driver against a QEMU of which one command goes wrong. A call ends within the driver's deadlines, either with what it says, and
/// then it is so, or with a sentence that says what and who.
/// </summary>
public sealed class HostileMonitorTests(ITestOutputHelper output)
{
    private static readonly DriverContext s_move = new("vs", 7, "m7", "host-b");

    // The commands of each way, in the order in which they come first.
    private static readonly string[] s_out =
    [
        "query-status", "cont", "query-migrate", "migrate-set-capabilities", "migrate-set-parameters", "migrate", "stop",
        "migrate-continue",
    ];

    private static readonly string[] s_undone = ["migrate_cancel"];

    private static readonly string[] s_in =
        ["migrate-set-capabilities", "migrate-set-parameters", "migrate-incoming", "query-migrate", "query-status", "cont"];

    // All at once: most of them wait for a deadline of the driver.
    [Fact]
    public async Task A_call_says_what_is_so_or_what_has_gone_wrong_and_never_hangs()
    {
        Task<string[]>[] runs = [.. Enum.GetValues<MachineFault>().SelectMany(how => (Task<string[]>[])
        [
            .. s_out.Select(c => RunAsync(c, how, incoming: false, undone: false)),
            .. s_undone.Select(c => RunAsync(c, how, incoming: false, undone: true)),
            .. s_in.Select(c => RunAsync(c, how, incoming: true, undone: false)),
        ])];
        Assert.Empty((await Task.WhenAll(runs)).SelectMany(wrong => wrong));
    }

    [Fact]
    public Task What_greets_as_no_monitor_does_is_said() => Task.WhenAll(
        GreetedAsync("SSH-2.0-OpenSSH_9.2", "has ended: 'S' is an invalid start"),
        GreetedAsync("""{"QMP":{"version":{}}}""", "is no monitor of QEMU: its greeting has no version"),
        GreetedAsync("", "has not greeted within 5 s"));

    // A contradiction is no state that an order could rest on.
    [Theory]
    [InlineData("""{"running":true,"status":"paused"}""")]
    [InlineData("""{"running":false,"status":"finish-migrate"}""")]
    [InlineData("""{"running":false,"status":"io-error"}""")]
    [InlineData("""{"running":false,"status":"internal-error"}""")]
    [InlineData("""{"running":false,"status":"running"}""")]
    public async Task Only_a_guest_that_is_paused_counts_as_stopped(string status)
    {
        await using var lying = new LyingMachine(status);
        await using QemuDriver driver = lying.Driver();
        await driver.ActivateAsync(s_move, default).WaitAsync(Patience.Time);
        lying.Lie();
        DriverException e = await Assert.ThrowsAsync<DriverException>(() => driver.StopAsync(s_move, default).WaitAsync(Patience.Time));
        Assert.Contains("vs", e.Message, StringComparison.Ordinal);
        await driver.KillAsync(s_move, default);
    }

    // QEMU decides by itself when to stop a guest; the gate may be shut a moment too late.
    [Fact]
    public async Task A_guest_that_QEMU_stops_by_itself_in_the_copy_runs_on_at_once_and_its_copy_is_begun_anew()
    {
        await using var machine = new FakeMachine(incoming: false);
        await using var driver = new QemuDriver("vs", new QemuConfig(machine.Command), machine.Folder, new SinkNetwork());
        await driver.ActivateAsync(s_move, default).WaitAsync(Patience.Time);
        await driver.MirrorAsync(s_move, default).WaitAsync(Patience.Time);
        await machine.FinishByItselfAsync();

        // Nobody looks.
        await Patience.UntilAsync(() => machine.Runs, () => $"the guest stands still, its migration is {machine.Migration}");
        Assert.Equal("cancelled", machine.Migration);
        await driver.MirrorAsync(s_move, default).WaitAsync(Patience.Time);
        Assert.Equal("active", machine.Migration);
        Assert.Equal(ServerState.Running, await driver.LookAsync(s_move, default));
        Assert.Equal("copy-anew", (await driver.News.ReadAsync().AsTask().WaitAsync(Patience.Time)).Change);
        await driver.KillAsync(s_move, default);
    }

    private static async Task GreetedAsync(string greeting, string said)
    {
        await using var fake = new FakeQemu(greeting: greeting);
        string folder = Path.Combine(Directory.CreateTempSubdirectory("sdnedge-fake-").FullName, "run");
        string[] command = FakeMachine.Sleeping(new QemuProcess(folder), fake, fake);
        await using (var driver = new QemuDriver("vs", new QemuConfig(command), folder, new SinkNetwork()))
        {
            Exception e = await Assert.ThrowsAnyAsync<Exception>(() => driver.ActivateAsync(s_move, default).WaitAsync(Patience.Time));
            Assert.True(e is DriverException or QmpException, e.ToString());
            Assert.Contains(said, e.Message, StringComparison.Ordinal);
            Assert.Equal(ServerState.Absent, await driver.KillAsync(s_move, default).WaitAsync(Patience.Time));
        }

        Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
    }

    // All that is wrong with the way; empty = nothing is.
    private async Task<string[]> RunAsync(string command, MachineFault fault, bool incoming, bool undone)
    {
        var wrong = new List<string>();
        string name = $"{(incoming ? "in" : undone ? "undone" : "out")}, {command} {fault}";
        await using var machine = new FakeMachine(incoming, (command, fault));
        await using var driver = new QemuDriver("vs", new QemuConfig(machine.Command), machine.Folder, new SinkNetwork());
        string step = "";
        var watch = Stopwatch.StartNew();
        string ended = "all well";
        try
        {
            if (incoming)
            {
                await StepAsync("prepare", () => driver.PrepareIncomingAsync(s_move, default), ServerState.Incoming, () => !machine.Runs);
                machine.Arrive();
                await StepAsync("activate", () => driver.ActivateAsync(s_move, default), ServerState.Running, () => machine.Runs);
            }
            else
            {
                await StepAsync("activate", () => driver.ActivateAsync(s_move, default), ServerState.Running, () => machine.Runs);
                await MirrorAsync();
                await StepAsync("stop", () => driver.StopAsync(s_move, default), ServerState.Paused, () => !machine.Runs);
                if (undone)
                {
                    await StepAsync("resume", () => driver.ResumeAsync(s_move with { Epoch = 8 }, default), ServerState.Running,
                        () => machine is { Runs: true, Migration: "cancelled" });
                }
                else
                {
                    await StepAsync("hand-over", () => driver.HandOverAsync(s_move, default), ServerState.Paused,
                        () => machine is { Runs: false, Migration: "completed" });
                }
            }
        }
        catch (Exception e)
        {
            ended = $"{step}: {e.Message}";
            if (e is TimeoutException) wrong.Add($"{name}: {step} has not ended in {Patience.Seconds} s");
            else if (e is not (DriverException or QmpException)) wrong.Add($"{name}: {step} threw {e}");
            else if (!e.Message.Contains("QEMU", StringComparison.Ordinal) && !e.Message.Contains("vs", StringComparison.Ordinal))
                wrong.Add($"{name}: {step} does not say who: {e.Message}");
        }

        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {watch.Elapsed.TotalSeconds:F1} s: {ended}"));
        if (!machine.Happened) wrong.Add($"{name}: the command never came");

        // Whatever has happened: it can be ended.
        if (await driver.KillAsync(s_move, default).WaitAsync(Patience.Time) != ServerState.Absent
            || new QemuProcess(machine.Folder).Id is not null) wrong.Add($"{name}: it is not gone");
        return [.. wrong];

        async Task StepAsync(string what, Func<Task<ServerState>> call, ServerState expected, Func<bool> so)
        {
            step = what;
            ServerState said = await call().WaitAsync(Patience.Time);
            if (said != expected) wrong.Add($"{name}: {what} says {said}");
            else if (!so()) wrong.Add($"{name}: {what} says {said}, and the guest {(machine.Runs ? "runs" : "does not run")}, its "
                + $"migration is {machine.Migration ?? "none"}");
        }

        // Its point may be put off, while the copy is begun anew; it is never said to be there when it is not.
        async Task MirrorAsync()
        {
            step = "mirror";
            await Patience.UntilAsync(async () => await driver.MirrorAsync(s_move, default).WaitAsync(Patience.Time) is { Ready: true },
                () => "its point does not come");
            if (machine.Migration != "active") wrong.Add($"{name}: mirrored, and its migration is {machine.Migration ?? "none"}");
        }
    }

    // A machine whose query-status, from some time on, says what a test wants.
    private sealed class LyingMachine : IAsyncDisposable
    {
        private readonly FakeQemu _main, _rescue = new();
        private readonly string _root = Directory.CreateTempSubdirectory("sdnedge-fake-").FullName;
        private volatile bool _lies;

        public LyingMachine(string status) => _main = new FakeQemu(c => c.ReturnAsync(
            c.Name != "query-status" ? "{}" : _lies ? status : """{"running":true,"status":"running"}"""));

        public void Lie() => _lies = true;

        public QemuDriver Driver()
        {
            string folder = Path.Combine(_root, "run");
            return new QemuDriver(
                "vs", new QemuConfig(FakeMachine.Sleeping(new QemuProcess(folder), _main, _rescue)), folder, new SinkNetwork());
        }

        public async ValueTask DisposeAsync()
        {
            await _main.DisposeAsync();
            await _rescue.DisposeAsync();
            Directory.Delete(_root, recursive: true);
        }
    }
}
