namespace SdnEdge.Host.Qmp;

/// <summary>
/// The two monitors of one QEMU: one for all that is done, and one for when that hangs. Both are negotiated from the start: a QEMU whose
/// main loop hangs accepts a new client and answers it nothing, but still executes what comes out of band on a connection that it knows.
/// </summary>
public sealed class QmpMonitors : IAsyncDisposable
{
    private static readonly TimeSpan s_yank = TimeSpan.FromSeconds(1), s_afterYank = TimeSpan.FromSeconds(5);

    private QmpMonitors(QmpConnection main, QmpConnection rescue) => (Main, Rescue) = (main, rescue);

    /// <summary>For commands and events.</summary>
    public QmpConnection Main { get; }

    /// <summary>For when the other one hangs.</summary>
    public QmpConnection Rescue { get; }

    /// <summary>Connects to both.</summary>
    /// <param name="main">Socket of the one for all that is done.</param>
    /// <param name="rescue">Socket of the other one.</param>
    /// <param name="deadline">How long QEMU has for each greeting.</param>
    /// <param name="cancel">Ends the attempt.</param>
    /// <exception cref="QmpException">One of them does not answer as a monitor does.</exception>
    public static async Task<QmpMonitors> ConnectAsync(string main, string rescue, TimeSpan deadline, CancellationToken cancel)
    {
        QmpConnection first = await QmpConnection.ConnectAsync(main, deadline, cancel).ConfigureAwait(false);
        try
        {
            return new QmpMonitors(first, await QmpConnection.ConnectAsync(rescue, deadline, cancel).ConfigureAwait(false));
        }
        catch
        {
            await first.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Executes a command; when it is not answered by its deadline, cuts the migration's connection, which is what QEMU hangs on then
    /// (a destination that stands still), and waits once more, if there was one. After that only ending the process helps.
    /// </summary>
    /// <exception cref="QmpTimeoutException">It has not answered then either.</exception>
    /// <exception cref="QmpException">Refused, or the connection has ended.</exception>
    public async Task<TResult> ExecuteOrYankAsync<TArguments, TResult>(
        QmpCommand<TArguments, TResult> command, TArguments arguments, TimeSpan deadline, CancellationToken cancel)
        where TArguments : notnull
        where TResult : notnull
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<TResult> answer = Main.ExecuteAsync(command, arguments, Timeout.InfiniteTimeSpan, stop.Token);
        try
        {
            if (!await EndsAsync(answer, deadline, cancel).ConfigureAwait(false)
                && !(await YankMigrationAsync(cancel).ConfigureAwait(false)
                    && await EndsAsync(answer, s_afterYank, cancel).ConfigureAwait(false)))
            {
                throw new QmpTimeoutException($"QEMU at {Main.Socket} has not answered {command.Name}, and cutting its migration's "
                    + "connection did not help");
            }

            return await answer.ConfigureAwait(false);
        }
        finally
        {
            if (!answer.IsCompleted) await stop.CancelAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Cuts the migration's connection. False: there was none to cut.</summary>
    /// <exception cref="QmpTimeoutException">Not even this was answered.</exception>
    /// <exception cref="QmpDisconnectedException">The connection has ended.</exception>
    public async Task<bool> YankMigrationAsync(CancellationToken cancel)
    {
        try
        {
            await Rescue.ExecuteAsync(QmpCommands.Yank, new QmpYank([new QmpYankInstance("migration")]), s_yank, cancel)
                .ConfigureAwait(false);
            return true;
        }
        catch (QmpCommandException)
        {
            return false;
        }
    }

    private static async Task<bool> EndsAsync(Task answer, TimeSpan within, CancellationToken cancel)
    {
        await answer.WaitAsync(within, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancel.ThrowIfCancellationRequested();
        return answer.IsCompleted;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Main.DisposeAsync().ConfigureAwait(false);
        await Rescue.DisposeAsync().ConfigureAwait(false);
    }
}
