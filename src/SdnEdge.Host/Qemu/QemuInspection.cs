using System.ComponentModel;
using System.Globalization;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qmp;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// Finds out what machine a guest is. Of one that runs: its process's own command line, and QEMU's word by its monitor. Of one that would
/// be started: the configured command line, and what that QEMU program says without a guest (<see cref="QemuProbe"/>). Nothing is changed.
/// A guest that runs, and is not being copied, is measured: QEMU hashes 4096 pages of each GiB twice, a second apart, in a thread of its
/// own; of a guest with more than 4 GiB fewer, down to 128. That is at most 128 MiB to hash up to 128 GiB of memory, some tens of
/// milliseconds of a processor. No page is write-protected and the guest is not slowed. What is said is the last measurement that has
/// ended; a call begins the next one and does not wait for it. One call at a time.
/// </summary>
public sealed class QemuInspection
{
    private static readonly TimeSpan s_command = TimeSpan.FromSeconds(5);

    // Pages that are sampled: in all, and the least and the most per GiB that QEMU takes. It leaves out blocks of memory below 128 MiB.
    private const long Samples = 16_384, FewestPerGiB = 128, MostPerGiB = 4096, LeastMeasured = 128L << 20;

    private readonly QemuConfig _config;
    private readonly long _bytesPerSecond;
    private (int Process, double BytesPerSecond)? _measured;

    /// <summary>Of a guest.</summary>
    /// <param name="config">How it is run and copied.</param>
    /// <param name="bytesPerSecond">What copies may take of the network, bytes/s; 0 = as much as there is.</param>
    public QemuInspection(QemuConfig config, long bytesPerSecond = 0) => (_config, _bytesPerSecond) = (config, bytesPerSecond);

    /// <summary>Describes it. What cannot be found out is said in the description.</summary>
    /// <param name="process">The process in which the guest runs; null = none, or one that only waits for it.</param>
    /// <param name="monitor">Its monitor.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<MachineInfo> DescribeAsync(
        int? process, Func<CancellationToken, Task<QmpConnection>> monitor, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(monitor);
        QemuArguments arguments = QemuArguments.Read(CommandOf(process) ?? _config.Run, _config.SharedDisks);
        var info = new MachineInfo("qemu", "", arguments.Accelerators[0], arguments.Type, arguments.Cpu, arguments.Processors,
            arguments.MemoryBytes)
        {
            IsSeen = process is not null, MachineOptions = arguments.MachineOptions, Topology = arguments.Topology,
            Devices = arguments.Devices, Disks = arguments.Disks, OnePass = _config.OnePass,
            AutoConverge = _config.AutoConverge, BandwidthBytesPerSecond = _bytesPerSecond > 0 ? _bytesPerSecond : null,
            HostFreeBytes = FreeMemory(),
        };
        var unknown = new List<string>();
        try
        {
            info = Programmed(info, arguments, await QemuProbe.AskAsync(arguments.Program, arguments.Accelerators, cancel), unknown);
        }
        catch (Exception e) when (e is DriverException or IOException or UnauthorizedAccessException or Win32Exception)
        {
            unknown.Add(e.Message);
        }

        try
        {
            if (process is { } id)
            {
                QmpConnection qmp = await monitor(cancel);
                info = await SeenAsync(info, qmp, cancel);
                await MeasureAsync(id, info, qmp, cancel);
                if (_measured is { } rate && rate.Process == id) info = info with { DirtyBytesPerSecond = rate.BytesPerSecond };
            }
        }
        catch (Exception e) when (e is DriverException or IOException or TimeoutException)
        {
            unknown.Add(e.Message);
        }

