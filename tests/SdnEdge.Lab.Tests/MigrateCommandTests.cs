using System.Diagnostics;
using System.Text.Json.Nodes;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary><c>sdnedge migrate</c> in the Figure 1 lab, while clients ping the server.</summary>
[Trait("needs", "executable")]
public sealed class MigrateCommandTests
{
    [RootFact]
    public async Task The_server_moves_there_and_back_and_there_again_and_no_ping_is_lost_even_when_a_move_is_given_up()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await DeployAsync(instance);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        Pings[] streams = [.. lab.Ingresses.SelectMany(i => new[] { "10.1.1.10", "fd00:1:1::10" }.Select(a => new Pings(lab, i.Name, a)))];
        foreach (Pings stream in streams) await stream.AnswersAsync(1);
        long epoch = 0;
        foreach (string to in (string[])["dc-b", "dc-a", "dc-b"])
        {
            (int code, string output, string news) = await MoveAsync(instance, to, 200);
            Assert.True(code == 0, news + output);
            JsonNode end = Last(output);
            Assert.Equal("moved", (string)end["state"]!);
            Assert.Equal(to, await SiteAsync(lab));
            Assert.True((long)end["epoch"]! > epoch, "each move has a higher epoch");
            epoch = (long)end["epoch"]!;
        }

        // It is there already: the plan says so, and run is refused.
        (int impossible, string plan, _) = await MigrateAsync(instance, "plan", "--group", "vs", "--to", "dc-b", "-o", "json");
        Assert.True(impossible == 1, plan);
        Assert.NotEmpty(JsonNode.Parse(plan)!["obstacles"]!.AsArray());
        (int refused, _, string why) = await MoveAsync(instance, "dc-b", 200);
        Assert.True(refused == 1 && why.Contains("nothing was changed", StringComparison.Ordinal), why);

        // Ctrl-C while the server stands still, for longer than a signal can take: it runs on where it was, and what was held is given
        // back.
        (int givenUp, string undone, string told) = await MoveAsync(instance, "dc-a", 20_000, interruptAt: "stop begins");
        Assert.True(givenUp == 1, told + undone);
        Assert.Equal("as-before", (string)Last(undone)["state"]!);
        Assert.Contains("was asked to undo", told, StringComparison.Ordinal);
        Assert.Equal("dc-b", await SiteAsync(lab));

