using System.Diagnostics;
using System.Text;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A deploy is killed, wherever it is: its lab says that it was interrupted and how to remove it, and destroy leaves nothing.
/// </summary>
[Trait("needs", "executable")]
public sealed class LabInterruptedTests
{
    private const int Hosts = 30;

    // Node e is never set up, so that the deploy never ends.
    private static readonly string Topology = $$"""
        name: LABNAME
        topology:
          nodes:
            br: { kind: bridge }
            s: { kind: server, labels: { sdnedge.mac: "02:00:00:00:09:10", sdnedge.addresses: 10.9.0.10/24 } }
            e: { kind: linux, exec: [sleep 1000] }
            w: { kind: sdnedge-wan }
        {{Lines(i => $"    h{i}: {{ kind: linux, exec: [ip address add 10.9.0.{i + 20}/24 dev eth1] }}")}}
          links:
            - endpoints: ["s:leg-a", "br:leg-s"]
            - endpoints: ["w:eth1", "e:eth1"]
        {{Lines(i => $"    - endpoints: [\"h{i}:eth1\", \"br:eth{i}\"]")}}
        """;

    private static readonly Dictionary<string, Func<LabInstance, bool>> s_points = new()
    {
        ["its claim"] = i => File.Exists(Path.Combine(i.StateRoot, i.Name + ".lock")),
        ["its state"] = i => File.Exists(Path.Combine(i.Folder, "lab.json")),
        ["its first namespace"] = i => Made(i) > 0,
        ["half of its namespaces"] = i => Made(i) > Hosts / 2,
        ["its first script"] = i => Directory.GetFiles(i.Folder, "*.setup").Length > 0,
        ["its first process"] = i => LabState.Read(i.Folder)?.Processes.Count > 0,
        ["all of its processes"] = i => LabState.Read(i.Folder)?.Processes.Count > 1,
    };

    public static TheoryData<string> Points => [.. s_points.Keys];

    [RootTheory]
    [MemberData(nameof(Points))]
    public async Task Wherever_it_is_killed_the_lab_says_so_and_destroy_leaves_nothing(string reached)
    {
        await using var instance = LabInstance.Of(Topology);
        await DeployAndKillAsync(instance, s_points[reached]);

        LabReport? report = await LabInspector.InspectAsync(instance.Name, instance.StateRoot, CancellationToken.None);
        if (report is not null)
        {
            string says = $"the deploy of lab {instance.Name} was interrupted; 'sdnedge lab destroy --name {instance.Name}' removes";
            Assert.StartsWith(says, report.WhyNotReady!, StringComparison.Ordinal);
            Assert.Equal(Hosts + 4, report.Nodes.Count);
            Assert.All(report.Nodes, n => Assert.Contains(n.State, (string[])["made", "not made"]));
            LabException e = Assert.Throws<LabException>(() => RunningLab.Attach(instance.Name, instance.StateRoot));   // exec, graph
            Assert.StartsWith(says, e.Message, StringComparison.Ordinal);
            e = await Assert.ThrowsAsync<LabException>(
                () => LabRunner.RestartAsync(instance.Name, "h1", instance.Options, CancellationToken.None));
            Assert.StartsWith(says, e.Message, StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal("its claim", reached);   // nothing is written down before that, and nothing is made
        }

        await LabRunner.DestroyAsync(instance.Name, instance.StateRoot);
        Assert.Empty(instance.Residue());
        Assert.False(await LabRunner.DestroyAsync(instance.Name, instance.StateRoot));
    }

    // An ip outlives the deploy that started it, and would make namespaces behind destroy's back. This one waits for its first line for
    // ever.
    [RootFact]
    public async Task An_ip_that_a_killed_deploy_left_at_work_is_ended_and_nobody_elses()
    {
        await using var instance = LabInstance.Of(Topology);
        string batch = Path.Combine(instance.Folder, "links.batch"), other = Path.Combine(instance.Root, "links.batch");
        Directory.CreateDirectory(instance.Folder);
        Assert.Equal(0, Run("mkfifo", batch, other));
        new LabState(instance.Name, instance.File, null, Ready: false, [new LabNamespace("h1", instance.Namespace("h1"), null)], [])
            .Write(instance.Folder);
        using Process ours = Process.Start("ip", ["-batch", batch]), strange = Process.Start("ip", ["-batch", other]);
        try
        {
            Assert.True(await LabRunner.DestroyAsync(instance.Name, instance.StateRoot));
            Assert.True(ours.WaitForExit(Patience.Long));
            Assert.False(strange.HasExited);
            Assert.Empty(instance.Residue());
        }
        finally
        {
            ours.Kill();
            strange.Kill();
        }
    }

    [RootFact]
    public async Task While_it_is_at_work_nobody_is_told_to_destroy_it()
    {
        await using var instance = LabInstance.Of(Topology);
        using var cancel = new CancellationTokenSource();
        Task<RunningLab> deploy = LabRunner.DeployAsync(instance.File, instance.Options, cancel.Token);
        try
        {
            await Patience.UntilAsync(() => deploy.IsCompleted || s_points["its first process"](instance), () => "no process was started",
                Patience.Long);
            Assert.False(deploy.IsCompleted);
            LabReport report = (await LabInspector.InspectAsync(instance.Name, instance.StateRoot, CancellationToken.None))!;
            Assert.Equal($"the deploy of lab {instance.Name} is at work (process {Environment.ProcessId}); wait until it has ended",
                report.WhyNotReady);
        }
        finally
        {
            await cancel.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => deploy);
        }

        Assert.Empty(instance.Residue());
    }

