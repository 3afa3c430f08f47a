using System.Runtime.InteropServices;

namespace SdnEdge.Cli.Commands;

/// <summary>The signals of a daemon, from its making on: TERM and INT (and HUP, where it has no meaning of its own) end it. XFSZ does
/// not: a write beyond the limit to a file's size (setrlimit(2), RLIMIT_FSIZE) fails with EFBIG, as on a disk that is full.</summary>
internal sealed class DaemonSignals : IDisposable
{
    // signal(7): no name in PosixSignal, which takes raw numbers, too.
    private const PosixSignal FileSizeLimit = (PosixSignal)25;

    private readonly CancellationTokenSource _stop;
    private readonly PosixSignalRegistration[] _registered;

    /// <summary>Registers.</summary>
    /// <param name="cancel">Ends it, too.</param>
    /// <param name="hangUpEnds">True: so does HUP.</param>
    public DaemonSignals(CancellationToken cancel, bool hangUpEnds = false)
    {
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        PosixSignal[] ends = hangUpEnds ? [PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP]
            : [PosixSignal.SIGTERM, PosixSignal.SIGINT];
        _registered =
        [
            .. ends.Select(s => PosixSignalRegistration.Create(s, context =>
            {
                context.Cancel = true;
                _stop.Cancel();
            })),
            PosixSignalRegistration.Create(FileSizeLimit, context => context.Cancel = true),
        ];
    }

    /// <summary>Cancelled when it is to end.</summary>
    public CancellationToken Stop => _stop.Token;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registered) registration.Dispose();
        _stop.Dispose();
    }
}
