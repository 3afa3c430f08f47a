using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Mms;
using Spectre.Console;

namespace SdnEdge.Cli.Commands;

/// <summary><c>sdnedge show</c>: what a PE has and does, as tables for people or JSON for programs.</summary>
internal static class ShowCommand
{
    private const int ExitOk = 0, ExitFailed = 1, ExitUsage = 2;

    internal static readonly Option<string?> Api = new("--api")
    {
        Description = "Socket of the PE's API, e.g. /run/sdnedge/pe-a.sock.",
        HelpName = "SOCKET",
    };
    internal static readonly Option<string?> Lab = new("--lab", "-l")
    {
        Description = "Name of a running lab; with --node instead of --api.",
        HelpName = "LAB",
    };
    internal static readonly Option<string?> Node = new("--node", "-n") { Description = "A PE of the lab.", HelpName = "NODE" };
    internal static readonly Option<string> Output = new("--output", "-o")
    {
        Description = "table or json.",
        DefaultValueFactory = _ => "table",
    };
    private static readonly Option<string?> Vrf = new("--vrf") { Description = "Only this VRF.", HelpName = "VRF" };
    private static readonly Option<string?> Prefix = new("--prefix")
    {
        Description = "Only this prefix and what lies inside it.",
        HelpName = "PREFIX",
    };
    internal static readonly Option<string> StateRoot = new("--state-dir")
    {
        Description = "Folder of the labs' states.",
        DefaultValueFactory = _ => LabState.DefaultRoot,
    };

    public static Command Create()
    {
        Output.AcceptOnlyFromAmong("table", "json");
        var command = new Command("show",
            """
            Shows what a PE has and does. Name the PE by its API's socket, or by lab and node.

              sdnedge show ports --lab figure1 --node pe-a
              sdnedge show routes --lab figure1 --node pe-c --prefix 10.1.1.0/24
              sdnedge show route 10.1.1.0/24 --why --lab figure1 --node pe-c     the decision, route by route
              sdnedge show fib --address 10.1.1.10 --lab figure1 --node pe-a     what happens to a packet to it
              sdnedge show tunnels --api /run/sdnedge/figure1/pe-a.sock -o json | jq '.[].rttMilliseconds'
              sdnedge show events --lab figure1 --node pe-b                      as they happen, until Ctrl-C
            """)
        {
            One("node", "The node: identity, version, readiness.", (pe, _, c) => pe.NodeAsync(c), Describe),
            One("ports", "Ports, their addresses and counters.", (pe, _, c) => pe.PortsAsync(c), Ports),
            One("vrfs", "VRFs and how many routes each has.", (pe, _, c) => pe.VrfsAsync(c),
                v => Table(["vrf", "key", "rd", "import", "export", "IPv4 routes", "IPv6 routes"],
                    v.Select(x => new[] { x.Name, $"{x.Key}", x.Rd ?? "", string.Join('\n', x.Import), string.Join('\n', x.Export),
                        $"{x.RoutesV4}", $"{x.RoutesV6}" }))),
            One("routes", "The RIB: every source's route to every prefix, the best one marked, and why the others are not.",
                (pe, parse, c) => pe.RoutesAsync(parse.GetValue(Vrf), parse.GetValue(Prefix), c), Routes, Vrf, Prefix),
            Route(),
            Fib(),
            One("neighbors", "Neighbours known by ARP and ND.", (pe, _, c) => pe.NeighborsAsync(c),
                v => Table(["port", "address", "mac", "state", "age s"],
                    v.Select(x => new[] { x.Port, x.Address, x.Mac ?? "", x.State, $"{x.AgeSeconds}" }))),
            One("tunnels", "Tunnels, their health and counters.", (pe, _, c) => pe.TunnelsAsync(c), Tunnels),
            One("bgp", "BGP peers.", (pe, _, c) => pe.BgpPeersAsync(c), Bgp),
            One("bfd", "BFD sessions of a PE or a server host, and how their thread fares.", (pe, _, c) => pe.BfdAsync(c), Bfd),
            One("keeper", "The process that forwards while the PE is restarted after a crash.", (pe, _, c) => pe.KeeperAsync(c), k => Table(
                ["keeper", "records", "sent bytes", "queued", "wholes", "out of sync", "takeovers", "packets", "dropped", "last ms"],
                [[k.State, $"{k.Records}", $"{k.SentBytes}", $"{k.QueuedBytes}", $"{k.Wholes}", $"{k.OutOfSyncs}", $"{k.Takeovers}",
                    $"{k.Packets}", $"{k.Dropped}", k.LastTakeoverMilliseconds.ToString("0.0", CultureInfo.InvariantCulture)]])),
            One("migrations", "Migrations this PE knows, with hold and tunnel.", (pe, _, c) => pe.MigrationsAsync(c), Migrations),
            One("backups", "Armed backups at the source: what is watched, how it is, and how often it made the PE switch by itself.",
                (pe, _, c) => pe.MigrationsAsync(c), Backups),
            One("order", "How order was kept, move by move: the target's gate of each ingress PE, what opened it, and what it kept; at the "
                + "source, whose flush markers went by.", (pe, _, c) => pe.MigrationsAsync(c), Order),
            One("groups", "Redirect groups and which decision is in force.", (pe, _, c) => pe.GroupsAsync(c), Groups),
            One("drops", "Dropped packets by reason.", (pe, _, c) => pe.DropsAsync(c),
                v => Table(["reason", "packets"], v.Select(x => new[] { x.Reason, $"{x.Packets}" }))),
            Events(),
        };
        return command;
    }

