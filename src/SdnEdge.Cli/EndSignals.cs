using System.CommandLine;
using System.Runtime.InteropServices;
using SdnEdge.Linux;

namespace SdnEdge.Cli;

/// <summary>
/// The signals that end a command, one rule for all of them: TERM, INT (Ctrl-C), HUP (a closed terminal) and QUIT ask it to end, and it
/// takes back what it has begun. The second one says that it is doing so; the third ends it at once, with what is left behind. A command
/// for which a signal means something else takes its own (<see cref="TakesItsOwn"/>): a PE reads its file again at HUP, a migration that is
/// followed is undone at Ctrl-C.
/// </summary>
internal sealed class EndSignals : IDisposable
{
    // signal(7): no name in PosixSignal, which takes raw numbers, too.
    private const PosixSignal FileSizeLimit = (PosixSignal)25;

    private static readonly HashSet<Command> s_own = [];

    private readonly CancellationTokenSource _stop;
    private readonly PosixSignalRegistration[] _registered;
    private int _count;

    private EndSignals(Func<EndSignals, PosixSignal, int, bool> take, bool keepsFileLimit, CancellationToken cancel = default)
    {
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        _registered =
        [
            .. All.Select(s => PosixSignalRegistration.Create(s, context =>
            {
                // Before anything is written to it.
                if (s == PosixSignal.SIGHUP) Terminal.LeaveClosed();
                context.Cancel = take(this, s, Interlocked.Increment(ref _count));
            })),
            .. keepsFileLimit ? [PosixSignalRegistration.Create(FileSizeLimit, context => context.Cancel = true)]
                : (PosixSignalRegistration[])[],
        ];
    }

    /// <summary>All that end a command.</summary>
    public static IReadOnlyList<PosixSignal> All { get; } =
        [PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP, PosixSignal.SIGQUIT];

    /// <summary>Cancelled when it is to end.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <summary>Takes the signals of a command that ends and takes back what it has begun.</summary>
    /// <param name="cancel">Ends it, too.</param>
    public static EndSignals OfCommand(CancellationToken cancel = default) => new((self, _, count) =>
    {
        self._stop.Cancel();
        if (count == 2)
        {
            Console.Error.WriteLine("sdnedge: it is ending, and takes back what it has begun; once more ends it at once, and leaves "
                + "that.");
        }

        return count < 3;
    }, keepsFileLimit: false, cancel);

    /// <summary>
    /// Takes the signals of a daemon, from its making on. However often they come, it ends as it should; XFSZ does not end it: a write
    /// beyond the limit to a file's size (setrlimit(2), RLIMIT_FSIZE) fails with EFBIG, as on a disk that is full.
    /// </summary>
    /// <param name="cancel">Ends it, too.</param>
    /// <param name="hangUp">What HUP does instead; null = it ends the daemon, as TERM does.</param>
    public static EndSignals OfDaemon(CancellationToken cancel, Action? hangUp = null) => new((self, signal, _) =>
    {
        if (signal == PosixSignal.SIGHUP && hangUp is not null) hangUp();
        else self._stop.Cancel();
        return true;
    }, keepsFileLimit: true, cancel);

    /// <summary>Takes the signals, and hands each on.</summary>
    /// <param name="take">The signal, and how many have come with it. False: it does what it would do to any process.</param>
    public static EndSignals Handed(Func<PosixSignal, int, bool> take) => new((_, signal, count) => take(signal, count),
        keepsFileLimit: false);

    /// <summary>Marks a command that takes its signals itself.</summary>
    /// <returns>The command.</returns>
    public static Command TakesItsOwn(Command command)
    {
        s_own.Add(command);
        return command;
    }

    /// <summary>True when a command takes its signals itself.</summary>
    public static bool AreTakenBy(Command command) => s_own.Contains(command);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registered) registration.Dispose();
        _stop.Dispose();
    }
}
