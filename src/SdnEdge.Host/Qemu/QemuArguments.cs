using System.Globalization;
using SdnEdge.Core.Api;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// What a command line of QEMU says of the machine that it makes: pure reading, nothing is asked. It keeps what the guest or a migration
/// sees and leaves out what is the host's own (back ends, paths, sockets). Whatever the arguments are, reading them does not fail: what is
/// wrong with them is QEMU's to say.
/// </summary>
public sealed class QemuArguments
{
    // Memory where none is said.
    private const long DefaultMemory = 128L << 20;

    // Options without a value. All others that are not known have one if the next word does not begin with a dash.
    private static readonly HashSet<string> s_flags =
    [
        "h", "help", "version", "S", "s", "nodefaults", "no-user-config", "enable-kvm", "snapshot", "nographic", "no-reboot", "no-shutdown",
        "no-acpi", "no-hpet", "usb", "daemonize", "singlestep", "mem-prealloc", "full-screen", "no-fd-bootchk", "enable-fips", "alt-grab",
        "ctrl-grab", "no-quit", "preconfig", "only-migratable", "win2k-hack", "semihosting", "sdl", "gtk", "curses", "enable-sync-profile",
    ];

    // Options whose value is the next word, whatever that is.
    private static readonly HashSet<string> s_read =
    [
        "machine", "M", "cpu", "accel", "m", "smp", "device", "drive", "blockdev", "global", "numa", "object", "nic", "net", "vga",
        "serial", "parallel", "usbdevice", "virtfs", "watchdog", "bios", "icount", "smbios", "acpitable", "fw_cfg", "cdrom",
        "hda", "hdb", "hdc", "hdd", "fda", "fdb", "sd", "mtdblock", "pflash", "append", "kernel", "initrd", "L",
        "netdev", "chardev", "name", "display",
    ];

    // Of a device: back ends and what only this host has to do with. The address and the id are compared by themselves.
    private static readonly HashSet<string> s_ofHost =
    [
        "driver", "id", "bus", "addr", "netdev", "drive", "chardev", "memdev", "mem-path", "fsdev", "audiodev", "rng", "iothread",
        "bootindex", "werror", "rerror", "vhostfd", "vhostforce", "vhost", "tpmdev", "cryptodev", "path", "sock", "backend",
    ];

    private static readonly HashSet<string> s_machineOfHost =
        ["accel", "dump-guest-core", "mem-merge", "pflash0", "pflash1", "type", "dtb", "kernel", "initrd", "append", "firmware"];

    private readonly List<MachineDevice> _devices = [];
    private readonly List<QemuOption> _attached = [];
    private readonly List<(string Option, QemuOption Value)> _disks = [];
    private readonly List<string> _accelerators = [];
    private readonly Dictionary<string, QemuOption> _drives = new(StringComparer.Ordinal), _blockdevs = new(StringComparer.Ordinal);
    private QemuOption _machine = QemuOption.None;
    private QemuOption _smp = QemuOption.None;
    private bool _nodefaults;

    private QemuArguments(IReadOnlyList<string> program) => Program = program;

    /// <summary>What starts QEMU: the words before the first option.</summary>
    public IReadOnlyList<string> Program { get; }

    /// <summary>Machine type; empty = the default one.</summary>
    public string Type { get; private set; } = "";

    /// <summary>The machine's options that both ends must agree on, in alphabetical order.</summary>
    public string MachineOptions { get; private set; } = "";

    /// <summary>CPU model and flags, those in alphabetical order; empty = the default one.</summary>
    public string Cpu { get; private set; } = "";

    /// <summary>The CPU model alone.</summary>
    public string CpuModel => Cpu.Split(',')[0];

    /// <summary>Accelerators in the order in which they are tried; none said = tcg.</summary>
    public IReadOnlyList<string> Accelerators => _accelerators.Count > 0 ? _accelerators : ["tcg"];

    /// <summary>Virtual processors at its start.</summary>
    public int Processors { get; private set; } = 1;

    /// <summary>Sockets, cores, threads and the most processors, in alphabetical order; empty = not said.</summary>
    public string Topology { get; private set; } = "";

    /// <summary>Memory, bytes.</summary>
    public long MemoryBytes { get; private set; } = DefaultMemory;

    /// <summary>Devices: those with an address by address, then the others in their order.</summary>
    public IReadOnlyList<MachineDevice> Devices { get; private set; } = [];

    /// <summary>Disks in the order of the arguments.</summary>
    public IReadOnlyList<MachineDisk> Disks { get; private set; } = [];

