using System.Diagnostics;
using System.Text.Json.Nodes;
using SdnEdge.Lab.Running;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Lab.Tests;

/// <summary>The signals that end a command end every one of them alike. Those of <c>lab deploy</c> and <c>migrate</c> are tried with
/// them.</summary>
[Trait("needs", "executable")]
public sealed class EndSignalTests : IDisposable
{
    private static readonly ProcessSignal[] s_signals =
        [ProcessSignal.Terminate, ProcessSignal.Interrupt, ProcessSignal.HangUp, ProcessSignal.Quit];

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-signals-").FullName;

    public static TheoryData<string, ProcessSignal> Daemons
    {
        get
        {
            var data = new TheoryData<string, ProcessSignal>();
            foreach (string daemon in (string[])["host", "store", "mms"])
            {
                foreach (ProcessSignal signal in s_signals) data.Add(daemon, signal);
            }

            return data;
        }
    }

    public static TheoryData<string, ProcessSignal> Probes
    {
        get
        {
            var data = new TheoryData<string, ProcessSignal>();
            foreach (string probe in (string[])["send", "receive"])
            {
                foreach (ProcessSignal signal in s_signals) data.Add(probe, signal);
            }

            return data;
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // What it serves by is taken away: a socket that is left says that it was ended in the middle.
    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_daemon_stops_cleanly(string daemon, ProcessSignal signal)
    {
        string file = Path.Combine(_folder, daemon + ".yaml");
        await File.WriteAllTextAsync(file, daemon switch
        {
            "host" => $"name: d\nsite: dc-a\napi: {{ unix: {Socket} }}\nstate: {{ folder: {_folder}/state }}\nservers: []\n",
            "store" => $"name: d\nsite: dc-a\napi: {{ unix: {Socket} }}\nstate: {{ folder: {_folder}/state }}\n"
                + $"nbd: {{ unix: {_folder}/n.sock }}\n",
            _ => $"name: d\napi: {{ unix: {Socket} }}\njournal: {_folder}/d.db\n",
        });
        using Process process = Start(daemon, "--config", file);
        string? ready = await process.StandardOutput.ReadLineAsync().WaitAsync(Patience.Long);
        Assert.True(ready?.StartsWith("d: ready", StringComparison.Ordinal) ?? false, ready + await ErrorsAsync(process, ready));
        Assert.True(File.Exists(Socket));
        Signals.Send(process.Id, signal);
        Assert.Equal("d: stopped\n", await process.StandardOutput.ReadToEndAsync().WaitAsync(Patience.Long));
        await process.WaitForExitAsync().WaitAsync(Patience.Long);
        Assert.Equal(0, process.ExitCode);
        Assert.False(File.Exists(Socket));
    }

    // A probe says what it has measured so far.
    [Theory]
    [MemberData(nameof(Probes))]
    public async Task A_probe_tells_its_result(string probe, ProcessSignal signal)
    {
        using Process process = probe == "send"
            ? Start("probe", "send", "--target", "1=127.0.0.1", "--flows", "1", "--flows6", "0", "--port", "7")
            : Start("probe", "receive", "--port", "0", "--quiet", "1");
        Assert.Contains("ready", await process.StandardOutput.ReadLineAsync().WaitAsync(Patience.Long), StringComparison.Ordinal);
        Signals.Send(process.Id, signal);
        string result = await process.StandardOutput.ReadToEndAsync().WaitAsync(Patience.Long);
        await process.WaitForExitAsync().WaitAsync(Patience.Long);
        Assert.NotNull(JsonNode.Parse(result)!["streams"]);
        Assert.Contains(process.ExitCode, (int[])[0, 3]);
    }

    private string Socket => Path.Combine(_folder, "d.sock");

    private static async Task<string> ErrorsAsync(Process process, string? ready)
        => ready is null ? await process.StandardError.ReadToEndAsync() : "";

    private static Process Start(params string[] argv)
    {
        IReadOnlyList<string> self = RunningLab.Self;
        return Process.Start(new ProcessStartInfo(self[0], [.. self.Skip(1), .. argv])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        })!;
    }
}
