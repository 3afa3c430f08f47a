using System.Diagnostics;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Topologies;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>Deploy and destroy for real: what is there, what is refused, and that nothing is left.</summary>
[Trait("needs", "executable")]
public sealed class LabDeployTests
{
    private const string TwoHosts = """
        name: LABNAME
        topology:
          nodes:
            a: { kind: linux, env: { COLOUR: blue }, exec: [ip address add 10.9.0.1/24 dev eth1, "sysctl -q -w net.ipv4.ip_forward=1"] }
            b: { kind: linux, exec: [ip address add 10.9.0.2/24 dev eth1] }
            w: { kind: sdnedge-wan }
          links:
            - { endpoints: ["a:eth1", "w:eth1"], mtu: 1600, vars: { delay: 5ms } }
            - { endpoints: ["b:eth1", "w:eth2"], mtu: 1600, vars: { delay: 5ms } }
        """;

    // A deploy that never ends: node b is not set up as long as its script runs.
    private static readonly string Endless =
        TwoHosts.Replace("10.9.0.2/24 dev eth1]", "10.9.0.2/24 dev eth1, sleep 1000]", StringComparison.Ordinal);

    private const string OnePe = """
        name: LABNAME
        topology:
          nodes:
            pe: { kind: sdnedge-pe, startup-config: pe.yaml }
            h: { kind: linux, exec: [ip address add 172.16.0.9/24 dev eth1] }
          links: [ { endpoints: ["pe:eth1", "h:eth1"] } ]
        """;

    private const string PeConfig = """
        name: pe
        routerId: 10.255.0.1
        as: 65000
        loopbacks: [10.255.0.1]
        host: { device: host0 }
        ports: [ { name: core, device: tap-eth1, mtu: 1600, addresses: [172.16.0.1/24] } ]
        static: [ { prefix: 10.255.0.9/32, via: 172.16.0.9 } ]
        bgp: { peers: [ { address: 10.255.0.9, as: 65009, shutdown: "not before Monday" } ] }
        """;

    [RootFact]
    public async Task A_lab_is_deployed_used_and_destroyed_twice_and_leaves_nothing()
    {
        await using var instance = LabInstance.Of(TwoHosts);
        for (int round = 0; round < 2; round++)
        {
            RunningLab lab = await instance.DeployAsync();
            Assert.Equal([1, 2], LabInstance.Answered(await LabInstance.PingAsync(lab, "a", 2, "-i", "0.1", "10.9.0.2")).Take(2));
            Assert.Equal("1", (await LabInstance.RunAsync(lab, "a", "cat", "/proc/sys/net/ipv4/ip_forward")).Trim());
            Assert.Equal("blue", (await LabInstance.RunAsync(lab, "a", "sh", "-c", "echo $COLOUR")).Trim());
            Assert.Equal(lab.Folder, RunningLab.Attach(instance.Name, instance.StateRoot).Folder);
            LabReport report = (await LabInspector.InspectAsync(instance.Name, instance.StateRoot, CancellationToken.None))!;
            Assert.All(report.Nodes, n => Assert.Equal("up", n.State));
            await lab.DestroyAsync();
            Assert.Empty(instance.Residue());
        }
    }

    [RootFact]
    public async Task A_second_deploy_is_refused_with_a_sentence_and_reconfigure_replaces()
    {
        await using var instance = LabInstance.Of(TwoHosts);
        await instance.DeployAsync();
        string before = Netns.IdOf(instance.Namespace("a"))!;

        LabException refused = await Assert.ThrowsAsync<LabException>(() => instance.DeployAsync());
        Assert.Contains("is running already", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, Netns.IdOf(instance.Namespace("a")));

        RunningLab lab = await instance.DeployAsync(instance.Options with { Reconfigure = true });
        Assert.True(lab.State.Ready);
        Assert.Contains(" 0% packet loss", await LabInstance.RunAsync(lab, "a", "ping", "-c", "1", "-W", "30", "10.9.0.2"),
            StringComparison.Ordinal);
    }

    [RootFact]
    public async Task A_deploy_that_fails_says_why_and_leaves_nothing()
    {
        await using var instance = LabInstance.Of(TwoHosts.Replace("b: { kind: linux, ",
            "b: { kind: linux, sysctls: { net.ipv4.no_such_thing: 1 }, ", StringComparison.Ordinal));
        LabException e = await Assert.ThrowsAsync<LabException>(() => instance.DeployAsync());
        Assert.Contains("node b could not be set up", e.Message, StringComparison.Ordinal);
        Assert.Contains("no_such_thing", e.Message, StringComparison.Ordinal);
        Assert.Empty(instance.Residue());
    }