    private static Command Route()
    {
        var prefix = new Argument<string>("prefix")
        {
            Description = "A prefix, or an address: then the prefix that its packets take.",
            HelpName = "PREFIX",
        };
        var why = new Option<bool>("--why", "-w")
        {
            Description = "Say of each route why it is the best one, or at which step of the decision it lost and what both had there.",
        };
        var command = new Command("route", "All routes to one prefix, and with --why the decision between them.")
        {
            prefix, why, Vrf, Api, Lab, Node, Output, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(parse, async pe =>
        {
            string text = parse.GetValue(prefix)!, vrf = parse.GetValue(Vrf) ?? "default";
            if (!text.Contains('/', StringComparison.Ordinal))
                text = (await pe.FibLookupAsync(vrf, text, cancel)).Prefix is { Length: > 0 } found ? found
                    : text + (text.Contains(':', StringComparison.Ordinal) ? "/128" : "/32");
            IReadOnlyList<RouteInfo> routes =
                [.. (await pe.RoutesAsync(vrf, text, cancel))
                    .Where(r => Core.Wire.IpPrefix.TryParse(text, out Core.Wire.IpPrefix wanted) && r.Prefix == wanted.ToString())];
            if (parse.GetValue(Output) == "json")
                Console.WriteLine(JsonSerializer.Serialize(routes, ApiJson.Indented.For<IReadOnlyList<RouteInfo>>()));
            else PrintRoute(text, vrf, routes, parse.GetValue(why));
        }));
        return command;
    }

    private static void PrintRoute(string prefix, string vrf, IReadOnlyList<RouteInfo> routes, bool why)
    {
        if (routes.Count == 0)
        {
            Console.Error.WriteLine($"no route to {prefix} in VRF {vrf}");
            return;
        }

        Console.WriteLine($"{routes[0].Prefix}  vrf {vrf}, {routes.Count} route{(routes.Count == 1 ? "" : "s")}");
        foreach (RouteInfo r in routes)
        {
            string[] words =
            [
                r.Peer is { } peer ? $"bgp {peer}" : r.Source, r.NextHop is { } hop ? $"via {hop}" : "",
                r.Port is { } port ? $"port {port}" : "",
                r.LocalPref is { } pref ? $"pref {pref}" : "", r.Med is { } med ? $"med {med}" : "",
                r.AsPath is { Length: > 0 } path ? $"path {path}" : "",
                r.Communities is { Count: > 0 } list ? $"communities {string.Join(' ', list)}" : "", r.Stale ? "stale" : "",
            ];
            Console.WriteLine($" {(r.Best ? '*' : ' ')} {string.Join("  ", words.Where(w => w.Length > 0))}");
            if (why) Console.WriteLine($"     {(r.Best ? "" : "lost: ")}{r.Why}");
        }
    }

    private static Command Fib()
    {
        var address = new Option<string?>("--address", "-a")
        {
            Description = "What happens to a packet to this address now.",
            HelpName = "ADDRESS",
        };
        return One("fib", "The FIB: what the data plane does with each prefix, or with one address.",
            async (pe, parse, c) => parse.GetValue(address) is { } one
                ? [await pe.FibLookupAsync(parse.GetValue(Vrf), one, c)]
                : await pe.FibAsync(parse.GetValue(Vrf), parse.GetValue(Prefix), c),
            v => Table(["vrf", "prefix", "action", "next hop", "port", "mac", "group"],
                v.Select(x => new[] { x.Vrf, x.Prefix, x.Action, x.NextHop ?? "", x.Port ?? "", x.Mac ?? "", x.Group ?? "" })),
            Vrf, Prefix, address);
    }

