using SdnEdge.Core.Forwarding;
using SdnEdge.Linux;
using SdnEdge.Router.Worker;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Worker;

public sealed class GracePeriodTests
{
    [Fact]
    public void After_the_wait_no_worker_under_load_uses_the_old_state()
    {
        using var a = new ChannelPort("a");
        using var b = new ChannelPort("b");
        var shared = new Shared();
        using var first = new PortWorker(0, new CheckingProcessor(shared, a));
        using var second = new PortWorker(1, new CheckingProcessor(shared, b));
        PortWorker[] workers = [first, second];
        first.Attach(1, a);
        second.Attach(1, b);
        for (int i = 0; i < 200; i++)
        {
            a.Put(PortWorkerTests.Number(i));
            b.Put(PortWorkerTests.Number(i));
        }

        first.Start();
        second.Start();
        PortWorkerTests.Until(() => first.Statistics.Packets > 1000 && second.Statistics.Packets > 1000);
        for (int i = 0; i < 500; i++)
        {
            Table old = shared.Current;
            shared.Current = new Table();
            GracePeriod.Wait(workers);
            old.Freed = true;
        }

        shared.Stop = true;
        Assert.Equal(0, Volatile.Read(ref shared.UsedAfterFree));
        Assert.Equal(0, first.Statistics.Faults + second.Statistics.Faults);
    }

    [Fact]
    public void Without_the_wait_the_old_state_is_seen_in_use()
    {
        // The control: the check above can fail.
        using var a = new ChannelPort("a");
        var shared = new Shared();
        using var worker = new PortWorker(0, new CheckingProcessor(shared, a));
        worker.Attach(1, a);
        for (int i = 0; i < 200; i++) a.Put(PortWorkerTests.Number(i));
        worker.Start();
        PortWorkerTests.Until(() =>
        {
            Table old = shared.Current;
            shared.Current = new Table();
            old.Freed = true;
            return Volatile.Read(ref shared.UsedAfterFree) > 0;
        });
        shared.Stop = true;
    }

    [Fact]
    public void Idle_workers_hold_nobody_up()
    {
        using var first = new PortWorker(0, new RecordingProcessor());
        using var second = new PortWorker(1, new RecordingProcessor());
        PortWorker[] workers = [first, second];
        GracePeriod.Wait(workers);
        first.Start();
        second.Start();
        PortWorkerTests.Until(() => first.Statistics.Sleeps > 0 && second.Statistics.Sleeps > 0);
        long[] took = new long[1000];
        for (int i = 0; i < took.Length; i++) took[i] = GracePeriod.Wait(workers);
        Array.Sort(took);
        Assert.InRange(took[took.Length / 2], 0, 100_000);
    }

    [Fact]
    public void A_worker_that_does_not_move_is_reported()
    {
        using var gate = new ManualResetEventSlim();
        using var inside = new ManualResetEventSlim();
        using var worker = new PortWorker(4, new RecordingProcessor());
        worker.Start();
        Assert.True(worker.TryPost(() =>
        {
            inside.Set();
            gate.Wait();
        }));
        Assert.True(inside.Wait(Patience.Time));
        TimeoutException error = Assert.Throws<TimeoutException>(() => GracePeriod.Wait([worker], TimeSpan.FromMilliseconds(50)));
        Assert.Contains("worker 4", error.Message, StringComparison.Ordinal);
        gate.Set();
        GracePeriod.Wait([worker]);
    }

    [Fact]
    public void A_worker_does_not_wait_for_itself()
    {
        using var worker = new PortWorker(0, new RecordingProcessor());
        worker.Start();
        worker.Invoke(() => GracePeriod.Wait([worker], TimeSpan.FromSeconds(2)));
    }

    private sealed class Table
    {
        private volatile bool _freed;

        public bool Freed
        {
            get => _freed;
            set => _freed = value;
        }
    }

    private sealed class Shared
    {
        public int UsedAfterFree;
        private volatile Table _current = new();

        public volatile bool Stop;

        public Table Current
        {
            get => _current;
            set => _current = value;
        }
    }

    /// <summary>Reads the table at the start of a batch and uses it to its end, as a forwarder does.</summary>
    private sealed class CheckingProcessor(Shared shared, ChannelPort port) : IBatchProcessor
    {
        public long NextDeadline => long.MaxValue;

        public void Process(PacketBatch batch, int portId, long now)
        {
            Table table = shared.Current;
            foreach (Packet packet in batch.Packets)
            {
                if (!shared.Stop) port.Put(packet.Span);
                if (table.Freed) Interlocked.Increment(ref shared.UsedAfterFree);
            }
        }

        public void Poll(long now)
        {
        }
    }
}
