using System.CommandLine;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary><c>sdnedge migrate signal</c>: what the manager says to a PE, signal by signal, by hand.</summary>
internal static class SignalCommand
{
    public static Command Create()
    {
        string[] kinds = [.. Enum.GetNames<SignalKind>().Select(JsonNamingPolicy.KebabCaseLower.ConvertName)];
        var kind = new Argument<string>("kind") { Description = string.Join(", ", kinds) + "." };
        kind.AcceptOnlyFromAmong(kinds);
        var id = new Argument<string>("id") { Description = "The migration's id." };
        var api = new Option<string>("--api")
        {
            Description = "The PE's API: its unix socket, e.g. /run/sdnedge/figure1/pe-a.sock, or https://HOST:PORT/ with --cert, --key "
                + "and --ca.",
            HelpName = "SOCKET|URL",
            Required = true,
        };
        var epoch = new Option<long>("--epoch")
        {
            Description = "Fencing number; a signal older than the highest seen is refused.",
            Required = true,
        };
        var role = new Option<string?>("--role") { Description = "prepare: source or target." };
        role.AcceptOnlyFromAmong("source", "target");
        var vrf = new Option<string?>("--vrf") { Description = "prepare: VRF of the prefixes (default: default)." };
        var prefix = new Option<string[]>("--prefix")
        {
            Description = "prepare: PREFIX@PORT or PREFIX@PORT,NEXTHOP, e.g. 10.1.1.10/32@dc. Once for each prefix.",
            AllowMultipleArgumentsPerToken = true,
        };
        var peer = new Option<string?>("--peer") { Description = "prepare: loopback of the other PE." };
        var key = new Option<uint?>("--tunnel-key") { Description = "prepare: GRE key, the same for both PEs." };
        var pref = new Option<uint?>("--local-pref") { Description = "advertise: LOCAL_PREF (default 200)." };
        var force = new Option<bool>("--force")
        {
            Description = "teardown: also when the source is left without a route to a moved prefix.",
        };
        var command = new Command("signal", "Sends one signal to one PE, and shows its answer or why it refuses.")
        {
            kind, id, api, epoch, role, vrf, prefix, peer, key, pref, force, MigrateCommand.Output,
        };
        foreach (Option option in HoldFlags.All) command.Options.Add(option);
        IdentityFlags.AddTo(command);
        command.SetAction((parse, cancel) => MigrateCommand.GuardAsync(parse, async () =>
        {
            SignalKind signal = Enum.Parse<SignalKind>(parse.GetValue(kind)!, ignoreCase: true);
            var prefixes = new List<MovingPrefix>();
            foreach (string text in parse.GetValue(prefix) ?? [])
            {
                string[] parts = text.Split('@', ',');
                if (parts.Length is < 2 or > 3 || parts[1].Length == 0)
                    return MigrateCommand.Fail(
                        parse, $"--prefix {text}: write it as PREFIX@PORT or PREFIX@PORT,NEXTHOP, e.g. 10.1.1.10/32@dc.");
                prefixes.Add(new MovingPrefix(parts[0], parts[1], parts.Length == 3 ? parts[2] : null));
            }

            string where = parse.GetValue(api)!;
            using var pe = new PeClient(ApiClient.EndpointFor(where, IdentityFlags.For(parse, where, "the PE")));
            SignalReply reply = await pe.SignalAsync(parse.GetValue(id)!, signal, new SignalRequest(
                parse.GetValue(epoch), parse.GetValue(role) is { } r ? Enum.Parse<MigrationRole>(r, ignoreCase: true) : null,
                parse.GetValue(vrf),
                prefixes.Count > 0 ? prefixes : null, parse.GetValue(peer), parse.GetValue(key),
                signal == SignalKind.Prepare ? HoldFlags.Of(parse) : null, parse.GetValue(pref), Force: parse.GetValue(force)), cancel);
            Console.WriteLine(parse.GetValue(MigrateCommand.Output) == "json"
                ? JsonSerializer.Serialize(reply, ApiJson.Indented.For<SignalReply>())
                : $"{pe.Name}: {reply.Migration} is {MigrateCommand.Word(reply.State)}, epoch "
                    + $"{reply.Epoch}{(reply.Repeated ? " (it was before)" : "")}; "
                + $"in force on every worker after {(reply.AcknowledgedAtNs - reply.TookEffectAtNs) / 1e3:0} "
                    + $"us{(reply.StoreNs is { } store ? $", store {store} ns" : "")}.");
            return 0;
        }));
        return command;
    }
}
