using System.Diagnostics;
using System.Globalization;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;

namespace SdnEdge.Lab.Tests;

/// <summary>A lab of a test's own: its name is nobody else's, its state lies in a folder of its own, and it goes with the test.</summary>
internal sealed class LabInstance : IAsyncDisposable
{
    private static int s_count;

    private LabInstance(string topology)
    {
        Name = string.Create(CultureInfo.InvariantCulture, $"t{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}");
        // Not the temporary folder's own kind, which only root may enter: FRR's daemons are another user.
        Root = Path.Combine(Path.GetTempPath(), $"sdnedge-{Name}");
        Directory.CreateDirectory(Root);
        File = Path.Combine(Root, "lab.clab.yml");
        System.IO.File.WriteAllText(File, topology.Replace("LABNAME", Name, StringComparison.Ordinal));
        StateRoot = Path.Combine(Root, "state");
        Options = new LabOptions { StateRoot = StateRoot };
    }

    public string Name { get; }

    public string Root { get; }

    public string File { get; }

    public string StateRoot { get; }

    public LabOptions Options { get; }

    public string Folder => Path.Combine(StateRoot, Name);

    public static LabInstance Of(string topology) => new(topology);

    public Task<RunningLab> DeployAsync(LabOptions? options = null) => LabRunner.DeployAsync(File, options ?? Options, CancellationToken.None);

    public string Namespace(string node) => $"clab-{Name}-{node}";

    /// <summary>All that is left of the lab: namespaces, state, and processes that name its folder.</summary>
    public IReadOnlyList<string> Residue() =>
    [
        .. Directory.Exists(Namespaces.Folder) ? Directory.GetFiles(Namespaces.Folder, $"clab-{Name}-*") : [],
        .. Directory.Exists(StateRoot) ? Directory.GetFileSystemEntries(StateRoot) : [],
        .. Directory.GetDirectories("/proc").Where(d => char.IsAsciiDigit(Path.GetFileName(d)[0]) && Path.GetFileName(d) != $"{Environment.ProcessId}" && CommandOf(d).Contains(StateRoot, StringComparison.Ordinal)),
    ];

    /// <summary>Runs a program in a node and returns what it printed; throws when it fails.</summary>
    public static async Task<string> RunAsync(RunningLab lab, string node, params string[] argv)
    {
        using Process process = lab.Start(node, argv, redirect: true);
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{string.Join(' ', argv)} in {node}: exit code {process.ExitCode}: {output}{await errors}");
    }

    public async ValueTask DisposeAsync()
    {
        await LabRunner.DestroyAsync(Name, StateRoot);
        Directory.Delete(Root, recursive: true);
    }

    private static string CommandOf(string folder)
    {
        try
        {
            return System.IO.File.ReadAllText(folder + "/cmdline");
        }
        catch (IOException)
        {
            return "";
        }
    }
}