    /// <summary>Reads a command line.</summary>
    /// <param name="command">QEMU and its arguments.</param>
    /// <param name="sharedDisks">Drives and block nodes whose files the other hosts have too.</param>
    public static QemuArguments Read(IReadOnlyList<string> command, IReadOnlyCollection<string>? sharedDisks = null)
    {
        ArgumentNullException.ThrowIfNull(command);
        string[] program = [.. command.TakeWhile((word, i) => i == 0 || !word.StartsWith('-'))];
        var read = new QemuArguments(program);
        for (int i = program.Length; i < command.Count;)
        {
            string word = command[i++];
            if (!word.StartsWith('-') || word.Length == 1)
            {
                // Not an option and no value of one: the image of the first disk.
                read.Take("hda", word);
                continue;
            }

            string option = word.StartsWith("--", StringComparison.Ordinal) ? word[2..] : word[1..];
            bool hasValue = i < command.Count && !s_flags.Contains(option)
                && (s_read.Contains(option) || !command[i].StartsWith('-') || command[i].Length == 1);
            read.Take(option, hasValue ? command[i++] : "");
        }

        read.Finish(sharedDisks ?? []);
        return read;
    }

    private void Take(string option, string value)
    {
        switch (option)
        {
            case "machine" or "M":
                _machine = _machine.With(QemuOption.Parse(value, "type"));
                break;
            case "cpu":
                string[] parts = value.Split(',');
                Cpu = string.Join(',', parts.Take(1).Concat(parts.Skip(1).Where(p => p.Length > 0)
                    .Select(p => p.EndsWith("=on", StringComparison.Ordinal) ? "+" + p[..^3]
                        : p.EndsWith("=off", StringComparison.Ordinal) ? "-" + p[..^4]
                        : p.StartsWith('+') || p.StartsWith('-') || p.Contains('=', StringComparison.Ordinal) ? p : "+" + p)
                    .Distinct().Order(StringComparer.Ordinal)));
                break;
            case "accel":
                _accelerators.Add(QemuOption.Parse(value, "accel")["accel"] ?? "");
                break;
            case "enable-kvm":
                _accelerators.Add("kvm");
                break;
            case "m":
                if (QemuOption.Parse(value, "size") is var memory && memory["size"] is { } size) MemoryBytes = Size(size, 1L << 20);
                if (memory["maxmem"] is { } most) Add("memory", Props(("maxmem", most), ("slots", memory["slots"])));
                break;
            case "smp":
                _smp = QemuOption.Parse(value, "cpus");
                break;
            case "nodefaults":
                _nodefaults = true;
                break;
            case "device":
                _attached.Add(QemuOption.Parse(value, "driver"));
                break;
            case "drive":
                QemuOption drive = QemuOption.Parse(value, "file");
                if (drive["if"] is "none") _drives[drive["id"] ?? ""] = drive;
                else _disks.Add((option, drive));
                break;
            case "blockdev":
                QemuOption node = QemuOption.Parse(value, "driver");
                _blockdevs[node["node-name"] ?? ""] = node;
                break;
            case "hda" or "hdb" or "hdc" or "hdd" or "cdrom" or "fda" or "fdb" or "sd" or "mtdblock" or "pflash":
                _disks.Add((option, QemuOption.Of(("file", value), ("if", option is "pflash" ? "pflash" : null),
                    ("readonly", option is "cdrom" ? "on" : null))));
                break;
            case "object":
                QemuOption thing = QemuOption.Parse(value, "qom-type");
                if (thing["qom-type"] is { } kind && kind.StartsWith("memory-backend", StringComparison.Ordinal))
                    Add("memory-backend", Props(("size", thing["size"] is { } bytes
                        ? Size(bytes, 1).ToString(CultureInfo.InvariantCulture) : null)), thing["id"] ?? "");
                break;
            case "numa":
                QemuOption numa = QemuOption.Parse(value, "type");
                Add("numa", numa.Text("memdev"));
                break;
            case "nic":
                QemuOption nic = QemuOption.Parse(value, "type");
                Add("nic", Props(("mac", nic["mac"]), ("model", nic["model"]), ("none", nic["type"] is "none" ? "on" : null)),
                    nic["id"] ?? "");
                break;
            case "net":
                QemuOption net = QemuOption.Parse(value, "type");
                if (net["type"] is "nic" or "none") Add("nic", Props(("mac", net["macaddr"]), ("model", net["model"]),
                    ("none", net["type"] is "none" ? "on" : null)));
                break;
            case "virtfs":
                Add("virtfs", Props(("mount_tag", QemuOption.Parse(value, "fsdriver")["mount_tag"])));
                break;
            case "serial" or "parallel":
                if (value != "none") Add(option, "");
                break;
            case "bios":
                Add(option, Path.GetFileName(value));
                break;
            case "fw_cfg":
                Add(option, QemuOption.Parse(value, "name")["name"] ?? "");
                break;
            case "vga" or "usbdevice" or "watchdog" or "icount" or "global":
                Add(option, value);
                break;
            case "smbios" or "acpitable":
                Add(option, QemuOption.Parse(value, "").Text("file", "data"));
                break;
            case "usb":
                Add(option, "");
                break;
        }
    }

