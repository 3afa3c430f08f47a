using System.CommandLine;
using SdnEdge.Witness;
using SdnEdge.Witness.Config;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge witness</c>: the witness, in the foreground.</summary>
internal static class WitnessCommand
{
    public static Command Create()
    {
        var config = new Option<string>("--config", "-c") { Description = "Configuration file (YAML).", HelpName = "FILE" };
        var check = new Option<bool>("--check")
        {
            Description = "Read the file, report every error with its line, and end. Needs no rights.",
        };
        var command = new Command("witness",
            """
            Runs a witness in the foreground, at a third place: while a group is protected, its servers run at their site only under a
            lease of it, which their hosts renew. When it is revoked, and has run out, they may be started elsewhere, also when nobody
            hears the site (docs/outages.md).

              sdnedge witness --config witness.yaml --check     what is wrong in the file, all of it at once
              sdnedge witness --config witness.yaml             run it; it says "ready" once it grants leases
              kill -TERM PID                                    stop; what it has granted runs out

            Exit code: 0 stopped, 1 could not run, 2 the file is wrong.
            """)
        {
            config, check,
        };
        return new Daemon<WitnessConfig>("witness", Read, c => $": leases of {c.Rules.TtlMs} ms", c => c.Name, RunAsync)
            .At(command, config, check);

        static DaemonFile<WitnessConfig> Read(string text, string file)
        {
            WitnessConfigResult read = WitnessConfigLoader.Load(text, file);
            return new DaemonFile<WitnessConfig>(read.Config, read.Errors);
        }
    }

    private static async Task RunAsync(WitnessConfig config, CancellationToken stop)
    {
        await using WitnessAgent witness = await WitnessAgent.StartAsync(config);
        string where = config.Api.Unix is { } socket ? $", API on {socket}" : "";
        Console.WriteLine($"{config.Name}: ready, pid {Environment.ProcessId}{where}");
        await Task.Delay(Timeout.Infinite, stop);
    }
}
