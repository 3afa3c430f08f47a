using System.Diagnostics;

namespace SdnEdge.Router.Control;

/// <summary>
/// Counts what changes in this PE's migrations, so that who has seen one number can wait for the next. Runs on the control loop.
/// </summary>
internal sealed class MigrationChanges
{
    private readonly List<TaskCompletionSource> _waiting = [];
    private bool _changed;

    /// <summary>Another one after each change, and in each life of the PE: what was said before a restart is not taken for what is so
    /// now.</summary>
    public long Number { get; private set; } = Stopwatch.GetTimestamp();

    /// <summary>Something has changed.</summary>
    public void Note()
    {
        Number++;
        _changed = true;
    }

    /// <summary>Completes behind the round of the loop in which the next change comes.</summary>
    public Task NextAsync()
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting.Add(done);
        return done.Task;
    }

    /// <summary>At the end of each round of the loop: tells who waits.</summary>
    public void Tell()
    {
        if (!_changed) return;
        _changed = false;
        foreach (TaskCompletionSource done in _waiting) done.SetResult();
        _waiting.Clear();
    }
}
