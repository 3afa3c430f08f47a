using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Demo.Run;
using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Mms;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge migrate</c>: moves servers, and says what the MMS says to a PE, signal by signal.</summary>
internal static class MigrateCommand
{
    private const int NotMoved = 1, Unfinished = 3;

    private static readonly Option<string> Output = new("--output", "-o") { Description = "table or json.", DefaultValueFactory = _ => "table" };
    private static readonly Option<string?> LabName = new("--lab", "-n") { Description = "Name of a running lab." };
    private static readonly Option<string> StateRoot = new("--state-dir") { Description = "Folder of the labs' states.", DefaultValueFactory = _ => LabState.DefaultRoot };
    private static readonly Option<bool> NoHold = new("--no-hold") { Description = "The target does not hold: what arrives during the blackout is lost. To see what the hold is for." };
    private static readonly Option<long?> HoldBytes = new("--hold-bytes") { Description = "Most bytes held (default 67108864)." };
    private static readonly Option<int?> HoldPackets = new("--hold-packets") { Description = "Most packets held (default 262144)." };
    private static readonly Option<int?> HoldMs = new("--hold-ms") { Description = "Longest time a packet is held, milliseconds (default 10000)." };
    private static readonly Option<int?> HoldRate = new("--hold-rate") { Description = "Pace of the release, packets per second; 0 = as fast as possible (default 100000)." };
    private static readonly Option<string?> HoldPolicy = new("--hold-policy") { Description = "What a full hold does: drop-newest (default) or drop-oldest." };

    public static Command Create()
    {
        Output.AcceptOnlyFromAmong("table", "json");
        HoldPolicy.AcceptOnlyFromAmong("drop-newest", "drop-oldest");
        return new Command("migrate",
            """
            Moves a running virtual server from one data centre to another without losing a packet.

              sdnedge migrate run --lab figure1 --server vs --to dc-b     there
              sdnedge migrate run --lab figure1 --server vs --to dc-a     and back
              sdnedge migrate status --lab figure1                        what each PE knows of its migrations
              sdnedge migrate signal switch m1 --api PE.sock --epoch 7    one signal, by hand
            """)
        {
            Run(), Signal(), Status(),
        };
    }

