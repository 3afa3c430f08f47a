using System.Diagnostics;

namespace SdnEdge.Benchmarks.Netns;

/// <summary>
/// Open vSwitch's userspace datapath with two TAP ports, with a database and sockets of its own inside the rig. It does the
/// same as we do to an IPv4 packet (new Ethernet addresses, TTL less one), by one flow.
/// </summary>
internal sealed class OpenVSwitch
{
    private readonly Rig _rig;
    private readonly string _database;

    private OpenVSwitch(Rig rig, Process process)
    {
        _rig = rig;
        _database = $"--db=unix:{rig.Folder}/db.sock";
        Process = process;
    }

    /// <summary>The switch's process.</summary>
    public Process Process { get; }

    /// <summary>True when the programs are here.</summary>
    public static bool IsInstalled => File.Exists("/usr/sbin/ovs-vswitchd") && File.Exists("/usr/sbin/ovsdb-server");

    public static OpenVSwitch Start(Rig rig, int core, string input, string output)
    {
        foreach (string kind in new[] { "RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR" }) rig.Variables["OVS_" + kind] = rig.Folder;
        rig.Inside("ovsdb-tool", "create", $"{rig.Folder}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema");
        rig.Start(1 - core, "ovsdb-server", $"{rig.Folder}/conf.db", $"--remote=punix:{rig.Folder}/db.sock",
            $"--unixctl={rig.Folder}/ovsdb.ctl", "-vconsole:off");
        WaitFor($"{rig.Folder}/db.sock");
        rig.Inside("ovs-vsctl", $"--db=unix:{rig.Folder}/db.sock", "--no-wait", "init");
        Process process = rig.Start(core, "ovs-vswitchd", $"unix:{rig.Folder}/db.sock", "--disable-system",
            $"--unixctl={rig.Folder}/vswitchd.ctl", "-vconsole:off");
        var ovs = new OpenVSwitch(rig, process);
        ovs.Set("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure");
        ovs.AddTap(input, 1);
        ovs.AddTap(output, 2);
        rig.Inside("ovs-ofctl", "add-flow", "br0",
            "in_port=1,ip,actions=mod_dl_src:02:00:00:00:00:21,mod_dl_dst:02:00:00:00:00:22,dec_ttl,output:2");
        return ovs;
    }

    private static void WaitFor(string socket)
    {
        var watch = Stopwatch.StartNew();
        while (!File.Exists(socket))
        {
            if (watch.Elapsed > TimeSpan.FromSeconds(10)) throw new InvalidOperationException($"ovsdb-server did not open {socket}");
            Thread.Sleep(10);
        }
    }

    private void AddTap(string device, int port)
    {
        Set("add-port", "br0", device, "--", "set", "interface", device, "type=tap", $"ofport_request={port}");
        _rig.Inside("ip", "link", "set", device, "up", "txqueuelen", NetnsCommand.QueueLength);
    }

    private void Set(params string[] arguments) => _rig.Inside("ovs-vsctl", [_database, "--timeout=20", .. arguments]);
}
