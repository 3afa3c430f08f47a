using System.CommandLine;
using SdnEdge.Core.Config;
using SdnEdge.Mms.Journal;

namespace SdnEdge.Cli.Commands;

/// <summary>What is wrong in a daemon's file, or the configuration in it.</summary>
/// <typeparam name="T">The configuration.</typeparam>
/// <param name="Config">The configuration; null where something is wrong.</param>
/// <param name="Errors">Everything that is wrong, each with its place.</param>
internal sealed record DaemonFile<T>(T? Config, IReadOnlyList<ConfigError> Errors)
    where T : class;

/// <summary>A daemon in the foreground: its file is read, it says that it is ready, and a signal ends it.</summary>
/// <typeparam name="T">Its configuration.</typeparam>
/// <param name="Command">The command that runs it, e.g. <c>host</c>.</param>
/// <param name="Read">Reads its file: text and path.</param>
/// <param name="Describe">What is in a good file, in a sentence without its end.</param>
/// <param name="Name">Its name.</param>
/// <param name="Run">Runs it until the token is cancelled; what it has started is gone when it returns.</param>
internal sealed record Daemon<T>(
    string Command, Func<string, string, DaemonFile<T>> Read, Func<T, string> Describe, Func<T, string> Name,
    Func<T, CancellationToken, Task> Run)
    where T : class
{
    private const int ExitOk = 0, ExitFailed = 1, ExitBadConfig = 2;

    /// <summary>Has a command run it.</summary>
    /// <param name="command">The command.</param>
    /// <param name="config">Its option for the file.</param>
    /// <param name="check">Its option to look only.</param>
    public Command At(Command command, Option<string> config, Option<bool> check)
    {
        command.SetAction(async (parse, cancel) =>
        {
            if (parse.GetValue(config) is { } file) return await RunAsync(file, parse.GetValue(check), cancel);
            Console.Error.WriteLine($"sdnedge {Command}: --config FILE is missing; 'sdnedge {Command} --help' has an example.");
            return ExitBadConfig;
        });
        return EndSignals.TakesItsOwn(command);
    }

    private async Task<int> RunAsync(string file, bool checkOnly, CancellationToken cancel)
    {
        DaemonFile<T> read = DaemonFiles.Read(file, Read);
        if (read.Config is not { } config) return DaemonFiles.Tell(file, read.Errors);
        string name = Name(config);
        if (checkOnly)
        {
            Console.WriteLine($"{file}: good. {name}{Describe(config)}.");
            return ExitOk;
        }

        // Signals are taken before anything is started, so that one that comes early still stops cleanly.
        using var signals = EndSignals.OfDaemon(cancel);
        try
        {
            await Run(config, signals.Stop);
            return ExitOk;
        }
        catch (OperationCanceledException) when (signals.Stop.IsCancellationRequested)
        {
            Console.WriteLine($"{name}: stopped");
            return ExitOk;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or UnauthorizedAccessException
            or JournalUnavailableException or JournalConflictException)
        {
            Console.Error.WriteLine($"{name}: {e.Message}");
            return ExitFailed;
        }
    }
}

/// <summary>Files of daemons.</summary>
internal static class DaemonFiles
{
    private const int ExitBadConfig = 2;

    /// <summary>Reads a file; that there is none to read is an error of it, like all others.</summary>
    /// <typeparam name="T">The configuration.</typeparam>
    /// <param name="file">The file.</param>
    /// <param name="read">Reads its text.</param>
    public static DaemonFile<T> Read<T>(string file, Func<string, string, DaemonFile<T>> read)
        where T : class
    {
        string why;
        try
        {
            if (Directory.Exists(file)) why = "cannot be read: it is a folder; name the file in it";
            else if (!File.Exists(file)) why = "cannot be read: there is no such file";
            else return read(File.ReadAllText(file), file);
        }
        catch (UnauthorizedAccessException)
        {
            why = $"cannot be read: user {Environment.UserName} may not";
        }
        catch (IOException e)
        {
            why = $"cannot be read: {e.Message}";
        }

        return new DaemonFile<T>(null, [new ConfigError(file, 0, 0, "", why)]);
    }

    /// <summary>Tells what is wrong in a file. Returns the exit code.</summary>
    public static int Tell(string file, IReadOnlyList<ConfigError> errors)
    {
        foreach (ConfigError error in errors) Console.Error.WriteLine(error);
        Console.Error.WriteLine($"{file}: {errors.Count} error{(errors.Count == 1 ? "" : "s")}; nothing was started.");
        return ExitBadConfig;
    }
}
