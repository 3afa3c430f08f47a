using SdnEdge.Core.Api;
using SdnEdge.Mms.Drivers;
using SdnEdge.Mms.Machines;
using SdnEdge.Mms.Model;
using Xunit;

namespace SdnEdge.Mms.Tests.Drivers;

/// <summary>What a planner finds of virtual machines, by what both hosts say of them.</summary>
public sealed class GuestPlanTests
{
    private static readonly MachineInfo s_machine = new("qemu", "10.0.2", "tcg", "pc-q35-7.2", "qemu64,+aes", 2, 512L << 20)
    {
        IsSeen = true, ResolvedType = "pc-q35-7.2", Topology = "cores=2", CpuIsKnown = true, HostFreeBytes = 8L << 30,
        Devices = [new("virtio-net-pci", "", "pcie.0/3.0", "romfile="), new("virtio-rng-pci", "", "", "")],
        Disks = [new("d0", "nbd", DiskReach.Network, false, "stop", "stop")],
    };

    private readonly PlanLab _lab = new();

    public GuestPlanTests()
    {
        Both(m => m, "web-1");
        Both(m => m, "web-2");
    }

    [Fact]
    public async Task Machines_that_are_the_same_move()
    {
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Empty(plan.Info.Warnings);
        Assert.Equal([("web-1", "host-a", "host-b"), ("web-2", "host-a", "host-b")],
            plan.Info.Machines!.Select(m => (m.Server, m.FromHost, m.ToHost)));
        Assert.Equal(("10.0.2", "10.0.2"), (plan.Info.Machines![0].From!.Version, plan.Info.Machines[0].To!.Version));
        Assert.Single(plan.Moves);
    }

    [Fact]
    public async Task Servers_that_are_no_virtual_machines_are_not_checked()
    {
        PlanResult plan = await new PlanLab().PlanAsync();
        Assert.Empty(plan.Info.Warnings);
        Assert.Null(plan.Info.Machines);
    }

    [Fact]
    public Task Virtual_machine_on_one_side_only()
    {
        _lab.Set("host-b", "web-1", s => s with { Driver = "exec", Machine = null });
        return FindsAsync("driver-differs", "web-1", "qemu at host-a", "exec at host-b");
    }