    private void Finish(IReadOnlyCollection<string> sharedDisks)
    {
        Type = _machine["type"] ?? "";
        MachineOptions = _machine.Text([.. s_machineOfHost]);
        if (_machine["accel"] is { } accel) _accelerators.AddRange(accel.Split(':'));
        _accelerators.RemoveAll(a => a.Length == 0);
        int Number(string key) => int.TryParse(_smp[key], NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n > 0 ? n : 0;
        long product = Math.Max(1, (long)Number("sockets")) * Math.Max(1, Number("dies")) * Math.Max(1, Number("clusters"))
            * Math.Max(1, Number("cores")) * Math.Max(1, Number("threads"));
        Processors = Number("cpus") is > 0 and var cpus ? cpus : Number("maxcpus") is > 0 and var most ? most
            : (int)Math.Min(int.MaxValue, product);
        Topology = _smp.Text("cpus");
        if (!_nodefaults) Add("defaults", "");

        var disks = new List<MachineDisk>();
        foreach (QemuOption device in _attached)
        {
            Add(device["driver"] ?? "", device.Text([.. s_ofHost]), device["id"] ?? "", AddressOf(device));
            if (device["drive"] is { } drive && DiskOf(drive, device, sharedDisks) is { } disk) disks.Add(disk);
        }

        foreach ((string option, QemuOption drive) in _disks)
        {
            Add(option is "drive" ? $"drive if={drive["if"] ?? "default"}" : option, Props(("index", drive["index"]),
                ("media", drive["media"])), drive["id"] ?? "");
            disks.Add(DiskOf(drive, QemuOption.None, sharedDisks, drive["if"] is "pflash"));
        }

        foreach (string key in (string[])["pflash0", "pflash1"])
        {
            if (_machine[key] is { } node && _blockdevs.TryGetValue(node, out QemuOption? flash))
                disks.Add(DiskOf(flash, QemuOption.None, sharedDisks, hasNoPolicy: true));
        }

        Disks = disks;

        // Several serial ports, or disks without an index, are told apart by their order; what has an address is where that says.
        Devices =
        [
            .. _devices.Where(IsPlaced).OrderBy(d => d.Address, StringComparer.Ordinal).ThenBy(d => d.Kind, StringComparer.Ordinal)
                .ThenBy(d => d.Id, StringComparer.Ordinal).ThenBy(d => d.Properties, StringComparer.Ordinal),
            .. _devices.Where(d => !IsPlaced(d)),
        ];
    }

    // Its place does not depend on what is before it.
    private static bool IsPlaced(MachineDevice device) => device.Address.Length > 0 || device.Kind is "global" or "numa" or "memory"
        or "memory-backend" or "defaults" or "vga" or "icount" or "bios" or "usb" or "smbios" or "acpitable" or "fw_cfg";

    private void Add(string kind, string properties, string id = "", string address = "")
        => _devices.Add(new MachineDevice(kind, id, address, properties));

    private static string Props(params (string Key, string? Value)[] pairs)
        => string.Join(',', pairs.Where(p => p.Value is not null).OrderBy(p => p.Key, StringComparer.Ordinal)
            .Select(p => $"{p.Key}={p.Value}"));

    // Slot and function of a PCI address are hexadecimal, with or without 0x; other buses' addresses stay as they are.
    private static string AddressOf(QemuOption device)
    {
        string bus = device["bus"] ?? "", address = device["addr"] ?? "";
        string[] parts = address.Split('.');
        if (parts.Length <= 2 && Hex(parts[0]) is { } slot && Hex(parts.Length > 1 ? parts[1] : "0") is { } function)
            address = string.Create(CultureInfo.InvariantCulture, $"{slot:x}.{function:x}");
        return address.Length > 0 ? $"{bus}/{address}" : bus;

        static int? Hex(string text) => int.TryParse(text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text[2..] : text,
            NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int value) ? value : null;
    }

    private MachineDisk? DiskOf(string name, QemuOption device, IReadOnlyCollection<string> shared)
        => _drives.TryGetValue(name, out QemuOption? drive) ? DiskOf(drive, device, shared)
            : _blockdevs.TryGetValue(name, out QemuOption? node) ? DiskOf(node, device, shared) : null;

    /// <summary>A disk that was plugged in while the guest ran: nobody says what it does when it fails.</summary>
    /// <param name="node">Its block node or drive.</param>
    /// <param name="file">Where its data is.</param>
    /// <param name="readOnly">True: the guest only reads it.</param>
    internal static MachineDisk DiskOf(string node, string file, bool readOnly)
        => new(node, file, Location(file).Reach, readOnly, null, null);

    // What the device says of errors is before what the drive says.
    private MachineDisk DiskOf(QemuOption drive, QemuOption device, IReadOnlyCollection<string> shared, bool hasNoPolicy = false)
    {
        string name = drive["id"] ?? drive["node-name"] ?? "";
        (DiskReach reach, string file) = ReachOf(drive, 0);
        if (reach == DiskReach.Local && shared.Contains(name)) reach = DiskReach.Shared;
        bool readOnly = (drive["readonly"] ?? drive["read-only"]) is "on" or "true" || drive["media"] is "cdrom"
            || (device["driver"] ?? "").EndsWith("-cd", StringComparison.Ordinal);
        bool noPolicy = hasNoPolicy || reach == DiskReach.None;
        string write = Policy("werror", "enospc"), read = Policy("rerror", "report");
        return new MachineDisk(name, file, reach, readOnly, noPolicy || readOnly ? null : write, noPolicy ? null : read,
            ReconnectOf(drive, 0));

        string Policy(string key, string usual) => (device[key] ?? drive[key]) is { } said and not "auto" ? said : usual;
    }

    private static readonly string[] s_network =
        ["nbd", "rbd", "iscsi", "http", "https", "ftp", "ftps", "nfs", "ssh", "gluster", "sheepdog", "vxhs"];

    // A node is as near as the nearest of those that it stands on.
    private (DiskReach Reach, string File) ReachOf(QemuOption node, int depth)
    {
        if (depth > 16) return (DiskReach.Local, "a chain of nodes without an end");
        string driver = node["driver"] ?? "";
        if (driver is "null-co" or "null-aio") return (DiskReach.None, driver);
        if (s_network.Any(n => driver.StartsWith(n, StringComparison.Ordinal))) return (DiskReach.Network, driver);
        if (driver is "file" or "host_device" or "host_cdrom" or "nvme")
            return (DiskReach.Local, node["filename"] ?? node["file.filename"] ?? node["file"] ?? driver);

        // With a format in between: a reference to another node, or that node's own options below.
        var below = new List<(DiskReach Reach, string File)>();
        foreach (string child in (string[])["file", "backing", "data-file"])
        {
            if (node.Under(child) is { } inline) below.Add(ReachOf(inline, depth + 1));
            else if (node[child] is { } said) below.Add(_blockdevs.TryGetValue(said, out QemuOption? other) ? ReachOf(other, depth + 1)
                : Location(said));
        }

        if (below.Count == 0 && node["filename"] is { } name) below.Add(Location(name));
        return below.Count == 0 ? (driver.Length == 0 ? (DiskReach.None, "no medium") : (DiskReach.Local, driver))
            : below.OrderBy(b => b.Reach).First();
    }

    // How long the NBD node that it stands on waits for its server; null = it stands on none.
    private int? ReconnectOf(QemuOption node, int depth)
    {
        if (depth > 16) return null;
        bool byName = (node["driver"] ?? "").Length > 0 && node["driver"] is not "nbd";
        string? file = node["file"] ?? node["filename"];
        if (node["driver"] is "nbd" || (!byName && file is not null && file.StartsWith("nbd", StringComparison.Ordinal)))
            return int.TryParse(node["reconnect-delay"] ?? node["file.reconnect-delay"], NumberStyles.None, CultureInfo.InvariantCulture,
                out int seconds) ? seconds : 0;
        foreach (string child in (string[])["file", "backing", "data-file"])
        {
            int? below = node.Under(child) is { } inline ? ReconnectOf(inline, depth + 1)
                : node[child] is { } said && _blockdevs.TryGetValue(said, out QemuOption? other) ? ReconnectOf(other, depth + 1) : null;
            if (below is not null) return below;
        }

        return null;
    }

    private static (DiskReach Reach, string File) Location(string file)
    {
        if (file.Length == 0) return (DiskReach.None, "no medium");
        int colon = file.IndexOf(':', StringComparison.Ordinal);
        string scheme = colon > 0 ? file[..colon] : "";
        return s_network.Any(n => scheme.StartsWith(n, StringComparison.Ordinal)) ? (DiskReach.Network, file)
            : scheme is "null-co" or "null-aio" ? (DiskReach.None, file) : (DiskReach.Local, file);
    }

    // Binary units, as QEMU has them. Nonsense is 0: QEMU refuses it.
    private static long Size(string text, long unit)
    {
        string digits = text.Trim();
        if (digits.Length > 0 && "bkmgtpe".IndexOf(char.ToLowerInvariant(digits[^1]), StringComparison.Ordinal) is >= 0 and var power)
            (digits, unit) = (digits[..^1], 1L << (10 * power));
        return double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
            && value * unit < long.MaxValue ? (long)(value * unit) : 0;
    }
}
