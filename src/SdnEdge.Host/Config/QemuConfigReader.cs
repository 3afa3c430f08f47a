using System.Globalization;
using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;

namespace SdnEdge.Host.Config;

/// <summary>
/// Reads how a guest of QEMU is run: by the words of a machine, or by a whole command line (<c>run:</c>). Both come out as a command line.
/// The order of what is written there gives each device its place on the bus, so it is the order of the file: the same at each host.
/// </summary>
internal static class QemuConfigReader
{
    private const string Usual = "/usr/bin/qemu-system-x86_64";

    // Arguments by which the agent itself starts it, or would no more be its master.
    private static readonly string[] s_ours =
        ["-S", "-incoming", "-qmp", "-daemonize", "-pidfile", "-monitor", "-mon", "-loadvm", "-snapshot"];

    // What says the same as a command line does.
    private static readonly string[] s_words =
        ["program", "machine", "cpu", "accelerator", "processors", "memory", "kernel", "initrd", "append", "console", "nics", "disks",
            "arguments"];

    // How long QEMU keeps a disk's requests while its store is away, and waits for it at the start, seconds: a store that is started
    // again is not seen by the guest.
    private const int ReconnectSeconds = 600, OpenSeconds = 10;

    /// <summary>Reads it; null when it is wrong, and the errors say why.</summary>
    /// <param name="map">What is under <c>qemu:</c>.</param>
    /// <param name="store">The site's store; null = there is none.</param>
    public static QemuConfig? Read(MapReader map, SiteStoreConfig? store)
    {
        var volumes = new List<string>();
        List<string> command, shared = [.. map.Texts("sharedDisks").Select(t => t.Item.Text)];
        if (map.Has("run"))
        {
            foreach (string word in s_words.Where(map.Has))
                map.Error(word, "says what run: says already; write a whole command line, or the words of a machine, not both");
            map.Known(s_words);
            command = ReadArguments(map, "run");
            if (command.Count == 0) map.Error("run", "is empty; write QEMU and its arguments");
            else if (!command[0].StartsWith('/'))
                map.Error("run", $"'{command[0]}' is not an absolute path; QEMU is not searched for in PATH");
        }
        else
        {
            command = ReadMachine(map, shared, volumes, store);
        }

        bool onePass = map.Choice("passes", false, ("many", false), ("one", true));
        bool autoConverge = map.Flag("autoConverge", false);
        if (onePass && autoConverge) map.Error("autoConverge",
            "slows a guest down from pass to pass, and passes: one allows one; leave one of them out");
        QemuSockets? given = ReadGiven(map);
        map.Finish();
        return command.Count == 0 ? null : new QemuConfig(
            command, onePass, autoConverge, given, shared.Count > 0 ? shared : null, volumes.Count > 0 ? volumes : null);
    }

    private static List<string> ReadArguments(MapReader map, string key)
    {
        var words = new List<string>();
        foreach ((YamlText item, string path) in map.Texts(key))
        {
            words.Add(item.Text);
            if (s_ours.Contains(item.Text.StartsWith("--", StringComparison.Ordinal) ? item.Text[1..] : item.Text))
                map.Errors.Add(item, path, $"'{item.Text}' is the agent's own to say; leave it out");
        }

        return words;
    }

    private static List<string> ReadMachine(
        MapReader map, List<string> shared, List<string> volumes, SiteStoreConfig? store)
    {
        string program = map.Text("program", required: false, Usual) ?? Usual;
        if (!program.StartsWith('/')) map.Error("program", $"'{program}' is not an absolute path; QEMU is not searched for in PATH");
        string machine = map.Text("machine", required: true, "pc-q35-7.2") ?? "";
        string cpu = map.Text("cpu", required: true, "host, or a model that both hosts have") ?? "";
        string accelerator = map.Choice("accelerator", "kvm", ("kvm", "kvm"), ("tcg", "tcg"));
        long processors = map.Number("processors", 1, 1024, 1);
        long memory = map.Number("memory", 16, 16 << 20, 0, required: true);
        List<string> command =
        [
            program, "-machine", machine, "-accel", accelerator, "-cpu", cpu, "-smp", Number(processors), "-m", Number(memory), "-display",
            "none", "-nodefaults", "-no-user-config",
        ];
        foreach ((string key, string option) in ((string, string)[])[("kernel", "-kernel"), ("initrd", "-initrd"), ("append", "-append")])
        {
            if (map.Text(key) is not { Length: > 0 } text) continue;
            if (key == "append" && !map.Has("kernel")) map.Error("append", "needs a kernel: it is that kernel's command line");
            command.AddRange([option, text]);
        }

        if (map.Text("console") is { Length: > 0 } console) command.AddRange(["-serial", "file:" + Escaped(console)]);
        ReadNics(map, command);
        ReadDisks(map, command, shared, volumes, store);
        command.AddRange(ReadArguments(map, "arguments"));
        return command;
    }