    private static Command Run()
    {
        var server = new Option<string>("--server") { Description = "The server.", DefaultValueFactory = _ => "vs" };
        var to = new Option<string>("--to") { Description = "Site to move to, e.g. dc-b.", Required = true };
        var blackout = new Option<int>("--blackout") { Description = "Milliseconds for which the server is nowhere: the final copy of a real one.", DefaultValueFactory = _ => 300 };
        var noOrder = new Option<bool>("--no-order") { Description = "Without flush markers: packets may be reordered when ingress PEs go over to the direct path." };
        var orderBound = new Option<int>("--order-bound") { Description = "Longest time in which packets of an ingress wait for its flush marker, milliseconds.", DefaultValueFactory = _ => 1000 };
        var quiet = new Option<int>("--quiet") { Description = "Longest time that a packet may be on its way in the tunnel, milliseconds, where no flush marker says that it is through.", DefaultValueFactory = _ => 500 };
        var othersHold = new Option<int>("--others-hold") { Description = "How long packets of PEs that send no flush markers wait, milliseconds: longer than the old path is longer than the direct one; 0 = they are delivered as they come." };
        var journal = new Option<string?>("--journal") { Description = "File for the journal of intents and results; default: moves.jsonl in the lab's folder." };
        var command = new Command("run",
            "Plans a move and drives it: prepare, switch, blackout, release, advertise, direct path, withdraw, drain, teardown. "
            + "Ctrl-C gives it up while the server is not yet live at its new site. Exit code 0: moved, nothing left over; 1: not moved, all as before; 3: unfinished, see the text.")
        {
            LabName, server, to, blackout, noOrder, orderBound, othersHold, quiet, NoHold, HoldBytes, HoldPackets, HoldMs, HoldRate, HoldPolicy, journal, Output, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            int wait = parse.GetValue(blackout);
            if (wait is < 0 or > 600_000) return Fail($"--blackout {wait} is out of range; give 0 to 600000 milliseconds.");
            RunningLab lab = RunningLab.Attach(Which(parse), parse.GetValue(StateRoot));
            string name = parse.GetValue(server)!;
            int bound = parse.GetValue(orderBound), others = parse.GetValue(othersHold), way = parse.GetValue(quiet);
            if (bound is < 1 or > 60_000 || way is < 1 or > 60_000 || others is < 0 or > 60_000) return Fail("--order-bound and --quiet are 1 to 60000 milliseconds, --others-hold 0 to 60000.");
            MoveRequest request = await LabMoves.RequestAsync(lab, name, parse.GetValue(to)!, wait, Hold(parse), way, cancel) with
            {
                KeepOrder = !parse.GetValue(noOrder), OrderBoundMs = bound, OthersHoldMs = others,
            };
            Dictionary<string, PeClient> pes = LabMoves.Clients(lab, request);
            try
            {
                using var log = new MoveJournal(parse.GetValue(journal) ?? Path.Combine(lab.Folder, "moves.jsonl"));
                MovePlan plan = await MovePlanner.PlanAsync(request, pes, DateTimeOffset.UtcNow, cancel);
                long begin = Monotonic.Now;
                MoveResult result = await new MoveDriver(pes, lab.Server(name), log).RunAsync(plan,
                    p => Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(p.AtNs - begin) / 1e6,9:0.0} ms  {p.Text}")), cancel);
                if (parse.GetValue(Output) == "json") Console.WriteLine(JsonSerializer.Serialize(result, MoveJson.Indented.For<MoveResult>()));
                else Print(result);
                return result.Succeeded ? 0 : result.Outcome == MoveOutcome.RolledBack && result.Residue.Count == 0 ? NotMoved : Unfinished;
            }
            finally
            {
                foreach (PeClient pe in pes.Values) pe.Dispose();
            }
        }));
        return command;
    }

    private static void Print(MoveResult result)
    {
        long zero = result.Timeline.Count > 0 ? result.Timeline[0].StartNs : 0;
        Console.WriteLine($"migration {result.Plan.Migration}, epoch {result.Plan.Epoch}");
        Table stages = new Table()
            .AddColumn("stage").AddColumn(new TableColumn("start ms").RightAligned()).AddColumn(new TableColumn("ms").RightAligned()).AddColumn("");
        foreach (StageRecord s in result.Timeline)
            stages.AddRow(Markup.Escape(s.Name), $"{(s.StartNs - zero) / 1e6:0.0}", $"{(s.EndNs - s.StartNs) / 1e6:0.0}", Markup.Escape(s.Error ?? ""));
        DemoView.NewConsole().Write(stages);
        if (result.AtSource(SignalKind.Switch) is { } switched)
            Console.WriteLine($"switch     {result.Plan.Source.Prefixes.Count} prefixes, store {switched.Reply.StoreNs} ns, in force on every worker after {(switched.Reply.AcknowledgedAtNs - switched.Reply.TookEffectAtNs) / 1e3:0} us, {result.Source?.Group?.StalePackets ?? 0} stale packets");
        if (result is { PausedNs: { } paused, ResumedNs: { } resumed }) Console.WriteLine($"blackout   {(resumed - paused) / 1e6:0.0} ms");
        if (result.Target?.Hold is { } hold)
            Console.WriteLine($"hold       {hold.PacketsHeldTotal} packets held, {hold.Released} released, {hold.DroppedNewest + hold.DroppedOldest + hold.Expired} dropped, peak {hold.PeakBytes} bytes");
        if (result.Source?.Group is { } group) Console.WriteLine($"tunnel     {group.TunnelPackets} packets, {(result.TunnelTornDown ? $"torn down (proof: {JsonNamingPolicy.KebabCaseLower.ConvertName(result.Proof.ToString())})" : "still there")}");
        if (result.Target?.Order is { } order)
            Console.WriteLine($"order      {order.Gates.Sum(g => g.PacketsHeldTotal)} direct packets waited for flush markers; proved by markers: {(result.ProvedByMarker is { Count: > 0 } proved ? string.Join(", ", proved.Order(StringComparer.Ordinal)) : "nobody")}; {order.Unordered} packets of others passed");
        foreach (string left in result.Residue) Console.WriteLine($"left over  {left}");
        Console.WriteLine(result.Outcome switch
        {
            MoveOutcome.Moved => $"moved: {result.Plan.Server} is at {result.Plan.Target.Site}.{(result.Failure is null ? "" : " On the way: " + result.Failure)}",
            MoveOutcome.RolledBack => $"not moved: {result.Plan.Server} is at {result.Plan.Source.Site} as before. {result.Failure}",
            _ => $"{JsonNamingPolicy.KebabCaseLower.ConvertName(result.Outcome.ToString())}: {result.Failure}",
        });
    }

    private static Command Signal()
    {
        string[] kinds = [.. Enum.GetNames<SignalKind>().Select(JsonNamingPolicy.KebabCaseLower.ConvertName)];
        var kind = new Argument<string>("kind") { Description = string.Join(", ", kinds) + "." };
        kind.AcceptOnlyFromAmong(kinds);
        var id = new Argument<string>("id") { Description = "The migration's id." };
        var api = new Option<string>("--api") { Description = "Socket of the PE's API, e.g. /run/sdnedge/figure1/pe-a.sock.", Required = true };
        var epoch = new Option<long>("--epoch") { Description = "Fencing number; a signal older than the highest seen is refused.", Required = true };
        var role = new Option<string?>("--role") { Description = "prepare: source or target." };
        role.AcceptOnlyFromAmong("source", "target");
        var vrf = new Option<string?>("--vrf") { Description = "prepare: VRF of the prefixes (default: default)." };
        var prefix = new Option<string[]>("--prefix") { Description = "prepare: PREFIX@PORT or PREFIX@PORT,NEXTHOP, e.g. 10.1.1.10/32@dc. Once for each prefix.", AllowMultipleArgumentsPerToken = true };
        var peer = new Option<string?>("--peer") { Description = "prepare: loopback of the other PE." };
        var key = new Option<uint?>("--tunnel-key") { Description = "prepare: GRE key, the same for both PEs." };
        var pref = new Option<uint?>("--local-pref") { Description = "advertise: LOCAL_PREF (default 200)." };
        var force = new Option<bool>("--force") { Description = "teardown: also when the source is left without a route to a moved prefix." };
        var command = new Command("signal", "Sends one signal to one PE, and shows its answer or why it refuses.")
        {
            kind, id, api, epoch, role, vrf, prefix, peer, key, pref, force, NoHold, HoldBytes, HoldPackets, HoldMs, HoldRate, HoldPolicy, Output,
        };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            SignalKind signal = Enum.Parse<SignalKind>(parse.GetValue(kind)!, ignoreCase: true);
            var prefixes = new List<MovingPrefix>();
            foreach (string text in parse.GetValue(prefix) ?? [])
            {
                string[] parts = text.Split('@', ',');
                if (parts.Length is < 2 or > 3 || parts[1].Length == 0) return Fail($"--prefix {text}: write it as PREFIX@PORT or PREFIX@PORT,NEXTHOP, e.g. 10.1.1.10/32@dc.");
                prefixes.Add(new MovingPrefix(parts[0], parts[1], parts.Length == 3 ? parts[2] : null));
            }

            using PeClient pe = PeClient.For(parse.GetValue(api)!);
            SignalReply reply = await pe.SignalAsync(parse.GetValue(id)!, signal, new SignalRequest(
                parse.GetValue(epoch), parse.GetValue(role) is { } r ? Enum.Parse<MigrationRole>(r, ignoreCase: true) : null, parse.GetValue(vrf),
                prefixes.Count > 0 ? prefixes : null, parse.GetValue(peer), parse.GetValue(key),
                signal == SignalKind.Prepare ? Hold(parse) : null, parse.GetValue(pref), Force: parse.GetValue(force)), cancel);
            Console.WriteLine(parse.GetValue(Output) == "json" ? JsonSerializer.Serialize(reply, ApiJson.Indented.For<SignalReply>())
                : $"{pe.Name}: {reply.Migration} is {Word(reply.State)}, epoch {reply.Epoch}{(reply.Repeated ? " (it was before)" : "")}; "
                + $"in force on every worker after {(reply.AcknowledgedAtNs - reply.TookEffectAtNs) / 1e3:0} us{(reply.StoreNs is { } store ? $", store {store} ns" : "")}.");
            return 0;
        }));
        return command;
    }

    private static Command Status()
    {
        var api = new Option<string[]>("--api") { Description = "Socket of a PE's API; several may be given.", AllowMultipleArgumentsPerToken = true };
        var command = new Command("status", "Shows the migrations each PE knows.") { LabName, api, Output, StateRoot };
        command.SetAction((parse, cancel) => GuardAsync(async () =>
        {
            string[] sockets = parse.GetValue(api) ?? [];
            if (sockets.Length == 0)
            {
                RunningLab lab = RunningLab.Attach(Which(parse), parse.GetValue(StateRoot));
                sockets = [.. lab.Topology.Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe).Select(n => lab.ApiSocket(n.Name))];
            }

            var all = new Dictionary<string, IReadOnlyList<MigrationInfo>>();
            foreach (string socket in sockets)
            {
                using PeClient pe = PeClient.For(socket);
                all[pe.Name] = await pe.MigrationsAsync(cancel);
            }

            if (parse.GetValue(Output) == "json")
            {
                Console.WriteLine(JsonSerializer.Serialize(all, MoveJson.Indented.For<Dictionary<string, IReadOnlyList<MigrationInfo>>>()));
                return 0;
            }

            var table = new Table().AddColumns("PE", "migration", "role", "state", "epoch", "prefixes", "peer", "tunnel", "held now", "tunnel packets");
            foreach ((string pe, IReadOnlyList<MigrationInfo> list) in all)
            {
                foreach (MigrationInfo m in list)
                {
                    string moving = m.Prefixes.Count <= 3 ? string.Join(", ", m.Prefixes.Select(p => p.Prefix)) : $"{m.Prefixes.Count} prefixes";
                    table.AddRow(new[] { pe, m.Id, Word(m.Role), Word(m.State), $"{m.Epoch}", moving, m.Peer, m.TunnelUp ? "up" : "", $"{m.Hold?.PacketsHeldNow}", $"{m.Group?.TunnelPackets}" }
                        .Select(Markup.Escape).ToArray());
                }
            }

            if (all.Values.All(l => l.Count == 0)) Console.WriteLine("no migrations.");
            else DemoView.NewConsole().Write(table);
            return 0;
        }));
        return command;
    }

    // Null where nothing was said: the PE's defaults.
    private static HoldOptions? Hold(ParseResult parse)
    {
        var options = new HoldOptions();
        HoldOptions asked = options with
        {
            Disabled = parse.GetValue(NoHold),
            MaxBytes = parse.GetValue(HoldBytes) ?? options.MaxBytes,
            MaxPackets = parse.GetValue(HoldPackets) ?? options.MaxPackets,
            MaxMilliseconds = parse.GetValue(HoldMs) ?? options.MaxMilliseconds,
            ReleasePacketsPerSecond = parse.GetValue(HoldRate) ?? options.ReleasePacketsPerSecond,
            Overflow = parse.GetValue(HoldPolicy) == "drop-oldest" ? HoldOverflowPolicy.DropOldest : HoldOverflowPolicy.DropNewest,
        };
        return asked == options ? null : asked;
    }

    private static string Which(ParseResult parse)
    {
        if (parse.GetValue(LabName) is { } name) return name;
        IReadOnlyList<string> all = LabState.All(parse.GetValue(StateRoot)!);
        return all.Count == 1 ? all[0] : throw new LabException(all.Count == 0
            ? "no lab is running; 'sdnedge lab deploy -t topologies/figure1.clab.yml' starts one."
            : $"which lab? Give --lab; running: {string.Join(", ", all)}.");
    }

    private static string Word(Enum value) => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    private static async Task<int> GuardAsync(Func<Task<int>> action)
    {
        try
        {
            // Hands its task back at once: a Ctrl-C before that would end the process without waiting for what must be taken back.
            await Task.Yield();
            return await action();
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException or LabException or TopologyException or LinuxException or InvalidOperationException or IOException)
        {
            return Fail(e.Message);
        }
        catch (OperationCanceledException)
        {
            return Fail("stopped before anything was done.");
        }
    }

    private static int Fail(string message)
    {
        Console.Error.WriteLine($"sdnedge migrate: {message}");
        return 2;
    }
}
