using System.Diagnostics;
using SdnEdge.Core.Api;
using SdnEdge.Core.Config;
using SdnEdge.Host.Config;
using SdnEdge.Host.Tests.Qemu;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Drivers;

/// <summary>
/// A virtual machine of Debian's libvirt moves by the exec driver and examples/virsh-step. Two libvirtd, each in a mount namespace of its
/// own with its own folders; QEMU is the system's 7.2, which copies the memory of a guest that stands still as it is.
/// </summary>
public sealed class LibvirtTests
{
    [RootFact]
    public async Task A_virtual_machine_of_libvirt_moves_by_the_exec_driver()
    {
        using var root = new Root();
        using var a = new Libvirt(root.Path, "a");
        using var b = new Libvirt(root.Path, "b");
        await a.AnswersAsync();
        await b.AnswersAsync();
        int portA = Guest.FreePort(), portB = Guest.FreePort();
        string xml = System.IO.Path.Combine(root.Path, "vs.xml"), there = System.IO.Path.Combine(root.Path, "vs-b.xml");
        await File.WriteAllTextAsync(xml, Domain(root.Path, portA));
        await VirshAsync(a, "create", xml);
        (long ticks, _) = await Guest.CountsAsync(portA, Patience.Time * 2);
        string defined = await VirshAsync(a, "dumpxml", "--migratable", "vs");
        await File.WriteAllTextAsync(there, defined.Replace($":{portA}-", $":{portB}-", StringComparison.Ordinal)
            .Replace("/said-by-a", "/said-by-b", StringComparison.Ordinal));

        await using HostAgent hostA = await HostAgent.StartAsync(Config(root.Path, a, b, runs: true, there));
        await using HostAgent hostB = await HostAgent.StartAsync(Config(root.Path, b, a, runs: false, there));
        await UntilAsync(hostA, ServerState.Running);
        await UntilAsync(hostB, ServerState.Absent);
        Assert.False(hostA.Server("vs").Undoable);
        Assert.Equal(ServerState.Incoming, (await OrderAsync(hostB, ServerOrder.Prepare, MigrationRole.Target)).State);
        await OrderAsync(hostA, ServerOrder.Prepare, MigrationRole.Source);
        Assert.Equal(ServerState.Paused, (await OrderAsync(hostA, ServerOrder.Stop)).State);
        Assert.Equal("paused", (await VirshAsync(a, "domstate", "vs")).Trim());

        // The pivot, then the hand-over; a second order finds it done.
        await OrderAsync(hostA, ServerOrder.HandOver);
        Assert.True((await OrderAsync(hostA, ServerOrder.HandOver)).Repeated);
        Assert.Equal("", (await VirshAsync(a, "list", "--all", "--name")).Trim());
        Assert.Equal(ServerState.Running, (await OrderAsync(hostB, ServerOrder.Activate)).State);
        await OrderAsync(hostA, ServerOrder.Retire);
        Assert.Equal(ServerState.Absent, hostA.Server("vs").State);
        (long later, long bad) = await Guest.CountsAsync(portB, Patience.Time * 2);
        Assert.True(later >= ticks && bad == 0, $"{ticks} ticks before, {later} after, {bad} words of memory wrong");
    }

    private static Task<ServerReply> OrderAsync(HostAgent agent, ServerOrder order, MigrationRole? role = null)
        => agent.OrderAsync("vs", order, new ServerOrderRequest(1, "m1", role, role is null ? null : "peer"), default);

    private static Task UntilAsync(HostAgent agent, ServerState state)
        => Patience.UntilAsync(() => agent.Server("vs").State == state, () => $"the server is {agent.Server("vs")}");

    private static HostAgentConfig Config(string root, Libvirt here, Libvirt there, bool runs, string xmlThere)
    {
        string state = System.IO.Path.Combine(root, here.Name, "agent"), script = Example();
        ExecStep Step(string name, params string[] more)
            => new([script, name, "vs", here.Uri, there.Uri, System.IO.Path.Combine(root, here.Name, "steps"), .. more], Patience.Time);
        return new HostAgentConfig("host-" + here.Name, "dc-" + here.Name,
            new ApiConfig(System.IO.Path.Combine(root, here.Name, "api.sock")), state,
            [
                new ServerConfig("vs", runs, new ExecConfig(
                    Undoable: false, Step("look"), Step("prepare"), Step("stop"),
                    Step("handOver", "--migrateuri", $"unix://{root}/migration", "--xml", xmlThere), Step("activate"), Step("resume"),
                    Step("cancel"), Step("kill"), Mirror: null)),
            ]);
    }

    private static string Example()
    {
        string? folder = AppContext.BaseDirectory;
        while (!File.Exists(System.IO.Path.Combine(folder!, "SdnEdge.sln"))) folder = System.IO.Path.GetDirectoryName(folder);
        return System.IO.Path.Combine(folder!, "examples", "virsh-step");
    }

