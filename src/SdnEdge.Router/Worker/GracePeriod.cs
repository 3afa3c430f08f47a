using SdnEdge.Linux;

namespace SdnEdge.Router.Worker;

/// <summary>
/// Waits until no worker can still be using what was in the shared tables before the call.
/// <list type="number">
/// <item>The writer has stored the new state; a full fence orders that before what follows.</item>
/// <item>Each worker's state is read. One that sleeps holds nothing, and sees the new state when it wakes.</item>
/// <item>For the others: wait until the state has changed, that is, until they have passed a batch boundary or gone to sleep.</item>
/// </list>
/// A busy worker passes one after each batch, so this takes as long as the batch that is being worked on: microseconds.
/// </summary>
public static class GracePeriod
{
    /// <summary>How long a worker may take over one batch before it is taken for stuck.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(10);

    // A turn of the waiting loop that takes longer was interrupted.
    private const long LongestTurnNs = 10_000_000;

    /// <summary>Waits for all of <paramref name="workers"/>. Returns how long it took, in ns.</summary>
    /// <param name="workers">Every worker that reads the tables.</param>
    /// <param name="timeout">How long to wait for one of them at most, not counting time in which the caller does not run;
    /// <see cref="DefaultTimeout"/> when not given.</param>
    /// <exception cref="TimeoutException">A worker did not pass a batch boundary; the tables' old state must not be freed.</exception>
    public static long Wait(ReadOnlySpan<PortWorker> workers, TimeSpan? timeout = null)
    {
        long start = Monotonic.Now;
        Interlocked.MemoryBarrier();
        Span<long> seen = workers.Length <= 64 ? stackalloc long[workers.Length] : new long[workers.Length];
        for (int i = 0; i < workers.Length; i++) seen[i] = workers[i].Quiescence;

        long limit = (long)(timeout ?? DefaultTimeout).TotalNanoseconds;
        for (int i = 0; i < workers.Length; i++)
        {
            if (QuiescentState.HoldsNothing(seen[i]) || workers[i].IsCurrentThread) continue;
            var spin = new SpinWait();
            long waited = 0, last = Monotonic.Now;
            while (workers[i].Quiescence == seen[i])
            {
                // Time in which this thread did not run does not count: where the machine stands still, the worker does, too.
                long now = Monotonic.Now;
                waited += Math.Min(now - last, LongestTurnNs);
                last = now;
                if (waited > limit)
                {
                    throw new TimeoutException($"worker {workers[i].Index} passed no batch boundary in {limit / 1_000_000} ms");
                }

                // First spin, then give up the core: the worker may be waiting for it. Never sleep a whole millisecond.
                spin.SpinOnce(sleep1Threshold: -1);
            }
        }

        return Monotonic.Now - start;
    }
}
