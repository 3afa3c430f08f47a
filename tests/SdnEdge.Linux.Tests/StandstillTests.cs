using System.Diagnostics;
using System.Globalization;
using SdnEdge.Standstill;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Linux.Tests;

/// <summary>What freezes threads and processes of a test run: <c>./build.sh test --standstill SEED</c>.</summary>
public sealed class StandstillTests
{
    [Fact]
    public void A_seed_gives_the_same_freezes_again_and_they_are_as_long_and_as_many_as_documented()
    {
        FreezePlan one = new(7), two = new(7), other = new(8);
        Freeze[] freezes = [.. Enumerable.Range(0, 10_000).Select(_ => one.Next())];
        Assert.Equal(freezes, Enumerable.Range(0, 10_000).Select(_ => two.Next()));
        Assert.NotEqual(freezes[0], other.Next());
        Assert.All(freezes, f => Assert.InRange(f.GapNs, 1_000_000_000 / 30, 1_000_000_000 / 20));
        Assert.All(freezes, f => Assert.True(f.LengthNs is (>= 5_000_000 and <= 60_000_000)
            or (>= 400_000_000 and <= 2_000_000_000), $"{f}"));
        Assert.InRange(freezes.Count(f => f.LengthNs >= 400_000_000), 300, 500);
        Assert.InRange(freezes.Count(f => f.Whole), 4500, 5500);
        Assert.All(freezes, f => Assert.InRange(f.Process, 0, 1));
    }

    [RootFact]
    public void Processes_of_the_run_are_found_also_without_parent_and_environment_and_no_others()
    {
        string mark = Mark();
        using var run = new Run(mark);
        using var bystander = new Run(null);
        var marked = new MarkedProcesses(mark);
        HashSet<int> expected = [run.Shell, run.Child, run.Bare, run.Orphan];
        Until(() => marked.Find().Select(p => p.ProcessId).ToHashSet().SetEquals(expected), "the run's processes are found");

        // Once found, always one of the run: its parent ends, and it has no mark of its own.
        run.EndShell();
        expected.Remove(run.Shell);
        Until(() => marked.Find().Select(p => p.ProcessId).ToHashSet().SetEquals(expected), "and still are when their parent has ended");
        Assert.Empty(new MarkedProcesses(mark + "0").Find());
    }

    [RootFact]
    public void A_held_thread_stands_still_until_it_is_released_and_a_signal_waits_for_it()
    {
        using var run = new Run(null);
        HeldThread held = Hold(run.Orphan);
        Assert.Equal('t', ProcessStat.Read(run.Orphan)!.Value.State);
        Assert.False(held.WasStopped);
        Assert.False(ProcessStat.Read(run.Orphan)!.Value.IsStopped);
        Signals.Send(run.Orphan, ProcessSignal.Stop);
        Assert.Equal('t', ProcessStat.Read(run.Orphan)!.Value.State);
        Until(held.TryRelease, "it is released");
        Until(() => ProcessStat.Read(run.Orphan) is { IsStopped: true }, "the signal then works");

        // What is stopped already is known as such, and stays so.
        held = Hold(run.Orphan);
        Assert.True(held.WasStopped);
        Until(held.TryRelease, "it is released");
        Until(() => ProcessStat.Read(run.Orphan) is { IsStopped: true }, "and still stopped");
        Signals.Send(run.Orphan, ProcessSignal.Continue);
        Until(() => ProcessStat.Read(run.Orphan) is { State: 'S' }, "it goes on");

        held = Hold(run.Orphan);
        Signals.Send(run.Orphan, ProcessSignal.Kill);
        Until(() => !held.Look() && held.IsGone, "SIGKILL works at once");
        Assert.True(held.TryRelease());
        Until(() => HeldThread.TryHold(run.Orphan, out HoldRefusal why) is null
            && why is HoldRefusal.Gone or HoldRefusal.NotPermitted, "it is gone");
    }

    [RootFact]
    public void The_freezer_freezes_what_it_is_given_for_as_long_as_planned_and_leaves_nothing_frozen()
    {
        using var run = new Run(null);
        using var bystander = new Run(null);
        int[] there = [run.Child, run.Orphan];
        var freezer = new Freezer(new FreezePlan(3), () => [.. there.Select(pid => ProcessStat.Read(pid)).OfType<ProcessStat>()]);
        bool seen = false;
        Until(() =>
        {
            freezer.Step(Monotonic.Now);
            seen |= there.Any(pid => IsHeldBy(Environment.ProcessId, pid));
            Assert.False(IsHeldBy(Environment.ProcessId, bystander.Orphan));
            return seen && freezer.Threads > 5 && freezer.Processes > 5 && freezer.LongestNs >= 400_000_000;
        }, "threads and processes were frozen, one of them for long");
        freezer.ThawAll(() => Monotonic.Now);
        Assert.All(there, pid => Assert.False(IsHeldBy(Environment.ProcessId, pid)));
    }

