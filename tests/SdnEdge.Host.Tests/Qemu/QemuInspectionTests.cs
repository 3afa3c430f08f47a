using System.Diagnostics;
using System.Net.Sockets;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qemu;
using SdnEdge.Host.Qmp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>What is found out of a machine, with the real QEMU of both versions.</summary>
public sealed class QemuInspectionTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-inspect-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("7", "7.2.", "pc-q35-7.2")]
    [InlineData("10", "10.0.", "pc-q35-10.0")]
    public async Task A_guest_that_would_be_started(string qemu, string version, string q35)
    {
        string[] program = QemuOf(qemu);
        MachineInfo info = await AskAsync([.. program, "-machine", "pc-q35-7.2", "-cpu", "qemu64", "-m", "256", "-smp", "2"]);
        Assert.Null(info.Unknown);
        Assert.StartsWith(version, info.Version, StringComparison.Ordinal);
        Assert.Equal(("qemu", "tcg", "pc-q35-7.2", "qemu64", 2, 256L << 20, false),
            (info.Hypervisor, info.Accelerator, info.ResolvedType, info.Cpu, info.Processors, info.MemoryBytes, info.IsSeen));
        Assert.Equal((true, null, null, 5.0), (info.CpuIsKnown, info.HostCpu, info.DirtyBytesPerSecond, info.BandwidthBytesPerSecond));
        Assert.Empty(info.CpuMissing);
        Assert.True(info.HostFreeBytes > 0);

        // An alias, the default, and what this version does not have.
        Assert.Equal(q35, (await AskAsync([.. program, "-machine", "q35"])).ResolvedType);
        Assert.StartsWith("pc-i440fx-", (await AskAsync(program)).ResolvedType, StringComparison.Ordinal);
        info = await AskAsync([.. program, "-machine", "pc-q35-99.0", "-cpu", "Zuse-Z3"]);
        Assert.Equal((null, false, null), (info.ResolvedType, info.CpuIsKnown, info.Unknown));

        // Emulation does not give everything.
        Assert.NotEmpty((await AskAsync([.. program, "-cpu", "Skylake-Server"])).CpuMissing);
        Assert.NotEmpty((await AskAsync([.. program, "-cpu", "host"])).HostCpu!.Features);
    }

    [Theory]
    [InlineData("7", "7.2.")]
    [InlineData("10", "10.0.")]
    public async Task A_guest_that_runs(string qemu, string version)
    {
        string folder = Path.Combine(_folder, "vs"), console = Path.Combine(_folder, "console");
        int counter = Guest.FreePort();
        string[] command =
        [
            .. Guest.Command(console, Guest.FreePort(), counter, "dirty=4000,over=16", QemuOf(qemu)), "-device", "ivshmem-plain,memdev=m",
            "-object", "memory-backend-ram,id=m,size=1M",
        ];
        var driver = new QemuDriver("vs", new QemuConfig(command, OnePass: true), folder, new NoNetwork());
        try
        {
            Assert.False((await driver.MachineAsync(default))!.IsSeen);
            await driver.ActivateAsync(new DriverContext("vs"), default);
            await Guest.CountsAsync(counter, Patience.Time * 2);
            MachineInfo? info = null;
            await Patience.UntilAsync(async () => (info = await driver.MachineAsync(default)) is { DirtyBytesPerSecond: > 0 },
                () => $"it says {info}");
            Assert.Null(info!.Unknown);
            Assert.StartsWith(version, info.Version, StringComparison.Ordinal);
            Assert.Equal(("tcg", "pc-q35-7.2", "qemu64", 1, 128L << 20, true, true),
                (info.Accelerator, info.ResolvedType, info.Cpu, info.Processors, info.MemoryBytes, info.IsSeen, info.OnePass));
            Assert.Contains("ivshmem", Assert.Single(info.Blocked), StringComparison.Ordinal);
            Assert.True(info.DirtyBytesPerSecond <= 128 << 20, $"{info.DirtyBytesPerSecond}");
            Assert.Equal(["memory-backend", "serial", "virtio-net-pci", "ivshmem-plain"], info.Devices.Select(d => d.Kind));
        }
        finally
        {
            await driver.DisposeAsync();
            await new QemuProcess(folder).KillAsync(default);
        }
    }

    // Its arguments do not change by that, and the target would not have it.
    [Fact]
    public async Task A_device_and_a_disk_that_were_plugged_in_later()
    {
        string folder = Path.Combine(_folder, "vs"), monitor = Path.Combine(_folder, "third"), image = Path.Combine(_folder, "d.img");
        await using (FileStream file = File.Create(image)) file.SetLength(1 << 20);
        string[] command =
        [
            .. Guest.Qemu10, "-machine", "pc-i440fx-7.2", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "128", "-device",
            "virtio-rng-pci,id=rng", "-drive", "if=none,id=d0,file=null-co://", "-device", "virtio-blk-pci,id=blk,drive=d0", "-qmp",
            $"unix:{monitor},server=on,wait=off",
        ];
        var driver = new QemuDriver("vs", new QemuConfig(command), folder, new NoNetwork());
        try
        {
            await driver.ActivateAsync(new DriverContext("vs"), default);
            MachineInfo before = (await driver.MachineAsync(default))!;
            Assert.Equal(["virtio-rng-pci id rng", "virtio-blk-pci id blk"], before.Devices.Select(d => d.ToString()));
            Assert.Equal(DiskReach.None, Assert.Single(before.Disks).Reach);
            await TellAsync(monitor, """{"execute":"blockdev-add","arguments":{"driver":"file","node-name":"d1","filename":"IMAGE"}}"""
                    .Replace("IMAGE", image, StringComparison.Ordinal),
                """{"execute":"device_add","arguments":{"driver":"virtio-blk-pci","id":"later","drive":"d1"}}""");
            MachineInfo after = (await driver.MachineAsync(default))!;
            Assert.Equal("virtio-blk-pci id later (plugged in later)", Assert.Single(after.Devices.Except(before.Devices)).ToString());
            MachineDisk disk = Assert.Single(after.Disks.Except(before.Disks));
            Assert.Equal(("d1", image, DiskReach.Local), (disk.Node, disk.File, disk.Reach));
        }
        finally
        {
            await driver.DisposeAsync();
            await new QemuProcess(folder).KillAsync(default);
        }
    }

    [Fact]
    public async Task A_program_is_asked_once_and_again_when_it_is_another_one()
    {
        string starts = Path.Combine(_folder, "starts"), program = Script($"echo x >> {starts}; exec {Guest.Qemu7[0]} \"$@\"");
        foreach (string memory in (string[])["1", "2", "3"])
            Assert.StartsWith("7.2.", (await AskAsync([program, "-m", memory])).Version, StringComparison.Ordinal);
        Assert.Single(await File.ReadAllLinesAsync(starts));
        File.SetLastWriteTimeUtc(program, DateTime.UtcNow.AddMinutes(-5));
        await AskAsync([program]);
        Assert.Equal(2, (await File.ReadAllLinesAsync(starts)).Length);
    }

    [Fact]
    public async Task KVM_that_does_not_open_is_said_and_the_rest_is_known()
    {
        string program = Script("case \"$*\" in *'-accel kvm'*) echo 'Could not access KVM' >&2; exit 1;; esac; "
            + $"exec {Guest.Qemu7[0]} \"$@\"");
        MachineInfo info = await AskAsync([program, "-machine", "q35", "-accel", "kvm"]);
        Assert.Contains("Could not access KVM", info.Unknown, StringComparison.Ordinal);
        Assert.Equal(("kvm", "pc-q35-7.2"), (info.Accelerator, info.ResolvedType));
        Assert.StartsWith("7.2.", info.Version, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_QEMU_is_said()
    {
        Assert.Contains("there is no /nowhere/qemu", (await AskAsync(["/nowhere/qemu"])).Unknown, StringComparison.Ordinal);
        MachineInfo info = await AskAsync([Script("echo no such option >&2; exit 3"), "-m", "1G"]);
        Assert.Contains("no such option", info.Unknown, StringComparison.Ordinal);
        Assert.Equal(("", null, 1L << 30), (info.Version, info.ResolvedType, info.MemoryBytes));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_program_that_hangs_is_killed(bool cancelled)
    {
        string id = Path.Combine(_folder, "id");
        string program = Script($"echo $$ > {id}.new; mv {id}.new {id}; exec sleep 1000");
        using var cancel = new CancellationTokenSource();
        Task<MachineInfo> asked = new QemuInspection(new QemuConfig([program])).DescribeAsync(null, NoMonitor, cancel.Token);
        await Patience.UntilAsync(() => File.Exists(id), () => "it was not started");
        int process = int.Parse(await File.ReadAllTextAsync(id), System.Globalization.CultureInfo.InvariantCulture);
        if (cancelled)
        {
            await cancel.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked.WaitAsync(Patience.Time));
        }
        else
        {
            Assert.Contains("has not said within", (await asked.WaitAsync(Patience.Time)).Unknown, StringComparison.Ordinal);
        }

        await Patience.UntilAsync(() => !IsThere(process), () => $"process {process} is there");
    }

    private static bool IsThere(int id)
    {
        try
        {
            using Process process = Process.GetProcessById(id);
            return !process.HasExited;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static string[] QemuOf(string qemu) => qemu == "7" ? Guest.Qemu7 : Guest.Qemu10;

    private static Task<MachineInfo> AskAsync(string[] command)
        => new QemuInspection(new QemuConfig(command), 5).DescribeAsync(null, NoMonitor, default);

    private static Task<QmpConnection> NoMonitor(CancellationToken cancel) => throw new InvalidOperationException("no guest runs");

    private string Script(string text)
    {
        string file = Path.Combine(_folder, $"qemu-{Guid.NewGuid():N}");
        File.WriteAllText(file, "#!/bin/sh\n" + text + "\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return file;
    }

    private static async Task TellAsync(string monitor, params string[] commands)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(monitor));
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        using var end = new CancellationTokenSource(Patience.Time);
        await reader.ReadLineAsync(end.Token);
        foreach (string command in (string[])["{\"execute\":\"qmp_capabilities\"}", .. commands])
        {
            await stream.WriteAsync(System.Text.Encoding.UTF8.GetBytes(command + "\n"), end.Token);
            string answer = (await reader.ReadLineAsync(end.Token))!;
            while (answer.Contains("\"event\"", StringComparison.Ordinal)) answer = (await reader.ReadLineAsync(end.Token))!;
            Assert.Contains("\"return\"", answer, StringComparison.Ordinal);
        }
    }

    private sealed class NoNetwork : IMigrationNetwork
    {
        public Task<Stream> ConnectAsync(string host, string server, long epoch, CancellationToken cancel)
            => throw new IOException("there is no other host");

        public void Expect(string server, long epoch, Func<Stream, CancellationToken, Task>? take)
        {
            // Nobody comes.
        }
    }
}