    // As containerlab does: the lab stands, and what failed is told.
    [RootFact]
    public async Task A_line_of_exec_that_fails_is_told_and_the_next_ones_are_run_all_the_same()
    {
        await using var instance = LabInstance.Of(TwoHosts.Replace("exec: [ip address add 10.9.0.2/24 dev eth1]", """
            exec: [ip address add 10.9.0.2/99 dev eth1, ip address add 10.9.0.2/24 dev eth1, "false # a comment", "sleep 600 &",
              "ip link add d0 type bridge"]
            """, StringComparison.Ordinal));
        var told = new List<string>();
        RunningLab lab = await instance.DeployAsync(instance.Options with { Progress = line => { lock (told) told.Add(line); } });
        string warning = Assert.Single(told, t => t.StartsWith("warning: exec of node b", StringComparison.Ordinal));
        Assert.Contains("ip address add 10.9.0.2/99 dev eth1: exit code", warning, StringComparison.Ordinal);
        Assert.Contains("false # a comment: exit code 1", warning, StringComparison.Ordinal);
        Assert.Contains("10.9.0.2/24", await LabInstance.RunAsync(lab, "b", "ip", "address"), StringComparison.Ordinal);
        Assert.Contains("d0", await LabInstance.RunAsync(lab, "b", "ip", "link"), StringComparison.Ordinal);
    }