        bool isHostCpu = arguments.CpuModel == "host" || (arguments.CpuModel == "max" && info.Accelerator == "kvm");
        return info with { HostCpu = isHostCpu ? HostCpu() : null, Unknown = unknown.Count > 0 ? string.Join("; ", unknown) : null };
    }

    private static MachineInfo Programmed(MachineInfo info, QemuArguments arguments, QemuProbe probe, List<string> unknown)
    {
        if (probe.AcceleratorFault is { } fault) unknown.Add(fault);
        QmpMachine? machine = arguments.Type.Length == 0 ? probe.Machines.FirstOrDefault(m => m.IsDefault)
            : probe.Machines.FirstOrDefault(m => m.Name == arguments.Type) ?? probe.Machines.FirstOrDefault(m => m.Alias == arguments.Type);
        QmpCpuModel? model = probe.CpuModels.FirstOrDefault(m => m.Name == arguments.CpuModel);
        return info with
        {
            Version = probe.Version.ToString(), ResolvedType = machine?.Name,
            Accelerator = probe.AcceleratorFault is not null ? info.Accelerator : probe.Kvm ? "kvm"
                : arguments.Accelerators.FirstOrDefault(a => a != "kvm") ?? info.Accelerator,
            CpuIsKnown = arguments.CpuModel.Length == 0 || model is not null,
            CpuMissing = arguments.CpuModel is "host" or "max" ? []
                : [.. (model?.UnavailableFeatures ?? []).Distinct().Order(StringComparer.Ordinal)],
        };
    }

    private static async Task<MachineInfo> SeenAsync(MachineInfo info, QmpConnection qmp, CancellationToken cancel)
    {
        QmpKvm kvm = await qmp.ExecuteAsync(QmpCommands.QueryKvm, s_command, cancel);
        string type = await qmp.ExecuteAsync(QmpCommands.ObjectText, new QmpObject("/machine", "type"), s_command, cancel);
        IReadOnlyList<QmpCpu> processors = await qmp.ExecuteAsync(QmpCommands.QueryCpus, s_command, cancel);
        QmpMemory memory = await qmp.ExecuteAsync(QmpCommands.QueryMemory, s_command, cancel);
        IReadOnlyList<QmpProperty> plugged = await qmp.ExecuteAsync(QmpCommands.ListObject, new QmpObject("/machine/peripheral"), s_command,
            cancel);
        IReadOnlyList<QmpBlock> disks = await qmp.ExecuteAsync(QmpCommands.QueryBlock, s_command, cancel);
        QmpMigration migration = await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);
        const string suffix = "-machine";
        return info with
        {
            Version = qmp.Version.ToString(), Accelerator = kvm.Enabled ? "kvm" : info.Accelerator is "kvm" ? "tcg" : info.Accelerator,
            ResolvedType = type.EndsWith(suffix, StringComparison.Ordinal) ? type[..^suffix.Length] : type,
            Processors = processors.Count, MemoryBytes = memory.BaseMemory + (memory.PluggedMemory ?? 0),
            Devices = Plugged(info.Devices, plugged), Disks = Plugged(info.Disks, disks), Blocked = migration.BlockedReasons ?? [],
        };
    }

    // Devices with an id come and go while the guest runs; the arguments do not change.
    private static IReadOnlyList<MachineDevice> Plugged(IReadOnlyList<MachineDevice> said, IReadOnlyList<QmpProperty> there)
    {
        const string child = "child<";
        Dictionary<string, string> kinds = there.Where(p => p.Type.StartsWith(child, StringComparison.Ordinal))
            .ToDictionary(p => p.Name, p => p.Type[child.Length..].TrimEnd('>'), StringComparer.Ordinal);
        HashSet<string> known = [.. said.Select(d => d.Id)];
        return [.. said, .. kinds.Where(k => !known.Contains(k.Key)).OrderBy(k => k.Key, StringComparer.Ordinal)
            .Select(k => new MachineDevice(k.Value, k.Key, "", "plugged in later"))];
    }

    private static IReadOnlyList<MachineDisk> Plugged(IReadOnlyList<MachineDisk> said, IReadOnlyList<QmpBlock> there)
    {
        HashSet<string> known = [.. said.Select(d => d.Node).Where(n => n.Length > 0), .. said.Select(d => d.File)];
        return
        [
            .. said,
            .. there.Where(b => b.Inserted is { } medium && !known.Contains(b.Device) && !known.Contains(medium.File)
                    && !known.Contains(medium.NodeName ?? ""))
                .Select(b => QemuArguments.DiskOf(
                    b.Device.Length > 0 ? b.Device : b.Inserted!.NodeName ?? "", b.Inserted!.File, b.Inserted.Ro)),
        ];
    }

    private async Task MeasureAsync(int process, MachineInfo info, QmpConnection qmp, CancellationToken cancel)
    {
        QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        QmpMigration migration = await qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, cancel);
        if (!status.Running || migration.Status is "setup" or "active" || info.MemoryBytes < LeastMeasured) return;
        try
        {
            QmpDirtyRate last = await qmp.ExecuteAsync(QmpCommands.QueryDirtyRate, s_command, cancel);
            if (last is { Status: "measured", DirtyRate: { } rate }) _measured = (process, rate * (double)(1 << 20));
            if (last.Status == "measuring") return;
            long perGiB = Math.Clamp(Samples / Math.Max(1, info.MemoryBytes >> 30), FewestPerGiB, MostPerGiB);
            await qmp.ExecuteAsync(QmpCommands.MeasureDirtyRate, new QmpMeasure(1, perGiB), s_command, cancel);
        }
        catch (QmpCommandException)
        {
            // It does not measure: its rate stays unknown.
        }
    }

    // Of a process that runs: what it was started with, which the configuration may say no more.
    private static string[]? CommandOf(int? process)
    {
        if (process is not { } id) return null;
        try
        {
            string text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/cmdline"));
            return text.Length == 0 ? null : text.TrimEnd('\0').Split('\0');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static long? FreeMemory()
    {
        string? line = Lines("/proc/meminfo").FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal));
        return line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var kib, ..]
            && long.TryParse(kib, NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value << 10 : null;
    }

    // The first processor stands for all of them.
    private static HostCpuInfo HostCpu()
    {
        var first = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in Lines("/proc/cpuinfo"))
        {
            if (line.Split(':', 2) is not [var key, var value]) break;
            first[key.Trim()] = value.Trim();
        }

        string features = first.GetValueOrDefault("flags") ?? first.GetValueOrDefault("Features") ?? "";
        string model = string.Join(' ', ((string[])["vendor_id", "cpu family", "model", "stepping", "model name"])
            .Where(first.ContainsKey).Select(k => k is "vendor_id" or "model name" ? first[k] : $"{k} {first[k]}"));
        return new HostCpuInfo(model, [.. features.Split(' ', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal)]);
    }

    private static IEnumerable<string> Lines(string file)
    {
        try
        {
            return File.ReadAllLines(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
