using System.CommandLine;
using SdnEdge.Cli;
using SdnEdge.Cli.Commands;
using SdnEdge.Linux;

var root = new RootCommand("sdnedge: a provider-edge router that moves running servers between data centres without losing a packet.")
{
    PeCommand.Create(),
    HostCommand.Create(),
    StoreCommand.Create(),
    BfdCommand.Create(),
    WitnessCommand.Create(),
    WatchdogCommand.Create(),
    ShowCommand.Create(),
    BgpCommand.Create(),
    MigrateCommand.Create(),
    GroupCommand.Create(),
    FailoverCommand.Create(),
    MmsCommand.Create(),
    ProbeCommand.Create(),
    LabCommand.Create(),
    DemoCommand.Create(),
};

ParseResult parsed = root.Parse(args);
if (UsageErrors.In(parsed) is { } wrong)
{
    foreach (string line in wrong) Console.Error.WriteLine(line);
    return 2;
}

using EndSignals? signals = EndSignals.AreTakenBy(parsed.CommandResult.Command) ? null : EndSignals.OfCommand();
try
{
    // The parser's own way with signals knows two of them, and ends what still takes something back.
    return await parsed.InvokeAsync(
        new InvocationConfiguration { ProcessTerminationTimeout = null, EnableDefaultExceptionHandler = false },
        signals?.Stop ?? CancellationToken.None);
}
catch (OperationCanceledException) when (signals is { Stop.IsCancellationRequested: true })
{
    Console.Error.WriteLine("sdnedge: stopped.");
    return 1;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException or LinuxException)
{
    // Of the machine, not of ours: what a command did not say in words of its own.
    Console.Error.WriteLine($"sdnedge {parsed.CommandResult.Command.Name}: {e.Message}"
        + (Environment.IsPrivilegedProcess ? "" : $" (as user {Environment.UserName}; most of what it does needs root: sudo)"));
    return 1;
}