    private static Command Events()
    {
        var after = new Option<long?>("--after")
        {
            Description = "Start after this event; 0 = the oldest kept. Default: what happens from now on.",
            HelpName = "NUMBER",
        };
        var command = new Command("events", "Events as they happen: ports, neighbours, routes, tunnels, BGP, migrations. Ends with Ctrl-C.")
        {
            after, Api, Lab, Node, Output, StateRoot,
        };
        command.SetAction((parse, cancel) => GuardAsync(parse, async pe =>
        {
            try
            {
                await foreach (EventRecord e in pe.EventsAsync(parse.GetValue(after), cancel))
                {
                    Console.WriteLine(parse.GetValue(Output) == "json" ? JsonSerializer.Serialize(e, ApiJson.Options.For<EventRecord>())
                        : string.Create(CultureInfo.InvariantCulture,
                            $"{e.Sequence,6}  {e.AtNs / 1e9:0.000000}  {e.Kind,-9}  {e.Subject}  "
                            + $"{e.Change}{(e.Detail is null ? "" : "  " + e.Detail)}"));
                }
            }
            catch (OperationCanceledException)
            {
                // Ctrl-C is how it ends.
            }
        }));
        return command;
    }

    private static Command One<T>(string name, string description, Func<PeClient, ParseResult, CancellationToken, Task<T>> read,
        Action<T> print, params Option[] options)
    {
        var command = new Command(name, description);
        foreach (Option option in (Option[])[.. options, Api, Lab, Node, Output, StateRoot]) command.Add(option);
        command.SetAction((parse, cancel) => GuardAsync(parse, async pe =>
        {
            T data = await read(pe, parse, cancel);
            if (parse.GetValue(Output) == "json") Console.WriteLine(JsonSerializer.Serialize(data, ApiJson.Indented.For<T>()));
            else print(data);
        }));
        return command;
    }

    internal static async Task<int> GuardAsync(ParseResult parse, Func<PeClient, Task> show)
    {
        try
        {
            if (Socket(parse, out string problem) is not { } socket)
            {
                Console.Error.WriteLine(problem);
                return ExitUsage;
            }

            using PeClient pe = PeClient.For(socket);
            await show(pe);
            return ExitOk;
        }
        catch (Exception e) when (e is ApiProblemException or ApiUnreachableException or IOException)
        {
            Console.Error.WriteLine(e.Message);
            return ExitFailed;
        }
    }

    private static string? Socket(ParseResult parse, out string problem)
    {
        problem = "";
        if (parse.GetValue(Api) is { } api) return api;
        string root = parse.GetValue(StateRoot)!;
        string? lab = parse.GetValue(Lab), node = parse.GetValue(Node);
        string[] labs = [.. LabState.All(root)];
        if (lab is null && node is not null && labs.Length == 1) lab = labs[0];
        if (lab is null)
        {
            problem = labs.Length == 0 ? "which PE? Give --api SOCKET (no lab is running)."
                : $"which PE? Give --api SOCKET, or --lab LAB --node NODE; running: {string.Join(", ", labs)}.";
            return null;
        }

        string folder = Path.Combine(root, lab);
        string[] nodes = Directory.Exists(folder)
            ? [.. Directory.GetFiles(folder, "*.yaml").Select(f => Path.GetFileNameWithoutExtension(f)).Order(StringComparer.Ordinal)] : [];
        if (node is not null && nodes.Contains(node)) return Path.Combine(folder, node + ".sock");
        problem = nodes.Length == 0 ? $"there is no lab {lab} with PEs; running: {(labs.Length == 0 ? "none" : string.Join(", ", labs))}."
            : $"{(node is null ? "which node? Give --node" : $"lab {lab} has no PE {node}; give --node")} with one of "
                + $"{string.Join(", ", PesAmong(nodes, folder))}.";
        return null;
    }

