using System.CommandLine;
using System.Runtime.InteropServices;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using Spectre.Console;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Follows a migration to its end and shows it.</summary>
internal static class Follow
{
    /// <summary>A view on a terminal has its clocks move on; elsewhere the poll only stands in for events that do not come.</summary>
    private static readonly TimeSpan OnTerminal = TimeSpan.FromMilliseconds(250), Elsewhere = TimeSpan.FromSeconds(1);

    /// <summary>Follows it.</summary>
    /// <param name="manager">Its manager.</param>
    /// <param name="id">The migration.</param>
    /// <param name="json">True: a line of JSON for each change, news to standard error.</param>
    /// <param name="abortable">True: Ctrl-C asks the manager to undo it, and the next one leaves. False: Ctrl-C leaves.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> ToEndAsync(Manager manager, string id, bool json, bool abortable)
    {
        using var leave = new CancellationTokenSource();
        using var interrupts = new Interrupts(manager.Mms, id, abortable, leave, Console.Error.WriteLine);
        using var watch = new MigrationWatch(manager.Mms, id, !json && !Console.IsOutputRedirected ? OnTerminal : Elsewhere,
            Console.Error.WriteLine);
        var view = new MigrationView(manager.SameClock);
        MigrationStatus? last = null;
        try
        {
            if (!json && !Console.IsOutputRedirected) last = await LiveAsync(manager, watch, view, leave.Token);
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
                $"sdnedge migrate: left; {manager.Mms.Name} goes on with migration {id}: 'sdnedge migrate watch {id}' shows it.");
            return MigrateCommand.Unfinished;
        }

        return MigrateCommand.CodeOf(last!);
    }

    private static async Task<MigrationStatus> LiveAsync(Manager manager, MigrationWatch watch, MigrationView view,
        CancellationToken cancel)
    {
        MigrationStatus? last = null;
        await DemoView.NewConsole().Live(new Text("")).Overflow(VerticalOverflow.Crop).Cropping(VerticalOverflowCropping.Top)
            .StartAsync(async live =>
        {
            await foreach (MigrationStatus now in watch.ChangesAsync(unchanged: true, cancel))
            {
                last = now;
                var holds = new Dictionary<string, HoldInfo>(StringComparer.Ordinal);
                foreach (PathStatus path in now.Ended ? [] : now.Moves[^1].Paths)
                {
                    if (await manager.HoldAsync(path, cancel) is { } hold) holds[path.Id] = hold;
                }

                live.UpdateTarget(view.Picture(now, holds));
            }
        });
        return last!;
    }

    /// <summary>Ctrl-C while a migration is followed.</summary>
    private sealed class Interrupts : IDisposable
    {
        private readonly PosixSignalRegistration _registration;
        private int _count;

        public Interrupts(MmsClient mms, string id, bool abortable, CancellationTokenSource leave, Action<string> say)
            => _registration = PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
            {
                context.Cancel = true;
                if (!abortable || Interlocked.Increment(ref _count) > 1) leave.Cancel();
                else _ = AbortAsync(mms, id, say, leave.Token);
            });

        public void Dispose() => _registration.Dispose();

        private static async Task AbortAsync(MmsClient mms, string id, Action<string> say, CancellationToken cancel)
        {
            try
            {
                await mms.AbortAsync(id, "Ctrl-C", cancel);
                say($"{mms.Name} was asked to undo migration {id}; watching on to its end. Ctrl-C again leaves, and changes nothing.");
            }
            catch (ApiProblemException e)
            {
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
