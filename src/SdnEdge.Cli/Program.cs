using System.CommandLine;
using SdnEdge.Cli.Commands;

var root = new RootCommand("sdnedge: a provider-edge router that moves running servers between data centres without losing a packet.")
{
    PeCommand.Create(),
    ShowCommand.Create(),
    MigrateCommand.Create(),
    ProbeCommand.Create(),
    LabCommand.Create(),
    DemoCommand.Create(),
};
return await root.Parse(args).InvokeAsync();
