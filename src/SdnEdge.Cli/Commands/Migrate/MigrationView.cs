using System.Globalization;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Demo.Run;
using SdnEdge.Linux;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>Shows a migration: as a picture that changes on a terminal, as lines elsewhere, or as JSON.</summary>
internal sealed class MigrationView(bool sameClock)
{
    private const int Bar = 20;

    private readonly Dictionary<string, long> _firstSeen = new(StringComparer.Ordinal);
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);

    /// <summary>News since the last call as plain lines.</summary>
    public IEnumerable<string> News(MigrationStatus m)
    {
        if (_told.Add("begin")) yield return Head(m);
        long zero = Zero(m);
        foreach ((MoveStatus move, int i) in m.Moves.Select((x, i) => (x, i)))
        {
            string of = m.Moves.Count > 1 ? $"move {i + 1}: " : "";
            foreach ((StageTime s, int at) in move.Timeline.Select((s, at) => (s, at)))
            {
                if (_told.Add($"{i} {at} {s.Stage}"))
                    yield return string.Create(CultureInfo.InvariantCulture,
                        $"{(s.EndNs - zero) / 1e6,10:0.0} ms  {of}{s.Stage} took {(s.EndNs - s.StartNs) / 1e6:0.0} "
                        + $"ms{(s.Error is null ? "" : ": " + s.Error)}");
            }

            if (move.Outcome is null && _told.Add(
                $"{i} in {move.Stage} {move.Timeline.Count}")) yield return $"{"",10}     {of}{move.Stage} begins";
        }

        foreach (WaitingInfo w in m.Waiting.Where(w => w.Reason != "in-progress"))
        {
            if (_told.Add($"waiting {w.Step} {w.Reason} {w.Detail}")) yield return $"{"",10}     waits: {w.Step}: "
                + $"{w.Reason}{(w.Detail is null ? "" : ", " + w.Detail)}";
            if (w.Remedy is not null && _told.Add($"remedy {w.Remedy}")) yield return $"{"",10}     {w.Remedy}";
        }

        foreach (VolumeMoveStatus v in m.Moves.SelectMany(x => x.Volumes ?? []).Where(v => v.Seen is not null))
        {
            // The lag changes with each look; what is news is mode, link and proof.
            ServerVolumeInfo at = v.Seen!;
            if (_told.Add($"volume {v.Server} {v.Volume} {at.InForce} {at.Switching} {at.InSync} {at.Connected} {at.Fault}"))
                yield return $"{"",10}     volume {v.Volume}: {at.InWords()}";
        }

        if (m.Ended && _told.Add("end")) yield return End(m);
    }

    /// <summary>The whole of it, for a terminal.</summary>
    /// <param name="m">The migration.</param>
    /// <param name="holds">What its holds keep now, by path; those that are not in it as the manager saw them last.</param>
    public IRenderable Picture(MigrationStatus m, IReadOnlyDictionary<string, HoldInfo> holds)
    {
        var rows = new List<IRenderable> { new Markup($"[bold]{Markup.Escape(Head(m))}[/]"), Stages(m) };
        foreach (PathStatus path in m.Moves.SelectMany(x => x.Paths))
        {
            if ((holds.GetValueOrDefault(path.Id) ?? path.Target?.Hold) is { } hold) rows.Add(new Markup(Hold(path, hold)));
        }

        foreach (VolumeMoveStatus v in m.Moves.SelectMany(x => x.Volumes ?? []).Where(v => v.Seen is not null))
            rows.Add(new Markup($"volume {Markup.Escape(v.Volume)} of {Markup.Escape(v.Server)}  {Markup.Escape(v.Seen!.InWords())}"));
        rows.AddRange(m.Waiting.Select(w => new Markup(Waits(w))));
        if (m.Failure is { } failure) rows.Add(new Markup($"[red]went wrong[/]  {Markup.Escape(failure)}"));
        if (m.Ended) rows.Add(new Markup($"[{(m.State == "moved" ? "green" : "yellow")} bold]{Markup.Escape(End(m))}[/]"));
        return new Rows(rows);
    }

    /// <summary>All that is known of an ended or running migration, for <c>status</c>.</summary>
    public void Print(MigrationStatus m)
    {
        IAnsiConsole console = DemoView.NewConsole();
        console.Write(Picture(m, new Dictionary<string, HoldInfo>()));
        foreach (MoveStatus move in m.Moves)
        {
            foreach (ServerMoveStatus s in move.Servers)
                Console.WriteLine($"server     {s.Name}: {s.SourceHost} to {s.TargetHost}"
                    + $"{(s is { StoppedAtNs: { } stopped, RunningAtNs: { } running } ? $", still for {Ms(running - stopped)} ms" : "")}");
            foreach (string s in move.Services ?? [])
                Console.WriteLine($"service    {s}: {move.From} to {move.To}, an instance of it runs at both");
            foreach (VolumeMoveStatus v in move.Volumes ?? []) Console.WriteLine($"volume     {Line(v)}");
            foreach (PathStatus p in move.Paths)
            {
                Console.WriteLine($"path       {p.Id}: {p.SourcePe} to {p.TargetPe}, {p.Prefixes.Count} "
                    + $"prefix{(p.Prefixes.Count == 1 ? "" : "es")} of VRF {p.Vrf}");
                if (p.Target?.Hold is { } h) Console.WriteLine(
                    $"hold       {h.PacketsHeldTotal} packets held, {h.Released} released, {h.DroppedNewest + h.DroppedOldest + h.Expired} "
                    + $"dropped, peak {h.PeakBytes} bytes");
                if (p.Source?.Group is { } g) Console.WriteLine($"tunnel     {g.TunnelPackets} packets, {g.StalePackets} stale; proof that "
                    + $"it could go: {MigrateCommand.Word(p.Proof)}");
                if (p.Target?.Order is { } o)
                    Console.WriteLine($"order      {o.Gates.Sum(x => x.PacketsHeldTotal)} direct packets waited for flush markers; proved "
                        + $"by markers: {(p.ProvedByMarker.Count > 0 ? string.Join(", ", p.ProvedByMarker) : "nobody")}; {o.Unordered} "
                        + $"packets of others passed");
            }
        }
    }

    /// <summary>Every obstacle, and what is predicted.</summary>
    public static void Print(PlanInfo plan)
    {
        // Of a group or a site that is not known there is nothing more to say than that.
        bool known = plan.Servers.Count > 0;
        string what = $"{plan.Servers.Count} server{(plan.Servers.Count == 1 ? "" : "s")} ({string.Join(", ", plan.Servers)}), "
            + $"{plan.Prefixes} prefix{(plan.Prefixes == 1 ? "" : "es")}";
        Console.WriteLine(known ? $"{plan.Group}: {plan.From ?? "?"} to {plan.To}, {plan.Cutover}; {what}" : $"{plan.Group} to {plan.To}");
        foreach (PlannedMachine m in plan.Machines ?? []) Console.WriteLine($"machine    {Line(m)}");
        foreach (Obstacle o in plan.Obstacles) Console.WriteLine($"obstacle   {o.Reason}  {o.Where}  {o.Detail}");
        if (known) Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"blackout   {plan.PredictedBlackoutMs:0.0} ms predicted"));
        foreach (HoldPrediction h in plan.Holds)
        {
            double share = h.CapacityPackets > 0 ? 100.0 * h.PredictedPackets / h.CapacityPackets : 0;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"hold       {h.Path}: {h.PacketsPerSecond:0} packets/s now, {h.PredictedPackets} predicted of {h.CapacityPackets} that "
                + $"fit ({share:0.0} %)"));
        }

        foreach (string warning in plan.Warnings) Console.WriteLine($"warning    {warning}");
        Console.WriteLine(plan.Obstacles.Count == 0 ? "possible: it can be started."
            : $"not possible: {plan.Obstacles.Count} obstacle{(plan.Obstacles.Count == 1 ? "" : "s")}. Nothing was changed.");
    }

    /// <summary>A virtual machine in one line: what differs between the hosts, then what is the same.</summary>
    public static string Line(PlannedMachine planned)
    {
        ArgumentNullException.ThrowIfNull(planned);
        MachineInfo? m = planned.From ?? planned.To;
        string line = $"{planned.Server}: {At(planned.From)} at {planned.FromHost} > {At(planned.To)} at {planned.ToHost}";
        if (m is null) return line;
        string[] facts =
        [
            m.ResolvedType ?? m.Type, m.Cpu, Count(m.Processors, "processor"), $"{m.MemoryBytes >> 20} MiB",
            Count(m.Devices.Count, "device"), Count(m.Disks.Count, "disk"), m.OnePass ? "one pass" : "",
            m.DirtyBytesPerSecond is { } dirty ? string.Create(CultureInfo.InvariantCulture, $"changes {dirty / 1e6:0.0} MB/s") : "",
        ];
        return $"{line}; {string.Join(", ", facts.Where(f => f.Length > 0))}";

        static string At(MachineInfo? m) => m is null ? "not said"
            : $"{m.Hypervisor} {(m.Version.Length > 0 ? m.Version : "?")} {m.Accelerator}";

        static string Count(int n, string what) => n == 0 ? "" : $"{n} {what}{(n == 1 ? "" : "s")}";
    }

    /// <summary>What was done with a volume, in one line.</summary>
    public static string Line(VolumeMoveStatus volume)
    {
        ArgumentNullException.ThrowIfNull(volume);
        string[] facts =
        [
            volume.Seen?.InWords() ?? "",
            volume.DrainMs is { } drain ? string.Create(CultureInfo.InvariantCulture,
                $"the replica proved in {drain:0.0} ms that it has everything") : "",
            volume.SealedAt is { } last ? $"sealed at sequence {last}" : "",
            volume.GrantedAtNs is not null ? "owned by the target's store" : volume.RestoredAtNs is not null ? "its mode is as before" : "",
            volume.SyncExposureMs is { } sync ? string.Create(CultureInfo.InvariantCulture,
                $"its writes waited for the other site for {sync:0.0} ms") : "",
        ];
        string line = string.Join(", ", facts.Where(f => f.Length > 0));
        return $"{volume.Volume} of {volume.Server}: {(line.Length > 0 ? line : "nothing was done with it yet")}";
    }

    /// <summary>A table of migrations.</summary>
    public static void Print(IReadOnlyList<MigrationStatus> all)
    {
        if (all.Count == 0)
        {
            Console.WriteLine("no migrations.");
            return;
        }

        var table = new Table().AddColumns("migration", "group", "from", "to", "state", "stage", "epoch", "by", "at", "");
        foreach (MigrationStatus m in all)
            table.AddRow(new[] { m.Id, m.Group, m.From, m.To, m.State, m.Ended ? "" : m.Stage, $"{m.Epoch}", m.By, m.At, m.Committed
                ? "committed" : m.Failure ?? "" }.Select(Markup.Escape).ToArray());
        DemoView.NewConsole().Write(table);
    }

    /// <summary>One line of JSON.</summary>
    public static string Line(MigrationStatus m) => JsonSerializer.Serialize(m, ApiJson.Options.For<MigrationStatus>());

    /// <summary>How it ended, in a sentence.</summary>
    public static string End(MigrationStatus m) => m.State switch
    {
        "moved" => $"moved: {m.Group} is at {m.To}, epoch {m.Epoch}.{(m.Failure is null ? "" : " On the way: " + m.Failure)}",
        "as-before" => $"not moved: {m.Group} is at {m.From} as before, epoch {m.Epoch}. {m.Failure}",
        "fenced" => $"fenced: another manager is in charge of {m.Group}; this one stopped where it was. {m.Failure}",
        "given-up" => $"given up: {m.Failure}. Not proved: {string.Join("; ", m.Unproved ?? [])}.",
        _ => $"{m.State}: {m.Stage}",
    };

    private static string Head(MigrationStatus m)
        => $"{m.Group}: {m.From} to {m.To}, migration {m.Id}, epoch {m.Epoch}, by {m.By}, {m.State}";

    private static long Zero(MigrationStatus m) => m.Moves.SelectMany(x => x.Timeline).Select(s => s.StartNs).DefaultIfEmpty(0).First();

    private static string Ms(long ns) => (ns / 1e6).ToString("0.0", CultureInfo.InvariantCulture);

    private Table Stages(MigrationStatus m)
    {
        Table table = new Table().Border(TableBorder.Minimal)
            .AddColumn("stage").AddColumn(new TableColumn("start ms").RightAligned()).AddColumn(
                new TableColumn("ms").RightAligned()).AddColumn("");
        long zero = Zero(m);
        foreach ((MoveStatus move, int i) in m.Moves.Select((x, i) => (x, i)))
        {
            string of = m.Moves.Count > 1 ? $"{i + 1}. " : "";
            foreach (StageTime s in move.Timeline) table.AddRow(Markup.Escape(of + s.Stage), Ms(s.StartNs - zero), Ms(s.EndNs - s.StartNs),
                Markup.Escape(s.Error ?? ""));
            if (move.Outcome is not null) continue;
            long since = move.Timeline.Count > 0 ? move.Timeline[^1].EndNs : 0;
            table.AddRow($"[yellow]{Markup.Escape(of + move.Stage)}[/]", since == 0 ? "" : Ms(since - zero),
                Age($"{i} {move.Stage}", since), "[yellow]now[/]");
        }

        return table;
    }

    private static string Hold(PathStatus path, HoldInfo hold)
    {
        HoldOptions caps = path.Hold ?? new HoldOptions();
        double share = Math.Clamp(Math.Max((double)hold.PacketsHeldNow / Math.Max(caps.MaxPackets, 1),
            (double)hold.BytesHeldNow / Math.Max(caps.MaxBytes, 1)), 0, 1);
        int full = (int)Math.Ceiling(share * Bar);
        string color = share > 0.8 ? "red" : share > 0.5 ? "yellow" : "green";
        return string.Create(CultureInfo.InvariantCulture,
            $"hold {Markup.Escape(path.TargetPe)}  [{color}]{new string('█', full)}[/]{new string('░', Bar - full)} {share * 100:0.0} %: "
            + $"{hold.PacketsHeldNow} packets, {hold.BytesHeldNow} bytes now; {hold.PacketsHeldTotal} held in all, "
            + $"{hold.DroppedNewest + hold.DroppedOldest + hold.Expired} dropped");
    }

    private string Waits(WaitingInfo w)
        => $"[yellow]waits[/] {Markup.Escape(w.Step)}  [bold]{Markup.Escape(w.Reason)}[/]  {Markup.Escape(w.Detail ?? "")}  for "
        + $"{Age("waits " + w.Step, w.SinceNs)} ms"
        + (w.Remedy is { } remedy ? $"\n      {Markup.Escape(remedy)}" : "");

    // By the manager's clock where it is ours; elsewhere for how long we have seen it.
    private string Age(string what, long sinceNs)
    {
        long now = Monotonic.Now;
        if (sameClock && sinceNs > 0) return Ms(Math.Max(now - sinceNs, 0));
        _firstSeen.TryAdd(what, now);
        return Ms(now - _firstSeen[what]);
    }
}
