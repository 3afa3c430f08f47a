using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qmp;

namespace SdnEdge.Host.Qemu;

/// <summary>What a QEMU program says of itself, asked of a process that has no machine and no guest.</summary>
/// <param name="Version">Its version.</param>
/// <param name="Kvm">True: it runs guests by KVM with the accelerators that were named.</param>
/// <param name="AcceleratorFault">Why none of the accelerators works here, in QEMU's words; null = one does.</param>
/// <param name="Machines">Machine types.</param>
/// <param name="CpuModels">CPU models, with what of them guests do not have here.</param>
public sealed record QemuProbe(
    QmpVersion Version, bool Kvm, string? AcceleratorFault, IReadOnlyList<QmpMachine> Machines, IReadOnlyList<QmpCpuModel> CpuModels)
{
    // It greets within 0.1 s on an idle machine. The second is for a process that a killed agent has left behind.
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(10), s_pause = TimeSpan.FromMilliseconds(10);
    private const int LongestLifeSeconds = 30;

    private static readonly ConcurrentDictionary<string, QemuProbe> s_known = new(StringComparer.Ordinal);
    private static readonly SemaphoreSlim s_one = new(1);

    /// <summary>
    /// Asks a QEMU program. The answer is kept until the program's file is another one; that no accelerator works is not kept. One is asked
    /// at a time: it costs about 0.1 s of a processor.
    /// </summary>
    /// <param name="program">What starts QEMU; its last word is the program.</param>
    /// <param name="accelerators">Accelerators in the order in which they are tried.</param>
    /// <param name="cancel">Ends it; the process is killed.</param>
    /// <exception cref="DriverException">There is no such program, or it does not answer as QEMU does.</exception>
    public static async Task<QemuProbe> AskAsync(
        IReadOnlyList<string> program, IReadOnlyList<string> accelerators, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(program);
        ArgumentNullException.ThrowIfNull(accelerators);
        if (program.Count == 0) throw new DriverException("no QEMU is named");
        var file = new FileInfo(program[^1]);
        if (!file.Exists) throw new DriverException($"there is no {program[^1]} on this host");
        string key = string.Create(CultureInfo.InvariantCulture,
            $"{string.Join('\0', program)}\0{string.Join('\0', accelerators)}\0{file.Length}\0{file.LastWriteTimeUtc.Ticks}");
        if (s_known.TryGetValue(key, out QemuProbe? known)) return known;
        await s_one.WaitAsync(cancel);
        try
        {
            if (s_known.TryGetValue(key, out known)) return known;
            try
            {
                return s_known[key] = await RunAsync(program, accelerators, null, cancel);
            }
            catch (DriverException e) when (accelerators is not ["tcg"])
            {
                return await RunAsync(program, ["tcg"], e.Message, cancel);
            }
        }
        finally
        {
            s_one.Release();
        }
    }

    private static async Task<QemuProbe> RunAsync(
        IReadOnlyList<string> program, IReadOnlyList<string> accelerators, string? fault, CancellationToken cancel)
    {
        string folder = Directory.CreateTempSubdirectory("sdnedge-qemu-").FullName, socket = Path.Combine(folder, "qmp");
        var start = new ProcessStartInfo("timeout",
            ["-s", "KILL", LongestLifeSeconds.ToString(CultureInfo.InvariantCulture), .. program, "-machine", "none", "-S", "-nodefaults",
                "-no-user-config", "-display", "none", .. accelerators.SelectMany(a => (string[])["-accel", a]),
                "-qmp", $"unix:{socket},server=on,wait=off"])
        {
            UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        end.CancelAfter(s_deadline);
        using Process process = Process.Start(start) ?? throw new DriverException($"{program[^1]} did not start");
        Task<string> said = process.StandardError.ReadToEndAsync(CancellationToken.None);
        _ = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        try
        {
            await using QmpConnection qmp = await ConnectAsync(process, said, program[^1], socket, end.Token);
            QmpKvm kvm = await qmp.ExecuteAsync(QmpCommands.QueryKvm, s_deadline, end.Token);
            IReadOnlyList<QmpMachine> machines = await qmp.ExecuteAsync(QmpCommands.QueryMachines, s_deadline, end.Token);
            IReadOnlyList<QmpCpuModel> models = await qmp.ExecuteAsync(QmpCommands.QueryCpuModels, s_deadline, end.Token);
            return new QemuProbe(qmp.Version, kvm.Enabled, fault, machines, models);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new DriverException($"{program[^1]} has not said within {s_deadline.TotalSeconds} s what it is");
        }
        catch (QmpException e)
        {
            throw new DriverException($"{program[^1]} does not say what it is: {e.Message}");
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<QmpConnection> ConnectAsync(
        Process process, Task<string> said, string program, string socket, CancellationToken cancel)
    {
        while (true)
        {
            try
            {
                return await QmpConnection.ConnectAsync(socket, s_deadline, cancel);
            }
            catch (QmpDisconnectedException) when (!process.HasExited)
            {
                // It has just been started.
                await Task.Delay(s_pause, cancel);
            }
            catch (QmpDisconnectedException)
            {
                string last = (await said.WaitAsync(cancel)).Trim().Split('\n')[^1];
                throw new DriverException($"{program} ended at once: {(last.Length > 0 ? last : "it said nothing")}");
            }
        }
    }
}
