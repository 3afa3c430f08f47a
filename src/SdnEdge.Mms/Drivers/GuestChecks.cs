using System.Globalization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Drivers;

/// <summary>
/// Whether virtual machines can go to where they are to go, by what both hosts say of them. QEMU itself finds most of it out when the
/// migration has begun, one thing at a time, and some of it not at all.
/// </summary>
internal sealed class GuestChecks(PlanNotes notes, IReadOnlyDictionary<string, long> shares)
{
    private const string Guest = "qemu";

    // The first version that loses no changes of a guest's memory under TCG (QEMU's commit 03bfc2188f).
    private const int RightUnderTcg = 9;

    // Names in a message; the rest is counted.
    private const int Named = 8;

    /// <summary>Checks all that move. All obstacles are in the notes.</summary>
    public void Check(IReadOnlyList<PlacedServer> servers)
    {
        foreach (PlacedServer server in servers)
        {
            if (server is not { AtFrom: { } from, AtTo: { } to } || (from.Driver != Guest && to.Driver != Guest)) continue;
            if (from.Driver != to.Driver)
            {
                notes.Add("driver-differs", server.Server.Name, $"{server.Server.Name} is driven by {from.Driver} at "
                    + $"{server.From.Host.Name} and by {to.Driver} at {server.To.Host.Name}; configure the same at both");
                continue;
            }

            if (from.Machine is { } source) CheckSource(server.Server.Name, server.From.Host.Name, source);
            else NotSaid(server.Server.Name, server.From.Host.Name);
            if (to.Machine is { } target) CheckTarget(server.Server.Name, server.To.Host.Name, target);
            else NotSaid(server.Server.Name, server.To.Host.Name);
            if (from.Machine is not null && to.Machine is not null)
                new Pair(notes, server.Server.Name, server.From.Host.Name, from.Machine, server.To.Host.Name, to.Machine).Check();
        }

        CheckMemory(servers);
    }

    private void NotSaid(string server, string host)
        => notes.Warn($"{host} does not say what machine {server} is: it was not checked there. An agent "
            + "that has just started says it within seconds, one of an older version never");

    private void CheckSource(string server, string host, MachineInfo machine)
    {
        CheckAny(server, host, machine);
        foreach (string reason in machine.Blocked)
            notes.Add("migration-blocked", $"{server} at {host}", $"QEMU does not migrate it: {reason}");
        if (LosesChanges(machine))
        {
            notes.Add("tcg-before-9", $"{server} at {host}", $"QEMU {machine.Version} without KVM corrupts the guest's memory when it is "
                + "copied in more than one pass; use QEMU 9.0 or later or KVM, or write passes: one in that host's configuration");
        }

        // One pass ends also when the guest is faster, and one that is slowed down is not faster for ever.
        if (machine.DirtyBytesPerSecond is not { } dirty || machine.OnePass || machine.AutoConverge) return;
        double? ofAll = shares.TryGetValue(host, out long most) ? most : null;
        if ((ofAll < (machine.BandwidthBytesPerSecond ?? double.MaxValue) ? ofAll : machine.BandwidthBytesPerSecond) is not { } bandwidth)
        {
            if (dirty > 0) notes.Warn($"{server} changes {Mega(dirty)} MB of its memory a second, and {host} does not say how fast it may "
                + "be sent (migration.bandwidth): whether the copy comes to an end is not known");
        }
        else if (dirty >= bandwidth)
        {
            notes.Add("not-converging", $"{server} at {host}", $"it changes {Mega(dirty)} MB of its memory a second, and {Mega(bandwidth)} "
                + "MB a second may be sent: the copy does not come to an end; raise "
                + (bandwidth == ofAll ? "the migration's bandwidth" : "migration.bandwidth") + ", wait until the guest does less, or write "
                + "autoConverge: true (the guest is slowed down) or passes: one (a longer blackout)");
        }
    }

    private void CheckTarget(string server, string host, MachineInfo machine)
    {
        CheckAny(server, host, machine);
        if (VersionOf(machine) is null) return;
        if (machine.ResolvedType is null)
            notes.Add("machine-type", $"{server} at {host}", $"QEMU {machine.Version} at {host} has no machine type "
                + $"{Or(machine.Type, "by default")}; name one that both have");
        if (LosesChanges(machine))
            notes.Warn($"{server} would not be moved back from {host}: QEMU {machine.Version} without KVM needs passes: one there");
        if (machine.CpuIsKnown == false)
            notes.Add("cpu-differs", $"{server} at {host}", $"QEMU {machine.Version} at {host} has no CPU model "
                + $"{machine.Cpu.Split(',')[0]}; name one that both have");
    }

