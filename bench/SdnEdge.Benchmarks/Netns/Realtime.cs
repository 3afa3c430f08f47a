using System.Diagnostics;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>
/// For as long as it lives: what is measured and this process (so what it starts, too) run before everything that has no
/// real-time priority; those who take the samples before those who are measured.
/// </summary>
internal sealed class Realtime : IDisposable
{
    private readonly int[] _processes;
    private bool _disposed;

    public Realtime(Process measured, Process sink)
    {
        _processes = [measured.Id, sink.Id, Environment.ProcessId];
        Change("-f", 10, measured.Id);
        Change("-f", 20, sink.Id);
        Change("-f", 20, Environment.ProcessId);
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        foreach (int process in _processes) Change("-o", 0, process);
    }

    private static void Change(string policy, int priority, int process)
    {
        using var chrt = Process.Start(new ProcessStartInfo("chrt", ["-a", policy, "-p", $"{priority}", $"{process}"]) { UseShellExecute =
            false })!;
        chrt.WaitForExit();
    }
}