        // And the lab is as good as new: nothing sticks to the next attempt.
        (int last, string lastOutput, string lastNews) = await MoveAsync(instance, "dc-a", 200);
        Assert.True(last == 0, lastNews + lastOutput);
        await Pings.NothingLostAsync(streams, account);
    }

    /// <summary>The manager moves, not the command: one that is killed in the middle changes nothing.</summary>
    [RootFact]
    public async Task The_move_ends_when_its_command_is_killed_in_the_middle_and_can_be_seen_and_rolled_back()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await DeployAsync(instance);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        Pings[] streams = [.. lab.Ingresses.Select(i => new Pings(lab, i.Name, "10.1.1.10"))];
        foreach (Pings stream in streams) await stream.AnswersAsync(1);
        (int killed, _, string news) = await MoveAsync(instance, "dc-b", 2_000, interruptAt: "stop begins", signal: ProcessSignal.Kill);
        Assert.True(killed == 137, news);

        (int code, string output, string told) = await MigrateAsync(instance, "watch", "-o", "json");
        Assert.True(code == 0, told + output);
        JsonNode end = Last(output);
        string id = (string)end["id"]!;
        Assert.Equal("moved", (string)end["state"]!);
        Assert.Equal("dc-b", await SiteAsync(lab));

        (int status, string text, _) = await MigrateAsync(instance, "status", id);
        Assert.True(status == 0 && text.Contains("moved: vs is at dc-b", StringComparison.Ordinal), text);
        (int list, string table, _) = await MigrateAsync(instance, "list", "-o", "json");
        Assert.Equal((0, 1), (list, JsonNode.Parse(table)!.AsArray().Count));
        (int unknown, _, string no) = await MigrateAsync(instance, "status", "nobody");
        Assert.True(unknown == 2 && no.Contains("there is no migration 'nobody'", StringComparison.Ordinal), no);

        string folder = Path.Combine(instance.Root, "report");
        (int report, string written, string fault) = await MigrateAsync(instance, "report", id, "--out", folder);
        Assert.True(report == 0, written + fault);
        Assert.Contains("No probes ran", await File.ReadAllTextAsync(Path.Combine(folder, "report.html")), StringComparison.Ordinal);
        JsonNode json = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(folder, "report.json")))!;
        Assert.True((bool)json["passed"]!, json["failures"]!.ToJsonString());
        Assert.True((double)json["parameters"]!["measuredBlackoutMs"]! >= 2_000);
        Assert.Equal(id, (string)json["migration"]!["id"]!);

        (int back, string rolled, string said) = await MigrateAsync(instance, "rollback", id, "-o", "json");
        Assert.True(back == 0, said + rolled);
        Assert.NotEqual(id, (string)Last(rolled)["id"]!);
        Assert.Equal("dc-a", await SiteAsync(lab));

        (int commit, string kept, _) = await MigrateAsync(instance, "commit", (string)Last(rolled)["id"]!);
        Assert.True(commit == 0, kept);
        (int late, _, string gone) = await MigrateAsync(instance, "rollback", (string)Last(rolled)["id"]!);
        Assert.True(late == 1 && gone.Contains("committed", StringComparison.Ordinal), gone);
        await Pings.NothingLostAsync(streams, account);
    }

    /// <summary>The source PE is frozen when the server is live at the target: the move waits there, behind its pivot.</summary>
    [RootFact]
    public async Task Behind_the_pivot_ctrl_c_says_that_it_cannot_be_undone_every_other_signal_leaves_and_the_move_completes()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await DeployAsync(instance);
        foreach ((string to, string source, ProcessSignal signal) in (IEnumerable<(string, string, ProcessSignal)>)
            [("dc-b", "pe-a", ProcessSignal.Terminate), ("dc-a", "pe-b", ProcessSignal.HangUp), ("dc-b", "pe-a", ProcessSignal.Quit)])
        {
            LabProcess pe = lab.State.Processes.Single(p => p.Node == source);
            string news = "";
            using Process run = Start("migrate", "run", "--lab", instance.Name, "--state-dir", instance.StateRoot, "--group", "vs", "--to",
                to, "--copy", "3000", "--hold-ms", "60000", "--quiet", "5000", "-o", "json");
            Task<string> output = run.StandardOutput.ReadToEndAsync();
            try
            {
                while (await run.StandardError.ReadLineAsync() is { } line)
                {
                    news += line + "\n";
                    if (line.EndsWith("stop begins", StringComparison.Ordinal)) Signals.Send(pe.ProcessId, ProcessSignal.Stop);
                    else if (line.EndsWith("withdraw begins", StringComparison.Ordinal)) Signals.Send(run.Id, ProcessSignal.Interrupt);
                    else if (line.Contains("cannot be aborted", StringComparison.Ordinal)) Signals.Send(run.Id, signal);
                }

                await run.WaitForExitAsync();
                Assert.True(run.ExitCode == 3, news);
                Assert.Contains("it cannot be undone any more, the servers run at the target", news, StringComparison.Ordinal);
                Assert.Contains($"The servers run at {to}: it cannot be undone any more", news, StringComparison.Ordinal);
                Assert.Equal("running", (string)Last(await output)["state"]!);

                // What it waits for, and what ends it: nobody is told to abort what is at work.
                (int plan, string planned, _) = await MigrateAsync(instance, "plan", "--group", "vs", "--to", "dc-a");
                Assert.True(plan == 1 && planned.Contains("'sdnedge migrate watch m", StringComparison.Ordinal), planned);
                await Patience.UntilAsync(async () => (news = (await MigrateAsync(instance, "status")).Output.ReplaceLineEndings(" "))
                    .Contains($"--give-up {source} --why WHY", StringComparison.Ordinal), () => news);
            }
            finally
            {
                Signals.Send(pe.ProcessId, ProcessSignal.Continue);
            }

            (int code, string end, string told) = await MigrateAsync(instance, "watch", "-o", "json");
            Assert.True(code == 0, told);
            Assert.Equal("moved", (string)Last(end)["state"]!);
            Assert.Equal(to, await SiteAsync(lab));
        }
    }

    [RootFact]
    public async Task Of_two_at_once_the_second_is_refused_and_the_same_key_gets_the_same_migration()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        RunningLab lab = await DeployAsync(instance);
        string[] call = ["start", "--group", "vs", "--to", "dc-b", "--copy", "8000", "--hold-ms", "60000", "--quiet", "5000", "-o",
            "json"];
        (int started, string first, string told) = await MigrateAsync(instance, [.. call, "--idempotency-key", "one"]);
        Assert.True(started == 0, told);
        string id = (string)JsonNode.Parse(first)!["id"]!;
        (int second, _, string why) = await MigrateAsync(instance, call);
        Assert.True(second == 1 && why.Contains("busy", StringComparison.Ordinal) && !why.Contains("abort", StringComparison.Ordinal), why);
        (int again, string same, _) = await MigrateAsync(instance, [.. call, "--idempotency-key", "one"]);
        Assert.Equal((0, id), (again, (string)JsonNode.Parse(same)!["id"]!));

        (int code, string output, string news) = await MigrateAsync(instance, "resume", id, "-o", "json");
        Assert.True(code == 0, news + output);
        Assert.Contains($"{id} is at", news, StringComparison.Ordinal);
        Assert.Equal("dc-b", await SiteAsync(lab));
    }

    [RootFact]
    public async Task Without_a_manager_it_says_so_and_exits_2()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        (int none, _, string no) = await MigrateAsync(instance, "list", "--lab", "nowhere");
        Assert.True(none == 2 && no.Contains("no lab nowhere runs here", StringComparison.Ordinal), no);
        (int absent, _, string unreached) = await RunAsync("migrate", "list", "--api", Path.Combine(instance.Root, "mms.sock"));
        Assert.True(absent == 2 && unreached.Contains("cannot reach mms", StringComparison.Ordinal), unreached);
        (int bare, _, string needs) = await RunAsync("migrate", "list", "--api", "https://127.0.0.1:8443/");
        Assert.True(bare == 2 && needs.Contains("--cert, --key and --ca", StringComparison.Ordinal), needs);
    }

    private static Task<RunningLab> DeployAsync(LabInstance instance)
        => LabRunner.DeployAsync(LabFiles.Figure1, instance.Options with { Name = instance.Name, RttMs = 20 }, CancellationToken.None);

    /// <summary>The site at which the server runs, as the hosts say; null: at none.</summary>
    private static async Task<string?> SiteAsync(RunningLab lab)
    {
        var sites = new List<string>();
        foreach (LabHost host in lab.Hosts)
        {
            using var client = new HostClient(new ApiEndpoint(host.Node, lab.ApiSocket(host.Node)));
            if ((await client.ServerAsync("vs")).State == ServerState.Running) sites.Add(host.Site);
        }

        Assert.True(sites.Count < 2, "it runs at two sites");
        return sites.SingleOrDefault();
    }

    private static JsonNode Last(string lines) => JsonNode.Parse(lines.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1])!;

    internal static Task<(int Code, string Output, string News)> MoveAsync(
        LabInstance instance, string to, int copyMs, string? interruptAt = null, ProcessSignal signal = ProcessSignal.Interrupt,
        string group = "vs")
        => RunAsync(interruptAt, signal,
            "migrate", "run", "--lab", instance.Name, "--state-dir", instance.StateRoot, "--group", group, "--to", to, "--copy",
            $"{copyMs}", "--hold-ms", "60000", "--quiet", "5000", "-o", "json");

    private static Task<(int Code, string Output, string News)> MigrateAsync(LabInstance instance, params string[] argv)
        => RunAsync(["migrate", .. argv, .. argv.Contains("--lab") ? Array.Empty<string>() : ["--lab", instance.Name], "--state-dir",
            instance.StateRoot]);

    private static Task<(int Code, string Output, string News)> RunAsync(params string[] argv)
        => RunAsync(null, ProcessSignal.Interrupt, argv);

    private static Process Start(params string[] argv)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return Process.Start(new ProcessStartInfo(self[0], [.. self.Skip(1), .. argv])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
    }

    private static async Task<(int Code, string Output, string News)> RunAsync(string? interruptAt, ProcessSignal signal,
        params string[] argv)
    {
        using Process process = Start(argv);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string news = "";
        while (await process.StandardError.ReadLineAsync() is { } line)
        {
            news += line + "\n";
            if (interruptAt is not null && line.Contains(interruptAt, StringComparison.Ordinal)) Signals.Send(process.Id, signal);
        }

        await process.WaitForExitAsync();
        return (process.ExitCode, await output, news);
    }
}