    [RootFact]
    public void The_tool_thaws_everything_when_it_is_told_to_end_and_when_it_is_killed()
    {
        foreach (ProcessSignal end in (ProcessSignal[])[ProcessSignal.Terminate, ProcessSignal.Kill])
        {
            string mark = Mark();
            using var run = new Run(mark);
            using Process tool = Process.Start(new ProcessStartInfo(
                Path.Combine(AppContext.BaseDirectory, "standstill"),
                ["--seed", "1", "--mark", mark, "--while", $"{Environment.ProcessId}"])
            {
                UseShellExecute = false,
                RedirectStandardOutput = true,
            })!;
            Until(() => run.All.Any(pid => IsHeldBy(tool.Id, pid)), "one is frozen");
            Signals.Send(tool.Id, end);
            string said = tool.StandardOutput.ReadToEnd();
            tool.WaitForExit();
            Until(() => run.All.All(pid => ProcessStat.Read(pid) is not null && !IsHeldBy(tool.Id, pid)), "all are thawed");
            if (end == ProcessSignal.Terminate)
            {
                Assert.Equal(0, tool.ExitCode);
                Assert.Matches(@"^standstill: seed 1: [1-9]\d* freezes \(\d+ of threads, \d+ of processes\), longest \d+\.\d\d s\n$", said);
            }
        }
    }

    // By one of the process's threads, and not by a standstill that this test runs under itself.
    private static bool IsHeldBy(int process, int pid)
    {
        string line = File.ReadLines($"/proc/{pid}/status").First(l => l.StartsWith("TracerPid:", StringComparison.Ordinal));
        int tracer = int.Parse(line["TracerPid:".Length..], CultureInfo.InvariantCulture);
        return tracer > 0 && Directory.Exists($"/proc/{process}/task/{tracer}");
    }

    private static string Mark() => string.Create(CultureInfo.InvariantCulture, $"SDNEDGE_TEST_MARK={Guid.NewGuid():N}");

    // The thread may be held for a moment already: this test may run under a standstill itself.
    private static HeldThread Hold(int thread)
    {
        HeldThread? held = null;
        Until(() => (held = HeldThread.TryHold(thread, out _)) is not null, "it can be held");
        Until(held!.Look, "it stands still");
        return held;
    }

    private static void Until(Func<bool> condition, string what) => Patience.Until(condition, () => what);

    /// <summary>
    /// A shell with three that sleep: a child with the shell's environment, one with none, and one in a session of its own whose parent
    /// has ended.
    /// </summary>
    private sealed class Run : IDisposable
    {
        private readonly Process _shell;

        public Run(string? mark)
        {
            const string Script = """
                sleep 1000 & echo $!
                env -i sleep 1001 & echo $!
                (setsid sh -c 'echo $$; exec sleep 1002' &)
                read -r line
                """;
            var start = new ProcessStartInfo("sh", ["-c", Script])
            {
                UseShellExecute = false,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
            };
            if (mark is not null) start.Environment[mark.Split('=')[0]] = mark.Split('=')[1];
            _shell = Process.Start(start)!;
            Shell = _shell.Id;
            Child = Number();
            Bare = Number();
            Orphan = Number();
            foreach (int sleeper in (int[])[Child, Bare, Orphan])
            {
                Until(() => File.ReadAllText($"/proc/{sleeper}/cmdline").StartsWith("sleep", StringComparison.Ordinal), "it sleeps");
            }
        }

        public int Shell { get; }

        public int Child { get; }

        public int Bare { get; }

        public int Orphan { get; }

        public IReadOnlyList<int> All => [Shell, Child, Bare, Orphan];

        public void EndShell()
        {
            _shell.StandardInput.Close();
            _shell.WaitForExit();
        }

        public void Dispose()
        {
            EndShell();
            foreach (int sleeper in (int[])[Child, Bare, Orphan]) Signals.Send(sleeper, ProcessSignal.Kill);
            _shell.Dispose();
        }

        private int Number() => int.Parse(_shell.StandardOutput.ReadLine()!, CultureInfo.InvariantCulture);
    }
}
