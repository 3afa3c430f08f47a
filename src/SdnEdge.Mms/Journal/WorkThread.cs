using System.Collections.Concurrent;

namespace SdnEdge.Mms.Journal;

/// <summary>
/// A thread that does blocking work, one piece at a time, in the order it was given. A disk that hangs then stops this thread and no
/// other.
/// </summary>
internal sealed class WorkThread : IDisposable
{
    private readonly BlockingCollection<Action> _work = [];
    private readonly Thread _thread;

    /// <summary>Starts it.</summary>
    public WorkThread(string name)
    {
        _thread = new Thread(() =>
        {
            foreach (Action piece in _work.GetConsumingEnumerable()) piece();
        })
        { IsBackground = true, Name = name };
        _thread.Start();
    }

    /// <summary>Does <paramref name="work"/> on the thread. Cancelling works until it has begun.</summary>
    /// <exception cref="ObjectDisposedException">The thread has been told to end.</exception>
    public Task<T> RunAsync<T>(Func<T> work, CancellationToken cancel)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            _work.Add(() =>
            {
                if (cancel.IsCancellationRequested)
                {
                    done.SetCanceled(cancel);
                    return;
                }

                try
                {
                    done.SetResult(work());
                }
                catch (Exception e)
                {
                    done.SetException(e);
                }
            }, CancellationToken.None);
        }
        catch (InvalidOperationException e)
        {
            throw new ObjectDisposedException($"{_thread.Name} is closed", e);
        }

        return done.Task;
    }

    /// <summary>Takes no more work; the thread ends when what it has is done. Call once, from one thread.</summary>
    public void Dispose() => _work.CompleteAdding();
}
