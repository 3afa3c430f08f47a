using FsCheck.Xunit;
using SdnEdge.Core.Api;
using SdnEdge.Host.Qemu;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>What is read of a command line of QEMU.</summary>
public sealed class QemuArgumentsTests
{
    // Words are separated by spaces here; what is expected: type, options of the machine, CPU, processors, topology, MiB, accelerators.
    [Theory]
    [InlineData("", " | | | 1 |  | 128 | tcg")]
    [InlineData("-machine pc-q35-7.2 -cpu qemu64 -accel tcg -m 512", "pc-q35-7.2 | | qemu64 | 1 |  | 512 | tcg")]
    [InlineData("--machine type=q35,accel=kvm:tcg,usb=off,mem-merge=off --cpu host,migratable=off,+avx",
        "q35 | usb=off | host,+avx,-migratable | 1 |  | 128 | kvm tcg")]
    [InlineData("-M q35 -machine smm=off -enable-kvm -m 2G", "q35 | smm=off |  | 1 |  | 2048 | kvm")]
    [InlineData("-smp 4 -m 1.5g", " | | | 4 |  | 1536 | tcg")]
    [InlineData("-smp cpus=2,maxcpus=8,sockets=4,cores=2 -m size=1T", " | | | 2 | cores=2,maxcpus=8,sockets=4 | 1048576 | tcg")]
    [InlineData("-smp sockets=2,cores=3,threads=2", " | | | 12 | cores=3,sockets=2,threads=2 | 128 | tcg")]
    [InlineData("-smp nonsense -m nonsense -cpu Haswell,aes,vmx=off,aes=on", " | | Haswell,+aes,-vmx | 1 |  | 0 | tcg")]
    [InlineData("-accel kvm,kernel-irqchip=split -accel tcg,thread=multi -append -cpu", " | | | 1 |  | 128 | kvm tcg")]
    public void The_machine(string arguments, string expected)
    {
        QemuArguments read = Read(arguments);
        string[] facts =
        [
            read.Type, read.MachineOptions, read.Cpu, $"{read.Processors}", read.Topology, $"{read.MemoryBytes >> 20}",
            string.Join(' ', read.Accelerators),
        ];
        Assert.Equal(expected.Split('|').Select(e => e.Trim()), facts);
    }

    // Back ends and paths are the host's own. With an address: by address; without: in their order.
    [Theory]
    [InlineData("-device virtio-net-pci,netdev=n0,romfile= -device virtio-rng-pci,rng=r", "virtio-net-pci (romfile=)", "virtio-rng-pci")]
    [InlineData("-device virtio-rng-pci -device virtio-net-pci,id=net,bus=pcie.0,addr=0x4 -device e1000e,addr=03.1,mac=52:54:0:0:0:1",
        "e1000e at /3.1 (mac=52:54:0:0:0:1)", "virtio-net-pci id net at pcie.0/4.0", "virtio-rng-pci")]
    [InlineData("""-device {"driver":"virtio-blk-pci","drive":"d0","id":"v","bus":"pcie.0","addr":"0xa","num-queues":2,"ioeventfd":true}""",
        "virtio-blk-pci id v at pcie.0/a.0 (ioeventfd=on,num-queues=2)")]
    [InlineData("-serial file:/x -serial none -vga std -global a.b=c -bios /usr/share/ovmf.fd",
        "bios (ovmf.fd)", "global (a.b=c)", "vga (std)", "serial")]
    [InlineData("-device a,b=x,,y -nic user,model=e1000,mac=m -net none", "nic (mac=m,model=e1000)", "nic (none=on)", "a (b=x,y)")]
    [InlineData("-object memory-backend-file,id=pc.ram,size=1G,mem-path=/dev/shm/x -object rng-random,id=r",
        "memory-backend id pc.ram (size=1073741824)")]
    public void The_devices(string arguments, params string[] expected)
        => Assert.Equal(expected, Read("-nodefaults " + arguments).Devices.Select(d => d.ToString()));

    [Fact]
    public void Default_devices_are_a_device_too()
    {
        Assert.Equal("defaults", Assert.Single(Read("-m 1").Devices).Kind);
        Assert.Empty(Read("-m 1 -nodefaults").Devices);
    }

