using System.Diagnostics;
using System.Text;
using System.Text.Json;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Probes;
using SdnEdge.Lab.Running;

namespace SdnEdge.Demo.Run;

/// <summary>A probe died or did not answer.</summary>
internal sealed class ProbeException(string message) : Exception(message);

/// <summary>
/// One <c>sdnedge probe</c> in a node of the lab: started, waited for until ready, told to stop, asked for its result.
/// </summary>
internal sealed class ProbeProcess : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(40);

    private readonly Process process;
    private readonly StringBuilder errors = new();

    /// <summary>Starts <c>sdnedge probe ARGUMENTS</c> in a node.</summary>
    public ProbeProcess(RunningLab lab, string node, string name, IReadOnlyList<string> arguments)
    {
        Name = name;
        // Small processes that live for seconds: the quick compiler is the better one for them.
        var environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["DOTNET_TieredPGO"] = "0", ["DOTNET_gcServer"] = "0" };
        process = lab.Start(node, [.. RunningLab.Self, "probe", .. arguments], environment, redirect: true, ahead: true);
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data is { } line)
            {
                lock (errors)
                {
                    errors.AppendLine(line);
                }
            }
        };
        process.BeginErrorReadLine();
    }

    /// <summary>For messages.</summary>
    public string Name { get; }

    /// <summary>Returns when the probe has said that it is ready.</summary>
    public async Task WaitReadyAsync(CancellationToken cancel)
    {
        ProbeReady ready = await ReadAsync<ProbeReady>(cancel);
        if (ready.Event != "ready")
        {
            throw new ProbeException($"probe {Name} said '{ready.Event}' instead of 'ready'");
        }
    }

    /// <summary>Tells the probe to stop and returns its result.</summary>
    /// <param name="stop">The line that tells it so.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public async Task<T> StopAsync<T>(string stop, CancellationToken cancel)
    {
        try
        {
            await process.StandardInput.WriteLineAsync(stop.AsMemory(), cancel);
            await process.StandardInput.FlushAsync(cancel);
        }
        catch (IOException)
        {
            throw new ProbeException($"probe {Name} has ended before it was told to{await WhyAsync()}");
        }

        T result = await ReadAsync<T>(cancel);

        // Its log is whole only when it has ended.
        await process.WaitForExitAsync(cancel).WaitAsync(Limit, cancel);
        return result;
    }

    private async Task<T> ReadAsync<T>(CancellationToken cancel)
    {
        string? line;
        try
        {
            line = await process.StandardOutput.ReadLineAsync(cancel).AsTask().WaitAsync(Limit, cancel);
        }
        catch (TimeoutException)
        {
            throw new ProbeException($"probe {Name} did not answer within {Limit.TotalSeconds:0} s{await WhyAsync()}");
        }

        if (line is null)
        {
            throw new ProbeException($"probe {Name} ended without a result{await WhyAsync()}");
        }

        return JsonSerializer.Deserialize(line, LabJson.Options.For<T>()) ?? throw new ProbeException($"probe {Name} said '{line}'");
    }

    private async Task<string> WhyAsync()
    {
        // What it wrote to stderr comes by another way; give it a moment to arrive when the process has ended.
        try
        {
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromMilliseconds(500));
        }
        catch (TimeoutException)
        {
            // Still running: there is only what it has written so far.
        }

        lock (errors)
        {
            string text = errors.ToString().Trim();
            return (process.HasExited ? $" (exit code {process.ExitCode})" : "") + (text.Length == 0 ? "" : ": " + text);
        }
    }

    public void Dispose()
    {
        try
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
        catch (InvalidOperationException)
        {
            // It has ended meanwhile.
        }

        process.Dispose();
    }
}