    private void CheckAny(string server, string host, MachineInfo machine)
    {
        if (machine.Unknown is { } unknown)
            notes.Add("machine-unknown", $"{server} at {host}", $"{host} cannot find out what machine it is: {unknown}");
        foreach (MachineDisk disk in machine.Disks)
        {
            string name = disk.Node.Length > 0 ? $"disk {disk.Node}" : "a disk without an id";
            if (disk.Reach == DiskReach.Local)
                notes.Add("disk-local", $"{server} at {host}", $"{name} is {disk.File} of {host} alone: its data does not move with the "
                    + "guest; if the other host has the same file, write its id in sharedDisks at both");
            (string Key, string? Does)[] policies = [("werror", disk.WriteError), ("rerror", disk.ReadError)];
            string[] wrong = [.. policies.Where(p => p.Does is not (null or "stop")).Select(p => $"{p.Key} is {p.Does}")];
            if (wrong.Length > 0)
                notes.Add("disk-errors", $"{server} at {host}", $"of {name} {string.Join(" and ", wrong)}: the guest would see the errors "
                    + "of a disk that is moved; write werror=stop,rerror=stop");
        }
    }

    // All that go to one host need their memory there, also one by one.
    private void CheckMemory(IReadOnlyList<PlacedServer> servers)
    {
        foreach (var at in servers.Where(s => s.AtFrom?.Machine is not null && s.AtTo?.Machine?.HostFreeBytes is not null)
            .GroupBy(s => s.To.Host.Name))
        {
            long need = at.Sum(s => s.AtFrom!.Machine!.MemoryBytes), free = at.Min(s => s.AtTo!.Machine!.HostFreeBytes!.Value);
            if (need > free)
                notes.Add("host-memory", at.Key, $"{string.Join(", ", at.Select(s => s.Server.Name))} need{(at.Count() == 1 ? "s" : "")} "
                    + $"{need >> 20} MiB, {at.Key} has {free >> 20} MiB free");
        }
    }

    private static bool LosesChanges(MachineInfo machine) => machine is { Accelerator: "tcg", OnePass: false }
        && VersionOf(machine) is { } version && version.Major < RightUnderTcg;

    private static Version? VersionOf(MachineInfo machine) => Version.TryParse(machine.Version, out Version? version) ? version : null;

    private static string Mega(double bytes) => (bytes / 1e6).ToString("0.0", CultureInfo.InvariantCulture);

    private static string Or(string text, string otherwise) => text.Length > 0 ? text : otherwise;

    // What the two ends must agree on.
    private sealed class Pair(PlanNotes notes, string server, string fromHost, MachineInfo from, string toHost, MachineInfo to)
    {
        public void Check()
        {
            if (VersionOf(from) is { } old && VersionOf(to) is { } now)
            {
                CheckType(old, now);
                CheckCpu(old, now);
                if (from.Accelerator != to.Accelerator)
                    notes.Add("accelerator-differs", server, $"it runs by {from.Accelerator} at {fromHost} and would run by "
                        + $"{to.Accelerator} at {toHost}; configure the same at both");
            }

            if (from.Processors != to.Processors || from.Topology != to.Topology)
                notes.Add("processors-differ", server, $"it has {Count(from)} at {fromHost} and would have {Count(to)} at {toHost}; write "
                    + "the same -smp at both");
            if (from.MemoryBytes != to.MemoryBytes)
                notes.Add("memory-differs", server, $"it has {Mebi(from.MemoryBytes)} MiB of memory at {fromHost} and would have "
                    + $"{Mebi(to.MemoryBytes)} MiB at {toHost}; write the same -m at both");
            CheckDevices();
        }

        private static string Count(MachineInfo m) => $"{m.Processors} processor{(m.Processors == 1 ? "" : "s")}"
            + (m.Topology.Length > 0 ? $" ({m.Topology})" : "");

        private static string Mebi(long bytes) => (bytes / (double)(1 << 20)).ToString("0.###", CultureInfo.InvariantCulture);

        private static string Typed(MachineInfo m) => m.ResolvedType + (m.Type == m.ResolvedType ? ""
            : $" ({Or(m.Type, "the default")} of QEMU {m.Version})");