    // The shell had read a buffer of its script when its input was turned elsewhere: the rest was lost in silence.
    [RootFact]
    public async Task A_script_of_many_kilobytes_is_run_to_its_end()
    {
        string routes = string.Concat(Enumerable.Range(0, 250)
            .Select(i => $"        - ip route add 10.0.{i}.0/24 via 192.0.2.2 dev eth1\n"));
        string lines = string.Concat(Enumerable.Range(0, 250).Select(i => $"        - echo {new string('x', 60)} {i} >/dev/null\n"));
        await using var instance = LabInstance.Of($$"""
            name: LABNAME
            topology:
              nodes:
                a:
                  kind: linux
                  exec:
                    - ip address add 192.0.2.1/24 dev eth1
            {{routes}}{{lines}}        - ip link add last type bridge
                b: { kind: linux }
              links: [ { endpoints: ["a:eth1", "b:eth1"] } ]
            """);
        RunningLab lab = await instance.DeployAsync();
        string there = await LabInstance.RunAsync(lab, "a", "ip", "route");
        Assert.Equal(251, there.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Contains("last", await LabInstance.RunAsync(lab, "a", "ip", "link"), StringComparison.Ordinal);
    }

    [RootFact]
    public async Task Groups_settings_variables_and_macs_of_containerlabs_files_have_their_effect_and_what_has_none_is_named()
    {
        await using var instance = LabInstance.Of("""
            name: LABNAME
            topology:
              groups:
                routers:
                  kind: linux
                  sysctls: { net.ipv4.ip_forward: 1 }
                  exec: ["ip address add ${SDNEDGE_NOT_SET:=192.0.2.1}/24 dev eth1"]
              kinds: { linux: { image: "alpine:3" } }
              nodes:
                r1: { group: routers, env: { A: b } }
                h1: { kind: linux, binds: ["a:b"], exec: [ip address add 192.0.2.2/24 dev eth1] }
              links:
                - endpoints:
                    - { node: r1, interface: eth1, mac: "02:00:00:00:09:01" }
                    - { node: h1, interface: eth1 }
            """);
        var told = new List<string>();
        RunningLab lab = await instance.DeployAsync(instance.Options with { Progress = line => { lock (told) told.Add(line); } });
        string there = await LabInstance.RunAsync(lab, "r1", "ip", "address", "show", "eth1");
        Assert.Contains("192.0.2.1/24", there, StringComparison.Ordinal);
        Assert.Contains("02:00:00:00:09:01", there, StringComparison.Ordinal);
        Assert.Equal("1", (await LabInstance.RunAsync(lab, "r1", "cat", "/proc/sys/net/ipv4/ip_forward")).Trim());
        Assert.Equal("0", (await LabInstance.RunAsync(lab, "h1", "cat", "/proc/sys/net/ipv4/ip_forward")).Trim());
        string[] warnings = [.. told.Where(t => t.StartsWith("warning:", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        Assert.Equal(["warning: 'binds' has no effect in a lab of namespaces (h1)",
            "warning: 'image' has no effect in a lab of namespaces (kind linux)"], warnings);
    }

    [RootFact]
    public async Task Errors_of_a_PEs_file_are_found_before_anything_is_made_and_name_the_users_file()
    {
        await using var instance = LabInstance.Of(OnePe);
        string config = Path.Combine(instance.Root, "pe.yaml");
        await File.WriteAllTextAsync(config, PeConfig.Replace("as: 65000", "as: none\nportz: []", StringComparison.Ordinal));
        TopologyException e = await Assert.ThrowsAsync<TopologyException>(() => instance.DeployAsync());
        Assert.Contains($"{config}:3:5: as:", e.Message, StringComparison.Ordinal);
        Assert.Contains($"{config}:4:1: portz", e.Message, StringComparison.Ordinal);
        Assert.Empty(instance.Residue());
    }

    [RootFact]
    public async Task A_node_that_died_is_started_again_and_one_that_runs_is_left_alone()
    {
        await using var instance = LabInstance.Of(OnePe);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe.yaml"), PeConfig);
        RunningLab lab = await instance.DeployAsync();
        Assert.Empty(await LabRunner.RestartAsync(instance.Name, "pe", instance.Options, CancellationToken.None));
        LabProcess router = lab.State.Processes.Single(p => p.Node == "pe");
        Signals.Send(router.ProcessId, ProcessSignal.Kill);
        await Patience.UntilAsync(() => !router.IsAlive, () => "the PE is still there");
        Assert.Equal(["pe"], await LabRunner.RestartAsync(instance.Name, "pe", instance.Options, CancellationToken.None));
        LabReport report = (await LabInspector.InspectAsync(instance.Name, instance.StateRoot, CancellationToken.None))!;
        Assert.All(report.Nodes, n => Assert.Equal("up", n.State));
        await LabInstance.ReachAsync(lab, "h", "172.16.0.1");
        LabException e = await Assert.ThrowsAsync<LabException>(
            () => LabRunner.RestartAsync(instance.Name, "pf", instance.Options, CancellationToken.None));
        Assert.Contains("has no node 'pf'; nodes are pe, h", e.Message, StringComparison.Ordinal);
        await lab.DestroyAsync();
        Assert.Empty(instance.Residue());
    }

    // A peer that is shut down kept the lab from being ready, for ever; a password in the file could be read by everybody.
    [RootFact]
    public async Task A_peer_that_is_shut_down_is_not_waited_for_an_odd_MTU_is_told_and_the_file_is_nobody_elses()
    {
        await using var instance = LabInstance.Of(OnePe);
        await File.WriteAllTextAsync(Path.Combine(instance.Root, "pe.yaml"), PeConfig);
        var told = new List<string>();
        await instance.DeployAsync(instance.Options with { Progress = line => { lock (told) told.Add(line); } });
        Assert.Contains(told,
            t => t.Contains("port core of pe has an MTU of 1600, its link pe:eth1 one of 1500", StringComparison.Ordinal));
        foreach (string file in Directory.GetFiles(instance.Folder, "*.yaml").Concat(Directory.GetFiles(instance.Folder, "*.setup")))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
    }

    [RootFact]
    public async Task A_cancelled_deploy_leaves_nothing()
    {
        await using var instance = LabInstance.Of(TwoHosts);
        using var cancel = new CancellationTokenSource();
        var options = instance.Options with {
            Progress = line => { if (line.StartsWith("starting", StringComparison.Ordinal)) cancel.Cancel(); } };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => LabRunner.DeployAsync(instance.File, options, cancel.Token));
        Assert.Empty(instance.Residue());
    }

    [RootFact]
    public async Task A_namespace_of_somebody_else_is_neither_used_nor_deleted()
    {
        await using var instance = LabInstance.Of(TwoHosts);
        string strange = instance.Namespace("b");
        await Netns.BatchAsync($"netns add {strange}\n", force: false, CancellationToken.None);
        try
        {
            LabException e = await Assert.ThrowsAsync<LabException>(
                () => instance.DeployAsync(instance.Options with { Reconfigure = true }));
            Assert.Contains($"ip netns del {strange}", e.Message, StringComparison.Ordinal);
            Assert.True(Namespaces.Exists(strange));
            Assert.False(Namespaces.Exists(instance.Namespace("a")));
        }
        finally
        {
            await Netns.BatchAsync($"netns del {strange}\n", force: false, CancellationToken.None);
        }
    }

    [RootFact]
    public async Task Destroy_finds_everything_after_the_deployer_was_killed()
    {
        await using var instance = LabInstance.Of(Endless);
        await DeployAndSignalAsync(instance, ProcessSignal.Kill);

        Assert.NotEmpty(instance.Residue());
        Assert.True(await LabRunner.DestroyAsync(instance.Name, instance.StateRoot));
        Assert.Empty(instance.Residue());
        Assert.False(await LabRunner.DestroyAsync(instance.Name, instance.StateRoot));
    }

    // Ctrl-C, a service manager, a closed terminal and Ctrl-\.
    [RootTheory]
    [InlineData(ProcessSignal.Interrupt)]
    [InlineData(ProcessSignal.Terminate)]
    [InlineData(ProcessSignal.HangUp)]
    [InlineData(ProcessSignal.Quit)]
    public async Task A_signal_during_a_deploy_leaves_nothing(ProcessSignal signal)
    {
        await using var instance = LabInstance.Of(Endless);
        int exitCode = await DeployAndSignalAsync(instance, signal);
        Assert.Equal(1, exitCode);
        Assert.Empty(instance.Residue());
    }

    // Every write to a closed terminal fails: what is still to be taken away must not end by that.
    [RootFact]
    public async Task A_terminal_that_is_closed_during_a_deploy_leaves_nothing()
    {
        await using var instance = LabInstance.Of(Endless);
        string command = string.Join(' ',
            RunningLab.Self.Concat(["lab", "deploy", "-t", instance.File, "--state-dir", instance.StateRoot]));
        using Process terminal = Process.Start(new ProcessStartInfo("script", ["-qec", "exec " + command, "/dev/null"])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false,
        })!;
        Assert.True(await HasBegunAsync(instance, terminal), "the deployer got as far as its namespaces");
        terminal.Kill();
        await terminal.WaitForExitAsync();
        await Patience.UntilAsync(() => Task.FromResult(instance.Residue().Count == 0),
            () => "left over: " + string.Join(", ", instance.Residue()));
    }

    [RootFact]
    public async Task A_second_signal_is_told_that_what_was_begun_is_being_taken_away_and_a_third_one_leaves_it()
    {
        // One in it ends only by what cannot be refused, a second later.
        await using var instance = LabInstance.Of(Endless.Replace("sleep 1000]", "\"(trap '' TERM; sleep 1000) &\", sleep 1000]",
            StringComparison.Ordinal));
        string told = "";
        int exitCode = await DeployAndSignalAsync(instance, ProcessSignal.Terminate, async deployer =>
        {
            Signals.Send(deployer.Id, ProcessSignal.HangUp);
            told = await deployer.StandardError.ReadToEndAsync();
        });
        Assert.Equal(1, exitCode);
        Assert.Contains("takes back what it has begun; once more ends it at once", told, StringComparison.Ordinal);
        Assert.Empty(instance.Residue());

        exitCode = await DeployAndSignalAsync(instance, ProcessSignal.Terminate, deployer =>
        {
            Signals.Send(deployer.Id, ProcessSignal.HangUp);
            Signals.Send(deployer.Id, ProcessSignal.Interrupt);
            return Task.CompletedTask;
        });
        Assert.InRange(exitCode, 129, 143);
        Assert.NotEmpty(instance.Residue());
        Assert.True(await LabRunner.DestroyAsync(instance.Name, instance.StateRoot));
    }

    // A name with a space in it made a namespace of its first word, and left that.
    [RootTheory]
    [InlineData("a b")]
    [InlineData("../x")]
    [InlineData("")]
    public async Task A_lab_gets_no_name_that_no_namespace_can_have(string name)
    {
        await using var instance = LabInstance.Of(TwoHosts);
        LabException e = await Assert.ThrowsAsync<LabException>(() => instance.DeployAsync(instance.Options with { Name = name }));
        Assert.Contains($"'{name}' cannot name a namespace; use up to 40 letters", e.Message, StringComparison.Ordinal);
        Assert.Empty(instance.Residue());
    }

    // What is there is not gone because somebody else may not see it.
    [RootFact]
    public async Task Without_root_every_command_says_that_it_needs_it()
    {
        await using var instance = LabInstance.Of(TwoHosts.Replace("a: { kind: linux", "vs: { kind: server, labels: { sdnedge.mac: "
            + "\"02:00:00:00:01:10\", sdnedge.addresses: 10.9.0.9/24, sdnedge.site: s } }\n    s: { kind: bridge }\n    a: { kind: linux",
            StringComparison.Ordinal).Replace("links:", "links:\n    - { endpoints: [\"vs:leg\", \"s:p1\"] }", StringComparison.Ordinal));
        await instance.DeployAsync();
        string program = await ForEverybodyAsync(instance);
        string[] of = ["--name", instance.Name, "--state-dir", instance.StateRoot];
        foreach (string[] words in (string[][])[["inspect", .. of], ["inspect", "--state-dir", instance.StateRoot], ["destroy", .. of],
            ["restart", "a", .. of], ["exec", .. of, "--node", "a", "--", "true"], ["deploy", "-t", instance.File, "--state-dir",
            instance.StateRoot]])
        {
            using Process process = Process.Start(new ProcessStartInfo("setpriv",
                ["--reuid", "65534", "--regid", "65534", "--clear-groups", program, "lab", .. words])
            {
                RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false, WorkingDirectory = "/",
                Environment = { ["HOME"] = "/", ["DOTNET_BUNDLE_EXTRACT_BASE_DIR"] = "/tmp" },
            })!;
            Task<string> output = process.StandardOutput.ReadToEndAsync();
            string errors = await process.StandardError.ReadToEndAsync();
            await process.WaitForExitAsync();
            Assert.True(process.ExitCode == 1, $"{words[0]}: {process.ExitCode}: {errors}{await output}");
            Assert.Contains("root", errors, StringComparison.Ordinal);
            Assert.Contains("sudo", errors, StringComparison.Ordinal);
            Assert.Single(errors.TrimEnd('\n').Split('\n'));
        }
    }

    // The tests' executable may lie where only its owner may go.
    private static async Task<string> ForEverybodyAsync(LabInstance instance)
    {
        string from = Path.GetDirectoryName(RunningLab.Self[0])!, to = Path.Combine(instance.Root, "bin");
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from).Where(f => Path.GetExtension(f) is not (".dbg" or ".pdb")))
        {
            await using FileStream source = File.OpenRead(file), copy = File.Create(Path.Combine(to, Path.GetFileName(file)));
            await source.CopyToAsync(copy);
        }

        string program = Path.Combine(to, Path.GetFileName(RunningLab.Self[0]));
        File.SetUnixFileMode(program, File.GetUnixFileMode(program) | UnixFileMode.UserExecute | UnixFileMode.OtherExecute
            | UnixFileMode.OtherRead);
        return program;
    }

