using SdnEdge.Client;
using SdnEdge.Core.Api;

namespace SdnEdge.Demo.Run;

/// <summary>Has a manager move a group, and tells each stage as it begins: from the manager's events, and where one does not come, from a
/// look.</summary>
internal sealed class MigrationProgress(MmsClient mms)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    /// <summary>Starts the migration and waits for its end.</summary>
    /// <param name="call">What is to be moved.</param>
    /// <param name="stage">Told each stage, from one thread at a time. When cancelled, the manager is asked to undo it, and its end is
    /// waited for.</param>
    /// <param name="cancel">Has it undone.</param>
    public async Task<MigrationStatus> RunAsync(MigrationCall call, Action<string> stage, CancellationToken cancel)
    {
        var gate = new Lock();
        var told = new HashSet<string>(StringComparer.Ordinal);
        string? id = null;
        using var listening = new CancellationTokenSource();
        var early = new List<EventRecord>();
        Task listener = ListenAsync();
        try
        {
            MigrationStatus now = await mms.StartAsync(call, cancel);
            lock (gate)
            {
                id = now.Id;
                foreach (EventRecord e in early) Take(e);
            }

            Tell(now);
            bool asked = false;
            while (!now.Ended)
            {
                if (cancel.IsCancellationRequested && !asked)
                {
                    asked = true;
                    try
                    {
                        await mms.AbortAsync(now.Id, "the demo was interrupted", CancellationToken.None);
                    }
                    catch (ApiProblemException)
                    {
                        // Too late to undo: it goes on to its end.
                    }
                }

                await Task.Delay(Look, CancellationToken.None);
                now = await mms.MigrationAsync(now.Id, CancellationToken.None);
                Tell(now);
            }

            cancel.ThrowIfCancellationRequested();
            return now;
        }
        finally
        {
            await listening.CancelAsync();
            await listener;
        }

        void Tell(MigrationStatus now)
        {
            foreach (MoveStatus move in now.Moves)
            {
                // One that was passed through in one step has no event, and would be told when it is long over.
                foreach (StageTime ended in move.Timeline.Where(t => t.EndNs > t.StartNs)) Once(ended.Stage);
                Once(move.Stage);
            }
        }

        void Once(string name)
        {
            lock (gate)
            {
                if (told.Add(name)) stage(name);
            }
        }

        void Take(EventRecord e)
        {
            bool end = e.Change is "moved" or "as-before" or "fenced" or "given-up";
            if (e.Kind == "migration" && e.Subject == id && !end && e.Change is not ("requested" or "pivot" or "committed")) Once(e.Change);
        }

        async Task ListenAsync()
        {
            try
            {
                await foreach (EventRecord e in mms.EventsAsync(cancel: listening.Token))
                {
                    lock (gate)
                    {
                        if (id is null) early.Add(e);
                        else Take(e);
                    }
                }
            }
            catch (Exception e) when (e is OperationCanceledException or ApiUnreachableException or ApiProblemException
                or IOException or HttpRequestException)
            {
                // The looks go on without it.
            }
        }
    }
}