    [Theory]
    [InlineData("-drive if=none,id=d0,file=/x.img,format=raw -device virtio-blk-pci,drive=d0,werror=stop,rerror=stop",
        "d0 /x.img Local rw stop stop")]
    [InlineData("-drive if=none,id=d0,file=/x.img,werror=stop,rerror=stop -device virtio-blk-pci,drive=d0,rerror=report",
        "d0 /x.img Local rw stop report")]
    [InlineData("-drive if=none,id=unused,file=/x.img")]
    [InlineData("-drive if=none,id=shared,file=/x.img -device virtio-blk-pci,drive=shared,werror=auto",
        "shared /x.img Shared rw enospc report")]
    [InlineData("-drive if=none,id=d0,file=nbd+unix:///d0?socket=/s -device scsi-hd,drive=d0",
        "d0 nbd+unix:///d0?socket=/s Network rw enospc report")]
    [InlineData("-drive if=none,id=d0,file.driver=nbd,file.path=/s -device virtio-blk-pci,drive=d0", "d0 nbd Network rw enospc report")]
    [InlineData("-drive if=none,id=d0,driver=qcow2,file.filename=/x -device virtio-blk-pci,drive=d0", "d0 /x Local rw enospc report")]
    [InlineData("-drive if=none,id=cd -device ide-cd,drive=cd", "cd no medium None ro - -")]
    [InlineData("-drive if=none,id=cd,file=/i.iso,readonly=on -device ide-cd,drive=cd,rerror=stop", "cd /i.iso Local ro - stop")]
    [InlineData("-drive if=none,id=z,file=null-co:// -device virtio-blk-pci,drive=z", "z null-co:// None rw - -")]
    [InlineData("-blockdev driver=file,filename=/dev/sdb,node-name=f -blockdev qcow2,file=f,node-name=q -device virtio-blk-pci,drive=q",
        "q /dev/sdb Local rw enospc report")]
    [InlineData("-device virtio-blk-pci,drive=q -blockdev "
        + """{"driver":"raw","node-name":"q","read-only":true,"file":{"driver":"nbd","server":{"type":"unix","path":"/s"}}}""",
        "q nbd Network ro - report")]
    [InlineData("-blockdev nbd,node-name=n,server.path=/s -blockdev file,filename=/base,node-name=b "
        + "-blockdev qcow2,file=n,backing=b,node-name=q -device virtio-blk-pci,drive=q",
        "q /base Local rw enospc report")]
    [InlineData("-blockdev qcow2,file=q,node-name=q -device virtio-blk-pci,drive=q",
        "q a chain of nodes without an end Local rw enospc report")]
    [InlineData("-hda /x.img -cdrom /i.iso", " /x.img Local rw enospc report", " /i.iso Local ro - report")]
    [InlineData("-drive if=pflash,file=/vars.fd /x.img", " /vars.fd Local rw - -", " /x.img Local rw enospc report")]
    [InlineData("-machine q35,pflash0=p -blockdev file,filename=/code.fd,node-name=p,read-only=on", "p /code.fd Local ro - -")]
    public void The_disks(string arguments, params string[] expected) => Assert.Equal(expected, Read(arguments).Disks.Select(d
        => $"{d.Node} {d.File} {d.Reach} {(d.ReadOnly ? "ro" : "rw")} {d.WriteError ?? "-"} {d.ReadError ?? "-"}"));

    [Fact]
    public void What_starts_QEMU_is_all_before_the_first_option()
    {
        QemuArguments read = QemuArguments.Read(["/usr/sbin/ip", "netns", "exec", "vs", "/usr/bin/qemu", "-m", "1G"]);
        Assert.Equal(["/usr/sbin/ip", "netns", "exec", "vs", "/usr/bin/qemu"], read.Program);
        Assert.Equal(1L << 30, read.MemoryBytes);
    }

    private static readonly string[] s_words =
    [
        "-machine", "-cpu", "-m", "-smp", "-device", "-drive", "-blockdev", "-object", "-accel", "-numa", "-nic", "-net", "-serial",
        "-hda", "-virtfs", "-fw_cfg", "-nodefaults", "-x", "--", "-", ",", "=", "{", "{\"a\":{\"b\":[1,true,null]}}", "json:{",
        "file=json:{\"x\":1}", "if=none,id=a,file=a", "driver=a,node-name=a,file=a", "x,drive=a",
        "addr=.", "pc,pflash0=a", "size=9e9T", "cpus=-1", "\"\\ud800\"",
        "{\"\\ud800\":\"\\udfff\"}",
    ];

    [Property(MaxTest = 2000)]
    public void Reading_never_fails(int[] picks, string?[] texts)
    {
        string[] words = [.. picks.Select(p => s_words[(int)((uint)p % s_words.Length)]), .. texts.Select(t => t ?? "")];
        int[] order = [.. Enumerable.Range(0, words.Length).OrderBy(i => (picks.Length > 0 ? picks[i % picks.Length] : 0) ^ (i * 7919))];
        QemuArguments read = QemuArguments.Read(["qemu", .. order.Select(i => words[i])]);
        Assert.True(read.Processors >= 1 && read.MemoryBytes >= 0);
    }

    private static readonly string[][] s_groups =
    [
        ["-machine", "pc-q35-7.2,accel=tcg"], ["-cpu", "qemu64,+aes"], ["-m", "256"], ["-smp", "2,cores=2"], ["-nodefaults"],
        ["-netdev", "user,id=n0"], ["-device", "virtio-net-pci,netdev=n0,addr=3"], ["-vga", "std"], ["-global", "x.y=z"],
        ["-drive", "if=none,id=d0,file=/x"], ["-device", "virtio-blk-pci,drive=d0,addr=4"],
        ["-object", "memory-backend-ram,id=r,size=256M"], ["-device", "virtio-rng-pci"], ["-S"], ["-display", "none"],
        ["-append", "-cpu 5"],
    ];

    // The one device without an address is the same wherever it is named.
    [Property(MaxTest = 500)]
    public void The_order_of_what_does_not_belong_together_does_not_matter(int seed)
    {
        string[][] shuffled = [.. s_groups];
        new Random(seed).Shuffle(shuffled);
        Assert.Equal(Text(QemuArguments.Read(["qemu", .. s_groups.SelectMany(g => g)])),
            Text(QemuArguments.Read(["qemu", .. shuffled.SelectMany(g => g)])));
    }

    private static string Text(QemuArguments a) => string.Join('\n', [a.Type, a.MachineOptions, a.Cpu, $"{a.Processors}", a.Topology,
        $"{a.MemoryBytes}", .. a.Accelerators, .. a.Devices.Select(d => d.ToString()), .. a.Disks.Select(d => d.ToString())]);

    private static QemuArguments Read(string arguments)
        => QemuArguments.Read(["qemu", .. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries)], ["shared"]);
}
