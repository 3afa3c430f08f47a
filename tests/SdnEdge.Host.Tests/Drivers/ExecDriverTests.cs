using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>The contract of docs/exec-driver.md, with real scripts.</summary>
public sealed class ExecDriverTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-exec-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_step_reads_what_it_is_for_and_look_says_what_came_of_it()
    {
        string input = Path.Combine(_folder, "input");
        await using ExecDriver driver = Driver($"cat >{input}; echo paused >{_folder}/state", Look);
        Assert.Equal(ServerState.Paused, await driver.StopAsync(new DriverContext("vs", 7, "m-7", "host-b"), default));
        Assert.Equal("""{"order":"stop","server":"vs","epoch":7,"migration":"m-7","peerHost":"host-b"}""",
            (await File.ReadAllTextAsync(input)).Trim());
    }

    [Fact]
    public async Task A_step_that_fails_gives_the_last_lines_that_it_wrote_as_the_reason()
    {
        await using ExecDriver driver = Driver("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3", Look);
        DriverException e = await Assert.ThrowsAsync<DriverException>(() => driver.StopAsync(Context, default));
        Assert.EndsWith("exit code 3: line 3; line 4; line 5; line 6; line 7", e.Message, StringComparison.Ordinal);
        await using ExecDriver missing = new("vs", Config(["/nonexistent/stop"], Look, TimeSpan.FromSeconds(30)), Lock);
        Assert.Contains("/nonexistent/stop", (await Assert.ThrowsAsync<DriverException>(() => missing.StopAsync(Context, default))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exit_code_75_is_tried_again_until_it_is_done()
    {
        await using ExecDriver driver =
            Driver($"echo x >>{_folder}/tries; [ $(wc -l <{_folder}/tries) -ge 3 ] || exit 75; echo paused >{_folder}/state", Look);
        Assert.Equal(ServerState.Paused, await driver.StopAsync(Context, default));
        Assert.Equal(3, (await File.ReadAllLinesAsync(Path.Combine(_folder, "tries"))).Length);
        await using ExecDriver never = Driver("echo busy >&2; exit 75", Look, TimeSpan.FromMilliseconds(700));
        Assert.Contains("asked to be tried again: busy",
            (await Assert.ThrowsAsync<DriverException>(() => never.StopAsync(Context, default))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_step_that_hangs_is_killed_at_its_deadline_with_all_that_it_started()
    {
        string child = Path.Combine(_folder, "child");
        await using ExecDriver driver = Driver($"sleep 1000 & echo $! >{child}.new; mv {child}.new {child}; wait", Look,
            TimeSpan.FromSeconds(5));
        DriverException e = await Assert.ThrowsAsync<DriverException>(() => driver.StopAsync(Context, default));
        Assert.Contains("was not done within 5000 ms and was killed", e.Message, StringComparison.Ordinal);
        int pid = int.Parse(await File.ReadAllTextAsync(child), System.Globalization.CultureInfo.InvariantCulture);
        await Until(() => ProcessStat.Read(pid) is not { IsAlive: true });
    }

    [Theory]
    [InlineData("echo hello")]
    [InlineData("echo '{\"state\":\"sleeping\"}'")]
    [InlineData("true")]
    [InlineData("head -c 100000 /dev/zero | tr '\\0' x")]
    public async Task Garbage_from_look_is_a_failure_that_shows_it(string script)
    {
        await using ExecDriver driver = Driver("true", script);
        Assert.Contains("it printed '", (await Assert.ThrowsAsync<DriverException>(() => driver.LookAsync(Context, default))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Mirror_is_read_and_what_a_script_says_besides_is_left_alone()
    {
        await using var driver = new ExecDriver("vs", Config(Shell("true"), Look, TimeSpan.FromSeconds(30)) with
        {
            Mirror = new ExecStep(Shell("echo '{\"ready\":true,\"remainingBytes\":4096,\"note\":\"x\"}'"), TimeSpan.FromSeconds(30)),
        }, Lock);
        Assert.Equal(new MirrorProgress(true, 0, 4096, 0), await driver.MirrorAsync(Context, default));
        await using ExecDriver none = Driver("true", Look);
        Assert.Null(await none.MirrorAsync(Context, default));
    }

    [Fact]
    public async Task What_a_step_leaves_running_is_not_waited_for_and_a_second_command_waits_for_the_first()
    {
        await using ExecDriver driver = Driver($"sleep 1000 & echo $! >{_folder}/left; echo paused >{_folder}/state", Look);
        Assert.Equal(ServerState.Paused, await driver.StopAsync(Context, default));
        int left = int.Parse(await File.ReadAllTextAsync(Path.Combine(_folder, "left")), System.Globalization.CultureInfo.InvariantCulture);
        Assert.True(ProcessStat.Read(left) is { IsAlive: true });
        Signals.Send(left, ProcessSignal.Kill);

        // As an agent that was killed in the middle of a step leaves it behind: the lock is held by the command, not by the agent.
        using Process other = Process.Start("flock",
            [Lock, "sh", "-c", $"while [ ! -e {_folder}/go ]; do sleep 0.05; done; echo first >>{_folder}/order"]);
        await Until(IsLocked);
        await using ExecDriver second = Driver($"echo second >>{_folder}/order; echo paused >{_folder}/state", Look);
        Task<ServerState> waits = second.StopAsync(Context, default);
        await File.WriteAllTextAsync(Path.Combine(_folder, "go"), "");
        await waits;
        await other.WaitForExitAsync();
        Assert.Equal(["first", "second"], await File.ReadAllLinesAsync(Path.Combine(_folder, "order")));
    }

    private static DriverContext Context => new("vs", 1, "m");

    private string Look => $"printf '{{\"state\":\"%s\"}}' $(cat {_folder}/state)";

    private string Lock => Path.Combine(_folder, "lock");

    private bool IsLocked()
    {
        using Process probe = Process.Start("flock", ["-n", Lock, "true"]);
        probe.WaitForExit();
        return probe.ExitCode != 0;
    }

    private static Task Until(Func<bool> condition) => Patience.UntilAsync(condition, () => "the command has not come so far");

    private static string[] Shell(string script) => ["/bin/sh", "-c", script];

    private ExecDriver Driver(string stop, string look, TimeSpan? deadline = null)
        => new("vs", Config(Shell(stop), look, deadline ?? Patience.Time), Lock);

    private static ExecConfig Config(string[] stop, string look, TimeSpan deadline)
    {
        var none = new ExecStep(Shell("true"), Patience.Time);
        return new ExecConfig(true, new ExecStep(Shell(look), Patience.Time), none, new ExecStep(stop, deadline), null, none, none, none,
            none, null);
    }
}
