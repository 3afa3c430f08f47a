using System.Diagnostics;

namespace SdnEdge.Testing;

/// <summary>Wakes a waiting test whenever something has arrived; told from any thread, waited for by one.</summary>
public sealed class Arrivals : IDisposable
{
    private readonly SemaphoreSlim _arrived = new(0);

    /// <summary>Something has arrived.</summary>
    public void Tell()
    {
        // What has arrived is written before the look whether the waiting one still has a word of it to take.
        Interlocked.MemoryBarrier();
        try
        {
            if (_arrived.CurrentCount == 0) _arrived.Release();
        }
        catch (ObjectDisposedException)
        {
            // Nobody waits any more.
        }
    }

    /// <summary>Waits until something has arrived since the last wait; false: nothing did in that time.</summary>
    public Task<bool> NextAsync(TimeSpan atMost) => _arrived.WaitAsync(atMost > TimeSpan.Zero ? atMost : TimeSpan.Zero);

    /// <summary>Waits until what has arrived is enough; false: it was not in that time.</summary>
    public async Task<bool> UntilAsync(Func<bool> enough, TimeSpan atMost)
    {
        var watch = Stopwatch.StartNew();
        while (!enough())
        {
            if (!await NextAsync(atMost - watch.Elapsed)) return enough();
        }

        return true;
    }

    /// <summary>Nothing may be waited for after it; what is still told is not heard.</summary>
    public void Dispose() => _arrived.Dispose();
}
