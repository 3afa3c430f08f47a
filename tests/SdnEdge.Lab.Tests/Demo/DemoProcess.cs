using System.Diagnostics;
using System.Text.Json.Nodes;
using SdnEdge.Lab.Running;
using Xunit;

namespace SdnEdge.Lab.Tests.Demo;

/// <summary>Runs the demo as a user does, in a lab and with a report folder of its own; both are gone with it.</summary>
internal sealed class DemoProcess : IDisposable
{
    /// <summary>The lab's name.</summary>
    public string Lab { get; } = $"demo{Environment.ProcessId}";

    /// <summary>Where the report comes.</summary>
    public DirectoryInfo Folder { get; } = Directory.CreateTempSubdirectory("sdnedge-test-");

    /// <summary>Runs <c>sdnedge WORDS</c> to its end: its exit code, and what it said.</summary>
    public static (int Code, string Output) Run(IReadOnlyList<string> words, TimeSpan limit)
    {
        using Process process = Start(words);
        Task<string> error = process.StandardError.ReadToEndAsync();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Assert.True(process.WaitForExit(limit), "the demo ends by itself");
        return (process.ExitCode, output.GetAwaiter().GetResult() + error.GetAwaiter().GetResult());
    }

    /// <summary>A report that it has written.</summary>
    /// <param name="path">Its file in the folder.</param>
    /// <param name="output">What the demo said, for when there is none.</param>
    public JsonNode Report(string path, string output)
    {
        string file = Path.Combine(Folder.FullName, path);
        Assert.True(File.Exists(file), output);
        return JsonNode.Parse(File.ReadAllText(file))!;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        using Process destroy = Start(["lab", "destroy", "--name", Lab]);
        destroy.WaitForExit();
        Folder.Delete(recursive: true);
    }

    private static Process Start(IReadOnlyList<string> words)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return Process.Start(new ProcessStartInfo(self[0], [.. self.Skip(1), .. words])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
    }
}