    // Managers and hosts have files, too.
    private static string[] PesAmong(string[] nodes, string folder)
    {
        try
        {
            return LabState.Read(folder) is not { } state ? nodes
                : [.. TopologyLoader.Load(state.TopologyFile).Nodes.Where(n => n.Kind == NodeKind.SdnEdgePe).Select(n => n.Name)
                    .Intersect(nodes).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is TopologyException or IOException or UnauthorizedAccessException)
        {
            return nodes;
        }
    }

    private static void Describe(NodeInfo n)
    {
        Table(["name", "router id", "as", "version", "pid", "ready", "state file"],
            [[n.Name, n.RouterId, $"{n.As}", n.Version, $"{n.ProcessId}", YesNo(n.Ready),
                n.StateFile is { } file ? $"{file.State} ({file.Path})" : "-"]]);
        if (n.StateFile?.Detail is { } wrong) Console.WriteLine($"\n{wrong}");
    }

    private static void Ports(IReadOnlyList<PortInfo> ports) => Table(
        ["port", "kind", "device", "vrf", "up", "mtu", "mac", "addresses", "rx packets", "rx bytes", "tx packets", "tx bytes", "drops"],
        ports.Select(p => new[]
        {
            p.Name, p.Kind, p.Device, p.Vrf, YesNo(p.Up),
            p.DeviceMtu is { } device ? $"{p.Mtu} (device {device})" : $"{p.Mtu}", p.Mac, string.Join('\n', p.Addresses),
            $"{p.RxPackets}", $"{p.RxBytes}", $"{p.TxPackets}", $"{p.TxBytes}", $"{p.Drops}",
        }));

    private static void Routes(IReadOnlyList<RouteInfo> routes)
    {
        Table(["", "prefix", "vrf", "source", "next hop", "port", "pref", "peer", "as path", "why not"],
            routes.Select(r => new[] { r.Best ? "*" : "", r.Prefix, r.Vrf, r.Source, r.NextHop ?? "", r.Port ?? "", $"{r.LocalPref}",
                r.Peer ?? "", r.AsPath ?? "", r.WhyNot ?? "" }));
        if (routes.Count >= RouteQuery.DefaultLimit)
            Console.Error.WriteLine($"only the first {routes.Count} lines; narrow it with --prefix or --vrf.");
    }

    private static void Tunnels(IReadOnlyList<TunnelInfo> tunnels) => Table(
        ["tunnel", "kind", "local", "remote", "key", "vrf", "mtu", "path mtu", "state", "rtt ms", "probes", "tx packets", "rx packets"],
        tunnels.Select(t => new[]
        {
            t.Name, t.Kind, t.Local, t.Remote, $"{t.Key}", t.Vrf, $"{t.Mtu}", $"{t.PathMtu}", t.State,
            t.RttMilliseconds?.ToString("0.000", CultureInfo.InvariantCulture) ?? "",
            $"{t.ProbesReceived}/{t.ProbesSent}", $"{t.TxPackets}", $"{t.RxPackets}",
        }));

    private static void Bgp(IReadOnlyList<BgpPeerInfo> peers) => Table(
        ["peer", "as", "state", "up s", "families", "received", "sent", "messages in", "out", "last error"],
        peers.Select(p => new[] { p.Address, $"{p.PeerAs}", p.State, $"{p.UptimeSeconds}", string.Join(' ', p.Families),
            $"{p.PrefixesReceived}", $"{p.PrefixesSent}", $"{p.MessagesIn}", $"{p.MessagesOut}", p.LastError ?? "" }));

    private static void Bfd(BfdInfo bfd)
    {
        Table(["peer", "local", "vrf", "port", "hops", "state", "remote", "diagnostic", "s", "tx ms", "detect ms", "received", "sent",
            "errors", "ups", "downs", "credit ms"],
            bfd.Sessions.Select(b => new[]
            {
                b.Peer, b.Local, b.Vrf, b.Port ?? "", b.Multihop ? "many" : "one", b.State, b.RemoteState, b.Diagnostic, $"{b.Seconds}",
                Milliseconds(b.TransmitIntervalMilliseconds), Milliseconds(b.DetectionMilliseconds),
                $"{b.PacketsReceived}", $"{b.PacketsSent}", $"{b.SendErrors}", $"{b.Ups}", $"{b.Downs}", Milliseconds(b.CreditMilliseconds),
            }));
        Table(["process", "restarts", "thread", "stalls", "longest ms", "credits", "credit ms", "kernel drops", "faults", "discards"],
        [
            [$"{bfd.ProcessId}", $"{bfd.Restarts}", bfd.Urgency, $"{bfd.Stalls}", Milliseconds(bfd.LongestStallMilliseconds),
                $"{bfd.Credits}", Milliseconds(bfd.CreditMilliseconds), $"{bfd.KernelDrops}", $"{bfd.Faults}",
                string.Join('\n', bfd.Discards.Select(d => $"{d.Reason} {d.Packets}"))],
        ]);

        static string Milliseconds(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);
    }

    private static void Migrations(IReadOnlyList<MigrationInfo> migrations) => Table(
        ["migration", "role", "state", "epoch", "prefixes", "peer", "tunnel", "hold", "held", "released", "lost", "group"],
        migrations.Select(m => new[]
        {
            m.Id, Word(m.Role), Word(m.State), $"{m.Epoch}",
            m.Prefixes.Count <= 4 ? string.Join('\n', m.Prefixes.Select(p => p.Prefix)) : $"{m.Prefixes.Count}",
            m.Peer, m.TunnelUp ? "up" : "down", m.Hold?.State ?? "", $"{m.Hold?.PacketsHeldNow}", $"{m.Hold?.Released}",
            $"{(m.Hold is { } h ? h.DroppedNewest + h.DroppedOldest + h.Expired : null)}", m.Group?.Active ?? "",
        }));

    private static void Backups(IReadOnlyList<MigrationInfo> migrations) => Table(
        ["migration", "state", "watched", "is", "why", "flips", "false alarms", "unordered", "noticed to flipped us", "would not flip"],
        migrations.Where(m => m.Backup is not null).SelectMany(m => m.Backup!.Watch.Select((w, i) => i > 0
            ? new[] { "", "", $"{w.Part}", Word(w.State), w.Why, "", "", "", "", "" }
            :
            [
                m.Id, Word(m.State), $"{w.Part}", Word(w.State), w.Why, $"{m.Backup.Flips}", $"{m.Backup.FalseAlarms}",
                $"{m.Backup.Unordered}",
                m.Backup.FlippedAtNs - m.Backup.NoticedAtNs is { } took
                    ? string.Create(CultureInfo.InvariantCulture, $"{took / 1e3:0}") : "",
                m.Backup.Unready ?? "",
            ])));

    private static void Order(IReadOnlyList<MigrationInfo> migrations) => Table(
        ["migration", "ingress", "loopback", "moved", "opened by", "marker after move ms", "kept", "now", "at once", "dropped"],
        migrations.Where(m => m.Order is not null).SelectMany(m => m.Order!.Gates.Select(g => new[]
        {
            m.Id, g.Ingress, g.Loopback, $"{g.Moved}/{g.Expected}",
            m.Role == MigrationRole.Target ? Word(g.OpenedBy) : g.Proved ? "went by" : "",
            g.MarkerAtNs - g.MovedAtNs is { } took ? string.Create(CultureInfo.InvariantCulture, $"{took / 1e6:0.0}") : "",
            $"{g.PacketsHeldTotal}", $"{g.PacketsHeldNow}", $"{g.PeakPackets}", $"{g.Dropped}",
        }).Concat(m.Role == MigrationRole.Target ? [[m.Id, "others", "", "", "", "", $"{m.Order.Unordered} passed", "", "", ""]] : [])));

    private static void Groups(IReadOnlyList<RedirectGroupInfo> groups) => Table(
        ["group", "vrf", "prefixes", "active", "native packets", "tunnel packets", "stale packets"],
        groups.Select(g => new[] { g.Name, g.Vrf, $"{g.Prefixes}", g.Active, $"{g.NativePackets}", $"{g.TunnelPackets}",
            $"{g.StalePackets}" }));

    private static void Table(IReadOnlyList<string> columns, IEnumerable<string[]> rows)
    {
        string[][] all = [.. rows];
        if (all.Length == 0)
        {
            Console.Error.WriteLine("none");
            return;
        }

        Table table = new Table { Border = TableBorder.Simple };
        foreach (string column in columns) table.AddColumn(new TableColumn(Markup.Escape(column)) { NoWrap = true });
        foreach (string[] row in all) table.AddRow([.. row.Select(Markup.Escape)]);

        // A file or a pipe has no width of its own: whole lines, not wrapped ones.
        if (Console.IsOutputRedirected) AnsiConsole.Profile.Width = 400;
        AnsiConsole.Write(table);
    }

    private static string YesNo(bool yes) => yes ? "yes" : "no";

    private static string Word<T>(T value)
        where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