        private void CheckType(Version old, Version now)
        {
            if (from.ResolvedType is not { } type || to.ResolvedType is null) return;
            if (type is "none" || type.StartsWith("microvm", StringComparison.Ordinal))
                notes.Add("machine-type", server, $"QEMU does not migrate machines of type {type}; use a versioned one such as pc-q35-7.2");
            else if (type != to.ResolvedType)
                notes.Add("machine-type", server, $"it is a {Typed(from)} at {fromHost} and would be a {Typed(to)} at {toHost}; write "
                    + $"{type} at both");
            else if (!char.IsAsciiDigit(type[^1]) && (old.Major, old.Minor) != (now.Major, now.Minor))
                notes.Add("machine-type", server, $"machine type {type} has no version: QEMU {from.Version} at {fromHost} and {to.Version} "
                    + $"at {toHost} make different machines of it; use a versioned one such as pc-q35-7.2");
            else if (now < old && (old.Major, old.Minor) != (now.Major, now.Minor))
                notes.Warn($"{server} goes from QEMU {from.Version} at {fromHost} to the older {to.Version} at {toHost}: both know {type}, "
                    + "and QEMU promises only the other direction");
            if (from.MachineOptions != to.MachineOptions)
                notes.Add("machine-type", server, $"its machine options are {Or(from.MachineOptions, "none")} at {fromHost} and would be "
                    + $"{Or(to.MachineOptions, "none")} at {toHost}; write the same at both");
        }

        private void CheckCpu(Version old, Version now)
        {
            if (to.CpuIsKnown == false) return;
            if (from.Cpu != to.Cpu)
            {
                notes.Add("cpu-differs", server, $"its CPU is {Or(from.Cpu, "the default")} at {fromHost} and would be "
                    + $"{Or(to.Cpu, "the default")} at {toHost}; write the same -cpu at both");
                return;
            }

            string model = from.Cpu.Split(',')[0];
            if (from.HostCpu is { } here && to.HostCpu is { } there
                && (here.Model != there.Model || !here.Features.SequenceEqual(there.Features)))
            {
                string missing = List(here.Features.Except(there.Features));
                notes.Add("cpu-differs", server, $"its CPU is that of the host (-cpu {model}): {here.Model} at {fromHost}, {there.Model} "
                    + $"at {toHost}, {(missing.Length > 0 ? "which lacks " + missing : "which lacks nothing of it")}; name a CPU model "
                    + "that both have");
            }
            else if (model == "max" && from.HostCpu is null && (old.Major, old.Minor) != (now.Major, now.Minor))
            {
                notes.Add("cpu-differs", server, $"-cpu max is what QEMU {from.Version} at {fromHost} can do, and QEMU {to.Version} at "
                    + $"{toHost} can do something else; name a CPU model");
            }

            if (List(to.CpuMissing.Except(from.CpuMissing)) is { Length: > 0 } lacks)
                notes.Add("cpu-differs", server, $"of its CPU {model} {toHost} does not give it {lacks}, which {fromHost} does; name a CPU "
                    + "model that both have");
            else if (List(from.CpuMissing.Except(to.CpuMissing)) is { Length: > 0 } more)
                notes.Warn($"{server} gets {more} of its CPU {model} at {toHost}, which it does not have at {fromHost}");
        }

        private void CheckDevices()
        {
            List<MachineDevice> only = [.. from.Devices], others = [.. to.Devices];
            foreach (MachineDevice device in from.Devices)
            {
                if (!others.Remove(device)) continue;
                only.Remove(device);
            }

            if (only.Count > 0 || others.Count > 0)
                notes.Add("devices-differ", server, $"only at {fromHost}: {Or(List(only.Select(d => d.ToString())), "none")}; only at "
                    + $"{toHost}: {Or(List(others.Select(d => d.ToString())), "none")}; give both the same devices, ids and addresses");
            else if (!from.Devices.SequenceEqual(to.Devices))
                notes.Add("devices-differ", server, $"{fromHost} and {toHost} have the same devices in another order, and those without an "
                    + "address are placed by their order; write the same order, or an address for each");
        }

        private static string List(IEnumerable<string> names)
        {
            string[] all = [.. names];
            return string.Join(", ", all.Take(Named)) + (all.Length > Named ? $" and {all.Length - Named} more" : "");
        }
    }
}