    [RootFact]
    public async Task Destroy_ends_what_it_started_and_what_lives_in_its_namespaces_and_nothing_else()
    {
        await using var instance = LabInstance.Of(TwoHosts);
        RunningLab lab = await instance.DeployAsync();
        LabProcess wan = Assert.Single(lab.State.Processes);
        Signals.Send(wan.ProcessId, ProcessSignal.Kill);
        using Process guest = lab.Start("a", ["sleep", "1000"]);
        using Process bystander = Process.Start("sleep", "1000");
        try
        {
            // Started, it still has to enter the namespace and to become what it is.
            string a = Netns.IdOf(instance.Namespace("a"))!;
            Assert.True(await Netns.UntilAsync(() => Netns.ProcessesIn(new HashSet<string> { a }).Exists(p => p.ProcessId == guest.Id),
                Patience.Long, CancellationToken.None));

            // A recorded number that now is another process: the start time tells.
            LabState state = lab.State;
            (state with { Processes = [.. state.Processes, new LabProcess("a", "old", bystander.Id, 1)] }).Write(lab.Folder);
            await lab.DestroyAsync();
            Assert.Empty(instance.Residue());
            Assert.True(guest.WaitForExit(Patience.Long));
            Assert.False(bystander.HasExited);
        }
        finally
        {
            bystander.Kill();
        }
    }

