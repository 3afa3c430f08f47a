using SdnEdge.Router.Control;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Control;

public sealed class ControlLoopTests
{
    [Fact]
    public async Task Work_is_done_in_order_on_one_thread()
    {
        using var loop = new ControlLoop(TimeProvider.System);
        loop.Start();
        var order = new List<int>();
        var threads = new HashSet<int>();
        for (int i = 0; i < 1000; i++)
        {
            int number = i;
            loop.Post(() =>
            {
                order.Add(number);
                threads.Add(Environment.CurrentManagedThreadId);
            });
        }

        Assert.True(await loop.RunAsync(() => loop.IsCurrent).WaitAsync(Patience.Time));
        Assert.Equal(Enumerable.Range(0, 1000), order);
        Assert.Single(threads);
    }

    [Fact]
    public async Task Between_two_parts_of_long_work_comes_everything_else()
    {
        var order = new List<string>();
        var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var loop = new ControlLoop(TimeProvider.System, _ => order.Add("round"));
        var machine = new Always(order);
        loop.Add((ITimed)machine);
        loop.Add((IWorkSource)machine);
        void Long(string name, int parts)
        {
            order.Add($"{name}{parts}");
            loop.Post(() => order.Add($"posted by {name}{parts}"));
            if (parts > 1) loop.PostPart(() => Long(name, parts - 1));
            else if (name == "a") over.SetResult();
        }

        loop.PostPart(() => Long("a", 3));
        loop.PostPart(() => Long("b", 2));
        loop.Start();
        await over.Task.WaitAsync(Patience.Time);
        string[] first = await loop.RunAsync(() => order.ToArray()).WaitAsync(Patience.Time);
        string[] rest = ["source", "timer", "round"];
        Assert.Equal(["a3", .. rest, "posted by a3", "b2", .. rest, "posted by b2", "a2", .. rest, "posted by a2", "b1", .. rest,
            "posted by b1", "a1", .. rest, "posted by a1"], first.TakeWhile((_, i) => i == 0 || first[i - 1] != "posted by a1"));
    }

    [Fact]
    public async Task A_fault_is_counted_and_told_and_the_loop_goes_on()
    {
        var told = new List<Exception>();
        using var loop = new ControlLoop(TimeProvider.System, faulted: told.Add);
        loop.Start();
        loop.Post(() => throw new InvalidOperationException("first"));
        await Assert.ThrowsAsync<FormatException>(() => loop.RunAsync<int>(() => throw new FormatException("to the caller"))
            .WaitAsync(Patience.Time));
        Assert.Equal(42, await loop.RunAsync(() => 42).WaitAsync(Patience.Time));
        Assert.Equal(1, loop.Faults);
        Assert.Equal("first", Assert.Single(told).Message);
    }

    [Fact]
    public async Task A_machine_is_called_when_its_deadline_has_come_and_not_before()
    {
        using var loop = new ControlLoop(TimeProvider.System);
        var machine = new Machine { NextDeadline = loop.Now + 30_000_000 };
        long due = machine.NextDeadline;
        loop.Add(machine);
        loop.Start();
        long at = await machine.Called.Task.WaitAsync(Patience.Time);
        Assert.True(at >= due, $"{due - at} ns early");
    }

    [Fact]
    public async Task A_source_filled_while_the_loop_sleeps_wakes_it()
    {
        using var loop = new ControlLoop(TimeProvider.System);
        var source = new Source();
        loop.Add(source);
        loop.Start();
        for (int i = 1; i <= 200; i++)
        {
            source.Fill();
            loop.Wake();
            int expected = i;
            await Task.Run(() => Assert.True(SpinWait.SpinUntil(() => source.Drained >= expected, Patience.Time), $"round {expected}"));
        }
    }

    [Fact]
    public async Task After_the_end_work_is_refused_and_what_was_posted_before_is_done()
    {
        var loop = new ControlLoop(TimeProvider.System);
        loop.Start();
        int done = 0;
        for (int i = 0; i < 500; i++) loop.Post(() => done++);
        loop.Dispose();
        Assert.Equal(500, done);
        Assert.False(loop.Post(() => done++));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => loop.RunAsync(() => 1));
    }

    /// <summary>Has something to do in each round.</summary>
    private sealed class Always(List<string> order) : ITimed, IWorkSource
    {
        public long NextDeadline => 0;

        public bool HasWork => true;

        public void Poll(long now) => order.Add("timer");

        public void Drain(long now) => order.Add("source");
    }

    private sealed class Machine : ITimed
    {
        public TaskCompletionSource<long> Called { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public long NextDeadline { get; set; }

        public void Poll(long now)
        {
            NextDeadline = long.MaxValue;
            Called.TrySetResult(now);
        }
    }

    private sealed class Source : IWorkSource
    {
        private int _filled;

        public int Drained;

        public bool HasWork => Volatile.Read(ref _filled) > Volatile.Read(ref Drained);

        public void Fill() => Interlocked.Increment(ref _filled);

        public void Drain(long now) => Volatile.Write(ref Drained, Volatile.Read(ref _filled));
    }
}