    [Theory]
    [InlineData("host-a")]
    [InlineData("host-b")]
    public async Task Host_that_does_not_say_is_a_warning(string host)
    {
        _lab.Set(host, "web-1", s => s with { Machine = null });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.StartsWith($"{host} does not say what machine web-1 is", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("host-a")]
    [InlineData("host-b")]
    public Task Host_that_cannot_find_out(string host)
    {
        Set(host, m => m with { Version = "", ResolvedType = null, CpuIsKnown = null, Unknown = "there is no /usr/bin/qemu" });
        return FindsAsync("machine-unknown", $"web-1 at {host}", "there is no /usr/bin/qemu");
    }

    [Fact]
    public Task Alias_that_is_another_machine_in_another_version()
    {
        Set("host-a", m => m with { Type = "q35", Version = "9.0.0" });
        Set("host-b", m => m with { Type = "q35", ResolvedType = "pc-q35-10.0" });
        return FindsAsync("machine-type", "web-1", "pc-q35-7.2 (q35 of QEMU 9.0.0) at host-a", "pc-q35-10.0 (q35 of QEMU 10.0.2) at host-b",
            "write pc-q35-7.2 at both");
    }

    [Fact]
    public Task Machine_type_that_the_target_does_not_have()
    {
        Both(m => m with { Type = "pc-q35-10.0", ResolvedType = "pc-q35-10.0" });
        Set("host-b", m => m with { Version = "9.1.0", ResolvedType = null });
        return FindsAsync("machine-type", "web-1 at host-b", "QEMU 9.1.0 at host-b has no machine type pc-q35-10.0");
    }

    [Theory]
    [InlineData("none")]
    [InlineData("microvm")]
    public Task Machine_type_that_does_not_migrate(string type)
    {
        Both(m => m with { Type = type, ResolvedType = type });
        return FindsAsync("machine-type", "web-1", $"type {type}");
    }

    [Fact]
    public Task Machine_type_without_a_version()
    {
        Both(m => m with { Type = "isapc", ResolvedType = "isapc" });
        Set("host-b", m => m with { Version = "10.1.0" });
        return FindsAsync("machine-type", "web-1", "isapc has no version", "10.0.2 at host-a", "10.1.0 at host-b");
    }

    [Fact]
    public Task Other_machine_options()
    {
        Set("host-b", m => m with { MachineOptions = "smm=off" });
        return FindsAsync("machine-type", "web-1", "are none at host-a", "smm=off at host-b");
    }

    [Theory]
    [InlineData("9.2.0", "10.0.2", false)]
    [InlineData("10.0.2", "10.0.1", false)]
    [InlineData("10.0.2", "9.2.0", true)]
    public async Task Older_version_that_has_the_machine_type_is_a_warning(string from, string to, bool warned)
    {
        Both(m => m, "web-2");
        Set("host-a", m => m with { Version = from });
        Set("host-b", m => m with { Version = to });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Equal(warned ? [true] : [], plan.Info.Warnings.Select(w => w.Contains($"older {to} at host-b", StringComparison.Ordinal)));
    }

    [Fact]
    public Task Other_CPU()
    {
        Set("host-b", m => m with { Cpu = "qemu64" });
        return FindsAsync("cpu-differs", "web-1", "qemu64,+aes at host-a", "qemu64 at host-b");
    }

    [Fact]
    public Task CPU_model_that_the_target_does_not_have()
    {
        Set("host-b", m => m with { CpuIsKnown = false });
        return FindsAsync("cpu-differs", "web-1 at host-b", "no CPU model qemu64;");
    }

    [Fact]
    public async Task Features_of_the_CPU_model_that_one_host_does_not_give()
    {
        Set("host-a", m => m with { CpuMissing = ["pni"] });
        Set("host-b", m => m with { CpuMissing = ["pni", "svm"] });
        await FindsAsync("cpu-differs", "web-1", "host-b does not give it svm");

        Set("host-b", m => m with { CpuMissing = [] });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Contains("web-1 gets pni", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task CPU_of_the_host_where_hosts_differ()
    {
        Both(m => m with { Cpu = "host", Accelerator = "kvm", HostCpu = new("Intel 6/106", ["aes", "avx512f", "sse2"]) });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Set("host-b", m => m with { HostCpu = new("Intel 6/85", ["aes", "sse2"]) });
        await FindsAsync("cpu-differs", "web-1", "Intel 6/106 at host-a", "Intel 6/85 at host-b", "lacks avx512f;");
    }

    [Fact]
    public async Task All_that_emulation_can_do_is_another_CPU_in_another_version()
    {
        Both(m => m with { Cpu = "max" });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Set("host-b", m => m with { Version = "10.1.0" });
        await FindsAsync("cpu-differs", "web-1", "-cpu max");
    }

    [Fact]
    public Task Other_number_of_processors()
    {
        Set("host-b", m => m with { Processors = 1, Topology = "" });
        return FindsAsync("processors-differ", "web-1", "2 processors (cores=2) at host-a", "1 processor at host-b");
    }

    [Fact]
    public Task Other_memory()
    {
        Set("host-b", m => m with { MemoryBytes = 1L << 30 });
        return FindsAsync("memory-differs", "web-1", "512 MiB", "1024 MiB");
    }

    [Fact]
    public Task Other_accelerator()
    {
        Set("host-b", m => m with { Accelerator = "kvm" });
        return FindsAsync("accelerator-differs", "web-1", "tcg at host-a", "kvm at host-b");
    }

    [Fact]
    public async Task Other_devices()
    {
        Set("host-b", m => m with { Devices = [m.Devices[0] with { Address = "pcie.0/4.0" }, m.Devices[1]] });
        await FindsAsync("devices-differ", "web-1", "only at host-a: virtio-net-pci at pcie.0/3.0 (romfile=)",
            "only at host-b: virtio-net-pci at pcie.0/4.0 (romfile=)");
        Set("host-b", m => m with { Devices = [s_machine.Devices[0]] });
        await FindsAsync("devices-differ", "web-1", "only at host-a: virtio-rng-pci", "only at host-b: none");
        Set("host-b", m => m with { Devices = [.. s_machine.Devices.Reverse()] });
        await FindsAsync("devices-differ", "web-1", "in another order");
    }

    [Fact]
    public Task QEMU_that_says_that_it_cannot()
    {
        Set("host-a", m => m with { Blocked = ["Migration is disabled when using feature 'peer mode' in device 'ivshmem'"] });
        return FindsAsync("migration-blocked", "web-1 at host-a", "'peer mode'");
    }

    [Fact]
    public async Task Target_without_memory_for_all_that_come()
    {
        Set("host-b", m => m with { HostFreeBytes = 1L << 30 });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Set("host-b", m => m with { HostFreeBytes = (1L << 30) - 1 });
        await FindsAsync("host-memory", "host-b", "web-1, web-2 need 1024 MiB", "1023 MiB free");
    }

    [Theory]
    [InlineData("host-a")]
    [InlineData("host-b")]
    public async Task Disk_that_only_one_host_has(string host)
    {
        Set(host, m => m with { Disks = [m.Disks[0] with { File = "/var/lib/vs.img", Reach = DiskReach.Local }] });
        await FindsAsync("disk-local", $"web-1 at {host}", "d0 is /var/lib/vs.img", "sharedDisks");
        Set(host, m => m with { Disks = [m.Disks[0] with { Reach = DiskReach.Shared }] });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
    }

    [Fact]
    public Task Disk_whose_errors_the_guest_sees()
    {
        Set("host-b", m => m with { Disks = [m.Disks[0] with { WriteError = "enospc", ReadError = "report" }] });
        return FindsAsync("disk-errors", "web-1 at host-b", "werror is enospc and rerror is report", "werror=stop,rerror=stop");
    }

    [Theory]
    [InlineData("8.2.9", "tcg", false, true)]
    [InlineData("8.2.9", "tcg", true, false)]
    [InlineData("8.2.9", "kvm", false, false)]
    [InlineData("9.0.0", "tcg", false, false)]
    public async Task Emulation_that_loses_changes_of_memory(string version, string accelerator, bool onePass, bool refused)
    {
        Both(m => m with { Version = version, Accelerator = accelerator, OnePass = true });
        Set("host-a", m => m with { OnePass = onePass });
        if (refused) await FindsAsync("tcg-before-9", "web-1 at host-a", version, "passes: one");
        else Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
    }

    [Fact]
    public async Task Emulation_that_loses_changes_at_the_target_is_a_warning_for_the_way_back()
    {
        Set("host-a", m => m with { Version = "8.2.1", OnePass = true });
        Set("host-b", m => m with { Version = "8.2.1" });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Contains("moved back from host-b", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Guest_that_is_faster_than_the_link()
    {
        Set("host-a", m => m with { DirtyBytesPerSecond = 12_600_000, BandwidthBytesPerSecond = 12_500_000 });
        await FindsAsync("not-converging", "web-1 at host-a", "12.6 MB", "12.5 MB", "migration.bandwidth");
        Set("host-a", m => m with { OnePass = true });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Set("host-a", m => m with { OnePass = false, AutoConverge = true });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);
        Set("host-a", m => m with { AutoConverge = false, DirtyBytesPerSecond = 12_400_000 });
        Assert.Empty((await _lab.PlanAsync()).Info.Obstacles);

        // How fast is not known: the number is said.
        Set("host-a", m => m with { BandwidthBytesPerSecond = null });
        PlanResult plan = await _lab.PlanAsync();
        Assert.Empty(plan.Info.Obstacles);
        Assert.Contains("12.4 MB", Assert.Single(plan.Info.Warnings), StringComparison.Ordinal);
    }

    // Guards: CopyShares, StageTable: each host is told what the migration's copies may take there.
    [Fact]
    public async Task The_bandwidth_of_a_migration_is_shared_out_and_told_to_the_host_that_copies()
    {
        Set("host-a", m => m with { DirtyBytesPerSecond = 1e6 });
        PlanResult plan = await _lab.PlanAsync(with: c => c with { Bandwidth = 100 });
        Assert.All(plan.Moves[0].Servers, s => Assert.Equal(12_500_000L, s.CopyBytesPerSecond));
        Assert.Equal(100, plan.Request!.Bandwidth);
        MoveState state = MoveMachine.Step(MoveMachine.Start(plan.Moves[0]), new Begin(), 1);
        Assert.Equal([null, null, 12_500_000L, 12_500_000L], MoveMachine.Open(state).OfType<SendOrder>()
            .OrderBy(o => o.Request.Role == MigrationRole.Source).ThenBy(o => o.Server, StringComparer.Ordinal)
            .Select(o => o.Request.CopyBytesPerSecond));

        // Less than it changes: the copy would not come to an end, and it is the migration's limit that is to be raised.
        Set("host-a", m => m with { DirtyBytesPerSecond = 2e7, BandwidthBytesPerSecond = 1e9 });
        plan = await _lab.PlanAsync(with: c => c with { Bandwidth = 100 });
        Assert.Contains("raise the migration's bandwidth", Assert.Single(plan.Info.Obstacles).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task All_reasons_at_once()
    {
        Set("host-a", m => m with
        {
            Version = "7.2.22", Type = "q35", Blocked = ["a device is not migratable"], DirtyBytesPerSecond = 2e8,
            BandwidthBytesPerSecond = 1e8, Disks = [m.Disks[0] with { Reach = DiskReach.Local, WriteError = "report" }],
        });
        Set("host-b", m => m with
        {
            Type = "q35", ResolvedType = "pc-q35-10.0", Cpu = "max", Processors = 1, MemoryBytes = 1, Accelerator = "kvm", Devices = [],
            HostFreeBytes = 1L << 20,
        });
        _lab.Set("host-b", "web-2", s => s with { Driver = "stand-in", Machine = null });
        PlanResult plan = await _lab.PlanAsync();
        string[] reasons = ["accelerator-differs", "cpu-differs", "devices-differ", "disk-errors", "disk-local", "driver-differs",
            "host-memory", "machine-type", "memory-differs", "migration-blocked", "not-converging", "processors-differ", "tcg-before-9"];
        Assert.Equal(reasons, plan.Info.Obstacles.Select(o => o.Reason).Order(StringComparer.Ordinal));
        Assert.Empty(plan.Moves);
    }

    private void Set(string host, Func<MachineInfo, MachineInfo> change, string server = "web-1")
        => _lab.Set(host, server, s => s with { Machine = change(s.Machine!) });

    private void Both(Func<MachineInfo, MachineInfo> change, string server = "web-1")
    {
        foreach (string host in (string[])["host-a", "host-b"])
            _lab.Set(host, server, s => s with { Driver = "qemu", Machine = change(s_machine with { IsSeen = host == "host-a" }) });
    }

    private async Task FindsAsync(string reason, string where, params string[] words)
    {
        PlanResult plan = await _lab.PlanAsync();
        Obstacle found = Assert.Single(plan.Info.Obstacles);
        Assert.Equal((reason, where), (found.Reason, found.Where));
        Assert.All(words, w => Assert.Contains(w, found.Detail, StringComparison.Ordinal));
        Assert.Empty(plan.Moves);
        Assert.Null(plan.Request);
    }
}
