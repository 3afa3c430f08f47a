using System.Buffers.Binary;
using System.Diagnostics;
using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;
using SdnEdge.Router.Worker;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Worker;

public sealed class PortWorkerTests
{
    [Fact]
    public void Frames_of_every_port_are_processed_in_order()
    {
        using var a = new ChannelPort("a");
        using var b = new ChannelPort("b");
        var processor = new RecordingProcessor();
        using var worker = new PortWorker(0, processor);
        worker.Attach(1, a);
        worker.Start();
        worker.Attach(2, b);
        for (int i = 0; i < 1000; i++)
        {
            a.Put(Number(i));
            b.Put(Number(i));
        }

        Until(() => processor.Frames == 2000);
        Assert.Equal(Enumerable.Range(0, 1000), processor.Numbers(1));
        Assert.Equal(Enumerable.Range(0, 1000), processor.Numbers(2));
        Assert.Equal(2000, worker.Statistics.Packets);
        Assert.Equal(0, worker.Statistics.Faults);
    }

    [Fact]
    public void No_wake_up_is_lost_when_work_comes_as_the_worker_goes_to_sleep()
    {
        using var port = new ChannelPort("a");
        var processor = new RecordingProcessor();
        using var worker = new PortWorker(0, processor);
        worker.Attach(1, port);
        worker.Start();
        int commands = 0;
        var random = new Random(1);
        for (int i = 0; i < 6_000; i++)
        {
            // The gaps vary around the time the worker takes to fall asleep.
            Thread.SpinWait(random.Next(200));
            if ((i & 1) == 0)
            {
                port.Put(Number(i));
                Until(() => processor.Frames == (i / 2) + 1);
            }
            else
            {
                Assert.True(worker.TryPost(() => Volatile.Write(ref commands, commands + 1)));
                Until(() => Volatile.Read(ref commands) == (i / 2) + 1);
            }
        }

        Assert.True(worker.Statistics.Sleeps > 100, $"the worker slept only {worker.Statistics.Sleeps} times, so nothing was tried");
    }

    [Fact]
    public void A_busy_port_does_not_starve_the_others()
    {
        using var busy = new ChannelPort("busy");
        using var quiet = new ChannelPort("quiet");
        var processor = new RecordingProcessor { KeepBusy = (1, busy) };
        using var worker = new PortWorker(0, processor);
        worker.Attach(1, busy);
        worker.Attach(2, quiet);
        for (int i = 0; i < 200; i++) busy.Put(Number(i));
        worker.Start();
        Until(() => processor.Frames > 1000);
        for (int i = 0; i < 50; i++)
        {
            quiet.Put(Number(i));
            Until(() => processor.Numbers(2).Length == i + 1);
        }

        bool ran = false;
        worker.Invoke(() => ran = true);
        Assert.True(ran);
        processor.KeepBusy = null;
    }

    [Fact]
    public void Deadlines_of_the_processor_are_kept()
    {
        var processor = new RecordingProcessor();
        using var worker = new PortWorker(0, processor);
        worker.Start();
        long[] late = new long[20];
        for (int i = 1; i <= late.Length; i++)
        {
            long deadline = Monotonic.Now + (i * 300_000);
            worker.Invoke(() => processor.NextDeadline = deadline);
            Until(() => processor.Polls == i);
            Assert.True(processor.PolledAt >= deadline, "polled too early");
            late[i - 1] = processor.PolledAt - deadline;
        }

        // Late only by what the scheduler does on a loaded machine; which may stand still in between.
        Array.Sort(late);
        Assert.InRange(late[late.Length / 2], 0, 200_000_000);
    }

    [Fact]
    public void An_idle_worker_uses_no_processor_time()
    {
        using var port = new ChannelPort("a");
        using var worker = new PortWorker(0, new RecordingProcessor());
        worker.Attach(1, port);
        worker.Start();
        SleepsUntilWoken(worker);
    }

    [Fact]
    public void An_exception_in_processing_is_counted_and_the_worker_goes_on()
    {
        using var port = new ChannelPort("a");
        var processor = new RecordingProcessor { FaultAt = 5 };
        using var worker = new PortWorker(0, processor);
        worker.Attach(1, port);
        worker.Start();
        for (int i = 0; i < 10; i++)
        {
            port.Put(Number(i));
            Until(() => processor.Frames + worker.Statistics.Faults == i + 1);
        }

        Assert.Equal(1, worker.Statistics.Faults);
        Assert.IsType<InvalidOperationException>(worker.Statistics.LastFault);
        Assert.Equal(9, processor.Frames);
        Assert.Throws<FormatException>(() => worker.Invoke(static () => throw new FormatException()));
        Assert.Equal(1, worker.Statistics.Faults);
    }

