using System.CommandLine;
using SdnEdge.Client;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Options that say which server host's agent is meant.</summary>
internal static class AgentFlags
{
    private static readonly Option<string> Api = new("--api")
    {
        Description = "The agent's API: its unix socket, or https://HOST:PORT/ with --cert, --key and --ca.",
        HelpName = "SOCKET|URL",
        Required = true,
    };

    /// <summary>Adds them to a command.</summary>
    public static void AddTo(Command command)
    {
        command.Options.Add(Api);
        IdentityFlags.AddTo(command);
    }

    /// <summary>Asks the agent; says what went wrong. Returns the exit code: 1 when it did.</summary>
    public static async Task<int> AskAsync(string command, ParseResult parse, Func<HostClient, Task> ask)
    {
        try
        {
            string api = parse.GetValue(Api)!;
            using var host = new HostClient(ApiClient.EndpointFor(api, IdentityFlags.For(parse, api, "the agent")));
            await ask(host);
            return 0;
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"{command}: stopped before the answer. What the agent has begun it does to its end; "
                + "'sdnedge host show' shows it.");
            return 1;
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException or ArgumentException or IOException)
        {
            Console.Error.WriteLine($"{command}: {e.Message}");
            return 1;
        }
    }
}
