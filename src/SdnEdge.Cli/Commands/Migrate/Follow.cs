using System.CommandLine;
using System.Runtime.InteropServices;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Spectre.Console;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Follows a migration to its end and shows it.</summary>
internal static class Follow
{
    /// <summary>A view on a terminal has its clocks move on; elsewhere the poll only stands in for events that do not come.</summary>
    private static readonly TimeSpan OnTerminal = TimeSpan.FromMilliseconds(250), Elsewhere = TimeSpan.FromSeconds(1);

    /// <summary>Follows it.</summary>
    /// <param name="manager">Its manager.</param>
    /// <param name="m">The migration, as it was seen last.</param>
    /// <param name="json">True: a line of JSON for each change, news to standard error.</param>
    /// <param name="abortable">True: Ctrl-C asks the manager to undo it, and the next one leaves. False: Ctrl-C leaves. All other signals
    /// that end a command leave: who closes a terminal has not asked for anything.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> ToEndAsync(Manager manager, MigrationStatus m, bool json, bool abortable)
    {
        string id = m.Id;
        using var leave = new CancellationTokenSource();
        using var interrupts = new Interrupts(manager.Mms, id, abortable, leave, Console.Error.WriteLine);
        using var watch = new MigrationWatch(manager.Mms, id, !json && !Console.IsOutputRedirected ? OnTerminal : Elsewhere,
            Console.Error.WriteLine);
        var view = new MigrationView(manager.SameClock);
        MigrationStatus last = m;
        try
        {
            if (!json && !Console.IsOutputRedirected) await LiveAsync(manager, watch, view, now => last = now, leave.Token);
            else
            {
                await foreach (MigrationStatus now in watch.ChangesAsync(unchanged: false, leave.Token))
                {
                    last = now;
                    foreach (string line in view.News(now)) (json ? Console.Error : Console.Out).WriteLine(line);
                    if (json) Console.WriteLine(MigrationView.Line(now));
                }
            }
        }
        catch (OperationCanceledException) when (leave.IsCancellationRequested)
        {
            Console.Error.WriteLine(
                $"sdnedge migrate: left; {manager.Mms.Name} goes on with migration {id} ({last.Stage}): 'sdnedge migrate watch {id}' shows "
                + $"it{Undoing(last)}.");
            return MigrateCommand.Unfinished;
        }

        return MigrateCommand.CodeOf(last);
    }

    // Whether it can still be undone, as far as the stage says it.
    private static string Undoing(MigrationStatus m) => StageTable.Rows.FirstOrDefault(r => MigrateCommand.Word(r.Stage) == m.Stage) switch
    {
        _ when m.State != "running" => "",
        { Stage: MoveStage.Planned } or { BeforePivot: true } => $", 'sdnedge migrate abort {m.Id}' has it undone",
        { Stage: >= MoveStage.Release and <= MoveStage.Inspect }
            => $". The servers run at {m.To}: it cannot be undone any more, a migration to {m.From} brings them back",
        _ => "",
    };

    private static async Task LiveAsync(Manager manager, MigrationWatch watch, MigrationView view, Action<MigrationStatus> seen,
        CancellationToken cancel)
    {
        await DemoView.NewConsole().Live(new Text("")).Overflow(VerticalOverflow.Crop).Cropping(VerticalOverflowCropping.Top)
            .StartAsync(async live =>
        {
            await foreach (MigrationStatus now in watch.ChangesAsync(unchanged: true, cancel))
            {
                seen(now);
                var holds = new Dictionary<string, HoldInfo>(StringComparer.Ordinal);
                foreach (PathStatus path in now.Ended ? [] : now.Moves[^1].Paths)
                {
                    if (await manager.HoldAsync(path, cancel) is { } hold) holds[path.Id] = hold;
                }

                live.UpdateTarget(view.Picture(now, holds));
            }
        });
    }

    /// <summary>Ctrl-C while a migration is followed.</summary>
    private sealed class Interrupts : IDisposable
    {
        private readonly EndSignals _signals;
        private int _interrupts;

        public Interrupts(MmsClient mms, string id, bool abortable, CancellationTokenSource leave, Action<string> say)
            => _signals = EndSignals.Handed((signal, count) =>
            {
                if (!abortable || signal != PosixSignal.SIGINT || Interlocked.Increment(ref _interrupts) > 1) leave.Cancel();
                else _ = AbortAsync(mms, id, say, leave.Token);

                // Should leaving itself hang.
                return count < 4;
            });

        public void Dispose() => _signals.Dispose();

        private static async Task AbortAsync(MmsClient mms, string id, Action<string> say, CancellationToken cancel)
        {
            try
            {
                await mms.AbortAsync(id, "Ctrl-C", cancel);
                say($"{mms.Name} was asked to undo migration {id}; watching on to its end. Ctrl-C again leaves, and changes nothing.");
            }
            catch (ApiProblemException e)
            {
                // Behind the pivot: the servers are live at the target, or may be at any time.
                say($"{e.Message}. It goes on; watching to its end. Ctrl-C again leaves, and changes nothing.");
            }
            catch (ApiUnreachableException e)
            {
                say($"not known whether it is undone: {e.Message}. 'sdnedge migrate abort {id}' asks again. Ctrl-C again leaves.");
            }
            catch (OperationCanceledException)
            {
            }
        }
    }
}
