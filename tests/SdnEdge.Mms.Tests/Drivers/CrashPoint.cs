using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Journal;
using SdnEdge.Mms.Model;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>What a manager is doing when it dies.</summary>
internal enum CrashAt
{
    /// <summary>A record was decided on and is not written.</summary>
    BeforeAppend,

    /// <summary>A record is on the disk, and nobody has acted on it.</summary>
    AfterAppend,

    /// <summary>A command was due and has not gone out.</summary>
    BeforeCommand,

    /// <summary>A command has been carried out, and its answer is lost.</summary>
    AfterCommand,
}

/// <summary>
/// One life of a manager, seen from its two doors, the journal and the parties: it counts what goes through them and ends the life at one
/// of them. From then on nothing of this life gets through any more, as after SIGKILL: no append, no command, no answer.
/// </summary>
internal sealed class CrashPoint
{
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _died = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _never = new();
    private readonly CrashAt? _at;
    private readonly int _number;
    private readonly List<string> _appends = [];
    private readonly List<string> _commands = [];
    private int _underWay;
    private TaskCompletionSource? _quiet;

    /// <summary>A life that dies at a door.</summary>
    /// <param name="at">Where; null: it lives on, and only counts.</param>
    /// <param name="number">At which append or command, from 0.</param>
    public CrashPoint(CrashAt? at = null, int number = 0) => (_at, _number) = (at, number);

    /// <summary>Ends when the life does.</summary>
    public Task Died => _died.Task;

    /// <summary>What each append held, in order.</summary>
    public IReadOnlyList<string> Appends
    {
        get
        {
            lock (_lock) return [.. _appends];
        }
    }

    /// <summary>Keys of the commands, in order.</summary>
    public IReadOnlyList<string> Commands
    {
        get
        {
            lock (_lock) return [.. _commands];
        }
    }

    /// <summary>Waits until what a party or the disk had begun when the life ended is over: it is at their side, and nobody recalls
    /// it.</summary>
    public Task QuietAsync()
    {
        lock (_lock) return _underWay == 0 ? Task.CompletedTask : (_quiet ??= new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
    }

    /// <summary>The journal as this life sees it.</summary>
    public IJournal Journal(IJournal journal) => new JournalDoor(this, journal);

    /// <summary>The parties as this life sees them.</summary>
    public IParties Parties(IParties parties) => new PartyDoor(this, parties);

    // Counts. False: the life has ended, or ends here.
    private bool Enter(List<string> list, string what, CrashAt before, out int number)
    {
        lock (_lock)
        {
            number = list.Count;
            if (_died.Task.IsCompleted) return false;
            list.Add(what);
            if (_at == before && number == _number) _died.SetResult();
            if (_died.Task.IsCompleted) return false;
            _underWay++;
            return true;
        }
    }

    // False: the answer does not get through.
    private bool Leave(CrashAt after, int number)
    {
        lock (_lock)
        {
            if (--_underWay == 0) _quiet?.TrySetResult();
            if (_at == after && number == _number) _died.TrySetResult();
            return !_died.Task.IsCompleted;
        }
    }

    // A dead process does not go on: what it waited for never comes, neither as a result nor as an exception.
    private async Task<T> ThroughAsync<T>(List<string> list, string what, CrashAt before, CrashAt after, Func<Task<T>> act)
    {
        if (!Enter(list, what, before, out int number)) await _never.Task;
        try
        {
            T result = await act();
            if (!Leave(after, number)) await _never.Task;
            return result;
        }
        catch (Exception)
        {
            if (!Leave(after, number)) await _never.Task;
            throw;
        }
    }

    private async Task<T> LookAsync<T>(Func<Task<T>> look)
    {
        if (Died.IsCompleted) await _never.Task;
        T result = await look();
        if (Died.IsCompleted) await _never.Task;
        return result;
    }

    private sealed class JournalDoor(CrashPoint life, IJournal journal) : IJournal
    {
        public long Length => journal.Length;

        public string Id => journal.Id;

        public Task<IReadOnlyList<JournalRecord>> ReadAsync(long after, int most, CancellationToken cancel)
            => life.LookAsync(() => journal.ReadAsync(after, most, cancel));

        public Task AppendAsync(long expected, IReadOnlyList<JournalEntry> entries, CancellationToken cancel)
            => life.ThroughAsync(life._appends, string.Join(" + ", entries.Select(e => e.Input)), CrashAt.BeforeAppend, CrashAt.AfterAppend,
                async () =>
                {
                    await journal.AppendAsync(expected, entries, CancellationToken.None);
                    return true;
                });

        // The process is gone, the file is closed by whoever reaps it: the test.
        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class PartyDoor(CrashPoint life, IParties parties) : IParties
    {
        public Task<SignalReply> SignalAsync(SendSignal command, CancellationToken cancel) => life.ThroughAsync(
            life._commands, command.Key, CrashAt.BeforeCommand, CrashAt.AfterCommand,
            () => parties.SignalAsync(command, CancellationToken.None));

        public Task<ServerReply> OrderAsync(SendOrder command, CancellationToken cancel) => life.ThroughAsync(
            life._commands, command.Key, CrashAt.BeforeCommand, CrashAt.AfterCommand,
            () => parties.OrderAsync(command, CancellationToken.None));

        public Task<MigrationInfo> MigrationAsync(string pe, string path, MigrationWait wait, CancellationToken cancel)
            => life.LookAsync(() => parties.MigrationAsync(pe, path, wait, cancel));

        public Task<string?> WhyNotDirectAsync(string pe, PathMove path, CancellationToken cancel)
            => life.LookAsync(() => parties.WhyNotDirectAsync(pe, path, cancel));

        public Task<SourceTells> TellsAsync(PathMove path, CancellationToken cancel)
            => life.LookAsync(() => parties.TellsAsync(path, cancel));

        public Task<IReadOnlyList<string>> LeftOverAsync(string pe, string path, CancellationToken cancel)
            => life.LookAsync(() => parties.LeftOverAsync(pe, path, cancel));

        public Task<LeaseInfo?> LeaseAsync(LeaseCommand command, CancellationToken cancel) => life.ThroughAsync(
            life._commands, command.Key, CrashAt.BeforeCommand, CrashAt.AfterCommand,
            () => parties.LeaseAsync(command, CancellationToken.None));

        public Task<ServerInfo> ServerAsync(string host, string server, CancellationToken cancel)
            => life.LookAsync(() => parties.ServerAsync(host, server, cancel));
    }
}
