namespace SdnEdge.Core.Api;

/// <summary>
/// The virtual machine that a server is, as its host has it: the one that runs there, or the one that would be started there. Both ends of
/// a migration must agree on it.
/// </summary>
/// <param name="Hypervisor">Its kind: qemu.</param>
/// <param name="Version">The hypervisor's version, e.g. <c>10.0.2</c>; empty = not known.</param>
/// <param name="Accelerator">tcg (emulation) or kvm.</param>
/// <param name="Type">Machine type as it was asked for, e.g. <c>pc-q35-7.2</c> or the alias <c>q35</c>; empty = the default one.</param>
/// <param name="Cpu">CPU model with its flags in alphabetical order, e.g. <c>qemu64,+aes</c>; empty = the default one.</param>
/// <param name="Processors">Virtual processors.</param>
/// <param name="MemoryBytes">Its memory, bytes.</param>
public sealed record MachineInfo(
    string Hypervisor, string Version, string Accelerator, string Type, string Cpu, int Processors, long MemoryBytes)
{
    /// <summary>What could not be found out, and why, for people; null = all of it is known.</summary>
    public string? Unknown { get; init; }

    /// <summary>True: this is what runs there, by its own word. False: this is what would be started.</summary>
    public bool IsSeen { get; init; }

    /// <summary>The machine type behind <see cref="Type"/> by the hypervisor's word; null = it has no such type, or it is not
    /// known.</summary>
    public string? ResolvedType { get; init; }

    /// <summary>Options of the machine type, in alphabetical order, but for those that are the host's own.</summary>
    public string MachineOptions { get; init; } = "";

    /// <summary>Sockets, cores and threads as they were asked for, in alphabetical order; empty = the default.</summary>
    public string Topology { get; init; } = "";

    /// <summary>Whether the hypervisor there knows the CPU model; null = not known.</summary>
    public bool? CpuIsKnown { get; init; }

    /// <summary>Features of the CPU model that a guest does not have on this host, with this accelerator; in alphabetical order.</summary>
    public IReadOnlyList<string> CpuMissing { get; init; } = [];

    /// <summary>The host's own processor, where the guest's CPU model is that; null = the guest does not depend on it.</summary>
    public HostCpuInfo? HostCpu { get; init; }

    /// <summary>Devices: those with an address of their own by address, then the others in the order in which they are placed.</summary>
    public IReadOnlyList<MachineDevice> Devices { get; init; } = [];

    /// <summary>Disks.</summary>
    public IReadOnlyList<MachineDisk> Disks { get; init; } = [];

    /// <summary>Why the hypervisor cannot migrate it now, in its own words; empty = it can, or it does not run.</summary>
    public IReadOnlyList<string> Blocked { get; init; } = [];

    /// <summary>Memory that programs on this host may still have, bytes (MemAvailable); null = not known.</summary>
    public long? HostFreeBytes { get; init; }

    /// <summary>True: its memory is copied in one pass from here, and the rest when it stands still.</summary>
    public bool OnePass { get; init; }

    /// <summary>True: it is slowed down when it changes its memory faster than that is copied.</summary>
    public bool AutoConverge { get; init; }

    /// <summary>
    /// Rate at which the guest changes its memory, bytes per second, as it was measured last; null = not known. It cannot be more than its
    /// memory a second.
    /// </summary>
    public double? DirtyBytesPerSecond { get; init; }

    /// <summary>Rate at which memory may be sent from this host, bytes per second; null = not configured.</summary>
    public double? BandwidthBytesPerSecond { get; init; }
}

/// <summary>The processor of a host.</summary>
/// <param name="Model">Its vendor and name.</param>
/// <param name="Features">Its features, in alphabetical order.</param>
public sealed record HostCpuInfo(string Model, IReadOnlyList<string> Features);

/// <summary>A device of a virtual machine.</summary>
/// <param name="Kind">What it is, e.g. <c>virtio-net-pci</c>.</param>
/// <param name="Id">Its id; empty = it has none.</param>
/// <param name="Address">Its bus and address on it, e.g. <c>pcie.0/3.0</c>; empty = the next that is free.</param>
/// <param name="Properties">Its other properties that the guest or the migration sees, in alphabetical order.</param>
public sealed record MachineDevice(string Kind, string Id, string Address, string Properties)
{
    /// <summary>As people write it.</summary>
    public override string ToString() => $"{Kind}{(Id.Length > 0 ? $" id {Id}" : "")}{(Address.Length > 0 ? $" at {Address}" : "")}"
        + (Properties.Length > 0 ? $" ({Properties})" : "");
}

/// <summary>Whose a disk's data is.</summary>
public enum DiskReach
{
    /// <summary>A file or a device of this host; no other has it.</summary>
    Local,
    /// <summary>The configuration says that the other hosts have the same.</summary>
    Shared,
    /// <summary>It is had by network.</summary>
    Network,
    /// <summary>There is no data: no medium, or one that is nothing.</summary>
    None,
}

/// <summary>A disk of a virtual machine.</summary>
/// <param name="Node">The name by which the machine has it: of its block node or drive; empty = it has none.</param>
/// <param name="File">Where its data is, for people.</param>
/// <param name="Reach">Whose that is.</param>
/// <param name="ReadOnly">True: the guest only reads it.</param>
/// <param name="WriteError">What happens when a write fails: stop, report, ignore, enospc; null = that is asked of no such disk.</param>
/// <param name="ReadError">What happens when a read fails; null = that is asked of no such disk.</param>
/// <param name="ReconnectSeconds">How long its requests wait for an NBD server that is gone, seconds; 0 = they fail at once; null = it is
/// not had by NBD, or an agent of an older version does not say.</param>
public sealed record MachineDisk(
    string Node, string File, DiskReach Reach, bool ReadOnly, string? WriteError, string? ReadError, int? ReconnectSeconds = null);
