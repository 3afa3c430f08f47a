using System.Threading.Channels;

namespace SdnEdge.Host.Qmp;

/// <summary>
/// Events of one connection from the moment at which the listener was made: it is made before the command that causes them. When the
/// connection ends, it says so; it is never just silent.
/// </summary>
public sealed class QmpListener : IDisposable
{
    // Of a machine that nobody listens to: QEMU limits the rate of most events, so this is minutes.
    private const int Most = 4096;

    private readonly QmpConnection _connection;
    private readonly HashSet<string> _names;
    private readonly Channel<QmpEvent> _events = Channel.CreateBounded<QmpEvent>(Most);

    internal QmpListener(QmpConnection connection, IEnumerable<string> names)
        => (_connection, _names) = (connection, [.. names]);

    /// <summary>The next event for which <paramref name="wanted"/> is true; those before it are dropped.</summary>
    /// <param name="wanted">Which one.</param>
    /// <param name="what">What it means, for the message when it does not come.</param>
    /// <param name="deadline">How long it is waited for.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <exception cref="QmpTimeoutException">It did not come.</exception>
    /// <exception cref="QmpDisconnectedException">The connection has ended; events that came before are given first.</exception>
    public async Task<QmpEvent> NextAsync(Func<QmpEvent, bool> wanted, string what, TimeSpan deadline, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(wanted);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(deadline);
        try
        {
            while (true)
            {
                QmpEvent next = await _events.Reader.ReadAsync(end.Token).ConfigureAwait(false);
                if (wanted(next)) return next;
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new QmpTimeoutException($"QEMU at {_connection.Socket} did not say within {deadline.TotalSeconds:0.###} s that {what}");
        }
        catch (ChannelClosedException e)
        {
            throw e.InnerException as QmpException
                ?? new QmpDisconnectedException($"{_connection.Socket}: nobody listens any more", e);
        }
    }

    /// <summary>Listens no more.</summary>
    public void Dispose() => _connection.Forget(this);

    internal bool Wants(string name) => _names.Count == 0 || _names.Contains(name);

    internal void Take(QmpEvent happened)
    {
        if (_events.Writer.TryWrite(happened)) return;

        // One that lost an event must not go on as if it had all.
        End(new QmpException($"{_connection.Socket}: more than {Most} events were not read"));
        _connection.Forget(this);
    }

    internal void End(QmpException why) => _events.Writer.TryComplete(why);
}
