using System.Globalization;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Lab.Running;
using SdnEdge.Lab.Tests.Moves;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>Three virtual machines of different sizes that move together; one changes its memory faster than it is carried.</summary>
[Trait("needs", "executable")]
public sealed class GuestGroupTests(ITestOutputHelper output)
{
    private const int Megabits = 160;

    private static readonly (string Name, int MiB, string App)[] s_guests =
        [("vs", 128, "dirty=20,over=4"), ("db", 160, "dirty=20,over=16"), ("cache", 192, "dirty=10000,over=32")];

    [RootFact]
    public async Task A_group_waits_for_a_point_that_suits_all_and_says_for_which_guest()
    {
        await using var instance = LabInstance.Of("name: LABNAME");
        string folder = Path.GetDirectoryName(instance.File)!;
        RunningLab lab = await LabRunner.DeployAsync(Write(folder), instance.Options with { Name = instance.Name }, CancellationToken.None);
        using LabAccount account = await LabAccount.OpenAsync(lab);
        using var mms = new MmsClient(new ApiEndpoint("mms", lab.ApiSocket("mms")));
        Pings[] pings = [.. s_guests.Select((_, i) => new Pings(lab, "client-c", AddressOf(i)))];
        try
        {
            foreach (Pings stream in pings) await stream.AnswersAsync(1);
            string id = (await mms.StartAsync(
                new MigrationCall("vs", "dc-b", MaxBlackoutMs: 1_000, KeepTrying: true, Bandwidth: Megabits))).Id;
            long sent = await SentAsync(lab), since = Monotonic.Now;
            string said = "";
            await Patience.UntilAsync(
                async () => (said = Said(await mms.MigrationAsync(id))).Contains("are carried: after", StringComparison.Ordinal)
                    && said.Contains("is ready; ", StringComparison.Ordinal),
                () => $"of the guest that does not converge, and of those that wait for it, nothing is said: {said}");
            MigrationStatus waiting = await mms.MigrationAsync(id);
            Assert.Equal(("running", "mirror"), (waiting.State, waiting.Stage));

            // All three copies together keep to the migration's bandwidth.
            double megabits = (await SentAsync(lab) - sent) * 8e3 / (Monotonic.Now - since);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{megabits:F0} Mbit/s of {Megabits}"));
            Assert.InRange(megabits, 1, Megabits * 1.2);

            // It grows quiet.
            await AskAsync(lab, 2, "dirty 20");
            MigrationStatus status = await MoveRig.EndedAsync(mms, id);
            Assert.True(status.State == "moved", $"{status.State}: {status.Failure}");
            for (int i = 0; i < s_guests.Length; i++) Assert.Equal("0", (await AskAsync(lab, i, "?")).Split(' ', '\n')[1]);
            await Pings.NothingLostAsync(pings, account);
        }
        finally
        {
            foreach (Pings stream in pings) stream.Dispose();
        }
    }

    // Bytes that the source host has sent by the network between the hosts.
    private static async Task<long> SentAsync(RunningLab lab)
    {
        string said = await LabInstance.RunAsync(lab, "host-a", "ip", "-s", "-j", "link", "show", "dev", "eth2");
        using JsonDocument links = JsonDocument.Parse(said);
        return links.RootElement[0].GetProperty("stats64").GetProperty("tx").GetProperty("bytes").GetInt64();
    }

    private static string Said(MigrationStatus status) => string.Join('\n', status.Waiting.Select(w => w.Detail));

    private static string AddressOf(int guest) => string.Create(CultureInfo.InvariantCulture, $"10.1.1.{10 + guest}");

    private static async Task<string> AskAsync(RunningLab lab, int guest, string question)
    {
        string said = "";
        await Patience.UntilAsync(
            async () => (said = await LabInstance.RunAsync(lab, "client-c", "sh", "-c",
                $"echo '{question}' | timeout 3 socat -T 2 - UDP:{AddressOf(guest)}:8 || true")).Length > 0,
            () => $"{s_guests[guest].Name} does not answer");
        return said;
    }

    // topologies/guest.clab.yml with three guests.
    private static string Write(string folder)
    {
        string from = Path.GetDirectoryName(LabFiles.Guest)!, files = Directory.CreateDirectory(Path.Combine(folder, "guest")).FullName;
        string topology = Path.Combine(folder, "guest.clab.yml");
        string taps = string.Concat(s_guests.Skip(1).Select((_, i)
            => $"        - ip tuntap add dev vs{i + 1} mode tap\n        - ip link set vs{i + 1} master br0\n        - ip link set "
            + $"vs{i + 1} up\n"));
        File.WriteAllText(topology, Changed(LabFiles.Guest, ("        - ip link set br0 up\n", taps + "        - ip link set br0 up\n")));
        foreach (string file in Directory.GetFiles(Path.Combine(from, "guest")))
        {
            string text = File.ReadAllText(file);
            text = Path.GetFileName(file) switch
            {
                "host-a.yaml" => Host(text, runs: true),
                "host-b.yaml" => Host(text, runs: false),
                "pe-a.yaml" => Changed(file, ("tunnels: []\n",
                    string.Concat(s_guests.Skip(1).Select((_, i) => $"  - {{ prefix: {AddressOf(i + 1)}/32, port: dc }}\n"))
                        + "tunnels: []\n")),
                "mms.yaml" => text[..text.IndexOf("      - name: vs\n", StringComparison.Ordinal)]
                    + string.Concat(s_guests.Select((g, i) => $$"""
                              - name: {{g.Name}}
                                prefixes: [{{AddressOf(i)}}/32]
                                at:
                                  - { site: dc-a, host: host-a, pe: pe-a, port: dc }
                                  - { site: dc-b, host: host-b, pe: pe-b, port: dc }

                        """)),
                _ => text,
            };
            File.WriteAllText(Path.Combine(files, Path.GetFileName(file)), text);
        }

        return topology;
    }

    private static string Host(string text, bool runs)
    {
        string name = runs ? "host-a" : "host-b";
        string head = text[..text.IndexOf("servers:\n", StringComparison.Ordinal)];
        return head + "servers:\n"
            + string.Concat(s_guests.Select((g, i) => $$"""
                  - name: {{g.Name}}
                    runs: {{(runs ? "true" : "false")}}
                    qemu:
                      program: "${lab.guest}/qemu-ahead"
                      machine: pc-q35-7.2
                      cpu: qemu64
                      accelerator: tcg
                      memory: {{g.MiB}}
                      kernel: "${lab.guest}/vmlinuz"
                      initrd: "${lab.guest}/initrd"
                      append: "console=ttyS0 quiet mitigations=off nokaslr tsc=reliable panic=-1 net={{AddressOf(i)}}/24,10.1.1.1 app={{g.App}}"
                      console: "${lab.folder}/{{name}}.{{g.Name}}.console"
                      nics: [{ tap: vs{{i}}, mac: "02:00:00:00:01:1{{i}}" }]
                      arguments: [-L, "${lab.guest}/qemu/usr/share/qemu", -L, "${lab.guest}/qemu/usr/share/seabios"]

                """));
    }

    private static string Changed(string file, (string From, string To) change)
    {
        string text = File.ReadAllText(file);
        Assert.Contains(change.From, text, StringComparison.Ordinal);
        return text.Replace(change.From, change.To, StringComparison.Ordinal);
    }
}
