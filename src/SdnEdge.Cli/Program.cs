using System.CommandLine;
using SdnEdge.Cli.Commands;

var root = new RootCommand("sdnedge: a provider-edge router that moves running servers between data centres without losing a packet.")
{
    PeCommand.Create(),
    HostCommand.Create(),
    StoreCommand.Create(),
    BfdCommand.Create(),
    ShowCommand.Create(),
    BgpCommand.Create(),
    MigrateCommand.Create(),
    MmsCommand.Create(),
    ProbeCommand.Create(),
    LabCommand.Create(),
    DemoCommand.Create(),
};

// Ctrl-C cancels; what a command then takes back (a lab, a move) may need longer than the default of two seconds.
// migrate takes its own: there the first Ctrl-C means something else than the second, and ending it takes nothing back.
return await root.Parse(args)
    .InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = args is ["migrate", ..] ? null : TimeSpan.FromMinutes(2) });