    [Fact]
    public void A_detached_port_is_not_received_from()
    {
        using var port = new ChannelPort("a");
        var processor = new RecordingProcessor();
        using var worker = new PortWorker(0, processor);
        worker.Start();
        worker.Attach(1, port);
        Assert.Throws<ArgumentException>(() => worker.Attach(1, port));
        port.Put(Number(0));
        Until(() => processor.Frames == 1);
        Assert.True(worker.Detach(1));
        Assert.False(worker.Detach(1));
        port.Put(Number(1));
        worker.Invoke(static () => { });
        Assert.Equal(1, port.Waiting);
        worker.Attach(7, port);
        Until(() => processor.Numbers(7).Length == 1);
    }

    [Fact]
    public void A_port_whose_device_has_gone_is_let_go_and_reported()
    {
        using var port = new ChannelPort("a");
        int lost = 0;
        using var worker = new PortWorker(0, new RecordingProcessor(),
            new PortWorkerOptions { PortLost = id => Volatile.Write(ref lost, id) });
        worker.Attach(3, port);
        worker.Start();
        port.IsGone = true;
        port.SignalOnly();

        Until(() => Volatile.Read(ref lost) == 3);
        Assert.False(worker.Detach(3));
    }

    [Fact]
    public void A_full_mailbox_refuses_and_counts()
    {
        using var gate = new ManualResetEventSlim();
        using var worker = new PortWorker(0, new RecordingProcessor(), new PortWorkerOptions { MailboxCapacity = 4 });
        worker.Start();
        using var inside = new ManualResetEventSlim();
        Assert.True(worker.TryPost(() =>
        {
            inside.Set();
            gate.Wait();
        }));
        Assert.True(inside.Wait(Patience.Time));
        int done = 0;
        for (int i = 0; i < 4; i++) Assert.True(worker.TryPost(() => Interlocked.Increment(ref done)));
        Assert.False(worker.TryPost(() => Interlocked.Increment(ref done)));
        Assert.Equal(1, worker.CommandsRefused);
        gate.Set();
        Until(() => Volatile.Read(ref done) == 4);
    }

    [Fact]
    public void Commands_posted_before_the_end_are_carried_out()
    {
        int done = 0;
        using (var worker = new PortWorker(0, new RecordingProcessor()))
        {
            worker.Start();
            for (int i = 0; i < 500; i++) Assert.True(worker.TryPost(() => done++));
        }

        Assert.Equal(500, done);
    }

    internal static byte[] Number(int number)
    {
        byte[] frame = new byte[60];
        BinaryPrimitives.WriteInt32BigEndian(frame, number);
        return frame;
    }

    internal static void Until(Func<bool> condition)
    {
        var watch = Stopwatch.StartNew();
        var spin = new SpinWait();
        while (!condition())
        {
            Assert.True(watch.Elapsed < Patience.Time, "what was waited for did not happen in time");
            spin.SpinOnce(sleep1Threshold: 200);
        }
    }

    /// <summary>
    /// A worker with nothing to do uses no processor time, whatever time passes: the kernel has it blocked in a wait that has no end, each
    /// command wakes it once, and then it is there again.
    /// </summary>
    internal static void SleepsUntilWoken(PortWorker worker)
    {
        const int Commands = 1000;
        string task = "";
        worker.Invoke(() => task = File.ResolveLinkTarget("/proc/thread-self", returnFinalTarget: false)!.FullName);
        Until(WaitsForEver);
        long before = worker.Statistics.Sleeps;
        for (int i = 0; i < Commands; i++)
        {
            long sleeps = worker.Statistics.Sleeps;
            worker.Invoke(static () => { });
            Until(() => worker.Statistics.Sleeps > sleeps);
        }

        Until(WaitsForEver);

        // A machine that stands still ends a wait, too; a worker that wakes by itself would come to thousands.
        Assert.InRange(worker.Statistics.Sleeps - before, Commands, Commands + (Commands / 10));

        // proc(5), syscall: the number of the call that the thread is blocked in and its arguments, or "running". The fourth of
        // epoll_pwait2 is its timeout: none.
        bool WaitsForEver()
        {
            const string EpollPwait2 = "441";
            return File.ReadAllText(task + "/syscall").Split(' ') is [EpollPwait2, _, _, _, "0x0", ..];
        }
    }
}
