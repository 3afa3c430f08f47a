using System.Collections.Concurrent;

namespace SdnEdge.Router.Worker;

/// <summary>
/// Commands from the control loop to a worker: bounded, many may post, the worker alone takes. Posting never waits.
/// </summary>
public sealed class WorkerMailbox
{
    private readonly ConcurrentQueue<Action> _commands = new();
    private readonly int _capacity;
    private int _count;
    private long _refused;

    /// <summary>Makes a mailbox for at most <paramref name="capacity"/> commands.</summary>
    public WorkerMailbox(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 1);
        _capacity = capacity;
    }

    /// <summary>True when no command waits.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>Commands refused because the mailbox was full.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Adds a command; false, and counted, when the mailbox is full.</summary>
    public bool TryPost(Action command)
    {
        // Counted before it is queued, so that the bound holds with many posters.
        if (Interlocked.Increment(ref _count) > _capacity)
        {
            Interlocked.Decrement(ref _count);
            Interlocked.Increment(ref _refused);
            return false;
        }

        _commands.Enqueue(command);
        return true;
    }

    /// <summary>Takes the oldest command.</summary>
    public bool TryTake(out Action command)
    {
        if (!_commands.TryDequeue(out command!)) return false;
        Interlocked.Decrement(ref _count);
        return true;
    }
}