    // A destroy that is interrupted is begun again: what says that there is a lab goes last.
    [RootFact]
    public void The_state_is_the_last_file_that_a_destroy_deletes()
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-lab").FullName;
        var state = new LabState("x", "/x.yml", null, Ready: true, [], []);
        state.Write(folder);
        string stuck = Directory.CreateDirectory(Path.Combine(folder, "zz")).FullName;
        Assert.Equal(0, Run("mount", "-t", "tmpfs", "tmpfs", stuck));
        try
        {
            Assert.ThrowsAny<IOException>(() => LabState.Delete(folder, keepLogs: false));   // a mount point cannot be deleted
            Assert.NotNull(LabState.Read(folder));
        }
        finally
        {
            Assert.Equal(0, Run("umount", stuck));
        }

        LabState.Delete(folder, keepLogs: false);
        Assert.False(Directory.Exists(folder));
    }

    private static int Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        return process.ExitCode;
    }

    private static int Made(LabInstance instance)
        => Directory.Exists(Namespaces.Folder) ? Directory.GetFiles(Namespaces.Folder, $"clab-{instance.Name}-*").Length : 0;

    private static string Lines(Func<int, string> line)
        => string.Join('\n', Enumerable.Range(1, Hosts).Select(line));

    private static async Task DeployAndKillAsync(LabInstance instance, Func<LabInstance, bool> reached)
    {
        using Process deployer = instance.StartDeploy();
        var said = new StringBuilder();
        deployer.ErrorDataReceived += (_, line) => said.AppendLine(line.Data);
        deployer.BeginErrorReadLine();
        bool there = await Netns.UntilAsync(() => Is(reached) || deployer.HasExited, Patience.Long, CancellationToken.None);
        Assert.True(there && !deployer.HasExited, $"the deploy got as far as that: {said}");
        Signals.Send(deployer.Id, ProcessSignal.Kill);
        await deployer.WaitForExitAsync();

        // A folder may not be there yet.
        bool Is(Func<LabInstance, bool> point)
        {
            try
            {
                return point(instance);
            }
            catch (DirectoryNotFoundException)
            {
                return false;
            }
        }
    }
}