    // Runs the command itself and sends it a signal when all it waits for is the script of a node, with processes at work in two
    // namespaces. Returns its exit code.
    private static async Task<int> DeployAndSignalAsync(LabInstance instance, ProcessSignal signal, Func<Process, Task>? then = null)
    {
        using Process deployer = instance.StartDeploy();
        Assert.True(await HasBegunAsync(instance, deployer), "the deployer got as far as its namespaces");
        Signals.Send(deployer.Id, signal);
        if (then is not null) await then(deployer);
        await deployer.WaitForExitAsync();
        return deployer.ExitCode;
    }

    private static async Task<bool> HasBegunAsync(LabInstance instance, Process deployer)
    {
        return await Netns.UntilAsync(() => (Lives("b") && IsSetUp("a") && File.Exists(Path.Combine(instance.Folder, "w.sock")))
            || deployer.HasExited, Patience.Long, CancellationToken.None) && !deployer.HasExited;

        // Node a has its address: nothing is being started any more.
        bool IsSetUp(string node) => Netns.IdOf(instance.Namespace(node)) is not null
            && Namespaces.Run(instance.Namespace(node),
                () => File.ReadAllText("/proc/thread-self/net/fib_trie").Contains("10.9.0.1\n", StringComparison.Ordinal));

        bool Lives(string node)
            => Netns.IdOf(instance.Namespace(node)) is { } id && Netns.ProcessesIn(new HashSet<string> { id }).Count > 0;
    }
}
