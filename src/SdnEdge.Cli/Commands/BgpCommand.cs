using System.CommandLine;
using System.Text.Json;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge bgp</c>: what an operator does to a BGP session of a PE.</summary>
internal static class BgpCommand
{
    public static Command Create() => new("bgp",
        """
        Acts on a BGP session of a PE. Name the PE by its API's socket, or by lab and node.

          sdnedge bgp refresh 10.255.0.2 --lab figure1 --node pe-a             all its routes again; the session stays up
          sdnedge bgp shutdown 10.255.0.2 --text "maintenance until 6:00" ...  down until it is reset
          sdnedge bgp reset 10.255.0.2 ...                                     ends it and starts it anew
        """)
    {
        Act(BgpPeerAction.Refresh,
            "Asks the peer to send all its routes again (RFC 2918), e.g. after a change of import policy. The session stays up."),
        Act(BgpPeerAction.Reset, "Ends the session and starts it anew; starts one that was shut down or is held down by a prefix limit."),
        Act(BgpPeerAction.Shutdown, "Ends the session until it is reset."),
    };

    private static Command Act(BgpPeerAction action, string description)
    {
        var peer = new Argument<string>("peer") { Description = "Address of the peer, e.g. 10.255.0.2.", HelpName = "PEER" };
        var text = new Option<string?>("--text", "-t") { Description = "Told to the peer's operator (RFC 9003).", HelpName = "TEXT" };
        var command = new Command(JsonNamingPolicy.KebabCaseLower.ConvertName(action.ToString()), description) { peer };
        if (action != BgpPeerAction.Refresh) command.Add(text);
        foreach (Option option in (Option[])[ShowCommand.Api, ShowCommand.Lab, ShowCommand.Node, ShowCommand.Output, ShowCommand.StateRoot])
            command.Add(option);
        command.SetAction((parse, cancel) => ShowCommand.GuardAsync(parse, async pe =>
        {
            BgpPeerReply reply =
                await pe.BgpPeerAsync(parse.GetValue(peer)!, action, action == BgpPeerAction.Refresh ? null : parse.GetValue(text), cancel);
            Console.WriteLine(parse.GetValue(ShowCommand.Output) == "json"
                ? JsonSerializer.Serialize(reply, ApiJson.Indented.For<BgpPeerReply>()) : $"{reply.Peer}: {reply.Detail} ({reply.State})");
        }));
        return command;
    }
}