    private static string Domain(string root, int port) => $"""
        <domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
          <name>vs</name>
          <memory unit='MiB'>128</memory>
          <vcpu>1</vcpu>
          <os>
            <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
            <kernel>{Guest.Folder}/vmlinuz</kernel>
            <initrd>{Guest.Folder}/initrd</initrd>
            <cmdline>console=ttyS0 quiet mitigations=off nokaslr tsc=reliable panic=-1 net=10.0.2.15/24,10.0.2.2 app=dirty=400,over=16</cmdline>
          </os>
          <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
          <devices>
            <emulator>/usr/bin/qemu-system-x86_64</emulator>
            <controller type='usb' model='none'/>
            <memballoon model='none'/>
            <serial type='file'><source path='{root}/said-by-a'/></serial>
          </devices>
          <qemu:commandline>
            <qemu:arg value='-netdev'/><qemu:arg value='user,id=n0,hostfwd=udp:127.0.0.1:{port}-:8'/>
            <qemu:arg value='-device'/><qemu:arg value='virtio-net-pci,netdev=n0,addr=0x10,romfile='/>
          </qemu:commandline>
        </domain>
        """;

    private static async Task<string> VirshAsync(Libvirt at, params string[] arguments)
    {
        (int code, string said, string errors) = await at.VirshAsync(arguments);
        Assert.True(code == 0, $"virsh {string.Join(' ', arguments)}: {errors}");
        return said;
    }

    private sealed class Root : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("sdnedge-virt-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }

    /// <summary>A libvirtd whose folders are a test's.</summary>
    private sealed class Libvirt : IDisposable
    {
        private static readonly (string Folder, string At)[] s_folders =
        [
            ("run", "/run/libvirt"), ("lib", "/var/lib/libvirt"), ("log", "/var/log/libvirt"), ("cache", "/var/cache/libvirt"),
            ("etc", "/etc/libvirt"),
        ];

        private readonly Process _daemon;
        private readonly string _folder;

        public Libvirt(string root, string name)
        {
            (Name, _folder) = (name, System.IO.Path.Combine(root, name));
            foreach ((string folder, _) in s_folders) Directory.CreateDirectory(System.IO.Path.Combine(_folder, folder));
            Write("etc/libvirtd.conf", $"""
                unix_sock_dir = "{_folder}"
                auth_unix_rw = "none"
                auth_unix_ro = "none"
                host_uuid = "{Guid.NewGuid()}"
                """);
            Write("etc/qemu.conf", """
                user = "root"
                group = "root"
                dynamic_ownership = 0
                remember_owner = 0
                cgroup_controllers = [ ]
                security_driver = "none"
                stdio_handler = "file"
                namespaces = [ ]
                """);

            // The users that Debian's package for systemd would make.
            Write("passwd", File.ReadAllText("/etc/passwd") + "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n");
            Write("group", File.ReadAllText("/etc/group") + "libvirt-qemu:x:64055:\nkvm:x:64056:\n");
            string[] mounts =
            [
                .. s_folders.Select(f => $"mkdir -p {f.At} && mount --bind {_folder}/{f.Folder} {f.At}"),
                $"mount --bind {_folder}/passwd /etc/passwd", $"mount --bind {_folder}/group /etc/group",
            ];
            _daemon = Process.Start(new ProcessStartInfo("unshare",
                ["-m", "--propagation", "private", "sh", "-c",
                    $"{string.Join(" && ", mounts)} && exec /usr/sbin/libvirtd -p {_folder}/pid > {_folder}/said 2>&1"]))!;
        }

        public string Name { get; }

        public string Uri => $"qemu+unix:///system?socket={_folder}/libvirt-sock";

        public Task AnswersAsync() => Patience.UntilAsync(
            async () => (await VirshAsync("list")).Code == 0,
            () => $"libvirtd does not answer{(_daemon.HasExited ? $" and has ended: {File.ReadAllText(_folder + "/said")}" : "")}");

        public async Task<(int Code, string Said, string Errors)> VirshAsync(params string[] arguments)
        {
            using Process virsh = Process.Start(new ProcessStartInfo("virsh", ["-q", "-c", Uri, .. arguments])
            {
                RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
            })!;
            Task<string> said = virsh.StandardOutput.ReadToEndAsync(), errors = virsh.StandardError.ReadToEndAsync();
            await virsh.WaitForExitAsync().WaitAsync(Patience.Time);
            return (virsh.ExitCode, await said, await errors);
        }

        public void Dispose()
        {
            using (Process end = Process.Start(new ProcessStartInfo("virsh", ["-q", "-c", Uri, "destroy", "vs"])
            {
                RedirectStandardError = true, UseShellExecute = false,
            })!) end.WaitForExit();
            _daemon.Kill();
            _daemon.WaitForExit();
            _daemon.Dispose();
        }

        private void Write(string file, string text) => File.WriteAllText(System.IO.Path.Combine(_folder, file), text);
    }
}
