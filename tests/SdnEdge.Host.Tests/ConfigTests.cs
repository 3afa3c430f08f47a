using SdnEdge.Core.Config;
using SdnEdge.Core.Wire;
using SdnEdge.Host.Config;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Host.Tests;

/// <summary>All errors at once, each with its place.</summary>
public sealed class ConfigTests
{
    private const string Head = """
        name: host-a
        site: dc-a
        api: { unix: /run/host.sock }
        state: { folder: /var/lib/host }

        """;

    private const string Link = """
        migration:
          listen: "192.0.2.1:7810"
          certificate: /etc/host-a.crt
          key: /etc/host-a.key
          clientCa: /etc/hosts.crt
          bandwidth: 400
          compress: zstd
          peers:
            - { name: host-b, address: "192.0.2.2:7810" }

        """;

    [Fact]
    public void The_examples_are_good()
    {
        string? folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder!, "SdnEdge.sln"))) folder = Path.GetDirectoryName(folder);
        foreach ((string file, bool runs) in ((string, bool)[])[("host-a", true), ("host-b", false)])
        {
            // As the lab fills them in.
            string text = File.ReadAllText(Path.Combine(folder!, "topologies", "figure1", file + ".yaml"))
                .Replace("${lab.folder}", "/run/sdnedge/figure1", StringComparison.Ordinal)
                .Replace("${lab.namespace:vs}", "clab-figure1-vs", StringComparison.Ordinal);
            HostConfigResult result = HostConfigLoader.Load(text, file);
            Assert.Empty(result.Errors);
            ServerConfig server = Assert.Single(result.Config!.Servers);
            Assert.Equal((file, "vs", runs), (result.Config.Name, server.Name, server.Runs));
            Assert.Equal(2, Assert.IsType<StandInConfig>(server.Driver).Addresses.Count);
        }
    }

    [Fact]
    public void A_witness_is_reached_by_its_socket_or_by_https_with_a_certificate()
    {
        HostConfigResult local = HostConfigLoader.Load(Head + "servers: []\nwitness: { name: w, api: \"unix:/run/w.sock\" }\n", "h.yaml");
        Assert.Equal(new WitnessLinkConfig("w", "unix:/run/w.sock"), local.Config!.Witness);
        const string Files = "certificate: /etc/h.crt, key: /etc/h.key, authority: /etc/ca.crt";
        HostConfigResult remote = HostConfigLoader.Load(
            Head + $"servers: []\nwitness: {{ name: w, api: \"https://192.0.2.9:8443/\", {Files} }}\n", "h.yaml");
        Assert.Equal("/etc/ca.crt", remote.Config!.Witness!.Authority);
        HostConfigResult bad = HostConfigLoader.Load(
            Head + "servers: []\nwitness: { name: w, api: \"https://192.0.2.9:8443/\", key: h.key, ttl: 1 }\n", "h.yaml");
        Assert.Equal(["witness.authority", "witness.certificate", "witness.key", "witness.ttl"],
            bad.Errors.Select(e => e.Field).Order(StringComparer.Ordinal));
        Assert.Single(HostConfigLoader.Load(
            Head + "servers: []\nwitness: { name: w, api: \"unix:/run/w.sock\", key: /etc/h.key }\n", "h.yaml").Errors);
    }

    [Fact]
    public void BFD_sessions_say_both_ends_and_every_error_of_them_is_told_with_its_line()
    {
        HostConfigResult good = HostConfigLoader.Load(Head + """
            servers: []
            bfd:
              sessions:
                - { address: 10.1.1.1, local: 10.1.1.20 }
                - { address: "fd00:1:1::1", local: "fd00:1:1::20", interval: 300, multiplier: 5, shutdown: true }
            """, "h.yaml");
        Assert.Empty(good.Errors);
        Assert.Equal(
            [
                new BfdConfig(IpAddress.Parse("10.1.1.1"), IpAddress.Parse("10.1.1.20"), Multihop: false, 50, 3),
                new BfdConfig(IpAddress.Parse("fd00:1:1::1"), IpAddress.Parse("fd00:1:1::20"), Multihop: false, 300, 5, Shutdown: true),
            ],
            good.Config!.Bfd!);
        Assert.Null(HostConfigLoader.Load(Head + "servers: []", "h.yaml").Config!.Bfd);

        HostConfigResult bad = HostConfigLoader.Load(Head + """
            servers: []
            bfd:
              sessions:
                - { address: 10.1.1.1 }
                - { address: 10.1.1.0/24, local: 10.1.1.20, interval: 5, multiplier: 0 }
                - { address: 10.1.1.20, local: 10.1.1.20 }
                - { address: 10.1.1.1, local: "fd00:1:1::20", multihop: true }
                - { address: "fe80::1", local: 224.0.0.5 }
                - { address: 10.1.1.2, local: 10.1.1.20 }
                - { address: 10.1.1.2, local: 10.1.1.20, interval: 100 }
              session: []
            """, "h.yaml");
        Assert.Equal(
            [
                "h.yaml:8:7: bfd.sessions[0].local: is missing; write local: 10.1.1.20",
                "h.yaml:9:18: bfd.sessions[1].address: '10.1.1.0/24' is a prefix where an address belongs; write it without the length, "
                    + "as 10.1.1.1",
                "h.yaml:9:59: bfd.sessions[1].interval: '5' is not a whole number from 10 to 60000; the default is 50",
                "h.yaml:9:74: bfd.sessions[1].multiplier: '0' is not a whole number from 1 to 255; the default is 3",
                "h.yaml:10:18: bfd.sessions[2].address: '10.1.1.20' is this node's own address; write the other end's",
                "h.yaml:11:35: bfd.sessions[3].local: 'fd00:1:1::20' is not of the family of 10.1.1.1; write this host's address on the "
                    + "link with it",
                "h.yaml:11:51: bfd.sessions[3].multihop: is not a known field; known here: address, interval, local, multiplier, "
                    + "shutdown",
                "h.yaml:12:18: bfd.sessions[4].address: 'fe80::1' is link-local; write an address of the link that is not, as 10.1.1.1 or "
                    + "\"fd00:1:1::1\"",
                "h.yaml:12:36: bfd.sessions[4].local: '224.0.0.5' is a multicast address; write the address of a router or host, "
                    + "as 10.1.1.20",
                "h.yaml:14:18: bfd.sessions[6].address: a BFD session with '10.1.1.2 from 10.1.1.20' is already there on line 13; each "
                    + "must be the only one",
                "h.yaml:15:3: bfd.session: is not a known field; did you mean 'sessions'?",
            ],
            bad.Errors.Select(e => e.ToString()));
        Assert.Equal(["h.yaml:6:6: bfd.sessions: is missing; write sessions: [{ address: 10.1.1.1, local: 10.1.1.20 }], the PE's port and "
            + "this host's address on its link"],
            HostConfigLoader.Load(Head + "servers: []\nbfd: {}", "h.yaml").Errors.Select(e => e.ToString()));
    }

    [Fact]
    public void A_guest_of_QEMU_needs_its_arguments_and_the_link_by_which_it_moves()
    {
        HostConfigResult good = HostConfigLoader.Load(Head + Link + """
            servers:
              - { name: vs, runs: true, qemu: { run: [/usr/bin/qemu-system-x86_64, -m, "512"] } }
              - { name: db, runs: true, qemu: { run: [/usr/bin/qemu-system-x86_64], passes: one, sharedDisks: [d0, d1] } }
            """, "h.yaml");
        Assert.Empty(good.Errors);
        var usual = Assert.IsType<QemuConfig>(good.Config!.Servers[0].Driver);
        Assert.True(usual is { OnePass: false, AutoConverge: false, SharedDisks: null });
        var once = Assert.IsType<QemuConfig>(good.Config.Servers[1].Driver);
        Assert.True(once.OnePass);
        Assert.Equal(["d0", "d1"], once.SharedDisks!);
        Assert.Equal(("host-b", "192.0.2.2", 7810),
            (good.Config.Migration!.Peers[0].Name, good.Config.Migration.Peers[0].Address.ToString(),
                good.Config.Migration.Peers[0].Port));
        Assert.Equal((50_000_000, true), (good.Config.Migration.BytesPerSecond, good.Config.Migration.Compress));
        Assert.Equal(["/usr/bin/qemu-system-x86_64", "-m", "512"], Assert.IsType<QemuConfig>(good.Config.Servers[0].Driver).Run);

        HostConfigResult bad = HostConfigLoader.Load(Head + """
            migration:
              listen: 192.0.2.1
              certificate: /etc/host-a.crt
              peers:
                - { name: host-b, address: host-b }
                - { name: host-b, address: "192.0.2.2:7810", weight: 3 }
            servers:
              - { name: vs, runs: true, qemu: { run: [qemu, -S, --incoming, defer, -m, "512"] } }
              - { name: db, runs: true, qemu: { run: [] }, exec: {} }
              - { name: xs, runs: true, qemu: {} }
              - { name: ys, runs: true, qemu: { run: [/usr/bin/qemu-system-x86_64], passes: two } }
            """, "h.yaml");
        string all = string.Join('\n', bad.Errors);
        foreach (string wanted in (string[])
        [
            "migration.listen: '192.0.2.1' is not ADDRESS:PORT",
                "migration.key: is missing: a guest's memory is not carried without mutual TLS",
            "migration.clientCa: is missing", "migration.peers[0].address: 'host-b' is not ADDRESS:PORT",
                "migration.peers[1].name: 'host-b' is",
            "weight", "servers[0].qemu.run: 'qemu' is not an absolute path", "servers[0].qemu.run[1]: '-S' is the agent's own",
            "servers[0].qemu.run[2]: '--incoming' is the agent's own", "servers[1].qemu: exactly one",
                "servers[2].qemu.machine: is missing",
            "servers[2].qemu.cpu: is missing", "servers[2].qemu.memory: is missing",
            "servers[3].qemu.passes: 'two' is not known; write one of many, one",
        ]) Assert.Contains(wanted, all, StringComparison.Ordinal);
        HostConfigResult without = HostConfigLoader.Load(Head + """
            servers:
              - { name: vs, runs: true, qemu: { run: [/usr/bin/qemu-system-x86_64] } }
            """, "h.yaml");
        Assert.Contains("migration: is missing: vs is a guest of QEMU", string.Join('\n', without.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public void A_machine_in_words_is_a_command_line_in_the_order_of_the_file()
    {
        HostConfigResult result = HostConfigLoader.Load(Head + Link + """
            servers:
              - name: vs
                runs: true
                qemu:
                  machine: pc-q35-7.2
                  cpu: host
                  memory: 2048
                  processors: 2
                  nics:
                    - { tap: vs0, mac: "02:00:00:00:01:10" }
                  disks:
                    - { name: root, file: "/var/lib/vs/a,b.img", format: qcow2, shared: true }
                  arguments: [-device, virtio-rng-pci]
                  autoConverge: true
                  given: { qmp: /run/vs/a, rescue: /run/vs/b }
            """, "h.yaml");
        Assert.Equal("", string.Join('\n', result.Errors));
        var qemu = (QemuConfig)Assert.Single(result.Config!.Servers).Driver;
        Assert.Equal(
            "/usr/bin/qemu-system-x86_64 -machine pc-q35-7.2 -accel kvm -cpu host -smp 2 -m 2048 -display none -nodefaults -no-user-config "
            + "-netdev tap,id=nic0,ifname=vs0,script=no,downscript=no -device virtio-net-pci,id=net0,netdev=nic0,mac=02:00:00:00:01:10,"
            + "romfile= -blockdev driver=qcow2,node-name=root,file.driver=file,file.filename=/var/lib/vs/a,,b.img "
            + "-device virtio-blk-pci,id=disk-root,drive=root,werror=stop,rerror=stop -device virtio-rng-pci", string.Join(' ', qemu.Run));
        Assert.Equal((false, true, new QemuSockets("/run/vs/a", "/run/vs/b")), (qemu.OnePass, qemu.AutoConverge, qemu.Given));
        Assert.Equal(["root"], qemu.SharedDisks);

        HostConfigResult bad = HostConfigLoader.Load(Head + Link + """
            servers:
              - name: vs
                runs: true
                qemu:
                  run: [/usr/bin/qemu-system-x86_64]
                  memory: 2048
                  passes: one
                  autoConverge: true
                  given: { qmp: /run/a, rescue: /run/a }
              - name: db
                runs: true
                qemu:
                  machine: pc-q35-7.2
                  cpu: qemu64
                  memory: 1
                  append: quiet
                  passes: none
                  nics: [{ tap: "a,b", mac: x }]
                  disks: [{ name: a, file: x, format: vmdk }, { name: a, file: /x }]
                  arguments: [-qmp, stdio]
            """, "h.yaml");
        string all = string.Join('\n', bad.Errors);
        foreach (string wanted in (string[])
        [
            "servers[0].qemu.memory: says what run: says already", "servers[0].qemu.autoConverge: ", "servers[0].qemu.given.rescue: ",
            "servers[1].qemu.memory: ", "servers[1].qemu.append: needs a kernel", "servers[1].qemu.passes: ",
                "servers[1].qemu.nics[0].tap: ",
            "servers[1].qemu.nics[0].mac: ", "servers[1].qemu.disks[0].file: ", "servers[1].qemu.disks[0].format: ",
            "servers[1].qemu.disks[1].name: ", "servers[1].qemu.arguments[0]: '-qmp' is the agent's own",
        ]) Assert.Contains(wanted, all, StringComparison.Ordinal);
    }

    [Fact]
    public void All_errors_come_at_once_with_their_places()
    {
        HostConfigResult result = HostConfigLoader.Load("""
            name: host a
            sites: dc-a
            api: { unix: run/host.sock }
            state: { folder: var }
            servers:
              - { name: vs, runs: maybe, standIn: { namespace: ns, leg: much-too-long-a-name, mac: x, addresses: [10.1.1.10/24] } }
              - { name: db, standIn: { namespace: ns, leg: l, mac: "02:00:00:00:00:01", addresses: [10.1.1.1] }, exec: {} }
              - name: ex
                runs: false
                exec:
                  undoable: false
                  look: { run: [look] }
                  stop: { run: [/bin/true], deadlineMs: 1 }
                  prepare: { run: [] }
                  activate: { run: [/bin/true] }
            """, "h.yaml");
        Assert.Null(result.Config);
        string all = string.Join('\n', result.Errors);
        foreach (string wanted in (string[])
        [
            "h.yaml:1:7: name: ", "site: is missing", "did you mean 'site'", "h.yaml:3:14: api.unix: ", "h.yaml:4:18: state.folder: ",
                "servers[0].runs: 'maybe'",
            "servers[0].standIn.leg: ", "servers[0].standIn.mac: ", "servers[0].standIn.addresses[0]: ", "servers[1].runs: is missing",
                "servers[1].exec: exactly one",
            "servers[2].exec.look.run: 'look' is not an absolute path", "servers[2].exec.stop.deadlineMs: ",
                "servers[2].exec.prepare.run: is missing",
            "servers[2].exec.handOver: is missing", "servers[2].exec.resume: is missing", "servers[2].exec.cancel: is missing",
                "servers[2].exec.kill: is missing",
        ])
        {
            Assert.Contains(wanted, all, StringComparison.Ordinal);
        }
    }
}
