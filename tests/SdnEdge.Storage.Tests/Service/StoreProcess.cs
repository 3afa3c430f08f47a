using System.Diagnostics;
using SdnEdge.Storage.Config;
using SdnEdge.Storage.Log;
using SdnEdge.Storage.Volumes;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>A store as a process of its own, so that it can be killed.</summary>
internal sealed class StoreProcess : IAsyncDisposable
{
    public const string Mode = "store";

    private readonly Process _process;

    private StoreProcess(Process process) => _process = process;

    /// <summary>Volumes with a log that is full soon.</summary>
    public static VolumeOptions SmallLog => new() { Log = new VolumeLogOptions { SegmentSize = 1 << 20, MaxSegments = 4 } };

    /// <summary>Starts one; its volumes are served when this returns.</summary>
    public static async Task<StoreProcess> StartAsync(string configuration)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, UseShellExecute = false };
        foreach (string argument in (string[])["exec", typeof(StoreProcess).Assembly.Location, Mode, configuration])
            start.ArgumentList.Add(argument);
        var process = Process.Start(start)!;
        string? line = await process.StandardOutput.ReadLineAsync();
        return line == "ready" ? new StoreProcess(process) : throw new IOException($"the store did not start: {line}");
    }

    /// <summary>The process itself: serves until it is killed.</summary>
    public static async Task RunAsync(string file)
    {
        StoreConfigResult result = StoreConfigLoader.Load(await File.ReadAllTextAsync(file), file);
        if (result.Config is null) throw new InvalidOperationException(string.Join("; ", result.Errors));
        await using StoreAgent store = await StoreAgent.StartAsync(result.Config, SmallLog);
        Console.WriteLine("ready");
        await Task.Delay(Timeout.Infinite);
    }

    /// <summary>SIGKILL.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        if (!_process.HasExited) Kill();
        _process.Dispose();
        return default;
    }
}