    private static void ReadNics(MapReader map, List<string> command)
    {
        int n = 0;
        foreach (MapReader nic in map.Maps("nics"))
        {
            string tap = nic.Text("tap", required: true, "vs0") ?? "";
            if (tap.Length > NodeConfigLoader.MaxDeviceName || tap.Any(c => c is '/' or ',' || char.IsWhiteSpace(c)))
                nic.Error("tap", $"'{tap}' is not a device name; write 1 to {NodeConfigLoader.MaxDeviceName} characters without '/', ',' "
                    + $"or "
                    + "spaces");
            MacAddress mac = default;
            if (nic.Text("mac", required: true, "\"02:00:00:00:01:10\"") is { } text
                && (!MacAddress.TryParse(text, null, out mac) || mac.IsMulticast || mac.Value == 0))
            {
                nic.Error("mac", $"'{text}' is not the MAC address of a station; write six hex octets in quotes, \"02:00:00:00:01:10\"");
            }

            nic.Finish();
            command.AddRange(["-netdev", $"tap,id=nic{n},ifname={tap},script=no,downscript=no", "-device",
                $"virtio-net-pci,id=net{n},netdev=nic{n},mac={mac},romfile="]);
            n++;
        }
    }

    // A disk that fails stops the guest, and nothing is lost: what was asked is asked again when it goes on.
    private static void ReadDisks(
        MapReader map, List<string> command, List<string> shared, List<string> volumes, SiteStoreConfig? store)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (MapReader disk in map.Maps("disks"))
        {
            string name = disk.Name("name", "root");
            if (!names.Add(name)) disk.Error("name", $"'{name}' is there twice; each disk is named once");
            string device = $"virtio-blk-pci,id=disk-{name},drive={name},werror=stop,rerror=stop";
            if (disk.Has("volume"))
            {
                string volume = disk.Name("volume", "vs-root");
                foreach (string key in (string[])["file", "format", "shared"])
                    if (disk.Has(key)) disk.Error(key,
                        "says where a file is, and volume: names one of the site's store; write one of them");
                if (store is null) disk.Error("volume", "needs the site's store; write store: { api: /run/sdnedge/store-a.sock, nbd: "
                    + "/run/sdnedge/store-a.nbd } at the top of the file");
                if (volumes.Contains(volume)) disk.Error("volume", $"'{volume}' is there twice; a volume is one disk");
                disk.Finish();
                volumes.Add(volume);
                shared.Add(name);
                command.AddRange(["-blockdev", $"driver=nbd,node-name={name},server.type=unix,server.path={Escaped(store?.Nbd ?? "")},"
                    + $"export={volume},reconnect-delay={Number(ReconnectSeconds)},open-timeout={Number(OpenSeconds)}", "-device", device]);
                continue;
            }

            string format = disk.Choice("format", "raw", ("raw", "raw"), ("qcow2", "qcow2"));
            string file = disk.Text("file", required: true, "/var/lib/vs/root.img") ?? "";
            if (!file.StartsWith('/')) disk.Error("file", $"'{file}' is not an absolute path");
            if (disk.Flag("shared", false)) shared.Add(name);
            disk.Finish();
            command.AddRange(["-blockdev", $"driver={format},node-name={name},file.driver=file,file.filename={Escaped(file)}", "-device",
                device]);
        }
    }

    private static QemuSockets? ReadGiven(MapReader map)
    {
        if (map.Map("given") is not { } given) return null;
        string main = Socket("qmp", "/run/vs/qmp"), rescue = Socket("rescue", "/run/vs/qmp-rescue");
        if (main == rescue) given.Error("rescue", "is the same socket as qmp; QEMU answers one client a socket, and two are needed");
        given.Finish();
        return new QemuSockets(main, rescue);

        string Socket(string key, string example)
        {
            string path = given.Text(key, required: true, example) ?? "";
            if (!path.StartsWith('/')) given.Error(key, $"'{path}' is not an absolute path; write a monitor's socket, as {example}");
            return path;
        }
    }

    // In QEMU's option lists a comma ends a value, and two are one.
    private static string Escaped(string value) => value.Replace(",", ",,", StringComparison.Ordinal);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}
